// What still has to be told, each a bounded number of times: the least told first, then the longest, then the newest.
// cluster.md §3.7.

import { assert } from '../../../runtime/base/assert.ts'
import type { Message } from './messages.ts'

/** Bytes that a compound adds for each part. */
export const PART_OVERHEAD_BYTES = 2

interface Entry {
  readonly key: string
  readonly message: Message
  readonly length: number
  readonly order: number
  transmits: number
}

/** How often a message is sent in a cluster of `nodes`. */
export function transmitLimit(retransmitMult: number, nodes: number): number {
  return retransmitMult * Math.ceil(Math.log10(nodes + 1))
}

export class Broadcasts {
  readonly #countMax: number
  readonly #lengthOf: (message: Message) => number
  readonly #byKey = new Map<string, Entry>()
  /** By transmit count. Invariant: each tier is sorted by length descending, then order descending; none is empty. */
  readonly #tiers = new Map<number, Entry[]>()
  /** Taken for the packet that is being filled. */
  #taken: Entry[] = []
  #order = 0
  #droppedTotal = 0

  constructor(options: { countMax: number; lengthOf: (message: Message) => number }) {
    assert(options.countMax >= 1, 'countMax >= 1')
    this.#countMax = options.countMax
    this.#lengthOf = options.lengthOf
  }

  get count(): number {
    return this.#byKey.size
  }

  /** Entries that had to go because there were too many. */
  get droppedTotal(): number {
    return this.#droppedTotal
  }

  has(key: string): boolean {
    return this.#byKey.has(key)
  }

  /** Queues a message in place of an earlier one under the same key. A full queue drops what was told most often. */
  queue(key: string, message: Message): void {
    const known = this.#byKey.get(key)
    if (known !== undefined) this.#remove(known)
    else if (this.#byKey.size >= this.#countMax) this.dropMostTold()
    this.#insert({ key, message, length: this.#lengthOf(message), order: this.#order++, transmits: 0 })
  }

  forget(key: string): void {
    const known = this.#byKey.get(key)
    if (known !== undefined) this.#remove(known)
  }

  /** Drops the entry that was told most often. */
  dropMostTold(): void {
    const last = this.#tiers.get(Math.max(...this.#tiers.keys()))?.at(-1)
    if (last === undefined) return
    this.#remove(last)
    this.#droppedTotal++
  }

  /**
   * Messages that fit `budgetBytes`, tier by tier the largest that still fits. May be called again for the same packet;
   * `release` ends the packet.
   */
  take(budgetBytes: number): { messages: Message[]; bytes: number } {
    const messages: Message[] = []
    let bytes = 0
    for (const transmits of [...this.#tiers.keys()].sort((a, b) => a - b)) {
      for (;;) {
        const tier = this.#tiers.get(transmits)
        const entry = tier?.[firstThatFits(tier, budgetBytes - bytes - PART_OVERHEAD_BYTES)]
        if (entry === undefined) break
        this.#remove(entry)
        this.#taken.push(entry)
        messages.push(entry.message)
        bytes += entry.length + PART_OVERHEAD_BYTES
      }
    }
    return { messages, bytes }
  }

  /** Counts what was taken as told once more; what was told `limit` times is done. */
  release(limit: number): void {
    for (const entry of this.#taken) {
      entry.transmits++
      // A newer message under the key may have come while this one was out.
      if (entry.transmits < limit && !this.#byKey.has(entry.key)) this.#insert(entry)
    }
    this.#taken = []
  }

  #insert(entry: Entry): void {
    this.#byKey.set(entry.key, entry)
    const tier = this.#tiers.get(entry.transmits)
    if (tier === undefined) this.#tiers.set(entry.transmits, [entry])
    else tier.splice(positionOf(tier, entry), 0, entry)
  }

  #remove(entry: Entry): void {
    this.#byKey.delete(entry.key)
    const tier = this.#tiers.get(entry.transmits) as Entry[]
    tier.splice(positionOf(tier, entry), 1)
    if (tier.length === 0) this.#tiers.delete(entry.transmits)
  }
}

/** Index of the first entry at or behind `entry`. */
function positionOf(tier: readonly Entry[], entry: Entry): number {
  let low = 0
  let high = tier.length
  while (low < high) {
    const middle = (low + high) >> 1
    const other = tier[middle] as Entry
    const isBefore = other.length > entry.length || (other.length === entry.length && other.order > entry.order)
    if (isBefore) low = middle + 1
    else high = middle
  }
  return low
}

/** Index of the largest entry of at most `bytes`; past the end when none fits. */
function firstThatFits(tier: readonly Entry[], bytes: number): number {
  let low = 0
  let high = tier.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((tier[middle] as Entry).length > bytes) low = middle + 1
    else high = middle
  }
  return low
}
