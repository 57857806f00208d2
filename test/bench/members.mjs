// Members of a group, each in a process of its own (tools/raft-node.mjs), for benchmarks without actors. They and their data end with this program.

import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const script = join(dirname(fileURLToPath(import.meta.url)), '../tools/raft-node.mjs')
const dir = mkdtempSync(join(process.env.BENCH_TMP ?? tmpdir(), 'moonmesh-members-'))
const children = new Set()
process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL')
  rmSync(dir, { recursive: true, force: true })
})
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(130))

/**
 * A member that listens; lines of it that are figures pass through.
 * @param settings of `cluster`, over those of raft-node.mjs   @param flags of its Node.js
 * @returns `{ name, child, ask(what, args), … }` and what it said of itself; `ask` rejects what is refused
 */
export async function startMember(name, settings = {}, flags = []) {
  const args = [...flags, script, name, join(dir, name), JSON.stringify(settings)]
  const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  children.add(child)
  const waiting = new Map()
  let asked = 0
  const greeting = await new Promise((resolve, reject) => {
    child.on('exit', (code) => {
      children.delete(child)
      reject(new Error(`${name} ended with ${code}`))
    })
    createInterface({ input: child.stdout }).on('line', (line) => {
      const said = JSON.parse(line)
      if (said.workload !== undefined) process.stdout.write(`${line}\n`)
      else if (said.id === undefined) resolve(said)
      else waiting.get(said.id)?.(said)
    })
  })
  const ask = async (what, more = {}) => {
    const id = ++asked
    child.stdin.write(`${JSON.stringify({ id, do: what, ...more })}\n`)
    const answer = await new Promise((resolve) => waiting.set(id, resolve))
    waiting.delete(id)
    if (answer.ok === false) throw new Error(`${name}: ${what}: ${answer.message}`)
    return answer
  }
  return { name, child, ask, ...greeting }
}

/** Kills them and waits until they are gone. */
export async function endMembers(members) {
  const running = members.filter(({ child }) => children.has(child))
  const gone = running.map(({ child }) => new Promise((resolve) => child.once('exit', resolve)))
  for (const { child } of members) child.kill('SIGKILL')
  await Promise.all(gone)
}

/** Asks twenty times a second until it is so. @param isSo may be a promise */
export async function until(what, isSo, withinMs = 60_000) {
  const deadlineMs = performance.now() + withinMs
  while (!(await isSo())) {
    if (performance.now() > deadlineMs) throw new Error(`not within ${withinMs} ms: ${what}`)
    await new Promise((next) => setTimeout(next, 50))
  }
}

/** Makes them a group of voters. @returns the leader, once it leads */
export async function formGroup(members, formation) {
  for (const each of members.slice(1)) await each.ask('join', { to: members[0].gossip })
  const statuses = () => Promise.all(members.map((each) => each.ask('status')))
  await until('links', async () => (await statuses()).every(({ linked }) => linked.length === members.length - 1))
  const voters = members.map(({ self }) => self)
  for (const each of members) await each.ask('form', { formation, voters })
  let leader
  await until('a leader', async () => {
    leader = members[(await statuses()).findIndex(({ isReady }) => isReady)]
    return leader !== undefined
  })
  return leader
}
