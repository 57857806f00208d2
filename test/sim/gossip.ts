// Clusters of gossip in the simulated world, and what they promise: under faults G1, G2 and G4 after every step, and once
// all is well again that every view becomes the truth (G3).

import { type Address, formatAddress } from '../../cluster/swim/core/address.ts'
import { defaultSwimSettings, type SwimSettings } from '../../cluster/swim/core/settings.ts'
import type { Envelope } from '../../cluster/swim/wire/packet.ts'
import { convergenceBoundMs, detectionBoundMs, disagreement, GossipChecker } from './checkers/gossip.ts'
import { InvariantError } from './checkers/invariant-error.ts'
import { drawPlan, type Fault, makeTrouble, type Target } from './faults.ts'
import { Network, type NetworkFaults, quietNetwork } from './network.ts'
import { type SwimNetwork, SwimNode, type SwimObserver, type Tamper } from './swim-node.ts'
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
  readonly tamper?: Tamper
  readonly trace?: boolean
  readonly onNote?: (line: string) => void
  /** In place of the checker, for measurements that are too large for it. */
  readonly observer?: SwimObserver
}

export interface StartOptions {
  readonly isElsewhere?: boolean
  /** The disk is empty. */
  readonly isWiped?: boolean
  readonly wallErrorMs?: number
}

const PORT = 7946
const SEEDS = 3
const QUIET_MS = 120_000

/** A running cluster in the simulated world. */
export class GossipWorld implements Target {
  readonly world: World
  readonly network: SwimNetwork
  readonly checker: GossipChecker<SwimNode>
  readonly settings: SwimSettings
  /** The latest run of each name, running or not. */
  readonly nodes = new Map<string, SwimNode>()
  readonly #options: GossipWorldOptions
  readonly #endedAtMs = new Map<string, number>()
  /** Epochs on the disks of the nodes. */
  readonly #persisted = new Map<string, number>()
  #hosts = 0

  /** Told to leave; one that is halted does so once it goes on. */
  readonly leaving = new Set<SwimNode>()

  constructor(options: GossipWorldOptions) {
    this.#options = options
    const { trace = false, onNote } = options
    this.world = new World(options.seed, { trace, ...(onNote === undefined ? {} : { onNote }) })
    this.network = new Network(this.world, { ...quietNetwork, ...options.faults })
    this.checker = new GossipChecker(this.world, this.nodes, options.settings)
    this.settings = { ...defaultSwimSettings, ...options.settings }
    for (let i = 1; i <= options.nodes; i++) this.start(`n${i}`)
  }

  names(): string[] {
    return [...this.nodes.keys()]
  }

  running(): SwimNode[] {
    return [...this.nodes.values()].filter((node) => node.isRunning)
  }

  node(name: string): SwimNode {
    const node = this.nodes.get(name)
    if (node === undefined) throw new Error(`there is no node ${name}`)
    return node
  }

  /** Starts a run of a name, at its former address with its former disk unless told otherwise. */
  start(name: string, options: StartOptions = {}): SwimNode {
    const { isElsewhere = false, isWiped = false } = options
    const former = this.nodes.get(name)
    const address = former !== undefined && !isElsewhere ? former.address : this.#newAddress()
    const { envelope, clockDrift = 0, settings, tamper, observer = this.checker } = this.#options
    const { chance } = this.world
    const drawnErrorMs = clockDrift === 0 ? 0 : chance.between(-1, 1) * chance.pick([100, 10_000, 3_600_000])
    const wallErrorMs = options.wallErrorMs ?? drawnErrorMs
    const persisted = isWiped ? 0 : (this.#persisted.get(name) ?? 0)
    const epoch = Math.max(persisted + 1, Math.floor(this.world.wallMs + wallErrorMs))
    this.note(`start ${name}@${epoch} at ${formatAddress(address)}`)
    const node = new SwimNode(
      this.world,
      this.network,
      {
        name,
        address,
        epoch,
        seeds: () => this.seeds(),
        ...(settings === undefined ? {} : { settings }),
        ...(envelope === undefined ? {} : { envelope }),
        ...(tamper === undefined ? {} : { tamper }),
        clock: { rate: 1 + chance.between(-clockDrift, clockDrift), offsetMs: chance.int(1e9), wallErrorMs },
      },
      {
        stepped: (each, input, effects) => {
          this.#persisted.set(each.name, Math.max(each.epoch, this.#persisted.get(each.name) ?? 0))
          if (each.hasLeft && this.#endedAtMs.get(each.name) === undefined) this.#ended(each)
          observer.stepped(each, input, effects)
        },
      },
    )
    this.nodes.set(name, node)
    this.#endedAtMs.delete(name)
    return node
  }

  /** What every node is told to join: the first few names, wherever they are now. */
  seeds(): Address[] {
    const first: Address[] = []
    for (const node of this.nodes.values()) {
      if (first.push(node.address) === SEEDS) break
    }
    return first.length > 0 ? first : [{ host: '10.0.0.1', port: PORT }]
  }

  crash(name: string): void {
    this.note(`crash ${name}`)
    const node = this.node(name)
    if (!node.isRunning) return
    node.crash()
    this.#ended(node)
  }

  disturbed(isDisturbed: boolean): void {
    this.checker.disturbed(isDisturbed)
  }

  note(what: string): void {
    this.world.note(() => `* ${what}`)
  }

  disagreement(): string | undefined {
    return disagreement(this.nodes.values())
  }

  /** Runs until all views are the truth. @returns how long it took @throws InvariantError when it takes longer than `maxMs` */
  converge(maxMs: number, rule: string): number {
    const startedAtMs = this.world.nowMs
    if (!this.world.runUntil(() => this.disagreement() === undefined, maxMs)) {
      throw new InvariantError(`${rule}: ${this.disagreement()} after ${maxMs} ms; seed ${this.world.seed}`)
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

  /** How long until every running node holds a stopped one for gone (G1). */
  detect(name: string): number {
    const endedAtMs = this.#endedAtMs.get(name) ?? this.world.nowMs
    const seesIt = (node: SwimNode): boolean => node.live().some((member) => member.name === name)
    const boundMs = detectionBoundMs(this.nodes.size, maxScore(this), this.settings)
    if (!this.world.runUntil(() => !this.running().some(seesIt), boundMs)) {
      throw new InvariantError(`${name} is not seen as gone within ${boundMs} ms (G1); seed ${this.world.seed}`)
    }
    return this.world.nowMs - endedAtMs
  }

  #ended(node: SwimNode): void {
    this.#endedAtMs.set(node.name, this.world.nowMs)
    this.checker.ended(node)
  }

  #newAddress(): Address {
    this.#hosts++
    return { host: `10.0.${this.#hosts >> 8}.${this.#hosts & 255}`, port: PORT }
  }

  /** Somebody is found at the address that all join by: a halted n1 that was told to leave may only just be gone. */
  restoreSeed(): void {
    const seed = this.nodes.get('n1')
    if (seed !== undefined && this.leaving.has(seed)) this.world.runUntil(() => !seed.isRunning, 10_000)
    if (this.nodes.get('n1')?.isRunning !== true) this.start('n1')
  }
}

/** What befalls gossip and no other protocol. */
const GOSSIP_FAULTS: Record<string, Fault> = {
  leave(target, chance) {
    const cluster = target as GossipWorld
    const running = cluster.running()
    if (running.length <= 2) return
    const node = chance.pick(running)
    cluster.note(`leave ${node.name}`)
    cluster.leaving.add(node)
    node.feed({ kind: 'leave' })
  },
  tags(target, chance) {
    const cluster = target as GossipWorld
    const node = chance.pick(cluster.running())
    cluster.note(`tags of ${node.name} change`)
    node.feed({ kind: 'tags', tags: tagsOf(chance.int(1000)) })
  },
}

export function tagsOf(x: number | string): Map<string, string> {
  return new Map([
    ['role', 'moonmesh'],
    ['x', String(x)],
  ])
}

export interface ChaosOptions extends GossipWorldOptions {
  /** How many faults. */
  readonly steps: number
}

export interface ChaosReport {
  readonly steps: number
  readonly virtualMs: number
  readonly falseDeaths: number
  readonly convergenceMs: number
  /** How often a node was held to G1, and how long all were held to G2 while faults went on. */
  readonly completeness: number
  readonly accuracyMs: number
}

type ChaosOutcome = { ok: true; report: ChaosReport } | { ok: false; problem: string; trace: readonly string[] }

/** Makes trouble, then heals, and holds the cluster to its promises. */
export function runChaos(options: ChaosOptions): ChaosOutcome {
  const cluster = new GossipWorld(options)
  try {
    return { ok: true, report: chaos(cluster, options) }
  } catch (error) {
    const problem = error instanceof InvariantError ? error.message : String((error as Error).stack ?? error)
    return { ok: false, problem, trace: cluster.world.trace }
  }
}

function chaos(cluster: GossipWorld, options: ChaosOptions): ChaosReport {
  const { world, network, nodes, checker } = cluster
  world.run(10_000)
  makeTrouble(cluster, drawPlan(world.chance, GOSSIP_FAULTS), options.steps)
  // Frozen processes wake up by themselves; everything else heals now.
  for (const node of cluster.running()) {
    world.runUntil(() => !node.isRunning || node.process.lastHaltMs < world.nowMs, 300_000)
  }
  cluster.note('everything heals')
  cluster.restoreSeed()
  network.heal()
  network.faults = { ...quietNetwork }
  cluster.disturbed(false)
  // What crashed just before still has to be noticed: that is a change, and G3 counts from the last one.
  const boundMs =
    detectionBoundMs(nodes.size, maxScore(cluster), cluster.settings) + convergenceBoundMs(nodes.size, cluster.settings)
  const healedAtMs = world.nowMs
  const convergenceMs = cluster.converge(boundMs, 'views agree (G3)')
  world.run(healedAtMs + boundMs - world.nowMs)
  cluster.staysQuiet(QUIET_MS)
  const { completeness, accuracyMs } = checker.kept
  const falseDeaths = checker.falseDeaths.length
  return { steps: world.steps, virtualMs: world.nowMs, falseDeaths, convergenceMs, completeness, accuracyMs }
}

function maxScore(cluster: GossipWorld): number {
  return Math.max(...cluster.running().map((node) => node.swim.healthScore))
}
