// How servers without a past become one group: once, out of one set, whatever is lost meanwhile. The first of the candidates proposes;
// everybody's promise is durable before it is told, and the proposer's own record decides: two-phase commit (Gray 1978), with a
// majority that can free itself from a proposer who does not come back. cluster.md §5.4.
//
//   waiting ── proposes ──▶ proposing ── all accept ──▶ forming ──▶ formed
//      └────── accepts ───▶ promised ── somebody has ─────┘
//                              └── the proposer has not, or a majority refuses for ever ──▶ waiting

import { unreachable } from '../../../runtime/base/assert.ts'
import type { Env } from '../../../runtime/base/env.ts'
import type { Configuration } from './membership.ts'
import { quorumOf } from './quorum.ts'
import { type Limits, select } from './selection.ts'
import { nameOf, type ServerId, serverId, storeOf } from './server.ts'

/** One of those who found a group. */
export interface Founder {
  readonly name: string
  readonly epoch: number
  /** Hex, whole. */
  readonly store: string
}

/** Invariant: `formation` follows from the rest (`planProblem`). */
export interface Plan {
  /** Hex of 16 bytes. */
  readonly formation: string
  /** Hex of 8 bytes, drawn by the proposer for each try. */
  readonly nonce: string
  readonly proposer: string
  /** By name. */
  readonly founders: readonly Founder[]
  readonly configuration: Configuration
  /** The second entry. */
  readonly settings: Uint8Array
}

/** What gossip tells of another server, and whether it is reached. */
export interface Seen {
  readonly name: string
  readonly epoch: number
  /** The first 16 hex digits. */
  readonly store: string
  readonly status: 'none' | 'pre' | 'out' | 'in' | 'leaving'
  readonly isEligible: boolean
  readonly priority: number
  readonly domain: string
  readonly expect: number
  /** The first 16 hex digits. */
  readonly formation: string | undefined
  readonly isLinked: boolean
}

export interface BootstrapView {
  readonly epoch: number
  /** Live members of the cluster but this one, by name. */
  readonly others: readonly Seen[]
  /** Names of servers that were last seen in a group and are dead, not left: they may only be out of reach. */
  readonly lost?: readonly string[]
  /** Somebody has answered a request to join. */
  readonly hasJoined: boolean
  /** Of a server that is in a group. */
  readonly group?: { readonly lastIndex: number; readonly voters: readonly ServerId[]; readonly hasLeader: boolean }
}

/** What became of a proposal on a server; all but `promised` are for good. `none`: it knows nothing of it. */
export type Fate = 'committed' | 'released' | 'promised' | 'none'

export type BootRequest =
  | { readonly kind: 'hello' }
  | { readonly kind: 'propose'; readonly plan: Plan }
  | { readonly kind: 'commit' | 'abort' | 'status' | 'release'; readonly formation: string }

export type BootAnswer =
  | { readonly kind: 'hello'; readonly store: string; readonly epoch: number; readonly formation?: string }
  | { readonly kind: 'accepted' }
  | { readonly kind: 'refused'; readonly why: string }
  | { readonly kind: 'fate'; readonly store: string; readonly fate: Fate }

export type BootstrapInput =
  /** Gossip or the mesh has news; also feeds the time. */
  | { kind: 'view'; view: BootstrapView }
  | { kind: 'tick' }
  | { kind: 'request'; ref: number; from: string; request: BootRequest }
  /** Undefined: no answer will come. */
  | { kind: 'answered'; ask: number; answer: BootAnswer | undefined }
  | { kind: 'saved'; write: number }
  /** The group of `formation` is on disk. */
  | { kind: 'formed'; formation: string }
  /** A leader of this formation has made this server a member. */
  | { kind: 'adopted'; formation: string }
  /** This server goes; it founds nothing any more. */
  | { kind: 'leave' }

/** What must survive a crash. */
export interface BootstrapRecord {
  readonly promise: Plan | undefined
  /** Groups that this store will never be part of. */
  readonly released: readonly string[]
}

export type BootstrapEffect =
  | { kind: 'ask'; ask: number; to: { name: string; epoch: number }; request: BootRequest }
  | { kind: 'answer'; ref: number; answer: BootAnswer }
  /** Replace the record, durably. */
  | { kind: 'save'; record: BootstrapRecord; done: { kind: 'saved'; write: number } }
  /** Write the formation and its first entries; the beginning of this write is the decision. The same plan may come twice. */
  | { kind: 'form'; plan: Plan; done: { kind: 'formed'; formation: string } }
  /** The store must be made anew, under another id. Nothing follows. */
  | { kind: 'reset'; why: string }
  | { kind: 'status'; status: BootstrapStatus }
  | { kind: 'note'; event: string; fields: Record<string, string | number> }

export type BootstrapStatus = 'pre' | 'out' | 'in' | 'leaving'

interface BootstrapOptions {
  readonly name: string
  /** Hex, whole. */
  readonly store: string
  readonly clusterId: string
  readonly priority: number
  readonly domain: string
  readonly isEligible: boolean
  /** How many servers found the group; 0: none that this one could found. */
  readonly expect: number
  readonly stabilityMs: number
  /** There are addresses to join through, so there may be a cluster that is not seen yet. */
  readonly hasJoinAddresses: boolean
  readonly limits: Limits
  readonly settings: Uint8Array
  readonly sha256: (text: string) => Uint8Array
}

interface BootstrapRecovered extends BootstrapRecord {
  readonly formation: string | undefined
  /** Neither term nor entry nor snapshot. */
  readonly isEmpty: boolean
  /** What earlier stores of this node have released. */
  readonly releasedBefore: readonly string[]
}

/** For all answers of a round, and for the proposer to be heard of again. */
const ROUND_MS = 5000
const PROPOSER_GONE_MS = 10_000
export const POLL_MS = 2000
/** A group without any leader for so long is asked about. */
const LEADERLESS_MS = 10_000
const WARN_MS = 30_000
const EVALUATE_MS = 1000
/** Entries that a group begins with. */
const FOUNDING_ENTRIES = 2
/** A freed proposal is not proposed again: its number is drawn anew each time. The oldest are forgotten. */
export const RELEASED_MAX = 64
const HELD_ANSWERS_MAX = 256

interface Round {
  readonly candidates: readonly Seen[]
  readonly deadlineMs: number
  readonly stores: Map<string, string>
  readonly accepted: Set<string>
  plan: Plan | undefined
}

type Asked = { readonly about: BootRequest['kind']; readonly name: string; readonly formation: string | undefined }

export class Bootstrap {
  readonly #options: BootstrapOptions
  readonly #env: Env
  #view: BootstrapView = { epoch: 0, others: [], hasJoined: false }
  #effects: BootstrapEffect[] = []
  #formation: string | undefined
  #promise: Plan | undefined
  #released: readonly string[]
  readonly #releasedBefore: readonly string[]
  #isForming = false
  #isLeaving = false
  #isOver = false
  #round: Round | undefined
  #stable: { readonly key: string; sinceMs: number } | undefined
  #proposerSeenMs: number
  #pollAtMs: number
  #leaderSeenMs: number
  #warnAtMs = Number.NEGATIVE_INFINITY
  /** Servers that will never be part of the group that is asked about. */
  readonly #fates = new Map<string, Set<ServerId>>()
  #asks = 0
  readonly #asked = new Map<number, Asked>()
  #write = 0
  #written = 0
  #held: { readonly write: number; readonly ref: number; readonly answer: BootAnswer }[] = []
  #waitingFor = 'servers'

  constructor(options: BootstrapOptions, recovered: BootstrapRecovered, env: Env) {
    this.#options = options
    this.#env = env
    this.#formation = recovered.formation
    this.#promise = recovered.promise
    this.#released = recovered.released
    this.#releasedBefore = recovered.releasedBefore
    const nowMs = env.nowMs()
    this.#proposerSeenMs = nowMs
    this.#pollAtMs = nowMs
    this.#leaderSeenMs = nowMs
    if (recovered.formation === undefined && !recovered.isEmpty && recovered.promise === undefined) {
      // A store with a past, whose group is not recorded: a member, but of a group that it will learn of from its leader.
      this.#formation = ''
    }
    const { promise } = recovered
    if (promise === undefined) return
    const isDecided = recovered.formation === undefined ? !recovered.isEmpty : recovered.formation === promise.formation
    if (isDecided) {
      this.#formation = promise.formation
      this.#form(promise)
    } else if (recovered.formation !== undefined || promise.proposer === options.name) {
      this.#abort(promise, 'this server has started anew')
    }
  }

  /** When the next tick is due, monotonic milliseconds. */
  get wakeAtMs(): number {
    if (this.#isOver) return Number.POSITIVE_INFINITY
    const nowMs = this.#env.nowMs()
    const next = [nowMs + EVALUATE_MS]
    if (this.#round !== undefined) next.push(this.#round.deadlineMs)
    if (this.#stable !== undefined) next.push(this.#stable.sinceMs + this.#options.stabilityMs)
    // What is overdue waits for something else than time.
    return Math.min(...next.filter((atMs) => atMs > nowMs))
  }

  get status(): BootstrapStatus {
    if (this.#isLeaving) return 'leaving'
    if (this.#formation !== undefined) return 'in'
    return this.#options.expect >= 1 ? 'pre' : 'out'
  }

  /** Hex; undefined without one. */
  get formation(): string | undefined {
    return this.#formation === '' ? undefined : this.#formation
  }

  /** Other groups of this cluster that are seen, by their first digits, with who is in them. cluster.md §5.4, two formations. */
  get conflicts(): ReadonlyMap<string, readonly string[]> {
    const own = this.formation?.slice(0, 16)
    const found = new Map<string, string[]>()
    if (own === undefined) return found
    for (const { name, formation } of this.#view.others) {
      if (formation === undefined || formation === own) continue
      found.set(formation, [...(found.get(formation) ?? []), name])
    }
    return found
  }

  /** What a server without a group waits for, for people. */
  get waitingFor(): string {
    return this.#waitingFor
  }

  /** Whether a leader's messages may make this store a member of its group. */
  mayAdopt(formation: string): boolean {
    if (this.#formation !== undefined && this.#formation !== '') return this.#formation === formation
    return this.#promise === undefined && this.#round === undefined && !this.#released.includes(formation)
  }

  step(input: BootstrapInput): BootstrapEffect[] {
    if (this.#isOver) return []
    this.#handle(input)
    const effects = this.#effects
    this.#effects = []
    return effects
  }

  /** What the constructor wants done first. */
  start(): BootstrapEffect[] {
    this.#effects.push({ kind: 'status', status: this.status })
    return this.step({ kind: 'tick' })
  }

  #handle(input: BootstrapInput): void {
    switch (input.kind) {
      case 'view':
        this.#view = input.view
        return this.#evaluate()
      case 'tick':
        return this.#evaluate()
      case 'request':
        return this.#request(input.ref, input.from, input.request)
      case 'answered':
        return this.#answered(input.ask, input.answer)
      case 'saved':
        return this.#saved(input.write)
      case 'formed':
        return this.#formed(input.formation)
      case 'adopted':
        return this.#adopted(input.formation)
      case 'leave':
        this.#isLeaving = true
        if (this.#round !== undefined) this.#endRound('this server leaves')
        this.#effects.push({ kind: 'status', status: this.status })
        return
      default:
        return unreachable(input)
    }
  }

  #evaluate(): void {
    this.#checkRound()
    if (this.#formation !== undefined) return this.#evaluateGroup()
    if (this.#isForming || this.#isLeaving) return
    if (this.#resetIfLeftBehind()) return
    if (this.#promise !== undefined && this.#round === undefined) return this.#pollPromise(this.#promise)
    const found = this.#predicate()
    if ('why' in found) {
      if (this.#round !== undefined) this.#endRound(found.why)
      this.#stable = undefined
      this.#waitingFor = found.why
      return
    }
    const nowMs = this.#env.nowMs()
    const { candidates } = found
    const key = candidates.map(({ name, epoch, store }) => `${name} ${epoch} ${store}`).join('\n')
    if (this.#stable?.key !== key) {
      if (this.#round !== undefined) this.#endRound('the candidates have changed')
      this.#stable = { key, sinceMs: nowMs }
    }
    if (this.#round !== undefined || nowMs < this.#stable.sinceMs + this.#options.stabilityMs) return
    const [first] = [...candidates].sort((a, b) => a.priority - b.priority || compareText(a.name, b.name))
    if (first?.name === this.#options.name) this.#startRound(candidates)
    else this.#waitingFor = `${first?.name} to propose a group`
  }

  // ── Predicate ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** The candidates, by name, this server among them; or what is missing. cluster.md §5.4, 1 to 4. */
  #predicate(): { candidates: readonly Seen[] } | { why: string } {
    const { expect, isEligible, hasJoinAddresses } = this.#options
    if (expect < 1) return { why: 'a leader that adds it: raft.bootstrap_expect is 0' }
    if (!isEligible) return { why: 'a leader that adds it: raft.eligible is false' }
    const { others, hasJoined } = this.#view
    const member = others.find(
      ({ status, formation }) => status === 'in' || status === 'leaving' || formation !== undefined,
    )
    if (member !== undefined) return { why: `the group of ${member.name} to add it` }
    const [lost] = this.#view.lost ?? []
    if (lost !== undefined) return { why: `${lost}, which is in a group and out of reach` }
    const waiting = others.filter(({ status, store }) => status === 'pre' && store !== '')
    this.#warnOfExpectations(waiting)
    const candidates = waiting.filter((each) => each.isEligible && each.expect === expect)
    candidates.push(this.#self())
    candidates.sort((a, b) => compareText(a.name, b.name))
    const names = candidates.map(({ name }) => name).join(', ')
    if (candidates.length < expect)
      return { why: `${expect} servers that may vote; there are ${candidates.length}: ${names}` }
    if (candidates.length > expect) {
      const fields = { expected: expect, servers: names }
      this.#warn('raft_bootstrap_too_many', fields)
      return { why: `raft.bootstrap_expect is ${expect} and there are ${candidates.length} servers: ${names}` }
    }
    if (expect === 1 && hasJoinAddresses) {
      if (!hasJoined) return { why: 'an answer of an address to join by' }
      const other = others.find(({ status }) => status === 'pre')
      if (other !== undefined) return { why: `${other.name}, which waits too` }
    }
    const unreached = candidates.find(({ name, isLinked }) => !isLinked && name !== this.#options.name)
    if (unreached !== undefined) return { why: `a connection to ${unreached.name}` }
    return { candidates }
  }

  #self(): Seen {
    const { name, store, priority, domain, expect, isEligible } = this.#options
    const { epoch } = this.#view
    const own = { name, epoch, store: store.slice(0, 16), status: 'pre', formation: undefined } as const
    return { ...own, isEligible, priority, domain, expect, isLinked: true }
  }

  #warnOfExpectations(waiting: readonly Seen[]): void {
    const { name, expect } = this.#options
    const others = waiting.filter((each) => each.expect !== expect)
    if (others.length === 0) return
    const servers = [`${name} expects ${expect}`, ...others.map((each) => `${each.name} expects ${each.expect}`)]
    this.#warn('raft_bootstrap_disagreement', { servers: servers.join(', ') })
  }

  #warn(event: string, fields: Record<string, string | number>): void {
    const nowMs = this.#env.nowMs()
    if (nowMs < this.#warnAtMs + WARN_MS) return
    this.#warnAtMs = nowMs
    this.#effects.push({ kind: 'note', event, fields })
  }

  // ── Proposing ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  #startRound(candidates: readonly Seen[]): void {
    const { name, store } = this.#options
    const deadlineMs = this.#env.nowMs() + ROUND_MS
    this.#round = {
      candidates,
      deadlineMs,
      stores: new Map([[name, store]]),
      accepted: new Set([name]),
      plan: undefined,
    }
    this.#waitingFor = 'the others to accept its proposal'
    for (const other of candidates) if (other.name !== name) this.#ask(other, { kind: 'hello' })
    this.#propose()
  }

  /** Once the whole ids of all stores are known. */
  #propose(): void {
    const round = this.#round as Round
    if (round.plan !== undefined || round.stores.size < round.candidates.length) return
    const plan = this.#plan(round)
    round.plan = plan
    this.#promise = plan
    this.#save()
    for (const { name, epoch } of plan.founders) {
      if (name !== this.#options.name) this.#ask({ name, epoch }, { kind: 'propose', plan })
    }
    this.#decide()
  }

  #plan({ candidates, stores }: Round): Plan {
    const { name, clusterId, limits, settings, sha256 } = this.#options
    const founders = candidates.map((each) => ({
      name: each.name,
      epoch: each.epoch,
      store: stores.get(each.name) as string,
    }))
    const present = candidates.map(({ name: candidate, priority, domain, isEligible }) => {
      return { server: serverId(candidate, stores.get(candidate) as string), priority, domain, isEligible }
    })
    const { voters, standbys } = select({ limits, voters: [], standbys: [], present, evictable: new Set() })
    const configuration = { voters: [...voters].sort(compareText), standbys: [...standbys].sort(compareText) }
    const nonce = hexOf(Uint8Array.from({ length: 8 }, () => this.#env.randomInt(256)))
    const formation = formationOf({ nonce, clusterId, founders }, sha256)
    return { formation, nonce, proposer: name, founders, configuration, settings }
  }

  /** All have promised, durably, this server too: the beginning of the next write is the decision. */
  #decide(): void {
    const round = this.#round
    if (round?.plan === undefined || round.accepted.size < round.candidates.length || this.#write > this.#written)
      return
    this.#form(round.plan)
  }

  #checkRound(): void {
    const round = this.#round
    if (round === undefined || this.#isForming || this.#env.nowMs() < round.deadlineMs) return
    const missing = round.candidates.filter(({ name }) => !round.accepted.has(name)).map(({ name }) => name)
    this.#endRound(`no answer of ${missing.join(', ')}`)
  }

  /** Nothing is decided. */
  #endRound(why: string): void {
    if (this.#isForming) return
    const { plan } = this.#round as Round
    this.#round = undefined
    // A fresh window: whoever was in the way may have sorted itself out.
    this.#stable = undefined
    this.#effects.push({ kind: 'note', event: 'raft_bootstrap_failed', fields: { reason: why } })
    this.#waitingFor = why
    if (plan !== undefined) this.#abort(plan, why)
  }

  #abort(plan: Plan, why: string): void {
    this.#waitingFor = why
    this.#promise = undefined
    this.#save()
    for (const { name } of plan.founders) {
      if (name !== this.#options.name) this.#ask({ name, epoch: 0 }, { kind: 'abort', formation: plan.formation })
    }
  }

  // ── Promised ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  #proposed(from: string, plan: Plan): BootAnswer {
    const { name, store, clusterId, sha256 } = this.#options
    if (this.#promise?.formation === plan.formation && !this.#isForming) return { kind: 'accepted' }
    const refuse = (why: string): BootAnswer => ({ kind: 'refused', why })
    if (this.#formation !== undefined) return refuse(`${name} is in a group`)
    if (this.#isForming || this.#promise !== undefined || this.#round !== undefined)
      return refuse(`${name} has promised another proposal`)
    if (this.#isLeaving) return refuse(`${name} leaves`)
    if (this.#released.includes(plan.formation)) return refuse(`${name} has given up this proposal`)
    const problem = planProblem(plan, { clusterId, sha256 })
    if (problem !== undefined) return refuse(`the proposal is not well-formed: ${problem}`)
    if (plan.proposer !== from) return refuse('the proposal is of another server')
    const found = this.#predicate()
    if ('why' in found) return refuse(`${name} waits for ${found.why}`)
    const isSame =
      found.candidates.length === plan.founders.length &&
      found.candidates.every((each, at) => {
        const founder = plan.founders[at] as Founder
        return each.name === founder.name && each.epoch === founder.epoch && founder.store.startsWith(each.store)
      })
    if (!isSame || !plan.founders.some((founder) => founder.name === name && founder.store === store)) {
      return refuse(`${name} sees other servers: ${found.candidates.map((each) => each.name).join(', ')}`)
    }
    this.#promise = plan
    this.#proposerSeenMs = this.#env.nowMs()
    this.#pollAtMs = this.#env.nowMs() + POLL_MS
    this.#waitingFor = `${from} to finish the group`
    this.#save()
    return { kind: 'accepted' }
  }

  /** Asks what became of the proposal; after a while without the proposer also for leave to forget it. */
  #pollPromise(plan: Plan): void {
    const nowMs = this.#env.nowMs()
    const proposer = plan.founders.find(({ name }) => name === plan.proposer)
    const isLive = this.#view.others.some(({ name, store }) => {
      // A wiped one does not know what its earlier store has decided.
      return name === plan.proposer && proposer?.store.startsWith(store) === true
    })
    if (isLive) this.#proposerSeenMs = nowMs
    if (nowMs < this.#pollAtMs) return
    this.#pollAtMs = nowMs + POLL_MS
    const kind = nowMs >= this.#proposerSeenMs + PROPOSER_GONE_MS ? 'release' : 'status'
    for (const { name } of plan.founders) {
      if (name !== this.#options.name) this.#ask({ name, epoch: 0 }, { kind, formation: plan.formation })
    }
  }

  #fateOf(formation: string): Fate {
    if (this.#released.includes(formation) || this.#releasedBefore.includes(formation)) return 'released'
    if (this.#formation === formation) return 'committed'
    // A store is of one group at most.
    if (this.formation !== undefined) return 'released'
    return this.#promise?.formation === formation ? 'promised' : 'none'
  }

  #release(formation: string): Fate {
    const fate = this.#fateOf(formation)
    const isOwn = this.#round !== undefined && this.#promise?.formation === formation
    if (fate === 'committed' || fate === 'released' || this.#isForming || isOwn) return fate
    this.#giveUp(formation)
    return 'released'
  }

  #giveUp(formation: string): void {
    this.#released = [...this.#released, formation].slice(-RELEASED_MAX)
    if (this.#promise?.formation === formation) this.#promise = undefined
    this.#stable = undefined
    this.#save()
  }

  #heard(plan: Plan, from: string, answer: BootAnswer & { kind: 'fate' }): void {
    const founder = plan.founders.find(({ name }) => name === from)
    const { fate, store } = answer
    if (founder === undefined) return
    if (fate === 'committed') return this.#form(plan)
    if (fate === 'released') {
      // It is for good also when it was said by an earlier store: that one is no more.
      this.#gone(plan.formation).add(serverId(from, founder.store))
      this.#tryRelease(plan)
    }
    // The proposer would know: it writes the group down before anybody else does.
    if (from !== plan.proposer || store !== founder.store || fate === 'promised') return
    if (this.#promise?.formation !== plan.formation) return
    this.#promise = undefined
    this.#stable = undefined
    this.#save()
  }

  #tryRelease({ formation, founders, configuration }: Plan): void {
    const { name, store } = this.#options
    const gone = new Set(this.#gone(formation)).add(serverId(name, store))
    const isMajority = (servers: readonly ServerId[]): boolean =>
      servers.filter((server) => gone.has(server)).length >= quorumOf(servers.length)
    const all = founders.map((founder) => serverId(founder.name, founder.store))
    // Without a majority of its voters the group can never have a leader.
    if (isMajority(all) && isMajority(configuration.voters)) this.#giveUp(formation)
  }

  #gone(formation: string): Set<ServerId> {
    let gone = this.#fates.get(formation)
    if (gone === undefined) {
      this.#fates.clear()
      gone = new Set()
      this.#fates.set(formation, gone)
    }
    return gone
  }

  // ── Formed ────────────────────────────────────────────────────────────────────────────────────────────────────────────

  #form(plan: Plan): void {
    if (this.#isForming) return
    this.#isForming = true
    this.#effects.push({ kind: 'form', plan, done: { kind: 'formed', formation: plan.formation } })
  }

  #formed(formation: string): void {
    const round = this.#round
    const plan = this.#promise
    this.#isForming = false
    this.#formation = formation
    this.#promise = undefined
    this.#round = undefined
    this.#leaderSeenMs = this.#env.nowMs()
    this.#save()
    const servers = plan?.founders.map(({ name }) => name).join(', ') ?? this.#options.name
    this.#effects.push({ kind: 'status', status: this.status })
    this.#effects.push({ kind: 'note', event: 'raft_bootstrapped', fields: { formation, servers } })
    for (const { name } of round?.candidates ?? []) {
      if (name !== this.#options.name) this.#ask({ name, epoch: 0 }, { kind: 'commit', formation })
    }
  }

  #adopted(formation: string): void {
    if (this.#formation === formation) return
    const isForestalled = this.#promise !== undefined && this.#promise.formation !== formation
    // What it was about to begin cannot be written any more.
    if (isForestalled) this.#isForming = false
    if (this.#round !== undefined) this.#endRound('a group has made this server a member')
    this.#isForming = false
    this.#formation = formation
    this.#leaderSeenMs = this.#env.nowMs()
    if (isForestalled) this.#withdraw('it is in a group')
    this.#effects.push({ kind: 'status', status: this.status })
  }

  /** Takes back a promise that nobody was told of: it was still on its way to the disk, where the group came first. */
  #withdraw(why: string): void {
    this.#promise = undefined
    this.#held = this.#held.map((held) => {
      return held.answer.kind === 'accepted' ? { ...held, answer: { kind: 'refused', why } } : held
    })
    this.#save()
  }

  #committed(formation: string): BootAnswer {
    if (this.#formation === formation) return { kind: 'accepted' }
    if (this.#formation !== undefined) return { kind: 'refused', why: `${this.#options.name} is in another group` }
    const promise = this.#promise
    if (promise?.formation !== formation || this.#round !== undefined)
      return { kind: 'refused', why: 'it was not promised' }
    this.#form(promise)
    return { kind: 'accepted' }
  }

  /** A group that never had a leader, and never will: a majority of its voters is not in it. */
  #evaluateGroup(): void {
    const { group } = this.#view
    const { formation } = this
    const nowMs = this.#env.nowMs()
    if (group === undefined || formation === undefined || group.hasLeader || group.lastIndex > FOUNDING_ENTRIES) {
      this.#leaderSeenMs = nowMs
      return
    }
    if (nowMs < this.#leaderSeenMs + LEADERLESS_MS || nowMs < this.#pollAtMs) return
    this.#pollAtMs = nowMs + POLL_MS
    for (const voter of group.voters) {
      const name = nameOf(voter)
      if (name !== this.#options.name) this.#ask({ name, epoch: 0 }, { kind: 'status', formation })
    }
  }

  #heardOfGroup(from: string, { fate }: BootAnswer & { kind: 'fate' }): void {
    const { group } = this.#view
    const { formation } = this
    if (group === undefined || formation === undefined || fate !== 'released') return
    if (group.hasLeader || group.lastIndex > FOUNDING_ENTRIES) return
    const gone = this.#gone(formation)
    for (const voter of group.voters) if (nameOf(voter) === from) gone.add(voter)
    const lost = group.voters.filter((voter) => gone.has(voter))
    if (lost.length >= quorumOf(group.voters.length))
      this.#reset('most of the servers that should have founded its group have given it up')
  }

  /** The group that this store gave up was founded by the others all the same: only another store can be part of it. */
  #resetIfLeftBehind(): boolean {
    const released = new Set(this.#released.map((formation) => formation.slice(0, 16)))
    const member = this.#view.others.find(({ formation }) => formation !== undefined && released.has(formation))
    if (member === undefined || this.#promise !== undefined) return false
    this.#reset(`the group of ${member.name} was given up by this store`)
    return true
  }

  #reset(why: string): void {
    this.#isOver = true
    this.#effects.push({ kind: 'reset', why })
  }

  // ── Messages ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  #request(ref: number, from: string, request: BootRequest): void {
    const { store } = this.#options
    switch (request.kind) {
      case 'hello': {
        const { formation } = this
        const { epoch } = this.#view
        return this.#answer(ref, { kind: 'hello', store, epoch, ...(formation === undefined ? {} : { formation }) })
      }
      case 'propose':
        return this.#answer(ref, this.#proposed(from, request.plan))
      case 'commit':
        return this.#answer(ref, this.#committed(request.formation))
      case 'abort':
        // From the proposer alone, and not while the group is already being written: then it has been decided.
        if (this.#promise?.formation === request.formation && this.#promise.proposer === from && !this.#isForming) {
          this.#promise = undefined
          this.#stable = undefined
          this.#save()
        }
        return this.#answer(ref, { kind: 'accepted' })
      case 'status':
        return this.#answer(ref, { kind: 'fate', store, fate: this.#fateOf(request.formation) })
      case 'release':
        return this.#answer(ref, { kind: 'fate', store, fate: this.#release(request.formation) })
      default:
        return unreachable(request)
    }
  }

  /** What is told is on disk first. */
  #answer(ref: number, answer: BootAnswer): void {
    if (this.#write === this.#written) this.#effects.push({ kind: 'answer', ref, answer })
    else {
      this.#held.push({ write: this.#write, ref, answer })
      // Whoever asks again gets another answer.
      if (this.#held.length > HELD_ANSWERS_MAX) this.#held.shift()
    }
  }

  #answered(ask: number, answer: BootAnswer | undefined): void {
    const asked = this.#asked.get(ask)
    this.#asked.delete(ask)
    if (asked === undefined || answer === undefined) return
    const { name, about, formation } = asked
    const round = this.#round
    switch (answer.kind) {
      case 'hello': {
        if (about !== 'hello' || round === undefined || round.plan !== undefined) return
        const candidate = round.candidates.find((each) => each.name === name)
        if (candidate === undefined) return
        if (answer.epoch !== candidate.epoch || !answer.store.startsWith(candidate.store)) {
          return this.#endRound(`${name} is another run or store than gossip tells`)
        }
        round.stores.set(name, answer.store)
        return this.#propose()
      }
      case 'accepted':
        if (about !== 'propose' || round?.plan === undefined || round.plan.formation !== formation) return
        round.accepted.add(name)
        return this.#decide()
      case 'refused':
        if (about === 'propose' && round?.plan?.formation === formation) this.#endRound(answer.why)
        return
      case 'fate':
        return this.#told(name, formation, answer)
      default:
        return unreachable(answer)
    }
  }

  #told(from: string, formation: string | undefined, answer: BootAnswer & { kind: 'fate' }): void {
    const promise = this.#promise
    if (this.#isForming) return
    if (this.#formation !== undefined) {
      if (formation === this.#formation) this.#heardOfGroup(from, answer)
    } else if (promise?.formation === formation && promise !== undefined && this.#round === undefined) {
      this.#heard(promise, from, answer)
    }
  }

  #ask(to: { readonly name: string; readonly epoch: number }, request: BootRequest): void {
    const ask = ++this.#asks
    const formation =
      request.kind === 'propose' ? request.plan.formation : request.kind === 'hello' ? undefined : request.formation
    this.#asked.set(ask, { about: request.kind, name: to.name, formation })
    this.#effects.push({ kind: 'ask', ask, to: { name: to.name, epoch: to.epoch }, request })
  }

  #save(): void {
    const write = ++this.#write
    const record = { promise: this.#promise, released: this.#released }
    this.#effects.push({ kind: 'save', record, done: { kind: 'saved', write } })
  }

  #saved(write: number): void {
    this.#written = Math.max(this.#written, write)
    const ready = this.#held.filter((held) => held.write <= this.#written)
    this.#held = this.#held.filter((held) => held.write > this.#written)
    for (const { ref, answer } of ready) this.#effects.push({ kind: 'answer', ref, answer })
    this.#decide()
  }
}

/** Why nobody who follows the protocol proposes this; undefined when somebody could. */
export function planProblem(
  plan: Plan,
  { clusterId, sha256 }: { clusterId: string; sha256: (text: string) => Uint8Array },
): string | undefined {
  const { founders, configuration, proposer, formation } = plan
  const { voters, standbys } = configuration
  const isSorted = founders.every(({ name }, at) => at === 0 || compareText(founders[at - 1]?.name ?? '', name) < 0)
  if (!isSorted) return 'its servers are not in order'
  if (!founders.some(({ name }) => name === proposer)) return 'its proposer is not among its servers'
  const servers = new Map(founders.map(({ name, store }) => [name, store]))
  const isFounder = (server: ServerId): boolean => servers.get(nameOf(server)) === storeOf(server)
  const members = [...voters, ...standbys]
  if (!members.every(isFounder) || new Set(members).size !== members.length)
    return 'its configuration has other servers'
  if (voters.length === 0) return 'nobody votes'
  if (formationOf({ ...plan, clusterId }, sha256) !== formation) return 'its id does not follow from it'
  return undefined
}

/** Hex of the first 16 bytes. cluster.md §0.1. */
export function formationOf(
  { nonce, clusterId, founders }: { nonce: string; clusterId: string; founders: readonly Founder[] },
  sha256: (text: string) => Uint8Array,
): string {
  // The nonce is eight bytes; the hash takes text of one byte a character.
  const drawn = nonce.replace(/../g, (byte) => String.fromCharCode(Number.parseInt(byte, 16)))
  const lines = founders.map(({ name, store }) => `${name} ${store}\n`).join('')
  return hexOf(sha256(`moonmesh/formation/1\n${drawn}${clusterId}\n${lines}`).subarray(0, 16))
}

function hexOf(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('')
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
