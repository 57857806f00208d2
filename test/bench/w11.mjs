// W11: twenty members, twenty processes, loopback. Join, idle cost, detection of a kill. One JSON line a figure, as moonmesh.mjs.
// usage: node w11.mjs      W11_N=20 W11_IDLE=60 (seconds) W11_SETTINGS=default,mesh (also serf-lan)
// Runs in a network namespace of its own where the kernel allows it, so that only its bytes are counted; without one the byte figures are
// left out.

import { spawn, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const here = dirname(fileURLToPath(import.meta.url))
const COUNT = Number(process.env.W11_N ?? 20)
const IDLE_S = Number(process.env.W11_IDLE ?? 60)
const PROFILES = {
  default: ['moonmesh/gossip', 'gossip', {}],
  // With links between all, as real nodes have them.
  mesh: ['moonmesh', 'mesh', {}],
  // The intervals of serf's profile for local networks.
  'serf-lan': [
    'moonmesh/serf-lan-intervals',
    'gossip',
    { gossipIntervalMs: 200, pushPullIntervalMs: 30_000, probeTimeoutMs: 500, suspicionMult: 4, tcpTimeoutMs: 10_000 },
  ],
}
const VICTIMS = COUNT > 19 ? [7, 13, 19] : [COUNT - 1]
const SETTLE_MS = 10_000
const GIVE_UP_MS = 60_000
const BASE_PORT = 20_000 + (process.pid % 200) * 100

const now = () => performance.now()
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]
const emit = (peer, metric, value, unit, n) =>
  process.stdout.write(
    `${JSON.stringify({ workload: 'W11', peer, metric, value: Number(value.toPrecision(6)), unit, n })}\n`,
  )

async function inOwnNetwork() {
  if (process.env.BENCH_NETNS) return true
  if (spawnSync('unshare', ['-n', 'ip', 'link', 'set', 'lo', 'up'], { stdio: 'ignore' }).status !== 0) return false
  const command = ['-n', 'sh', '-c', 'ip link set lo up && exec "$0" "$@"', process.execPath, ...process.argv.slice(1)]
  const inner = spawn('unshare', command, { stdio: 'inherit', env: { ...process.env, BENCH_NETNS: '1' } })
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => inner.kill('SIGTERM'))
  process.exit(await new Promise((resolve) => inner.on('exit', (code) => resolve(code ?? 1))))
}

const HZ = 100
const cpuSeconds = (pid) => {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ')
  return (Number(fields[11]) + Number(fields[12])) / HZ
}
const residentMib = (pid) => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024
const carried = () => {
  const fields = /^\s*lo:\s*(.*)$/m.exec(readFileSync('/proc/net/dev', 'utf8'))[1].trim().split(/\s+/).map(Number)
  return { bytes: fields[8], packets: fields[9] }
}

const children = new Set()
const endAll = () => {
  for (const child of children) child.kill('SIGKILL')
}
process.on('exit', endAll)
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(130))

/** A member that is up alone. */
async function start(i, parts, settings) {
  const member = { name: `n${i}`, port: BASE_PORT + i, joined: new Map(), gone: new Map(), isAlive: true }
  const script = join(here, 'w11-node.mjs')
  const child = spawn(process.execPath, [script, member.name, String(member.port), parts, JSON.stringify(settings)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  children.add(child)
  child.on('exit', () => children.delete(child))
  member.child = child
  await new Promise((resolve, reject) => {
    child.on('exit', (code) => reject(new Error(`${member.name} ended with ${code}`)))
    createInterface({ input: child.stdout }).on('line', (line) => {
      const [what, who] = line.split(' ')
      if (what === 'ready') resolve()
      else if (what === 'joined') member.joined.set(who, now())
      else if (what === 'dead') member.gone.set(who, now())
    })
  })
  return member
}

async function run(peer, parts, settings, isAlone) {
  const members = []
  for (let i = 0; i < COUNT; i += 4) {
    const batch = Array.from({ length: Math.min(4, COUNT - i) }, (_, j) => start(i + j, parts, settings))
    members.push(...(await Promise.all(batch)))
  }
  await sleep(1000)

  const startMs = now()
  for (const { child } of members.slice(1)) child.stdin.write(`${JSON.stringify({ join: members[0].port })}\n`)
  const isMissing = () => members.some(({ joined }) => joined.size < COUNT - 1)
  while (isMissing() && now() - startMs < GIVE_UP_MS) await sleep(2)
  if (isMissing()) throw new Error(`${peer}: not all see all`)
  emit(
    peer,
    'join_all_see_all',
    Math.max(...members.flatMap(({ joined }) => [...joined.values()])) - startMs,
    'ms',
    COUNT,
  )

  await sleep(SETTLE_MS)
  const pids = members.map(({ child }) => child.pid)
  const [cpu, before, idleMs] = [pids.map(cpuSeconds), carried(), now()]
  await sleep(IDLE_S * 1000)
  const [after, tookS] = [carried(), (now() - idleMs) / 1000]
  const used = pids.reduce((sum, pid, i) => sum + cpuSeconds(pid) - cpu[i], 0)
  emit(peer, 'idle_cpu_per_member', (100 * used) / COUNT / tookS, '%', COUNT)
  if (isAlone) {
    emit(peer, 'idle_bytes_per_member', (after.bytes - before.bytes) / COUNT / tookS, 'B/s', COUNT)
    emit(peer, 'idle_packets_per_member', (after.packets - before.packets) / COUNT / tookS, '1/s', COUNT)
  }
  emit(peer, 'rss_per_member', median(pids.map(residentMib)), 'MiB', COUNT)

  const [first, last] = [[], []]
  for (const i of VICTIMS) {
    const victim = members[i]
    const killMs = now()
    victim.child.kill('SIGKILL')
    victim.isAlive = false
    const others = members.filter(({ isAlive }) => isAlive)
    const isUnseen = () => others.some(({ gone }) => !gone.has(victim.name))
    while (isUnseen() && now() - killMs < GIVE_UP_MS) await sleep(5)
    const took = others.map(({ gone }) => (gone.get(victim.name) ?? Number.POSITIVE_INFINITY) - killMs)
    first.push(Math.min(...took))
    last.push(Math.max(...took))
    await sleep(3000)
  }
  emit(peer, 'kill_first_marks_failed', median(first), 'ms', first.length)
  emit(peer, 'kill_all_mark_failed', median(last), 'ms', last.length)
  const wrong = members.flatMap(({ gone }) => [...gone.keys()]).filter((name) => members[Number(name.slice(1))].isAlive)
  if (wrong.length > 0) process.stderr.write(`# ${peer}: live members were called dead: ${wrong.join(' ')}\n`)
  endAll()
  while (children.size > 0) await sleep(10)
}

const isAlone = await inOwnNetwork()
for (const id of (process.env.W11_SETTINGS ?? 'default,mesh').split(',')) await run(...PROFILES[id], isAlone)
process.exit(0)
