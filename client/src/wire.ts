/** Carries one call to the server, and always comes back with a judgement: no fault in here is an exception. */
import { type Judged, judge } from './outcome.js'
import type { Call, SessionOptions, Transport, TransportRequest } from './types.js'

/** Makes one call. */
export type Send = (call: Call, more: Pick<TransportRequest, 'body' | 'bearer'>, control?: AbortController) => Promise<Judged>

export const wire = ({ base = '', paths, fetch: send = fetch, transport }: SessionOptions): Send => {
  /** The refresh token is in the cookie. No header and no body that a browser would ask another origin about first. */
  const cookies: Transport = ({ url, body, bearer, signal }) =>
    send(url, {
      method: 'POST',
      credentials: 'include',
      redirect: 'error',
      signal,
      headers: bearer ? { authorization: `Bearer ${bearer}` } : {},
      body: body ? new URLSearchParams(body) : null,
    })

  return (call, more, control = new AbortController()) =>
    new Promise((resolve) => {
      const fail = (reason: string) => {
        const offline = globalThis.navigator?.onLine === false && 'offline'
        resolve({ outcome: offline || 'unreachable', status: 0, reason: offline || reason })
      }
      // Whatever becomes of the transport, there is an answer by then. A refresh is given up well within the server's grace (30 s),
      // so that the next try yields the same answer. Login and logout are not tried again by themselves, and get more time.
      const timer = setTimeout(
        () => {
          fail('timeout')
          control.abort()
        },
        call === 'refresh' ? 10_000 : 30_000,
      )
      Promise.resolve({ call, url: base + (paths?.[call] ?? `/${call}`), signal: control.signal, ...more })
        .then(transport ?? cookies)
        .then(judge)
        .then(resolve, () => fail('network'))
        .finally(() => clearTimeout(timer))
    })
}
