import { expect, test } from 'vitest'
import {
  addNs,
  compare,
  difference,
  type Instant,
  instant,
  instantFromMs,
  round,
  totalNs,
  truncate,
  ZERO_SECONDS,
} from '../../../lua-stdlib/time/instant.ts'
import { fc } from '../../tools/property.ts'

const instants = fc.record({
  seconds: fc.integer({ min: -100_000_000_000, max: 100_000_000_000 }),
  nanos: fc.integer({ min: 0, max: 999_999_999 }),
})
const durations = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })

test('adding a duration and taking the difference are exact', () => {
  fc.assert(
    fc.property(instants, durations, (at, ns) => {
      const later = addNs(at, ns) as Instant
      expect(totalNs(later)).toBe(totalNs(at) + ns)
      expect(later.nanos).toBeGreaterThanOrEqual(0)
      expect(later.nanos).toBeLessThan(1e9)
      expect(difference(later, at)).toBe(ns)
      expect(Math.sign(compare(later, at))).toBe(ns === 0n ? 0 : ns > 0n ? 1 : -1)
    }),
  )
})

test('differences beyond 64 bits are the longest duration there is', () => {
  const early = { seconds: -100_000_000_000, nanos: 0 }
  const late = { seconds: 100_000_000_000, nanos: 0 }
  expect(difference(late, early)).toBe(2n ** 63n - 1n)
  expect(difference(early, late)).toBe(-(2n ** 63n))
})

test('rounding lands on a multiple since the zero time, at most half of it away', () => {
  fc.assert(
    fc.property(instants, fc.bigInt({ min: 1n, max: 10n ** 15n }), (at, ns) => {
      const sinceZero = (one: Instant): bigint => totalNs(one) - totalNs({ seconds: ZERO_SECONDS, nanos: 0 })
      const down = truncate(at, ns)
      const near = round(at, ns)
      expect(sinceZero(down) % ns).toBe(0n)
      expect(sinceZero(near) % ns).toBe(0n)
      expect(difference(at, down)).toBeGreaterThanOrEqual(0n)
      expect(difference(at, down)).toBeLessThan(ns)
      const moved = difference(near, at)
      expect(moved * 2n <= ns && moved * 2n > -ns).toBe(true)
    }),
  )
})

test('rounding to nothing or less changes nothing', () => {
  const at = { seconds: 5, nanos: 7 }
  expect([round(at, 0n), round(at, -5n), truncate(at, 0n), truncate(at, -5n)]).toEqual([at, at, at, at])
})

test('milliseconds of the wall clock keep their fractions', () => {
  expect(instantFromMs(1_700_000_000_123.5)).toEqual({ seconds: 1_700_000_000, nanos: 123_500_000 })
  expect(instantFromMs(-0.5)).toEqual({ seconds: -1, nanos: 999_500_000 })
})

test('what no safe integer of seconds reaches is no instant', () => {
  expect(instant(2 ** 53, 0)).toBeUndefined()
  expect(instant(Number.NaN, 0)).toBeUndefined()
  expect(addNs({ seconds: Number.MAX_SAFE_INTEGER, nanos: 0 }, 10n ** 9n)).toBeUndefined()
})
