/** What the adapters share: where the token may go, what can be sent twice, and waiting that the caller can end. */
import type { Session } from './types.js'

export interface CarryOptions {
  /** Further origins that may see the access token. The page's own and that of Portcullis always may. */
  origins?: readonly string[]
}

const here = () => globalThis.location?.href
/** What relative addresses are relative to: a `<base>` may lead to another origin. */
const base = () => globalThis.document?.baseURI ?? here()

/** Whether a request to `url` may carry the token. Sent to any other origin, it would be given away. */
export const mayCarry = (session: Session, url: string, { origins = [] }: CarryOptions): boolean => {
  const home = session.base || here()
  try {
    const { origin } = new URL(url, base() ?? home)
    return [here(), home, ...origins].some((known) => known !== undefined && new URL(known, here()).origin === origin)
  } catch {
    return false
  }
}

/** Whether a body can be read only once, and so be sent only once. */
export const readOnce = (body: unknown): boolean =>
  typeof body === 'object' && body !== null && ('getReader' in body || 'pipe' in body || Symbol.asyncIterator in body)

/** Waits for `promise`, unless the caller no longer wants to. What he waited for goes on. */
export const unlessAborted = <T>(promise: Promise<T>, signal?: AbortSignal | null): Promise<T> =>
  signal
    ? new Promise((resolve, reject) => {
        const abort = () => reject(signal.reason)
        if (signal.aborted) return abort()
        signal.addEventListener('abort', abort, { once: true })
        promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
      })
    : promise
