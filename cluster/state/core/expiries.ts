// What ends at a time of the log clock. cluster.md §5.12: due entries run in the order (expiry, kind, key), which a node that
// restored a snapshot finds just as one that lived through everything.

import { Heap } from '../../../runtime/base/heap.ts'
import { compareText } from './order.ts'

type ExpiryKind = 'lock' | 'strong' | 'waiter'

interface Expiry {
  readonly kind: ExpiryKind
  readonly key: string
  /** Log clock, milliseconds. */
  readonly atMs: number
}

/** Renewals leave stale items in the heap; it is rebuilt when they are the larger part. */
const STALE_MIN = 64

export class Expiries {
  readonly #heap = new Heap<Expiry>()
  /** By kind and key: the one item of the heap that counts. */
  readonly #live = new Map<string, Expiry>()

  get count(): number {
    return this.#live.size
  }

  /** When the next one is due, log clock; undefined when none is. */
  get nextMs(): number | undefined {
    while (this.#heap.nextKey !== undefined) {
      const top = this.#heap.peek() as Expiry
      if (this.#isLive(top)) return top.atMs
      this.#heap.pop()
    }
    return undefined
  }

  set(kind: ExpiryKind, key: string, atMs: number): void {
    const expiry = { kind, key, atMs }
    this.#live.set(`${kind} ${key}`, expiry)
    this.#heap.push(atMs, expiry)
    if (this.#heap.count > 2 * this.#live.size + STALE_MIN) this.#heap.prune((item) => this.#isLive(item))
  }

  delete(kind: ExpiryKind, key: string): void {
    this.#live.delete(`${kind} ${key}`)
  }

  /**
   * Everything of the next moment, in order; it stays until deleted or set anew. Ask `isLive` before acting: what runs first may
   * have ended what comes later.
   */
  takeNext(): Expiry[] {
    const momentMs = this.nextMs
    const taken: Expiry[] = []
    while (momentMs !== undefined && this.nextMs === momentMs) taken.push(this.#heap.pop() as Expiry)
    return taken.sort((a, b) => compareText(a.kind, b.kind) || compareText(a.key, b.key))
  }

  isLive(expiry: Expiry): boolean {
    return this.#isLive(expiry)
  }

  #isLive(expiry: Expiry): boolean {
    return this.#live.get(`${expiry.kind} ${expiry.key}`) === expiry
  }
}
