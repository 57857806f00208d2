// W9: process groups over three nodes on loopback, with Lua actors: 10,000 joins until all nodes see them, broadcasts to 1,000 members. One
// JSON line a figure, as moonmesh.mjs.
// usage: node w9.mjs      node w9.mjs --partner NAME [ADDRESS]: another node, which joins through that gossip address

import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { HOST, onLoopback, processEntries, startNode } from './lua-node.mjs'

const here = dirname(fileURLToPath(import.meta.url))
const self = fileURLToPath(import.meta.url)
const NODES = ['a', 'b', 'c']
const CROWD = 10_000
const HALL = 1_000
const SINGLE = 20
const ROUNDS = 200
const LINKED_MS_MAX = 30_000

async function startMember(name, join) {
  const source = readFileSync(`${here}/w9.lua`, 'utf8')
  const methods = [...source.matchAll(/^ {4}(\w+) = \1,$/gm)].map((match) => match[1])
  const entries = [
    { id: 'bench:groups', kind: 'pg.scope', lifecycle: { auto_start: true } },
    ...processEntries('bench', { source, methods, modules: ['time', 'pg'] }),
  ]
  const settings = [...onLoopback(join), 'cluster.membership.gossip_interval=50ms']
  return (await startNode(name, { entries, settings })).node
}

const emit = (metric, value, unit, n) =>
  process.stdout.write(
    `${JSON.stringify({ workload: 'W9', peer: 'moonmesh', metric, value: Number(value.toPrecision(6)), unit, n })}\n`,
  )

/** Starts it and waits for its gossip address. */
async function partner(name, join) {
  const child = spawn(process.execPath, [self, '--partner', name, ...(join === undefined ? [] : [join])], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  process.on('exit', () => child.kill('SIGKILL'))
  const address = await new Promise((resolve) => createInterface({ input: child.stdout }).once('line', resolve))
  return { child, address }
}

async function linked(node, name) {
  const deadlineMs = performance.now() + LINKED_MS_MAX
  for (;;) {
    try {
      await node.spawn('bench:joiner', { host: `${name}@${HOST}` })
      return
    } catch (error) {
      if (performance.now() > deadlineMs) throw error
      await new Promise((next) => setTimeout(next, 50))
    }
  }
}

if (process.argv[2] === '--partner') {
  const node = await startMember(process.argv[3], process.argv[4])
  process.stdout.write(`${node.cluster.gossipAddress}\n`)
  // Whoever started it is gone.
  process.stdin.on('end', () => process.exit(0)).resume()
} else {
  const b = await partner('b')
  const c = await partner('c', b.address)
  const node = await startMember('a', b.address)
  for (const name of ['b', 'c']) await linked(node, name)
  const options = { host: HOST, args: [NODES, CROWD, HALL, SINGLE, ROUNDS] }
  const { join, all_acked: acked, deliveries } = await node.exec('bench:main', options)
  const median = [...acked].sort((x, y) => x - y)[Math.floor(acked.length / 2)]
  emit('joins', CROWD / join, '1/s', CROWD)
  emit('join_all_seen', join * 1000, 'ms', CROWD)
  emit('broadcast_all_acked', median * 1000, 'ms', acked.length)
  emit('deliveries', (HALL * ROUNDS) / deliveries, '1/s', HALL * ROUNDS)
  for (const { child } of [b, c]) child.stdin.end()
  process.exit(0)
}
