// A parameter that says yes or no.

import { MoonmeshError } from '../base/errors.ts'

/** @param given undefined: no   @throws MoonmeshError `Invalid` */
export function flagOf(name: string, given: string | undefined): boolean {
  if (given === undefined || given === 'false') return false
  if (given === 'true') return true
  throw new MoonmeshError('Invalid', `${name} takes true or false, not ${JSON.stringify(given)}`, { retryable: false })
}
