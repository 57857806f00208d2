// One change of an eventual name, as its origin numbered it, and its bytes: they are what travels and what the hash of a run is made
// of. cluster.md §6.5. All texts are byte strings.

import { getU48, putU48 } from '../../kv/core/entry.ts'
import type { Hlc } from '../../kv/core/hlc.ts'

export interface Bound {
  readonly pid: string
  /** When it was registered. */
  readonly hlc: Hlc
  /** The higher one wins; 0 unless somebody asked for more. */
  readonly priority: number
}

/** The origin, a run of a node, is the only writer of its names. */
export interface Change {
  readonly origin: string
  readonly epoch: number
  /** From 1, without gaps. */
  readonly seq: number
  readonly name: string
  /** Undefined: the name was given up. */
  readonly bound: Bound | undefined
}

/** A binding that holds. */
export type Dot = Change & { readonly bound: Bound }

export const NODE_BYTES_MAX = 128
export const NAME_BYTES_MAX = 255
export const PID_BYTES_MAX = 512

const BIND = 1
const UNBIND = 0
const U48 = 6

/** Above 0 when `a` wins: by priority, then whoever was first, then by the name of the origin. Total over dots of different origins. */
export function compareDots(a: Dot, b: Dot): number {
  const { priority, hlc } = a.bound
  const other = b.bound
  const order = priority - other.priority || other.hlc.ms - hlc.ms || other.hlc.counter - hlc.counter
  if (order !== 0) return order
  return a.origin === b.origin ? 0 : a.origin < b.origin ? 1 : -1
}

export function changeBytes({ origin, name, bound }: Change): number {
  return 2 + origin.length + 2 * U48 + 1 + 2 + name.length + (bound === undefined ? 0 : 2 + bound.pid.length + 8 + 2)
}

/** `origin, epoch u48, seq u48, op u8, name`, and for a bind `pid, hlc u48+u16, priority u16`; strings with u16 length, big-endian. */
export function encodeChange(change: Change): Uint8Array {
  const { origin, epoch, seq, name, bound } = change
  const out = new Uint8Array(changeBytes(change))
  const view = new DataView(out.buffer)
  let at = putString(view, 0, origin)
  putU48(view, at, epoch)
  putU48(view, at + U48, seq)
  at += 2 * U48
  view.setUint8(at, bound === undefined ? UNBIND : BIND)
  at = putString(view, at + 1, name)
  if (bound === undefined) return out
  at = putString(view, at, bound.pid)
  putU48(view, at, bound.hlc.ms)
  view.setUint16(at + U48, bound.hlc.counter)
  view.setUint16(at + 8, bound.priority)
  return out
}

/** Reads one change at `at`. @returns undefined when the bytes are none */
export function decodeChange(bytes: Uint8Array, at: number): { change: Change; end: number } | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const origin = getString(view, at, NODE_BYTES_MAX)
  if (origin === undefined || bytes.length - origin.end < 2 * U48 + 1) return undefined
  const epoch = getU48(view, origin.end)
  const seq = getU48(view, origin.end + U48)
  const op = view.getUint8(origin.end + 2 * U48)
  const name = getString(view, origin.end + 2 * U48 + 1, NAME_BYTES_MAX)
  if (name === undefined || epoch === 0 || seq === 0 || op > BIND) return undefined
  const change = { origin: origin.text, epoch, seq, name: name.text }
  if (op === UNBIND) return { change: { ...change, bound: undefined }, end: name.end }
  const pid = getString(view, name.end, PID_BYTES_MAX)
  if (pid === undefined || bytes.length - pid.end < 10) return undefined
  const hlc = { ms: getU48(view, pid.end), counter: view.getUint16(pid.end + U48) }
  const priority = view.getUint16(pid.end + 8)
  return { change: { ...change, bound: { pid: pid.text, hlc, priority } }, end: pid.end + 10 }
}

export function putString(view: DataView, at: number, text: string): number {
  view.setUint16(at, text.length)
  for (let i = 0; i < text.length; i++) view.setUint8(at + 2 + i, text.charCodeAt(i))
  return at + 2 + text.length
}

/** Of 1 to `bytesMax` bytes. */
export function getString(view: DataView, at: number, bytesMax: number): { text: string; end: number } | undefined {
  if (view.byteLength - at < 2) return undefined
  const length = view.getUint16(at)
  const start = at + 2
  if (length === 0 || length > bytesMax || view.byteLength - start < length) return undefined
  const bytes = new Uint8Array(view.buffer, view.byteOffset + start, length)
  return { text: String.fromCharCode(...bytes), end: start + length }
}
