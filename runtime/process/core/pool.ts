// The instances of one function's virtual machine: who gets one, who waits, what is kept. lua-core.md §4.2. An instance serves one call at a
// time; whatever the kind of pool, the results are the same.

import { Queue } from '../../base/queue.ts'

export interface PoolRules {
  readonly type: 'inline' | 'lazy' | 'static' | 'adaptive'
  /** Instances of a static pool. */
  readonly workers: number
  /** Most instances of a lazy or adaptive pool. */
  readonly maxSize: number
}

/** One call that wants an instance. */
export interface Claim<I> {
  /** An instance, or (undefined) leave to make a new one. Called once, unless withdrawn. */
  granted(instance: I | undefined): void
}

/** Idle instances that an inline pool keeps. */
const INLINE_KEPT_MAX = 16

export class Pool<I> {
  readonly #sizeMax: number
  readonly #keptMax: number
  readonly #idle: { instance: I; sinceMs: number }[] = []
  readonly #waiting = new Queue<Claim<I>>()
  readonly #withdrawn = new Set<Claim<I>>()
  #busyCount = 0

  constructor({ type, workers, maxSize }: PoolRules) {
    this.#sizeMax = type === 'inline' ? Number.POSITIVE_INFINITY : type === 'static' ? workers : maxSize
    this.#keptMax = type === 'inline' ? INLINE_KEPT_MAX : this.#sizeMax
  }

  get waitingCount(): number {
    return this.#waiting.count - this.#withdrawn.size
  }

  get idleCount(): number {
    return this.#idle.length
  }

  /**
   * @param isNested the call comes, directly or not, from a call that holds an instance of this very pool. It is served beyond the limit:
   *   if it waited, the function that waits for it could never give its own instance back.
   */
  claim(claim: Claim<I>, isNested: boolean): void {
    const idle = this.#idle.pop()
    if (idle === undefined && this.#busyCount >= this.#sizeMax && !isNested) {
      this.#waiting.push(claim)
      return
    }
    this.#busyCount++
    claim.granted(idle?.instance)
  }

  /** The claim is not wanted any more; nothing happens when it was granted. */
  withdraw(claim: Claim<I>, wasGranted: boolean): void {
    if (!wasGranted) this.#withdrawn.add(claim)
  }

  /** @param instance undefined when it is not fit for further calls */
  giveBack(instance: I | undefined, nowMs: number): void {
    this.#busyCount--
    const next = this.#busyCount < this.#sizeMax ? this.#nextClaim() : undefined
    if (next !== undefined) {
      this.#busyCount++
      next.granted(instance)
    } else if (instance !== undefined && this.#busyCount + this.#idle.length < this.#keptMax) {
      this.#idle.push({ instance, sinceMs: nowMs })
    }
  }

  #nextClaim(): Claim<I> | undefined {
    for (let claim = this.#waiting.shift(); claim !== undefined; claim = this.#waiting.shift()) {
      if (!this.#withdrawn.delete(claim)) return claim
    }
    return undefined
  }

  /** Drops instances that have been idle for so long; the longest idle ones lie at the front. */
  dropIdle(nowMs: number, idleMs: number): void {
    const kept = this.#idle.findIndex(({ sinceMs }) => nowMs - sinceMs < idleMs)
    this.#idle.splice(0, kept < 0 ? this.#idle.length : kept)
  }
}
