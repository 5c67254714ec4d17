import { type KeyboardEvent, type MouseEvent, type RefObject, useState } from 'react'
import type { Me } from '../api'
import { session } from '../session'

interface Props {
  dialog: RefObject<HTMLDialogElement | null>
  me: Me | undefined
}

/** A native modal dialog: Escape, the rest of the page made inert, and the focus given back all come with it. */
export function AccountDialog({ dialog, me }: Props) {
  const [error, setError] = useState('')
  const [busy, setBusy] = useState(false)

  async function logOut(everywhere: boolean) {
    if (busy) return
    setBusy(true)
    setError('')
    try {
      // When this is answered, the session has ended on the server. The page goes because the session does, in all tabs.
      await session.logout(everywhere)
    } catch {
      setError('The logout could not be recorded. You are still logged in. Please try again.')
      setBusy(false)
    }
  }

  function closeFromOutside(event: MouseEvent) {
    // Only the backdrop has the dialog itself as target: all of its inside belongs to the div.
    if (event.target === dialog.current) dialog.current?.close()
  }

  return (
    // A click beside it closes it; by keyboard, Escape does.
    <dialog
      ref={dialog}
      className="sheet"
      aria-labelledby="account"
      onClick={closeFromOutside}
      onKeyDown={keepFocusInside}
      onClose={() => setError('')}
    >
      <div>
        <h2 id="account">Account</h2>
        {me && (
          <p className="quiet">
            You are <strong>{me.sub}</strong>
            {me.roles.length > 0 && `, with the role ${me.roles.join(' and ')}`}.
          </p>
        )}
        <div role="alert">{error && <p className="error">{error}</p>}</div>
        <button type="button" aria-busy={busy} onClick={() => logOut(false)}>
          Log out
        </button>
        <button type="button" aria-busy={busy} onClick={() => logOut(true)}>
          Log out everywhere
        </button>
        <button type="button" className="plain" onClick={() => dialog.current?.close()}>
          Cancel
        </button>
      </div>
    </dialog>
  )
}

/** From the last button, Tab would go to the browser's own controls. Here it goes round. */
function keepFocusInside(event: KeyboardEvent<HTMLDialogElement>) {
  if (event.key !== 'Tab') return
  const buttons = event.currentTarget.querySelectorAll('button')
  const [first, last] = [buttons[0], buttons[buttons.length - 1]]
  if (document.activeElement === (event.shiftKey ? first : last)) {
    event.preventDefault()
    ;(event.shiftKey ? last : first)?.focus()
  }
}
