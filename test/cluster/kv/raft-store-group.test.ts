// The versioned store on a group of one, with real consensus below it: what was acknowledged is read, conditions decide once, a watch hears
// of it, and the session of the node carries all of it. cluster.md §5.11, §8.2, §8.4.

import { afterEach, expect, test } from 'vitest'
import { Cluster } from '../../../cluster/cluster.ts'
import { clusterReader } from '../../../cluster/config/machine.ts'
import type { ClusterSettings } from '../../../cluster/config.ts'
import type { KvCommand } from '../../../cluster/kv/core/commands.ts'
import type { VersionedStores } from '../../../cluster/kv/raft-store.ts'
import { pack } from '../../../runtime/base/msgpack.ts'
import { systemEnv } from '../../../runtime/driver.ts'
import { eventually } from '../../tools/eventually.ts'

let cluster: Cluster | undefined

afterEach(() => cluster?.close())

async function start(): Promise<VersionedStores> {
  const raw = {
    enabled: true,
    membership: { bind_addr: '127.0.0.1', bind_port: 0 },
    internode: { bind_addr: '127.0.0.1' },
    raft: { data_dir: 'memory', heartbeat_timeout: '200ms', election_timeout: '200ms' },
  }
  const context = { nodeName: 'one', dataDir: '.', resolvePath: (_: unknown, text: string) => text }
  const { settings, problems } = clusterReader({ packageVersion: '1.0.0' }).read(raw, context)
  expect(problems).toEqual([])
  cluster = await Cluster.start({
    settings: settings as ClusterSettings,
    epoch: 1,
    packageVersion: '1.0.0',
    env: systemEnv,
    handlers: { member: () => {}, epochRaised: () => {}, failed: () => {}, log: () => {} },
  })
  await cluster.connect({ up: () => {}, down: () => {}, message: () => undefined })
  const { consensus, stores } = cluster
  if (consensus === undefined || stores === undefined) throw new Error('a server has both')
  // A group of one may have formed by itself already.
  if (consensus.status().formation === undefined) {
    await consensus.form('ab'.repeat(16), { voters: [consensus.self], standbys: [] }, pack({})).catch(() => {})
  }
  await eventually(() => consensus.status().isReady)
  return stores
}

const put = (value: number, condition: 'none' | 'absent' | { version: number } = 'none'): KvCommand => ({
  kind: 'put',
  namespace: 'n',
  put: { key: 'counter', value: Uint8Array.of(value), ttlMs: 0, keepsExpiry: false },
  condition,
  fence: undefined,
})

test('adding one under contention loses no addition, and a watch hears each once', { timeout: 30_000 }, async () => {
  const stores = await start()
  await stores.write(put(0, 'absent'))
  const watch = await stores.watch('n', '')
  let conflicts = 0
  const add = async (): Promise<void> => {
    for (;;) {
      const item = await stores.get('n', 'counter', { stale: false })
      try {
        await stores.write(put((item?.value[0] ?? 0) + 1, { version: item?.version ?? 0 }))
        return
      } catch (error) {
        expect(error).toMatchObject({ kind: 'Conflict' })
        conflicts++
      }
    }
  }
  await Promise.all(Array.from({ length: 10 }, add))
  expect((await stores.get('n', 'counter', { stale: false }))?.value).toEqual(Uint8Array.of(10))
  expect(conflicts).toBeGreaterThan(0)
  const heard: number[] = []
  while (heard.length < 10) {
    const batch = await watch.next()
    if (batch?.kind === 'changes') for (const { value } of batch.changes) heard.push(value?.[0] ?? -1)
  }
  expect(heard).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
  watch.close()
})
