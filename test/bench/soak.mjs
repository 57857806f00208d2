// Whether anything grows: three nodes on loopback under a mixed load that is always the same, watched for as long as wanted.
// usage: npm run bench -- soak [--minutes 60] [--every 200ms] [--sample-s 60] [--report FILE.md] [--data DIR]
// Prints a line of JSON a sample and node, then a table: each figure at the start and the end of the second half, and its slope there.

import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { createNode } from '../../dist/runtime/index.js'
import { onLoopback, processEntries } from './lua-node.mjs'

const self = fileURLToPath(import.meta.url)
const here = dirname(self)
const NAMES = ['a', 'b', 'c']
const HOST = 'soak:host'
/** Until stores and groups are there on all nodes. */
const READY_MS = 20_000

async function runNode(name, dataDir, every, address) {
  const source = readFileSync(join(here, 'soak.lua'), 'utf8')
  const modules = ['metrics', 'pg', 'store', 'system', 'time']
  const isStarted = { auto_start: true, start_timeout: '60s' }
  const node = await createNode({
    entries: [
      { id: HOST, kind: 'process.host', host: { workers: 1 }, lifecycle: { auto_start: true } },
      { id: 'soak:kv', kind: 'store.kv.raft', namespace: 'soak', lifecycle: isStarted },
      { id: 'soak:crdt', kind: 'store.kv.crdt', namespace: 'merged', durable: true, lifecycle: isStarted },
      { id: 'soak:groups', kind: 'pg.scope', lifecycle: isStarted },
      ...processEntries('soak', { source, methods: ['main', 'worker', 'idle', 'brief', 'member', 'echo'], modules }),
    ],
    set: [
      `node.data_dir=${dataDir}`,
      `node.name=${name}`,
      'admin.http=off',
      ...onLoopback(address),
      'cluster.raft.bootstrap_expect=3',
      // So that logs are cut, and deletes forgotten, many times in an hour.
      'cluster.kv.crdt_tombstone_retention=10m',
      'cluster.raft.snapshot_threshold=2000',
      'cluster.raft.trailing_logs=500',
    ],
    log: false,
    admin: true,
  })
  const isUp = node.start()
  // The others need the address before there is a group.
  const said = setInterval(() => {
    if (node.cluster?.gossipAddress === undefined) return
    clearInterval(said)
    process.stdout.write(`${JSON.stringify({ gossip: node.cluster.gossipAddress })}\n`)
  }, 50)
  await isUp
  process.stdout.write(`${JSON.stringify({ isUp: true })}\n`)
  createInterface({ input: process.stdin })
    .on('line', (line) => {
      if (line === 'begin') {
        const others = NAMES.filter((each) => each !== name)
        node.spawn('soak:main', { host: HOST, args: [name, others, every, '30s'] }).catch(fail)
      } else {
        globalThis.gc()
        const { heapUsed, external, arrayBuffers } = process.memoryUsage()
        const resources = process.getActiveResourcesInfo().length
        process.stdout.write(`${JSON.stringify({ sample: { heapUsed, external, arrayBuffers, resources } })}\n`)
      }
    })
    .on('close', () => process.exit(0))
}

function fail(error) {
  process.stderr.write(`${error.stack}\n`)
  process.exit(1)
}

/** A node in a process of its own. */
function start(name, dir, every, address) {
  const args = ['--expose-gc', self, '--node', name, dir, every, ...(address === undefined ? [] : [address])]
  const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  const waiting = []
  const seen = []
  createInterface({ input: child.stdout }).on('line', (line) => {
    const said = JSON.parse(line)
    if (waiting.length > 0) waiting.shift()(said)
    else seen.push(said)
  })
  const next = () => (seen.length > 0 ? Promise.resolve(seen.shift()) : new Promise((resolve) => waiting.push(resolve)))
  return { name, child, next, dir: join(dir, name), pid: child.pid, say: (line) => child.stdin.write(`${line}\n`) }
}

function diskBytes(dir) {
  let sum = 0
  for (const entry of readdirSync(dir, { recursive: true, withFileTypes: true })) {
    try {
      if (entry.isFile()) sum += statSync(join(entry.parentPath ?? entry.path, entry.name)).size
    } catch {
      // It was removed meanwhile.
    }
  }
  return sum
}

function metricsOf({ dir }) {
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath: join(dir, 'admin.sock'), path: '/metrics' }, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (part) => {
        text += part
      })
      response.on('end', () => resolve(text))
    })
    sent.on('error', reject)
    sent.end()
  })
}

const parsed = (text) =>
  [...text.matchAll(/^(\w+)(?:\{([^}]*)\})? (\S+)/gm)].map(([, name, labels = '', value]) => ({
    name,
    labels: Object.fromEntries([...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, key, text]) => [key, text])),
    value: Number(value),
  }))

/** What is counted without end is left out; what is here ought to stay where it is. */
const GAUGES = [
  'processes',
  'mailbox_messages',
  'names',
  'locks_held',
  'lock_waiters',
  'kv_keys',
  'kv_bytes',
  'crdt_entries',
  'crdt_tombstones',
  'crdt_bytes',
  'pg_members',
  'pg_groups',
  'pg_queue_depth',
  'mesh_queue_bytes',
  'gossip_queue_depth',
  'raft_log_bytes',
]

/** The bound of the bucket in which this share of what was observed since lies, in milliseconds. */
function lagMs(rows, before, share) {
  const bucketsOf = (all) => all.filter(({ name }) => name === 'event_loop_lag_seconds_bucket')
  const earlier = new Map(bucketsOf(before).map(({ labels, value }) => [labels.le, value]))
  const buckets = bucketsOf(rows).map(({ labels, value }) => [
    Number(labels.le.replace('+Inf', 'Infinity')),
    value - (earlier.get(labels.le) ?? 0),
  ])
  const total = Math.max(0, ...buckets.map(([, count]) => count))
  const ordered = buckets.sort(([a], [b]) => a - b)
  const [bound] = ordered.find(([, count]) => count >= total * share) ?? [0]
  // What lies beyond the last bound counts as that.
  return 1000 * (Number.isFinite(bound) ? bound : (ordered.at(-2)?.[0] ?? 0))
}

async function sample(node, startMs, before) {
  const status = readFileSync(`/proc/${node.pid}/status`, 'utf8')
  const cpu = readFileSync(`/proc/${node.pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ')
  node.say('sample')
  const { sample: inside } = await node.next()
  const rows = parsed(await metricsOf(node))
  const sum = (name) => rows.reduce((all, row) => (row.name === name ? all + row.value : all), 0)
  const figures = {
    rss_mib: Number(/VmRSS:\s+(\d+)/.exec(status)[1]) / 1024,
    heap_mib: inside.heapUsed / 2 ** 20,
    thread_heap_mib: sum('soak_thread_heap_bytes') / 2 ** 20,
    external_mib: inside.external / 2 ** 20,
    descriptors: readdirSync(`/proc/${node.pid}/fd`).length,
    threads: Number(/Threads:\s+(\d+)/.exec(status)[1]),
    timers_and_sockets: inside.resources,
    disk_mib: diskBytes(node.dir) / 2 ** 20,
    lag_p99_ms: lagMs(rows, before.rows, 0.99),
    series: rows.length,
    ...Object.fromEntries(GAUGES.map((name) => [name, sum(name)])),
  }
  const cpuSeconds = (Number(cpu[11]) + Number(cpu[12])) / 100
  const ops = Object.fromEntries(
    rows
      .filter(({ name, labels }) => name === 'soak_ops_total' && labels.work !== undefined)
      .map(({ labels, value }) => [`${labels.work} ${labels.outcome}`, value]),
  )
  const seconds = (performance.now() - startMs) / 1000
  return { node: node.name, minute: seconds / 60, cpu: cpuSeconds, figures, ops, rows }
}

/** Least squares over the points. @returns growth an hour, and how far the points lie off the line (one standard deviation) */
function slope(points) {
  const count = points.length
  const [meanX, meanY] = [0, 1].map((at) => points.reduce((sum, point) => sum + point[at], 0) / count)
  const xx = points.reduce((sum, [x]) => sum + (x - meanX) ** 2, 0)
  const a = xx === 0 ? 0 : points.reduce((sum, [x, y]) => sum + (x - meanX) * (y - meanY), 0) / xx
  const off = Math.sqrt(
    points.reduce((sum, [x, y]) => sum + (y - meanY - a * (x - meanX)) ** 2, 0) / Math.max(1, count - 2),
  )
  return { anHour: a * 60, mean: meanY, error: xx === 0 ? 0 : (off / Math.sqrt(xx)) * 60 }
}

/**
 * Flat: over the second half it grew by no more than a hundredth of itself, or by less than twice what chance would make of points that lie as
 * far apart as these.
 */
function judge(points) {
  const { anHour, mean, error } = slope(points)
  const hours = (points.at(-1)[0] - points[0][0]) / 60
  const grew = anHour * hours
  return { anHour, grew, mean, isFlat: grew <= 0.01 * Math.abs(mean) || anHour <= 2 * error, error }
}

const short = (value) =>
  Math.abs(value) >= 100 ? Math.round(value).toLocaleString('en-US') : String(Number(value.toPrecision(3)))

function table(samples, minutes, every) {
  const figures = Object.keys(samples[0].figures)
  const each = samples.filter(({ node }) => node === NAMES[0]).length
  const lines = [
    `Three nodes for ${short(minutes)} minutes; each kind of work rested ${every} between rounds. Growth is
fitted to the second half of ${each} samples.`,
    '',
    '| figure | node | after a tenth | at half | at the end | growth an hour | ± | |',
    '|---|---|---:|---:|---:|---:|---:|---|',
  ]
  for (const name of figures) {
    for (const node of NAMES) {
      const own = samples.filter((each) => each.node === node)
      const half = own.slice(Math.floor(own.length / 2))
      const points = half.map(({ minute, figures }) => [minute, figures[name]])
      const { anHour, error, isFlat } = judge(points)
      const at = (index) => short(own[Math.min(own.length - 1, Math.floor(own.length * index))].figures[name])
      lines.push(
        `| ${name} | ${node} | ${at(0.1)} | ${at(0.5)} | ${at(1)} | ${short(anHour)} | ${short(error)} | ${isFlat ? 'flat' : '**grows**'} |`,
      )
    }
  }
  const last = NAMES.map((node) => samples.filter((each) => each.node === node).at(-1))
  const sums = new Map()
  for (const { ops } of last)
    for (const [what, count] of Object.entries(ops)) sums.set(what, (sums.get(what) ?? 0) + count)
  const cpu = last.map(({ cpu: seconds, minute }) => (100 * seconds) / (minute * 60))
  lines.push('', `Processor: ${cpu.map((share, i) => `${NAMES[i]} ${short(share)} %`).join(', ')} of a core.`, '')
  lines.push('| work | outcome | times |', '|---|---|---:|')
  for (const [what, count] of [...sums].sort()) {
    const [work, ...outcome] = what.split(' ')
    lines.push(`| ${work} | ${outcome.join(' ')} | ${short(count)} |`)
  }
  return lines.join('\n')
}

async function main() {
  const { values: options } = parseArgs({
    options: {
      minutes: { type: 'string', default: '60' },
      every: { type: 'string', default: '200ms' },
      'sample-s': { type: 'string', default: '60' },
      report: { type: 'string' },
      data: { type: 'string' },
    },
  })
  const [minutes, sampleMs] = [Number(options.minutes), Number(options['sample-s']) * 1000]
  if (!(minutes * 60_000 >= 4 * sampleMs && sampleMs > 0)) {
    process.stderr.write('--minutes must hold at least four samples: see --sample-s\n')
    process.exit(2)
  }
  if (options.data !== undefined) mkdirSync(options.data, { recursive: true })
  const dir = mkdtempSync(join(options.data ?? tmpdir(), 'moonmesh-soak-'))
  const nodes = []
  process.on('exit', () => {
    for (const { child } of nodes) child.kill('SIGKILL')
    rmSync(dir, { recursive: true, force: true })
  })
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(130))
  let address
  for (const name of NAMES) {
    const node = start(name, dir, options.every, address)
    nodes.push(node)
    const { gossip } = await node.next()
    address ??= gossip
  }
  for (const node of nodes) {
    await node.next()
    node.child.on('exit', (code) => {
      process.stderr.write(`${node.name} ended with ${code}\n`)
      process.exit(1)
    })
  }
  await new Promise((next) => setTimeout(next, READY_MS))
  for (const node of nodes) node.say('begin')
  const startMs = performance.now()
  const samples = []
  const before = new Map(nodes.map(({ name }) => [name, { rows: [] }]))
  for (let turn = 1; performance.now() - startMs < minutes * 60_000 - sampleMs / 2; turn++) {
    await new Promise((next) => setTimeout(next, Math.max(0, startMs + turn * sampleMs - performance.now())))
    for (const node of nodes) {
      const { rows, ...entry } = await sample(node, startMs, before.get(node.name))
      before.set(node.name, { rows })
      samples.push(entry)
      process.stdout.write(`${JSON.stringify(entry)}\n`)
    }
  }
  const text = table(samples, (performance.now() - startMs) / 60_000, options.every)
  process.stdout.write(`${text}\n`)
  if (options.report !== undefined) writeFileSync(options.report, `${text}\n`)
  process.exit(0)
}

if (process.argv[2] === '--node') await runNode(...process.argv.slice(3)).catch(fail)
else await main()
