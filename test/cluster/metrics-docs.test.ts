// The page of metrics names every one that a node and its cluster register, with its type and labels, and no other.

import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import type { Cluster } from '../../cluster/cluster.ts'
import type { CrdtStatistics } from '../../cluster/kv/crdt-store.ts'
import { crdtMetrics } from '../../cluster/kv/metrics.ts'
import type { Locks } from '../../cluster/locks/locks.ts'
import { lockMetrics } from '../../cluster/locks/metrics.ts'
import { clusterMetrics } from '../../cluster/metrics.ts'
import { nameMetrics } from '../../cluster/names/metrics.ts'
import type { Names } from '../../cluster/names/names.ts'
import { groupMetrics } from '../../cluster/pg/metrics.ts'
import type { ProcessGroups } from '../../cluster/pg/pg.ts'
import type { ReadMetric } from '../../runtime/base/metric.ts'
import { type NodeFigures, nodeMetrics } from '../../runtime/node-metrics.ts'
import { type ProcessFigures, processMetrics } from '../../runtime/process-metrics.ts'
import { storeMetrics } from '../../runtime/store/metrics.ts'
import type { Stores } from '../../runtime/store/stores.ts'

test.each<[string, string, readonly ReadMetric[]]>([
  // Nothing is read before it is asked for.
  ['## The node', '## The cluster', [...nodeMetrics({} as NodeFigures), ...processMetrics({} as ProcessFigures)]],
  ['## The cluster', '## Names', clusterMetrics({} as Cluster)],
  ['## Names', '## Locks', nameMetrics({} as Names)],
  ['## Locks', '## Stores', lockMetrics({} as Locks)],
  ['## Stores', '## Process groups', [...storeMetrics({} as Stores), ...crdtMetrics(() => ({}) as CrdtStatistics)]],
  ['## Process groups', '## Functions', groupMetrics({} as ProcessGroups)],
])('docs/reference/metrics.md lists what there is: %s', (begin, end, metrics) => {
  const registered = metrics.map(({ name, type, labelNames }) => `${name} ${type} ${labelNames.join(',')}`)
  const page = readFileSync(new URL('../../docs/reference/metrics.md', import.meta.url), 'utf8')
  const section = page.slice(page.indexOf(begin), page.indexOf(end))
  const listed = [...section.matchAll(/^\| `(\w+)` \| (\w+) \| (.*?) ?\| .+ \|$/gm)].map(
    ([, name, type, labels]) => `${name} ${type} ${labels?.replaceAll(/[` ]/g, '')}`,
  )
  expect(listed).toEqual(registered)
})
