// In which order services start and stop: a dependency runs before what needs it and is stopped after it. lua-core.md §22.3.

import { assert } from '../../base/assert.ts'

export interface SequenceNode {
  readonly id: string
  /** Ids that are no nodes themselves count as running and are left out. */
  readonly dependencies: readonly string[]
  readonly startup: 'required' | 'optional'
}

/** What the failed start of one service means for the start of all. */
type StartFailure = { kind: 'abort' } | { kind: 'skip'; ids: readonly string[] }

interface Place {
  readonly node: SequenceNode
  /** Direct ones, each once. */
  readonly dependencies: readonly string[]
  readonly directDependents: string[]
  /** Direct and indirect ones, in stop order; made when first asked for. */
  dependents: readonly string[] | undefined
  /** Index in `order`. */
  position: number
}

export class Sequence {
  /** All ids, dependencies before dependents, otherwise as given. With a cycle it is incomplete. */
  readonly order: readonly string[]
  /** A chain of dependencies that leads back to its first id, e.g. `['a', 'b', 'a']`. */
  readonly cycle: readonly string[] | undefined
  readonly #places = new Map<string, Place>()

  constructor(nodes: readonly SequenceNode[]) {
    const ids = new Set(nodes.map((node) => node.id))
    for (const node of nodes) {
      assert(!this.#places.has(node.id), `service ${node.id} is defined once`)
      const dependencies = [...new Set(node.dependencies)].filter((id) => ids.has(id))
      this.#places.set(node.id, { node, dependencies, directDependents: [], dependents: undefined, position: -1 })
    }
    for (const [id, place] of this.#places) {
      for (const dependency of place.dependencies) this.#place(dependency).directDependents.push(id)
    }
    const { order, cycle } = this.#sort()
    this.order = order
    this.cycle = cycle
    for (const [position, id] of order.entries()) this.#place(id).position = position
  }

  /** Direct dependencies. */
  dependenciesOf(id: string): readonly string[] {
    return this.#place(id).dependencies
  }

  /** Everything that needs `id`, also through others, in stop order: what nothing needs comes first. */
  dependentsOf(id: string): readonly string[] {
    const place = this.#place(id)
    place.dependents ??= this.#closure([id], (each) => each.directDependents)
      .filter((each) => each !== id)
      .reverse()
    return place.dependents
  }

  /** These and everything that needs one of them, in stop order. */
  withDependents(ids: readonly string[]): readonly string[] {
    return this.#closure(ids, (each) => each.directDependents).reverse()
  }

  /** The roots and all that they need, in start order. */
  reachableFrom(roots: readonly string[]): readonly string[] {
    return this.#closure(roots, (place) => place.dependencies)
  }

  /** The dependencies that keep `id` from starting; it can start when there are none. */
  missingFor(id: string, isRunning: (id: string) => boolean): readonly string[] {
    return this.#place(id).dependencies.filter((dependency) => !isRunning(dependency))
  }

  /** Whether nothing that needs `id` is left. */
  canStop(id: string, isPresent: (id: string) => boolean): boolean {
    return !this.dependentsOf(id).some(isPresent)
  }

  /** A required service takes the whole start with it, an optional one only its branch: itself and what needs it. */
  failureOf(id: string): StartFailure {
    return this.#place(id).node.startup === 'required'
      ? { kind: 'abort' }
      : { kind: 'skip', ids: [...this.dependentsOf(id), id] }
  }

  #closure(roots: readonly string[], next: (place: Place) => readonly string[]): string[] {
    const found = new Set(roots)
    // A set yields what is added while it is walked.
    for (const id of found) for (const other of next(this.#place(id))) found.add(other)
    return [...found].sort((a, b) => this.#place(a).position - this.#place(b).position)
  }

  #sort(): { order: string[]; cycle: string[] | undefined } {
    const order: string[] = []
    const isPlaced = new Set<string>()
    const path: string[] = []
    const visit = (id: string): string[] | undefined => {
      if (isPlaced.has(id)) return undefined
      const at = path.indexOf(id)
      if (at >= 0) return [...path.slice(at), id]
      path.push(id)
      for (const dependency of this.#place(id).dependencies) {
        const cycle = visit(dependency)
        if (cycle !== undefined) return cycle
      }
      path.pop()
      isPlaced.add(id)
      order.push(id)
      return undefined
    }
    for (const id of this.#places.keys()) {
      const cycle = visit(id)
      if (cycle !== undefined) return { order, cycle }
    }
    return { order, cycle: undefined }
  }

  #place(id: string): Place {
    const place = this.#places.get(id)
    assert(place !== undefined, `service ${id} is defined`)
    return place
  }
}
