// A first-in first-out queue with a bound. The caller decides what to do when it is full.

const SHRINK_AT = 1024

export class Queue<T> {
  readonly countMax: number
  /** The item that is next, while there is one; most queues never hold two. */
  #first: T | undefined
  /** What stands behind it, from `#head` on. */
  #rest: (T | undefined)[] | undefined
  #head = 0
  #count = 0

  constructor(countMax = Number.POSITIVE_INFINITY) {
    this.countMax = countMax
  }

  get count(): number {
    return this.#count
  }

  get isFull(): boolean {
    return this.#count >= this.countMax
  }

  /** False, and nothing is added, when the queue is full. */
  push(item: T): boolean {
    if (this.isFull) return false
    if (this.#count === 0) this.#first = item
    else if (this.#rest === undefined) this.#rest = [item]
    else this.#rest.push(item)
    this.#count++
    return true
  }

  peek(): T | undefined {
    return this.#first
  }

  shift(): T | undefined {
    if (this.#count === 0) return undefined
    const item = this.#first
    this.#first = --this.#count === 0 ? undefined : this.#next(this.#rest as (T | undefined)[])
    return item
  }

  #next(rest: (T | undefined)[]): T | undefined {
    const item = rest[this.#head]
    rest[this.#head++] = undefined
    if (this.#head === rest.length) {
      this.#rest = undefined
      this.#head = 0
    } else if (this.#head >= SHRINK_AT && this.#head * 2 >= rest.length) {
      this.#rest = rest.slice(this.#head)
      this.#head = 0
    }
    return item
  }

  clear(): void {
    this.#first = undefined
    this.#rest = undefined
    this.#head = 0
    this.#count = 0
  }

  *[Symbol.iterator](): Iterator<T> {
    if (this.#count === 0) return
    yield this.#first as T
    if (this.#rest !== undefined) for (let i = this.#head; i < this.#rest.length; i++) yield this.#rest[i] as T
  }
}
