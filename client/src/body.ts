/**
 * A transport for native clients that have no cookie jar: the refresh token travels in the JSON body, and the app keeps it.
 *
 * Never for a web page: a script that can read the refresh token can send it away. The server must allow it, and never mixes it
 * with cookies.
 */
import type { Transport } from './types.js'

/** Where the app keeps the refresh token: a keychain or keystore. `set` resolves when the token would survive a crash. */
export interface TokenStorage {
  get(): Promise<string | null | undefined>
  set(refreshToken: string): Promise<void>
  clear(): Promise<void>
}

export interface BodyTransportOptions {
  storage: TokenStorage
  /** Default: the global `fetch`. */
  fetch?: typeof fetch
}

export const bodyTransport = ({ storage, fetch: send = fetch }: BodyTransportOptions): Transport => {
  return async ({ call, url, body, signal }) => {
    const stored = call === 'login' ? undefined : await storage.get()
    const response = await send(url, {
      method: 'POST',
      credentials: 'omit',
      redirect: 'error',
      signal,
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(call === 'login' ? { ...body, refresh_token: true } : { refresh_token: stored ?? '' }),
    })
    const answer =
      response.ok && response.status !== 204
        ? await response
            .clone()
            .json()
            .catch(() => undefined)
        : undefined
    if (typeof answer?.refresh_token === 'string') await storage.set(answer.refresh_token)
    else if (response.status === 204) await storage.clear()
    return response
  }
}
