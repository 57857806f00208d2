// From what a disk holds to the state a server starts with, or to the reason why it must not start. A crash may fall
// between a snapshot and the log that follows it; anything else out of place is damage and is never repaired in silence.
// cluster.md §5.1 D5, D7.

import type { HardState } from './effects.ts'
import type { Entry, LogPosition } from './entry.ts'
import type { Run } from './log.ts'
import type { SnapshotMeta } from './messages.ts'

/** What a server finds on its disk. */
export interface RecoveredState {
  readonly hardState: HardState
  /** The newest one; already restored into the state machine. */
  readonly snapshot?: SnapshotMeta
  /** The last entry that is no longer kept. Invariant: not after the snapshot. */
  readonly base: LogPosition
  /** Terms of the entries from the base to the snapshot, which stay on the disk. */
  readonly runs: readonly Run[]
  /** Entries after the snapshot, or from the first on, without gaps. */
  readonly entries: readonly Entry[]
  /** A snapshot that was arriving. */
  readonly partial?: PartialSnapshot
}

export interface PartialSnapshot {
  readonly snapshot: SnapshotMeta
  /** Bytes that are durable. */
  readonly offset: number
}

/** The parts of a store, each intact by its checksums. */
export interface StoredState {
  readonly hardState?: HardState
  /** The newest one that is valid. */
  readonly snapshot?: SnapshotMeta
  /** The last entry before the log. */
  readonly base: LogPosition
  /** Terms of all entries after the base. */
  readonly runs: readonly Run[]
  /** Index of the last entry, or that of the base. */
  readonly lastIndex: number
  /** Entries after the base and after the snapshot. */
  readonly entries: readonly Entry[]
  readonly partial?: PartialSnapshot
}

type Recovery =
  | {
      readonly ok: true
      readonly state: RecoveredState
      /** The stored log precedes or contradicts the snapshot: the store drops it before anything is appended. */
      readonly isLogReplaced: boolean
    }
  | { readonly ok: false; readonly index: number; readonly why: string }

/** What to start with; or what is wrong, and at which index. */
export function recover(stored: StoredState): Recovery {
  const { snapshot, base, runs, lastIndex, entries, partial } = stored
  const covered = snapshot?.index ?? 0
  if (base.index > covered)
    return damaged(covered + 1, `entries up to ${base.index} are gone and no snapshot holds them`)
  for (const [at, entry] of entries.entries()) {
    const expected = Math.max(base.index, covered) + 1 + at
    if (entry.index !== expected) return damaged(expected, `entry ${entry.index} stands in its place`)
  }
  const lastTerm = runs[runs.length - 1]?.term ?? base.term
  const { term } = stored.hardState ?? { term: 0 }
  if (term < lastTerm) return damaged(lastIndex, `its term is ${lastTerm}, the store has only seen term ${term}`)
  const kept = partial === undefined ? {} : { partial }
  if (snapshot === undefined) {
    const hardState = stored.hardState ?? { term }
    return { ok: true, isLogReplaced: false, state: { hardState, base, runs: [], entries, ...kept } }
  }
  // A snapshot is durable before the term of its sender is when both were new at once; nobody has voted in that term here.
  const hardState = stored.hardState !== undefined && term >= snapshot.term ? stored.hardState : { term: snapshot.term }
  const start = { hardState, snapshot, ...kept }
  if (lastIndex >= covered && termAt(stored, covered) === snapshot.term) {
    const before = runs.filter((run) => run.first <= covered)
    return { ok: true, isLogReplaced: false, state: { ...start, base, runs: before, entries } }
  }
  // The snapshot was complete, and the crash came before the log was cut to it. What the log holds is older, or was never
  // committed: the snapshot holds what was.
  const position = { index: snapshot.index, term: snapshot.term }
  return { ok: true, isLogReplaced: true, state: { ...start, base: position, runs: [], entries: [] } }
}

function termAt({ base, runs }: StoredState, index: number): number | undefined {
  if (index === base.index) return base.term
  let term: number | undefined
  for (const run of runs) if (run.first <= index) term = run.term
  return term
}

function damaged(index: number, why: string): Recovery {
  return { ok: false, index, why }
}
