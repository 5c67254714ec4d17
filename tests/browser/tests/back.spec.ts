// After a logout the back button shows nothing protected, whether the browser loads the page anew or kept it as it was.
import { chromium } from '../harness/prepare.ts'
import { Stockroom } from '../harness/stockroom.ts'
import { ALICE, expect, test } from '../harness/test.ts'

// Playwright turns off the cache in which a page is kept as it was. Users have it on.
test.use({ launchOptions: { executablePath: chromium, ignoreDefaultArgs: ['--disable-back-forward-cache'] } })

test('back and forward after a logout is the login page', async ({ app, baseURL }) => {
  await app.openAndLogIn(ALICE)
  await app.page.goto('/app/?again')
  await app.isSignedIn(ALICE)
  await app.logOut()
  await app.isLoggedOut()
  for (const [steps, address] of [
    [-1, '/app/'],
    [1, '/app/?again'],
  ] as const) {
    await app.page.evaluate((by) => history.go(by), steps)
    await expect(app.page).toHaveURL(`${baseURL}${address}`)
    await app.isLoggedOut()
    expect(await app.sawProtected()).toBe(false)
  }
})

test.describe('from a page that the browser kept', () => {
  for (const told of [true, false]) {
    test(`back after a logout ${told ? 'in another tab' : 'that no tab was told of'}`, async ({ app, context, baseURL }) => {
      await app.openAndLogIn(ALICE)
      await app.page.goto('/assets/app.css')
      if (told) {
        const other = new Stockroom(await context.newPage())
        await other.open()
        await other.logOut()
        await other.isLoggedOut()
        await other.page.close()
      } else {
        const answer = await context.request.post('/logout', { headers: { origin: baseURL! } })
        expect(answer.status()).toBe(204)
      }
      await app.page.evaluate(() => history.back())
      await app.isLoggedOut()
      expect(await app.sawProtected()).toBe(false)
    })
  }

  test('and who is still logged in goes on', async ({ app }) => {
    await app.openAndLogIn(ALICE)
    await app.page.goto('/assets/app.css')
    await app.page.evaluate(() => history.back())
    await app.isSignedIn(ALICE)
    await app.call('Read the stock', 200)
    expect(await app.page.evaluate(() => window.cameBack)).toBe(true)
  })
})
