// How healthy this node believes itself to be: the more it misses, the longer it waits before it blames others.
// Lifeguard, section IV.A; cluster.md §3.6.

import { assert } from '../../../runtime/base/assert.ts'

export class Awareness {
  /** Scores run from 0 (healthy) to `max - 1`. */
  readonly #max: number
  #score = 0

  constructor(max: number) {
    assert(max >= 1, 'awareness max >= 1')
    this.#max = max
  }

  get score(): number {
    return this.#score
  }

  /** Adds to the score, which stays within its bounds. */
  apply(delta: number): void {
    this.#score = Math.min(this.#max - 1, Math.max(0, this.#score + delta))
  }

  /** A time that a healthy node would wait, stretched by the score. */
  scaleMs(baseMs: number): number {
    return baseMs * (this.#score + 1)
  }
}
