// A key-value store in memory: versions that rise with every write, expiry to the moment, pages in the order of the keys.
// lua-libraries.md §2.2-§2.4.

import type { Env } from '../../base/env.ts'
import { MoonmeshError } from '../../base/errors.ts'
import type { Value } from '../../base/value.ts'

export interface StoreEntry {
  /** Canonical (see `canonicalKey`); a byte string. */
  readonly key: string
  readonly value: Value
  /** A decimal number, as text. */
  readonly version: string
  /** Milliseconds since 1970; absent: for ever, or the store cannot tell. */
  readonly expiresAtMs?: number
}

export interface PutOptions {
  /** From now; 0 or absent: for ever. */
  readonly ttlMs?: number
  readonly onlyIfAbsent?: boolean
  readonly ifVersion?: string
  /** Only while this is the token of the current grant of the lock. */
  readonly fence?: { readonly lock: string; readonly token: number }
}

export interface Page {
  readonly items: readonly StoreEntry[]
  /** The key of the last item, or ''. */
  readonly cursor: string
  readonly hasMore: boolean
}

/** `namespace:name`; a key without a colon has an empty namespace. */
export const canonicalKey = (key: string): string => (key.includes(':') ? key : `:${key}`)

interface Stored {
  readonly value: Value
  readonly version: number
  readonly expiresAtMs: number
}

export class MemoryStore {
  readonly #sizeMax: number
  readonly #env: Pick<Env, 'nowMs'>
  readonly #entries = new Map<string, Stored>()
  /** All keys, in order. Invariant: the keys of `#entries`. */
  #keys: string[] = []
  #version = 0

  constructor(sizeMax: number, env: Pick<Env, 'nowMs'>) {
    this.#sizeMax = sizeMax
    this.#env = env
  }

  get size(): number {
    return this.#entries.size
  }

  get(key: string): StoreEntry | undefined {
    const stored = this.#live(canonicalKey(key))
    return stored === undefined ? undefined : entryOf(canonicalKey(key), stored)
  }

  /** @throws MoonmeshError `AlreadyExists`, `NotFound`, `Conflict` for a condition that does not hold; `Unavailable` when it is full */
  put(givenKey: string, value: Value, { ttlMs = 0, onlyIfAbsent, ifVersion }: PutOptions): StoreEntry {
    const key = canonicalKey(givenKey)
    const known = this.#live(key)
    if (onlyIfAbsent === true && known !== undefined) throw refusal('AlreadyExists', 'key already exists', false)
    if (ifVersion !== undefined) assertVersion(known, ifVersion)
    if (known === undefined) {
      if (this.#entries.size >= this.#sizeMax) this.sweep()
      if (this.#entries.size >= this.#sizeMax) throw refusal('Unavailable', 'store is full', true)
      this.#keys.splice(this.#placeOf(key), 0, key)
    }
    const expiresAtMs = ttlMs > 0 ? this.#env.nowMs() + ttlMs : Number.POSITIVE_INFINITY
    const stored = { value, version: ++this.#version, expiresAtMs }
    this.#entries.set(key, stored)
    return entryOf(key, stored)
  }

  /** Whether there was something to delete. @throws MoonmeshError `NotFound`, `Conflict` for a version that it does not have */
  delete(givenKey: string, ifVersion?: string): boolean {
    const key = canonicalKey(givenKey)
    const known = this.#live(key)
    if (ifVersion !== undefined) assertVersion(known, ifVersion)
    if (known !== undefined) this.#remove(key)
    return known !== undefined
  }

  /** @param options.after an exclusive lower bound; any text will do   @param options.limit at least 1 */
  list({ prefix, after, limit }: { prefix: string; after: string; limit: number }): Page {
    const items: StoreEntry[] = []
    let hasMore = false
    let at = after >= prefix ? this.#placeAfter(after) : this.#placeOf(prefix)
    for (; at < this.#keys.length; at++) {
      const key = this.#keys[at] as string
      if (!key.startsWith(prefix)) break
      const stored = this.#entries.get(key) as Stored
      if (stored.expiresAtMs <= this.#env.nowMs()) continue
      if (items.length === limit) {
        hasMore = true
        break
      }
      items.push(entryOf(key, stored))
    }
    return { items, cursor: items[items.length - 1]?.key ?? '', hasMore }
  }

  /** Drops what has expired. */
  sweep(): void {
    const nowMs = this.#env.nowMs()
    const expired = new Set<string>()
    for (const [key, { expiresAtMs }] of this.#entries) if (expiresAtMs <= nowMs) expired.add(key)
    if (expired.size === 0) return
    for (const key of expired) this.#entries.delete(key)
    const kept = this.#keys.filter((key) => !expired.has(key))
    this.#keys = kept
  }

  #live(key: string): Stored | undefined {
    const stored = this.#entries.get(key)
    if (stored === undefined || stored.expiresAtMs > this.#env.nowMs()) return stored
    this.#remove(key)
    return undefined
  }

  #remove(key: string): void {
    this.#entries.delete(key)
    this.#keys.splice(this.#placeOf(key), 1)
  }

  /** Where the key stands or would stand. */
  #placeOf(key: string): number {
    let low = 0
    let high = this.#keys.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#keys[middle] as string) < key) low = middle + 1
      else high = middle
    }
    return low
  }

  #placeAfter(key: string): number {
    const at = this.#placeOf(key)
    return this.#keys[at] === key ? at + 1 : at
  }
}

function entryOf(key: string, { value, version }: Stored): StoreEntry {
  return { key, value, version: String(version) }
}

function assertVersion(known: Stored | undefined, version: string): void {
  if (known === undefined) throw refusal('NotFound', 'key not found', false)
  if (String(known.version) !== version) throw refusal('Conflict', 'version mismatch', true)
}

function refusal(
  kind: 'AlreadyExists' | 'NotFound' | 'Conflict' | 'Unavailable',
  text: string,
  retryable: boolean,
): MoonmeshError {
  return new MoonmeshError(kind, text, { retryable })
}
