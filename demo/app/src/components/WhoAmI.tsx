import { useState } from 'react'
import { useMeQuery } from '../api'
import { useAuth } from '../store'
import { Countdown } from './Countdown'

export function WhoAmI() {
  const { data } = useMeQuery()
  const { expiresAt, sessionExpiresAt } = useAuth()
  const renewals = useChanges(expiresAt)
  return (
    <section className="card who" aria-labelledby="who">
      <h2 id="who">Who am I</h2>
      {data && (
        <p className="person">
          <span className="name">{data.sub}</span>
          {data.roles.map((role) => (
            <span key={role} className="pill">
              {role}
            </span>
          ))}
        </p>
      )}
      <dl>
        <div>
          <dt>Access token</dt>
          <dd>
            <Countdown testId="access-expires" until={expiresAt} bar />
          </dd>
        </div>
        <div>
          <dt>Session</dt>
          <dd>
            <Countdown testId="session-expires" until={sessionExpiresAt} />
          </dd>
        </div>
      </dl>
      <p className="quiet">
        {renewals === 0
          ? 'The token is renewed by itself before it runs out.'
          : `Renewed ${renewals === 1 ? 'once' : `${renewals} times`} while you were here. Did you notice?`}
      </p>
    </section>
  )
}

/** How often `value` has changed since the component is there. */
function useChanges(value: unknown) {
  const [seen, setSeen] = useState({ value, times: 0 })
  if (seen.value !== value) setSeen({ value, times: seen.times + 1 })
  return seen.times
}
