import { useEffect, useRef } from 'react'
import { CALLS } from '../calls'
import { useAppDispatch, useAppSelector } from '../store'

/** Calls that the role allows and calls that it refuses, and what came of each. */
export function Calls() {
  const dispatch = useAppDispatch()
  const outcomes = useAppSelector((state) => state.outcomes)
  const log = useRef<HTMLDivElement>(null)
  // biome-ignore lint/correctness/useExhaustiveDependencies: whenever a line is added, it is brought into view
  useEffect(() => {
    log.current?.scrollTo({ top: log.current.scrollHeight })
  }, [outcomes])

  return (
    <section className="card calls" aria-labelledby="calls">
      <h2 id="calls">Calls</h2>
      <ul className="buttons">
        {CALLS.map(({ name, method, path, make }) => (
          <li key={name}>
            <button type="button" onClick={() => dispatch(make())}>
              {name}
            </button>
            <code>
              <span>{method}</span> <span>{path}</span>
            </code>
          </li>
        ))}
      </ul>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, which must be possible by keyboard too */}
      <div ref={log} className="log" role="log" aria-label="Outcomes" data-testid="calls" tabIndex={0}>
        {outcomes.length === 0 && <p className="quiet">What comes back is noted here.</p>}
        {outcomes.map(({ id, status, sentence }) => (
          <p key={id}>
            <span className={`pill ${tone(status)}`}>{status}</span> <span>{sentence}</span>
          </p>
        ))}
      </div>
    </section>
  )
}

function tone(status: number | string) {
  if (typeof status !== 'number' || status >= 500) return 'bad'
  return status >= 400 ? 'warn' : 'good'
}
