// The convergent store on three real nodes: what one writes all have, what is deleted stays deleted, and neither a kill nor a restart of all
// loses what is durable. cluster.md §8.7, §8.8, C1 to C3.

import { afterAll, beforeAll, expect, test } from 'vitest'
import type { MemberRow, StoreItem, StorePage } from '../../runtime/admin/shapes.ts'
import { ask } from '../../runtime/cli/client.ts'
import { Cli } from '../tools/cli.ts'
import { eventually } from '../tools/eventually.ts'
import { Nodes } from '../tools/nodes.ts'

const APP = `version: "1.0"
namespace: app
cluster:
  enabled: true
  membership: { bind_addr: 127.0.0.1, bind_port: 0, gossip_interval: 50ms, probe_interval: 200ms, probe_timeout: 100ms }
entries:
  - { name: kept, kind: store.kv.crdt, namespace: kept, durable: true, lifecycle: { auto_start: true } }
  - { name: passing, kind: store.kv.crdt, namespace: passing, lifecycle: { auto_start: true } }
`

let cli: Cli
let nodes: Nodes

beforeAll(async () => {
  cli = new Cli()
  nodes = new Nodes(cli)
  cli.write({ 'app.yaml': APP })
  await start('a')
  await Promise.all([start('b'), start('c')])
  await meet()
})

afterAll(() => cli.close())

const kill = (name: string): Promise<void> => nodes.kill(name)

async function stop(name: string): Promise<void> {
  nodes.get(name)?.signal('SIGTERM')
  await nodes.get(name)?.exit()
  nodes.delete(name)
}

const start = (name: string): Promise<void> => nodes.start(name)
const socketOf = (name: string): string => nodes.socketOf(name)

async function meet(): Promise<void> {
  for (const name of nodes.keys()) {
    await eventually(async () => {
      const rows = await ask<MemberRow[]>(socketOf(name), '/v1/members')
      return rows.filter(({ state }) => state === 'alive').length === nodes.size
    })
  }
}

const put = (node: string, store: string, key: string, value: unknown, ttl = 0): Promise<StoreItem> =>
  ask(socketOf(node), `/v1/kv/app:${store}/${key}${ttl > 0 ? `?ttl=${ttl}` : ''}`, { method: 'PUT', body: value })

const remove = (node: string, store: string, key: string): Promise<{ deleted: boolean }> =>
  ask(socketOf(node), `/v1/kv/app:${store}/${key}`, { method: 'DELETE' })

async function content(node: string, store: string): Promise<Record<string, unknown>> {
  const page = await ask<StorePage>(socketOf(node), `/v1/kv/app:${store}?limit=1000`)
  return Object.fromEntries(page.items.map(({ key, value }) => [key, value]))
}

const everywhere = (store: string, expected: Record<string, unknown>): Promise<void> =>
  eventually(
    async () => {
      for (const name of nodes.keys()) expect(await content(name, store), name).toEqual(expected)
    },
    { timeoutMs: 40_000 },
  )

test('what any node writes all have, small and large, and the later write stays', { timeout: 120_000 }, async () => {
  await put('a', 'passing', 'x:1', { from: 'a' })
  await put('b', 'passing', 'x:2', 'y'.repeat(20_000))
  await put('c', 'passing', 'x:3', 3)
  await everywhere('passing', { 'x:1': { from: 'a' }, 'x:2': 'y'.repeat(20_000), 'x:3': 3 })
  await put('b', 'passing', 'x:1', { from: 'b' })
  await remove('c', 'passing', 'x:2')
  await everywhere('passing', { 'x:1': { from: 'b' }, 'x:3': 3 })
})

test('the command shows and changes what a node has', { timeout: 120_000 }, async () => {
  const at = ['--node', 'b']
  expect(await cli.run(['kv', 'put', 'app:passing', 'cli:1', '{"n": 1}', '--ttl', '1h', ...at])).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^cli:1 is written, version \d+\n$/),
  })
  expect(await cli.run(['kv', 'get', 'app:passing', 'cli:1', ...at])).toMatchObject({ code: 0, stdout: '{"n":1}\n' })
  const listed = await cli.run(['kv', 'list', 'app:passing', 'cli:', '--json', ...at])
  expect(JSON.parse(listed.stdout)).toEqual({
    items: [
      {
        key: 'cli:1',
        value: { n: 1 },
        version: expect.stringMatching(/^\d+$/),
        expires_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
      },
    ],
    cursor: 'cli:1',
    has_more: false,
  })
  expect(await cli.run(['kv', 'put', 'app:passing', 'cli:1', '2', '--if-absent', ...at])).toMatchObject({
    code: 1,
    stderr: 'error: operation not supported by this store\n',
  })
  expect((await cli.run(['kv', 'delete', 'app:passing', 'cli:1', ...at])).stdout).toBe('cli:1 is deleted\n')
  expect(await cli.run(['kv', 'get', 'app:passing', 'cli:1', ...at])).toMatchObject({
    code: 1,
    stderr: 'error: key not found\n',
  })
  const missing = await cli.run(['kv', 'get', 'app:nothing', 'k', ...at])
  expect(missing).toMatchObject({ code: 1, stderr: 'error: no store app:nothing: there are app:kept, app:passing\n' })
})

test('a node that was killed does not bring back what was deleted meanwhile (C3)', { timeout: 120_000 }, async () => {
  await put('a', 'kept', 'd:1', 'old')
  await put('a', 'kept', 'd:2', 'stays')
  await everywhere('kept', { 'd:1': 'old', 'd:2': 'stays' })
  await kill('c')
  await remove('a', 'kept', 'd:1')
  await start('c')
  await everywhere('kept', { 'd:2': 'stays' })
})

test('a key ends at its deadline although its writer was killed (§8.8)', { timeout: 120_000 }, async () => {
  await put('c', 'passing', 't:1', 1, 4)
  const before = await content('a', 'passing')
  await everywhere('passing', { ...before, 't:1': 1 })
  await kill('c')
  await everywhere('passing', Object.fromEntries(Object.entries(before).filter(([key]) => key !== 't:1')))
  await start('c')
  await meet()
})

test('a durable writer that is killed has what it wrote, and its later writes win', { timeout: 120_000 }, async () => {
  const first = await put('b', 'kept', 'w:1', 1)
  await everywhere('kept', { 'd:2': 'stays', 'w:1': 1 })
  await kill('a')
  await kill('c')
  await put('b', 'kept', 'w:2', 'alone')
  await kill('b')
  await start('b')
  expect(await content('b', 'kept')).toEqual({ 'd:2': 'stays', 'w:1': 1, 'w:2': 'alone' })
  const second = await put('b', 'kept', 'w:1', 2)
  expect(BigInt(second.version)).toBeGreaterThan(BigInt(first.version))
  await start('a')
  await start('c')
  await everywhere('kept', { 'd:2': 'stays', 'w:1': 2, 'w:2': 'alone' })
})

test('when all nodes stop and start, durable data is there and no other', { timeout: 120_000 }, async () => {
  for (const name of ['a', 'b', 'c']) await stop(name)
  for (const name of ['a', 'b', 'c']) await start(name)
  await everywhere('kept', { 'd:2': 'stays', 'w:1': 2, 'w:2': 'alone' })
  await everywhere('passing', {})
})
