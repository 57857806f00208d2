// A node that dies, stands still or is cut off: those who watch its processes hear of it once and in time, and a node that comes back is
// reached again, with nothing restarted. cluster.md §4.6, §10.3.

import { afterEach, beforeEach, expect, test } from 'vitest'
import { addressesOf, Cli, logRecords, type Program } from '../tools/cli.ts'
import { eventually } from '../tools/eventually.ts'
import { CutNetwork, type Side } from '../tools/network.ts'

let cli: Cli

beforeEach(() => {
  cli = new Cli()
  cli.write({ 'app.yaml': APP, 'watch.lua': WATCH, 'gossip.key': 'MDEyMzQ1Njc4OWFiY2RlZg==\n' })
})

afterEach(() => cli.close())

/**
 * What these settings give: a probe begins within one interval and takes one, the suspicion lasts at most 2 × 3 × 200 ms. Whoever doubts
 * itself, as on a machine that is busy, waits longer; that much is added.
 */
const BOUND_MS = 200 + 200 + 2 * 3 * 200 + 4000

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
    reconnect_interval: 1s
entries:
  - name: processes
    kind: process.host
    lifecycle: { auto_start: true }
  - name: echo
    kind: process.lua
    source: |
      return function()
        local inbox = process.inbox()
        while true do
          local m = inbox:receive()
          process.send(m:from(), "pong", m:payload():data())
        end
      end
  - name: watch
    kind: process.lua
    source: file://watch.lua
    modules: [time, system]
  - name: watching
    kind: process.service
    process: watch
    host: processes
    lifecycle: { auto_start: true }
`
/** Keeps one process on the other node, linked and monitored, asks it something again and again, and says what it hears. */
const WATCH = `local time, system = require("time"), require("system")
local function main()
    process.set_options({ trap_links = true })
    local other = system.node.id() == "a" and "b" or "a"
    local events, pongs = process.events(), process.listen("pong", { message = true })
    local rounds = time.ticker("50ms"):channel()
    local child, answered, down = nil, false, {}
    while true do
        local got = channel.select({ events:case_receive(), pongs:case_receive(), rounds:case_receive() })
        if got.channel == events then
            local e = got.value
            if e.kind == process.event.CANCEL then return end
            print("heard " .. e.kind .. " of " .. e.from .. ": " .. e.result.error:kind() .. " " .. e.result.error:message())
            down[e.from] = (down[e.from] or 0) + 1
            if down[e.from] == 2 and e.from == child then child = nil end
        elseif got.channel == pongs then
            if not answered then print("reached " .. got.value:from()) end
            answered = true
        elseif child then
            process.send(child, "ping", 1)
        else
            child, answered = process.spawn_linked_monitored("app:echo", other .. "@app:processes"), false
        end
    end
end
return { main = main }
`

function start(name: string, set: string[] = [], side?: Side): Program {
  const args = [
    'run',
    'app.yaml',
    '--log-format',
    'json',
    ...[`node.name=${name}`, ...set].flatMap((each) => ['--set', each]),
  ]
  return cli.start(args, side === undefined ? {} : { within: side.within })
}

async function pair(sides: readonly (Side | undefined)[] = []): Promise<[Program, Program]> {
  const own = (side: Side | undefined): string[] =>
    side === undefined
      ? []
      : [`cluster.membership.bind_addr=${side.address}`, 'cluster.membership.secret_file=gossip.key']
  const a = start('a', own(sides[0]), sides[0])
  await a.until('"event":"ready"')
  const joining = `cluster.membership.join_addrs=${addressesOf(a).gossip}`
  const b = start('b', [...own(sides[1]), joining], sides[1])
  await reached(a, 'b', 1)
  await reached(b, 'a', 1)
  return [a, b]
}

const lines = (node: Program, form: RegExp): RegExpExecArray[] =>
  logRecords(node.stderr)
    .map(({ msg }) => form.exec(String(msg)))
    .filter((found) => found !== null)

/** Processes of that node which have answered, in turn: so many are waited for. @returns the last one's PID */
async function reached(node: Program, other: string, count: number): Promise<string> {
  return eventually(
    () => {
      const found = lines(node, new RegExp(`^reached (\\{${other}@.*)$`))
      expect(found.length, node.stderr).toBeGreaterThanOrEqual(count)
      return found.at(-1)?.[1] ?? ''
    },
    { timeoutMs: 30_000 },
  )
}

/** What was heard of the end of that process. */
const heard = (node: Program, pid: string): string[] =>
  lines(node, /^heard (\S+) of (\S+): (.*)$/).flatMap(([, kind, from, why]) => (from === pid ? `${kind} ${why}` : []))

/** Waits for both events. @returns after how long they were there */
async function lost(node: Program, pid: string, sinceMs: number): Promise<number> {
  await eventually(() => expect(heard(node, pid).length).toBeGreaterThanOrEqual(2), { timeoutMs: 30_000 })
  return performance.now() - sinceMs
}

const onceEach = (other: string): string[] => [
  `pid.exit Unavailable node down: ${other}`,
  `pid.link.down Unavailable node down: ${other}`,
]

test('SIGKILL: EXIT and LINK_DOWN, once, in time; its next run is reached', async () => {
  const [a, b] = await pair()
  const pid = await reached(a, 'b', 1)
  const atMs = performance.now()
  b.signal('SIGKILL')
  expect(await lost(a, pid, atMs)).toBeLessThan(BOUND_MS)
  start('b', [`cluster.membership.join_addrs=${addressesOf(a).gossip}`])
  const next = await reached(a, 'b', 2)
  expect(next).not.toBe(pid)
  expect(heard(a, pid)).toEqual(onceEach('b'))
  expect(heard(a, next)).toEqual([])
})

test('SIGSTOP: the same; after SIGCONT the same run is reached again', async () => {
  const [a, b] = await pair()
  const pid = await reached(a, 'b', 1)
  const back = await reached(b, 'a', 1)
  const atMs = performance.now()
  b.signal('SIGSTOP')
  expect(await lost(a, pid, atMs)).toBeLessThan(BOUND_MS)
  b.signal('SIGCONT')
  // What it watched is over for it as well: the session is another one.
  await lost(b, back, performance.now())
  const next = await reached(a, 'b', 2)
  await reached(b, 'a', 2)
  expect(runOf(next)).toBe(runOf(pid))
  expect(heard(a, pid)).toEqual(onceEach('b'))
  expect(heard(b, back)).toEqual(onceEach('a'))
  // While it learns what it missed, it may part once more; never is anything heard twice.
  expect([[], onceEach('b')]).toContainEqual(heard(a, next))
})

const CUTS: readonly [what: string, cut: (network: CutNetwork) => void][] = [
  ['nothing arrives', (network) => network.cut()],
  ['a firewall rejects: prohibited', (network) => network.reject('prohibit')],
  ['a firewall rejects: no such host', (network) => network.reject('unreachable')],
]

test.for(CUTS)(
  'cut off, %s: both sides hear it once, in time; after it heals both are reached',
  async ([what, cut], context) => {
    let network: CutNetwork
    try {
      network = await CutNetwork.open()
    } catch (error) {
      console.warn(`skipped (${what}): network namespaces cannot be made here (${(error as Error).message.trim()})`)
      return context.skip()
    }
    try {
      const [a, b] = await pair(network.sides)
      const pid = await reached(a, 'b', 1)
      const back = await reached(b, 'a', 1)
      const atMs = performance.now()
      cut(network)
      const took = await Promise.all([lost(a, pid, atMs), lost(b, back, atMs)])
      expect(Math.max(...took)).toBeLessThan(BOUND_MS)
      network.heal()
      const next = await reached(a, 'b', 2)
      await reached(b, 'a', 2)
      expect(runOf(next)).toBe(runOf(pid))
      expect(heard(a, pid)).toEqual(onceEach('b'))
      expect(heard(b, back)).toEqual(onceEach('a'))
    } finally {
      await cli.close()
      network.close()
    }
  },
)

/** A PID's part that differs from one run of its node to the next. */
const runOf = (pid: string): string => /\|([^.]+)\./.exec(pid)?.[1] ?? pid
