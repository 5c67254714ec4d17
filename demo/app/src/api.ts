import { createApi } from '@reduxjs/toolkit/query/react'
import { auth } from './session'

export interface Item {
  id: number
  item: string
  shelf: string
  count: number
}

export interface Me {
  sub: string
  sid: string
  roles: string[]
}

export interface Report {
  for: string
  items: number
  pieces: number
  low: string[]
}

// The base query adds the access token, and after a 401 of ours it refreshes and repeats. Endpoints need not know.
export const api = createApi({
  baseQuery: auth.baseQueryWithReauth({ baseUrl: '/' }),
  tagTypes: ['Me', 'Stock'],
  endpoints: (build) => ({
    me: build.query<Me, void>({ query: () => 'userinfo', providesTags: ['Me'] }),
    stock: build.query<Item[], void>({ query: () => 'api/stock', providesTags: ['Stock'] }),
    item: build.query<Item, number>({ query: (id) => `api/stock/${id}` }),
    addItem: build.mutation<Item, { item: string; count: number }>({
      query: (body) => ({ url: 'api/stock', method: 'POST', body }),
      invalidatesTags: ['Stock'],
    }),
    report: build.query<Report, void>({ query: () => 'admin/report' }),
  }),
})

export const { useMeQuery, useStockQuery } = api
