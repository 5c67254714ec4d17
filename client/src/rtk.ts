/** Redux Toolkit: a slice that follows the session, and the base query that repeats a request once after a 401 of ours. */
import { createSlice, type Dispatch, type PayloadAction } from '@reduxjs/toolkit'
import { type BaseQueryFn, type FetchBaseQueryMeta, fetchBaseQuery } from '@reduxjs/toolkit/query'
import { type CarryOptions, unlessAborted } from './carry.js'
import { authorizedFetch } from './fetch.js'
import type { Session, Snapshot } from './types.js'

/** What the slice holds. Never persist it: the access token belongs into memory only. */
export interface AuthState extends Snapshot {
  readonly accessToken: string | undefined
}

/** The options of `fetchBaseQuery`, and where else the token may go. */
export type ReauthOptions = NonNullable<Parameters<typeof fetchBaseQuery>[0]> & CarryOptions

type FetchQuery = ReturnType<typeof fetchBaseQuery>
// biome-ignore lint/suspicious/noExplicitAny: this is how Redux Toolkit itself names a base query of which nothing is known.
type AnyQuery = BaseQueryFn<any, unknown, unknown, any, any>

export const createAuth = (session: Session) => {
  const now = (): AuthState => ({ ...session.snapshot(), accessToken: session.accessToken() })

  const authSlice = createSlice({
    name: 'auth',
    initialState: now,
    reducers: {
      /** The session has changed. Dispatched by `start` alone. */
      changed: (_, { payload }: PayloadAction<AuthState>) => payload,
    },
    selectors: {
      selectAuth: (state) => state,
      selectStatus: (state) => state.status,
      selectReachable: (state) => state.reachable,
      selectAccessToken: (state) => state.accessToken,
    },
  })

  /** A base query of the caller's own puts the token into its requests itself, and must give `meta.response`, as `fetchBaseQuery` does. */
  const reauth =
    (query: AnyQuery): AnyQuery =>
    async (args, api, extra) => {
      const token = session.accessToken()
      const result = await query(args, api, extra)
      const response = (result.meta as FetchBaseQueryMeta | undefined)?.response
      if (!result.error || !response || !session.isOurs(response)) return result
      await unlessAborted(session.refresh(token ?? ''), api.signal).catch(() => {})
      const next = session.accessToken()
      return next && next !== token && !api.signal.aborted ? query(args, api, extra) : result
    }

  /** Takes the options of `fetchBaseQuery`, or a base query of your own. */
  function baseQueryWithReauth(options?: ReauthOptions): FetchQuery
  function baseQueryWithReauth<Query extends AnyQuery>(query: Query): Query
  function baseQueryWithReauth(from: ReauthOptions | AnyQuery = {}): AnyQuery {
    if (typeof from === 'function') return reauth(from)
    const { origins = [], fetchFn, ...options } = from
    const carry = { origins, ...(fetchFn && { fetch: fetchFn as typeof fetch }) }
    return fetchBaseQuery({ ...options, fetchFn: authorizedFetch(session, carry) }) as AnyQuery
  }

  let unsubscribe: (() => void) | undefined
  /** A thunk: lets the slice follow the session from now on, and starts it. */
  const start = () => (dispatch: Dispatch) => {
    const follow = () => dispatch(authSlice.actions.changed(now()))
    unsubscribe?.()
    unsubscribe = session.subscribe(follow)
    follow()
    return session.start()
  }

  return { authSlice, baseQueryWithReauth, start }
}
