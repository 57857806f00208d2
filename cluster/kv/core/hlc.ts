// A hybrid logical clock: close to the time of day, and yet every write is later than all that its node had seen before. Kulkarni et
// al., Logical Physical Clocks; cluster.md §8.6.

import { assert } from '../../../runtime/base/assert.ts'
import type { Env } from '../../../runtime/base/env.ts'

/** `ms` since 1970 in 48 bits, then `counter` in 16. */
export interface Hlc {
  readonly ms: number
  readonly counter: number
}

export const ZERO_HLC: Hlc = { ms: 0, counter: 0 }
export const HLC_MS_MAX = 2 ** 48 - 1
export const HLC_COUNTER_MAX = 0xffff
/** A saved clock goes on this far ahead of what was saved; until then nothing has to be saved again. */
const HLC_RESERVE_MS = 2000

export function compareHlc(a: Hlc, b: Hlc): number {
  return a.ms - b.ms || a.counter - b.counter
}

/** As a decimal number, larger for later. */
export function hlcText({ ms, counter }: Hlc): string {
  return (BigInt(ms) * 0x10000n + BigInt(counter)).toString()
}

export class HybridClock {
  readonly #env: Pick<Env, 'wallMs'>
  readonly #skewMaxMs: number
  #ms = 0
  #counter = 0
  /** What the disk holds, or what was last asked to be written there. */
  #savedMs: number

  /** @param options.savedMs what an earlier run saved last; absent when there was none */
  constructor(options: { skewMaxMs: number; savedMs?: number | undefined }, env: Pick<Env, 'wallMs'>) {
    this.#env = env
    this.#skewMaxMs = options.skewMaxMs
    this.#savedMs = options.savedMs ?? 0
    if (options.savedMs !== undefined) this.#ms = options.savedMs + HLC_RESERVE_MS
  }

  /** The latest that was given out or seen. */
  get latest(): Hlc {
    return { ms: this.#ms, counter: this.#counter }
  }

  /** What time it is for deadlines. */
  readMs(): number {
    return Math.max(this.#ms, Math.floor(this.#env.wallMs()))
  }

  /**
   * The stamp of a local write.
   * @returns `saveMs`: to be on disk before the stamp leaves this node, so that a later run never gives out an earlier one
   */
  next(): { hlc: Hlc; saveMs: number | undefined } {
    const ms = this.readMs()
    if (ms !== this.#ms) {
      this.#ms = ms
      this.#counter = 0
    } else if (this.#counter === HLC_COUNTER_MAX) {
      this.#ms++
      this.#counter = 0
    } else this.#counter++
    assert(this.#ms <= HLC_MS_MAX, 'the time has 48 bits')
    const saveMs = this.#ms >= this.#savedMs + HLC_RESERVE_MS ? this.#ms : undefined
    if (saveMs !== undefined) this.#savedMs = saveMs
    return { hlc: this.latest, saveMs }
  }

  /** Whether a stamp is further in the future than clocks may differ. */
  isAhead({ ms }: Hlc): boolean {
    return ms > this.#env.wallMs() + this.#skewMaxMs
  }

  /** Something of this time was taken over: whatever is written from now on is later. */
  observe(hlc: Hlc): void {
    if (compareHlc(hlc, this.latest) <= 0) return
    this.#ms = hlc.ms
    this.#counter = hlc.counter
  }
}
