// The event loop's time for reading large messages: slices of all streams in turn, a few milliseconds each turn of the loop, so
// that a thousand hostile streams delay a probe no more than one. Few may expand at once, since each may grow to 40 MiB.

import type { Env } from '../../runtime/base/env.ts'

const TURN_MS = 4
const LARGE_MAX = 4

/** One stream that is read in slices. */
interface SlicedRead {
  /** Works for a bounded time. */
  slice(): void
}

export class Turns {
  readonly #env: Env
  readonly #ready = new Set<SlicedRead>()
  readonly #large = new Set<SlicedRead>()
  /** Large ones that wait for a place. */
  readonly #waiting = new Set<SlicedRead>()
  #isScheduled = false

  constructor(env: Env) {
    this.#env = env
  }

  /** Runs a slice of it soon. Once is enough, however often it is asked for. */
  add(read: SlicedRead): void {
    if (!this.#waiting.has(read)) this.#ready.add(read)
    this.#schedule()
  }

  /** The same for one that needs several slices: it may have to wait for a place. */
  addLarge(read: SlicedRead): void {
    if (this.#large.has(read) || this.#large.size < LARGE_MAX) {
      this.#large.add(read)
      this.add(read)
    } else this.#waiting.add(read)
  }

  /** It waits for its peer, or is over: gives its place to the next. */
  release(read: SlicedRead): void {
    this.#ready.delete(read)
    this.#waiting.delete(read)
    if (!this.#large.delete(read)) return
    const [next] = this.#waiting
    if (next === undefined) return
    this.#waiting.delete(next)
    this.addLarge(next)
  }

  #schedule(): void {
    if (this.#isScheduled || this.#ready.size === 0) return
    this.#isScheduled = true
    setImmediate(() => this.#run())
  }

  #run(): void {
    const endMs = this.#env.nowMs() + TURN_MS
    this.#isScheduled = false
    // A set keeps the order of insertion, and what is added during the loop is visited too.
    for (const read of this.#ready) {
      this.#ready.delete(read)
      read.slice()
      if (this.#env.nowMs() >= endMs) break
    }
    this.#schedule()
  }
}
