// Clusters of gossip under faults: crashes, restarts in place and elsewhere, graceful leaves, partitions, one-way cuts,
// frozen processes, changing tags and a bad network. Afterwards the network heals and every view must become the truth.

import { type Address, formatAddress } from '../../cluster/swim/core/address.ts'
import type { Member } from '../../cluster/swim/core/members.ts'
import { defaultSwimSettings, type SwimSettings } from '../../cluster/swim/core/settings.ts'
import type { Envelope } from '../../cluster/swim/wire/packet.ts'
import { convergenceBoundMs, detectionBoundMs, disagreement, GossipChecker, InvariantError } from './checkers/gossip.ts'
import { Network, type NetworkFaults, quietNetwork } from './network.ts'
import { type SwimNetwork, SwimNode } from './swim-node.ts'
import { World } from './world.ts'

export interface GossipWorldOptions {
  readonly seed: number
  readonly nodes: number
  readonly settings?: Partial<SwimSettings>
  readonly faults?: Partial<NetworkFaults>
  /** Send everything through the real wire. */
  readonly envelope?: Envelope
  /** How much clocks may run fast or slow; 0.01 is one in a hundred. */
  readonly clockDrift?: number
}

const PORT = 7946
const SEEDS = 3
const QUIET_MS = 120_000

/** A running cluster in the simulated world. */
export class GossipWorld {
  readonly world: World
  readonly network: SwimNetwork
  readonly checker: GossipChecker
  readonly settings: SwimSettings
  /** The latest run of each name, running or not. */
  readonly nodes = new Map<string, SwimNode>()
  readonly #options: GossipWorldOptions
  readonly #crashedAtMs = new Map<string, number>()
  readonly #log: string[] = []
  #hosts = 0
  #epoch = 1000

  constructor(options: GossipWorldOptions) {
    this.#options = options
    this.world = new World(options.seed)
    this.network = new Network(this.world, { ...quietNetwork, ...options.faults })
    this.checker = new GossipChecker(this.world, this.nodes)
    this.settings = { ...defaultSwimSettings, ...options.settings }
    for (let i = 1; i <= options.nodes; i++) this.start(`n${i}`)
  }

  /** What was done to the cluster, for a failure's report. */
  get log(): readonly string[] {
    return this.#log
  }

  running(): SwimNode[] {
    return [...this.nodes.values()].filter((node) => node.isRunning)
  }

  /** Starts a run of a name, at its former address unless told otherwise. */
  start(name: string, where: 'same' | 'new' = 'same'): SwimNode {
    const former = this.nodes.get(name)
    const address = former !== undefined && where === 'same' ? former.address : this.#newAddress()
    this.note(`start ${name} at ${formatAddress(address)}`)
    const { envelope, clockDrift = 0 } = this.#options
    const chance = this.world.chance
    const node = new SwimNode(
      this.world,
      this.network,
      {
        name,
        address,
        epoch: this.#epoch++,
        seeds: () => this.seeds(),
        ...(this.#options.settings === undefined ? {} : { settings: this.#options.settings }),
        ...(envelope === undefined ? {} : { envelope }),
        clock: { rate: 1 + chance.between(-clockDrift, clockDrift), offsetMs: chance.int(1e9) },
      },
      this.checker,
    )
    this.nodes.set(name, node)
    this.#crashedAtMs.delete(name)
    return node
  }

  /** What every node is told to join: the first few names, wherever they are now. */
  seeds(): Address[] {
    const first = [...this.nodes.values()].slice(0, SEEDS).map((node) => node.address)
    return first.length > 0 ? first : [{ host: '10.0.0.1', port: PORT }]
  }

  crash(name: string): void {
    this.note(`crash ${name}`)
    this.nodes.get(name)?.crash()
    this.#crashedAtMs.set(name, this.world.nowMs)
  }

  note(what: string): void {
    this.#log.push(`${(this.world.nowMs / 1000).toFixed(1)} s: ${what}`)
  }

  disagreement(): string | undefined {
    return disagreement(this.nodes.values())
  }

  /** Runs until all views are the truth. @returns how long it took @throws InvariantError when it takes longer than `maxMs` */
  converge(maxMs: number, rule: string): number {
    const startedAtMs = this.world.nowMs
    if (!this.world.runUntil(() => this.disagreement() === undefined, maxMs)) {
      throw new InvariantError(
        `${rule}: ${this.disagreement()} after ${maxMs} ms; seed ${this.world.seed}\n${this.#log.slice(-30).join('\n')}`,
      )
    }
    return this.world.nowMs - startedAtMs
  }

  /** Runs on and finds nothing new: no view changes, and nobody hears of a member. */
  staysQuiet(durationMs: number): void {
    const heard = (): number => this.running().reduce((sum, node) => sum + node.events.length, 0)
    const before = heard()
    for (const endMs = this.world.nowMs + durationMs; this.world.nowMs < endMs; this.world.run(500)) {
      const problem = this.disagreement() ?? (heard() === before ? undefined : 'somebody heard of a change')
      if (problem !== undefined) {
        throw new InvariantError(`a quiet cluster stays so: ${problem}; seed ${this.world.seed}`)
      }
    }
  }

  /** Runs until all nodes know each other. */
  settle(): number {
    return this.converge(60_000, 'a new cluster forms')
  }

  /** How long until every running node holds a crashed one for gone (G1). */
  detect(name: string): number {
    const crashedAtMs = this.#crashedAtMs.get(name) ?? this.world.nowMs
    const seesIt = (node: SwimNode): boolean => node.live().some((member: Member) => member.name === name)
    const boundMs = detectionBoundMs(this.nodes.size, maxScore(this), this.settings)
    if (!this.world.runUntil(() => !this.running().some(seesIt), boundMs)) {
      throw new InvariantError(`${name} is not seen as dead within ${boundMs} ms (G1); seed ${this.world.seed}`)
    }
    return this.world.nowMs - crashedAtMs
  }

  #newAddress(): Address {
    this.#hosts++
    return { host: `10.0.${this.#hosts >> 8}.${this.#hosts & 255}`, port: PORT }
  }
}

export interface ChaosOptions extends GossipWorldOptions {
  readonly minutes: number
}

export interface ChaosReport {
  readonly actions: number
  readonly steps: number
  readonly falseDeaths: number
  readonly convergenceMs: number
  readonly packets: number
}

/** Makes trouble for `minutes`, then heals, and holds the cluster to its promises. @throws InvariantError */
export function runChaos(options: ChaosOptions): ChaosReport {
  const cluster = new GossipWorld(options)
  const { world, network, nodes } = cluster
  const { chance } = world
  world.run(10_000)
  let actions = 0
  const endMs = world.nowMs + options.minutes * 60_000
  while (world.nowMs < endMs) {
    act(cluster)
    actions++
    world.run(chance.between(200, chance.chance(0.1) ? 60_000 : 8000))
  }
  cluster.note('everything heals')
  if (cluster.nodes.get('n1')?.isRunning !== true) cluster.start('n1')
  network.heal()
  network.faults = { ...quietNetwork }
  // What crashed just before still has to be noticed: that is a change, and G3 counts from the last one.
  const boundMs =
    detectionBoundMs(nodes.size, maxScore(cluster), cluster.settings) + convergenceBoundMs(nodes.size, cluster.settings)
  const healedAtMs = world.nowMs
  const convergenceMs = cluster.converge(boundMs, 'views agree (G3)')
  world.run(healedAtMs + boundMs - world.nowMs)
  cluster.staysQuiet(QUIET_MS)
  let packets = 0
  for (const traffic of network.traffic.values()) packets += traffic.packets
  const falseDeaths = cluster.checker.falseDeaths.length
  return { actions, steps: world.steps, falseDeaths, convergenceMs, packets }
}

function maxScore(cluster: GossipWorld): number {
  return Math.max(...cluster.running().map((node) => node.swim.healthScore))
}

function act(cluster: GossipWorld): void {
  const { world, network, nodes } = cluster
  const { chance } = world
  const names = [...nodes.keys()]
  const running = cluster.running()
  const stopped = names.filter((name) => nodes.get(name)?.isRunning !== true)
  const keys = running.map((node) => node.key)
  switch (chance.int(12)) {
    case 0:
    case 1:
      if (running.length > 2) cluster.crash(chance.pick(running).name)
      return
    case 2:
    case 3:
      if (stopped.length > 0) cluster.start(chance.pick(stopped), chance.chance(0.3) ? 'new' : 'same')
      return
    case 4: {
      // A quick restart, which gossip does not see as a death.
      const { name } = chance.pick(running)
      cluster.crash(name)
      cluster.start(name, chance.chance(0.3) ? 'new' : 'same')
      return
    }
    case 5:
      if (running.length > 2) {
        const node = chance.pick(running)
        cluster.note(`leave ${node.name}`)
        node.feed({ kind: 'leave' })
      }
      return
    case 6: {
      const at = 1 + chance.int(Math.max(1, keys.length - 1))
      cluster.note(`partition ${keys.slice(0, at)} from the rest`)
      network.partition(keys.slice(0, at), keys.slice(at))
      return
    }
    case 7: {
      const [from, to] = [chance.pick(keys), chance.pick(keys)]
      cluster.note(`cut ${from} > ${to}`)
      network.cut(from, to)
      return
    }
    case 8:
      cluster.note('heal')
      network.heal()
      return
    case 9: {
      const node = chance.pick(running)
      const durationMs = chance.between(500, 30_000)
      cluster.note(`freeze ${node.name} for ${Math.round(durationMs)} ms`)
      node.freeze(durationMs)
      return
    }
    case 10: {
      const node = chance.pick(running)
      cluster.note(`tags of ${node.name} change`)
      node.feed({
        kind: 'tags',
        tags: new Map([
          ['role', 'moonmesh'],
          ['x', String(chance.int(1000))],
        ]),
      })
      return
    }
    default: {
      const loss = chance.between(0, 0.3)
      cluster.note(`loss ${loss.toFixed(2)}`)
      network.faults = {
        loss,
        duplication: chance.between(0, 0.2),
        reordering: chance.between(0, 0.2),
        streamFailures: chance.between(0, 0.3),
        delayMinMs: 0.2,
        delayMaxMs: chance.between(1, 80),
      }
    }
  }
}
