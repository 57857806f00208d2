// Keys of replicated stores. lua-libraries.md §2.2, cluster.md §8.1.

import { isUtf8 } from 'node:buffer'
import { MoonmeshError } from '../base/errors.ts'
import { canonicalKey } from './core/memory-store.ts'

/** As it is stored. @throws MoonmeshError `Invalid` when it is no UTF-8 */
export function keyOf(given: string): string {
  if (isUtf8(Buffer.from(given, 'latin1'))) return canonicalKey(given)
  throw new MoonmeshError('Invalid', 'a key of a replicated store is text in UTF-8', { retryable: false })
}
