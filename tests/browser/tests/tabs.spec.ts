// Several tabs of one browser.
import type { BrowserContext, Locator } from '@playwright/test'
import { allExpired, asleep } from '../harness/asleep.ts'
import { Stockroom } from '../harness/stockroom.ts'
import { ALICE, BOSS, expect, test } from '../harness/test.ts'

const newTab = async (context: BrowserContext) => new Stockroom(await context.newPage())
const newTabs = (context: BrowserContext, count: number) => Promise.all(Array.from({ length: count }, () => newTab(context)))

/** Clicks at once, in a tab that is not in front, too. */
const now = (button: Locator) => button.evaluate((element: HTMLElement) => element.click())

/** As in a browser that keeps tabs apart, or has lost the message. */
const mute = (context: BrowserContext) => context.addInitScript(() => Object.assign(window, { BroadcastChannel: undefined }))

test.describe('five tabs at expiry', () => {
  test.use({ settings: { access: '3s' } })

  for (const talking of [true, false]) {
    const how = talking ? 'that hear each other' : 'that do not hear each other'
    test(`${how} all stay logged in, with one cookie`, async ({ app, context, traffic, world }) => {
      await asleep(context)
      if (!talking) await mute(context)
      await app.openAndLogIn(ALICE)
      const all = [app, ...(await newTabs(context, 4))]
      for (const tab of all.slice(1)) {
        await tab.open()
        await tab.isSignedIn(ALICE)
      }
      await allExpired(context, traffic)
      traffic.clear()

      await Promise.all(all.map((tab) => tab.call('Read the stock', 200, now)))

      const cookies = await traffic.cookies('/refresh')
      expect(new Set(traffic.statuses('/refresh'))).toEqual(new Set([200]))
      expect(new Set(cookies).size).toBe(1)
      if (!talking) expect(cookies).toHaveLength(5)
      expect(await context.cookies()).toMatchObject([{ name: '__Host-refresh', value: cookies[0] }])
      for (const tab of all) await tab.isSignedIn(ALICE)
      for (const tab of all) expect(await tab.sawLogin()).toBe(false)
      expect(await world.gate.refreshes('refused', 'reused')).toBe(0)
    })
  }
})

test('five tabs that reload at the same time all stay logged in', async ({ app, context, traffic, world }) => {
  await app.openAndLogIn(ALICE)
  const all = [app, ...(await newTabs(context, 4))]
  await Promise.all(all.map((tab) => tab.open()))
  for (const tab of all) {
    await tab.isSignedIn(ALICE)
    expect(await tab.sawLogin()).toBe(false)
  }
  expect(new Set(traffic.statuses('/refresh').slice(1))).toEqual(new Set([200])) // The first was before the login.
  expect(await world.gate.refreshes('reused')).toBe(0)
})

test('a logout in one tab reaches the others', async ({ app, context, traffic }) => {
  await app.openAndLogIn(ALICE)
  const others = await newTabs(context, 2)
  for (const other of others) {
    await other.open()
    await other.isSignedIn(ALICE)
  }
  await app.logOut()
  for (const tab of [app, ...others]) await tab.isLoggedOut()
  expect(traffic.statuses('/logout')).toEqual([204])
  expect(await context.cookies()).toEqual([])
})

test('a login in one tab reaches another that shows the login page', async ({ app, context }) => {
  const other = await newTab(context)
  await other.open()
  await other.isLoggedOut()
  await app.openAndLogIn(ALICE)
  await other.isSignedIn(ALICE)
})

test.describe('log out everywhere', () => {
  test.use({ settings: { access: '2s' } })

  test('ends the session of another browser', async ({ app, elsewhere }) => {
    await app.openAndLogIn(ALICE)
    await elsewhere.openAndLogIn(ALICE)
    await app.logOut('Log out everywhere')
    await app.isLoggedOut()
    await elsewhere.isLoggedOut()
  })

  test('but to log out here leaves the other browser alone', async ({ app, elsewhere }) => {
    await app.openAndLogIn(ALICE)
    await elsewhere.openAndLogIn(ALICE)
    await app.logOut()
    await app.isLoggedOut()
    await elsewhere.page.reload()
    await elsewhere.isSignedIn(ALICE)
    await elsewhere.call('Read the stock', 200)
  })
})

// One browser, one cookie, one user: nobody acts under the name of another without seeing it.
test.describe('two users in two tabs', () => {
  test.use({ settings: { access: '2s' } })

  test('a login as somebody else reaches the other tabs', async ({ app, context }) => {
    await app.openAndLogIn(ALICE)
    const other = await newTab(context)
    await other.open()
    await other.logOut()
    await other.isLoggedOut()
    await other.logIn(BOSS)
    for (const tab of [other, app]) await tab.isSignedIn(BOSS)
    await app.call('Open the admin report', 200)
  })

  test('in tabs that do not hear each other the later login holds, at the latest with the next access token', async ({ app, context }) => {
    await mute(context)
    const other = await newTab(context)
    await other.open()
    await other.isLoggedOut()
    await app.openAndLogIn(ALICE)
    await other.logIn(BOSS)
    await other.isSignedIn(BOSS)
    await app.isSignedIn(BOSS)
    await app.call('Open the admin report', 200)
    await other.isSignedIn(BOSS)
  })
})
