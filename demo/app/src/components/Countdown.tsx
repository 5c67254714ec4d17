import { useEffect, useMemo, useState } from 'react'
import { duration } from '../words'

interface Props {
  /** Milliseconds as in Date.now(). */
  until: number | undefined
  testId: string
  /** Also as a bar, that is full at the moment when `until` was set anew. */
  bar?: boolean
}

/** Changes each second for the eye. The role `timer` keeps screen readers from reading each second aloud. */
export function Countdown({ until, testId, bar = false }: Props) {
  const [now, setNow] = useState(Date.now)
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1000)
    return () => clearInterval(timer)
  }, [])
  const total = useMemo(() => (until ?? 0) - Date.now(), [until])

  if (until === undefined) return null
  const left = Math.max(0, until - now)
  return (
    <>
      <span role="timer" data-testid={testId}>
        {left > 0 ? duration(left) : 'has run out'}
      </span>
      {bar && (
        <span className="bar" aria-hidden="true">
          <span style={{ transform: `scaleX(${total > 0 ? left / total : 0})` }} />
        </span>
      )}
    </>
  )
}
