// What is said to people, in one place.

const MINUTE = 60
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

/** The two largest units of a time, such as "14 min 32 s". */
export function duration(ms: number) {
  const s = Math.floor(ms / 1000)
  if (s >= DAY) return `${Math.floor(s / DAY)} d ${Math.floor((s % DAY) / HOUR)} h`
  if (s >= HOUR) return `${Math.floor(s / HOUR)} h ${Math.floor((s % HOUR) / MINUTE)} min`
  if (s >= MINUTE) return `${Math.floor(s / MINUTE)} min ${s % MINUTE} s`
  return `${s} s`
}

/** For the login page: why it is shown, if that is worth a word. */
export function whyLoggedOut(reason: string | undefined) {
  switch (reason) {
    case 'logout':
      return 'You have logged out.'
    case 'token_expired':
      return 'Your session has run out.'
    case 'session_ended':
      return 'Your session has ended.'
    case 'token_reused':
      return 'Your session was ended because an old token came back: somebody else may have had it.'
    case 'subject_removed':
      return 'This user may no longer log in.'
    default:
      return undefined // Nobody was logged in here.
  }
}

/** For the login form. No status: there was no answer. */
export function whyNotLoggedIn(problem: { status?: number; retryAfter?: number } | undefined) {
  if (problem?.status === 400) return 'That user name and password do not belong together.'
  if (problem?.status === 429) return `Too many tries. Try again in ${duration(problem.retryAfter ?? 60_000)}.`
  return 'The server cannot answer now. Please try again in a moment.'
}

/** For any call that failed. A refusal and a fault are no logout, and say so. */
export function whatWentWrong(error: unknown) {
  switch (statusOf(error)) {
    case 401:
      // If it was about our token, the session would be over and the login page here. So it is the app's own.
      return 'The app behind refuses this. You are still logged in.'
    case 403:
      return 'Refused: your role does not allow this. You are still logged in.'
    case 'FETCH_ERROR':
      return 'The server was not reached. You are still logged in.'
    default:
      return 'The server cannot answer this now. You are still logged in.'
  }
}

/** The HTTP status of an error of RTK Query. A body that is no JSON hides it behind a word; without an answer there is but a word. */
export function statusOf(error: unknown): number | string {
  const { status, originalStatus } = (error ?? {}) as { status?: number | string; originalStatus?: number }
  return originalStatus ?? status ?? 'FETCH_ERROR'
}
