// The key-value stores of a node, whatever is behind them. lua-libraries.md §2.

import type { Entry, MemoryStoreEntry } from '../app/load.ts'
import { toBytes, toText } from '../base/bytes.ts'
import type { Env } from '../base/env.ts'
import { MoonmeshError } from '../base/errors.ts'
import { Float, list, record, TableValue, type Value } from '../base/value.ts'
import type { NodeService } from '../node-services.ts'
import { neverEnds, type ResourceKeeper } from '../resources.ts'
import type { Timers } from '../supervisor/supervisor.ts'
import { MemoryStore, type Page, type PutOptions, type StoreEntry } from './core/memory-store.ts'

export interface StoreInfo {
  readonly backend: 'memory' | 'sql' | 'kv.raft' | 'kv.crdt'
  readonly consistency: 'linearizable' | 'eventual' | 'local'
  readonly durable: boolean
  readonly versioned: boolean
  readonly conditionalPut: boolean
}

/** What stands behind a store. Keys and texts are byte strings. Failures are MoonmeshErrors. */
export interface StoreBackend {
  readonly info: StoreInfo
  get(key: string): StoreEntry | undefined | Promise<StoreEntry | undefined>
  put(key: string, value: Value, options: PutOptions): StoreEntry | Promise<StoreEntry>
  delete(key: string): boolean | Promise<boolean>
  list(options: { prefix: string; after: string; limit: number }): Page | Promise<Page>
}

const MEMORY: StoreInfo = {
  backend: 'memory',
  consistency: 'local',
  durable: false,
  versioned: true,
  conditionalPut: true,
}

/** Stores by entry id: a keeper puts in what it runs. */
export class Stores implements NodeService {
  readonly #running = new Map<string, StoreBackend>()
  readonly #entryKind: (id: string) => string | undefined

  /** @param entryKind the kind of an entry of the app; undefined when there is none */
  constructor(entryKind: (id: string) => string | undefined) {
    this.#entryKind = entryKind
  }

  add(id: string, backend: StoreBackend): void {
    this.#running.set(id, backend)
  }

  remove(id: string): void {
    this.#running.delete(id)
  }

  readonly methods: NodeService['methods'] = {
    open: ([id]) => {
      const kind = this.#entryKind(toText(id as string))
      if (kind !== undefined && !kind.startsWith('store.')) throw refusal('Invalid', 'resource is not a store')
      if (!this.#running.has(toText(id as string))) throw refusal('NotFound', 'resource not found')
      return undefined
    },
    get: async ([id, key]) => {
      const entry = await this.#of(id).get(key as string)
      return entry === undefined ? undefined : entryValue(entry)
    },
    put: async ([id, key, value, options]) =>
      entryValue(await this.#of(id).put(key as string, value, putOptions(options))),
    delete: async ([id, key]) => this.#of(id).delete(key as string),
    list: async ([id, prefix, after, limit]) => {
      const options = { prefix: prefix as string, after: after as string, limit: limit as number }
      const { items, cursor, hasMore } = await this.#of(id).list(options)
      return record({ items: list(items.map(entryValue)), cursor, has_more: hasMore })
    },
    info: ([id]) => {
      const { backend, consistency, durable, versioned, conditionalPut } = this.#of(id).info
      return record({
        id: id as string,
        backend: toBytes(backend),
        consistency: toBytes(consistency),
        durable,
        list: true,
        versioned,
        conditional_put: conditionalPut,
        ttl: true,
      })
    },
  }

  #of(id: Value): StoreBackend {
    const backend = this.#running.get(toText(id as string))
    if (backend === undefined) throw new MoonmeshError('Unavailable', 'store is closed', { retryable: false })
    return backend
  }
}

function refusal(kind: 'Invalid' | 'NotFound', text: string): MoonmeshError {
  return new MoonmeshError(kind, text, { retryable: false })
}

function entryValue({ key, value, version }: StoreEntry): TableValue {
  // A record leaves nil out; a stored value never is nil.
  return record({ key, value, version })
}

function putOptions(options: Value): PutOptions {
  if (!(options instanceof TableValue)) return {}
  const ttl = options.get('ttl')
  const ifVersion = options.get('if_version')
  return {
    ttlMs: (ttl instanceof Float ? ttl.value : typeof ttl === 'number' ? ttl : 0) * 1000,
    onlyIfAbsent: options.get('only_if_absent') === true,
    ...(typeof ifVersion === 'string' ? { ifVersion } : {}),
  }
}

/** `store.memory` entries. What one holds is lost when it stops. */
export class MemoryStoreKeeper implements ResourceKeeper {
  readonly kinds = ['store.memory'] as const
  readonly #stores: Stores
  readonly #env: Env & Timers
  readonly #sweeps = new Map<string, () => void>()

  constructor(stores: Stores, env: Env & Timers) {
    this.#stores = stores
    this.#env = env
  }

  start(entry: Entry): ReturnType<typeof neverEnds> {
    const { id, sizeMax, cleanupIntervalMs } = entry as MemoryStoreEntry
    const store = new MemoryStore(sizeMax, this.#env)
    this.#stores.add(id, {
      info: MEMORY,
      get: (key) => store.get(key),
      put: (key, value, options) => store.put(key, value, options),
      delete: (key) => store.delete(key),
      list: (options) => store.list(options),
    })
    const sweepLater = (): void => {
      const cancel = this.#env.setTimer(cleanupIntervalMs, () => {
        store.sweep()
        sweepLater()
      })
      this.#sweeps.set(id, cancel)
    }
    if (cleanupIntervalMs > 0) sweepLater()
    return neverEnds()
  }

  async stop(entryId: string): Promise<'graceful'> {
    this.#sweeps.get(entryId)?.()
    this.#sweeps.delete(entryId)
    this.#stores.remove(entryId)
    return 'graceful'
  }
}
