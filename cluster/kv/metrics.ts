// The metrics of the convergent store, read off it when somebody asks. cluster.md §11.

import { counter, gauge, type ReadMetric, type Sample } from '../../runtime/base/metric.ts'
import type { CrdtStatistics } from './crdt-store.ts'

export function crdtMetrics(read: () => CrdtStatistics): ReadMetric[] {
  return [
    gauge(
      'crdt_shards_differing',
      'shards that the latest comparison with another node found to differ',
      [],
      () => read().shardsDiffering,
    ),
    gauge('crdt_tombstones', 'deleted keys that are remembered', [], () => read().tombstones),
    gauge('crdt_entries', 'keys, deleted ones that are remembered included', [], () => read().entries),
    gauge('crdt_bytes', 'memory that the keys and values take', [], () => read().bytes),
    counter('crdt_merges_total', 'versions from other nodes, by what became of them', ['result'], () =>
      Object.entries(read().merges).map(([result, value]): Sample => [{ result }, value]),
    ),
    counter('crdt_skew_rejected_total', 'versions of a time that lies too far ahead', [], () => read().merges.skewed),
    counter('crdt_swept_total', 'keys dropped since others had deleted and forgotten them', [], () => read().swept),
    counter(
      'crdt_pushes_dropped_total',
      'values too large for gossip that the mesh did not take',
      [],
      () => read().pushesDropped,
    ),
    counter('crdt_unreadable_total', 'messages of other nodes that could not be read', [], () => read().unreadable),
  ]
}
