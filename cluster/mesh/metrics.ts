// The metrics of the mesh, read off it when somebody asks. cluster.md §4.9.

import { counter, gauge, histogram, type ReadMetric, type Sample } from '../../runtime/base/metric.ts'
import { CHANNEL_CLASSES, LINK } from './core/classes.ts'
import { REFUSE_CODES } from './core/handshake.ts'
import type { DownReason, LinkState } from './core/mesh.ts'
import type { MeshStatistics } from './mesh.ts'

const STATES: readonly LinkState[] = ['connected', 'connecting', 'idle', 'unreachable']
const REASONS: readonly DownReason[] = [
  'dead',
  'left',
  'epoch',
  'foreign',
  'unreachable',
  'session_lost',
  'overflow',
  'violation',
  'own_epoch',
]

/** @param statistics undefined while the mesh is not open */
export function meshMetrics(statistics: () => MeshStatistics | undefined): ReadMetric[] {
  /** Of an open mesh. */
  const open = (read: (mesh: MeshStatistics) => Sample[]) => (): Sample[] => {
    const mesh = statistics()
    return mesh === undefined ? [] : read(mesh)
  }
  return [
    gauge(
      'mesh_links',
      'other nodes, by whether they are reached',
      ['state'],
      open(({ links }) => STATES.map((state) => [{ state }, links.filter((link) => link.state === state).length])),
    ),
    counter(
      'mesh_bytes_total',
      'bytes of messages',
      ['peer', 'class', 'direction'],
      open(({ bytes }) =>
        [...bytes].flatMap(([peer, { sent, received }]) => [
          ...byClass(sent, { peer, direction: 'out' }),
          ...byClass(received, { peer, direction: 'in' }),
        ]),
      ),
    ),
    counter(
      'mesh_messages_total',
      'messages',
      ['class', 'direction'],
      open(({ counters }) => [
        ...byClass(counters.messagesSent, { direction: 'out' }),
        ...byClass(counters.messagesReceived, { direction: 'in' }),
      ]),
    ),
    gauge(
      'mesh_queue_bytes',
      'what waits to be sent or acknowledged',
      ['peer', 'class'],
      open(({ links }) => links.flatMap(({ peer, queueBytes }) => byClass(queueBytes, { peer }))),
    ),
    counter(
      'mesh_reconnects_total',
      'connections that broke or were replaced',
      ['peer'],
      open(({ links }) => links.map(({ peer, reconnects }) => [{ peer }, reconnects])),
    ),
    counter(
      'mesh_refused_total',
      'handshakes refused, here or by the peer',
      ['code'],
      open(({ counters }) =>
        [...REFUSE_CODES, 'handshake' as const].map((code) => [{ code }, counters.refused.get(code) ?? 0]),
      ),
    ),
    counter(
      'mesh_dropped_total',
      'messages that were not delivered',
      ['class', 'reason'],
      open(({ counters }) =>
        [...counters.dropped].map(([key, value]) => {
          const [name = '', reason = ''] = key.split(' ')
          return [{ class: name, reason }, value]
        }),
      ),
    ),
    counter(
      'mesh_resumed_total',
      'sessions that went on over another connection',
      [],
      open(({ counters }) => [[{}, counters.resumed]]),
    ),
    counter(
      'mesh_sessions_broken_total',
      'sessions that ended',
      ['reason'],
      open(({ counters }) => REASONS.map((reason) => [{ reason }, counters.sessionsBroken.get(reason) ?? 0])),
    ),
    counter(
      'mesh_protocol_errors_total',
      'connections closed because the peer broke the protocol',
      [],
      open(({ counters }) => [[{}, counters.violations]]),
    ),
    gauge(
      'mesh_rtt_seconds',
      'round trip of the last ping',
      ['peer'],
      open(({ links }) =>
        links.flatMap(({ peer, rttMs }): Sample[] => (rttMs === undefined ? [] : [[{ peer }, rttMs / 1000]])),
      ),
    ),
    histogram(
      'mesh_handshake_seconds',
      'handshakes that succeeded, by how long they took',
      [],
      () => statistics()?.handshakes ?? [],
    ),
    counter(
      'mesh_requests_total',
      'requests to other nodes',
      ['result'],
      open(({ requests }) => [
        [{ result: 'sent' }, requests.requests],
        [{ result: 'timeout' }, requests.timeouts],
        [{ result: 'served' }, requests.served],
        [{ result: 'overloaded' }, requests.overloaded],
      ]),
    ),
    gauge(
      'tls_cert_expiry_seconds',
      "until this node's certificate ends",
      [],
      open(({ certificateSeconds }) => (certificateSeconds === undefined ? [] : [[{}, certificateSeconds]])),
    ),
  ]
}

/** One sample a class; class link is the mesh's own and left out. */
function byClass(values: readonly number[], labels: Record<string, string>): Sample[] {
  return CHANNEL_CLASSES.flatMap((name, id): Sample[] =>
    id === LINK ? [] : [[{ ...labels, class: name }, values[id] ?? 0]],
  )
}
