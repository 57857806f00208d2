// "Any value" as libraries store and transport it. lua-libraries.md §0.4: a table with a first element is its list and loses everything else,
// any other table is a map with text keys; what is no data becomes its text.

import { fromUint8Array } from '../../runtime/base/bytes.ts'
import { MoonmeshError } from '../../runtime/base/errors.ts'
import { ErrorValue, Float, floatValue, integerValue, TableValue, type Value } from '../../runtime/base/value.ts'
import { type Engine, ErrorObject, HostObject, type LuaTable, type LuaValue } from '../../runtime/lua/engine.ts'
import { numberText } from './number-text.ts'

const DEPTH_MAX = 128
const PARTS_MAX = 1_000_000
const INT64_MAX = 2n ** 63n - 1n
const INT64_MIN = -(2n ** 63n)

/**
 * A copy that belongs to nobody. Error objects stay what they are.
 * @throws MoonmeshError `Internal` when it is nested deeper than 128 levels, which a table within itself is, or has over a million parts
 */
export function toStored(engine: Engine, value: LuaValue): Value {
  return new Converter(engine).convert(value, 0)
}

class Converter {
  readonly #engine: Engine
  #partCount = 0

  constructor(engine: Engine) {
    this.#engine = engine
  }

  convert(value: LuaValue, depth: number): Value {
    if (value instanceof ErrorObject) return value.leave()
    const type = this.#engine.typeOf(value)
    if (type === 'table') return this.#table(value as LuaTable, depth)
    if (type === 'function' || type === 'thread' || type === 'userdata') return opaqueText(type, value)
    return value as Value
  }

  #table(table: LuaTable, depth: number): TableValue {
    if (depth > DEPTH_MAX) fail(`table is nested deeper than ${DEPTH_MAX} levels or contains itself`)
    const engine = this.#engine
    const result = new TableValue()
    if (engine.get(table, 1) !== undefined) {
      for (let i = 1, item = engine.get(table, i); item !== undefined; item = engine.get(table, ++i)) {
        this.#count()
        result.array.push(this.convert(item, depth + 1))
      }
      return result
    }
    engine.each(table, (key, item) => {
      this.#count()
      result.keys.push(keyText(engine, key))
      result.values.push(this.convert(item, depth + 1))
    })
    return result
  }

  #count(): void {
    if (++this.#partCount > PARTS_MAX) fail(`value has more than ${PARTS_MAX} parts`)
  }
}

function fail(text: string): never {
  throw new MoonmeshError('Internal', text, { retryable: false })
}

function keyText(engine: Engine, key: LuaValue): string {
  if (typeof key === 'string') return key
  if (key instanceof ErrorObject) return key.error.message
  const type = engine.typeOf(key)
  if (type === 'number') return numberText(key as number | bigint | Float)
  return type === 'boolean' ? String(key) : opaqueText(type, key)
}

/** What stands for a value that is no data: a time or the like is its text. */
function opaqueText(type: string, value: LuaValue): string {
  if (!(value instanceof HostObject)) return `${type}: builtin`
  return value.text() ?? `${type}: ${value.className}`
}

/** Whether a stored value is a list; an empty table is a map. */
export const isList = (table: TableValue): boolean => table.array.length > 0

/** Plain data: maps are objects without a prototype, so that no key is special; nil is null. */
type Plain = null | boolean | number | bigint | string | readonly Plain[] | { readonly [key: string]: Plain }

/** What is to be made of byte strings, and of integers beyond the safe range; by default they stay what they are. */
interface Reading {
  readonly string?: (bytes: string) => string
  readonly integer?: (value: bigint) => number | bigint
}

const same = <T>(value: T): T => value

/** A stored value as plain data. Floats and integers are told apart no longer; an error object becomes its message. */
export function plainOfStored(value: Value, { string = same, integer = same }: Reading = {}): Plain {
  if (value === undefined) return null
  if (typeof value === 'string') return string(value)
  if (typeof value === 'bigint') return integer(value)
  if (value instanceof Float) return value.value
  if (value instanceof ErrorValue) return string(value.message)
  if (!(value instanceof TableValue)) return value
  const reading = { string, integer }
  if (isList(value)) return value.array.map((item) => plainOfStored(item, reading))
  const map: Record<string, Plain> = Object.create(null)
  for (const [i, key] of value.keys.entries()) map[string(key as string)] = plainOfStored(value.values[i], reading)
  return map
}

/**
 * Plain data as a value: also Maps, dates (as Unix seconds) and bytes. An item
 * that is null leaves its place in a list empty.
 * @param options.string what a text becomes; `toBytes` unless the strings are byte strings already
 * @param options.number what a number becomes; by default an integer when it is whole and safe
 * @throws MoonmeshError `Internal` for integers beyond 64 bits, keys that are no scalars, and nesting deeper than 128 levels
 */
export function storedOfPlain(plain: unknown, options: PlainReading = {}, depth = 0): Value {
  const { string = same, number = wholeOrFloat } = options
  if (plain === null || plain === undefined) return undefined
  if (typeof plain === 'string') return string(plain)
  if (typeof plain === 'boolean') return plain
  if (typeof plain === 'number') return number(plain)
  if (typeof plain === 'bigint') {
    if (plain > INT64_MAX || plain < INT64_MIN) fail(`integer ${plain} does not fit 64 bits`)
    return integerValue(plain)
  }
  if (plain instanceof Date) return Math.floor(plain.getTime() / 1000)
  if (plain instanceof Uint8Array) return fromUint8Array(plain)
  if (depth > DEPTH_MAX) fail(`value is nested deeper than ${DEPTH_MAX} levels or contains itself`)
  const table = new TableValue()
  if (Array.isArray(plain)) {
    for (const [i, item] of plain.entries()) put(table, i + 1, storedOfPlain(item, options, depth + 1))
    return table
  }
  const pairs = plain instanceof Map ? plain : Object.entries(plain as object)
  for (const [key, item] of pairs) put(table, plainKey(key, string), storedOfPlain(item, options, depth + 1))
  return table
}

interface PlainReading {
  readonly string?: (text: string) => string
  readonly number?: (value: number) => Value
}

const wholeOrFloat = (value: number): Value =>
  Number.isSafeInteger(value) && !Object.is(value, -0) ? value : floatValue(value)

function put(table: TableValue, key: string | number, value: Value): void {
  if (value === undefined) return
  if (key === table.array.length + 1 && table.keys.length === 0) table.array.push(value)
  else {
    table.keys.push(key)
    table.values.push(value)
  }
}

function plainKey(key: unknown, string: (text: string) => string): string {
  if (key instanceof Date) return key.toISOString()
  if (key instanceof Uint8Array) return fromUint8Array(key)
  if (typeof key === 'object' && key !== null) fail('a key is a list or a map')
  return string(String(key))
}
