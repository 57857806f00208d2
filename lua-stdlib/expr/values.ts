// What expressions compute with: nil, booleans, integers, floats, texts, arrays and maps. Integers and floats differ, as in Lua.

import { toBytes, toText } from '../../runtime/base/bytes.ts'
import { ErrorValue, Float, floatValue, TableValue, type Value } from '../../runtime/base/value.ts'
import { ExprError } from './lexer.ts'

/** A whole `number` is an integer; `Float` is a float with a whole value; any other `number` is a float. */
export type ExprValue = undefined | boolean | number | Float | string | readonly ExprValue[] | ExprMap
export type ExprMap = ReadonlyMap<string, ExprValue>

const DEPTH_MAX = 128

export type TypeName = 'nil' | 'bool' | 'int' | 'float' | 'string' | 'array' | 'map'

export function typeName(value: ExprValue): TypeName {
  if (value === undefined) return 'nil'
  if (typeof value === 'boolean') return 'bool'
  if (typeof value === 'string') return 'string'
  if (typeof value === 'number') return Number.isInteger(value) ? 'int' : 'float'
  if (value instanceof Float) return 'float'
  return isArray(value) ? 'array' : 'map'
}

export const isArray = (value: ExprValue): value is readonly ExprValue[] => Array.isArray(value)
export const isMap = (value: ExprValue): value is ExprMap => value instanceof Map
export const isNumber = (value: ExprValue): value is number | Float =>
  typeof value === 'number' || value instanceof Float
export const numberOf = (value: number | Float): number => (value instanceof Float ? value.value : value)
export const isInteger = (value: ExprValue): value is number => typeof value === 'number' && Number.isInteger(value)

/** A float, whole or not. */
export const float = (value: number): number | Float => (Number.isInteger(value) ? new Float(value) : value)

export function equal(a: ExprValue, b: ExprValue): boolean {
  if (isNumber(a) && isNumber(b)) return numberOf(a) === numberOf(b)
  if (isArray(a) && isArray(b)) return a.length === b.length && a.every((item, i) => equal(item, b[i]))
  if (isMap(a) && isMap(b)) {
    return a.size === b.size && [...a].every(([key, item]) => b.has(key) && equal(item, b.get(key)))
  }
  return a === b
}

/** @throws ExprError when it is nested too deeply */
export function fromNeutral(value: Value, depth = 0): ExprValue {
  if (depth > DEPTH_MAX) throw new ExprError(`value is nested deeper than ${DEPTH_MAX} levels`)
  if (typeof value === 'string') return toText(value)
  if (typeof value === 'bigint') return float(Number(value))
  if (value instanceof ErrorValue) return toText(value.message)
  if (!(value instanceof TableValue)) return value
  if (value.array.length > 0) return value.array.map((item) => fromNeutral(item, depth + 1))
  const map = new Map<string, ExprValue>()
  for (const [i, key] of value.keys.entries()) {
    if (typeof key === 'string') map.set(toText(key), fromNeutral(value.values[i], depth + 1))
  }
  return map
}

export function toNeutral(value: ExprValue): Value {
  if (typeof value === 'string') return toBytes(value)
  if (typeof value === 'number') return Number.isInteger(value) ? value : floatValue(value)
  if (isArray(value)) return new TableValue(value.map(toNeutral))
  if (!isMap(value)) return value
  const table = new TableValue()
  for (const [key, item] of value) {
    const neutral = toNeutral(item)
    if (neutral === undefined) continue
    table.keys.push(toBytes(key))
    table.values.push(neutral)
  }
  return table
}

export function show(value: ExprValue): string {
  if (value === undefined) return '<nil>'
  if (isNumber(value)) return String(numberOf(value))
  if (isArray(value)) return `[${value.map(show).join(' ')}]`
  if (isMap(value)) return `map[${[...value].map(([key, item]) => `${key}:${show(item)}`).join(' ')}]`
  return String(value)
}
