import { configureStore, type ThunkAction, type UnknownAction } from '@reduxjs/toolkit'
import { useDispatch, useSelector } from 'react-redux'
import { api } from './api'
import { outcomes } from './calls'
import { auth, session } from './session'

export const store = configureStore({
  reducer: {
    [auth.authSlice.name]: auth.authSlice.reducer,
    [outcomes.name]: outcomes.reducer,
    [api.reducerPath]: api.reducer,
  },
  middleware: (withDefaults) => withDefaults().concat(api.middleware),
  devTools: import.meta.env.DEV,
})

/** Finds out whether somebody is logged in. */
export function start() {
  store.dispatch(auth.start())
}

let before = session.snapshot()
session.subscribe((now) => {
  const { epoch, expiresAt, reachable } = before
  before = now
  if (now.epoch !== epoch) {
    // Another login, or its end, here or in another tab. What one user has loaded, the next one must not see.
    store.dispatch(api.util.resetApiState())
    store.dispatch(outcomes.actions.forgotten())
  } else if (now.expiresAt !== expiresAt) {
    // User and roles are read anew at each refresh, so a new token may say something new. And what failed meanwhile is loaded again.
    store.dispatch(api.util.invalidateTags(reachable ? ['Me'] : ['Me', 'Stock']))
  }
})

export type RootState = ReturnType<typeof store.getState>
export type AppDispatch = typeof store.dispatch
export type AppThunk = ThunkAction<Promise<void>, RootState, unknown, UnknownAction>

export const useAppDispatch = useDispatch.withTypes<AppDispatch>()
export const useAppSelector = useSelector.withTypes<RootState>()

/** Whether somebody is logged in, until when, and whether the proxy can be reached. */
export const useAuth = () => useAppSelector(auth.authSlice.selectors.selectAuth)
