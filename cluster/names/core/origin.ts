// What one run of a node has bound, as far as this node knows: a log of which the last part is kept, and the names that hold.
// cluster.md §6.5.

import type { Hash } from '../../kv/core/digest.ts'
import { type Change, type Dot, encodeChange } from './change.ts'

/** Changes that are kept for nodes that missed some. */
export const HISTORY_MAX = 1024
/** Changes that came before those between them and what is known. */
export const WAITING_MAX = 64
/** Bytes of a run's hash. */
export const HASH_BYTES = 8

export class Origin {
  readonly name: string
  readonly epoch: number
  readonly dots = new Map<string, Dot>()
  /** By number. Invariant: all above `seq` + 1. */
  readonly waiting = new Map<number, Change>()
  /** When it was live last; monotonic. */
  lastLiveMs: number
  /** Names were passed over because there were too many: its hash says nothing. */
  isTruncated = false
  readonly #hash: Hash
  readonly #sum = new Uint8Array(HASH_BYTES)
  /** Invariant: without gaps, and the last one has the number `seq`, unless it is empty. */
  #history: Change[] = []
  #seq = 0

  constructor(run: { name: string; epoch: number }, hash: Hash, nowMs: number) {
    this.name = run.name
    this.epoch = run.epoch
    this.lastLiveMs = nowMs
    this.#hash = hash
  }

  /** Of the last change that is known, with all before it. */
  get seq(): number {
    return this.#seq
  }

  /** Equal where the names that hold are; a byte string. */
  get hash(): string {
    return String.fromCharCode(...this.#sum)
  }

  /** The next one of the log. @param isKept false: there is no room for another name */
  append(change: Change, isKept = true): void {
    this.#seq = change.seq
    this.#history.push(change)
    if (this.#history.length > 2 * HISTORY_MAX) this.#history = this.#history.slice(-HISTORY_MAX)
    this.#remove(change.name)
    if (!isKept) this.isTruncated = true
    else if (change.bound !== undefined) this.#put(change as Dot)
  }

  /** In place of all that was known. */
  replace(seq: number, dots: readonly Dot[]): void {
    this.#seq = seq
    this.#history = []
    this.dots.clear()
    this.#sum.fill(0)
    for (const dot of dots) this.#put(dot)
    for (const waiting of this.waiting.keys()) if (waiting <= seq) this.waiting.delete(waiting)
  }

  /** All changes behind `seq`; undefined when not all of them are kept. */
  since(seq: number): Change[] | undefined {
    const kept = this.#history.slice(-HISTORY_MAX)
    const first = kept[0]?.seq ?? this.#seq + 1
    return seq + 1 < first ? undefined : kept.filter((change) => change.seq > seq)
  }

  #put(dot: Dot): void {
    this.dots.set(dot.name, dot)
    this.#toggle(dot)
  }

  #remove(name: string): void {
    const before = this.dots.get(name)
    if (before === undefined) return
    this.dots.delete(name)
    this.#toggle(before)
  }

  #toggle(dot: Dot): void {
    const digest = this.#hash(encodeChange(dot))
    for (let i = 0; i < HASH_BYTES; i++) this.#sum[i] = (this.#sum[i] as number) ^ (digest[i] as number)
  }
}
