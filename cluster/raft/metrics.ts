// The metrics of consensus, read off its driver when somebody asks. cluster.md §11.

import {
  counter,
  gauge,
  type HistogramSample,
  histogram,
  type ReadMetric,
  type Sample,
} from '../../runtime/base/metric.ts'
import type { ConsensusStatus } from './consensus.ts'
import type { FollowerStatus } from './core/raft.ts'
import { nameOf } from './core/server.ts'
import type { RaftStatistics } from './statistics.ts'

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
export function raftMetrics(figures: () => RaftFigures | undefined): ReadMetric[] {
  const raft = (read: (raft: RaftFigures) => Sample[]) => (): Sample[] => {
    const known = figures()
    return known === undefined ? [] : read(known)
  }
  const status = (read: (status: ConsensusStatus) => number) => raft((known) => [[{}, read(known.status)]])
  const statistics = (read: (statistics: RaftStatistics) => number) => raft((known) => [[{}, read(known.statistics)]])
  const byResult = (read: (statistics: RaftStatistics) => ReadonlyMap<string, number>) =>
    raft((known) => [...read(known.statistics)].map(([result, value]) => [{ result }, value]))
  const histograms = (read: (statistics: RaftStatistics) => HistogramSample[]) => (): HistogramSample[] => {
    const known = figures()
    return known === undefined ? [] : read(known.statistics)
  }
  return [
    gauge(
      'raft_state',
      '0 follower, 1 candidate, 2 leader',
      [],
      status(({ raftRole }) => ROLES[raftRole]),
    ),
    gauge(
      'raft_term',
      'term',
      [],
      status(({ term }) => term),
    ),
    gauge(
      'raft_commit_index',
      'last entry known to be committed',
      [],
      status(({ commit }) => commit),
    ),
    gauge(
      'raft_applied_index',
      'last entry that the replica here has applied',
      [],
      status(({ applied }) => applied),
    ),
    gauge(
      'raft_last_log_index',
      'last entry of the log here',
      [],
      status(({ last }) => last.index),
    ),
    gauge(
      'raft_voters',
      'members that vote',
      [],
      status(({ configuration }) => configuration.configuration.voters.length),
    ),
    gauge(
      'raft_non_voters',
      'members that do not vote',
      [],
      status(({ configuration }) => configuration.configuration.standbys.length),
    ),
    gauge(
      'raft_uncommitted_bytes',
      'what a leader has proposed and not committed',
      [],
      status(({ uncommittedBytes }) => uncommittedBytes),
    ),
    gauge(
      'raft_peer_lag',
      'entries that a member is behind the leader',
      ['peer'],
      raft(({ status }) =>
        peersOf(status).map(({ server, match }) => [{ peer: nameOf(server) }, Math.max(0, status.last.index - match)]),
      ),
    ),
    gauge(
      'raft_peer_mode',
      'how the leader feeds a member: 0 probe, 1 replicate, 2 snapshot',
      ['peer'],
      raft(({ status }) => peersOf(status).map(({ server, mode }) => [{ peer: nameOf(server) }, MODES[mode]])),
    ),
    gauge(
      'raft_inflight',
      'appends to a member that are not answered',
      ['peer'],
      raft(({ status }) =>
        peersOf(status).map(({ server, inflightCount }) => [{ peer: nameOf(server) }, inflightCount]),
      ),
    ),
    histogram(
      'raft_append_seconds',
      'entries sent to a member, from their sending until it has them on its disk',
      ['peer'],
      histograms(({ appends }) => [...appends].map(([peer, each]) => [{ peer }, each] as const)),
    ),
    counter(
      'raft_leader_changes_total',
      'leaders seen, one after the other',
      [],
      statistics((s) => s.leaderChanges),
    ),
    counter(
      'raft_elections_total',
      'elections that this member stood for',
      ['result'],
      byResult((s) => s.elections),
    ),
    counter(
      'raft_prevotes_total',
      'times that it asked whether it could win',
      ['result'],
      byResult((s) => s.preVotes),
    ),
    counter(
      'raft_check_quorum_stepdowns_total',
      'times that it gave up leadership, a majority being out of contact',
      [],
      statistics((s) => s.stepDowns),
    ),
    histogram(
      'raft_election_seconds',
      'times without a leader',
      [],
      histograms(({ election }) => [[{}, election]]),
    ),
    counter(
      'raft_proposals_total',
      'proposals by result',
      ['result'],
      byResult((s) => s.proposals),
    ),
    histogram(
      'raft_commit_seconds',
      'proposals, from their turn to their applying',
      [],
      histograms(({ commit }) => [[{}, commit]]),
    ),
    histogram(
      'raft_fsync_seconds',
      'synced writes of the log',
      [],
      histograms(({ fsync }) => [[{}, fsync]]),
    ),
    histogram(
      'raft_apply_seconds',
      'batches of entries, by the time of applying',
      [],
      histograms(({ apply }) => [[{}, apply]]),
    ),
    histogram(
      'raft_read_index_seconds',
      'linearizable reads',
      [],
      histograms(({ read }) => [[{}, read]]),
    ),
    histogram(
      'raft_snapshot_seconds',
      'snapshots that were written here, restored, sent to a follower, received from a leader',
      ['op'],
      histograms(({ snapshots }) =>
        Object.entries(snapshots).map(([op, seconds]): HistogramSample => [{ op }, seconds]),
      ),
    ),
    gauge(
      'raft_snapshot_bytes',
      'size of the last snapshot written',
      [],
      statistics((s) => s.snapshotBytes),
    ),
    counter(
      'raft_install_total',
      'snapshots that came from a leader',
      ['result'],
      byResult((s) => s.installs),
    ),
    gauge(
      'raft_log_bytes',
      'size of the entries in the log here',
      [],
      status(({ logBytes }) => logBytes ?? 0),
    ),
    gauge(
      'raft_voter_cap',
      'members that may vote at most',
      [],
      raft(({ votersMax }) => (votersMax === undefined ? [] : [[{}, votersMax]])),
    ),
    counter(
      'raft_voter_churn_burst_total',
      'times that voters changed so often that changes were put off',
      [],
      raft(({ membership }) => [[{}, membership?.bursts ?? 0]]),
    ),
    counter(
      'raft_evictions_total',
      'members taken out by this leader',
      ['reason'],
      raft(({ membership }) =>
        Object.entries(membership?.evictions ?? {}).map(([reason, count]) => [{ reason }, count]),
      ),
    ),
    counter(
      'raft_config_changes_total',
      'changes of members asked for here',
      ['op', 'result'],
      raft(({ statistics }) =>
        [...statistics.configChanges].map(([key, value]) => {
          const [op = '', result = ''] = key.split(' ')
          return [{ op, result }, value]
        }),
      ),
    ),
    counter(
      'raft_log_regression_total',
      'members found to have lost entries',
      [],
      statistics((s) => s.regressions),
    ),
    counter(
      'raft_storage_failures_total',
      'failures of the disk',
      [],
      statistics((s) => s.diskFailures),
    ),
    counter(
      'raft_dropped_total',
      'messages that were not taken',
      ['reason'],
      raft(({ statistics }) => [...statistics.drops].map(([reason, value]) => [{ reason }, value])),
    ),
  ]
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
