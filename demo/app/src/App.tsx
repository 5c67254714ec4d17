import { LoginPage } from './pages/LoginPage'
import { Splash } from './pages/Splash'
import { StockroomPage } from './pages/StockroomPage'
import { useAuth } from './store'

/** Which page is shown depends on the session and on nothing else: there is no address that leads past it. */
export function App() {
  const { status } = useAuth()
  switch (status) {
    case 'unknown':
      return <Splash />
    case 'none':
      return <LoginPage />
    case 'active':
      return <StockroomPage />
  }
}
