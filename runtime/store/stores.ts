// The key-value stores of a node, whatever is behind them. lua-libraries.md §2.

import type { Entry, MemoryStoreEntry } from '../app/load.ts'
import { toBytes, toText } from '../base/bytes.ts'
import type { Env } from '../base/env.ts'
import { MoonmeshError } from '../base/errors.ts'
import { getOrAdd } from '../base/maps.ts'
import { Float, list, record, TableValue, type Value } from '../base/value.ts'
import type { NodeService } from '../node-services.ts'
import { neverEnds, type ResourceKeeper } from '../resources.ts'
import type { Timers } from '../supervisor/supervisor.ts'
import { type FeedProcess, Watches } from '../watches.ts'
import { MemoryStore, type Page, type PutOptions, type StoreEntry } from './core/memory-store.ts'
import { type BackendWatch, eventValue, type WatchEvent } from './watches.ts'

type DeleteOptions = Pick<PutOptions, 'ifVersion' | 'fence'>

export interface StoreInfo {
  readonly backend: 'memory' | 'sql' | 'kv.raft' | 'kv.crdt'
  readonly consistency: 'linearizable' | 'eventual' | 'local'
  readonly durable: boolean
  readonly versioned: boolean
  readonly conditionalPut: boolean
  /** Whether a write can rest on the grant of a lock. */
  readonly fencedPut?: boolean
}

/** What stands behind a store. Keys and texts are byte strings. Failures are MoonmeshErrors. */
export interface StoreBackend {
  readonly info: StoreInfo
  get(key: string, options: ReadOptions): StoreEntry | undefined | Promise<StoreEntry | undefined>
  put(key: string, value: Value, options: PutOptions): StoreEntry | Promise<StoreEntry>
  delete(key: string, options: DeleteOptions): boolean | Promise<boolean>
  list(options: ListOptions): Page | Promise<Page>
  /** All or nothing. @returns the version of its writes; undefined when it wrote nothing; absent: the store has none */
  txn?(transaction: Transaction): Promise<string | undefined>
  /** Changes from now on, or after a version; absent: the store tells nobody. */
  watch?(prefix: string, options: { from?: string }): Promise<BackendWatch>
  /** How many keys it holds, and their bytes with those of the values; absent: it cannot tell. */
  usage?(): { readonly keys: number; readonly bytes: number } | undefined
}

interface ReadOptions {
  /** The answer may be older than the latest write. */
  readonly stale?: boolean
}

interface ListOptions extends ReadOptions {
  readonly prefix: string
  readonly after: string
  readonly limit: number
}

export interface Transaction {
  /** Version '0': there is no such key. */
  readonly checks: readonly { readonly key: string; readonly version: string }[]
  readonly puts: readonly { readonly key: string; readonly value: Value; readonly ttlMs: number }[]
  readonly deletes: readonly string[]
  readonly fence: PutOptions['fence']
}

/** What happened to an operation: `ok`, or the kind of its failure. */
type OperationCounts = ReadonlyMap<string, ReadonlyMap<string, number>>

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
  /** By store, then by operation and outcome. */
  readonly #counts = new Map<string, Map<string, Map<string, number>>>()
  readonly #entryKind: (id: string) => string | undefined

  readonly watches: Watches<WatchEvent>

  /**
   * @param entryKind the kind of an entry of the app; undefined when there is none
   * @param feed a message of the runtime that counts for the bound of the process's mailbox
   */
  constructor(entryKind: (id: string) => string | undefined, feed: FeedProcess = () => {}) {
    this.#entryKind = entryKind
    this.watches = new Watches(feed, 'store', eventValue)
  }

  /** Whether the app has such a store, running or not. */
  isDeclared(id: string): boolean {
    return this.#entryKind(id)?.startsWith('store.') === true
  }

  add(id: string, backend: StoreBackend): void {
    this.#running.set(id, backend)
  }

  remove(id: string): void {
    this.#running.delete(id)
    this.watches.closeSource(id)
  }

  readonly methods: NodeService['methods'] = {
    open: ([id]) => {
      const kind = this.#entryKind(idOf(id))
      if (kind !== undefined && !kind.startsWith('store.')) throw refusal('Invalid', 'resource is not a store')
      if (!this.#running.has(idOf(id))) throw refusal('NotFound', 'resource not found')
      return undefined
    },
    get: async ([id, key, stale]) => {
      const entry = await this.get(idOf(id), key as string, { stale: stale === true })
      return entry === undefined ? undefined : entryValue(entry)
    },
    put: async ([id, key, value, options]) =>
      entryValue(await this.put(idOf(id), key as string, value, putOptions(options))),
    delete: ([id, key, options]) => this.delete(idOf(id), key as string, putOptions(options)),
    list: async ([id, prefix, after, limit, stale]) => {
      const range = { prefix: prefix as string, after: after as string, limit: limit as number }
      const options = { ...range, stale: stale === true }
      const { items, cursor, hasMore } = await this.list(idOf(id), options)
      return record({ items: list(items.map(entryValue)), cursor, has_more: hasMore })
    },
    /** id, checks `{{key, version}…}`, puts `{{key, value, ttl}…}`, deletes `{key…}`, options with `fence` and `lock` */
    txn: async ([id, checks, puts, deletes, options]) =>
      record({ version: await this.txn(idOf(id), transactionOf([checks, puts, deletes, options])) }),
    /** id, prefix, version to begin behind or nil, topic of the feed */
    watch: async ([id, prefix, from, topic], { pid, signal }) => {
      this.watches.assertRoom(pid)
      const options = from === undefined ? {} : { from: from as string }
      const watch = await this.watch(idOf(id), prefix as string, options)
      // The process did not wait for it.
      if (signal.aborted) watch.close()
      else this.watches.add(pid, topic as string, idOf(id), watch)
      return undefined
    },
    unwatch: ([topic], { pid }) => {
      this.watches.close(pid, topic as string)
      return undefined
    },
    consumed: ([topic, count], { pid }) => {
      this.watches.consumed(pid, topic as string, count as number)
      return undefined
    },
    info: ([id]) => {
      const { backend, consistency, durable, versioned, conditionalPut } = this.of(idOf(id)).info
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

  // ---- operations, counted. All throw MoonmeshErrors.

  get(id: string, key: string, options: ReadOptions = {}): Promise<StoreEntry | undefined> {
    return this.#counted(id, 'get', (backend) => backend.get(key, options))
  }

  put(id: string, key: string, value: Value, options: PutOptions): Promise<StoreEntry> {
    return this.#counted(id, 'put', (backend) => backend.put(key, value, supported(backend.info, options)))
  }

  delete(id: string, key: string, options: DeleteOptions = {}): Promise<boolean> {
    return this.#counted(id, 'delete', (backend) => backend.delete(key, supported(backend.info, options)))
  }

  list(id: string, options: ListOptions): Promise<Page> {
    return this.#counted(id, 'list', (backend) => backend.list(options))
  }

  txn(id: string, transaction: Transaction): Promise<string | undefined> {
    return this.#counted(id, 'txn', (backend) => backend.txn?.(transaction) ?? unsupported())
  }

  watch(id: string, prefix: string, options: { from?: string }): Promise<BackendWatch> {
    return this.#counted(id, 'watch', (backend) => backend.watch?.(prefix, options) ?? unsupported())
  }

  clientEnded(pid: string): void {
    this.watches.closeOf(pid)
  }

  async #counted<T>(id: string, operation: string, run: (backend: StoreBackend) => T | Promise<T>): Promise<T> {
    try {
      const result = await run(this.of(id))
      this.#count(id, operation, 'ok')
      return result
    } catch (error) {
      this.#count(id, operation, error instanceof MoonmeshError ? error.kind : 'Internal')
      throw error
    }
  }

  #count(storeId: string, operation: string, outcome: string): void {
    // What does not run is not counted: a script may ask for any name.
    if (!this.#running.has(storeId)) return
    const operations = getOrAdd(this.#counts, storeId, () => new Map<string, Map<string, number>>())
    const outcomes = getOrAdd(operations, operation, () => new Map<string, number>())
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
  }

  /** Operations so far by store, operation and outcome. */
  get counts(): ReadonlyMap<string, OperationCounts> {
    return this.#counts
  }

  /** Those that run, by id. */
  get running(): ReadonlyMap<string, StoreBackend> {
    return this.#running
  }

  /** @throws MoonmeshError `Unavailable` when it does not run */
  of(id: string): StoreBackend {
    const backend = this.#running.get(id)
    if (backend === undefined) throw new MoonmeshError('Unavailable', 'store is closed', { retryable: false })
    return backend
  }
}

/** @throws MoonmeshError `Invalid` for what the store cannot do: a condition that is passed over would be a wrong answer */
function supported<T extends PutOptions | DeleteOptions>({ conditionalPut, fencedPut }: StoreInfo, options: T): T {
  const isConditional = ('onlyIfAbsent' in options && options.onlyIfAbsent === true) || options.ifVersion !== undefined
  if ((isConditional && !conditionalPut) || (options.fence !== undefined && fencedPut !== true)) {
    return unsupported()
  }
  return options
}

function unsupported(): never {
  throw refusal('Invalid', 'operation not supported by this store')
}

function transactionOf([checks, puts, deletes, options]: readonly Value[]): Transaction {
  const rows = (given: Value): readonly (readonly Value[])[] =>
    (given as TableValue).array.map((row) => (row as TableValue).array)
  return {
    checks: rows(checks).map(([key, version]) => ({ key: key as string, version: version as string })),
    puts: rows(puts).map(([key, value, ttl]) => ({ key: key as string, value, ttlMs: secondsOf(ttl) * 1000 })),
    deletes: (deletes as TableValue).array as string[],
    fence: putOptions(options).fence,
  }
}

const secondsOf = (ttl: Value): number => (ttl instanceof Float ? ttl.value : typeof ttl === 'number' ? ttl : 0)

const idOf = (id: Value): string => toText(id as string)

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
  const lock = options.get('lock')
  const token = options.get('fence')
  return {
    ttlMs: secondsOf(ttl) * 1000,
    onlyIfAbsent: options.get('only_if_absent') === true,
    ...(typeof ifVersion === 'string' ? { ifVersion } : {}),
    ...(typeof lock === 'string' && typeof token === 'number' ? { fence: { lock, token } } : {}),
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
      delete: (key, { ifVersion }) => store.delete(key, ifVersion),
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
