// Stores as Prometheus reads them. Nothing is counted twice: each metric is read off the stores when it is asked for. cluster.md §11.

import type { Registry } from 'prom-client'
import type { Stores } from './stores.ts'

type Prom = typeof import('prom-client')

export function registerStoreMetrics(prom: Prom, registry: Registry, stores: Stores): void {
  const registers = [registry]
  new prom.Counter({
    name: 'kv_ops_total',
    help: 'operations on stores, by what came of them: ok, or the kind of the failure',
    labelNames: ['store', 'op', 'outcome'],
    registers,
    collect() {
      this.reset()
      for (const [store, operations] of stores.counts) {
        for (const [op, outcomes] of operations) {
          for (const [outcome, count] of outcomes) this.inc({ store, op, outcome }, count)
        }
      }
    },
  })
  const usage = (name: string, help: string, of: (usage: { keys: number; bytes: number }) => number): void => {
    new prom.Gauge({
      name,
      help,
      labelNames: ['store'],
      registers,
      collect() {
        this.reset()
        for (const [store, backend] of stores.running) {
          const found = backend.usage?.()
          if (found !== undefined) this.set({ store }, of(found))
        }
      },
    })
  }
  new prom.Gauge({
    name: 'kv_watchers',
    help: 'watches of processes of this node',
    registers,
    collect() {
      this.set(stores.watches.count)
    },
  })
  new prom.Counter({
    name: 'kv_watch_resync_total',
    help: 'times that a watch was told to list again',
    registers,
    collect() {
      this.reset()
      this.inc(stores.watches.resyncs)
    },
  })
  usage('kv_keys', 'keys of a replicated store', ({ keys }) => keys)
  usage('kv_bytes', 'bytes of the keys and values of a replicated store', ({ bytes }) => bytes)
}
