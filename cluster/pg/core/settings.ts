// What a `pg.scope` entry can set, and the bounds that it cannot. cluster.md §9.1.

export interface PgSettings {
  /** Bound of one exchange with a peer: a greeting, a pull. */
  readonly protocolTimeoutMs: number
  /** How often one peer is greeted to compare; 0 is never. */
  readonly antiEntropyIntervalMs: number
  /** Failures in a row that open the breaker of a node. */
  readonly breakerFailures: number
  readonly breakerResetMs: number
  /** Repetitions of a pull that failed; after them the next greeting repairs. */
  readonly retriesMax: number
  readonly retryBaseMs: number
  readonly retryMaxMs: number
  /** Distinct groups, as seen by the node of the join; 0 is no limit. */
  readonly groupsMax: number
  /** Slots of one group on all nodes, as seen by the node of the join; 0 is no limit. */
  readonly membersPerGroupMax: number
}

export const defaultPgSettings: PgSettings = {
  protocolTimeoutMs: 5000,
  antiEntropyIntervalMs: 30_000,
  breakerFailures: 3,
  breakerResetMs: 10_000,
  retriesMax: 3,
  retryBaseMs: 100,
  retryMaxMs: 1000,
  groupsMax: 0,
  membersPerGroupMax: 0,
}

export const GROUP_BYTES_MAX = 255
/** Deltas that are kept for peers that missed some. */
export const HISTORY_DELTAS_MAX = 1024
export const HISTORY_OPS_MAX = 65_536
/** Slots that one node may occupy in one scope, and their size as a message, which has to fit the mesh. */
export const SLOTS_PER_NODE_MAX = 262_144
export const STATE_BYTES_MAX = 12 * 1024 * 1024
/** What a PID's text may take. */
export const PID_BYTES_MAX = 512
/** Greetings that wait for an answer at one time. */
export const GREETINGS_MAX = 4
/** Events that a subscriber may leave waiting. */
export const EVENTS_WAITING_MAX = 65_536
export const SUBSCRIPTIONS_MAX = 65_536
