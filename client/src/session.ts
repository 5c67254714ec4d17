/**
 * The session of one tab: holds the access token in memory, and keeps it fresh.
 *
 * Two rules carry all of it. Only the server's `invalid_grant` and a confirmed logout end a session. And no tab waits for another:
 * tabs tell each other what they learned, but several may refresh at once, since the server gives all of them the same cookie.
 * There must never be a lock in here, nor anything in storage.
 */
import { alarm } from './alarm.js'
import { LoginError, LogoutError } from './errors.js'
import type { Judged } from './outcome.js'
import type { Session, SessionOptions, Snapshot } from './types.js'
import { wire } from './wire.js'

/** What a tab learned: it heeds this itself, and tells the others. */
interface News {
  /** When the refresh began, or the login or logout ended. A refresh that began before a login or logout says nothing about now. */
  at: number
  /** A login or logout: holds whatever was believed before. */
  sure: boolean
  /** The access token. Missing: the session is over. */
  token: string | undefined
  /** What to show. Its times are by the clock that all tabs share: a frozen tab reads this late. */
  next: Omit<Snapshot, 'epoch'>
}

export const createSession = (options: SessionOptions = {}): Session => {
  const { base = '', realm = 'portcullis' } = options
  const send = wire(options)
  const listeners = new Set<(snapshot: Snapshot) => void>()
  /** Those who wait for the outcome of a refresh. */
  const waiting: ((snapshot: Snapshot) => void)[] = []
  let snapshot: Snapshot = { status: 'unknown', reachable: true, epoch: 0 }
  let token: string | undefined
  /** When the last login or logout was, as far as this tab knows. */
  let changedAt = 0
  /** The refresh under way. The answer to one that was replaced is not heard. */
  let current: AbortController | undefined
  /** Logins and logouts, one after the other: each changes the cookie. */
  let changes: Promise<unknown> = Promise.resolve()
  /** From `start` to `stop`. */
  let life: AbortController | undefined
  let channel: BroadcastChannel | undefined
  /** Milliseconds: what the next try waits for at least, while tries fail. */
  let backoff: number
  /** The server said when to come back. */
  let held: boolean

  const set = (next: Snapshot) => {
    snapshot = next
    // Apart, so that a listener's fault is reported and stops nobody.
    for (const listener of listeners) queueMicrotask(() => listeners.has(listener) && listener(snapshot))
  }

  const settle = () => {
    for (const resolve of waiting.splice(0)) resolve(snapshot)
  }

  const hear = (news: News) => {
    const { at, sure, next } = news
    if (sure) {
      changedAt = at
      current?.abort()
      current = undefined
    } else if (at <= changedAt) return
    token = news.token
    if (token || snapshot.status !== 'none') set({ ...next, epoch: snapshot.epoch + +(sure || !token) })
    // Jitter, so that tabs do not all come at once: the first one spares the others the way.
    if (next.expiresAt) setAlarm(Math.max(1000, (next.expiresAt - Date.now()) * (0.75 + Math.random() * 0.15)))
    else stopAlarm()
    settle()
  }

  const tell = (at: number, sure: boolean, { tokens, outcome, reason }: Pick<Judged, 'tokens' | 'outcome' | 'reason'>) => {
    const ends = (seconds: number) => Date.now() + seconds * 1000
    const news: News = {
      at,
      sure,
      token: tokens?.access_token,
      next: {
        reachable: true,
        outcome,
        ...(tokens
          ? { status: 'active', expiresAt: ends(tokens.expires_in), sessionExpiresAt: ends(tokens.session_expires_in) }
          : { status: 'none', reason }),
      },
    }
    channel?.postMessage(news)
    hear(news)
  }

  const attempt = async () => {
    const mine = new AbortController()
    const ask = () => send('refresh', {}, mine)
    current = mine
    await changes
    if (current !== mine) return
    const at = Math.max(Date.now(), changedAt + 1)
    let judged = await ask()
    // A connection that died while the machine slept, mostly: once more, before anybody is told.
    if (current === mine && snapshot.reachable && judged.reason === 'network') judged = await ask()
    if (current !== mine) return
    current = undefined
    const { outcome, reason, retryAfter = 0 } = judged
    if (outcome === 'granted' || outcome === 'refused') return tell(at, false, judged)

    held = retryAfter > 0
    backoff = Math.min(60_000, snapshot.reachable ? 500 : backoff * 2)
    setAlarm(outcome === 'offline' ? Infinity : Math.max(backoff, retryAfter) * (1 + Math.random() / 2))
    set({ ...snapshot, reachable: false, outcome, reason })
    settle()
  }

  const refresh = (rejected?: string) =>
    new Promise<Snapshot>((resolve) => {
      const stale = rejected === (token ?? '') && (current || (snapshot.status !== 'none' && snapshot.reachable))
      if (rejected !== undefined && !stale) return resolve(snapshot)
      waiting.push(resolve)
      if (!current) attempt()
    })

  const [setAlarm, checkAlarm, stopAlarm] = alarm(() => life && refresh())

  const open = () => {
    if (!globalThis.BroadcastChannel) return
    channel = new BroadcastChannel(options.channel ?? `portcullis:1:${base}`)
    channel.onmessage = ({ data }) => hear(data)
  }

  const close = () => {
    channel?.close()
    channel = undefined
  }

  /** The page is looked at again, or the network is back. */
  const wake = () => {
    if (snapshot.status !== 'none' && !globalThis.document?.hidden) snapshot.reachable || held ? checkAlarm() : refresh()
  }

  const events: Record<string, (event: Event) => void> = {
    online: wake,
    visibilitychange: wake,
    // A page that is put away hears nothing, and may come back as it was: so it leaves with nothing protected on it.
    pagehide() {
      close()
      current = undefined
      set({ ...snapshot, status: 'unknown' })
    },
    pageshow(event) {
      if ((event as PageTransitionEvent).persisted) {
        open()
        refresh()
      }
    },
  }

  const change = <T>(work: () => Promise<T>) => {
    const done = changes.then(work)
    changes = done.catch(() => {})
    return done
  }

  return {
    base,
    snapshot: () => snapshot,
    subscribe(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    start() {
      if (!life) {
        life = new AbortController()
        for (const type in events) globalThis.addEventListener?.(type, events[type] as EventListener, life)
        open()
      }
      return refresh()
    },
    login: (username, password) =>
      change(async () => {
        // The answer to a refresh under way would bring the old session's cookie back. It is asked again, if the login fails.
        if (current) {
          current.abort()
          attempt()
        }
        const judged = await send('login', { body: { username, password } })
        if (!judged.tokens) throw new LoginError(judged)
        tell(Date.now(), true, judged)
      }),
    logout: (everywhere) =>
      change(async () => {
        const ask = (bearer?: string) => send(everywhere ? 'logout/all' : 'logout', { bearer })
        let judged = await ask(everywhere ? '' : token)
        // There is no cookie, and the token no longer counts. Without it the server says so by a 204.
        if (judged.status === 401) judged = await ask()
        if (judged.status !== 204) {
          // This session is over, but others may not be. Let all tabs hear what the server says to a refresh.
          if (judged.outcome === 'refused') refresh()
          throw new LogoutError(judged)
        }
        tell(Date.now(), true, { outcome: 'refused', reason: 'logout' })
      }),
    accessToken: () => token,
    refresh,
    isOurs: ({ status, headers }) => status === 401 && `${headers.get('www-authenticate')}`.includes(`Bearer realm="${realm}"`),
    stop() {
      life?.abort()
      life = undefined
      stopAlarm()
      close()
    },
  }
}
