// Backups of three real nodes: taken under writes, through a voter and through a client; after the loss of every disk a new cluster is founded
// from one. What was acknowledged before is there, what was owned by processes is not, and tokens go on growing. cluster.md §5.12, §7, operations.md §2.

import { cpSync, existsSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { ClusterStatusBody, LockRow, StoreItem, StorePage } from '../../runtime/admin/shapes.ts'
import { MoonmeshError } from '../../runtime/base/errors.ts'
import { ask } from '../../runtime/cli/client.ts'
import { Cli } from '../tools/cli.ts'
import { eventually } from '../tools/eventually.ts'
import { Nodes } from '../tools/nodes.ts'

const APP = `version: "1.0"
namespace: app
cluster:
  enabled: true
  id: shop
  session_ttl: 8s
  membership: { bind_addr: 127.0.0.1, bind_port: 0, gossip_interval: 50ms, probe_interval: 200ms, probe_timeout: 100ms }
  raft:
    bootstrap_expect: 3
    bootstrap_stability: 1s
    heartbeat_timeout: 2s
    election_timeout: 2s
    commit_timeout: 100ms
    reconcile_debounce: 200ms
    leader_probe_interval: 500ms
entries:
  - { name: processes, kind: process.host, lifecycle: { auto_start: true } }
  - { name: store, kind: store.kv.raft, namespace: data, lifecycle: { auto_start: true } }
  - { name: other, kind: store.kv.raft, namespace: more, lifecycle: { auto_start: true } }
`
/** On one node only: a process that holds a lock and a name. */
const OWNER = `version: "1.0"
namespace: own
entries:
  - name: owner
    kind: process.lua
    modules: [system]
    source: |
      local system = require("system")
      return { main = function()
        local registry = process.registry
        while true do
          local named = registry.register("keeper", nil, registry.CONSISTENT)
          local held = system.lock.acquire("till", { wait = "5s" })
          -- What is lost to a slow machine is asked for again.
          if named and held then process.events():receive() end
        end
      end }
    method: main
  - { name: owner.service, kind: process.service, process: owner, host: app:processes, lifecycle: { auto_start: true } }
`

let cli: Cli
let nodes: Nodes
const PATIENCE = { timeoutMs: 60_000 }
const WRITE_MS = 20_000

beforeAll(async () => {
  cli = new Cli()
  nodes = new Nodes(cli)
  cli.write({ 'app.yaml': APP, 'owner.yaml': `${APP}include: [owner/*.yaml]\n`, 'owner/owner.yaml': OWNER })
  await start('a', { app: 'owner.yaml' })
  await Promise.all([start('b'), start('c')])
})

afterAll(() => cli.close())

async function stopAll(): Promise<void> {
  for (const program of nodes.values()) await program.kill()
  nodes.clear()
}

const start = (name: string, options: { app?: string; set?: string[] } = {}): Promise<void> =>
  nodes.start(name, options)
const socketOf = (name: string): string => nodes.socketOf(name)

async function insist<T>(call: () => Promise<T>): Promise<T> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await call()
    } catch (error) {
      if (!(error instanceof MoonmeshError && error.kind === 'Unavailable') || attempt > 5) throw error
    }
  }
}

function put(node: string, store: string, key: string, body: unknown, query = ''): Promise<StoreItem> {
  const path = `/v1/kv/app:${store}/${encodeURIComponent(key)}${query}`
  return insist(() => ask(socketOf(node), path, { method: 'PUT', body, timeoutMs: WRITE_MS }))
}

async function content(node: string, store: string): Promise<readonly StoreItem[]> {
  const { items, has_more } = await insist(() => ask<StorePage>(socketOf(node), `/v1/kv/app:${store}?limit=1000`))
  expect(has_more).toBe(false)
  return items
}

async function locks(node: string): Promise<LockRow[]> {
  return insist(() => ask<LockRow[]>(socketOf(node), '/v1/locks'))
}

const status = (node: string): Promise<ClusterStatusBody> => ask(socketOf(node), '/v1/raft')

async function command(
  ...args: string[]
): Promise<{ json: Record<string, unknown>; stderr: string; code: number | null }> {
  const { code, stdout, stderr } = await cli.run(['cluster', 'snapshot', ...args, '--json'])
  return { json: stdout === '' ? {} : JSON.parse(stdout), stderr, code }
}

test('a backup holds what was acknowledged before, and a cluster that lost every disk goes on from it', {
  timeout: 240_000,
}, async () => {
  for (let i = 0; i < 50; i++) await put('a', 'store', `k:${i}`, { i })
  await put('b', 'other', 'n:soon', 'gone', '?ttl=3600')
  const [held] = await eventually(async () => {
    const rows = await locks('b')
    expect(rows.map(({ name }) => name)).toEqual(['till'])
    return rows
  }, PATIENCE)

  // Under writes: those that were acknowledged before it began are in it, and none is torn.
  let isWriting = true
  let acknowledged = 0
  const writing = (async () => {
    while (isWriting) {
      await put('c', 'other', 'n:count', acknowledged + 1)
      acknowledged++
    }
  })()
  await eventually(() => expect(acknowledged).toBeGreaterThan(5), PATIENCE)
  const before = acknowledged
  const saved = await command('save', 'good.backup', '--node', 'b')
  expect(saved, saved.stderr).toMatchObject({ code: 0, json: { cluster_id: 'shop', node: 'b' } })
  isWriting = false
  await writing

  const looked = await command('inspect', 'good.backup')
  expect(looked.json).toMatchObject({
    format: 1,
    members: { voters: ['a', 'b', 'c'], standbys: [] },
    sessions: { open: 3 },
    names: { consistent: 1, strong: 0, reserved: 0 },
    locks: { held: 1, waiting: 0 },
    stores: [
      { namespace: 'data', keys: 50 },
      { namespace: 'more', keys: 2 },
    ],
  })
  const kept = await content('a', 'store')

  // Everything is lost but the file.
  await stopAll()
  rmSync(join(cli.dir, '.runtime', 'a'), { recursive: true })
  rmSync(join(cli.dir, '.runtime', 'c'), { recursive: true })
  cpSync(join(cli.dir, '.runtime', 'b', '_sys'), join(cli.dir, 'old', '_sys'), { recursive: true })

  const refused = await command('restore', 'good.backup', '--node', 'b')
  expect(refused.code).toBe(1)
  expect(refused.stderr).toContain('--force')
  const restored = await command('restore', 'good.backup', '--node', 'b', '--force')
  expect(restored, restored.stderr).toMatchObject({ code: 0, json: { node: 'b' } })
  const old = looked.json['formation']
  expect(restored.json['formation']).not.toBe(old)

  await start('b')
  await Promise.all([start('a'), start('c')])
  await eventually(async () => {
    const { voters, formation } = await status('c')
    expect([...voters].sort()).toEqual(['a', 'b', 'c'])
    expect(formation).toBe(restored.json['formation'])
  }, PATIENCE)
  for (const node of ['a', 'b', 'c']) {
    // Values and versions, as they were.
    expect(await content(node, 'store')).toEqual(kept)
    const more = Object.fromEntries((await content(node, 'other')).map((item) => [item.key, item]))
    expect(more['n:count']?.value).toBeGreaterThanOrEqual(before)
    expect(more['n:soon']?.expires_at).toBeDefined()
  }
  // Nothing of processes that are gone.
  expect(await locks('a')).toEqual([])
  expect(await ask(socketOf('a'), '/v1/names?scope=consistent')).toEqual([])

  // Tokens and versions go on above all that were ever given, also after the backup.
  const { version } = await put('c', 'store', 'k:new', 1)
  expect(Number(version)).toBeGreaterThan(Number(restored.json['revision']))
  await nodes.get('a')?.kill()
  nodes.delete('a')
  await start('a', { app: 'owner.yaml' })
  const [again] = await eventually(async () => {
    const rows = await locks('b')
    expect(rows).toHaveLength(1)
    return rows
  }, PATIENCE)
  expect(again?.token).toBeGreaterThan(held?.token as number)
  expect(again?.token).toBeGreaterThan(Number(restored.json['revision']))

  // A node of the group before does not mix with it.
  await nodes.get('c')?.kill()
  nodes.delete('c')
  rmSync(join(cli.dir, '.runtime', 'c'), { recursive: true })
  cpSync(join(cli.dir, 'old'), join(cli.dir, '.runtime', 'c'), { recursive: true })
  await start('c')
  await eventually(async () => {
    const { checks, formation } = await status('c')
    expect(formation).toBe(old)
    expect(checks.find(({ name }) => name === 'raft_formation')?.ok).toBe(false)
  }, PATIENCE)
  expect((await status('b')).formation).toBe(restored.json['formation'])
})

test('a client takes a backup from a member', { timeout: 120_000 }, async () => {
  await nodes.get('c')?.kill()
  nodes.delete('c')
  await start('z', { set: ['cluster.raft.role=client', 'cluster.raft.bootstrap_expect=0'] })
  await put('z', 'store', 'k:big', 'x'.repeat(400_000))
  const saved = await command('save', 'client.backup', '--node', 'z')
  expect(saved, saved.stderr).toMatchObject({ code: 0 })
  expect(saved.json['node']).not.toBe('z')
  expect((await command('inspect', 'client.backup')).json['stores']).toEqual(saved.json['stores'])
})

test('a file that is cut off or damaged is named with the place, and restores nothing', async () => {
  const good = readFileSync(join(cli.dir, 'good.backup'))
  const cut = join(cli.dir, 'cut.backup')
  writeFileSync(cut, good)
  truncateSync(cut, good.length - 100)
  for (const args of [
    ['inspect', cut],
    ['restore', cut, '--node', 'new'],
  ]) {
    const { code, stderr } = await command(...args)
    expect(code).toBe(1)
    expect(stderr).toContain(`${cut}: at byte ${good.length - 100}: it ends there`)
    expect(stderr).toContain('take another backup, or use an older one')
  }
  expect(existsSync(join(cli.dir, '.runtime', 'new', '_sys', 'raft'))).toBe(false)
  const bad = Buffer.from(good)
  bad[good.length >> 1] = (bad[good.length >> 1] as number) ^ 1
  writeFileSync(cut, bad)
  const { code, stderr } = await command('inspect', cut)
  expect(code).toBe(1)
  expect(stderr).toMatch(/at byte \d+: a checksum does not match/)
})
