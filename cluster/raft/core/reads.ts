// Linearizable reads at the leader: a read takes the commit index of its arrival and is answered once a majority has
// confirmed, in a round of heartbeats sent afterwards, that this is still the leader. Ongaro's thesis §6.4; cluster.md §5.7.

/** Where the answer goes: a read of this node, or a question of a peer. */
export type Reader = { kind: 'local'; ref: number } | { kind: 'peer'; server: string; round: number }

interface Waiting {
  readonly reader: Reader
  readonly index: number
}

export class Reads {
  readonly #countMax: number
  /** Arrived since the last round began. */
  #waiting: Waiting[] = []
  /** Covered by the round on its way. */
  #confirming: { round: number; reads: Waiting[] } | undefined

  constructor(countMax: number) {
    this.#countMax = countMax
  }

  get count(): number {
    return this.#waiting.length + (this.#confirming?.reads.length ?? 0)
  }

  /** Whether reads wait for a round to begin. */
  get needsRound(): boolean {
    return this.#waiting.length > 0 && this.#confirming === undefined
  }

  /** False when too many wait already. */
  add(reader: Reader, index: number): boolean {
    if (this.count >= this.#countMax) return false
    this.#waiting.push({ reader, index })
    return true
  }

  /** A round of heartbeats numbered `round` or later goes out now and covers everything that waits. */
  begin(round: number): void {
    // Reads of an earlier round stay with it: moved to every new one they would never be answered on a slow network, and a
    // later answer proves an earlier round as well.
    if (!this.needsRound) return
    this.#confirming = { round, reads: this.#waiting }
    this.#waiting = []
  }

  /** A majority has answered round `round`: returns the reads that are now proven. */
  confirmed(round: number): readonly { reader: Reader; index: number }[] {
    if (this.#confirming === undefined || round < this.#confirming.round) return []
    const { reads } = this.#confirming
    this.#confirming = undefined
    return reads
  }

  /** Gives all of them back unanswered. */
  clear(): readonly Reader[] {
    const readers = [...(this.#confirming?.reads ?? []), ...this.#waiting].map((read) => read.reader)
    this.#confirming = undefined
    this.#waiting = []
    return readers
  }
}
