// What is asked of a replica about the versioned store, and its answers: modern msgpack, read strictly. Byte strings travel as bytes.
// cluster.md §8.2, §8.4.

import { fromUint8Array, toUint8Array } from '../../../runtime/base/bytes.ts'
import { type Packed, pack, UnpackError, unpack } from '../../../runtime/base/msgpack.ts'
import type { KvChange, WatchBatch } from '../core/changes.ts'

/** A key as it is read. */
export interface VersionedItem {
  readonly key: string
  readonly value: Uint8Array
  readonly version: number
  /** By the clock of the log, at the moment of reading; undefined: for ever. */
  readonly ttlLeftMs: number | undefined
}

export interface VersionedPage {
  readonly items: readonly VersionedItem[]
  /** The last key; empty when there is none. */
  readonly cursor: string
  readonly hasMore: boolean
}

export interface ListArgs {
  readonly namespace: string
  readonly prefix: string
  /** Exclusive lower bound. */
  readonly after: string
  readonly limit: number
}

export interface PollArgs {
  readonly namespace: string
  readonly prefix: string
  /** What the asker has seen; undefined: nothing but a position is asked for. */
  readonly after: number | undefined
  /** How long to wait for a change. */
  readonly waitMs: number
}

const CHANGE_KINDS = ['put', 'delete', 'expired'] as const

export const packGetArgs = (namespace: string, key: string): Packed => [toUint8Array(namespace), toUint8Array(key)]

/** @throws UnpackError */
export function getArgsOf(args: Packed): { namespace: string; key: string } {
  const [namespace, key] = listOf(args)
  return { namespace: textOf(namespace), key: textOf(key) }
}

export const packListArgs = ({ namespace, prefix, after, limit }: ListArgs): Packed => [
  toUint8Array(namespace),
  toUint8Array(prefix),
  toUint8Array(after),
  limit,
]

/** @throws UnpackError */
export function listArgsOf(args: Packed): ListArgs {
  const [namespace, prefix, after, limit] = listOf(args)
  return { namespace: textOf(namespace), prefix: textOf(prefix), after: textOf(after), limit: countOf(limit) }
}

export function encodeItem(item: VersionedItem | undefined): Uint8Array {
  return pack(item === undefined ? null : packItem(item))
}

/** Undefined: there is no such key. @throws UnpackError */
export function decodeItem(bytes: Uint8Array): VersionedItem | undefined {
  const value = unpack(bytes)
  return value === null ? undefined : itemOf(value)
}

export function encodePage({ items, hasMore }: VersionedPage): Uint8Array {
  return pack([items.map(packItem), hasMore])
}

/** @throws UnpackError */
export function decodePage(bytes: Uint8Array): VersionedPage {
  const [packed, hasMore] = listOf(unpack(bytes))
  if (typeof hasMore !== 'boolean') throw new UnpackError('not a boolean')
  const items = listOf(packed).map(itemOf)
  return { items, cursor: items.at(-1)?.key ?? '', hasMore }
}

export function encodePoll({ namespace, prefix, after, waitMs }: PollArgs): Uint8Array {
  return pack([toUint8Array(namespace), toUint8Array(prefix), after ?? null, waitMs])
}

/** @throws UnpackError */
export function decodePoll(bytes: Uint8Array): PollArgs {
  const [namespace, prefix, after, waitMs] = listOf(unpack(bytes))
  return {
    namespace: textOf(namespace),
    prefix: textOf(prefix),
    after: after === null ? undefined : countOf(after),
    waitMs: countOf(waitMs),
  }
}

export function encodeBatch(batch: WatchBatch): Uint8Array {
  return pack(batch.kind === 'resync' ? [batch.version] : [batch.seen, batch.changes.map(packChange)])
}

/** @param namespace that was asked for  @throws UnpackError */
export function decodeBatch(bytes: Uint8Array, namespace: string): WatchBatch {
  const items = listOf(unpack(bytes))
  const version = countOf(items[0])
  if (items.length === 1) return { kind: 'resync', version }
  return { kind: 'changes', seen: version, changes: listOf(items[1]).map((item) => changeOf(item, namespace)) }
}

const packItem = ({ key, value, version, ttlLeftMs }: VersionedItem): Packed => [
  toUint8Array(key),
  value,
  version,
  ttlLeftMs ?? null,
]

function itemOf(item: Packed): VersionedItem {
  const [key, value, version, left] = listOf(item)
  return {
    key: textOf(key),
    value: bytesOf(value),
    version: countOf(version),
    ttlLeftMs: left === null ? undefined : countOf(left),
  }
}

const packChange = ({ kind, key, value, version, prevVersion }: KvChange): Packed => [
  CHANGE_KINDS.indexOf(kind),
  toUint8Array(key),
  value ?? null,
  version,
  prevVersion ?? null,
]

function changeOf(item: Packed, namespace: string): KvChange {
  const [kindItem, key, value, version, prevVersion] = listOf(item)
  const kind = CHANGE_KINDS[countOf(kindItem)]
  if (kind === undefined || (kind === 'put') !== (value !== null)) throw new UnpackError('not a change')
  return {
    kind,
    namespace,
    key: textOf(key),
    value: value === null ? undefined : bytesOf(value),
    version: countOf(version),
    prevVersion: prevVersion === null ? undefined : countOf(prevVersion),
  }
}

function listOf(value: Packed | undefined): readonly Packed[] {
  if (!Array.isArray(value)) throw new UnpackError('not a list')
  return value
}

function bytesOf(value: Packed | undefined): Uint8Array {
  if (!(value instanceof Uint8Array)) throw new UnpackError('not bytes')
  return value
}

const textOf = (value: Packed | undefined): string => fromUint8Array(bytesOf(value))

function countOf(value: Packed | undefined): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) throw new UnpackError('not a count')
  return value
}
