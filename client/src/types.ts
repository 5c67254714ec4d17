/** The public types of the core. Types only: nothing of this file is shipped. */

/**
 * What the page may show. `unknown`: no answer yet, show neither the login page nor anything protected. `active`: there is an
 * access token. `none`: there is no session, show the login page.
 */
export type Status = 'unknown' | 'active' | 'none'

/**
 * What came of asking the server. Closed: whatever happens on the way is one of these, and only `refused` ends a session.
 *
 * - `granted`: a new access token.
 * - `refused`: the server has said that there is no session, in answer to a refresh or to a logout.
 * - `unreachable`: no answer, an answer too late, a 429, a 5xx, or an answer that is not the server's. Tried again.
 * - `offline`: the same, and the device says that it has no network. Tried again when it has.
 * - `misconfigured`: an answer that a healthy set-up never gives, such as 403 `cross_site` or 404. Tried again, since it may be
 *   mended; nobody is logged out by it. `reason` says what to look for.
 */
export type Outcome = 'granted' | 'refused' | 'unreachable' | 'offline' | 'misconfigured'

/** What is known now. The same object is returned until something changes. */
export interface Snapshot {
  readonly status: Status
  /** False after a try failed, until one succeeds: say "You are still logged in". */
  readonly reachable: boolean
  /** What came of the last try; missing before the first. */
  readonly outcome?: Outcome
  /** The server's word for a refusal or a failure, such as `session_ended`, or ours: `network`, `timeout`, `offline`, `logout`, or `http_` and the status. */
  readonly reason?: string
  /** When the access token expires, like `Date.now()`. For display only: deadlines are kept by another clock. */
  readonly expiresAt?: number
  /** When the session ends whatever is refreshed, like `Date.now()`. For display only. */
  readonly sessionExpiresAt?: number
  /** Another number means another login, or its end: forget what was loaded for the one before. */
  readonly epoch: number
}

/** What the core asks of the server. */
export type Call = 'login' | 'refresh' | 'logout' | 'logout/all'

/** One call, for a transport to carry. All of them are POST. */
export interface TransportRequest {
  readonly call: Call
  readonly url: string
  readonly signal: AbortSignal
  readonly body?: Record<string, string> | undefined
  /** To be sent as `Authorization: Bearer`, so that a logout still works when the cookie is gone. */
  readonly bearer?: string | undefined
}

/** How calls reach the server. The default sends the cookie; `portcullis-client/body` is for clients without a cookie jar. */
export type Transport = (request: TransportRequest) => Promise<Response>

export interface SessionOptions {
  /** Where Portcullis is, without a slash at the end. Default: the origin of the page. */
  base?: string
  /** Paths of the endpoints, where the configuration names others than `/login`, `/refresh`, `/logout` and `/logout/all`. */
  paths?: Partial<Record<Call, string>>
  /** The realm in the challenge of a 401 of ours. Default `portcullis`. */
  realm?: string
  /** Default: the global `fetch`. */
  fetch?: typeof fetch
  /** The name under which tabs talk to each other. */
  channel?: string
  transport?: Transport
}

export interface Session {
  /** Where Portcullis is; empty for the origin of the page. */
  readonly base: string
  snapshot(): Snapshot
  /** Calls `listener` at each change. Returns how to stop that. Fits `useSyncExternalStore`. */
  subscribe(listener: (snapshot: Snapshot) => void): () => void
  /**
   * Asks for an access token, and keeps the session fresh from now on. Resolves when the outcome is known, or when the first
   * try failed: then the status is still `unknown`, and tries go on.
   */
  start(): Promise<Snapshot>
  /** Begins a session, in all tabs. Call `start` first. @throws LoginError */
  login(username: string, password: string): Promise<void>
  /**
   * Ends this session, or all sessions of the user, on the server and then in all tabs.
   * @throws LogoutError if the server did not confirm it. Then nothing was dropped, because the session may live: tell the user.
   */
  logout(everywhere?: boolean): Promise<void>
  /** The access token. It may have expired: then the server says so, and the adapters ask for another. */
  accessToken(): string | undefined
  /**
   * Asks for a new access token; one try at a time. Never rejects: see the snapshot.
   *
   * With `rejected`, the token that a 401 was for, it asks only if that is still the current one, and not while backing off.
   */
  refresh(rejected?: string): Promise<Snapshot>
  /** Whether a response is a 401 of Portcullis, and not of an app behind it. */
  isOurs(response: { status: number; headers: { get(name: string): unknown } }): boolean
  /** Leaves timers, events and other tabs alone until `start` is called again. The token stays. */
  stop(): void
}
