/**
 * The session of one tab: holds the access token in memory, and keeps it fresh.
 *
 * Two rules carry all of it. Only the server's `invalid_grant` and a confirmed logout end a session. And no tab waits for another:
 * tabs tell each other what they learned, but several may refresh at once, since the server gives all of them the same cookie.
 * There must never be a lock in here, nor anything in storage.
 */
import { LoginError, LogoutError } from './errors.js'
import { type Judged, judge, type Tokens } from './outcome.js'
import type { Call, Outcome, Session, SessionOptions, Snapshot, Transport, TransportRequest } from './types.js'

/** A refresh is given up after this, well within the server's grace (30 s), so that the next try yields the same answer. */
const GIVE_UP = 10_000
/** Login and logout have no second try, so they get more time. */
const GIVE_UP_LATE = 30_000
const LONGEST_BACKOFF = 60_000
/** A `Retry-After` beyond this is taken as this. */
const LONGEST_HOLD = 3_600_000

/** What one tab tells the others. */
interface Message {
  /** When the refresh began, or the login or logout ended. A refresh from before a login or logout says nothing about what is now. */
  at: number
  /** A login or logout: holds whatever the receiver believes. */
  sure: boolean
  /** Present: there is a new access token. Missing: the session is over. */
  tokens?: Tokens
  /** When it expires, by the clock that all tabs share: a frozen tab may read this late. */
  until?: number
  outcome?: Outcome
  reason?: string
}

const cookies =
  (send: typeof fetch = fetch): Transport =>
  ({ url, body, bearer, signal }) =>
    send(url, {
      method: 'POST',
      credentials: 'include',
      cache: 'no-store',
      redirect: 'error',
      signal,
      headers: { ...(body && { 'content-type': 'application/json' }), ...(bearer && { authorization: `Bearer ${bearer}` }) },
      ...(body && { body: JSON.stringify(body) }),
    })

export const createSession = (options: SessionOptions = {}): Session => {
  const base = options.base ?? ''
  const paths: Record<Call, string> = {
    login: '/login',
    refresh: '/refresh',
    logout: '/logout',
    logoutAll: '/logout/all',
    ...options.paths,
  }
  const transport = options.transport ?? cookies(options.fetch)
  const listeners = new Set<(snapshot: Snapshot) => void>()
  /** Those who wait for the outcome of a refresh. */
  const waiting: ((snapshot: Snapshot) => void)[] = []
  let snapshot: Snapshot = { status: 'unknown', reachable: true, epoch: 0 }
  let token: string | undefined
  /** When the last login or logout was, as far as this tab knows. */
  let changedAt = 0
  /** The refresh or login under way. An answer to one that was replaced is not heard. */
  let current: AbortController | undefined
  /** The logout under way: a late one must not clear the cookie of the next login. */
  let ending: Promise<unknown> | undefined
  /** From `start` to `stop`. */
  let life: AbortController | undefined
  let channel: BroadcastChannel | undefined
  let failures = 0
  /** The server said when to come back. */
  let held = false
  let timer: ReturnType<typeof setTimeout> | undefined
  let wait = 0
  let since = { steady: 0, wall: 0 }

  const set = (next: Snapshot) => {
    snapshot = next
    for (const listener of [...listeners]) {
      try {
        listener(next)
      } catch (error) {
        // One listener's fault must not stop the session. It is reported all the same.
        setTimeout(() => {
          throw error
        })
      }
    }
  }

  const settle = () => {
    for (const resolve of waiting.splice(0)) resolve(snapshot)
  }

  /** Steady clocks may stop while the machine sleeps, wall clocks may be set: the later one counts. Too early costs a refresh. */
  const tick = () => {
    clearTimeout(timer)
    const left = wait - Math.max(performance.now() - since.steady, Date.now() - since.wall)
    if (left <= 0) void refresh()
    else if (life) timer = setTimeout(tick, Math.min(left, LONGEST_HOLD))
  }

  const schedule = (ms: number) => {
    wait = ms
    since = { steady: performance.now(), wall: Date.now() }
    clearTimeout(timer)
    if (life) tick()
  }

  /** Something has changed for the better, perhaps: the page is looked at, or the network is back. */
  const wake = () => {
    if (snapshot.status === 'none') return
    if (snapshot.reachable || held) tick()
    else void refresh()
  }

  const post = (message: Message) => channel?.postMessage(message)

  const adopt = (tokens: Tokens, sure: boolean) => {
    const now = Date.now()
    const ttl = tokens.expires_in * 1000
    const ends = tokens.session_expires_in
    token = tokens.access_token
    failures = 0
    held = false
    // Jitter, so that the tabs of a browser do not all come at once: the first one spares the others the way.
    schedule(Math.max(1000, ttl * (0.75 + Math.random() * 0.15)))
    set({
      status: 'active',
      reachable: true,
      outcome: 'granted',
      expiresAt: now + ttl,
      ...(ends !== undefined && { sessionExpiresAt: now + ends * 1000 }),
      epoch: snapshot.epoch + +(sure || snapshot.status === 'none'),
    })
    settle()
    return now + ttl
  }

  const end = (reason: string, outcome?: Outcome) => {
    token = undefined
    failures = 0
    held = false
    clearTimeout(timer)
    if (snapshot.status !== 'none') set({ status: 'none', reachable: true, ...(outcome && { outcome }), reason, epoch: snapshot.epoch + 1 })
    settle()
  }

  const hear = ({ data }: MessageEvent<Message>) => {
    const { at, sure, tokens, until = 0 } = data
    if (sure) {
      changedAt = at
      current?.abort()
      current = undefined
    } else if (at <= changedAt || (tokens && until <= (snapshot.expiresAt ?? 0))) return
    const left = Math.min(tokens?.expires_in ?? 0, (until - Date.now()) / 1000)
    if (!tokens) end(data.reason ?? '', data.outcome)
    else if (left > 0) adopt({ ...tokens, expires_in: left }, sure)
  }

  const open = () => {
    if (typeof BroadcastChannel === 'undefined') return
    channel = new BroadcastChannel(options.channel ?? `portcullis:1:${base}`)
    channel.onmessage = hear
  }

  const close = () => {
    channel?.close()
    channel = undefined
  }

  const begin = () => {
    if (life) return
    life = new AbortController()
    const { signal } = life
    const on = (target: EventTarget | undefined, type: string, act: (event: PageTransitionEvent) => void) =>
      target?.addEventListener?.(type, act as (event: Event) => void, { signal })
    open()
    on(globalThis, 'online', wake)
    on(globalThis.document, 'visibilitychange', () => document.visibilityState === 'visible' && wake())
    // A page that is put away hears nothing. It comes back as it left, so it leaves with nothing protected on it.
    on(globalThis, 'pagehide', ({ persisted }) => {
      if (!persisted) return
      close()
      set({ ...snapshot, status: 'unknown' })
    })
    on(globalThis, 'pageshow', ({ persisted }) => {
      if (!persisted) return
      open()
      void refresh()
    })
  }

  /** One call, judged. Never rejects. */
  const send = async (
    call: Call,
    control: AbortController,
    ms: number,
    more?: Pick<TransportRequest, 'body' | 'bearer'>,
  ): Promise<Judged> => {
    let timeout: ReturnType<typeof setTimeout> | undefined
    try {
      return await Promise.race([
        transport({ call, url: base + paths[call], signal: control.signal, ...more }).then(judge),
        new Promise<never>((_, reject) => {
          timeout = setTimeout(() => {
            reject('timeout')
            control.abort()
          }, ms)
        }),
      ])
    } catch (error) {
      const offline = globalThis.navigator?.onLine === false
      return {
        outcome: offline ? 'offline' : 'unreachable',
        status: 0,
        reason: offline ? 'offline' : error === 'timeout' ? error : 'network',
      }
    } finally {
      clearTimeout(timeout)
    }
  }

  const attempt = async () => {
    const at = Date.now()
    const mine = new AbortController()
    current = mine
    let judged = await send('refresh', mine, GIVE_UP)
    if (judged.outcome === 'unreachable' && judged.reason === 'network' && !failures && current === mine) {
      // A connection that died while the machine slept, mostly. Once more, before anybody is told.
      await new Promise((resolve) => setTimeout(resolve, 100 + Math.random() * 200))
      if (current === mine) judged = await send('refresh', mine, GIVE_UP)
    }
    if (current !== mine) return
    current = undefined

    if (judged.outcome === 'granted') {
      post({ at, sure: false, tokens: judged.tokens, until: adopt(judged.tokens, false) })
    } else if (judged.outcome === 'refused') {
      const { outcome, reason } = judged
      if (snapshot.status !== 'none') post({ at, sure: false, outcome, reason })
      end(reason, outcome)
    } else {
      const { outcome, reason, retryAfter = 0 } = judged
      held = retryAfter > 0
      const backoff = outcome === 'offline' ? LONGEST_BACKOFF : Math.min(LONGEST_BACKOFF, 1000 * 2 ** failures++)
      schedule(Math.max(backoff * (0.5 + Math.random() / 2), Math.min(retryAfter, LONGEST_HOLD) * (1 + Math.random() / 10)))
      if (snapshot.reachable || snapshot.reason !== reason) set({ ...snapshot, reachable: false, outcome, reason })
      settle()
    }
  }

  const refresh = (rejected?: string): Promise<Snapshot> =>
    new Promise((resolve) => {
      const compare = rejected !== undefined
      if (compare && (rejected !== (token ?? '') || (!current && (snapshot.status === 'none' || !snapshot.reachable))))
        return resolve(snapshot)
      waiting.push(resolve)
      if (!current) void attempt()
    })

  return {
    base,
    snapshot: () => snapshot,
    subscribe(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    start() {
      begin()
      return refresh()
    },
    async login(username, password) {
      begin()
      await ending
      // The answer to a refresh would bring the old session's cookie back.
      const interrupted = current
      interrupted?.abort()
      const mine = new AbortController()
      current = mine
      const judged = await send('login', mine, GIVE_UP_LATE, { body: { username, password } })
      if (current !== mine) throw new LoginError(0, 'superseded')
      current = undefined
      if (judged.outcome === 'granted') {
        changedAt = Date.now()
        post({ at: changedAt, sure: true, tokens: judged.tokens, until: adopt(judged.tokens, true) })
        return
      }
      if (interrupted) void refresh()
      else settle()
      throw new LoginError(judged.status, judged.reason, judged.retryAfter)
    },
    async logout(everywhere) {
      const call = everywhere ? 'logoutAll' : 'logout'
      const bearer = everywhere ? undefined : token
      const ask = async () => {
        const first = await send(call, new AbortController(), GIVE_UP_LATE, bearer ? { bearer } : {})
        // No cookie, and a token that no longer counts: ask without it, and hear that there is nothing to end.
        return bearer && first.outcome !== 'granted' && first.status === 401 ? send(call, new AbortController(), GIVE_UP_LATE) : first
      }
      const asked = ask()
      ending = asked
      const judged = await asked
      if (judged.outcome === 'granted' || judged.status !== 204) {
        // The session is over already, but the others may not be.
        if (judged.outcome === 'refused') void refresh()
        if (judged.outcome === 'granted') throw new LogoutError(200, 'not_ours')
        throw new LogoutError(judged.status, judged.reason, judged.retryAfter)
      }
      changedAt = Date.now()
      current = undefined
      post({ at: changedAt, sure: true, reason: 'logout' })
      end('logout')
    },
    accessToken: () => token,
    refresh,
    isOurs: ({ status, headers }) =>
      status === 401 && `${headers.get('www-authenticate')}`.includes(`Bearer realm="${options.realm ?? 'portcullis'}"`),
    stop() {
      life?.abort()
      life = undefined
      clearTimeout(timer)
      close()
    },
  }
}
