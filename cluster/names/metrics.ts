// Names as Prometheus reads them. Nothing is counted twice: each metric is read off the service when it is asked for. cluster.md §11.

import type { Metric, Registry } from 'prom-client'
import { histogramMetric } from '../../runtime/base/histogram.ts'
import type { Names, NamesStatistics } from './names.ts'

type Prom = typeof import('prom-client')
type Sample = readonly [labels: Record<string, string>, value: number]

export function registerNamesMetrics(prom: Prom, registry: Registry, names: Names): void {
  const metric = (
    type: 'Gauge' | 'Counter',
    name: string,
    help: string,
    labelNames: string[],
    read: (figures: NamesStatistics) => Sample[],
  ): void => {
    const collect = function (this: InstanceType<Prom['Gauge']> | InstanceType<Prom['Counter']>): void {
      this.reset()
      for (const [labels, value] of read(names.statistics())) this.inc(labels, value)
    }
    new prom[type]({ name, help, labelNames, registers: [registry], collect })
  }
  metric('Gauge', 'names', 'names that resolve here', ['scope'], ({ names: counts }) =>
    counts.map(({ scope, count }) => [{ scope }, count]),
  )
  metric('Counter', 'names_registrations_total', 'registrations', ['scope', 'result'], ({ registrations }) =>
    registrations.map(({ scope, result, count }) => [{ scope, result }, count]),
  )
  metric('Counter', 'names_revoked_total', 'names lost', ['cause'], ({ revoked }) =>
    revoked.map(({ cause, count }) => [{ cause }, count]),
  )
  metric('Gauge', 'names_strong_pending', 'strong names that this node agreed to', [], ({ pending }) => [[{}, pending]])
  metric('Gauge', 'names_cache_age_seconds', 'age of what is known of the log', [], ({ cacheAgeMs }) => [
    [{}, cacheAgeMs / 1000],
  ])
  metric('Counter', 'names_cache_misses_total', 'names whose process was elsewhere', [], ({ cacheMisses }) => [
    [{}, cacheMisses],
  ])
  registry.registerMetric(
    histogramMetric('names_strong_seconds', 'how long strong registrations took', ['result'], () =>
      [...names.strongSeconds()].map(([result, histogram]) => [{ result }, histogram] as const),
    ) as unknown as Metric,
  )
}
