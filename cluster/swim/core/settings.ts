// What gossip can be told, with the defaults of cluster.md §2.1.

import type { Cidr } from './address.ts'
import type { Versions } from './messages.ts'

export interface SwimSettings {
  readonly gossipIntervalMs: number
  /** Nodes that each round of gossip goes to. */
  readonly gossipNodes: number
  /** 0: never. */
  readonly pushPullIntervalMs: number
  readonly probeIntervalMs: number
  readonly probeTimeoutMs: number
  /** Bound of one exchange over TCP. */
  readonly tcpTimeoutMs: number
  readonly suspicionMult: number
  readonly suspicionMaxMult: number
  readonly indirectChecks: number
  readonly retransmitMult: number
  readonly awarenessMax: number
  readonly gossipToTheDeadMs: number
  /** After this a dead node's name may come back at another address; 0: never by time. */
  readonly deadNodeReclaimMs: number
  readonly reconnectIntervalMs: number
  /** How long a reaped member is remembered. */
  readonly reconnectTimeoutMs: number
  readonly tcpPings: boolean
  /** Addresses that nodes may have; empty: any. */
  readonly allowedCidrs: readonly Cidr[]
  /** Bytes of parts that fit one packet, each counted with two more. */
  readonly packetBudgetBytes: number
  /** Whether serf agents are told of a graceful leave. */
  readonly speaksSerf: boolean
  readonly versions: Versions
  readonly membersMax: number
  readonly userFramesMax: number
}

/** Versions that serf agents accept, and that bare memberlist nodes accept; one cluster cannot hold both. cluster.md §3.9. */
export const VERSIONS: Record<'serf' | 'memberlist', Versions> = {
  serf: [1, 5, 2, 2, 5, 4],
  memberlist: [1, 5, 2, 0, 0, 0],
}

export const defaultSwimSettings: SwimSettings = {
  gossipIntervalMs: 500,
  gossipNodes: 3,
  pushPullIntervalMs: 5000,
  probeIntervalMs: 1000,
  probeTimeoutMs: 200,
  tcpTimeoutMs: 1000,
  suspicionMult: 3,
  suspicionMaxMult: 6,
  indirectChecks: 3,
  retransmitMult: 4,
  awarenessMax: 8,
  gossipToTheDeadMs: 30_000,
  deadNodeReclaimMs: 30_000,
  reconnectIntervalMs: 30_000,
  reconnectTimeoutMs: 24 * 3_600_000,
  tcpPings: true,
  allowedCidrs: [],
  packetBudgetBytes: 1398,
  speaksSerf: true,
  versions: VERSIONS.serf,
  membersMax: 16_384,
  userFramesMax: 8192,
}
