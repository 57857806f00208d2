// Data of the services above that waits for room in packets. Kinds share what is left of a packet: each gets an equal part
// first, then what others did not use. cluster.md §3.7.

import { Broadcasts } from './broadcasts.ts'
import type { Frame, Message } from './messages.ts'

export class FrameQueues {
  readonly #countMax: number
  readonly #lengthOf: (message: Message) => number
  /** Invariant: inserted by kind, ascending. */
  #queues = new Map<number, Broadcasts>()

  constructor(options: { countMax: number; lengthOf: (message: Message) => number }) {
    this.#countMax = options.countMax
    this.#lengthOf = options.lengthOf
  }

  get count(): number {
    let count = 0
    for (const queue of this.#queues.values()) count += queue.count
    return count
  }

  get droppedTotal(): number {
    let total = 0
    for (const queue of this.#queues.values()) total += queue.droppedTotal
    return total
  }

  /** @param key frames of one kind and key replace one another */
  queue(frame: Frame, key: string): void {
    let queue = this.#queues.get(frame.frameKind)
    if (queue === undefined) {
      queue = new Broadcasts({ countMax: this.#countMax, lengthOf: this.#lengthOf })
      this.#queues.set(frame.frameKind, queue)
      this.#queues = new Map([...this.#queues].sort(([a], [b]) => a - b))
    }
    if (!queue.has(key) && this.count >= this.#countMax) this.#fullest().dropMostTold()
    queue.queue(key, { kind: 'frame', ...frame })
  }

  /** Messages that fit `budgetBytes`, each counted as told once more. */
  take(budgetBytes: number, limit: number): Message[] {
    const queues = [...this.#queues.values()].filter((queue) => queue.count > 0)
    if (queues.length === 0) return []
    const share = Math.floor(budgetBytes / queues.length)
    const out: Message[] = []
    let left = budgetBytes
    for (const bytes of [share, undefined]) {
      for (const queue of queues) {
        const taken = queue.take(bytes ?? left)
        left -= taken.bytes
        out.push(...taken.messages)
      }
    }
    for (const queue of queues) queue.release(limit)
    return out
  }

  #fullest(): Broadcasts {
    return [...this.#queues.values()].reduce((fullest, queue) => (queue.count > fullest.count ? queue : fullest))
  }
}
