// What the driver of consensus counts. cluster.md §11.

import { Histogram } from '../../runtime/base/histogram.ts'
import type { Role } from './core/effects.ts'
import type { ServerId } from './core/server.ts'

const RESULTS = ['ok', 'not_leader', 'transferring', 'overloaded', 'leadership_lost', 'invalid'] as const
/** Seconds. A disk may answer in a tenth of a millisecond. */
const BOUNDS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10]
/** Seconds: from nothing to gibibytes. */
const SNAPSHOT_BOUNDS = [0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800]

export class RaftStatistics {
  readonly fsync = new Histogram(BOUNDS)
  readonly apply = new Histogram(BOUNDS)
  /** From the handing over to the core to the applied entry, on the leader. */
  readonly commit = new Histogram(BOUNDS)
  readonly read = new Histogram(BOUNDS)
  /** Of a leader, by member: from the sending of entries to the answer that they are on its disk. */
  readonly appends = new Map<string, Histogram>()
  /** Times without a leader. */
  readonly election = new Histogram()
  readonly snapshots = {
    write: new Histogram(SNAPSHOT_BOUNDS),
    restore: new Histogram(SNAPSHOT_BOUNDS),
    send: new Histogram(SNAPSHOT_BOUNDS),
    receive: new Histogram(SNAPSHOT_BOUNDS),
  }
  /** By result. */
  readonly proposals = new Map<string, number>(RESULTS.map((result) => [result, 0]))
  readonly elections = new Map<string, number>([
    ['won', 0],
    ['lost', 0],
  ])
  readonly preVotes = new Map<string, number>([
    ['won', 0],
    ['lost', 0],
  ])
  /** Messages, by reason. */
  readonly drops = new Map<string, number>()
  /** By `op result`. */
  readonly configChanges = new Map<string, number>()
  readonly installs = new Map<string, number>([
    ['ok', 0],
    ['failed', 0],
  ])
  snapshotBytes = 0
  diskFailures = 0
  regressions = 0
  leaderChanges = 0
  /** Leaderships of this server that ended since a majority was out of contact. */
  stepDowns = 0
  #role: Role = 'follower'
  #term = 0
  #leader: ServerId | undefined
  #leaderlessSinceMs: number | undefined

  proposed(result: (typeof RESULTS)[number], count: number): void {
    raise(this.proposals, result, count)
  }

  dropped(reason: string): void {
    raise(this.drops, reason, 1)
  }

  changed(op: string, result: 'ok' | 'refused'): void {
    raise(this.configChanges, `${op} ${result}`, 1)
  }

  installed(ok: boolean): void {
    raise(this.installs, ok ? 'ok' : 'failed', 1)
  }

  appended(peer: string, durationMs: number): void {
    const histogram = this.appends.get(peer) ?? new Histogram(BOUNDS)
    this.appends.set(peer, histogram)
    histogram.observe(durationMs / 1000)
  }

  /** Who is no member any more is forgotten. */
  keepPeers(peers: readonly string[]): void {
    for (const peer of [...this.appends.keys()]) if (!peers.includes(peer)) this.appends.delete(peer)
  }

  snapshot(op: 'write' | 'restore' | 'send' | 'receive', durationMs: number, sizeBytes?: number): void {
    this.snapshots[op].observe(durationMs / 1000)
    if (sizeBytes !== undefined) this.snapshotBytes = sizeBytes
  }

  stateChanged(role: Role, term: number, leader: ServerId | undefined, nowMs: number): void {
    const before = this.#role
    // A leader of a later term is one way for leadership to end; without one, in the same term, it gave up.
    if (before === 'leader' && role !== 'leader' && leader === undefined && term === this.#term) this.stepDowns++
    if (before === 'pre-candidate' && role !== 'pre-candidate') {
      raise(this.preVotes, role === 'follower' ? 'lost' : 'won', 1)
    }
    if (before === 'candidate' && role !== 'candidate') raise(this.elections, role === 'leader' ? 'won' : 'lost', 1)
    if (leader === undefined) this.#leaderlessSinceMs ??= nowMs
    else {
      if (this.#leaderlessSinceMs !== undefined) this.election.observe((nowMs - this.#leaderlessSinceMs) / 1000)
      this.#leaderlessSinceMs = undefined
      if (leader !== this.#leader || term !== this.#term) this.leaderChanges++
      this.#leader = leader
    }
    this.#role = role
    this.#term = term
  }
}

function raise(counts: Map<string, number>, key: string, by: number): void {
  counts.set(key, (counts.get(key) ?? 0) + by)
}
