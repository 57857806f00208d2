// A server joins a group of three that has a large state and goes on being written to, and whose log keeps nothing behind a snapshot: it gets
// one snapshot, stands still in the middle of it, and has all that came meanwhile from the log that was kept for it. cluster.md §5.12.

import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { ClusterStatusBody, StoreItem } from '../../runtime/admin/shapes.ts'
import { ask } from '../../runtime/cli/client.ts'
import { addressesOf, Cli, logRecords, type Program } from '../tools/cli.ts'
import { eventually } from '../tools/eventually.ts'

const APP = `version: "1.0"
namespace: app
cluster:
  enabled: true
  membership: { bind_addr: 127.0.0.1, bind_port: 0, gossip_interval: 100ms }
  raft:
    bootstrap_expect: 3
    bootstrap_stability: 1s
    snapshot_threshold: 16
    snapshot_interval: 1s
    trailing_logs: 0
    evict_grace: 10m
entries:
  - { name: store, kind: store.kv.raft, namespace: data, lifecycle: { auto_start: true } }
`
const NAMES = ['a', 'b', 'c']
const VALUES = 96
const VALUE = 'v'.repeat(128 * 1024)
const WRITERS = 4
const BOUND_MS = 240_000
/** For so long without progress the log is kept for a server, less some for a machine that is busy. */
const HELD_MS = 40_000

let cli: Cli
const nodes = new Map<string, Program>()

beforeAll(async () => {
  cli = new Cli()
  cli.write({ 'app.yaml': APP })
  await start('a')
  await Promise.all([start('b'), start('c')])
}, 300_000)

afterAll(() => cli.close())

function launch(name: string): Program {
  const seeds = [...nodes.values()].flatMap((program) => addressesOf(program).gossip ?? [])
  const joins = seeds.length === 0 ? [] : ['--set', `cluster.membership.join_addrs=${seeds.join(',')}`]
  const program = cli.start(['run', 'app.yaml', '--log-format', 'json', '--set', `node.name=${name}`, ...joins])
  nodes.set(name, program)
  return program
}

async function start(name: string): Promise<void> {
  const program = launch(name)
  await eventually(() => expect(program.stderr).toContain('"event":"ready"'), { timeoutMs: BOUND_MS })
}

const socketOf = (name: string): string => join(cli.dir, '.runtime', name, 'admin.sock')
const pathOf = (key: string): string => `/v1/kv/app:store/${encodeURIComponent(key)}`
const status = (name: string): Promise<ClusterStatusBody> =>
  ask<ClusterStatusBody>(socketOf(name), '/v1/raft', { method: 'GET' })

/** Until it is written: an election or a busy machine may refuse it. */
const put = (name: string, key: string, body: string): Promise<StoreItem> =>
  eventually(() => ask<StoreItem>(socketOf(name), pathOf(key), { method: 'PUT', body, timeoutMs: 20_000 }), {
    timeoutMs: BOUND_MS,
  })

/** Of all events of that name, in the log of a node, a field. */
const told = (name: string, event: string, field: string): number[] =>
  logRecords(nodes.get(name)?.stderr ?? '')
    .filter((record) => record['event'] === event)
    .map((record) => record[field] as number)

test('a server that joins under writes catches up with one snapshot', { timeout: 3 * BOUND_MS }, async () => {
  for (let i = 0; i < VALUES; i++) await put(NAMES[i % 3] as string, `v:${i}`, VALUE)
  let isOver = false
  const counts = new Array<number>(WRITERS).fill(0)
  const writers = counts.map(async (_, writer) => {
    while (!isOver) {
      const next = (counts[writer] as number) + 1
      await put(NAMES[writer % 3] as string, `n:${writer}`, String(next))
      counts[writer] = next
    }
  })

  const { term } = await status('a')
  const joining = launch('d')
  await eventually(() => expect(told('d', 'raft_snapshot_arrives', 'index')).toHaveLength(1), { timeoutMs: BOUND_MS })
  const [begun = 0] = told('d', 'raft_snapshot_arrives', 'index')
  joining.signal('SIGSTOP')
  const stoppedMs = performance.now()
  // Nothing that came before these is in a log that keeps nothing behind a snapshot.
  const leader = await eventually(
    async () => {
      const { leader } = await status('a')
      expect(NAMES).toContain(leader)
      return leader as string
    },
    { timeoutMs: BOUND_MS },
  )
  const later = (): number[] => told(leader, 'raft_snapshot_written', 'index').filter((index) => index > begun)
  await eventually(() => expect(later().length).toBeGreaterThanOrEqual(2), { timeoutMs: BOUND_MS })
  joining.signal('SIGCONT')
  const isHeld = performance.now() - stoppedMs < HELD_MS

  await eventually(
    async () => {
      const [{ role, applied_index }, { commit_index }] = [await status('d'), await status(leader)]
      expect(role).toBe('standby')
      expect(applied_index).toBeGreaterThan(begun)
      expect(applied_index).toBeGreaterThanOrEqual(commit_index - 64)
    },
    { timeoutMs: BOUND_MS },
  )
  isOver = true
  await Promise.all(writers)
  // Another leader has another log, and a machine may be too busy for anything.
  if (isHeld && (await status('a')).term === term) expect(told('d', 'raft_snapshot_arrives', 'index')).toEqual([begun])
  for (const [writer, count] of counts.entries()) {
    const { value } = await ask<StoreItem>(socketOf('d'), pathOf(`n:${writer}`), { method: 'GET', timeoutMs: 20_000 })
    expect(value).toBe(String(count))
  }
  const { value } = await ask<StoreItem>(socketOf('d'), pathOf(`v:${VALUES - 1}`), { method: 'GET', timeoutMs: 20_000 })
  expect(value).toBe(VALUE)
})
