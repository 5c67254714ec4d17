// A child process that cannot outlive the tests, and ports for those that cannot take port 0.
import { type ChildProcess, spawn } from 'node:child_process'
import { createServer } from 'node:net'

/** A process of ours. What it prints is kept, to be shown when something is wrong with it. */
export class Process {
  readonly name: string
  readonly #child: ChildProcess
  readonly #ended: Promise<void>
  #printed = ''

  constructor(command: string[], options: { cwd?: string; env?: NodeJS.ProcessEnv } = {}) {
    this.name = command[0]!
    // The kernel kills it when this process dies, however that happens: Ctrl-C twice, kill -9, a crash.
    this.#child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', ...command], {
      ...options,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    for (const stream of [this.#child.stdout!, this.#child.stderr!]) {
      stream.setEncoding('utf8').on('data', (text: string) => (this.#printed += text))
    }
    this.#ended = new Promise((resolve) => {
      this.#child.once('exit', () => resolve())
      this.#child.once('error', (error) => {
        this.#printed += error.message
        resolve()
      })
    })
  }

  get printed() {
    return this.#printed
  }

  /** Returns when `ready` says so; throws, with what the process printed, if it ends before that or takes too long. */
  async until(ready: () => Promise<boolean>) {
    let gone = false
    void this.#ended.then(() => (gone = true))
    const giveUp = performance.now() + 20_000
    while (!(await ready())) {
      if (gone || performance.now() > giveUp) {
        throw new Error(`${this.name} ${gone ? 'has ended' : 'is not ready'}:\n${this.#printed}`)
      }
      await pause(20)
    }
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL') {
    this.#child.kill(signal)
    await this.#ended
  }
}

export const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

let next = 0

/** A port where nobody listens: below those of outgoing connections, and not given out twice. */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < 1000; tries++) {
    const port = 12_000 + ((process.pid * 97 + next++) % 19_000)
    const free = await new Promise<boolean>((resolve) => {
      const probe = createServer()
      probe.once('error', () => resolve(false))
      probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)))
    })
    if (free) return port
  }
  throw new Error('no free port')
}

/** Whether somebody answers at `url` with a success. */
export const answers = (url: string) =>
  fetch(url).then(
    (response) => response.ok,
    () => false,
  )
