// When a service that failed starts again: exponential backoff with jitter, and a bound on starts in a row. lua-core.md §22.2.

import { assert } from '../../base/assert.ts'
import { backoffMs } from '../../base/backoff.ts'
import type { Env } from '../../base/env.ts'

export interface RestartOptions {
  readonly initialDelayMs: number
  readonly maxDelayMs: number
  readonly backoffFactor: number
  /** Share of the delay, 0..1, by which it is changed at random in either direction. */
  readonly jitter: number
  /** Starts in a row without a stable run, the first included; 0 = no limit. */
  readonly maxAttempts: number
}

/** The restart policy of one service. It counts; whoever starts the service decides. */
export class RestartPolicy {
  readonly #options: RestartOptions
  readonly #stableThresholdMs: number
  readonly #env: Pick<Env, 'randomInt'>
  /** Starts since the last stable run. Invariant: at most maxAttempts, unless that is 0 or a person asked for more. */
  #startCount = 0
  /** Failures since the last stable run: the number of the restart that the next delay stands before. */
  #failureCount = 0
  #runningSinceMs: number | undefined

  constructor(options: RestartOptions & { readonly stableThresholdMs: number }, env: Pick<Env, 'randomInt'>) {
    assert(options.initialDelayMs >= 0 && options.maxDelayMs >= 0, 'restart delays >= 0')
    assert(options.backoffFactor > 0, 'backoffFactor > 0')
    assert(options.jitter >= 0 && options.jitter <= 1, '0 <= jitter <= 1')
    assert(Number.isInteger(options.maxAttempts) && options.maxAttempts >= 0, 'maxAttempts is a whole number >= 0')
    assert(options.stableThresholdMs >= 0, 'stableThresholdMs >= 0')
    this.#options = options
    this.#stableThresholdMs = options.stableThresholdMs
    this.#env = env
  }

  /** Starts in a row without a stable run, the present one included until it has been stable. */
  attempts(nowMs: number): number {
    return this.#isStable(nowMs) ? 0 : this.#startCount
  }

  get maxAttempts(): number {
    return this.#options.maxAttempts
  }

  /** A start begins. */
  starting(): void {
    this.#startCount++
    this.#runningSinceMs = undefined
  }

  /** The start reached `running`. */
  running(nowMs: number): void {
    this.#runningSinceMs = nowMs
  }

  /**
   * The start, or the run that came of it, failed.
   * @returns milliseconds to wait before the next start; undefined when no start is left
   */
  failed(nowMs: number): number | undefined {
    this.#leaveRun(nowMs)
    this.#failureCount++
    const { maxAttempts, initialDelayMs, maxDelayMs, backoffFactor, jitter } = this.#options
    if (maxAttempts > 0 && this.#startCount >= maxAttempts) return undefined
    // Zero stays zero, however often it is multiplied: 0 × Infinity is not a delay.
    if (initialDelayMs === 0) return 0
    const backoff = { initialMs: initialDelayMs, maxMs: maxDelayMs, factor: backoffFactor, jitter }
    return backoffMs(backoff, this.#failureCount, this.#env)
  }

  /** It failed through no fault of its own: that start does not count. */
  excused(nowMs: number): void {
    this.#leaveRun(nowMs)
    this.#startCount = Math.max(0, this.#startCount - 1)
  }

  /** Forgets all failures, as before the first start. */
  reset(): void {
    this.#startCount = 0
    this.#failureCount = 0
    this.#runningSinceMs = undefined
  }

  #isStable(nowMs: number): boolean {
    return this.#runningSinceMs !== undefined && nowMs - this.#runningSinceMs >= this.#stableThresholdMs
  }

  #leaveRun(nowMs: number): void {
    if (this.#isStable(nowMs)) this.reset()
    this.#runningSinceMs = undefined
  }
}
