// W6: two nodes, two processes, loopback: ping-pong and one-way messages of 100 bytes, with TypeScript actors and with Lua actors. One JSON
// line a figure, as moonmesh.mjs.
// usage: node w6.mjs [ts lua]      node w6.mjs --partner PORT-OF-GOSSIP: the other node

import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { defineActor } from '../../dist/runtime/index.js'
import { HOST, onLoopback, processEntries, startNode } from './lua-node.mjs'

const here = dirname(fileURLToPath(import.meta.url))
const ROUNDS = 20_000
const WARM_ROUNDS = 2_000
const COUNT = 200_000
const PAYLOAD = 'x'.repeat(100)
const LINKED_MS_MAX = 30_000

const echo = defineActor('echo', async (self) => {
  for await (const { from, value } of self.inbox) await self.send(from, 'pong', value)
})

/** Answers once for every so many messages. */
const sink = defineActor('sink', async (self, count) => {
  let left = count
  for await (const { from } of self.inbox) {
    if (--left > 0) continue
    left = count
    await self.send(from, 'all')
  }
})

/** @returns how long each round trip took, in microseconds */
const pingPong = defineActor('ping-pong', async (self, partner, warm, rounds) => {
  const pid = await self.spawn('actor:echo', { host: `${partner}@system:actors` })
  const times = new Array(rounds)
  const round = async () => {
    await self.send(pid, 'ping', PAYLOAD)
    await self.inbox.receive()
  }
  for (let i = 0; i < warm; i++) await round()
  for (let i = 0; i < rounds; i++) {
    const startMs = performance.now()
    await round()
    times[i] = (performance.now() - startMs) * 1000
  }
  await self.terminate(pid)
  return times
})

/** @returns seconds for `count` messages until the answer to the last one is back, the second time */
const oneWay = defineActor('one-way', async (self, partner, count) => {
  const pid = await self.spawn('actor:sink', { host: `${partner}@system:actors`, args: [count] })
  let took = 0
  for (let time = 0; time < 2; time++) {
    const startMs = performance.now()
    for (let i = 0; i < count; i++) await self.send(pid, 'item', PAYLOAD)
    await self.inbox.receive()
    took = (performance.now() - startMs) / 1000
  }
  await self.terminate(pid)
  return took
})

async function startMember(name, join) {
  const source = readFileSync(`${here}/w6.lua`, 'utf8')
  const methods = ['echo', 'sink', 'ping_pong', 'one_way']
  const entries = processEntries('bench', { source, methods, modules: ['time'] })
  const settings = [...onLoopback(join), 'cluster.membership.gossip_interval=50ms']
  return (await startNode(name, { entries, settings, actors: [echo, sink, pingPong, oneWay] })).node
}

const emit = (peer, metric, value, unit, n) =>
  process.stdout.write(
    `${JSON.stringify({ workload: 'W6', peer, metric, value: Number(value.toPrecision(6)), unit, n })}\n`,
  )

const LANGUAGES = {
  ts: {
    peer: 'moonmesh',
    pingPong: (node) => node.exec(pingPong, { args: ['b', WARM_ROUNDS, ROUNDS] }),
    oneWay: (node) => node.exec(oneWay, { args: ['b', COUNT] }),
  },
  lua: {
    peer: 'moonmesh/lua',
    pingPong: (node) => node.exec('bench:ping_pong', { host: HOST, args: ['b', WARM_ROUNDS, ROUNDS] }),
    oneWay: (node) => node.exec('bench:one_way', { host: HOST, args: ['b', COUNT] }),
  },
}

async function linked(node) {
  const deadlineMs = performance.now() + LINKED_MS_MAX
  for (;;) {
    try {
      await node.spawn('bench:echo', { host: `b@${HOST}` })
      return
    } catch (error) {
      if (performance.now() > deadlineMs) throw error
      await new Promise((next) => setTimeout(next, 50))
    }
  }
}

async function measure(languages) {
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url), '--partner'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  process.on('exit', () => child.kill('SIGKILL'))
  const [address] = await new Promise((resolve) =>
    createInterface({ input: child.stdout }).once('line', (line) => resolve([line])),
  )
  const node = await startMember('a', address)
  await linked(node)
  for (const language of languages) {
    const { peer, ...run } = LANGUAGES[language]
    const times = [...(await run.pingPong(node))].sort((x, y) => x - y)
    emit(peer, 'round_trips', (1e6 * times.length) / times.reduce((sum, time) => sum + time, 0), '1/s', times.length)
    emit(peer, 'round_trip_p50', times[Math.floor(times.length / 2)], 'us', times.length)
    emit(peer, 'round_trip_p99', times[Math.floor(times.length * 0.99)], 'us', times.length)
    emit(peer, 'one_way_messages', COUNT / (await run.oneWay(node)), '1/s', COUNT)
  }
  child.stdin.end()
  process.exit(0)
}

if (process.argv[2] === '--partner') {
  const node = await startMember('b')
  process.stdout.write(`${node.cluster.gossipAddress}\n`)
  // Whoever started it is gone.
  process.stdin.on('end', () => process.exit(0)).resume()
} else {
  const languages = process.argv.slice(2).filter((each) => each in LANGUAGES)
  await measure(languages.length === 0 ? Object.keys(LANGUAGES) : languages)
}
