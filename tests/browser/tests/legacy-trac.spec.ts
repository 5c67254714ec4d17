// Trac behind the gate: pages made by the server, forms, files. It is older than most tokens and knows nothing of ours.
import { readFileSync } from 'node:fs'
import type { Page } from '@playwright/test'
import { ALICE, expect, itsCookies, logIn, logOut, ourCookies, test } from '../harness/legacy.ts'

test.use({ behind: ['trac'] })

/** A picture of one pixel. */
const PIXEL = Buffer.from('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==', 'base64')
const TABLE = Buffer.from('item;count\nkettle;0\ncafé;12\n')
const LONG = `As long as an afternoon. ${'All work and no play. '.repeat(10_000)}The end of it.`

/** Opens the form of a wiki page that is not there yet, and fills it in. */
async function write(page: Page, url: string, text: string) {
  await page.goto(`${url}?action=edit`)
  await page.locator('textarea#text').fill(text)
}

const save = (page: Page) => page.locator('#save').click()

async function isSaved(page: Page) {
  await expect(page.locator('#wikipage')).toContainText('The end of it.')
  await expect(page.locator('textarea#text')).toHaveCount(0)
}

test('a deep link leads to the login page, and from there to where it wanted', async ({ page, at, context }) => {
  const deep = `${at('trac')}/search?q=caf%C3%A9+%26+%22tea%22&noquickjump=1&wiki=on`
  await page.goto(deep)
  expect(new URL(page.url()).pathname).toBe('/login')
  await logIn(page, { ...ALICE, password: 'wrong' })
  await expect(page.getByRole('alert')).toBeVisible()
  expect(await ourCookies(context, at('trac'))).toEqual([])

  await logIn(page, ALICE)
  await expect(page.locator('#fullsearch [name=q]')).toHaveValue('café & "tea"')
  expect(page.url()).toBe(deep)
  expect(await ourCookies(context, at('trac'))).toMatchObject([
    { httpOnly: true, secure: true, sameSite: 'Lax', path: '/' },
    { httpOnly: true, secure: true, sameSite: 'Lax', path: '/' },
  ])
})

test('pages, forms, an upload, a picture and a download', async ({ page, at, context }) => {
  await page.goto(at('trac'))
  await logIn(page, ALICE)
  await expect(page.getByRole('link', { name: 'Wiki', exact: true })).toBeVisible()
  const its = await itsCookies(context, at('trac'))
  expect(its.map(({ name }) => name).sort()).toEqual(['trac_form_token', 'trac_session'])

  await page.getByRole('link', { name: 'New Ticket' }).click()
  await page.locator('#field-summary').fill('The kettle is broken')
  await page.getByRole('button', { name: 'Create ticket' }).click()
  await expect(page).toHaveURL(/\/ticket\/\d+/)
  await expect(page.getByText('The kettle is broken').first()).toBeVisible()

  const files = [
    { name: 'pixel.png', mimeType: 'image/png', buffer: PIXEL },
    { name: 'stock.csv', mimeType: 'text/csv', buffer: TABLE },
  ]
  for (const file of files) {
    await page.goto(`${at('trac')}/attachment/wiki/WikiStart/?action=new`)
    await page.locator('[name=attachment]').setInputFiles(file)
    await page.getByRole('button', { name: 'Add attachment' }).click()
    await expect(page.getByRole('link', { name: file.name }).first()).toBeVisible()
  }

  await write(page, `${at('trac')}/wiki/Picture`, '[[Image(wiki:WikiStart:pixel.png)]]')
  await save(page)
  const picture = page.locator('img[src*="pixel.png"]')
  await expect.poll(() => picture.evaluate((image: HTMLImageElement) => image.naturalWidth)).toBe(1)

  await page.goto(`${at('trac')}/attachment/wiki/WikiStart/`)
  const [download] = await Promise.all([
    page.waitForEvent('download'),
    page.locator('a[href="/raw-attachment/wiki/WikiStart/stock.csv"]').dispatchEvent('click'), // It is a picture in the margin.
  ])
  expect(readFileSync(await download.path()).equals(TABLE)).toBe(true)

  // What the app keeps in the browser outlives our session, and is the same all along.
  await logOut(page)
  expect(await ourCookies(context, at('trac'))).toEqual([])
  expect(await itsCookies(context, at('trac'))).toMatchObject(its.map(({ name, value }) => ({ name, value })))
})

test.describe('after a break', () => {
  test.use({ settings: { access: '2s' } })

  test('a long form arrives, without a redirect', async ({ page, at, context, gate }) => {
    await page.goto(at('trac'))
    await logIn(page, ALICE)
    await write(page, `${at('trac')}/wiki/Afternoon`, LONG)
    await expect.poll(async () => (await ourCookies(context, at('trac'))).map(({ name }) => name)).toEqual(['__Host-refresh'])
    const refreshes = await gate.refreshes()

    const seen: string[] = []
    page.on('response', (response) => {
      if (response.request().isNavigationRequest()) seen.push(`${response.request().method()} ${response.status()}`)
    })
    await save(page)
    await isSaved(page)
    expect(seen).toEqual(['POST 303', 'GET 200']) // The 303 is Trac's own.
    expect(await gate.refreshes()).toBeGreaterThan(refreshes)
    expect(await ourCookies(context, at('trac'))).toHaveLength(2)
  })
})

test('a long form that finds the session over is not lost', async ({ page, at, context }) => {
  await page.goto(at('trac'))
  await logIn(page, ALICE)
  await write(page, `${at('trac')}/wiki/Evening`, LONG)
  const other = await context.newPage()
  await other.goto(at('trac'))
  await logOut(other)

  const [refused] = await Promise.all([page.waitForResponse((response) => response.request().method() === 'POST'), save(page)])
  expect(refused.status()).toBe(401)
  await expect(page.getByRole('heading', { name: 'Nothing was saved' })).toBeVisible()

  const [login] = await Promise.all([context.waitForEvent('page'), page.getByRole('link', { name: 'Log in' }).click()])
  await logIn(login, ALICE)
  await expect(login.getByRole('link', { name: 'Wiki', exact: true })).toBeVisible()
  await login.goto(`${at('trac')}/wiki/Evening`)
  await expect(login.getByText('The end of it.')).toHaveCount(0)

  await page.bringToFront()
  await page.reload() // The browser sends the form again.
  await isSaved(page)
})

test('a link from another site opens the app logged in; its forms and pictures do nothing', async ({ page, at, elsewhere }) => {
  await page.goto(at('trac'))
  await logIn(page, ALICE)
  await expect(page.getByRole('link', { name: 'Wiki', exact: true })).toBeVisible()

  const wiki = `${at('trac')}/wiki/WikiStart`
  const html = `<a href="${wiki}">The wiki</a> <img src="${at('trac')}/chrome/common/trac_logo_mini.png">
    <form method="post" action="${at('trac')}/newticket"><input name="field_summary" value="Not yours"><button>Win a kettle</button></form>`
  // Another site, then a neighbour: another host of the same site, to which SameSite=Lax is no obstacle.
  for (const name of ['elsewhere.test', 'neighbour.apps.test']) {
    const there = elsewhere.page('/', html, name)
    const asked = page.waitForRequest((request) => request.url().endsWith('trac_logo_mini.png'))
    await page.goto(there)
    const picture = await asked
    await expect.poll(() => picture.failure()?.errorText).toBe('net::ERR_BLOCKED_BY_ORB') // A refusal is no picture.
    expect(await page.locator('img').evaluate((image: HTMLImageElement) => image.naturalWidth)).toBe(0)

    await page.getByRole('link', { name: 'The wiki' }).click()
    await expect(page).toHaveURL(wiki)
    await expect(page.getByRole('link', { name: 'New Ticket' })).toBeVisible()

    await page.goto(there)
    const [answer] = await Promise.all([
      page.waitForResponse((response) => response.request().method() === 'POST'),
      page.getByRole('button', { name: 'Win a kettle' }).click(),
    ])
    expect([401, 403]).toContain(answer.status())
  }
  await page.goto(`${at('trac')}/query?summary=~Not+yours`)
  await expect(page.getByText('No tickets found')).toBeVisible()
})

test('a script reaches the same app with a bearer token', async ({ page, at, curl }) => {
  const status = ['-o', '/dev/null', '-w', '%{http_code}']
  const login = curl('--data-urlencode', `username=${ALICE.name}`, '--data-urlencode', `password=${ALICE.password}`, `${at('trac')}/login`)
  const token = (JSON.parse(login) as { access_token: string }).access_token
  const wiki = `${at('trac')}/wiki/WikiStart?format=txt`

  expect(curl(...status, wiki)).toBe('401')
  expect(curl('-H', `Authorization: Bearer ${token}`, wiki)).toContain('Trac')
  // The browser's session is another one, and is not disturbed.
  await page.goto(at('trac'))
  await logIn(page, ALICE)
  curl('-X', 'POST', '-H', `Authorization: Bearer ${token}`, `${at('trac')}/logout`)
  expect(curl(...status, '-H', `Authorization: Bearer ${token}`, wiki)).toBe('401')
  await page.reload()
  await expect(page.getByRole('link', { name: 'Wiki', exact: true })).toBeVisible()
})

test('cookies of before a logout, put back by hand, open nothing', async ({ page, at, context, curl }) => {
  await page.goto(at('trac'))
  await logIn(page, ALICE)
  await expect(page.getByRole('link', { name: 'Wiki', exact: true })).toBeVisible()
  const kept = await ourCookies(context, at('trac'))
  expect(kept).toHaveLength(2)
  await logOut(page)

  for (const some of [kept, kept.slice(0, 1), kept.slice(1)]) {
    await context.addCookies(some)
    await page.goto(`${at('trac')}/wiki`)
    await expect(page.getByRole('heading', { name: 'Log in' })).toBeVisible()
    const cookies = some.map(({ name, value }) => `${name}=${value}`).join('; ')
    expect(curl('-o', '/dev/null', '-w', '%{http_code}', '-H', `Cookie: ${cookies}`, `${at('trac')}/wiki`)).toBe('401')
  }
})
