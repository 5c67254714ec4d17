import type { Judged } from './outcome.js'

/** What `login` and `logout` throw. */
class CallError extends Error {
  /** The HTTP status; 0 if there was no answer. */
  declare readonly status: number
  /** The server's word, such as `credentials_wrong`, or ours: `network`, `timeout`, `offline`, or `http_` and the status. */
  declare readonly reason: string
  /** Milliseconds to wait before the next try, if the server said so. */
  declare readonly retryAfter?: number

  constructor(judged: Judged) {
    super(judged.reason)
    Object.assign(this, judged)
  }
}

/** Nobody was logged in. `reason` `credentials_wrong`: user name or password. A `status` of 0, 429 or 5xx: not now. */
export class LoginError extends CallError {}

/** The server did not confirm the end of the session. It may still live, so nothing was dropped. */
export class LogoutError extends CallError {}
