// `runtime run APP --nodes N`: several nodes as one command. operations.md §2.

import { afterEach, beforeEach, expect, test } from 'vitest'
import { Cli, logRecords, type Program } from '../tools/cli.ts'
import { eventually } from '../tools/eventually.ts'

let cli: Cli

beforeEach(() => {
  cli = new Cli()
  cli.write({ 'app.yaml': APP, 'seen.lua': SEEN })
})

afterEach(() => cli.close())

const APP = `version: "1.0"
namespace: app
cluster:
  membership: { probe_interval: 200ms, probe_timeout: 100ms, gossip_interval: 50ms, suspicion_max_mult: 2 }
entries:
  - name: processes
    kind: process.host
    lifecycle: { auto_start: true }
  - name: seen
    kind: process.lua
    source: file://seen.lua
    modules: [system, time, io]
  - name: seeing
    kind: process.service
    process: seen
    host: processes
    lifecycle: { auto_start: true }
`
const SEEN = `local system, time = require("system"), require("time")
local function main()
    local ends, before = process.events(), 0
    while true do
        local size = system.cluster.size()
        if size ~= before then print("nodes: " .. size) end
        before = size
        local got = channel.select({ ends:case_receive(), time.after("50ms"):case_receive() })
        if got.channel == ends then return end
    end
end
return { main = main }
`

const start = (...more: string[]): Program =>
  cli.start(['run', 'app.yaml', '--nodes', '3', '--log-format', 'pretty', ...more])

test('three nodes of an app run, know each other, and stop together', async () => {
  const cluster = start()
  await cluster.until(/^node node-1 is ready · gossip 127\.0\.0\.1:\d+/m)
  await cluster.until(/^node node-3 is ready/m)
  await cluster.until(/^3 nodes are ready · \d+ ms/m)
  for (const name of ['node-1', 'node-2', 'node-3']) await cluster.until(new RegExp(`^${name} \\| .*nodes: 3`, 'm'))
  const { stdout } = await cli.run(['cluster', 'members', '--node', 'node-2'])
  expect(stdout).toMatch(/^node-2 \* .*alive/m)
  cluster.signal('SIGINT')
  const { code } = await cluster.exit()
  expect(code).toBe(130)
  const after = await cli.run(['cluster', 'members', '--node', 'node-1'])
  expect(after.stderr).toContain('node node-1 is not running')
})

test('one that dies is told of, and the others go on', async () => {
  const cluster = start()
  await cluster.until('3 nodes are ready')
  await cluster.until(/^node-1 \| .*nodes: 3/m)
  const { stdout } = await cli.run(['cluster', 'leave', '--node', 'node-3'])
  expect(stdout).toContain('has left')
  await cluster.until('node-3 | has ended with exit code 0; the others go on')
  await cluster.until(/^node-1 \| .*nodes: 2/m)
  cluster.signal('SIGTERM')
  expect((await cluster.exit()).code).toBe(0)
})

test('records keep their form, and name their node', async () => {
  const cluster = start('--log-format', 'json')
  await cluster.until('3 nodes are ready')
  await eventually(() => {
    const nodes = logRecords(cluster.stderr).filter((record) => record['msg'] === 'nodes: 3')
    expect(new Set(nodes.map((record) => record['node']))).toEqual(new Set(['node-1', 'node-2', 'node-3']))
  })
})

test('nodes do not outlive the command', async () => {
  const cluster = start()
  await cluster.until('3 nodes are ready')
  await cluster.kill()
  await eventually(
    async () => {
      const { stderr } = await cli.run(['cluster', 'members', '--node', 'node-1'])
      expect(stderr).toContain('node node-1 is not running')
    },
    { timeoutMs: 20_000 },
  )
})

test('what is wrong is said once', async () => {
  cli.write({ 'bad.yaml': 'entries: [{ name: x }]\n' })
  const bad = await cli.run(['run', 'bad.yaml', '--nodes', '3'])
  expect(bad.code).toBe(2)
  expect(bad.stderr.match(/kind: required/g)?.length).toBe(1)
  for (const count of ['0', '17', 'x', '-1']) {
    const { code, stderr } = await cli.run(['run', 'app.yaml', '--nodes', count])
    expect(code).toBe(2)
    expect(stderr).toContain('--nodes takes a number from 1 to 16')
  }
  const both = await cli.run(['run', 'app.yaml', '--nodes', '2', '--exec', 'app:seen'])
  expect(both).toMatchObject({ code: 2, stderr: expect.stringContaining('do not go together') })
})

test('a node that cannot start ends them all, with its reason', async () => {
  const failed = await cli.run([
    'run',
    'app.yaml',
    '--nodes',
    '2',
    '--set',
    'admin.http=192.0.2.1:1',
    '--log-format',
    'pretty',
  ])
  expect(failed.code).toBe(1)
  expect(failed.stderr).toContain('node-1 | error: admin.http 192.0.2.1:1 is not an address of this machine')
  expect(failed.stderr).toContain('node-1 ended before it was ready')
})
