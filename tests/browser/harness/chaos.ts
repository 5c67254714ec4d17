// A TCP proxy that misbehaves when told to. It sees bytes only: TLS passes through it unread.
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

export class Chaos {
  readonly #to: () => number
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #refusing = false
  #answersLost = false
  port = 0

  /** Passes everything on to the port on 127.0.0.1 that `to` names at the time. */
  constructor(to: () => number) {
    this.#to = to
    this.#server = createServer((client) => this.#serve(client))
  }

  async start() {
    await new Promise<void>((resolve) => this.#server.listen(this.port, '127.0.0.1', resolve))
    this.port = (this.#server.address() as AddressInfo).port
    return this
  }

  /** From now on requests arrive and their answers do not, until the connections are cut. */
  loseAnswers() {
    this.#answersLost = true
  }

  /** Ends all connections. New ones are served as usual. */
  cut() {
    for (const socket of this.#sockets) socket.resetAndDestroy()
    this.#answersLost = false
  }

  /** Ends all connections, and every new one at once. */
  refuse() {
    this.#refusing = true
    this.cut()
  }

  /** Serves again. */
  serve() {
    this.#refusing = false
  }

  async stop() {
    this.refuse()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  #serve(client: Socket) {
    if (this.#refusing) return void client.on('error', () => {}).resetAndDestroy()
    const server = connect(this.#to(), '127.0.0.1')
    for (const [socket, other] of [
      [client, server],
      [server, client],
    ] as const) {
      this.#sockets.add(socket)
      socket.setNoDelay(true)
      socket.on('error', () => {}) // `close` follows.
      socket.on('close', () => {
        this.#sockets.delete(socket)
        other.destroy()
      })
    }
    client.pipe(server)
    server.on('data', (bytes) => {
      if (!this.#answersLost) client.write(bytes)
    })
    server.on('end', () => client.end())
  }
}
