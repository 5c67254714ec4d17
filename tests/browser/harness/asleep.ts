// Tabs whose access token runs out unnoticed, as in a laptop that sleeps: their timers do not run.
import { type BrowserContext, expect } from '@playwright/test'
import type { Traffic } from './traffic.ts'

/** From the next page on, nothing in a page happens by itself later than in half a second. To be called before it is opened. */
export async function asleep(context: BrowserContext) {
  await context.addInitScript(() => {
    const { setTimeout } = window
    const soon = (run: TimerHandler, ms = 0, ...rest: unknown[]) => (ms > 500 ? 0 : setTimeout(run, ms, ...rest))
    window.setTimeout = soon as typeof window.setTimeout
  })
}

/** Waits until the proxy takes none of the access tokens that were given out. */
export async function allExpired(context: BrowserContext, traffic: Traffic) {
  const tokens = await traffic.tokens()
  expect(tokens.length).toBeGreaterThan(0)
  const request = context.request
  for (const token of tokens) {
    const ask = () => request.get('/userinfo', { headers: { authorization: `Bearer ${token}` } })
    await expect.poll(async () => (await ask()).status(), { intervals: [100] }).toBe(401)
  }
}
