// One version of a key in the convergent store: its order among the versions of the key, and its bytes. cluster.md §8.5, §8.7.

import { ownBytes } from '../../../runtime/base/bytes.ts'
import { compareHlc, HLC_MS_MAX, type Hlc } from './hlc.ts'

/** Namespace, key and origin are byte strings. */
export interface Entry {
  readonly namespace: string
  readonly key: string
  readonly hlc: Hlc
  /** The node that wrote it. */
  readonly origin: string
  readonly isDelete: boolean
  /** After this the key is absent, by the clock that stamps writes; 0 is never. A part of the write, so that the death of its writer
   *  changes nothing. */
  readonly expiryMs: number
  /** Undefined for a delete, and where a deadline passed: then only the stamp is still needed. */
  readonly value: Uint8Array | undefined
}

export const NAMESPACE_BYTES_MAX = 64
export const KEY_BYTES_MAX = 1024
export const ORIGIN_BYTES_MAX = 128

/**
 * Above 0 when `a` replaces `b`. Total: by stamp, then origin. One origin gives a stamp once; if two writes bear the same one all the
 * same (a clock was lost with its disk), all nodes must still choose alike.
 */
export function compareEntries(a: Entry, b: Entry): number {
  const byStamp = compareHlc(a.hlc, b.hlc)
  if (byStamp !== 0) return byStamp
  if (a.origin !== b.origin) return a.origin < b.origin ? -1 : 1
  if (a.isDelete !== b.isDelete) return a.isDelete ? 1 : -1
  if (a.expiryMs !== b.expiryMs) return a.expiryMs - b.expiryMs
  // A value that is gone because its deadline passed is the same write.
  if (a.value === undefined || b.value === undefined) return 0
  return compareBytes(a.value, b.value)
}

function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i++) if (a[i] !== b[i]) return (a[i] as number) - (b[i] as number)
  return a.length - b.length
}

const DELETE = 1
/** The value is not with it. */
const BARE = 2
const FIXED_BYTES = 1 + 8 + 6 + 3 * 2 + 4

export function entryBytes({ origin, namespace, key, value }: Entry): number {
  return FIXED_BYTES + origin.length + namespace.length + key.length + (value?.length ?? 0)
}

/** `flags u8 | hlc 8 | origin | namespace | key | expiry u48 | value u32 len`, strings with u16 length. */
export function encodeEntry(entry: Entry): Uint8Array {
  const out = new Uint8Array(entryBytes(entry))
  const view = new DataView(out.buffer)
  out[0] = (entry.isDelete ? DELETE : 0) | (entry.value === undefined ? BARE : 0)
  putU48(view, 1, entry.hlc.ms)
  view.setUint16(7, entry.hlc.counter)
  let at = 9
  for (const text of [entry.origin, entry.namespace, entry.key]) {
    view.setUint16(at, text.length)
    at += 2
    for (let i = 0; i < text.length; i++) out[at++] = text.charCodeAt(i)
  }
  putU48(view, at, entry.expiryMs)
  view.setUint32(at + 6, entry.value?.length ?? 0)
  if (entry.value !== undefined) out.set(entry.value, at + 10)
  return out
}

/**
 * What makes nodes equal: every entry in its canonical bytes. The value of an entry with a deadline is left out, since each node drops it
 * by its own clock; the stamp stands for it.
 */
export function canonicalForm(entry: Entry): Uint8Array {
  return encodeEntry(entry.expiryMs === 0 ? entry : { ...entry, value: undefined })
}

/** Reads one entry at `at`; the value is a copy. @returns undefined when the bytes are none */
export function decodeEntry(
  bytes: Uint8Array,
  at: number,
  valueBytesMax: number,
): { entry: Entry; end: number } | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (bytes.length - at < FIXED_BYTES) return undefined
  const flags = view.getUint8(at)
  const hlc = { ms: getU48(view, at + 1), counter: view.getUint16(at + 7) }
  let next = at + 9
  const texts: string[] = []
  for (const max of [ORIGIN_BYTES_MAX, NAMESPACE_BYTES_MAX, KEY_BYTES_MAX]) {
    if (bytes.length - next < 2) return undefined
    const length = view.getUint16(next)
    next += 2
    if (length === 0 || length > max || bytes.length - next < length) return undefined
    texts.push(String.fromCharCode(...bytes.subarray(next, next + length)))
    next += length
  }
  if (bytes.length - next < 10) return undefined
  const expiryMs = getU48(view, next)
  const length = view.getUint32(next + 6)
  next += 10
  if (length > valueBytesMax || bytes.length - next < length) return undefined
  const isDelete = (flags & DELETE) !== 0
  const isBare = (flags & BARE) !== 0
  // A delete has no value and no deadline; a value may only be missing where a deadline took it.
  if (flags > 3 || (isBare && length > 0) || (isDelete && (!isBare || expiryMs !== 0))) return undefined
  if (isBare && !isDelete && expiryMs === 0) return undefined
  const [origin = '', namespace = '', key = ''] = texts
  const value = isBare ? undefined : ownBytes(bytes.subarray(next, next + length))
  return { entry: { namespace, key, hlc, origin, isDelete, expiryMs, value }, end: next + length }
}

export function putU48(view: DataView, at: number, value: number): void {
  view.setUint16(at, Math.floor(value / 0x100000000))
  view.setUint32(at + 2, value % 0x100000000)
}

export function getU48(view: DataView, at: number): number {
  return view.getUint16(at) * 0x100000000 + view.getUint32(at + 2)
}

export const isExpiry = (ms: number): boolean => Number.isSafeInteger(ms) && ms >= 0 && ms <= HLC_MS_MAX
