// Whether a failed call is tried again, and when. lua-core.md §15.2.

import { type BackoffOptions, backoffMs } from '../../base/backoff.ts'
import type { Env } from '../../base/env.ts'

export interface RetryPolicy {
  /** All tries, the first included. */
  readonly maxAttempts: number
  readonly backoff: BackoffOptions
  readonly skipKinds: readonly string[]
  /** If there are any, only these are tried again. */
  readonly retryKinds: readonly string[]
}

/** Not worth a second try unless a policy names them. */
const FINAL_KINDS: ReadonlySet<string> = new Set(['Invalid', 'PermissionDenied', 'Internal'])

/**
 * Milliseconds until the next try; undefined: there is none.
 * @param attempt the number of the try that failed, from 1
 */
export function retryDelayMs(
  policy: RetryPolicy | undefined,
  attempt: number,
  error: { kind: string; retryable: boolean | undefined },
  env: Pick<Env, 'randomInt'>,
): number | undefined {
  if (policy === undefined || attempt >= policy.maxAttempts || error.retryable === false) return undefined
  const { skipKinds, retryKinds, backoff } = policy
  if (skipKinds.includes(error.kind)) return undefined
  if (retryKinds.length > 0 ? !retryKinds.includes(error.kind) : FINAL_KINDS.has(error.kind)) return undefined
  return backoffMs(backoff, attempt, env)
}
