// Entries that the node itself brings to life, beside hosts and the processes of services: stores, queues, volumes, policies … Each kind has
// one keeper; node.ts hands every keeper its entries, and starts and stops what has a lifecycle.

import type { Entry, EntryKind } from './app/load.ts'
import type { Outcome } from './services.ts'

export interface ResourceKeeper<K extends EntryKind = EntryKind> {
  readonly kinds: readonly K[]
  /**
   * All entries of these kinds, at the start and after every change of the registry; those with a lifecycle run only between `start` and
   * `stop`. @throws MoonmeshError when they cannot be; the change is then taken back
   */
  configure?(entries: readonly Entry[]): void
  /** Kinds with a lifecycle: resolves when it runs; `ended` when it ends by itself, if it can. */
  start?(entry: Entry): Promise<{ ended: Promise<Outcome> }> | { ended: Promise<Outcome> }
  stop?(entryId: string, options: { timeoutMs: number; reason: string }): Promise<'graceful' | 'forced'>
}

/** What `start` answers for something that never ends by itself. */
export const neverEnds = (): { ended: Promise<Outcome> } => ({ ended: new Promise<Outcome>(() => {}) })

export class Resources {
  readonly #keepers = new Map<EntryKind, ResourceKeeper>()
  /** Which keeper a started entry is with. */
  readonly #started = new Map<string, ResourceKeeper>()

  add(keeper: ResourceKeeper): void {
    for (const kind of keeper.kinds) this.#keepers.set(kind, keeper)
  }

  /** @throws MoonmeshError from a keeper that refuses */
  configure(entries: Iterable<Entry>): void {
    const byKeeper = new Map<ResourceKeeper, Entry[]>([...new Set(this.#keepers.values())].map((each) => [each, []]))
    for (const entry of entries) byKeeper.get(this.#keepers.get(entry.kind) as ResourceKeeper)?.push(entry)
    for (const [keeper, own] of byKeeper) keeper.configure?.(own)
  }

  /** Whether an entry of this kind is started and stopped by a keeper. */
  hasLifecycle(kind: EntryKind): boolean {
    return this.#keepers.get(kind)?.start !== undefined
  }

  async start(entry: Entry): Promise<{ ended: Promise<Outcome> }> {
    const keeper = this.#keepers.get(entry.kind)
    if (keeper?.start === undefined) return neverEnds()
    this.#started.set(entry.id, keeper)
    return keeper.start(entry)
  }

  async stop(entryId: string, options: { timeoutMs: number; reason: string }): Promise<'graceful' | 'forced'> {
    const keeper = this.#started.get(entryId)
    this.#started.delete(entryId)
    return (await keeper?.stop?.(entryId, options)) ?? 'graceful'
  }
}
