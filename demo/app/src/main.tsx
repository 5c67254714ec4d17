import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import { Provider } from 'react-redux'
import { App } from './App'
import { start, store } from './store'
import './styles/base.css'
import './styles/login.css'
import './styles/stockroom.css'
import './styles/dialog.css'

// The page was just opened or reloaded, so the access token is gone. The cookie may still be good for a new one.
start()

createRoot(document.getElementById('root') as HTMLElement).render(
  <StrictMode>
    <Provider store={store}>
      <App />
    </Provider>
  </StrictMode>,
)
