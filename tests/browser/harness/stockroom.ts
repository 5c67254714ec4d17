// The demo app as a user meets it: by the names that a screen reader would say.
import { expect, type Locator, type Page } from '@playwright/test'
import type { Account } from './prepare.ts'

export class Stockroom {
  readonly page: Page
  readonly stock: Locator
  readonly whoAmI: Locator
  readonly calls: Locator
  readonly menu: Locator
  readonly dialog: Locator
  readonly #login: Locator

  constructor(page: Page) {
    this.page = page
    this.stock = page.getByRole('table', { name: 'Stock' })
    this.whoAmI = page.getByRole('region', { name: 'Who am I' })
    this.calls = page.getByTestId('calls')
    this.menu = page.getByRole('button', { name: 'Account menu' })
    this.dialog = page.getByRole('dialog', { name: 'Account' })
    this.#login = page.getByRole('heading', { name: 'Log in' })
  }

  /** Opens the app, or opens it again. */
  async open() {
    await this.page.goto('/app/')
  }

  async logIn({ name, password }: Account) {
    await this.page.getByLabel('User name').fill(name)
    await this.page.getByLabel('Password', { exact: true }).fill(password)
    await this.#click(this.page.getByRole('button', { name: 'Log in' }))
  }

  async openAndLogIn(account: Account) {
    await this.open()
    await this.logIn(account)
    await this.isSignedIn(account)
    await this.page.evaluate(() => window.headingsSeen.clear())
  }

  async logOut(how: 'Log out' | 'Log out everywhere' = 'Log out') {
    await this.#click(this.menu)
    await this.#click(this.dialog.getByRole('button', { name: how, exact: true }))
  }

  /** The protected page is there, with what it loads. */
  async isSignedIn(account: Account) {
    await expect(this.page.getByRole('heading', { level: 1, name: 'Stockroom' })).toBeVisible()
    await expect(this.stock).toBeVisible()
    await expect(this.stock.getByRole('row')).not.toHaveCount(0)
    await expect(this.whoAmI).toContainText(account.name)
  }

  /** The login page is there, and nothing protected. */
  async isLoggedOut() {
    await expect(this.#login).toBeVisible()
    await expect(this.stock).toBeHidden()
    await expect(this.whoAmI).toBeHidden()
    await expect(this.menu).toBeHidden()
  }

  button(name: 'Read the stock' | 'Read ten items at once' | 'Add an item' | 'Open the admin report') {
    return this.page.getByRole('region', { name: 'Calls' }).getByRole('button', { name })
  }

  /** Makes a call and waits until the log tells its outcome. */
  async call(name: Parameters<Stockroom['button']>[0], status: number, click = (button: Locator) => this.#click(button)) {
    const told = this.calls.getByText(String(status))
    const before = await told.count()
    await click(this.button(name))
    await expect.poll(() => told.count()).toBeGreaterThan(before)
  }

  /** People click in the tab that is in front. In others the browser draws too seldom to see when a button stands still. */
  async #click(button: Locator) {
    await this.page.bringToFront()
    await button.click()
  }

  /** Whether the login page was on the screen at any time since the page was loaded, or the user logged in. */
  async sawLogin() {
    return await this.page.evaluate(() => window.headingsSeen.has('Log in'))
  }

  /** Whether anything protected was on the screen at any time since the page was loaded, or taken from the browser's cache. */
  async sawProtected() {
    return await this.page.evaluate(() => window.headingsSeen.has('Stockroom'))
  }
}

declare global {
  interface Window {
    /** Kept by the script that the harness puts into each page. */
    headingsSeen: Set<string>
    /** Whether the page was taken from the browser's back-forward cache. */
    cameBack: boolean
  }
}
