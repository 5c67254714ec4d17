/** What tests put around a session: answers, a page's events, and a channel between tabs, all by the clock of the test. */
import { afterEach, beforeEach, vi } from 'vitest'
import { createSession, type Session, type SessionOptions, type Snapshot } from '../src/index.js'

export const json = (status: number, body?: unknown, headers: Record<string, string> = {}) =>
  new Response(body === undefined ? null : JSON.stringify(body), { status, headers: { 'content-type': 'application/json', ...headers } })

export const tokens = (access_token: string, expires_in = 900) =>
  json(200, { access_token, token_type: 'Bearer', expires_in, session_expires_in: 2_592_000 })

export const refused = (reason = 'session_ended') => json(400, { error: 'invalid_grant', reason, status: 400 })

export const challenge = (token: boolean, realm = 'portcullis') =>
  json(
    401,
    { reason: token ? 'token_expired' : 'token_missing' },
    {
      'www-authenticate': `Bearer realm="${realm}"${token ? ', error="invalid_token", reason="token_expired"' : ''}`,
    },
  )

/** A network fault, as `fetch` reports it. */
export const fault = () => Promise.reject(new TypeError('Failed to fetch'))

/** Never answers; only the signal ends it. */
export const hang = (_: unknown, init?: RequestInit) =>
  new Promise<Response>((_, reject) => init?.signal?.addEventListener('abort', () => reject(init.signal?.reason)))

type Answer = (url: string, init: RequestInit) => Response | Promise<Response>

/** A server of which each test says what it answers next; the last answer is repeated. */
export const scripted = (...answers: Answer[]) => {
  const calls: { url: string; init: RequestInit; at: number }[] = []
  const send = vi.fn(async (input: RequestInfo | URL, init: RequestInit = {}) => {
    calls.push({ url: `${input}`, init, at: Date.now() })
    const answer = answers.length > 1 ? answers.shift() : answers[0]
    if (!answer) throw new Error('no answer was prepared')
    return answer(`${input}`, init)
  })
  return { fetch: send as unknown as typeof fetch, calls, next: (...more: Answer[]) => answers.splice(0, answers.length, ...more) }
}

/** Tabs in one process talk through this: messages are copied, and arrive later, in any order that `latency` makes. */
export class Channels {
  latency = () => 1
  open = new Set<Channel>()
  posted: unknown[] = []
}

let channels = new Channels()

class Channel {
  onmessage: ((event: { data: unknown }) => void) | null = null
  readonly name: string
  constructor(name: string) {
    this.name = name
    channels.open.add(this)
  }
  postMessage(data: unknown) {
    if (!channels.open.has(this)) throw new DOMException('closed', 'InvalidStateError')
    channels.posted.push(data)
    for (const other of channels.open) {
      if (other === this || other.name !== this.name) continue
      const copy = structuredClone(data)
      setTimeout(() => channels.open.has(other) && other.onmessage?.({ data: copy }), channels.latency())
    }
  }
  close() {
    channels.open.delete(this)
  }
}

export interface World {
  channels: Channels
  /** Fires an event of the page. */
  fire(type: string, more?: object): void
  /** A session that is stopped after the test, and all that it ever told. */
  tab(options: SessionOptions): { session: Session; told: Snapshot[] }
  navigator: { onLine: boolean }
  document: { hidden: boolean }
  pass(ms: number): Promise<unknown>
}

/** The events of a page. Not Node's own target: that one forgets signals when memory is collected. */
class Page {
  readonly #listeners = new Set<{ type: string; act: (event: Event) => void }>()
  listen = (type: string, act: (event: Event) => void, { signal }: { signal: AbortSignal }) => {
    const listener = { type, act }
    this.#listeners.add(listener)
    signal.addEventListener('abort', () => this.#listeners.delete(listener))
  }
  fire(event: Event) {
    for (const { type, act } of [...this.#listeners]) if (type === event.type) act(event)
  }
}

/** Fake clocks, page and channels for each test of the file. */
export const world = (): World => {
  let page = new Page()
  const sessions: Session[] = []
  const world: World = {
    channels,
    navigator: { onLine: true },
    document: { hidden: false },
    fire: (type, more = {}) => page.fire(Object.assign(new Event(type), more)),
    tab(options) {
      const session = createSession(options)
      const told: Snapshot[] = []
      session.subscribe((snapshot) => told.push(snapshot))
      sessions.push(session)
      return { session, told }
    },
    pass: (ms) => vi.advanceTimersByTimeAsync(ms),
  }

  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date', 'performance'], now: 1_800_000_000_000 })
    page = new Page()
    channels = world.channels = new Channels()
    world.navigator.onLine = true
    world.document.hidden = false
    vi.stubGlobal('navigator', world.navigator)
    vi.stubGlobal('document', world.document)
    vi.stubGlobal('BroadcastChannel', Channel)
    vi.stubGlobal('addEventListener', page.listen)
    vi.stubGlobal('location', new URL('https://app.example/'))
  })
  afterEach(() => {
    for (const session of sessions.splice(0)) session.stop()
    vi.unstubAllGlobals()
    vi.useRealTimers()
  })
  return world
}
