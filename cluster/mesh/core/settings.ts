// What the mesh can be told, with the defaults of cluster.md §2.1, and the times that are the same everywhere.

type Topology = 'auto' | 'full' | 'lazy'

export interface MeshSettings {
  readonly handshakeTimeoutMs: number
  readonly keepaliveIntervalMs: number
  readonly keepaliveTimeoutMs: number
  readonly messageBytesMax: number
  /** Of class app, one peer. */
  readonly queueBytesMax: number
  /** All classes, all peers. */
  readonly totalQueueBytesMax: number
  readonly topology: Topology
}

export const defaultMeshSettings: MeshSettings = {
  handshakeTimeoutMs: 5000,
  keepaliveIntervalMs: 5000,
  keepaliveTimeoutMs: 15_000,
  messageBytesMax: 16 * 1024 * 1024,
  queueBytesMax: 64 * 1024 * 1024,
  totalQueueBytesMax: 512 * 1024 * 1024,
  topology: 'auto',
}

/** After this long without a connection a link session ends, though gossip says that the peer lives. */
export const UNREACHABLE_MS = 60_000
/** How long the side that is not to dial leaves the dialing to the other. */
export const SECOND_DIALER_MS = 2000
export const PARKED_MS = 10_000
/** How long an old connection may take to show that it lives when another one asks for its place. */
export const CHALLENGE_MS = 1000
/** A connection that lived this long was a success: the next attempt follows at once. */
export const SETTLED_MS = 10_000
export const AFTER_VIOLATION_MS = 1000
export const IDLE_MS = 600_000
export const FULL_MEMBERS_MAX = 64
export const FULL_AGAIN_MEMBERS = 48

export const BACKOFF = { initialMs: 100, maxMs: 5000, factor: 2, jitter: 0.2 } as const

/** Bytes that may sit in a socket's own buffer, in front of the next heartbeat. */
export const SOCKET_BYTES_MAX = 256 * 1024
/** Connections from outside that have not become a link yet. */
export const STRANGERS_MAX = 256
/** Bytes of messages held for a connection that gossip has not confirmed. */
export const HELD_BYTES_MAX = 2 * 1024 * 1024
