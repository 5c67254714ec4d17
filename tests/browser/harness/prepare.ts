// What all tests share and what takes time to make: a certificate, and the users with their hashed passwords.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const ROOT = fileURLToPath(new URL('../../..', import.meta.url))
export const BINARY = process.env.PORTCULLIS ?? join(ROOT, 'target/debug/portcullis')

/** The distribution's browser. Playwright's own download is never used. */
export const chromium = process.env.CHROMIUM ?? '/usr/bin/chromium'

export interface Account {
  name: string
  password: string
  roles: string[]
}
export const ALICE: Account = { name: 'alice', password: 'alice-S3cret-of-the-day', roles: ['user'] }
export const BOSS: Account = { name: 'boss', password: 'boss-S3cret-of-the-day', roles: ['user', 'admin'] }

/** The folder with `tls.pem`, `tls.key`, `users.yaml` and `keys.jwks`. */
export const shared = () => process.env.BROWSER_TESTS_FOLDER!

export default function prepare() {
  const folder = mkdtempSync(join(tmpdir(), 'portcullis-browser-'))
  process.env.BROWSER_TESTS_FOLDER = folder // The workers inherit it.
  const at = (name: string) => join(folder, name)

  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1']
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', at('tls.key')]
  run('openssl', ['req', '-x509', '-days', '2', '-out', at('tls.pem'), ...key, ...subject])
  run(BINARY, ['keys', 'new', '--file', at('keys.jwks')])
  for (const { name, password, roles } of [ALICE, BOSS]) {
    const asRole = roles.flatMap((role) => ['--role', role])
    run(BINARY, ['user', 'add', '--file', at('users.yaml'), name, '--password-stdin', ...asRole], `${password}\n`)
  }
  return () => rmSync(folder, { recursive: true, force: true })
}

function run(command: string, parameters: string[], input = '') {
  execFileSync(command, parameters, { input, stdio: ['pipe', 'ignore', 'pipe'] })
}
