/**
 * A transport for native clients that have no cookie jar: the refresh token travels in JSON bodies, and the app keeps it.
 *
 * Never for a website: a script that can read the refresh token can send it away. The server must allow it (`native_clients`), and
 * refuses it to pages other than the web views that are listed.
 *
 * The new token is stored before the answer is handed on. Until an access token of the new generation is used, the server takes
 * the old refresh token too: so an app that dies between the two comes back with either.
 */
import type { Transport } from './types.js'

/** Where the app keeps the refresh token: a keychain or keystore. */
export interface TokenStorage {
  get(): Promise<string | null | undefined>
  /** Resolves when the token would survive the end of the app. Until then the old one must stay. */
  set(refreshToken: string): Promise<void>
  clear(): Promise<void>
}

export interface BodyTransportOptions {
  storage: TokenStorage
  /** Default: the global `fetch`. */
  fetch?: typeof fetch
}

export const bodyTransport = ({ storage, fetch: send = fetch }: BodyTransportOptions): Transport => {
  /** Reads and writes, one after the other. */
  let queue: Promise<unknown> = Promise.resolve()
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const done = queue.then(work)
    queue = done.catch(() => {})
    return done
  }

  return async ({ call, url, body, bearer, signal }) => {
    const stored = call === 'login' ? undefined : await inTurn(() => storage.get())
    if (call === 'refresh' && !stored) {
      // What the server would say. An app that was never logged in needs no network to know.
      return new Response('{"error":"invalid_grant","reason":"token_missing"}', { status: 400 })
    }
    const members = call === 'login' ? { ...body, transport: 'body' } : stored ? { refresh_token: stored } : undefined
    const response = await send(url, {
      method: 'POST',
      credentials: 'omit',
      redirect: 'error',
      signal,
      headers: { ...(members && { 'content-type': 'application/json' }), ...(bearer && { authorization: `Bearer ${bearer}` }) },
      body: members ? JSON.stringify(members) : null,
    })
    const next =
      response.status === 200
        ? (
            await response
              .clone()
              .json()
              .catch(() => undefined)
          )?.refresh_token
        : undefined
    await inTurn(async () => {
      // A login or logout may have come between: the answer to a refresh replaces only what it was asked with.
      if (typeof next === 'string') {
        if (call === 'login' || (await storage.get()) === stored) await storage.set(next)
      } else if (response.status === 204 && call !== 'login') await storage.clear()
    })
    return response
  }
}
