// Real nodes that found a group: in any order, late, killed at each step of it, and many of them. cluster.md §1.2, §5.4.

import { request } from 'node:http'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { ClusterStatusBody } from '../../runtime/admin/shapes.ts'
import { addressesOf, Cli, type Program } from '../tools/cli.ts'
import { eventually } from '../tools/eventually.ts'

const APP = `version: "1.0"
namespace: app
cluster:
  enabled: true
  session_ttl: 6s
  membership:
    bind_addr: 127.0.0.1
    bind_port: 0
    probe_interval: 1s
    probe_timeout: 500ms
    gossip_interval: 100ms
    reconnect_interval: 1s
  raft:
    bootstrap_stability: 1s
    heartbeat_timeout: 2s
    election_timeout: 2s
    commit_timeout: 200ms
    reconcile_debounce: 200ms
    evict_grace: 30s
    leader_probe_interval: 1s
entries: []
`
const PATIENCE = { timeoutMs: 100_000 }
const KILLER = pathToFileURL(resolve(import.meta.dirname, '../tools/kill-at.mjs')).href

/** A directory, and the nodes that run in it. */
class Nodes {
  readonly cli = new Cli()
  readonly programs = new Map<string, Program>()
  readonly #expected: number
  readonly #seeds: string[] = []

  constructor(expected: number) {
    this.#expected = expected
    this.cli.write({ 'app.yaml': APP })
  }

  launch(name: string, env: Record<string, string> = {}): Program {
    const settings = [
      `node.name=${name}`,
      `cluster.raft.bootstrap_expect=${this.#expected}`,
      `cluster.membership.join_addrs=${this.#seeds.join(',')}`,
    ]
    const args = ['run', 'app.yaml', '--log-format', 'json', ...settings.flatMap((each) => ['--set', each])]
    const program = this.cli.start(args, { env })
    this.programs.set(name, program)
    return program
  }

  async start(name: string, env: Record<string, string> = {}): Promise<Program> {
    const program = this.launch(name, env)
    // With a dozen of them on a small machine that takes its time.
    await eventually(() => {
      if (!program.stderr.includes('"event":"ready"')) throw new Error(`${name} is not ready: ${program.stderr}`)
    }, PATIENCE)
    this.#seeds.push(addressesOf(program).gossip ?? '')
    return program
  }

  /** What a node says of its group, without a program for the question. */
  status(name: string): Promise<ClusterStatusBody> {
    const socketPath = join(this.cli.dir, '.runtime', name, 'admin.sock')
    return new Promise((resolve, reject) => {
      const asked = request({ socketPath, path: '/v1/raft', timeout: 5000 }, (answer) => {
        let text = ''
        answer.setEncoding('utf8').on('data', (part: string) => {
          text += part
        })
        answer.on('end', () => resolve(JSON.parse(text) as ClusterStatusBody))
      })
      asked.on('timeout', () => asked.destroy(new Error(`${name} does not answer`)))
      asked.on('error', reject)
      asked.end()
    })
  }

  /** @returns the formation, once all nodes see one group with a leader and these numbers */
  async settle(names: readonly string[], voters: number, standbys: number): Promise<string> {
    const found = new Set<string | null>()
    for (const name of names) {
      await eventually(async () => {
        const status = await this.status(name)
        expect(status).toMatchObject({ quorum: true, waiting_for: null })
        expect(status.leader).not.toBeNull()
        expect([status.voters.length, status.standbys.length]).toEqual([voters, standbys])
        found.add(status.formation?.slice(0, 16) ?? null)
      }, PATIENCE)
    }
    expect([...found]).toHaveLength(1)
    return [...found][0] as string
  }
}

let open: Nodes[]
beforeEach(() => {
  open = []
})
afterEach(async () => {
  for (const { cli } of open) await cli.close()
})

function nodes(expected: number): Nodes {
  const made = new Nodes(expected)
  open.push(made)
  return made
}

const after = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

test('three nodes found one group in whatever order and however late they start', { timeout: 300_000 }, async () => {
  const orders: [string, number][][] = [
    [
      ['c', 0],
      ['a', 1900],
      ['b', 300],
    ],
    [
      ['b', 0],
      ['c', 100],
      ['a', 2600],
    ],
  ]
  await Promise.all(
    orders.map(async (order) => {
      const cluster = nodes(3)
      for (const [name, delayMs] of order) {
        await after(delayMs)
        await cluster.start(name)
      }
      await cluster.settle(['a', 'b', 'c'], 3, 0)
    }),
  )
})

describe('a node that is killed while the group is founded leaves one that is', () => {
  const steps = ['promise', 'decision', 'formed'].flatMap((what) => [`before ${what}`, `after ${what}`])
  // The first by name proposes; the others promise. Two clusters at a time, for most of it is waiting.
  test.each(steps)('%s', { timeout: 300_000 }, async (step) => {
    await Promise.all(['a', 'b'].map((victim) => survives(victim, step)))
  })

  async function survives(victim: string, step: string): Promise<void> {
    const cluster = nodes(3)
    const [one = '', other = ''] = ['a', 'b', 'c'].filter((name) => name !== victim)
    await cluster.start(one)
    const doomed = cluster.launch(victim, { NODE_OPTIONS: `--import=${KILLER}`, KILL_AT: step })
    await cluster.start(other)
    expect((await doomed.exit()).signal).toBe('SIGKILL')
    await cluster.start(victim)
    await cluster.settle(['a', 'b', 'c'], 3, 0)
  }
})

test('twelve nodes have five voters, four who stand by and three clients', { timeout: 400_000 }, async () => {
  const names = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l']
  const cluster = nodes(3)
  const [first = '', ...rest] = names
  await cluster.start(first)
  await Promise.all(rest.slice(0, 2).map((name) => cluster.start(name)))
  const formation = await cluster.settle(names.slice(0, 3), 3, 0)
  // Not all at once: a small machine is busy enough with three programs that start.
  for (let at = 2; at < rest.length; at += 3) {
    await Promise.all(rest.slice(at, at + 3).map((name) => cluster.start(name)))
  }
  expect(await cluster.settle(names, 5, 4)).toBe(formation)
  const roles = await Promise.all(names.map(async (name) => (await cluster.status(name)).role))
  const count = (...which: string[]): number => roles.filter((role) => which.includes(role)).length
  expect([count('leader'), count('leader', 'voter'), count('standby'), count('client')]).toEqual([1, 5, 4, 3])
})
