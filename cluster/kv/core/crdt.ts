// The convergent store of one node: a map of last-writer-wins registers. A write is a stamp; of two writes of a key the later stamp stays,
// in whatever order they arrive. Deletes and deadlines leave the stamp behind until no node can still offer what they replaced.
// cluster.md §8.5 to §8.8; Shapiro et al., A comprehensive study of convergent and commutative replicated data types, §3.2.

import { assert } from '../../../runtime/base/assert.ts'
import type { Env } from '../../../runtime/base/env.ts'
import { Heap } from '../../../runtime/base/heap.ts'
import { getOrAdd } from '../../../runtime/base/maps.ts'
import { Digest, type Hash, type Held, held, keyHashOf } from './digest.ts'
import {
  compareEntries,
  type Entry,
  entryBytes,
  isExpiry,
  KEY_BYTES_MAX,
  NAMESPACE_BYTES_MAX,
  ORIGIN_BYTES_MAX,
} from './entry.ts'
import { compareHlc, HLC_COUNTER_MAX, HLC_MS_MAX, type Hlc, HybridClock, hlcText, ZERO_HLC } from './hlc.ts'
import { SortedMap, type SortedView } from './sorted-map.ts'

export interface CrdtSettings {
  /** How long a delete is remembered; 0 is for ever. */
  readonly retentionMs: number
  /** How far in the future a stamp may lie. */
  readonly skewMaxMs: number
  readonly valueBytesMax: number
  /** Of all namespaces, remembered deletes included. */
  readonly entriesMax: number
  readonly bytesMax: number
}

const defaultCrdtSettings: CrdtSettings = {
  retentionMs: 24 * 3_600_000,
  skewMaxMs: 600_000,
  valueBytesMax: 512 * 1024,
  entriesMax: 1_000_000,
  bytesMax: 1024 ** 3,
}

const TTL_MS_MAX = 10 * 366 * 24 * 3_600_000
const PAGE_KEYS_MAX = 1000
const PAGE_BYTES_MAX = 1024 * 1024
/** What an entry takes besides its own bytes. */
const OVERHEAD_BYTES = 256

export type WriteOutcome =
  | { readonly ok: true; readonly entry: Entry; readonly version: string; readonly saveMs: number | undefined }
  | { readonly ok: false; readonly kind: 'Invalid' | 'Unavailable'; readonly message: string }

/** What became of a version from elsewhere. Only `won` changed anything. */
type MergeResult =
  | 'won'
  | 'known'
  | 'older'
  /** Too far in the future for now. */
  | 'skewed'
  /** Deleted so long ago that the delete is forgotten. */
  | 'collected'
  /** There is no room. */
  | 'full'

export interface CrdtItem {
  readonly key: string
  readonly value: Uint8Array
  /** Differs after every write; a decimal number. */
  readonly version: string
  /** By the clock that stamps writes; 0 is never. */
  readonly expiryMs: number
}

/** What a namespace holds. */
export interface CrdtUsage {
  /** With a value; those whose deadline came less than a moment ago may still be among them. */
  readonly keys: number
  /** Of keys and values. */
  readonly bytes: number
}

export interface CrdtPage {
  readonly items: readonly CrdtItem[]
  /** The last key; empty when there is none. */
  readonly cursor: string
  readonly hasMore: boolean
}

/** The stamps of which this node would still know the entry, were it not deleted: after `since` it was there to hear of it, and up
 *  to `floor` it has forgotten deletes. */
export interface Forgotten {
  readonly since: Hlc
  readonly floor: Hlc
}

export interface CrdtCounters {
  readonly merges: Record<MergeResult, number>
  /** Entries that others had forgotten the deletes of. */
  swept: number
  expired: number
  collected: number
}

export function isForgotten({ since, floor }: Forgotten, hlc: Hlc): boolean {
  return compareHlc(hlc, since) > 0 && compareHlc(hlc, floor) <= 0
}

export class CrdtStore {
  readonly clock: HybridClock
  readonly settings: CrdtSettings
  readonly #env: Env
  readonly #origin: string
  readonly #hash: Hash
  readonly #namespaces = new Map<string, SortedMap<Held>>()
  readonly digest = new Digest()
  /** Values whose deadline comes and deletes that age, by wall time; deletes to drop, by the monotonic clock. All may name what is gone. */
  readonly #deadlines = new Heap<Held>()
  readonly #deletes = new Heap<Held>()
  /** Deletes whose time has come by the wall clock: no longer part of the digest, so that nodes are equal whichever still holds them. */
  readonly #aged = new Set<Held>()
  readonly #ages = new Heap<Held>()
  readonly #since: Hlc
  #floor: Hlc = ZERO_HLC
  readonly #usage = new Map<string, { keys: number; bytes: number }>()
  #entries = 0
  #bytes = 0
  #remembered = 0
  readonly counters: CrdtCounters = {
    merges: { won: 0, known: 0, older: 0, skewed: 0, collected: 0, full: 0 },
    swept: 0,
    expired: 0,
    collected: 0,
  }

  /**
   * @param options.origin name of this node, a byte string
   * @param options.savedMs what `WriteOutcome.saveMs` last asked to be saved, of an earlier run
   */
  constructor(
    options: { origin: string; hash: Hash; settings?: Partial<CrdtSettings>; savedMs?: number | undefined },
    env: Env,
  ) {
    assert(options.origin.length > 0 && options.origin.length <= ORIGIN_BYTES_MAX, 'an origin is a node name')
    this.#env = env
    this.#origin = options.origin
    this.#hash = options.hash
    this.settings = { ...defaultCrdtSettings, ...options.settings }
    this.clock = new HybridClock({ skewMaxMs: this.settings.skewMaxMs, savedMs: options.savedMs }, env)
    // What was written before this node was there may never have reached it, deleted or not.
    this.#since = { ms: this.clock.readMs(), counter: HLC_COUNTER_MAX }
  }

  // What scripts ask for.

  /** @param ttlMs 0: no deadline */
  set(namespace: string, key: string, value: Uint8Array, ttlMs = 0): WriteOutcome {
    if (value.length > this.settings.valueBytesMax) {
      return invalid(`a value has at most ${this.settings.valueBytesMax} bytes, not ${value.length}`)
    }
    if (!(ttlMs >= 0 && ttlMs <= TTL_MS_MAX)) return invalid('ttl must be between 0 and 10 years')
    return this.#write(namespace, key, value, ttlMs)
  }

  /** @returns undefined when there was nothing to delete */
  delete(namespace: string, key: string): WriteOutcome | undefined {
    return this.get(namespace, key) === undefined ? undefined : this.#write(namespace, key, undefined, 0)
  }

  get(namespace: string, key: string): CrdtItem | undefined {
    const found = this.#namespaces.get(namespace)?.get(key)
    return found === undefined ? undefined : itemOf(found.entry, this.clock.readMs())
  }

  /** Keys in byte order. @param options.after exclusive lower bound */
  list(namespace: string, options: { prefix?: string; after?: string; limit?: number } = {}): CrdtPage {
    const limit = Math.min(options.limit ?? 100, PAGE_KEYS_MAX)
    const nowMs = this.clock.readMs()
    const items: CrdtItem[] = []
    let bytes = 0
    for (const [, { entry }] of this.#namespaces.get(namespace)?.range(options) ?? []) {
      const item = itemOf(entry, nowMs)
      if (item === undefined) continue
      bytes += item.key.length + item.value.length
      if (items.length === limit || (items.length > 0 && bytes > PAGE_BYTES_MAX)) return pageOf(items, true)
      items.push(item)
    }
    return pageOf(items, false)
  }

  // What other nodes say.

  /** Takes a version over if it is later than what is here. The entry belongs to the store from now on. */
  merge(entry: Entry): MergeResult {
    const result = this.#judge(entry)
    if (result === 'won') {
      this.clock.observe(entry.hlc)
      this.#put(entry)
    }
    this.counters.merges[result]++
    return result
  }

  /** Drops an entry of which another node says that its delete is forgotten, if it still is the one that was told of. */
  sweep(keyHash: string, hash: string): boolean {
    const found = this.digest.get(keyHash)
    if (found === undefined || found.hash !== hash) return false
    this.counters.swept++
    this.#forget(found)
    return true
  }

  get forgotten(): Forgotten {
    return { since: this.#since, floor: this.#floor }
  }

  // What is on disk.

  /** All of a namespace as of this moment, remembered deletes included. */
  view(namespace: string): SortedView<Held> {
    return this.#namespaces.get(namespace)?.view() ?? new SortedMap<Held>().view()
  }

  /** Something of an earlier run of this node: it is taken as it is, however late the clock now runs. */
  restore(entry: Entry): void {
    const before = this.#namespaces.get(entry.namespace)?.get(entry.key)
    if (before !== undefined && compareEntries(entry, before.entry) <= 0) return
    this.clock.observe(entry.hlc)
    this.#put(entry)
  }

  // Time.

  /** Drops values whose deadline passed and deletes that were remembered long enough. At most `countMax` of each. */
  expire(countMax = 10_000): void {
    const nowMs = this.clock.readMs()
    for (let i = 0; i < countMax && (this.#deadlines.nextKey ?? Number.POSITIVE_INFINITY) <= nowMs; i++) {
      const due = this.#deadlines.pop() as Held
      if (!this.#isHeld(due)) continue
      this.counters.expired++
      this.#put({ ...due.entry, value: undefined })
    }
    this.#age(nowMs)
    const monotonicMs = this.#env.nowMs()
    for (let i = 0; i < countMax && (this.#deletes.nextKey ?? Number.POSITIVE_INFINITY) <= monotonicMs; i++) {
      const due = this.#deletes.pop() as Held
      if (!this.#isHeld(due)) continue
      const leftMs = endMs(due.entry) + this.settings.retentionMs - nowMs
      // The wall clock went back, or the stamp is of the future.
      if (leftMs > 0) this.#deletes.push(monotonicMs + leftMs, due)
      else {
        this.counters.collected++
        this.#forget(due)
      }
    }
    this.#prune()
  }

  /** Milliseconds until `expire` has something to do, as of now. */
  get nextDueMs(): number {
    const deadline = (this.#deadlines.nextKey ?? Number.POSITIVE_INFINITY) - this.clock.readMs()
    const age = (this.#ages.nextKey ?? Number.POSITIVE_INFINITY) - this.clock.readMs()
    const collection = (this.#deletes.nextKey ?? Number.POSITIVE_INFINITY) - this.#env.nowMs()
    return Math.max(0, Math.min(deadline, age, collection))
  }

  /** Namespaces with anything in them, ascending. */
  namespaces(): string[] {
    return [...this.#namespaces.keys()].sort()
  }

  /** Entries of a namespace, remembered deletes included. */
  sizeOf(namespace: string): number {
    return this.#namespaces.get(namespace)?.size ?? 0
  }

  usageOf(namespace: string): CrdtUsage {
    return { ...(this.#usage.get(namespace) ?? { keys: 0, bytes: 0 }) }
  }

  get entryCount(): number {
    return this.#entries
  }

  /** Of them, those without a value. */
  get tombstoneCount(): number {
    return this.#remembered
  }

  get bytes(): number {
    return this.#bytes
  }

  #write(namespace: string, key: string, value: Uint8Array | undefined, ttlMs: number): WriteOutcome {
    if (key.length === 0 || key.length > KEY_BYTES_MAX) {
      return invalid(`a key has 1 to ${KEY_BYTES_MAX} bytes, not ${key.length}`)
    }
    assert(namespace.length > 0 && namespace.length <= NAMESPACE_BYTES_MAX, 'a namespace has 1 to 64 bytes')
    const isKnown = this.#namespaces.get(namespace)?.get(key) !== undefined
    if (value !== undefined && !this.#hasRoom(isKnown, value.length)) {
      return { ok: false, kind: 'Unavailable', message: 'store is full' }
    }
    const { hlc, saveMs } = this.clock.next()
    const isDelete = value === undefined
    const expiryMs = ttlMs > 0 ? Math.min(HLC_MS_MAX, hlc.ms + Math.ceil(ttlMs)) : 0
    const entry: Entry = { namespace, key, hlc, origin: this.#origin, isDelete, expiryMs, value }
    this.#put(entry)
    return { ok: true, entry, version: hlcText(hlc), saveMs }
  }

  #judge(entry: Entry): MergeResult {
    assert(isExpiry(entry.expiryMs), 'a deadline has 48 bits')
    const before = this.#namespaces.get(entry.namespace)?.get(entry.key)
    if (before !== undefined) {
      const order = compareEntries(entry, before.entry)
      if (order < 0) return 'older'
      if (order === 0 && !this.#isRevived(entry, before.entry)) return 'known'
    }
    if (this.clock.isAhead(entry.hlc)) return 'skewed'
    if (before === undefined) {
      if (isForgotten(this.forgotten, entry.hlc)) return 'collected'
      if (entry.value === undefined && this.#isPastRetention(entry)) return 'collected'
    }
    return this.#hasRoom(before !== undefined, entry.value?.length ?? 0) ? 'won' : 'full'
  }

  /** The same write, whose value went here because a clock was ahead for a while. */
  #isRevived(entry: Entry, before: Entry): boolean {
    if (before.isDelete || before.value !== undefined || entry.value === undefined) return false
    return this.clock.readMs() < before.expiryMs
  }

  #isPastRetention(entry: Entry): boolean {
    const { retentionMs } = this.settings
    return retentionMs > 0 && endMs(entry) + retentionMs <= this.clock.readMs()
  }

  #hasRoom(isKnown: boolean, valueBytes: number): boolean {
    if (!isKnown && this.#entries >= this.settings.entriesMax) return false
    return this.#bytes + valueBytes + OVERHEAD_BYTES <= this.settings.bytesMax
  }

  #put(entry: Entry): void {
    const map = getOrAdd(this.#namespaces, entry.namespace, () => new SortedMap<Held>())
    const next = held(entry, keyHashOf(entry.namespace, entry.key, this.#hash), this.#hash)
    const before = map.set(entry.key, next)
    if (before !== undefined) {
      this.#count(before.entry, -1)
      this.#aged.delete(before)
    }
    this.#count(entry, 1)
    if (entry.value === undefined && this.#isPastRetention(entry)) {
      this.digest.remove(next.keyHash)
      this.#aged.add(next)
    } else this.digest.put(next)
    if (entry.value !== undefined) {
      if (entry.expiryMs > 0) this.#deadlines.push(entry.expiryMs, next)
      return
    }
    const { retentionMs } = this.settings
    // Held as long by the clock that nobody sets, too: a jump of the wall clock must not make deletes be forgotten.
    if (retentionMs > 0) {
      this.#ages.push(endMs(entry) + retentionMs, next)
      this.#deletes.push(this.#env.nowMs() + retentionMs, next)
    }
  }

  #isHeld({ entry }: Held): boolean {
    return this.#namespaces.get(entry.namespace)?.get(entry.key)?.entry === entry
  }

  /** Takes deletes out of the digest when they are old enough, and back into it should the wall clock go back. */
  #age(nowMs: number): void {
    while ((this.#ages.nextKey ?? Number.POSITIVE_INFINITY) <= nowMs) {
      const due = this.#ages.pop() as Held
      if (!this.#isHeld(due)) continue
      this.#aged.add(due)
      this.digest.remove(due.keyHash)
    }
    for (const each of this.#aged) {
      const agesAtMs = endMs(each.entry) + this.settings.retentionMs
      if (agesAtMs <= nowMs) continue
      this.#aged.delete(each)
      this.digest.put(each)
      this.#ages.push(agesAtMs, each)
    }
  }

  #forget(found: Held): void {
    const { entry, keyHash } = found
    const map = this.#namespaces.get(entry.namespace)
    map?.delete(entry.key)
    if (map?.size === 0) this.#namespaces.delete(entry.namespace)
    this.digest.remove(keyHash)
    this.#aged.delete(found)
    this.#count(entry, -1)
    if (compareHlc(entry.hlc, this.#floor) > 0) this.#floor = entry.hlc
  }

  #count(entry: Entry, sign: 1 | -1): void {
    this.#entries += sign
    this.#bytes += sign * (entryBytes(entry) + OVERHEAD_BYTES)
    if (entry.value === undefined) this.#remembered += sign
    else {
      const usage = getOrAdd(this.#usage, entry.namespace, () => ({ keys: 0, bytes: 0 }))
      usage.keys += sign
      usage.bytes += sign * (entry.key.length + entry.value.length)
      if (usage.keys === 0) this.#usage.delete(entry.namespace)
    }
  }

  /** What is rewritten often leaves many dead items in the heaps. */
  #prune(): void {
    for (const heap of [this.#deadlines, this.#deletes, this.#ages]) {
      if (heap.count > 1024 && heap.count > 2 * this.#entries) heap.prune((item) => this.#isHeld(item))
    }
  }
}

function invalid(message: string): WriteOutcome {
  return { ok: false, kind: 'Invalid', message }
}

/** From when on an entry without a value is only remembered. */
function endMs({ hlc, expiryMs }: Entry): number {
  return Math.max(hlc.ms, expiryMs)
}

function itemOf({ key, value, hlc, expiryMs }: Entry, nowMs: number): CrdtItem | undefined {
  if (value === undefined || (expiryMs > 0 && nowMs >= expiryMs)) return undefined
  return { key, value, version: hlcText(hlc), expiryMs }
}

function pageOf(items: readonly CrdtItem[], hasMore: boolean): CrdtPage {
  return { items, cursor: items.at(-1)?.key ?? '', hasMore }
}
