// Messages between hosts as bytes: msgpack, with neutral values kept exact (integer/float subtype, bytes, shared references, errors). A batch
// is a version byte and one msgpack array. A message is an array: its body, then the tables that occur in it, one after the other and not
// one inside the other, so that no depth is too deep. A table is the length of its array part, that part, then keys and values in turn.

import { Packr } from 'msgpackr'
import { MoonmeshError } from '../../base/errors.ts'
import { ErrorValue, Float, TableValue, type Value } from '../../base/value.ts'

const VERSION = 1
const FLOAT = -1
const ERROR = -2
/** A table of the message, by its number. */
const TABLE = -3
const LIST = -4
/** The packer makes the integer 0 of it. */
const NEGATIVE_ZERO = -5
/** How deep the runtime's own lists and objects nest: far less. */
const DEPTH_MAX = 50

const packr = new Packr({ useRecords: false, mapsAsObjects: true, int64AsType: 'bigint' })

/** Anything that a batch may hold: values, lists and string-keyed objects of these. */
type Wire = unknown

/** Tables by the order in which they were met. */
type Numbers = Map<TableValue, number>

function encodeMessage(message: unknown): Wire[] {
  const numbers: Numbers = new Map()
  const out = [encode(message, numbers)]
  // The map grows while it is walked.
  for (const table of numbers.keys()) out.push(encodeTable(table, numbers))
  return out
}

function encode(item: unknown, numbers: Numbers): Wire {
  if (typeof item !== 'object' || item === null) return item
  if (item instanceof TableValue) return [TABLE, numberOf(item, numbers)]
  if (item instanceof Float) return Object.is(item.value, -0) ? [NEGATIVE_ZERO] : [FLOAT, item.value]
  if (item instanceof ErrorValue) {
    return [ERROR, item.kind, item.message, item.retryable, encode(item.details, numbers), item.stack]
  }
  if (Array.isArray(item)) return [LIST, ...item.map((each) => encode(each, numbers))]
  const out: Record<string, Wire> = {}
  for (const [key, value] of Object.entries(item)) out[key] = encode(value, numbers)
  return out
}

function numberOf(table: TableValue, numbers: Numbers): number {
  const known = numbers.get(table)
  if (known !== undefined) return known
  numbers.set(table, numbers.size)
  return numbers.size - 1
}

function encodeTable({ array, keys, values }: TableValue, numbers: Numbers): Wire[] {
  const out: Wire[] = [array.length]
  for (const value of array) out.push(encode(value, numbers))
  for (let i = 0; i < keys.length; i++) out.push(encode(keys[i], numbers), encode(values[i], numbers))
  return out
}

function decodeMessage(wire: Wire): unknown {
  if (!Array.isArray(wire) || wire.length === 0) throw malformed('no message')
  const [body, ...contents] = wire
  const tables = contents.map(() => new TableValue())
  for (const [i, table] of tables.entries()) decodeTable(table, contents[i], tables)
  return decode(body, tables, 0)
}

function decode(wire: Wire, tables: readonly TableValue[], depth: number): unknown {
  if (typeof wire !== 'object' || wire === null) return wire ?? undefined
  if (depth > DEPTH_MAX) throw malformed('nested too deeply')
  if (!Array.isArray(wire)) {
    const out: Record<string, unknown> = {}
    for (const [key, value] of Object.entries(wire)) out[key] = decode(value, tables, depth + 1)
    return out
  }
  if (wire[0] === LIST) return wire.slice(1).map((item) => decode(item, tables, depth + 1))
  return decodeValue(wire, tables)
}

/** A value of a script: nil, a scalar, or one of the tagged forms. */
function decodeValue(wire: Wire, tables: readonly TableValue[]): Value {
  if (typeof wire !== 'object' || wire === null) return (wire ?? undefined) as Value
  const [tag, first] = Array.isArray(wire) ? wire : []
  switch (tag) {
    case FLOAT:
      if (typeof first !== 'number') throw malformed('a float that is none')
      return new Float(first)
    case NEGATIVE_ZERO:
      return new Float(-0)
    case TABLE: {
      const table = typeof first === 'number' ? tables[first] : undefined
      if (table === undefined) throw malformed('a reference to nothing')
      return table
    }
    case ERROR:
      return decodeError(wire as unknown[], tables)
    default:
      throw malformed('an unknown tag')
  }
}

function decodeError(wire: readonly unknown[], tables: readonly TableValue[]): ErrorValue {
  const [, kind, message, retryable, details, stack] = wire
  const table = decodeValue(details, tables)
  const isDetails = table === undefined || table instanceof TableValue
  const isRetryable = retryable === undefined || retryable === null || typeof retryable === 'boolean'
  if (typeof kind !== 'string' || typeof message !== 'string' || typeof stack !== 'string')
    throw malformed('an error without its texts')
  if (!isDetails || !isRetryable) throw malformed('an error with odd fields')
  return new ErrorValue(kind, message, retryable ?? undefined, table, stack)
}

function decodeTable(table: TableValue, wire: Wire, tables: readonly TableValue[]): void {
  const length = Array.isArray(wire) ? wire[0] : undefined
  if (!Array.isArray(wire) || !Number.isInteger(length) || length < 0 || length >= wire.length)
    throw malformed('a table of another form')
  if ((wire.length - length) % 2 === 0) throw malformed('a key without a value')
  let at = 1
  for (; at <= length; at++) table.array.push(decodeValue(wire[at], tables))
  for (; at < wire.length; at += 2) {
    table.keys.push(decodeValue(wire[at], tables))
    table.values.push(decodeValue(wire[at + 1], tables))
  }
}

function malformed(what: string): MoonmeshError {
  return new MoonmeshError('Invalid', `malformed batch: ${what}`)
}

/** A batch in one buffer of its own, ready to be transferred. */
export function encodeBatch(messages: readonly unknown[]): Uint8Array<ArrayBuffer> {
  const body = packr.pack(messages.map(encodeMessage))
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
  return wire.map(decodeMessage)
}
