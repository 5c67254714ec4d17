/** One tab: one refresh at a time, refreshed ahead of time, and no answer that comes too late counts. */
import { describe, expect, it, vi } from 'vitest'
import { LoginError, LogoutError } from '../src/index.js'
import { challenge, fault, hang, json, refused, scripted, tokens, world } from './world.js'

const w = world()

/** An answer that the test gives when it wants to. */
const later = () => {
  let give: (response: Response) => void = () => {}
  const answer = new Promise<Response>((resolve) => {
    give = resolve
  })
  return { answer: () => answer, give: (response: Response) => give(response) }
}

const started = async (...answers: Parameters<typeof scripted>) => {
  const server = scripted(() => tokens('a1'))
  const { session, told } = w.tab({ fetch: server.fetch })
  await session.start()
  server.next(...answers)
  return { server, session, told }
}

describe('what is sent', () => {
  it('a refresh is a plain POST that takes the cookie along, and follows nobody elsewhere', async () => {
    const { server } = await started()
    expect(server.calls[0]).toMatchObject({
      url: '/refresh',
      init: { method: 'POST', credentials: 'include', redirect: 'error', headers: {}, body: null },
    })
  })

  it('base, paths and realm are the caller’s', async () => {
    const server = scripted(() => tokens('a1'))
    const { session } = w.tab({ fetch: server.fetch, base: 'https://auth.example', paths: { refresh: '/auth/again' }, realm: 'crm' })
    await session.start()
    await session.login('demo', 'pass')
    expect(server.calls.map(({ url }) => url)).toEqual(['https://auth.example/auth/again', 'https://auth.example/login'])
    expect(session.isOurs(challenge(true, 'crm'))).toBe(true)
    expect(session.isOurs(challenge(true))).toBe(false)
  })
})

describe('a 401 of ours', () => {
  const { session } = w.tab({})
  const answer = (status: number, value?: string) =>
    new Response(null, { status, headers: value === undefined ? {} : { 'www-authenticate': value } })
  it.each([
    [true, 401, 'Bearer realm="portcullis"'],
    [true, 401, 'Bearer realm="portcullis", error="invalid_token", reason="token_expired"'],
    [true, 401, 'Basic realm="app", Bearer realm="portcullis"'],
    [false, 401, undefined],
    [false, 401, 'Basic realm="portcullis"'],
    [false, 401, 'Bearer realm="portcullis-admin"'],
    [false, 401, 'Bearer realm="app"'],
    [false, 403, 'Bearer realm="portcullis"'],
    [false, 200, 'Bearer realm="portcullis"'],
  ])('%s: %s %s', (ours, status, value) => expect(session.isOurs(answer(status, value))).toBe(ours))
})

describe('one refresh at a time', () => {
  it('whoever asks meanwhile gets the same one', async () => {
    const slow = later()
    const { server, session } = await started(slow.answer)
    const all = Promise.all([session.refresh('a1'), session.refresh('a1'), session.refresh(), session.start()])
    slow.give(tokens('a2'))
    const answers = await all
    expect(server.calls).toHaveLength(2)
    expect(new Set(answers).size).toBe(1)
    expect(session.accessToken()).toBe('a2')
  })

  it('a late 401 for an older token asks for nothing', async () => {
    const { server, session } = await started(() => tokens('a2'))
    await session.refresh('a1')
    expect(await session.refresh('a1')).toBe(session.snapshot())
    expect(server.calls).toHaveLength(2)
    await session.refresh('a2')
    expect(server.calls).toHaveLength(3)
  })

  it('before the first answer a request without a token waits for it', async () => {
    const slow = later()
    const server = scripted(slow.answer)
    const { session } = w.tab({ fetch: server.fetch })
    void session.start()
    const waits = session.refresh('')
    slow.give(tokens('a1'))
    expect(await waits).toMatchObject({ status: 'active' })
    expect(server.calls).toHaveLength(1)
  })
})

describe('ahead of time', () => {
  it.each([0, 0.999])('asks when three quarters to nine tenths of the lifetime are over (%s)', async (random) => {
    vi.spyOn(Math, 'random').mockReturnValue(random)
    const { server, session } = await started(() => tokens('a2'))
    const due = 900_000 * (0.75 + random * 0.15)
    await w.pass(due - 10)
    expect(server.calls).toHaveLength(1)
    await w.pass(20)
    expect(session.accessToken()).toBe('a2')
    vi.restoreAllMocks()
  })

  it('a lifetime of nothing does not make it spin', async () => {
    const { server, session } = await started(() => tokens('a2', 0))
    await session.refresh()
    await w.pass(60_000)
    expect(server.calls.length).toBeLessThan(63)
    expect(server.calls.length).toBeGreaterThan(50)
  })

  it('the steady clock stopped while the machine slept', async () => {
    const { server } = await started(() => tokens('a2'))
    vi.setSystemTime(Date.now() + 3_600_000)
    w.fire('visibilitychange')
    await w.pass(0)
    expect(server.calls).toHaveLength(2)
  })

  it.each([-86_400_000, -600_000])('the wall clock was set back by %s ms', async (by) => {
    const { server } = await started(() => tokens('a2'))
    vi.setSystemTime(Date.now() + by)
    await w.pass(811_000)
    expect(server.calls).toHaveLength(2)
  })

  it('a look at the page asks for nothing while there is time', async () => {
    const { server } = await started()
    for (let i = 0; i < 10; i++) {
      w.fire('visibilitychange')
      w.fire('online')
      await w.pass(1000)
    }
    expect(server.calls).toHaveLength(1)
  })

  it('times are for display, by the clock on the wall', async () => {
    const { session } = await started()
    expect(session.snapshot()).toMatchObject({ expiresAt: Date.now() + 900_000, sessionExpiresAt: Date.now() + 2_592_000_000 })
  })

  it('after stop nothing happens any more', async () => {
    const { server, session } = await started(() => tokens('a2'))
    session.stop()
    w.fire('online')
    w.fire('pageshow', { persisted: true })
    await w.pass(7_200_000)
    expect(server.calls).toHaveLength(1)
    expect(session.accessToken()).toBe('a1')
    await session.start()
    await w.pass(900_000)
    expect(server.calls).toHaveLength(3)
  })
})

describe('login', () => {
  it('sends a form, and begins', async () => {
    const { server, session } = await started(() => tokens('b1'))
    await session.login('demo', 'p&ss=wörd +')
    expect(Object.fromEntries(server.calls[1]?.init.body as URLSearchParams)).toEqual({ username: 'demo', password: 'p&ss=wörd +' })
    expect(session.accessToken()).toBe('b1')
  })

  it.each([
    [() => json(400, { error: 'invalid_grant', reason: 'credentials_wrong' }), { status: 400, reason: 'credentials_wrong' }],
    [
      () => json(429, { reason: 'too_many_attempts' }, { 'retry-after': '30' }),
      { status: 429, reason: 'too_many_attempts', retryAfter: 30_000 },
    ],
    [() => json(503, { reason: 'login_unavailable' }), { status: 503, reason: 'login_unavailable' }],
    [() => new Response('<p>hotel</p>'), { status: 200, reason: 'http_200' }],
    [fault, { status: 0, reason: 'network' }],
  ])('that fails says why, and leaves the session that was there alone', async (answer, why) => {
    const { session, told } = await started(answer)
    await expect(session.login('demo', 'wrong')).rejects.toMatchObject(why)
    await expect(session.login('demo', 'wrong')).rejects.toBeInstanceOf(LoginError)
    expect(session.snapshot().status).toBe('active')
    expect(session.accessToken()).toBe('a1')
    expect(told).toHaveLength(1)
  })

  it('another login is another epoch, a refresh is not', async () => {
    const { session } = await started(() => tokens('a2'))
    const first = session.snapshot().epoch
    await session.refresh()
    expect(session.snapshot().epoch).toBe(first)
    await session.login('other', 'pass')
    expect(session.snapshot().epoch).not.toBe(first)
  })

  it.each([0, 3_600_000])('a refresh right after it is heard, even if the clock was set back by %s ms', async (by) => {
    const { server, session } = await started(() => tokens('b1'))
    await session.login('demo', 'pass')
    vi.setSystemTime(Date.now() - by)
    server.next(() => tokens('b2'))
    await session.refresh()
    expect(session.accessToken()).toBe('b2')
  })

  it('a refresh under way is broken off: its answer would bring the old cookie back', async () => {
    const slow = later()
    const { server, session } = await started(slow.answer, () => tokens('b1'))
    const refreshed = session.refresh()
    await session.login('other', 'pass')
    expect(server.calls[1]?.init.signal?.aborted).toBe(true)
    slow.give(tokens('a2'))
    expect((await refreshed).status).toBe('active')
    await w.pass(0)
    expect(session.accessToken()).toBe('b1')
    expect(server.calls).toHaveLength(3)
  })

  it('a refresh that was broken off is asked again when the login fails', async () => {
    const { server, session } = await started(
      hang,
      () => refused('credentials_wrong'),
      () => tokens('a2'),
    )
    const refreshed = session.refresh()
    await w.pass(0)
    await expect(session.login('demo', 'wrong')).rejects.toThrow('credentials_wrong')
    expect(await refreshed).toMatchObject({ status: 'active' })
    expect(session.accessToken()).toBe('a2')
    expect(server.calls).toHaveLength(4)
  })

  it('no refresh begins while a login is under way', async () => {
    const slow = later()
    const { server, session } = await started(slow.answer)
    const login = session.login('demo', 'pass')
    await w.pass(0)
    const refreshed = session.refresh('a1')
    await w.pass(5000)
    expect(server.calls).toHaveLength(2)
    slow.give(tokens('b1'))
    await login
    await refreshed
    expect(server.calls).toHaveLength(2)
    expect(session.accessToken()).toBe('b1')
  })
})

describe('logout', () => {
  it('drops everything after the 204, and not before', async () => {
    const slow = later()
    const { server, session, told } = await started(slow.answer)
    const out = session.logout()
    await w.pass(0)
    expect(server.calls[1]).toMatchObject({ url: '/logout', init: { headers: { authorization: 'Bearer a1' } } })
    expect(session.accessToken()).toBe('a1')
    slow.give(json(204))
    await out
    expect(session.accessToken()).toBeUndefined()
    expect(session.snapshot()).toMatchObject({ status: 'none', reason: 'logout' })
    await w.pass(86_400_000)
    expect(server.calls).toHaveLength(2)
    expect(told).toHaveLength(2)
  })

  it.each([
    [
      () => json(503, { reason: 'store_unavailable' }, { 'retry-after': '2' }),
      { status: 503, reason: 'store_unavailable', retryAfter: 2000 },
    ],
    [fault, { status: 0, reason: 'network' }],
    [() => new Response('<p>hotel</p>'), { status: 200 }],
    [() => tokens('x'), { status: 200 }],
  ])('that is not confirmed throws, and drops nothing', async (answer, why) => {
    const { session } = await started(answer)
    await expect(session.logout()).rejects.toMatchObject(why)
    await expect(session.logout()).rejects.toBeInstanceOf(LogoutError)
    expect(session.snapshot().status).toBe('active')
    expect(session.accessToken()).toBe('a1')
  })

  it('without a cookie, and with a token that no longer counts, asks without it', async () => {
    const { server, session } = await started(
      () => challenge(true),
      () => json(204),
    )
    await session.logout()
    expect(server.calls[2]?.init.headers).toEqual({})
    expect(session.snapshot().status).toBe('none')
  })

  it('everywhere has its own path, and shows no access token', async () => {
    const { server, session } = await started(() => json(204))
    await session.logout(true)
    expect(server.calls[1]?.url).toBe('/logout/all')
    expect(server.calls[1]?.init.headers).toEqual({})
  })

  it('everywhere, when this session is over already: throws, and the login page comes', async () => {
    const { session } = await started(() => refused())
    await expect(session.logout(true)).rejects.toMatchObject({ status: 400, reason: 'session_ended' })
    await w.pass(0)
    expect(session.snapshot()).toMatchObject({ status: 'none', reason: 'session_ended' })
  })

  it('a refresh answered late does not bring the session back', async () => {
    const slow = later()
    const { session, told } = await started(slow.answer, () => json(204))
    const refreshed = session.refresh()
    await session.logout()
    slow.give(tokens('a2'))
    expect((await refreshed).status).toBe('none')
    await w.pass(0)
    expect(session.accessToken()).toBeUndefined()
    expect(told.map(({ status }) => status)).toEqual(['active', 'none'])
  })

  it('a late one comes before the next login, so that it does not clear its cookie', async () => {
    const slow = later()
    const { server, session } = await started(slow.answer, () => tokens('b1'))
    const out = session.logout()
    const login = session.login('other', 'pass')
    await w.pass(1000)
    expect(server.calls.map(({ url }) => url)).toEqual(['/refresh', '/logout'])
    slow.give(json(204))
    await Promise.all([out, login])
    expect(session.accessToken()).toBe('b1')
  })
})

describe('a page that is put away', () => {
  it('leaves with nothing protected, and is confirmed when it comes back', async () => {
    const slow = later()
    const { session } = await started(slow.answer)
    w.fire('pagehide', { persisted: true })
    expect(session.snapshot().status).toBe('unknown')
    w.fire('pageshow', { persisted: true })
    await w.pass(0)
    expect(session.snapshot().status).toBe('unknown')
    slow.give(tokens('a2'))
    await w.pass(0)
    expect(session.snapshot().status).toBe('active')
  })

  it('comes back to the login page, if the session has ended', async () => {
    const { session } = await started(() => refused())
    w.fire('pagehide', { persisted: true })
    w.fire('pageshow', { persisted: true })
    await w.pass(0)
    expect(session.snapshot().status).toBe('none')
  })

  it('an answer from before it was put away confirms nothing', async () => {
    const slow = later()
    const { session } = await started(slow.answer, () => refused())
    void session.refresh()
    await w.pass(0)
    w.fire('pagehide', { persisted: true })
    w.fire('pageshow', { persisted: true })
    slow.give(tokens('a2'))
    await w.pass(0)
    expect(session.snapshot().status).toBe('none')
  })

  it('keeps nobody out when the server is away: unknown, and asked again', async () => {
    const { server, session } = await started(fault)
    w.fire('pagehide', { persisted: true })
    w.fire('pageshow', { persisted: true })
    await w.pass(0)
    expect(session.snapshot()).toMatchObject({ status: 'unknown', reachable: false })
    server.next(() => tokens('a2'))
    await w.pass(1000)
    expect(session.snapshot().status).toBe('active')
  })

  it('the first showing of a page asks for nothing', async () => {
    const { server } = await started()
    w.fire('pageshow', { persisted: false })
    await w.pass(0)
    expect(server.calls).toHaveLength(1)
  })
})

describe('listeners', () => {
  it('get one snapshot until something changes', async () => {
    const { session } = await started()
    expect(session.snapshot()).toBe(session.snapshot())
  })

  it('that leave while others are being told are not called', async () => {
    const { session } = await started(() => refused())
    const listener = vi.fn()
    session.subscribe(() => leave())
    const leave = session.subscribe(listener)
    await session.refresh()
    expect(listener).not.toHaveBeenCalled()
  })

  it('that left are not called', async () => {
    const { session } = await started(() => refused())
    const listener = vi.fn()
    session.subscribe(listener)()
    await session.refresh()
    expect(listener).not.toHaveBeenCalled()
  })
})

describe('where there is no page', () => {
  it('nothing is touched before start, and start needs nothing but fetch', async () => {
    for (const name of ['navigator', 'document', 'BroadcastChannel', 'addEventListener', 'location']) vi.stubGlobal(name, undefined)
    const { session } = w.tab({ fetch: scripted(() => tokens('a1')).fetch, base: 'https://auth.example' })
    expect(await session.start()).toMatchObject({ status: 'active' })
    session.stop()
  })
})
