import { useRef } from 'react'
import { useMeQuery } from '../api'
import { AccountDialog } from './AccountDialog'

export function AccountMenu() {
  const { data } = useMeQuery()
  const dialog = useRef<HTMLDialogElement>(null)
  return (
    <>
      <button
        type="button"
        className="account"
        aria-label="Account menu"
        aria-haspopup="dialog"
        onClick={() => dialog.current?.showModal()}
      >
        <span className="initials" aria-hidden="true">
          {data?.sub.slice(0, 2).toUpperCase()}
        </span>
        <span aria-hidden="true">⋯</span>
      </button>
      <AccountDialog dialog={dialog} me={data} />
    </>
  )
}
