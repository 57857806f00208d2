// A consensus group under faults: crashes at any moment, disks that are slow, full, failing or wiped, partitions, one-way cuts,
// frozen processes, a network that loses, doubles and reorders, transfers and changes of membership; clients read and write
// all the while. Then everything heals, and the group must go on. Timeouts, limits and the mix of faults differ from seed to
// seed.

import { type Configuration, configurationOf, membersOf } from '../../cluster/raft/core/membership.ts'
import type { Message } from '../../cluster/raft/core/messages.ts'
import { RAFT_DEFAULTS, type Raft, type RaftOptions } from '../../cluster/raft/core/raft.ts'
import { serverId } from '../../cluster/raft/core/server.ts'
import { InvariantError } from './checkers/invariant-error.ts'
import { checkLinearizable, type Model, type Operation } from './checkers/linearizable.ts'
import { RaftChecker } from './checkers/raft.ts'
import { healthyDisk, SimDisk } from './disk.ts'
import { Network, quietNetwork } from './network.ts'
import { type ClientReply, type ClientRequest, type PlantedBugs, type RaftNetwork, RaftNode } from './raft-node.ts'
import { applyOp, type Command, EMPTY, type RegisterOp, type RegisterResult, type RegisterValue } from './registers.ts'
import { type Chance, type ClockOptions, World } from './world.ts'

interface RaftWorldOptions {
  readonly seed: number
  readonly nodes: number
  /** How many of them vote at first; three or five unless told. */
  readonly voters?: number
  readonly raft?: Partial<RaftOptions>
  readonly bugs?: PlantedBugs
  readonly core?: typeof Raft
  readonly clients?: number
  /** Keeps the last steps, for a failure's report. */
  readonly trace?: boolean
  /** Hears every step at once. */
  readonly onNote?: (line: string) => void
}

type Call = RegisterOp | { readonly kind: 'read'; readonly key: string }
type Result = RegisterResult | RegisterValue
type History = Operation<Call, Result>[]

const registers: Model<RegisterValue, Call, Result> = {
  initial: EMPTY,
  step(state, call, result) {
    if (call.kind === 'read') return matches(state, result) ? state : undefined
    const applied = applyOp(state, call)
    if (result !== undefined && (result as RegisterResult).ok !== applied.result.ok) return undefined
    return matches(applied.result, result) ? applied.after : undefined
  },
  key: (state) => `${state.version} ${state.value}`,
  isRead: (call, result) => call.kind === 'read' || !(result as RegisterResult).ok,
}

function matches(state: RegisterValue, result: Result | undefined): boolean {
  return result === undefined || (result.value === state.value && result.version === state.version)
}

/** Limits small enough that they are met, different for every seed. */
function drawOptions(chance: Chance, seed: number): RaftOptions {
  const heartbeatTimeoutMs = chance.pick([400, 1000, 3000])
  return {
    ...RAFT_DEFAULTS,
    heartbeatTimeoutMs,
    electionTimeoutMs: heartbeatTimeoutMs,
    commitTimeoutMs: heartbeatTimeoutMs / chance.pick([3, 6, 10]),
    appendEntriesMax: chance.pick([1, 2, 4, 16]),
    appendBytesMax: chance.pick([200, 1000, 1024 * 1024]),
    inflightMax: chance.pick([1, 2, 8, 64]),
    inflightBytesMax: chance.pick([500, 1024 * 1024]),
    uncommittedBytesMax: chance.pick([1000, 1024 * 1024]),
    snapshotThreshold: chance.pick([8, 20, 100, 8192]),
    snapshotIntervalMs: chance.pick([200, 1000, 5000]),
    trailingEntries: chance.pick([0, 3, 50]),
    // By the seed itself, so as to leave the other draws as they are.
    trailingBytes: [200, 2000, 1024 * 1024][seed % 3] as number,
    holdMs: [0, 2000, 60_000][Math.floor(seed / 3) % 3] as number,
    snapshotChunkBytes: chance.pick([100, 400, 32 * 1024]),
    snapshotWindowChunks: chance.pick([1, 4]),
    snapshotStallMs: chance.pick([2000, 10_000]),
    readMode: chance.pick(['index', 'lease']),
    transferTimeoutMs: heartbeatTimeoutMs,
    applyEntriesMax: chance.pick([1, 7, 256]),
    cacheBytesMax: chance.pick([300, 1024 * 1024]),
    syncedLagEntries: chance.pick([2, 64]),
    syncedForMs: chance.pick([100, 1000]),
  }
}

/** A name, and the store it has at the moment. */
export interface Place {
  readonly name: string
  server: string
  disk: SimDisk
  readonly clock: ClockOptions
  node: RaftNode | undefined
}

export class RaftWorld {
  readonly world: World
  readonly network: RaftNetwork
  readonly options: RaftOptions
  readonly checker: RaftChecker
  readonly places: Place[] = []
  readonly histories = new Map<string, History>()
  readonly #given: RaftWorldOptions
  readonly #disks = new Map<string, SimDisk>()
  readonly #log: string[] = []
  readonly #clients: Client[] = []
  /** Reads under way, by the leader that was replaced. */
  readonly #audited = new Map<string, number>()
  readonly #unknown: { client: string; command: Command; calledMs: number }[] = []
  #stores = 0
  /** The highest index whose write was acknowledged to a client. */
  acknowledged = 0

  constructor(given: RaftWorldOptions) {
    this.#given = given
    const { trace = false, onNote } = given
    this.world = new World(given.seed, { trace, ...(onNote === undefined ? {} : { onNote }) })
    const { chance } = this.world
    this.options = { ...drawOptions(chance, given.seed), ...given.raft }
    this.network = new Network<Message, ClientRequest, ClientReply>(this.world)
    this.checker = new RaftChecker(this.world, this.options, (server) => this.#disks.get(server)?.image)
    for (let i = 1; i <= given.nodes; i++) this.#place(`n${i}`)
    const count = Math.min(given.nodes, given.voters ?? chance.pick([3, 3, 5]))
    const voters = this.places.slice(0, count).map((place) => place.server)
    this.#form(configurationOf(voters))
    for (const place of this.places) this.start(place)
    const clients = given.clients ?? 6
    for (let i = 1; i <= clients; i++) this.#clients.push(new Client(this, `c${i}`))
    this.#watch()
  }

  get log(): readonly string[] {
    return this.#log
  }

  get clients(): readonly Client[] {
    return this.#clients
  }

  running(): RaftNode[] {
    return this.places.map((place) => place.node).filter((node) => node?.isRunning === true) as RaftNode[]
  }

  leader(): RaftNode | undefined {
    const leaders = this.running().filter((node) => node.role === 'leader')
    return leaders.sort((a, b) => b.raft.term - a.raft.term)[0]
  }

  /** The place whose store `server` is, unless it was wiped. */
  placeOf(server: string): Place | undefined {
    return this.places.find((place) => place.server === server)
  }

  start(place: Place): void {
    this.note(`start ${place.server}`)
    const { core, bugs } = this.#given
    place.node = new RaftNode(
      this.world,
      this.network,
      {
        id: place.server,
        disk: place.disk,
        raft: this.options,
        clock: place.clock,
        applyMaxMs: 3,
        ...(core === undefined ? {} : { core }),
        ...(bugs === undefined ? {} : { bugs }),
      },
      this.checker,
    )
  }

  crash(place: Place): void {
    if (place.node?.isRunning !== true) return
    this.note(`crash ${place.server}`)
    place.node.crash()
  }

  /** A new and empty store under the same name. */
  wipe(place: Place): void {
    this.crash(place)
    this.note(`wipe ${place.server}`)
    this.#store(place)
    this.start(place)
  }

  note(what: string): void {
    this.#log.push(`${(this.world.nowMs / 1000).toFixed(2)} s: ${what}`)
    this.world.note(() => `* ${what}`)
  }

  fail(text: string): never {
    throw new InvariantError(`${text}; seed ${this.world.seed}, at ${Math.round(this.world.nowMs)} ms`)
  }

  record(operation: Operation<Call, Result>): void {
    const { key } = operation.call
    const history = this.histories.get(key) ?? []
    history.push(operation)
    this.histories.set(key, history)
  }

  /** Notes a write whose answer never came. */
  recordUnknown(client: string, command: Command, calledMs: number): void {
    this.#unknown.push({ client, command, calledMs })
  }

  /** All that clients saw has one order. */
  checkHistories(): void {
    // Whether a write without an answer has happened is known here, and where it has, the order must explain its result: to
    // leave both open would make the search long and the answer weaker.
    for (const { client, command, calledMs } of this.#unknown.splice(0)) {
      const result = this.checker.resultOf(command)
      const returned = { atMs: Number.POSITIVE_INFINITY, result: result as RegisterResult }
      if (result !== undefined) this.record({ client, call: command.op, calledMs, returned })
    }
    for (const [key, history] of this.histories) {
      const verdict = checkLinearizable(history, registers)
      if (verdict.ok) continue
      const show = ({ client, call, calledMs, returned }: Operation<Call, Result>): string =>
        `${client} ${JSON.stringify(call)} ${Math.round(calledMs)}..${returned === undefined ? '?' : `${Math.round(returned.atMs)} ${JSON.stringify(returned.result)}`}`
      this.fail(
        `the history of ${key} has no order: after ${verdict.order.slice(-3).map(show).join(', ')} none of ${verdict.stuck.map(show).join(', ')}`,
      )
    }
  }

  #place(name: string): void {
    const { chance } = this.world
    const place = {
      name,
      clock: { rate: 1 + chance.between(-0.01, 0.01), offsetMs: chance.int(1e6) },
      node: undefined,
    } as unknown as Place
    this.#store(place)
    this.places.push(place)
  }

  #store(place: Place): void {
    place.server = serverId(place.name, `s${++this.#stores}`)
    place.disk = new SimDisk(this.world)
    this.#disks.set(place.server, place.disk)
  }

  /** What formation leaves on every disk. cluster.md §5.4. */
  #form(configuration: Configuration): void {
    for (const server of membersOf(configuration)) {
      const { image } = this.#disks.get(server) as SimDisk
      image.hardState = { term: 1 }
      image.entries.push({ index: 1, term: 1, clockMs: 0, kind: 'configuration', configuration })
    }
  }

  /** A failed store is opened again every few seconds. D6. */
  #watch(): void {
    this.checker.watch(this.running())
    this.#audit()
    for (const place of this.places) {
      const { node, disk } = place
      if (node?.isRunning !== true || !node.isFailed || disk.faults.isFull) continue
      if (this.world.chance.chance(0.02)) {
        node.crash()
        this.start(place)
      }
    }
    this.world.after(50, () => this.#watch())
  }

  /** Reads from leaders that were replaced and do not know, which clients seldom meet. */
  #audit(): void {
    const newest = this.leader()
    for (const node of this.running()) {
      const asked = this.#audited.get(node.id) ?? 0
      if (node === newest || node.role !== 'leader' || asked >= AUDITS_MAX) continue
      this.#audited.set(node.id, asked + 1)
      const floor = this.acknowledged
      const calledMs = this.world.nowMs
      const call = { kind: 'read', key: this.world.chance.pick(KEYS) } as const
      this.network.request('auditor', node.id, call, {
        timeoutMs: 3000,
        bytes: 1,
        done: (reply) => {
          this.#audited.set(node.id, (this.#audited.get(node.id) ?? 1) - 1)
          if (reply?.kind !== 'value') return
          this.checker.readAnswered('auditor', reply.index, floor)
          const returned = { atMs: this.world.nowMs, result: reply.value }
          this.record({ client: 'auditor', call, calledMs, returned })
        },
      })
    }
  }
}

const AUDITS_MAX = 12
const KEYS = ['x', 'y', 'z']

/** Does one thing after the other and writes down what it saw. */
class Client {
  readonly #owner: RaftWorld
  readonly #name: string
  readonly #chance: Chance
  #session = 0
  #seq = 0
  #leader: string | undefined
  /** Versions it has seen, for compare-and-set. */
  readonly #versions = new Map<string, number>()
  completed = 0
  isPaused = false

  constructor(owner: RaftWorld, name: string) {
    this.#owner = owner
    this.#name = name
    this.#chance = owner.world.chance.fork()
    this.#pause()
  }

  #pause(): void {
    this.#owner.world.after(this.#chance.between(1, this.#chance.chance(0.05) ? 2000 : 80), () => this.#next())
  }

  #next(): void {
    if (this.isPaused) return this.#pause()
    const key = this.#chance.pick(KEYS)
    const value = this.#chance.int(1_000_000)
    const version = this.#versions.get(key) ?? 0
    const call: Call = this.#chance.chance(0.4)
      ? { kind: 'read', key }
      : this.#chance.chance(0.3)
        ? { kind: 'cas', key, version, value }
        : { kind: 'put', key, value }
    const { world, acknowledged } = this.#owner
    const calledMs = world.nowMs
    if (call.kind !== 'read') this.#seq++
    const command =
      call.kind === 'read'
        ? undefined
        : { session: `${this.#name}.${this.#session}`, seq: this.#seq, floor: this.#seq, op: call }
    const deadlineMs = calledMs + 10_000
    const attempt = (mayHaveHappened: boolean): void => {
      if (world.nowMs >= deadlineMs) {
        // Nobody will ask for this one again; a new session keeps its number from meaning anything else.
        if (mayHaveHappened) this.#owner.recordUnknown(this.#name, command as Command, calledMs)
        this.#session++
        this.#seq = 0
        return this.#pause()
      }
      const request: ClientRequest =
        command === undefined ? { kind: 'read', key } : { kind: 'write', command: command as Command }
      this.#owner.network.request(this.#name, this.#target(), request, {
        timeoutMs: this.#chance.pick([100, 300, 1000, 3000]),
        bytes: 1,
        done: (reply) => {
          const isUnknown = reply === undefined || reply.kind === 'unknown'
          if (reply === undefined || reply.kind === 'unknown' || reply.kind === 'refused') {
            this.#leader = reply?.kind === 'refused' ? reply.leader : undefined
            world.after(this.#chance.between(5, 300), () =>
              attempt(mayHaveHappened || (isUnknown && command !== undefined)),
            )
            return
          }
          this.#done(call, calledMs, reply, acknowledged)
        },
      })
    }
    attempt(false)
  }

  #done(call: Call, calledMs: number, reply: Extract<ClientReply, { index: number }>, acknowledged: number): void {
    const { world } = this.#owner
    const result = reply.kind === 'value' ? reply.value : reply.result
    if (result === 'stale') this.#owner.fail(`${this.#name} is told that a request it still waits for is stale`)
    if (reply.kind === 'value') this.#owner.checker.readAnswered(this.#name, reply.index, acknowledged)
    else this.#owner.acknowledged = Math.max(this.#owner.acknowledged, reply.index)
    this.#versions.set(call.key, result.version)
    this.#owner.record({ client: this.#name, call, calledMs, returned: { atMs: world.nowMs, result } })
    this.completed++
    this.#pause()
  }

  #target(): string {
    const { places } = this.#owner
    if (this.#leader !== undefined && !this.#chance.chance(0.1)) return this.#leader
    return this.#chance.pick(places).server
  }
}

/** The size of a seed's group where none is asked for. */
export function raftNodesOf(seed: number): number {
  return 3 + (seed % 4)
}

export interface RaftChaosOptions extends RaftWorldOptions {
  readonly seconds: number
}

interface RaftChaosReport {
  readonly steps: number
  readonly actions: number
  readonly elections: number
  readonly committed: number
  readonly completed: number
  /** How long after the healing somebody led. */
  readonly leaderMs: number
  readonly log: readonly string[]
}

/** A failure with what was done before it and, when the run was traced, every step that led to it. */
export class RaftFailure extends Error {
  override readonly name = 'RaftFailure'
  readonly trace: readonly string[]

  constructor(group: RaftWorld, cause: Error) {
    const { readMode, heartbeatTimeoutMs } = group.options
    super([cause.message, `reads by ${readMode}, H ${heartbeatTimeoutMs} ms`, ...group.log.slice(-25)].join('\n'), {
      cause,
    })
    this.trace = group.world.trace
  }
}

/** Makes trouble for a while, then heals, and holds the group to its promises. @throws RaftFailure */
export function runRaftChaos(options: RaftChaosOptions): RaftChaosReport {
  const group = new RaftWorld(options)
  try {
    return chaos(group, options.seconds)
  } catch (error) {
    throw new RaftFailure(group, error as Error)
  }
}

function chaos(group: RaftWorld, seconds: number): RaftChaosReport {
  const { world, network, options } = group
  const { chance } = world
  const trouble = new Trouble(group)
  world.run(chance.between(0, 2 * options.heartbeatTimeoutMs))
  let actions = 0
  const endMs = world.nowMs + seconds * 1000
  while (world.nowMs < endMs) {
    trouble.act()
    actions++
    world.run(chance.between(10, chance.chance(0.1) ? 8000 : 900))
  }
  group.note('everything heals')
  trouble.stop()
  network.heal()
  network.faults = { ...quietNetwork }
  for (const place of group.places) {
    place.disk.faults = { ...healthyDisk }
    if (place.node?.isRunning !== true) group.start(place)
    else if (place.node.isFailed) {
      place.node.crash()
      group.start(place)
    }
  }
  world.run(Math.max(0, ...group.running().map((node) => node.frozenUntilMs - world.nowMs)))
  const healedMs = world.nowMs
  // Twice the wait before voting again after a restart, and the round trips: 2H + 2E + 1 s.
  const boundMs = 2 * options.heartbeatTimeoutMs + 2 * options.electionTimeoutMs + 1000
  const isLed = (): boolean => group.leader() !== undefined
  if (!world.runUntil(isLed, boundMs)) group.fail(`nobody leads ${boundMs} ms after everything healed (L1)`)
  const leaderMs = world.nowMs - healedMs
  const before = group.clients.map((client) => client.completed)
  const isServed = (): boolean => group.clients.every((client, i) => client.completed > (before[i] as number) + 1)
  if (!world.runUntil(isServed, 20_000)) group.fail('clients are not served 20 s after everything healed (L1)')
  for (const client of group.clients) client.isPaused = true
  const isLevel = (): boolean => {
    const leader = group.leader()
    if (leader === undefined || leader.raft.commit !== leader.raft.log.lastIndex) return false
    const members = membersOf(leader.raft.log.newest.configuration)
    const present = group.running().filter((node) => members.includes(node.id))
    return present.every((node) => node.machine.appliedIndex === leader.raft.commit)
  }
  if (!world.runUntil(isLevel, 60_000)) {
    const states = group.running().map((node) => `${node.id} ${node.machine.appliedIndex}/${node.raft.commit}`)
    group.fail(`servers do not catch up within a minute after everything healed: ${states.join(', ')} (L1)`)
  }
  group.checkHistories()
  const completed = group.clients.reduce((sum, client) => sum + client.completed, 0)
  const { elections, lastCommitted: committed } = group.checker
  return { steps: world.steps, actions, elections, committed, completed, leaderMs, log: group.log }
}

/** What can go wrong, and what operators do. */
class Trouble {
  readonly #group: RaftWorld
  readonly #chance: Chance
  readonly #kinds: readonly (() => void)[]
  readonly #votersWanted: readonly number[]
  #isOver = false

  constructor(group: RaftWorld) {
    this.#group = group
    this.#chance = group.world.chance.fork()
    const all = [
      () => this.#crash(),
      () => this.#crash(),
      () => this.#restart(),
      () => this.#restart(),
      () => this.#quickRestart(),
      () => this.#partition(),
      () => this.#cut(),
      () => this.#heal(),
      () => this.#heal(),
      () => this.#freeze(),
      () => this.#weather(),
      () => this.#disk(),
      () => this.#transfer(),
      () => this.#change(),
      () => this.#change(),
      () => this.#wipe(),
      () => this.#isolateLeader(),
      () => this.#connection(),
      () => this.#deafTransfer(),
      () => this.#restartOthers(),
      () => this.#freezeLeader(),
    ]
    // Each seed has its own mix: all of it together hides what a few faults alone would show.
    const some = all.filter(() => this.#chance.chance(0.6))
    this.#kinds = some.length > 2 ? some : all
    this.#votersWanted = group.places.length >= 5 ? [3, 4, 5] : [3]
    this.#reconcile()
    const isHasty = this.#chance.chance(0.5)
    group.checker.onElected = (node) => {
      if (!isHasty) return
      this.#soon(node, () => this.#improve(node), 3)
      this.#soon(node, () => this.#change(), 3)
    }
  }

  act(): void {
    this.#chance.pick(this.#kinds)()
  }

  stop(): void {
    this.#isOver = true
  }

  #soon(node: RaftNode, act: () => void, maxMs = 10): void {
    this.#group.world.after(this.#chance.between(0, maxMs), () => {
      if (!this.#isOver && node.isRunning && !node.isFrozen) act()
    })
  }

  #crash(): void {
    const up = this.#group.places.filter((place) => place.node?.isRunning === true)
    if (up.length > 1) this.#group.crash(this.#chance.pick(up))
  }

  #restart(): void {
    const down = this.#group.places.filter((place) => place.node?.isRunning !== true)
    if (down.length > 0) this.#group.start(this.#chance.pick(down))
  }

  #quickRestart(): void {
    const place = this.#chance.pick(this.#group.places)
    this.#group.crash(place)
    this.#group.start(place)
  }

  #servers(): string[] {
    return this.#group.places.map((place) => place.server)
  }

  #partition(): void {
    const servers = this.#servers().sort(() => this.#chance.fraction() - 0.5)
    const at = 1 + this.#chance.int(servers.length - 1)
    this.#group.note(`partition ${servers.slice(0, at).join(' ')}`)
    this.#group.network.partition(servers.slice(0, at), servers.slice(at))
  }

  #isolateLeader(): void {
    const leader = this.#group.leader()
    if (leader === undefined) return
    const others = this.#servers().filter((server) => server !== leader.id)
    const isOneWay = this.#chance.chance(0.3)
    this.#group.note(`isolate the leader ${leader.id}${isOneWay ? ', one way' : ''}`)
    for (const other of others) {
      this.#group.network.cut(other, leader.id)
      if (!isOneWay) this.#group.network.cut(leader.id, other)
    }
  }

  #cut(): void {
    const [from, to] = [this.#chance.pick(this.#servers()), this.#chance.pick(this.#servers())]
    this.#group.note(`cut ${from} > ${to}`)
    this.#group.network.cut(from, to)
  }

  #heal(): void {
    this.#group.note('heal')
    this.#group.network.heal()
  }

  #freeze(): void {
    const up = this.#group.running()
    if (up.length === 0) return
    const node = this.#chance.chance(0.4) ? (this.#group.leader() ?? this.#chance.pick(up)) : this.#chance.pick(up)
    this.#stop(node, this.#chance.between(50, 3 * this.#group.options.heartbeatTimeoutMs))
  }

  /** For long enough that another may lead, and hardly longer: old clients still wait for its answers. */
  #freezeLeader(): void {
    const leader = this.#group.leader()
    if (leader === undefined) return
    if (this.#chance.chance(0.5)) this.#deafen(leader.id)
    this.#stop(leader, this.#group.options.heartbeatTimeoutMs * this.#chance.between(1, 2.5))
  }

  #stop(node: RaftNode, durationMs: number): void {
    this.#group.note(`freeze ${node.id} for ${Math.round(durationMs)} ms`)
    node.freeze(durationMs)
  }

  #weather(): void {
    const { network } = this.#group
    const isBad = this.#chance.chance(0.7)
    network.faults = isBad
      ? {
          ...quietNetwork,
          loss: this.#chance.between(0, 0.3),
          duplication: this.#chance.between(0, 0.2),
          reordering: this.#chance.between(0, 0.3),
          streamFailures: this.#chance.between(0, 0.2),
          delayMinMs: 0.2,
          delayMaxMs: this.#chance.between(1, 60),
        }
      : { ...quietNetwork }
    this.#group.note(isBad ? `loss ${network.faults.loss.toFixed(2)}` : 'a quiet network')
  }

  #disk(): void {
    const place = this.#chance.pick(this.#group.places)
    const { disk } = place
    switch (this.#chance.int(5)) {
      case 0:
        this.#group.note(`disk of ${place.server} full`)
        disk.faults = { ...healthyDisk, isFull: true }
        return
      case 1:
        this.#group.note(`disk of ${place.server} failing`)
        disk.faults = { ...healthyDisk, failures: 0.05 }
        return
      case 2:
        this.#group.note(`disk of ${place.server} slow`)
        disk.faults = { ...healthyDisk, syncMinMs: 20, syncMaxMs: this.#chance.pick([200, 2000]) }
        return
      default:
        this.#group.note(`disk of ${place.server} healthy`)
        disk.faults = { ...healthyDisk }
    }
  }

  #transfer(): void {
    const leader = this.#group.leader()
    if (leader === undefined || leader.isFrozen) return
    const to = this.#chance.chance(0.5) ? this.#chance.pick(leader.raft.log.newest.configuration.voters) : undefined
    this.#group.note(`transfer from ${leader.id} to ${to ?? 'the best voter'}`)
    leader.ask((ref) => ({ kind: 'transfer', ref, ...(to === undefined ? {} : { to }) }))
  }

  /** A successor is named, and its answer does not come back. */
  #deafTransfer(): void {
    const leader = this.#group.leader()
    if (leader === undefined || leader.isFrozen) return
    this.#transfer()
    this.#soon(leader, () => this.#deafen(leader.id))
  }

  #deafen(server: string): void {
    this.#group.note(`${server} hears nothing`)
    for (const other of this.#servers()) if (other !== server) this.#group.network.cut(other, server)
  }

  /** All but the leader restart at once, and do not hear it. */
  #restartOthers(): void {
    const leader = this.#group.leader()
    if (leader === undefined) return
    this.#isolateLeader()
    for (const place of this.#group.places) {
      if (place.node === leader || place.node?.isRunning !== true) continue
      this.#group.crash(place)
      this.#group.start(place)
    }
  }

  #connection(): void {
    const leader = this.#group.leader()
    if (leader === undefined || leader.isFrozen) return
    const peer = this.#chance.pick(this.#servers())
    if (this.#chance.chance(0.5)) return leader.feed({ kind: 'unreachable', peer })
    leader.feed({ kind: 'blocked', peer })
    const drain = (): void => {
      if (!leader.isRunning) return
      if (leader.isFrozen) this.#group.world.after(10, drain)
      else leader.feed({ kind: 'drained', peer })
    }
    this.#group.world.after(this.#chance.between(1, 1000), drain)
  }

  /** At most one store of the configuration is lost at a time: more is loss of data by the operator's hand. */
  #wipe(): void {
    const configurations = this.#group.running().map((node) => node.raft.log.newest.configuration)
    const stores = new Set(configurations.flatMap((configuration) => [...configuration.voters]))
    if ([...stores].some((server) => this.#group.placeOf(server) === undefined)) return
    const leader = this.#group.leader()
    if (leader === undefined || leader.raft.log.newest.configuration.voters.length < 3) return
    const place = this.#chance.pick(this.#group.places)
    if (place.node !== leader) this.#group.wipe(place)
  }

  /** A change that nobody has thought about; most are refused. */
  #change(): void {
    const leader = this.#group.leader()
    if (leader === undefined || leader.isFrozen) return
    const op = this.#chance.pick(['add-standby', 'promote', 'demote', 'remove'] as const)
    const server = this.#chance.pick(this.#servers())
    const { voters } = leader.raft.log.newest.configuration
    if ((op === 'demote' || op === 'remove') && voters.includes(server) && voters.length <= 3) return
    this.#ask(leader, op, server)
  }

  /** What the reconciler will do, roughly: lost stores go, others take their place. */
  #reconcile(): void {
    if (this.#isOver) return
    this.#group.world.after(this.#chance.between(200, 3000), () => this.#reconcile())
    const leader = this.#group.leader()
    if (leader !== undefined && !leader.isFrozen && leader.raft.isReady) this.#improve(leader)
  }

  #improve(leader: RaftNode): void {
    const { voters, standbys } = leader.raft.log.newest.configuration
    const lost = [...voters, ...standbys].find((server) => this.#group.placeOf(server) === undefined)
    const wanted = this.#chance.pick(this.#votersWanted)
    const outside = this.#servers().find((server) => !voters.includes(server) && !standbys.includes(server))
    if (standbys.length > 0 && voters.length < wanted) return this.#ask(leader, 'promote', this.#chance.pick(standbys))
    if (lost !== undefined && (voters.length > 3 || !voters.includes(lost))) return this.#ask(leader, 'remove', lost)
    if (lost !== undefined && standbys.length > 0) return this.#ask(leader, 'promote', this.#chance.pick(standbys))
    if (outside !== undefined) return this.#ask(leader, 'add-standby', outside)
    if (voters.length > wanted) this.#ask(leader, 'demote', this.#chance.pick(voters))
  }

  #ask(leader: RaftNode, op: 'add-standby' | 'promote' | 'demote' | 'remove', server: string): void {
    const live = this.#group.running().map((node) => node.id)
    leader.ask(
      (ref) => ({ kind: 'change', ref, change: { op, server }, live }),
      (ok) => {
        if (ok) this.#group.note(`${leader.id} will ${op} ${server}`)
      },
    )
  }
}
