/** Addresses for WebSocket and EventSource, which cannot carry a header: a ticket for one request takes the token's place. */
import { type AuthorizedFetchOptions, authorizedFetch } from './fetch.js'
import type { Session } from './types.js'

export interface TicketOptions extends AuthorizedFetchOptions {
  /** Where tickets are had (`endpoints.ticket`). Default: `/ticket`, at the host of the address. */
  path?: string
}

/** There is no ticket. */
export class TicketError extends Error {
  /** The HTTP status. */
  declare readonly status: number

  constructor(status: number) {
    super(`no ticket: ${status}`)
    Object.assign(this, { status })
  }
}

/**
 * The address with a ticket in it. It is good for one request, for half a minute: ask for it right before each time that you
 * connect, also to connect again.
 */
export const withTicket = async (session: Session, address: string | URL, options: TicketOptions = {}): Promise<string> => {
  const url = new URL(address, globalThis.location?.href)
  // ws: is http:, and wss: is https:.
  const endpoint = new URL(options.path ?? '/ticket', url.href.replace(/^ws/, 'http'))
  const response = await authorizedFetch(session, options)(endpoint.href, { method: 'POST' })
  if (!response.ok) throw new TicketError(response.status)
  const { ticket } = (await response.json()) as { ticket: string }
  url.searchParams.set('ticket', ticket)
  return url.href
}
