/** The transport for clients without a cookie jar: what travels, and when the stored token is replaced. */
import { describe, expect, it } from 'vitest'
import { bodyTransport, type TokenStorage } from '../src/body.js'
import { fault, json, refused, scripted, world } from './world.js'

const w = world()

const tokens = (access_token: string, refresh_token: string) =>
  json(200, { access_token, expires_in: 900, session_expires_in: 9000, refresh_token })

/** A keychain that takes its time. */
const keychain = (value?: string) => {
  const log: string[] = []
  const wait = () => new Promise((resolve) => setTimeout(resolve, 5))
  const storage: TokenStorage & { value: string | undefined; fails: boolean } = {
    value,
    fails: false,
    async get() {
      await wait()
      return storage.value
    },
    async set(next) {
      log.push(`set ${next}`)
      await wait()
      if (storage.fails) throw new Error('the keychain is locked')
      storage.value = next
    },
    async clear() {
      log.push('clear')
      await wait()
      storage.value = undefined
    },
  }
  return { storage, log }
}

const native = (stored: string | undefined, ...answers: Parameters<typeof scripted>) => {
  const server = scripted(...answers)
  const { storage, log } = keychain(stored)
  const { session } = w.tab({ base: 'https://auth.example', transport: bodyTransport({ storage, fetch: server.fetch }) })
  const sent = (i: number) => JSON.parse(`${server.calls[i]?.init.body}`)
  const soon = async <T>(promise: Promise<T>) => {
    void promise.catch(() => {})
    await w.pass(100)
    return promise
  }
  return { server, session, storage, log, sent, soon }
}

describe('the body transport', () => {
  it('an app that was never logged in needs no network to know', async () => {
    const { server, session, soon } = native(undefined, fault)
    expect(await soon(session.start())).toMatchObject({ status: 'none', reason: 'token_missing' })
    expect(server.calls).toHaveLength(0)
  })

  it('a login asks for the body, and the token is stored before anybody is told', async () => {
    const { server, session, storage, sent, soon } = native(undefined, () => tokens('a1', 'r1'))
    session.subscribe(({ status }) => status === 'active' && expect(storage.value).toBe('r1'))
    await soon(session.login('demo', 'pass'))
    expect(session.snapshot().status).toBe('active')
    expect(sent(0)).toEqual({ username: 'demo', password: 'pass', transport: 'body' })
    expect(server.calls[0]).toMatchObject({
      url: 'https://auth.example/login',
      init: { credentials: 'omit', redirect: 'error', headers: { 'content-type': 'application/json' } },
    })
  })

  it('a refresh sends the stored token and replaces it', async () => {
    const { session, storage, log, sent, soon } = native('r1', () => tokens('a2', 'r2'))
    expect(await soon(session.start())).toMatchObject({ status: 'active' })
    expect(sent(0)).toEqual({ refresh_token: 'r1' })
    expect(storage.value).toBe('r2')
    expect(log).toEqual(['set r2'])
  })

  it('a token that cannot be stored is not used: the old one is kept and asked with again', async () => {
    const { session, storage, sent, soon } = native('r1', () => tokens('a2', 'r2'))
    storage.fails = true
    expect(await soon(session.start())).toMatchObject({ status: 'unknown', outcome: 'unreachable' })
    expect(session.accessToken()).toBeUndefined()
    expect(storage.value).toBe('r1')
    storage.fails = false
    await w.pass(2000)
    expect(sent(2)).toEqual({ refresh_token: 'r1' })
    expect(storage.value).toBe('r2')
    expect(session.snapshot().status).toBe('active')
  })

  it.each([
    ['a fault', fault],
    ['a 503', () => json(503)],
    ['a captive portal', () => new Response('<h1>Hotel</h1>')],
    ['a refusal', () => refused()],
  ])('%s leaves what is stored alone', async (_, answer) => {
    const { session, storage, soon } = native('r1', answer)
    await soon(session.start())
    expect(storage.value).toBe('r1')
  })

  it('a logout sends the token and forgets it after the 204', async () => {
    const { session, storage, sent, soon } = native(
      'r1',
      () => tokens('a2', 'r2'),
      () => json(503),
      () => json(204),
    )
    await soon(session.start())
    await expect(soon(session.logout())).rejects.toMatchObject({ status: 503 })
    expect(storage.value).toBe('r2')
    await soon(session.logout(true))
    expect(sent(2)).toEqual({ refresh_token: 'r2' })
    expect(storage.value).toBeUndefined()
    expect(session.snapshot().status).toBe('none')
  })

  it('an answer to a refresh does not overwrite what a login or logout has stored since', async () => {
    let give: (response: Response) => void = () => {}
    const { session, storage, log, soon } = native(
      'r1',
      () =>
        new Promise((resolve) => {
          give = resolve
        }),
      () => json(204),
    )
    void session.start()
    await w.pass(10)
    await soon(session.logout())
    give(tokens('a2', 'r2'))
    await w.pass(100)
    expect(storage.value).toBeUndefined()
    expect(log).toEqual(['clear'])
    expect(session.snapshot().status).toBe('none')
  })

  it('a storage that hangs is given up like the network', async () => {
    const { session } = w.tab({ transport: bodyTransport({ storage: { ...keychain().storage, get: () => new Promise(() => {}) } }) })
    const started = session.start()
    await w.pass(10_000)
    expect(await started).toMatchObject({ status: 'unknown', reason: 'timeout' })
  })
})
