// What every node tells of itself, read when somebody asks. cluster.md §11.

import type { Histogram } from './base/histogram.ts'
import { counter, histogram, type ReadMetric, type Sample } from './base/metric.ts'
import type { Undelivered } from './relay/core/route.ts'

export interface NodeFigures {
  readonly loopLag: Histogram
  /** Messages to processes that are not there, by why. */
  undelivered(): Readonly<Record<Undelivered, number>>
}

export function nodeMetrics({ loopLag, undelivered }: NodeFigures): ReadMetric[] {
  return [
    histogram('event_loop_lag_seconds', 'how late the event loop is', [], () => loopLag),
    counter('messages_undeliverable_total', 'messages of other nodes to processes that are not here', ['why'], () =>
      Object.entries(undelivered()).map(([why, count]): Sample => [{ why }, count]),
    ),
  ]
}
