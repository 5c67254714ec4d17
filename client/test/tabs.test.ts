/** Several tabs of one browser: what one learns the others hear, and nothing that is older than a login or logout counts. */
import { describe, expect, it, vi } from 'vitest'
import { createSession } from '../src/index.js'
import { hang, json, refused, scripted, tokens, world } from './world.js'

const w = world()

const two = async () => {
  const servers = [scripted(() => tokens('a1')), scripted(() => tokens('a2'))] as const
  const one = w.tab({ fetch: servers[0].fetch })
  const other = w.tab({ fetch: servers[1].fetch })
  await one.session.start()
  await w.pass(10)
  await other.session.start()
  await w.pass(10)
  return { one, other, servers }
}

describe('a new token', () => {
  it('reaches the others, who need not ask then', async () => {
    const { one, other, servers } = await two()
    expect(one.session.accessToken()).toBe('a2')
    servers[0].next(() => tokens('a3'))
    await one.session.refresh()
    await w.pass(10)
    expect(other.session.accessToken()).toBe('a3')
    expect(await other.session.refresh('a2')).toMatchObject({ status: 'active' })
    expect(servers[1].calls).toHaveLength(1)
  })

  it('spares all tabs but one the refresh ahead of time', async () => {
    const { servers } = await two()
    for (const server of servers) server.next(() => tokens(`a${Math.random()}`))
    await w.pass(12 * 3_600_000)
    const calls = servers[0].calls.length + servers[1].calls.length
    expect(calls).toBeLessThan((12 * 3600) / (900 * 0.75) + 4)
    expect(calls).toBeGreaterThan((12 * 3600) / 900)
  })

  it('helps a tab whose own refresh hangs', async () => {
    const { one, other, servers } = await two()
    servers[0].next(hang)
    servers[1].next(() => tokens('a3'))
    const waits = one.session.refresh('a2')
    await other.session.refresh()
    await w.pass(10)
    expect(await waits).toMatchObject({ status: 'active' })
    expect(one.session.accessToken()).toBe('a3')
  })

  it('ends the backing off of the others', async () => {
    const { one, other, servers } = await two()
    servers[0].next(() => json(503))
    await one.session.refresh()
    expect(one.session.snapshot().reachable).toBe(false)
    servers[1].next(() => tokens('a3'))
    await other.session.refresh()
    await w.pass(10)
    expect(one.session.snapshot()).toMatchObject({ status: 'active', reachable: true })
  })

  it('that a frozen tab reads late is as old as it is', async () => {
    const { one, other, servers } = await two()
    servers[1].next(() => tokens('a3'))
    w.channels.latency = () => 600_000
    await other.session.refresh()
    const expires = other.session.snapshot().expiresAt
    servers[0].next(hang)
    await w.pass(600_001)
    expect(one.session.accessToken()).toBe('a3')
    expect(one.session.snapshot().expiresAt).toBe(expires)
  })
})

describe('the end of the session', () => {
  it('by logout reaches all tabs, once each', async () => {
    const { one, other, servers } = await two()
    servers[0].next(() => json(204))
    await one.session.logout()
    await w.pass(10)
    for (const tab of [one, other]) {
      expect(tab.session.snapshot()).toMatchObject({ status: 'none', reason: 'logout' })
      expect(tab.session.accessToken()).toBeUndefined()
      expect(tab.told.filter(({ status }) => status === 'none')).toHaveLength(1)
    }
    await w.pass(86_400_000)
    expect(servers[1].calls).toHaveLength(1)
  })

  it('by refusal reaches all tabs, once each, even if all of them hear it from the server', async () => {
    const { one, other, servers } = await two()
    for (const server of servers) server.next(() => refused('token_expired'))
    await Promise.all([one.session.refresh(), other.session.refresh()])
    await w.pass(10)
    for (const tab of [one, other]) expect(tab.told.filter(({ status }) => status === 'none')).toHaveLength(1)
  })

  it('reaches a tab that was started and never heard the server', async () => {
    const { one, servers } = await two()
    const third = w.tab({ fetch: scripted(hang).fetch })
    void third.session.start()
    servers[0].next(() => json(204))
    await one.session.logout()
    await w.pass(10)
    expect(third.session.snapshot().status).toBe('none')
  })

  it('is not undone by a refresh that began before, in the same tab or in another', async () => {
    const { one, other, servers } = await two()
    let give: (response: Response) => void = () => {}
    servers[1].next(
      () =>
        new Promise((resolve) => {
          give = resolve
        }),
    )
    void other.session.refresh()
    await w.pass(5)
    servers[0].next(() => json(204))
    w.channels.latency = () => 500
    await one.session.logout()
    give(tokens('late'))
    await w.pass(1000)
    for (const tab of [one, other]) {
      expect(tab.session.snapshot().status).toBe('none')
      expect(tab.session.accessToken()).toBeUndefined()
    }
  })

  it('as told before a login does not end what the login began', async () => {
    const { one, other, servers } = await two()
    let give: (response: Response) => void = () => {}
    servers[1].next(
      () =>
        new Promise((resolve) => {
          give = resolve
        }),
    )
    void other.session.refresh()
    await w.pass(5)
    servers[0].next(() => tokens('b1'))
    w.channels.latency = () => 500
    await one.session.login('demo', 'pass')
    give(refused())
    await w.pass(1000)
    for (const tab of [one, other]) {
      expect(tab.session.snapshot().status).toBe('active')
      expect(tab.session.accessToken()).toBe('b1')
    }
  })

  it('is heard even if the clock was set back since the login', async () => {
    const { one, other, servers } = await two()
    servers[0].next(() => tokens('b1'))
    await one.session.login('demo', 'pass')
    await w.pass(10)
    vi.setSystemTime(Date.now() - 7_200_000)
    servers[0].next(() => json(204))
    await one.session.logout()
    await w.pass(10)
    expect(other.session.snapshot().status).toBe('none')
  })
})

describe('a login', () => {
  it('replaces the session in all tabs, whoever it was before, and says so by the epoch', async () => {
    const { one, other, servers } = await two()
    const before = other.session.snapshot().epoch
    servers[0].next(() => tokens('of-another-user'))
    await one.session.login('another', 'pass')
    await w.pass(10)
    expect(other.session.accessToken()).toBe('of-another-user')
    expect(other.session.snapshot().epoch).toBeGreaterThan(before)
  })

  it('brings tabs back that showed the login page', async () => {
    const { one, other, servers } = await two()
    servers[0].next(
      () => json(204),
      () => tokens('b1'),
    )
    await one.session.logout()
    await w.pass(10)
    await one.session.login('demo', 'pass')
    await w.pass(10)
    expect(other.session.snapshot().status).toBe('active')
    for (const server of servers) server.next(() => tokens('b2'))
    await w.pass(900_000)
    expect(other.session.accessToken()).toBe('b2')
  })
})

describe('tabs that do not belong together', () => {
  it('another Portcullis, or another name: nothing is heard', async () => {
    const { one, servers } = await two()
    const elsewhere = w.tab({ fetch: scripted(() => tokens('x')).fetch, base: 'https://other.example' })
    const apart = w.tab({ fetch: scripted(() => tokens('y')).fetch, channel: 'apart' })
    await elsewhere.session.start()
    await apart.session.start()
    servers[0].next(() => json(204))
    await one.session.logout()
    await w.pass(10)
    expect(elsewhere.session.snapshot().status).toBe('active')
    expect(apart.session.snapshot().status).toBe('active')
  })
})

describe('the channel', () => {
  it('is closed while the page is put away, so that browsers may keep it', async () => {
    const { one } = await two()
    w.fire('pagehide', { persisted: true })
    expect(w.channels.open.size).toBe(0)
    w.fire('pageshow', { persisted: true })
    expect(w.channels.open.size).toBe(2)
    one.session.stop()
    expect(w.channels.open.size).toBe(1)
  })

  it('never carries a refresh token or a password', async () => {
    const { one, servers } = await two()
    servers[0].next(() => json(200, { access_token: 'a9', expires_in: 900, session_expires_in: 9000, refresh_token: 's3cret' }))
    await one.session.login('demo', 'p4ssword')
    expect(JSON.stringify(w.channels.posted)).not.toMatch(/s3cret|p4ssword/)
    expect(JSON.stringify(w.channels.posted)).toContain('a9')
  })

  it('of the platform does the same', async () => {
    vi.unstubAllGlobals()
    vi.useRealTimers()
    const server = scripted(() => tokens('real'))
    const channel = `test ${Math.random()}`
    const one = createSession({ fetch: server.fetch, channel })
    const other = createSession({ fetch: scripted(hang).fetch, channel })
    void other.start()
    await one.start()
    await vi.waitFor(() => expect(other.accessToken()).toBe('real'))
    one.stop()
    other.stop()
  })

  it('without one each tab asks for itself', async () => {
    vi.stubGlobal('BroadcastChannel', undefined)
    const { one, other, servers } = await two()
    expect(one.session.accessToken()).toBe('a1')
    servers[0].next(() => json(204))
    await one.session.logout()
    servers[1].next(() => refused())
    await other.session.refresh('a2')
    expect(other.session.snapshot().status).toBe('none')
  })
})
