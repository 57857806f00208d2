// An instant: a point of time as whole seconds since 1970 (UTC) and nanoseconds after them, because nanoseconds since 1970 do not fit the
// safe range of a number. Rounding counts from the zero time, 0001-01-01 00:00:00 UTC (lua-core.md §13.5).

import { saturate } from './duration.ts'

export interface Instant {
  /** A safe integer, negative before 1970. */
  readonly seconds: number
  /** 0..999_999_999 */
  readonly nanos: number
}

const NANOS_PER_SECOND = 1_000_000_000
/** 0001-01-01 00:00:00 UTC. */
export const ZERO_SECONDS = -62_135_596_800

/** `nanos` may have any size and sign. Undefined when the instant is out of reach. */
export function instant(seconds: number, nanos: number): Instant | undefined {
  const carried = seconds + Math.floor(nanos / NANOS_PER_SECOND)
  if (!Number.isSafeInteger(carried) || !Number.isSafeInteger(nanos)) return undefined
  return { seconds: carried, nanos: nanos - Math.floor(nanos / NANOS_PER_SECOND) * NANOS_PER_SECOND }
}

/** @param ms since 1970; fractions count down to the nanosecond */
export function instantFromMs(ms: number): Instant {
  const seconds = Math.floor(ms / 1000)
  const nanos = Math.round((ms - seconds * 1000) * 1e6)
  return { seconds, nanos: Math.min(nanos, NANOS_PER_SECOND - 1) }
}

export function totalNs({ seconds, nanos }: Instant): bigint {
  return BigInt(seconds) * BigInt(NANOS_PER_SECOND) + BigInt(nanos)
}

/** Undefined when the sum is out of reach. */
export function addNs({ seconds, nanos }: Instant, ns: bigint): Instant | undefined {
  const unit = BigInt(NANOS_PER_SECOND)
  return instant(seconds + Number(ns / unit), nanos + Number(ns % unit))
}

/** `a - b` in nanoseconds, or the longest duration there is. */
export function difference(a: Instant, b: Instant): bigint {
  return saturate(BigInt(a.seconds - b.seconds) * BigInt(NANOS_PER_SECOND) + BigInt(a.nanos - b.nanos))
}

/** Negative when `a` is earlier than `b`, 0 for the same instant. */
export function compare(a: Instant, b: Instant): number {
  return a.seconds - b.seconds || a.nanos - b.nanos
}

/** How far the instant lies after a multiple of `ns` (more than 0) since the zero time. */
function excess(at: Instant, ns: bigint): bigint {
  const rest = totalNs({ seconds: at.seconds - ZERO_SECONDS, nanos: at.nanos }) % ns
  return rest < 0n ? rest + ns : rest
}

/** Down to a multiple of `ns` since the zero time; unchanged when `ns` is not positive. */
export function truncate(at: Instant, ns: bigint): Instant {
  return ns <= 0n ? at : (addNs(at, -excess(at, ns)) ?? at)
}

/** To the nearest multiple of `ns` since the zero time, half rounds up; unchanged when `ns` is not positive. */
export function round(at: Instant, ns: bigint): Instant {
  if (ns <= 0n) return at
  const rest = excess(at, ns)
  return addNs(at, rest * 2n < ns ? -rest : ns - rest) ?? at
}
