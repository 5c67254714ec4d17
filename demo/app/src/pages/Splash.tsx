import { Gate } from '../components/icons'
import { useAuth } from '../store'
import { useTitle } from '../useTitle'

/** Until the first refresh is answered, nobody knows whether there is a session. So neither data nor a login page. */
export function Splash() {
  const { reachable } = useAuth()
  useTitle('Stockroom')
  return (
    <main className="splash">
      <Gate />
      <div role="status">
        <p>One moment</p>
        {!reachable && <p className="quiet">The server does not answer. We keep trying.</p>}
      </div>
    </main>
  )
}
