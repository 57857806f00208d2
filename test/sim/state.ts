// A cluster's replicated state under faults: servers and clients, each with its session, its proposals and its processes, over a network
// that loses, doubles, delays and is cut; servers that crash and come back with another epoch, nodes that stand still, clocks that differ,
// leaders that change. Then everything heals, and all that was promised must hold: cluster.md §13, N1 to N7, K1 to K4, V1, R12, R14, L1.

import type { LiveNode, Run } from '../../cluster/fabric.ts'
import type { Names } from '../../cluster/names/names.ts'
import { configurationOf, membersOf } from '../../cluster/raft/core/membership.ts'
import type { Message } from '../../cluster/raft/core/messages.ts'
import { RAFT_DEFAULTS, type RaftOptions } from '../../cluster/raft/core/raft.ts'
import { serverId } from '../../cluster/raft/core/server.ts'
import type { ClusterState } from '../../cluster/state/state.ts'
import { InvariantError } from './checkers/invariant-error.ts'
import { checkLinearizable, type KvOperation } from './checkers/kv.ts'
import { StateChecker } from './checkers/state.ts'
import { SimDisk } from './disk.ts'
import { Network, quietNetwork } from './network.ts'
import { SimConsensus } from './sim-consensus.ts'
import { type FabricReply, type FabricRequest, SimFabric } from './sim-fabric.ts'
import { Actor, type ActorWorld, addQueries, LOCKS, NAMES } from './state-actor.ts'
import { PRODUCT, type StateParts } from './state-parts.ts'
import { type Chance, type ClockOptions, World } from './world.ts'

interface StateWorldOptions {
  readonly seed: number
  readonly servers: number
  readonly clients: number
  readonly seconds: number
  readonly parts?: StateParts
  /** Times that make what is looked for likely. */
  readonly raft?: Partial<RaftOptions>
  readonly trace?: boolean
}

interface StateReport {
  readonly steps: number
  readonly commands: number
  readonly repeated: number
  readonly grants: number
  readonly downs: number
  readonly pending: number
  readonly strong: number
  readonly queued: number
  readonly fenced: number
  readonly refusedFences: number
  readonly suspensions: number
  readonly operations: number
  readonly completed: number
}

const TTL_MS = 15_000
const RENEW_MS = 3000
/** After that long without a path gossip calls a node dead. */
const DEAD_AFTER_MS = 6000
const LOOK_EVERY_MS = 250
const STRONG_MS = 8000

interface Place {
  readonly name: string
  /** Empty: a client. */
  server: string
  disk: SimDisk | undefined
  readonly clock: ClockOptions
  epoch: number
  node: StateNode | undefined
}

interface StateNode {
  readonly fabric: SimFabric
  readonly state: ClusterState
  readonly consensus: SimConsensus | undefined
  readonly names: Names
  readonly locals: ReadonlyMap<string, string>
  readonly actors: readonly Actor[]
}

export class StateWorld implements ActorWorld {
  readonly world: World
  readonly operations = new Set<KvOperation>()
  readonly counts: Record<string, number> = {}
  readonly checker: StateChecker
  readonly places: Place[] = []
  readonly log: string[] = []
  readonly #parts: StateParts
  readonly raft: RaftOptions
  readonly network: Network<never, FabricRequest, FabricReply>
  readonly raftNetwork: Network<Message, never, never>
  readonly #repeats: number
  #values = 0
  /** By `observer>observed`: since when there is no way. */
  readonly #lost = new Map<string, number>()
  #problem: unknown
  isBusy = true
  suspensions = 0
  ended = 0

  constructor(options: StateWorldOptions) {
    this.#parts = options.parts ?? PRODUCT
    this.world = new World(options.seed, { trace: options.trace ?? false })
    const { chance } = this.world
    const heartbeatTimeoutMs = chance.pick([500, 1000, 3000])
    this.raft = {
      ...RAFT_DEFAULTS,
      heartbeatTimeoutMs,
      electionTimeoutMs: heartbeatTimeoutMs,
      commitTimeoutMs: heartbeatTimeoutMs / 6,
      snapshotThreshold: chance.pick([20, 60, 300, 8192]),
      snapshotIntervalMs: chance.pick([500, 3000]),
      trailingEntries: chance.pick([0, 5, 50]),
      holdMs: [0, 2000, 60_000][options.seed % 3] as number,
      transferTimeoutMs: heartbeatTimeoutMs,
      // In most worlds replicas are close to the tip of the log, where beliefs of different nodes meet.
      commitNewsMs: options.seed % 4 === 0 ? RAFT_DEFAULTS.commitNewsMs : 0,
      ...options.raft,
    }
    this.#repeats = chance.pick([0, 0.05, 0.2])
    this.network = new Network(this.world)
    this.raftNetwork = new Network(this.world)
    this.checker = new StateChecker(
      () => this.world.nowMs,
      (text) => this.fail(text),
    )
    for (let i = 1; i <= options.servers + options.clients; i++) {
      const isServer = i <= options.servers
      const name = isServer ? `s${i}` : `c${i - options.servers}`
      this.places.push({
        name,
        server: isServer ? serverId(name, `d${i}`) : '',
        disk: isServer ? new SimDisk(this.world) : undefined,
        clock: { rate: 1 + chance.between(-0.01, 0.01), offsetMs: chance.int(1e6) },
        epoch: 0,
        node: undefined,
      })
    }
    const voters = this.places.filter(({ server }) => server !== '').map(({ server }) => server)
    const configuration = configurationOf(
      voters.slice(0, voters.length - 1 + (voters.length % 2)),
      voters.slice(voters.length - 1 + (voters.length % 2)),
    )
    for (const { server, disk } of this.places) {
      if (disk === undefined || !membersOf(configuration).includes(server)) continue
      disk.image.hardState = { term: 1 }
      disk.image.entries.push({ index: 1, term: 1, clockMs: 0, kind: 'configuration', configuration })
    }
    for (const place of this.places) this.start(place)
    this.#look()
    this.#watch()
  }

  running(): StateNode[] {
    return this.places.flatMap(({ node }) => (node?.fabric.isRunning === true ? [node] : []))
  }

  leader(): StateNode | undefined {
    const leaders = this.running().filter(({ consensus }) => consensus?.raft.role === 'leader')
    return leaders.sort((a, b) => (b.consensus?.raft.term ?? 0) - (a.consensus?.raft.term ?? 0))[0]
  }

  nextValue(): string {
    return `v${++this.#values}`
  }

  broke(error: unknown): void {
    this.#problem ??= error
  }

  /** Lets time pass. @throws what went wrong meanwhile, wherever that was */
  async run(durationMs: number): Promise<void> {
    await this.world.runSettled(durationMs)
    if (this.#problem !== undefined) throw this.#problem
  }

  start(place: Place): void {
    place.epoch++
    this.note(`start ${place.name} in epoch ${place.epoch}`)
    const { world } = this
    const { name, epoch, clock, server, disk } = place
    const Failure = this.#parts.MoonmeshError
    const fabric = new SimFabric(world, this.network, { name, epoch, clock, Failure, repeats: this.#repeats })
    fabric.onLog = (event) => {
      if (event === 'session_suspended') this.suspensions++
      if (event === 'session_lost') this.ended++
      if (event === 'state_request_forgotten')
        this.broke(new InvariantError(`${name} has a request that the log forgot (N6)`))
      this.world.note(() => `${name} ${event}`)
    }
    const consensus =
      disk === undefined
        ? undefined
        : new SimConsensus(world, this.raftNetwork, fabric, {
            id: server,
            disk,
            raft: this.raft,
            parts: this.#parts,
            applyMaxMs: 3,
          })
    if (consensus !== undefined) {
      consensus.onEntry = (applied) => {
        this.checker.applied(consensus.machine, applied)
        this.#checkNames()
      }
      consensus.onEffects = (effects) => {
        for (const effect of effects) if (effect.kind === 'persist') this.checker.appended(effect.log?.entries ?? [])
      }
      consensus.onRestored(() => this.checker.restored(consensus.machine))
    }
    const state = new this.#parts.ClusterState({
      fabric: fabric.asFabric,
      consensus: consensus?.asConsensus,
      session: { ttlMs: TTL_MS, renewIntervalMs: RENEW_MS, graceCount: 3 },
      role: consensus === undefined ? 'client' : 'server',
    })
    addQueries(state)
    const locals = new Map<string, string>()
    const actors: Actor[] = []
    const names = new this.#parts.Names({
      fabric: fabric.asFabric,
      host: {
        bear: (pid, done) =>
          fabric.after(1, () =>
            done(actors.some((actor) => actor.pid === pid) ? undefined : new Failure('NotFound', 'no such process')),
          ),
        localHolder: (each) => locals.get(each),
        releaseLocal: (each) => locals.delete(each),
        localCount: () => locals.size,
        changed: () => {},
        revoked: () => {},
      },
    })
    const possessions = new this.#parts.Possessions(fabric.asFabric, state)
    names.attach({ state, consensus: consensus?.asConsensus, possessions, strongDeadlineMs: STRONG_MS })
    for (const n of [1, 2]) actors.push(new Actor(this, fabric, { state, names, locals }, n))
    place.node = { fabric, state, consensus, names, locals, actors }
    state.start()
  }

  crash(place: Place): void {
    if (place.node?.fabric.isRunning !== true) return
    this.note(`crash ${place.name}`)
    place.node.fabric.stop()
    place.node.consensus?.stop()
  }

  cut(from: Place, to: Place): void {
    this.network.cut(from.name, to.name)
    this.raftNetwork.cut(from.server, to.server)
  }

  heal(): void {
    this.network.heal()
    this.raftNetwork.heal()
  }

  note(what: string): void {
    this.log.push(`${(this.world.nowMs / 1000).toFixed(2)} s: ${what}`)
    this.world.note(() => `* ${what}`)
  }

  fail(text: string): never {
    throw new InvariantError(`${text}; seed ${this.world.seed}, at ${Math.round(this.world.nowMs)} ms`)
  }

  /** Gossip and the mesh learn of what happened, a while later. */
  #look(): void {
    const nowMs = this.world.nowMs
    const up = this.places.filter(({ node }) => node?.fabric.isRunning === true)
    const isDirect = (a: Place, b: Place): boolean =>
      this.network.passes(a.name, b.name) && this.network.passes(b.name, a.name)
    for (const place of up) {
      const live: LiveNode[] = []
      const linked: Run[] = []
      for (const other of this.places) {
        if (other === place || other.node === undefined) continue
        const { name, epoch } = other
        const isUp = other.node.fabric.isRunning
        const isNear = isUp && isDirect(place, other)
        const isReached = isNear || (isUp && up.some((via) => isDirect(place, via) && isDirect(via, other)))
        const nearKey = `${place.name}-${name}`
        const reachKey = `${place.name}=${name}`
        const run = { name, epoch }
        if (isNear) this.#lost.delete(nearKey)
        else if (!this.#lost.has(nearKey)) this.#lost.set(nearKey, nowMs)
        if (isReached) this.#lost.delete(reachKey)
        else if (!this.#lost.has(reachKey)) this.#lost.set(reachKey, nowMs)
        // A session of the mesh outlives short cuts; gossip needs its time.
        if (nowMs - (this.#lost.get(nearKey) ?? nowMs) < DEAD_AFTER_MS) linked.push(run)
        const role = (other.node.consensus?.status().role ?? 'none') === 'none' ? 'client' : 'voter'
        if (nowMs - (this.#lost.get(reachKey) ?? nowMs) < DEAD_AFTER_MS) {
          live.push({ ...run, tags: new Map([['raft_role', role]]) })
        }
      }
      place.node?.fabric.look({ live, linked })
    }
    this.world.after(LOOK_EVERY_MS, () => this.#look())
  }

  /** N3 and N5: what nodes that may be relied on resolve, at the tip of the log. */
  #checkNames(): void {
    const { strong } = this.checker
    for (const { fabric, state, names, locals } of this.running()) {
      if (fabric.isFrozen) continue
      try {
        for (const name of NAMES) {
          const pid = names.lookup(name)
          if (pid !== undefined) strong.saw(`${fabric.name} in epoch ${fabric.epoch}`, name, pid)
        }
        const { session } = state.session()
        if (!state.isTrusted || !names.isReady('') || this.checker.hasEnded(session)) continue
        strong.resolves(fabric.name, (name) => names.lookup(name) ?? locals.get(name))
      } catch (error) {
        if (error instanceof InvariantError) this.fail(error.message)
        throw error
      }
    }
  }

  /** K1: who believes to hold a lock is alone in that. A process that stands still believes nothing. */
  #watch(): void {
    this.#checkNames()
    for (const { fabric, state } of this.running()) {
      if (!fabric.isFrozen && state.isTrusted) this.checker.trusted(fabric.name, state.session().session)
    }
    for (const lock of LOCKS) {
      const holders = this.running()
        .filter(({ fabric }) => !fabric.isFrozen)
        .flatMap(({ actors }) => actors.filter((actor) => actor.holds(lock)).map(({ pid }) => pid))
      if (holders.length > 1) this.fail(`${lock} is held by ${holders.join(' and ')} (K1)`)
    }
    this.world.after(20, () => this.#watch())
  }
}

class Trouble {
  readonly #owner: StateWorld
  readonly #chance: Chance
  readonly #kinds: readonly (() => void)[]
  #aloneUntilMs = 0

  constructor(owner: StateWorld) {
    this.#owner = owner
    this.#chance = owner.world.chance.fork()
    const all = [
      () => this.#crash(),
      () => this.#restart(),
      () => this.#restart(),
      () => this.#quickRestart(),
      () => this.#partition(),
      () => this.#isolate(),
      () => this.#isolateLeader(),
      () => this.#isolateHolder(),
      () => this.#isolateHolder(),
      () => this.#heal(),
      () => this.#heal(),
      () => this.#freeze(),
      () => this.#weather(),
      () => this.#transfer(),
      () => this.#die(),
      () => this.#loseDisk(),
    ]
    const some = all.filter(() => this.#chance.chance(0.6))
    this.#kinds = some.length > 2 ? some : all
  }

  act(): void {
    this.#chance.pick(this.#kinds)()
  }

  #crash(): void {
    const up = this.#owner.places.filter(({ node }) => node?.fabric.isRunning === true)
    if (up.length > 1) this.#owner.crash(this.#chance.pick(up))
  }

  #restart(): void {
    const down = this.#owner.places.filter(({ node }) => node?.fabric.isRunning !== true)
    if (down.length > 0) this.#owner.start(this.#chance.pick(down))
  }

  #quickRestart(): void {
    const place = this.#chance.pick(this.#owner.places)
    this.#owner.crash(place)
    this.#owner.start(place)
  }

  /** Of a minority of the voters, which come back as servers that nobody knows. */
  #loseDisk(): void {
    const { places } = this.#owner
    const servers = places.filter(({ server }) => server !== '')
    const lost = servers.filter(({ server }) => server.includes('lost'))
    const voters = servers.length - 1 + (servers.length % 2)
    if (lost.length >= (voters - 1) / 2) return
    const place = this.#chance.pick(servers.filter((each) => !lost.includes(each)))
    this.#owner.crash(place)
    this.#owner.note(`${place.name} loses its disk`)
    place.server = serverId(place.name, 'lost')
    place.disk = new SimDisk(this.#owner.world)
    this.#owner.start(place)
  }

  #partition(): void {
    const places = [...this.#owner.places].sort(() => this.#chance.fraction() - 0.5)
    const at = 1 + this.#chance.int(places.length - 1)
    this.#cut(places.slice(0, at), places.slice(at))
  }

  #isolate(): void {
    const place = this.#chance.pick(this.#owner.places)
    this.#cut(
      [place],
      this.#owner.places.filter((other) => other !== place),
    )
  }

  #isolateLeader(): void {
    const leader = this.#owner.leader()
    const place = this.#owner.places.find(({ node }) => node === leader)
    if (leader === undefined || place === undefined) return
    // Sometimes its own clients stay with it, or it is only the servers that it cannot reach.
    const others = this.#owner.places.filter(
      (other) => other !== place && (other.server !== '' || this.#chance.chance(0.5)),
    )
    this.#cut([place], others, this.#chance.chance(0.3))
  }

  #cut(a: readonly Place[], b: readonly Place[], isOneWay = false): void {
    this.#owner.note(`cut ${a.map(({ name }) => name).join(' ')}${isOneWay ? ', one way' : ''}`)
    for (const from of a) {
      for (const to of b) {
        this.#owner.cut(to, from)
        if (!isOneWay) this.#owner.cut(from, to)
      }
    }
  }

  /** Somebody who holds a lock is alone for long enough that it is given to another. */
  #isolateHolder(): void {
    const up = this.#owner.places.filter(({ node }) => node?.fabric.isRunning === true)
    const holder = up.find(({ node }) => node?.actors.some((actor) => LOCKS.some((lock) => actor.holds(lock))))
    if (holder === undefined || this.#owner.world.nowMs < this.#aloneUntilMs) return
    this.#aloneUntilMs = this.#owner.world.nowMs + 22_000
    this.#cut(
      [holder],
      this.#owner.places.filter((other) => other !== holder),
    )
  }

  #heal(): void {
    if (this.#owner.world.nowMs < this.#aloneUntilMs) return
    this.#owner.note('heal')
    this.#owner.heal()
  }

  #freeze(): void {
    const up = this.#owner.running()
    if (up.length === 0) return
    const { fabric } = this.#chance.pick(up)
    const durationMs = this.#chance.pick([300, 2000, 8000, 25_000])
    this.#owner.note(`freeze ${fabric.name} for ${durationMs} ms`)
    fabric.freeze(durationMs)
  }

  #weather(): void {
    const isBad = this.#chance.chance(0.7)
    const faults = isBad
      ? {
          ...quietNetwork,
          loss: this.#chance.between(0, 0.2),
          duplication: this.#chance.between(0, 0.2),
          reordering: this.#chance.between(0, 0.2),
          streamFailures: this.#chance.between(0, 0.3),
          delayMinMs: 0.2,
          delayMaxMs: this.#chance.between(1, 60),
        }
      : { ...quietNetwork }
    this.#owner.network.faults = { ...faults }
    this.#owner.raftNetwork.faults = { ...faults }
    this.#owner.note(isBad ? `loss ${faults.loss.toFixed(2)}` : 'a quiet network')
  }

  #transfer(): void {
    const consensus = this.#owner.leader()?.consensus
    if (consensus === undefined) return
    const to = this.#chance.pick(consensus.raft.log.newest.configuration.voters)
    this.#owner.note(`transfer to ${to}`)
    consensus.transferTo(to)
  }

  #die(): void {
    const up = this.#owner.running()
    if (up.length > 0) this.#chance.pick(this.#chance.pick(up).actors).die()
  }
}

/** The size of a seed's cluster where none is asked for. */
export function stateNodesOf(seed: number): { servers: number; clients: number } {
  return { servers: 3 + (seed % 3), clients: 1 + (seed % 3) }
}

export class StateFailure extends Error {
  override readonly name = 'StateFailure'
  readonly trace: readonly string[]

  constructor(log: readonly string[], trace: readonly string[], cause: Error) {
    super([cause.message, ...log.slice(-25)].join('\n'), { cause })
    this.trace = trace
  }
}

/** Makes trouble for a while, then heals, and holds the cluster to its promises. @throws StateFailure */
export async function runStateChaos(options: StateWorldOptions): Promise<StateReport> {
  const owner = new StateWorld(options)
  try {
    return await chaos(owner, options.seconds)
  } catch (error) {
    throw new StateFailure(owner.log, owner.world.trace, error as Error)
  }
}

async function chaos(owner: StateWorld, seconds: number): Promise<StateReport> {
  const { world, checker } = owner
  const { chance } = world
  const trouble = new Trouble(owner)
  await owner.run(chance.between(0, 4000))
  const endMs = world.nowMs + seconds * 1000
  while (world.nowMs < endMs) {
    trouble.act()
    await owner.run(chance.between(50, chance.chance(0.3) ? 12_000 : 2500))
  }
  owner.note('everything heals')
  owner.heal()
  owner.network.faults = { ...quietNetwork }
  owner.raftNetwork.faults = { ...quietNetwork }
  for (const place of owner.places) if (place.node?.fabric.isRunning !== true) owner.start(place)
  const thawMs = Math.max(0, ...owner.running().map(({ fabric }) => fabric.frozenUntilMs - world.nowMs))
  await owner.run(thawMs)
  const within = async (isDone: () => boolean, maxMs: number, what: string): Promise<void> => {
    const untilMs = world.nowMs + maxMs
    while (!isDone()) {
      if (world.nowMs >= untilMs) owner.fail(`${what} ${maxMs} ms after everything healed (L1)`)
      await owner.run(100)
    }
  }
  const { heartbeatTimeoutMs: h, electionTimeoutMs: e } = owner.raft
  await within(() => owner.leader() !== undefined, 2 * h + 2 * e + 1000, 'nobody leads')
  const isOpen = ({ state }: StateNode): boolean => state.session().state === 'open'
  await within(() => owner.running().every(isOpen), 30_000, 'a node is without a session')
  const before = owner.running().map(({ actors }) => actors.map(({ completed }) => completed))
  const isServed = (): boolean =>
    owner.running().every(({ actors }, i) => actors.every(({ completed }, j) => completed > (before[i]?.[j] ?? 0)))
  await within(isServed, 120_000, 'somebody is not served')
  // Quiescence: everything is given back.
  owner.isBusy = false
  const isQuiet = (): boolean => owner.running().every(({ state }) => state.outstanding === 0)
  await within(isQuiet, 120_000, 'something is still not answered')
  await owner.run(45_000)
  for (const { actors } of owner.running()) for (const actor of actors) actor.die()
  await within(isQuiet, 30_000, 'something is still not answered')
  const isLevel = (): boolean =>
    owner
      .running()
      .filter(({ consensus }) => consensus?.status().role !== 'none')
      .every(({ consensus }) => (consensus?.machine.index ?? checker.index) === checker.index)
  await within(isLevel, 30_000, 'a replica lags behind')
  const machine = owner.leader()?.consensus?.machine
  if (machine === undefined) owner.fail('nobody leads')
  for (const name of machine.locks.names()) {
    owner.fail(`${name} is held by ${machine.locks.holder(name)?.pid}, which has ended (K4)`)
  }
  for (const name of machine.names.names()) {
    owner.fail(`${name} belongs to ${machine.names.lookup(name)?.pid}, which has ended (N7)`)
  }
  const isFree = (): boolean => owner.running().every(({ names }) => NAMES.every((name) => !names.lookup(name)))
  await within(isFree, 40_000, 'a node still resolves a name of the dead')
  checkLinearizable([...owner.operations], world.seed)
  const completed = owner.running().reduce((sum, { actors }) => sum + actors.reduce((n, a) => n + a.completed, 0), 0)
  const { suspensions, operations } = owner
  return { steps: world.steps, ...checker.counts, suspensions, operations: operations.size, completed }
}
