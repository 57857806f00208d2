// What gossip says, as data. The numbers and bytes of these messages are wire/'s business; the rules that read them are
// swim.ts's. cluster.md §3.3, §3.7, §3.10.

import type { Address } from './address.ts'

/** What a node is believed to be. `left` is a voluntary `dead`. */
export type MemberState = 'alive' | 'suspect' | 'dead' | 'left'

/** Protocol and delegate versions: pmin, pmax, pcur, dmin, dmax, dcur. */
export type Versions = readonly [number, number, number, number, number, number]

/** A queued or exchanged piece of data of a service above; kinds are C1, D2 and E1. */
export interface Frame {
  /** 0..255 */
  readonly frameKind: number
  /** Owned by the message; nobody writes to it. */
  readonly payload: Uint8Array
}

export interface Ping {
  readonly kind: 'ping'
  readonly seqNo: number
  /** Name of the node that is meant; empty: whoever listens there. */
  readonly node: string
  /** Where the ack should go; absent: where the packet came from. */
  readonly source?: Address
  readonly sourceNode?: string
}

export interface IndirectPing {
  readonly kind: 'indirect-ping'
  readonly seqNo: number
  readonly target: Address
  readonly node: string
  /** Whether the asker wants to hear that the target did not answer. */
  readonly wantsNack: boolean
  readonly source?: Address
  readonly sourceNode?: string
}

export interface Suspect {
  readonly kind: 'suspect'
  readonly incarnation: number
  readonly node: string
  /** The accuser. */
  readonly from: string
}

export interface Alive {
  readonly kind: 'alive'
  readonly incarnation: number
  readonly node: string
  readonly address: Address
  /** Byte string; absent is the same as empty. */
  readonly meta?: string
  /** Absent when the sender gave fewer than six. */
  readonly versions?: Versions
}

export interface Dead {
  readonly kind: 'dead'
  readonly incarnation: number
  readonly node: string
  /** Equal to `node`: it left. */
  readonly from: string
}

/** A message of one datagram part. Names are byte strings. */
export type Message =
  | Ping
  | IndirectPing
  | { readonly kind: 'ack'; readonly seqNo: number }
  | { readonly kind: 'nack'; readonly seqNo: number }
  | Suspect
  | Alive
  | Dead
  | ({ readonly kind: 'frame' } & Frame)
  | { readonly kind: 'serf-leave'; readonly lTime: number; readonly node: string }
  /** Any other message of serf: only its clock matters to us. */
  | { readonly kind: 'serf'; readonly lTime: number }

/** A node as a push/pull lists it. */
export interface NodeState {
  readonly name: string
  readonly address: Address
  readonly meta?: string
  readonly incarnation: number
  readonly state: MemberState
  readonly versions?: Versions
}

/** One side of a push/pull. */
export interface Exchange {
  readonly join: boolean
  readonly nodes: readonly NodeState[]
  /** serf's Lamport time of the sender; 0 when it sent none. */
  readonly lTime: number
  /** Name of the sender where it gave one: our members do, serf agents and bare memberlist do not. */
  readonly sender?: string
  readonly frames: readonly Frame[]
}

/** What core and wire agree on without the core knowing bytes. */
export interface SwimWire {
  /** Bytes of a message with its type byte. The same object is asked for many times. */
  lengthOf(message: Message): number
  /** Meta of these tags as a byte string; keys sorted, empty values left out. */
  encodeTags(tags: ReadonlyMap<string, string>): string
  /** Tags of a peer's meta; undefined when it cannot be read. */
  decodeTags(meta: string): ReadonlyMap<string, string> | undefined
}
