// What string.format of both engines writes alike: floats, signs, widths, as C's printf does.

import { exponentText, fixedText, generalText, hexText } from '../base/number-text.ts'

/** `%-+ #0` width `.` precision kind */
export interface Directive {
  readonly flags: string
  readonly width: number
  readonly precision: number | undefined
  readonly kind: string
}

/** For the kinds `aAeEfFgG`. */
export function floatText(number: number, { flags, width, precision, kind }: Directive): string {
  const isNegative = number < 0 || Object.is(number, -0)
  const size = isNegative ? -number : number
  const digits = digitsOf(size, flags.includes('#'), precision, kind.toLowerCase())
  const text = kind === kind.toUpperCase() ? digits.toUpperCase() : digits
  const sign = signOf(isNegative, flags)
  if (!Number.isFinite(number)) return padded(sign + text, flags.replaceAll('0', ''), width)
  return kind === 'a' || kind === 'A'
    ? padded(text.slice(2), flags, width, sign + text.slice(0, 2))
    : padded(text, flags, width, sign)
}

function digitsOf(size: number, isAlternate: boolean, precision: number | undefined, kind: string): string {
  if (kind === 'a') {
    const text = hexText(size, precision)
    return isAlternate && Number.isFinite(size) && !text.includes('.') ? text.replace('p', '.p') : text
  }
  if (kind === 'g') return generalText(size, precision ?? 6, isAlternate)
  const digits = kind === 'e' ? exponentText(size, precision ?? 6) : fixedText(size, precision ?? 6)
  return isAlternate && precision === 0 && Number.isFinite(size) ? digits.replace(/^\d+/, '$&.') : digits
}

export function signOf(isNegative: boolean, flags: string): string {
  if (isNegative) return '-'
  return flags.includes('+') ? '+' : flags.includes(' ') ? ' ' : ''
}

/** @param sign what stands before zeros that fill up */
export function padded(text: string, flags: string, width: number, sign?: string): string {
  const whole = (sign ?? '') + text
  if (flags.includes('-')) return whole.padEnd(width, ' ')
  if (sign !== undefined && flags.includes('0')) return sign + text.padStart(width - sign.length, '0')
  return whole.padStart(width, ' ')
}
