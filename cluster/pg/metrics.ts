// The metrics of process groups, read off the scopes when somebody asks. cluster.md §11.

import { counter, gauge, type ReadMetric, type Sample } from '../../runtime/base/metric.ts'
import type { ProcessGroups } from './pg.ts'
import type { ScopeStatus } from './runner.ts'

const BREAKER_STATES = { closed: 0, 'half-open': 1, open: 2 } as const

export function groupMetrics(groups: ProcessGroups): ReadMetric[] {
  const each = (read: (status: ScopeStatus) => number) => (): Sample[] =>
    groups.scopes().map((scope) => [{ scope: scope.id }, read(scope.status())])
  return [
    gauge(
      'pg_members',
      'members of all groups on all nodes, once for each time they joined',
      ['scope'],
      each((status) => status.members),
    ),
    gauge(
      'pg_groups',
      'groups with members',
      ['scope'],
      each((status) => status.groups),
    ),
    gauge(
      'pg_subscriptions',
      'monitors of processes of this node',
      ['scope'],
      each((status) => status.subscriptions),
    ),
    gauge(
      'pg_queue_depth',
      'operations of processes of this node that wait',
      ['scope'],
      each((status) => status.queued),
    ),
    counter(
      'pg_queue_refused_total',
      'operations refused since too many waited',
      ['scope'],
      each((status) => status.refused),
    ),
    counter(
      'pg_joins_total',
      'joins of processes of this node',
      ['scope'],
      each((status) => status.joins),
    ),
    counter(
      'pg_leaves_total',
      'leaves of processes of this node',
      ['scope'],
      each((status) => status.leaves),
    ),
    counter(
      'pg_broadcasts_total',
      'broadcasts that began on this node',
      ['scope'],
      each((status) => status.broadcasts),
    ),
    counter(
      'pg_broadcast_recipients_total',
      'processes that those broadcasts were sent to',
      ['scope'],
      each((status) => status.recipients),
    ),
    counter('pg_broadcast_dropped_total', 'copies of broadcasts for one node that were not sent', ['reason'], () => {
      const sums: Record<string, number> = { queue_full: 0, breaker_open: 0, no_link: 0, too_large: 0, timeout: 0 }
      for (const scope of groups.scopes()) {
        for (const [reason, value] of Object.entries(scope.status().dropped)) sums[reason] = (sums[reason] ?? 0) + value
      }
      return Object.entries(sums).map(([reason, value]) => [{ reason }, value])
    }),
    gauge('pg_breaker_state', '0 closed, 1 half-open, 2 open: broadcasts pass the node over', ['scope', 'peer'], () =>
      groups
        .scopes()
        .flatMap((scope) =>
          scope
            .status()
            .peers.map(({ node, breaker }): Sample => [{ scope: scope.id, peer: node }, BREAKER_STATES[breaker]]),
        ),
    ),
    counter(
      'pg_pulls_total',
      'times that changes of another node were asked for',
      ['scope'],
      each((status) => status.pulls),
    ),
    counter(
      'pg_full_syncs_total',
      'times that all members of another node were taken over',
      ['scope'],
      each((status) => status.fullSyncs),
    ),
    counter(
      'pg_rejected_total',
      'changes of other nodes that make no sense',
      ['scope'],
      each((status) => status.rejectedOps),
    ),
    counter('pg_unreadable_total', 'messages of other nodes that cannot be read', [], () => [
      [{}, groups.unreadableMessages],
    ]),
  ]
}
