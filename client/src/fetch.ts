/** A `fetch` that carries the access token, and repeats a request once after a 401 of ours. */
import { type CarryOptions, mayCarry, unlessAborted } from './carry.js'
import type { Session } from './types.js'

export interface AuthorizedFetchOptions extends CarryOptions {
  /** Default: the global `fetch`. */
  fetch?: typeof fetch
}

export const authorizedFetch = (session: Session, options: AuthorizedFetchOptions = {}): typeof fetch => {
  return async (input, init) => {
    const send = options.fetch ?? fetch
    const request = input instanceof Request ? input : undefined
    const headers = new Headers(init?.headers ?? request?.headers)
    if (headers.has('authorization') || !mayCarry(session, request?.url ?? `${input}`, options)) return send(input, init)

    const signal = init?.signal ?? request?.signal
    // Asked before the first answer has come: wait for it rather than be refused.
    if (session.snapshot().status === 'unknown' && !session.accessToken()) await unlessAborted(session.refresh(''), signal)

    const stream = init?.body instanceof ReadableStream
    const spare = request?.body && !init?.body && !request.bodyUsed ? request.clone() : undefined
    const go = (target: RequestInfo | URL, token: string | undefined) => {
      if (token) headers.set('authorization', `Bearer ${token}`)
      return send(target, { ...init, headers })
    }
    const token = session.accessToken()
    const response = await go(input, token)
    if (!session.isOurs(response)) {
      void spare?.body?.cancel()
      return response
    }
    await unlessAborted(session.refresh(token ?? ''), signal)
    const next = session.accessToken()
    if (!next || next === token || stream) return response
    void response.body?.cancel()
    return go(spare ?? input, next)
  }
}
