// Names that all nodes know, on real nodes: a process is reached by the name that it took on another one, and the name goes with it.
// cluster.md §6.5.

import { afterEach, beforeEach, expect, test } from 'vitest'
import type { NameRow } from '../../runtime/admin/shapes.ts'
import { addressesOf, Cli, type Program } from '../tools/cli.ts'
import { eventually } from '../tools/eventually.ts'

let cli: Cli

beforeEach(() => {
  cli = new Cli()
  cli.write({ 'app.yaml': APP, 'holder.lua': HOLDER })
})

afterEach(() => cli.close())

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
  - name: holder
    kind: process.lua
    source: file://holder.lua
    modules: [system, time]
  - name: service
    kind: process.service
    process: holder
    host: processes
    lifecycle: { auto_start: true }
`
/** Takes the name of its node, and one that others want as well; sends to every name it finds; says what it hears. */
const HOLDER = `local time, system = require("time"), require("system")
local registry = process.registry
local function main()
    local me = system.node.id()
    assert(registry.register("holder." .. me, nil, registry.EVENTUAL))
    print("registered on " .. me .. ": " .. tostring(registry.lookup("holder." .. me) == process.pid()))
    print("one: " .. (registry.register("one", nil, registry.EVENTUAL) and "taken" or "refused"))
    local events, hello = process.events(), process.listen("hello")
    local rounds = time.ticker("100ms"):channel()
    local greeted = {}
    while true do
        local got = channel.select({ events:case_receive(), hello:case_receive(), rounds:case_receive() })
        if got.channel == events then
            print("event " .. got.value.kind .. " " .. tostring(got.value.reason))
            if got.value.reason == "scheduler shutdown" then return end
        elseif got.channel == hello then
            print("hello from " .. got.value)
        else
            for _, other in ipairs({ "a", "b", "c" }) do
                local name = "holder." .. other
                if other ~= me and not greeted[other] and registry.lookup(name) then
                    greeted[other] = process.send(name, "hello", me) == true
                elseif greeted[other] and not registry.lookup(name) then
                    greeted[other] = nil
                    print("gone: " .. name)
                end
            end
        end
    end
end
return { main = main }
`

async function start(name: string, seed?: Program): Promise<Program> {
  const joining = seed === undefined ? [] : [`cluster.membership.join_addrs=${addressesOf(seed).gossip}`]
  const set = [`node.name=${name}`, ...joining].flatMap((each) => ['--set', each])
  const program = cli.start(['run', 'app.yaml', '--log-format', 'json', ...set])
  await program.until('"event":"ready"')
  return program
}

async function names(node: string, ...args: string[]): Promise<NameRow[]> {
  const { code, stdout, stderr } = await cli.run(['names', ...args, '--node', node, '--json'])
  if (code !== 0) throw new Error(stderr)
  return JSON.parse(stdout) as NameRow[]
}

test('eventual names: taken on one node, used on the others, gone with the node', async () => {
  const a = await start('a')
  const b = await start('b', a)
  const c = await start('c', a)
  await a.until('registered on a: true')
  for (const [node, others] of [
    [a, ['b', 'c']],
    [b, ['a', 'c']],
    [c, ['a', 'b']],
  ] as const) {
    for (const other of others) await node.until(`hello from ${other}`)
  }
  const rows = await names('b', 'holder.', '--scope', 'eventual')
  expect(rows.map(({ name, scope, node }) => `${name} ${scope} ${node}`)).toEqual([
    'holder.a eventual a',
    'holder.b eventual b',
    'holder.c eventual c',
  ])
  a.signal('SIGKILL')
  await b.until('gone: holder.a')
  await c.until('gone: holder.a')
  await eventually(async () =>
    expect((await names('c', 'holder.')).map(({ name }) => name)).toEqual(['holder.b', 'holder.c']),
  )
  const again = await start('a', b)
  await again.until('hello from b')
  await eventually(() => expect(b.stderr.split('hello from a')).toHaveLength(3))
})

test('eventual names: of two who took one apart, the first keeps it when they meet', async () => {
  const a = await start('a')
  await a.until('one: taken')
  const b = await start('b')
  await b.until('one: taken')
  const { code, stderr } = await cli.run(['cluster', 'join', addressesOf(a).gossip ?? '', '--node', 'b'])
  expect(code, stderr).toBe(0)
  await b.until('event pid.cancel name revoked: one')
  await eventually(async () => {
    for (const node of ['a', 'b']) {
      expect((await names(node, 'one')).map((row) => `${row.name} ${row.node}`)).toEqual(['one a'])
    }
  })
  expect(a.stderr).not.toContain('name revoked')
  expect(b.stderr.split('event pid.cancel')).toHaveLength(2)
})

const ASKER = `local function main(scope, name)
    local registry = process.registry
    local ok, err
    repeat
        ok, err = registry.register(name, nil, registry[scope])
        if not ok then print("answer for " .. name .. ": " .. err:kind() .. " " .. err:message()) end
    until ok or err:kind() == "AlreadyExists"
    print("asked for " .. name .. ": " .. (ok and "mine" or err:kind() .. " " .. tostring(err:details() and err:details().existing_pid)))
    if ok then print("is mine: " .. tostring(registry.lookup(name) == process.pid())) end
    local hello, events = process.listen("hello"), process.events()
    while true do
        local got = channel.select({ hello:case_receive(), events:case_receive() })
        if got.channel == events then return end
        print("hello from " .. got.value)
    end
end
return { main = main }
`

test('consistent and strong names: one owner on three servers, free when its node is killed', async () => {
  cli.write({ 'one.yaml': servers(), 'asker.lua': ASKER })
  const set = (name: string, more: string[] = []): string[] =>
    [`node.name=${name}`, 'cluster.raft.bootstrap_expect=3', ...more].flatMap((each) => ['--set', each])
  const run = (name: string, more?: string[]): Program =>
    cli.start(['run', 'one.yaml', '--log-format', 'json', ...set(name, more)])
  const a = run('a')
  await a.until('"event":"ready"')
  const joining = [`cluster.membership.join_addrs=${addressesOf(a).gossip}`]
  const all = [a, run('b', joining), run('c', joining)]
  await eventually(
    () => {
      const answers = all.map(({ stderr }) => [
        /asked for one: \w+/.exec(stderr)?.[0],
        /asked for sole: \w+/.exec(stderr)?.[0],
      ])
      for (const [index, name] of ['one', 'sole'].entries()) {
        const given = answers.map((each) => each[index])
        expect(given.filter((each) => each === `asked for ${name}: mine`)).toHaveLength(1)
        expect(given.filter((each) => each === `asked for ${name}: AlreadyExists`)).toHaveLength(2)
      }
    },
    { timeoutMs: 40_000 },
  )
  const rows = await eventually(
    async () => {
      const seen = await Promise.all(['a', 'b', 'c'].map((node) => names(node, 'one', '--scope', 'consistent')))
      expect(new Set(seen.map((each) => each[0]?.pid)).size).toBe(1)
      return seen[0] ?? []
    },
    { timeoutMs: 20_000 },
  )
  const owner = rows[0]?.node ?? ''
  const rest = ['a', 'b', 'c'].filter((name) => name !== owner)
  all[['a', 'b', 'c'].indexOf(owner)]?.signal('SIGKILL')
  await eventually(
    async () => {
      for (const node of rest) expect(await names(node, 'one', '--scope', 'consistent')).toEqual([])
    },
    { timeoutMs: 60_000 },
  )
})

/** Quick enough for a test. */
const SERVER = `  enabled: true
  session_ttl: 3s
  raft:
    bootstrap_stability: 1s
    heartbeat_timeout: 1s
    election_timeout: 1s
    commit_timeout: 200ms
    leader_probe_interval: 500ms
`

function servers(): string {
  return APP.replace(/entries:[\s\S]*/, '')
    .replace('  enabled: true\n', SERVER)
    .concat(`entries:
  - name: processes
    kind: process.host
    lifecycle: { auto_start: true }
  - name: asker
    kind: process.lua
    source: file://asker.lua
  - name: consistent
    kind: process.service
    process: asker
    host: processes
    input: [CONSISTENT, one]
    lifecycle: { auto_start: true }
  - name: strong
    kind: process.service
    process: asker
    host: processes
    input: [STRONG, sole]
    lifecycle: { auto_start: true }
`)
}
