// "Any value" as libraries store and transport it. lua-libraries.md §0.4: a table with a first element is its list and loses everything else,
// any other table is a map with text keys; what is no data becomes its text.

import { MoonmeshError } from '../../runtime/base/errors.ts'
import { type Float, TableValue, type Value } from '../../runtime/base/value.ts'
import { type Engine, ErrorObject, HostObject, type LuaTable, type LuaValue } from '../../runtime/lua/engine.ts'
import { numberText } from './number-text.ts'

const DEPTH_MAX = 128
const PARTS_MAX = 1_000_000

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

/** What stands for a value that is no data. */
function opaqueText(type: string, value: LuaValue): string {
  return value instanceof HostObject ? `${type}: ${value.className}` : `${type}: builtin`
}

/** Whether a stored value is a list; an empty table is a map. */
export const isList = (table: TableValue): boolean => table.array.length > 0

/** Pairs of a map in the order of their keys, bytewise: the same data always has the same form. */
export function sortedPairs(table: TableValue): [key: string, value: Value][] {
  const pairs = table.keys.map((key, i): [string, Value] => [key as string, table.values[i]])
  return pairs.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
}
