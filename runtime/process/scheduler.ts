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
    const endMs = startMs + TURN_MS
    let nowMs = startMs
    let left = TURN_SLICES_MAX
    let timed = 0
    this.#fireDue(nowMs)
    for (let process = this.#queue.next(); process !== undefined; process = this.#queue.next()) {
      if (!process.isEnded) {
        this.slices++
        process.slice(SLICE_BUDGET)
        timed++
      }
      // Most slices take less than a look at the clock does: they are timed a few at once.
      if (--left === 0) break
      if (timed < CLOCK_SLICES) continue
      nowMs = this.#clocked(nowMs, timed)
      timed = 0
      if (nowMs >= endMs) break
      this.#fireDue(nowMs)
    }
    this.#clocked(nowMs, timed)
    this.busyMs += env.nowMs() - startMs
    if (this.#queue.count > 0) this.#schedule()
  }

  /** @returns the time, after `count` slices since `sinceMs` */
  #clocked(sinceMs: number, count: number): number {
    if (count === 0) return sinceMs
    const nowMs = this.#driver.env.nowMs()
    this.sliceTimes.observe((nowMs - sinceMs) / 1000 / count, count)
    return nowMs
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
