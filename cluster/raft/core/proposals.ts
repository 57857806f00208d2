// What becomes of proposals: which entry each one is, and whether that entry was applied or its fate is unknown. cluster.md §5.11.

interface Placed<T> {
  readonly index: number
  readonly term: number
  readonly token: T
}

/** @typeParam T whoever waits for the answer */
export class Proposals<T> {
  /** Handed to the core and neither accepted nor refused. */
  readonly #offered = new Map<number, T>()
  /** Invariant: indexes strictly rising. All of one leadership: it ends with `lost`. */
  #placed: Placed<T>[] = []
  /** Those before it are answered. */
  #head = 0

  get count(): number {
    return this.#offered.size + this.#placed.length - this.#head
  }

  offer(ref: number, token: T): void {
    this.#offered.set(ref, token)
  }

  accepted(ref: number, index: number, term: number): void {
    const token = this.#offered.get(ref)
    if (token === undefined) return
    this.#offered.delete(ref)
    this.#placed.push({ index, term, token })
  }

  /** Undefined: it was not a proposal. */
  refused(ref: number): T | undefined {
    const token = this.#offered.get(ref)
    this.#offered.delete(ref)
    return token
  }

  /**
   * The entry at `index` was applied, and all before it.
   * @returns whose it was, and whose places went to other entries: nobody knows here whether those are in the log elsewhere
   */
  applied(index: number, term: number): { readonly own: T | undefined; readonly lost: readonly T[] } {
    let own: T | undefined
    let lost: T[] | undefined
    for (let next = this.#placed[this.#head]; next !== undefined && next.index <= index; ) {
      if (next.index === index && next.term === term) own = next.token
      else {
        lost ??= []
        lost.push(next.token)
      }
      next = this.#placed[++this.#head]
    }
    if (this.#head === this.#placed.length) this.#reset()
    return { own, lost: lost ?? NOBODY }
  }

  /** Leadership is over, or the state was replaced: what was appended may still be committed, or not. @returns all whose fate is unknown */
  lost(): T[] {
    const lost = this.#placed.slice(this.#head).map(({ token }) => token)
    this.#reset()
    return lost
  }

  /** @returns all that were never accepted, which will not happen */
  withdrawn(): T[] {
    const withdrawn = [...this.#offered.values()]
    this.#offered.clear()
    return withdrawn
  }

  #reset(): void {
    this.#placed = []
    this.#head = 0
  }
}

const NOBODY: readonly never[] = []
