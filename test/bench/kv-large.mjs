// A large data set in the versioned store: three real nodes on loopback, filled, restarted, joined by a fourth while writes go on.
// usage: npm run bench -- kv-large [--gib 2] [--value-kib 64] [--restored] [--only backup,join,restart] [--writers 16] [--keep]
// --restored: the data set is not written call by call but restored from a backup that is made for it      (needs about five times that on the disk of BENCH_TMP)
// --writers: clients that go on writing, one call after the other, while the standby joins
// Figures, one JSON line each: how fast it fills, resident memory of each node at its highest, the longest turns of its event loop,
// seconds of a snapshot, of a backup, of a restart, until a new standby has everything, and what the clients write before and meanwhile.

import { spawn } from 'node:child_process'
import { createWriteStream, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { emitter } from './three-nodes.mjs'

const MAIN = join(dirname(fileURLToPath(import.meta.url)), '../../dist/runtime/cli/main.js')
const CLIENTS = 16
const STORE = 'bench:store'
const emit = emitter('kv-large')

const { values: options } = parseArgs({
  allowPositionals: true,
  options: {
    gib: { type: 'string', default: '2' },
    'value-kib': { type: 'string', default: '64' },
    restored: { type: 'boolean', default: false },
    only: { type: 'string', default: 'backup,join,restart' },
    writers: { type: 'string', default: '16' },
    keep: { type: 'boolean', default: false },
  },
})
const valueBytes = Number(options['value-kib']) * 1024
const totalBytes = Number(options.gib) * 2 ** 30
const keyCount = Math.ceil(totalBytes / valueBytes)
const phases = options.only.split(',')
/** How long the clients write alone before the standby joins. */
const ALONE_MS = 15_000

const APP = `version: "1.0"
namespace: bench
cluster:
  enabled: true
  membership: { bind_addr: 127.0.0.1, bind_port: 0, gossip_interval: 100ms }
  raft: { bootstrap_expect: 3, bootstrap_stability: 1s, snapshot_interval: 20s }
admin: { http: off }
entries:
  - { name: store, kind: store.kv.raft, namespace: data, lifecycle: { auto_start: true } }
`

const dir = mkdtempSync(join(process.env.BENCH_TMP ?? tmpdir(), 'moonmesh-large-'))
writeFileSync(join(dir, 'app.yaml'), APP)
const nodes = new Map()
const note = (text) => process.stderr.write(`# ${new Date().toISOString().slice(11, 19)} ${text}\n`)
const pause = (ms) => new Promise((next) => setTimeout(next, ms))
const secondsSince = (startMs) => (performance.now() - startMs) / 1000

process.on('exit', () => {
  for (const { child } of nodes.values()) child.kill('SIGKILL')
  if (!options.keep) rmSync(dir, { recursive: true, force: true })
})
process.on('SIGINT', () => process.exit(130))
process.on('SIGTERM', () => process.exit(143))

/** Resolves when it is ready. */
async function start(name) {
  const seed = [...nodes.values()].find(({ gossip }) => gossip !== undefined)?.gossip
  const settings = [`node.name=${name}`, ...(seed === undefined ? [] : [`cluster.membership.join_addrs=${seed}`])]
  const args = ['run', 'app.yaml', '--log-format', 'json', ...settings.flatMap((each) => ['--set', each])]
  const child = spawn(process.execPath, [MAIN, ...args], { cwd: dir, stdio: ['ignore', 'pipe', 'pipe'] })
  const log = createWriteStream(join(dir, `${name}.log`), { flags: 'a' })
  const before = nodes.get(name)?.highestRss ?? 0
  const node = {
    name,
    child,
    gossip: undefined,
    socketPath: join(dir, '.runtime', name, 'admin.sock'),
    highestRss: before,
  }
  nodes.set(name, node)
  await new Promise((resolve, reject) => {
    let rest = ''
    const read = (chunk) => {
      log.write(chunk)
      const lines = (rest + chunk).split('\n')
      rest = lines.pop()
      for (const line of lines) {
        if (!line.includes('"event":"ready"')) continue
        node.gossip = JSON.parse(line).addresses.gossip
        resolve()
      }
    }
    child.stderr.setEncoding('utf8').on('data', read)
    child.stdout.setEncoding('utf8').on('data', read)
    child.once('exit', (code) => reject(new Error(`${name} ended with ${code}; see ${join(dir, `${name}.log`)}`)))
  })
  return node
}

async function kill(name) {
  const { child } = nodes.get(name)
  const gone = new Promise((resolve) => child.once('close', resolve))
  child.kill('SIGKILL')
  await gone
}

const agent = new Agent({ keepAlive: true, maxSockets: 64 })

/** @returns the answer as text; rejects when its status is no success */
function call(node, method, path, body, { to } = {}) {
  return new Promise((resolve, reject) => {
    const headers = body === undefined ? {} : { 'content-type': 'application/json', 'content-length': body.length }
    const sent = request({ socketPath: node.socketPath, path, method, agent, headers }, (response) => {
      if (to !== undefined && response.statusCode === 200) {
        response.pipe(to)
        to.once('close', () => (response.complete ? resolve('') : reject(new Error('broken off'))))
        return
      }
      let text = ''
      response.setEncoding('utf8').on('data', (part) => {
        text += part
      })
      response.on('end', () =>
        response.statusCode === 200 ? resolve(text) : reject(new Error(`${response.statusCode} ${text.slice(0, 200)}`)),
      )
      response.on('error', reject)
    })
    sent.on('error', reject)
    sent.end(body)
  })
}

const keyOf = (i) => `k:${String(i).padStart(8, '0')}`
/** What a key has, so that it is known again. */
const bytesOf = (i, round) =>
  Buffer.from(JSON.stringify(`${i}.${round}.`.padEnd(valueBytes - 16, String.fromCharCode(97 + (i % 26)))))

let errors = 0
async function put(i, round, through) {
  for (let attempt = 0; ; attempt++) {
    const node = through ?? [...nodes.values()][i % 3]
    try {
      return await call(node, 'PUT', `/v1/kv/${STORE}/${encodeURIComponent(keyOf(i))}`, bytesOf(i, round))
    } catch (error) {
      errors++
      if (attempt > 100) throw error
      await pause(100)
    }
  }
}

/** `CLIENTS` loops at once. @returns milliseconds of each call, sorted */
async function load(total, act) {
  const ms = []
  let next = 0
  const client = async () => {
    while (next < total) {
      const i = next++
      const startMs = performance.now()
      await act(i)
      ms.push(performance.now() - startMs)
      if (i > 0 && i % 4096 === 0) note(`${i} of ${total}`)
    }
  }
  await Promise.all(Array.from({ length: CLIENTS }, client))
  return ms.sort((a, b) => a - b)
}

async function status(node) {
  return JSON.parse(await call(node, 'GET', '/v1/raft'))
}

async function metric(node, name) {
  const text = await call(node, 'GET', '/metrics')
  const values = [...text.matchAll(new RegExp(`^${name}(?:{[^}]*})? (\\S+)$`, 'gm'))].map(([, value]) => Number(value))
  return values.reduce((sum, value) => sum + value, 0)
}

async function until(what, isSo, boundMs = 600_000) {
  const deadlineMs = performance.now() + boundMs
  for (;;) {
    if (await isSo().catch(() => false)) return
    if (performance.now() > deadlineMs) throw new Error(`not within ${boundMs / 1000} s: ${what}`)
    await pause(200)
  }
}

/** Resident memory, and how long a request that asks for nothing waits: a turn of the event loop. */
const turns = new Map()
let isWatching = true
async function watch() {
  while (isWatching) {
    for (const node of nodes.values()) {
      try {
        const found = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${node.child.pid}/status`, 'utf8'))
        node.highestRss = Math.max(node.highestRss, Number(found?.[1] ?? 0) * 1024)
      } catch {
        // It is being restarted.
      }
    }
    await pause(200)
  }
}

async function ping() {
  while (isWatching) {
    for (const node of nodes.values()) {
      const startMs = performance.now()
      const isThere = await call(node, 'GET', '/v1/entries').then(
        () => true,
        () => false,
      )
      if (isThere) turns.set(node.name, [...(turns.get(node.name) ?? []), performance.now() - startMs])
    }
    await pause(20)
  }
}

const share = (sorted, part) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))]
function emitTurns(phase) {
  const all = [...turns.values()].flat().sort((a, b) => a - b)
  if (all.length > 0) {
    emit(`${phase}_turn_p99`, share(all, 0.99), 'ms', all.length)
    emit(`${phase}_turn_max`, all.at(-1), 'ms', all.length)
  }
  turns.clear()
}
function emitRss(phase) {
  for (const node of nodes.values()) {
    emit(`${phase}_rss_max_${node.name}`, node.highestRss / 2 ** 20, 'MiB', 1)
    node.highestRss = 0
  }
}

const quiet = { stop: false }
/** 100 small writes a second, as an application that goes on. */
async function background() {
  for (let i = 0; !quiet.stop; i++) {
    await put(i % Math.min(1000, keyCount), `b${i}`, nodes.get('a'))
    await pause(10)
  }
}

mkdirSync(join(dir, '.runtime'), { recursive: true })
/** The file of a cluster that holds all keys. */
async function makeBackup(file) {
  const [{ writeBackup }, { pack }, { encodeValue }] = await Promise.all(
    ['cluster/backup/wire/file.js', 'runtime/base/msgpack.js', 'runtime/store/values.js'].map(
      (path) => import(`../../.modules/${path}`),
    ),
  )
  const bytes = (text) => Uint8Array.from(Buffer.from(text))
  const valueFor = (i) => encodeValue(JSON.parse(bytesOf(i, 0).toString()), 2 ** 20)
  function* records() {
    yield { section: 1, record: pack({ index: 9, clock: 1000, rev: keyCount + 9, level: 0, settings: {} }) }
    for (let i = 0; i < keyCount; i++) {
      yield { section: 6, record: pack([bytes('data'), bytes(keyOf(i)), i + 1, i + 1, 0, valueFor(i)]) }
    }
  }
  // All have one length.
  const valueTotal = keyCount * valueFor(0).length
  const counts = { sessions: 0, names: 0, reservations: 0, locks: 0, keys: keyCount, valueBytes: valueTotal }
  const header = {
    ...{ clusterId: 'default', formation: '00'.repeat(16), index: 9, term: 1, clockMs: 1000, revision: keyCount + 9 },
    ...{
      featureLevel: 0,
      settings: {},
      voters: [],
      standbys: [],
      takenAtMs: Date.now(),
      node: 'a',
      version: '0',
      counts,
    },
  }
  const out = createWriteStream(file)
  for (const piece of writeBackup(header, records())) {
    if (!out.write(piece)) await new Promise((next) => out.once('drain', next))
  }
  await new Promise((done) => out.end(done))
}

async function restore(file) {
  const child = spawn(process.execPath, [MAIN, 'cluster', 'snapshot', 'restore', file, '--node', 'a'], {
    cwd: dir,
    stdio: 'inherit',
  })
  const code = await new Promise((resolve) => child.once('close', resolve))
  if (code !== 0) throw new Error(`restore ended with ${code}`)
}

let startMs = performance.now()
if (options.restored) {
  const file = join(dir, 'made.backup')
  await makeBackup(file)
  note('restoring')
  startMs = performance.now()
  await restore(file)
  emit('restore', secondsSince(startMs), 's', 1)
  rmSync(file)
}
void watch()
startMs = performance.now()
await start('a')
void ping()
if (options.restored) emit('start_restored', secondsSince(startMs), 's', 1)
startMs = performance.now()
await Promise.all([start('b'), start('c')])
await until('three voters', async () => (await status(nodes.get('a'))).voters.length === 3, 1_800_000)
if (options.restored) {
  emit('two_join', secondsSince(startMs), 's', 1)
  emitTurns('form')
  emitRss('form')
} else {
  startMs = performance.now()
  const fill = await load(keyCount, (i) => put(i, 0))
  emit('fill', totalBytes / 2 ** 20 / secondsSince(startMs), 'MiB/s', keyCount)
  emit('fill_put_p99', share(fill, 0.99), 'ms', keyCount)
  emit('fill_errors', errors, 'calls', keyCount)
  emitTurns('fill')
  emitRss('fill')
}

/** The clients of a phase. @returns ends them; with what each second brought */
function writers(count) {
  const started = performance.now()
  let isOver = false
  let written = 0
  const client = async (at) => {
    for (let i = at; !isOver; i += count) {
      await put(i % keyCount, `w${i}`, nodes.get(['a', 'b', 'c'][at % 3]))
      written++
    }
  }
  const clients = Promise.all(Array.from({ length: count }, (_, at) => client(at)))
  let from = { ms: started, written: 0 }
  return {
    /** MiB/s since the last time it was asked. */
    rate() {
      const now = { ms: performance.now(), written }
      const mib = ((now.written - from.written) * valueBytes) / 2 ** 20
      const rate = mib / ((now.ms - from.ms) / 1000)
      from = now
      return rate
    },
    async end() {
      isOver = true
      await clients
    },
  }
}

const arrivals = (name) =>
  readFileSync(join(dir, `${name}.log`), 'utf8')
    .split('\n')
    .filter((line) => line.includes('"event":"raft_snapshot_arrives"')).length

if (phases.includes('backup')) {
  note('a backup under writes')
  const writing = background()
  startMs = performance.now()
  const file = join(dir, 'x.backup')
  await call(nodes.get('b'), 'POST', '/v1/cluster/snapshot', undefined, { to: createWriteStream(file) })
  emit('backup', secondsSince(startMs), 's', 1)
  emit('backup_size', statSync(file).size / 2 ** 20, 'MiB', 1)
  rmSync(file)
  quiet.stop = true
  await writing
  emitTurns('backup')
  emitRss('backup')
}

if (phases.includes('join')) {
  note('a new standby joins under writes')
  const before = await status(nodes.get('b'))
  const writing = writers(Number(options.writers))
  await pause(ALONE_MS)
  emit('alone_writes', writing.rate(), 'MiB/s', 1)
  emitTurns('alone')
  emitRss('alone')
  startMs = performance.now()
  await start('d')
  await until('d has all but what is on its way', async () => {
    const [{ role, applied_index }, { commit_index }] = [await status(nodes.get('d')), await status(nodes.get('a'))]
    return role === 'standby' && commit_index > 0 && applied_index >= commit_index - 64
  })
  emit('join_caught_up', secondsSince(startMs), 's', 1)
  emit('join_writes', writing.rate(), 'MiB/s', 1)
  emit('join_snapshots', arrivals('d'), 'snapshots', 1)
  await writing.end()
  emitTurns('join')
  emitRss('join')
  emit('elections', (await status(nodes.get('b'))).term - before.term, 'terms', 1)
}

if (!phases.includes('restart')) {
  isWatching = false
  process.exit(0)
}
if (!nodes.has('d')) await start('d')
note('a killed node starts again')
await kill('d')
startMs = performance.now()
await start('d')
emit('restart_ready', secondsSince(startMs), 's', 1)
const goal = (await status(nodes.get('a'))).applied_index
await until('d is as far as the others', async () => (await status(nodes.get('d'))).applied_index >= goal)
emit('restart_caught_up', secondsSince(startMs), 's', 1)

note('all are killed and start again')
for (const name of ['a', 'b', 'c', 'd']) await kill(name)
startMs = performance.now()
for (const node of nodes.values()) node.gossip = undefined
await start('a')
await Promise.all(['b', 'c', 'd'].map((name) => start(name)))
const sample = [0, keyCount >> 1, keyCount - 1].map(keyOf)
for (const key of sample) {
  await until(`${key} is there`, async () => {
    const { value } = JSON.parse(await call(nodes.get('a'), 'GET', `/v1/kv/${STORE}/${encodeURIComponent(key)}`))
    return value.startsWith(`${Number(key.slice(2))}.`)
  })
}
emit('restart_all', secondsSince(startMs), 's', 1)
const keys = await metric(nodes.get('a'), 'kv_keys')
if (keys !== keyCount) throw new Error(`${keys} keys of ${keyCount} are there`)
emitTurns('restart')
emitRss('restart')
const reads = await load(Math.min(keyCount, 5000), async (i) => {
  const key = keyOf((i * 7919) % keyCount)
  const { value } = JSON.parse(
    await call([...nodes.values()][i % 3], 'GET', `/v1/kv/${STORE}/${encodeURIComponent(key)}`),
  )
  if (!value.startsWith(`${(i * 7919) % keyCount}.`)) throw new Error(`${key} has another value`)
})
emit('random_read_p50', share(reads, 0.5), 'ms', reads.length)
emit('random_read_p99', share(reads, 0.99), 'ms', reads.length)
isWatching = false
process.exit(0)
