import { useEffect, useRef } from 'react'
import { AccountMenu } from '../components/AccountMenu'
import { Calls } from '../components/Calls'
import { Gate } from '../components/icons'
import { StockTable } from '../components/StockTable'
import { Unreachable } from '../components/Unreachable'
import { WhoAmI } from '../components/WhoAmI'
import { useTitle } from '../useTitle'

export function StockroomPage() {
  const heading = useRef<HTMLHeadingElement>(null)
  useTitle('Stockroom')
  // The login form has just gone, and the focus with it. A screen reader goes on from here.
  useEffect(() => {
    heading.current?.focus()
  }, [])

  return (
    <>
      <header className="top">
        <Gate />
        <h1 ref={heading} tabIndex={-1}>
          Stockroom
        </h1>
        <AccountMenu />
      </header>
      <main className="stockroom">
        <Unreachable />
        <div className="columns">
          <StockTable />
          <WhoAmI />
          <Calls />
        </div>
      </main>
    </>
  )
}
