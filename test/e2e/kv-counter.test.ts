// 64 clients of three real nodes count by comparing and setting while nodes are killed without warning. What was acknowledged was counted once;
// what had no clear answer at most once; nothing else was. cluster.md §8.2, §12 (1, 2, 3), V1.
// MOONMESH_KILL_SECONDS=300 counts for longer.

import { afterAll, beforeAll, expect, test } from 'vitest'
import type { StoreItem } from '../../runtime/admin/shapes.ts'
import { MoonmeshError } from '../../runtime/base/errors.ts'
import { ask } from '../../runtime/cli/client.ts'
import { CommandFailure } from '../../runtime/cli/exit.ts'
import { Cli } from '../tools/cli.ts'
import { eventually } from '../tools/eventually.ts'
import { Nodes } from '../tools/nodes.ts'

const APP = `version: "1.0"
namespace: app
cluster:
  enabled: true
  session_ttl: 4s
  membership: { bind_addr: 127.0.0.1, bind_port: 0, gossip_interval: 100ms, probe_interval: 1s, probe_timeout: 500ms }
  raft:
    bootstrap_expect: 3
    bootstrap_stability: 1s
    heartbeat_timeout: 1s
    election_timeout: 1s
    commit_timeout: 100ms
    leader_probe_interval: 500ms
    snapshot_threshold: 256
    snapshot_interval: 2s
    trailing_logs: 64
entries:
  - { name: store, kind: store.kv.raft, namespace: data, lifecycle: { auto_start: true } }
`
const NAMES = ['a', 'b', 'c']
const CLIENTS = 64
const COUNTERS = 8
const SECONDS = Number(process.env['MOONMESH_KILL_SECONDS'] ?? 20)
const CALL_MS = 15_000

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

// Three nodes and 64 clients may have a slow machine to themselves.
const start = (name: string): Promise<void> => nodes.start(name, { readyMs: 120_000 })
const socketOf = (name: string): string => nodes.socketOf(name)
const pathOf = (counter: number): string => `/v1/kv/app:store/${encodeURIComponent(`n:${counter}`)}`
const pause = (ms: number): Promise<void> => new Promise((next) => setTimeout(next, ms))

const read = (node: string, counter: number): Promise<StoreItem> =>
  ask<StoreItem>(socketOf(node), pathOf(counter), { method: 'GET', timeoutMs: CALL_MS })

interface Tally {
  acknowledged: number
  /** May have been counted. */
  unclear: number
  refused: number
}

/** One addition through a node. A refusal is no addition; a broken connection or a deadline may be one. */
async function addOne(node: string, counter: number, tally: Tally): Promise<void> {
  let item: StoreItem
  try {
    item = await read(node, counter)
  } catch {
    return pause(100)
  }
  try {
    const headers = { 'if-match': item.version }
    const body = (item.value as number) + 1
    await ask(socketOf(node), pathOf(counter), { method: 'PUT', body, headers, timeoutMs: CALL_MS })
    tally.acknowledged++
  } catch (error) {
    if (error instanceof MoonmeshError && error.kind === 'Conflict') tally.refused++
    else {
      if (!(error instanceof MoonmeshError || error instanceof CommandFailure)) throw error
      tally.unclear++
      await pause(100)
    }
  }
}

test(`no acknowledged increment is lost, and none is made twice, in ${SECONDS} s of kills`, {
  timeout: SECONDS * 1000 + 240_000,
}, async () => {
  for (let counter = 0; counter < COUNTERS; counter++) {
    await eventually(() => ask(socketOf('a'), pathOf(counter), { method: 'PUT', body: 0, timeoutMs: CALL_MS }), {
      timeoutMs: 60_000,
    })
  }
  const tallies = Array.from({ length: COUNTERS }, (): Tally => ({ acknowledged: 0, unclear: 0, refused: 0 }))
  const endMs = performance.now() + SECONDS * 1000
  const clients = Array.from({ length: CLIENTS }, async (_, client) => {
    const counter = client % COUNTERS
    for (let i = client; performance.now() < endMs; i++) {
      await addOne(NAMES[i % 3] as string, counter, tallies[counter] as Tally)
    }
  })
  let kills = 0
  while (performance.now() < endMs - 5000) {
    const victim = NAMES[kills % 3] as string
    await pause(3000)
    await nodes.get(victim)?.kill()
    kills++
    await start(victim)
  }
  await Promise.all(clients)
  expect(kills).toBeGreaterThan(0)
  for (const [counter, { acknowledged, unclear }] of tallies.entries()) {
    // Linearizable, through each node: all see one number.
    const seen: unknown[] = []
    for (const node of NAMES) {
      const { value } = await eventually(() => read(node, counter), { timeoutMs: 60_000 })
      seen.push(value)
    }
    expect(new Set(seen).size, String(seen)).toBe(1)
    expect(seen[0]).toBeGreaterThanOrEqual(acknowledged)
    expect(seen[0]).toBeLessThanOrEqual(acknowledged + unclear)
  }
  const sum = (key: keyof Tally): number => tallies.reduce((total, tally) => total + tally[key], 0)
  expect(sum('acknowledged')).toBeGreaterThan(0)
  process.stderr.write(
    `${kills} kills, ${sum('acknowledged')} increments acknowledged, ${sum('unclear')} unclear, ${sum('refused')} refused\n`,
  )
})
