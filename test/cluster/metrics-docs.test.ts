// The page of metrics names every one that the cluster registers, with its type and labels, and no other.

import { readFileSync } from 'node:fs'
import prom from 'prom-client'
import { expect, test } from 'vitest'
import type { Cluster } from '../../cluster/cluster.ts'
import { registerClusterMetrics } from '../../cluster/metrics.ts'

test('docs/reference/metrics.md lists what there is', () => {
  const registry = new prom.Registry()
  // Nothing is read before it is asked for.
  registerClusterMetrics(prom, registry, {} as Cluster)
  const metrics = registry.getMetricsAsArray() as unknown as { name: string; type: string; labelNames: string[] }[]
  const registered = metrics.map(({ name, type, labelNames }) => `${name} ${type} ${labelNames.join(',')}`)
  const page = readFileSync(new URL('../../docs/reference/metrics.md', import.meta.url), 'utf8')
  const section = page.slice(page.indexOf('## The cluster'), page.indexOf('## Functions'))
  const listed = [...section.matchAll(/^\| `(\w+)` \| (\w+) \| (.*?) ?\| .+ \|$/gm)].map(
    ([, name, type, labels]) => `${name} ${type} ${labels?.replaceAll(/[` ]/g, '')}`,
  )
  expect(listed).toEqual(registered)
})
