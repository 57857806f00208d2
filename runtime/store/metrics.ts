// The metrics of stores, read off them when somebody asks. cluster.md §11.

import { counter, gauge, type ReadMetric, type Sample } from '../base/metric.ts'
import type { Stores } from './stores.ts'

export function storeMetrics(stores: Stores): ReadMetric[] {
  const usage = (of: (usage: { keys: number; bytes: number }) => number) => (): Sample[] =>
    [...stores.running].flatMap(([store, backend]): Sample[] => {
      const found = backend.usage?.()
      return found === undefined ? [] : [[{ store }, of(found)]]
    })
  return [
    counter(
      'kv_ops_total',
      'operations on stores, by what came of them: ok, or the kind of the failure',
      ['store', 'op', 'outcome'],
      () =>
        [...stores.counts].flatMap(([store, operations]) =>
          [...operations].flatMap(([op, outcomes]) =>
            [...outcomes].map(([outcome, count]): Sample => [{ store, op, outcome }, count]),
          ),
        ),
    ),
    gauge('kv_watchers', 'watches of processes of this node', [], () => stores.watches.count),
    counter('kv_watch_resync_total', 'times that a watch was told to list again', [], () => stores.watches.resyncs),
    gauge(
      'kv_keys',
      'keys of a replicated store',
      ['store'],
      usage(({ keys }) => keys),
    ),
    gauge(
      'kv_bytes',
      'bytes of the keys and values of a replicated store',
      ['store'],
      usage(({ bytes }) => bytes),
    ),
  ]
}
