import { createSession } from 'portcullis-client'
import { createAuth } from 'portcullis-client/rtk'

/** One for the whole page. It holds the access token in memory and speaks with the proxy. */
export const session = createSession()

/** The same session for Redux: a slice with its state, and a base query that adds the token and repeats after a refresh. */
export const auth = createAuth(session)
