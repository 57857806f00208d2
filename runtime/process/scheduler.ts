// Runs slices of ready processes, and timers. A turn lasts a few milliseconds at most; then the event loop has its own.

import type { Env } from '../base/env.ts'
import { Heap } from '../base/heap.ts'
import { Histogram } from '../base/histogram.ts'
import type { Timer } from '../services.ts'
import { RunQueue } from './core/run-queue.ts'
import type { Process } from './process.ts'

/** The world of a scheduler: clocks, and two ways to be called again. */
export interface SchedulerDriver {
  readonly env: Env
  /** Calls once, in a later turn of the event loop, after pending input. */
  defer(run: () => void): void
  /** Calls once, not before `delayMs` have passed. Returns how to prevent it. */
  timeout(delayMs: number, run: () => void): () => void
}

/** VM instructions of one slice. */
const SLICE_BUDGET = 10_000
/** How long a turn may keep the event loop, and how many slices it has at most, whatever the clock says. */
const TURN_MS = 4
const TURN_SLICES_MAX = 256
const CLOCK_SLICES = 4
/** Seconds. Most slices are over in a few microseconds; one that takes milliseconds keeps the others waiting. */
export const SLICE_BOUNDS: readonly number[] = [
  0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 1, 10,
]
const LATER_MAX_MS = 2 ** 31 - 1

interface Due {
  run: (() => void) | undefined
}

export class Scheduler {
  readonly #driver: SchedulerDriver
  readonly #queue = new RunQueue<Process>()
  readonly #timers = new Heap<Due>()
  #cancelledCount = 0
  #isScheduled = false
  #isClosed = false
  #wakeAtMs = Number.POSITIVE_INFINITY
  #cancelWake: (() => void) | undefined
  slices = 0
  readonly sliceTimes = new Histogram(SLICE_BOUNDS)
  busyMs = 0
  /** Of the turn: when it ends, when the clock was read last, how many slices it may still have, and how many since that look. */
  #endMs = 0
  #clockMs = 0
  #left = 0
  #untimed = 0

  constructor(driver: SchedulerDriver) {
    this.#driver = driver
  }

  get runQueueCount(): number {
    return this.#queue.count
  }

  ready(process: Process): void {
    this.#queue.ready(process)
    this.#schedule()
  }

  starting(process: Process): void {
    this.#queue.starting(process)
    this.#schedule()
  }

  #schedule(): void {
    if (this.#isScheduled || this.#isClosed) return
    this.#isScheduled = true
    this.#driver.defer(() => this.#turn())
  }

  #turn(): void {
    this.#isScheduled = false
    if (this.#isClosed) return
    const { env } = this.#driver
    const startMs = env.nowMs()
    this.#endMs = startMs + TURN_MS
    this.#clockMs = startMs
    this.#left = TURN_SLICES_MAX
    this.#untimed = 0
    this.#fireDue(startMs)
    for (let process = this.#queue.next(); process !== undefined; process = this.#queue.next()) {
      if (!process.isEnded) {
        this.slices++
        this.#untimed++
        process.slice(SLICE_BUDGET)
      }
      // Most slices take less than a look at the clock does: they are timed a few at once.
      if (--this.#left === 0) break
      if (this.#untimed < CLOCK_SLICES) continue
      const nowMs = env.nowMs()
      this.#observe(nowMs)
      if (nowMs >= this.#endMs) break
      this.#fireDue(nowMs)
    }
    const nowMs = env.nowMs()
    this.#observe(nowMs)
    this.busyMs += nowMs - startMs
    if (this.#queue.count > 0) this.#schedule()
  }

  /** For the process whose slice is used up: the budget of its next one, when that would be its turn; 0: it stands in line. */
  anotherSlice(): number {
    if (this.#queue.count > 0 || this.#left <= 1 || this.#isClosed) return 0
    if (this.#untimed >= CLOCK_SLICES) {
      const nowMs = this.#driver.env.nowMs()
      const { nextKey } = this.#timers
      if (nowMs >= this.#endMs || (nextKey !== undefined && nextKey <= nowMs)) return 0
      this.#observe(nowMs)
    }
    this.#left--
    this.slices++
    this.#untimed++
    return SLICE_BUDGET
  }

  /** Slices since the clock was read last. */
  #observe(nowMs: number): void {
    const count = this.#untimed
    if (count > 0) this.sliceTimes.observe((nowMs - this.#clockMs) / 1000 / count, count)
    this.#untimed = 0
    this.#clockMs = nowMs
  }

  // ---- timers

  after(delayMs: number, then: () => void): Timer {
    const due: Due = { run: then }
    const atMs = this.#driver.env.nowMs() + Math.max(0, delayMs)
    this.#timers.push(atMs, due)
    this.#arm(atMs)
    return {
      cancel: () => {
        if (due.run === undefined) return false
        due.run = undefined
        this.#cancelledCount++
        this.#prune()
        return true
      },
    }
  }

  /** Cancelled timers leave the heap when they are the most of it. */
  #prune(): void {
    if (this.#cancelledCount < 64 || this.#cancelledCount * 2 < this.#timers.count) return
    this.#timers.prune((due) => due.run !== undefined)
    this.#cancelledCount = 0
  }

  #fireDue(nowMs: number): void {
    for (let key = this.#timers.nextKey; key !== undefined && key <= nowMs; key = this.#timers.nextKey) {
      const due = this.#timers.pop()
      const run = due?.run
      if (due !== undefined) due.run = undefined
      if (run === undefined) this.#cancelledCount = Math.max(0, this.#cancelledCount - 1)
      else run()
    }
    const next = this.#timers.nextKey
    if (next !== undefined) this.#arm(next)
  }

  #arm(atMs: number): void {
    if (atMs >= this.#wakeAtMs || this.#isClosed) return
    this.#cancelWake?.()
    this.#wakeAtMs = atMs
    const delayMs = Math.min(LATER_MAX_MS, Math.max(0, atMs - this.#driver.env.nowMs()))
    this.#cancelWake = this.#driver.timeout(delayMs, () => {
      this.#wakeAtMs = Number.POSITIVE_INFINITY
      this.#cancelWake = undefined
      this.#fireDue(this.#driver.env.nowMs())
    })
  }

  close(): void {
    this.#isClosed = true
    this.#cancelWake?.()
    this.#cancelWake = undefined
  }
}
