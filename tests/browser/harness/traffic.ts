// What goes over the network, as the browser sees it: the tests judge the client by this, not by its insides.
import type { BrowserContext, Page, Request, Response } from '@playwright/test'

export class Traffic {
  readonly #sent: Request[] = []
  readonly #answered: Response[] = []
  readonly #reading: Promise<void>[] = []
  readonly #tokens: string[] = []

  /** Of all pages of a context, or of one page. */
  constructor(of: BrowserContext | Page) {
    const seen = of as Page // Both have these events; the types only tell for one.
    seen.on('request', (request) => void this.#sent.push(request))
    seen.on('response', (response) => {
      this.#answered.push(response)
      if (['/login', '/refresh'].includes(path(response)) && response.ok()) this.#reading.push(this.#read(response))
    })
  }

  /** How many requests for `target` have been sent. */
  sent(target: string) {
    return this.#sent.filter((request) => path(request) === target).length
  }

  /** The statuses of the answers for `target`, in the order in which they came. */
  statuses(target: string) {
    return this.#answered.filter((response) => path(response) === target).map((response) => response.status())
  }

  /** When the requests for `target` that were answered had been sent, in milliseconds by the browser's clock. */
  times(target: string) {
    return this.#answered.filter((response) => path(response) === target).map((response) => response.request().timing().startTime)
  }

  /** Forgets what was, to count what comes. */
  clear() {
    this.#sent.length = 0
    this.#answered.length = 0
  }

  /** The values of refresh cookies that answers of `target` have set. */
  async cookies(target: string) {
    const answers = this.#answered.filter((response) => path(response) === target)
    const lines = await Promise.all(answers.map((response) => response.headerValue('set-cookie')))
    return lines.flatMap((line) => /refresh=([^;]*)/.exec(line ?? '')?.[1] ?? [])
  }

  /** All access tokens that were given out. */
  async tokens() {
    await Promise.all(this.#reading)
    return [...this.#tokens]
  }

  async #read(response: Response) {
    // A page that is closed takes the bodies of its answers with it.
    const body = (await response.json().catch(() => ({}))) as { access_token?: string }
    if (body.access_token) this.#tokens.push(body.access_token)
  }
}

const path = (of: Request | Response) => new URL(of.url()).pathname
