// A real `redis-server` that has on disk what it has acknowledged.
import { mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort, Process } from './process.ts'

export class Redis {
  readonly #folder = mkdtempSync(join(tmpdir(), 'portcullis-redis-'))
  #process?: Process
  #port = 0

  get url() {
    return `redis://127.0.0.1:${this.#port}`
  }

  async start() {
    this.#port ||= await freePort()
    const options = ['--bind', '127.0.0.1', '--dir', this.#folder, '--save', '', '--appendonly', 'yes', '--appendfsync', 'always']
    this.#process = new Process(['redis-server', '--port', String(this.#port), ...options])
    await this.#process.until(() => pong(this.#port))
    return this
  }

  async kill() {
    await this.#process?.kill()
  }

  async stop() {
    await this.kill()
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

/** Whether a Redis there has loaded its data. */
const pong = (port: number) =>
  new Promise<boolean>((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write('PING\r\n'))
    socket.setTimeout(1000, () => socket.destroy())
    socket.once('data', (answer) => {
      resolve(answer.toString().startsWith('+PONG'))
      socket.destroy()
    })
    socket.once('error', () => resolve(false))
    socket.once('close', () => resolve(false))
  })
