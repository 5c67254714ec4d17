// The admin site of Django behind the gate: it keeps its users and its login, and its own session stays behind ours.
import { BOSS, expect, itsCookies, logIn, logOut, ourCookies, test } from '../harness/legacy.ts'

test.use({
  behind: ['django'],
  settings: {
    users: `
login:
  upstream:
    upstream: django
    path: /admin/login/?next=/admin/
    form: {}
    csrf: { field: csrfmiddlewaretoken }
    success: { status: 302, redirect: /admin/, cookie: sessionid }
    keep_session: true
    logout: { path: /admin/logout/, csrf: { from: /admin/password_change/, field: csrfmiddlewaretoken } }`,
  },
})

test('a user of the app logs in at our page, works, and leaves by the button of the app', async ({ page, at, context, curl }) => {
  const groups = `${at('django')}/admin/auth/group/`
  await page.goto(groups)
  await logIn(page, { ...BOSS, password: 'wrong' })
  await expect(page.getByRole('alert')).toBeVisible()
  await logIn(page, BOSS)
  await expect(page).toHaveURL(groups)
  await expect(page.getByRole('heading', { name: 'Select group to change' })).toBeVisible()

  await page.getByRole('link', { name: 'Add group' }).first().click()
  await page.getByLabel('Name:').fill('Auditors')
  await page.getByRole('button', { name: 'Save', exact: true }).click()
  await expect(page.getByText('was added successfully')).toBeVisible()
  // Its session is not in the browser. What protects its forms is.
  expect((await itsCookies(context, at('django'))).map(({ name }) => name)).toContain('csrftoken')
  expect((await itsCookies(context, at('django'))).map(({ name }) => name)).not.toContain('sessionid')

  const kept = await ourCookies(context, at('django'))
  await page.getByRole('link', { name: 'Log out' }).click()
  await page.goto(groups)
  await expect(page.getByRole('heading', { name: 'Log in' })).toBeVisible()
  const cookies = kept.map(({ name, value }) => `${name}=${value}`).join('; ')
  expect(curl('-o', '/dev/null', '-w', '%{http_code}', '-H', `Cookie: ${cookies}`, groups)).toBe('401')
})

test('a script reaches it with a bearer token, and our logout ends the session of the app', async ({ page, at, curl }) => {
  const home = `${at('django')}/admin/`
  const login = curl('-d', `username=${BOSS.name}`, '--data-urlencode', `password=${BOSS.password}`, `${at('django')}/login`)
  const token = JSON.parse(login).access_token as string
  expect(curl('-H', `Authorization: Bearer ${token}`, home)).toContain('Site administration')

  await page.goto(home)
  await logIn(page, BOSS)
  await expect(page.getByRole('heading', { name: 'Site administration' })).toBeVisible()
  await logOut(page)
  await page.goto(home)
  await expect(page.getByRole('heading', { name: 'Log in' })).toBeVisible()
})
