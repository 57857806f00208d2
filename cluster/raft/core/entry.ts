// What the log holds. cluster.md §5.1.

import type { Configuration } from './membership.ts'

interface Position {
  /** From 1, without gaps. */
  readonly index: number
  readonly term: number
  /** The leader's log clock when it appended, whole milliseconds; never less than the entry's before. cluster.md §5.12. */
  readonly clockMs: number
}

export type Entry = Position & Payload

/** What an entry says. Nobody writes to `data` once it is here: it is shared by the log, the disk and the network. */
export type Payload =
  | { readonly kind: 'noop' }
  | { readonly kind: 'configuration'; readonly configuration: Configuration }
  | { readonly kind: 'commands'; readonly data: Uint8Array }
  | { readonly kind: 'tick' }
  | { readonly kind: 'settings'; readonly data: Uint8Array }

/** Where a log or a snapshot ends. */
export interface LogPosition {
  readonly index: number
  readonly term: number
}

/** Header of an entry on the wire and on disk, rounded up; an estimate good enough for limits. */
const HEADER_BYTES = 32
const SERVER_BYTES = 64

/** The size that counts against limits, in bytes. */
export function entryBytes(entry: Payload): number {
  switch (entry.kind) {
    case 'commands':
    case 'settings':
      return HEADER_BYTES + entry.data.length
    case 'configuration':
      return HEADER_BYTES + SERVER_BYTES * (entry.configuration.voters.length + entry.configuration.standbys.length)
    default:
      return HEADER_BYTES
  }
}

/** Whether (term, index) `a` is at least as up to date as `b`. Raft §5.4.1. */
export function isUpToDate(a: LogPosition, b: LogPosition): boolean {
  return a.term > b.term || (a.term === b.term && a.index >= b.index)
}
