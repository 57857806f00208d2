// Gossip and mesh of whole nodes in one world: the mesh dials whom its own gossip names, on the same hosts and the same clocks, and
// both meet the same cuts, halts and restarts. M1 to M3 and G1 to G4 are checked together. cluster.md §13.

import { APP, BULK, PG, RAFT, RLOG, SYSTEM } from '../../cluster/mesh/core/classes.ts'
import { meshMember } from '../../cluster/mesh/core/members.ts'
import type { MeshSettings } from '../../cluster/mesh/core/settings.ts'
import { formatAddress } from '../../cluster/swim/core/address.ts'
import type { MemberEvent } from '../../cluster/swim/core/events.ts'
import type { Finding } from '../../cluster/swim/core/inquiries.ts'
import type { Member } from '../../cluster/swim/core/members.ts'
import { convergenceBoundMs, detectionBoundMs } from './checkers/gossip.ts'
import { InvariantError } from './checkers/invariant-error.ts'
import { MeshChecker } from './checkers/mesh.ts'
import { drawPlan, type Fault, type Plan } from './faults.ts'
import { GossipWorld, type GossipWorldOptions, type StartOptions } from './gossip.ts'
import { MeshNode } from './mesh-node.ts'
import { quietNetwork } from './network.ts'
import { quietStreams, StreamNetwork } from './streams.ts'
import type { SwimNode } from './swim-node.ts'

interface MeshWorldOptions extends GossipWorldOptions {
  readonly mesh?: Partial<MeshSettings>
}

const GOSSIP_PORT = 7946
const MESH_PORT = 7950
const CLASSES = [RAFT, SYSTEM, APP, APP, APP, PG, BULK, RLOG]
/** A member's tags come with its address; here every node has the same. */
const TAGS: ReadonlyMap<string, string> = new Map([['internode_port', String(MESH_PORT)]])

export class GossipMeshWorld extends GossipWorld {
  readonly streams: StreamNetwork
  readonly meshChecker = new MeshChecker()
  /** Of the latest run of each name. */
  readonly meshes = new Map<string, MeshNode>()
  readonly #runs = new Map<string, MeshNode>()
  readonly #settings: Partial<MeshSettings>

  constructor(options: MeshWorldOptions) {
    // The nodes are started below: they need what only this class has.
    super({ ...options, nodes: 0 })
    this.#settings = options.mesh ?? {}
    const gossipOf = (address: string): string => address.replace(/:\d+$/, `:${GOSSIP_PORT}`)
    const isCut = (from: string, to: string): boolean => !this.network.passes(gossipOf(from), gossipOf(to))
    const isRejected = (from: string, to: string): boolean => this.network.rejects(gossipOf(from), gossipOf(to))
    this.streams = new StreamNetwork(this.world, quietStreams, isCut, isRejected)
    for (let i = 1; i <= options.nodes; i++) this.start(`n${i}`)
  }

  override start(name: string, options: StartOptions = {}): SwimNode {
    const node = super.start(name, options)
    const mesh = new MeshNode(
      this.world,
      this.streams,
      {
        name,
        epoch: node.epoch,
        address: formatAddress({ host: node.address.host, port: MESH_PORT }),
        settings: this.#settings,
        process: node.process,
      },
      this.meshChecker,
    )
    this.meshes.set(name, mesh)
    this.#runs.set(`${name}/${mesh.epoch}`, mesh)
    this.meshChecker.watch(mesh, (peer, epoch) => this.#run(peer, epoch))
    node.onMember = (event) => hear(mesh, event)
    for (const event of node.events) hear(mesh, event)
    node.onEpochRaised = (epoch) => {
      mesh.raiseEpoch(epoch)
      this.#runs.set(`${name}/${epoch}`, mesh)
    }
    mesh.onConnectionLost = (peer, epoch) => node.feed({ kind: 'link-lost', node: peer, epoch })
    node.evidence = {
      areClosed: (member, timeoutMs, done) => this.#knock(node, member, timeoutMs, done),
      ask: (peer, about, timeoutMs, done) => this.#ask(node, peer, about, timeoutMs, done),
    }
    return node
  }

  /** Connects to the ports of a member, gossip first, as a real node does. */
  #knock(node: SwimNode, { address }: Member, timeoutMs: number, done: (areClosed: boolean) => void): void {
    const { world, network, streams } = this
    const [from, to] = [node.key, formatAddress(address)]
    world.after(2 * streams.delayMs(), () => {
      const answer = network.answerAt(from, to)
      if (answer === 'open') return done(false)
      if (answer === 'silence') return world.after(timeoutMs, () => done(false))
      const own = this.meshes.get(node.name)?.address ?? ''
      streams.connect(own, formatAddress({ host: address.host, port: MESH_PORT }), timeoutMs / 2, (result) => {
        if (typeof result !== 'string') result.close()
        done(result === 'refused')
      })
    })
  }

  /** A question over the mesh: it comes as far as the connection does. */
  #ask(
    node: SwimNode,
    name: string,
    about: { node: string; epoch: number },
    timeoutMs: number,
    done: (finding: Finding) => void,
  ): void {
    const { world, network, streams } = this
    const peer = this.nodes.get(name)
    const isLinked = (a: string, b: string): boolean => this.meshes.get(a)?.core.link(b)?.state === 'connected'
    let isOver = false
    const finish = (finding: Finding): void => {
      if (!isOver) done(finding)
      isOver = true
    }
    world.after(timeoutMs, () => finish('unknown'))
    if (peer === undefined || !isLinked(node.name, name)) return world.after(0, () => finish('unknown'))
    world.after(streams.delayMs(), () => {
      if (!peer.isRunning || !network.passes(node.key, peer.key)) return
      peer.process.input(() =>
        peer.question({ ...about, isLinked: isLinked(name, about.node) }, (finding) =>
          world.after(streams.delayMs(), () => {
            if (network.passes(peer.key, node.key)) finish(finding)
          }),
        ),
      )
    })
  }

  /**
   * A firewall between two hosts answers with resets: connections break, and no port seems to be open.
   * @param withDatagrams what gossip sends is thrown away too
   */
  reject(from: string, to: string, withDatagrams: boolean): void {
    const [a, b] = [this.node(from), this.node(to)]
    this.note(`a firewall rejects ${from} > ${to}${withDatagrams ? ', datagrams too' : ''}`)
    this.network.reject(a.key, b.key)
    if (withDatagrams) this.network.cut(a.key, b.key)
    const [one, other] = [this.meshes.get(from)?.address ?? '', this.meshes.get(to)?.address ?? '']
    this.streams.reset((x, y) => (x === one && y === other) || (x === other && y === one))
  }

  override crash(name: string): void {
    super.crash(name)
    const mesh = this.meshes.get(name)
    if (mesh !== undefined) this.streams.crash(mesh.address)
  }

  #run(name: string, epoch: number): MeshNode {
    const run = this.#runs.get(`${name}/${epoch}`)
    if (run === undefined) throw new InvariantError(`a message of ${name} in run ${epoch}, which never was`)
    return run
  }

  /** Some messages from somebody to somebody. */
  talk(): void {
    const { chance } = this.world
    const running = this.running()
    if (running.length < 2) return
    const from = chance.pick(running)
    const to = chance.pick(running.filter((node) => node !== from))
    const [one, other] = [this.meshes.get(from.name), this.meshes.get(to.name)]
    if (one === undefined || other === undefined || from.process.lastHaltMs === this.world.nowMs) return
    for (let i = chance.int(6); i >= 0; i--) {
      const classId = chance.pick(CLASSES)
      const bytes = chance.chance(0.05) ? chance.int(100_000) : chance.int(300)
      this.meshChecker.send(one, other, classId, bytes)
    }
  }

  /** Why not every pair talks over one session, with nothing left to say. */
  meshProblem(): string | undefined {
    const running = this.running().map(({ name }) => this.meshes.get(name) as MeshNode)
    for (const a of running) {
      for (const b of running) {
        if (a === b) continue
        const link = a.core.link(b.name)
        if (link === undefined || !link.isUp || link.state !== 'connected') return `${a.name} does not reach ${b.name}`
        if (link.sessionId !== b.core.link(a.name)?.sessionId) return `${a.name} and ${b.name} hold two sessions`
        for (const classId of [SYSTEM, APP]) {
          const missing = this.meshChecker.missing(a, b, classId)
          if (missing.length > 0) return `${missing.length} messages of ${a.name} to ${b.name} are missing (M1)`
        }
      }
    }
    return undefined
  }
}

function hear(mesh: MeshNode, { kind, name, epoch, address, reason = 'left' }: MemberEvent): void {
  if (name === mesh.name) return
  if (kind === 'left') mesh.feed({ kind: 'gone', name, epoch, reason })
  else mesh.feed({ kind: 'member', member: meshMember({ name, epoch, address, tags: TAGS }) })
}

/** What befalls connections and nothing else. */
const STREAM_FAULTS: Record<string, Fault> = {
  reset(target, chance) {
    const { streams, meshes } = target as GossipMeshWorld
    const { address } = chance.pick([...meshes.values()])
    const count = streams.reset((a, b) => a === address || b === address)
    target.note(`${count} connections of ${address} are reset`)
  },
  firewall(target, chance) {
    const cluster = target as GossipMeshWorld
    const running = cluster.running()
    if (running.length < 2) return
    const from = chance.pick(running)
    const to = chance.pick(running.filter((node) => node !== from))
    const withDatagrams = chance.chance(0.5)
    // Without its datagrams a pair is a partition; with them nobody may be taken for dead.
    if (withDatagrams) cluster.disturbed(true)
    cluster.reject(from.name, to.name, withDatagrams)
  },
  streams(target, chance) {
    const { streams } = target as GossipMeshWorld
    streams.faults = {
      delayMinMs: 0.2,
      delayMaxMs: chance.between(1, 60),
      bytesPerMs: chance.between(200, 100_000),
      resets: chance.chance(0.5) ? chance.between(0, 0.02) : 0,
      pieceBytesMax: chance.chance(0.2) ? 50 + chance.int(500) : 65_536,
    }
    target.note(`streams: ${JSON.stringify(streams.faults)}`)
  },
}

interface MeshReport {
  readonly steps: number
  readonly virtualMs: number
  readonly delivered: number
  readonly downs: number
  readonly resumed: number
  readonly falseDeaths: number
  /** Broken connections that were looked into, and verdicts that came of it. */
  readonly inquiries: number
  readonly inquiryVerdicts: number
}

type MeshOutcome = { ok: true; report: MeshReport } | { ok: false; problem: string; trace: readonly string[] }

/** Trouble, healing, and the promises of gossip and mesh together. @param options.steps how many faults */
export function runGossipMesh(options: MeshWorldOptions & { steps: number }): MeshOutcome {
  const cluster = new GossipMeshWorld(options)
  try {
    return { ok: true, report: chaos(cluster, options.steps) }
  } catch (error) {
    const problem = error instanceof InvariantError ? error.message : String((error as Error).stack ?? error)
    return { ok: false, problem, trace: cluster.world.trace }
  }
}

function chaos(cluster: GossipMeshWorld, steps: number): MeshReport {
  const { world, network, streams, nodes } = cluster
  world.run(10_000)
  troubleAndTalk(cluster, drawPlan(world.chance, STREAM_FAULTS), steps)
  for (const node of cluster.running()) {
    world.runUntil(() => !node.isRunning || node.process.lastHaltMs < world.nowMs, 300_000)
  }
  cluster.note('everything heals')
  cluster.restoreSeed()
  network.heal()
  network.faults = { ...quietNetwork }
  streams.faults = { ...quietStreams }
  cluster.disturbed(false)
  const score = Math.max(...cluster.running().map((node) => node.swim.healthScore))
  const { settings } = cluster
  cluster.converge(
    detectionBoundMs(nodes.size, score, settings) + convergenceBoundMs(nodes.size, settings),
    'views agree (G3)',
  )
  // A dial that just failed waits up to six seconds, a silent connection up to fifteen.
  if (!world.runUntil(() => cluster.meshProblem() === undefined, 60_000)) {
    throw new InvariantError(`all pairs talk once gossip agrees: ${cluster.meshProblem()}; seed ${world.seed}`)
  }
  const { delivered, downs } = cluster.meshChecker
  const resumed = cluster
    .running()
    .reduce((sum, { name }) => sum + (cluster.meshes.get(name)?.core.counters.resumed ?? 0), 0)
  const falseDeaths = cluster.checker.falseDeaths.length
  const sum = (count: (node: SwimNode) => number): number =>
    cluster.running().reduce((all, node) => all + count(node), 0)
  const inquiries = sum(({ swim }) => swim.counters.inquiries)
  const inquiryVerdicts = sum(({ swim }) => swim.counters.inquiryVerdicts)
  return {
    steps: world.steps,
    virtualMs: world.nowMs,
    delivered,
    downs,
    resumed,
    falseDeaths,
    inquiries,
    inquiryVerdicts,
  }
}

function troubleAndTalk(cluster: GossipMeshWorld, plan: Plan, count: number): void {
  const { world } = cluster
  const { chance } = world
  for (let i = 0; i < count; i++) {
    const [, fault] = chance.pick(plan.faults)
    fault(cluster, chance)
    const endMs = world.nowMs + chance.between(0, plan.paceMs * 2)
    // More words while little happens would only take time.
    const words = Math.min(20, Math.ceil((endMs - world.nowMs) / 100))
    for (let word = 0; word < words; word++) {
      cluster.talk()
      world.run((endMs - world.nowMs) / (words - word))
    }
  }
}
