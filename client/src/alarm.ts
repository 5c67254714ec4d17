/**
 * A timer that two clocks agree on. Steady clocks stop in some browsers while the machine sleeps, wall clocks may be set: the one
 * that says it is later counts. Too early costs a refresh; too late costs a 401.
 */

/** The longest wait: timers overflow after 24 days, and a server that says "tomorrow" may be back earlier. */
const AN_HOUR = 3_600_000

/** How to set it, how to look whether it is time, and how to turn it off. */
export const alarm = (act: () => void) => {
  let timer: ReturnType<typeof setTimeout> | undefined
  let steady = 0
  let wall = 0
  let wait = AN_HOUR

  const off = () => clearTimeout(timer)
  /** Acts if it is time, and else waits on. */
  const check = () => {
    off()
    const left = wait - Math.max(performance.now() - steady, Date.now() - wall)
    if (left <= 0) act()
    else timer = setTimeout(check, left)
  }
  const set = (ms: number) => {
    wait = Math.min(ms, AN_HOUR)
    steady = performance.now()
    wall = Date.now()
    check()
  }
  return [set, check, off] as const
}
