// What the driver of consensus asks of the state that its log builds up. cluster.md §5.12; the one there is: cluster/state/host.ts.

import type { Machine } from '../state/core/machine.ts'
import type { Outcome, StateEvent } from '../state/core/outcomes.ts'
import type { Entry } from './core/entry.ts'
import type { SnapshotPosition } from './snapshots.ts'

export interface SavedState {
  /** Of a file, as long as it is not closed. */
  readonly pieces: Iterable<Uint8Array>
  /** Idempotent. */
  close(): void
}

export interface ReplicatedState {
  readonly machine: Machine
  /** What is applied, up to here. */
  readonly index: number
  readonly clockMs: number
  /** When something falls due, log clock. */
  readonly nextExpiryMs: number | undefined
  /** Nothing that was asked for is still under way. */
  readonly isIdle: boolean

  /** What no state machine applies must never be in the log. @throws UnpackError */
  check(command: Uint8Array): void
  /** What an entry of these commands holds; each passed `check`. */
  join(commands: readonly Uint8Array[]): Uint8Array

  /**
   * Applies entries in their order, a slice of a turn at a time; those that are applied already are passed over. `each` is told the
   * outcomes of the commands after each entry. Whatever is asked for later waits.
   */
  apply(entries: readonly Entry[], each: (entry: Entry, outcomes: readonly Outcome[]) => void, done: () => void): void
  /** Replaces the state by that of a snapshot, unless that is behind. */
  restore(index: number, read: () => AsyncIterable<Uint8Array>, done: () => void): void
  /** The store of the snapshot that was to replace the state is given up: it will not, and failing to read it means nothing. */
  dropRestore(): void
  /** The state as it is at this moment, in pieces of a file. */
  save(formation: string, position: SnapshotPosition): SavedState
  /** Back to the beginning, for a new store. */
  clear(): void

  /** @returns takes it back */
  onApplied(listener: (index: number, events: readonly StateEvent[]) => void): () => void
  /** @returns takes it back */
  onRestored(listener: (index: number) => void): () => void
  /** An entry or a snapshot cannot be applied: this state goes no further. */
  onHalt: (error: Error) => void
  close(): void
}
