// The page of metrics names every one that a node and its cluster register, with its type and labels, and no other.

import { readFileSync } from 'node:fs'
import prom from 'prom-client'
import { expect, test } from 'vitest'
import type { Cluster } from '../../cluster/cluster.ts'
import type { CrdtStatistics } from '../../cluster/kv/crdt-store.ts'
import { registerCrdtMetrics } from '../../cluster/kv/metrics.ts'
import type { Locks } from '../../cluster/locks/locks.ts'
import { registerLocksMetrics } from '../../cluster/locks/metrics.ts'
import { registerClusterMetrics } from '../../cluster/metrics.ts'
import { registerNamesMetrics } from '../../cluster/names/metrics.ts'
import type { Names } from '../../cluster/names/names.ts'
import { registerGroupMetrics } from '../../cluster/pg/metrics.ts'
import type { ProcessGroups } from '../../cluster/pg/pg.ts'
import { type NodeFigures, registerNodeMetrics } from '../../runtime/node-metrics.ts'
import { type ProcessFigures, registerProcessMetrics } from '../../runtime/process-metrics.ts'
import { registerStoreMetrics } from '../../runtime/store/metrics.ts'
import type { Stores } from '../../runtime/store/stores.ts'

test.each<[string, string, (registry: prom.Registry) => void]>([
  // Nothing is read before it is asked for.
  [
    '## The node',
    '## The cluster',
    (registry) => {
      registerNodeMetrics(prom, registry, {} as NodeFigures)
      registerProcessMetrics(prom, registry, {} as ProcessFigures)
    },
  ],
  ['## The cluster', '## Names', (registry) => registerClusterMetrics(prom, registry, {} as Cluster)],
  ['## Names', '## Locks', (registry) => registerNamesMetrics(prom, registry, {} as Names)],
  ['## Locks', '## Stores', (registry) => registerLocksMetrics(prom, registry, {} as Locks)],
  [
    '## Stores',
    '## Process groups',
    (registry) => {
      registerStoreMetrics(prom, registry, {} as Stores)
      registerCrdtMetrics(prom, registry, () => ({}) as CrdtStatistics)
    },
  ],
  ['## Process groups', '## Functions', (registry) => registerGroupMetrics(prom, registry, {} as ProcessGroups)],
])('docs/reference/metrics.md lists what there is: %s', (begin, end, register) => {
  const registry = new prom.Registry()
  register(registry)
  const metrics = registry.getMetricsAsArray() as unknown as { name: string; type: string; labelNames: string[] }[]
  const registered = metrics.map(({ name, type, labelNames }) => `${name} ${type} ${labelNames.join(',')}`)
  const page = readFileSync(new URL('../../docs/reference/metrics.md', import.meta.url), 'utf8')
  const section = page.slice(page.indexOf(begin), page.indexOf(end))
  const listed = [...section.matchAll(/^\| `(\w+)` \| (\w+) \| (.*?) ?\| .+ \|$/gm)].map(
    ([, name, type, labels]) => `${name} ${type} ${labels?.replaceAll(/[` ]/g, '')}`,
  )
  expect(listed).toEqual(registered)
})
