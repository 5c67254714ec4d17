/**
 * Judges an answer. Whatever arrives falls into one class, and only the server's own 400 `invalid_grant` ends a session: a captive
 * portal, a proxy in between or a wrong configuration can never log anyone out.
 */
import type { Outcome } from './types.js'

/** The body of a token response. */
export interface Tokens {
  readonly access_token: string
  readonly expires_in: number
  readonly session_expires_in: number
}

/** An answer, judged. */
export interface Judged {
  readonly outcome: Outcome
  /** 0 if there was no answer. */
  readonly status: number
  readonly reason: string
  /** Milliseconds to wait before the next try, if the server said so. */
  readonly retryAfter?: number | undefined
  /** There if the outcome is `granted`, and only then. */
  readonly tokens?: Tokens | undefined
}

/** Milliseconds, from seconds or a date (RFC 9110 section 10.2.3). */
const retryAfter = (headers: Headers): number | undefined => {
  const after = headers.get('retry-after') ?? 0
  return Math.max(0, +after >= 0 ? +after * 1000 : Date.parse(`${after}`) - Date.now()) || undefined
}

export const judge = async (response: Response): Promise<Judged> => {
  const { status, headers } = response
  const body = (await response.json().catch(() => 0)) || {}
  const granted = status === 200 && body.access_token && body.expires_in >= 0
  const refused = status === 400 && body.error === 'invalid_grant'
  const passing = status < 400 || status > 499 || status === 429 || status === 408
  return {
    outcome: granted ? 'granted' : refused ? 'refused' : passing ? 'unreachable' : 'misconfigured',
    status,
    reason: body.reason ?? `http_${status}`,
    retryAfter: retryAfter(headers),
    tokens: granted && body,
  }
}
