// Syncthing behind the gate: a page that asks for events and waits for the answer, and has a cookie of its own against forgery.
import type { Page, Request } from '@playwright/test'
import { ALICE, BOSS, endsAfterLogOut, expect, itsCookies, logIn, logOut, test } from '../harness/legacy.ts'

test.use({ behind: ['syncthing'] })

/** The long polls of a page. */
class Polls {
  count = 0
  readonly #open = new Set<Request>()
  readonly #page: Page

  constructor(page: Page) {
    this.#page = page
    page.on('request', (request) => {
      if (!isPoll(request)) return
      this.count++
      this.#open.add(request)
    })
    for (const end of ['requestfinished', 'requestfailed'] as const)
      page.on(end as 'requestfailed', (request) => void this.#open.delete(request))
  }

  /** The newest that waits for its answer: the page can have two. */
  async waiting() {
    await expect.poll(() => this.#open.size).toBeGreaterThan(0)
    return [...this.#open].at(-1)!
  }

  async ended(poll: Request) {
    const isIt = { predicate: (request: Request) => request === poll }
    await Promise.race([this.#page.waitForEvent('requestfailed', isIt), this.#page.waitForEvent('requestfinished', isIt)])
  }
}

const isPoll = (request: Request) => new URL(request.url()).pathname === '/rest/events'

async function open(page: Page, url: string) {
  const polls = new Polls(page)
  await page.goto(url)
  await logIn(page, ALICE)
  await expect(page.getByRole('heading', { name: 'This Device' })).toBeVisible()
  return polls
}

test('a logout in one tab ends the long poll of the other', async ({ page, at, context }) => {
  const polls = await open(page, at('syncthing'))
  const its = await itsCookies(context, at('syncthing'))
  expect(its.map(({ name }) => name)).toEqual([expect.stringMatching(/^CSRF-Token-/)])

  const other = await context.newPage()
  await other.goto(at('syncthing'))
  const poll = await polls.waiting()
  expect(await endsAfterLogOut(other, polls.ended(poll))).toBeLessThan(1000)
  expect(await page.evaluate(async () => (await fetch('/rest/events')).status)).toBe(401)
  expect(await itsCookies(context, at('syncthing'))).toMatchObject(its.map(({ name, value }) => ({ name, value })))
})

test.describe('with a short access token', () => {
  test.use({ settings: { access: '2s' } })

  test('the page goes on asking for as long as the session lives', async ({ page, at, gate }) => {
    const polls = await open(page, at('syncthing'))
    const before = polls.count
    await expect.poll(() => gate.refreshes(), { timeout: 30_000 }).toBeGreaterThan(1)
    await expect.poll(() => polls.count).toBeGreaterThan(before)
    await polls.waiting()
    await expect(page.getByRole('heading', { name: 'This Device' })).toBeVisible()
  })
})

test.describe('beside another app', () => {
  test.use({ behind: ['syncthing', 'trac'] })

  test('two apps on two hosts have a login each', async ({ page, at, context }) => {
    await open(page, at('syncthing'))
    const other = await context.newPage()
    await other.goto(at('trac'))
    await logIn(other, BOSS)
    const wiki = other.getByRole('link', { name: 'Wiki', exact: true })
    await expect(wiki).toBeVisible()

    await logOut(page)
    await other.reload()
    await expect(wiki).toBeVisible()
    await page.goto(at('syncthing'))
    await expect(page.getByRole('heading', { name: 'Log in' })).toBeVisible()
  })
})
