import { session } from '../session'
import { useAuth } from '../store'
import { CloudOff } from './icons'

/** The status element is always there, and its text comes and goes: screen readers announce changes, not arrivals. */
export function Unreachable() {
  const { reachable } = useAuth()
  return (
    <div className={reachable ? undefined : 'unreachable'}>
      {!reachable && <CloudOff />}
      <p role="status">
        {!reachable && (
          <>
            <strong>You are still logged in.</strong> The server cannot be reached. We keep trying.
          </>
        )}
      </p>
      {!reachable && (
        <button type="button" onClick={() => session.refresh()}>
          Try now
        </button>
      )}
    </div>
  )
}
