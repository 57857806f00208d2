// string.format, one directive at a time; numbers as C's printf writes them.

import { hexText } from '../../base/number-text.ts'
import { type Directive, floatText, padded, signOf } from '../directives.ts'
import { ErrorObject } from '../engine.ts'
import { integerArgument, numberArgument, stringArgument, toText } from './library.ts'
import type { Machine } from './machine.ts'
import { isInteger, type Num, toDouble } from './number.ts'
import { typeName, type Val } from './value.ts'

const DIRECTIVE = /^([-+ #0]*)(\d*)(?:\.(\d*))?/

export function format(m: Machine, S: Val[], at: number, count: number): string {
  const template = stringArgument(m, S, at, count, 1)
  let out = ''
  let from = 0
  let index = 1
  for (;;) {
    const percent = template.indexOf('%', from)
    if (percent < 0) return out + template.slice(from)
    out += template.slice(from, percent)
    const next = template[percent + 1]
    if (next === '%') {
      out += '%'
      from = percent + 2
      continue
    }
    if (++index > count) throw m.argumentError(index, 'no value')
    if (next === 'd' || next === 's') {
      // By far the most frequent.
      const value = S[at + index]
      if (next === 's' ? typeof value === 'string' : typeof value === 'number' && Number.isSafeInteger(value)) {
        out += value as string
        from = percent + 2
        m.checkLength(out.length)
        continue
      }
    }
    const match = DIRECTIVE.exec(template.slice(percent + 1, percent + 40)) as RegExpExecArray
    const [whole, flags = '', width = '', precision] = match
    if (flags.length > 5) throw m.error('invalid format (repeated flags)')
    if (width.length > 2 || (precision ?? '').length > 2) throw m.error('invalid format (width or precision too long)')
    const kind = template[percent + 1 + whole.length] ?? ''
    const directive = {
      flags,
      width: Number(width),
      precision: precision === undefined ? undefined : Number(precision),
      kind,
    }
    if (!'cdiouxXaAeEfFgGqs'.includes(kind) || kind === '') {
      throw m.error(`invalid option '%${shownByte(kind)}' to 'format'`)
    }
    out += write(m, S, at, count, index, directive)
    m.checkLength(out.length)
    from = percent + 2 + whole.length
  }
}

/** As the reference names a byte in an error; its strings end with a zero. */
function shownByte(byte: string): string {
  const code = byte === '' ? 0 : byte.charCodeAt(0)
  return code >= 32 && code < 127 ? byte : `<\\${code}>`
}

function write(m: Machine, S: Val[], at: number, count: number, index: number, directive: Directive): string {
  const { flags, width, precision, kind } = directive
  switch (kind) {
    case 'c':
      return padded(
        String.fromCharCode(Number(BigInt.asUintN(8, BigInt(integerArgument(m, S, at, count, index))))),
        flags,
        width,
      )
    case 's': {
      const text = toText(m, S[at + index])
      if (flags === '' && width === 0 && precision === undefined) return text
      if (text.includes('\0')) throw m.argumentError(index, 'string contains zeros')
      return padded(text.slice(0, precision), flags, width)
    }
    case 'q':
      return quoted(m, S, at, index)
    case 'd':
    case 'i':
      return wholeText(m, S, at, count, index, directive)
    case 'o':
    case 'u':
    case 'x':
    case 'X':
      return unsignedText(integerArgument(m, S, at, count, index), directive)
    default:
      return floatText(toDouble(numberArgument(m, S, at, count, index)), directive)
  }
}

/** A fraction is cut (lua-core.md §2.1). */
function wholeText(m: Machine, S: Val[], at: number, count: number, index: number, directive: Directive): string {
  const number: Num = numberArgument(m, S, at, count, index)
  const double = toDouble(number)
  if (!Number.isFinite(double)) throw m.argumentError(index, 'number has no integer representation')
  const whole = typeof number === 'bigint' ? number : BigInt(Math.trunc(double))
  const isNegative = whole < 0n
  return withDigits(String(isNegative ? -whole : whole), signOf(isNegative, directive.flags), directive)
}

function unsignedText(value: number | bigint, directive: Directive): string {
  const { flags, kind } = directive
  const radix = kind === 'o' ? 8 : kind === 'u' ? 10 : 16
  let digits = BigInt.asUintN(64, BigInt(value)).toString(radix)
  if (kind === 'X') digits = digits.toUpperCase()
  if (flags.includes('#') && radix === 8) {
    // The precision is made large enough for a leading zero.
    const filled = value === 0 && directive.precision === 0 ? '' : digits.padStart(directive.precision ?? 0, '0')
    if (!filled.startsWith('0')) {
      return withDigits(`0${filled}`, '', {
        ...directive,
        precision: directive.precision === undefined ? undefined : 1,
      })
    }
  }
  const prefix = flags.includes('#') && value !== 0 && radix === 16 ? `0${kind}` : ''
  return withDigits(digits, prefix, directive)
}

function withDigits(digits: string, sign: string, { flags, width, precision }: Directive): string {
  if (precision === undefined) return padded(digits, flags, width, sign)
  const filled = precision === 0 && digits === '0' ? '' : digits.padStart(precision, '0')
  return padded(sign + filled, flags.replaceAll('0', ''), width)
}

/** As the source of a chunk would write the value. */
function quoted(m: Machine, S: Val[], at: number, index: number): string {
  const given = S[at + index]
  const value = given instanceof ErrorObject ? given.error.message : given
  if (typeof value === 'string') {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must be written as numbers
    const body = value.replace(/["\\\n\r\0]|[\x01-\x1f\x7f]/g, (each, offset: number) => {
      if (each === '"' || each === '\\') return `\\${each}`
      if (each === '\n') return '\\\n'
      const code = each.charCodeAt(0)
      const follows = value.charCodeAt(offset + 1)
      return follows >= 48 && follows <= 57 ? `\\${String(code).padStart(3, '0')}` : `\\${code}`
    })
    return `"${body}"`
  }
  if (value === undefined || typeof value === 'boolean') return String(value ?? 'nil')
  if (isInteger(value)) return value === -(2n ** 63n) ? '0x8000000000000000' : String(value)
  if (typeof value === 'number' || typeName(value) === 'number') {
    const double = toDouble(value as Num)
    if (double === Number.POSITIVE_INFINITY) return '1e9999'
    if (double === Number.NEGATIVE_INFINITY) return '-1e9999'
    return Number.isNaN(double) ? '(0/0)' : hexText(double)
  }
  throw m.argumentError(index, 'value has no literal form')
}
