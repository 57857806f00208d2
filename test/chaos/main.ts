// Chaos on real nodes; see docs/internals/chaos.md.
//   npm run chaos -- --minutes 5 --seed 7 [--nodes 5]     one cluster, one plan
//   … --seeds 3                                           as many, one after the other
//   … --report DIR                                        writes seed-N.md and seed-N.svg there
//   … --plant NAME | list                                 against a copy of the product with a bug in it, which is to be found
//   … --plan                                              prints the plan and does nothing
//   … --only kill,stop   --without clock,corrupt          faults of these kinds, or not of these
//   … --patience 3                                        so many times longer may it take to heal, where others work as well
//   … --keep                                              leaves the logs where they are

import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { Chance } from './chance.ts'
import { Cluster, type Means, meansOf } from './cluster.ts'
import { checkBroadcasts, checkLeftovers, judge, settle } from './ending.ts'
import { History } from './history.ts'
import { Nemesis } from './nemesis.ts'
import { describe, type FaultKind, KINDS, type Plan, planOf } from './plan.ts'
import { PLANTS, plantedCopy } from './plants.ts'
import { type Report, summary, writeReport } from './report.ts'
import { Workload, wait } from './workload.ts'

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '5' },
    seed: { type: 'string', default: '1' },
    seeds: { type: 'string', default: '1' },
    nodes: { type: 'string', default: '5' },
    report: { type: 'string' },
    plant: { type: 'string' },
    plan: { type: 'boolean', default: false },
    only: { type: 'string' },
    without: { type: 'string' },
    patience: { type: 'string', default: '1' },
    think: { type: 'string', default: '300' },
    keep: { type: 'boolean', default: false },
  },
})

const patience = Number(values.patience)
const FOUNDED_MS_MAX = patience * 90_000
const WHOLE_MS_MAX = patience * 60_000
const ANSWERED_MS_MAX = patience * 60_000

const root = process.cwd()

async function main(): Promise<number> {
  if (!existsSync(join(root, 'dist/runtime/cli/main.js')))
    throw new Error('run it with `npm run chaos`, in the root of the package')
  if (values.plant === 'list') {
    for (const { name, what } of PLANTS) console.log(`${name}: ${what}`)
    return 0
  }
  let failed = 0
  const first = count('seed', values.seed)
  for (let seed = first; seed < first + count('seeds', values.seeds); seed++) {
    if (!(await runSeed(seed))) failed++
  }
  return failed === 0 ? 0 : 1
}

async function runSeed(seed: number): Promise<boolean> {
  const nodes = count('nodes', values.nodes)
  if (nodes < 4 || nodes > 9) throw new Error('--nodes takes a number from 4 to 9')
  const durationMs = Number(values.minutes) * 60_000
  const dir = mkdtempSync(join(tmpdir(), 'mmc-'))
  const means = meansOf(root, dir, nodes)
  let cluster: Cluster | undefined
  const history = new History()
  const startedMs = performance.now()
  const say = (text: string): void =>
    console.log(`${((performance.now() - startedMs) / 1000).toFixed(1).padStart(7)} s  ${text}`)
  let isFine = false
  const interrupted = (): void => {
    void cluster?.close().then(() => {
      means.network.close()
      process.exit(130)
    })
  }
  process.once('SIGINT', interrupted)
  try {
    const plan = planOf({ seed, nodes, durationMs, without: new Set([...means.without, ...unwanted()]) })
    console.log(
      `seed ${seed}: ${plan.nodes} nodes, ${plan.clients} of them clients, ${plan.voters} voters, ${plan.security}; logs in ${dir}`,
    )
    for (const limit of means.limits) console.log(`not possible here: ${limit}`)
    if (values.plan) {
      for (const { afterMs, lastsMs, faults } of plan.steps)
        console.log(`+${afterMs} ms, ${lastsMs} ms: ${faults.map(describe).join(', ')}`)
      return true
    }
    const main =
      values.plant === undefined ? join(root, 'dist/runtime/cli/main.js') : plantedCopy(root, dir, values.plant)
    cluster = new Cluster({ plan, root, main, dir, history, ...means })
    const report = await runPlan(plan, cluster, means, history, dir, say)
    if (values.report !== undefined) writeReport(values.report, report)
    console.log(summary(report))
    isFine = history.violations.length === 0
    return isFine
  } finally {
    process.off('SIGINT', interrupted)
    writeFileSync(
      join(dir, 'history.jsonl'),
      history.operations.map((each) => JSON.stringify({ ...each, run: each.run?.number })).join('\n'),
    )
    writeFileSync(
      join(dir, 'remarks.jsonl'),
      history.remarks.map((each) => JSON.stringify({ ...each, run: each.run.number })).join('\n'),
    )
    await cluster?.close()
    means.network.close()
    if (isFine && !values.keep) rmSync(dir, { recursive: true, force: true })
    else console.log(`logs and histories: ${dir}`)
  }
}

async function runPlan(
  plan: Plan,
  cluster: Cluster,
  means: Means,
  history: History,
  dir: string,
  say: (text: string) => void,
): Promise<Report> {
  const { network, limits } = means
  cluster.start()
  const missing = await cluster.whole(FOUNDED_MS_MAX)
  if (missing.length > 0) throw new Error(`no cluster within ${FOUNDED_MS_MAX} ms:\n${missing.join('\n')}`)
  say('the cluster is there')
  const workload = new Workload({ seed: plan.seed, nodes: cluster.nodes, history, thinkMs: Number(values.think) })
  await workload.prepare()
  const fromMs = performance.now()
  workload.start()
  const chance = new Chance(plan.seed ^ 0x5eed)
  const nemesis = new Nemesis({ cluster, network, history, chance, dir, say, patience })
  for (const step of plan.steps) await nemesis.perform(step)
  const healedMs = performance.now()
  say('all is healed')
  const unhealed = await cluster.whole(WHOLE_MS_MAX)
  const wholeMs = performance.now() - healedMs
  for (const each of unhealed) history.violations.push(`${WHOLE_MS_MAX / 1000} s after healing: ${each}`)
  say(`whole after ${(wholeMs / 1000).toFixed(1)} s`)
  await wait(5000)
  const toMs = performance.now()
  if (!(await workload.stop(ANSWERED_MS_MAX)))
    history.violations.push(`some orders had no answer within ${ANSWERED_MS_MAX / 1000} s`)
  const ending = { cluster, history, say, patience }
  let convergedMs = Number.POSITIVE_INFINITY
  let counters: ReadonlyMap<string, number> | undefined
  try {
    const settled = await settle(ending)
    convergedMs = settled.convergedMs
    counters = settled.counters
    await checkBroadcasts(ending)
    await checkLeftovers(ending, workload.current)
  } catch (error) {
    // What was seen until then is judged all the same.
    history.violations.push(`the end could not be looked at: ${error instanceof Error ? error.message : String(error)}`)
  }
  say('judging')
  // A history without anything in it would contradict nothing.
  if (history.of('get', 'put').length === 0) history.violations.push('no reads and writes were recorded')
  history.violations.push(...judge(history, counters))
  return { plan, history, limits, fromMs, toMs, healedMs, wholeMs, convergedMs, minutes: Number(values.minutes) }
}

function unwanted(): readonly FaultKind[] {
  const list = (text: string | undefined): string[] => (text ?? '').split(',').filter((each) => each !== '')
  const only = list(values.only)
  for (const each of [...only, ...list(values.without)]) {
    if (!(KINDS as readonly string[]).includes(each))
      throw new Error(`no such fault: ${each}; there are ${KINDS.join(', ')}`)
  }
  return KINDS.filter((kind) => list(values.without).includes(kind) || (only.length > 0 && !only.includes(kind)))
}

function count(name: string, text: string): number {
  const value = Number(text)
  if (!Number.isSafeInteger(value) || value < 0) throw new Error(`--${name} must be a whole number, not ${text}`)
  return value
}

process.exitCode = await main()
// Programs that did not end in time would keep this one from ending.
process.exit()
