// A world for schedulers and cores that stands still until it is told to go on: fake clocks, seeded chance, turns in order.

import type { Env } from '../../runtime/base/env.ts'
import { Heap } from '../../runtime/base/heap.ts'
import type { SchedulerDriver } from '../../runtime/process/scheduler.ts'

const WALL_START_MS = Date.UTC(2026, 0, 2, 3, 4, 5)

export class FakeDriver implements SchedulerDriver {
  nowMs = 0
  readonly #timers = new Heap<{ run: (() => void) | undefined }>()
  #turns: (() => void)[] = []
  #seed: number

  constructor(seed = 1) {
    this.#seed = seed
  }

  readonly env: Env = {
    nowMs: () => this.nowMs,
    wallMs: () => WALL_START_MS + this.nowMs,
    randomInt: (bound) => this.#random() % bound,
  }

  /** Numerical Recipes' linear congruential generator, upper bits. */
  #random(): number {
    this.#seed = (Math.imul(this.#seed, 1664525) + 1013904223) >>> 0
    return this.#seed >>> 4
  }

  defer(run: () => void): void {
    this.#turns.push(run)
  }

  timeout(delayMs: number, run: () => void): () => void {
    const timer: { run: (() => void) | undefined } = { run }
    this.#timers.push(this.nowMs + delayMs, timer)
    return () => {
      timer.run = undefined
    }
  }

  /** Runs turns until none is left. */
  settle(turnsMax = 1_000_000): void {
    for (let i = 0; this.#turns.length > 0; i++) {
      if (i >= turnsMax) throw new Error(`not settled after ${turnsMax} turns`)
      this.turn()
    }
  }

  /** Runs one turn: what was deferred before it, not what it defers itself. */
  turn(): void {
    const turns = this.#turns
    this.#turns = []
    for (const run of turns) run()
  }

  /** Moves time on, firing what comes due, and settles after each step. */
  advance(ms: number): void {
    const endMs = this.nowMs + ms
    this.settle()
    for (let key = this.#timers.nextKey; key !== undefined && key <= endMs; key = this.#timers.nextKey) {
      const timer = this.#timers.pop()
      this.nowMs = Math.max(this.nowMs, key)
      timer?.run?.()
      this.settle()
    }
    this.nowMs = endMs
    this.settle()
  }

  get timerCount(): number {
    let count = 0
    this.#timers.prune((timer) => {
      if (timer.run !== undefined) count++
      return timer.run !== undefined
    })
    return count
  }
}
