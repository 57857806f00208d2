// `store.kv.raft` entries: views of a namespace of the versioned store, about which all nodes agree. lua-libraries.md §2.6, cluster.md §8.2.

import type { Entry, RaftStoreEntry } from '../app/load.ts'
import { MoonmeshError } from '../base/errors.ts'
import { neverEnds, type ResourceKeeper } from '../resources.ts'
import type { PutOptions, StoreEntry } from './core/memory-store.ts'
import { keyOf } from './keys.ts'
import type { StoreBackend, StoreInfo, Stores, Transaction } from './stores.ts'
import { decodeValue, encodeValue } from './values.ts'
import type { WatchEvent } from './watches.ts'

/** The versioned store, as this node reaches it. Namespaces and keys are byte strings. Failures are MoonmeshErrors. */
interface VersionedStore {
  get(namespace: string, key: string, options: { stale: boolean }): Promise<ReadItem | undefined>
  list(
    args: { namespace: string; prefix: string; after: string; limit: number },
    options: { stale: boolean },
  ): Promise<{ readonly items: readonly ReadItem[]; readonly cursor: string; readonly hasMore: boolean }>
  /** Undefined where this node has no replica. */
  usageOf(namespace: string): { readonly keys: number; readonly bytes: number } | undefined
  write(command: WriteCommand): Promise<{ readonly version: number | undefined; readonly existed: number }>
  watch(
    namespace: string,
    prefix: string,
    options: { from?: number },
  ): Promise<{ next(): Promise<ReadBatch | undefined>; close(): void }>
}

interface ReadItem {
  readonly key: string
  readonly value: Uint8Array
  readonly version: number
  readonly ttlLeftMs: number | undefined
}

type ReadBatch =
  | { readonly kind: 'resync'; readonly version: number }
  | {
      readonly kind: 'changes'
      readonly changes: readonly {
        readonly kind: 'put' | 'delete' | 'expired'
        readonly key: string
        readonly value: Uint8Array | undefined
        readonly version: number
        readonly prevVersion: number | undefined
      }[]
    }

interface WritePut {
  readonly key: string
  readonly value: Uint8Array
  /** 0: no deadline. */
  readonly ttlMs: number
  /** The deadline that the key has stays. */
  readonly keepsExpiry: boolean
}

type WriteFence = { readonly lock: string; readonly token: number } | undefined

/** What is agreed upon. A version of 0 in a check: the key is absent. */
type WriteCommand = { readonly namespace: string; readonly fence: WriteFence } & (
  | {
      readonly kind: 'put'
      readonly put: WritePut
      readonly condition: 'none' | 'absent' | { readonly version: number }
    }
  | { readonly kind: 'delete'; readonly key: string; readonly ifVersion: number | undefined }
  | {
      readonly kind: 'txn'
      readonly checks: readonly { readonly key: string; readonly version: number }[]
      readonly puts: readonly WritePut[]
      readonly deletes: readonly string[]
    }
)

interface RaftStoreHooks {
  /** The same each time; undefined: this node is in no cluster. */
  open(): VersionedStore | undefined
  readonly valueBytesMax: number
  /** Whether the group keeps it on disks. */
  readonly durable: boolean
  wallMs(): number
}

export class RaftStoreKeeper implements ResourceKeeper {
  readonly kinds = ['store.kv.raft'] as const
  readonly #stores: Stores
  readonly #hooks: RaftStoreHooks

  constructor(stores: Stores, hooks: RaftStoreHooks) {
    this.#stores = stores
    this.#hooks = hooks
  }

  start(entry: Entry): ReturnType<typeof neverEnds> {
    const { id, storeNamespace } = entry as RaftStoreEntry
    const engine = this.#hooks.open()
    if (engine === undefined) {
      const text = 'unsupported entry kind: store.kv.raft needs a cluster; set cluster.enabled to true'
      throw new MoonmeshError('Invalid', text, { retryable: false })
    }
    this.#stores.add(id, new RaftBackend(engine, storeNamespace, this.#hooks))
    return neverEnds()
  }

  async stop(entryId: string): Promise<'graceful'> {
    this.#stores.remove(entryId)
    return 'graceful'
  }
}

class RaftBackend implements StoreBackend {
  readonly info: StoreInfo
  readonly #engine: VersionedStore
  readonly #namespace: string
  readonly #hooks: RaftStoreHooks

  readonly usage = (): ReturnType<VersionedStore['usageOf']> => this.#engine.usageOf(this.#namespace)

  constructor(engine: VersionedStore, namespace: string, hooks: RaftStoreHooks) {
    this.#engine = engine
    this.#namespace = namespace
    this.#hooks = hooks
    this.info = {
      backend: 'kv.raft',
      consistency: 'linearizable',
      durable: hooks.durable,
      versioned: true,
      conditionalPut: true,
      fencedPut: true,
    }
  }

  async get(key: string, { stale = false }: { stale?: boolean }): Promise<StoreEntry | undefined> {
    const item = await this.#engine.get(this.#namespace, keyOf(key), { stale })
    return item === undefined ? undefined : this.#entryOf(item)
  }

  async put(given: string, value: StoreEntry['value'], options: PutOptions): Promise<StoreEntry> {
    const { ttlMs = 0, onlyIfAbsent, ifVersion, fence } = options
    // The lease of a key belongs to who wrote it: comparing and setting keeps it.
    if (ifVersion !== undefined && ttlMs > 0)
      throw invalid('invalid store options: if_version keeps the ttl of the key')
    const put = { ...this.#putOf(given, value, ttlMs), keepsExpiry: ifVersion !== undefined }
    const condition =
      onlyIfAbsent === true ? 'absent' : ifVersion === undefined ? 'none' : { version: versionOf(ifVersion) }
    const { version } = await this.#engine.write({
      kind: 'put',
      namespace: this.#namespace,
      put,
      condition,
      fence,
    })
    return { key: put.key, value, version: String(version) }
  }

  async delete(key: string, { ifVersion, fence }: Pick<PutOptions, 'ifVersion' | 'fence'>): Promise<boolean> {
    const { existed } = await this.#engine.write({
      kind: 'delete',
      namespace: this.#namespace,
      key: keyOf(key),
      ifVersion: ifVersion === undefined ? undefined : versionOf(ifVersion),
      fence,
    })
    return existed > 0
  }

  async list(options: { prefix: string; after: string; limit: number; stale?: boolean }) {
    const { stale = false, ...range } = options
    const page = await this.#engine.list({ namespace: this.#namespace, ...range }, { stale })
    return { ...page, items: page.items.map((item) => this.#entryOf(item)) }
  }

  async txn({ checks, puts, deletes, fence }: Transaction): Promise<string | undefined> {
    const { version } = await this.#engine.write({
      kind: 'txn',
      namespace: this.#namespace,
      checks: checks.map(({ key, version: text }) => ({ key: keyOf(key), version: versionOf(text) })),
      puts: puts.map(({ key, value, ttlMs }) => this.#putOf(key, value, ttlMs)),
      deletes: deletes.map(keyOf),
      fence,
    })
    return version === undefined ? undefined : String(version)
  }

  async watch(prefix: string, { from }: { from?: string }) {
    const options = from === undefined ? {} : { from: versionOf(from) }
    const watch = await this.#engine.watch(this.#namespace, prefix, options)
    return {
      next: async () => {
        const batch = await watch.next()
        return batch === undefined ? undefined : eventsOf(batch)
      },
      close: () => watch.close(),
    }
  }

  #putOf(given: string, value: StoreEntry['value'], ttlMs: number): WritePut {
    // The group says so, too, but what is no safe integer does not get there.
    if (!Number.isSafeInteger(Math.ceil(ttlMs))) throw invalid('ttl must be between 0 and 10 years')
    return { key: keyOf(given), value: encodeValue(value, this.#hooks.valueBytesMax), ttlMs, keepsExpiry: false }
  }

  #entryOf({ key, value, version, ttlLeftMs }: ReadItem): StoreEntry {
    const entry = { key, value: decodeValue(value), version: String(version) }
    return ttlLeftMs === undefined ? entry : { ...entry, expiresAtMs: this.#hooks.wallMs() + ttlLeftMs }
  }
}

function eventsOf(batch: ReadBatch): WatchEvent[] {
  if (batch.kind === 'resync') return [{ type: 'resync', version: String(batch.version) }]
  return batch.changes.map(({ kind, key, value, version, prevVersion }) => ({
    type: kind,
    key,
    version: String(version),
    ...(value === undefined ? {} : { value: decodeValue(value) }),
    ...(prevVersion === undefined ? {} : { prevVersion: String(prevVersion) }),
  }))
}

/** A version that no write ever had matches nothing, as any other that is not the key's. */
function versionOf(text: string): number {
  const version = Number(text)
  return Number.isSafeInteger(version) ? version : Number.MAX_SAFE_INTEGER
}

function invalid(text: string): MoonmeshError {
  return new MoonmeshError('Invalid', text, { retryable: false })
}
