// How two nodes find what they differ in without telling all: 256 shards by the hash of the key, each with a hash of its entries that
// is kept as they change, and within a shard pages of what is there. cluster.md §8.7.

import { canonicalForm, type Entry } from './entry.ts'
import { compareHlc, type Hlc } from './hlc.ts'
import { lowerBound } from './sorted-map.ts'

export const SHARDS = 256
/** Bytes of a key's hash that tell keys apart. */
export const KEY_HASH_BYTES = 16
export const SHARD_HASH_BYTES = 8
export const PAGE_SUMMARIES_MAX = 1024
/** What a page brings along, unless a single entry is larger. */
export const PAGE_BYTES = 256 * 1024

/** SHA-256 of bytes. */
export type Hash = (bytes: Uint8Array) => Uint8Array

/** What is told of an entry: enough to see who has the newer one. Hashes are byte strings. */
export interface Summary {
  readonly keyHash: string
  readonly hlc: Hlc
  /** Of the canonical form. */
  readonly hash: string
}

/** An entry in the store, with what it adds to the digest. */
export interface Held extends Summary {
  readonly entry: Entry
}

export function held(entry: Entry, keyHash: string, hash: Hash): Held {
  const digest = hash(canonicalForm(entry)).subarray(0, SHARD_HASH_BYTES)
  return { entry, keyHash, hlc: entry.hlc, hash: String.fromCharCode(...digest) }
}

/** First byte: the shard. */
export function keyHashOf(namespace: string, key: string, hash: Hash): string {
  const bytes = new Uint8Array(namespace.length + 1 + key.length)
  for (let i = 0; i < namespace.length; i++) bytes[i] = namespace.charCodeAt(i)
  for (let i = 0; i < key.length; i++) bytes[namespace.length + 1 + i] = key.charCodeAt(i)
  return String.fromCharCode(...hash(bytes).subarray(0, KEY_HASH_BYTES))
}

export class Digest {
  readonly #shards: Map<string, Held>[] = Array.from({ length: SHARDS }, () => new Map())
  readonly #hashes = new Uint8Array(SHARDS * SHARD_HASH_BYTES)

  /** XOR of the hashes of the entries of each shard, one shard after the other. */
  get hashes(): Uint8Array {
    return this.#hashes.slice()
  }

  get(keyHash: string): Held | undefined {
    return this.#shards[keyHash.charCodeAt(0)]?.get(keyHash)
  }

  put(entry: Held): void {
    const shard = this.#shards[entry.keyHash.charCodeAt(0)] as Map<string, Held>
    const before = shard.get(entry.keyHash)
    if (before !== undefined) this.#toggle(before)
    shard.set(entry.keyHash, entry)
    this.#toggle(entry)
  }

  remove(keyHash: string): void {
    const shard = this.#shards[keyHash.charCodeAt(0)] as Map<string, Held>
    const before = shard.get(keyHash)
    if (before === undefined) return
    shard.delete(keyHash)
    this.#toggle(before)
  }

  /** Shards whose hashes are others; undefined when these are no hashes. */
  differing(theirs: Uint8Array): number[] | undefined {
    if (theirs.length !== this.#hashes.length) return undefined
    const shards: number[] = []
    for (let shard = 0; shard < SHARDS; shard++) {
      const from = shard * SHARD_HASH_BYTES
      for (let i = from; i < from + SHARD_HASH_BYTES; i++) {
        if (theirs[i] === this.#hashes[i]) continue
        shards.push(shard)
        break
      }
    }
    return shards
  }

  /** What is in a shard behind `after`, by key hash. */
  page(shard: number, after: string, countMax = PAGE_SUMMARIES_MAX): { entries: Held[]; isLast: boolean } {
    const entries = this.#shards[shard] as Map<string, Held>
    const hashes = [...entries.keys()].sort()
    let from = lowerBound(hashes, after)
    if (hashes[from] === after) from++
    const page = hashes.slice(from, from + countMax).map((keyHash) => entries.get(keyHash) as Held)
    return { entries: page, isLast: from + page.length >= hashes.length }
  }

  #toggle({ keyHash, hash }: Held): void {
    const from = keyHash.charCodeAt(0) * SHARD_HASH_BYTES
    for (let i = 0; i < SHARD_HASH_BYTES; i++) {
      this.#hashes[from + i] = (this.#hashes[from + i] as number) ^ hash.charCodeAt(i)
    }
  }
}

interface Comparison {
  /** Here newer, or only here. */
  readonly give: readonly Held[]
  /** There newer. */
  readonly want: readonly string[]
  /** Only there. */
  readonly lack: readonly Summary[]
  /** Only here. */
  readonly extra: readonly Held[]
  /** Key hash up to which all was looked at; undefined: to the end of the shard. */
  readonly upTo: string | undefined
}

/** Holds a page of another node against the own entries of the same range, until `bytesMax` of own entries are to be given. */
export function compare(
  own: readonly Held[],
  theirs: readonly Summary[],
  isLast: boolean,
  bytesOf: (entry: Entry) => number,
  bytesMax = PAGE_BYTES,
): Comparison {
  const end = isLast ? undefined : theirs.at(-1)?.keyHash
  const give: Held[] = []
  const want: string[] = []
  const lack: Summary[] = []
  const extra: Held[] = []
  let bytes = 0
  let upTo: string | undefined = ''
  let a = 0
  let b = 0
  for (;;) {
    const mine = own[a]
    const yours = theirs[b]
    const isMine = mine !== undefined && (end === undefined || mine.keyHash <= end)
    if (!isMine && yours === undefined) break
    if (bytes > bytesMax) return { give, want, lack, extra, upTo }
    if (isMine && (yours === undefined || mine.keyHash < yours.keyHash)) {
      extra.push(mine)
      bytes += bytesOf(mine.entry)
      upTo = mine.keyHash
      a++
    } else if (yours !== undefined && (!isMine || yours.keyHash < mine.keyHash)) {
      lack.push(yours)
      upTo = yours.keyHash
      b++
    } else if (isMine && yours !== undefined) {
      if (mine.hash !== yours.hash) {
        const order = compareHlc(mine.hlc, yours.hlc)
        if (order >= 0) {
          give.push(mine)
          bytes += bytesOf(mine.entry)
        }
        // Of one time but not the same: each side judges the other's.
        if (order <= 0) want.push(mine.keyHash)
      }
      upTo = mine.keyHash
      a++
      b++
    }
  }
  return { give, want, lack, extra, upTo: end }
}
