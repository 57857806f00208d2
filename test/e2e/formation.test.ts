// Real nodes that found a group and keep it: who votes, who stands by, what happens when they are killed, stand still, leave or lose
// their stores. cluster.md §5.4 to §5.9.

import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { MemberRow } from '../../runtime/admin/shapes.ts'
import { addressesOf, Cli, logRecords, type Program } from '../tools/cli.ts'
import { eventually } from '../tools/eventually.ts'

let cli: Cli
let running: Map<string, Program>
/** Of the first node's gossip: where the others join. */
let seeds: string[]

beforeEach(() => {
  cli = new Cli()
  running = new Map()
  seeds = []
  cli.write({ 'app.yaml': APP })
})

afterEach(() => cli.close())

const APP = `version: "1.0"
namespace: app
cluster:
  enabled: true
  session_ttl: 4s
  membership:
    bind_addr: 127.0.0.1
    bind_port: 0
    probe_interval: 1s
    probe_timeout: 500ms
    gossip_interval: 100ms
    suspicion_max_mult: 3
    reconnect_interval: 1s
  raft:
    bootstrap_stability: 1s
    heartbeat_timeout: 2s
    election_timeout: 2s
    commit_timeout: 200ms
    reconcile_debounce: 200ms
    evict_grace: 4s
    leader_probe_interval: 500ms
entries: []
`
/** What takes seconds on a quiet machine may take longer here. */
const PATIENCE = { timeoutMs: 50_000 }

async function start(name: string, expected: number, ...set: string[]): Promise<void> {
  const settings = [
    `node.name=${name}`,
    `cluster.raft.bootstrap_expect=${expected}`,
    `cluster.membership.join_addrs=${seeds.join(',')}`,
    ...set,
  ]
  const args = ['run', 'app.yaml', '--log-format', 'json', ...settings.flatMap((each) => ['--set', each])]
  const program = cli.start(args)
  running.set(name, program)
  await program.until('"event":"ready"')
  seeds.push(addressesOf(program).gossip ?? '')
}

async function startAll(names: readonly string[], expected = names.length): Promise<void> {
  const [first = '', ...rest] = names
  await start(first, expected)
  await Promise.all(rest.map((name) => start(name, expected)))
}

async function roles(node: string): Promise<Record<string, string>> {
  const { code, stdout, stderr } = await cli.run(['cluster', 'members', '--node', node, '--json'])
  if (code !== 0) throw new Error(stderr)
  const rows = (JSON.parse(stdout) as MemberRow[]).filter(({ state }) => state === 'alive' || state === 'suspect')
  return Object.fromEntries(rows.map(({ name, role }) => [name, role]))
}

const count = (all: Record<string, string>, role: string): number =>
  Object.values(all).filter((each) => each === role).length

async function leaderSeenBy(node: string): Promise<string> {
  const found = Object.entries(await roles(node)).find(([, role]) => role === 'leader')
  if (found === undefined) throw new Error(`${node} knows no leader`)
  return found[0]
}

async function allKnow(names: readonly string[], what: { voters: number; standbys: number }): Promise<void> {
  for (const name of names) {
    await eventually(async () => {
      const seen = await roles(name)
      expect({ voters: count(seen, 'leader') + count(seen, 'voter'), standbys: count(seen, 'standby') }).toEqual(what)
      expect(count(seen, 'leader')).toBe(1)
    }, PATIENCE)
  }
}

function formationsOf(name: string): unknown[] {
  const records = logRecords((running.get(name) as Program).stderr)
  return records.flatMap((each) => (each['event'] === 'raft_bootstrapped' ? [each['formation']] : []))
}

test('three nodes that start in any order elect a leader, and are the same group after all were killed', async () => {
  await startAll(['c', 'a', 'b'])
  await allKnow(['a', 'b', 'c'], { voters: 3, standbys: 0 })
  const [formation] = formationsOf('a')
  expect(formationsOf('b')).toEqual([formation])
  expect(formationsOf('c')).toEqual([formation])
  for (const program of running.values()) await program.kill()
  seeds = []
  await startAll(['a', 'b', 'c'])
  await allKnow(['a', 'b', 'c'], { voters: 3, standbys: 0 })
  for (const name of ['a', 'b', 'c']) expect(formationsOf(name)).toEqual([])
})

test('a killed voter is replaced by one that stood by, and comes back to stand by itself', async () => {
  await startAll(['a', 'b', 'c', 'd'])
  await allKnow(['a', 'd'], { voters: 3, standbys: 1 })
  const before = await roles('a')
  const victim = Object.keys(before).find((name) => before[name] === 'voter') as string
  const witness = await leaderSeenBy('a')
  await running.get(victim)?.kill()
  await eventually(async () => {
    const seen = await roles(witness)
    expect(count(seen, 'leader') + count(seen, 'voter')).toBe(3)
    expect(seen[victim]).toBeUndefined()
  }, PATIENCE)
  await start(victim, 4)
  await allKnow([witness, victim], { voters: 3, standbys: 1 })
  expect((await roles(witness))[victim]).toBe('standby')
})

test('a leader that stands still hands over, and one that is stopped does so before', async () => {
  await startAll(['a', 'b', 'c'])
  await allKnow(['a'], { voters: 3, standbys: 0 })
  const frozen = await leaderSeenBy('a')
  const witness = ['a', 'b', 'c'].find((name) => name !== frozen) as string
  running.get(frozen)?.signal('SIGSTOP')
  await eventually(async () => expect(await leaderSeenBy(witness)).not.toBe(frozen), PATIENCE)
  running.get(frozen)?.signal('SIGCONT')
  await allKnow(['a', 'b', 'c'], { voters: 3, standbys: 0 })

  const stopped = await leaderSeenBy('a')
  const rest = ['a', 'b', 'c'].filter((name) => name !== stopped)
  running.get(stopped)?.signal('SIGTERM')
  expect((await (running.get(stopped) as Program).exit()).code).toBe(0)
  for (const name of rest) expect(await leaderSeenBy(name)).not.toBe(stopped)
})

test('operators see the group, move the leadership, remove who is gone and reset stores', async () => {
  await startAll(['a', 'b', 'c'])
  await allKnow(['a', 'b', 'c'], { voters: 3, standbys: 0 })
  const first = await leaderSeenBy('a')
  const [next = '', other = ''] = ['a', 'b', 'c'].filter((name) => name !== first)
  const moved = await cli.run(['cluster', 'transfer', next, '--node', other])
  expect(moved).toMatchObject({ code: 0, stdout: `${next} leads\n` })
  await eventually(async () => {
    const { stdout } = await cli.run(['cluster', 'status', '--node', other, '--json'])
    const group = { leader: next, role: 'voter', voters: ['a', 'b', 'c'], standbys: [], quorum: true, healthy: true }
    expect(JSON.parse(stdout)).toMatchObject({ node: other, cluster_id: 'default', members: 3, ...group })
  }, PATIENCE)
  expect(await cli.run(['cluster', 'status', '--node', other, '--leader'])).toMatchObject({ stdout: `${next}\n` })
  const refused = await cli.run(['cluster', 'remove', first, '--node', other])
  expect(refused.code).toBe(1)
  expect(refused.stderr).toContain(`${first} is there`)

  const busy = await cli.run(['cluster', 'reset-store', '--node', first, '--yes'])
  expect(busy.stderr).toContain('is running')
  await running.get(first)?.kill()
  await eventually(async () => {
    expect(await cli.run(['cluster', 'remove', first, '--node', other])).toMatchObject({ code: 0 })
  }, PATIENCE)
  expect(await cli.run(['cluster', 'reset-store', '--node', first, '--yes'])).toMatchObject({ code: 0 })
  await start(first, 3)
  await allKnow([next, first], { voters: 3, standbys: 0 })
})

test('a voter whose store is lost comes back as another one, and votes again', async () => {
  await startAll(['a', 'b', 'c'])
  await allKnow(['a'], { voters: 3, standbys: 0 })
  const leader = await leaderSeenBy('a')
  const victim = ['a', 'b', 'c'].find((name) => name !== leader) as string
  await running.get(victim)?.kill()
  rmSync(join(cli.dir, '.runtime', victim, '_sys'), { recursive: true })
  await start(victim, 3)
  await allKnow([leader, victim], { voters: 3, standbys: 0 })
  expect(formationsOf(victim)).toEqual([])
})

test('seven nodes have five voters and two that stand by; who leaves is replaced first', async () => {
  const names = ['a', 'b', 'c', 'd', 'e', 'f', 'g']
  await startAll(names)
  await allKnow(['a', 'g'], { voters: 5, standbys: 2 })
  const { code, stderr } = await cli.run(['cluster', 'leave', '--node', 'a'])
  expect(stderr).toBe('')
  expect(code).toBe(0)
  await allKnow(['g'], { voters: 5, standbys: 1 })
})
