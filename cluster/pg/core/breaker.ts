// Keeps broadcasts away from a node that cannot be reached: closed, after some failures in a row open, after a while half-open with
// exactly one trial. cluster.md §9.3.

export type BreakerState = 'closed' | 'open' | 'half-open'

export class Breaker {
  readonly #failuresMax: number
  readonly #resetMs: number
  #failures = 0
  #openedAtMs: number | undefined
  #isTrying = false

  /** @param options.failuresMax in a row; 0 never opens */
  constructor(options: { failuresMax: number; resetMs: number }) {
    this.#failuresMax = options.failuresMax
    this.#resetMs = options.resetMs
  }

  state(nowMs: number): BreakerState {
    if (this.#openedAtMs === undefined) return 'closed'
    return this.#isTrying || nowMs >= this.#openedAtMs + this.#resetMs ? 'half-open' : 'open'
  }

  /** Whether something may be sent now. In the half-open state only the first that asks may, until it is known how it went. */
  take(nowMs: number): boolean {
    if (this.#openedAtMs === undefined) return true
    if (this.#isTrying || nowMs < this.#openedAtMs + this.#resetMs) return false
    this.#isTrying = true
    return true
  }

  succeeded(): void {
    this.#failures = 0
    this.#openedAtMs = undefined
    this.#isTrying = false
  }

  /** @returns whether it opened just now */
  failed(nowMs: number): boolean {
    this.#failures++
    const wasTrying = this.#isTrying
    this.#isTrying = false
    if (this.#openedAtMs !== undefined && !wasTrying) return false
    if (!wasTrying && (this.#failuresMax === 0 || this.#failures < this.#failuresMax)) return false
    this.#openedAtMs = nowMs
    return true
  }

  /** Neither: what was taken did not reach the network, e.g. because a queue was full. */
  returned(): void {
    this.#isTrying = false
  }
}
