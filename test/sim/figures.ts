// Measurements of gossip in the simulated world, next to what the papers and memberlist promise.

import type { SwimSettings } from '../../cluster/swim/core/settings.ts'
import { suspicionTerms } from '../../cluster/swim/core/suspicion.ts'
import type { SwimEffect } from '../../cluster/swim/core/swim.ts'
import { plainEnvelope } from './envelopes.ts'
import { GossipWorld } from './gossip.ts'
import type { SwimNode, SwimObserver } from './swim-node.ts'

/** Counts what is heard, without looking at whole views: those of a thousand nodes are a million entries. */
class Tally implements SwimObserver {
  joined = 0
  falseDeaths = 0
  /** The first suspicion, and when each node heard the news, of the run that is watched. */
  firstSuspicionMs: number | undefined
  readonly heardAtMs: number[] = []
  readonly #nowMs: () => number
  #victim: SwimNode | undefined
  #nodes: ReadonlyMap<string, SwimNode> = new Map()

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs
  }

  watch(nodes: ReadonlyMap<string, SwimNode>, victim?: SwimNode): void {
    this.#nodes = nodes
    this.#victim = victim
  }

  stepped(node: SwimNode, _input: unknown, effects: readonly SwimEffect[]): void {
    for (const effect of effects) {
      if (effect.kind !== 'member') continue
      const { kind, name, epoch, reason } = effect.event
      if (kind === 'joined') this.joined++
      if (kind !== 'left') continue
      if (name === this.#victim?.name) this.heardAtMs.push(this.#nowMs())
      const subject = this.#nodes.get(name)
      if (reason === 'dead' && subject?.isRunning === true && subject.epoch === epoch) this.falseDeaths++
    }
    if (this.#victim === undefined || this.firstSuspicionMs !== undefined) return
    if (node.swim.member(this.#victim.name)?.state === 'suspect') this.firstSuspicionMs = this.#nowMs()
  }
}

function build(options: {
  seed: number
  nodes: number
  faults?: object
  settings?: Partial<SwimSettings>
  wire?: boolean
}): {
  cluster: GossipWorld
  tally: Tally
} {
  let cluster: GossipWorld | undefined
  const tally = new Tally(() => cluster?.world.nowMs ?? 0)
  const { wire = false, ...rest } = options
  cluster = new GossipWorld({
    ...rest,
    observer: tally,
    clockDrift: 0.001,
    ...(wire ? { envelope: plainEnvelope } : {}),
  })
  tally.watch(cluster.nodes)
  return { cluster, tally }
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`

/** All at once, then one crash after another. */
export function figures(nodes: number, seed: number): void {
  const { cluster, tally } = build({ seed, nodes })
  const { world, settings } = cluster
  const pairs = nodes * (nodes - 1)
  let most = 0
  world.runUntil(
    () => {
      if (most === 0 && tally.joined >= 0.99 * pairs) most = world.nowMs
      return tally.joined >= pairs
    },
    600_000,
    20,
  )
  console.log(`${nodes} nodes, seed ${seed}, defaults`)
  console.log(
    `join: started together, 99 % of all views complete after ${seconds(most)}, all after ${seconds(world.nowMs)}`,
  )

  world.run(30_000)
  crashes(cluster, tally, nodes)
  idle(cluster, nodes)
  const terms = suspicionTerms(nodes, settings)
  const fanOut = settings.gossipNodes
  const rounds = Math.log(nodes) / Math.log(1 + fanOut) + Math.log(nodes) / fanOut
  console.log(
    [
      'expected:',
      `  first suspicion: e/(e-1) = 1.58 probe intervals on average (SWIM, 3.1); each single node within ${2 * nodes - 1} (4.3)`,
      `  verdict: ${seconds(terms.minMs)} after it with ${terms.confirmationsWanted} confirmation(s), ${seconds(terms.maxMs)} without (memberlist)`,
      `  spread: about log(n)/log(1+f) + log(n)/f = ${rounds.toFixed(1)} rounds, ${seconds(rounds * settings.gossipIntervalMs)}; told at most ${settings.retransmitMult * Math.ceil(Math.log10(nodes + 1))} times by each`,
    ].join('\n'),
  )
  lossFigures(Math.min(nodes, 100), seed)
  slowFigures(Math.min(nodes, 100), seed)
}

function crashes(cluster: GossipWorld, tally: Tally, nodes: number): void {
  const { world } = cluster
  const count = Math.min(10, Math.floor(nodes / 3))
  const rows: { suspected: number; first: number; last: number }[] = []
  for (let i = 0; i < count; i++) {
    const victim = cluster.node(`n${nodes - i}`)
    const startedAtMs = world.nowMs
    tally.heardAtMs.length = 0
    tally.firstSuspicionMs = undefined
    tally.watch(cluster.nodes, victim)
    cluster.crash(victim.name)
    world.runUntil(() => tally.heardAtMs.length >= cluster.running().length, 300_000, 100)
    const heard = tally.heardAtMs.map((at) => at - startedAtMs)
    rows.push({
      suspected: (tally.firstSuspicionMs ?? world.nowMs) - startedAtMs,
      first: Math.min(...heard),
      last: Math.max(...heard),
    })
    tally.watch(cluster.nodes)
    world.run(5000)
  }
  const spread = rows.map((row) => row.last - row.first)
  console.log(`crash of one, ${count} times; median and longest:`)
  console.log(`  first suspicion ${middle(rows.map((row) => row.suspected))}`)
  console.log(`  first verdict ${middle(rows.map((row) => row.first))}`)
  console.log(`  known to all ${middle(rows.map((row) => row.last))}; first to last ${middle(spread)}`)
  console.log(`  false deaths meanwhile: ${tally.falseDeaths}`)
}

function idle(cluster: GossipWorld, nodes: number): void {
  const { network, world } = cluster
  const sum = (): { packets: number; bytes: number; streams: number } => {
    const total = { packets: 0, bytes: 0, streams: 0 }
    for (const traffic of network.traffic.values()) {
      total.packets += traffic.packets
      total.bytes += traffic.bytes
      total.streams += traffic.streams
    }
    return total
  }
  world.run(60_000)
  const before = sum()
  world.run(60_000)
  const after = sum()
  const rate = (key: keyof typeof after): string => ((after[key] - before[key]) / 60 / nodes).toFixed(2)
  console.log(
    `idle, per node and second: ${rate('packets')} datagrams, ${rate('bytes')} bytes of them with headers, ${rate('streams')} exchanges`,
  )
}

function lossFigures(nodes: number, seed: number): void {
  const minutes = 60
  const { cluster, tally } = build({ seed, nodes, faults: { loss: 0.05, delayMaxMs: 20 } })
  cluster.world.run(minutes * 60_000)
  console.log(
    `5 % loss, ${nodes} nodes, ${minutes} min: ${tally.falseDeaths} false deaths; ${total(cluster, 'probes')} probes, ${total(cluster, 'suspicions')} suspicions heard, ${total(cluster, 'refutes')} refuted`,
  )
}

/** Lifeguard's subject: one member that is slow blames the others, or is blamed itself. */
function slowFigures(nodes: number, seed: number): void {
  const minutes = 10
  const variants: [string, Partial<SwimSettings>][] = [
    ['Lifeguard on', {}],
    ['off', { awarenessMax: 1, suspicionMaxMult: 1 }],
  ]
  for (const periodMs of [1000, 5000, 10_000]) {
    for (const [name, settings] of variants) {
      const { cluster, tally } = build({ seed, nodes, settings })
      const { world } = cluster
      world.run(60_000)
      const slow = cluster.node(`n${nodes}`)
      slow.process.slow({ share: 0.3, periodMs, durationMs: minutes * 60_000 })
      const before = blamed(cluster, slow)
      const deathsBefore = tally.falseDeaths
      world.run(minutes * 60_000)
      console.log(
        `one of ${nodes} at 30 % by ${seconds(periodMs)}, ${minutes} min, ${name}: healthy members had to refute ${blamed(cluster, slow) - before} times, the slow one ${slow.swim.counters.refutes} times; ${tally.falseDeaths - deathsBefore} verdicts of death over the living`,
      )
    }
  }
}

/** How often others than `slow` had to refute. */
function blamed(cluster: GossipWorld, slow: SwimNode): number {
  return total(cluster, 'refutes') - slow.swim.counters.refutes
}

function total(cluster: GossipWorld, count: 'probes' | 'suspicions' | 'refutes'): number {
  return cluster.running().reduce((sum, node) => sum + node.swim.counters[count], 0)
}

function middle(values: readonly number[]): string {
  const sorted = [...values].sort((a, b) => a - b)
  return `${seconds(sorted[sorted.length >> 1] as number)}, ${seconds(sorted.at(-1) as number)}`
}

/** G2: nobody is declared dead by mistake in a bad network. */
export function accuracy(hours: number, nodes: number, seed: number): { falseDeaths: number; text: string } {
  const faults = { loss: 0.1, duplication: 0.05, reordering: 0.05, streamFailures: 0.1, delayMaxMs: 20 }
  const cluster = new GossipWorld({ seed, nodes, faults, clockDrift: 0.01 })
  cluster.settle()
  cluster.world.run(hours * 3_600_000)
  const falseDeaths = cluster.checker.falseDeaths.length
  const text = `${nodes} nodes, ${hours} h at 10 % loss: ${falseDeaths} false deaths, ${total(cluster, 'suspicions')} suspicions, ${total(cluster, 'refutes')} refuted, ${total(cluster, 'probes')} probes`
  return { falseDeaths, text }
}
