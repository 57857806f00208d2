// Actors do not care where their partner is: one suite of cases, with the partner in the same host, in another worker of the node, and on
// another node. What is seen is the same. lua-core.md §6–9, cluster.md §10.

import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { addressesOf, Cli } from '../tools/cli.ts'

const APP = join(import.meta.dirname, 'apps/distributed/app.yaml')
const CLUSTER = [
  'cluster.enabled=true',
  'cluster.membership.bind_addr=127.0.0.1',
  'cluster.membership.bind_port=0',
  'cluster.membership.gossip_interval=50ms',
]
const PLACES = [
  ['in the same host', 'dist:processes'],
  ['in another worker', 'dist:others'],
  ['on another node', 'b@dist:processes'],
] as const

let cli: Cli
let gossip: string

const args = (name: string, ...set: string[]): string[] => [
  'run',
  APP,
  ...[...CLUSTER, `node.name=${name}`, ...set].flatMap((each) => ['--set', each]),
]

beforeAll(async () => {
  cli = new Cli()
  const partner = cli.start([...args('b'), '--log-format', 'json'])
  await partner.until('"event":"ready"')
  gossip = addressesOf(partner).gossip ?? ''
})

afterAll(() => cli.close())

interface Report {
  ok: boolean
  value?: string[]
  error?: { message: string }
}

const reports = new Map<string, string[]>()

test.each(PLACES)('with the partner %s', async (place, host) => {
  const join = `cluster.membership.join_addrs=${gossip}`
  const { stdout, stderr } = await cli.run([...args('a', join), '--json', '--exec', 'dist:main', host])
  if (!stdout.startsWith('{')) throw new Error(`no report: ${stdout}${stderr}`)
  const report = JSON.parse(stdout) as Report
  expect(report.error?.message).toBe(undefined)
  reports.set(place, report.value ?? [])
})

test('what is seen is the same everywhere', () => {
  const [here, ...others] = PLACES.map(([place]) => reports.get(place))
  expect(here?.at(-1)).toMatch(/^\d+ cases$/)
  for (const other of others) expect(other).toEqual(here)
})
