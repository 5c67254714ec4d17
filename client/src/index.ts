/** The core: a session that is never lost by accident. Adapters are entry points of their own. */
export { LoginError, LogoutError } from './errors.js'
export { createSession } from './session.js'
export type { Call, Outcome, Session, SessionOptions, Snapshot, Status, Transport, TransportRequest } from './types.js'
