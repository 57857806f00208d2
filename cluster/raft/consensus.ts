// What the services of a cluster see of consensus on a server: proposals, reads, membership. cluster.md §5. The driver is one
// implementation (driver.ts); tests of services bring their own.

import { MoonmeshError } from '../../runtime/base/errors.ts'
import type { Machine } from '../state/core/machine.ts'
import type { Outcome, StateEvent } from '../state/core/outcomes.ts'
import type { Role } from './core/effects.ts'
import type { LogPosition } from './core/entry.ts'
import type { PlacedConfiguration } from './core/log.ts'
import type { Configuration, ConfigurationChange } from './core/membership.ts'
import type { FollowerStatus } from './core/raft.ts'
import type { ServerId } from './core/server.ts'
import type { StoreMeta } from './store.ts'

export interface ConsensusStatus {
  readonly self: ServerId
  /** Hex; undefined before a group was formed or met. */
  readonly formation: string | undefined
  /** In the newest configuration; `none`: in no group, or removed from it. */
  readonly role: 'leader' | 'voter' | 'standby' | 'none'
  readonly raftRole: Role
  readonly term: number
  readonly leader: ServerId | undefined
  readonly commit: number
  readonly applied: number
  readonly base: LogPosition
  readonly last: LogPosition
  /** The newest, committed or not. */
  readonly configuration: PlacedConfiguration
  /** A leader that has applied the first entry of its term: it may decide about others. */
  readonly isReady: boolean
  /** Why this server says nothing: its disk has failed, or its state machine has halted. */
  readonly failure: string | undefined
  /** What has failed, when `failure` is not about a store that is made anew or a node that stops. */
  readonly failedPart?: 'disk' | 'machine'
  /** Neither term nor entry nor snapshot: it may take part in forming a group. */
  readonly isEmpty: boolean
  /** Of a leader: proposed and not committed. */
  readonly uncommittedBytes: number
  /** The newest one here. */
  readonly snapshot?: LogPosition
  /** Entries as they are stored here. */
  readonly logBytes?: number
  /** Average time of a synced write here; 0 before the first one. */
  readonly syncMs?: number
  /** Of a leader. */
  readonly followers: readonly FollowerStatus[]
}

/** Why a proposal was not taken, or what became of it is not known (`LeadershipLost`). The kind of a MoonmeshError. */
export type ProposalFailure = 'NotLeader' | 'Transferring' | 'Overloaded' | 'LeadershipLost' | 'Invalid'

/** `details.hint` of `NotLeader`: the leader as far as it is known, `name/store`. Only after `LeadershipLost` may it have happened. */
export function proposalFailure(kind: ProposalFailure, message: string, hint?: ServerId): MoonmeshError {
  const details = hint === undefined ? {} : { details: { hint } }
  return new MoonmeshError(kind, message, { retryable: kind !== 'Invalid', ...details })
}

export interface Consensus {
  readonly self: ServerId
  status(): ConsensusStatus
  /** Leader, its being ready, role, configuration, formation or health changed. @returns takes it back */
  onStatus(listener: () => void): () => void

  /** The replica, for reading only; the same object also after a snapshot was restored. */
  readonly machine: Machine
  /** After each entry was applied here; not to be done long. @returns takes it back */
  onApplied(listener: (index: number, events: readonly StateEvent[]) => void): () => void
  /** The replica was replaced by a snapshot at `index`: events between are not told. @returns takes it back */
  onRestored(listener: (index: number) => void): () => void

  /**
   * On the leader: appends, and resolves with the outcome once it is committed and applied here. Commands of one turn of the
   * event loop share an entry.
   * @param command one command, as `encodeEnvelope` gives it
   * @throws MoonmeshError of the kinds of `ProposalFailure`
   */
  propose(command: Uint8Array): Promise<Outcome>
  /** On the leader: replaces the committed settings; otherwise as `propose`. @returns index of the entry */
  proposeSettings(settings: Uint8Array): Promise<number>
  /**
   * Resolves once this server has applied all that was committed when it was called; asks the leader.
   * @returns the index that is applied
   * @throws MoonmeshError `Timeout`; `Unavailable` when the server falls silent
   */
  barrier(deadlineMs: number): Promise<number>
  /** A leader that is ready, whose majority was in contact within the check-quorum window at this very moment, and that has begun no transfer. */
  holdsQuorum(): boolean
  /** On the leader: the node hears at once of what was committed, and not with the next entries or a moment later. */
  tellCommit(name: string): void
  /** On the leader: one step; resolves once it is committed. @throws MoonmeshError `NotLeader`, `Transferring`, `LeadershipLost`, `Conflict` (why not) */
  changeMembership(change: ConfigurationChange): Promise<void>
  /** On the leader: hands leadership to `to`, or to the best voter. @returns the new leader @throws MoonmeshError `NotLeader`, `Conflict` (why not) */
  transfer(to?: ServerId): Promise<ServerId>
  /** Whether this server wants to lead; false also while its node is leaving. */
  setEligible(isEligible: boolean): void

  /**
   * Begins a group: once this resolves, the formation and its first two entries (configuration, settings) are durable. The same
   * call again does nothing. cluster.md §5.4.
   * @param formation hex
   * @throws MoonmeshError `Conflict` when the store has state of another formation
   */
  form(formation: string, configuration: Configuration, settings: Uint8Array): Promise<void>
  readonly meta: StoreMeta
  /** Durable once it resolves; changes count in their order. */
  changeMeta(change: (meta: StoreMeta) => StoreMeta): Promise<StoreMeta>
  /** Does away with the store and begins with a new one, of another id, that is in no group. `self` is another afterwards. */
  reset(): Promise<void>

  close(): Promise<void>
}
