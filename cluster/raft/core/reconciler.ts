// Keeps the group as it should be: the leader compares who is a member with who should be, and takes the first step that is missing,
// one server at a time and never at the price of the quorum. It does nothing for the sake of neatness while servers come and go.
// cluster.md §5.5, §5.8.

import { assert, unreachable } from '../../../runtime/base/assert.ts'
import type { Env } from '../../../runtime/base/env.ts'
import { type Configuration, type ConfigurationChange, membersOf } from './membership.ts'
import { type Candidate, type Limits, type Selection, select } from './selection.ts'
import { nameOf, type ServerId, storeOf } from './server.ts'
import { SlowDisk } from './slow-disk.ts'

/** A live node that runs a server, as gossip tells. */
export interface ServerNode extends Omit<Candidate, 'server'> {
  readonly name: string
  /** The first 16 hex digits. */
  readonly store: string
  /** Its whole identity, once it is known. */
  readonly server: ServerId | undefined
  readonly status: 'pre' | 'out' | 'in' | 'leaving'
  /** The first 16 hex digits. */
  readonly formation: string | undefined
  readonly isLinked: boolean
}

export interface MemberState {
  readonly isSynced: boolean
  readonly isRegressed: boolean
  /** Since it answered last; Infinity: not in this term. */
  readonly silentMs: number
  readonly syncMs: number
}

/** What the leader sees. */
export interface ReconcilerView {
  /** Hex. */
  readonly formation: string
  readonly configuration: Configuration
  /** Nothing about the configuration is under way, and this leader may decide about others. */
  readonly isSettled: boolean
  readonly members: ReadonlyMap<ServerId, MemberState>
  /** This node among them; by name. */
  readonly nodes: readonly ServerNode[]
  /** Average time of a synced write here. */
  readonly syncMs: number
}

type ReconcilerInput =
  | { kind: 'lead' }
  | { kind: 'unlead' }
  /** Somebody came, went or changed. */
  | { kind: 'news' }
  /** Due at `wakeAtMs`, harmless at any other moment. */
  | { kind: 'tick'; view: ReconcilerView }
  | { kind: 'done'; ref: number; ok: boolean; why?: string }
  /** This member wants to be removed; it will be, when that costs no quorum. */
  | { kind: 'leave'; server: ServerId }

export type ReconcilerEffect =
  | { kind: 'change'; ref: number; change: ConfigurationChange; why: string }
  /** Hand over the leadership; without `to`, to whoever is best. */
  | { kind: 'transfer'; ref: number; to?: ServerId; why: string }
  | { kind: 'refused'; step: string; why: string; retryMs: number }
  /** The voters change too often: what can wait, waits. */
  | { kind: 'burst' }
  | { kind: 'evicted'; server: ServerId; reason: Loss }

/** Why a member will not come back. */
export type Loss = 'dead' | 'store_changed' | 'regressed' | 'left'

interface ReconcilerOptions {
  readonly self: ServerId
  readonly limits: Limits
  readonly debounceMs: number
  /** Of one step. */
  readonly timeoutMs: number
  readonly evictGraceMs: number
  readonly heartbeatTimeoutMs: number
}

const PERIOD_MS = 10_000
/** While something is waited for. */
const WATCH_MS = 1000
const BACKOFF_MIN_MS = 1000
const BACKOFF_MAX_MS = 30_000
const BURST_CHANGES = 3
const BURST_WINDOW_MS = 60_000
const BURST_PAUSE_MS = 30_000
const SPREAD_EVERY_MS = 60_000

interface Step {
  readonly key: string
  readonly effect: { kind: 'change'; change: ConfigurationChange } | { kind: 'transfer'; to?: ServerId }
  readonly why: string
  /** Can wait while the voters change too often. */
  readonly isVoluntary?: boolean
  readonly isSpread?: boolean
  readonly loss?: Loss
}

interface Running {
  readonly ref: number
  readonly step: Step
  readonly deadlineMs: number
  readonly isVoterChange: boolean
}

export class Reconciler {
  readonly #options: ReconcilerOptions
  readonly #env: Env
  #isLeading = false
  #evaluateAtMs = Number.POSITIVE_INFINITY
  #running: Running | undefined
  #refs = 0
  /** Since when a member has not been seen. */
  readonly #goneSinceMs = new Map<ServerId, number>()
  /** What members told of themselves last. */
  readonly #known = new Map<ServerId, Candidate>()
  readonly #leaving = new Set<ServerId>()
  /** Not to be members again, until when: their store must be made anew, or their node is going. */
  readonly #unwanted = new Map<ServerId, number>()
  readonly #failures = new Map<string, { count: number; untilMs: number }>()
  #changesAtMs: number[] = []
  #pausedUntilMs = Number.NEGATIVE_INFINITY
  #spreadAtMs = Number.NEGATIVE_INFINITY
  readonly #slowDisk = new SlowDisk()

  constructor(options: ReconcilerOptions, env: Env) {
    const { votersMax, votersMin } = options.limits
    assert(votersMax % 2 === 1 && votersMin % 2 === 1, 'voters are odd in number')
    this.#options = options
    this.#env = env
  }

  get wakeAtMs(): number {
    if (!this.#isLeading) return Number.POSITIVE_INFINITY
    return this.#running?.deadlineMs ?? this.#evaluateAtMs
  }

  step(input: ReconcilerInput): ReconcilerEffect[] {
    switch (input.kind) {
      case 'lead':
        if (this.#isLeading) return []
        this.#isLeading = true
        this.#evaluateAtMs = this.#env.nowMs()
        return []
      case 'unlead':
        this.#forget()
        return []
      case 'news':
        this.#evaluateWithin(this.#options.debounceMs)
        return []
      case 'leave':
        this.#leaving.add(input.server)
        this.#evaluateWithin(0)
        return []
      case 'done':
        return this.#done(input.ref, input.ok, input.why ?? '')
      case 'tick':
        return this.#isLeading ? this.#tick(input.view) : []
      default:
        return unreachable(input)
    }
  }

  #forget(): void {
    this.#isLeading = false
    this.#running = undefined
    this.#evaluateAtMs = Number.POSITIVE_INFINITY
    this.#slowDisk.forget()
    this.#changesAtMs = []
    for (const each of [this.#goneSinceMs, this.#known, this.#failures, this.#leaving, this.#unwanted]) each.clear()
  }

  #evaluateWithin(delayMs: number): void {
    if (this.#isLeading) this.#evaluateAtMs = Math.min(this.#evaluateAtMs, this.#env.nowMs() + delayMs)
  }

  #tick(view: ReconcilerView): ReconcilerEffect[] {
    const nowMs = this.#env.nowMs()
    this.#watch(view)
    if (this.#running !== undefined) {
      // It may still happen; whether it did shows in the configuration.
      return nowMs < this.#running.deadlineMs ? [] : this.#done(this.#running.ref, false, 'no answer in time')
    }
    if (nowMs < this.#evaluateAtMs) return []
    if (!view.isSettled) {
      this.#evaluateAtMs = nowMs + WATCH_MS
      return []
    }
    const { steps, isWaiting } = this.#steps(view)
    const ready = steps.find(({ key }) => nowMs >= (this.#failures.get(key)?.untilMs ?? 0))
    this.#evaluateAtMs = nowMs + (isWaiting || steps.length > 0 ? WATCH_MS : PERIOD_MS)
    return ready === undefined ? [] : this.#begin(ready, view)
  }

  #begin(step: Step, { configuration }: ReconcilerView): ReconcilerEffect[] {
    const { effect, why, loss } = step
    const ref = ++this.#refs
    const isVoterChange =
      effect.kind === 'change' &&
      (effect.change.op === 'promote' || configuration.voters.includes(effect.change.server))
    this.#running = { ref, step, deadlineMs: this.#env.nowMs() + this.#options.timeoutMs, isVoterChange }
    if (effect.kind === 'transfer') return [{ ...effect, ref, why }]
    const change: ReconcilerEffect = { kind: 'change', ref, change: effect.change, why }
    return loss === undefined ? [change] : [{ kind: 'evicted', server: effect.change.server, reason: loss }, change]
  }

  #done(ref: number, ok: boolean, why: string): ReconcilerEffect[] {
    const running = this.#running
    if (running?.ref !== ref) return []
    const { step, isVoterChange } = running
    const nowMs = this.#env.nowMs()
    this.#running = undefined
    this.#evaluateAtMs = nowMs
    // A successful one ends our leadership; when it has not, there is no point in trying at once.
    if (!ok || step.effect.kind === 'transfer') {
      const count = (this.#failures.get(step.key)?.count ?? 0) + 1
      const retryMs = Math.min(BACKOFF_MIN_MS * 2 ** (count - 1), BACKOFF_MAX_MS)
      this.#failures.set(step.key, { count, untilMs: nowMs + retryMs })
      return ok ? [] : [{ kind: 'refused', step: step.key, why, retryMs }]
    }
    this.#failures.delete(step.key)
    const { server } = step.effect.change
    if (step.loss === 'regressed') this.#unwanted.set(server, Number.POSITIVE_INFINITY)
    if (step.loss === 'left') this.#unwanted.set(server, nowMs + LEFT_MS)
    if (this.#unwanted.size > UNWANTED_MAX) this.#unwanted.delete([...this.#unwanted.keys()][0] as ServerId)
    if (step.isSpread === true) this.#spreadAtMs = nowMs
    if (!isVoterChange) return []
    this.#changesAtMs = [...this.#changesAtMs.filter((atMs) => atMs > nowMs - BURST_WINDOW_MS), nowMs]
    if (this.#changesAtMs.length <= BURST_CHANGES || nowMs < this.#pausedUntilMs) return []
    this.#pausedUntilMs = nowMs + BURST_PAUSE_MS
    return [{ kind: 'burst' }]
  }

  // ── What is there ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Remembers who is there and since when somebody is not. */
  #watch({ configuration, nodes }: ReconcilerView): void {
    const nowMs = this.#env.nowMs()
    const members = membersOf(configuration)
    for (const server of members) {
      const node = nodes.find((each) => isNodeOf(each, server))
      if (node === undefined) {
        if (!this.#goneSinceMs.has(server)) this.#goneSinceMs.set(server, nowMs)
        continue
      }
      this.#goneSinceMs.delete(server)
      const { priority, domain, isEligible } = node
      this.#known.set(server, { server, priority, domain, isEligible })
    }
    for (const map of [this.#goneSinceMs, this.#known]) {
      for (const server of [...map.keys()]) if (!members.includes(server)) map.delete(server)
    }
    for (const server of [...this.#leaving]) if (!members.includes(server)) this.#leaving.delete(server)
    const isMember = (key: string): boolean => members.some((server) => key.endsWith(server))
    // What failed for a server that is gone for good need not be remembered; a handful is no burden.
    if (this.#failures.size > FAILURES_MAX) {
      for (const key of [...this.#failures.keys()]) if (!isMember(key)) this.#failures.delete(key)
    }
  }

  #lossOf(server: ServerId, { nodes, members }: ReconcilerView): Loss | undefined {
    if (this.#leaving.has(server)) return 'left'
    if (server === this.#options.self) return undefined
    const member = members.get(server)
    if (member?.isRegressed === true) return 'regressed'
    const silentMs = member?.silentMs ?? Number.POSITIVE_INFINITY
    const node = nodes.find(({ name }) => name === nameOf(server))
    if (node !== undefined && isNodeOf(node, server)) return undefined
    // Gossip may be late; who answers is there.
    const hasOtherStore = node !== undefined && node.store !== ''
    if (hasOtherStore && silentMs >= this.#options.heartbeatTimeoutMs) return 'store_changed'
    const goneMs = this.#env.nowMs() - (this.#goneSinceMs.get(server) ?? this.#env.nowMs())
    const { evictGraceMs } = this.#options
    return goneMs >= evictGraceMs && silentMs >= evictGraceMs ? 'dead' : undefined
  }

  // ── What is missing ───────────────────────────────────────────────────────────────────────────────────────────────────

  /** Every step that could be taken now, the first ones first. */
  #steps(view: ReconcilerView): { steps: Step[]; isWaiting: boolean } {
    const { configuration } = view
    const { voters, standbys } = configuration
    const lost = new Map<ServerId, Loss>()
    for (const server of membersOf(configuration)) {
      const loss = this.#lossOf(server, view)
      if (loss !== undefined) lost.set(server, loss)
    }
    const nowMs = this.#env.nowMs()
    const isPaused = nowMs < this.#pausedUntilMs
    const selection = this.#select(view, lost, !isPaused && nowMs >= this.#spreadAtMs + SPREAD_EVERY_MS)
    const isFilled =
      selection.voters.length === selection.target && selection.voters.every((server) => voters.includes(server))
    const promotions = this.#promotions(view, selection)
    const steps = [
      ...this.#additions(configuration, selection),
      ...promotions,
      ...(isFilled ? this.#demotions(view, selection, lost) : []),
      ...[...lost]
        .filter(
          ([server, loss]) =>
            voters.includes(server) &&
            server !== this.#options.self &&
            (isFilled || (loss === 'left' && promotions.length === 0)),
        )
        .map(([server, loss]) => removal(server, loss)),
      ...[...lost].filter(([server]) => standbys.includes(server)).map(([server, loss]) => removal(server, loss)),
      ...this.#surplus(view, selection, lost),
      ...this.#handover(view, selection),
    ].filter(({ isVoluntary }) => !(isPaused && isVoluntary === true))
    const isWaiting =
      this.#goneSinceMs.size > 0 ||
      this.#slowDisk.isSuspected ||
      !selection.voters.every((server) => voters.includes(server))
    return { steps, isWaiting }
  }

  #select(view: ReconcilerView, lost: ReadonlyMap<ServerId, Loss>, maySpread: boolean): Selection {
    const { configuration, nodes, formation, members } = view
    const isMember = new Set(membersOf(configuration))
    const present: Candidate[] = []
    for (const { server, status, priority, domain, isEligible, isLinked, ...node } of nodes) {
      if (server === undefined || status === 'leaving' || lost.has(server)) continue
      if (this.#env.nowMs() < (this.#unwanted.get(server) ?? 0)) continue
      if (node.formation !== undefined && !formation.startsWith(node.formation)) continue
      // Who is not reached cannot be brought up to date.
      if (!isMember.has(server) && !isLinked) continue
      if (members.get(server)?.isRegressed === true) continue
      present.push({ server, priority, domain, isEligible })
    }
    const isPresent = new Set(present.map(({ server }) => server))
    return select({
      limits: this.#options.limits,
      voters: configuration.voters,
      standbys: configuration.standbys,
      leader: this.#options.self,
      present,
      absent: [...this.#known.values()].filter(({ server }) => !isPresent.has(server)),
      evictable: new Set(lost.keys()),
      maySpread,
    })
  }

  #additions(configuration: Configuration, { voters, standbys }: Selection): Step[] {
    const members = membersOf(configuration)
    const missing = [...voters, ...standbys].filter((server) => !members.includes(server))
    return missing.map((server) => change('add-standby', server, 'there is a place for it'))
  }

  /** For a place that is open both of a pair must be ready, for an even number of voters helps nobody. */
  #promotions({ configuration, members, nodes }: ReconcilerView, selection: Selection): Step[] {
    const { voters } = configuration
    const isReady = (server: ServerId): boolean =>
      configuration.standbys.includes(server) &&
      members.get(server)?.isSynced === true &&
      nodes.some((node) => isNodeOf(node, server) && node.isLinked)
    const ready = selection.voters.filter(isReady)
    const isReplacement = voters.some((server) => !selection.voters.includes(server))
    if (!isReplacement && voters.length % 2 === 1 && ready.length < 2) return []
    return ready.map((server) => {
      const isSpread = server === selection.spread?.in
      const why = isSpread ? 'it spreads the voters over more failure domains' : 'it has caught up and should vote'
      return { ...change('promote', server, why), isSpread }
    })
  }

  #demotions(
    { configuration, nodes }: ReconcilerView,
    selection: Selection,
    lost: ReadonlyMap<ServerId, Loss>,
  ): Step[] {
    const extra = configuration.voters.filter((server) => {
      const isLive = nodes.some((node) => isNodeOf(node, server))
      return isLive && !lost.has(server) && !selection.voters.includes(server) && server !== this.#options.self
    })
    return extra.map((server) => ({ ...change('demote', server, 'there are enough voters'), isVoluntary: true }))
  }

  /** Standbys beyond their number, who are there. */
  #surplus({ configuration, nodes }: ReconcilerView, selection: Selection, lost: ReadonlyMap<ServerId, Loss>): Step[] {
    const wanted = [...selection.standbys, ...selection.voters]
    const extra = configuration.standbys.filter((server) => {
      return !wanted.includes(server) && !lost.has(server) && nodes.some((node) => isNodeOf(node, server))
    })
    return extra.map((server) => ({ ...change('remove', server, 'there are enough standbys'), isVoluntary: true }))
  }

  /** Reasons for this leader to go. */
  #handover({ configuration, members, syncMs }: ReconcilerView, selection: Selection): Step[] {
    const { self, heartbeatTimeoutMs } = this.#options
    const others = configuration.voters.filter((server) => server !== self)
    const transfer = (why: string, to?: ServerId): Step => {
      return { key: 'transfer', effect: { kind: 'transfer', ...(to === undefined ? {} : { to }) }, why }
    }
    const isWanted = selection.voters.includes(self)
    if (!isWanted && others.some((server) => selection.voters.includes(server))) {
      return [transfer('this server should not vote any more')]
    }
    const disks = others.flatMap((server) => {
      const member = members.get(server)
      return member === undefined ? [] : [{ server, ...member }]
    })
    const faster = this.#slowDisk.look(syncMs, disks, { nowMs: this.#env.nowMs(), heartbeatTimeoutMs })
    return faster === undefined ? [] : [transfer('its disk is slow', faster)]
  }
}

const FAILURES_MAX = 256
const UNWANTED_MAX = 256
/** Gossip needs a moment to tell that a node leaves. */
const LEFT_MS = 60_000

function change(op: ConfigurationChange['op'], server: ServerId, why: string): Step {
  return { key: `${op} ${server}`, effect: { kind: 'change', change: { op, server } }, why }
}

function removal(server: ServerId, loss: Loss): Step {
  return { ...change('remove', server, REASONS[loss]), loss, isVoluntary: loss !== 'left' }
}

const REASONS: Readonly<Record<Loss, string>> = {
  dead: 'it has not been seen for long',
  store_changed: 'its node has another store',
  regressed: 'its store has lost entries',
  left: 'it leaves',
}

function isNodeOf({ name, store }: ServerNode, server: ServerId): boolean {
  return name === nameOf(server) && store !== '' && storeOf(server).startsWith(store)
}
