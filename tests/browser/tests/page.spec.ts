// What the page promises to those who look at it with other means, and to those who attack it.

import { readFileSync } from 'node:fs'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { AxeBuilder } from '@axe-core/playwright'
import type { Page } from '@playwright/test'
import { shared } from '../harness/prepare.ts'
import { ALICE, expect, test } from '../harness/test.ts'

for (const colorScheme of ['light', 'dark'] as const) {
  test.describe(`in ${colorScheme}`, () => {
    test.use({ colorScheme, contextOptions: { reducedMotion: 'reduce' } })

    test('no barriers: login page, protected page, dialog', async ({ app }) => {
      await app.open()
      await app.isLoggedOut()
      await hasNoBarriers(app.page)
      await app.logIn({ ...ALICE, password: 'wrong' })
      await expect(app.page.getByRole('alert')).not.toBeEmpty()
      await hasNoBarriers(app.page)

      await app.logIn(ALICE)
      await app.isSignedIn(ALICE)
      await app.call('Read the stock', 200)
      await app.call('Open the admin report', 403)
      await hasNoBarriers(app.page)

      await app.menu.click()
      await expect(app.dialog).toBeVisible()
      await hasNoBarriers(app.page)
    })
  })
}

async function hasNoBarriers(page: Page) {
  const { violations } = await new AxeBuilder({ page }).analyze()
  const told = violations.map(({ id, help, nodes }) => `${id}: ${help}\n${nodes.map((node) => node.html).join('\n')}`)
  expect(told).toEqual([])
}

test('the content security policy allows nothing inline', async ({ browser, baseURL }) => {
  const context = await browser.newContext({ ignoreHTTPSErrors: true }) // One in which a violation is no fault.
  const page = await context.newPage()
  const answer = (await page.goto(`${baseURL}/app/`))!
  const policy = await answer.headerValue('content-security-policy')
  expect(policy).toContain("default-src 'self'")
  expect(policy).toContain("script-src 'self'")
  expect(policy).toContain("frame-ancestors 'none'")
  expect(policy).not.toContain('unsafe')
  // It is in force: what is inline does not run. That the app itself needs none, every test sees.
  const ran = await page.evaluate(() => {
    const script = document.createElement('script')
    script.textContent = 'window.name = "ran"'
    document.head.append(script)
    return window.name
  })
  expect(ran).toBe('')
  await context.close()
})

test('what is protected is not cached', async ({ app, context }) => {
  const seen: (string | null)[] = []
  context.on('response', async (response) => {
    if (response.url().endsWith('/api/stock')) seen.push(await response.headerValue('cache-control'))
  })
  await app.openAndLogIn(ALICE)
  await expect.poll(() => seen).toContain('no-store')
  expect(new Set(seen)).toEqual(new Set(['no-store']))
})

test.describe('a page of another origin', () => {
  // Another port is another origin of the same site, so the cookie goes along. Another name is another site.
  for (const host of ['127.0.0.1', 'localhost']) {
    test(`cannot refresh or log out: ${host}`, async ({ app, context, traffic, baseURL }) => {
      await app.openAndLogIn(ALICE)
      const tls = { cert: readFileSync(join(shared(), 'tls.pem')), key: readFileSync(join(shared(), 'tls.key')) }
      const evil = createServer(tls, (_, answer) => answer.setHeader('content-type', 'text/html').end('<h1>Win a prize</h1>'))
      await new Promise<void>((resolve) => evil.listen(0, '127.0.0.1', resolve))
      try {
        const page = await context.newPage()
        await page.goto(`https://${host}:${(evil.address() as AddressInfo).port}/`)
        traffic.clear()
        for (const path of ['/refresh', '/logout', '/logout/all']) {
          await page.evaluate(
            (url) => fetch(url, { method: 'POST', credentials: 'include', mode: 'no-cors' }).then(() => undefined),
            `${baseURL}${path}`,
          )
          await expect.poll(() => traffic.statuses(path)).toEqual([403])
        }
        // Nor can it read an answer.
        await expect(page.evaluate((url) => fetch(url, { method: 'POST', credentials: 'include' }), `${baseURL}/refresh`)).rejects.toThrow()
      } finally {
        evil.closeAllConnections()
        evil.close()
      }
      await app.page.reload()
      await app.isSignedIn(ALICE)
    })
  }
})
