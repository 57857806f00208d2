// A first-in first-out queue with a bound. The caller decides what to do when it is full.

const SHRINK_AT = 1024

export class Queue<T> {
  readonly countMax: number
  #items: (T | undefined)[] = []
  #head = 0

  constructor(countMax = Number.POSITIVE_INFINITY) {
    this.countMax = countMax
  }

  get count(): number {
    return this.#items.length - this.#head
  }

  get isFull(): boolean {
    return this.count >= this.countMax
  }

  /** False, and nothing is added, when the queue is full. */
  push(item: T): boolean {
    if (this.isFull) return false
    this.#items.push(item)
    return true
  }

  peek(): T | undefined {
    return this.#items[this.#head]
  }

  shift(): T | undefined {
    if (this.#head === this.#items.length) return undefined
    const item = this.#items[this.#head]
    this.#items[this.#head++] = undefined
    if (this.#head === this.#items.length) {
      this.#items.length = 0
      this.#head = 0
    } else if (this.#head >= SHRINK_AT && this.#head * 2 >= this.#items.length) {
      this.#items = this.#items.slice(this.#head)
      this.#head = 0
    }
    return item
  }

  clear(): void {
    this.#items.length = 0
    this.#head = 0
  }

  *[Symbol.iterator](): Iterator<T> {
    for (let i = this.#head; i < this.#items.length; i++) yield this.#items[i] as T
  }
}
