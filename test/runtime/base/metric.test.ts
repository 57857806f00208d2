// Metrics that are read when somebody asks say what those of Prometheus' library say.

import prom, { type Metric } from 'prom-client'
import { expect, test } from 'vitest'
import { Histogram } from '../../../runtime/base/histogram.ts'
import { counter, gauge, histogram, type ReadMetric } from '../../../runtime/base/metric.ts'

/** As Prometheus reads it. */
function textOf(metric: ReadMetric): Promise<string> {
  const registry = new prom.Registry()
  registry.registerMetric(metric as unknown as Metric)
  return registry.metrics()
}

function theirs(make: (registers: prom.Registry[]) => void): Promise<string> {
  const registry = new prom.Registry()
  make([registry])
  return registry.metrics()
}

test('a number, and samples by labels', async () => {
  expect(await textOf(gauge('size', 'how much', [], () => 7))).toBe(
    await theirs((registers) => new prom.Gauge({ name: 'size', help: 'how much', registers }).set(7)),
  )
  const samples = (): [{ of: string }, number][] => [
    [{ of: 'a "quoted" one' }, 1],
    [{ of: 'b' }, Number.NaN],
  ]
  expect(await textOf(counter('done_total', 'how often', ['of'], samples))).toBe(
    await theirs((registers) => {
      const metric = new prom.Gauge({ name: 'done_total', help: 'how often', labelNames: ['of'], registers })
      for (const [labels, value] of samples()) metric.set(labels, value)
    }).then((text) => text.replace('gauge', 'counter')),
  )
})

test('what has nothing to say: a line without labels is there all the same', async () => {
  const options = { name: 'size', help: 'how much' }
  const none = (): [] => []
  expect(await textOf(gauge('size', 'how much', [], none))).toBe(
    await theirs((registers) => new prom.Gauge({ ...options, registers })),
  )
  expect(await textOf(gauge('size', 'how much', ['of'], none))).toBe(
    await theirs((registers) => new prom.Gauge({ ...options, labelNames: ['of'], registers })),
  )
})

test('samples with the same labels are added up, also when they are waited for', async () => {
  const metric = gauge('size', 'how much', ['of'], async () => [
    [{ of: 'a' }, 1],
    [{ of: 'b' }, 2],
    [{ of: 'a' }, 3],
  ])
  expect((await metric.get()).values).toEqual([
    { labels: { of: 'a' }, value: 4 },
    { labels: { of: 'b' }, value: 2 },
  ])
})

test('a histogram', async () => {
  const own = new Histogram([0.1, 1])
  const took = [0.05, 0.5, 7]
  for (const seconds of took) own.observe(seconds)
  const options = { name: 'took', help: 'how long', buckets: [0.1, 1] }
  expect(await textOf(histogram('took', 'how long', ['of'], () => [[{ of: 'a' }, own]]))).toBe(
    await theirs((registers) => {
      const metric = new prom.Histogram({ ...options, labelNames: ['of'], registers })
      for (const seconds of took) metric.observe({ of: 'a' }, seconds)
    }),
  )
  expect(await textOf(histogram('took', 'how long', [], () => own))).toBe(
    await theirs((registers) => {
      const metric = new prom.Histogram({ ...options, registers })
      for (const seconds of took) metric.observe(seconds)
    }),
  )
})
