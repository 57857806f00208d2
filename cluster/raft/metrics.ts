// Consensus as Prometheus reads it. Nothing is counted twice: each metric is read off the driver when it is asked for. cluster.md §11.

import type { Metric, Registry } from 'prom-client'
import { type Histogram, histogramMetric } from '../../runtime/base/histogram.ts'
import type { ConsensusStatus } from './consensus.ts'
import type { FollowerStatus } from './core/raft.ts'
import { nameOf } from './core/server.ts'
import type { RaftStatistics } from './statistics.ts'

type Prom = typeof import('prom-client')
type Sample = readonly [labels: Record<string, string>, value: number]

export interface RaftFigures {
  readonly status: ConsensusStatus
  readonly statistics: RaftStatistics
  /** Of the reconciler; undefined before it is there. */
  readonly membership?: MembershipStatistics
  readonly votersMax?: number
}

interface MembershipStatistics {
  readonly bursts: number
  /** By reason. */
  readonly evictions: Readonly<Record<string, number>>
}

const ROLES = { follower: 0, 'pre-candidate': 1, candidate: 1, leader: 2 } as const
const MODES = { probe: 0, replicate: 1, snapshot: 2 } as const

/** @param figures undefined while, or where, there is no consensus */
export function registerRaftMetrics(prom: Prom, registry: Registry, figures: () => RaftFigures | undefined): void {
  const registers = [registry]
  const gauge = (name: string, help: string, labelNames: string[], read: (raft: RaftFigures) => Sample[]): void => {
    new prom.Gauge({
      name,
      help,
      labelNames,
      registers,
      collect() {
        this.reset()
        const raft = figures()
        if (raft !== undefined) for (const [labels, value] of read(raft)) this.set(labels, value)
      },
    })
  }
  const counter = (name: string, help: string, labelNames: string[], read: (raft: RaftFigures) => Sample[]): void => {
    new prom.Counter({
      name,
      help,
      labelNames,
      registers,
      collect() {
        this.reset()
        const raft = figures()
        if (raft !== undefined) for (const [labels, value] of read(raft)) this.inc(labels, value)
      },
    })
  }
  const histogram = (
    name: string,
    help: string,
    labelNames: string[],
    read: (raft: RaftStatistics) => (readonly [Record<string, string>, Histogram])[],
  ): void => {
    const all = (): (readonly [Record<string, string>, Histogram])[] => {
      const raft = figures()
      return raft === undefined ? [] : read(raft.statistics)
    }
    registry.registerMetric(histogramMetric(name, help, labelNames, all) as unknown as Metric)
  }
  const one =
    (read: (status: ConsensusStatus) => number) =>
    (raft: RaftFigures): Sample[] => [[{}, read(raft.status)]]
  const total =
    (read: (statistics: RaftStatistics) => number) =>
    (raft: RaftFigures): Sample[] => [[{}, read(raft.statistics)]]
  gauge(
    'raft_state',
    '0 follower, 1 candidate, 2 leader',
    [],
    one(({ raftRole }) => ROLES[raftRole]),
  )
  gauge(
    'raft_term',
    'term',
    [],
    one(({ term }) => term),
  )
  gauge(
    'raft_commit_index',
    'last entry known to be committed',
    [],
    one(({ commit }) => commit),
  )
  gauge(
    'raft_applied_index',
    'last entry that the replica here has applied',
    [],
    one(({ applied }) => applied),
  )
  gauge(
    'raft_last_log_index',
    'last entry of the log here',
    [],
    one(({ last }) => last.index),
  )
  gauge(
    'raft_voters',
    'members that vote',
    [],
    one((status) => status.configuration.configuration.voters.length),
  )
  gauge(
    'raft_non_voters',
    'members that do not vote',
    [],
    one((status) => status.configuration.configuration.standbys.length),
  )
  gauge(
    'raft_uncommitted_bytes',
    'what a leader has proposed and not committed',
    [],
    one((s) => s.uncommittedBytes),
  )
  gauge('raft_peer_lag', 'entries that a member is behind the leader', ['peer'], ({ status }) =>
    peersOf(status).map(({ server, match }) => [{ peer: nameOf(server) }, Math.max(0, status.last.index - match)]),
  )
  gauge('raft_peer_mode', 'how the leader feeds a member: 0 probe, 1 replicate, 2 snapshot', ['peer'], ({ status }) =>
    peersOf(status).map(({ server, mode }) => [{ peer: nameOf(server) }, MODES[mode]]),
  )
  gauge('raft_inflight', 'appends to a member that are not answered', ['peer'], ({ status }) =>
    peersOf(status).map(({ server, inflightCount }) => [{ peer: nameOf(server) }, inflightCount]),
  )
  histogram(
    'raft_append_seconds',
    'entries sent to a member, from their sending until it has them on its disk',
    ['peer'],
    ({ appends }) => [...appends].map(([peer, each]) => [{ peer }, each] as const),
  )
  counter(
    'raft_leader_changes_total',
    'leaders seen, one after the other',
    [],
    total((s) => s.leaderChanges),
  )
  counter(
    'raft_elections_total',
    'elections that this member stood for',
    ['result'],
    byResult((s) => s.elections),
  )
  counter(
    'raft_prevotes_total',
    'times that it asked whether it could win',
    ['result'],
    byResult((s) => s.preVotes),
  )
  counter(
    'raft_check_quorum_stepdowns_total',
    'times that it gave up leadership, a majority being out of contact',
    [],
    total((s) => s.stepDowns),
  )
  histogram('raft_election_seconds', 'times without a leader', [], ({ election }) => [[{}, election]])
  counter(
    'raft_proposals_total',
    'proposals by result',
    ['result'],
    byResult((s) => s.proposals),
  )
  histogram('raft_commit_seconds', 'proposals, from their turn to their applying', [], ({ commit }) => [[{}, commit]])
  histogram('raft_fsync_seconds', 'synced writes of the log', [], ({ fsync }) => [[{}, fsync]])
  histogram('raft_apply_seconds', 'batches of entries, by the time of applying', [], ({ apply }) => [[{}, apply]])
  histogram('raft_read_index_seconds', 'linearizable reads', [], ({ read }) => [[{}, read]])
  histogram(
    'raft_snapshot_seconds',
    'snapshots that were written here, restored, sent to a follower, received from a leader',
    ['op'],
    ({ snapshots }) =>
      Object.entries(snapshots).map(([op, seconds]): [Record<string, string>, Histogram] => [{ op }, seconds]),
  )
  gauge(
    'raft_snapshot_bytes',
    'size of the last snapshot written',
    [],
    total((s) => s.snapshotBytes),
  )
  counter(
    'raft_install_total',
    'snapshots that came from a leader',
    ['result'],
    byResult((s) => s.installs),
  )
  gauge(
    'raft_log_bytes',
    'size of the entries in the log here',
    [],
    one((s) => s.logBytes ?? 0),
  )
  gauge('raft_voter_cap', 'members that may vote at most', [], ({ votersMax }) =>
    votersMax === undefined ? [] : [[{}, votersMax]],
  )
  counter(
    'raft_voter_churn_burst_total',
    'times that voters changed so often that changes were put off',
    [],
    ({ membership }) => [[{}, membership?.bursts ?? 0]],
  )
  counter('raft_evictions_total', 'members taken out by this leader', ['reason'], ({ membership }) =>
    Object.entries(membership?.evictions ?? {}).map(([reason, count]) => [{ reason }, count]),
  )
  counter('raft_config_changes_total', 'changes of members asked for here', ['op', 'result'], ({ statistics }) =>
    [...statistics.configChanges].map(([key, value]) => {
      const [op = '', result = ''] = key.split(' ')
      return [{ op, result }, value]
    }),
  )
  counter(
    'raft_log_regression_total',
    'members found to have lost entries',
    [],
    total((s) => s.regressions),
  )
  counter(
    'raft_storage_failures_total',
    'failures of the disk',
    [],
    total((s) => s.diskFailures),
  )
  counter('raft_dropped_total', 'messages that were not taken', ['reason'], ({ statistics }) =>
    [...statistics.drops].map(([reason, value]) => [{ reason }, value]),
  )
}

/** One server a node: of one that lost its store, the server that answers. */
function peersOf({ followers }: ConsensusStatus): readonly FollowerStatus[] {
  const best = new Map<string, FollowerStatus>()
  for (const follower of followers) {
    const name = nameOf(follower.server)
    if (follower.silentMs <= (best.get(name)?.silentMs ?? Number.POSITIVE_INFINITY)) best.set(name, follower)
  }
  return [...best.values()]
}

const byResult =
  (read: (statistics: RaftStatistics) => ReadonlyMap<string, number>) =>
  ({ statistics }: RaftFigures): Sample[] =>
    [...read(statistics)].map(([result, value]) => [{ result }, value])
