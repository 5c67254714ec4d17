/** The server's rule of rotation, one browser's cookie jar, and a network between them that loses, delays and cuts. */
import { vi } from 'vitest'
import { challenge, json, refused } from './world.js'

export const GRACE = 30_000
const ACCESS = 60_000

interface Record {
  generation: number
  rotatedAt: number
  used: boolean
  ended?: string
}

/** Judges as the proxy does (the contract's table), for clients that all look alike. */
export class Server {
  sessions = new Map<string, Record>()
  /** The store cannot be asked. */
  away = false
  counts = { kept: 0, rotated: 0, retried: 0, late: 0, reused: 0 }

  login() {
    const id = `s${this.sessions.size}`
    this.sessions.set(id, { generation: 0, rotatedAt: -Infinity, used: false })
    return this.#tokens(id)
  }

  refresh(cookie: string | undefined) {
    if (this.away) return json(503, { reason: 'store_unavailable' }, { 'retry-after': '2' })
    const [id = '', generation] = cookie?.split('.') ?? []
    const session = this.sessions.get(id)
    if (!session) return refused(cookie ? 'session_unknown' : 'token_missing')
    if (session.ended) return refused('session_ended')
    const presented = Number(generation)
    const age = Date.now() - session.rotatedAt
    const open = age < GRACE
    if (presented === session.generation && open) {
      this.counts.kept++
      session.used = true
    } else if (presented >= session.generation) {
      this.counts.rotated++
      Object.assign(session, { generation: presented + 1, rotatedAt: Date.now(), used: false })
    } else if (presented + 1 < session.generation) {
      return this.#reused(session)
    } else if (open && age < GRACE / 2) {
      this.counts.retried++
    } else if (!session.used) {
      this.counts[open ? 'retried' : 'late']++
      session.rotatedAt = Date.now()
    } else if (open) {
      this.counts.retried++
    } else {
      return this.#reused(session)
    }
    return this.#tokens(id)
  }

  logout(cookie: string | undefined) {
    if (this.away) return json(503, { reason: 'store_unavailable' }, { 'retry-after': '2' })
    const session = this.sessions.get(cookie?.split('.')[0] ?? '')
    if (session) session.ended ??= 'logout'
    return json(204, undefined, { 'x-cookie': '' })
  }

  /** A protected route. */
  api(bearer: string | null) {
    const [id = '', generation, expires] = bearer?.replace('Bearer ', '').split('.') ?? []
    const session = this.sessions.get(id)
    if (!session) return challenge(false)
    if (session.ended || Date.now() > Number(expires)) return challenge(true)
    if (Number(generation) === session.generation) session.used = true
    return json(200, { id })
  }

  #reused(session: Record) {
    this.counts.reused++
    session.ended = 'reuse'
    return refused('token_reused')
  }

  #tokens(id: string) {
    const generation = this.sessions.get(id)?.generation
    return json(
      200,
      {
        access_token: `${id}.${generation}.${Date.now() + ACCESS}.${Math.random()}`,
        expires_in: ACCESS / 1000,
        session_expires_in: 2_592_000,
      },
      { 'x-cookie': `${id}.${generation}` },
    )
  }
}

/** Numbers that a seed decides. */
export const seeded = (seed: number) => {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** One browser: all its tabs share the cookie. A fifth of what is sent or answered is lost, if the weather is bad. */
export class Browser {
  cookie: string | undefined
  bad = true
  lost = 0
  readonly #pages = new Set<Set<AbortController>>()

  constructor(
    readonly server: Server,
    readonly random: () => number,
  ) {}

  /** Waits a while, mostly short, and says whether it got through. */
  #leg(signal: AbortSignal | null | undefined) {
    const chance = this.bad ? this.random() : 1
    const ms = this.random() ** 6 * (this.bad ? 14_000 : 50)
    return new Promise<void>((resolve, reject) => {
      const cut = () => {
        this.lost++
        reject(signal?.reason)
      }
      if (signal?.aborted) return cut()
      signal?.addEventListener('abort', cut, { once: true })
      if (chance < 0.05) return // black hole: only giving up ends it
      setTimeout(() => {
        signal?.removeEventListener('abort', cut)
        if (chance < 0.2) {
          this.lost++
          reject(new TypeError('Failed to fetch'))
        } else resolve()
      }, ms)
    })
  }

  /** What a page of this browser has: its fetch, and its end, which cuts all that is under way. */
  page() {
    const under = new Set<AbortController>()
    this.#pages.add(under)
    const send: typeof fetch = async (input, init) => {
      const cut = new AbortController()
      const { signal } = init ?? {}
      signal?.addEventListener('abort', () => cut.abort(signal.reason))
      under.add(cut)
      return this.#exchange(`${input}`, { ...init, signal: cut.signal }).finally(() => under.delete(cut))
    }
    const unload = () => {
      for (const cut of under) cut.abort()
    }
    return { fetch: send, unload }
  }

  /**
   * The machine sleeps: wall clocks go on, connections die. A request that is kept through that and goes out afterwards, with a cookie
   * that is two generations old by then, is beyond what the rule can forgive: the sender looks like a thief.
   */
  sleep(ms: number) {
    for (const under of this.#pages) for (const cut of under) cut.abort()
    vi.setSystemTime(Date.now() + ms)
  }

  async #exchange(url: string, init: RequestInit) {
    const { cookie } = this
    await this.#leg(init.signal)
    const path = new URL(url, 'https://app.example').pathname
    const answer =
      path === '/refresh'
        ? this.server.refresh(cookie)
        : path === '/login'
          ? this.server.login()
          : path === '/logout'
            ? this.server.logout(cookie)
            : this.server.api(new Headers(init.headers).get('authorization'))
    await this.#leg(init.signal)
    const set = answer.headers.get('x-cookie')
    if (set !== null) this.cookie = set || undefined
    return answer
  }
}
