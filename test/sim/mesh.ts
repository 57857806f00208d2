// A mesh under faults: resets, cuts, frozen and killed nodes, verdicts of gossip that are late or wrong. Afterwards all heals, every
// pair talks again, and what was sent in sessions that lasted has arrived.

import { APP, BULK, PG, RAFT, RLOG, SYSTEM } from '../../cluster/mesh/core/classes.ts'
import type { MeshSettings } from '../../cluster/mesh/core/settings.ts'
import { InvariantError } from './checkers/invariant-error.ts'
import { MeshChecker } from './checkers/mesh.ts'
import { MeshNode } from './mesh-node.ts'
import { quietStreams, StreamNetwork } from './streams.ts'
import { World } from './world.ts'

export interface MeshChaosOptions {
  readonly seed: number
  readonly nodes: number
  readonly minutes: number
  readonly settings?: Partial<MeshSettings>
}

interface MeshChaosReport {
  readonly steps: number
  readonly delivered: number
  readonly downs: number
  readonly resumed: number
}

const CLASSES = [RAFT, SYSTEM, APP, APP, APP, PG, BULK, RLOG]
export const HEAL_MS = 90_000

export class MeshWorld {
  readonly world: World
  readonly network: StreamNetwork
  readonly checker: MeshChecker = new MeshChecker()
  /** The latest run of each name. */
  readonly nodes = new Map<string, MeshNode>()
  readonly #runs = new Map<string, MeshNode>()
  readonly #settings: Partial<MeshSettings>
  readonly log: string[] = []
  #epoch = 1

  constructor(options: MeshChaosOptions) {
    this.world = new World(options.seed)
    this.network = new StreamNetwork(this.world)
    this.#settings = options.settings ?? {}
    for (let i = 1; i <= options.nodes; i++) this.start(`n${i}`)
  }

  running(): MeshNode[] {
    return [...this.nodes.values()].filter(({ isRunning }) => isRunning)
  }

  /** A new run; the others hear of it after a while, as through gossip. */
  start(name: string): MeshNode {
    const { chance } = this.world
    const node = new MeshNode(
      this.world,
      this.network,
      {
        name,
        epoch: this.#epoch++,
        address: `${name}:7950`,
        settings: this.#settings,
        clock: { rate: 1 + chance.between(-0.01, 0.01), offsetMs: chance.int(1e9) },
      },
      this.checker,
    )
    this.note(`start ${name}`)
    this.nodes.set(name, node)
    this.#runs.set(`${name}/${node.epoch}`, node)
    this.checker.watch(node, (peer, epoch) => this.#runs.get(`${peer}/${epoch}`) as MeshNode)
    for (const other of this.running()) if (other !== node) this.introduce(node, other)
    return node
  }

  /** Both hear of each other, each in its time. */
  introduce(a: MeshNode, b: MeshNode): void {
    for (const [one, other] of [
      [a, b],
      [b, a],
    ] as const) {
      this.world.after(this.world.chance.between(0, 1500), () => {
        if (this.nodes.get(other.name) === other)
          this.hear(one, () => one.feed({ kind: 'member', member: other.member }))
      })
    }
  }

  crash(name: string): void {
    const node = this.nodes.get(name) as MeshNode
    this.note(`crash ${name}`)
    node.crash()
    for (const other of this.running()) {
      this.world.after(this.world.chance.between(0, 10_000), () => this.dead(other, node))
    }
  }

  /** A verdict of gossip, right or wrong. */
  dead(observer: MeshNode, node: MeshNode): void {
    const { name, epoch } = node
    this.hear(observer, () => observer.feed({ kind: 'gone', name, epoch, reason: 'dead' }))
  }

  hear(node: MeshNode, act: () => void): void {
    if (node.isRunning) act()
  }

  note(what: string): void {
    this.log.push(`${(this.world.nowMs / 1000).toFixed(1)} s: ${what}`)
  }

  fail(what: string): never {
    throw new InvariantError(`${what}; seed ${this.world.seed}\n${this.log.slice(-30).join('\n')}`)
  }
}

/** @throws InvariantError */
export function runMeshChaos(options: MeshChaosOptions): MeshChaosReport {
  const mesh = new MeshWorld(options)
  const { world, network, checker } = mesh
  const { chance } = world
  world.run(3000)
  const endMs = world.nowMs + options.minutes * 60_000
  while (world.nowMs < endMs) {
    act(mesh)
    for (const ms = world.nowMs + chance.between(100, 5000); world.nowMs < ms; world.run(chance.between(1, 100)))
      talk(mesh)
  }
  mesh.note('everything heals')
  network.heal()
  network.faults = { ...quietStreams }
  for (const a of mesh.running()) {
    for (const b of mesh.running()) if (a.name < b.name) mesh.introduce(a, b)
  }
  world.run(HEAL_MS)
  // Where connections are made on demand this is the demand; the first word may still find the peer unreachable.
  for (let round = 0; round < 2; round++) {
    for (const a of mesh.running()) {
      for (const b of mesh.running()) if (a !== b) checker.send(a, b, APP, 10)
    }
    world.run(8000)
  }
  for (const a of mesh.running()) {
    for (const b of mesh.running()) {
      if (a === b) continue
      const link = a.core.link(b.name)
      if (link?.isUp !== true || link.state !== 'connected')
        return mesh.fail(`${a.name} does not reach ${b.name} (${link?.state})`)
      if (link.sessionId !== b.core.link(a.name)?.sessionId) mesh.fail(`${a.name} and ${b.name} hold two sessions`)
      for (const classId of [SYSTEM, APP]) {
        const missing = checker.missing(a, b, classId)
        if (missing.length > 0) mesh.fail(`M1: of ${a.name} > ${b.name} ${missing.length} messages are missing`)
        if ((link.queueBytes[classId] ?? 0) > 0) mesh.fail(`M3: ${a.name} still holds messages for ${b.name}`)
      }
    }
  }
  const resumed = mesh.running().reduce((sum, node) => sum + node.core.counters.resumed, 0)
  return { steps: world.steps, delivered: checker.delivered, downs: checker.downs, resumed }
}

function talk(mesh: MeshWorld): void {
  const { chance } = mesh.world
  const running = mesh.running()
  if (running.length < 2) return
  const from = chance.pick(running)
  const to = chance.pick(running.filter((node) => node !== from))
  const count = 1 + chance.int(8)
  for (let i = 0; i < count; i++) {
    const bytes = chance.chance(0.1) ? chance.int(150_000) : chance.int(300)
    const classId = chance.pick(CLASSES)
    mesh.checker.send(from, to, classId, bytes, { isSignal: classId === APP && chance.chance(0.1) })
  }
}

/** Something befalls the network or a node. */
export function act(mesh: MeshWorld): void {
  const { world, network } = mesh
  const { chance } = world
  const running = mesh.running()
  const stopped = [...mesh.nodes.values()].filter(({ isRunning }) => !isRunning)
  const addresses = running.map(({ address }) => address)
  switch (chance.int(12)) {
    case 0:
      if (running.length > 2) mesh.crash(chance.pick(running).name)
      return
    case 1:
    case 2:
      if (stopped.length > 0) mesh.start(chance.pick(stopped).name)
      return
    case 3: {
      const { name } = chance.pick(running)
      mesh.crash(name)
      mesh.start(name)
      return
    }
    case 4:
    case 5: {
      const meant = chance.pick(addresses)
      mesh.note(`reset connections of ${meant}`)
      network.reset((a, b) => a === meant || b === meant)
      return
    }
    case 6: {
      const at = 1 + chance.int(Math.max(1, addresses.length - 1))
      mesh.note(`partition ${addresses.slice(0, at)}`)
      network.partition(addresses.slice(0, at), addresses.slice(at))
      return
    }
    case 7: {
      const [from, to] = [chance.pick(addresses), chance.pick(addresses)]
      mesh.note(`cut ${from} > ${to}`)
      network.cut(from, to)
      return
    }
    case 8:
    case 9:
      mesh.note('heal')
      network.heal()
      return
    case 10: {
      const [observer, node] = [chance.pick(running), chance.pick(running)]
      if (observer === node) return
      mesh.note(`${observer.name} holds ${node.name} for dead`)
      mesh.dead(observer, node)
      world.after(chance.between(0, 20_000), () => {
        if (node.isRunning) mesh.hear(observer, () => observer.feed({ kind: 'member', member: node.member }))
      })
      return
    }
    default: {
      if (chance.chance(0.5)) {
        const node = chance.pick(running)
        const durationMs = chance.between(500, 30_000)
        mesh.note(`freeze ${node.name} for ${Math.round(durationMs)} ms`)
        node.process.freeze(durationMs)
        return
      }
      network.faults = {
        delayMinMs: 0.2,
        delayMaxMs: chance.between(1, 60),
        bytesPerMs: chance.between(200, 100_000),
        resets: chance.chance(0.5) ? chance.between(0, 0.02) : 0,
        pieceBytesMax: chance.chance(0.2) ? 50 + chance.int(500) : 65_536,
      }
      mesh.note(`faults ${JSON.stringify(network.faults)}`)
    }
  }
}
