// The channel classes: what shares a connection, in which order, and how much of it may wait. cluster.md §4.5.

/** In the order of their numbers on the wire. */
export const CHANNEL_CLASSES = ['link', 'raft', 'system', 'app', 'pg', 'bulk', 'rlog'] as const

type ChannelClass = (typeof CHANNEL_CLASSES)[number]
/** What the layers above send on; `link` is the mesh's own. */
export type PayloadClass = Exclude<ChannelClass, 'link'>

export const LINK = 0
export const RAFT = 1
export const SYSTEM = 2
export const APP = 3
export const PG = 4
export const BULK = 5
export const RLOG = 6
export const CLASS_COUNT = 7

export const CLASS_ID: Readonly<Record<ChannelClass, number>> = {
  link: LINK,
  raft: RAFT,
  system: SYSTEM,
  app: APP,
  pg: PG,
  bulk: BULK,
  rlog: RLOG,
}

/** Whether messages of this class are numbered, kept until acknowledged and sent again on the next connection. */
export const isResumed = (classId: number): boolean => classId === SYSTEM || classId === APP

/** Classes whose receiver grants what may be sent. */
export const CREDITED: readonly number[] = [BULK, RLOG]
export const isCredited = (classId: number): boolean => classId === BULK || classId === RLOG

/**
 * What the receiver grants ahead of what was consumed, in bytes: as much as the smallest window, since less would let a path of some delay, or
 * two busy nodes, wait for grants.
 */
export const CREDIT_BYTES: Readonly<Record<number, number>> = { [BULK]: 1024 * 1024, [RLOG]: 1024 * 1024 }

/** Classes that share what the strict ones leave, with their weights of deficit round robin. */
export const SHARED: readonly { readonly classId: number; readonly weight: number }[] = [
  { classId: SYSTEM, weight: 8 },
  { classId: APP, weight: 4 },
  { classId: PG, weight: 2 },
  { classId: BULK, weight: 1 },
  { classId: RLOG, weight: 16 },
]

export const QUANTUM_BYTES = 64 * 1024
export const CHUNK_BYTES = 32 * 1024
