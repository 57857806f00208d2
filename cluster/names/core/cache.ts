// What a node knows of the names in the log without asking: one line a name, never older than what it knew before. A server fills it as
// entries are applied, a client by gossip and by the feed of a server. cluster.md §6.6. Names and PIDs are byte strings.

import type { GlobalScope } from '../../state/core/outcomes.ts'

/** A name was bound, or with `pid` undefined given up, at this revision of the log. */
export interface BindingChange {
  readonly name: string
  readonly pid: string | undefined
  readonly scope: GlobalScope
  readonly revision: number
}

export type CachedBinding = BindingChange & { readonly pid: string }

/** How far the log was known when something was told. */
export interface AsOf {
  readonly index: number
  readonly revision: number
}

/** Revisions of names that are free, kept until the feed has passed them. */
const FREED_MAX = 100_000
/** Names that a member said are free are not asked for again so soon. */
export const MISS_MS = 1000
const MISSES_MAX = 4096
/** A feed that is silent for longer says nothing of the present. */
export const STALE_MS = 30_000

export class BindingCache {
  readonly #bindings = new Map<string, CachedBinding>()
  /** Names that were given up, in order of revision. */
  readonly #freed = new Map<string, number>()
  readonly #misses = new Map<string, number>()
  #asOf: AsOf = { index: 0, revision: 0 }
  #heardAtMs = Number.NEGATIVE_INFINITY

  get asOf(): AsOf {
    return this.#asOf
  }

  get count(): number {
    return this.#bindings.size
  }

  countOf(scope: GlobalScope): number {
    let count = 0
    for (const binding of this.#bindings.values()) if (binding.scope === scope) count++
    return count
  }

  lookup(name: string): CachedBinding | undefined {
    return this.#bindings.get(name)
  }

  /** Sorted by name. */
  bindings(prefix = ''): CachedBinding[] {
    const found = [...this.#bindings.values()].filter(({ name }) => name.startsWith(prefix))
    return found.sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  /** The latest revision that is known of the name. */
  revisionOf(name: string): number {
    return this.#bindings.get(name)?.revision ?? this.#freed.get(name) ?? 0
  }

  /** Word that the feed has passed is old: of what is not known here any more it was said that it ended. @returns whether it was news */
  apply(change: BindingChange): boolean {
    return change.revision > this.#asOf.revision && this.#take(change)
  }

  #take(change: BindingChange): boolean {
    const { name, pid, revision } = change
    if (revision <= this.revisionOf(name)) return false
    this.#misses.delete(name)
    if (pid === undefined) this.#free(name, revision)
    else {
      this.#freed.delete(name)
      this.#bindings.set(name, change as CachedBinding)
    }
    return true
  }

  /** Whatever was known of the name up to this revision counts no more. @returns whether there was a binding */
  forget(name: string, revision: number): boolean {
    const known = this.#bindings.get(name)
    if (revision <= this.revisionOf(name)) return false
    this.#free(name, revision)
    return known !== undefined
  }

  /** Everything that was bound at that moment. @returns names of which something else is known now */
  load(all: readonly CachedBinding[], asOf: AsOf, nowMs: number): string[] {
    const changed: string[] = []
    const names = new Set<string>()
    const isOlder = asOf.index < this.#asOf.index
    for (const binding of all) {
      names.add(binding.name)
      if (isOlder ? this.apply(binding) : this.#take(binding)) changed.push(binding.name)
    }
    for (const { name, revision } of [...this.#bindings.values()]) {
      // What is newer came by gossip.
      if (names.has(name) || revision > asOf.revision) continue
      this.#bindings.delete(name)
      changed.push(name)
    }
    this.heard(asOf, nowMs)
    return changed.sort()
  }

  /** The feed has told everything up to here. */
  heard(asOf: AsOf, nowMs: number): void {
    this.#heardAtMs = nowMs
    if (asOf.index < this.#asOf.index) return
    this.#asOf = asOf
    for (const [name, revision] of this.#freed) {
      if (revision > asOf.revision) break
      this.#freed.delete(name)
    }
  }

  /** Since the feed spoke last; Infinity: never. */
  ageMs(nowMs: number): number {
    return nowMs - this.#heardAtMs
  }

  isStale(nowMs: number): boolean {
    return this.ageMs(nowMs) > STALE_MS
  }

  /** A member said that nobody has this name. */
  missed(name: string, nowMs: number): void {
    this.#misses.delete(name)
    if (this.#misses.size >= MISSES_MAX)
      for (const first of this.#misses.keys()) return void this.#replaceMiss(first, name, nowMs)
    this.#misses.set(name, nowMs + MISS_MS)
  }

  /** Whether that was said so lately that it need not be asked again. */
  isMissed(name: string, nowMs: number): boolean {
    return (this.#misses.get(name) ?? Number.NEGATIVE_INFINITY) > nowMs
  }

  /** Another group of servers: nothing of the old one counts. @returns names that were bound */
  clear(): string[] {
    const names = [...this.#bindings.keys()].sort()
    this.#bindings.clear()
    this.#freed.clear()
    this.#misses.clear()
    this.#asOf = { index: 0, revision: 0 }
    this.#heardAtMs = Number.NEGATIVE_INFINITY
    return names
  }

  #replaceMiss(first: string, name: string, nowMs: number): void {
    this.#misses.delete(first)
    this.#misses.set(name, nowMs + MISS_MS)
  }

  #free(name: string, revision: number): void {
    this.#bindings.delete(name)
    this.#freed.delete(name)
    // The feed is behind, or there is none: what was freed first is the least likely to be told of again.
    if (this.#freed.size >= FREED_MAX)
      for (const first of this.#freed.keys()) {
        this.#freed.delete(first)
        break
      }
    this.#freed.set(name, revision)
  }
}
