// The last changes of this node's memberships, for peers that missed some. cluster.md §9.2.

import type { Delta, Op } from './messages.ts'
import { HISTORY_DELTAS_MAX, HISTORY_OPS_MAX } from './settings.ts'

export class History {
  #deltas: Delta[] = []
  #ops = 0
  #seq = 0
  readonly #deltasMax: number

  constructor(deltasMax = HISTORY_DELTAS_MAX) {
    this.#deltasMax = deltasMax
  }

  /** Number of the latest change; 0 before the first. */
  get seq(): number {
    return this.#seq
  }

  append(ops: readonly Op[]): Delta {
    const delta = { seq: ++this.#seq, ops }
    this.#deltas.push(delta)
    this.#ops += ops.length
    let dropped = 0
    while (this.#deltas.length - dropped > this.#deltasMax || this.#ops > HISTORY_OPS_MAX) {
      this.#ops -= this.#deltas[dropped++]?.ops.length ?? 0
    }
    if (dropped > 0) this.#deltas.splice(0, dropped)
    return delta
  }

  /** Everything after `have`, or undefined when that is no longer known. */
  since(have: number): readonly Delta[] | undefined {
    const first = this.#seq - this.#deltas.length + 1
    if (have > this.#seq || have + 1 < first) return undefined
    return this.#deltas.slice(have + 1 - first)
  }
}
