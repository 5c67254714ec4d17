/** axios, with its own fetch adapter over a server of the test. */
import axios from 'axios'
import { describe, expect, it } from 'vitest'
import { authorize } from '../src/axios.js'
import { challenge, hang, json, refused, scripted, tokens, world } from './world.js'

const w = world()

const ready = async (good: string) => {
  const server = scripted(() => tokens('a1'))
  const { session } = w.tab({ fetch: server.fetch })
  await session.start()
  server.next(() => tokens('a2'))
  const seen: { token: string; data: unknown; url: string }[] = []
  const instance = axios.create({
    baseURL: 'https://app.example',
    adapter: async (config) => {
      const token = `${config.headers.get('authorization') ?? ''}`
      seen.push({ token, data: config.data, url: instance.getUri(config) })
      const answer = token === `Bearer ${good}` ? json(200, { ok: true }) : challenge(token !== '')
      const response = {
        data: await answer.json(),
        status: answer.status,
        statusText: '',
        headers: Object.fromEntries(answer.headers),
        config,
        request: {},
      }
      if (answer.ok) return response
      throw new axios.AxiosError('refused', 'ERR', config, {}, response)
    },
  })
  return { server, session, seen, instance, remove: authorize(instance, session) }
}

describe('axios', () => {
  it('carries the token, refreshes once and repeats once, with the same body', async () => {
    const { instance, seen, server } = await ready('a2')
    expect((await instance.post('/api/stock', { item: 'bolt' })).status).toBe(200)
    expect(seen.map(({ token }) => token)).toEqual(['Bearer a1', 'Bearer a2'])
    expect(seen.map(({ data }) => data)).toEqual(['{"item":"bolt"}', '{"item":"bolt"}'])
    expect(server.calls).toHaveLength(2)
  })

  it('ten at once are followed by one refresh', async () => {
    const { instance, server } = await ready('a2')
    await Promise.all(Array.from({ length: 10 }, () => instance.get('/api')))
    expect(server.calls).toHaveLength(2)
  })

  it('does not loop', async () => {
    const { instance, seen, server } = await ready('never')
    await expect(instance.get('/api')).rejects.toMatchObject({ response: { status: 401 } })
    expect(seen).toHaveLength(2)
    expect(server.calls).toHaveLength(2)
  })

  it('gives the 401 back when the server cannot be asked', async () => {
    const { instance, seen, server, session } = await ready('never')
    server.next(() => json(503))
    await expect(instance.get('/api')).rejects.toMatchObject({ response: { status: 401 } })
    expect(seen).toHaveLength(1)
    expect(session.snapshot().status).toBe('active')
  })

  it('gives the 401 back when the session is over', async () => {
    const { instance, seen, server, session } = await ready('never')
    server.next(() => refused())
    await expect(instance.get('/api')).rejects.toMatchObject({ response: { status: 401 } })
    expect(seen).toHaveLength(1)
    expect(session.snapshot().status).toBe('none')
  })

  it('sends no token elsewhere, and leaves one of the caller’s own alone', async () => {
    const { instance, seen, server } = await ready('a1')
    await instance.get('https://elsewhere.example/x').catch(() => {})
    await instance.get('/api', { headers: { Authorization: 'Basic eDp5' } }).catch(() => {})
    expect(seen.map(({ token }) => token)).toEqual(['', 'Basic eDp5'])
    expect(server.calls).toHaveLength(1)
  })

  it('does not send a stream again', async () => {
    const { instance, seen } = await ready('a2')
    const data = new Blob(['bolt']).stream()
    await expect(instance.post('/api', data)).rejects.toMatchObject({ response: { status: 401 } })
    expect(seen).toHaveLength(1)
  })

  it('whoever gives up waits no longer', async () => {
    const { instance, server, session } = await ready('a2')
    server.next(hang)
    const control = new AbortController()
    const call = instance.get('/api', { signal: control.signal })
    await w.pass(100)
    control.abort()
    await expect(call).rejects.toSatisfy(axios.isCancel)
    expect(server.calls[1]?.init.signal?.aborted).toBe(false)
    session.stop()
  })

  it('can be taken off again', async () => {
    const { instance, seen, remove } = await ready('a1')
    remove()
    await instance.get('/api').catch(() => {})
    expect(seen).toMatchObject([{ token: '' }])
  })
})
