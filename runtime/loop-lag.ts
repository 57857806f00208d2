// How late the event loop is: a ticker whose ticks come when they are due, or later.

import type { Env } from './base/env.ts'
import { Histogram } from './base/histogram.ts'

const TICK_MS = 100

export class LoopLag {
  /** Of each tick. */
  readonly seconds = new Histogram()
  readonly #ticker: NodeJS.Timeout
  #lastMs: number

  constructor(env: Pick<Env, 'nowMs'>) {
    this.#lastMs = env.nowMs()
    this.#ticker = setInterval(() => {
      const nowMs = env.nowMs()
      this.seconds.observe((nowMs - this.#lastMs - TICK_MS) / 1000)
      this.#lastMs = nowMs
    }, TICK_MS)
    // To watch alone is no reason for a process to stay.
    this.#ticker.unref()
  }

  close(): void {
    clearInterval(this.#ticker)
  }
}
