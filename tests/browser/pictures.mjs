// Makes the pictures of the README: starts the demo, does what its words say, writes docs/pictures. Run by `make pictures`.

import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { chromium } from '@playwright/test'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const PICTURES = join(ROOT, 'docs/pictures')
const DESKTOP = { viewport: { width: 1280, height: 800 } }
const PHONE = { viewport: { width: 390, height: 780 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true, colorScheme: 'dark' }

const folder = mkdtempSync(join(tmpdir(), 'portcullis-pictures-'))
mkdirSync(PICTURES, { recursive: true })
const demo = spawn(join(ROOT, 'demo/run'), [join(ROOT, 'target/debug/portcullis'), '--folder', join(folder, 'demo')], {
  stdio: ['ignore', 'pipe', 'inherit'],
})
let browser
try {
  const address = await addressOf(demo)
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: process.getuid?.() === 0 ? ['--no-sandbox'] : [],
    env: { ...process.env, FONTCONFIG_FILE: fonts() },
  })

  const desk = await open(address, DESKTOP)
  await picture(desk, 'login')
  await logIn(desk)
  const calls = ['Read the stock', 'Add an item', 'Read ten items at once', 'Open the admin report']
  for (const [index, call] of calls.entries()) {
    await desk.getByRole('button', { name: call }).click()
    await desk.getByTestId('calls').locator('.pill').nth(index).waitFor()
  }
  await desk.mouse.move(0, 0)
  await picture(desk, 'stockroom')

  const phone = await open(address, PHONE)
  await logIn(phone)
  await phone.getByRole('button', { name: 'Account menu' }).tap()
  await picture(phone, 'account')
} finally {
  await browser?.close()
  demo.kill('SIGINT')
  rmSync(folder, { recursive: true, force: true })
}

async function open(address, options) {
  const context = await browser.newContext({ reducedMotion: 'reduce', ...options })
  const page = await context.newPage()
  await page.goto(address)
  await page.getByRole('heading', { name: 'Log in' }).waitFor()
  return page
}

async function logIn(page) {
  await page.getByRole('button', { name: 'demo' }).click()
  await page.getByRole('button', { name: 'Log in' }).click()
  await page.getByRole('table', { name: 'Stock' }).waitFor()
}

async function picture(page, name) {
  await page.waitForTimeout(300)
  await page.screenshot({ path: join(PICTURES, `${name}.png`) })
}

async function addressOf(child) {
  for await (const line of createInterface({ input: child.stdout })) {
    const address = /^Open (http\S+)/.exec(line)?.[1]
    if (address) return address
  }
  throw new Error('The demo has ended.')
}

/** The page takes the font of the system. Servers have none worth a picture; Inter (Debian: fonts-inter) looks like most. */
function fonts() {
  const file = join(folder, 'fonts.conf')
  const prefer = ['system-ui', 'sans-serif'].map(
    (family) => `<match><test name="family"><string>${family}</string></test>
      <edit name="family" mode="prepend" binding="strong"><string>Inter</string></edit></match>`,
  )
  writeFileSync(file, `<fontconfig><include>/etc/fonts/fonts.conf</include>${prefer.join('')}</fontconfig>`)
  return file
}
