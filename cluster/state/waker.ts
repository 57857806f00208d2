// One timer for one core: comes up when the core wants its next tick, and is moved when that changes.

/** A moment may be asked for that has passed: never sooner than this, so that nothing spins. */
const SOONEST_MS = 1

export class Waker {
  readonly #nowMs: () => number
  readonly #after: (delayMs: number, run: () => void) => () => void
  readonly #run: () => void
  #atMs = Number.POSITIVE_INFINITY
  #cancel: () => void = () => {}
  #isClosed = false

  constructor(nowMs: () => number, after: (delayMs: number, run: () => void) => () => void, run: () => void) {
    this.#nowMs = nowMs
    this.#after = after
    this.#run = run
  }

  /** Replaces what was set before. Infinity: nothing is wanted. */
  set(atMs: number): void {
    if (atMs === this.#atMs || this.#isClosed) return
    this.#cancel()
    this.#atMs = atMs
    this.#cancel = () => {}
    if (!Number.isFinite(atMs)) return
    this.#cancel = this.#after(Math.max(SOONEST_MS, atMs - this.#nowMs()), () => {
      this.#atMs = Number.POSITIVE_INFINITY
      this.#run()
    })
  }

  close(): void {
    this.#isClosed = true
    this.#cancel()
  }
}
