// Reading arguments the way Lua's own library does: a wrong type raises `bad argument #N to 'fn' (string expected, got nil)`; a number
// serves where a string is expected and a numeric string where a number is (lua-core.md §1).

import { toBytes } from '../../runtime/base/bytes.ts'
import { Float } from '../../runtime/base/value.ts'
import {
  type Call,
  ErrorObject,
  type HostObject,
  type LuaFunction,
  type LuaTable,
  type LuaValue,
  Raise,
} from '../../runtime/lua/engine.ts'
import type { ScriptProcess } from '../../runtime/services.ts'

/** The process that calls. */
export function processOf(call: Call): ScriptProcess {
  return call.owner as ScriptProcess
}

/** Raises `text` with the caller's position. */
export function raise(text: string): never {
  throw new Raise(toBytes(text))
}

export function badArgument(index: number, fn: string, text: string): never {
  return raise(`bad argument #${index} to '${fn}' (${text})`)
}

/** The type of an argument as errors name it. */
export function givenType(call: Call, index: number): string {
  const type = call.type(index)
  return type === 'none' ? 'no value' : type
}

export function wrongType(call: Call, index: number, fn: string, expected: string): never {
  return badArgument(index, fn, `${expected} expected, got ${givenType(call, index)}`)
}

/** A byte string; numbers convert as `tostring` does, error objects to their message (§2.4). */
export function stringArg(call: Call, index: number, fn: string): string {
  const value = call.arg(index)
  if (typeof value === 'string') return value
  if (isNumber(value)) return call.tostring(index)
  if (value instanceof ErrorObject) return value.error.message
  return wrongType(call, index, fn, 'string')
}

export function optionalString(call: Call, index: number, fn: string): string | undefined {
  return call.arg(index) === undefined ? undefined : stringArg(call, index, fn)
}

/** A number as a double; numeric strings convert. */
export function numberArg(call: Call, index: number, fn: string): number {
  const number = toNumber(call.arg(index))
  return number ?? wrongType(call, index, fn, 'number')
}

export function optionalNumber(call: Call, index: number, fn: string, fallback: number): number {
  return call.arg(index) === undefined ? fallback : numberArg(call, index, fn)
}

/** A number with a whole value. */
export function integerArg(call: Call, index: number, fn: string): number {
  const number = numberArg(call, index, fn)
  if (!Number.isInteger(number)) badArgument(index, fn, 'number has no integer representation')
  return number
}

export function booleanArg(call: Call, index: number, fn: string): boolean {
  const value = call.arg(index)
  return typeof value === 'boolean' ? value : wrongType(call, index, fn, 'boolean')
}

export function tableArg(call: Call, index: number, fn: string): LuaTable {
  return call.type(index) === 'table' ? (call.arg(index) as LuaTable) : wrongType(call, index, fn, 'table')
}

export function functionArg(call: Call, index: number, fn: string): LuaFunction {
  return call.type(index) === 'function' ? (call.arg(index) as LuaFunction) : wrongType(call, index, fn, 'function')
}

/** A host object of the class; `expected` names it in the error. */
export function objectArg<T extends HostObject>(
  call: Call,
  index: number,
  fn: string,
  type: abstract new (...args: never[]) => T,
  expected: string,
): T {
  const value = call.arg(index)
  return value instanceof type ? value : wrongType(call, index, fn, expected)
}

export function isNumber(value: LuaValue): value is number | bigint | Float {
  return typeof value === 'number' || typeof value === 'bigint' || value instanceof Float
}

/** The double that a number or a numeric string stands for; undefined for anything else. */
export function toNumber(value: LuaValue): number | undefined {
  if (typeof value === 'number') return value
  if (value instanceof Float) return value.value
  if (typeof value === 'bigint') return Number(value)
  if (typeof value !== 'string') return undefined
  const [, text] = NUMERAL.exec(value) ?? []
  return text === undefined ? undefined : hexOrDecimal(text)
}

/** Between spaces of ASCII: other bytes are parts of characters. Each text matches in one way at most, or long ones would take for ever. */
const NUMERAL = /^[ \t-\r]*([-+]?(?:\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|0[xX][0-9a-fA-F]+))[ \t-\r]*$/

function hexOrDecimal(text: string): number {
  const sign = text[0] === '-' ? -1 : 1
  const digits = text.replace(/^[-+]/, '')
  return sign * Number(digits)
}
