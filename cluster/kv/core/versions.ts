// The versioned store as a part of the replicated state machine: the same commands in the same order make the same state, versions and
// answers on every node. Time is the clock of the log. What is kept here is what decisions need, the key and a few numbers; values go
// out as effects and are read back by (namespace, key, version), so that they may fill a disk. cluster.md §5.12, §8.2 to §8.4.

import { assert, unreachable } from '../../../runtime/base/assert.ts'
import { getOrAdd } from '../../../runtime/base/maps.ts'
import { Changes, type KvChange } from './changes.ts'
import {
  type Fence,
  KV_KEY_BYTES_MAX,
  KV_NAMESPACE_BYTES_MAX,
  KV_TTL_MS_MAX,
  type KvCommand,
  type KvResult,
  type Put,
  TXN_OPS_MAX,
  VALUE_BYTES_MAX,
} from './commands.ts'
import { SortedMap, type SortedView } from './sorted-map.ts'

/** What is known of a key in memory. Immutable. */
export interface Stored {
  /** Revision of the last write, and of the first since the key was absent. */
  readonly version: number
  readonly created: number
  /** By the clock of the log; 0 is never. */
  readonly expiryMs: number
  readonly valueBytes: number
}

/** What the entry that is applied brings along. */
export interface KvContext {
  readonly clockMs: number
  /** Raises the machine's revision by one. */
  nextRevision(): number
  /** The token of the current grant of a lock; undefined when nobody holds it. */
  lockToken(lock: string): number | undefined
}

/** Where values live; in the order of effects, together with the index of the log that they came from. */
export type ValueEffect =
  | {
      readonly kind: 'put'
      readonly namespace: string
      readonly key: string
      readonly stored: Stored
      readonly value: Uint8Array
    }
  /** The key is gone; its value may still be read by who began before. */
  | { readonly kind: 'remove'; readonly namespace: string; readonly key: string }
  /** Nobody reads this value any more. */
  | { readonly kind: 'free'; readonly namespace: string; readonly key: string; readonly version: number }

export interface KvItem extends Stored {
  readonly key: string
}

export interface KvPage {
  readonly items: readonly KvItem[]
  /** The last key; empty when there is none. */
  readonly cursor: string
  readonly hasMore: boolean
  /** A watch after this version misses nothing of what follows. */
  readonly version: number
}

interface VersionsLimits {
  /** Of all namespaces. The same on every node, or their states differ. */
  readonly keysMax: number
}

const PAGE_KEYS_MAX = 1000
const PAGE_BYTES_MAX = 1024 * 1024
const PAGE_KEYS = 100
const KEYS_MAX = 16_000_000
const EXPIRY_DIGITS = 16

export class Versions {
  #changes: Changes
  readonly #limits: VersionsLimits
  readonly #namespaces = new Map<string, SortedMap<Stored>>()
  /** By deadline, namespace and key: the order in which keys expire is the same on every node, whatever it was restored from. */
  readonly #deadlines = new SortedMap<{ readonly namespace: string; readonly key: string }>()
  #clockMs = 0
  #count = 0
  #valueBytes = 0
  /** Of the keys and values of each namespace. */
  readonly #bytes = new Map<string, number>()
  /** Ascending. */
  readonly #pins = new Set<number>()
  #nextPin = 1
  /** Values that were replaced while pins were held, and the last of these pins: free when all up to it are gone. Ascending. */
  #unfreed: { readonly pin: number; readonly effect: ValueEffect }[] = []

  constructor(options: { limits?: Partial<VersionsLimits>; changes?: Changes } = {}) {
    this.#limits = { keysMax: KEYS_MAX, ...options.limits }
    this.#changes = options.changes ?? new Changes()
  }

  get changes(): Changes {
    return this.#changes
  }

  // The log.

  apply(command: KvCommand, context: KvContext): { result: KvResult; effects: ValueEffect[] } {
    this.#clockMs = Math.max(this.#clockMs, context.clockMs)
    const effects: ValueEffect[] = []
    const result = this.#refusalOf(command, context) ?? this.#perform(command, context, effects)
    return { result, effects }
  }

  /** Deadline of the key that expires next. It is due once the clock of the log is there. */
  get nextExpiryMs(): number {
    for (const [order] of this.#deadlines.range()) return Number(order.slice(0, EXPIRY_DIGITS))
    return Number.POSITIVE_INFINITY
  }

  /** Removes the keys of the next deadline, if it is due, in the order of namespace and key. Each is a change of its own. */
  expireNext(context: KvContext): ValueEffect[] {
    this.#clockMs = Math.max(this.#clockMs, context.clockMs)
    const expiryMs = this.nextExpiryMs
    if (expiryMs > this.#clockMs) return []
    const due = [...this.#deadlines.range({ prefix: orderOf(expiryMs) })].map(([, at]) => at)
    const effects: ValueEffect[] = []
    for (const { namespace, key } of due) {
      this.changes.append([this.#remove(namespace, key, context.nextRevision(), 'expired', effects)])
    }
    return effects
  }

  // Reads, of the state as it is applied here. Whether that is recent enough is decided before.

  get(namespace: string, key: string): KvItem | undefined {
    const stored = this.#present(namespace, key)
    return stored === undefined ? undefined : { key, ...stored }
  }

  /** Keys in byte order. @param options.after exclusive lower bound  @param options.limit 0 or absent: 100 */
  list(namespace: string, options: { prefix?: string; after?: string; limit?: number } = {}): KvPage {
    const limit = Math.min(options.limit || PAGE_KEYS, PAGE_KEYS_MAX)
    const items: KvItem[] = []
    let bytes = 0
    let hasMore = false
    for (const [key, stored] of this.#namespaces.get(namespace)?.range(options) ?? []) {
      if (this.#isExpired(stored)) continue
      bytes += key.length + stored.valueBytes
      hasMore = items.length === limit || (items.length > 0 && bytes > PAGE_BYTES_MAX)
      if (hasMore) break
      items.push({ key, ...stored })
    }
    return { items, cursor: items.at(-1)?.key ?? '', hasMore, version: this.changes.latest }
  }

  /** From now until `unpin` every value that is current now can be read. */
  pin(): number {
    const id = this.#nextPin++
    this.#pins.add(id)
    return id
  }

  unpin(id: number): ValueEffect[] {
    if (!this.#pins.delete(id)) return []
    const oldest = this.#pins.values().next().value ?? Number.POSITIVE_INFINITY
    const end = this.#unfreed.findIndex(({ pin }) => pin >= oldest)
    return this.#unfreed.splice(0, end < 0 ? this.#unfreed.length : end).map(({ effect }) => effect)
  }

  /** The whole state as of this moment, by namespace; the state goes on meanwhile. Pin it to read the values. */
  view(): { namespace: string; keys: SortedView<Stored> }[] {
    return this.namespaces().map((namespace) => ({
      namespace,
      keys: (this.#namespaces.get(namespace) as SortedMap<Stored>).view(),
    }))
  }

  /**
   * Replaces the state: from a snapshot, or from what the disk holds. Values are where they are read from already.
   * @param state.version the machine's revision  @param state.clockMs the clock of the log
   */
  restore(
    keys: Iterable<{ readonly namespace: string; readonly key: string; readonly stored: Stored }>,
    state: { version: number; clockMs: number },
  ): void {
    this.#namespaces.clear()
    this.#deadlines.clear()
    // What was to be freed is gone with the state that held it.
    this.#unfreed = []
    this.#count = 0
    this.#valueBytes = 0
    this.#bytes.clear()
    this.#clockMs = state.clockMs
    for (const { namespace, key, stored } of keys) this.#insert(namespace, key, stored)
    this.changes.reset(state.version)
  }

  /** One more key of what is being restored, after `restore`. */
  load(namespace: string, key: string, stored: Stored): void {
    this.#insert(namespace, key, stored)
  }

  /** Those who follow `changes` follow this state from now on: they are told to list again, unless they have seen all. */
  resume(changes: Changes): void {
    changes.reset(this.#changes.latest)
    this.#changes = changes
  }

  /** Ascending. */
  namespaces(): string[] {
    return [...this.#namespaces.keys()].sort()
  }

  /** How much one holds: keys, and their bytes with those of the values. */
  usageOf(namespace: string): { readonly keys: number; readonly bytes: number } {
    return { keys: this.#namespaces.get(namespace)?.size ?? 0, bytes: this.#bytes.get(namespace) ?? 0 }
  }

  get keyCount(): number {
    return this.#count
  }

  /** Of the values that are current. */
  get valueBytes(): number {
    return this.#valueBytes
  }

  #refusalOf(command: KvCommand, context: KvContext): KvResult | undefined {
    const { namespace, fence } = command
    if (namespace.length === 0 || namespace.length > KV_NAMESPACE_BYTES_MAX) {
      return invalid(`a namespace has 1 to ${KV_NAMESPACE_BYTES_MAX} bytes, not ${namespace.length}`)
    }
    switch (command.kind) {
      case 'put': {
        const { put, condition } = command
        return putRefusal(put) ?? fenceRefusal(fence, context) ?? this.#conditionRefusal(namespace, put.key, condition)
      }
      case 'delete': {
        const { key, ifVersion } = command
        const condition = ifVersion === undefined ? 'none' : { version: ifVersion }
        return keyRefusal(key) ?? fenceRefusal(fence, context) ?? this.#conditionRefusal(namespace, key, condition)
      }
      case 'txn':
        return txnRefusal(command) ?? fenceRefusal(fence, context) ?? this.#checksRefusal(namespace, command.checks)
      default:
        return unreachable(command)
    }
  }

  #conditionRefusal(
    namespace: string,
    key: string,
    condition: 'none' | 'absent' | { readonly version: number },
  ): KvResult | undefined {
    if (condition === 'none') return undefined
    const stored = this.#present(namespace, key)
    if (condition === 'absent') {
      if (stored === undefined) return undefined
      return { ok: false, kind: 'AlreadyExists', message: 'key already exists', key, version: stored.version }
    }
    if (stored === undefined) return { ok: false, kind: 'NotFound', message: 'key not found', key }
    if (stored.version === condition.version) return undefined
    return { ok: false, kind: 'Conflict', message: 'version mismatch', key, version: stored.version }
  }

  #checksRefusal(namespace: string, checks: readonly { key: string; version: number }[]): KvResult | undefined {
    for (const { key, version } of checks) {
      const found = this.#present(namespace, key)?.version ?? 0
      if (found === version) continue
      const refusal = { ok: false, kind: 'Conflict', message: 'version mismatch', key } as const
      return found === 0 ? refusal : { ...refusal, version: found }
    }
    return undefined
  }

  #perform(command: KvCommand, context: KvContext, effects: ValueEffect[]): KvResult {
    const { namespace } = command
    const puts = command.kind === 'put' ? [command.put] : command.kind === 'txn' ? command.puts : []
    const deletes = command.kind === 'delete' ? [command.key] : command.kind === 'txn' ? command.deletes : []
    const present = deletes.filter((key) => this.#present(namespace, key) !== undefined)
    const replaced = puts.filter(({ key }) => this.#present(namespace, key) !== undefined)
    if (this.#count + puts.length - replaced.length > this.#limits.keysMax) {
      return { ok: false, kind: 'Unavailable', message: `store is full: it holds ${this.#count} keys` }
    }
    const existed = present.length + replaced.length
    if (puts.length + present.length === 0) return { ok: true, version: undefined, existed }
    const version = context.nextRevision()
    const changes: KvChange[] = []
    for (const put of puts) changes.push(this.#put(namespace, put, version, effects))
    for (const key of present) changes.push(this.#remove(namespace, key, version, 'delete', effects))
    this.changes.append(changes.sort((a, b) => (a.key < b.key ? -1 : 1)))
    return { ok: true, version, existed }
  }

  #put(namespace: string, put: Put, version: number, effects: ValueEffect[]): KvChange {
    const { key, value, ttlMs, keepsExpiry } = put
    const before = this.#present(namespace, key)
    const expiryMs = keepsExpiry ? (before?.expiryMs ?? 0) : ttlMs > 0 ? this.#clockMs + Math.ceil(ttlMs) : 0
    const stored = { version, created: before?.created ?? version, expiryMs, valueBytes: value.length }
    effects.push({ kind: 'put', namespace, key, stored, value })
    const replaced = this.#insert(namespace, key, stored)
    if (replaced !== undefined) this.#free(namespace, key, replaced.version, effects)
    return { kind: 'put', namespace, key, value, version, prevVersion: before?.version }
  }

  #remove(
    namespace: string,
    key: string,
    version: number,
    kind: 'delete' | 'expired',
    effects: ValueEffect[],
  ): KvChange {
    const map = this.#namespaces.get(namespace)
    const before = map?.delete(key)
    assert(map !== undefined && before !== undefined, 'the key is there')
    if (map.size === 0) this.#namespaces.delete(namespace)
    this.#uncount(namespace, key, before)
    effects.push({ kind: 'remove', namespace, key })
    this.#free(namespace, key, before.version, effects)
    return { kind, namespace, key, value: undefined, version, prevVersion: before.version }
  }

  #insert(namespace: string, key: string, stored: Stored): Stored | undefined {
    const before = getOrAdd(this.#namespaces, namespace, () => new SortedMap<Stored>()).set(key, stored)
    if (before !== undefined) this.#uncount(namespace, key, before)
    this.#count++
    this.#valueBytes += stored.valueBytes
    this.#bytes.set(namespace, (this.#bytes.get(namespace) ?? 0) + key.length + stored.valueBytes)
    if (stored.expiryMs > 0) this.#deadlines.set(orderOf(stored.expiryMs, namespace, key), { namespace, key })
    return before
  }

  #uncount(namespace: string, key: string, { valueBytes, expiryMs }: Stored): void {
    this.#count--
    this.#valueBytes -= valueBytes
    const bytes = (this.#bytes.get(namespace) ?? 0) - key.length - valueBytes
    if (bytes > 0) this.#bytes.set(namespace, bytes)
    else this.#bytes.delete(namespace)
    if (expiryMs > 0) this.#deadlines.delete(orderOf(expiryMs, namespace, key))
  }

  #free(namespace: string, key: string, version: number, effects: ValueEffect[]): void {
    const effect: ValueEffect = { kind: 'free', namespace, key, version }
    if (this.#pins.size === 0) effects.push(effect)
    else this.#unfreed.push({ pin: this.#nextPin - 1, effect })
  }

  #present(namespace: string, key: string): Stored | undefined {
    const stored = this.#namespaces.get(namespace)?.get(key)
    return stored === undefined || this.#isExpired(stored) ? undefined : stored
  }

  #isExpired({ expiryMs }: Stored): boolean {
    return expiryMs > 0 && this.#clockMs >= expiryMs
  }
}

/** Sorts as (deadline, namespace, key). */
function orderOf(expiryMs: number, namespace?: string, key = ''): string {
  const order = `${String(expiryMs).padStart(EXPIRY_DIGITS, '0')} `
  return namespace === undefined ? order : `${order}${namespace}\0${key}`
}

function invalid(message: string): KvResult {
  return { ok: false, kind: 'Invalid', message }
}

function keyRefusal(key: string): KvResult | undefined {
  if (key.length > 0 && key.length <= KV_KEY_BYTES_MAX) return undefined
  return invalid(`a key has 1 to ${KV_KEY_BYTES_MAX} bytes, not ${key.length}`)
}

function putRefusal({ key, value, ttlMs, keepsExpiry }: Put): KvResult | undefined {
  if (value.length > VALUE_BYTES_MAX) {
    return invalid(`a value has at most ${VALUE_BYTES_MAX} bytes, not ${value.length}`)
  }
  if (!(ttlMs >= 0 && ttlMs <= KV_TTL_MS_MAX)) return invalid('ttl must be between 0 and 10 years')
  if (keepsExpiry && ttlMs > 0) return invalid('a deadline is kept or set, not both')
  return keyRefusal(key)
}

/** Somebody else may hold the lock by now, and then a late write must not happen. */
function fenceRefusal(fence: Fence | undefined, context: KvContext): KvResult | undefined {
  if (fence === undefined || context.lockToken(fence.lock) === fence.token) return undefined
  return { ok: false, kind: 'Conflict', message: `fence ${fence.token} is not the current token of the lock` }
}

function txnRefusal({ checks, puts, deletes }: Extract<KvCommand, { kind: 'txn' }>): KvResult | undefined {
  const count = checks.length + puts.length + deletes.length
  if (count > TXN_OPS_MAX) return invalid(`a transaction has at most ${TXN_OPS_MAX} operations, not ${count}`)
  const written = [...puts.map(({ key }) => key), ...deletes]
  if (new Set(written).size !== written.length) return invalid('a transaction writes each key once')
  for (const { key } of checks) {
    const refusal = keyRefusal(key)
    if (refusal !== undefined) return refusal
  }
  for (const put of puts) {
    const refusal = putRefusal(put)
    if (refusal !== undefined) return refusal
  }
  for (const key of deletes) {
    const refusal = keyRefusal(key)
    if (refusal !== undefined) return refusal
  }
  return undefined
}
