// The convergent store as Prometheus reads it. cluster.md §11.

import type { Registry } from 'prom-client'
import type { CrdtStatistics } from './crdt-store.ts'

type Prom = typeof import('prom-client')
type Sample = readonly [labels: Record<string, string>, value: number]

export function registerCrdtMetrics(prom: Prom, registry: Registry, read: () => CrdtStatistics): void {
  const registers = [registry]
  const gauge = (name: string, help: string, value: (statistics: CrdtStatistics) => number): void => {
    new prom.Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(value(read()))
      },
    })
  }
  const counter = (
    name: string,
    help: string,
    labelNames: string[],
    samples: (statistics: CrdtStatistics) => Sample[],
  ): void => {
    new prom.Counter({
      name,
      help,
      labelNames,
      registers,
      collect() {
        this.reset()
        for (const [labels, value] of samples(read())) this.inc(labels, value)
      },
    })
  }
  gauge(
    'crdt_shards_differing',
    'shards that the latest comparison with another node found to differ',
    ({ shardsDiffering }) => shardsDiffering,
  )
  gauge('crdt_tombstones', 'deleted keys that are remembered', ({ tombstones }) => tombstones)
  gauge('crdt_entries', 'keys, deleted ones that are remembered included', ({ entries }) => entries)
  gauge('crdt_bytes', 'memory that the keys and values take', ({ bytes }) => bytes)
  counter('crdt_merges_total', 'versions from other nodes, by what became of them', ['result'], ({ merges }) =>
    Object.entries(merges).map(([result, value]): Sample => [{ result }, value]),
  )
  counter('crdt_skew_rejected_total', 'versions of a time that lies too far ahead', [], ({ merges }) => [
    [{}, merges.skewed],
  ])
  counter('crdt_swept_total', 'keys dropped since others had deleted and forgotten them', [], ({ swept }) => [
    [{}, swept],
  ])
  counter('crdt_pushes_dropped_total', 'values too large for gossip that the mesh did not take', [], (statistics) => [
    [{}, statistics.pushesDropped],
  ])
  counter('crdt_unreadable_total', 'messages of other nodes that could not be read', [], ({ unreadable }) => [
    [{}, unreadable],
  ])
}
