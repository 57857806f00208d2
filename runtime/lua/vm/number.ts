// Arithmetic beyond what the machine does in place: 64-bit integers, floats with whole values, numbers in strings.

import { generalText, numberText } from '../../base/number-text.ts'
import { Float } from '../../base/value.ts'
import type { Val } from './value.ts'

export type Num = number | bigint | Float

const INTEGER_MIN = -(2 ** 63)
const INTEGER_END = 2 ** 63
const SAFE = Number.MAX_SAFE_INTEGER

export const isInteger = (value: Val): value is number | bigint =>
  typeof value === 'number' ? Number.isSafeInteger(value) : typeof value === 'bigint'

/** Of any value. */
export const isFloat = (value: Val): boolean =>
  (typeof value === 'number' && !Number.isSafeInteger(value)) || value instanceof Float

export const isNumber = (value: Val): value is Num =>
  typeof value === 'number' || typeof value === 'bigint' || (typeof value === 'object' && value instanceof Float)

/** The one form of a float. */
export function float(value: number): number | Float {
  return Number.isSafeInteger(value) ? new Float(value) : value
}

/** The one form of an integer of any size, wrapped to 64 bits. */
export function wrap(value: bigint): number | bigint {
  const wrapped = BigInt.asIntN(64, value)
  return wrapped >= -9007199254740991n && wrapped <= 9007199254740991n ? Number(wrapped) : wrapped
}

/** The value as a JavaScript number, rounded if need be. */
export const toDouble = (value: Num): number =>
  typeof value === 'number' ? value : Number(typeof value === 'bigint' ? value : value.value)

/** The number that the value is, or that its text says. */
export function toNumber(value: Val): Num | undefined {
  if (typeof value === 'string') return parseNumber(value)
  return isNumber(value) ? value : undefined
}

/** Of a float: the same integer, if it is one. */
export function floatToInteger(value: number): number | bigint | undefined {
  if (Number.isSafeInteger(value)) return value === 0 ? 0 : value
  return Number.isInteger(value) && value >= INTEGER_MIN && value < INTEGER_END ? BigInt(value) : undefined
}

/** The integer that a number, or a text, stands for. */
export function toInteger(value: Val): number | bigint | undefined {
  if (typeof value === 'number') return Number.isSafeInteger(value) ? value : floatToInteger(value)
  if (typeof value === 'bigint') return value
  if (typeof value === 'string') {
    const number = parseNumber(value)
    return number === undefined ? undefined : toInteger(number)
  }
  return typeof value === 'object' && value instanceof Float ? floatToInteger(value.value) : undefined
}

export const isSpace = (code: number): boolean => code === 32 || (code >= 9 && code <= 13)

/** What a byte is as a digit; too large for any base: it is none. */
export function digitOf(code: number): number {
  if (code <= 57) return code < 48 ? 99 : code - 48
  const letter = code | 32
  return letter >= 97 && letter <= 122 ? letter - 87 : 99
}

/** So many digits are a safe integer. */
const SAFE_DIGITS = 15

/** @returns undefined for a text that is no number */
export function parseNumber(text: string): Num | undefined {
  const { length } = text
  if (length === 0) return undefined
  // Long texts are no numbers; they may be ropes that nobody needs to look at.
  if (length > 2000) return parseNumber(trimmed(text))
  const first = text.charCodeAt(0)
  // Neither digit, sign, point nor space.
  if (first > 57) return undefined
  if (length <= SAFE_DIGITS) {
    const usual = usualNumber(text)
    if (usual !== undefined) return usual
  }
  let start = 0
  let end = length
  while (start < end && isSpace(text.charCodeAt(start))) start++
  while (end > start && isSpace(text.charCodeAt(end - 1))) end--
  const body = start === 0 && end === length ? text : text.slice(start, end)
  if (!/^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/.test(body)) return parseHex(body)
  if (!/^[+-]?\d+$/.test(body)) return float(Number(body))
  if (body.length <= SAFE_DIGITS) return Number(body) + 0
  const value = BigInt(body[0] === '+' ? body.slice(1) : body)
  return value >= -(2n ** 63n) && value < 2n ** 63n ? wrap(value) : float(Number(body))
}

/** Of a short text of digits, with a point among them or a minus before them, or `0x` and few digits; undefined: it may be another number. */
function usualNumber(text: string): Num | undefined {
  const { length } = text
  const from = text.charCodeAt(0) === 45 ? 1 : 0
  let value = 0
  let digits = 0
  let point = -1
  for (let i = from; i < length; i++) {
    const code = text.charCodeAt(i)
    if (code >= 48 && code <= 57) {
      value = value * 10 + code - 48
      digits++
    } else if (code === 46 && point < 0) point = i
    else if ((code | 32) === 120 && i === 1 && value === 0 && digits === 1) return smallHex(text)
    else return undefined
  }
  if (digits === 0) return undefined
  if (point >= 0) return float(Number(text))
  return from === 0 ? value : 0 - value
}

/** Of digits behind `0x`. */
function smallHex(text: string): number | undefined {
  let value = 0
  for (let i = 2; i < text.length; i++) {
    const digit = digitOf(text.charCodeAt(i))
    if (digit > 15) return undefined
    value = value * 16 + digit
  }
  return text.length > 2 && text.length <= 14 ? value : undefined
}

function trimmed(text: string): string {
  const body = text.replace(/^[ \t-\r]+|[ \t-\r]+$/g, '')
  return body.length > 2000 ? '' : body
}

function parseHex(text: string): Num | undefined {
  const match = /^([+-]?)0[xX]([0-9a-fA-F]*)(?:(\.)([0-9a-fA-F]*))?(?:[pP]([+-]?\d+))?$/.exec(text)
  if (match === null) return undefined
  const [, sign, whole = '', point, fraction = '', exponent] = match
  if (whole === '' && fraction === '') return undefined
  const digits = BigInt(`0x0${whole}${fraction}`)
  if (point === undefined && exponent === undefined) return wrap(sign === '-' ? -digits : digits)
  const shift = Number(exponent ?? 0) - 4 * fraction.length
  const value = scaled(digits, shift)
  return float(sign === '-' ? -value : value)
}

/** `digits * 2^shift`, rounded once. */
function scaled(digits: bigint, shift: number): number {
  if (digits === 0n) return 0
  const bits = digits.toString(2).length
  if (bits + shift > 1025) return Number.POSITIVE_INFINITY
  if (bits + shift < -1080) return 0
  if (shift >= 0) return Number(digits << BigInt(shift))
  // As many bits as the result keeps, and one more that says whether anything was cut off.
  const kept = Math.min(64, bits + shift + 1080)
  const dropped = bits - kept
  if (dropped <= 0) return twice(Number(digits), shift)
  let head = digits >> BigInt(dropped)
  if (digits & ((1n << BigInt(dropped)) - 1n)) head |= 1n
  return twice(Number(head), shift + dropped)
}

const twice = (value: number, shift: number): number => {
  if (shift < -1000) return value * 2 ** -1000 * 2 ** (shift + 1000)
  return value * 2 ** shift
}

/**
 * Whole floats print without a fraction (lua-core.md §2.1); what compares with another implementation turns it off, and then says how what
 * is no number prints there.
 */
export const floats = { areShort: true, nan: 'nan' }

/** `tostring` of a number. */
export function numberToString(value: Num): string {
  if (typeof value === 'number') return Number.isSafeInteger(value) ? String(value) : floatText(value)
  return typeof value === 'bigint' ? String(value) : floatText(value.value)
}

function floatText(value: number): string {
  if (floats.areShort) return numberText(value)
  if (Number.isNaN(value)) return floats.nan
  const text = generalText(value, 14)
  return /^-?\d+$/.test(text) ? `${text}.0` : text
}

/** Why an operation has no result. */
export class ArithmeticError {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
}

/** `a op b` of two numbers; 0 to 6: add, sub, mul, mod, pow, div, idiv. @throws ArithmeticError division by zero */
export function arithmetic(operation: number, a: Num, b: Num): Num {
  if (operation !== 4 && operation !== 5 && isInteger(a) && isInteger(b)) return integerArithmetic(operation, a, b)
  const x = toDouble(a)
  const y = toDouble(b)
  switch (operation) {
    case 0:
      return float(x + y)
    case 1:
      return float(x - y)
    case 2:
      return float(x * y)
    case 3:
      return float(floatModulo(x, y))
    case 4:
      return float(power(x, y))
    case 5:
      return float(x / y)
    default:
      return float(Math.floor(x / y))
  }
}

/** C knows that one to any power is one, and `10^-5` better than V8 does. */
export function power(x: number, y: number): number {
  if (y === 2) return x * x
  if (y < 0 && Number.isInteger(y)) {
    const whole = x ** -y
    if (Number.isSafeInteger(whole)) return 1 / whole
  }
  if (x === 1 || (x === -1 && (y === Number.POSITIVE_INFINITY || y === Number.NEGATIVE_INFINITY))) return 1
  return x ** y
}

/** As 5.3 decides it: a remainder so small that its product with `y` is zero stays. */
function floatModulo(x: number, y: number): number {
  const rest = x % y
  return rest * y < 0 ? rest + y : rest
}

function integerArithmetic(operation: number, a: number | bigint, b: number | bigint): number | bigint {
  if (typeof a === 'number' && typeof b === 'number') {
    const small = smallArithmetic(operation, a, b)
    if (small <= SAFE && small >= -SAFE) return small + 0
  }
  const x = BigInt(a)
  const y = BigInt(b)
  switch (operation) {
    case 0:
      return wrap(x + y)
    case 1:
      return wrap(x - y)
    case 2:
      return wrap(x * y)
    case 3: {
      if (y === 0n) throw new ArithmeticError("attempt to perform 'n%0'")
      const rest = x % y
      return wrap(rest !== 0n && rest < 0n !== y < 0n ? rest + y : rest)
    }
    default: {
      if (y === 0n) throw new ArithmeticError('attempt to divide by zero')
      const quotient = x / y
      return wrap(x % y !== 0n && x < 0n !== y < 0n ? quotient - 1n : quotient)
    }
  }
}

/** Infinite where it is not exact. */
function smallArithmetic(operation: number, a: number, b: number): number {
  switch (operation) {
    case 0:
      return a + b
    case 1:
      return a - b
    case 2:
      return a * b
    case 3: {
      if (b === 0) throw new ArithmeticError("attempt to perform 'n%0'")
      const rest = a % b
      return rest !== 0 && rest < 0 !== b < 0 ? rest + b : rest
    }
    default: {
      if (b === 0) throw new ArithmeticError('attempt to divide by zero')
      const rest = a % b
      // Dividing first would round.
      return (a - rest) / b - (rest !== 0 && rest < 0 !== b < 0 ? 1 : 0)
    }
  }
}

/** Of integers. Operations 7 to 11: band, bor, bxor, shl, shr. */
export function bitwise(operation: number, a: number | bigint, b: number | bigint): number | bigint {
  if (typeof a === 'number' && typeof b === 'number' && (a | 0) === a && (b | 0) === b) {
    switch (operation) {
      case 7:
        return a & b
      case 8:
        return a | b
      case 9:
        return a ^ b
      case 10:
        if (b >= 0 && b < 21) return a * 2 ** b
        break
      default:
        if (a >= 0 && b >= 0 && b < 32) return a >>> b
    }
  }
  if (typeof a === 'number' && typeof b === 'number') {
    const result = safeBitwise(operation, a, b)
    if (result <= SAFE && result >= -SAFE) return result
  }
  const x = BigInt(a)
  const y = BigInt(b)
  switch (operation) {
    case 7:
      return wrap(x & y)
    case 8:
      return wrap(x | y)
    case 9:
      return wrap(x ^ y)
    case 10:
      return shifted(x, y)
    default:
      return shifted(x, -y)
  }
}

const TWO_32 = 2 ** 32

/** Of safe integers, by halves: the upper has the sign. Infinite where that is not enough. */
function safeBitwise(operation: number, a: number, b: number): number {
  if (operation === 10) return b >= 0 && b < 53 ? a * 2 ** b : Number.POSITIVE_INFINITY
  if (operation === 11) return a >= 0 && b >= 0 && b < 53 ? Math.floor(a / 2 ** b) : Number.POSITIVE_INFINITY
  const high = Math.floor(a / TWO_32)
  const other = Math.floor(b / TWO_32)
  if (operation === 7) return (high & other) * TWO_32 + ((a & b) >>> 0)
  if (operation === 8) return (high | other) * TWO_32 + ((a | b) >>> 0)
  return (high ^ other) * TWO_32 + ((a ^ b) >>> 0)
}

/** To the left; zeros come in on both sides. */
function shifted(x: bigint, by: bigint): number | bigint {
  if (by >= 64n || by <= -64n) return 0
  return by >= 0n ? wrap(x << by) : wrap(BigInt.asUintN(64, x) >> -by)
}

export function negate(value: Num): Num {
  if (typeof value === 'number') return Number.isSafeInteger(value) ? 0 - value : -value
  if (typeof value === 'bigint') return wrap(-value)
  return float(-value.value)
}

/** Exact, also between integers and floats. */
export function lessThan(a: Num, b: Num): boolean {
  const x = typeof a === 'object' ? a.value : a
  const y = typeof b === 'object' ? b.value : b
  return x < y
}

export function lessEqual(a: Num, b: Num): boolean {
  const x = typeof a === 'object' ? a.value : a
  const y = typeof b === 'object' ? b.value : b
  return x <= y
}

/** Without metamethods. */
export function rawEqual(a: Val, b: Val): boolean {
  if (a === b) return true
  if (!isNumber(a) || !isNumber(b)) return false
  const x = typeof a === 'object' ? a.value : a
  const y = typeof b === 'object' ? b.value : b
  // biome-ignore lint/suspicious/noDoubleEquals: a bigint and a number of the same value are equal
  return x == y
}
