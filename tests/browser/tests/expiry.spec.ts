// The access token runs out; nobody notices.
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { allExpired, asleep } from '../harness/asleep.ts'
import { ALICE, BOSS, expect, test } from '../harness/test.ts'

test.describe('an access token of ten seconds', () => {
  test.use({ settings: { access: '10s' } })

  test('is renewed ahead of time, so that no call is ever refused', async ({ app, traffic }) => {
    await app.openAndLogIn(ALICE)
    const [given] = traffic.times('/login')
    traffic.clear()
    await expect.poll(() => traffic.statuses('/refresh')).toEqual([200])
    const [renewed] = traffic.times('/refresh')
    expect(renewed! - given!).toBeGreaterThan(5_000)
    expect(renewed! - given!).toBeLessThan(10_000)
    await app.call('Read the stock', 200)
    expect(traffic.statuses('/api/stock')).toEqual([200])
  })
})

test.describe('an access token', () => {
  test.use({ settings: { access: '3s' } })

  test('that ran out during sleep is renewed, and the request repeated, unseen', async ({ app, context, traffic }) => {
    await asleep(context)
    await app.openAndLogIn(ALICE)
    const rows = await app.stock.getByRole('row').count()
    await allExpired(context, traffic)
    traffic.clear()
    await app.call('Add an item', 201) // With a body, which has to be sent twice.
    expect(traffic.statuses('/api/stock').slice(0, 2)).toEqual([401, 201])
    expect(traffic.statuses('/refresh')).toEqual([200])
    await expect(app.stock.getByRole('row')).toHaveCount(rows + 1)
    await expect(app.calls).not.toContainText('401')
    expect(await app.sawLogin()).toBe(false)
  })

  test('is renewed once for ten requests at the same time', async ({ app, context, traffic }) => {
    await asleep(context)
    await app.openAndLogIn(ALICE)
    await allExpired(context, traffic)
    traffic.clear()
    await app.call('Read ten items at once', 200)
    for (let item = 1; item <= 10; item++) expect(traffic.statuses(`/api/stock/${item}`)).toEqual([401, 200])
    expect(traffic.statuses('/refresh')).toEqual([200])
    expect(await app.sawLogin()).toBe(false)
  })
})

test.describe('a session of six seconds', () => {
  test.use({ settings: { access: '2s', session: '6s' } })

  test('ends at the login page', async ({ app, traffic }) => {
    await app.openAndLogIn(ALICE)
    await app.isLoggedOut()
    expect(traffic.statuses('/refresh').at(-1)).toBe(400)
    await app.logIn(ALICE)
    await app.isSignedIn(ALICE)
  })
})

test.describe('an upstream that has a 401 of its own', () => {
  let challenge: string | undefined
  const sulky = createServer((_, answer) => {
    answer.writeHead(401, challenge ? { 'www-authenticate': challenge } : {}).end('not you')
  })
  // Listening before the fixtures are made.
  test.use({
    // biome-ignore lint/correctness/noEmptyPattern: the runner reads from the pattern which fixtures are wanted
    settings: async ({}, use) => {
      await new Promise<void>((resolve) => sulky.listen(0, '127.0.0.1', resolve))
      await use({ reportFrom: `http://127.0.0.1:${(sulky.address() as AddressInfo).port}` })
      sulky.closeAllConnections()
      await new Promise((resolve) => sulky.close(resolve))
    },
  })

  for (const own of ['Bearer realm="stockroom"', undefined]) {
    test(`is passed on, and nothing is refreshed: ${own ?? 'no challenge'}`, async ({ app, traffic }) => {
      challenge = own
      await app.openAndLogIn(BOSS)
      traffic.clear()
      await app.call('Open the admin report', 401)
      await app.call('Read the stock', 200)
      expect(traffic.statuses('/admin/report')).toEqual([401])
      expect(traffic.sent('/refresh')).toBe(0)
      await app.isSignedIn(BOSS)
    })
  }
})
