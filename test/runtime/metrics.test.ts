// What scripts record, as Prometheus reads it. lua-libraries.md §11.

import { expect, test } from 'vitest'
import { Float, record, type Value } from '../../runtime/base/value.ts'
import { Metrics } from '../../runtime/metrics.ts'

function collector() {
  const warnings: string[] = []
  const metrics = new Metrics((text) => warnings.push(text))
  const note = (method: string, name: string, value: number, labels: Record<string, Value> = {}): unknown =>
    metrics.methods[method]?.([name, new Float(value), record(labels)], {} as never)
  const lines = async (): Promise<string[]> => (await metrics.text()).split('\n').filter((line) => /^[^#]/.test(line))
  return { warnings, note, lines }
}

test('series of one name are told apart by their labels, whichever come first', async () => {
  const { note, lines } = collector()
  note('count', 'orders', 1)
  note('count', 'orders', 2, { shop: 'a' })
  note('count', 'orders', 3, { shop: 'b' })
  note('count', 'orders', 4, { kind: 'x', shop: 'a' })
  note('count', 'orders', 5, { shop: 'a', kind: 'x' })
  note('count', 'orders', 6, { shop: 'a' })
  expect(await lines()).toEqual(['orders 1', 'orders{shop="a"} 8', 'orders{shop="b"} 3', 'orders{kind="x",shop="a"} 9'])
})

test('gauges and histograms have labels too', async () => {
  const { note, lines } = collector()
  note('set', 'depth', 7, { queue: 'a' })
  note('change', 'depth', -1, { queue: 'a' })
  note('change', 'depth', 1, { queue: 'b' })
  note('observe', 'took', 0.2, { queue: 'a' })
  note('observe', 'took', 3, { queue: 'b' })
  const found = await lines()
  expect(found).toContain('depth{queue="a"} 6')
  expect(found).toContain('depth{queue="b"} 1')
  expect(found).toContain('took_bucket{le="0.25",queue="a"} 1')
  expect(found).toContain('took_count{queue="b"} 1')
})

test('there are no series but those that were recorded', async () => {
  const { note, lines } = collector()
  note('count', 'orders', 1, { shop: 'a' })
  note('set', 'depth', 7, { queue: 'a' })
  note('observe', 'took', 1, { queue: 'a' })
  expect((await lines()).filter((line) => !line.includes('="a"'))).toEqual([])
  note('change', 'depth', 1)
  expect(await lines()).toContain('depth 1')
})

test('names become legal ones, and no label breaks the format', async () => {
  const { note, lines } = collector()
  note('count', '9 lives.left', 1, { 'a-b': 'x"y\nz' })
  note('observe', 'took', 1, { le: 'mine' })
  const found = await lines()
  expect(found).toContain('_9_lives_left{a_b="x\\"y\\nz"} 1')
  expect(found).toContain('took_count{le_="mine"} 1')
})

test('what is no number of its kind is dropped', async () => {
  const { note, lines } = collector()
  note('count', 'orders', 1)
  for (const value of [-1, Number.NaN, Number.POSITIVE_INFINITY]) note('count', 'orders', value)
  for (const value of [Number.NaN, Number.POSITIVE_INFINITY]) note('observe', 'took', value)
  expect(await lines()).toEqual(['orders 1'])
})

test('a name keeps its type, and the warning comes once', async () => {
  const { note, lines, warnings } = collector()
  note('count', 'orders', 1)
  note('set', 'orders', 9)
  note('set', 'orders', 9)
  expect(await lines()).toEqual(['orders 1'])
  expect(warnings).toEqual(['metric orders is a counter; what is recorded as a gauge is dropped'])
})
