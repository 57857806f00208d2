// What the rest of the program sees of the cluster.

export { Cluster, type ClusterMember } from './cluster.ts'
export type { CrdtService } from './kv/crdt-store.ts'
export { registerCrdtMetrics } from './kv/metrics.ts'
export { openCrdt } from './kv/open.ts'
export { type LockInfo, Locks } from './locks/locks.ts'
export { registerLocksMetrics } from './locks/metrics.ts'
export { registerClusterMetrics } from './metrics.ts'
export { registerNamesMetrics } from './names/metrics.ts'
export { Names } from './names/names.ts'
export { registerGroupMetrics } from './pg/metrics.ts'
export { ProcessGroups } from './pg/pg.ts'
export type { MemberEvent } from './swim/core/events.ts'
