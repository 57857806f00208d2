// Three nodes with Lua actors in three processes on loopback, one group; this process is the leader.
// A program that uses it calls `threeNodes` at its end and is started again for each of the other two: node PROGRAM --partner NAME ADDRESS

import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { HOST, onLoopback, startNode } from './lua-node.mjs'

const READY_MS_MAX = 60_000

async function startMember(entries, name, address) {
  const settings = [
    ...onLoopback(address),
    'cluster.membership.gossip_interval=50ms',
    'cluster.raft.bootstrap_expect=3',
    'cluster.raft.bootstrap_stability=1s',
  ]
  const { node, dataDir } = await startNode(name, { entries, settings, admin: true })
  return { node, adminSocket: join(dataDir, name, 'admin.sock') }
}

async function until(what, isSo) {
  const deadlineMs = performance.now() + READY_MS_MAX
  while (!(await isSo())) {
    if (performance.now() > deadlineMs) throw new Error(`not within ${READY_MS_MAX} ms: ${what}`)
    await new Promise((next) => setTimeout(next, 100))
  }
}

async function partner(entries, name, address) {
  const { node } = await startMember(entries, name, address)
  // What it is told is the server that is to lead.
  createInterface({ input: process.stdin })
    .on('line', (to) => node.cluster.consensus.transfer(to).catch(() => {}))
    .on('close', () => process.exit(0))
  process.stdout.write('ready\n')
}

/** A line of figures for a workload. */
export const emitter = (workload) => (metric, value, unit, n) =>
  process.stdout.write(
    `${JSON.stringify({ workload, peer: 'moonmesh', metric, value: Number(value.toPrecision(6)), unit, n })}\n`,
  )

/**
 * Runs `work(run, { adminSocket })` once node a leads b and c; `run(entry, ...args)` executes an entry in a process on a. Ends the program.
 * @param program the file that is run, which calls this in the partners too
 */
export async function threeNodes({ program, entries, work }) {
  if (process.argv[2] === '--partner') return partner(entries, process.argv[3], process.argv[4])
  const { node, adminSocket } = await startMember(entries, 'a')
  const partners = []
  for (const name of ['b', 'c']) {
    const child = spawn(process.execPath, [program, '--partner', name, node.cluster.gossipAddress], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    process.on('exit', () => child.kill('SIGKILL'))
    await new Promise((resolve) => createInterface({ input: child.stdout }).once('line', resolve))
    partners.push(child)
  }
  const { consensus } = node.cluster
  await until('a group of three', () => consensus.status().configuration.configuration.voters.length === 3)
  await until('the leader is here', () => {
    if (consensus.status().isReady) return true
    for (const { stdin } of partners) stdin.write(`${consensus.self}\n`)
    return false
  })
  await work((entry, ...args) => node.exec(entry, { host: HOST, args }), { adminSocket })
  process.exit(0)
}
