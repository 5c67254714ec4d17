/** Tickets: what stands in the address of a socket. */
import { expect, it } from 'vitest'
import { TicketError, withTicket } from '../src/ticket.js'
import { challenge, json, scripted, tokens, world } from './world.js'

const w = world()

const ready = async (status = 200) => {
  const server = scripted(() => tokens('a1'))
  const { session } = w.tab({ fetch: server.fetch })
  await session.start()
  const seen: string[] = []
  let number = 0
  const fetch = (async (input: string, init: RequestInit) => {
    seen.push(`${init.method} ${input} ${new Headers(init.headers).get('authorization')}`)
    number += 1
    return status === 200 ? json(200, { ticket: `t${number}`, expires_in: 30 }) : challenge(true)
  }) as typeof globalThis.fetch
  return { session, seen, options: { fetch } }
}

it.each([
  ['wss://app.example/socket', 'wss://app.example/socket?ticket=t1'],
  ['wss://app.example/socket?room=1', 'wss://app.example/socket?room=1&ticket=t1'],
  ['https://app.example/events?ticket=old', 'https://app.example/events?ticket=t1'],
])('%s gets a ticket and no token', async (address, expected) => {
  const { session, seen, options } = await ready()
  expect(await withTicket(session, address, options)).toBe(expected)
  expect(seen).toEqual(['POST https://app.example/ticket Bearer a1'])
})

it('is another one each time', async () => {
  const { session, options } = await ready()
  const first = await withTicket(session, 'wss://app.example/s', options)
  expect(await withTicket(session, 'wss://app.example/s', options)).not.toBe(first)
})

it('carries no token to another site', async () => {
  const { session, seen, options } = await ready()
  await withTicket(session, 'wss://elsewhere.example/s', options)
  expect(seen).toEqual(['POST https://elsewhere.example/ticket null'])
})

it('that is refused is told', async () => {
  const { session, options } = await ready(401)
  await expect(withTicket(session, 'wss://app.example/s', options)).rejects.toThrow(TicketError)
})
