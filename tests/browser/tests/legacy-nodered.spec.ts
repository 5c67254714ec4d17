// Node-RED behind the gate: an editor that lives on a WebSocket.
import type { Page } from '@playwright/test'
import { ALICE, endsAfterLogOut, expect, logIn, test } from '../harness/legacy.ts'

test.use({ behind: ['nodered'] })

/** The next WebSocket of the editor, when it has said something. */
async function comms(page: Page) {
  const socket = await page.waitForEvent('websocket', { predicate: (socket) => socket.url().endsWith('/comms'), timeout: 30_000 })
  await socket.waitForEvent('framereceived')
  return socket
}

async function open(page: Page, url: string) {
  await page.goto(url)
  const socket = comms(page)
  await logIn(page, ALICE)
  await expect(page.locator('#red-ui-header-button-deploy')).toBeVisible()
  return await socket
}

test('a flow is made and deployed; a logout in one tab ends the WebSocket of the other', async ({ page, at, context }) => {
  const socket = await open(page, at('nodered'))
  const url = socket.url()
  expect(url).toBe(`${at('nodered').replace('https', 'wss')}/comms`) // No token stands in it.
  await page.locator('.red-ui-tabs-add a').first().click()
  const [deployed] = await Promise.all([
    page.waitForResponse((response) => response.request().method() === 'POST' && response.url().endsWith('/flows')),
    page.locator('#red-ui-header-button-deploy').click(),
  ])
  expect(deployed.ok()).toBe(true)
  expect(socket.isClosed()).toBe(false)

  const other = await context.newPage()
  await other.goto(`${at('nodered')}/flows`)
  expect(await endsAfterLogOut(other, socket.waitForEvent('close'))).toBeLessThan(1000)
  // What is asked for after that is refused, and a new page is the login page.
  expect(await page.evaluate(async () => (await fetch('/flows')).status)).toBe(401)
  expect(await page.evaluate((url) => new Promise((resolve) => (new WebSocket(url).onclose = ({ code }) => resolve(code))), url)).toBe(1006)
  await page.goto(at('nodered'))
  await expect(page.getByRole('heading', { name: 'Log in' })).toBeVisible()
})

test.describe('with a short access token', () => {
  test.use({ settings: { access: '2s', grace: '1s' } })

  test('an editor that is left alone loses its WebSocket, and gets a new one by itself', async ({ page, at, gate }) => {
    const socket = await open(page, at('nodered'))
    const next = comms(page)
    if (!socket.isClosed()) await socket.waitForEvent('close', { timeout: 30_000 })
    expect((await next).isClosed()).toBe(false)
    expect(await gate.refreshes('rotated')).toBeGreaterThan(0)
    await expect(page.locator('#red-ui-header-button-deploy')).toBeVisible()
  })
})
