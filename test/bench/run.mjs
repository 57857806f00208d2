// `npm run bench`: Moonmesh's workloads, and those of other systems beside them, round after round; medians and ratios as a table.
// usage: npm run bench -- [W1 W2 …] [--rounds 3] [--peers DIR] [--only erlang,lua] [--json]
//        npm run bench -- kv-large [--gib 2] …      a large data set, see kv-large.mjs
// DIR (else BENCH_PEERS, else a folder bench/peers beside this checkout) holds one folder a peer with a run.mjs that takes workload ids and
// prints the same JSON lines as moonmesh.mjs; one that ends with status 77 is not installed.

import { spawn, spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const here = dirname(fileURLToPath(import.meta.url))

// It has no peers and options of its own.
if (process.argv[2] === 'kv-large') {
  const { status } = spawnSync(process.execPath, [join(here, 'kv-large.mjs'), ...process.argv.slice(3)], {
    stdio: 'inherit',
  })
  process.exit(status ?? 1)
}

const DEFAULT_WORKLOADS = ['W1', 'W2', 'W3', 'W4', 'W5', 'W6', 'W7', 'W8', 'W9', 'W10', 'W12']
const OURS = 'moonmesh'
const NOT_INSTALLED = 77

/** `bench/peers` in a folder that lies beside this checkout; '' when there is none. */
function peersBeside() {
  const around = join(here, '../../..')
  const places = readdirSync(around, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => join(around, entry.name, 'bench/peers'))
  return places.sort().find((place) => existsSync(place)) ?? ''
}

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '3' },
    peers: { type: 'string', default: process.env.BENCH_PEERS ?? peersBeside() },
    only: { type: 'string', default: '' },
    json: { type: 'boolean', default: false },
  },
})
const workloads = positionals.length > 0 ? positionals : DEFAULT_WORKLOADS
const log = (line) => process.stderr.write(`# ${line}\n`)

/** Runs one program and hands over its figures. */
function figuresOf(script, flags) {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [...flags, script, ...workloads], { stdio: ['ignore', 'pipe', 'inherit'] })
    const figures = []
    let rest = ''
    child.stdout.setEncoding('utf8').on('data', (chunk) => {
      const lines = (rest + chunk).split('\n')
      rest = lines.pop()
      for (const line of lines) {
        try {
          figures.push(JSON.parse(line))
        } catch {
          log(line)
        }
      }
    })
    child.on('close', (code) => resolve({ code, figures }))
  })
}

const programs = [{ name: OURS, script: join(here, 'moonmesh.mjs'), flags: ['--expose-gc'] }]
if (options.peers !== '') {
  const wanted = options.only === '' ? undefined : options.only.split(',')
  for (const name of readdirSync(options.peers).sort()) {
    const script = join(options.peers, name, 'run.mjs')
    if (existsSync(script) && (wanted === undefined || wanted.includes(name)))
      programs.push({ name, script, flags: [] })
  }
}

const rows = new Map()
let failed = false
for (let round = 1; round <= Number(options.rounds); round++) {
  for (const program of programs) {
    if (program.isMissing) continue
    const { code, figures } = await figuresOf(program.script, program.flags)
    program.isMissing = code === NOT_INSTALLED
    if (code !== 0 && code !== NOT_INSTALLED) failed = true
    log(
      `round ${round} ${program.name}: ${program.isMissing ? 'not installed' : code === 0 ? 'ok' : `failed (${code})`}`,
    )
    for (const figure of figures) {
      const key = `${figure.workload}\t${figure.metric}\t${figure.peer}`
      const row = rows.get(key) ?? { ...figure, values: [] }
      row.values.push(figure.value)
      rows.set(key, row)
    }
  }
}

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]
const short = (value) => (Math.abs(value) >= 100 ? Math.round(value).toLocaleString('en-US') : value.toPrecision(3))
const number = (workload) => Number(workload.slice(1))
const figures = [...rows.values()]
  .filter((row) => typeof row.value === 'number')
  .map((row) => ({ ...row, median: median(row.values) }))

/** Of the tests of W5, for every system that ran as many as we did. */
function geometricMeans() {
  const ofPeer = new Map()
  for (const figure of figures) {
    if (figure.workload === 'W5' && figure.unit === 's')
      ofPeer.set(figure.peer, [...(ofPeer.get(figure.peer) ?? []), figure])
  }
  const count = ofPeer.get(OURS)?.length ?? 0
  return [...ofPeer].flatMap(([peer, tests]) => {
    if (tests.length !== count) return []
    const mean = tests.reduce((product, test) => product * test.median, 1) ** (1 / count)
    return [{ workload: 'W5', metric: 'geometric mean', peer, unit: 's', values: [mean], median: mean }]
  })
}

const table = [...figures, ...geometricMeans()].sort(
  (a, b) => number(a.workload) - number(b.workload) || a.metric.localeCompare(b.metric) || (a.peer === OURS ? -1 : 1),
)

if (options.json) for (const { values: _values, value: _value, ...row } of table) console.log(JSON.stringify(row))
else {
  console.log('| workload | metric | system | median | unit | min … max | theirs ÷ ours |')
  console.log('|---|---|---|---:|---|---|---:|')
  for (const row of table) {
    const ours = table.find(
      (other) => other.peer === OURS && other.metric === row.metric && other.workload === row.workload,
    )
    const ratio = ours === undefined || row === ours ? '' : (row.median / ours.median).toFixed(2)
    const range = `${short(Math.min(...row.values))} … ${short(Math.max(...row.values))}`
    console.log(
      `| ${row.workload} | ${row.metric} | ${row.peer} | ${short(row.median)} | ${row.unit} | ${range} | ${ratio} |`,
    )
  }
}
process.exitCode = failed ? 1 : 0
