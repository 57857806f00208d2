// What leading costs in an idle cluster that has founded itself, by the number of its nodes: processor time, and bytes of consensus and of all
// else, of the leader and of a client or standby beside it.
// usage: node cluster-idle.mjs      CLUSTER_IDLE_S=30 CLUSTER_IDLE_SIZES=3,12,30

import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const script = join(dirname(fileURLToPath(import.meta.url)), '../tools/raft-node.mjs')
const dir = mkdtempSync(join(tmpdir(), 'moonmesh-idle-'))
const SECONDS = Number(process.env.CLUSTER_IDLE_S ?? 30)
const SIZES = (process.env.CLUSTER_IDLE_SIZES ?? '3,12,30').split(',').map(Number)
const FOUNDERS = 3
const [VOTERS, STANDBYS] = [5, 4]
const READY_MS_MAX = 600_000
/** At a time: a small machine is busy enough with that. */
const STARTS = 3
const children = new Set()
process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL')
  rmSync(dir, { recursive: true, force: true })
})
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(130))

async function start(name, settings) {
  const args = [script, name, join(dir, name), JSON.stringify(settings)]
  const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  children.add(child)
  child.on('exit', () => children.delete(child))
  const waiting = new Map()
  let asked = 0
  const greeting = await new Promise((resolve) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      const said = JSON.parse(line)
      if (said.id === undefined) return resolve(said)
      waiting.get(said.id)?.(said)
      waiting.delete(said.id)
    })
  })
  const ask = (what) =>
    new Promise((resolve) => {
      const id = ++asked
      waiting.set(id, resolve)
      child.stdin.write(`${JSON.stringify({ id, do: what })}\n`)
    })
  return { name, child, ask, ...greeting }
}

async function until(what, isSo) {
  const deadlineMs = performance.now() + READY_MS_MAX
  while (!(await isSo())) {
    if (performance.now() > deadlineMs) throw new Error(`not within ${READY_MS_MAX} ms: ${what}`)
    await new Promise((next) => setTimeout(next, 500))
  }
}

async function usage({ ask }) {
  const { cpu, raftBytes, otherBytes } = await ask('traffic')
  return { cpuMs: (cpu.user + cpu.system) / 1000, raftBytes, otherBytes }
}

async function measure(size) {
  const seeds = []
  const nodes = []
  const begin = async (i) => {
    const raft = { bootstrap_expect: i < FOUNDERS ? FOUNDERS : 0, bootstrap_stability: '1s' }
    const membership = { join_addrs: seeds.join(',') }
    const node = await start(`n${size}-${i}`, { raft, membership })
    nodes.push(node)
    if (seeds.length < FOUNDERS) seeds.push(node.gossip)
  }
  await begin(0)
  for (let i = 1; i < size; i += STARTS) {
    await Promise.all(Array.from({ length: Math.min(STARTS, size - i) }, (_, k) => begin(i + k)))
  }
  const voters = Math.min(VOTERS, size)
  const standbys = Math.min(STANDBYS, size - voters)
  const settled = () =>
    until(`${voters} voters and ${standbys} standbys of ${size}`, async () => {
      const statuses = await Promise.all(nodes.map(({ ask }) => ask('status')))
      const { configuration } = statuses.find(({ isReady }) => isReady)?.configuration ?? {}
      return configuration?.voters.length === voters && configuration.standbys.length === standbys
    })
  let used
  while (used === undefined) {
    await settled()
    // Everybody has told everybody.
    await new Promise((next) => setTimeout(next, 10_000))
    used = await idle(nodes)
  }
  const gone = nodes.map(({ child }) => new Promise((resolve) => child.once('exit', resolve)))
  for (const { child } of nodes) child.kill('SIGKILL')
  await Promise.all(gone)
  return { leader: used[0], other: used[1] }
}

/** What the leader and another used in a second; undefined when leadership changed meanwhile, as it does on a machine that is too busy. */
async function idle(nodes) {
  const statuses = await Promise.all(nodes.map(({ ask }) => ask('status')))
  const leader = nodes[statuses.findIndex(({ isReady }) => isReady)]
  if (leader === undefined) return undefined
  const { term } = await leader.ask('status')
  const rank = { leader: 3, voter: 2, standby: 1, none: 0 }
  const [other] = [...nodes].sort(
    (a, b) => rank[statuses[nodes.indexOf(a)].role] - rank[statuses[nodes.indexOf(b)].role],
  )
  const before = [await usage(leader), await usage(other), performance.now()]
  await new Promise((next) => setTimeout(next, SECONDS * 1000))
  const seconds = (performance.now() - before[2]) / 1000
  const used = []
  for (const [at, node] of [leader, other].entries()) {
    const now = await usage(node)
    used.push(Object.fromEntries(Object.entries(now).map(([key, value]) => [key, (value - before[at][key]) / seconds])))
  }
  const after = await leader.ask('status')
  return after.isReady && after.term === term ? used : undefined
}

const emit = (metric, value, unit, size) => {
  const row = { workload: 'cluster-idle', peer: 'moonmesh', metric, value: Number(value.toPrecision(3)), unit, n: size }
  process.stdout.write(`${JSON.stringify(row)}\n`)
}

for (const size of SIZES) {
  const { leader, other } = await measure(size)
  emit('leader_cpu', leader.cpuMs, 'ms/s', size)
  emit('other_cpu', other.cpuMs, 'ms/s', size)
  emit('leader_cpu_beyond', leader.cpuMs - other.cpuMs, 'ms/s', size)
  emit('leader_raft_bytes', leader.raftBytes, 'B/s', size)
  emit('leader_other_bytes', leader.otherBytes, 'B/s', size)
  emit('other_other_bytes', other.otherBytes, 'B/s', size)
}
process.exit(0)
