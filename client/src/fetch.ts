/** A `fetch` that carries the access token, and repeats a request once after a 401 of ours. */
import { type CarryOptions, mayCarry, readOnce, unlessAborted } from './carry.js'
import type { Session } from './types.js'

export interface AuthorizedFetchOptions extends CarryOptions {
  /** Default: the global `fetch`. */
  fetch?: typeof fetch
}

/**
 * Requests to other origins, and those that have an `Authorization` of their own, pass as they are. A body that can be read only
 * once is not sent again: the caller gets the 401 then, and the next request has the new token.
 */
export const authorizedFetch = (session: Session, options: AuthorizedFetchOptions = {}): typeof fetch => {
  return async (input, init) => {
    const send = options.fetch ?? fetch
    const request = input instanceof Request ? input : undefined
    const headers = new Headers(init?.headers ?? request?.headers)
    if (headers.has('authorization') || !mayCarry(session, request?.url ?? `${input}`, options)) return send(input, init)

    const signal = init?.signal ?? request?.signal
    // Before the first answer has come: wait for it rather than be refused.
    if (session.snapshot().status === 'unknown' && !session.accessToken()) await unlessAborted(session.refresh(''), signal)

    const go = (target: RequestInfo | URL) => {
      const token = session.accessToken()
      if (token) headers.set('authorization', `Bearer ${token}`)
      return send(target, { ...init, headers })
    }
    const spare = request && !init?.body && !request.bodyUsed ? request.clone() : undefined
    const token = session.accessToken()
    const response = await go(input)
    if (session.isOurs(response)) {
      await unlessAborted(session.refresh(token ?? ''), signal)
      const next = session.accessToken()
      if (next && next !== token && !readOnce(init?.body)) {
        void response.body?.cancel()
        return go(spare ?? input)
      }
    }
    void spare?.body?.cancel()
    return response
  }
}
