// The last changes of the versioned store, and those who follow them: each gets the changes of its prefix once and in order, or is told
// to list again when it asks for what is no longer known. cluster.md §8.4; after etcd's watch.

import { assert } from '../../../runtime/base/assert.ts'
import { getOrAdd } from '../../../runtime/base/maps.ts'

export interface KvChange {
  readonly kind: 'put' | 'delete' | 'expired'
  readonly namespace: string
  readonly key: string
  /** Of a put. */
  readonly value: Uint8Array | undefined
  readonly version: number
  /** Of what was there before. */
  readonly prevVersion: number | undefined
}

const CHANGES_MAX = 10_000
const CHANGE_BYTES_MAX = 16 * 1024 * 1024
/** Places at the beginning of the list that may be empty. */
const EMPTY_MAX = 1024
/** Changes of one batch, unless a single transaction has more. */
const BATCH_CHANGES_MAX = 1024
const WATCHES_MAX = 65_536
const OVERHEAD_BYTES = 64

export type WatchBatch =
  /** `seen`: all up to this version was given out, so that another watch may go on from here. */
  | { readonly kind: 'changes'; readonly changes: readonly KvChange[]; readonly seen: number }
  /** Some are gone: list, and follow from this version. */
  | { readonly kind: 'resync'; readonly version: number }

interface Watch {
  readonly id: number
  readonly namespace: string
  readonly prefix: string
  /** Everything up to this version was given out. */
  seen: number
}

export class Changes {
  /** Ascending by version from `#first` on; before it nothing is left. */
  #log: (KvChange | undefined)[] = []
  #first = 0
  #bytes = 0
  /** Changes up to here may be missing. */
  #forgotten = 0
  #latest = 0
  readonly #countMax: number
  readonly #bytesMax: number
  readonly #watches = new Map<number, Watch>()
  /** By namespace and prefix; a change looks under each of its beginnings. */
  readonly #byPrefix = new Map<string, Map<string, Set<Watch>>>()
  readonly #ready = new Set<number>()
  #nextId = 1

  constructor(options: { countMax?: number; bytesMax?: number } = {}) {
    this.#countMax = options.countMax ?? CHANGES_MAX
    this.#bytesMax = options.bytesMax ?? CHANGE_BYTES_MAX
  }

  /** The latest version that is known of. */
  get latest(): number {
    return this.#latest
  }

  get watchCount(): number {
    return this.#watches.size
  }

  /** @param changes all of one version, in the order of keys */
  append(changes: readonly KvChange[]): void {
    for (const change of changes) {
      assert(change.version >= this.#latest, 'versions rise')
      this.#latest = change.version
      this.#log.push(change)
      this.#bytes += bytesOf(change)
      this.#wake(change)
    }
    while (this.#log.length - this.#first > this.#countMax || this.#bytes > this.#bytesMax) {
      const oldest = this.#log[this.#first]
      if (oldest === undefined) break
      this.#log[this.#first++] = undefined
      this.#bytes -= bytesOf(oldest)
      this.#forgotten = oldest.version
    }
    // Moving the rest down is not free, so it happens once in a while.
    if (this.#first < EMPTY_MAX) return
    this.#log.splice(0, this.#first)
    this.#first = 0
  }

  /** The machine's revision rose without a change here: what is known of now is as new as that. */
  advance(version: number): void {
    this.#latest = Math.max(this.#latest, version)
  }

  /** The state was replaced by one of this version: what led to it is not known. */
  reset(version: number): void {
    this.#log = []
    this.#first = 0
    this.#bytes = 0
    this.#latest = version
    this.#forgotten = version
    for (const { id, seen } of this.#watches.values()) if (seen !== version) this.#ready.add(id)
  }

  /** @param after what the caller has seen, no newer than the state that is applied here; absent: everything until now  @returns undefined when there are too many */
  watch(namespace: string, prefix: string, after = this.#latest): number | undefined {
    if (this.#watches.size >= WATCHES_MAX) return undefined
    const watch = { id: this.#nextId++, namespace, prefix, seen: after }
    this.#watches.set(watch.id, watch)
    const prefixes = getOrAdd(this.#byPrefix, namespace, () => new Map<string, Set<Watch>>())
    getOrAdd(prefixes, prefix, () => new Set<Watch>()).add(watch)
    if (after !== this.#latest) this.#ready.add(watch.id)
    return watch.id
  }

  unwatch(id: number): void {
    const watch = this.#watches.get(id)
    if (watch === undefined) return
    this.#watches.delete(id)
    this.#ready.delete(id)
    const prefixes = this.#byPrefix.get(watch.namespace)
    const watches = prefixes?.get(watch.prefix)
    watches?.delete(watch)
    if (watches?.size === 0) prefixes?.delete(watch.prefix)
    if (prefixes?.size === 0) this.#byPrefix.delete(watch.namespace)
  }

  /** Watches that may have something to take, ascending; each stays here until it took everything. */
  ready(): number[] {
    return [...this.#ready].sort((a, b) => a - b)
  }

  /** What comes next for a watch; nothing when it has seen all. A batch never ends within one version; by that it may exceed the bounds. */
  take(id: number, countMax = BATCH_CHANGES_MAX, bytesMax = Number.POSITIVE_INFINITY): WatchBatch {
    const watch = this.#watches.get(id)
    if (watch === undefined) return { kind: 'changes', changes: [], seen: this.#latest }
    // A version of the future is of a state that was replaced by an older one, e.g. a restored backup.
    if (watch.seen < this.#forgotten || watch.seen > this.#latest) {
      watch.seen = this.#latest
      this.#ready.delete(id)
      return { kind: 'resync', version: this.#latest }
    }
    const changes: KvChange[] = []
    let bytes = 0
    for (let at = this.#firstAfter(watch.seen); at < this.#log.length; at++) {
      const change = this.#log[at] as KvChange
      const isFull = changes.length >= countMax || bytes >= bytesMax
      if (isFull && change.version !== watch.seen) return { kind: 'changes', changes, seen: watch.seen }
      watch.seen = change.version
      if (change.namespace !== watch.namespace || !change.key.startsWith(watch.prefix)) continue
      changes.push(change)
      bytes += bytesOf(change)
    }
    watch.seen = this.#latest
    this.#ready.delete(id)
    return { kind: 'changes', changes, seen: this.#latest }
  }

  #wake({ namespace, key }: KvChange): void {
    const prefixes = this.#byPrefix.get(namespace)
    if (prefixes === undefined) return
    if (prefixes.size <= key.length) {
      for (const [prefix, watches] of prefixes) if (key.startsWith(prefix)) this.#wakeAll(watches)
      return
    }
    for (let length = 0; length <= key.length; length++) this.#wakeAll(prefixes.get(key.slice(0, length)))
  }

  #wakeAll(watches: ReadonlySet<Watch> | undefined): void {
    if (watches !== undefined) for (const { id } of watches) this.#ready.add(id)
  }

  #firstAfter(version: number): number {
    let low = this.#first
    let high = this.#log.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#log[middle] as KvChange).version <= version) low = middle + 1
      else high = middle
    }
    return low
  }
}

function bytesOf({ namespace, key, value }: KvChange): number {
  return OVERHEAD_BYTES + namespace.length + key.length + (value?.length ?? 0)
}
