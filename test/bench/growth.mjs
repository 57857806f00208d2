// What more of something costs: processes of one node; names and memberships, as a node sees them that is outside the group and has none of its
// own; nodes, real ones and simulated ones. One JSON line a figure: {subject, size, metric, value, unit}.
// usage: node --expose-gc growth.mjs [processes names members nodes gossip leading]
//        GROWTH_SIZES=100,1000 (of processes, names, members), GROWTH_NODES=3,12 (real), GROWTH_GOSSIP=3,30 GROWTH_LEADING=3,30 (simulated)

import { spawn, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { HOST, onLoopback, processEntries, startNode } from './lua-node.mjs'

const self = fileURLToPath(import.meta.url)
const here = dirname(self)
const GROUPS = 100
/** Names, or memberships, before anything is measured. */
const WARM = 100
const READY_MS_MAX = 120_000
const sizes = (variable, usual) => (process.env[variable] ?? usual).split(',').map(Number)
/** Of what has been warmed up with `WARM` of it. */
const sizesBeyond = () => sizes('GROWTH_SIZES', '1000,10000,100000').filter((size) => size > WARM)

const emit = (subject, size, metric, value, unit) =>
  process.stdout.write(`${JSON.stringify({ subject, size, metric, value: Number(value.toPrecision(4)), unit })}\n`)

function heapBytes() {
  for (let i = 0; i < 4; i++) globalThis.gc()
  return process.memoryUsage().heapUsed
}

/** A node whose processes run on the main thread, so that one heap holds all there is. */
async function start(name, settings) {
  const source = readFileSync(join(here, 'growth.lua'), 'utf8')
  const methods = ['waiting', 'processes', 'elsewhere', 'remote', 'joiner', 'lookups', 'listing']
  const entries = [
    { id: 'bench:groups', kind: 'pg.scope', lifecycle: { auto_start: true } },
    ...processEntries('bench', { source, methods, modules: ['pg', 'time'] }),
  ]
  return (await startNode(name, { entries, settings, host: { workers: 0 } })).node
}

const run = (node, method, ...args) => node.exec(`bench:${method}`, { host: HOST, args })

async function processes() {
  const node = await start('one', [])
  await run(node, 'processes', 50)
  const before = heapBytes()
  let live = 0
  for (const size of sizes('GROWTH_SIZES', '100,1000,10000,100000')) {
    const seconds = await run(node, 'processes', size - live)
    emit('processes', size, 'spawned, spoken to and answered', (size - live) / seconds, '1/s')
    live = size
    emit('processes', size, 'heap of each', (heapBytes() - before) / size, 'B')
  }
}

const clustered = (address) => [...onLoopback(address), 'cluster.raft.bootstrap_stability=1s']

/** Three servers in programs of their own, and a client here. */
async function client() {
  let address
  for (const name of ['a', 'b', 'c']) {
    const args = [self, '--server', name, ...(address === undefined ? [] : [address])]
    const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] })
    process.on('exit', () => child.kill('SIGKILL'))
    const greeting = await new Promise((resolve) => createInterface({ input: child.stdout }).once('line', resolve))
    address ??= greeting
  }
  const node = await start('d', [...clustered(address), 'cluster.raft.role=client'])
  const deadlineMs = performance.now() + READY_MS_MAX
  for (;;) {
    try {
      await run(node, 'elsewhere', 'a', 'names', 'CONSISTENT', 0, 0)
      return node
    } catch (error) {
      if (performance.now() > deadlineMs) throw error
      await new Promise((next) => setTimeout(next, 500))
    }
  }
}

async function names() {
  const node = await client()
  let known = WARM
  await run(node, 'elsewhere', 'a', 'names', 'CONSISTENT', 1, known)
  await run(node, 'lookups', known, 10_000)
  const before = heapBytes()
  for (const size of sizesBeyond()) {
    const seconds = await run(node, 'elsewhere', 'a', 'names', 'CONSISTENT', known + 1, size)
    emit('names', size, 'registered, 64 at a time', (size - known) / seconds, '1/s')
    known = size
    const count = 200_000
    emit('names', size, 'lookups on a client', count / (await run(node, 'lookups', size, count)), '1/s')
    emit('names', size, 'heap of each on a client', (heapBytes() - before) / (size - WARM), 'B')
  }
}

async function members() {
  const node = await client()
  let joined = WARM
  await run(node, 'elsewhere', 'a', 'members', joined / GROUPS, GROUPS)
  await run(node, 'listing', GROUPS, joined / GROUPS)
  const before = heapBytes()
  for (const size of sizesBeyond()) {
    const [from, more] = [performance.now(), (size - joined) / GROUPS]
    await run(node, 'elsewhere', 'a', 'members', more, GROUPS)
    joined = size
    const listed = await run(node, 'listing', GROUPS, size / GROUPS)
    emit('members', size, 'joined and seen on a client', (more * GROUPS * 1000) / (performance.now() - from), '1/s')
    emit('members', size, 'listed on a client', size / listed, '1/s')
    emit('members', size, 'heap of each on a client', (heapBytes() - before) / (size - WARM), 'B')
  }
}

/** Of real nodes at rest. */
async function nodes() {
  const env = { ...process.env, CLUSTER_IDLE_SIZES: sizes('GROWTH_NODES', '3,12,30').join(',') }
  const { status, stdout } = spawnSync(process.execPath, [join(here, 'cluster-idle.mjs')], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
    encoding: 'utf8',
  })
  for (const line of stdout.split('\n').filter((each) => each.startsWith('{'))) {
    const { n, metric, value, unit } = JSON.parse(line)
    emit('nodes at rest', n, metric.replaceAll('_', ' '), value, unit)
  }
  if (status !== 0) throw new Error(`cluster-idle ended with ${status}`)
}

/** @returns what `npm run sim` says */
function simulated(...options) {
  const args = ['run', '--silent', 'sim', '--', '--figures', ...options]
  const { status, stdout } = spawnSync('npm', args, { stdio: ['ignore', 'pipe', 'inherit'], encoding: 'utf8' })
  if (status !== 0) throw new Error(`the simulator ended with ${status}`)
  return stdout
}

async function gossip() {
  for (const size of sizes('GROWTH_GOSSIP', '3,30,300')) {
    const said = simulated('--nodes', String(size))
    const [, joinS] = /all after ([\d.]+) s/.exec(said)
    const [, packets, bytes, exchanges] = /second: ([\d.]+) datagrams, ([\d.]+) bytes[^,]*, ([\d.]+) exchanges/.exec(
      said,
    )
    const [, deathS] = /known to all ([\d.]+) s/.exec(said)
    emit('nodes in the simulator', size, 'all see all, started together', Number(joinS), 's')
    emit('nodes in the simulator', size, 'all know of a crash, median', Number(deathS), 's')
    emit('nodes in the simulator', size, 'datagrams of each', Number(packets), '1/s')
    emit('nodes in the simulator', size, 'bytes of each', Number(bytes), 'B/s')
    emit('nodes in the simulator', size, 'exchanges of state of each', Number(exchanges), '1/s')
  }
}

/** What the leader has of others that rest: five servers vote, the rest are clients. */
async function leading() {
  for (const size of sizes('GROWTH_LEADING', '3,30,300')) {
    const said = simulated('--protocol', 'state', '--nodes', String(size))
    const [, renewals, received, sent, consensus] =
      /second: ([\d.]+) sessions renewed, ([\d.]+) messages of nodes received, ([\d.]+) sent to them, ([\d.]+) of consensus/.exec(
        said,
      )
    emit('the leader of nodes in the simulator', size, 'sessions renewed', Number(renewals), '1/s')
    emit('the leader of nodes in the simulator', size, 'messages of nodes', Number(received), '1/s')
    emit('the leader of nodes in the simulator', size, 'messages to nodes', Number(sent), '1/s')
    emit('the leader of nodes in the simulator', size, 'messages of consensus sent', Number(consensus), '1/s')
  }
}

const PARTS = { processes, names, members, nodes, gossip, leading }

if (process.argv[2] === '--server') {
  const [name, address] = process.argv.slice(3)
  const node = await start(name, [...clustered(address), 'cluster.raft.bootstrap_expect=3'])
  process.stdout.write(`${node.cluster.gossipAddress}\n`)
  process.stdin.on('end', () => process.exit(0)).resume()
} else if (process.argv[2] === '--part') {
  await PARTS[process.argv[3]]()
  process.exit(0)
} else {
  // Each in a fresh process.
  const wanted = process.argv.slice(2).filter((each) => each in PARTS)
  for (const part of wanted.length === 0 ? Object.keys(PARTS) : wanted) {
    const { status } = spawnSync(process.execPath, ['--expose-gc', self, '--part', part], { stdio: 'inherit' })
    if (status !== 0) process.exitCode = 1
  }
}
