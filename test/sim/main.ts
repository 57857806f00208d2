// `npm run sim -- [--seed N] [--seeds COUNT] [--minutes M] [--nodes N] [--wire]`: chaos over many seeds. A failure
// prints the seed that shows it again. `--figures` measures detection and idle traffic, `--accuracy HOURS` counts false deaths at
// 10 % loss (G2). With `--mesh` it is the mesh that is troubled.

import { parseArgs } from 'node:util'
import type { Envelope } from '../../cluster/swim/wire/packet.ts'
import { GossipWorld, runChaos } from './gossip.ts'
import { runMeshChaos } from './mesh.ts'

const plain: Envelope = {
  label: Buffer.alloc(0),
  encryptionVersion: 1,
  verifyIncoming: true,
  verifyOutgoing: true,
  compression: true,
}

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    seeds: { type: 'string', default: '1' },
    minutes: { type: 'string', default: '30' },
    nodes: { type: 'string' },
    wire: { type: 'boolean', default: false },
    accuracy: { type: 'string' },
    figures: { type: 'boolean', default: false },
    mesh: { type: 'boolean', default: false },
  },
})

if (values.figures) figures(Number(values.nodes ?? 20))
else if (values.accuracy !== undefined) process.exitCode = accuracy(Number(values.accuracy)) ? 0 : 1
else if (values.mesh) process.exitCode = meshChaos() ? 0 : 1
else process.exitCode = chaos() ? 0 : 1

function meshChaos(): boolean {
  const first = Number(values.seed)
  const minutes = Number(values.minutes)
  let isFine = true
  let delivered = 0
  let downs = 0
  let resumed = 0
  for (let seed = first; seed < first + Number(values.seeds); seed++) {
    const nodes = Number(values.nodes ?? 2 + (seed % 4))
    const topology = seed % 3 === 0 ? 'lazy' : 'full'
    try {
      const report = runMeshChaos({ seed, nodes, minutes, settings: { topology } })
      delivered += report.delivered
      downs += report.downs
      resumed += report.resumed
    } catch (error) {
      isFine = false
      console.error(`${error instanceof Error ? error.message : String(error)}`)
      console.error(`again: npm run sim -- --mesh --seed ${seed} --nodes ${nodes} --minutes ${minutes}`)
    }
  }
  console.log(`${values.seeds} seeds, ${delivered} messages, ${downs} sessions ended, ${resumed} resumed`)
  return isFine
}

function chaos(): boolean {
  const first = Number(values.seed)
  let isFine = true
  let slowestMs = 0
  let falseDeaths = 0
  let steps = 0
  for (let seed = first; seed < first + Number(values.seeds); seed++) {
    const nodes = Number(values.nodes ?? 3 + (seed % 10))
    const minutes = Number(values.minutes)
    try {
      const report = runChaos({ seed, nodes, minutes, clockDrift: 0.01, ...(values.wire ? { envelope: plain } : {}) })
      slowestMs = Math.max(slowestMs, report.convergenceMs)
      falseDeaths += report.falseDeaths
      steps += report.steps
      if (values.seeds === '1') console.log(report)
    } catch (error) {
      isFine = false
      console.error(`${error instanceof Error ? error.message : String(error)}`)
      console.error(
        `again: npm run sim -- --seed ${seed} --nodes ${nodes} --minutes ${minutes}${values.wire ? ' --wire' : ''}`,
      )
    }
  }
  console.log(
    `${values.seeds} seeds, ${steps} steps, slowest agreement ${Math.round(slowestMs)} ms, ${falseDeaths} false deaths`,
  )
  return isFine
}

/** How fast crashes are noticed, and what an idle cluster sends. */
function figures(nodes: number): void {
  const detected: number[] = []
  let bytesPerSecond = 0
  const runs = 30
  for (let seed = 1; seed <= runs; seed++) {
    const cluster = new GossipWorld({ seed, nodes, envelope: plain })
    cluster.settle()
    cluster.world.run(60_000)
    const before = [...cluster.network.traffic.values()].reduce((sum, each) => sum + each.bytes + each.streamBytes, 0)
    cluster.world.run(60_000)
    const after = [...cluster.network.traffic.values()].reduce((sum, each) => sum + each.bytes + each.streamBytes, 0)
    bytesPerSecond += (after - before) / 60 / nodes / runs
    cluster.crash(`n${nodes}`)
    detected.push(cluster.detect(`n${nodes}`))
  }
  detected.sort((a, b) => a - b)
  const at = (share: number): string => `${((detected[Math.floor(share * (runs - 1))] as number) / 1000).toFixed(1)} s`
  console.log(`${nodes} nodes: a crash is known everywhere after ${at(0)} to ${at(1)}, median ${at(0.5)}`)
  console.log(
    `idle: ${Math.round(bytesPerSecond)} bytes/s sent by each node (requests of streams counted, answers not)`,
  )
}

function accuracy(hours: number): boolean {
  const seed = Number(values.seed)
  const faults = { loss: 0.1, duplication: 0.05, reordering: 0.05, streamFailures: 0.1, delayMaxMs: 20 }
  const cluster = new GossipWorld({ seed, nodes: Number(values.nodes ?? 10), faults, clockDrift: 0.01 })
  cluster.settle()
  cluster.world.run(hours * 3_600_000)
  const sum = (count: 'probes' | 'suspicions' | 'refutes'): number =>
    cluster.running().reduce((total, node) => total + node.swim.counters[count], 0)
  const deaths = cluster.checker.falseDeaths.length
  console.log(
    `${hours} h: ${deaths} false deaths, ${sum('suspicions')} suspicions, ${sum('refutes')} refutes, ${sum('probes')} probes`,
  )
  return deaths === 0
}
