// Time and chance under the test's control.

import type { Env } from '../../../runtime/base/env.ts'
import type { Timers } from '../../../runtime/supervisor/supervisor.ts'

interface FakeTimer {
  readonly dueMs: number
  readonly fire: () => void
}

export class FakeEnv implements Env, Timers {
  #nowMs = 0
  readonly #timers = new Set<FakeTimer>()
  /** Where in its range a random number lies; one half means no jitter. */
  chance = 0.5

  nowMs(): number {
    return this.#nowMs
  }

  wallMs(): number {
    return 1_700_000_000_000 + this.#nowMs
  }

  randomInt(bound: number): number {
    return Math.floor(this.chance * (bound - 1))
  }

  setTimer(delayMs: number, fire: () => void): () => void {
    const timer: FakeTimer = { dueMs: this.#nowMs + delayMs, fire }
    this.#timers.add(timer)
    return () => this.#timers.delete(timer)
  }

  get timerCount(): number {
    return this.#timers.size
  }

  /** Milliseconds until the next timer is due. */
  get nextDueMs(): number | undefined {
    if (this.#timers.size === 0) return undefined
    return Math.min(...[...this.#timers].map((timer) => timer.dueMs)) - this.#nowMs
  }

  /** Lets time pass; timers fire in the order in which they are due, then in the order in which they were set. */
  advance(ms: number): void {
    const untilMs = this.#nowMs + ms
    for (;;) {
      let next: FakeTimer | undefined
      for (const timer of this.#timers) {
        if (timer.dueMs <= untilMs && (next === undefined || timer.dueMs < next.dueMs)) next = timer
      }
      if (next === undefined) break
      this.#timers.delete(next)
      this.#nowMs = next.dueMs
      next.fire()
    }
    this.#nowMs = untilMs
  }
}

/** Lets everything that is ready to go on, go on. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve()
}
