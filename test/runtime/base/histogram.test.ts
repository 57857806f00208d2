import { expect, test } from 'vitest'
import { Histogram } from '../../../runtime/base/histogram.ts'

test('a bucket holds what is not longer than its bound, and the last what is longer than all', async () => {
  const histogram = new Histogram([0.1, 1])
  for (const seconds of [0.05, 0.1, 0.5, 1, 7]) histogram.observe(seconds)
  expect([histogram.cumulative(), histogram.count, histogram.sum]).toEqual([[2, 4], 5, 8.65])
})

test('what is no duration counts as none', () => {
  const histogram = new Histogram([0.1])
  for (const seconds of [-1, Number.NaN, Number.POSITIVE_INFINITY]) histogram.observe(seconds)
  expect([histogram.cumulative(), histogram.count, histogram.sum]).toEqual([[3], 3, 0])
})
