// Timers of the protocols' drivers. The event loop runs what is due before it reads sockets, so after a stall every timeout
// looks expired while the answers wait in the kernel. A late timer therefore lets them in first. cluster.md §0.2.

import type { Env } from '../runtime/base/env.ts'

const TOLERATED_LATE_MS = 50
const TOLERATED_LATE_SHARE = 0.1
/** The longest delay that the platform's timers take. */
const DELAY_MS_MAX = 2 ** 31 - 1

interface Pending {
  timer: NodeJS.Timeout | undefined
  immediate: NodeJS.Immediate | undefined
}

export class Timers {
  readonly #env: Env
  readonly #pending = new Set<Pending>()
  #isClosed = false

  constructor(env: Env) {
    this.#env = env
  }

  get count(): number {
    return this.#pending.size
  }

  /**
   * Calls `run` once, never early; when it comes up late, after what waits in the sockets was read.
   * @returns cancels it; afterwards, and after it ran, a call does nothing
   */
  after(delayMs: number, run: () => void): () => void {
    const pending: Pending = { timer: undefined, immediate: undefined }
    if (this.#isClosed) return () => {}
    this.#pending.add(pending)
    this.#arm(pending, delayMs, { dueMs: this.#env.nowMs() + delayMs, delayMs, run })
    return () => this.#cancel(pending)
  }

  /** Nothing runs any more. */
  close(): void {
    this.#isClosed = true
    for (const pending of [...this.#pending]) this.#cancel(pending)
  }

  #arm(pending: Pending, waitMs: number, due: { dueMs: number; delayMs: number; run: () => void }): void {
    pending.timer = setTimeout(() => this.#fire(pending, due), Math.min(Math.ceil(waitMs), DELAY_MS_MAX))
  }

  #fire(pending: Pending, due: { dueMs: number; delayMs: number; run: () => void }): void {
    const lateMs = this.#env.nowMs() - due.dueMs
    // The platform counts from the beginning of the loop's turn, so a timer may be up to a turn early.
    if (lateMs < 0) return this.#arm(pending, -lateMs, due)
    if (lateMs <= Math.max(TOLERATED_LATE_MS, due.delayMs * TOLERATED_LATE_SHARE)) return this.#run(pending, due.run)
    pending.immediate = setImmediate(() => {
      pending.immediate = setImmediate(() => this.#run(pending, due.run))
    })
  }

  #run(pending: Pending, run: () => void): void {
    this.#pending.delete(pending)
    run()
  }

  #cancel(pending: Pending): void {
    clearTimeout(pending.timer)
    clearImmediate(pending.immediate)
    this.#pending.delete(pending)
  }
}

const TICK_MS = 100
const PAUSE_MS = 1000

/** Notices when the event loop stood still. One for all protocols of a node is enough. */
export class PauseWatch {
  readonly #listeners = new Set<(pausedMs: number) => void>()
  readonly #ticker: NodeJS.Timeout
  #lastTickMs: number
  #pauses = 0

  constructor(env: Env) {
    this.#lastTickMs = env.nowMs()
    this.#ticker = setInterval(() => {
      const nowMs = env.nowMs()
      const gapMs = nowMs - this.#lastTickMs
      this.#lastTickMs = nowMs
      if (gapMs < PAUSE_MS) return
      this.#pauses++
      for (const listener of this.#listeners) listener(gapMs)
    }, TICK_MS)
    // A watch alone is no reason for a process to stay.
    this.#ticker.unref()
  }

  /** Pauses of a second or more since the start. */
  get count(): number {
    return this.#pauses
  }

  /** @returns ends it */
  subscribe(listener: (pausedMs: number) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  close(): void {
    clearInterval(this.#ticker)
    this.#listeners.clear()
  }
}
