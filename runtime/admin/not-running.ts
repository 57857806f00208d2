// What is asked for by a name that nothing here has: the answer says which there are.

import { MoonmeshError } from '../base/errors.ts'

/** @param running ids of those that run, in any order */
export function notRunning(what: string, id: string, running: Iterable<string>): MoonmeshError {
  const ids = [...running].sort()
  const known = ids.length === 0 ? 'none does' : `those that run are ${ids.join(', ')}`
  return new MoonmeshError('NotFound', `no such ${what} runs: ${id}; ${known}`, { retryable: false })
}
