/** What `login` and `logout` throw. */
class CallError extends Error {
  constructor(
    /** The HTTP status; 0 if there was no answer. */
    readonly status: number,
    /** The server's word, such as `credentials_wrong`, or ours: `network`, `timeout`, `offline`, `not_ours`, `superseded`, `http_502`. */
    readonly reason: string,
    /** Milliseconds to wait before the next try, if the server said so. */
    readonly retryAfter?: number,
  ) {
    super(reason)
  }
}

/** Nobody was logged in. `reason` `credentials_wrong`: user or password. A `status` of 0, 429 or 5xx: not now. */
export class LoginError extends CallError {}

/** The end of the session was not confirmed. It may still live, so nothing was dropped. */
export class LogoutError extends CallError {}
