/** axios: interceptors that carry the access token, and repeat a request once after a 401 of ours. */
import type { AxiosInstance, InternalAxiosRequestConfig } from 'axios'
import { type CarryOptions, mayCarry, readOnce, unlessAborted } from './carry.js'
import type { Session } from './types.js'

type Config = InternalAxiosRequestConfig & { portcullis?: { token: string; repeated?: boolean } }

/** Adds the interceptors to `instance`. Returns how to remove them. */
export const authorize = (instance: AxiosInstance, session: Session, options: CarryOptions = {}): (() => void) => {
  const request = instance.interceptors.request.use(async (config: Config) => {
    if (config.portcullis?.repeated) return config
    if (config.headers.has('authorization') || !mayCarry(session, instance.getUri(config), options)) return config
    if (session.snapshot().status === 'unknown' && !session.accessToken()) {
      await unlessAborted(session.refresh(''), config.signal as AbortSignal | undefined).catch(() => {})
    }
    const token = session.accessToken() ?? ''
    if (token) config.headers.set('authorization', `Bearer ${token}`)
    config.portcullis = { token }
    return config
  })

  const response = instance.interceptors.response.use(undefined, async (error) => {
    const config = error?.config as Config | undefined
    const sent = config?.portcullis
    if (!config || !sent || sent.repeated || !error.response || !session.isOurs(error.response)) throw error
    const signal = config.signal as AbortSignal | undefined
    await unlessAborted(session.refresh(sent.token), signal).catch(() => {})
    const next = session.accessToken() ?? ''
    // If the caller gave up meanwhile, axios refuses the repeated request with an error of its own.
    if (!signal?.aborted && (!next || next === sent.token || readOnce(config.data))) throw error
    config.headers.set('authorization', `Bearer ${next}`)
    config.portcullis = { token: next, repeated: true }
    return instance.request(config)
  })

  return () => {
    instance.interceptors.request.eject(request)
    instance.interceptors.response.eject(response)
  }
}
