// Clusters that form and keep themselves small: nodes start in any order, some late, networks split, disks are lost, and whoever
// founds a group dies at any step of it. Promises of cluster.md §13: R1 to R12 for each group, R9 to R11 across groups, and at the
// end everybody has the role it should have, and keeps it while others come and go.

import {
  type BootAnswer,
  type BootRequest,
  Bootstrap,
  type BootstrapEffect,
  type Plan,
} from '../../cluster/raft/core/bootstrap.ts'
import { membersOf } from '../../cluster/raft/core/membership.ts'
import type { Message } from '../../cluster/raft/core/messages.ts'
import { RAFT_DEFAULTS, type RaftOptions } from '../../cluster/raft/core/raft.ts'
import { Reconciler } from '../../cluster/raft/core/reconciler.ts'
import { type Limits, largestOdd, select } from '../../cluster/raft/core/selection.ts'
import { nameOf, type ServerId, serverId } from '../../cluster/raft/core/server.ts'
import { InvariantError } from './checkers/invariant-error.ts'
import { RaftChecker } from './checkers/raft.ts'
import { type DiskImage, SimDisk } from './disk.ts'
import {
  type BootNetwork,
  type FormationBugs,
  type FormationCores,
  type FormationHost,
  FormationNode,
  type Place,
  type StoreDisk,
  sha256,
} from './formation-node.ts'
import { Network, quietNetwork } from './network.ts'
import type { ClientReply, ClientRequest, RaftNode } from './raft-node.ts'
import { World } from './world.ts'

interface FormationOptions {
  readonly seed: number
  /** That found the group together. */
  readonly founders: number
  /** That come later, or are more than needed. */
  readonly others: number
  /** Troubles while the group forms and after. */
  readonly troubles: number
  readonly bugs?: FormationBugs
  readonly cores?: FormationCores
  readonly limits?: Partial<Limits>
  readonly trace?: boolean
  readonly onNote?: (line: string) => void
}

interface FormationReport {
  readonly steps: number
  readonly groups: number
  readonly resets: number
  readonly changes: number
  /** From the end of all trouble until everybody has its role. */
  readonly settledMs: number
  /** The same in rounds of gossip. */
  readonly settledRounds: number
  readonly elections: number
}

export class FormationFailure extends InvariantError {
  readonly trace: readonly string[]

  constructor(message: string, trace: readonly string[]) {
    super(message)
    this.trace = trace
  }
}

const EVICT_GRACE_MS = 8000
const STABILITY_MS = 1500
const CALM_MS = 40_000
const FLAPS = 12
const GOSSIP_MS = 700
/** A grace, the pauses of a brake, an exchange of voters a minute, and room for what the last trouble left behind. */
const SETTLE_ROUNDS = 400
const SETTLE_MS = SETTLE_ROUNDS * GOSSIP_MS

/** Messages between the servers of one group; cuts are those of the nodes. */
class GroupNetwork extends Network<Message, ClientRequest, ClientReply> {
  readonly #cluster: BootNetwork
  readonly #attached = new Set<string>()
  readonly #unknown: (to: ServerId, message: Message) => void

  constructor(world: World, cluster: BootNetwork, unknown: (to: ServerId, message: Message) => void) {
    super(world)
    this.#cluster = cluster
    this.#unknown = unknown
  }

  override passes(from: string, to: string): boolean {
    return this.#cluster.passes(nameOf(from), nameOf(to))
  }

  override attach(...given: Parameters<Network<Message, ClientRequest, ClientReply>['attach']>): void {
    this.#attached.add(given[0])
    super.attach(...given)
  }

  override detach(address: string): void {
    this.#attached.delete(address)
    super.detach(address)
  }

  override send(from: string, to: string, packet: Message, bytes: number, channel?: string): void {
    if (!this.#attached.has(to) && this.passes(from, to)) this.#unknown(to, packet)
    super.send(from, to, packet, bytes, channel)
  }
}

interface Group {
  readonly network: GroupNetwork
  readonly checker: RaftChecker
  readonly founders: readonly string[]
  leader: RaftNode | undefined
}

class FormationWorld implements FormationHost {
  readonly world: World
  readonly boot: BootNetwork
  readonly raftOptions: RaftOptions
  readonly limits: Limits
  readonly stabilityMs = STABILITY_MS
  readonly evictGraceMs = EVICT_GRACE_MS
  readonly bugs: FormationBugs
  readonly cores: FormationCores
  readonly places: Place[] = []
  readonly groups = new Map<string, Group>()
  changes = 0
  resets = 0
  /** How many effects of founding the next victim still lives through. */
  doom: number | undefined
  /** More candidates than a group needs are there from the beginning, until somebody sees to it. */
  readonly isCrowded: boolean
  #isHealed = false
  readonly #disks = new Map<ServerId, DiskImage>()
  readonly #homes = new Map<ServerId, string>()
  readonly #plans = new Map<string, Plan>()
  readonly #decided = new Set<string>()
  #stores = 0

  constructor(options: FormationOptions) {
    const { seed, founders, others, trace = false, onNote } = options
    this.world = new World(seed, { trace, ...(onNote === undefined ? {} : { onNote }) })
    this.bugs = options.bugs ?? {}
    this.cores = options.cores ?? { Bootstrap, Reconciler }
    this.limits = { votersMax: 5, votersMin: 3, standbysMax: 4, ...options.limits }
    this.boot = new Network<never, BootRequest, BootAnswer>(this.world)
    this.raftOptions = { ...RAFT_DEFAULTS, heartbeatTimeoutMs: 1000, electionTimeoutMs: 1000, commitTimeoutMs: 200 }
    const { chance } = this.world
    this.isCrowded = chance.chance(0.2)
    // On their own side of a split, as many blank servers as a group needs would be right to found one.
    let expecting = founders - 1
    for (let i = 1; i <= founders + others; i++) {
      const isFounder = i <= founders
      const isExpecting = isFounder || (expecting > 0 && founders > 1 && chance.chance(0.3))
      if (isExpecting && !isFounder) expecting--
      this.places.push({
        name: `n${i}`,
        expect: isExpecting ? founders : 0,
        priority: chance.chance(0.2) ? chance.int(3) : 100,
        domain: chance.chance(0.3) ? chance.pick(['x', 'y', 'z']) : '',
        isEligible: isFounder || !chance.chance(0.1),
        clock: { rate: 1 + chance.between(-0.01, 0.01), offsetMs: chance.int(1e6) },
        epoch: 0,
        store: this.#blank(`n${i}`, []),
        node: undefined,
      })
    }
    this.#gossip()
  }

  // ── Nodes ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

  running(): FormationNode[] {
    return this.places.flatMap(({ node }) => (node?.isRunning === true ? [node] : []))
  }

  start(place: Place): void {
    if (place.node?.isRunning === true) return
    // With more candidates than expected nobody founds anything: that is for people to sort out, sooner or later.
    if (this.#isSurplus(place) && (this.#isHealed || !this.isCrowded)) {
      this.world.after(2000, () => this.start(place))
      return
    }
    place.epoch++
    this.note(`start ${place.name} ${place.epoch} with ${place.store.id.slice(0, 6)}`)
    place.node = new FormationNode(this, place)
  }

  crash(place: Place): void {
    if (place.node?.isRunning !== true) return
    this.note(`crash ${place.name}`)
    place.node.crash()
  }

  wipe(place: Place): void {
    this.crash(place)
    this.note(`wipe ${place.name}`)
    place.store = this.#blank(place.name, [])
  }

  /** Whether every group that somebody has on disk would keep a majority of its voters without this store. */
  canWipe(place: Place): boolean {
    const { formation } = place.store
    // As many blank servers as a group needs, on their own side of a split, would be right to found one.
    const blank = this.places.filter(
      (each) => each.expect > 0 && (each === place || each.store.formation === undefined),
    )
    if (this.#hasGroup && blank.length >= (this.places[0]?.expect ?? 1)) return false
    if (formation === undefined) return true
    const voters = this.#votersOf(formation)
    // Between one voter and three there is a step at which nobody may be lost, not even who is just being promoted.
    if (this.places.length > 1 && voters.length < 3) return false
    // Nor may whoever is just being promoted in the place of a voter whose disk is lost: it counts as one from that step on.
    const standby = this.#standbysOf(formation).find((server) => server === serverId(place.name, place.store.id))
    const next = standby === undefined ? voters : [...voters, standby]
    const intact = voters.filter((server) => {
      const home = this.places.find(({ name }) => name === nameOf(server))
      return (
        home !== place &&
        home !== undefined &&
        serverId(home.name, home.store.id) === server &&
        home.store.formation === formation
      )
    })
    return intact.length > next.length / 2
  }

  /** One candidate more than the group needs, with nothing on its disk that others may wait for. */
  #isSurplus(place: Place): boolean {
    const { expect, store } = place
    const isBlank = store.promise === undefined && store.formation === undefined
    return expect > 1 && this.places.indexOf(place) >= expect && isBlank && !this.#hasGroup
  }

  #sendSurplusAway(): void {
    for (const place of this.places) {
      if (place.node?.isRunning !== true || !this.#isSurplus(place)) continue
      this.crash(place)
      this.start(place)
    }
    if (!this.#hasGroup) this.world.after(2000, () => this.#sendSurplusAway())
  }

  get #hasGroup(): boolean {
    return [...this.groups.values()].some(({ leader }) => leader !== undefined)
  }

  #votersOf(formation: string): readonly ServerId[] {
    const leader = this.groups.get(formation)?.leader
    return leader?.raft.log.newest.configuration.voters ?? this.#plans.get(formation)?.configuration.voters ?? []
  }

  #standbysOf(formation: string): readonly ServerId[] {
    return this.groups.get(formation)?.leader?.raft.log.newest.configuration.standbys ?? []
  }

  #blank(name: string, releasedBefore: readonly string[]): StoreDisk {
    const store = Buffer.from(sha256(`store ${++this.#stores}`).subarray(0, 16)).toString('hex')
    const disk = new SimDisk(this.world)
    this.#disks.set(serverId(name, store), disk.image)
    this.#homes.set(serverId(name, store), name)
    return { id: store, disk, formation: undefined, promise: undefined, released: [], releasedBefore }
  }

  /** Everybody hears of everybody, directly or over somebody else, unless a cut is in between. */
  #gossip(): void {
    const { chance } = this.world
    const running = this.running()
    for (const from of running) {
      for (const to of running) {
        if (from === to || chance.chance(0.1)) continue
        const passes = (a: FormationNode, b: FormationNode): boolean => this.boot.passes(a.place.name, b.place.name)
        const via = chance.pick(running)
        const isDirect = passes(from, to) && passes(to, from)
        if (!passes(from, to) && !(passes(from, via) && passes(via, to))) continue
        const { told } = from
        this.world.after(chance.between(1, 300), () => to.hear(from.place, told, isDirect))
      }
    }
    this.world.after(GOSSIP_MS, () => this.#gossip())
  }

  // ── What nodes tell ───────────────────────────────────────────────────────────────────────────────────────────────────

  groupOf(formation: string): Group {
    let group = this.groups.get(formation)
    if (group === undefined) {
      const network = new GroupNetwork(this.world, this.boot, (to, message) => this.#unknown(formation, to, message))
      network.faults = this.boot.faults
      const checker = new RaftChecker(this.world, this.raftOptions, (server) => this.#disks.get(server))
      const founders = (this.#plans.get(formation)?.founders ?? []).map(({ name, store }) => serverId(name, store))
      group = { network, checker, founders, leader: undefined }
      this.groups.set(formation, group)
      checker.onElected = (node) => this.#elected(formation, node)
    }
    return group
  }

  survives(node: FormationNode, effect: BootstrapEffect): boolean {
    if (this.doom === undefined || effect.kind === 'note' || effect.kind === 'status') return true
    if (this.doom-- > 0) return true
    this.doom = undefined
    this.note(`${node.place.name} dies before it can ${effect.kind}`)
    const { place } = node
    node.crash()
    this.world.after(this.world.chance.between(0, this.world.chance.pick([2000, 20_000, 60_000])), () =>
      this.start(place),
    )
    return false
  }

  /** The proposer is about to write: everybody must have promised, on disk. */
  deciding(node: FormationNode, plan: Plan): void {
    this.#plans.set(plan.formation, plan)
    for (const { name, store } of plan.founders) {
      const home = this.places.find((place) => place.name === name) as Place
      if (home.store.id !== store || home.store.formation === plan.formation) continue
      const hasPromised =
        home.store.promise?.formation === plan.formation || home.store.released.includes(plan.formation)
      if (!hasPromised) this.fail(`${node.place.name} decides and ${name} has no promise on its disk`)
    }
  }

  decided(node: FormationNode, formation: string): void {
    const plan = this.#plans.get(formation)
    this.note(`${node.place.name} has founded ${formation.slice(0, 6)}`)
    if (plan === undefined) this.fail(`${node.place.name} founds a group that nobody has decided`)
    const isProposer = plan.proposer === node.place.name
    if (isProposer) this.#decided.add(formation)
    else if (!this.#decided.has(formation)) {
      const { store } = this.places.find(({ name }) => name === plan.proposer) as Place
      const { image } = store.disk
      const hasBegun = store.formation === formation || image.hardState !== undefined
      if (!hasBegun) this.fail(`${node.place.name} founds a group before its proposer has (R10)`)
    }
    this.#belongs(node, formation)
  }

  adopted(node: FormationNode, formation: string): void {
    this.note(`${node.place.name} is made a member of ${formation.slice(0, 6)}`)
    this.#belongs(node, formation)
  }

  readonly #formationOf = new Map<ServerId, string>()

  /** R10: a store belongs to one group at most, and to none that it has given up. */
  #belongs(node: FormationNode, formation: string): void {
    const before = this.#formationOf.get(node.server) ?? formation
    this.#formationOf.set(node.server, formation)
    if (before !== formation) this.fail(`${node.server} is of two groups (R10)`)
    if (node.place.store.released.includes(formation)) this.fail(`${node.server} had given up its group (R10)`)
  }

  /** R10, R11: no two groups of overlapping founders have leaders; who leads is a voter. */
  #elected(formation: string, node: RaftNode): void {
    const own = this.groupOf(formation)
    own.leader = node
    for (const [other, group] of this.groups) {
      if (other === formation || group.leader === undefined) continue
      const shared = own.founders.filter((server) => group.founders.includes(server))
      if (shared.length > 0) this.fail(`two groups with ${shared.join(', ')} among their founders have leaders (R10)`)
      if (this.#isIntact(group.leader))
        this.fail(`a second group has a leader while the first one has its majority (R10)`)
    }
    if (!node.raft.log.newest.configuration.voters.includes(node.id))
      this.fail(`${node.id} leads and is no voter (R11)`)
  }

  #isIntact(leader: RaftNode): boolean {
    const { voters } = leader.raft.log.newest.configuration
    const intact = voters.filter((server) => {
      return this.places.some(({ name, store }) => serverId(name, store.id) === server)
    })
    return intact.length > voters.length / 2
  }

  changed(node: FormationNode, what: string): void {
    this.changes++
    this.note(`${node.place.name}: ${what}`)
  }

  reset(node: FormationNode, why: string): void {
    const { place } = node
    this.note(`${place.name} resets its store: ${why}`)
    this.resets++
    this.crash(place)
    const { released, releasedBefore } = place.store
    place.store = this.#blank(place.name, [...releasedBefore, ...released])
    this.start(place)
  }

  /** A message for a server that is in no group: from a leader it makes it a member. */
  #unknown(formation: string, to: ServerId, message: Message): void {
    if (message.kind !== 'append' && message.kind !== 'snapshot') return
    const node = this.places.find(({ name }) => name === nameOf(to))?.node
    this.world.after(this.world.chance.between(1, 10), () => {
      if (node?.isRunning === true && node.server === to && node.mayAdopt(formation)) node.adopt(formation)
    })
  }

  note(what: string): void {
    this.world.note(() => `* ${what}`)
  }

  fail(text: string): never {
    const { seed, nowMs, trace } = this.world
    throw new FormationFailure(`${text}; seed ${seed}, at ${Math.round(nowMs)} ms`, trace)
  }

  // ── Trouble ───────────────────────────────────────────────────────────────────────────────────────────────────────────

  trouble(): void {
    const { chance } = this.world
    const place = chance.pick(this.places)
    const dice = chance.fraction()
    if (dice < 0.2) this.doom = chance.int(12)
    else if (dice < 0.35) this.crash(place)
    else if (dice < 0.5) {
      this.crash(place)
      this.world.after(chance.between(0, 3000), () => this.start(place))
    } else if (dice < 0.6) {
      if (!this.canWipe(place)) return
      this.wipe(place)
      this.world.after(chance.between(0, 5000), () => this.start(place))
    } else if (dice < 0.75) this.#split()
    else if (dice < 0.8) this.boot.cut(place.name, chance.pick(this.places).name)
    else if (dice < 0.95) this.boot.heal()
    else this.#faults(chance.between(0, 0.3))
    for (const each of this.places) if (each.node?.isRunning !== true && chance.chance(0.3)) this.start(each)
  }

  #split(): void {
    const { chance } = this.world
    const [a, b]: [string[], string[]] = [[], []]
    for (const { name } of this.places) (chance.chance(0.5) ? a : b).push(name)
    this.note(`split ${a} | ${b}`)
    this.boot.partition(a, b)
  }

  #faults(loss: number): void {
    const faults = loss === 0 ? { ...quietNetwork } : { ...quietNetwork, loss, streamFailures: loss, delayMaxMs: 50 }
    this.boot.faults = faults
    for (const { network } of this.groups.values()) network.faults = faults
  }

  heal(): void {
    this.note('all heals')
    this.doom = undefined
    this.boot.heal()
    this.#faults(0)
    this.#isHealed = true
    this.#sendSurplusAway()
    for (const place of this.places) this.start(place)
  }

  // ── The end ───────────────────────────────────────────────────────────────────────────────────────────────────────────

  leaders(): FormationNode[] {
    return this.running().filter((node) => node.isLeader)
  }

  /** What is not yet as it should be, in a cluster without any trouble; undefined when all is. */
  problem(): string | undefined {
    const leaders = this.leaders()
    const [leader] = leaders
    if (leader?.raft === undefined || leaders.length > 1) {
      const waits = this.running().map(({ place, boot }) => `${place.name} ${boot.status} waits for ${boot.waitingFor}`)
      return `there are ${leaders.length} leaders: ${waits.join('; ')}`
    }
    const { configuration } = leader.raft.raft.log.newest
    const stores = new Set(this.running().map(({ server }) => server))
    const strangers = membersOf(configuration).filter((server) => !stores.has(server))
    if (strangers.length > 0) return `${strangers.join(', ')} are members and do not exist`
    const eligible = this.places.filter(({ isEligible }) => isEligible).length
    const voters = Math.min(this.limits.votersMax, largestOdd(eligible))
    const standbys = Math.min(this.limits.standbysMax, this.places.length - voters)
    const { voters: has, standbys: hasStandbys } = configuration
    if (has.length !== voters) return `${has.length} voters and there should be ${voters}`
    if (hasStandbys.length !== standbys) return `${hasStandbys.length} standbys and there should be ${standbys}`
    const ineligible = this.places.find(({ name, isEligible }) => !isEligible && has.some((id) => nameOf(id) === name))
    if (ineligible !== undefined) return `${ineligible.name} votes and may not`
    if (leader.nodes.length < this.places.length) return 'the leader does not see everybody yet'
    const present = leader.nodes.flatMap(({ server, ...node }) => (server === undefined ? [] : [{ server, ...node }]))
    const { limits } = this
    const { spread } = select({
      limits,
      ...configuration,
      leader: leader.server,
      present,
      evictable: new Set(),
      maySpread: true,
    })
    // One exchange a minute.
    if (spread !== undefined) return `${spread.in} would spread the voters better than ${spread.out}`
    const behind = membersOf(configuration).find((server) => {
      const node = this.running().find((each) => each.server === server)
      return (node?.raft?.raft.commit ?? 0) < leader.raft!.raft.commit
    })
    return behind === undefined ? undefined : `${behind} is behind`
  }
}

/** Mostly small clusters; of a hundred one has 50 nodes, of a thousand one has 300. */
export function formationNodesOf(seed: number): { founders: number; others: number } {
  const founders = [1, 3, 3, 5, 7, 9][seed % 6] ?? 3
  if (seed % 1000 === 333) return { founders: 3, others: 297 }
  return { founders, others: seed % 100 === 50 ? 50 - founders : seed % 5 }
}

/** @throws FormationFailure */
export function runFormation(options: FormationOptions): FormationReport {
  const cluster = new FormationWorld(options)
  const { world, places } = cluster
  const { chance } = world
  for (const place of places) {
    const isLate = place.expect === 0 || (places.indexOf(place) >= options.founders && !cluster.isCrowded)
    world.after(isLate ? chance.between(15_000, 40_000) : chance.between(0, 6000), () => cluster.start(place))
  }
  try {
    for (let i = 0; i < options.troubles; i++) {
      world.run(chance.between(0, chance.pick([500, 3000, 12_000])))
      cluster.trouble()
    }
    world.run(Math.max(0, 41_000 - world.nowMs))
    cluster.heal()
    const healedMs = world.nowMs
    if (!world.runUntil(() => cluster.problem() === undefined, SETTLE_MS, 500)) {
      cluster.fail(`${cluster.problem()}, ${SETTLE_ROUNDS} rounds of gossip after all healed (L1, R9)`)
    }
    const settledMs = world.nowMs - healedMs
    staysQuiet(cluster)
    const { steps } = world
    const elections = [...cluster.groups.values()].reduce((sum, { checker }) => sum + checker.elections, 0)
    const { changes, resets, groups } = cluster
    const settledRounds = Math.ceil(settledMs / GOSSIP_MS)
    return { steps, groups: groups.size, resets, changes, settledMs, settledRounds, elections }
  } catch (error) {
    if (error instanceof FormationFailure) throw error
    throw new FormationFailure(error instanceof Error ? (error.stack ?? error.message) : String(error), world.trace)
  }
}

/** Nothing changes in a cluster at rest, nor while single nodes are away for less than the grace. */
function staysQuiet(cluster: FormationWorld): void {
  const { world, places } = cluster
  world.run(CALM_MS)
  const before = cluster.changes
  world.run(CALM_MS)
  if (cluster.changes !== before) cluster.fail('the group changes although nothing happens')
  for (let i = 0; i < FLAPS; i++) {
    const place = world.chance.pick(places)
    cluster.crash(place)
    world.run(world.chance.between(0, EVICT_GRACE_MS * 0.9))
    cluster.start(place)
    world.run(EVICT_GRACE_MS / 2)
  }
  if (cluster.changes !== before) cluster.fail('the group changes because nodes start anew')
  const problem = world.runUntil(() => cluster.problem() === undefined, CALM_MS) ? undefined : cluster.problem()
  if (problem !== undefined) cluster.fail(`${problem}, after nodes have started anew`)
}
