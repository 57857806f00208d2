// `store.kv.crdt` entries: views of a namespace of the convergent store, which all nodes share. lua-libraries.md §2.7, cluster.md §8.5.

import type { CrdtStoreEntry, Entry } from '../app/load.ts'
import { neverEnds, type ResourceKeeper } from '../resources.ts'
import type { StoreEntry } from './core/memory-store.ts'
import { keyOf } from './keys.ts'
import type { StoreBackend, StoreInfo, Stores } from './stores.ts'
import { decodeValue, encodeValue } from './values.ts'

/** The convergent store of this node. Namespaces and keys are byte strings. Failures are MoonmeshErrors. */
interface ConvergentStore {
  readonly valueBytesMax: number
  /** @returns whether it is kept on disk */
  declare(namespace: string, options: { durable: boolean }): Promise<boolean>
  save(namespace: string): Promise<void>
  /** @param ttlMs 0: no deadline */
  set(namespace: string, key: string, value: Uint8Array, ttlMs: number): ConvergentItem
  delete(namespace: string, key: string): boolean
  /** Resolves when the end of the program would not lose what was written so far. */
  written(namespace: string): Promise<void>
  get(namespace: string, key: string): ConvergentItem | undefined
  list(
    namespace: string,
    options: { prefix: string; after: string; limit: number },
  ): { readonly items: readonly ConvergentItem[]; readonly cursor: string; readonly hasMore: boolean }
  usageOf(namespace: string): { readonly keys: number; readonly bytes: number }
}

interface ConvergentItem {
  readonly key: string
  readonly value: Uint8Array
  readonly version: string
  /** Milliseconds since 1970; 0: never. */
  readonly expiryMs: number
}

export class CrdtStoreKeeper implements ResourceKeeper {
  readonly kinds = ['store.kv.crdt'] as const
  readonly #stores: Stores
  readonly #open: () => Promise<ConvergentStore>
  readonly #started = new Map<string, { engine: ConvergentStore; namespace: string }>()

  /** @param open the same store each time */
  constructor(stores: Stores, open: () => Promise<ConvergentStore>) {
    this.#stores = stores
    this.#open = open
  }

  async start(entry: Entry): Promise<ReturnType<typeof neverEnds>> {
    const { id, storeNamespace: namespace, durable } = entry as CrdtStoreEntry
    const engine = await this.#open()
    const isDurable = await engine.declare(namespace, { durable })
    this.#started.set(id, { engine, namespace })
    this.#stores.add(id, backendOf(engine, namespace, isDurable))
    return neverEnds()
  }

  async stop(entryId: string): Promise<'graceful'> {
    const started = this.#started.get(entryId)
    this.#started.delete(entryId)
    this.#stores.remove(entryId)
    await started?.engine.save(started.namespace)
    return 'graceful'
  }
}

function backendOf(engine: ConvergentStore, namespace: string, durable: boolean): StoreBackend {
  const info: StoreInfo = {
    backend: 'kv.crdt',
    consistency: 'eventual',
    durable,
    versioned: true,
    conditionalPut: false,
  }
  return {
    info,
    get: (key) => {
      const item = engine.get(namespace, keyOf(key))
      return item === undefined ? undefined : entryOf(item)
    },
    put: async (key, value, { ttlMs = 0 }) => {
      const bytes = encodeValue(value, engine.valueBytesMax)
      const item = engine.set(namespace, keyOf(key), bytes, ttlMs)
      await engine.written(namespace)
      return { ...entryOf(item), value }
    },
    delete: async (key) => {
      const wasThere = engine.delete(namespace, keyOf(key))
      await engine.written(namespace)
      return wasThere
    },
    list: (options) => {
      const { items, cursor, hasMore } = engine.list(namespace, options)
      return { items: items.map(entryOf), cursor, hasMore }
    },
    usage: () => engine.usageOf(namespace),
  }
}

function entryOf({ key, value, version, expiryMs }: ConvergentItem): StoreEntry {
  return { key, value: decodeValue(value), version, ...(expiryMs === 0 ? {} : { expiresAtMs: expiryMs }) }
}
