// The convergent store on the wire: an entry as the payload of a gossip frame of kind D2, and the requests by which two nodes compare.
// cluster.md §8.7. Read strictly: one wrong byte and nothing of the message is used.

import { fromUint8Array, toUint8Array } from '../../../runtime/base/bytes.ts'
import { type Packed, pack, UnpackError, unpack } from '../../../runtime/base/msgpack.ts'
import { KEY_HASH_BYTES, PAGE_SUMMARIES_MAX, SHARD_HASH_BYTES, SHARDS, type Summary } from '../core/digest.ts'
import { decodeEntry, type Entry, encodeEntry, entryBytes, getU48, putU48 } from '../core/entry.ts'
import type { Hlc } from '../core/hlc.ts'
import type { ExchangeAnswer, ExchangeRequest } from '../core/replica.ts'

/** What stands before the hashes of all shards in an exchange of full states; no entry begins so. */
const HINT = 0x80
/** Messages of the lane: an entry that is too large for gossip, a request and its answer. */
const LANE_KINDS = ['push', 'request', 'answer'] as const
const LANE_HEAD_BYTES = 5
const DIGEST = 0
const PAGE = 1
const ENTRIES = 2
const SUMMARY_BYTES = KEY_HASH_BYTES + 8 + SHARD_HASH_BYTES

/** A message between two nodes: an entry, or one of the forms below. */
interface LaneMessage {
  readonly kind: (typeof LANE_KINDS)[number]
  /** Which request, by the count of the node that asks; 0 for an entry. */
  readonly id: number
  readonly body: Uint8Array
}

/** `kind u8 | id u32 | body`. */
export function encodeLaneMessage({ kind, id, body }: LaneMessage): Uint8Array {
  const out = new Uint8Array(LANE_HEAD_BYTES + body.length)
  out[0] = LANE_KINDS.indexOf(kind)
  new DataView(out.buffer).setUint32(1, id)
  out.set(body, LANE_HEAD_BYTES)
  return out
}

/** The body is a view. @throws UnpackError */
export function decodeLaneMessage(bytes: Uint8Array): LaneMessage {
  const kind = bytes.length < LANE_HEAD_BYTES ? undefined : LANE_KINDS[bytes[0] ?? LANE_KINDS.length]
  if (kind === undefined) throw new UnpackError('no such message')
  const id = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(1)
  return { kind, id, body: bytes.subarray(LANE_HEAD_BYTES) }
}

/** What a node tells of itself with push/pull. @param hashes of all shards */
export function encodeHint(hashes: Uint8Array): Uint8Array {
  const out = new Uint8Array(1 + hashes.length)
  out[0] = HINT
  out.set(hashes, 1)
  return out
}

/** The hashes of all shards. @throws UnpackError */
export function decodeHint(bytes: Uint8Array): Uint8Array {
  if (bytes.length !== 1 + SHARDS * SHARD_HASH_BYTES || bytes[0] !== HINT) throw new UnpackError('not a hint')
  return bytes.subarray(1)
}

/** One entry and nothing else. @throws UnpackError */
export function decodeOne(bytes: Uint8Array, valueBytesMax: number): Entry {
  const read = decodeEntry(bytes, 0, valueBytesMax)
  if (read === undefined || read.end !== bytes.length) throw new UnpackError('not an entry')
  return read.entry
}

export function encodeExchange(request: ExchangeRequest): Uint8Array {
  switch (request.kind) {
    case 'digest':
      return pack([DIGEST, request.hashes])
    case 'page': {
      const { shard, after, isLast, summaries, forgotten } = request
      const { since, floor } = forgotten
      return pack([PAGE, shard, toUint8Array(after), isLast, packSummaries(summaries), packHlc(since), packHlc(floor)])
    }
    case 'entries':
      return pack([ENTRIES, packEntries(request.entries)])
  }
}

/** @throws UnpackError */
export function decodeExchange(bytes: Uint8Array, valueBytesMax: number): ExchangeRequest {
  const [kind, ...items] = listOf(unpack(bytes))
  switch (kind) {
    case DIGEST: {
      const hashes = bytesOf(items[0])
      if (hashes.length !== SHARDS * SHARD_HASH_BYTES) throw new UnpackError('not the hashes of all shards')
      return { kind: 'digest', hashes }
    }
    case PAGE: {
      const [shard, after, isLast, summaries, since, floor] = items
      if (typeof isLast !== 'boolean') throw new UnpackError('not a boolean')
      const afterBytes = bytesOf(after)
      if (afterBytes.length !== 0 && afterBytes.length !== KEY_HASH_BYTES)
        throw new UnpackError('not the hash of a key')
      return {
        kind: 'page',
        shard: shardOf(shard),
        after: fromUint8Array(afterBytes),
        isLast,
        summaries: summariesOf(bytesOf(summaries)),
        forgotten: { since: hlcOf(since), floor: hlcOf(floor) },
      }
    }
    case ENTRIES:
      return { kind: 'entries', entries: entriesOf(bytesOf(items[0]), valueBytesMax) }
    default:
      throw new UnpackError('no such request')
  }
}

export function encodeExchangeAnswer(answer: ExchangeAnswer): Uint8Array {
  switch (answer.kind) {
    case 'digest':
      return pack([DIGEST, answer.shards])
    case 'page': {
      const { entries, want, gone, upTo } = answer
      const end = upTo === undefined ? null : toUint8Array(upTo)
      return pack([PAGE, packEntries(entries), toUint8Array(want.join('')), toUint8Array(gone.join('')), end])
    }
    case 'entries':
      return pack([ENTRIES])
  }
}

/** @throws UnpackError */
export function decodeExchangeAnswer(bytes: Uint8Array, valueBytesMax: number): ExchangeAnswer {
  const [kind, ...items] = listOf(unpack(bytes))
  switch (kind) {
    case DIGEST:
      return { kind: 'digest', shards: listOf(items[0]).map(shardOf) }
    case PAGE: {
      const [entries, want, gone, upTo] = items
      return {
        kind: 'page',
        entries: entriesOf(bytesOf(entries), valueBytesMax),
        want: keyHashesOf(bytesOf(want)),
        gone: keyHashesOf(bytesOf(gone)),
        upTo: upTo === null ? undefined : keyHashesOf(bytesOf(upTo))[0],
      }
    }
    case ENTRIES:
      return { kind: 'entries' }
    default:
      throw new UnpackError('no such answer')
  }
}

function packEntries(entries: readonly Entry[]): Uint8Array {
  let length = 0
  for (const entry of entries) length += entryBytes(entry)
  const out = new Uint8Array(length)
  let at = 0
  for (const entry of entries) {
    const bytes = encodeEntry(entry)
    out.set(bytes, at)
    at += bytes.length
  }
  return out
}

function entriesOf(bytes: Uint8Array, valueBytesMax: number): Entry[] {
  const entries: Entry[] = []
  for (let at = 0; at < bytes.length; ) {
    const read = decodeEntry(bytes, at, valueBytesMax)
    if (read === undefined) throw new UnpackError('not an entry')
    entries.push(read.entry)
    at = read.end
  }
  return entries
}

function packSummaries(summaries: readonly Summary[]): Uint8Array {
  const out = new Uint8Array(summaries.length * SUMMARY_BYTES)
  let at = 0
  for (const { keyHash, hlc, hash } of summaries) {
    out.set(toUint8Array(keyHash), at)
    out.set(packHlc(hlc), at + KEY_HASH_BYTES)
    out.set(toUint8Array(hash), at + KEY_HASH_BYTES + 8)
    at += SUMMARY_BYTES
  }
  return out
}

/** Ascending by key hash, as comparing needs it. */
function summariesOf(bytes: Uint8Array): Summary[] {
  if (bytes.length % SUMMARY_BYTES !== 0 || bytes.length > PAGE_SUMMARIES_MAX * SUMMARY_BYTES) {
    throw new UnpackError('not a page of summaries')
  }
  const summaries: Summary[] = []
  for (let at = 0; at < bytes.length; at += SUMMARY_BYTES) {
    const keyHash = fromUint8Array(bytes.subarray(at, at + KEY_HASH_BYTES))
    if (keyHash <= (summaries.at(-1)?.keyHash ?? '')) throw new UnpackError('summaries are out of order')
    const hlc = hlcOf(bytes.subarray(at + KEY_HASH_BYTES, at + KEY_HASH_BYTES + 8))
    summaries.push({ keyHash, hlc, hash: fromUint8Array(bytes.subarray(at + KEY_HASH_BYTES + 8, at + SUMMARY_BYTES)) })
  }
  return summaries
}

function keyHashesOf(bytes: Uint8Array): string[] {
  if (bytes.length % KEY_HASH_BYTES !== 0) throw new UnpackError('not hashes of keys')
  const all = fromUint8Array(bytes)
  return Array.from({ length: bytes.length / KEY_HASH_BYTES }, (_, i) =>
    all.slice(i * KEY_HASH_BYTES, (i + 1) * KEY_HASH_BYTES),
  )
}

function packHlc({ ms, counter }: Hlc): Uint8Array {
  const out = new Uint8Array(8)
  const view = new DataView(out.buffer)
  putU48(view, 0, ms)
  view.setUint16(6, counter)
  return out
}

function hlcOf(value: Packed | undefined): Hlc {
  const bytes = bytesOf(value)
  if (bytes.length !== 8) throw new UnpackError('not a stamp')
  const view = new DataView(bytes.buffer, bytes.byteOffset, 8)
  return { ms: getU48(view, 0), counter: view.getUint16(6) }
}

function shardOf(value: Packed | undefined): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value >= SHARDS) {
    throw new UnpackError('not a shard')
  }
  return value
}

function listOf(value: Packed | undefined): readonly Packed[] {
  if (!Array.isArray(value)) throw new UnpackError('not a list')
  return value
}

function bytesOf(value: Packed | undefined): Uint8Array {
  if (!(value instanceof Uint8Array)) throw new UnpackError('not bytes')
  return value
}
