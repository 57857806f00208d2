// The entries of a node's app and their history: what a set of changes makes of them, and which versions can be returned to.
// lua-core.md §19.2, §19.3.

import { MoonmeshError } from '../../base/errors.ts'

interface Keyed {
  readonly id: string
  readonly kind: string
}

/** One change. A deleted entry is known by its id alone. */
export type EntryOp<E> =
  | { readonly kind: 'entry.create' | 'entry.update'; readonly entry: E }
  | { readonly kind: 'entry.delete'; readonly id: string }

/** @throws MoonmeshError for the first change that does not fit; then none is made */
export function withOps<E extends Keyed>(
  entries: ReadonlyMap<string, E>,
  ops: readonly EntryOp<E>[],
): ReadonlyMap<string, E> {
  const next = new Map(entries)
  for (const op of ops) {
    const id = op.kind === 'entry.delete' ? op.id : op.entry.id
    const known = next.get(id)
    switch (op.kind) {
      case 'entry.create':
        if (known !== undefined) refuse('AlreadyExists', `entry already exists: ${id}`)
        next.set(id, op.entry)
        break
      case 'entry.update':
        if (known === undefined) refuse('NotFound', `entry does not exist: ${id}`)
        if (known?.kind !== op.entry.kind)
          refuse('Invalid', `cannot change entry kind: ${id} is a ${known?.kind}, not a ${op.entry.kind}`)
        next.set(id, op.entry)
        break
      case 'entry.delete':
        if (known === undefined) refuse('NotFound', `cannot delete non-existent entry: ${id}`)
        next.delete(id)
        break
    }
  }
  return next
}

function refuse(kind: 'AlreadyExists' | 'NotFound' | 'Invalid', text: string): never {
  throw new MoonmeshError(kind, text, { retryable: false })
}

/** Ids that are not the same thing in both. */
export function changedIds<E extends Keyed>(
  from: ReadonlyMap<string, E>,
  to: ReadonlyMap<string, E>,
): ReadonlySet<string> {
  const changed = new Set<string>()
  for (const [id, entry] of to) if (from.get(id) !== entry) changed.add(id)
  for (const id of from.keys()) if (!to.has(id)) changed.add(id)
  return changed
}

export interface Version<E> {
  /** 0 before anything was loaded, then rising. */
  readonly id: number
  readonly entries: ReadonlyMap<string, E>
}

/** Versions that are kept; older ones are forgotten. */
const KEPT_MAX = 100

/** Invariant: `current` is one of the kept versions, ids rise, and an id never stands for two contents. */
export class Versions<E extends Keyed> {
  #kept: Version<E>[] = [{ id: 0, entries: new Map() }]
  #current = this.#kept[0] as Version<E>
  #lastId = 0

  get current(): Version<E> {
    return this.#current
  }

  /** Oldest first. */
  get kept(): readonly Version<E>[] {
    return this.#kept
  }

  /** A new version becomes the current one. */
  add(entries: ReadonlyMap<string, E>): Version<E> {
    this.#current = { id: ++this.#lastId, entries }
    this.#kept.push(this.#current)
    if (this.#kept.length > KEPT_MAX) this.#kept = this.#kept.slice(-KEPT_MAX)
    return this.#current
  }

  /** @throws MoonmeshError `Invalid`, `NotFound` */
  at(id: number): Version<E> {
    if (!Number.isInteger(id) || id <= 0) {
      throw new MoonmeshError('Invalid', `invalid version ID: ${id}`, { retryable: false })
    }
    const found = this.#kept.find((version) => version.id === id)
    if (found === undefined) throw new MoonmeshError('NotFound', `version not found: ${id}`, { retryable: false })
    return found
  }

  /** An earlier or later version becomes the current one again. */
  moveTo(version: Version<E>): void {
    this.#current = version
    // It may be the oldest, and must not be forgotten while it is in force.
    if (!this.#kept.includes(version)) this.#kept.unshift(version)
  }
}
