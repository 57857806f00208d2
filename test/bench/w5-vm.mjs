// W5 on the machine of runtime/lua/vm alone, beside Debian's lua5.3: the best of some rounds, in milliseconds of processor time.
// Run after `npm run build`: node --single-threaded-gc test/bench/w5-vm.mjs

import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { VmEngine } from '../../dist/runtime/lua/vm/engine.js'

const ROUNDS = 12
const SLICE = 10_000
const source = join(import.meta.dirname, 'w5.lua')

/** With whatever the garbage collector and the optimising compiler take beside. */
function processorMs() {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

function ours() {
  const engine = new VmEngine()
  const base = engine.newTable()
  const { globals, libraries } = engine.standardLibrary
  for (const [name, value] of Object.entries(globals)) engine.set(base, name, value)
  for (const [name, library] of Object.entries(libraries)) {
    const table = engine.moduleTable(name, library)
    engine.set(base, name, table)
    if (name === 'string') engine.setStringMethods(table)
  }
  const owner = {}
  const run = (fn) => {
    const thread = engine.newThread(fn)
    let status = 'preempted'
    while (status === 'preempted') status = engine.run(thread, owner, SLICE, { values: [] })
    if (status !== 'done') throw new Error(String(engine.results[0]))
    return engine.results
  }
  const [tests] = run(engine.load(engine.compile('w5', readFileSync(source, 'latin1')), engine.newEnvironment(base)))
  const took = new Map()
  for (let i = 1; i <= engine.length(tests); i++) {
    const test = engine.get(tests, i)
    let best = Number.POSITIVE_INFINITY
    for (let round = 0; round < ROUNDS; round++) {
      const start = processorMs()
      run(engine.get(test, 2))
      best = Math.min(best, processorMs() - start)
    }
    took.set(engine.get(test, 1), best)
  }
  return took
}

function reference() {
  const program = `for _, test in ipairs(dofile(arg[1])) do
    local best = math.huge
    for _ = 1, ${ROUNDS} do local start = os.clock() test[2]() best = math.min(best, os.clock() - start) end
    print(test[1], best * 1000)
  end`
  const { status, stdout } = spawnSync('lua5.3', ['-', source], { input: program, encoding: 'utf8' })
  if (status !== 0) return undefined
  return new Map(
    stdout
      .trim()
      .split('\n')
      .map((line) => line.split('\t'))
      .map(([name, ms]) => [name, Number(ms)]),
  )
}

const peer = reference()
if (peer === undefined) console.log('lua5.3 is not installed: our figures alone')
let product = 1
const took = ours()
for (const [name, ms] of took) {
  const theirs = peer?.get(name)
  if (theirs !== undefined) product *= ms / theirs
  const beside = theirs === undefined ? '' : ` ${theirs.toFixed(1).padStart(8)} ${(ms / theirs).toFixed(2).padStart(7)}`
  console.log(`${name.padEnd(10)} ${ms.toFixed(1).padStart(8)}${beside}`)
}
if (peer !== undefined) console.log(`geometric mean ${(product ** (1 / took.size)).toFixed(2)} of lua5.3's time`)
