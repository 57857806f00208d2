// What the scopes of two nodes say to each other. A scope is the only writer of its node's memberships: `seq` counts its changes within
// one run of the scope, so that a gap is seen and asked about. cluster.md §9.2.

/** `count` slots of a process in a group appear (`sign` 1) or go (-1). Groups are byte strings. */
export interface Op {
  readonly sign: 1 | -1
  readonly group: string
  readonly pid: string
  readonly count: number
}

export interface Delta {
  readonly seq: number
  readonly ops: readonly Op[]
}

/** All slots of a node, by group and then PID, ascending. */
export type FullState = readonly { readonly group: string; readonly pids: readonly (readonly [string, number])[] }[]

export type PgMessage =
  /** Where the sender's log stands. One that is no reply is answered with one that is. */
  | { readonly kind: 'hello'; readonly run: number; readonly seq: number; readonly isReply: boolean }
  /** Changes that follow each other; `seq` is the first one's number. */
  | { readonly kind: 'delta'; readonly run: number; readonly seq: number; readonly changes: readonly (readonly Op[])[] }
  /** There is no such scope here: no members, and nothing more is to be sent until a hello comes. */
  | { readonly kind: 'none' }

/** Asks for what came after `have`; undefined asks for everything. */
export interface PullRequest {
  readonly run: number
  readonly have: number | undefined
}

/** Changes in order, or the state as of `seq`. */
export type PullAnswer =
  | { readonly kind: 'deltas'; readonly run: number; readonly deltas: readonly Delta[] }
  | { readonly kind: 'full'; readonly run: number; readonly seq: number; readonly state: FullState }
