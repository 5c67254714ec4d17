import { createSlice, nanoid, type PayloadAction } from '@reduxjs/toolkit'
import { api } from './api'
import type { AppThunk } from './store'
import { statusOf, whatWentWrong } from './words'

export interface Outcome {
  id: string
  status: number | string
  sentence: string
}

const KEPT = 50

/** What came of the calls, oldest first. */
export const outcomes = createSlice({
  name: 'outcomes',
  initialState: [] as Outcome[],
  reducers: {
    noted: {
      prepare: (status: number | string, sentence: string) => ({ payload: { id: nanoid(), status, sentence } }),
      reducer: (state, { payload }: PayloadAction<Outcome>) => [...state.slice(1 - KEPT), payload],
    },
    forgotten: () => [],
  },
})

const { noted } = outcomes.actions

/** Always asks the server, and leaves no subscription behind. After an error, `data` is still what came the last time. */
const anew = { forceRefetch: true, subscribe: false } as const

const readTheStock = (): AppThunk => async (dispatch) => {
  const { data, error } = await dispatch(api.endpoints.stock.initiate(undefined, anew))
  dispatch(error || !data ? failed(error) : noted(200, `${data.length} items in stock.`))
}

const addAnItem = (): AppThunk => async (dispatch) => {
  const { data, error } = await dispatch(api.endpoints.addItem.initiate(delivery()))
  dispatch(error || !data ? failed(error) : noted(201, `Added ${data.count} of “${data.item}”.`))
}

const openTheAdminReport = (): AppThunk => async (dispatch) => {
  const { data, error } = await dispatch(api.endpoints.report.initiate(undefined, anew))
  dispatch(error || !data ? failed(error) : noted(200, `${data.pieces.toLocaleString('en')} pieces, ${data.low.length} items are low.`))
}

/** If the access token has just run out, all ten get a 401, one refresh is made, and all ten are repeated. */
const readTenItemsAtOnce = (): AppThunk => async (dispatch) => {
  const ids = Array.from({ length: 10 }, (_, index) => index + 1)
  const answers = await Promise.all(ids.map((id) => dispatch(api.endpoints.item.initiate(id, anew))))
  const bad = answers.find(({ error }) => error)
  dispatch(bad ? failed(bad.error) : noted(200, 'Ten answers to ten requests.'))
}

export const CALLS = [
  { name: 'Read the stock', method: 'GET', path: '/api/stock', make: readTheStock },
  { name: 'Add an item', method: 'POST', path: '/api/stock', make: addAnItem },
  { name: 'Read ten items at once', method: 'GET', path: '/api/stock/1…10', make: readTenItemsAtOnce },
  { name: 'Open the admin report', method: 'GET', path: '/admin/report', make: openTheAdminReport },
]

function failed(error: unknown) {
  const status = statusOf(error)
  return noted(status === 'FETCH_ERROR' ? 'no answer' : status, whatWentWrong(error))
}

const GOODS = ['Cable gland M20', 'Fuse 10 A', 'Brass hinge 40 mm', 'O-ring 25 × 3', 'Sealing tape', 'Spring washer M10']

function delivery() {
  const item = GOODS[Math.floor(Math.random() * GOODS.length)] as string
  return { item, count: 1 + Math.floor(Math.random() * 90) }
}
