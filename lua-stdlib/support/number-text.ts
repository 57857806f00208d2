// Numbers as `tostring` shows them: whole floats without a fraction (lua-core.md §2.1).

import { Float } from '../../runtime/base/value.ts'

const WHOLE_MAX = 2 ** 53

/** ASCII. */
export function numberText(number: number | bigint | Float): string {
  if (typeof number === 'bigint') return String(number)
  const value = number instanceof Float ? number.value : number
  if (Number.isNaN(value)) return Object.is(value, Number.NaN) ? 'nan' : '-nan'
  if (!Number.isFinite(value)) return value > 0 ? 'inf' : '-inf'
  if (Number.isInteger(value) && Math.abs(value) <= WHOLE_MAX) return value.toFixed(0)
  return general(value, 14)
}

/** C's `%.Ng`. */
function general(value: number, digits: number): string {
  const [mantissa = '', exponentText = '0'] = value.toExponential(digits - 1).split('e')
  const exponent = Number(exponentText)
  const trim = (text: string): string => (text.includes('.') ? text.replace(/\.?0+$/, '') : text)
  if (exponent >= -4 && exponent < digits) return trim(value.toFixed(Math.max(0, digits - 1 - exponent)))
  const sign = exponent < 0 ? '-' : '+'
  return `${trim(mantissa)}e${sign}${String(Math.abs(exponent)).padStart(2, '0')}`
}
