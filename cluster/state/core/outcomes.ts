// What a command comes to. Plain data: kept in the table of results, sent to the submitter, the same on every node.

import type { KvResult } from '../../kv/core/commands.ts'

/** @see cluster.md §5.10, §5.11, §6.2, §6.4, §7 */
export type Outcome =
  /** `changed`: whether anything did. `revision`: of the binding, where there is one. */
  | { readonly status: 'ok'; readonly changed: boolean; readonly revision?: number }
  | { readonly status: 'session'; readonly session: number }
  /** The node, or the node of the PID, runs in another epoch; zero: it has no session. */
  | { readonly status: 'stale-epoch'; readonly epoch: number }
  | { readonly status: 'session-expired' }
  | { readonly status: 'stale-request' }
  /** A table is full; nothing happened and nothing is remembered. */
  | { readonly status: 'overloaded'; readonly what: string }
  /** The answer comes later, as an event. A retry before that is told the same. */
  | { readonly status: 'pending'; readonly revision: number }
  /** Somebody else owns the name; `reserved`: will own it, perhaps. */
  | { readonly status: 'conflict'; readonly pid: string; readonly reserved: boolean }
  | { readonly status: 'rejected'; readonly by: string; readonly holder: string }
  /** `missing`: nodes that had not acknowledged, at most 16 of them; `missingCount`: all. */
  | { readonly status: 'timeout'; readonly missing?: readonly string[]; readonly missingCount?: number }
  | { readonly status: 'aborted' }
  | { readonly status: 'granted'; readonly token: number }
  /** `sinceMs`: log clock. `heldMs`: how long that is ago, in the answer of a leader alone. */
  | {
      readonly status: 'held'
      readonly pid: string
      readonly token: number
      readonly sinceMs: number
      readonly heldMs?: number
    }
  | { readonly status: 'kv'; readonly result: KvResult }
  /** The result was too large to be remembered: read anew what it spoke of. */
  | { readonly status: 'large' }

/** As the submitter is told it, who may have no replica, and so no log clock, to count by. */
export function toldAt(clockMs: number, outcome: Outcome): Outcome {
  return outcome.status === 'held' ? { ...outcome, heldMs: Math.max(0, clockMs - outcome.sinceMs) } : outcome
}

/** A request of a session. */
export interface RequestId {
  readonly session: number
  readonly seq: number
}

export type StateEvent =
  | { readonly kind: 'session-opened'; readonly node: string; readonly epoch: number; readonly session: number }
  | { readonly kind: 'session-ended'; readonly node: string; readonly session: number; readonly reason: string }
  /** A binding became true, or with `pid` undefined no longer is. */
  | {
      readonly kind: 'binding'
      readonly name: string
      readonly pid: string | undefined
      readonly scope: GlobalScope
      readonly revision: number
    }
  | { readonly kind: 'strong-opened'; readonly name: string; readonly pid: string; readonly revision: number }
  | { readonly kind: 'strong-ended'; readonly name: string; readonly revision: number; readonly active: boolean }
  | { readonly kind: 'lock-granted'; readonly name: string; readonly pid: string; readonly token: number }
  | {
      readonly kind: 'lock-released'
      readonly name: string
      readonly pid: string
      readonly token: number
      readonly reason: ReleaseReason
    }
  /** The answer of a request that was told `pending`. */
  | { readonly kind: 'answer'; readonly request: RequestId; readonly outcome: Outcome }

export type GlobalScope = 'consistent' | 'strong'
export type ReleaseReason = 'released' | 'expired' | 'process-down' | 'node-down'

/** What the parts of the state machine may ask of it while an entry is applied. */
export interface ApplyContext {
  /** The entry's. */
  readonly index: number
  /** Log clock, milliseconds. */
  readonly clockMs: number
  /** Counts one state-changing effect. Never reused. */
  nextRevision(): number
  /** The open session of the run that made this PID. */
  sessionOfPid(pid: string): number | undefined
  /** The epoch the PID's node runs in, zero without an open session. */
  epochOfPidsNode(pid: string): number
  openSessions(): number[]
  nodeOf(session: number): string
  emit(event: StateEvent): void
  /** Answers a request that was told `pending`, and remembers the answer. */
  answer(request: RequestId, outcome: Outcome): void
}
