// A node outside the group of the servers takes locks and names and writes as a member does; and where no majority is reached, on a member
// and on such a node alike, writes say so within their deadline, and what needs no majority goes on. cluster.md §1.2, §6.1, §7, §12 (5).

import { resolve } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { MemberRow } from '../../runtime/admin/shapes.ts'
import { ask as askAdmin } from '../../runtime/cli/client.ts'
import type { Order, Reply } from '../chaos/node.ts'
import { Cli } from '../tools/cli.ts'
import { DrivenNodes, PATIENCE } from '../tools/driven-nodes.ts'
import { eventually } from '../tools/eventually.ts'

const APP = resolve(import.meta.dirname, '../chaos/app/app.yaml')
const TEST_MS_MAX = 300_000
/** Of a write that nobody gives another one. */
const DEADLINE_MS = 10_000

let cli: Cli
let nodes: DrivenNodes<Reply>

const ask = (node: string, order: Order, client?: string): Promise<Reply> => nodes.ask(node, order, client)

beforeAll(async () => {
  cli = new Cli()
  nodes = new DrivenNodes(cli, { app: APP, driver: 'chaos:driver', set: ['cluster.session_ttl=3s'] })
  const expected = 'cluster.raft.bootstrap_expect=3'
  await nodes.start('a', expected)
  await Promise.all([
    nodes.start('b', expected),
    nodes.start('c', expected),
    nodes.start('d', 'cluster.raft.role=client'),
  ])
  await eventually(
    async () => expect(await ask('d', { op: 'put', key: 'k:1', value: 'first' })).not.toHaveProperty('err'),
    PATIENCE,
  )
}, TEST_MS_MAX)

afterAll(async () => {
  for (const program of nodes.values()) program.signal('SIGCONT')
  await cli.close()
})

const kindOf = ({ err }: Reply): string | undefined => err?.kind

test('a node outside the group writes, locks and takes names as a member does', { timeout: TEST_MS_MAX }, async () => {
  const rows = await askAdmin<MemberRow[]>(nodes.socketOf('d'), '/v1/members')
  expect(rows.find(({ name }) => name === 'd')).toMatchObject({ role: 'client', suffrage: 'none' })

  const { version } = await ask('d', { op: 'put', key: 'k:2', value: 1 })
  expect(await ask('a', { op: 'get', key: 'k:2' })).toMatchObject({ value: 1, version })
  const second = await ask('a', { op: 'put', key: 'k:2', value: 2, if_version: version })
  expect(kindOf(await ask('d', { op: 'put', key: 'k:2', value: 3, if_version: version }))).toBe('Conflict')
  expect(await ask('d', { op: 'get', key: 'k:2' })).toMatchObject({ value: 2, version: second['version'] })

  const keeping = ask('d', { op: 'keep', name: 'lock', wait: '10s' }, 'keeper')
  await eventually(async () =>
    expect(kindOf(await ask('a', { op: 'lock', name: 'lock', hold: 0 }))).toBe('AlreadyExists'),
  )
  const waiting = ask('b', { op: 'lock', name: 'lock', hold: 0, wait: '30s', guard: true })
  await ask('d', { op: 'let_go' }, 'keeper')
  const [kept, next] = [await keeping, await waiting]
  expect(next['token']).toBeGreaterThan(kept['token'] as number)
  expect(kindOf(await ask('d', { op: 'stale_fence', name: 'lock', token: kept['token'] }))).toBe('Conflict')

  for (const scope of ['CONSISTENT', 'STRONG']) {
    const name = `of.${scope}`
    const { pid } = await ask('d', { op: 'register', name, scope })
    expect((await ask('a', { op: 'register', name, scope })).err).toMatchObject({ kind: 'AlreadyExists' })
    for (const node of ['a', 'b', 'c', 'd']) {
      expect(await ask(node, { op: 'lookup', name, linearizable: true }), `${name} on ${node}`).toMatchObject({
        found: pid,
      })
    }
  }
})

test('without a majority writes fail within their deadline, and the rest goes on', {
  timeout: TEST_MS_MAX,
}, async () => {
  const { version } = await ask('c', { op: 'put', key: 'k:3', value: 'before' })
  expect(await ask('d', { op: 'lookup', name: 'of.CONSISTENT', linearizable: true })).toHaveProperty('found')
  await eventually(async () =>
    expect(await ask('c', { op: 'get', key: 'k:3', stale: true })).toMatchObject({ version }),
  )
  for (const name of ['a', 'b']) nodes.get(name)?.signal('SIGSTOP')
  const orders: Order[] = [
    { op: 'put', key: 'k:3', value: 'meanwhile' },
    { op: 'get', key: 'k:3' },
    { op: 'lock', name: 'other', hold: 0 },
    { op: 'register', name: 'other', scope: 'CONSISTENT' },
    { op: 'register', name: 'sole', scope: 'STRONG' },
    { op: 'lookup', name: 'of.CONSISTENT', linearizable: true },
  ]
  const answers = ['c', 'd'].flatMap((node) => orders.map((order, i) => ask(node, order, `w${i}`)))

  // Meanwhile: what a replica has, what a node knows of names, what each part does for itself.
  expect(await ask('c', { op: 'get', key: 'k:3', stale: true })).toMatchObject({ value: 'before', version })
  for (const node of ['c', 'd']) {
    expect(await ask(node, { op: 'lookup', name: 'of.CONSISTENT' }), node).toHaveProperty('found')
    expect(await ask(node, { op: 'merge_set', key: 'm:1', value: node })).toMatchObject({ ok: true })
    expect(await ask(node, { op: 'merge_get', key: 'm:1' })).toMatchObject({ value: node })
    expect(await ask(node, { op: 'join', group: 'g' })).not.toHaveProperty('err')
    expect(await ask(node, { op: 'register', name: `loose.${node}`, scope: 'EVENTUAL' })).toMatchObject({ ok: true })
  }

  for (const [i, answer] of (await Promise.all(answers)).entries()) {
    const what = `${i < orders.length ? 'c' : 'd'}: ${JSON.stringify(orders[i % orders.length])}`
    expect(['Unavailable', 'Timeout'], what).toContain(kindOf(answer))
    // As often again for a machine that has much else to do.
    expect((answer.t1 - answer.t0) * 1000, what).toBeLessThan(2 * DEADLINE_MS)
  }

  for (const name of ['a', 'b']) nodes.get(name)?.signal('SIGCONT')
  await eventually(
    async () => expect(await ask('d', { op: 'put', key: 'k:3', value: 'after' })).toHaveProperty('version'),
    PATIENCE,
  )
  expect(await ask('a', { op: 'get', key: 'k:3' })).toMatchObject({ value: 'after' })
})
