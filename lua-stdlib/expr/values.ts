// What expressions compute with: nil, booleans, integers, floats, texts, arrays and maps. Integers and floats differ, as in Lua. Bytes that are
// no UTF-8 stay what they are on the way in and out (text/scan.ts).

import { ErrorValue, Float, floatValue, integerValue, TableValue, type Value } from '../../runtime/base/value.ts'
import { bytesOfScanned, scanText } from '../text/scan.ts'
import { ExprError } from './lexer.ts'

/** A safe whole `number`, or a `bigint` beyond those, is an integer; `Float` is a float with a whole value; any other `number` is a float. */
export type ExprValue = undefined | boolean | number | bigint | Float | string | readonly ExprValue[] | ExprMap
export type ExprMap = ReadonlyMap<string, ExprValue>

const DEPTH_MAX = 128
const RESULT_PARTS_MAX = 1_000_000

/** Counts work that is about to be done, in items looked at. @throws ExprError when it is too much */
type Spend = (itemCount: number) => void

export type TypeName = 'nil' | 'bool' | 'int' | 'float' | 'string' | 'array' | 'map'

/** Characters of a text. What is no character counts as one. */
export const characters = (text: string): string[] =>
  lengthOf(text) === text.length ? text.split('') : Array.from(text)

/** In characters. */
export function lengthOf(text: string): number {
  let count = text.length
  for (let i = 0; i < text.length - 1; i++) {
    const isPair = (text.charCodeAt(i) & 0xfc00) === 0xd800 && (text.charCodeAt(i + 1) & 0xfc00) === 0xdc00
    if (isPair) count--
  }
  return count
}

export function typeName(value: ExprValue): TypeName {
  if (value === undefined) return 'nil'
  if (typeof value === 'boolean') return 'bool'
  if (typeof value === 'string') return 'string'
  if (typeof value === 'bigint') return 'int'
  if (typeof value === 'number') return Number.isInteger(value) ? 'int' : 'float'
  if (value instanceof Float) return 'float'
  return isArray(value) ? 'array' : 'map'
}

export const isArray = (value: ExprValue): value is readonly ExprValue[] => Array.isArray(value)
export const isMap = (value: ExprValue): value is ExprMap => value instanceof Map
export type ExprNumber = number | bigint | Float
export const isNumber = (value: ExprValue): value is ExprNumber =>
  typeof value === 'number' || typeof value === 'bigint' || value instanceof Float
/** As a double; integers beyond 53 bits are rounded. */
export const numberOf = (value: ExprNumber): number => Number(exactOf(value))
/** What JavaScript compares exactly, a `bigint` with a `number` too. */
export const exactOf = (value: ExprNumber): number | bigint => (value instanceof Float ? value.value : value)
export const isInteger = (value: ExprValue): value is number | bigint =>
  typeof value === 'bigint' || (typeof value === 'number' && Number.isInteger(value))
/** An integer that can be a position or a count. */
export const isIndex = (value: ExprValue): value is number => typeof value === 'number' && Number.isInteger(value)

/** An integer of 64 bits; beyond them it wraps around, as in Lua. */
export const integer = (value: bigint): number | bigint => integerValue(BigInt.asIntN(64, value))

/** A float, whole or not. */
export const float = (value: number): number | Float => (Number.isInteger(value) ? new Float(value) : value)

/** Arrays grow inside each other step by step, deeper than functions can call themselves. @throws ExprError */
function assertShallow(depth: number): void {
  if (depth > DEPTH_MAX) throw new ExprError(`value is nested deeper than ${DEPTH_MAX} levels`)
}

/** @throws ExprError when they are nested too deeply */
export function equal(a: ExprValue, b: ExprValue, spend: Spend, depth = 0): boolean {
  assertShallow(depth)
  if (isNumber(a) && isNumber(b)) {
    const [x, y] = [exactOf(a), exactOf(b)]
    return x <= y && x >= y
  }
  if (isArray(a) && isArray(b)) {
    if (a.length !== b.length) return false
    spend(a.length)
    return a.every((item, i) => equal(item, b[i], spend, depth + 1))
  }
  if (isMap(a) && isMap(b)) {
    if (a.size !== b.size) return false
    spend(a.size)
    for (const [key, item] of a) if (!b.has(key) || !equal(item, b.get(key), spend, depth + 1)) return false
    return true
  }
  return a === b
}

/** @throws ExprError when it is nested too deeply */
export function fromNeutral(value: Value, depth = 0): ExprValue {
  assertShallow(depth)
  if (typeof value === 'string') return textOf(value)
  if (value instanceof ErrorValue) return textOf(value.message)
  if (typeof value === 'number') return Number.isSafeInteger(value) ? value : float(value)
  if (!(value instanceof TableValue)) return value
  if (value.array.length > 0) return value.array.map((item) => fromNeutral(item, depth + 1))
  const map = new Map<string, ExprValue>()
  for (const [i, key] of value.keys.entries()) {
    if (typeof key === 'string') map.set(textOf(key), fromNeutral(value.values[i], depth + 1))
  }
  return map
}

/** The text that stands for bytes here. */
export const textOf = (bytes: string): string => scanText(bytes).text

/** @throws ExprError when it is nested too deeply, or has too many parts: one list in many places is as many lists outside */
export function toNeutral(value: ExprValue): Value {
  let partCount = 0
  const convert = (part: ExprValue, depth: number): Value => {
    assertShallow(depth)
    if (++partCount > RESULT_PARTS_MAX) throw new ExprError(`the value has more than ${RESULT_PARTS_MAX} parts`)
    if (typeof part === 'string') return bytesOfScanned(part)
    if (part instanceof Float) return floatValue(part.value)
    if (isArray(part)) return new TableValue(part.map((item) => convert(item, depth + 1)))
    if (!isMap(part)) return part
    const table = new TableValue()
    for (const [key, item] of part) {
      const neutral = convert(item, depth + 1)
      if (neutral === undefined) continue
      table.keys.push(bytesOfScanned(key))
      table.values.push(neutral)
    }
    return table
  }
  return convert(value, 0)
}

/** @throws ExprError when it is nested too deeply */
export function show(value: ExprValue, spend: Spend, depth = 0): string {
  assertShallow(depth)
  if (value === undefined) return '<nil>'
  if (isNumber(value)) return String(exactOf(value))
  const each = (item: ExprValue): string => show(item, spend, depth + 1)
  if (isArray(value)) {
    spend(value.length)
    return `[${value.map(each).join(' ')}]`
  }
  if (isMap(value)) {
    spend(value.size)
    return `map[${[...value].map(([key, item]) => `${key}:${each(item)}`).join(' ')}]`
  }
  return String(value)
}
