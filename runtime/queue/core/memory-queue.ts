// One queue in memory: messages wait for consumers in order, publishers wait for room. lua-libraries.md §19.

import { Queue } from '../../base/queue.ts'
import type { TableValue, Value } from '../../base/value.ts'

export interface QueueMessage {
  readonly id: string
  readonly body: Value
  readonly headers: TableValue
}

/** A publisher that waits for room. */
interface Waiting {
  readonly message: QueueMessage
  readonly accepted: () => void
  readonly dropped: () => void
  isGone: boolean
}

export class MemoryQueue {
  #lengthMax: number
  readonly #messages = new Queue<QueueMessage>()
  readonly #publishers = new Queue<Waiting>()
  readonly #takers = new Queue<{ take: (message: QueueMessage) => void; isGone: boolean }>()

  constructor(lengthMax: number) {
    this.#lengthMax = lengthMax
  }

  get length(): number {
    return this.#messages.count
  }

  /** Who waits for room gets what there is more of. */
  set lengthMax(lengthMax: number) {
    this.#lengthMax = lengthMax
    while (this.#messages.count < lengthMax && this.#admit());
  }

  /**
   * @param accepted called once, as soon as there is room
   * @param dropped called once instead, when the queue is cleared before
   * @returns gives up waiting
   */
  publish(message: QueueMessage, accepted: () => void, dropped: () => void = () => {}): () => void {
    if (this.#hand(message)) {
      accepted()
      return () => {}
    }
    const waiting: Waiting = { message, accepted, dropped, isGone: false }
    this.#publishers.push(waiting)
    return () => {
      waiting.isGone = true
    }
  }

  /** To the tail again; false, and it is lost, when there is no room. */
  requeue(message: QueueMessage): boolean {
    if (this.#messages.count >= this.#lengthMax && this.#nextTaker() === undefined) return false
    this.#hand(message)
    return true
  }

  /**
   * The next message, now or later.
   * @returns gives up waiting
   */
  take(taken: (message: QueueMessage) => void): () => void {
    const message = this.#messages.shift()
    if (message !== undefined) {
      this.#admit()
      taken(message)
      return () => {}
    }
    const taker = { take: taken, isGone: false }
    this.#takers.push(taker)
    return () => {
      taker.isGone = true
    }
  }

  /** Nothing is left; who waited for room is told. */
  clear(): void {
    this.#messages.clear()
    this.#takers.clear()
    for (let next = this.#publishers.shift(); next !== undefined; next = this.#publishers.shift()) {
      if (!next.isGone) next.dropped()
    }
  }

  /** To whoever waits for a message, or into the queue while there is room. False when there is none. */
  #hand(message: QueueMessage): boolean {
    const taker = this.#nextTaker()
    if (taker !== undefined) {
      this.#takers.shift()
      taker.take(message)
      return true
    }
    if (this.#messages.count >= this.#lengthMax) return false
    this.#messages.push(message)
    return true
  }

  #nextTaker(): { take: (message: QueueMessage) => void } | undefined {
    while (this.#takers.peek()?.isGone === true) this.#takers.shift()
    return this.#takers.peek()
  }

  /** A place is free: the publisher that has waited longest gets it. False when nobody waits. */
  #admit(): boolean {
    for (let next = this.#publishers.shift(); next !== undefined; next = this.#publishers.shift()) {
      if (next.isGone) continue
      this.#messages.push(next.message)
      next.accepted()
      return true
    }
    return false
  }
}
