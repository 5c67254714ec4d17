// The real binary, on ports of its own, in a folder of its own, with the legacy app behind it.
import { chmodSync, copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { BINARY, shared } from './prepare.ts'
import { answers, freePort, Process } from './process.ts'

export interface Settings {
  /** `access_token.lifetime`. */
  access: string
  /** `session.lifetime`. */
  session: string
  /** `rotation.grace`. */
  grace: string
  /** Without it: plain http, and the development setting that drops `Secure` and `__Host-`. */
  tls: boolean
  /** Where the administrators' report comes from, in place of the legacy app. */
  reportFrom?: string
  /** Where to listen; without it, at any free port. */
  port?: number
  /** Who may log in, as YAML; without it those of the users file. */
  users?: string
  /** Upstreams and routes as YAML, in place of those of the demo. */
  routes?: string
}

export const USUAL: Settings = { access: '15m', session: '12h', grace: '30s', tls: true }

export class Portcullis {
  readonly #folder = mkdtempSync(join(tmpdir(), 'portcullis-'))
  #process?: Process
  listen = 0
  admin = 0

  /** Starts it in front of `app`; sessions are kept in `redis`, or in its own folder. */
  async start(settings: Settings, app = '', redis?: string) {
    this.listen = settings.port ?? (await freePort())
    this.admin = await freePort()
    copyFileSync(join(shared(), 'users.yaml'), join(this.#folder, 'users.yaml'))
    chmodSync(join(this.#folder, 'users.yaml'), 0o600)
    writeFileSync(join(this.#folder, 'proxy.yaml'), this.#config(settings, app, redis))
    await this.startAgain()
    return this
  }

  async startAgain() {
    this.#process = new Process([BINARY, 'run', '--config', 'proxy.yaml'], { cwd: this.#folder })
    await this.#process.until(() => answers(`http://127.0.0.1:${this.admin}/readyz`))
  }

  /** As a power cut would. */
  async kill() {
    await this.#process?.kill()
  }

  async stop() {
    await this.kill()
    rmSync(this.#folder, { recursive: true, force: true })
  }

  get log() {
    return this.#process?.printed ?? ''
  }

  /** How many refreshes ended in one of `outcomes`; without any, how many there were. */
  async refreshes(...outcomes: string[]) {
    const metrics = await (await fetch(`http://127.0.0.1:${this.admin}/metrics`)).text()
    const lines = metrics.matchAll(/^portcullis_refreshes_total\{outcome="(\w+)"\} (\d+)$/gm)
    return [...lines]
      .filter(([, outcome]) => outcomes.length === 0 || outcomes.includes(outcome!))
      .reduce((sum, [, , count]) => sum + Number(count), 0)
  }

  #config(settings: Settings, app: string, redis?: string) {
    const tls = `\n    tls: { certificate: ${shared()}/tls.pem, key: ${shared()}/tls.key }`
    return `
listen:
  - address: 127.0.0.1:${this.listen}${settings.tls ? tls : ''}
admin: { listen: "127.0.0.1:${this.admin}" }
${settings.tls ? '' : 'development: { insecure_cookies: true }'}
${settings.users ?? 'users: users.yaml'}
store: ${redis ? `{ redis: { url: "${redis}" } }` : 'embedded'}
${redis ? `keys: { file: ${shared()}/keys.jwks }` : ''}
access_token: { lifetime: ${settings.access}, skew: 0s }
session: { lifetime: ${settings.session} }
rotation: { grace: ${settings.grace} }
${settings.routes ?? stockroom(app, settings.reportFrom ?? app)}
`
  }
}

const stockroom = (app: string, report: string) => `
upstreams:
  app: { servers: ["${app}"] }
  report: { servers: ["${report}"] }
routes:
  - { name: rest, upstream: app }
  - { name: page, path_prefix: /app/, upstream: app, auth: public }
  - { name: admin, path_prefix: /admin, upstream: report, roles: [admin] }`
