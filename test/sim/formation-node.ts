// One run of a node that may become part of a group: the real cores of founding, of consensus and of the reconciler, on the
// simulated disk of its store and with what a simulated gossip tells. Does what the drivers do and decides nothing.

import { createHash } from 'node:crypto'
import type {
  BootAnswer,
  BootRequest,
  Bootstrap,
  BootstrapEffect,
  BootstrapInput,
  BootstrapRecord,
  BootstrapStatus,
  Plan,
  Seen,
} from '../../cluster/raft/core/bootstrap.ts'
import type { RaftEffect, RaftInput } from '../../cluster/raft/core/effects.ts'
import type { RaftOptions } from '../../cluster/raft/core/raft.ts'
import type {
  MemberState,
  Reconciler,
  ReconcilerEffect,
  ReconcilerView,
  ServerNode,
} from '../../cluster/raft/core/reconciler.ts'
import type { Limits } from '../../cluster/raft/core/selection.ts'
import { nameOf, type ServerId, serverId } from '../../cluster/raft/core/server.ts'
import type { RaftChecker } from './checkers/raft.ts'
import type { SimDisk } from './disk.ts'
import type { Network } from './network.ts'
import { type RaftNetwork, RaftNode } from './raft-node.ts'
import type { ClockOptions, World } from './world.ts'

export type BootNetwork = Network<never, BootRequest, BootAnswer>

/** One directory of a store, for as long as it lives. */
export interface StoreDisk extends BootstrapRecord {
  /** Hex. */
  readonly id: string
  readonly disk: SimDisk
  formation: string | undefined
  promise: Plan | undefined
  released: readonly string[]
  readonly releasedBefore: readonly string[]
}

export interface Place {
  readonly name: string
  readonly expect: number
  readonly priority: number
  readonly domain: string
  readonly isEligible: boolean
  readonly clock: ClockOptions
  epoch: number
  store: StoreDisk
  node: FormationNode | undefined
}

/** Bugs of the parts around the cores, to see whether they are found. */
export interface FormationBugs {
  /** Says that a promise is on disk when it has been asked for. */
  readonly hastyPromises?: boolean
  /** Starts without what the store says of its group. */
  readonly forgetsFormation?: boolean
  readonly noGrace?: boolean
}

/** The classes to run; broken ones, to see whether that is noticed. */
export interface FormationCores {
  readonly Bootstrap: typeof Bootstrap
  readonly Reconciler: typeof Reconciler
}

/** What a node needs of the world around it. */
export interface FormationHost {
  readonly world: World
  readonly boot: BootNetwork
  readonly raftOptions: RaftOptions
  readonly limits: Limits
  readonly places: readonly Place[]
  readonly stabilityMs: number
  readonly evictGraceMs: number
  readonly bugs: FormationBugs
  readonly cores: FormationCores
  groupOf(formation: string): { readonly network: RaftNetwork; readonly checker: RaftChecker }
  /** Before an effect of the core: false when the node dies first. */
  survives(node: FormationNode, effect: BootstrapEffect): boolean
  deciding(node: FormationNode, plan: Plan): void
  decided(node: FormationNode, formation: string): void
  adopted(node: FormationNode, formation: string): void
  changed(node: FormationNode, what: string): void
  reset(node: FormationNode, why: string): void
  note(what: string): void
}

/** What one node tells all others of itself. */
interface Told {
  readonly epoch: number
  readonly store: string
  readonly status: BootstrapStatus
  readonly formation: string | undefined
}

interface Heard {
  atMs: number
  told: Told
  readonly place: Place
  isLinked: boolean
}

const TICK_MS = 500
const REQUEST_MS = 3000

export const sha256 = (text: string): Uint8Array => createHash('sha256').update(text, 'latin1').digest()

export class FormationNode {
  readonly place: Place
  readonly boot: Bootstrap
  raft: RaftNode | undefined
  isRunning = true
  reconciler: Reconciler | undefined
  readonly heard = new Map<string, Heard>()
  readonly #host: FormationHost
  readonly #deadMs: number
  readonly #store: StoreDisk
  #hasJoined = false
  #isRaftWatched = false

  constructor(host: FormationHost, place: Place) {
    this.#host = host
    this.place = place
    this.#store = place.store
    this.#deadMs = host.world.chance.between(3000, 7000)
    const { store, name, expect, priority, domain, isEligible } = place
    const { limits, stabilityMs, bugs } = host
    const { image } = store.disk
    const isForgetful = bugs.forgetsFormation === true
    const isEmpty = image.hardState === undefined && image.entries.length === 0 && image.snapshots.length === 0
    this.boot = new host.cores.Bootstrap(
      {
        ...{ name, store: store.id, clusterId: 'sim', priority, domain, isEligible, expect, limits, sha256 },
        ...{ stabilityMs, hasJoinAddresses: host.places.length > 1, settings: Uint8Array.of(1) },
      },
      {
        formation: isForgetful ? undefined : store.formation,
        isEmpty: isForgetful || isEmpty,
        promise: store.promise,
        released: store.released,
        releasedBefore: store.releasedBefore,
      },
      host.world.env(place.clock),
    )
    host.boot.attach(name, {
      packet: () => {},
      request: (from, request, reply) => this.#request(from, request, reply),
    })
    if (store.formation !== undefined && store.promise === undefined) this.#startRaft(store.formation)
    this.#perform(this.boot.start())
    this.#wakeBoot()
    this.#tick()
  }

  get server(): ServerId {
    return serverId(this.place.name, this.#store.id)
  }

  get told(): Told {
    const { status, formation } = this.boot
    const { epoch } = this.place
    return { epoch, store: this.#store.id.slice(0, 16), status, formation: formation?.slice(0, 16) }
  }

  get isLeader(): boolean {
    return this.raft?.role === 'leader' && this.raft.raft.isReady
  }

  crash(): void {
    this.isRunning = false
    this.#host.boot.detach(this.place.name)
    if (this.raft === undefined) this.#store.disk.lose()
    else this.raft.crash()
  }

  /** Gossip has something about another node. */
  hear(place: Place, told: Told, isLinked: boolean): void {
    if (!this.isRunning) return
    const known = this.heard.get(place.name)
    const atMs = this.#host.world.nowMs
    if (known !== undefined && known.told.epoch > told.epoch) return
    this.heard.set(place.name, { atMs, told, place, isLinked })
    this.#hasJoined = true
  }

  /** A leader of `formation` has sent this store entries. */
  mayAdopt(formation: string): boolean {
    if (!this.isRunning || this.raft !== undefined) return false
    return this.boot.mayAdopt(formation)
  }

  adopt(formation: string): void {
    const store = this.#store
    store.disk.files.submit({
      act: () => {
        store.formation = formation
      },
      done: () => {
        if (!this.isRunning || this.raft !== undefined) return
        this.#host.adopted(this, formation)
        this.#feed({ kind: 'adopted', formation })
        if (this.isRunning) this.#startRaft(formation)
      },
    })
  }

  get others(): Seen[] {
    const seen: Seen[] = []
    for (const { told, place, isLinked } of this.#live()) {
      const { name, isEligible, priority, domain, expect } = place
      seen.push({ name, ...told, isEligible, priority, domain, expect, isLinked })
    }
    return seen
  }

  #live(): Heard[] {
    const { nowMs } = this.#host.world
    return [...this.heard.values()]
      .filter(({ atMs }) => nowMs - atMs < this.#deadMs)
      .sort((a, b) => (a.place.name < b.place.name ? -1 : 1))
  }

  get #lost(): string[] {
    const { nowMs } = this.#host.world
    const silent = [...this.heard.values()].filter(({ atMs }) => nowMs - atMs >= this.#deadMs)
    return silent.filter(({ told }) => told.status === 'in').map(({ place }) => place.name)
  }

  #tick(): void {
    if (!this.isRunning) return
    const { configuration, leader } = this.raft?.raft.status() ?? {}
    const group = configuration && {
      lastIndex: this.raft?.raft.log.lastIndex ?? 0,
      voters: configuration.configuration.voters,
      hasLeader: leader !== undefined,
    }
    const { epoch } = this.place
    const view = { epoch, others: this.others, lost: this.#lost, hasJoined: this.#hasJoined }
    this.#feed({ kind: 'view', view: group === undefined ? view : { ...view, group } })
    this.#reconcile()
    this.#host.world.after(TICK_MS, () => this.#tick())
  }

  // ── Founding ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  #wakeBoot(): void {
    const { world } = this.#host
    world.after(200, () => {
      if (!this.isRunning) return
      this.#feed({ kind: 'tick' })
      this.#wakeBoot()
    })
  }

  #feed(input: BootstrapInput): void {
    if (this.isRunning) this.#perform(this.boot.step(input))
  }

  #perform(effects: readonly BootstrapEffect[]): void {
    for (const effect of effects) {
      if (!this.isRunning || !this.#host.survives(this, effect)) return
      this.#do(effect)
    }
  }

  readonly #answers = new Map<number, (answer: BootAnswer | undefined) => void>()
  #refs = 0

  #request(from: string, request: BootRequest, reply: (answer: BootAnswer | undefined) => void): void {
    const ref = ++this.#refs
    this.#answers.set(ref, reply)
    this.#feed({ kind: 'request', ref, from, request })
  }

  #do(effect: BootstrapEffect): void {
    const host = this.#host
    const store = this.#store
    const { name } = this.place
    switch (effect.kind) {
      case 'ask': {
        const { ask, to, request } = effect
        const epoch = this.heard.get(to.name)?.told.epoch
        if (to.epoch !== 0 && epoch !== to.epoch) {
          host.world.after(0, () => this.#feed({ kind: 'answered', ask, answer: undefined }))
          return
        }
        const done = (answer: BootAnswer | undefined): void => this.#feed({ kind: 'answered', ask, answer })
        host.boot.request(name, to.name, request, { timeoutMs: REQUEST_MS, bytes: 1, done })
        return
      }
      case 'answer':
        this.#answers.get(effect.ref)?.(effect.answer)
        this.#answers.delete(effect.ref)
        return
      case 'save': {
        const { record, done } = effect
        const isHasty = host.bugs.hastyPromises === true
        const act = (): void => void Object.assign(store, record)
        store.disk.files.submit({ act, done: () => isHasty || this.#feed(done) })
        if (isHasty) host.world.after(0, () => this.#feed(done))
        return
      }
      case 'form':
        return this.#form(effect)
      case 'reset':
        return host.reset(this, effect.why)
      case 'status':
        return
      case 'note':
        host.note(`${name}: ${effect.event} ${JSON.stringify(effect.fields)}`)
    }
  }

  #form({ plan, done }: Extract<BootstrapEffect, { kind: 'form' }>): void {
    const host = this.#host
    const store = this.#store
    const { formation, configuration, settings } = plan
    if (plan.proposer === this.place.name) host.deciding(this, plan)
    let open = 2
    const finished = (): void => {
      open--
      if (open > 0 || !this.isRunning) return
      host.decided(this, formation)
      this.#feed(done)
      // It may have died of what it was about to do next.
      if (this.isRunning) this.#startRaft(formation)
    }
    // In either order: a beginning of it is the decision.
    const log = (): void =>
      store.disk.log.submit({
        act: (image) => {
          if (image.hardState !== undefined) return
          image.hardState = { term: 1 }
          image.entries.push({ index: 1, term: 1, clockMs: 0, kind: 'configuration', configuration })
          image.entries.push({ index: 2, term: 1, clockMs: 0, kind: 'settings', data: settings })
        },
        done: finished,
      })
    const meta = (): void =>
      store.disk.files.submit({
        act: () => {
          store.formation = formation
        },
        done: finished,
      })
    const order = host.world.chance.chance(0.5) ? [log, meta] : [meta, log]
    for (const write of order) write()
  }

  // ── Consensus ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  #startRaft(formation: string): void {
    const host = this.#host
    const { network, checker } = host.groupOf(formation)
    this.raft = new RaftNode(
      host.world,
      network,
      { id: this.server, disk: this.#store.disk, raft: host.raftOptions, clock: this.place.clock, applyMaxMs: 3 },
      {
        starting: (node) => checker.starting(node),
        applied: (node, outcomes) => checker.applied(node, outcomes),
        saved: (node, meta, bytes) => checker.saved(node, meta, bytes),
        stepped: (node, input, effects) => {
          checker.stepped(node, input, effects)
          this.#stepped(input, effects)
        },
      },
    )
  }

  #stepped(_input: RaftInput, effects: readonly RaftEffect[]): void {
    for (const effect of effects) {
      if (effect.kind === 'reset-required') {
        this.#host.world.after(0, () => this.isRunning && this.#host.reset(this, 'its store has lost entries'))
      }
    }
    if (this.#isRaftWatched) return
    this.#isRaftWatched = true
    this.#host.world.after(0, () => {
      this.#isRaftWatched = false
      this.#reconcile()
    })
  }

  #reconcile(): void {
    if (!this.isRunning || this.raft === undefined) return
    const { world, limits, evictGraceMs, raftOptions, bugs, cores } = this.#host
    if (!this.isLeader) {
      this.reconciler = undefined
      return
    }
    if (this.reconciler === undefined) {
      const options = { self: this.server, limits, debounceMs: 1000, timeoutMs: 2000 }
      const graceMs = bugs.noGrace === true ? 0 : evictGraceMs
      const { heartbeatTimeoutMs } = raftOptions
      const env = world.env(this.place.clock)
      this.reconciler = new cores.Reconciler({ ...options, evictGraceMs: graceMs, heartbeatTimeoutMs }, env)
      this.reconciler.step({ kind: 'lead' })
      this.#pump(this.reconciler, () => env.nowMs())
    }
  }

  #pump(reconciler: Reconciler, nowMs: () => number): void {
    this.#host.world.after(100, () => {
      if (!this.isRunning || this.reconciler !== reconciler) return
      if (reconciler.wakeAtMs <= nowMs()) this.#act(reconciler, reconciler.step({ kind: 'tick', view: this.#view() }))
      this.#pump(reconciler, nowMs)
    })
  }

  #view(): ReconcilerView {
    const raft = (this.raft as RaftNode).raft
    const status = raft.status()
    const members = new Map<ServerId, MemberState>()
    for (const { server, isSynced, isRegressed, silentMs, syncMs } of status.followers) {
      members.set(server, { isSynced, isRegressed, silentMs, syncMs })
    }
    const { configuration, index } = status.configuration
    return {
      formation: this.boot.formation as string,
      configuration,
      isSettled: index <= status.commit && status.isReady,
      members,
      nodes: this.nodes,
      syncMs: 1,
    }
  }

  /** Servers that gossip calls live, this one among them. */
  get nodes(): ServerNode[] {
    const nodes: ServerNode[] = this.#live().map(({ told, place, isLinked }) => {
      const { name, isEligible, priority, domain, store } = place
      // The whole id comes with an answer of the node itself, which is then the one that gossip tells of.
      const isKnown = store.id.startsWith(told.store) && isLinked
      const server =
        isKnown || this.raft !== undefined ? this.#serverOf(name, told.store, isKnown, store.id) : undefined
      return { name, ...told, server, isEligible, priority, domain, isLinked }
    })
    const { name, isEligible, priority, domain } = this.place
    nodes.push({ name, ...this.told, server: this.server, isEligible, priority, domain, isLinked: true })
    return nodes.sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  #serverOf(name: string, store: string, isKnown: boolean, whole: string): ServerId | undefined {
    const { voters, standbys } = this.raft?.raft.log.newest.configuration ?? { voters: [], standbys: [] }
    const member = [...voters, ...standbys].find((server) => server.startsWith(`${name}/${store}`))
    return member ?? (isKnown ? serverId(name, whole) : undefined)
  }

  #act(reconciler: Reconciler, effects: readonly ReconcilerEffect[]): void {
    const { raft } = this
    if (raft === undefined) return
    for (const effect of effects) {
      if (effect.kind === 'change') {
        const { ref, change } = effect
        const live = this.nodes.filter(({ isLinked }) => isLinked).flatMap(({ server }) => server ?? [])
        const done = (ok: boolean): void => {
          if (ok) this.#host.changed(this, `${change.op} ${nameOf(change.server)}: ${effect.why}`)
          this.#act(reconciler, reconciler.step({ kind: 'done', ref, ok, why: 'refused' }))
        }
        raft.ask((asked) => ({ kind: 'change', ref: asked, change, live }), done)
      } else if (effect.kind === 'transfer') {
        const done = (ok: boolean): void => void reconciler.step({ kind: 'done', ref: effect.ref, ok })
        raft.ask(
          (asked) => ({ kind: 'transfer', ref: asked, ...(effect.to === undefined ? {} : { to: effect.to }) }),
          done,
        )
      }
    }
  }
}
