// What the page of performance says is what was measured: medians, the best of those that count, and on which side of the goal.

import { describe, expect, test } from 'vitest'

interface Figure {
  metric: string
  peer: string
  unit: string
  values: number[]
}
interface Page {
  median(values: number[]): number
  medians(measured: Record<string, { figures: Figure[] }>): Map<string, unknown>
  verdicts(
    all: Map<string, unknown>,
  ): { workload: string; metric: string; isMet?: boolean; ratio?: number; better?: number }[]
  render(
    data: object,
    explanations: object,
    options: { svgName: string },
  ): { markdown: string; svg: string; unexplained: string[] }
}
const page = (await import('../bench/page.mjs' as string)) as Page

const figure = (metric: string, peer: string, unit: string, ...values: number[]): Figure => ({
  metric,
  peer,
  unit,
  values,
})
const measured = {
  W1: { figures: [figure('hop', 'moonmesh', 'ns', 900, 5000, 800)] },
  W8: {
    figures: [
      figure('cycles', 'moonmesh', '1/s', 900),
      figure('cycles', 'etcd-3/go', '1/s', 500),
      figure('cycles', 'etcd-3/grpc', '1/s', 300),
    ],
  },
  W11: {
    figures: [
      figure('idle_cpu_per_member', 'moonmesh/gossip', '%', 0.5),
      figure('idle_cpu_per_member', 'serf-1', '%', 1),
    ],
  },
}

describe('verdicts', () => {
  const all = page.verdicts(page.medians(measured))
  const of = (workload: string, metric: string) => all.find((row) => row.workload === workload && row.metric === metric)

  test('the median of the rounds counts, not their mean', () => {
    expect(page.median([900, 5000, 800])).toBe(900)
    expect(page.median([1, 2, 3, 10])).toBe(2.5)
    expect(of('W1', 'hop')).toMatchObject({ isMet: true })
  })

  test('of rates more is better, and the best of the others counts', () => {
    expect(of('W8', 'cycles')).toMatchObject({ isMet: false, ratio: 1.8, better: 0.9 })
  })

  test('of costs less is better', () => {
    expect(of('W11', 'idle_cpu_per_member')).toMatchObject({ isMet: true, ratio: 0.5, better: 2 })
  })

  test('what was not measured is neither met nor missed', () => {
    expect(of('W9', 'deliveries')?.isMet).toBeUndefined()
  })
})

test('a missed goal stands on the page with its explanation, and is named where there is none', () => {
  const entry = (figures: Figure[]) => ({ figures, at: 'now', rounds: 1, load: 0, missing: [], failed: ['etcd'] })
  const data = {
    machine: { processor: 'one' },
    measured: Object.fromEntries(Object.entries(measured).map(([id, { figures }]) => [id, entry(figures)])),
    growth: [{ subject: 'names', size: 1000, metric: 'heap of each', value: 200, unit: 'B' }],
  }
  const bare = page.render(data, {}, { svgName: 'p.svg' })
  expect(bare.unexplained).toEqual(['W8 cycles ^etcd'])
  expect(bare.markdown).toContain('| W8 | cycles | 900 1/s | ≥ 2 × etcd-3/go | 500 | 1.80 | **missed** |')
  expect(bare.markdown).toContain('**Failed: etcd.**')
  expect(bare.markdown).toContain('| heap of each, B | 200 |')
  expect(bare.svg.match(/<rect x/g)).toHaveLength(3)
  const told = page.render(data, { 'W8 cycles': 'Two syncs.' }, { svgName: 'p.svg' })
  expect(told.markdown).toContain('- **W8 cycles**: Two syncs.')
  expect(told.unexplained).toEqual([])
})
