// Processes of several nodes under faults: the real relays over the real mesh, with hosts in the simplest form that keeps their rules.
// Checked is A1: every monitor yields exactly one EXIT unless it is taken back, and what one process says to another arrives in order, at
// most once, and never after its EXIT; and that in the end both ends of each pair agree whether there is a link, nobody is linked to who is
// gone, and nothing is kept of what is over. cluster.md §10, §13.

import { APP } from '../../cluster/mesh/core/classes.ts'
import type { MeshEffect } from '../../cluster/mesh/core/mesh.ts'
import { PidMaker } from '../../runtime/base/pid.ts'
import { ErrorValue, type Value } from '../../runtime/base/value.ts'
import { Links } from '../../runtime/process/core/links.ts'
import { type FromHost, NO_REPLY, type ToHost } from '../../runtime/process/port.ts'
import { type PeerSession, Peers } from '../../runtime/relay/peers.ts'
import { Relay } from '../../runtime/relay/relay.ts'
import { InvariantError } from './checkers/invariant-error.ts'
import { act, HEAL_MS, type MeshChaosOptions, MeshWorld } from './mesh.ts'
import type { MeshNode } from './mesh-node.ts'
import { quietStreams } from './streams.ts'

const HOST = 'sim:processes'
const CRASHED = new ErrorValue('Internal', 'ended', false)
const PROCESSES_MAX = 12

/** Faults of the code that the checker has to find. */
type PlantedBug = 'silent-loss' | 'doubled-messages' | 'deaf-host' | 'links-by-hearsay' | 'no-acknowledgement'

interface ActorsOptions extends MeshChaosOptions {
  readonly bug?: PlantedBug
}

export interface ActorsReport {
  readonly monitors: number
  readonly exits: number
  readonly messages: number
  readonly links: number
  readonly lost: number
}

/** What the checker knows of one monitor. */
interface Watch {
  /** The call was answered: an EXIT is owed. */
  isOwed: boolean
  isTakenBack: boolean
  exits: number
}

class ActorChecker {
  readonly #watches = new Map<string, Watch>()
  /** By sender and receiver: the last number that arrived. */
  readonly #last = new Map<string, number>()
  readonly #ended = new Set<string>()
  monitors = 0
  exits = 0
  messages = 0
  links = 0

  monitored(watcher: string, target: string): void {
    this.monitors++
    this.#watches.set(`${watcher} ${target}`, { isOwed: false, isTakenBack: false, exits: 0 })
  }

  answered(watcher: string, target: string, isOk: boolean): void {
    const watch = this.#watches.get(`${watcher} ${target}`)
    if (watch === undefined) return
    if (isOk) watch.isOwed = true
    else this.#watches.delete(`${watcher} ${target}`)
  }

  takenBack(watcher: string, target: string): void {
    const watch = this.#watches.get(`${watcher} ${target}`)
    if (watch !== undefined) watch.isTakenBack = true
  }

  /** A process is told the end of another one. @param isReal that one itself said so, and not the loss of its node */
  exited(watcher: string, target: string, isReal: boolean): void {
    this.exits++
    const watch = this.#watches.get(`${watcher} ${target}`)
    if (watch === undefined)
      throw new InvariantError(`A1: ${watcher} hears the EXIT of ${target}, which it does not watch`)
    if (watch.isTakenBack)
      throw new InvariantError(`A1: ${watcher} hears the EXIT of ${target} after it took the monitor back`)
    if (++watch.exits > 1) throw new InvariantError(`A1: ${watcher} hears the EXIT of ${target} twice`)
    if (isReal) this.#ended.add(`${target} ${watcher}`)
  }

  received(from: string, to: string, number: number): void {
    this.messages++
    const key = `${from} ${to}`
    if (this.#ended.has(key)) throw new InvariantError(`A1: ${to} hears ${from} after its EXIT`)
    const last = this.#last.get(key) ?? 0
    if (number <= last) throw new InvariantError(`A1: ${to} hears ${number} of ${from} after ${last}`)
    this.#last.set(key, number)
  }

  forget(isGone: (watcher: string) => boolean): void {
    for (const key of this.#watches.keys()) if (isGone(key.slice(0, key.indexOf(' ')))) this.#watches.delete(key)
  }

  isWatching(watcher: string, target: string): boolean {
    return this.#watches.get(`${watcher} ${target}`)?.isTakenBack === false
  }

  /** Monitors that still owe their EXIT. */
  owed(): string[] {
    return [...this.#watches]
      .filter(([, watch]) => watch.isOwed && !watch.isTakenBack && watch.exits === 0)
      .map(([key]) => key)
  }
}

/** One node: its relay, one host, and the sessions that the mesh gives it. */
class ActorNode {
  readonly mesh: MeshNode
  readonly relay: Relay
  readonly alive = new Set<string>()
  readonly #world: ActorWorld
  readonly #peers: Peers
  readonly #sessions = new Map<string, PeerSession>()
  readonly #links = new Links()
  readonly #pids: PidMaker
  readonly #asked = new Map<number, { watcher: string; target: string; id: number | undefined }>()
  readonly #inbox: ToHost[] = []
  #toNode: (message: FromHost) => void = () => {}
  #nextRef = 1
  #nextPairId = 1
  #nextNumber = 1

  constructor(world: ActorWorld, mesh: MeshNode) {
    this.#world = world
    this.mesh = mesh
    const self = { node: mesh.name, epoch: mesh.epoch }
    const unused = (): never => {
      throw new Error('not part of this world')
    }
    this.relay = new Relay(self, mesh.process.env, {
      log: () => {},
      terminal: unused,
      stopped: () => {},
      ready: () => {},
      request: unused,
      clientEnded: () => {},
      clientsLost: () => {},
    })
    this.#pids = new PidMaker({ ...self, host: HOST, slot: 0, generation: 0 })
    this.#peers = new Peers({
      messageBytesMax: Number.MAX_SAFE_INTEGER,
      relay: this.relay,
      queueBytesMax: 1024 * 1024,
      hasRoom: ({ name, epoch }) => mesh.core.hasRoom({ peer: name, epoch }, APP),
      refusal: ({ name, epoch }, byteCount, isSignal) => {
        const refusal = mesh.core.refusal({ peer: name, epoch }, APP, byteCount, { isSignal })
        if (refusal === undefined || refusal === 'overflow') return undefined
        return refusal === 'queue_full' ? 'full' : refusal === 'too_large' ? 'too-large' : 'gone'
      },
      send: ({ name, epoch }, bytes) => void mesh.send(name, APP, bytes, { isSignal: true }, epoch),
      defer: (run) => world.world.after(0, () => mesh.process.input(run)),
    })
    this.relay.takeSlot()
    this.relay.open({
      hostId: HOST,
      slot: 0,
      port: {
        post: (message) => this.#post(message),
        give: (message) => this.#post(message),
        onMessage: (handler) => {
          this.#toNode = handler
        },
        close: () => {},
      },
    })
    mesh.onSession = (effect) => this.#session(effect)
    mesh.onDeliver = (peer, epoch, { bytes }, consumed) => {
      const session = this.#sessions.get(peer)
      const problem = session?.epoch === epoch ? this.#peers.message(session, bytes) : undefined
      if (problem !== undefined) throw new InvariantError(`what relays say cannot be read: ${problem}`)
      if (this.#world.bug === 'doubled-messages' && session?.epoch === epoch) this.#peers.message(session, bytes)
      consumed()
    }
  }

  #session(effect: MeshEffect & { kind: 'node-up' | 'node-down' }): void {
    if (effect.kind === 'node-up') {
      const session = { name: effect.peer, epoch: effect.epoch }
      this.#sessions.set(session.name, session)
      this.#peers.up(session)
    } else {
      const session = this.#sessions.get(effect.peer)
      if (session?.epoch !== effect.epoch) return
      this.#sessions.delete(session.name)
      if (this.#world.bug !== 'silent-loss') this.#peers.down(session)
    }
  }

  spawn(): void {
    if (this.alive.size < PROCESSES_MAX) this.alive.add(this.#pids.next())
  }

  monitor(watcher: string, target: string): void {
    if (this.#world.actors.isWatching(watcher, target)) return
    const id = this.#nextPairId++
    if (!this.#links.monitor(watcher, target, id)) return
    this.#world.actors.monitored(watcher, target)
    const ref = this.#nextRef++
    this.#asked.set(ref, { watcher, target, id })
    this.#toNode({ kind: 'monitor', to: target, from: watcher, id, ref })
  }

  link(from: string, to: string): void {
    this.#world.actors.links++
    this.#links.link(from, to)
    const ref = this.#nextRef++
    this.#asked.set(ref, { watcher: from, target: to, id: undefined })
    this.#toNode({ kind: 'link', to, from, ref })
  }

  unlink(from: string, to: string): void {
    if (!this.#links.isLinked(from, to)) return
    const id = this.#nextPairId++
    this.#links.beginUnlink(from, to, id)
    this.#toNode({ kind: 'unlink', to, from, id })
  }

  isLinked(from: string, to: string): boolean {
    return this.#links.isLinked(from, to)
  }

  /** What is kept about pairs, beside the links and monitors of processes that live. */
  get unacknowledgedCount(): number {
    return this.#links.unacknowledgedCount
  }

  pairCount(): number {
    return this.#links.count
  }

  takeBack(watcher: string, target: string): void {
    if (!this.#links.unmonitor(watcher, target)) return
    this.#world.actors.takenBack(watcher, target)
    this.#toNode({ kind: 'unmonitor', to: target, from: watcher })
  }

  say(from: string, to: string): void {
    const number = this.#nextNumber++
    this.#toNode({ kind: 'send', to, from, topic: 'n', values: [number], ref: this.#nextRef++ })
  }

  /** @param failed its links hear of it */
  end(pid: string, failed: boolean): void {
    if (!this.alive.delete(pid)) return
    const { notices, unmonitor, unlink } = this.#links.exited(pid, failed)
    const atMs = this.mesh.process.env.wallMs()
    const outcome = { ok: false, error: CRASHED } as const
    for (const { kind, ...notice } of notices) {
      this.#toNode({ kind: 'down', from: pid, event: kind, outcome, atMs, ...notice })
    }
    for (const to of unmonitor) this.#toNode({ kind: 'unmonitor', to, from: pid })
    for (const to of unlink) this.#toNode({ kind: 'unlink', to, from: pid })
    this.#world.actors.forget((watcher) => watcher === pid)
  }

  /** A host reads in a turn of its own. */
  #post(message: ToHost): void {
    this.#inbox.push(message)
    this.#world.world.after(0, () =>
      this.mesh.process.input(() => {
        const next = this.#inbox.shift()
        if (next !== undefined) this.#handle(next)
      }),
    )
  }

  #handle(message: ToHost): void {
    const { actors } = this.#world
    switch (message.kind) {
      case 'send':
        if (this.alive.has(message.to)) actors.received(message.from, message.to, message.values[0] as number)
        return this.#reply(message.ref, this.alive.has(message.to))
      case 'monitor': {
        const isThere = this.alive.has(message.to)
        if (isThere) this.#links.monitor(message.from, message.to, message.id)
        return this.#reply(message.ref, isThere)
      }
      case 'link': {
        const isThere = this.alive.has(message.to)
        if (isThere && !this.#links.link(message.from, message.to) && this.#world.bug === 'links-by-hearsay') {
          this.#links.unlink(message.to, message.from)
          this.#links.partnerEnded(message.to, message.from)
          this.#links.link(message.from, message.to)
        }
        return this.#reply(message.ref, isThere)
      }
      case 'unlink': {
        const { to, from, id } = message
        if (id === undefined) return this.#links.partnerEnded(to, from)
        this.#links.unlink(to, from)
        if (this.#world.bug !== 'no-acknowledgement') this.#toNode({ kind: 'unlink-ack', to: from, from: to, id })
        return
      }
      case 'unlink-ack':
        return this.#links.unlinkAcknowledged(message.to, message.from, message.id)
      case 'unmonitor':
        this.#links.unmonitor(message.from, message.to)
        return
      case 'down': {
        const { to, from, outcome, id } = message
        if (message.event === 'link-down') return this.#links.partnerEnded(to, from)
        if (!this.#links.isMonitoring(to, from, id) || this.#world.bug === 'deaf-host') return
        this.#links.fired(to, from, id)
        const isReal = !outcome.ok && outcome.error.message === CRASHED.message
        if (this.alive.has(to)) actors.exited(to, from, isReal)
        return
      }
      case 'reply': {
        const asked = this.#asked.get(message.ref)
        this.#asked.delete(message.ref)
        if (asked === undefined) return
        if (asked.id === undefined) {
          if (!message.ok) this.#links.unlink(asked.watcher, asked.target)
          return
        }
        const { watcher, target, id } = asked
        // It may have been taken back meanwhile, and set up again.
        const isThis = this.#links.isMonitoring(watcher, target, id)
        if (!message.ok) this.#links.fired(watcher, target, id)
        if (isThis) actors.answered(watcher, target, message.ok)
        return
      }
      default:
        return
    }
  }

  #reply(ref: number, isOk: boolean): void {
    if (ref === NO_REPLY) return
    const value: Value = undefined
    if (isOk) this.#toNode({ kind: 'reply', ref, ok: true, value })
    else this.#toNode({ kind: 'reply', ref, ok: false, error: new ErrorValue('NotFound', 'noproc', false) })
  }
}

class ActorWorld extends MeshWorld {
  readonly actors = new ActorChecker()
  /** Of every run of every node. */
  readonly hosts = new Map<MeshNode, ActorNode>()
  readonly bug: PlantedBug | undefined

  constructor(options: ActorsOptions) {
    super({ ...options, nodes: 0 })
    this.bug = options.bug
    for (let i = 1; i <= options.nodes; i++) this.start(`n${i}`)
  }

  override start(name: string): MeshNode {
    const node = super.start(name)
    const actors = new ActorNode(this, node)
    this.hosts.set(node, actors)
    for (let i = 0; i < 3; i++) actors.spawn()
    return node
  }

  override crash(name: string): void {
    const node = this.nodes.get(name) as MeshNode
    const gone = this.hosts.get(node)
    super.crash(name)
    this.actors.forget((watcher) => gone?.alive.has(watcher) === true)
  }

  /** Of running nodes whose program is not halted. */
  awake(): ActorNode[] {
    const { nowMs } = this.world
    return this.running()
      .filter((node) => node.process.lastHaltMs < nowMs)
      .map((node) => this.hosts.get(node) as ActorNode)
  }
}

/** @throws InvariantError */
export function runActors(options: ActorsOptions): ActorsReport {
  const sim = new ActorWorld(options)
  const { world, network, actors } = sim
  const { chance } = world
  world.run(3000)
  const endMs = world.nowMs + options.minutes * 60_000
  while (world.nowMs < endMs) {
    act(sim)
    for (const ms = world.nowMs + chance.between(100, 5000); world.nowMs < ms; world.run(chance.between(1, 100)))
      live(sim)
  }
  sim.note('everything heals')
  network.heal()
  network.faults = { ...quietStreams }
  for (const a of sim.running()) {
    for (const b of sim.running()) if (a.name < b.name) sim.introduce(a, b)
  }
  world.run(HEAL_MS)
  checkOwed(sim)
  checkPairs(sim)
  // Of each node one process is left to hear the end of all others.
  for (const node of sim.awake()) for (const pid of [...node.alive].slice(1)) node.end(pid, chance.chance(0.5))
  world.run(HEAL_MS)
  checkOwed(sim)
  checkPairs(sim)
  // And with them the last pairs go.
  for (const node of sim.awake()) for (const pid of [...node.alive]) node.end(pid, chance.chance(0.5))
  world.run(HEAL_MS)
  checkNothingKept(sim)
  const { monitors, exits, messages, links } = actors
  return { monitors, exits, messages, links, lost: sim.checker.downs }
}

/** Both ends know of a link, or neither does; and every link is with somebody who lives. */
function checkPairs(sim: ActorWorld): void {
  const hosts = new Map(sim.awake().flatMap((node) => [...node.alive].map((pid) => [pid, node] as const)))
  for (const [a, node] of hosts) {
    for (const [b, other] of hosts) {
      if (node.isLinked(a, b) === other.isLinked(b, a)) continue
      sim.fail(`one end of the pair ${a} ${b} takes it for linked, the other does not`)
    }
  }
  for (const node of sim.awake()) {
    if (node.unacknowledgedCount > 0) sim.fail(`${node.mesh.name} waits for an acknowledgement that does not come`)
  }
}

function checkNothingKept(sim: ActorWorld): void {
  for (const node of sim.awake()) {
    const { name } = node.mesh
    if (node.pairCount() > 0) sim.fail(`${name} keeps ${node.pairCount()} pairs of processes that are gone`)
    for (const other of sim.awake()) {
      const count = node.relay.pairsWith(other.mesh.name)
      if (count > 0) sim.fail(`the relay of ${name} keeps ${count} pairs with ${other.mesh.name}`)
    }
  }
}

/** Every monitor of a process that is gone has fired. */
function checkOwed(sim: ActorWorld): void {
  const alive = new Set(sim.awake().flatMap((node) => [...node.alive]))
  const owed = sim.actors.owed().filter((key) => !alive.has(key.slice(key.indexOf(' ') + 1)))
  if (owed.length > 0) sim.fail(`A1: ${owed.length} monitors never fired: ${owed.slice(0, 3).join('; ')}`)
}

function live(sim: ActorWorld): void {
  const { chance } = sim.world
  const awake = sim.awake().filter(({ alive }) => alive.size > 0)
  if (awake.length === 0) return
  const node = chance.pick(awake)
  const own = chance.pick([...node.alive])
  switch (chance.int(12)) {
    case 0:
      return node.spawn()
    case 1:
      return node.end(own, chance.chance(0.5))
    default:
      return reach(sim, node, own)
  }
}

/** A process has to do with one of another node, mostly of one that runs. */
function reach(sim: ActorWorld, node: ActorNode, own: string): void {
  const { chance } = sim.world
  const all = chance.chance(0.9) ? sim.running().map((mesh) => sim.hosts.get(mesh)) : [...sim.hosts.values()]
  const others = all.filter((other) => other !== undefined && other !== node && other.alive.size > 0)
  if (others.length === 0) return
  const target = chance.pick([...(chance.pick(others) as ActorNode).alive])
  const what = chance.int(20)
  if (what === 0) node.takeBack(own, target)
  else if (what < 6) node.monitor(own, target)
  else if (what < 11) tangle(sim, node, own, target)
  else for (let i = chance.int(4); i >= 0; i--) node.say(own, target)
}

/** Both ends link and let go of each other at about the same time. */
function tangle(sim: ActorWorld, node: ActorNode, own: string, target: string): void {
  const { chance } = sim.world
  const other = sim.awake().find(({ alive }) => alive.has(target))
  for (let i = chance.int(4); i >= 0; i--) {
    if (chance.chance(0.5)) node.link(own, target)
    else node.unlink(own, target)
    if (other !== undefined && chance.chance(0.5)) {
      if (chance.chance(0.5)) other.link(target, own)
      else other.unlink(target, own)
    }
    if (chance.chance(0.3)) sim.world.run(chance.between(1, 20))
  }
}
