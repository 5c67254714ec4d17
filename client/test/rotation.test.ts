/**
 * Several tabs against the real rule of rotation, over a network that loses, cuts and delays, with reloads, sleep and a store that
 * is away now and then. Nobody may end up logged out. Says its seed when it fails: SEED=... runs that one alone.
 */
import { expect, it, vi } from 'vitest'
import { authorizedFetch } from '../src/fetch.js'
import { Browser, Server, seeded } from './rotation.js'
import { world } from './world.js'

declare const process: { env: Record<string, string | undefined> }

const w = world()
const SEEDS = process.env.SEED ? [Number(process.env.SEED)] : Array.from({ length: Number(process.env.SEEDS ?? 40) }, (_, i) => i + 1)

const open = (browser: Browser) => {
  const { fetch, unload } = browser.page()
  const { session, told } = w.tab({ fetch })
  return { session, told, unload, call: authorizedFetch(session, { fetch }) }
}

/** Half an hour in the life of a browser, most of it in bad weather. */
const live = async (seed: number) => {
  const random = seeded(seed)
  vi.spyOn(Math, 'random').mockImplementation(random)
  const server = new Server()
  const browser = new Browser(server, random)
  w.channels.latency = () => random() ** 4 * 3000
  const tabs = Array.from({ length: 2 + Math.floor(random() * 4) }, () => open(browser))
  browser.bad = false
  for (const tab of tabs) await Promise.all([tab.session.start(), w.pass(1000)])
  await Promise.all([tabs[0]?.session.login('demo', 'pass'), w.pass(5000)])
  browser.bad = true
  const before = tabs.map(({ told }) => told.length)

  for (let s = 0; s < 1800; s += 2) {
    const at = Math.floor(random() * tabs.length)
    const tab = tabs[at]
    if (!tab) continue
    const what = random()
    if (what < 0.3) void tab.call('/api').catch(() => {})
    else if (what < 0.33) {
      // A reload: whatever was under way is lost with the page.
      expect(tab.told.slice(before[at]).map(({ status }) => status)).not.toContain('none')
      tab.session.stop()
      tab.unload()
      before[at] = 0
      const fresh = open(browser)
      tabs[at] = fresh
      void fresh.session.start()
    } else if (what < 0.34) w.fire('online')
    else if (what < 0.345) browser.sleep(random() * 120_000)
    else if (what < 0.36) server.away = !server.away
    await w.pass(2000)
  }
  for (const [at, { told }] of tabs.entries()) expect(told.slice(before[at]).map(({ status }) => status)).not.toContain('none')

  // The weather clears, and everybody is still there.
  browser.bad = false
  server.away = false
  await w.pass(200_000)
  for (const { session } of tabs) expect(session.snapshot()).toMatchObject({ status: 'active', reachable: true })
  expect([...server.sessions.values()]).toHaveLength(1)
  expect(server.counts.reused).toBe(0)
  const answers = tabs.map(({ call }) => call('/api'))
  await w.pass(2000)
  for (const answer of answers) expect((await answer).status).toBe(200)

  // One logs out, and all are.
  await Promise.all([tabs[0]?.session.logout(), w.pass(10_000)])
  for (const { session } of tabs) expect(session.snapshot().status).toBe('none')
  for (const { session } of tabs) session.stop()
  vi.restoreAllMocks()
  return { ...server.counts, lost: browser.lost }
}

it(`logs nobody out, in ${SEEDS.length} stories`, { timeout: 5_000 * (SEEDS.length + 10) }, async () => {
  const sum = { kept: 0, rotated: 0, retried: 0, late: 0, reused: 0, lost: 0 }
  for (const seed of SEEDS) {
    const counts = await live(seed).catch((error: Error) => {
      error.message = `seed ${seed}: ${error.message}`
      throw error
    })
    for (const key of Object.keys(sum) as (keyof typeof sum)[]) sum[key] += counts[key]
  }
  // The stories are worth something only if they went through all of the rule.
  if (SEEDS.length > 1) expect(Math.min(sum.kept, sum.rotated, sum.retried, sum.late, sum.lost)).toBeGreaterThan(0)
  console.log(JSON.stringify(sum))
})
