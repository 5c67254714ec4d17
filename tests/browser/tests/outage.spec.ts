// Something is away, or an answer is lost. Nobody is logged out.
import { expect, type Page } from '@playwright/test'
import { pause } from '../harness/process.ts'
import { Stockroom } from '../harness/stockroom.ts'
import { ALICE, test } from '../harness/test.ts'

const banner = (page: Page) => page.getByRole('status').filter({ hasText: 'You are still logged in' })

test.describe('a refresh whose answer is lost', () => {
  for (const grace of ['30s', '1s']) {
    test.describe(`with a grace of ${grace}`, () => {
      test.use({ settings: { access: '6s', grace } })

      test('is made good', async ({ app, context, traffic, world }) => {
        await app.openAndLogIn(ALICE)
        const before = await context.cookies()
        traffic.clear()
        world.network.loseAnswers()
        expect(await world.gate.refreshes('rotated')).toBe(0)
        // The proxy has rotated, and the browser does not know.
        await expect.poll(() => world.gate.refreshes('rotated'), { intervals: [50] }).toBe(1)
        expect(await context.cookies()).toEqual(before)
        world.network.cut()

        await expect.poll(() => traffic.statuses('/refresh')).toContain(200)
        await app.call('Read the stock', 200)
        expect(await app.sawLogin()).toBe(false)
        expect(await context.cookies()).not.toEqual(before)
        expect(await world.gate.refreshes('retried', 'retried_late')).toBeGreaterThanOrEqual(1)
        expect(traffic.statuses('/refresh')).not.toContain(400)
      })
    })
  }
})

test.describe('for twenty seconds', () => {
  test.use({ settings: { access: '3s', grace: '2s' } })
  test.setTimeout(120_000)
  const AWAY_MS = 20_000

  test('the proxy is away', async ({ app, context, traffic, world }) => {
    const other = await ready(app, await context.newPage())
    await world.gate.kill()
    await expect(banner(app.page)).toBeVisible()
    await pause(AWAY_MS)
    await world.gate.startAgain()
    await back(app, other)
    expect(traffic.statuses('/refresh').slice(1)).not.toContain(400) // The first one was before the login.
  })

  test.describe('with Redis', () => {
    test.use({ store: 'redis' })

    test('the store is away', async ({ app, context, traffic, world }) => {
      const other = await ready(app, await context.newPage())
      await world.redis!.kill()
      await expect(banner(app.page)).toBeVisible()
      expect(traffic.statuses('/refresh')).toContain(503)
      await pause(AWAY_MS)
      await world.redis!.start()
      await back(app, other)
      expect(traffic.statuses('/refresh').slice(1)).not.toContain(400)
    })
  })

  async function ready(app: Stockroom, page: Page) {
    await app.openAndLogIn(ALICE)
    const other = new Stockroom(page)
    await other.open()
    await other.isSignedIn(ALICE)
    return other
  }

  /** Both tabs find back by themselves. */
  async function back(app: Stockroom, other: Stockroom) {
    for (const tab of [app, other]) {
      await expect(banner(tab.page)).toBeHidden({ timeout: 70_000 })
      await tab.isSignedIn(ALICE)
      await tab.call('Read the stock', 200)
      expect(await tab.sawLogin()).toBe(false)
    }
  }
})

test.describe('a logout while the store is away', () => {
  test.use({ store: 'redis' })

  test('is not taken for one, and can be repeated', async ({ app, context, world }) => {
    await app.openAndLogIn(ALICE)
    await world.redis!.kill()
    await app.logOut()
    await expect(app.dialog.getByRole('alert')).not.toBeEmpty()
    expect(await context.cookies()).toHaveLength(1)
    expect(await app.sawLogin()).toBe(false)

    await world.redis!.start()
    await expect(async () => {
      await app.dialog.getByRole('button', { name: 'Log out', exact: true }).click({ timeout: 1_000 })
      await expect(app.dialog).toBeHidden({ timeout: 5_000 })
    }).toPass()
    await app.isLoggedOut()
    expect(await context.cookies()).toEqual([])
  })
})
