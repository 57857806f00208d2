// Founding a group, for real: what gossip and the mesh tell goes into the core, its promises go to the store, its questions over the
// mesh, and what becomes of it into the tags of this node. cluster.md §3.10, §5.4.

import { createHash } from 'node:crypto'
import { unreachable } from '../../runtime/base/assert.ts'
import { MoonmeshError, messageOf } from '../../runtime/base/errors.ts'
import type { RaftSettings } from '../config.ts'
import type { Fabric, LiveEvent } from '../fabric.ts'
import type { Consensus } from './consensus.ts'
import {
  type BootAnswer,
  type BootRequest,
  Bootstrap,
  type BootstrapEffect,
  type BootstrapInput,
  type BootstrapStatus,
  type BootstrapView,
  POLL_MS,
  RELEASED_MAX,
} from './core/bootstrap.ts'
import { membersOf } from './core/membership.ts'
import { compareServers, nameOf, storeOf } from './core/server.ts'
import { limitsOf, seenOf } from './seen.ts'
import {
  BOOT_METHODS,
  decodeBootAnswer,
  decodeBootRequest,
  decodePlan,
  encodeBootAnswer,
  encodeBootRequest,
  encodePlan,
} from './wire/boot.ts'

interface FormationOptions {
  readonly fabric: Fabric
  readonly consensus: Consensus
  readonly settings: RaftSettings
  readonly clusterId: string
  readonly failureDomain: string
  readonly hasJoinAddresses: boolean
  /** The second entry of a group, when this server proposes it. */
  readonly groupSettings: Uint8Array
}

/** For one answer; the round as a whole has its own bound. */
const ASK_MS = 4000
const LOST_MAX = 1024
const WAITING_WARN_MS = 30_000
const CONFLICT_WARN_MS = 60_000
const TAG_DIGITS = 16

export class Formation {
  readonly #options: FormationOptions
  readonly #fabric: Fabric
  readonly #consensus: Consensus
  #core: Bootstrap
  /** The store that the core is about. */
  #store: string
  #isLeaving = false
  #isClosed = false
  #isReadmitting = false
  /** A write has failed. */
  #isBroken = false
  #hasJoined = false
  /** What the store has released that is being made anew. */
  #releasedBefore: readonly string[] | undefined
  /** Servers of a group that are dead, not left. */
  readonly #lost = new Set<string>()
  readonly #unsubscribe: (() => void)[] = []
  #cancelWake: () => void = () => {}
  #refs = 0
  readonly #answers = new Map<number, (answer: BootAnswer) => void>()
  #work: Promise<unknown> = Promise.resolve()
  #warnedAtMs: number
  #conflictAtMs = Number.NEGATIVE_INFINITY

  constructor(options: FormationOptions) {
    const { fabric, consensus } = options
    this.#options = options
    this.#fabric = fabric
    this.#consensus = consensus
    this.#warnedAtMs = fabric.env.nowMs()
    this.#store = storeOf(consensus.self)
    this.#core = this.#coreOf()
    this.#serve()
    this.#unsubscribe.push(
      fabric.onLive((event) => this.#liveChanged(event)),
      fabric.onLink(() => this.#look()),
      consensus.onStatus(() => this.#consensusChanged()),
    )
    if (this.isRetired) {
      consensus.setEligible(false)
      fabric.log('info', 'raft_retired', {})
    }
    this.#begin()
  }

  get status(): BootstrapStatus {
    return this.#isLeaving ? 'leaving' : this.#core.status
  }

  /** What a server without a group waits for; undefined in a group, and for a server that goes. */
  get waitingFor(): string | undefined {
    if (this.isRetired && this.status === 'in') return 'a leader that adds it again: it had left the group'
    return this.status === 'in' || this.status === 'leaving' ? undefined : this.#core.waitingFor
  }

  /** It was taken out of its group at its own wish, and not added again since. */
  get isRetired(): boolean {
    return this.#consensus.meta.retired !== undefined
  }

  /**
   * Remembers that this server has left its group with the configuration at `index`: when it starts again it is a member only once a later
   * one says so, whatever its own log still holds.
   * @throws MoonmeshError of the disk
   */
  async retired(index: number): Promise<void> {
    if (this.#consensus.meta.formation === undefined) return
    await this.#consensus.changeMeta((meta) => ({ ...meta, retired: index }))
  }

  /** The health check `raft_formation`. */
  health(): { ok: boolean; detail: string } {
    const { conflicts, formation } = this.#core
    if (conflicts.size > 0) {
      const others = [...conflicts].map(([id, names]) => `${id} (${names.join(', ')})`).join('; ')
      const detail = `two groups have the cluster id ${this.#options.clusterId}: this node is in ${formation?.slice(0, TAG_DIGITS)}, others are in ${others}; runtime cluster reset-store on the nodes of one of them makes them join the other`
      return { ok: false, detail }
    }
    const waitingFor = this.waitingFor
    return {
      ok: true,
      detail: waitingFor === undefined ? `in group ${formation?.slice(0, TAG_DIGITS)}` : `waits for ${waitingFor}`,
    }
  }

  /** This node goes: it founds nothing any more, and says so. */
  leave(): void {
    this.#isLeaving = true
    this.#feed({ kind: 'leave' })
    this.#tell()
  }

  /** Idempotent; waits for what is on its way to the disk. */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#cancelWake()
    for (const stop of this.#unsubscribe.splice(0)) stop()
    await this.#work.catch(() => {})
  }

  // ── The core ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  #coreOf(): Bootstrap {
    const {
      fabric,
      consensus,
      settings,
      clusterId,
      failureDomain: domain,
      hasJoinAddresses,
      groupSettings,
    } = this.#options
    const { meta } = consensus
    const { formation, released, releasedBefore = [] } = meta
    return new Bootstrap(
      {
        name: fabric.name,
        store: meta.storeId,
        clusterId,
        priority: settings.priority,
        domain,
        isEligible: settings.isEligible,
        expect: settings.bootstrapExpect,
        stabilityMs: settings.bootstrapStabilityMs,
        hasJoinAddresses,
        limits: limitsOf(settings),
        settings: groupSettings,
        sha256: (text) => createHash('sha256').update(text, 'latin1').digest(),
      },
      {
        formation,
        isEmpty: consensus.status().isEmpty,
        promise: meta.promise === undefined ? undefined : decodePlan(Buffer.from(meta.promise, 'base64')),
        released,
        releasedBefore,
      },
      fabric.env,
    )
  }

  #begin(): void {
    const core = this.#core
    if (this.#isLeaving) core.step({ kind: 'leave' })
    this.#perform(core, core.start())
    this.#look()
  }

  #feed(input: BootstrapInput): void {
    if (this.#isClosed) return
    const core = this.#core
    this.#perform(core, core.step(input))
    this.#arm()
  }

  #arm(): void {
    this.#cancelWake()
    if (this.#isClosed) return
    const delayMs = Math.min(Math.max(0, this.#core.wakeAtMs - this.#fabric.env.nowMs()), POLL_MS)
    this.#cancelWake = this.#fabric.after(delayMs, () => this.#look())
  }

  #look(): void {
    this.#feed({ kind: 'view', view: this.#view() })
    this.#warn()
  }

  #view(): BootstrapView {
    const others = this.#fabric.live().flatMap((node) => seenOf(node, this.#fabric.isLinked(node)) ?? [])
    if (others.length > 0) this.#hasJoined = true
    const own = {
      epoch: this.#fabric.epoch,
      others,
      lost: [...this.#lost].sort(compareServers),
      hasJoined: this.#hasJoined,
    }
    const { formation, last, leader, configuration } = this.#consensus.status()
    if (formation === undefined) return own
    const { voters } = configuration.configuration
    return { ...own, group: { lastIndex: last.index, voters, hasLeader: leader !== undefined } }
  }

  #liveChanged({ kind, node, reason }: LiveEvent): void {
    this.#lost.delete(node.name)
    if (kind === 'left' && reason === 'dead' && node.tags.get('raft_status') === 'in' && this.#lost.size < LOST_MAX) {
      this.#lost.add(node.name)
    }
    this.#look()
  }

  #consensusChanged(): void {
    if (this.#isClosed) return
    const { formation } = this.#consensus.status()
    // The store was made anew, whoever wanted it: what the core knows is about the old one.
    const isAgain = this.#isBroken && this.#consensus.status().failure === undefined
    if (storeOf(this.#consensus.self) !== this.#store || isAgain) {
      this.#isBroken = false
      this.#store = storeOf(this.#consensus.self)
      if (!this.#isLeaving) this.#consensus.setEligible(this.#options.settings.isEligible && !this.isRetired)
      this.#answers.clear()
      this.#core = this.#coreOf()
      this.#begin()
      const before = this.#releasedBefore
      this.#releasedBefore = undefined
      if (before !== undefined) this.#write(() => this.#remember(before))
    } else if (formation !== undefined && this.#core.formation !== formation) {
      this.#feed({ kind: 'adopted', formation })
    }
    this.#readmit()
    this.#tell()
  }

  /** A leader has added it again. */
  #readmit(): void {
    const { retired } = this.#consensus.meta
    const { configuration, commit, self } = this.#consensus.status()
    const { index } = configuration
    if (retired === undefined || this.#isLeaving || index <= retired || index > commit) return
    if (this.#isReadmitting || !membersOf(configuration.configuration).includes(self)) return
    this.#isReadmitting = true
    this.#write(async () => {
      try {
        await this.#consensus.changeMeta(({ retired: _, ...meta }) => meta)
      } finally {
        this.#isReadmitting = false
      }
      if (!this.#isLeaving) this.#consensus.setEligible(this.#options.settings.isEligible)
      this.#tell()
    })
  }

  // ── Effects ───────────────────────────────────────────────────────────────────────────────────────────────────────────

  #perform(core: Bootstrap, effects: readonly BootstrapEffect[]): void {
    for (const effect of effects) if (core === this.#core) this.#do(core, effect)
  }

  #do(core: Bootstrap, effect: BootstrapEffect): void {
    switch (effect.kind) {
      case 'ask':
        this.#ask(effect.to, effect.request).then(
          (answer) => this.#feedFor(core, { kind: 'answered', ask: effect.ask, answer }),
          () => this.#feedFor(core, { kind: 'answered', ask: effect.ask, answer: undefined }),
        )
        return
      case 'answer':
        this.#answers.get(effect.ref)?.(effect.answer)
        this.#answers.delete(effect.ref)
        return
      case 'save': {
        const { promise: plan, released } = effect.record
        const promise = plan === undefined ? undefined : Buffer.from(encodePlan(plan)).toString('base64')
        // A promise that cannot be written was never given: the store has failed, and is opened anew.
        this.#write(async () => {
          // What an earlier core wanted written is not about this store, or about what this core knows.
          if (core !== this.#core) return
          const { formation } = await this.#consensus.changeMeta(({ promise: _, ...meta }) => {
            // Who has become a member of a group meanwhile founds no other.
            const mayPromise = meta.formation === undefined || meta.formation === plan?.formation
            return { ...meta, released, ...(promise === undefined || !mayPromise ? {} : { promise }) }
          })
          // Before it counts as saved: then the core takes back what it was about to promise.
          if (formation !== undefined) this.#feedFor(core, { kind: 'adopted', formation })
          this.#feedFor(core, effect.done)
        })
        return
      }
      case 'form': {
        const { formation, configuration, settings } = effect.plan
        this.#write(async () => {
          if (core !== this.#core) return
          await this.#consensus.form(formation, configuration, settings)
          this.#feedFor(core, effect.done)
        })
        return
      }
      case 'reset':
        this.#fabric.log('warn', 'raft_formation_given_up', { reason: effect.why })
        this.#write(() => this.#reset())
        return
      case 'status':
        return this.#tell()
      case 'note':
        // That there is a group now, consensus says.
        if (effect.event !== 'raft_bootstrapped') this.#fabric.log('warn', effect.event, effect.fields)
        return
      default:
        return unreachable(effect)
    }
  }

  #feedFor(core: Bootstrap, input: BootstrapInput): void {
    if (core === this.#core) this.#feed(input)
  }

  /** In order. After a failure of the disk the driver of consensus opens the store anew, and the core begins with what is there then. */
  #write(act: () => Promise<void>): void {
    this.#work = this.#work.then(act).catch((error: unknown) => {
      this.#isBroken = true
      this.#fabric.log('error', 'raft_bootstrap_failed', { reason: messageOf(error) })
    })
  }

  async #reset(): Promise<void> {
    const { released, releasedBefore = [] } = this.#consensus.meta
    this.#releasedBefore = [...releasedBefore, ...released].slice(-RELEASED_MAX)
    // It may take more than one try; that there is another store, consensus says.
    await this.#consensus.reset()
  }

  async #remember(before: readonly string[]): Promise<void> {
    await this.#consensus.changeMeta((meta) => ({ ...meta, releasedBefore: before }))
    // Others ask what became of the group of before: now this server can say.
    this.#core = this.#coreOf()
    this.#begin()
  }

  async #ask(to: { name: string; epoch: number }, request: BootRequest): Promise<BootAnswer> {
    const body = encodeBootRequest(request)
    const bytes = await this.#fabric.request(to, BOOT_METHODS[request.kind], body, { deadlineMs: ASK_MS })
    return decodeBootAnswer(bytes)
  }

  #serve(): void {
    for (const [kind, method] of Object.entries(BOOT_METHODS) as [BootRequest['kind'], string][]) {
      const stop = this.#fabric.serve(method, async (body, { peer, signal }) => {
        const request = requestIn(kind, body)
        const ref = ++this.#refs
        const answer = await new Promise<BootAnswer>((resolve, reject) => {
          this.#answers.set(ref, resolve)
          signal.addEventListener('abort', () => {
            this.#answers.delete(ref)
            reject(new MoonmeshError('Canceled', 'nobody waits for the answer any more'))
          })
          this.#feed({ kind: 'request', ref, from: peer, request })
        })
        return encodeBootAnswer(answer)
      })
      this.#unsubscribe.push(stop)
    }
  }

  // ── What others see ───────────────────────────────────────────────────────────────────────────────────────────────────

  #tell(): void {
    const { settings } = this.#options
    const { status } = this
    const { self, formation, configuration } = this.#consensus.status()
    const { voters, standbys } = configuration.configuration
    const own = voters.includes(self) ? 'voter' : standbys.includes(self) ? 'standby' : 'client'
    // Its own log may not know yet that it has left.
    const role = this.isRetired ? 'client' : own
    const tags: Record<string, string | undefined> = {
      raft_status: status,
      raft_role: role,
      raft_eligible: String(settings.isEligible),
      raft_priority: String(settings.priority),
      bootstrap_expect: status === 'pre' ? String(settings.bootstrapExpect) : undefined,
      store: storeOf(self).slice(0, TAG_DIGITS),
      formation: formation?.slice(0, TAG_DIGITS),
    }
    for (const [key, value] of Object.entries(tags)) this.#fabric.setTag(key, value)
  }

  #warn(): void {
    const nowMs = this.#fabric.env.nowMs()
    const { waitingFor } = this
    if (waitingFor !== undefined && nowMs >= this.#warnedAtMs + WAITING_WARN_MS) {
      this.#warnedAtMs = nowMs
      this.#fabric.log('warn', 'raft_bootstrap_waiting', { reason: `this server waits for ${waitingFor}` })
    }
    const { conflicts, formation = '' } = this.#core
    if (conflicts.size === 0 || nowMs < this.#conflictAtMs + CONFLICT_WARN_MS) return
    this.#conflictAtMs = nowMs
    const { configuration, last } = this.#consensus.status()
    this.#fabric.log('error', 'formation_conflict', {
      formation,
      members: membersOf(configuration.configuration).map(nameOf).join(' '),
      index: last.index,
      term: last.term,
      others: [...conflicts].map(([id, names]) => `${id}: ${names.join(' ')}`).join('; '),
    })
  }
}

function requestIn(kind: BootRequest['kind'], body: Uint8Array): BootRequest {
  try {
    return decodeBootRequest(kind, body)
  } catch (error) {
    throw new MoonmeshError('Invalid', `not a message of ${BOOT_METHODS[kind]}: ${messageOf(error)}`)
  }
}
