// `test` with a world of its own for each test: Redis or not, the real binary, the legacy app, and a proxy that misbehaves.

import { join } from 'node:path'
import { type BrowserContext, test as base } from '@playwright/test'
import { Chaos } from './chaos.ts'
import { Portcullis, type Settings, USUAL } from './portcullis.ts'
import { ROOT } from './prepare.ts'
import { answers, freePort, Process } from './process.ts'
import { Redis } from './redis.ts'
import { Stockroom } from './stockroom.ts'
import { Traffic } from './traffic.ts'

export { expect } from '@playwright/test'
export { ALICE, BOSS } from './prepare.ts'

export interface World {
  gate: Portcullis
  /** Between browser and Portcullis. */
  network: Chaos
  redis?: Redis
}

interface Options {
  /** What is written into proxy.yaml. */
  settings: Partial<Settings>
  store: 'embedded' | 'redis'
}

interface Fixtures {
  world: World
  /** A second browser, so to speak: other cookies, another memory. */
  elsewhere: Stockroom
  app: Stockroom
  traffic: Traffic
}

export const test = base.extend<Options & Fixtures>({
  settings: [{}, { option: true }],
  store: ['embedded', { option: true }],

  world: async ({ settings, store }, use, testInfo) => {
    const cleanup: (() => Promise<unknown>)[] = []
    try {
      const started = <T extends { stop(): Promise<unknown> }>(thing: T) => {
        cleanup.unshift(() => thing.stop())
        return thing
      }
      const redis = store === 'redis' ? await started(new Redis()).start() : undefined
      const gate = started(new Portcullis())
      await gate.start({ ...USUAL, ...settings }, await legacyApp(cleanup), redis?.url)
      const network = await started(new Chaos(() => gate.listen)).start()
      await use({ gate, network, redis })
      if (testInfo.status !== testInfo.expectedStatus) await testInfo.attach('portcullis.log', { body: gate.log })
    } finally {
      for (const stop of cleanup) await stop()
    }
  },

  baseURL: async ({ world, settings }, use) => {
    await use(`${settings.tls === false ? 'http' : 'https'}://127.0.0.1:${world.network.port}`)
  },

  context: async ({ context }, use) => {
    await useWatched(context, () => use(context))
  },

  elsewhere: async ({ browser, baseURL }, use) => {
    const context = await browser.newContext({ baseURL, ignoreHTTPSErrors: true })
    await useWatched(context, async () => use(new Stockroom(await context.newPage())))
    await context.close()
  },

  app: async ({ page }, use) => use(new Stockroom(page)),
  traffic: async ({ context }, use) => use(new Traffic(context)),
})

async function legacyApp(cleanup: (() => Promise<unknown>)[]) {
  const port = await freePort()
  const app = new Process(['python3', join(ROOT, 'demo/legacy/app.py'), '--port', String(port)])
  cleanup.unshift(() => app.kill())
  await app.until(() => answers(`http://127.0.0.1:${port}/whoami`))
  return `http://127.0.0.1:${port}`
}

/** In every test: no page throws, and none breaks its content security policy. */
async function useWatched(context: BrowserContext, use: () => Promise<void>) {
  const faults: string[] = []
  context.on('weberror', (error) => void faults.push(String(error.error().stack)))
  context.on('console', (message) => {
    if (/content.?security.?policy/i.test(message.text())) faults.push(message.text())
  })
  await context.addInitScript(inEachPage)
  await use()
  if (faults.length > 0) throw new Error(`The pages are not clean:\n${faults.join('\n')}`)
}

function inEachPage() {
  document.addEventListener('securitypolicyviolation', (violation) => {
    console.error(`Content security policy: ${violation.effectiveDirective} forbids ${violation.blockedURI}`)
  })
  const look = () => {
    for (const heading of document.querySelectorAll('h1, h2, h3')) {
      if (heading.checkVisibility()) window.headingsSeen.add(heading.textContent?.trim() ?? '')
    }
  }
  window.headingsSeen = new Set()
  window.cameBack = false
  new MutationObserver(look).observe(document, { subtree: true, childList: true, attributes: true, characterData: true })
  // What stands there when the page comes back is what the user sees first: before this page itself hears of it.
  window.addEventListener('pageshow', ({ persisted }) => {
    if (!persisted) return
    window.cameBack = true
    window.headingsSeen.clear()
    look()
  })
}
