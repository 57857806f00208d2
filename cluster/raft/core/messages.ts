// What servers say to each other. The bytes are wire/'s business. cluster.md §5.3.
//
// `round` is a number that the asker draws, strictly increasing within one run, and that the answer repeats. A leader
// makes it from its own monotonic clock (microseconds), so the answer alone tells when the question was sent: contact,
// leases and read rounds need no table of what is in flight.

import type { Entry, LogPosition } from './entry.ts'
import type { Configuration } from './membership.ts'

export interface SnapshotMeta {
  readonly index: number
  readonly term: number
  /** Log clock at `index`. */
  readonly clockMs: number
  /** In force at `index`. */
  readonly configuration: Configuration
  readonly sizeBytes: number
  /** SHA-256 of the whole file, hex; tells two files of one index apart. */
  readonly checksum: string
}

export interface PreVoteRequest {
  readonly kind: 'prevote'
  /** The asker's own term; it asks for `term + 1`. */
  readonly term: number
  readonly round: number
  readonly last: LogPosition
  readonly isTransfer: boolean
}

export interface VoteRequest {
  readonly kind: 'vote'
  readonly term: number
  readonly round: number
  readonly last: LogPosition
  /** Asked for by the leader: nobody needs to wait until it has fallen silent. */
  readonly isTransfer: boolean
}

export interface VoteReply {
  readonly kind: 'prevote-reply' | 'vote-reply'
  readonly term: number
  readonly round: number
  readonly granted: boolean
  readonly why?: string
}

export interface AppendRequest {
  readonly kind: 'append'
  readonly term: number
  readonly round: number
  readonly previous: LogPosition
  readonly commit: number
  /** None: a heartbeat, a probe or news of the commit index. */
  readonly entries: readonly Entry[]
  /** Repeats what the follower is known to have; a refusal of it says nothing about the pipeline. */
  readonly isHeartbeat: boolean
  /** The leader's log clock now. */
  readonly clockMs: number
}

export interface AppendReply {
  readonly kind: 'append-reply'
  readonly term: number
  readonly round: number
  readonly ok: boolean
  readonly isHeartbeat: boolean
  /** ok: everything up to here is the leader's and durable. Refused: the index before the first entry that was offered. */
  readonly index: number
  /** Refused: where to go on, at most; and the term that stands in the way there, when there is one. */
  readonly hint?: { readonly index: number; readonly term?: number }
  readonly applied: number
  /** Average time of a write to disk, for the leader's choice of successors. */
  readonly syncMs: number
}

export interface SnapshotRequest {
  readonly kind: 'snapshot'
  readonly term: number
  readonly round: number
  readonly snapshot: SnapshotMeta
  readonly offset: number
  /** Empty: asks how much the receiver already has. */
  readonly data: Uint8Array
}

export interface SnapshotReply {
  readonly kind: 'snapshot-reply'
  readonly term: number
  readonly round: number
  readonly index: number
  readonly checksum: string
  /** Bytes that are durable. */
  readonly offset: number
  /** Installed, or no longer needed. */
  readonly isDone: boolean
}

interface TimeoutNow {
  readonly kind: 'timeout-now'
  readonly term: number
  readonly round: number
}

interface ReadIndexRequest {
  readonly kind: 'read-index'
  readonly term: number
  /** Names the reads that wait for the answer, at the asker. */
  readonly round: number
}

interface ReadIndexReply {
  readonly kind: 'read-index-reply'
  readonly term: number
  readonly round: number
  /** Absent: not the leader, or no longer. */
  readonly index?: number
}

/** The store of the receiver has lost what it once acknowledged and must be made anew. cluster.md §5.3. */
interface ResetRequired {
  readonly kind: 'reset-required'
  readonly term: number
  readonly round: number
}

export type Message =
  | PreVoteRequest
  | VoteRequest
  | VoteReply
  | AppendRequest
  | AppendReply
  | SnapshotRequest
  | SnapshotReply
  | TimeoutNow
  | ReadIndexRequest
  | ReadIndexReply
  | ResetRequired
