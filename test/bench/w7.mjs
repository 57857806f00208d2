// W7: three members, three processes, every write on the disks of a majority before it is answered; the load runs in the leader's process.
// usage: node w7.mjs      BENCH_TMP=DIR (a real disk), W7_FLAGS="--cpu-prof …" (of the members' Node.js)

import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const member = join(dirname(fileURLToPath(import.meta.url)), '../tools/raft-node.mjs')
const dir = mkdtempSync(join(process.env.BENCH_TMP ?? tmpdir(), 'moonmesh-w7-'))
const FORMATION = '00112233445566778899aabbccddeeff'
const READY_MS_MAX = 30_000
const children = []
process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL')
  rmSync(dir, { recursive: true, force: true })
})
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(130))

/** A member that listens. Lines that are figures pass through. */
async function start(name) {
  const flags = (process.env.W7_FLAGS ?? '').split(' ').filter((flag) => flag !== '')
  const child = spawn(process.execPath, [...flags, member, name, join(dir, name)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  children.push(child)
  const waiting = new Map()
  let asked = 0
  const greeting = await new Promise((resolve, reject) => {
    child.on('exit', (code) => reject(new Error(`${name} ended with ${code}`)))
    createInterface({ input: child.stdout }).on('line', (line) => {
      const said = JSON.parse(line)
      if (said.workload !== undefined) process.stdout.write(`${line}\n`)
      else if (said.id === undefined) resolve(said)
      else waiting.get(said.id)?.(said)
    })
  })
  const ask = async (what, args = {}) => {
    const id = ++asked
    child.stdin.write(`${JSON.stringify({ id, do: what, ...args })}\n`)
    const answer = await new Promise((resolve) => waiting.set(id, resolve))
    waiting.delete(id)
    if (!answer.ok) throw new Error(`${name}: ${what}: ${answer.message}`)
    return answer
  }
  return { name, child, ask, ...greeting }
}

async function until(what, isSo) {
  const deadlineMs = performance.now() + READY_MS_MAX
  while (!(await isSo())) {
    if (performance.now() > deadlineMs) throw new Error(`not within ${READY_MS_MAX} ms: ${what}`)
    await new Promise((next) => setTimeout(next, 50))
  }
}

const rssMib = (pid) => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024

const members = await Promise.all(['a', 'b', 'c'].map(start))
for (const each of members.slice(1)) await each.ask('join', { to: members[0].gossip })
const statuses = () => Promise.all(members.map((each) => each.ask('status')))
await until('links between all', async () => (await statuses()).every(({ linked }) => linked.length === 2))
const voters = members.map(({ self }) => self)
for (const each of members) await each.ask('form', { formation: FORMATION, voters })
let leader
await until('a leader', async () => {
  leader = members[(await statuses()).findIndex(({ isReady }) => isReady)]
  return leader !== undefined
})
await new Promise((next) => setTimeout(next, 1000))
await leader.ask('bench', { peer: 'moonmesh' })
const followers = members.filter((each) => each !== leader)
const rss = followers.map(({ child }) => rssMib(child.pid))
process.stdout.write(
  `${JSON.stringify({ workload: 'W7', peer: 'moonmesh', metric: 'rss_per_member', value: Number(((rss[0] + rss[1]) / 2).toPrecision(6)), unit: 'MiB', n: 2 })}\n`,
)
await Promise.all(
  members.map(({ child }) => {
    const ended = new Promise((resolve) => child.on('exit', resolve))
    child.stdin.end()
    return ended
  }),
)
process.exit(0)
