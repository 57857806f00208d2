// Numbers as text, as C's printf writes them: what Lua's tostring and string.format show. JavaScript rounds a number that lies exactly
// between two others up, C to the even one; all else is the same digits in another dress.

const WHOLE_MAX = 2 ** 53
/** Numbers of so many digits are all different. */
const EXACT_DIGITS = 15
/** From here on toFixed writes an exponent. */
const FIXED_MAX = 1e21

/** `tostring`: whole numbers without a fraction (lua-core.md §2.1), all digits of those that are exact; else `%.14g`. */
export function numberText(value: number): string {
  if (Number.isInteger(value) && Math.abs(value) <= WHOLE_MAX) return value.toFixed(0)
  return generalText(value, 14)
}

/** `inf`, `-inf`, `nan`; undefined for any other number. */
function notFinite(value: number): string | undefined {
  if (Number.isNaN(value)) return 'nan'
  if (value === Number.POSITIVE_INFINITY) return 'inf'
  return value === Number.NEGATIVE_INFINITY ? '-inf' : undefined
}

/** `%.Nf`. @param precision 0..99 */
export function fixedText(value: number, precision: number): string {
  const special = notFinite(value)
  if (special !== undefined) return special
  const sign = isNegative(value) ? '-' : ''
  const size = Math.abs(value)
  if (size >= FIXED_MAX) return `${sign}${BigInt(size)}${precision > 0 ? `.${'0'.repeat(precision)}` : ''}`
  const rounded = size.toFixed(precision)
  return sign + (isHalf(size, precision) ? toEven(rounded) : rounded)
}

/** `%.Ne`. @param precision 0..99 */
export function exponentText(value: number, precision: number): string {
  const special = notFinite(value)
  if (special !== undefined) return special
  const { sign, digits, exponent } = decimal(value, precision)
  return sign + withExponent(digits, exponent)
}

/** `%.Ng`. @param precision 0..99   @param keepsZeros the flag `#`: the point, and zeros at the end, stay */
export function generalText(value: number, precision: number, keepsZeros = false): string {
  const special = notFinite(value)
  if (special !== undefined) return special
  const count = Math.max(1, precision)
  const usual = keepsZeros ? undefined : usualText(value, count)
  if (usual !== undefined) return usual
  const { sign, digits, exponent } = decimal(value, count - 1)
  const kept = keepsZeros ? digits : digits.replace(/0+$/, '') || '0'
  if (exponent < -4 || exponent >= count) return sign + withExponent(kept, exponent, keepsZeros)
  if (exponent < 0) return `${sign}0.${'0'.repeat(-exponent - 1)}${kept}`
  const whole = kept.slice(0, exponent + 1).padEnd(exponent + 1, '0')
  const fraction = kept.slice(exponent + 1)
  return sign + whole + (fraction === '' && !keepsZeros ? '' : `.${fraction}`)
}

/** `%.Ng` of a number that is neither large nor small, nor lies in the middle; undefined: it may be another. */
function usualText(value: number, count: number): string | undefined {
  const size = Math.abs(value)
  if (!(size >= 1e-4 && size < 1e15)) return undefined
  if (count <= EXACT_DIGITS) {
    // What tells it from other numbers in fewer digits is the nearest in more of them, too.
    const shortest = String(value)
    if (shortest.length <= count) return shortest
  }
  const text = value.toPrecision(count)
  const point = text.indexOf('.')
  if (point < 0 || text.includes('e') || isHalf(size, text.length - point - 1)) return undefined
  let end = text.length
  while (text.charCodeAt(end - 1) === 48) end--
  return text.slice(0, end - 1 === point ? point : end)
}

/** `%a`, with as many digits as there are unless `precision` says how many. */
export function hexText(value: number, precision?: number): string {
  const special = notFinite(value)
  if (special !== undefined) return special
  const view = new DataView(new ArrayBuffer(8))
  view.setFloat64(0, Math.abs(value))
  const bits = view.getBigUint64(0)
  const biased = Number(bits >> 52n)
  let mantissa = (bits & 0xfffffffffffffn) | (biased === 0 ? 0n : 1n << 52n)
  if (precision !== undefined && precision < 13) {
    const dropped = BigInt(4 * (13 - precision))
    const half = 1n << (dropped - 1n)
    const rest = mantissa & ((1n << dropped) - 1n)
    mantissa >>= dropped
    if (rest > half || (rest === half && mantissa % 2n === 1n)) mantissa++
    mantissa <<= dropped
  }
  const exponent = bits === 0n ? 0 : Math.max(1, biased) - 1023
  const digits = (mantissa & 0xfffffffffffffn).toString(16).padStart(13, '0')
  const fraction =
    precision === undefined ? digits.replace(/0+$/, '') : digits.slice(0, precision).padEnd(precision, '0')
  const sign = isNegative(value) ? '-' : ''
  return `${sign}0x${mantissa >> 52n}${fraction === '' ? '' : `.${fraction}`}p${exponent < 0 ? '-' : '+'}${Math.abs(exponent)}`
}

const isNegative = (value: number): boolean => value < 0 || Object.is(value, -0)

/** The digits of the value in scientific notation, one before the point, `fraction` behind it. */
function decimal(value: number, fraction: number): { sign: string; digits: string; exponent: number } {
  const size = Math.abs(value)
  const [mantissa = '', exponentText = '0'] = size.toExponential(fraction).split('e')
  const exponent = Number(exponentText)
  const rounded = mantissa.replace('.', '')
  const digits = isHalf(size, fraction - exponent) ? toEven(rounded) : rounded
  return { sign: isNegative(value) ? '-' : '', digits, exponent }
}

function withExponent(digits: string, exponent: number, keepsPoint = false): string {
  const mantissa = digits.length > 1 || keepsPoint ? `${digits[0]}.${digits.slice(1)}` : digits
  return `${mantissa}e${exponent < 0 ? '-' : '+'}${String(Math.abs(exponent)).padStart(2, '0')}`
}

/** Whether the value lies exactly between two numbers of so many digits behind the point; with fewer than 0, of tens and so on. */
function isHalf(size: number, digits: number): boolean {
  if (digits >= 0) {
    // Such a value is an odd number of halves of 10^-digits, which for a binary fraction means: of 2^-(digits + 1).
    const parts = size * 2 ** (digits + 1)
    return Number.isInteger(parts) && parts % 2 === 1
  }
  if (!Number.isInteger(size)) return false
  const unit = 10n ** BigInt(-digits)
  return (BigInt(size) * 2n) % (unit * 2n) === unit
}

/** Of a value that lay in the middle and was rounded up. */
function toEven(digits: string): string {
  const last = Number(digits.at(-1))
  return last % 2 === 1 ? digits.slice(0, -1) + String(last - 1) : digits
}
