import { expect, test } from 'vitest'
import { durationFromNumber, formatDuration, parseDuration, saturate } from '../../../lua-stdlib/time/duration.ts'
import { toBytes } from '../../../runtime/base/bytes.ts'
import { fc } from '../../tools/property.ts'

const MAX = 2n ** 63n - 1n
const MIN = -(2n ** 63n)

test('the text of a duration reads back as the same duration', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: MIN, max: MAX }), (ns) => {
      expect(parseDuration(toBytes(formatDuration(ns)))).toBe(ns)
    }),
    { numRuns: 2000, examples: [[MIN], [MAX], [0n], [1n], [-1n], [999n], [1000n], [59_999_999_999n]] },
  )
})

test('text is as lua-core.md §13.5 shows it', () => {
  const texts = [5_400_000_000_000n, 1_500_000_000n, 120_250_000_000n, 100_000_000n, 1000n, 0n, -1n].map(formatDuration)
  expect(texts).toEqual(['1h30m0s', '1.5s', '2m0.25s', '100ms', '1µs', '0s', '-1ns'])
})

test('no text makes the parser fail, whatever it is', () => {
  const part = fc.constantFrom('1', '.', '-', '+', 'h', 'm', 's', 'ms', 'µs', '0', ' ', '99999999999999999999')
  fc.assert(
    fc.property(fc.array(part), (parts) => {
      const ns = parseDuration(toBytes(parts.join('')))
      expect(ns === undefined || (ns >= MIN && ns <= MAX)).toBe(true)
    }),
  )
})

test('a text of unreasonable length is refused', () => {
  expect(parseDuration(`${'0'.repeat(300)}1s`)).toBeUndefined()
})

test('a number counts nanoseconds: fractions are dropped, what 64 bits cannot hold is the nearest they can', () => {
  expect([1.9, -1.9, 0, 3.6e12].map(durationFromNumber)).toEqual([1n, -1n, 0n, 3_600_000_000_000n])
  expect([1e300, Number.POSITIVE_INFINITY, -1e300].map(durationFromNumber)).toEqual([MAX, MAX, MIN])
  expect(durationFromNumber(Number.NaN)).toBeUndefined()
  expect(saturate(MAX + 1n)).toBe(MAX)
})
