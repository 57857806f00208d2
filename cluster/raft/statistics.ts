// What the driver of consensus counts. cluster.md §11.

import type { ServerId } from './core/server.ts'

/** Durations in classes, as Prometheus counts them. */
export class Durations {
  readonly #counts: number[]
  readonly #boundsMs: readonly number[]
  #count = 0
  #sumMs = 0

  constructor(boundsMs: readonly number[] = BOUNDS_MS) {
    this.#boundsMs = boundsMs
    this.#counts = new Array(boundsMs.length).fill(0)
  }

  add(durationMs: number): void {
    this.#count++
    this.#sumMs += durationMs
    for (let at = 0; at < this.#boundsMs.length; at++) {
      if (durationMs <= (this.#boundsMs[at] as number)) {
        ;(this.#counts[at] as number)++
        return
      }
    }
  }

  get count(): number {
    return this.#count
  }

  get sumMs(): number {
    return this.#sumMs
  }

  /** How many took at most so long, for each bound. */
  buckets(): { readonly boundMs: number; readonly count: number }[] {
    let sum = 0
    return this.#boundsMs.map((boundMs, at) => {
      sum += this.#counts[at] as number
      return { boundMs, count: sum }
    })
  }
}

const BOUNDS_MS = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 10_000]

export class RaftStatistics {
  readonly fsync = new Durations()
  readonly apply = new Durations()
  /** From the handing over to the core to the applied entry, on the leader. */
  readonly commit = new Durations()
  readonly read = new Durations()
  readonly election = new Durations()
  readonly snapshots = { write: new Durations(), restore: new Durations() }
  readonly proposals = new Map<string, number>(
    ['ok', 'not_leader', 'transferring', 'overloaded', 'leadership_lost', 'invalid'].map((result) => [result, 0]),
  )
  readonly drops = new Map<string, number>()
  readonly configChanges = new Map<string, number>()
  readonly installs = new Map<string, number>([
    ['ok', 0],
    ['failed', 0],
  ])
  snapshotBytes = 0
  diskFailures = 0
  regressions = 0
  leaderChanges = 0
  /** Leaderships of this server that ended without another leader in sight. */
  stepDowns = 0
  #leader: ServerId | undefined
  #wasLeader = false
  #leaderlessSinceMs: number | undefined
  #term = 0

  proposed(result: string, count: number): void {
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

  snapshot(op: 'write' | 'restore', durationMs: number, sizeBytes?: number): void {
    this.snapshots[op].add(durationMs)
    if (sizeBytes !== undefined) this.snapshotBytes = sizeBytes
  }

  stateChanged(isLeader: boolean, term: number, leader: ServerId | undefined, nowMs: number): void {
    if (this.#wasLeader && !isLeader && leader === undefined && term === this.#term) this.stepDowns++
    if (leader === undefined) this.#leaderlessSinceMs ??= nowMs
    else {
      if (this.#leaderlessSinceMs !== undefined) this.election.add(nowMs - this.#leaderlessSinceMs)
      this.#leaderlessSinceMs = undefined
      if (leader !== this.#leader || term !== this.#term) this.leaderChanges++
      this.#leader = leader
    }
    this.#wasLeader = isLeader
    this.#term = term
  }
}

function raise(counts: Map<string, number>, key: string, by: number): void {
  counts.set(key, (counts.get(key) ?? 0) + by)
}
