/** Redux Toolkit: a slice that follows the session, and the base query that repeats a request once after a 401 of ours. */
import { createSlice, type Dispatch, type PayloadAction } from '@reduxjs/toolkit'
import { type BaseQueryFn, type FetchArgs, type FetchBaseQueryError, type FetchBaseQueryMeta, fetchBaseQuery } from '@reduxjs/toolkit/query'
import type { CarryOptions } from './carry.js'
import { authorizedFetch } from './fetch.js'
import type { Session, Snapshot } from './types.js'

/** What the slice holds. Never persist it: the access token belongs into memory only. */
export interface AuthState extends Snapshot {
  readonly accessToken: string | undefined
}

type Options = Parameters<typeof fetchBaseQuery>[0]
type Reauth = BaseQueryFn<string | FetchArgs, unknown, FetchBaseQueryError, object, FetchBaseQueryMeta>

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
      selectStatus: (state) => state.status,
      selectReachable: (state) => state.reachable,
      selectAccessToken: (state) => state.accessToken,
      selectAuth: (state) => state,
    },
  })

  /** Takes the options of `fetchBaseQuery`, or a base query of your own. */
  function baseQueryWithReauth(options?: Options & CarryOptions): Reauth
  function baseQueryWithReauth<Query extends BaseQueryFn<any, unknown, unknown, any, any>>(query: Query): Query
  function baseQueryWithReauth(from: (Options & CarryOptions) | BaseQueryFn = {}): BaseQueryFn<any, unknown, any, any, any> {
    if (typeof from === 'function') {
      return async (args, api, extra) => {
        const token = session.accessToken()
        const result = await from(args, api, extra)
        const response = (result.meta as FetchBaseQueryMeta | undefined)?.response
        if (!result.error || !response || !session.isOurs(response)) return result
        await session.refresh(token ?? '')
        const next = session.accessToken()
        return next && next !== token && !api.signal.aborted ? from(args, api, extra) : result
      }
    }
    const { origins, fetchFn, ...options } = from
    const carry = { ...(origins && { origins }), ...(fetchFn && { fetch: fetchFn as typeof fetch }) }
    return fetchBaseQuery({ ...options, fetchFn: authorizedFetch(session, carry) })
  }

  let unsubscribe: (() => void) | undefined
  /** A thunk: lets the slice follow the session from now on, and starts it. */
  const start = () => (dispatch: Dispatch) => {
    unsubscribe?.()
    unsubscribe = session.subscribe(() => dispatch(authSlice.actions.changed(now())))
    dispatch(authSlice.actions.changed(now()))
    return session.start()
  }

  return { authSlice, baseQueryWithReauth, start }
}
