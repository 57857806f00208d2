import prom, { type Metric } from 'prom-client'
import { expect, test } from 'vitest'
import { Histogram, histogramMetric } from '../../../runtime/base/histogram.ts'

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

test("Prometheus reads it in the library's own form", async () => {
  const own = new Histogram([0.1, 1])
  const options = { name: 'took', help: 'how long', labelNames: ['of'] }
  const [ours, theirs] = [new prom.Registry(), new prom.Registry()]
  const theirMetric = new prom.Histogram({ ...options, buckets: [0.1, 1], registers: [theirs] })
  for (const seconds of [0.05, 0.5, 7]) {
    own.observe(seconds)
    theirMetric.observe({ of: 'a' }, seconds)
  }
  const { name, help, labelNames } = options
  ours.registerMetric(histogramMetric(name, help, labelNames, () => [[{ of: 'a' }, own]]) as unknown as Metric)
  expect(await ours.metrics()).toBe(await theirs.metrics())
})
