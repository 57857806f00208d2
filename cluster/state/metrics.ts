// The metrics of sessions, read off the state when somebody asks. cluster.md §11.

import { Histogram } from '../../runtime/base/histogram.ts'
import { counter, gauge, histogram, type ReadMetric, type Sample } from '../../runtime/base/metric.ts'
import type { ClusterState } from './state.ts'

const STATES = ['none', 'open', 'suspended', 'fenced', 'closed'] as const
const NOTHING = new Histogram()

/** @param state undefined: not connected yet */
export function sessionMetrics(state: () => ClusterState | undefined): ReadMetric[] {
  return [
    gauge('sessions', 'the session of this node: 1 in its state, 0 in the others', ['state'], () => {
      const current = state()?.session().state ?? 'none'
      return STATES.map((each): Sample => [{ state: each }, each === current ? 1 : 0])
    }),
    histogram(
      'session_renew_seconds',
      'from sending a renewal to its answer',
      [],
      () => state()?.figures().renewals ?? NOTHING,
    ),
    counter(
      'session_suspended_total',
      'times that this node could not trust its session any more',
      [],
      () => state()?.figures().suspensions ?? 0,
    ),
    counter(
      'session_node_down_total',
      'sessions of silent nodes that this node ended as the leader',
      ['reason'],
      () => {
        const { dead = 0, silent = 0 } = state()?.figures().downs ?? {}
        return [
          [{ reason: 'dead' }, dead],
          [{ reason: 'silent' }, silent],
        ]
      },
    ),
    gauge('leader_reachable', '1 unless several renewals of the session in a row were not answered', [], () =>
      state()?.session().isLeaderReachable === false ? 0 : 1,
    ),
  ]
}
