import { LoginError } from 'portcullis-client'
import { type FormEvent, useRef, useState } from 'react'
import { Portcullis } from '../components/icons'
import { session } from '../session'
import { useAuth } from '../store'
import { useTitle } from '../useTitle'
import { whyLoggedOut, whyNotLoggedIn } from '../words'

export function LoginPage() {
  const { reason } = useAuth()
  const [error, setError] = useState('')
  const [busy, setBusy] = useState(false)
  const name = useRef<HTMLInputElement>(null)
  const password = useRef<HTMLInputElement>(null)
  useTitle('Log in · Stockroom')

  async function logIn(event: FormEvent) {
    event.preventDefault()
    if (busy) return
    setBusy(true)
    setError('')
    try {
      await session.login(name.current?.value ?? '', password.current?.value ?? '')
    } catch (problem) {
      setError(whyNotLoggedIn(problem instanceof LoginError ? problem : undefined))
      setBusy(false)
      password.current?.select()
    }
  }

  function fillIn(user: string) {
    if (name.current) name.current.value = user
    if (password.current) password.current.value = user
  }

  const note = whyLoggedOut(reason)
  return (
    <div className="login">
      <aside className="poster" aria-label="About this app">
        <Portcullis />
        <p className="name">Stockroom</p>
        <p>An old app that knows nothing of logins. Portcullis stands in front of it.</p>
      </aside>
      <main>
        <form onSubmit={logIn} aria-labelledby="log-in">
          <h1 id="log-in">Log in</h1>
          {note && !error && <p className="note">{note}</p>}
          <div role="alert">{error && <p className="error">{error}</p>}</div>
          <label htmlFor="name">User name</label>
          {/* biome-ignore lint/a11y/noAutofocus: the page is this form and nothing else */}
          <input id="name" ref={name} autoComplete="username" autoCapitalize="none" spellCheck={false} required autoFocus />
          <label htmlFor="password">Password</label>
          <input id="password" ref={password} type="password" autoComplete="current-password" required />
          <button type="submit" className="primary" aria-busy={busy}>
            Log in
          </button>
        </form>
        <div className="hint">
          <p>A demo: take one of these users.</p>
          <button type="button" onClick={() => fillIn('demo')}>
            demo <span>reads and adds</span>
          </button>
          <button type="button" onClick={() => fillIn('root')}>
            root <span>is an admin</span>
          </button>
        </div>
      </main>
    </div>
  )
}
