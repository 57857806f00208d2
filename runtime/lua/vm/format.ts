// string.format, one directive at a time; numbers as C's printf writes them.

import { hexText } from '../../base/number-text.ts'
import { type Directive, floatText, padded, signOf } from '../directives.ts'
import { ErrorObject } from '../engine.ts'
import { Kept } from './kept.ts'
import { integerArgument, numberArgument, stringArgument, toText } from './library.ts'
import type { Machine } from './machine.ts'
import { isInteger, type Num, toDouble } from './number.ts'
import { typeName, type Val } from './value.ts'

const DIRECTIVE = /^([-+ #0]*)(\d*)(?:\.(\d*))?/

/** A part of a text: one directive, and what stands before it. */
class Piece implements Directive {
  /** The text up to the directive. */
  readonly literal: string
  /** Where the next piece begins. */
  readonly end: number
  readonly flags: string
  readonly width: number
  readonly precision: number | undefined
  /** Empty: there is no directive any more. */
  readonly kind: string
  /** Neither flags nor width nor precision. */
  readonly isBare: boolean
  /** What is wrong with the directive. */
  readonly mistake: string | undefined

  constructor(template: string, start: number) {
    let from = start
    let literal = ''
    let percent = template.indexOf('%', from)
    while (percent >= 0 && template.charCodeAt(percent + 1) === 37) {
      literal += template.slice(from, percent + 1)
      from = percent + 2
      percent = template.indexOf('%', from)
    }
    this.literal = literal + (percent < 0 ? template.slice(from) : template.slice(from, percent))
    if (percent < 0) {
      this.end = template.length
      this.flags = ''
      this.width = 0
      this.precision = undefined
      this.kind = ''
      this.isBare = true
      this.mistake = undefined
      return
    }
    const match = DIRECTIVE.exec(template.slice(percent + 1, percent + 40)) as RegExpExecArray
    const [whole, flags = '', width = '', precision] = match
    this.end = percent + 2 + whole.length
    this.flags = flags
    this.width = Number(width)
    this.precision = precision === undefined ? undefined : Number(precision)
    const kind = template[percent + 1 + whole.length] ?? ''
    this.kind = kind === '' ? '\0' : kind
    this.isBare = whole === ''
    this.mistake =
      flags.length > 5
        ? 'invalid format (repeated flags)'
        : width.length > 2 || (precision ?? '').length > 2
          ? 'invalid format (width or precision too long)'
          : 'cdiouxXaAeEfFgGqs'.includes(this.kind)
            ? undefined
            : `invalid option '%${shownByte(kind)}' to 'format'`
  }
}

/** The texts that one machine has formatted, as pieces, so far as they were needed. */
export const newTemplates = (): Kept<Piece[]> => new Kept(() => [])

export function format(m: Machine, S: Val[], at: number, count: number): string {
  const template = stringArgument(m, S, at, count, 1)
  const pieces = m.templates.of(template)
  let out = ''
  let from = 0
  for (let i = 0; ; i++) {
    if (i === pieces.length) pieces.push(new Piece(template, from))
    const piece = pieces[i] as Piece
    const { kind } = piece
    out += piece.literal
    if (kind === '') return out
    const index = i + 2
    if (index > count) throw m.argumentError(index, 'no value')
    if (piece.mistake !== undefined) throw m.error(piece.mistake)
    const value = S[at + index]
    // By far the most frequent.
    if (piece.isBare && typeof value === 'string' && kind === 's') out += value
    else if (piece.isBare && typeof value === 'number' && kind === 'd' && Number.isSafeInteger(value)) out += value
    else out += write(m, S, at, count, index, piece)
    if (out.length > 64) m.checkLength(out.length)
    from = piece.end
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
      return padded(character(integerArgument(m, S, at, count, index)), flags, width)
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

function character(code: number | bigint): string {
  const isSmall = typeof code === 'number' && (code | 0) === code
  return String.fromCharCode(isSmall ? code & 255 : Number(BigInt.asUintN(8, BigInt(code))))
}

/** A fraction is cut (lua-core.md §2.1). */
function wholeText(m: Machine, S: Val[], at: number, count: number, index: number, directive: Directive): string {
  const number: Num = numberArgument(m, S, at, count, index)
  if (typeof number === 'number' && Number.isSafeInteger(number))
    return withDigits(String(Math.abs(number)), signOf(number < 0, directive.flags), directive)
  const double = toDouble(number)
  if (!Number.isFinite(double)) throw m.argumentError(index, 'number has no integer representation')
  const whole = typeof number === 'bigint' ? number : BigInt(Math.trunc(double))
  const isNegative = whole < 0n
  return withDigits(String(isNegative ? -whole : whole), signOf(isNegative, directive.flags), directive)
}

function unsignedText(value: number | bigint, directive: Directive): string {
  const { flags, kind } = directive
  const radix = kind === 'o' ? 8 : kind === 'u' ? 10 : 16
  let digits = (typeof value === 'number' && value >= 0 ? value : BigInt.asUintN(64, BigInt(value))).toString(radix)
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
    let body = ''
    let copied = 0
    for (let i = 0; i < value.length; i++) {
      const code = value.charCodeAt(i)
      if (code >= 32 && code !== 34 && code !== 92 && code !== 127) continue
      body += value.slice(copied, i)
      copied = i + 1
      if (code === 34) body += '\\"'
      else if (code === 92) body += '\\\\'
      else if (code === 10) body += '\\\n'
      else {
        const follows = i + 1 < value.length ? value.charCodeAt(i + 1) : 0
        body += follows >= 48 && follows <= 57 ? `\\${String(code).padStart(3, '0')}` : `\\${code}`
      }
    }
    return `"${body}${value.slice(copied)}"`
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
