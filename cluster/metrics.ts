// The metrics of a cluster's node, read off it when somebody asks. cluster.md §11.

import { counter, gauge, histogram, type ReadMetric, type Sample } from '../runtime/base/metric.ts'
import type { Cluster } from './cluster.ts'
import { meshMetrics } from './mesh/metrics.ts'
import { raftMetrics } from './raft/metrics.ts'
import { sessionMetrics } from './state/metrics.ts'
import type { GossipStatistics } from './swim/driver.ts'

const STATES = ['alive', 'suspect', 'dead', 'left'] as const

export function clusterMetrics(cluster: Cluster): ReadMetric[] {
  const gossip = (read: (figures: GossipStatistics) => Sample[]) => (): Sample[] => read(cluster.statistics())
  return [
    gauge('gossip_members', 'known nodes by state', ['state'], () => {
      const members = cluster.members()
      return STATES.map((state) => [{ state }, members.filter((member) => member.state === state).length])
    }),
    gauge(
      'gossip_health_score',
      'how much this node doubts itself; 0 is well',
      [],
      gossip(({ healthScore }) => [[{}, healthScore]]),
    ),
    gauge(
      'gossip_queue_depth',
      'messages that wait to be told',
      [],
      gossip(({ queueDepth }) => [[{}, queueDepth]]),
    ),
    counter(
      'gossip_messages_total',
      'messages in datagrams',
      ['type', 'direction'],
      gossip(({ messagesIn, messagesOut }) => [
        ...Object.entries(messagesIn).map(([type, value]): Sample => [{ type, direction: 'in' }, value]),
        ...Object.entries(messagesOut).map(([type, value]): Sample => [{ type, direction: 'out' }, value]),
      ]),
    ),
    counter(
      'gossip_bytes_total',
      'bytes of payload',
      ['transport', 'direction'],
      gossip(({ bytesIn, bytesOut, streams }) => [
        [{ transport: 'udp', direction: 'in' }, bytesIn],
        [{ transport: 'udp', direction: 'out' }, bytesOut],
        [{ transport: 'tcp', direction: 'in' }, streams.bytesIn],
        [{ transport: 'tcp', direction: 'out' }, streams.bytesOut],
      ]),
    ),
    histogram('gossip_probe_seconds', 'probes of other nodes, by how long they took', ['result'], () => {
      const { ok, tcp, failed } = cluster.statistics().probeSeconds
      return [
        [{ result: 'ok' }, ok],
        [{ result: 'tcp' }, tcp],
        [{ result: 'failed' }, failed],
      ]
    }),
    counter(
      'gossip_probe_failures_total',
      'probes without an answer',
      [],
      gossip(({ counters }) => [[{}, counters.probeFailures]]),
    ),
    counter(
      'gossip_suspicions_total',
      'nodes that came under suspicion, and those that were declared dead',
      ['outcome'],
      gossip(({ counters }) => [
        [{ outcome: 'started' }, counters.suspicions],
        [{ outcome: 'dead' }, counters.deaths],
      ]),
    ),
    counter(
      'gossip_refutes_total',
      'accusations of this node that it answered',
      [],
      gossip(({ counters }) => [[{}, counters.refutes]]),
    ),
    counter(
      'gossip_dropped_total',
      'what was not taken, by reason',
      ['reason'],
      gossip(({ undecodable, undecryptable, incomingDropped, framesDropped, unsent, streams, counters }) => [
        [{ reason: 'unreadable' }, undecodable],
        [{ reason: 'undecryptable' }, undecryptable],
        [{ reason: 'incoming_full' }, incomingDropped],
        [{ reason: 'unsent' }, unsent],
        [{ reason: 'stream_refused' }, streams.refused],
        [{ reason: 'queue_full' }, framesDropped],
        [{ reason: 'foreign_cluster' }, counters.foreignCluster],
        [{ reason: 'invalid' }, counters.ignoredClaims],
        [{ reason: 'other_node' }, counters.pingsForOthers],
      ]),
    ),
    counter(
      'gossip_push_pull_total',
      'exchanges of states that this node began, by result',
      ['result'],
      gossip(({ counters }) => [
        [{ result: 'ok' }, Math.max(0, counters.pushPulls - counters.pushPullFailures - counters.pushPullsRefused)],
        [{ result: 'failed' }, counters.pushPullFailures],
        [{ result: 'refused' }, counters.pushPullsRefused],
      ]),
    ),
    histogram(
      'gossip_convergence_seconds',
      'changes of eventual names and CRDT stores that were taken over here, by their age then',
      [],
      () => [[{}, cluster.convergence]],
    ),
    counter(
      'local_pauses_total',
      'times that the event loop stood still for a second or more',
      [],
      gossip(({ pauses }) => [[{}, pauses]]),
    ),
    ...meshMetrics(() => cluster.meshStatistics()),
    ...raftMetrics(() => cluster.raftFigures()),
    ...sessionMetrics(() => cluster.state),
  ]
}
