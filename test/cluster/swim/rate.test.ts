import { expect, test } from 'vitest'
import { LogRate } from '../../../cluster/swim/rate.ts'

test('one line a minute for each source, with the number of those left out', () => {
  const rate = new LogRate()
  expect(rate.take('a', 0)).toBe(0)
  expect(rate.take('b', 10)).toBe(0)
  expect(rate.take('a', 59_999)).toBeUndefined()
  expect(rate.take('a', 30_000)).toBeUndefined()
  expect(rate.take('a', 60_000)).toBe(2)
  expect(rate.take('a', 60_001)).toBeUndefined()
})

test('the first minute may have more lines than later ones', () => {
  const rate = new LogRate()
  const minute = (fromMs: number): (number | undefined)[] => [0, 1, 2, 3].map((i) => rate.take('a', fromMs + i, 3))
  expect(minute(0)).toEqual([0, 0, 0, undefined])
  expect(minute(60_000)).toEqual([1, undefined, undefined, undefined])
  expect(minute(120_000)).toEqual([3, undefined, undefined, undefined])
})

test('invented sources take no more room than there is, and none for ever', () => {
  const rate = new LogRate()
  const lines = Array.from({ length: 5000 }, (_, i) => rate.take(`source ${i}`, 0)).filter((line) => line !== undefined)
  expect(lines).toHaveLength(1024)
  expect(rate.take('new', 60_000)).toBe(0)
})
