// What every node tells Prometheus of itself. Nothing is counted twice: each metric is read when it is asked for. cluster.md §11.

import type { Metric, Registry } from 'prom-client'
import { type Histogram, histogramMetric } from './base/histogram.ts'
import type { Undelivered } from './relay/core/route.ts'

export interface NodeFigures {
  readonly loopLag: Histogram
  /** Messages to processes that are not there, by why. */
  undelivered(): Readonly<Record<Undelivered, number>>
}

export function registerNodeMetrics(
  prom: typeof import('prom-client'),
  registry: Registry,
  { loopLag, undelivered }: NodeFigures,
): void {
  const lag = histogramMetric('event_loop_lag_seconds', 'how late the event loop is', [], () => [[{}, loopLag]])
  registry.registerMetric(lag as unknown as Metric)
  new prom.Counter({
    name: 'messages_undeliverable_total',
    help: 'messages of other nodes to processes that are not here',
    labelNames: ['why'],
    registers: [registry],
    collect() {
      this.reset()
      for (const [why, count] of Object.entries(undelivered())) this.inc({ why }, count)
    },
  })
}
