// Plain JavaScript data <-> neutral values, for the TypeScript side of the package and for what YAML and JSON bring in.
// Text becomes UTF-8 bytes and back.

import { toBytes, toText } from './bytes.ts'
import { MoonmeshError } from './errors.ts'
import { ErrorValue, Float, integerValue, TableValue, type Value } from './value.ts'

/** What `fromPlain` accepts and `toPlain` returns. `undefined` and `null` are both nil. */
export type Plain =
  | undefined
  | null
  | boolean
  | number
  | bigint
  | string
  | Error
  | readonly Plain[]
  | { readonly [key: string]: Plain }
  | ReadonlyMap<Plain, Plain>

const DEPTH_MAX = 200

/**
 * Plain data as a neutral value. Arrays become 1..n, objects and Maps become tables, errors become error objects; what cannot
 * travel (functions, symbols) becomes nil. A number with a whole value is an integer.
 * @throws MoonmeshError `Invalid` when nested deeper than 200 levels or cyclic
 */
export function fromPlain(plain: unknown, depth = 0): Value {
  if (depth > DEPTH_MAX)
    throw new MoonmeshError('Invalid', `data is nested deeper than ${DEPTH_MAX} levels or refers to itself`)
  switch (typeof plain) {
    case 'boolean':
      return plain
    case 'number':
      return Object.is(plain, -0) ? new Float(plain) : plain
    case 'bigint':
      return integerValue(BigInt.asIntN(64, plain))
    case 'string':
      return toBytes(plain)
    case 'object':
      break
    default:
      return undefined
  }
  if (plain === null) return undefined
  if (plain instanceof Float || plain instanceof TableValue || plain instanceof ErrorValue) return plain
  if (plain instanceof Error) return errorFrom(plain)
  if (Array.isArray(plain)) return arrayFrom(plain, depth)
  const pairs = plain instanceof Map ? plain : Object.entries(plain)
  const keys: Value[] = []
  const values: Value[] = []
  for (const [key, value] of pairs) {
    const v = fromPlain(value, depth + 1)
    const k = fromPlain(key, depth + 1)
    if (v === undefined || k === undefined) continue
    keys.push(k)
    values.push(v)
  }
  return new TableValue([], keys, values)
}

/** A hole or nil inside an array keeps the position of what follows it. */
function arrayFrom(items: readonly unknown[], depth: number): TableValue {
  const array: Value[] = []
  const keys: Value[] = []
  const values: Value[] = []
  let dense = true
  for (const [i, item] of items.entries()) {
    const value = fromPlain(item, depth + 1)
    if (value === undefined) dense = false
    else if (dense) array.push(value)
    else {
      keys.push(i + 1)
      values.push(value)
    }
  }
  return new TableValue(array, keys, values)
}

/**
 * A neutral value as plain data: sequences become arrays, other tables objects with text keys, floats plain numbers. Shared references and
 * cycles are kept; tables are filled one after the other, so that no depth is too deep.
 */
export function toPlain(value: Value): Plain {
  const made: Made = new Map()
  const out = plainOf(value, made)
  // The map grows while it is walked.
  for (const [table, plain] of made) fillPlain(plain, table, made)
  return out
}

/**
 * Plain data as JSON on one line, or indented. Integers beyond the safe range, which JSON readers would round, become text.
 * @throws TypeError, RangeError for what contains itself or is nested too deep
 */
export function jsonOf(value: unknown, options: { indent?: number } = {}): string {
  return JSON.stringify(value, jsonValue, options.indent) ?? 'null'
}

/** An integer in well-formed JSON that reading would round. What JavaScript itself writes for a number, as for a large float, is none. */
export function roundedInteger(json: string): string | undefined {
  if (!/\d{16}/.test(json)) return undefined
  for (const [token] of json.matchAll(/"(?:[^"\\]+|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g)) {
    if (/^-?\d{16,}$/.test(token) && isRounded(token)) return token
  }
  return undefined
}

function isRounded(digits: string): boolean {
  const value = Number(digits)
  return String(value) !== digits && (!Number.isFinite(value) || BigInt(value) !== BigInt(digits))
}

/** What JSON has no words for. */
function jsonValue(_key: string, value: unknown): unknown {
  if (typeof value === 'bigint') return String(value)
  return value instanceof Map ? [...value] : value
}

type Made = Map<TableValue, Plain[] | Record<string, Plain>>

function plainOf(value: Value, made: Made): Plain {
  if (typeof value === 'string') return toText(value)
  if (value instanceof Float) return value.value
  if (value instanceof ErrorValue) return plainError(value, made)
  if (!(value instanceof TableValue)) return value
  const known = made.get(value)
  if (known !== undefined) return known
  const plain = value.keys.length === 0 ? [] : {}
  made.set(value, plain)
  return plain
}

function fillPlain(plain: Plain[] | Record<string, Plain>, table: TableValue, made: Made): void {
  if (Array.isArray(plain)) {
    for (const item of table.array) plain.push(plainOf(item, made))
    return
  }
  for (const [i, item] of table.array.entries()) setOwn(plain, String(i + 1), plainOf(item, made))
  for (const [i, key] of table.keys.entries()) {
    if (key === undefined || key instanceof TableValue || key instanceof ErrorValue) continue
    setOwn(plain, String(plainOf(key, made)), plainOf(table.values[i], made))
  }
}

/** Own property even for `__proto__`, which a peer's data may hold. */
function setOwn(target: Record<string, Plain>, key: string, value: Plain): void {
  Object.defineProperty(target, key, { value, enumerable: true, configurable: true, writable: true })
}

/** Any thrown thing as an error object; a MoonmeshError keeps kind, retryable and details. */
export function errorFrom(thrown: unknown): ErrorValue {
  if (thrown instanceof ErrorValue) return thrown
  if (thrown instanceof MoonmeshError) {
    const details = thrown.details === undefined ? undefined : fromPlain(thrown.details)
    return new ErrorValue(
      toBytes(thrown.kind),
      toBytes(thrown.message),
      thrown.retryable,
      details instanceof TableValue && details.keys.length > 0 ? details : undefined,
    )
  }
  return new ErrorValue('Internal', toBytes(thrown instanceof Error ? thrown.message : String(thrown)))
}

/** An error object as the package's error class. */
export function errorTo(error: ErrorValue): MoonmeshError {
  return toPlain(error) as MoonmeshError
}

function plainError(error: ErrorValue, made: Made): MoonmeshError {
  const details = error.details === undefined ? undefined : plainOf(error.details, made)
  return new MoonmeshError(toText(error.kind), toText(error.message), {
    ...(error.retryable === undefined ? {} : { retryable: error.retryable }),
    ...(details === undefined ? {} : { details: details as Record<string, unknown> }),
  })
}
