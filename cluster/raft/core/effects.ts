// What goes into a server's state machine and what comes out. The driver performs effects in the order of the list and
// decides nothing; where an effect has `done`, it feeds that back when the effect is done. cluster.md §0.3, §5.

import type { Entry, LogPosition } from './entry.ts'
import type { Configuration, ConfigurationChange } from './membership.ts'
import type { Message, SnapshotMeta } from './messages.ts'
import type { ServerId } from './server.ts'

export type Role = 'follower' | 'pre-candidate' | 'candidate' | 'leader'

export interface Proposal {
  /** Names the proposal in the answer; unique among those that are not answered. */
  readonly ref: number
  readonly payload:
    | { readonly kind: 'commands'; readonly data: Uint8Array }
    | { readonly kind: 'settings'; readonly data: Uint8Array }
    | { readonly kind: 'tick' }
}

export type RaftInput =
  /** Time has passed; due at `wakeAtMs`, harmless at any other moment. */
  | { kind: 'tick' }
  | { kind: 'message'; from: ServerId; message: Message }
  /** Everything up to write number `write` is durable. */
  | { kind: 'persisted'; write: number }
  /** The state machine has applied (or restored) everything up to `index`. */
  | { kind: 'applied'; index: number }
  | { kind: 'propose'; proposals: readonly Proposal[] }
  /** `live`: who is believed to be up and connected, by gossip and mesh; ourselves need not be listed. */
  | { kind: 'change'; ref: number; change: ConfigurationChange; live: readonly ServerId[] }
  | { kind: 'read'; ref: number }
  /** Without `to` the best voter. */
  | { kind: 'transfer'; ref: number; to?: ServerId }
  | { kind: 'cancel-transfer' }
  /** What was sent to `peer` lately may not have arrived. */
  | { kind: 'unreachable'; peer: ServerId }
  /** The mesh refused an append for `peer`: its queue is full. */
  | { kind: 'blocked'; peer: ServerId }
  | { kind: 'drained'; peer: ServerId }
  | { kind: 'entries-read'; to: ServerId; after: number; entries: readonly Entry[] }
  | { kind: 'chunk-failed'; to: ServerId; checksum: string }
  | { kind: 'chunk-written'; checksum: string; through: number }
  | { kind: 'snapshot-finished'; checksum: string; ok: boolean }
  /**
   * `keepAfter`: the entries between there and the snapshot are `trailingBytes`, more than that is not kept, whatever their number.
   * `holdAfter`: those are as many bytes as the snapshot more, and more is not kept for any follower.
   */
  | { kind: 'snapshot-created'; snapshot: SnapshotMeta; keepAfter?: number; holdAfter?: number }
  | { kind: 'snapshot-failed' }
  /** Whether this server wants to lead; `false` also while it is leaving. */
  | { kind: 'eligible'; isEligible: boolean }
  /** The process stood still for a while: what looks expired may not be. */
  | { kind: 'paused' }
  /** The average time of a synced write, for others to see. */
  | { kind: 'sync-time'; syncMs: number }
  /** To a leader: the peer should hear of the commit index without delay, since it waits for something that was committed. */
  | { kind: 'tell-commit'; peer: ServerId }
  /** Stand for election now. */
  | { kind: 'campaign' }
  /** A write or a sync has failed; nothing can be promised any more. cluster.md §5.1 D6. */
  | { kind: 'storage-failed' }

/** One atomic change of the disk. Writes become durable in the order of their numbers; several may share a sync. */
export interface PersistEffect {
  kind: 'persist'
  write: number
  hardState?: HardState
  /** Drop the whole log: it now begins behind this entry, which a durable snapshot covers. Comes before `log`. */
  reset?: LogPosition
  /** Drop everything after `after`, then append `entries`. */
  log?: { after: number; entries: readonly Entry[] }
  done: { kind: 'persisted'; write: number }
}

export interface HardState {
  readonly term: number
  readonly vote?: ServerId
}

export type Refusal =
  | 'not-leader'
  | 'transferring'
  | 'overloaded'
  | 'too-large'
  /** A leader that has not applied the first entry of its term yet. */
  | 'not-ready'
  /** A configuration change that is not possible now; `why` says what stands against it. */
  | 'configuration'

export type RaftEffect =
  | PersistEffect
  | { kind: 'send'; to: ServerId; message: Message }
  /** Send `lengthBytes` of the snapshot's file from `offset` in a `snapshot` message. */
  | {
      kind: 'send-chunk'
      to: ServerId
      term: number
      round: number
      snapshot: SnapshotMeta
      offset: number
      lengthBytes: number
    }
  /** Apply these in order. At most one such effect is under way. */
  | { kind: 'apply'; entries: readonly Entry[]; done: { kind: 'applied'; index: number } }
  /** Replace the state machine by this snapshot, whose file is complete. */
  | { kind: 'restore'; snapshot: SnapshotMeta; done: { kind: 'applied'; index: number } }
  /** Entries up to `base` are no longer needed; no answer. */
  | { kind: 'compact'; base: LogPosition }
  /** Write a snapshot of what is applied when this is performed; `snapshotBasis` completes its description. */
  | { kind: 'create-snapshot' }
  /** For a follower; or to apply them, when `to` is this server. */
  | { kind: 'read-entries'; to: ServerId; after: number; entriesMax: number; bytesMax: number }
  /** A snapshot begins to arrive: drop what is left of any other. */
  | { kind: 'begin-snapshot'; snapshot: SnapshotMeta }
  | {
      kind: 'write-chunk'
      snapshot: SnapshotMeta
      offset: number
      data: Uint8Array
      done: { kind: 'chunk-written'; checksum: string; through: number }
    }
  /** All bytes are there: verify them and make the snapshot one of ours, durably. */
  | { kind: 'finish-snapshot'; snapshot: SnapshotMeta }
  | { kind: 'accepted'; ref: number; index: number; term: number }
  | { kind: 'refused'; ref: number; reason: Refusal; why?: string; leader?: ServerId }
  /** Once `index` is applied here, a local read is linearizable. */
  | { kind: 'read-ready'; ref: number; index: number }
  | {
      kind: 'read-failed'
      ref: number
      reason: 'no-leader' | 'not-ready' | 'overloaded' | 'leadership-lost' | 'timeout'
    }
  | { kind: 'transfer-ended'; ref: number; ok: boolean; why?: string }
  /** Role, term or leader changed. Proposals of an earlier term that are not applied yet have an unknown outcome. */
  | { kind: 'state'; role: Role; term: number; leader: ServerId | undefined }
  /** A configuration is committed. */
  | { kind: 'configuration'; index: number; configuration: Configuration }
  /** `server` has lost entries that it had acknowledged. */
  | { kind: 'regressed'; server: ServerId }
  /** Our leader says that our store has lost entries: it must be made anew. Nothing follows after it. */
  | { kind: 'reset-required' }
