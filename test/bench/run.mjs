// `npm run bench`: Moonmesh's workloads, and those of other systems beside them, round after round.
// usage: npm run bench -- [W1 W2 …] [--rounds 3] [--peers DIR] [--only erlang,lua] [--without hraft] [--json] [--report PAGE.md]
//        npm run bench -- --table --report PAGE.md     writes the page anew from what was measured
//        npm run bench -- growth [processes names …] [--report PAGE.md]    what more of everything costs, see growth.mjs
//        npm run bench -- soak …                       whether anything grows, see soak.mjs
//        npm run bench -- kv-large [--gib 2] …         a large data set, see kv-large.mjs
// DIR (else BENCH_PEERS, else a folder bench/peers beside this checkout) holds one folder a peer with a run.mjs that takes workload ids and
// prints the same JSON lines as moonmesh.mjs; one that ends with status 77 is not installed.
// --report merges: beside PAGE.md lie PAGE.json, with every figure of every round, and PAGE.svg. Workloads that are measured replace what was
// there of them; others stay. It is written after each workload, so that a run that is cut short has not run for nothing.

import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus, loadavg, release, tmpdir, totalmem } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { GROWTH_PARTS, WORKLOADS } from './goals.mjs'
import { medians, OURS, render, short } from './page.mjs'

const here = dirname(fileURLToPath(import.meta.url))
const NOT_INSTALLED = 77
/** What a known peer has to offer, so that it is not started in vain. */
const OFFERS = {
  floor: ['W1', 'W6', 'W7', 'W12'],
  lua: ['W1', 'W2', 'W3', 'W4', 'W5'],
  luajs: ['W1', 'W2', 'W3', 'W4', 'W5'],
  redis: ['W7', 'W8', 'W9'],
  hraft: ['W7'],
  etcd: ['W7', 'W8', 'W10'],
  serf: ['W11'],
}
/** A program that takes longer hangs; peers have limits of their own. */
const PROGRAM_MS_MAX = 900_000
/** A round of it takes minutes, and holds many nodes and three kills itself. */
const ROUNDS_MAX = { W11: 1 }

// These have options of their own.
if (process.argv[2] === 'kv-large' || process.argv[2] === 'soak') {
  const args = ['--expose-gc', join(here, `${process.argv[2]}.mjs`), ...process.argv.slice(3)]
  process.exit(spawnSync(process.execPath, args, { stdio: 'inherit' }).status ?? 1)
}

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
    without: { type: 'string', default: '' },
    json: { type: 'boolean', default: false },
    report: { type: 'string' },
    table: { type: 'boolean', default: false },
  },
})
const isGrowth = positionals[0] === 'growth'
const growthParts = positionals.length > 1 ? positionals.slice(1) : GROWTH_PARTS
const unknownPart = isGrowth ? growthParts.find((part) => !GROWTH_PARTS.includes(part)) : undefined
if (unknownPart !== undefined)
  throw new Error(`no such part of growth: ${unknownPart}; there are ${GROWTH_PARTS.join(' ')}`)
const workloads = options.table || isGrowth ? [] : positionals.length > 0 ? positionals : Object.keys(WORKLOADS)
const unknown = workloads.filter((workload) => WORKLOADS[workload] === undefined)
if (unknown.length > 0)
  throw new Error(`no such workload: ${unknown.join(', ')}; there are ${Object.keys(WORKLOADS).join(' ')}`)
const log = (line) => process.stderr.write(`# ${line}\n`)

/** Runs one program and hands over its figures. */
function figuresOf(script, flags, args) {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [...flags, script, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
    // Its own children end with it.
    const limit = setTimeout(() => child.kill('SIGTERM'), PROGRAM_MS_MAX)
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
    child.on('close', (code) => {
      clearTimeout(limit)
      resolve({ code: code ?? 'ended by a signal', figures })
    })
  })
}

function programsFor(workload) {
  const [wanted, unwanted] = [options.only, options.without].map((list) =>
    list.split(',').filter((name) => name !== ''),
  )
  const ours = { name: OURS, script: join(here, 'moonmesh.mjs'), flags: ['--expose-gc'] }
  const programs = unwanted.includes(OURS) ? [] : [ours]
  if (options.peers === '') return programs
  for (const name of readdirSync(options.peers).sort()) {
    const script = join(options.peers, name, 'run.mjs')
    const isAsked = (wanted.length === 0 || wanted.includes(name)) && !unwanted.includes(name)
    if (isAsked && existsSync(script) && (OFFERS[name]?.includes(workload) ?? true))
      programs.push({ name, script, flags: [] })
  }
  return programs
}

/** All systems on one workload, in turn, so that a busy minute hits all of them. */
async function measure(workload) {
  const programs = programsFor(workload)
  const rounds = Math.min(Number(options.rounds), ROUNDS_MAX[workload] ?? Number.POSITIVE_INFINITY)
  const [load] = loadavg()
  const rows = new Map()
  const [missing, failed] = [new Set(), new Set()]
  for (let round = 1; round <= rounds; round++) {
    for (const { name, script, flags } of programs) {
      if (missing.has(name)) continue
      const startMs = performance.now()
      const { code, figures } = await figuresOf(script, flags, [workload])
      if (code === NOT_INSTALLED) missing.add(name)
      else if (code !== 0) failed.add(name)
      const outcome = code === NOT_INSTALLED ? 'not installed' : code === 0 ? 'ok' : `failed (${code})`
      log(`${workload} round ${round} ${name}: ${outcome}, ${Math.round((performance.now() - startMs) / 1000)} s`)
      for (const { metric, peer, unit, n, value, workload: of } of figures) {
        if (of !== workload || typeof value !== 'number') continue
        const key = `${metric}\t${peer}`
        const row = rows.get(key) ?? { metric, peer, unit, n, values: [] }
        row.values.push(value)
        rows.set(key, row)
      }
    }
  }
  const at = new Date().toISOString().slice(0, 16).replace('T', ' ')
  return { at: `${at} UTC`, rounds, load, missing: [...missing], failed: [...failed], figures: [...rows.values()] }
}

/** What a program says of its version, or '' when it is not there. */
function version(command, ...args) {
  try {
    return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
      .trim()
      .split('\n')[0]
  } catch {
    return ''
  }
}

function machine() {
  const place = mkdtempSync(join(process.env.BENCH_TMP ?? tmpdir(), 'moonmesh-bench-'))
  const disk =
    version('df', '--output=fstype', place) === ''
      ? ''
      : execFileSync('df', ['--output=fstype', place], { encoding: 'utf8' }).trim().split('\n')[1]
  rmSync(place, { recursive: true })
  const startMs = performance.now()
  let x = 0
  for (let i = 0; i < 3e8; i++) x = (x + i) | 0
  const loopS = (performance.now() - startMs) / 1000 + (x === 1 ? 1 : 0)
  return {
    processor: `${cpus()[0]?.model ?? 'unknown'}, ${availableParallelism()} cores for the run`,
    memory: `${short(totalmem() / 2 ** 30)} GiB`,
    system: `${process.platform} ${release()}`,
    'file system of the data': disk,
    'Node.js': process.version,
    'a loop of 300,000,000 steps': `${loopS.toFixed(2)} s`,
    source: version('git', '-C', here, 'describe', '--always', '--dirty') || 'unknown',
  }
}

const beside = (page, extension) => page.replace(/\.md$/, `.${extension}`)

/** What was measured before, if there is a page. */
function before() {
  const path = options.report === undefined ? '' : beside(options.report, 'json')
  return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : { machine: {}, measured: {}, growth: [] }
}

function write(path, text) {
  writeFileSync(`${path}.new`, text)
  renameSync(`${path}.new`, path)
}

function report(data) {
  const page = options.report
  const explanations = JSON.parse(readFileSync(join(here, 'explanations.json'), 'utf8'))
  const { markdown, svg, unexplained } = render(data, explanations, { svgName: basename(beside(page, 'svg')) })
  const order = Object.keys(WORKLOADS)
  data.measured = Object.fromEntries(order.filter((id) => data.measured[id]).map((id) => [id, data.measured[id]]))
  write(beside(page, 'json'), `${JSON.stringify(data, undefined, 1)}\n`)
  write(beside(page, 'svg'), svg)
  write(page, markdown)
  return unexplained
}

function print(measured) {
  if (!options.json) {
    console.log('| workload | metric | system | median | unit | min … max | theirs ÷ ours |')
    console.log('|---|---|---|---:|---|---|---:|')
  }
  for (const [workload, rows] of medians(measured)) {
    for (const row of rows.sort((a, b) => a.metric.localeCompare(b.metric) || (a.peer === OURS ? -1 : 1))) {
      const ours = rows.find((other) => other.peer === OURS && other.metric === row.metric)
      const ratio = ours === undefined || row === ours ? '' : (row.median / ours.median).toFixed(2)
      const range = `${short(Math.min(...row.values))} … ${short(Math.max(...row.values))}`
      if (options.json) console.log(JSON.stringify({ workload, ...row, values: undefined }))
      else
        console.log(
          `| ${workload} | ${row.metric} | ${row.peer} | ${short(row.median)} | ${row.unit} | ${range} | ${ratio} |`,
        )
    }
  }
}

const data = before()
const now = {}
let unexplained = []
if (!options.table) data.machine = machine()
// Each part in a program of its own, and on the page when it is over.
for (const part of isGrowth ? growthParts : []) {
  const startMs = performance.now()
  const { code, figures } = await figuresOf(join(here, 'growth.mjs'), ['--expose-gc'], [part])
  if (code !== 0) process.exitCode = 1
  log(
    `growth ${part}: ${code === 0 ? 'ok' : `failed (${code})`}, ${Math.round((performance.now() - startMs) / 1000)} s`,
  )
  const subjects = new Set(figures.map(({ subject }) => subject))
  data.growth = [...(data.growth ?? []).filter(({ subject }) => !subjects.has(subject)), ...figures]
  for (const figure of figures) console.log(JSON.stringify(figure))
  if (options.report !== undefined) unexplained = report(data)
}
for (const workload of workloads) {
  now[workload] = await measure(workload)
  if (now[workload].failed.length > 0) process.exitCode = 1
  data.measured[workload] = now[workload]
  if (options.report !== undefined) unexplained = report(data)
}
if (options.table) {
  if (options.report === undefined)
    throw new Error('--table needs --report PAGE.md, beside whose JSON the page is written')
  unexplained = report(data)
}
if (!isGrowth) print(options.table ? data.measured : now)
for (const key of unexplained) log(`missed, and explanations.json says nothing of it: "${key}"`)
