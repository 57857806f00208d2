// What the rest of the program sees of the cluster.

export { Cluster, type ClusterMember } from './cluster.ts'
export { registerClusterMetrics } from './metrics.ts'
export type { MemberEvent } from './swim/core/events.ts'
