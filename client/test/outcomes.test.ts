/** Every class of outcome: what it does to the session, and when it is asked again. */
import { describe, expect, it, vi } from 'vitest'
import type { Outcome } from '../src/index.js'
import { challenge, fault, hang, json, refused, scripted, tokens, world } from './world.js'

const w = world()
const html = (status: number) => new Response('<h1>Sign in to the hotel</h1>', { status, headers: { 'content-type': 'text/html' } })

const passing: [string, () => Response | Promise<Response>, Outcome, string][] = [
  ['no network', fault, 'unreachable', 'network'],
  ['408', () => json(408, { reason: 'request_timeout' }), 'unreachable', 'request_timeout'],
  ['429', () => json(429, { reason: 'overloaded' }), 'unreachable', 'overloaded'],
  ['500', () => json(500, { reason: 'internal' }), 'unreachable', 'internal'],
  ['502 of a balancer', () => html(502), 'unreachable', 'http_502'],
  ['503', () => json(503, { error: 'temporarily_unavailable', reason: 'store_unavailable' }), 'unreachable', 'store_unavailable'],
  ['a captive portal', () => html(200), 'unreachable', 'http_200'],
  ['JSON that is not ours', () => json(200, { hello: 1 }), 'unreachable', 'http_200'],
  ['null', () => json(200, null), 'unreachable', 'http_200'],
  ['a token without its lifetime', () => json(200, { access_token: 'x' }), 'unreachable', 'http_200'],
  ['204', () => json(204), 'unreachable', 'http_204'],
  ['403 of ours', () => json(403, { reason: 'cross_site' }), 'misconfigured', 'cross_site'],
  ['404', () => html(404), 'misconfigured', 'http_404'],
  ['405', () => json(405, { reason: 'method_not_allowed' }), 'misconfigured', 'method_not_allowed'],
  ['401', () => challenge(false), 'misconfigured', 'token_missing'],
  ['400 of somebody else', () => html(400), 'misconfigured', 'http_400'],
  [
    '400 of ours about the request',
    () => json(400, { error: 'invalid_request', reason: 'path_ambiguous' }),
    'misconfigured',
    'path_ambiguous',
  ],
]

describe('what does not end a session', () => {
  it.each(passing)('%s, at start: nothing is known, and it is asked again', async (_, answer, outcome, reason) => {
    const server = scripted(answer)
    const { session } = w.tab({ fetch: server.fetch })
    expect(await session.start()).toMatchObject({ status: 'unknown', reachable: false, outcome, reason })
    server.next(() => tokens('a1'))
    await w.pass(2000)
    expect(session.snapshot()).toMatchObject({ status: 'active', reachable: true, outcome: 'granted' })
    expect(session.snapshot().reason).toBeUndefined()
  })

  it.each(passing)('%s, later: the token stays, and it is asked again', async (_, answer, outcome, reason) => {
    const server = scripted(() => tokens('a1'))
    const { session } = w.tab({ fetch: server.fetch })
    await session.start()
    server.next(answer)
    expect(await session.refresh()).toMatchObject({ status: 'active', reachable: false, outcome, reason })
    expect(session.accessToken()).toBe('a1')
    await w.pass(3_600_000)
    expect(session.snapshot().status).toBe('active')
    server.next(() => tokens('a2'))
    await w.pass(90_000)
    expect(session.snapshot()).toMatchObject({ status: 'active', reachable: true })
    expect(session.accessToken()).toBe('a2')
  })
})

describe('refused', () => {
  it('at start: show the login page', async () => {
    const server = scripted(() => refused('token_missing'))
    const { session, told } = w.tab({ fetch: server.fetch })
    expect(await session.start()).toMatchObject({ status: 'none', reachable: true, outcome: 'refused', reason: 'token_missing' })
    await w.pass(86_400_000)
    expect(server.calls).toHaveLength(1)
    expect(told).toHaveLength(1)
  })

  it('later: the token is dropped, it is told once, and nothing is asked any more', async () => {
    const server = scripted(() => tokens('a1'))
    const { session, told } = w.tab({ fetch: server.fetch })
    await session.start()
    server.next(() => refused('token_reused'))
    await session.refresh('a1')
    expect(session.snapshot()).toMatchObject({ status: 'none', reason: 'token_reused' })
    expect(session.accessToken()).toBeUndefined()
    await session.refresh('a1')
    await session.refresh()
    w.fire('online')
    w.fire('visibilitychange')
    await w.pass(86_400_000)
    expect(server.calls).toHaveLength(3)
    expect(told.map(({ status }) => status)).toEqual(['active', 'none'])
  })
})

describe('given up', () => {
  it('after 10 seconds, and asked again', async () => {
    const server = scripted(hang)
    const { session } = w.tab({ fetch: server.fetch })
    const started = session.start()
    await w.pass(9_999)
    expect(server.calls[0]?.init.signal?.aborted).toBe(false)
    await w.pass(1)
    expect(server.calls[0]?.init.signal?.aborted).toBe(true)
    expect(await started).toMatchObject({ status: 'unknown', reachable: false, outcome: 'unreachable', reason: 'timeout' })
    server.next(() => tokens('a1'))
    await w.pass(1000)
    expect(session.snapshot().status).toBe('active')
  })

  it('even if the transport does not care', async () => {
    const { session } = w.tab({ transport: () => new Promise(() => {}) })
    const started = session.start()
    await w.pass(10_000)
    expect(await started).toMatchObject({ reason: 'timeout' })
  })

  it('a body that never ends, too', async () => {
    const { session } = w.tab({ fetch: (async () => new Response(new ReadableStream())) as typeof fetch })
    const started = session.start()
    await w.pass(10_000)
    expect(await started).toMatchObject({ status: 'unknown', reason: 'timeout' })
  })

  it('a transport that throws is a fault like any other', async () => {
    const { session } = w.tab({
      transport: () => {
        throw new Error('no storage')
      },
    })
    expect(await session.start()).toMatchObject({ status: 'unknown', outcome: 'unreachable', reason: 'network' })
  })
})

describe('a fault of the network', () => {
  it('is tried once more before anybody is told', async () => {
    const server = scripted(fault, () => tokens('a1'))
    const { session, told } = w.tab({ fetch: server.fetch })
    expect(await session.start()).toMatchObject({ status: 'active', reachable: true })
    expect(told).toHaveLength(1)
    expect(server.calls).toHaveLength(2)
  })

  it('is not hammered: once more is once', async () => {
    const server = scripted(fault)
    const { session } = w.tab({ fetch: server.fetch })
    await session.start()
    expect(server.calls).toHaveLength(2)
  })

  it('on a device that is offline waits for the network', async () => {
    const server = scripted(fault)
    w.navigator.onLine = false
    const { session } = w.tab({ fetch: server.fetch })
    expect(await session.start()).toMatchObject({ status: 'unknown', outcome: 'offline', reason: 'offline' })
    await w.pass(1_800_000)
    expect(server.calls).toHaveLength(1)
    server.next(() => tokens('a1'))
    w.navigator.onLine = true
    w.fire('online')
    await w.pass(0)
    expect(session.snapshot()).toMatchObject({ status: 'active', reachable: true })
  })

  it('a device that calls itself offline and is not', async () => {
    w.navigator.onLine = false
    const { session } = w.tab({ fetch: scripted(() => tokens('a1')).fetch })
    expect(await session.start()).toMatchObject({ status: 'active', reachable: true })
  })
})

describe('backing off', () => {
  const gaps = (calls: { at: number }[]) => calls.slice(1).map((call, i) => call.at - (calls[i]?.at ?? 0))

  it.each([0, 0.5, 0.999])('doubles up to a minute, with jitter (%s)', async (random) => {
    vi.spyOn(Math, 'random').mockReturnValue(random)
    const server = scripted(() => json(500))
    const { session } = w.tab({ fetch: server.fetch })
    await session.start()
    await w.pass(600_000)
    const steps = [500, 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000]
    expect(gaps(server.calls).slice(0, steps.length)).toEqual(steps.map((ms) => Math.ceil(ms * (1 + random / 2))))
    vi.restoreAllMocks()
  })

  it('begins anew after a success', async () => {
    vi.spyOn(Math, 'random').mockReturnValue(0)
    const server = scripted(() => json(500))
    const { session } = w.tab({ fetch: server.fetch })
    await session.start()
    await w.pass(100_000)
    server.next(() => tokens('a1'))
    await w.pass(60_000)
    expect(session.snapshot().reachable).toBe(true)
    server.next(() => json(500))
    await session.refresh()
    const before = server.calls.length
    await w.pass(500)
    expect(server.calls).toHaveLength(before + 1)
    vi.restoreAllMocks()
  })

  it.each([
    ['seconds', () => '120'],
    ['a date', () => new Date(Date.now() + 120_000).toUTCString()],
  ])('honours Retry-After in %s, whatever happens in the page', async (_, value) => {
    const server = scripted(() => json(503, {}, { 'retry-after': value() }))
    const { session } = w.tab({ fetch: server.fetch })
    await session.start()
    for (let s = 0; s < 118; s++) {
      w.fire('online')
      w.fire('visibilitychange')
      void session.refresh('')
      await w.pass(1000)
    }
    expect(server.calls).toHaveLength(1)
    server.next(() => tokens('a1'))
    await w.pass(63_000)
    expect(session.snapshot().status).toBe('active')
  })

  it.each(['', 'soon', '-5', 'Thu, 01 Jan 1970 00:00:00 GMT', 'NaN'])('a Retry-After of %j is none', async (value) => {
    const server = scripted(() => json(503, {}, { 'retry-after': value }))
    const { session } = w.tab({ fetch: server.fetch })
    await session.start()
    await w.pass(750)
    expect(server.calls).toHaveLength(2)
  })

  it('takes a Retry-After of years as an hour', async () => {
    const server = scripted(() => json(503, {}, { 'retry-after': '99999999999' }))
    const { session } = w.tab({ fetch: server.fetch })
    await session.start()
    await w.pass(3_599_999)
    expect(server.calls).toHaveLength(1)
    await w.pass(1)
    expect(server.calls).toHaveLength(2)
  })

  it('a look at the page ends the wait, unless the server said how long', async () => {
    const server = scripted(() => json(502))
    const { session } = w.tab({ fetch: server.fetch })
    await session.start()
    await w.pass(100_000)
    const before = server.calls.length
    w.document.hidden = true
    w.fire('visibilitychange')
    await w.pass(0)
    expect(server.calls).toHaveLength(before)
    w.document.hidden = false
    w.fire('visibilitychange')
    await w.pass(0)
    expect(server.calls).toHaveLength(before + 1)
  })

  it('a 401 meanwhile asks for nothing, a person may', async () => {
    const server = scripted(() => tokens('a1'))
    const { session } = w.tab({ fetch: server.fetch })
    await session.start()
    server.next(() => json(502))
    await session.refresh('a1')
    expect(await session.refresh('a1')).toMatchObject({ status: 'active', reachable: false })
    expect(server.calls).toHaveLength(2)
    await session.refresh()
    expect(server.calls).toHaveLength(3)
  })
})
