// Real nodes that find each other: the command, the admin interface, scripts and signals. operations.md §2, cluster.md §3.8.

import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { MemberRow } from '../../runtime/admin/shapes.ts'
import { addressesOf, Cli, logRecords, type Program } from '../tools/cli.ts'
import { eventually } from '../tools/eventually.ts'

let cli: Cli

beforeEach(() => {
  cli = new Cli()
  cli.write({ 'app.yaml': APP, 'watch.lua': WATCH, 'gossip.key': KEY })
})

afterEach(() => cli.close())

const KEY = 'MDEyMzQ1Njc4OWFiY2RlZg==\n'
const APP = `version: "1.0"
namespace: app
cluster:
  enabled: true
  membership:
    bind_addr: 127.0.0.1
    bind_port: 0
    probe_interval: 200ms
    probe_timeout: 100ms
    gossip_interval: 50ms
    suspicion_max_mult: 2
entries:
  - name: processes
    kind: process.host
    lifecycle: { auto_start: true }
  - name: watch
    kind: process.lua
    source: file://watch.lua
    modules: [events, system, process]
    method: main
  - name: watcher
    kind: process.service
    process: watch
    host: processes
    lifecycle: { auto_start: true }
`
/** Says what it sees of the cluster, until it is asked to end. */
const WATCH = `local events, system, process = require("events"), require("system"), require("process")
local function main()
    local feed = events.subscribe("cluster")
    local changes, ends = feed:channel(), process.events()
    print("i am " .. system.node.id() .. " " .. process.pid())
    while true do
        local got = channel.select({ changes:case_receive(), ends:case_receive() })
        if got.channel == ends then return end
        local names = {}
        for _, member in ipairs(system.cluster.members()) do names[#names + 1] = member.id end
        print(got.value.kind .. " " .. got.value.path .. " of " .. table.concat(names, ","))
    end
end
return { main = main }
`

interface RunningNode {
  readonly program: Program
  /** Of its gossip. */
  readonly address: string
}

async function start(name: string, ...set: string[]): Promise<RunningNode> {
  const args = [
    'run',
    'app.yaml',
    '--log-format',
    'json',
    ...[`node.name=${name}`, ...set].flatMap((each) => ['--set', each]),
  ]
  const program = cli.start(args)
  await program.until('"event":"ready"')
  return { program, address: addressesOf(program).gossip ?? '' }
}

/** Nodes that a node has a mesh connection to, or had. */
const reached = (program: Program): Set<unknown> =>
  new Set(logRecords(program.stderr).flatMap((record) => (record['event'] === 'mesh_up' ? [record['peer']] : [])))

const joining = (node: RunningNode): string => `cluster.membership.join_addrs=${node.address}`

async function members(node: string): Promise<MemberRow[]> {
  const { code, stdout, stderr } = await cli.run(['cluster', 'members', '--node', node, '--json'])
  if (code !== 0) throw new Error(stderr)
  return JSON.parse(stdout) as MemberRow[]
}

async function states(node: string): Promise<string[]> {
  return (await members(node)).map(({ name, state, local }) => `${name}${local ? '*' : ''} ${state}`)
}

test('nodes join, see each other, leave and fail', async () => {
  const a = await start('a')
  const b = await start('b', joining(a))
  const c = await start('c', joining(b))
  await eventually(async () => expect(await states('a')).toEqual(['a* alive', 'b alive', 'c alive']))
  await eventually(async () => expect(await states('c')).toEqual(['c* alive', 'a alive', 'b alive']))
  await a.program.until('node.joined c of a,b,c')
  await a.program.until(/i am a \{a@app:processes\|/)
  const [own, other] = await members('a')
  expect(own).toMatchObject({ name: 'a', addr: a.address, rtt_ms: null })
  expect(other).toMatchObject({ name: 'b', addr: b.address, tags: { role: 'moonmesh', cluster_id: 'default' } })

  // A graceful stop is a leave.
  b.program.signal('SIGTERM')
  expect((await b.program.exit()).code).toBe(0)
  await eventually(async () => expect(await states('a')).toEqual(['a* alive', 'b left', 'c alive']))
  await a.program.until('node.left b of a,c')

  // A crash is found out.
  c.program.signal('SIGKILL')
  await eventually(async () => expect(await states('a')).toEqual(['a* alive', 'b left', 'c dead']), {
    timeoutMs: 20_000,
  })
  await a.program.until('node.failed c of a')
  expect(logRecords(a.program.stderr)).toContainEqual(
    expect.objectContaining({ event: 'node_failed', level: 'warn', node: 'a', peer: 'c', address: c.address }),
  )

  // The dead come back at another port, as another run.
  const again = await start('c', joining(a))
  await eventually(async () => expect(await states('a')).toEqual(['a* alive', 'b left', 'c alive']))
  expect(again.address).not.toBe(c.address)
  const left = await cli.run(['cluster', 'leave', '--node', 'c'])
  expect(left).toMatchObject({ code: 0, stdout: 'the node has left the cluster and stopped\n' })
  expect((await again.program.exit()).code).toBe(0)
  await eventually(async () => expect(await states('a')).toEqual(['a* alive', 'b left', 'c left']))
})

test('a process that is killed is known to all others within two seconds, at default settings', async () => {
  const isQuick = (line: string): boolean => /^ {4}(probe|gossip|suspicion)_/.test(line)
  const lines = APP.split('\n').filter((line) => !isQuick(line))
  cli.write({ 'app.yaml': lines.join('\n') })
  const a = await start('a')
  const rest = [await start('b', joining(a)), await start('c', joining(a))]
  const tookMs: number[] = []
  // A node that had too little of the processor doubts itself and waits longer, so a busy machine gets more than one attempt.
  for (const victim of ['d', 'e', 'f']) {
    const { program } = await start(victim, joining(a))
    const all = [a, ...rest]
    for (const node of all) await eventually(() => reached(node.program).has(victim))
    await eventually(() => reached(program).size === all.length)
    const killedMs = performance.now()
    program.signal('SIGKILL')
    await Promise.all(all.map((node) => node.program.until(`node.failed ${victim} of`)))
    tookMs.push(performance.now() - killedMs)
    if ((tookMs.at(-1) as number) < 2000) break
  }
  expect(Math.min(...tookMs)).toBeLessThan(2000)
}, 60_000)

test('a node joins when it is told to, and says when nobody answers', async () => {
  const a = await start('a')
  const b = await start('b')
  expect(await states('b')).toEqual(['b* alive'])
  const joined = await cli.run(['cluster', 'join', '--node', 'b', a.address])
  expect(joined).toMatchObject({ code: 0, stdout: 'joined through 1 address\n' })
  await eventually(async () => expect(await states('a')).toEqual(['a* alive', 'b alive']))
  b.program.signal('SIGKILL')
  await b.program.exit()
  const nobody = await cli.run(['cluster', 'join', '--node', 'a', b.address])
  expect(nobody.code).toBe(1)
  expect(nobody.stderr).toContain(`nobody answered at ${b.address}`)
  expect(nobody.stderr).toContain('say what failed')
  const wrong = await cli.run(['cluster', 'join', '--node', 'a', 'x:y:z'])
  expect(wrong).toMatchObject({ code: 1, stderr: expect.stringContaining('"x:y:z"') })
  const table = await cli.run(['cluster', 'members', '--node', 'a'])
  expect(table.stdout).toMatch(/^NAME +ADDRESS +STATE +ROLE/)
  expect(table.stdout).toMatch(/^a \* +127\.0\.0\.1:\d+ +alive +client/m)
})

test('a name that is in use ends the start, and the other node stays', async () => {
  const a = await start('a')
  const b = await start('b', joining(a))
  const set = ['node.name=b', `node.data_dir=${join(cli.dir, 'elsewhere')}`, joining(a)]
  const second = await cli.run(['run', 'app.yaml', ...set.flatMap((each) => ['--set', each])])
  expect(second.code).toBe(1)
  expect(second.stderr).toContain(`error: node name "b" is in use at ${b.address}`)
  expect(await states('a')).toEqual(['a* alive', 'b alive'])
})

test('a key keeps out whoever has another one, or none', async () => {
  const key = 'cluster.membership.secret_file=gossip.key'
  const a = await start('a', key)
  await start('b', key, joining(a))
  await eventually(async () => expect(await states('b')).toEqual(['b* alive', 'a alive']))
  const other = (await cli.run(['keygen'])).stdout.trim()
  const c = await start('c', `cluster.membership.secret_key=${other}`, joining(a))
  await start('d', joining(a))
  await a.program.until('gossip_decrypt_failed')
  await c.program.until('gossip_decrypt_failed')
  expect(await states('a')).toEqual(['a* alive', 'b alive'])
  expect(await states('c')).toEqual(['c* alive'])
  expect(await states('d')).toEqual(['d* alive'])
  const lines = logRecords(a.program.stderr).filter((record) => record['event'] === 'gossip_decrypt_failed')
  expect(lines).toHaveLength(1)
  expect(lines[0]?.['msg']).toContain('cluster.membership.secret_key')
})

test('nothing but this machine is listened for without a key', async () => {
  const set = ['cluster.membership.bind_addr=0.0.0.0', 'node.name=a']
  const open = await cli.run(['run', 'app.yaml', ...set.flatMap((each) => ['--set', each])])
  expect(open.code).toBe(2)
  expect(open.stderr).toContain('runtime keygen')
  const insecure = cli.start([
    'run',
    'app.yaml',
    ...[...set, 'cluster.allow_insecure=true', 'cluster.membership.advertise_addr=127.0.0.1'].flatMap((each) => [
      '--set',
      each,
    ]),
  ])
  await insecure.until('node a is ready')
  await insecure.kill()
  const closed = cli.start(['run', 'app.yaml', '--set', 'node.name=a'])
  await closed.until(/node a is ready · gossip 127\.0\.0\.1:\d+ \(only this machine can join\)/)
})

test('a port that is in use is named', async () => {
  const a = await start('a')
  const port = a.address.slice(a.address.lastIndexOf(':') + 1)
  const set = ['node.name=b', `cluster.membership.bind_port=${port}`]
  const second = await cli.run(['run', 'app.yaml', ...set.flatMap((each) => ['--set', each])])
  expect(second.code).toBe(1)
  expect(second.stderr).toContain(`${a.address} (TCP): the port is in use`)
})

test('a node alone has no cluster to leave', async () => {
  await start('a', 'cluster.enabled=false')
  const { code, stderr } = await cli.run(['cluster', 'leave', '--node', 'a'])
  expect(code).toBe(1)
  expect(stderr).toContain('clustering is off on node a; set cluster.enabled to true')
})

test('the metrics show the cluster', async () => {
  const a = await start('a', 'admin.http=127.0.0.1:0')
  await start('b', joining(a))
  await eventually(async () => expect(await states('a')).toEqual(['a* alive', 'b alive']))
  const { admin } = addressesOf(a.program)
  const text = await (await fetch(`http://${admin}/metrics`)).text()
  expect(text).toContain('gossip_members{state="alive"} 2')
  expect(text).toContain('gossip_health_score 0')
  expect(text).toMatch(/gossip_messages_total\{type="ping",direction="out"\} \d/)
  expect(text).toMatch(/gossip_bytes_total\{transport="tcp",direction="in"\} \d/)
  const checks = (await (await fetch(`http://${admin}/readyz`)).json()) as { name: string; ok: boolean }[]
  expect(checks).toContainEqual(expect.objectContaining({ name: 'gossip', ok: true }))
})
