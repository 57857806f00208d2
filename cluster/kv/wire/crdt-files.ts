// What a durable namespace of the convergent store has on disk: a snapshot, proven by its hash, and a log of what changed since, whose
// torn tail is cut. cluster.md §8.8.
//
//   snapshot   "MMCRDT1\n" | header u32 length, msgpack {namespace, hlc, count} | entries | SHA-256 of all before
//   log        records: u32 length | first 4 bytes of the SHA-256 of the entry | entry

import { createHash } from 'node:crypto'
import { isPackedMap, type Packed, pack, UnpackError, unpackAt } from '../../../runtime/base/msgpack.ts'
import { decodeEntry, type Entry, encodeEntry } from '../core/entry.ts'
import type { Hlc } from '../core/hlc.ts'

const MAGIC = new TextEncoder().encode('MMCRDT1\n')
const HASH_BYTES = 32
const RECORD_HEAD_BYTES = 8
const CHECK_BYTES = 4

interface CrdtSnapshotHeader {
  readonly namespace: string
  /** The latest stamp of the node, for its clock after a restart. */
  readonly hlc: Hlc
  readonly count: number
}

/** The file in pieces, each small enough to write between other work. @param entries exactly `header.count` */
export function* encodeSnapshot(header: CrdtSnapshotHeader, entries: Iterable<Entry>): Generator<Uint8Array> {
  const hash = createHash('sha256')
  const { namespace, hlc, count } = header
  const head = pack({ namespace, hlc: packHlc(hlc), count })
  const first = new Uint8Array(MAGIC.length + 4 + head.length)
  first.set(MAGIC)
  new DataView(first.buffer).setUint32(MAGIC.length, head.length)
  first.set(head, MAGIC.length + 4)
  hash.update(first)
  yield first
  for (const entry of entries) {
    const bytes = encodeEntry(entry)
    hash.update(bytes)
    yield bytes
  }
  yield hash.digest()
}

/** @throws UnpackError when a byte is not what was written: the snapshot before it may still be good */
export function decodeSnapshot(
  bytes: Uint8Array,
  valueBytesMax: number,
): { header: CrdtSnapshotHeader; entries: Entry[] } {
  const end = bytes.length - HASH_BYTES
  if (end < MAGIC.length + 4 || MAGIC.some((byte, i) => bytes[i] !== byte)) throw new UnpackError('not a snapshot')
  const sum = createHash('sha256').update(bytes.subarray(0, end)).digest()
  if (sum.some((byte, i) => bytes[end + i] !== byte)) throw new UnpackError('the checksum of the snapshot is wrong')
  const body = bytes.subarray(0, end)
  const { value, end: headEnd } = unpackAt(body, MAGIC.length + 4)
  const header = headerOf(value)
  const entries: Entry[] = []
  let at = headEnd
  while (at < end) {
    const read = decodeEntry(body, at, valueBytesMax)
    if (read === undefined) throw new UnpackError('not an entry')
    entries.push(read.entry)
    at = read.end
  }
  if (entries.length !== header.count) throw new UnpackError('the snapshot is not whole')
  return { header, entries }
}

export function encodeRecord(entry: Entry): Uint8Array {
  const bytes = encodeEntry(entry)
  const out = new Uint8Array(RECORD_HEAD_BYTES + bytes.length)
  new DataView(out.buffer).setUint32(0, bytes.length)
  out.set(checkOf(bytes), 4)
  out.set(bytes, RECORD_HEAD_BYTES)
  return out
}

/** All records up to the first that is not whole. @returns `soundBytes`: where the file is to be cut */
export function decodeRecords(bytes: Uint8Array, valueBytesMax: number): { entries: Entry[]; soundBytes: number } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const entries: Entry[] = []
  let at = 0
  while (bytes.length - at >= RECORD_HEAD_BYTES) {
    const from = at + RECORD_HEAD_BYTES
    const length = view.getUint32(at)
    if (length > bytes.length - from) break
    const record = bytes.subarray(from, from + length)
    if (checkOf(record).some((byte, i) => bytes[at + 4 + i] !== byte)) break
    const read = decodeEntry(record, 0, valueBytesMax)
    if (read === undefined || read.end !== length) break
    entries.push(read.entry)
    at = from + length
  }
  return { entries, soundBytes: at }
}

function checkOf(bytes: Uint8Array): Uint8Array {
  return createHash('sha256').update(bytes).digest().subarray(0, CHECK_BYTES)
}

const packHlc = ({ ms, counter }: Hlc): Packed => [ms, counter]

function headerOf(value: Packed): CrdtSnapshotHeader {
  if (!isPackedMap(value)) throw new UnpackError('not a header')
  const { namespace, count } = value
  if (typeof namespace !== 'string' || typeof count !== 'number') throw new UnpackError('not a header')
  return { namespace, count, hlc: hlcOf(value['hlc']) }
}

function hlcOf(value: Packed | undefined): Hlc {
  const [ms, counter] = Array.isArray(value) ? (value as readonly Packed[]) : []
  if (typeof ms !== 'number' || typeof counter !== 'number') throw new UnpackError('not a stamp')
  return { ms, counter }
}
