/** Redux Toolkit, as apps use it: a real store, a real API slice. */
import { configureStore } from '@reduxjs/toolkit'
import { createApi, fetchBaseQuery } from '@reduxjs/toolkit/query'
import { describe, expect, it } from 'vitest'
import { createAuth } from '../src/rtk.js'
import { challenge, json, refused, scripted, tokens, world } from './world.js'

const w = world()
const app = (good: string) => {
  const seen: string[] = []
  const send = (async (input, init) => {
    const token = new Headers(init?.headers ?? (input as Request).headers).get('authorization') ?? ''
    seen.push(token)
    return token === `Bearer ${good}` ? json(200, { items: ['bolt'] }) : challenge(token !== '')
  }) as typeof fetch
  return { seen, send }
}

const setUp = (good: string, own: boolean) => {
  const server = scripted(() => tokens('a1'))
  const { session } = w.tab({ fetch: server.fetch })
  const auth = createAuth(session)
  const { seen, send } = app(good)
  const baseUrl = 'https://app.example/api'
  const query = fetchBaseQuery({
    baseUrl,
    fetchFn: send,
    prepareHeaders: (headers, { getState }) => {
      const token = auth.authSlice.selectors.selectAccessToken(getState() as { auth: ReturnType<typeof auth.authSlice.getInitialState> })
      if (token) headers.set('authorization', `Bearer ${token}`)
    },
  })
  const api = createApi({
    baseQuery: own ? auth.baseQueryWithReauth(query) : auth.baseQueryWithReauth({ baseUrl, fetchFn: send }),
    endpoints: (build) => ({ stock: build.query<{ items: string[] }, void>({ query: () => '/stock' }) }),
  })
  const store = configureStore({
    reducer: { auth: auth.authSlice.reducer, [api.reducerPath]: api.reducer },
    middleware: (defaults) => defaults().concat(api.middleware),
  })
  return {
    server,
    session,
    auth,
    seen,
    store,
    stock: () => store.dispatch(api.endpoints.stock.initiate(undefined, { forceRefetch: true })),
  }
}

describe.each([
  ['options', false],
  ['a base query of one’s own', true],
])('baseQueryWithReauth with %s', (_, own) => {
  it('carries the token, refreshes once and repeats once', async () => {
    const { server, auth, seen, store, stock } = setUp('a2', own)
    await store.dispatch(auth.start())
    server.next(() => tokens('a2'))
    expect((await stock()).data).toEqual({ items: ['bolt'] })
    expect(seen).toEqual(['Bearer a1', 'Bearer a2'])
    expect(server.calls).toHaveLength(2)
  })

  it('does not loop', async () => {
    const { server, auth, seen, store, stock } = setUp('never', own)
    await store.dispatch(auth.start())
    server.next(() => tokens('a2'))
    expect((await stock()).error).toMatchObject({ status: 401 })
    expect(seen).toHaveLength(2)
    expect(server.calls).toHaveLength(2)
  })

  it('gives the 401 back when the server cannot be asked', async () => {
    const { server, auth, seen, store, stock } = setUp('never', own)
    await store.dispatch(auth.start())
    server.next(() => json(503))
    expect((await stock()).error).toMatchObject({ status: 401 })
    expect(seen).toHaveLength(1)
    expect(auth.authSlice.selectors.selectStatus(store.getState())).toBe('active')
  })

  it('gives the 401 back when the session is over', async () => {
    const { server, auth, seen, store, stock } = setUp('never', own)
    await store.dispatch(auth.start())
    server.next(() => refused())
    expect((await stock()).error).toMatchObject({ status: 401 })
    expect(seen).toHaveLength(1)
    expect(auth.authSlice.selectors.selectStatus(store.getState())).toBe('none')
  })
})

describe('the slice', () => {
  it('follows the session', async () => {
    const { server, session, auth, store } = setUp('a1', false)
    const { selectStatus, selectAccessToken, selectReachable, selectAuth } = auth.authSlice.selectors
    expect(selectStatus(store.getState())).toBe('unknown')
    expect(await store.dispatch(auth.start())).toMatchObject({ status: 'active' })
    expect(selectAccessToken(store.getState())).toBe('a1')
    server.next(() => json(503))
    await session.refresh()
    expect(selectReachable(store.getState())).toBe(false)
    server.next(() => json(204))
    await session.logout()
    expect(selectAuth(store.getState())).toMatchObject({ status: 'none', reason: 'logout', accessToken: undefined })
  })

  it('follows it once, however often it is started', async () => {
    const { auth, store, session } = setUp('a1', false)
    let changes = 0
    await store.dispatch(auth.start())
    await store.dispatch(auth.start())
    store.subscribe(() => changes++)
    await session.refresh()
    expect(changes).toBe(1)
  })
})
