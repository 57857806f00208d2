// The metrics of locks, read off the service when somebody asks. cluster.md §11.

import { counter, gauge, histogram, type ReadMetric, type Sample } from '../../runtime/base/metric.ts'
import type { Locks } from './locks.ts'

export function lockMetrics(locks: Locks): ReadMetric[] {
  return [
    gauge(
      'locks_held',
      'locks that are held in the cluster, where this node has a replica',
      [],
      () => locks.statistics().cluster?.held ?? Number.NaN,
    ),
    gauge(
      'lock_waiters',
      'who waits for a lock, where this node has a replica',
      [],
      () => locks.statistics().cluster?.waiters ?? Number.NaN,
    ),
    gauge('locks_held_here', 'locks that processes of this node hold', [], () => locks.statistics().held),
    counter('locks_lost_total', 'locks that processes of this node lost before they gave them back', ['cause'], () =>
      Object.entries(locks.statistics().lost).map(([cause, count]): Sample => [{ cause }, count]),
    ),
    histogram(
      'lock_wait_seconds',
      'from the request for a lock to its answer, granted or not',
      [],
      () => locks.statistics().waits,
    ),
  ]
}
