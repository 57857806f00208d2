// What an idle leader costs by the number of followers: processor time of its process in groups of 3 and of 9, and for each follower.
// usage: node raft-idle.mjs      RAFT_IDLE_S=30 RAFT_IDLE_SIZES=3,9

import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const member = join(dirname(fileURLToPath(import.meta.url)), '../tools/raft-node.mjs')
const dir = mkdtempSync(join(tmpdir(), 'moonmesh-idle-'))
const SECONDS = Number(process.env.RAFT_IDLE_S ?? 30)
const SIZES = (process.env.RAFT_IDLE_SIZES ?? '3,9').split(',').map(Number)
const READY_MS_MAX = 60_000
const SETTLE_MS = 5000
const children = new Set()
process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL')
  rmSync(dir, { recursive: true, force: true })
})
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(130))

async function start(name, settings) {
  const child = spawn(process.execPath, [member, name, join(dir, name), JSON.stringify(settings)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  children.add(child)
  child.on('exit', () => children.delete(child))
  const waiting = new Map()
  let asked = 0
  const greeting = await new Promise((resolve) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      const said = JSON.parse(line)
      if (said.id === undefined) resolve(said)
      else waiting.get(said.id)?.(said)
    })
  })
  const ask = (what, args = {}) =>
    new Promise((resolve) => {
      const id = ++asked
      waiting.set(id, resolve)
      child.stdin.write(`${JSON.stringify({ id, do: what, ...args })}\n`)
    })
  return { name, child, ask, ...greeting }
}

async function until(what, isSo) {
  const deadlineMs = performance.now() + READY_MS_MAX
  while (!(await isSo())) {
    if (performance.now() > deadlineMs) throw new Error(`not within ${READY_MS_MAX} ms: ${what}`)
    await new Promise((next) => setTimeout(next, 200))
  }
}

const cpuMs = async ({ ask }) => {
  const { cpu } = await ask('cpu')
  return (cpu.user + cpu.system) / 1000
}

/** @returns milliseconds of processor time a second, of the leader and of a follower */
async function measure(size) {
  const raft = { max_voters: size }
  const members = []
  for (let i = 0; i < size; i++) members.push(await start(`s${size}-${i}`, { raft }))
  for (const each of members.slice(1)) await each.ask('join', { to: members[0].gossip })
  const statuses = () => Promise.all(members.map((each) => each.ask('status')))
  await until('links', async () => (await statuses()).every(({ linked }) => linked.length === size - 1))
  const voters = members.map(({ self }) => self)
  const formation = Buffer.alloc(16, size).toString('hex')
  for (const each of members) await each.ask('form', { formation, voters })
  let leader
  await until('a leader', async () => {
    leader = members[(await statuses()).findIndex(({ isReady }) => isReady)]
    return leader !== undefined
  })
  await new Promise((next) => setTimeout(next, SETTLE_MS))
  const follower = members.find((each) => each !== leader)
  const before = [await cpuMs(leader), await cpuMs(follower), performance.now()]
  await new Promise((next) => setTimeout(next, SECONDS * 1000))
  const seconds = (performance.now() - before[2]) / 1000
  const used = [(await cpuMs(leader)) - before[0], (await cpuMs(follower)) - before[1]].map((ms) => ms / seconds)
  for (const { child } of members) child.kill('SIGKILL')
  await until('the end', () => children.size === 0)
  return { leader: used[0], follower: used[1] }
}

const emit = (metric, value, size) =>
  process.stdout.write(
    `${JSON.stringify({ workload: 'raft-idle', peer: 'moonmesh', metric, value: Number(value.toPrecision(4)), unit: 'ms/s', n: size })}\n`,
  )

for (const size of SIZES) {
  const { leader, follower } = await measure(size)
  emit('leader_cpu', leader, size)
  emit('follower_cpu', follower, size)
  // What it costs beyond being a member, which grows with gossip and links as in any node.
  emit('leader_cpu_per_follower', (leader - follower) / (size - 1), size)
}
process.exit(0)
