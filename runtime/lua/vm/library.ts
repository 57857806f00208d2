// The standard library in the restricted form of lua-core.md §2: what each function is given, and what all have in common.

import { ErrorObject } from '../engine.ts'
import type { Machine } from './machine.ts'
import { isNumber, lessThan, type Num, numberToString, toInteger, toNumber } from './number.ts'
import { Table } from './table.ts'
import { Closure, type LuaError, Native, type NativeCode, typeName, type Val } from './value.ts'

export type Natives = Record<string, Native>

/** @param prefix `string.`, or nothing */
export function natives(prefix: string, codes: Record<string, NativeCode>): Natives {
  return Object.fromEntries(Object.entries(codes).map(([name, code]) => [name, new Native(prefix + name, code)]))
}

export function typeMismatch(
  m: Machine,
  S: Val[],
  at: number,
  count: number,
  index: number,
  expected: string,
): LuaError {
  const got = index > count ? 'no value' : m.typeNameOf(S[at + index])
  return m.argumentError(index, `${expected} expected, got ${got}`)
}

export function tableArgument(m: Machine, S: Val[], at: number, count: number, index: number): Table {
  const value = S[at + index]
  if (index <= count && value instanceof Table) return value
  throw typeMismatch(m, S, at, count, index, 'table')
}

export function functionArgument(m: Machine, S: Val[], at: number, count: number, index: number): Closure | Native {
  const value = S[at + index]
  if (index <= count && (value instanceof Closure || value instanceof Native)) return value
  throw typeMismatch(m, S, at, count, index, 'function')
}

export function numberArgument(m: Machine, S: Val[], at: number, count: number, index: number): Num {
  const number = index <= count ? toNumber(S[at + index]) : undefined
  if (number === undefined) throw typeMismatch(m, S, at, count, index, 'number')
  return number
}

export function integerArgument(m: Machine, S: Val[], at: number, count: number, index: number): number | bigint {
  const value = S[at + index]
  if (index <= count) {
    const integer = toInteger(value)
    if (integer !== undefined) return integer
    if (toNumber(value) !== undefined) throw m.argumentError(index, 'number has no integer representation')
  }
  throw typeMismatch(m, S, at, count, index, 'number')
}

/** An integer that serves as a position or a size: beyond the safe range any such number is as good as another. */
export function positionArgument(
  m: Machine,
  S: Val[],
  at: number,
  count: number,
  index: number,
  absent?: number,
): number {
  const value = S[at + index]
  if (typeof value === 'number' && index <= count && Number.isSafeInteger(value)) return value
  if (absent !== undefined && (index > count || value === undefined)) return absent
  return Number(integerArgument(m, S, at, count, index))
}

/** The text of a string, a number, or an error object (lua-core.md §2.4). */
export function textOf(value: Val): string | undefined {
  if (typeof value === 'string') return value
  if (isNumber(value)) return numberToString(value)
  return value instanceof ErrorObject ? value.error.message : undefined
}

export function stringArgument(m: Machine, S: Val[], at: number, count: number, index: number): string {
  const value = S[at + index]
  if (typeof value === 'string' && index <= count) return value
  const text = index <= count ? textOf(value) : undefined
  if (text === undefined) throw typeMismatch(m, S, at, count, index, 'string')
  return text
}

const addresses = new WeakMap<object, number>()
const made = { count: 0 }

/** Something like an address: different for different objects. */
function addressOf(value: object): string {
  let address = addresses.get(value)
  if (address === undefined) {
    address = 0x55d0_0000_0000 + ++made.count * 32
    addresses.set(value, address)
  }
  return `0x${address.toString(16).padStart(12, '0')}`
}

/** What `tostring` shows. Metamethods may not suspend. */
export function toText(m: Machine, value: Val): string {
  if (typeof value === 'string') return value
  if (isNumber(value)) return numberToString(value)
  if (value === undefined) return 'nil'
  if (typeof value === 'boolean') return String(value)
  const meta = m.metaOf(value)
  const handler = meta?.getStr('__tostring')
  if (handler !== undefined) {
    const text = m.callValue(handler, value)
    if (typeof text === 'string') return text
    if (isNumber(text)) return numberToString(text)
    throw m.error("'__tostring' must return a string")
  }
  const name = meta?.getStr('__name')
  return `${typeof name === 'string' ? name : typeName(value)}: ${addressOf(value as object)}`
}

/** `t[i]` with metamethods, which may not suspend. */
export function getIndex(m: Machine, t: Val, key: Val): Val {
  if (t instanceof Table) {
    const value = t.get(key)
    if (value !== undefined || t.meta === undefined) return value
  }
  return m.sync(() => m.index(t, key))
}

export function setIndex(m: Machine, t: Val, key: Val, value: Val): void {
  if (t instanceof Table && t.meta === undefined && t.frozen === undefined) {
    m.rawSet(t, key, value)
    return
  }
  m.sync(() => m.setIndex(t, key, value))
}

/** `#t` as an integer. */
export function lengthOf(m: Machine, t: Val): number {
  if (t instanceof Table && (t.meta === undefined || t.meta.getStr('__len') === undefined)) return t.length()
  const length = toInteger(m.sync(() => m.lengthOf(t)))
  if (length === undefined) throw m.error('object length is not an integer')
  return Number(length)
}

export function isLess(m: Machine, a: Val, b: Val): boolean {
  if (typeof a === 'number' && typeof b === 'number') return a < b
  if (typeof a === 'string' && typeof b === 'string') return a < b
  if (isNumber(a) && isNumber(b)) return lessThan(a, b)
  const result = m.sync(() => m.less(a, b))
  return result !== undefined && result !== false
}
