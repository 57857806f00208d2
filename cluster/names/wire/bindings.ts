// Consistent and strong names on the wire: gossip frames of kind C1, and the feed from a member of the group to a node without a replica.
// cluster.md §6.6. Read strictly: one wrong byte and nothing of the message is used.

import { pack, UnpackError, unpack } from '../../../runtime/base/msgpack.ts'
import { getU48, putU48 } from '../../kv/core/entry.ts'
import { Fields } from '../../state/core/fields.ts'
import type { AsOf, BindingChange } from '../core/cache.ts'
import { getString, NAME_BYTES_MAX, PID_BYTES_MAX, putString } from '../core/change.ts'

/** Of a formation, as bytes that tell one from another. */
const FORMATION_BYTES = 8
const BIND = 1
const STRONG = 2
const FIXED_BYTES = 6 + 1 + 2

/** `formation 8, rev u48, flags u8, name, [pid]`. @param formation hex, of which the first 16 digits count */
export function encodeBindingFrame(formation: string, change: BindingChange): Uint8Array {
  const record = encodeBinding(change)
  const out = new Uint8Array(FORMATION_BYTES + record.length)
  out.set(formationBytes(formation))
  out.set(record, FORMATION_BYTES)
  return out
}

/** @throws UnpackError */
export function decodeBindingFrame(bytes: Uint8Array): { formation: string; change: BindingChange } {
  const read = decodeBinding(bytes, FORMATION_BYTES)
  if (read === undefined || read.end !== bytes.length) throw new UnpackError('not a binding')
  return { formation: hexOf(bytes.subarray(0, FORMATION_BYTES)), change: read.change }
}

/** What a frame says of the formation. */
export const shortFormation = (formation: string): string => formation.slice(0, 2 * FORMATION_BYTES)

export interface FeedMessage {
  readonly formation: string
  /** Changes in order; a part of a snapshot; or nothing new. */
  readonly kind: 'changes' | 'snapshot' | 'heartbeat'
  readonly asOf: AsOf
  /** Of a snapshot. */
  readonly isFirst: boolean
  readonly isLast: boolean
  readonly changes: readonly BindingChange[]
}

const KINDS = ['changes', 'snapshot', 'heartbeat'] as const

export function encodeFeed({ formation, kind, asOf, isFirst, isLast, changes }: FeedMessage): Uint8Array {
  const records = changes.map(encodeBinding)
  const bytes = new Uint8Array(records.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const record of records) {
    bytes.set(record, at)
    at += record.length
  }
  const flags = (isFirst ? 1 : 0) | (isLast ? 2 : 0)
  return pack({ f: formation, k: KINDS.indexOf(kind), i: asOf.index, r: asOf.revision, p: flags, b: bytes })
}

/** @throws UnpackError */
export function decodeFeed(bytes: Uint8Array): FeedMessage {
  const fields = new Fields(unpack(bytes))
  const kind = KINDS[fields.count('k')]
  if (kind === undefined) throw new UnpackError('no kind of message of the feed')
  const flags = fields.count('p')
  const records = fields.bytes('b')
  const changes: BindingChange[] = []
  for (let at = 0; at < records.length; ) {
    const read = decodeBinding(records, at)
    if (read === undefined) throw new UnpackError('not a binding')
    changes.push(read.change)
    at = read.end
  }
  return {
    formation: fields.text('f'),
    kind,
    asOf: { index: fields.count('i'), revision: fields.count('r') },
    isFirst: (flags & 1) !== 0,
    isLast: (flags & 2) !== 0,
    changes,
  }
}

export function bindingBytes({ name, pid }: BindingChange): number {
  return FIXED_BYTES + name.length + (pid === undefined ? 0 : 2 + pid.length)
}

function encodeBinding(change: BindingChange): Uint8Array {
  const { name, pid, scope, revision } = change
  const out = new Uint8Array(bindingBytes(change))
  const view = new DataView(out.buffer)
  putU48(view, 0, revision)
  view.setUint8(6, (pid === undefined ? 0 : BIND) | (scope === 'strong' ? STRONG : 0))
  const at = putString(view, 7, name)
  if (pid !== undefined) putString(view, at, pid)
  return out
}

function decodeBinding(bytes: Uint8Array, at: number): { change: BindingChange; end: number } | undefined {
  if (bytes.length - at < FIXED_BYTES) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const revision = getU48(view, at)
  const flags = view.getUint8(at + 6)
  const name = getString(view, at + 7, NAME_BYTES_MAX)
  if (name === undefined || flags > (BIND | STRONG) || revision === 0) return undefined
  const scope = (flags & STRONG) === 0 ? 'consistent' : 'strong'
  if ((flags & BIND) === 0) {
    return { change: { name: name.text, pid: undefined, scope, revision }, end: name.end }
  }
  const pid = getString(view, name.end, PID_BYTES_MAX)
  return pid === undefined ? undefined : { change: { name: name.text, pid: pid.text, scope, revision }, end: pid.end }
}

function formationBytes(formation: string): Uint8Array {
  return Uint8Array.from({ length: FORMATION_BYTES }, (_, i) => Number.parseInt(formation.slice(2 * i, 2 * i + 2), 16))
}

function hexOf(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('')
}
