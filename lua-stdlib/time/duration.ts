// Durations: nanoseconds in 64 bits, and their text (lua-core.md §13.1, §13.5). They are bigints because a hundred days of nanoseconds
// leave the safe range of a number.

export const NANOSECOND = 1
export const MICROSECOND = 1000
export const MILLISECOND = 1_000_000
export const SECOND = 1_000_000_000
export const MINUTE = 60 * SECOND
export const HOUR = 60 * MINUTE

const NS_MAX = 2n ** 63n - 1n
const NS_MIN = -(2n ** 63n)
/** Longer texts are refused unread: exact arithmetic on their digits would cost more than any real duration is worth. */
const TEXT_LENGTH_MAX = 256

/** µ may be the micro sign or the Greek letter, here in the UTF-8 bytes in which a script writes them. */
const UNIT_NS: Readonly<Record<string, number>> = {
  ns: NANOSECOND,
  us: MICROSECOND,
  '\xc2\xb5s': MICROSECOND,
  '\xce\xbcs': MICROSECOND,
  ms: MILLISECOND,
  s: SECOND,
  m: MINUTE,
  h: HOUR,
}
const PART = /(\d*)(?:\.(\d*))?(ns|us|\xc2\xb5s|\xce\xbcs|ms|s|m|h)/y

/** The nearest duration there is: 64 bits reach about 292 years either way. */
export function saturate(ns: bigint): bigint {
  if (ns > NS_MAX) return NS_MAX
  return ns < NS_MIN ? NS_MIN : ns
}

/** Whole nanoseconds; a fraction is dropped. Undefined for NaN. */
export function durationFromNumber(ns: number): bigint | undefined {
  if (Number.isNaN(ns)) return undefined
  if (!Number.isFinite(ns)) return ns > 0 ? NS_MAX : NS_MIN
  return saturate(BigInt(Math.trunc(ns)))
}

/**
 * Nanoseconds of a text such as `1h30m`, `-1.5s` or `0`; undefined when it is not a duration or beyond 64 bits. Decimals are exact, what
 * is finer than a nanosecond is dropped.
 * @param bytes a byte string
 */
export function parseDuration(bytes: string): bigint | undefined {
  if (bytes.length > TEXT_LENGTH_MAX) return undefined
  const isNegative = bytes[0] === '-'
  let at = isNegative || bytes[0] === '+' ? 1 : 0
  if (bytes.slice(at) === '0') return 0n
  if (at === bytes.length) return undefined
  let total = 0n
  while (at < bytes.length) {
    PART.lastIndex = at
    const match = PART.exec(bytes)
    if (match === null) return undefined
    const whole = match[1] as string
    const fraction = match[2] ?? ''
    if (whole === '' && fraction === '') return undefined
    const unit = BigInt(UNIT_NS[match[3] as string] as number)
    total += BigInt(whole) * unit + (BigInt(fraction) * unit) / 10n ** BigInt(fraction.length)
    at = PART.lastIndex
  }
  const signed = isNegative ? -total : total
  return signed === saturate(signed) ? signed : undefined
}

/** The shortest exact text: `1h30m0s`, `1.5s`, `100ms`, `1µs`, `0s`. Text, not bytes. */
export function formatDuration(ns: bigint): string {
  if (ns === 0n) return '0s'
  const sign = ns < 0n ? '-' : ''
  const size = ns < 0n ? -ns : ns
  if (size < 1000n) return `${sign}${size}ns`
  if (size < 1_000_000n) return `${sign}${decimal(size, 3)}µs`
  if (size < 1_000_000_000n) return `${sign}${decimal(size, 6)}ms`
  const minuteNs = BigInt(MINUTE)
  const minutes = size / minuteNs
  const seconds = `${decimal(size % minuteNs, 9)}s`
  if (minutes === 0n) return `${sign}${seconds}`
  const hours = minutes / 60n
  return hours === 0n ? `${sign}${minutes}m${seconds}` : `${sign}${hours}h${minutes % 60n}m${seconds}`
}

/** `value` divided by a power of ten, without trailing zeros. */
function decimal(value: bigint, digits: number): string {
  const unit = 10n ** BigInt(digits)
  const fraction = (value % unit).toString().padStart(digits, '0').replace(/0+$/, '')
  return fraction === '' ? `${value / unit}` : `${value / unit}.${fraction}`
}
