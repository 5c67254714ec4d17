/** The adapter for fetch: where the token goes, what is repeated, and what never is. */
import { describe, expect, it, vi } from 'vitest'
import { authorizedFetch } from '../src/fetch.js'
import { challenge, hang, json, refused, scripted, tokens, world } from './world.js'

const w = world()

/** Lets through the token `good` alone. */
const api = (good: string) => {
  const seen: { token: string | null; body: string; url: string }[] = []
  const send = (async (input, init) => {
    const request = new Request(input instanceof Request ? input : new URL(`${input}`, 'https://app.example'), {
      ...init,
      ...(init?.body instanceof ReadableStream && { duplex: 'half' }),
    } as RequestInit)
    const token = request.headers.get('authorization')
    seen.push({ token, body: await request.text(), url: request.url })
    return token === `Bearer ${good}` ? json(200, { ok: true }) : challenge(!!token)
  }) as typeof fetch
  return { seen, fetch: send }
}

const ready = async (good = 'a1') => {
  const server = scripted(() => tokens('a1'))
  const { session } = w.tab({ fetch: server.fetch })
  await session.start()
  server.next(() => tokens('a2'))
  const app = api(good)
  return { server, session, app, call: authorizedFetch(session, { fetch: app.fetch }) }
}

describe('the token', () => {
  it('is carried', async () => {
    const { call, app } = await ready()
    expect((await call('/api/stock')).status).toBe(200)
    expect(app.seen).toEqual([{ token: 'Bearer a1', body: '', url: 'https://app.example/api/stock' }])
  })

  it.each(['https://elsewhere.example/', 'http://app.example/', 'https://app.example:8443/', '//elsewhere.example/x', 'http://[bad'])(
    'is not carried to %s',
    async (url) => {
      const { session, server } = await ready()
      const sent = vi.fn(async () => challenge(false))
      vi.stubGlobal('fetch', sent)
      expect((await authorizedFetch(session)(url)).status).toBe(401)
      expect(sent).toHaveBeenCalledExactlyOnceWith(url, undefined)
      expect(server.calls).toHaveLength(1)
    },
  )

  it('is not carried to where a `<base>` leads', async () => {
    const { session } = await ready()
    const sent = vi.fn(async () => json(200, {}))
    vi.stubGlobal('fetch', sent)
    vi.stubGlobal('document', { hidden: false, baseURI: 'https://elsewhere.example/app/' })
    await authorizedFetch(session)('api/stock')
    expect(sent).toHaveBeenLastCalledWith('api/stock', undefined)
    await authorizedFetch(session)('https://app.example/api/stock')
    expect(sent).toHaveBeenLastCalledWith('https://app.example/api/stock', { headers: expect.any(Headers) })
  })

  it('is carried to the origin of Portcullis, and to those that are named', async () => {
    const server = scripted(() => tokens('a1'))
    const { session } = w.tab({ fetch: server.fetch, base: 'https://auth.example' })
    await session.start()
    const app = api('a1')
    const call = authorizedFetch(session, { fetch: app.fetch, origins: ['https://api.example'] })
    for (const url of ['https://auth.example/userinfo', 'https://api.example/x', '/y']) expect((await call(url)).status).toBe(200)
  })

  it('of the caller’s own is left alone', async () => {
    const { call, app, server } = await ready('other')
    await call('/api', { headers: { Authorization: 'Basic eDp5' } })
    expect(app.seen).toMatchObject([{ token: 'Basic eDp5' }])
    expect(server.calls).toHaveLength(1)
  })

  it('leaves other header fields as they are', async () => {
    const sent = vi.fn(async (_: unknown, init?: RequestInit) => json(200, Object.fromEntries(new Headers(init?.headers))))
    const { session } = await ready()
    const call = authorizedFetch(session, { fetch: sent as unknown as typeof fetch })
    expect(await (await call('/api', { headers: [['x-a', '1']] })).json()).toEqual({ authorization: 'Bearer a1', 'x-a': '1' })
    expect(await (await call(new Request('https://app.example/', { headers: { 'x-b': '2' } }))).json()).toEqual({
      authorization: 'Bearer a1',
      'x-b': '2',
    })
  })
})

describe('a 401 of ours', () => {
  it('is followed by one refresh and one repetition', async () => {
    const { call, app, server } = await ready('a2')
    expect((await call('/api')).status).toBe(200)
    expect(app.seen.map(({ token }) => token)).toEqual(['Bearer a1', 'Bearer a2'])
    expect(server.calls).toHaveLength(2)
  })

  it('ten at once are followed by one refresh', async () => {
    const { call, app, server } = await ready('a2')
    const answers = await Promise.all(Array.from({ length: 10 }, () => call('/api')))
    expect(answers.map(({ status }) => status)).toEqual(Array(10).fill(200))
    expect(server.calls).toHaveLength(2)
    expect(app.seen).toHaveLength(20)
  })

  it('again after that is the caller’s: there is no loop', async () => {
    const { call, app, server } = await ready('never')
    expect((await call('/api')).status).toBe(401)
    expect(app.seen).toHaveLength(2)
    expect(server.calls).toHaveLength(2)
  })

  it('when the session is over comes back as it is', async () => {
    const { call, app, server, session } = await ready('never')
    server.next(() => refused())
    const answer = await call('/api')
    expect(answer.status).toBe(401)
    expect(await answer.json()).toMatchObject({ reason: 'token_expired' })
    expect(app.seen).toHaveLength(1)
    expect(session.snapshot().status).toBe('none')
    await call('/api')
    expect(server.calls).toHaveLength(2)
  })

  it('while the server cannot be asked comes back as it is, and the session stays', async () => {
    const { call, app, server, session } = await ready('never')
    server.next(() => json(503, {}, { 'retry-after': '5' }))
    for (let i = 0; i < 5; i++) expect((await call('/api')).status).toBe(401)
    expect(server.calls).toHaveLength(2)
    expect(app.seen).toHaveLength(5)
    expect(session.snapshot()).toMatchObject({ status: 'active', reachable: false })
  })

  it('an app’s own 401 passes', async () => {
    const { session, server } = await ready()
    const answer = new Response('', { status: 401, headers: { 'www-authenticate': 'Basic realm="app"' } })
    const call = authorizedFetch(session, { fetch: (async () => answer) as typeof fetch })
    expect(await call('/api')).toBe(answer)
    expect(server.calls).toHaveLength(1)
  })

  it('before the first answer of the server: the request waits for it', async () => {
    const server = scripted(() => tokens('a1'))
    const { session } = w.tab({ fetch: server.fetch })
    const app = api('a1')
    void session.start()
    expect((await authorizedFetch(session, { fetch: app.fetch })('/api')).status).toBe(200)
    expect(app.seen).toHaveLength(1)
  })
})

describe('a body', () => {
  const form = new FormData()
  form.set('item', 'bolt')
  it.each<[string, BodyInit, string]>([
    ['text', 'bolt', 'bolt'],
    ['a search', new URLSearchParams({ item: 'bolt' }), 'item=bolt'],
    ['a blob', new Blob(['bolt']), 'bolt'],
    ['bytes', new TextEncoder().encode('bolt'), 'bolt'],
    ['a form', form, 'bolt'],
  ])('of %s is sent again', async (_, body, text) => {
    const { call, app } = await ready('a2')
    expect((await call('/api', { method: 'POST', body })).status).toBe(200)
    expect(app.seen).toHaveLength(2)
    for (const { body } of app.seen) expect(body).toContain(text)
  })

  it('of a Request is sent again', async () => {
    const { call, app } = await ready('a2')
    expect((await call(new Request('https://app.example/api', { method: 'POST', body: 'bolt' }))).status).toBe(200)
    expect(app.seen.map(({ body }) => body)).toEqual(['bolt', 'bolt'])
  })

  it('of a stream is not: the caller gets the 401, and the next call has the new token', async () => {
    const { call, app } = await ready('a2')
    expect((await call('/api', { method: 'POST', body: new Blob(['bolt']).stream() })).status).toBe(401)
    expect(app.seen).toHaveLength(1)
    expect((await call('/api')).status).toBe(200)
  })

  it('of a Request that was read is an error, as fetch has it', async () => {
    const { call } = await ready('a2')
    const request = new Request('https://app.example/api', { method: 'POST', body: 'bolt' })
    await request.text()
    await expect(call(request)).rejects.toThrow(TypeError)
  })
})

describe('the caller who gives up', () => {
  it('waits no longer, and the refresh goes on for the others', async () => {
    const { call, server, session } = await ready('a2')
    let give: (response: Response) => void = () => {}
    server.next(
      () =>
        new Promise((resolve) => {
          give = resolve
        }),
    )
    const control = new AbortController()
    const gaveUp = call('/api', { signal: control.signal })
    const stays = call('/api')
    await w.pass(100)
    control.abort()
    await expect(gaveUp).rejects.toThrow(expect.objectContaining({ name: 'AbortError' }))
    expect(server.calls[1]?.init.signal?.aborted).toBe(false)
    give(tokens('a2'))
    expect((await stays).status).toBe(200)
    expect(session.accessToken()).toBe('a2')
  })

  it('before the first answer, too, by the signal of a Request', async () => {
    const { session } = w.tab({ fetch: scripted(hang).fetch })
    void session.start()
    const control = new AbortController()
    const call = authorizedFetch(session, { fetch: api('a1').fetch })(new Request('https://app.example/', { signal: control.signal }))
    control.abort(new Error('enough'))
    await expect(call).rejects.toThrow('enough')
  })
})
