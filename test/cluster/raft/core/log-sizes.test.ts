import { expect, test } from 'vitest'
import { LogSizes } from '../../../../cluster/raft/core/log-sizes.ts'

test('as many entries are kept as a number of bytes allows', () => {
  const sizes = new LogSizes(10)
  for (const [i, bytes] of [5, 100, 20, 30, 1].entries()) sizes.append(11 + i, bytes)
  expect(sizes.indexWithin(1000, 15)).toBe(10)
  expect(sizes.indexWithin(51, 15)).toBe(12)
  expect(sizes.indexWithin(50, 14)).toBe(12)
  expect(sizes.indexWithin(0, 15)).toBe(15)
  sizes.beginAfter(13)
  expect(sizes.indexWithin(1000, 15)).toBe(13)
})
