// Locks as Prometheus reads them, read off the service when it is asked for. cluster.md §11.

import type { Metric, Registry } from 'prom-client'
import { histogramMetric } from '../../runtime/base/histogram.ts'
import type { LockStatistics, Locks } from './locks.ts'

type Prom = typeof import('prom-client')

export function registerLocksMetrics(prom: Prom, registry: Registry, locks: Locks): void {
  const gauge = (name: string, help: string, read: (figures: LockStatistics) => number | undefined): void => {
    const collect = function (this: InstanceType<Prom['Gauge']>): void {
      this.set(read(locks.statistics()) ?? Number.NaN)
    }
    new prom.Gauge({ name, help, registers: [registry], collect })
  }
  gauge(
    'locks_held',
    'locks that are held in the cluster, where this node has a replica',
    ({ cluster }) => cluster?.held,
  )
  gauge('lock_waiters', 'who waits for a lock, where this node has a replica', ({ cluster }) => cluster?.waiters)
  gauge('locks_held_here', 'locks that processes of this node hold', ({ held }) => held)
  new prom.Counter({
    name: 'locks_lost_total',
    help: 'locks that processes of this node lost before they gave them back',
    labelNames: ['cause'],
    registers: [registry],
    collect(): void {
      this.reset()
      for (const [cause, count] of Object.entries(locks.statistics().lost)) this.inc({ cause }, count)
    },
  })
  const waits = histogramMetric(
    'lock_wait_seconds',
    'from the request for a lock to its answer, granted or not',
    [],
    () => [[{}, locks.statistics().waits]],
  )
  registry.registerMetric(waits as unknown as Metric)
}
