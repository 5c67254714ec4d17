// Log in, and stay logged in.
import { Stockroom } from '../harness/stockroom.ts'
import { ALICE, BOSS, expect, test } from '../harness/test.ts'

test('a login shows the protected page, and leaves a cookie that scripts cannot read', async ({ app, context }) => {
  await app.open()
  await app.isLoggedOut()
  await app.logIn(ALICE)
  await app.isSignedIn(ALICE)
  await expect(app.whoAmI).toContainText('user')
  await expect(app.page.getByTestId('access-expires')).toBeVisible()
  await expect(app.page.getByTestId('session-expires')).toBeVisible()

  const cookies = await context.cookies()
  expect(cookies).toMatchObject([
    { name: '__Host-refresh', path: '/', domain: '127.0.0.1', httpOnly: true, secure: true, sameSite: 'Strict' },
  ])
})

test('a wrong password is told, and the next try may be right', async ({ app, traffic }) => {
  await app.open()
  await app.logIn({ ...ALICE, password: 'wrong' })
  await expect(app.page.getByRole('alert')).toBeVisible()
  await expect(app.page.getByRole('alert')).not.toBeEmpty()
  await app.isLoggedOut()
  expect(traffic.statuses('/login')).toEqual([400])

  await app.logIn(ALICE)
  await app.isSignedIn(ALICE)
})

test('a reload stays logged in', async ({ app, traffic }) => {
  await app.openAndLogIn(ALICE)
  traffic.clear()
  await app.page.reload()
  await app.isSignedIn(ALICE)
  expect(await app.sawLogin()).toBe(false)
  expect(traffic.statuses('/refresh')).toEqual([200])
})

test('until it is known who is there, neither the login page nor anything protected is shown', async ({ app }) => {
  await app.openAndLogIn(ALICE)
  let release = () => {}
  const held = new Promise<void>((resolve) => {
    release = resolve
  })
  await app.page.route('**/refresh', (route) => held.then(() => route.continue()))
  await app.page.reload()
  await expect(app.page.getByRole('status').filter({ hasText: 'One moment' })).toBeVisible()
  expect(await app.sawLogin()).toBe(false)
  expect(await app.sawProtected()).toBe(false)
  release()
  await app.isSignedIn(ALICE)
  expect(await app.sawLogin()).toBe(false)
})

test('a tab that is closed and opened again is logged in', async ({ app, context }) => {
  await app.openAndLogIn(ALICE)
  await app.page.close()
  const again = new Stockroom(await context.newPage())
  await again.open()
  await again.isSignedIn(ALICE)
  expect(await again.sawLogin()).toBe(false)
})

test('the access token is nowhere that outlives the page', async ({ app, context, traffic }) => {
  await app.openAndLogIn(ALICE)
  await app.call('Read the stock', 200)
  await app.page.reload()
  await app.isSignedIn(ALICE)

  const tokens = await traffic.tokens()
  expect(tokens).toHaveLength(2)
  const kept = await app.page.evaluate(async () => ({
    local: { ...localStorage },
    session: { ...sessionStorage },
    cookie: document.cookie,
    history: JSON.stringify(history.state),
    name: window.name,
    address: location.href,
    page: document.documentElement.outerHTML,
    databases: await indexedDB.databases(),
    caches: await caches.keys(),
  }))
  expect(kept).toMatchObject({ cookie: '', databases: [], caches: [] })
  const everything = JSON.stringify([kept, await context.cookies()])
  for (const token of tokens) expect(everything).not.toContain(token)
})

test.describe('over plain http with the development setting', () => {
  test.use({ settings: { tls: false } })

  test('log in, reload, log out', async ({ app, context }) => {
    await app.openAndLogIn(ALICE)
    expect(await context.cookies()).toMatchObject([{ httpOnly: true, secure: false, path: '/' }])
    await app.page.reload()
    await app.isSignedIn(ALICE)
    await app.logOut()
    await app.isLoggedOut()
    expect(await context.cookies()).toEqual([])
  })
})

test('an admin may do what a user may not, and the refusal logs nobody out', async ({ app, elsewhere, traffic }) => {
  await app.openAndLogIn(ALICE)
  traffic.clear()
  await app.call('Open the admin report', 403)
  await app.call('Read the stock', 200)
  await app.isSignedIn(ALICE)
  expect(traffic.statuses('/admin/report')).toEqual([403])
  expect(traffic.sent('/refresh')).toBe(0)

  await elsewhere.openAndLogIn(BOSS)
  await elsewhere.call('Open the admin report', 200)
})
