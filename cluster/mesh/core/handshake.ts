// What two nodes tell each other before they talk, and what a refusal means. cluster.md §4.2.

/** Versions of the mesh protocol that this program speaks. */
export const PROTOCOL_VERSIONS: readonly [min: number, max: number] = [1, 1]

/** Last message number received, by resumed class. */
export interface Received {
  readonly system: number
  readonly app: number
}

interface NodeLimits {
  /** Longest frame, header excluded, that the sender of this will read. */
  readonly frameBytesMax: number
  readonly messageBytesMax: number
}

interface Introduction {
  readonly features: readonly string[]
  readonly clusterId: string
  readonly name: string
  readonly epoch: number
  /** Hex; '' when there is none. */
  readonly storeId: string
  readonly formationId: string
  /** 32 hex digits. */
  readonly nonce: string
  /** Id of the link session, 16 hex digits; '' when the sender has none to offer. */
  readonly session: string
  readonly received: Received
  readonly limits: NodeLimits
  /** The sender's session in the log, if any. */
  readonly raftSession?: number
}

export interface Hello extends Introduction {
  readonly kind: 'hello'
  readonly versions: readonly [min: number, max: number]
  /** Who is expected at the other end, and in which run; 0: any. */
  readonly to: string
  readonly toEpoch: number
  /** Rises with every dial of this process. */
  readonly dialCount: number
}

export interface Welcome extends Introduction {
  readonly kind: 'welcome'
  readonly version: number
}

export const REFUSE_CODES = [
  'cluster_id',
  'version',
  'auth',
  'cert_name',
  'plaintext',
  'banned',
  'wrong_node',
  'wrong_epoch',
  'stale_epoch',
  'duplicate',
  'draining',
  'overloaded',
] as const

export type RefuseCode = (typeof REFUSE_CODES)[number]

export interface Refuse {
  readonly kind: 'refuse'
  readonly code: RefuseCode
  /** For a person: both sides' values. */
  readonly text: string
  /** `wrong_epoch`: the refuser's own; `stale_epoch`: the newest run of the dialer's name that it knows. */
  readonly epoch?: number
  /** `overloaded`: when to try again. */
  readonly retryMs?: number
}

export type Handshake = Hello | Welcome | Refuse

/** The highest version that both speak, or undefined. */
export function chooseVersion(
  ours: readonly [min: number, max: number],
  theirs: readonly [min: number, max: number],
): number | undefined {
  const version = Math.min(ours[1], theirs[1])
  return version >= ours[0] && version >= theirs[0] ? version : undefined
}

/** What both can, sorted. */
export function commonFeatures(ours: readonly string[], theirs: readonly string[]): string[] {
  return ours.filter((feature) => theirs.includes(feature)).sort()
}

/** What the dialer does about a refusal: try seldom and say so, look into gossip again, wait for the other connection, or just wait. */
type Reaction = 'complain' | 'look-again' | 'stale-self' | 'wait'

export function reactionTo(code: RefuseCode): Reaction {
  switch (code) {
    case 'cluster_id':
    case 'version':
    case 'auth':
    case 'cert_name':
    case 'plaintext':
    case 'banned':
      return 'complain'
    case 'wrong_node':
    case 'wrong_epoch':
      return 'look-again'
    case 'stale_epoch':
      return 'stale-self'
    case 'duplicate':
    case 'draining':
    case 'overloaded':
      return 'wait'
  }
}
