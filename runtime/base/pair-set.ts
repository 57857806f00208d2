// Many-to-many pairs with an index from either side: who watches whom, who is linked to whom. A key with one partner holds it
// directly; the 100,000 processes that are watched once each must not cost a Set each.

type Partners<T> = T | Set<T>

class Index<T> {
  readonly #partners = new Map<T, Partners<T>>()

  has(key: T, partner: T): boolean {
    const held = this.#partners.get(key)
    return held instanceof Set ? held.has(partner) : held === partner
  }

  knows(key: T): boolean {
    return this.#partners.has(key)
  }

  add(key: T, partner: T): void {
    const held = this.#partners.get(key)
    if (held === undefined) this.#partners.set(key, partner)
    else if (held instanceof Set) held.add(partner)
    else this.#partners.set(key, new Set([held, partner]))
  }

  remove(key: T, partner: T): void {
    const held = this.#partners.get(key)
    if (held === partner) this.#partners.delete(key)
    else if (held instanceof Set) {
      held.delete(partner)
      if (held.size === 0) this.#partners.delete(key)
    }
  }

  take(key: T): T[] {
    const held = this.list(key)
    this.#partners.delete(key)
    return held
  }

  list(key: T): T[] {
    const held = this.#partners.get(key)
    if (held === undefined) return []
    return held instanceof Set ? [...held] : [held]
  }

  keys(): IterableIterator<T> {
    return this.#partners.keys()
  }

  get size(): number {
    return this.#partners.size
  }
}

export class PairSet<T extends string> {
  readonly #forward = new Index<T>()
  readonly #backward = new Index<T>()

  /** False when the pair was there already. */
  add(left: T, right: T): boolean {
    if (this.#forward.has(left, right)) return false
    this.#forward.add(left, right)
    this.#backward.add(right, left)
    return true
  }

  has(left: T, right: T): boolean {
    return this.#forward.has(left, right)
  }

  /** Whether it is on either side of any pair. */
  knows(item: T): boolean {
    return this.#forward.knows(item) || this.#backward.knows(item)
  }

  /** False when there was no such pair. */
  remove(left: T, right: T): boolean {
    if (!this.#forward.has(left, right)) return false
    this.#forward.remove(left, right)
    this.#backward.remove(right, left)
    return true
  }

  /** Removes every pair with this left side; returns the right sides in the order they were added. */
  takeLeft(left: T): T[] {
    const rights = this.#forward.take(left)
    for (const right of rights) this.#backward.remove(right, left)
    return rights
  }

  /** Removes every pair with this right side; returns the left sides in the order they were added. */
  takeRight(right: T): T[] {
    const lefts = this.#backward.take(right)
    for (const left of lefts) this.#forward.remove(left, right)
    return lefts
  }

  rightsOf(left: T): T[] {
    return this.#forward.list(left)
  }

  leftsOf(right: T): T[] {
    return this.#backward.list(right)
  }

  lefts(): IterableIterator<T> {
    return this.#forward.keys()
  }

  rights(): IterableIterator<T> {
    return this.#backward.keys()
  }

  get isEmpty(): boolean {
    return this.#forward.size === 0
  }
}
