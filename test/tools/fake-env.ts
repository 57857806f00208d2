// Clocks that stand still until a test moves them, and chance that follows from a seed.

import type { Env } from '../../runtime/base/env.ts'

export class FakeEnv implements Env {
  now = 0
  wall = 1_700_000_000_000
  #state: number

  constructor(seed = 1) {
    this.#state = seed >>> 0
  }

  nowMs(): number {
    return this.now
  }

  wallMs(): number {
    return this.wall
  }

  /** Both clocks. */
  advance(byMs: number): void {
    this.now += byMs
    this.wall += byMs
  }

  randomInt(bound: number): number {
    this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0
    return Math.floor((this.#state / 0x100000000) * bound)
  }
}
