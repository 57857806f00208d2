// A running program in the simulated world, whatever protocol it speaks: its clocks, its timers, and the moments in which
// it stands still. As in a real event loop, what waited in the sockets is read before timers that came due late.

import type { Env } from '../../runtime/base/env.ts'
import type { ClockOptions, World } from './world.ts'

/** A halt of this length is noticed as a pause, see cluster.md §0.2. */
const PAUSE_MS = 1000
/** Datagrams that a socket buffer holds while nobody reads. */
const PACKETS_WAITING_MAX = 4096

interface Work {
  readonly isTimer: boolean
  readonly act: () => void
}

export class SimProcess {
  readonly env: Env
  /** Called first after a pause, with local milliseconds. */
  onPause: (pausedMs: number) => void = () => {}
  readonly #world: World
  readonly #rate: number
  #wallJumpMs = 0
  #isRunning = true
  #haltedSinceMs: number | undefined
  #haltedUntilMs = 0
  #isSlow = false
  #lastHaltMs = Number.NEGATIVE_INFINITY
  #waiting: Work[] = []
  #packetsWaiting = 0

  constructor(world: World, clock: ClockOptions = {}) {
    this.#world = world
    this.#rate = clock.rate ?? 1
    const env = world.env(clock)
    this.env = { ...env, wallMs: () => env.wallMs() + this.#wallJumpMs }
  }

  get isRunning(): boolean {
    return this.#isRunning
  }

  /** True time at which it last stood still; now, while it is halted or slow. */
  get lastHaltMs(): number {
    return this.#haltedSinceMs !== undefined || this.#isSlow ? this.#world.nowMs : this.#lastHaltMs
  }

  /** Ends the program without a word; nothing of it runs any more. */
  kill(): void {
    this.#isRunning = false
    this.#waiting = []
  }

  /** Something arrived: handled now, or when the program runs again. */
  input(act: () => void): void {
    this.#do({ isTimer: false, act })
  }

  /** A datagram arrived; a program that stands still for long loses some. */
  packet(act: () => void): void {
    if (this.#haltedSinceMs !== undefined && ++this.#packetsWaiting > PACKETS_WAITING_MAX) return
    this.#do({ isTimer: false, act })
  }

  /** @param afterMs by the program's own clock */
  timer(afterMs: number, act: () => void): void {
    this.#world.after(this.trueMs(afterMs), () => this.#do({ isTimer: true, act }))
  }

  /** True milliseconds in which the program's clock advances by `localMs`. */
  trueMs(localMs: number): number {
    return localMs / this.#rate
  }

  /** Stands still for true milliseconds. */
  freeze(durationMs: number): void {
    this.#haltedSinceMs ??= this.#world.nowMs
    this.#haltedUntilMs = Math.max(this.#haltedUntilMs, this.#world.nowMs + durationMs)
    this.#world.after(durationMs, () => this.#resume())
  }

  /**
   * Runs only a share of the time from now on, as under a quota of the processor.
   * @param options.periodMs of running and standing still once  @param options.durationMs true time after which it is over
   */
  slow({ share, periodMs, durationMs }: { share: number; periodMs: number; durationMs: number }): void {
    const endMs = this.#world.nowMs + durationMs
    this.#isSlow = true
    const cycle = (): void => {
      if (this.#world.nowMs >= endMs) {
        this.#isSlow = false
        this.#lastHaltMs = this.#world.nowMs
        return
      }
      this.freeze(periodMs * (1 - share))
      this.#world.after(periodMs, cycle)
    }
    cycle()
  }

  /** The wall clock is set. */
  jumpWall(byMs: number): void {
    this.#wallJumpMs += byMs
  }

  #do(work: Work): void {
    if (!this.#isRunning) return
    if (this.#haltedSinceMs !== undefined) this.#waiting.push(work)
    else work.act()
  }

  #resume(): void {
    const sinceMs = this.#haltedSinceMs
    if (!this.#isRunning || sinceMs === undefined || this.#world.nowMs < this.#haltedUntilMs) return
    const waiting = this.#waiting
    this.#haltedSinceMs = undefined
    this.#lastHaltMs = this.#world.nowMs
    this.#waiting = []
    this.#packetsWaiting = 0
    const pausedMs = (this.#world.nowMs - sinceMs) * this.#rate
    if (pausedMs >= PAUSE_MS) this.onPause(pausedMs)
    for (const work of waiting) if (!work.isTimer) this.#do(work)
    for (const work of waiting) if (work.isTimer) this.#do(work)
  }
}
