// The invariants of the convergent store, C1 to C3 of cluster.md §13, against all writes, of which only the simulator knows.

import type { CrdtStore } from '../../../cluster/kv/core/crdt.ts'
import { compareEntries, type Entry } from '../../../cluster/kv/core/entry.ts'
import { InvariantError } from './invariant-error.ts'

interface ObservedReplica {
  readonly name: string
  readonly isRunning: boolean
  readonly replica: { readonly store: CrdtStore }
}

const idOf = ({ namespace, key }: Entry): string => `${namespace}:${key}`

export class CrdtChecker<Node extends ObservedReplica> {
  readonly #seed: number
  /** The latest version of each key that a run has held; it never holds an earlier one. */
  readonly #held = new Map<Node, Map<string, Entry>>()
  /** The latest version of each key that anybody still running wrote or held. */
  readonly #latest = new Map<string, Entry>()
  writes = 0
  checked = 0

  constructor(seed: number) {
    this.#seed = seed
  }

  /** C2: a write is later than what its node had, and there at once. */
  written(node: Node, entry: Entry): void {
    const before = this.#heldBy(node).get(idOf(entry))
    if (before !== undefined && compareEntries(entry, before) <= 0) {
      throw this.#error(`${node.name} writes ${idOf(entry)} earlier than what it has (C2)`)
    }
    const seen = node.replica.store.get(entry.namespace, entry.key)?.value
    if (entry.isDelete ? seen !== undefined : seen !== entry.value) {
      throw this.#error(`${node.name} does not see its own write of ${idOf(entry)} (C2)`)
    }
    this.writes++
    this.#heldBy(node).set(idOf(entry), entry)
    this.#later(entry)
  }

  /** C2, C3: whatever arrived, no key falls back to an earlier version, and none that was deleted is there again. */
  stepped(node: Node): void {
    const held = this.#heldBy(node)
    for (const namespace of node.replica.store.namespaces()) {
      for (const [, { entry }] of node.replica.store.view(namespace).range()) {
        const before = held.get(idOf(entry))
        if (before === entry) continue
        if (before !== undefined && compareEntries(entry, before) < 0) {
          const what = before.isDelete ? 'was deleted and is there again (C3)' : 'falls back to an earlier write (C2)'
          throw this.#error(`${node.name}: ${idOf(entry)} ${what}`)
        }
        held.set(idOf(entry), entry)
        this.#later(entry)
        this.checked++
      }
    }
  }

  /** A run ended; what only it had is lost with it. */
  ended(node: Node): void {
    this.#held.delete(node)
    this.#latest.clear()
    for (const [each, held] of this.#held) if (each.isRunning) for (const entry of held.values()) this.#later(entry)
  }

  /** C1, and the end of C2 and C3: why stores differ from each other or from the last writes; undefined when they do not. */
  disagreement(nodes: readonly Node[]): string | undefined {
    const [first, ...others] = nodes
    if (first === undefined) return undefined
    const hashes = first.replica.store.digest.hashes
    for (const node of others) {
      const differing = node.replica.store.digest.differing(hashes)?.length ?? 0
      if (differing > 0) return `${first.name} and ${node.name} differ in ${differing} shards (C1)`
    }
    for (const latest of this.#latest.values()) {
      for (const node of nodes) {
        const { store } = node.replica
        const isOver = latest.isDelete || (latest.expiryMs > 0 && latest.expiryMs <= store.clock.readMs())
        const item = store.get(latest.namespace, latest.key)
        if (isOver && item !== undefined) return `${node.name}: ${idOf(latest)} is deleted and there (C3)`
        if (!isOver && item === undefined) return `${node.name} lost ${idOf(latest)} (C2)`
      }
    }
    return undefined
  }

  #later(entry: Entry): void {
    const before = this.#latest.get(idOf(entry))
    if (before === undefined || compareEntries(entry, before) > 0) this.#latest.set(idOf(entry), entry)
  }

  #heldBy(node: Node): Map<string, Entry> {
    let held = this.#held.get(node)
    if (held === undefined) {
      held = new Map()
      this.#held.set(node, held)
    }
    return held
  }

  #error(text: string): InvariantError {
    return new InvariantError(`${text}; seed ${this.#seed}`)
  }
}
