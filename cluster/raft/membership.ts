// Who is a member, kept right by the leader and by operators: runs the reconciler while this server leads, and carries out what
// people ask of any node. cluster.md §5.5, §5.6, §5.8, §5.9.

import { unreachable } from '../../runtime/base/assert.ts'
import { MoonmeshError, messageOf } from '../../runtime/base/errors.ts'
import { isPackedMap, type PackedMap, pack, unpack } from '../../runtime/base/msgpack.ts'
import type { RaftSettings } from '../config.ts'
import { type Fabric, type LiveNode, memberRole } from '../fabric.ts'
import type { Agreement } from './agreement.ts'
import type { Consensus, ConsensusStatus } from './consensus.ts'
import type { BootstrapStatus } from './core/bootstrap.ts'
import { membersOf } from './core/membership.ts'
import {
  type Loss,
  type MemberState,
  Reconciler,
  type ReconcilerEffect,
  type ReconcilerView,
  type ServerNode,
} from './core/reconciler.ts'
import { nameOf, type ServerId, serverId, storeOf } from './core/server.ts'
import { isStoreOf, limitsOf, seenOf } from './seen.ts'
import { BOOT_METHODS, decodeBootAnswer, encodeBootRequest } from './wire/boot.ts'

interface MembershipOptions {
  readonly fabric: Fabric
  /** Undefined on a client, which only asks others. */
  readonly consensus: Consensus | undefined
  readonly agreement: Agreement | undefined
  readonly settings: RaftSettings
  readonly failureDomain: string
}

interface RemoveOptions {
  /** Also a node that gossip calls live. */
  readonly force?: boolean
}

const METHODS = { leave: 'raft.leave', remove: 'raft.remove', transfer: 'raft.transfer' } as const
type Method = keyof typeof METHODS
const HELLO_MS = 3000
/** Of what an operator asks for, all tries together. */
const ORDER_MS = 15_000
const RETRY_MS = 500
const TAG_DIGITS = 16

export class Membership {
  /** For metrics. */
  readonly statistics = { bursts: 0, evictions: { dead: 0, store_changed: 0, regressed: 0, left: 0 } }
  readonly #options: MembershipOptions
  readonly #fabric: Fabric
  readonly #consensus: Consensus | undefined
  #reconciler: { readonly core: Reconciler; readonly basis: string } | undefined
  /** Whole ids of stores, by what gossip tells of them. */
  readonly #stores = new Map<string, string>()
  readonly #asking = new Set<string>()
  readonly #unsubscribe: (() => void)[] = []
  #cancelWake: () => void = () => {}
  #isClosed = false
  #isLeaving = false

  constructor(options: MembershipOptions) {
    const { fabric, consensus } = options
    this.#options = options
    this.#fabric = fabric
    this.#consensus = consensus
    if (consensus === undefined) return
    const news = (): void => this.#news()
    this.#unsubscribe.push(fabric.onLive(news), fabric.onLink(news), consensus.onStatus(news))
    if (options.agreement !== undefined) this.#unsubscribe.push(options.agreement.onChanged(news))
    for (const method of Object.keys(METHODS) as Method[]) {
      const stop = fabric.serve(METHODS[method], async (body, { peer }) => {
        const order = mapIn(body)
        return pack(await this.#obey(method, order, { from: peer, mayRelay: order['hop'] !== true }))
      })
      this.#unsubscribe.push(stop)
    }
    this.#news()
  }

  close(): void {
    this.#isClosed = true
    this.#cancelWake()
    for (const stop of this.#unsubscribe.splice(0)) stop()
  }

  /** This node goes: its tags say so too. */
  leave(): void {
    this.#isLeaving = true
  }

  // ── Operators ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Hands leadership to `to`, or to the best voter.
   * @returns the new leader's name
   * @throws MoonmeshError `Conflict` (why not), `Unavailable` (no leader)
   */
  async transfer(to?: string): Promise<string> {
    const { leader } = await this.#order('transfer', to === undefined ? {} : { to })
    return String(leader)
  }

  /**
   * Takes a node that is gone out of the group.
   * @throws MoonmeshError `NotFound` (no member), `Conflict` (it is there, or the quorum would be lost), `Unavailable` (no leader)
   */
  async remove(name: string, { force = false }: RemoveOptions = {}): Promise<void> {
    await this.#order('remove', { name, force })
  }

  /**
   * Takes this server out of the group; somebody who stands by takes its place first, when there is one.
   * @returns index of the configuration without it; undefined when it was no member
   * @throws MoonmeshError when that is not possible now
   */
  async retire(deadlineMs: number): Promise<number | undefined> {
    const consensus = this.#consensus
    if (consensus === undefined || !isMember(consensus.status(), consensus.self)) return undefined
    const { index } = await this.#order('leave', { server: consensus.self }, deadlineMs)
    return typeof index === 'number' ? index : consensus.status().last.index
  }

  /** From wherever this is: to the leader, or to a member that knows it. */
  async #order(method: Method, order: PackedMap, deadlineMs = ORDER_MS): Promise<PackedMap> {
    const untilMs = this.#fabric.env.nowMs() + deadlineMs
    for (;;) {
      try {
        return await this.#obey(method, order, { from: this.#fabric.name, mayRelay: true, untilMs })
      } catch (error) {
        const isWorthIt = error instanceof MoonmeshError && (error.kind === 'Unavailable' || error.kind === 'NotLeader')
        if (!isWorthIt || this.#fabric.env.nowMs() + RETRY_MS > untilMs || this.#isClosed) throw error
        await new Promise<void>((resolve) => this.#fabric.after(RETRY_MS, resolve))
      }
    }
  }

  async #obey(
    method: Method,
    order: PackedMap,
    { from, mayRelay, untilMs }: { from: string; mayRelay: boolean; untilMs?: number },
  ): Promise<PackedMap> {
    const status = this.#consensus?.status()
    if (status?.role === 'leader') return this.#carryOut(method, order, from)
    const leader = status?.leader === undefined ? undefined : nameOf(status.leader)
    const next = leader ?? (mayRelay ? this.#someMember() : undefined)
    if (!mayRelay || next === undefined) throw noLeader()
    const nowMs = this.#fabric.env.nowMs()
    const deadlineMs = untilMs === undefined ? ORDER_MS : Math.max(1, untilMs - nowMs)
    // A leader carries it out; any other member may ask the leader once more.
    const body = pack({ ...order, hop: leader !== undefined })
    return mapIn(await this.#fabric.request({ name: next, epoch: 0 }, METHODS[method], body, { deadlineMs }))
  }

  #someMember(): string | undefined {
    const members = this.#fabric.live().filter((node) => memberRole(this.#fabric, node) !== undefined)
    return members[this.#fabric.env.randomInt(Math.max(1, members.length))]?.name
  }

  async #carryOut(method: Method, order: PackedMap, from: string): Promise<PackedMap> {
    const consensus = this.#consensus as Consensus
    switch (method) {
      case 'transfer':
        return { leader: nameOf(await consensus.transfer(this.#successorNamed(order['to']))) }
      case 'remove':
        await this.#remove(order)
        return {}
      case 'leave': {
        const { server } = order
        if (typeof server !== 'string') throw new MoonmeshError('Invalid', 'a server is a string')
        if (server === consensus.self) throw new MoonmeshError('Conflict', `${nameOf(server)} leads; transfer first`)
        if (from !== nameOf(server) && !this.#saysThatItLeaves(server)) {
          const text = `${from} asks that ${nameOf(server)} be taken out of the group, which has not said itself that it leaves`
          throw new MoonmeshError('Unavailable', text, { retryable: true })
        }
        this.#fabric.log('info', 'raft_member_leaves', { peer: nameOf(server), from })
        this.#reconciler?.core.step({ kind: 'leave', server })
        this.#pump()
        return { index: await this.#removed(server) }
      }
      default:
        return unreachable(method)
    }
  }

  /** Of who has no way to the leader another member asks in its name: what counts is what its own node tells everybody. */
  #saysThatItLeaves(server: ServerId): boolean {
    return this.#fabric
      .live()
      .some((node) => isStoreOf(node, server) && node.tags.get('raft_status') === ('leaving' satisfies BootstrapStatus))
  }

  async #remove(order: PackedMap): Promise<void> {
    const consensus = this.#consensus as Consensus
    const { name, force } = order
    const members = this.#membersNamed(name)
    // Of a node with two stores the one that is not there is meant.
    const server = members.find((each) => !this.#isThere(each)) ?? (members[0] as ServerId)
    if (this.#isThere(server) && force !== true) {
      const text = `${nameOf(server)} is there; let it leave (runtime cluster leave --node ${nameOf(server)}), or remove it with --force`
      throw new MoonmeshError('Conflict', text, { retryable: false })
    }
    await consensus.changeMembership({ op: 'remove', server })
  }

  #isThere(server: ServerId): boolean {
    return server === this.#consensus?.self || this.#fabric.live().some((node) => isStoreOf(node, server))
  }

  /** Undefined: whoever is best. */
  #successorNamed(name: unknown): ServerId | undefined {
    if (name === undefined) return undefined
    const members = this.#membersNamed(name)
    // Of a node that lost its store the old one is a member until it is removed, and nobody is there to lead with it.
    return members.find((server) => this.#isThere(server)) ?? members[0]
  }

  /** One, or more of a node that lost its store. @throws MoonmeshError `NotFound` */
  #membersNamed(name: unknown): ServerId[] {
    const { configuration } = (this.#consensus as Consensus).status()
    const all = membersOf(configuration.configuration)
    const members = all.filter((server) => nameOf(server) === name)
    if (members.length > 0) return members
    const known = [...new Set(all.map(nameOf))].sort().join(', ')
    throw new MoonmeshError('NotFound', `${String(name)} is no member of the group; its members are ${known}`)
  }

  /** @returns index of the configuration without it */
  #removed(server: ServerId): Promise<number> {
    const consensus = this.#consensus as Consensus
    return new Promise((resolve, reject) => {
      const check = (): void => {
        const status = consensus.status()
        const isOut = !isMember(status, server) && status.configuration.index <= status.commit
        if (!isOut && status.role === 'leader' && !this.#isClosed) return
        stop()
        if (isOut) resolve(status.configuration.index)
        else reject(noLeader())
      }
      const stopStatus = consensus.onStatus(check)
      const cancel = this.#fabric.after(ORDER_MS, () => {
        stop()
        reject(new MoonmeshError('Timeout', `${nameOf(server)} could not be removed in ${ORDER_MS / 1000} s`))
      })
      const stop = (): void => {
        stopStatus()
        cancel()
      }
      check()
    })
  }

  // ── Reconciler ────────────────────────────────────────────────────────────────────────────────────────────────────────

  #news(): void {
    if (this.#isClosed) return
    const consensus = this.#consensus as Consensus
    const { role, isReady } = consensus.status()
    const isLeading = role === 'leader' && isReady
    const { settings, agreement } = this.#options
    const limits = agreement?.limits(settings.votersMin) ?? limitsOf(settings)
    // When the group agrees on other numbers it begins to look anew.
    const basis = JSON.stringify([consensus.self, limits])
    if (!isLeading || this.#reconciler?.basis !== basis) this.#reconciler = undefined
    if (isLeading && this.#reconciler === undefined) {
      const { self } = consensus
      const core = new Reconciler(
        {
          self,
          limits,
          debounceMs: settings.reconcileDebounceMs,
          timeoutMs: settings.reconcileTimeoutMs,
          evictGraceMs: settings.evictGraceMs,
          heartbeatTimeoutMs: agreement?.current.heartbeatTimeoutMs ?? settings.heartbeatTimeoutMs,
        },
        this.#fabric.env,
      )
      this.#reconciler = { core, basis }
      core.step({ kind: 'lead' })
    } else this.#reconciler?.core.step({ kind: 'news' })
    this.#pump()
  }

  #pump(): void {
    this.#cancelWake()
    const { env } = this.#fabric
    const core = this.#reconciler?.core
    if (core === undefined || this.#isClosed) return
    if (core.wakeAtMs <= env.nowMs()) this.#perform(core, core.step({ kind: 'tick', view: this.#view() }))
    const delayMs = core.wakeAtMs - env.nowMs()
    if (Number.isFinite(delayMs)) this.#cancelWake = this.#fabric.after(Math.max(1, delayMs), () => this.#pump())
  }

  #perform(core: Reconciler, effects: readonly ReconcilerEffect[]): void {
    const consensus = this.#consensus as Consensus
    const done = (ref: number, ok: boolean, why?: string): void => {
      if (this.#reconciler?.core !== core) return
      this.#perform(core, core.step({ kind: 'done', ref, ok, ...(why === undefined ? {} : { why }) }))
      this.#pump()
    }
    for (const effect of effects) {
      switch (effect.kind) {
        case 'change': {
          const { ref, change, why } = effect
          this.#fabric.log('info', 'raft_step', { op: change.op, peer: nameOf(change.server), reason: why })
          consensus.changeMembership(change).then(
            () => done(ref, true),
            (error: unknown) => done(ref, false, messageOf(error)),
          )
          break
        }
        case 'transfer':
          this.#fabric.log('info', 'raft_transfer', { reason: effect.why })
          consensus.transfer(effect.to).then(
            () => done(effect.ref, true),
            (error: unknown) => done(effect.ref, false, messageOf(error)),
          )
          break
        case 'evicted':
          this.statistics.evictions[effect.reason satisfies Loss]++
          break
        case 'burst':
          this.statistics.bursts++
          this.#fabric.log('warn', 'raft_voter_churn_burst', {})
          break
        case 'refused':
          // The driver of consensus has logged why.
          break
        default:
          unreachable(effect)
      }
    }
  }

  #view(): ReconcilerView {
    const status = (this.#consensus as Consensus).status()
    const { configuration, index } = status.configuration
    const members = new Map<ServerId, MemberState>()
    for (const { server, isSynced, isRegressed, silentMs, syncMs } of status.followers) {
      members.set(server, { isSynced, isRegressed, silentMs, syncMs })
    }
    return {
      formation: status.formation ?? '',
      configuration,
      isSettled: status.isReady && index <= status.commit,
      members,
      nodes: this.#nodes(membersOf(configuration)),
      syncMs: status.syncMs ?? 0,
    }
  }

  /** Live servers, this one among them, by name. */
  #nodes(members: readonly ServerId[]): ServerNode[] {
    const { settings, failureDomain } = this.#options
    const consensus = this.#consensus as Consensus
    const live = this.#fabric.live()
    this.#forgetStores(live)
    const nodes: ServerNode[] = []
    for (const node of live) {
      const seen = seenOf(node, this.#fabric.isLinked(node))
      if (seen === undefined || seen.status === 'none' || seen.store === '') continue
      const { status, store } = seen
      const member = members.find((server) => nameOf(server) === node.name && storeOf(server).startsWith(store))
      nodes.push({ ...seen, status, server: member ?? this.#serverOf(node, seen) })
    }
    const { formation } = consensus.status()
    nodes.push({
      name: this.#fabric.name,
      store: storeOf(consensus.self).slice(0, TAG_DIGITS),
      server: consensus.self,
      status: this.#isLeaving ? 'leaving' : 'in',
      formation: formation?.slice(0, TAG_DIGITS),
      isLinked: true,
      isEligible: settings.isEligible && !this.#isLeaving,
      priority: settings.priority,
      domain: failureDomain,
    })
    return nodes.sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  /** Gossip tells the beginning of a store's id; the rest its node tells itself. */
  #serverOf(node: LiveNode, { store, isLinked }: { store: string; isLinked: boolean }): ServerId | undefined {
    const { name, epoch } = node
    const key = keyOf(node)
    const known = this.#stores.get(key)
    if (known !== undefined) return serverId(name, known)
    if (!isLinked || this.#asking.has(key)) return undefined
    this.#asking.add(key)
    this.#fabric
      .request({ name, epoch }, BOOT_METHODS.hello, encodeBootRequest({ kind: 'hello' }), { deadlineMs: HELLO_MS })
      .then((bytes) => {
        const answer = decodeBootAnswer(bytes)
        if (answer.kind !== 'hello' || !answer.store.startsWith(store)) return
        this.#stores.set(key, answer.store)
        this.#news()
      })
      .catch(() => {
        // It is asked again with the next look.
      })
      .finally(() => this.#asking.delete(key))
    return undefined
  }

  #forgetStores(live: readonly LiveNode[]): void {
    const keys = new Set(live.map(keyOf))
    for (const key of [...this.#stores.keys()]) if (!keys.has(key)) this.#stores.delete(key)
  }
}

const keyOf = ({ name, epoch, tags }: LiveNode): string => `${name} ${epoch} ${tags.get('store') ?? ''}`

function isMember({ configuration }: ConsensusStatus, server: ServerId): boolean {
  return membersOf(configuration.configuration).includes(server)
}

function noLeader(): MoonmeshError {
  return new MoonmeshError('Unavailable', 'the group has no leader at the moment, or none that this node knows', {
    retryable: true,
  })
}

function mapIn(bytes: Uint8Array): PackedMap {
  const map = unpack(bytes)
  if (!isPackedMap(map)) throw new MoonmeshError('Invalid', 'a request to a member of the group is a map')
  return map
}
