// Moonmesh on the workloads W1 to W12: one JSON line a figure, {workload, peer, metric, value, unit, n}.
// usage: node --expose-gc moonmesh.mjs [W1 W2 … W12]      each workload runs in a process of its own

import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createNode } from '../../dist/runtime/index.js'

const here = dirname(fileURLToPath(import.meta.url))
const ALL = ['W1', 'W2', 'W3', 'W4', 'W5', 'W6', 'W7', 'W8', 'W9', 'W10', 'W11', 'W12']
const PEER = 'moonmesh'
const HOST = 'bench:host'
const W5_TESTS = ['fib', 'array', 'string', 'method', 'queens', 'coroutine']

/** What W5 runs on; the first is the default. More than three runs tell what a node that has been up for a while takes. */
const ENGINES = [
  { peer: PEER, set: [], runs: 15 },
  { peer: `${PEER}, lua.jit: false`, set: ['lua.jit=false'], runs: 15 },
  { peer: `${PEER}, lua.engine: fengari`, set: ['lua.engine=fengari'], runs: 3 },
]

const emit = (workload, metric, value, unit, n, peer = PEER) =>
  process.stdout.write(`${JSON.stringify({ workload, peer, metric, value: Number(value.toPrecision(6)), unit, n })}\n`)

const text = (file) => readFileSync(join(here, file), 'utf8')

function entries(workers) {
  const source = text('workloads.lua')
  const methods = [...source.matchAll(/^ {4}(\w+) = \1,$/gm)].map((match) => match[1])
  return [
    { id: HOST, kind: 'process.host', host: { workers }, lifecycle: { auto_start: true } },
    ...methods.map((method) => ({ id: `bench:${method}`, kind: 'process.lua', source, method, modules: ['time'] })),
    { id: 'bench:w5', kind: 'library.lua', source: text('w5.lua') },
    {
      id: 'bench:w5_actor',
      kind: 'process.lua',
      source: text('w5-actor.lua'),
      modules: ['time'],
      imports: { w5: 'bench:w5' },
    },
  ]
}

/** Runs `work` on a node of its own. */
async function onNode(work, { workers = 1, set = [] } = {}) {
  const dataDir = mkdtempSync(join(tmpdir(), 'moonmesh-bench-'))
  const node = await createNode({
    entries: entries(workers),
    set: [`node.data_dir=${dataDir}`, 'node.name=bench', ...set],
    log: false,
  })
  await node.start()
  try {
    return await work((method, ...args) => node.exec(`bench:${method}`, { host: HOST, args: [HOST, ...args] }), node)
  } finally {
    await node.stop({ force: true })
    rmSync(dataDir, { recursive: true, force: true })
  }
}

const residentBytes = () => {
  for (let i = 0; i < 4; i++) globalThis.gc?.()
  return process.memoryUsage().rss
}
const heapBytes = () => {
  for (let i = 0; i < 4; i++) globalThis.gc?.()
  return process.memoryUsage().heapUsed
}

const WORKLOADS = {
  async W1() {
    const rounds = 200_000
    const took = await onNode((run) => run('ping_pong', 10_000, rounds))
    emit('W1', 'round_trips', rounds / took, '1/s', rounds)
    emit('W1', 'hop', (took * 1e9) / (2 * rounds), 'ns', 2 * rounds)
  },
  async W2() {
    const took = await onNode((run) => run('fan_in', 100, 2000))
    emit('W2', 'messages', 200_000 / took, '1/s', 200_000)
  },
  async W3() {
    const count = 50_000
    const took = await onNode(async (run) => {
      await run('spawn_many', count)
      return run('spawn_many', count)
    })
    emit('W3', 'spawns', count / took, '1/s', count)
  },
  /** Inline, so that the heap that is measured is the actors' own. */
  async W3M() {
    const count = 20_000
    await onNode(
      async (run) => {
        await run('populate', 100)
        const [rss, heap] = [residentBytes(), heapBytes()]
        await run('populate', count)
        emit('W3', 'memory_per_idle_actor', (residentBytes() - rss) / count, 'B', count)
        emit('W3', 'heap_per_idle_actor', (heapBytes() - heap) / count, 'B', count)
      },
      { workers: 0 },
    )
  },
  async W4() {
    const took = await onNode((run) => run('ring', 1000, 10, 500))
    emit('W4', 'hops', 500_000 / took, '1/s', 500_000)
  },
  async W5() {
    for (const { peer, set, runs } of ENGINES) {
      for (const name of W5_TESTS) {
        const once = (_run, node) => node.exec('bench:w5_actor', { host: HOST, args: [name, runs] })
        const { first, last } = await onNode(once, { set })
        emit('W5', name, first, 's', 3, peer)
        if (runs > 3) emit('W5', `${name}, warm`, last, 's', 3, peer)
      }
    }
  },
  async W6() {
    await inProcess('W6', [join(here, 'w6.mjs')])
  },
  async W7() {
    await inProcess('W7', [join(here, 'w7.mjs')])
    await inProcess('W7', [join(here, 'w7-lua.mjs')])
  },
  async W8() {
    await inProcess('W8', [join(here, 'w8.mjs')])
    await inProcess('W8', [join(here, 'bare-writes.mjs')])
  },
  async W9() {
    await inProcess('W9', [join(here, 'w9.mjs')])
  },
  async W10() {
    await inProcess('W10', [join(here, 'w10.mjs')])
  },
  async W11() {
    await inProcess('W11', [join(here, 'w11.mjs')])
  },
  async W12() {
    const dataDir = mkdtempSync(join(tmpdir(), 'moonmesh-bench-'))
    const app = join(dataDir, 'app.yaml')
    writeFileSync(app, COLD_APP)
    const times = []
    const rss = []
    for (let i = 0; i < 12; i++) {
      const { ms, rssMib } = await coldStart(app)
      if (i === 0) continue // fills the page cache
      times.push(ms)
      rss.push(rssMib)
    }
    rmSync(dataDir, { recursive: true, force: true })
    emit('W12', 'first_message', median(times), 'ms', times.length)
    emit('W12', 'rss', median(rss), 'MiB', rss.length)
  },
}

const COLD_APP = `
version: "1.0"
namespace: cold
admin: { http: "off" }
entries:
  - name: host
    kind: process.host
    lifecycle: { auto_start: true }
  - name: receiver
    kind: process.lua
    source: |
      return function()
        print("first message: " .. process.inbox():receive():topic())
      end
  - name: sender
    kind: process.lua
    source: |
      return function()
        local pid = assert(process.spawn("cold:receiver", "cold:host"))
        process.send(pid, "hello")
        channel.new():receive()
      end
  - name: service
    kind: process.service
    process: cold:sender
    host: cold:host
    lifecycle: { auto_start: true }
`

/** From fork to the line that says the first actor has handled its first message. */
function coldStart(app) {
  return new Promise((resolve, reject) => {
    const start = performance.now()
    const child = spawn(
      process.execPath,
      [join(here, '../../dist/runtime/cli/main.js'), 'run', app, '--log-format', 'json'],
      {
        stdio: ['ignore', 'ignore', 'pipe'],
      },
    )
    let seen = ''
    let found
    child.stderr.on('data', (chunk) => {
      seen += chunk
      if (found !== undefined || !seen.includes('first message: hello')) return
      const status = readFileSync(`/proc/${child.pid}/status`, 'utf8')
      found = { ms: performance.now() - start, rssMib: Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024 }
      child.kill('SIGTERM')
    })
    child.on('exit', () => (found === undefined ? reject(new Error(`no first message:\n${seen}`)) : resolve(found)))
  })
}

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]

/** Each workload in a fresh process, one after the other. */
const inFreshProcess = (id) => inProcess(id, ['--expose-gc', fileURLToPath(import.meta.url), '--one', id])

async function inProcess(id, args) {
  const child = spawn(process.execPath, args, { stdio: 'inherit' })
  process.once('SIGTERM', () => child.kill('SIGTERM'))
  const code = await new Promise((resolve) => child.on('exit', resolve))
  if (code !== 0) throw new Error(`${id} ended with ${code}`)
}

const args = process.argv.slice(2)
if (args[0] === '--one') await WORKLOADS[args[1]]()
else {
  const wanted = args.filter((arg) => /^W\d+$/.test(arg))
  for (const id of wanted.length === 0 ? ALL : ALL.filter((known) => wanted.includes(known))) {
    await inFreshProcess(id)
    if (id === 'W3') await inFreshProcess('W3M')
  }
}
