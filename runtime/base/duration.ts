// Durations and sizes as people write them: `250ms`, `1h30m`, `64KiB`.

const UNIT_NS: Record<string, number> = { ns: 1, us: 1e3, µs: 1e3, μs: 1e3, ms: 1e6, s: 1e9, m: 60e9, h: 3600e9 }
const PART = /(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)/y
const NS_MAX = 2 ** 63

/** Nanoseconds, or undefined when the text is not a duration. Compound, signed, with decimals; `"0"` needs no unit. */
export function parseDurationNs(text: string): number | undefined {
  const sign = text[0] === '-' ? -1 : 1
  let at = text[0] === '-' || text[0] === '+' ? 1 : 0
  if (text.slice(at) === '0') return 0
  let total = 0
  const start = at
  while (at < text.length) {
    PART.lastIndex = at
    const match = PART.exec(text)
    if (match === null) return undefined
    total += Number(match[1]) * (UNIT_NS[match[2] as string] as number)
    at = PART.lastIndex
  }
  if (at === start || total >= NS_MAX) return undefined
  return sign * Math.round(total)
}

/** Milliseconds (fractions allowed), or undefined when the text is not a duration. */
export function parseDurationMs(text: string): number | undefined {
  const ns = parseDurationNs(text)
  return ns === undefined ? undefined : ns / 1e6
}

/** Shortest exact text of a duration: `1h30m0s`, `1.5s`, `100ms`, `1µs`, `0s`. */
export function formatDurationNs(ns: number): string {
  if (ns === 0) return '0s'
  const sign = ns < 0 ? '-' : ''
  const size = Math.abs(ns)
  if (size < 1e3) return `${sign}${size}ns`
  if (size < 1e6) return `${sign}${decimal(size, 1e3)}µs`
  if (size < 1e9) return `${sign}${decimal(size, 1e6)}ms`
  const hours = Math.floor(size / 3600e9)
  const minutes = Math.floor((size % 3600e9) / 60e9)
  const seconds = `${decimal(size % 60e9, 1e9)}s`
  if (hours > 0) return `${sign}${hours}h${minutes}m${seconds}`
  return minutes > 0 ? `${sign}${minutes}m${seconds}` : `${sign}${seconds}`
}

function decimal(value: number, unit: number): string {
  const whole = Math.floor(value / unit)
  const rest = Math.round(value % unit)
  if (rest === 0) return String(whole)
  const digits = String(unit).length - 1
  return `${whole}.${String(rest).padStart(digits, '0').replace(/0+$/, '')}`
}

const SIZE_BYTES: Record<string, number> = {
  B: 1,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
}

/** Bytes, or undefined when the text is not a size. */
export function parseSizeBytes(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*(B|KiB|MiB|GiB|KB|MB|GB)$/.exec(text)
  return match === null ? undefined : Math.round(Number(match[1]) * (SIZE_BYTES[match[2] as string] as number))
}
