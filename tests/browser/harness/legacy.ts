// `test` with apps of other people behind the gate, each on a host of its own, and pages of other sites.

import { execFileSync } from 'node:child_process'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type BrowserContext, test as base, expect, type Page } from '@playwright/test'
import { host, type Name, start } from './apps.ts'
import { Portcullis, type Settings, USUAL } from './portcullis.ts'
import type { Account } from './prepare.ts'
import { freePort } from './process.ts'

export { expect } from '@playwright/test'
export { ALICE, BOSS } from './prepare.ts'

interface Options {
  /** What is written into proxy.yaml. */
  settings: Partial<Settings>
  /** The apps that the test needs. */
  behind: Name[]
}

interface Fixtures {
  gate: Portcullis
  /** The origin of an app, as browsers know it. */
  at: (name: Name) => string
  /** What curl prints: a script that is no browser. */
  curl: (...parameters: string[]) => string
  elsewhere: Elsewhere
}

interface WorkerFixtures {
  port: number
  apps: (name: Name) => Promise<string>
}

export const test = base.extend<Options & Fixtures, WorkerFixtures>({
  settings: [{}, { option: true }],
  behind: [[], { option: true }],

  // Always the same one, as apps want to know it.
  // biome-ignore lint/correctness/noEmptyPattern: Playwright wants it so.
  port: [async ({}, use) => use(await freePort()), { scope: 'worker' }],

  // One start for all tests of a worker.
  apps: [
    async ({ port }, use) => {
      const started = new Map<Name, ReturnType<typeof start>>()
      await use(async (name) => {
        const app = started.get(name) ?? start(name, `https://${host(name)}:${port}`)
        started.set(name, app)
        return (await app).url
      })
      for (const app of started.values()) await (await app).stop()
    },
    { scope: 'worker' },
  ],

  gate: async ({ apps, behind, port, settings }, use, testInfo) => {
    const upstreams = await Promise.all(behind.map(async (name) => `  ${name}: { servers: ["${await apps(name)}"] }\n`))
    const routes = behind.map((name) => `  - { name: ${name}, host: ${host(name)}, upstream: ${name}, ${ROUTES[name]} }\n`)
    const gate = new Portcullis()
    try {
      await gate.start({ ...USUAL, port, ...settings, routes: `upstreams:\n${upstreams.join('')}routes:\n${routes.join('')}` })
      await use(gate)
      if (testInfo.status !== testInfo.expectedStatus) await testInfo.attach('portcullis.log', { body: gate.log })
    } finally {
      await gate.stop()
    }
  },

  at: async ({ gate }, use) => use((name) => `https://${host(name)}:${gate.listen}`),

  curl: async ({ gate, behind }, use) => {
    const names = behind.flatMap((name) => ['--resolve', `${host(name)}:${gate.listen}:127.0.0.1`])
    await use((...parameters) => execFileSync('curl', ['-sk', ...names, ...parameters], { encoding: 'utf8' }))
  },

  // biome-ignore lint/correctness/noEmptyPattern: Playwright wants it so.
  elsewhere: async ({}, use) => {
    const elsewhere = await new Elsewhere().start()
    await use(elsewhere)
    await elsewhere.stop()
  },
})

const ROUTES: Record<Name, string> = {
  django: 'credentials: [header, cookie]',
  trac: 'credentials: [header, cookie]',
  nodered: 'credentials: [cookie]',
  syncthing: 'credentials: [cookie], preserve_host: false', // It answers to its own address only.
}

/** A server of somebody else, with the pages that a test puts there. */
export class Elsewhere {
  readonly #pages = new Map<string, string>()
  readonly #server: Server = createServer((request, response) => {
    const page = this.#pages.get(request.url!)
    response.writeHead(page === undefined ? 404 : 200, { 'content-type': 'text/html' }).end(page)
  })

  async start() {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    return this
  }

  /** Puts a page there and says where it is. `name` is the host: any name below `.test`. */
  page(path: string, html: string, name = 'elsewhere.test') {
    this.#pages.set(path, `<!doctype html><title>Elsewhere</title>${html}`)
    return `http://${name}:${(this.#server.address() as AddressInfo).port}${path}`
  }

  async stop() {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}

/** On the login page, which must be there. */
export async function logIn(page: Page, { name, password }: Account) {
  await expect(page.getByRole('heading', { name: 'Log in' })).toBeVisible()
  await page.getByLabel('User name').fill(name)
  await page.getByLabel('Password').fill(password)
  await page.getByRole('button', { name: 'Log in' }).click()
}

/** By a form, as a page with a button for it would have. */
export async function logOut(page: Page) {
  await page.evaluate(() => {
    const form = document.createElement('form')
    form.method = 'post'
    form.action = '/logout'
    document.body.append(form)
    form.submit()
  })
  await expect(page.getByRole('heading', { name: 'Log in' })).toBeVisible()
}

/** Logs out in `page` and says how many milliseconds after the answer `ended` came. */
export async function endsAfterLogOut(page: Page, ended: Promise<unknown>) {
  const gone = ended.then(() => performance.now())
  const answered = page.waitForResponse((response) => response.url().endsWith('/logout')).then(() => performance.now())
  await Promise.all([gone, logOut(page)])
  return (await gone) - (await answered)
}

const OURS = /^__Host-(access|refresh)$/

/** Our cookies at `origin`, by name. */
export async function ourCookies(context: BrowserContext, origin: string) {
  return (await context.cookies(origin)).filter(({ name }) => OURS.test(name))
}

/** The app's cookies at `origin`. */
export async function itsCookies(context: BrowserContext, origin: string) {
  return (await context.cookies(origin)).filter(({ name }) => !OURS.test(name))
}
