// Exponential backoff with jitter. lua-core.md §22.2.

import type { Env } from './env.ts'

export interface BackoffOptions {
  initialMs: number
  maxMs: number
  factor: number
  /** Share of the delay, 0..1, by which it is changed at random in either direction. */
  jitter: number
}

/** Milliseconds to wait before attempt number `attempt` (1 = the first repetition). */
export function backoffMs(options: BackoffOptions, attempt: number, env: Pick<Env, 'randomInt'>): number {
  const plain = Math.min(options.initialMs * options.factor ** (attempt - 1), options.maxMs)
  const spread = plain * options.jitter
  return Math.max(0, plain - spread + (env.randomInt(1_000_001) / 1_000_000) * 2 * spread)
}
