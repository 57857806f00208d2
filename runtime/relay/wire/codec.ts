// Messages between hosts as bytes: msgpack, with neutral values kept exact (integer/float subtype, bytes, shared references, errors). A batch
// is a version byte and one msgpack array. Tables are tagged arrays: a first element >= 0 is the length of the table's array part.

import { Packr } from 'msgpackr'
import { MoonmeshError } from '../../base/errors.ts'
import { ErrorValue, Float, TableValue, type Value } from '../../base/value.ts'

const VERSION = 1
const FLOAT = -1
const ERROR = -2
const REFERENCE = -3
const LIST = -4
const DEPTH_MAX = 600

const packr = new Packr({ useRecords: false, mapsAsObjects: true, int64AsType: 'bigint' })

/** Anything that a batch may hold: values, lists and string-keyed objects of these. */
type Wire = unknown

interface Numbering {
  /** Tables by the order in which they were met. */
  readonly known: Map<TableValue, number>
}

function encode(item: unknown, tables: Numbering, depth: number): Wire {
  if (typeof item !== 'object' || item === null) return item
  if (depth > DEPTH_MAX) throw new MoonmeshError('Invalid', `a value is nested deeper than ${DEPTH_MAX} levels`)
  if (item instanceof TableValue) return encodeTable(item, tables, depth)
  if (item instanceof Float) return [FLOAT, item.value]
  if (item instanceof ErrorValue) {
    return [ERROR, item.kind, item.message, item.retryable, encode(item.details, tables, depth + 1), item.stack]
  }
  if (Array.isArray(item)) return [LIST, ...item.map((each) => encode(each, tables, depth + 1))]
  const out: Record<string, Wire> = {}
  for (const [key, value] of Object.entries(item)) out[key] = encode(value, tables, depth + 1)
  return out
}

function encodeTable(table: TableValue, tables: Numbering, depth: number): Wire {
  const number = tables.known.get(table)
  if (number !== undefined) return [REFERENCE, number]
  tables.known.set(table, tables.known.size)
  const out: Wire[] = [table.array.length]
  for (const value of table.array) out.push(encode(value, tables, depth + 1))
  for (let i = 0; i < table.keys.length; i++) {
    out.push(encode(table.keys[i], tables, depth + 1), encode(table.values[i], tables, depth + 1))
  }
  return out
}

function decode(wire: Wire, tables: TableValue[], depth: number): unknown {
  if (typeof wire !== 'object' || wire === null) return wire ?? undefined
  if (depth > DEPTH_MAX) throw malformed('nested too deeply')
  if (Array.isArray(wire)) return decodeTagged(wire, tables, depth)
  const out: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(wire)) out[key] = decode(value, tables, depth + 1)
  return out
}

function decodeTagged(wire: unknown[], tables: TableValue[], depth: number): unknown {
  const [tag] = wire
  switch (tag) {
    case FLOAT:
      return new Float(wire[1] as number)
    case ERROR: {
      const [, kind, message, retryable, details, stack] = wire
      const table = decode(details, tables, depth + 1) as TableValue | undefined
      return new ErrorValue(
        kind as string,
        message as string,
        (retryable as boolean | null) ?? undefined,
        table,
        stack as string,
      )
    }
    case REFERENCE: {
      const table = tables[wire[1] as number]
      if (table === undefined) throw malformed('a reference to nothing')
      return table
    }
    case LIST:
      return wire.slice(1).map((item) => decode(item, tables, depth + 1))
    default:
      return decodeTable(wire, tables, depth)
  }
}

function decodeTable(wire: unknown[], tables: TableValue[], depth: number): TableValue {
  const length = wire[0]
  if (typeof length !== 'number' || !Number.isInteger(length) || length < 0 || length >= wire.length + 1) {
    throw malformed('an unknown tag')
  }
  const table = new TableValue()
  tables.push(table)
  let at = 1
  for (; at <= length; at++) table.array.push(decode(wire[at], tables, depth + 1) as Value)
  for (; at + 1 < wire.length; at += 2) {
    table.keys.push(decode(wire[at], tables, depth + 1) as Value)
    table.values.push(decode(wire[at + 1], tables, depth + 1) as Value)
  }
  return table
}

function malformed(what: string): MoonmeshError {
  return new MoonmeshError('Invalid', `malformed batch: ${what}`)
}

/** A batch in one buffer of its own, ready to be transferred. */
export function encodeBatch(messages: readonly unknown[]): Uint8Array<ArrayBuffer> {
  const body = packr.pack(messages.map((message) => encode(message, { known: new Map() }, 0)))
  const out = new Uint8Array(body.length + 1)
  out[0] = VERSION
  out.set(body, 1)
  return out
}

/** @throws MoonmeshError `Invalid` for anything that `encodeBatch` cannot have made */
export function decodeBatch(bytes: Uint8Array): unknown[] {
  if (bytes[0] !== VERSION) throw malformed(`version ${bytes[0]}, expected ${VERSION}`)
  let wire: unknown
  try {
    wire = packr.unpack(bytes.subarray(1))
  } catch (cause) {
    throw new MoonmeshError('Invalid', 'malformed batch: not msgpack', { cause })
  }
  if (!Array.isArray(wire)) throw malformed('not a list')
  return wire.map((message) => decode(message, [], 0))
}
