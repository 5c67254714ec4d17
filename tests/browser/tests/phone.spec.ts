// The dialog of the profile on a phone, by touch and by keyboard.
import { devices } from '@playwright/test'
import type { Stockroom } from '../harness/stockroom.ts'
import { ALICE, expect, test } from '../harness/test.ts'

const { viewport, userAgent, deviceScaleFactor, isMobile, hasTouch } = devices['iPhone 13']!
test.use({ viewport, userAgent, deviceScaleFactor, isMobile, hasTouch })

test.beforeEach(async ({ app }) => {
  await app.openAndLogIn(ALICE)
})

const BUTTONS = ['Log out', 'Log out everywhere', 'Cancel']

const focused = (app: Stockroom) =>
  app.page.evaluate(() => {
    const element = document.activeElement
    return { name: element?.textContent?.trim(), inDialog: element?.closest('dialog, [role=dialog]') !== null }
  })

test('by touch: a sheet at the bottom, with targets for fingers', async ({ app }) => {
  const { width, height } = app.page.viewportSize()!
  expect(await app.page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(width)
  await app.menu.tap()
  await expect(app.dialog).toBeVisible()
  await expect(app.dialog).toHaveJSProperty('open', true) // Modal: what is behind is inert.
  await expect.poll(async () => bottom(await app.dialog.boundingBox())).toBe(height)
  await expect(app.dialog.getByRole('button')).toHaveText(BUTTONS)
  for (const target of [app.menu, ...(await app.dialog.getByRole('button').all())]) {
    const box = (await target.boundingBox())!
    expect(box.height).toBeGreaterThanOrEqual(44)
    expect(box.width).toBeGreaterThanOrEqual(44)
  }

  await app.dialog.getByRole('button', { name: 'Cancel' }).tap()
  await expect(app.dialog).toBeHidden()
  await app.isSignedIn(ALICE)

  await app.menu.tap()
  await app.dialog.getByRole('button', { name: 'Log out', exact: true }).tap()
  await app.isLoggedOut()
})

test('by keyboard: the focus stays within, Escape cancels, the focus returns', async ({ app }) => {
  const { keyboard } = app.page
  await app.menu.focus()
  await keyboard.press('Enter')
  await expect(app.dialog).toBeVisible()
  expect((await focused(app)).inDialog).toBe(true)

  for (const key of ['Tab', 'Shift+Tab']) {
    const visited = new Set<string | undefined>()
    for (let presses = 0; presses < 7; presses++) {
      await keyboard.press(key)
      const { name, inDialog } = await focused(app)
      expect(inDialog, `${key} leaves the dialog for ${name}`).toBe(true)
      visited.add(name)
    }
    expect([...visited].sort()).toEqual([...BUTTONS].sort())
  }

  await keyboard.press('Escape')
  await expect(app.dialog).toBeHidden()
  await expect(app.menu).toBeFocused()
  await app.isSignedIn(ALICE)

  await keyboard.press('Enter')
  await expect(app.dialog).toBeVisible()
  while ((await focused(app)).name !== 'Log out') await keyboard.press('Tab')
  await keyboard.press('Enter')
  await app.isLoggedOut()
})

function bottom(box: { y: number; height: number } | null) {
  return box && Math.round(box.y + box.height)
}
