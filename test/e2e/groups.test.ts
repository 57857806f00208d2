// Process groups on three real nodes: members come and go everywhere, broadcasts reach all, and a node that is killed takes its members
// with it, once. cluster.md §9.

import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { addressesOf, Cli, type Program } from '../tools/cli.ts'
import { eventually } from '../tools/eventually.ts'

const APP = join(import.meta.dirname, 'apps/groups/app.yaml')
const CLUSTER = [
  'cluster.enabled=true',
  'cluster.membership.bind_addr=127.0.0.1',
  'cluster.membership.bind_port=0',
  'cluster.membership.gossip_interval=50ms',
]
const MEMBERS_PER_NODE = 3334

let cli: Cli
let partners: Program[]
let gossip: string

const args = (name: string, ...set: string[]): string[] => [
  'run',
  APP,
  ...[...CLUSTER, `node.name=${name}`, ...set].flatMap((each) => ['--set', each]),
]
const joining = (): string => `cluster.membership.join_addrs=${gossip}`

beforeEach(async () => {
  cli = new Cli()
  const first = cli.start([...args('b'), '--log-format', 'json'])
  await first.until('"event":"ready"')
  gossip = addressesOf(first).gossip ?? ''
  const second = cli.start([...args('c', joining()), '--log-format', 'json'])
  await second.until('"event":"ready"')
  partners = [first, second]
})

afterEach(() => cli.close())

/** Starting ten thousand processes takes as long as the machine needs. */
const prints = (program: Program, text: string): Promise<unknown> =>
  eventually(() => program.stdout.includes(text), { timeoutMs: 120_000, what: `"${text}" on standard output` })

describe('groups over three nodes', () => {
  test.each([
    ['in workers', 'groups:workers', 200],
    ['on the main thread', 'groups:inline', MEMBERS_PER_NODE],
  ])('with members %s', { timeout: 300_000 }, async (_, host, perNode) => {
    const command = ['--exec', 'groups:main', host, String(perNode), 'a', 'b', 'c']
    const main = cli.start([...args('a', joining()), ...command])
    await prints(main, 'kill c')
    expect(main.stdout).toContain(`joined ${3 * perNode}`)
    await partners[1]?.kill()
    await prints(main, 'done')
    const { code, stdout, stderr } = await main.exit()
    expect(stderr).not.toContain('process failed')
    const logs = JSON.parse(/^gone (.*)$/m.exec(stdout)?.[1] ?? '[]') as string[][]
    // One event for each of the two nodes that are left, with all members of the one that is gone.
    expect(logs).toEqual([[`member.left ${perNode}`], [`member.left ${perNode}`]])
    expect(stdout).toContain('done')
    expect(code).toBe(0)
  })
})
