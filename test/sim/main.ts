// The simulator on the command line; see docs/internals/gossip.md.
//   npm run sim -- --seed 7 [--nodes 9] [--steps 200] [--wire] [--trace]    one world
//   npm run sim -- --seeds 1000 [--seed FIRST] …                            many, on all cores
//   npm run sim -- --figures --nodes 1000                                   joins, detection, dissemination, traffic
//   npm run sim -- --protocol state --figures --nodes 300                   what leading costs while nobody asks for anything
//   npm run sim -- --accuracy HOURS [--nodes 10]                            false deaths at 10 % loss (G2)
//   npm run sim -- --protocol groups|names|crdt|kv [--seed N] [--seeds COUNT] [--minutes M] [--nodes N]   P, C and V of the specification
//   npm run sim -- --protocol actors [--seed N] [--seeds COUNT] [--minutes M]           processes on several nodes: A1
//   npm run sim -- --protocol mesh [--seed N] [--seeds COUNT] [--minutes M] [--steps N]  the mesh alone for minutes, then with gossip
//   npm run sim -- --protocol state [--seed N] [--seeds COUNT] [--seconds S] [--trace]      sessions, names, locks, store; internals/state.md
//   npm run sim -- --protocol formation [--seed N] [--seeds COUNT] [--nodes FOUNDERS] [--others N] [--trace]   internals/formation.md
//   npm run sim -- --protocol raft [--seed N] [--seeds COUNT] [--nodes N] [--seconds S] [--trace]  consensus; internals/raft.md

import { parseArgs } from 'node:util'
import { messageOf } from '../../runtime/base/errors.ts'
import { runActors } from './actors.ts'
import { runCrdtChaos } from './crdt.ts'
import { accuracy, figures } from './figures.ts'
import { FormationFailure, formationNodesOf, runFormation } from './formation.ts'
import { runChaos } from './gossip.ts'
import { runKvChaos } from './kv.ts'
import { runMeshChaos } from './mesh.ts'
import { runGossipMesh } from './mesh-world.ts'
import { runNamesChaos } from './names.ts'
import { runPgChaos } from './pg.ts'
import { type RaftChaosOptions, RaftFailure, raftNodesOf, runRaftChaos } from './raft.ts'
import { nodesOf, runSeed, runSeeds, type SeedFailure, type SeedOptions } from './seeds.ts'
import { runStateChaos, StateFailure, stateNodesOf } from './state.ts'
import { stateFigures } from './state-figures.ts'
import { runStrongChaos } from './strong.ts'

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    seeds: { type: 'string' },
    steps: { type: 'string', default: '150' },
    nodes: { type: 'string' },
    others: { type: 'string' },
    wire: { type: 'boolean', default: false },
    trace: { type: 'boolean', default: false },
    figures: { type: 'boolean', default: false },
    accuracy: { type: 'string' },
    protocol: { type: 'string', default: 'gossip' },
    minutes: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '60' },
  },
})
const worlds = ['gossip', 'mesh', 'actors', 'raft', 'formation', 'groups', 'names', 'crdt', 'kv', 'state'] as const
const world = worlds.find((name) => name === values.protocol)
if (world === undefined) throw new Error(`--protocol ${values.protocol}: one of ${worlds.join(', ')}`)
const first = count('seed', values.seed)

if (values.figures && world === 'state') console.log(await stateFigures(count('nodes', values.nodes ?? '300'), first))
else if (values.figures) figures(count('nodes', values.nodes ?? '1000'), first)
else if (values.accuracy !== undefined) {
  const { falseDeaths, text } = accuracy(
    count('accuracy', values.accuracy),
    count('nodes', values.nodes ?? '10'),
    first,
  )
  console.log(text)
  process.exitCode = falseDeaths === 0 ? 0 : 1
} else if (world === 'actors') process.exitCode = actorChaos(count('seeds', values.seeds ?? '1')) ? 0 : 1
else if (world === 'groups') {
  process.exitCode = chaos('groups', (seed, nodes, minutes) => runPgChaos({ seed, nodes, minutes })) ? 0 : 1
} else if (world === 'names') {
  process.exitCode = chaos('names', (seed, nodes, minutes) => {
    const { active, rejected, expired } = runStrongChaos({ seed, nodes, minutes })
    return { ...runNamesChaos({ seed, nodes, minutes }), strong: active, rejected, expired }
  })
    ? 0
    : 1
} else if (world === 'crdt') {
  // Every fifth world lasts long enough that deletes are forgotten.
  const forgetful = { minutes: 30, settings: { retentionMs: 240_000 } }
  process.exitCode = chaos('crdt', (seed, nodes, minutes) =>
    runCrdtChaos({ seed, nodes, minutes, loss: (seed % 3) / 2, ...(seed % 5 === 0 ? forgetful : {}) }),
  )
    ? 0
    : 1
} else if (world === 'kv') {
  process.exitCode = chaos('kv', (seed, nodes) => runKvChaos({ seed, clients: nodes, operations: 60 })) ? 0 : 1
} else if (world === 'raft') process.exitCode = raftChaos(count('seeds', values.seeds ?? '1')) ? 0 : 1
else if (world === 'state') process.exitCode = (await stateChaos(count('seeds', values.seeds ?? '1'))) ? 0 : 1
else if (world === 'formation') process.exitCode = formationChaos(count('seeds', values.seeds ?? '1')) ? 0 : 1
else if (world === 'mesh') process.exitCode = meshChaos(count('seeds', values.seeds ?? '1')) ? 0 : 1
else if (values.seeds === undefined) one(optionsOf(first))
else await many(count('seeds', values.seeds))

/** Many seeds of a world that reports in numbers, which are added up. */
function chaos<Report extends object>(
  name: string,
  run: (seed: number, nodes: number, minutes: number) => Report,
): boolean {
  const seeds = count('seeds', values.seeds ?? '1')
  const minutes = count('minutes', values.minutes)
  const sums: Record<string, number> = {}
  let failed = 0
  for (let seed = first; seed < first + seeds; seed++) {
    const nodes = values.nodes === undefined ? 2 + (seed % 4) : count('nodes', values.nodes)
    try {
      for (const [key, value] of Object.entries(run(seed, nodes, minutes))) sums[key] = (sums[key] ?? 0) + Number(value)
    } catch (error) {
      failed++
      console.error(error instanceof Error ? error.message : String(error))
      console.error(`again: npm run sim -- --protocol ${name} --seed ${seed} --nodes ${nodes} --minutes ${minutes}`)
    }
  }
  console.log(`${seeds} seeds, ${failed} failed; in all ${JSON.stringify(sums)}`)
  return failed === 0
}

function one(options: SeedOptions): void {
  if (values.trace) {
    const outcome = runChaos({ ...options, clockDrift: 0.01, trace: true, onNote: (line) => console.log(line) })
    console.log(outcome.ok ? outcome.report : outcome.problem)
    process.exitCode = outcome.ok ? 0 : 1
    return
  }
  const answer = runSeed(options)
  if ('report' in answer) console.log(answer.report)
  else tell(answer.failure)
}

async function many(seeds: number): Promise<void> {
  const startedAtMs = performance.now()
  const all = Array.from({ length: seeds }, (_, i) => optionsOf(first + i))
  const summary = await runSeeds(all, tell)
  const seconds = (performance.now() - startedAtMs) / 1000
  const { failed, steps, virtualMs, slowestMs, falseDeaths, completeness, accuracyMs } = summary
  const hours = (ms: number): string => `${(ms / 3_600_000).toFixed(0)} h`
  console.log(
    [
      `${seeds} seeds, ${failed} failed, in ${seconds.toFixed(0)} s: ${hours(virtualMs)} of clusters, ${(steps / 1e6).toFixed(1)} million steps`,
      `G1 held ${completeness} times while faults went on, G2 for ${hours(accuracyMs)} of calm among them`,
      `${falseDeaths} false deaths outside of calm; slowest agreement after all healed ${(slowestMs / 1000).toFixed(1)} s (G3)`,
    ].join('\n'),
  )
}

async function stateChaos(seeds: number): Promise<boolean> {
  const sums: Record<string, number> = {}
  let failed = 0
  for (let seed = first; seed < first + seeds; seed++) {
    const seconds = count('seconds', values.seconds)
    try {
      const report = await runStateChaos({ seed, seconds, ...stateNodesOf(seed), trace: values.trace })
      for (const [key, value] of Object.entries(report)) sums[key] = (sums[key] ?? 0) + value
    } catch (error) {
      failed++
      console.error(error instanceof Error ? error.message : String(error))
      if (values.trace && error instanceof StateFailure) console.error(error.trace.join('\n'))
      if (!(error instanceof StateFailure)) console.error(error)
      console.error(`again: npm run sim -- --protocol state --seed ${seed} --seconds ${seconds}`)
    }
  }
  console.log(`${seeds} seeds, ${failed} failed; in all ${JSON.stringify(sums)}`)
  return failed === 0
}

function actorChaos(seeds: number): boolean {
  const total = { monitors: 0, exits: 0, messages: 0, lost: 0 }
  let failed = 0
  for (let seed = first; seed < first + seeds; seed++) {
    const nodes = Number(values.nodes ?? 2 + (seed % 4))
    try {
      const report = runActors({ seed, nodes, minutes: count('minutes', values.minutes) })
      for (const key of Object.keys(total) as (keyof typeof total)[]) total[key] += report[key]
    } catch (error) {
      failed++
      console.log(`seed ${seed}, ${nodes} nodes: ${messageOf(error)}`)
    }
  }
  console.log(`${seeds} seeds, ${failed} failed:`, total)
  return failed === 0
}

function meshChaos(seeds: number): boolean {
  const minutes = count('minutes', values.minutes)
  let isFine = true
  let delivered = 0
  let downs = 0
  let resumed = 0
  for (let seed = first; seed < first + seeds; seed++) {
    const nodes = Number(values.nodes ?? 2 + (seed % 4))
    const topology = seed % 3 === 0 ? 'lazy' : 'full'
    try {
      const report = runMeshChaos({ seed, nodes, minutes, settings: { topology } })
      delivered += report.delivered
      downs += report.downs
      resumed += report.resumed
      const steps = count('steps', values.steps)
      const outcome = runGossipMesh({ seed, nodes: nodes + 1, steps, clockDrift: 0.01, trace: values.trace })
      if (!outcome.ok) throw new Error([...outcome.trace, outcome.problem].join('\n'))
      delivered += outcome.report.delivered
      downs += outcome.report.downs
      resumed += outcome.report.resumed
    } catch (error) {
      isFine = false
      console.error(`${error instanceof Error ? error.message : String(error)}`)
      console.error(
        `again: npm run sim -- --protocol mesh --seed ${seed} --nodes ${nodes} --minutes ${minutes} --steps ${values.steps} --trace`,
      )
    }
  }
  console.log(`${seeds} seeds, ${delivered} messages, ${downs} sessions ended, ${resumed} resumed`)
  return isFine
}

/** One line a failure as it happens, and one about all of them. */
function raftChaos(seeds: number): boolean {
  const seconds = count('seconds', values.seconds)
  const startedAtMs = performance.now()
  const sum = { failed: 0, steps: 0, elections: 0, committed: 0, completed: 0, slowestMs: 0 }
  for (let seed = first; seed < first + seeds; seed++) {
    const nodes = values.nodes === undefined ? raftNodesOf(seed) : count('nodes', values.nodes)
    const options = { seed, nodes, seconds }
    try {
      const report = runRaftChaos(
        values.trace ? { ...options, trace: true, onNote: (line) => console.log(line) } : options,
      )
      sum.steps += report.steps
      sum.elections += report.elections
      sum.committed += report.committed
      sum.completed += report.completed
      sum.slowestMs = Math.max(sum.slowestMs, report.leaderMs)
    } catch (error) {
      sum.failed++
      if (!values.trace) console.error(traceOf(options).join('\n'))
      console.error(error instanceof Error ? error.message : String(error))
      console.error(`again: npm run sim -- --protocol raft --seed ${seed} --nodes ${nodes} --seconds ${seconds}`)
    }
  }
  const { failed, steps, elections, committed, completed, slowestMs } = sum
  const tookSeconds = ((performance.now() - startedAtMs) / 1000).toFixed(0)
  console.log(
    [
      `${seeds} seeds, ${failed} failed, in ${tookSeconds} s: ${(steps / 1e6).toFixed(1)} million steps, ${elections} elections`,
      `${committed} entries committed, ${completed} operations answered, all in one order`,
      `slowest leader ${(slowestMs / 1000).toFixed(1)} s after all healed (L1)`,
    ].join('\n'),
  )
  return failed === 0
}

/** Adds up what many clusters have been through. */
function formationChaos(seeds: number): boolean {
  const startedAtMs = performance.now()
  const sum = { failed: 0, steps: 0, groups: 0, resets: 0, changes: 0, elections: 0, slowestMs: 0, rounds: 0 }
  for (let seed = first; seed < first + seeds; seed++) {
    const size = formationNodesOf(seed)
    const founders = values.nodes === undefined ? size.founders : count('nodes', values.nodes)
    const others = values.others === undefined ? size.others : count('others', values.others)
    const options = { seed, founders, others, troubles: founders + others > 30 ? 10 : 30 }
    try {
      const traced = values.trace ? { ...options, trace: true, onNote: (line: string) => console.log(line) } : options
      const report = runFormation(traced)
      for (const key of ['steps', 'groups', 'resets', 'changes', 'elections'] as const) sum[key] += report[key]
      sum.slowestMs = Math.max(sum.slowestMs, report.settledMs)
      sum.rounds = Math.max(sum.rounds, report.settledRounds)
    } catch (error) {
      sum.failed++
      console.error(error instanceof FormationFailure ? error.message : error)
      console.error(
        `again: npm run sim -- --protocol formation --seed ${seed} --nodes ${founders} --others ${others} --trace`,
      )
    }
  }
  const tookSeconds = ((performance.now() - startedAtMs) / 1000).toFixed(0)
  const { failed, steps, groups, resets, changes, elections, slowestMs, rounds } = sum
  console.log(
    [
      `${seeds} seeds, ${failed} failed, in ${tookSeconds} s: ${(steps / 1e6).toFixed(1)} million steps, ${elections} elections`,
      `${groups} groups founded, ${resets} stores reset, ${changes} changes of membership`,
      `slowest cluster had its roles ${rounds} rounds of gossip (${(slowestMs / 1000).toFixed(1)} s) after all healed`,
    ].join('\n'),
  )
  return failed === 0
}

/** The last steps of a run that fails, from running it again. */
function traceOf(options: RaftChaosOptions): readonly string[] {
  try {
    runRaftChaos({ ...options, trace: true })
  } catch (error) {
    return error instanceof RaftFailure ? error.trace : []
  }
  return ['it passes when it is run again: something does not come from the seed']
}

function optionsOf(seed: number): SeedOptions {
  const nodes = values.nodes === undefined ? nodesOf(seed) : count('nodes', values.nodes)
  return { seed, nodes, steps: count('steps', values.steps), wire: values.wire }
}

function tell({ options, problem, trace }: SeedFailure): void {
  process.exitCode = 1
  const { seed, nodes, steps, wire } = options
  const again = `npm run sim -- --seed ${seed} --nodes ${nodes} --steps ${steps}${wire ? ' --wire' : ''}`
  console.error([...trace, '', problem, `again: ${again}`, ''].join('\n'))
}

function count(name: string, text: string): number {
  const value = Number(text)
  if (!Number.isSafeInteger(value) || value < 0) throw new Error(`--${name} must be a whole number, not ${text}`)
  return value
}
