// The versioned store on three real nodes: what was acknowledged stays over a killed leader and a restart of all, a write under a condition happens
// once, and a watch goes on and tells every change once. cluster.md §8.2, §8.4, §12 (1, 11), V2.

import { afterAll, beforeAll, expect, test } from 'vitest'
import type { MemberRow, StoreEvent, StoreItem, StorePage } from '../../runtime/admin/shapes.ts'
import { MoonmeshError } from '../../runtime/base/errors.ts'
import { ask, follow } from '../../runtime/cli/client.ts'
import { Cli } from '../tools/cli.ts'
import { eventually } from '../tools/eventually.ts'
import { Nodes } from '../tools/nodes.ts'

const APP = `version: "1.0"
namespace: app
cluster:
  enabled: true
  session_ttl: 3s
  membership: { bind_addr: 127.0.0.1, bind_port: 0, gossip_interval: 50ms, probe_interval: 200ms, probe_timeout: 100ms }
  raft:
    bootstrap_expect: 3
    bootstrap_stability: 1s
    heartbeat_timeout: 1s
    election_timeout: 1s
    commit_timeout: 100ms
    leader_probe_interval: 500ms
entries:
  - { name: store, kind: store.kv.raft, namespace: data, lifecycle: { auto_start: true } }
`

let cli: Cli
let nodes: Nodes

beforeAll(async () => {
  cli = new Cli()
  nodes = new Nodes(cli)
  cli.write({ 'app.yaml': APP })
  await start('a')
  await Promise.all([start('b'), start('c')])
})

afterAll(() => cli.close())

const start = (name: string): Promise<void> => nodes.start(name)
const socketOf = (name: string): string => nodes.socketOf(name)
const pathOf = (key: string): string => `/v1/kv/app:store/${encodeURIComponent(key)}`

const isPassing = (error: unknown): boolean => error instanceof MoonmeshError && error.kind === 'Unavailable'

/** Calls until there is an answer: an election may take longer than a call. */
async function insist<T>(call: () => Promise<T>): Promise<T> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await call()
    } catch (error) {
      if (!isPassing(error) || attempt > 5) throw error
    }
  }
}

const WRITE_MS = 20_000

const put = (node: string, key: string, body: unknown, headers: Record<string, string> = {}): Promise<StoreItem> =>
  insist(() => ask(socketOf(node), pathOf(key), { method: 'PUT', body, headers, timeoutMs: WRITE_MS }))

const get = (node: string, key: string): Promise<StoreItem> => insist(() => ask(socketOf(node), pathOf(key)))

async function content(node: string): Promise<Record<string, unknown>> {
  const page = await insist(() => ask<StorePage>(socketOf(node), '/v1/kv/app:store?limit=1000'))
  return Object.fromEntries(page.items.map(({ key, value }) => [key, value]))
}

async function leader(): Promise<string> {
  return eventually(
    async () => {
      const [node = ''] = nodes.keys()
      const rows = await ask<MemberRow[]>(socketOf(node), '/v1/members')
      const found = rows.find(({ role, state }) => role === 'leader' && state === 'alive')?.name
      if (found === undefined || !nodes.has(found)) throw new Error('nobody leads')
      return found
    },
    { timeoutMs: 30_000 },
  )
}

/** Adds one, on the condition that nobody else did meanwhile. @returns what it became */
async function addOne(node: string): Promise<number> {
  for (;;) {
    const { value, version } = await get(node, 'n:1')
    try {
      await put(node, 'n:1', (value as number) + 1, { 'if-match': version })
      return (value as number) + 1
    } catch (error) {
      if (!(error instanceof MoonmeshError) || error.kind !== 'Conflict') throw error
    }
  }
}

test('what one node wrote every node reads, at once', { timeout: 120_000 }, async () => {
  for (const [i, node] of ['a', 'b', 'c'].entries()) {
    const { version } = await put(node, 'x:1', { i })
    for (const other of ['a', 'b', 'c']) expect(await get(other, 'x:1')).toMatchObject({ value: { i }, version })
  }
  await expect(put('a', 'x:1', 1, { 'if-none-match': '*' })).rejects.toMatchObject({ kind: 'AlreadyExists' })
})

test('a killed leader costs no addition, and a watch misses none', { timeout: 180_000 }, async () => {
  await put('a', 'n:1', 0)
  const killed = await leader()
  const [writer = '', watcher = ''] = ['a', 'b', 'c'].filter((name) => name !== killed)
  const events: StoreEvent[] = []
  const abort = new AbortController()
  const following = follow(socketOf(watcher), '/v1/kv/app:store?watch=true&prefix=n:', {
    signal: abort.signal,
    line: (event) => events.push(event as StoreEvent),
  })
  // It has begun once it tells of something.
  for (let i = 0; events.length === 0; i++) {
    await put(writer, 'n:0', i)
    await new Promise((next) => setTimeout(next, 50))
  }
  await addOne(writer)
  for (let i = 2; i <= 10; i++) await addOne(writer)
  await nodes.get(killed)?.kill()
  nodes.delete(killed)
  for (let i = 11; i <= 20; i++) await addOne(i % 2 === 0 ? writer : watcher)
  const { value } = await get(watcher, 'n:1')
  // An addition whose answer was lost may have been made once more; one that was acknowledged is never missing.
  expect(value).toBeGreaterThanOrEqual(20)
  await eventually(() => expect(events.at(-1)?.value).toBe(value), { timeoutMs: 30_000 })
  abort.abort()
  await following
  const additions = events.filter(({ key }) => key === 'n:1')
  expect(additions.map((event) => event.value)).toEqual(Array.from({ length: value as number }, (_, i) => i + 1))
  const versions = events.map(({ version }) => Number(version))
  expect([...versions].sort((one, other) => one - other)).toEqual(versions)
  await start(killed)
  await eventually(async () => expect(await content(killed)).toMatchObject({ 'n:1': value }), { timeoutMs: 60_000 })
})

test('when all nodes stop and start, everything is there', { timeout: 180_000 }, async () => {
  const before = await content('a')
  for (const [, program] of nodes) program.signal('SIGKILL')
  for (const [, program] of nodes) await program.exit()
  nodes.clear()
  await start('a')
  await Promise.all([start('b'), start('c')])
  for (const name of ['a', 'b', 'c']) expect(await content(name), name).toEqual(before)
})
