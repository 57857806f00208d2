// Eventual names on the wire: gossip frames of kind E1, which begin with their type, and the two requests over the mesh.
// cluster.md §6.5. Read strictly: one wrong byte and nothing of the frame is used.

import { type Packed, pack, UnpackError, unpack } from '../../../runtime/base/msgpack.ts'
import { getU48, putU48 } from '../../kv/core/entry.ts'
import { Fields } from '../../state/core/fields.ts'
import {
  type Change,
  changeBytes,
  type Dot,
  decodeChange,
  encodeChange,
  getString,
  NODE_BYTES_MAX,
  putString,
} from '../core/change.ts'
import type { DigestEntry, PullAnswer, PullRequest } from '../core/eventual.ts'
import { HASH_BYTES } from '../core/origin.ts'

/** Methods on the mesh: what is missing of a run, and a digest that is answered with what lies beyond it. */
export const PULL = 'ev.pull'
export const COMPARE = 'ev.digest'

/** What one frame may take of a packet of gossip. */
export const FRAME_BYTES_MAX = 900
const CHANGES = 0
const DIGEST = 1
const ENTRY_FIXED_BYTES = 2 + 6 + 6 + HASH_BYTES

type EventualFrame =
  | { readonly kind: 'changes'; readonly changes: readonly Change[] }
  | { readonly kind: 'digest'; readonly entries: readonly DigestEntry[] }

/** Changes in frames that gossip takes, in order. A change that fits none is left out: comparing brings it. */
export function changeFrames(changes: readonly Change[]): Uint8Array[] {
  const fitting = changes.filter((change) => 1 + changeBytes(change) <= FRAME_BYTES_MAX)
  return framed(CHANGES, fitting.map(encodeChange))
}

/** A digest in frames of that size. */
export function digestFrames(entries: readonly DigestEntry[]): Uint8Array[] {
  return framed(DIGEST, entries.map(encodeDigestEntry))
}

/** @throws UnpackError */
export function decodeFrame(bytes: Uint8Array): EventualFrame {
  const records = bytes.subarray(1)
  if (bytes[0] === CHANGES) return { kind: 'changes', changes: decodeChanges(records) }
  if (bytes[0] === DIGEST) return { kind: 'digest', entries: decodeDigestEntries(records) }
  throw new UnpackError('no such type of frame')
}

export function encodePull({ origin, epoch, have }: PullRequest): Uint8Array {
  return pack({ origin, epoch, have })
}

/** @throws UnpackError */
export function decodePull(bytes: Uint8Array): PullRequest {
  const fields = new Fields(unpack(bytes))
  return { origin: fields.text('origin'), epoch: fields.count('epoch'), have: fields.count('have') }
}

export function encodePullAnswer(answer: PullAnswer): Uint8Array {
  switch (answer.kind) {
    case 'changes':
      return pack({ changes: joined(answer.changes.map(encodeChange)) })
    case 'state':
      return pack({ seq: answer.seq, dots: joined(answer.dots.map(encodeChange)) })
    case 'unknown':
      return pack({})
  }
}

/** @throws UnpackError */
export function decodePullAnswer(bytes: Uint8Array): PullAnswer {
  const fields = new Fields(unpack(bytes))
  if (fields.has('dots')) {
    const dots = decodeChanges(fields.bytes('dots'))
    if (!dots.every((dot): dot is Dot => dot.bound !== undefined)) throw new UnpackError('a state has bindings only')
    return { kind: 'state', seq: fields.count('seq'), dots }
  }
  return fields.has('changes')
    ? { kind: 'changes', changes: decodeChanges(fields.bytes('changes')) }
    : { kind: 'unknown' }
}

export function encodeDigest(entries: readonly DigestEntry[]): Uint8Array {
  return pack(joined(entries.map(encodeDigestEntry)))
}

/** @throws UnpackError */
export function decodeDigest(bytes: Uint8Array): DigestEntry[] {
  const value: Packed = unpack(bytes)
  if (!(value instanceof Uint8Array)) throw new UnpackError('not the bytes of a digest')
  return decodeDigestEntries(value)
}

function framed(type: number, records: readonly Uint8Array[]): Uint8Array[] {
  const frames: Uint8Array[] = []
  let frame: Uint8Array[] = [Uint8Array.of(type)]
  let length = 1
  for (const record of records) {
    if (length + record.length > FRAME_BYTES_MAX && frame.length > 1) {
      frames.push(joined(frame))
      frame = [Uint8Array.of(type)]
      length = 1
    }
    frame.push(record)
    length += record.length
  }
  if (frame.length > 1) frames.push(joined(frame))
  return frames
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    out.set(part, at)
    at += part.length
  }
  return out
}

function decodeChanges(bytes: Uint8Array): Change[] {
  const changes: Change[] = []
  for (let at = 0; at < bytes.length; ) {
    const read = decodeChange(bytes, at)
    if (read === undefined) throw new UnpackError('not a change of a name')
    changes.push(read.change)
    at = read.end
  }
  return changes
}

function encodeDigestEntry({ origin, epoch, seq, hash }: DigestEntry): Uint8Array {
  const out = new Uint8Array(ENTRY_FIXED_BYTES + origin.length)
  const view = new DataView(out.buffer)
  const at = putString(view, 0, origin)
  putU48(view, at, epoch)
  putU48(view, at + 6, seq)
  for (let i = 0; i < HASH_BYTES; i++) view.setUint8(at + 12 + i, hash.charCodeAt(i))
  return out
}

function decodeDigestEntries(bytes: Uint8Array): DigestEntry[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const entries: DigestEntry[] = []
  for (let at = 0; at < bytes.length; ) {
    const origin = getString(view, at, NODE_BYTES_MAX)
    if (origin === undefined || bytes.length - origin.end < 12 + HASH_BYTES) throw new UnpackError('not a digest')
    const [epoch, seq] = [getU48(view, origin.end), getU48(view, origin.end + 6)]
    const hashAt = origin.end + 12
    const hash = String.fromCharCode(...bytes.subarray(hashAt, hashAt + HASH_BYTES))
    if (epoch === 0 || seq === 0) throw new UnpackError('a run that has done nothing')
    entries.push({ origin: origin.text, epoch, seq, hash })
    at = hashAt + HASH_BYTES
  }
  return entries
}
