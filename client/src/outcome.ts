/**
 * Judges an answer. Whatever arrives falls into one class, and only a 400 `invalid_grant` of the server's own ends a session: a
 * captive portal, a proxy in between or a wrong configuration can never log anyone out.
 */
import type { Outcome } from './types.js'

/** The body of a token response. */
export interface Tokens {
  readonly access_token: string
  readonly expires_in: number
  readonly session_expires_in?: number
}

/** An answer, judged. */
export type Judged =
  | { readonly outcome: 'granted'; readonly tokens: Tokens }
  | { readonly outcome: Exclude<Outcome, 'granted'>; readonly status: number; readonly reason: string; readonly retryAfter?: number }

/** Milliseconds, from `Retry-After` in seconds or as a date (RFC 9110 section 10.2.3). */
const retryAfter = (response: Response): { retryAfter?: number } => {
  const value = response.headers.get('retry-after')
  const wait = value && (+value >= 0 ? +value * 1000 : Date.parse(value) - Date.now())
  return wait && wait > 0 ? { retryAfter: wait } : {}
}

export const judge = async (response: Response): Promise<Judged> => {
  const { status } = response
  const body = await response.json().catch(() => undefined)
  if (status === 200 && typeof body?.access_token === 'string' && body.expires_in >= 0) return { outcome: 'granted', tokens: body }
  return {
    outcome:
      status === 400 && body?.error === 'invalid_grant'
        ? 'refused'
        : status === 408 || status === 429 || status > 499 || status < 400
          ? 'unreachable'
          : 'misconfigured',
    status,
    reason: typeof body?.reason === 'string' ? body.reason : status < 400 ? 'not_ours' : `http_${status}`,
    ...retryAfter(response),
  }
}
