import { useAuth } from '../store'
import { CloudOff } from './icons'

/** The status element is always there, and its text comes and goes: screen readers announce changes, not arrivals. */
export function Unreachable() {
  const { reachable } = useAuth()
  return (
    <div role="status" className="unreachable">
      {!reachable && (
        <p>
          <CloudOff />
          <span>
            <strong>You are still logged in.</strong> The server cannot be reached. We keep trying, and nothing is lost.
          </span>
        </p>
      )}
    </div>
  )
}
