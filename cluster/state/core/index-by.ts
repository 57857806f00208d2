// From an owner to what it owns, so that a release costs what is released and not what exists.

/** Invariant: no owner has an empty set. */
export class IndexBy<Owner> {
  readonly #sets = new Map<Owner, Set<string>>()

  add(owner: Owner, item: string): void {
    const set = this.#sets.get(owner)
    if (set === undefined) this.#sets.set(owner, new Set([item]))
    else set.add(item)
  }

  delete(owner: Owner, item: string): void {
    const set = this.#sets.get(owner)
    if (set?.delete(item) && set.size === 0) this.#sets.delete(owner)
  }

  /** A copy: the caller may release what it reads. Unsorted. */
  of(owner: Owner): string[] {
    return [...(this.#sets.get(owner) ?? [])]
  }

  has(owner: Owner): boolean {
    return this.#sets.has(owner)
  }
}
