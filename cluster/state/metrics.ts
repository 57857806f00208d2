// Sessions as Prometheus reads them, read off the state when it is asked for. cluster.md §11.

import type { Metric, Registry } from 'prom-client'
import { Histogram, histogramMetric } from '../../runtime/base/histogram.ts'
import type { ClusterState } from './state.ts'

type Prom = typeof import('prom-client')

const STATES = ['none', 'open', 'suspended', 'fenced', 'closed'] as const
const NOTHING = new Histogram()

/** @param state undefined: not connected yet */
export function registerSessionMetrics(prom: Prom, registry: Registry, state: () => ClusterState | undefined): void {
  const registers = [registry]
  new prom.Gauge({
    name: 'sessions',
    help: 'the session of this node: 1 in its state, 0 in the others',
    labelNames: ['state'],
    registers,
    collect() {
      const current = state()?.session().state ?? 'none'
      for (const each of STATES) this.set({ state: each }, each === current ? 1 : 0)
    },
  })
  const renewals = histogramMetric('session_renew_seconds', 'from sending a renewal to its answer', [], () => [
    [{}, state()?.figures().renewals ?? NOTHING],
  ])
  registry.registerMetric(renewals as unknown as Metric)
  new prom.Counter({
    name: 'session_suspended_total',
    help: 'times that this node could not trust its session any more',
    registers,
    collect() {
      this.reset()
      this.inc(state()?.figures().suspensions ?? 0)
    },
  })
  new prom.Counter({
    name: 'session_node_down_total',
    help: 'sessions of silent nodes that this node ended as the leader',
    labelNames: ['reason'],
    registers,
    collect() {
      this.reset()
      const { dead = 0, silent = 0 } = state()?.figures().downs ?? {}
      this.inc({ reason: 'dead' }, dead)
      this.inc({ reason: 'silent' }, silent)
    },
  })
  new prom.Gauge({
    name: 'leader_reachable',
    help: '1 unless several renewals of the session in a row were not answered',
    registers,
    collect() {
      this.set(state()?.session().isLeaderReachable === false ? 0 : 1)
    },
  })
}
