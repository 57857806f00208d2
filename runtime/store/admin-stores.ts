// Stores as the admin interface sees them: plain data instead of values. operations.md §2, §3.

import type {
  AdminStores,
  StoreEvent,
  StoreFollow,
  StoreItem,
  StorePage,
  StorePutOptions,
  StoreRow,
} from '../admin/shapes.ts'
import { toBytes, toText } from '../base/bytes.ts'
import { MoonmeshError } from '../base/errors.ts'
import { fromPlain, toPlain } from '../base/plain.ts'
import type { StoreEntry } from './core/memory-store.ts'
import type { Stores } from './stores.ts'
import type { WatchEvent } from './watches.ts'

export class PlainStores implements AdminStores {
  readonly #stores: Stores

  constructor(stores: Stores) {
    this.#stores = stores
  }

  all(): StoreRow[] {
    const rows = [...this.#stores.running].map(([id, { info, usage }]): StoreRow => {
      const { backend, consistency, durable } = info
      return { id, backend, consistency, durable, keys: usage?.()?.keys ?? null }
    })
    return rows.sort((a, b) => (a.id < b.id ? -1 : 1))
  }

  async get(store: string, key: string): Promise<StoreItem | undefined> {
    const entry = await this.#stores.get(this.#known(store), toBytes(key))
    return entry === undefined ? undefined : itemOf(entry)
  }

  async put(store: string, key: string, value: unknown, options: StorePutOptions): Promise<StoreItem> {
    const given = fromPlain(value)
    if (given === undefined) throw new MoonmeshError('Invalid', 'value is required', { retryable: false })
    return itemOf(await this.#stores.put(this.#known(store), toBytes(key), given, options))
  }

  delete(store: string, key: string, options: { ifVersion?: string }): Promise<boolean> {
    return this.#stores.delete(this.#known(store), toBytes(key), options)
  }

  async list(store: string, options: { prefix: string; after: string; limit: number }): Promise<StorePage> {
    const { prefix, after, limit } = options
    const given = { prefix: toBytes(prefix), after: toBytes(after), limit }
    const { items, cursor, hasMore } = await this.#stores.list(this.#known(store), given)
    return { items: items.map(itemOf), cursor: toText(cursor), has_more: hasMore }
  }

  async watch(store: string, prefix: string, options: { from?: string }): Promise<StoreFollow> {
    const watch = await this.#stores.watch(this.#known(store), toBytes(prefix), options)
    return {
      next: async () => (await watch.next())?.map(eventOf),
      close: () => watch.close(),
    }
  }

  #known(id: string): string {
    if (this.#stores.running.has(id)) return id
    // While the node starts or stops it is the asker who is early or late, not the store that is wrong.
    if (this.#stores.isDeclared(id)) {
      throw new MoonmeshError('Unavailable', `store ${id} does not run on this node at the moment`, { retryable: true })
    }
    const known = [...this.#stores.running.keys()].sort()
    const there = known.length === 0 ? 'no store runs on this node' : `there are ${known.join(', ')}`
    throw new MoonmeshError('NotFound', `no store ${id}: ${there}`, { retryable: false })
  }
}

function eventOf(event: WatchEvent): StoreEvent {
  if (event.type === 'resync') return event
  const { type, key, value, version, prevVersion } = event
  return {
    type,
    key: toText(key),
    ...(value === undefined ? {} : { value: toPlain(value) }),
    version,
    ...(prevVersion === undefined ? {} : { prev_version: prevVersion }),
  }
}

function itemOf({ key, value, version, expiresAtMs }: StoreEntry): StoreItem {
  return {
    key: toText(key),
    value: toPlain(value),
    version,
    ...(expiresAtMs === undefined ? {} : { expires_at: new Date(expiresAtMs).toISOString() }),
  }
}
