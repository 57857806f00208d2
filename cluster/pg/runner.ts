// One scope of a running node: the core, what drives it, and the way of broadcasts. cluster.md §9.

import { MoonmeshError, messageOf } from '../../runtime/base/errors.ts'
import { getOrAdd } from '../../runtime/base/maps.ts'
import { UnpackError } from '../../runtime/base/msgpack.ts'
import { epochOf, parsePid } from '../../runtime/base/pid.ts'
import type { Fabric, Run } from '../fabric.ts'
import { Actions } from './actions.ts'
import type { BreakerState } from './core/breaker.ts'
import type { PgMessage, PullAnswer, PullRequest } from './core/messages.ts'
import { Outbox } from './core/outbox.ts'
import { type PgEvent, Scope, type ScopeAnswer, type ScopeEffect } from './core/scope.ts'
import type { PgSettings } from './core/settings.ts'
import type { PgParts } from './pg.ts'
import {
  type BroadcastFrame,
  decodeAnswer,
  decodePids,
  encodeBroadcast,
  encodeMessage,
  encodePids,
  encodePull,
  PULL,
} from './wire/codec.ts'

export interface ScopeSettings extends PgSettings {
  readonly broadcastTimeoutMs: number
  /** Actions that wait: when to say so, and when to refuse. */
  readonly actionsCrowded: number
  readonly actionsMax: number
}

export interface ScopeHooks {
  /** A broadcast of another node for processes of this one, by PID, once for every slot. The same list as long as the group is the same. */
  deliver(pids: readonly string[], message: { topic: string; from: string; payload: Uint8Array }): void
  event(subscription: number, event: PgEvent): void
  /** That was its last event: it left too many unread. */
  overflow(subscription: number): void
}

interface ScopeDropped {
  queue_full: number
  breaker_open: number
  no_link: number
  too_large: number
  timeout: number
}

export interface ScopeStatus {
  readonly groups: number
  readonly members: number
  readonly subscriptions: number
  readonly queued: number
  readonly refused: number
  readonly joins: number
  readonly leaves: number
  readonly broadcasts: number
  /** Local and remote slots that broadcasts were meant for. */
  readonly recipients: number
  readonly dropped: Readonly<ScopeDropped>
  readonly pulls: number
  readonly fullSyncs: number
  readonly rejectedOps: number
  readonly staleMessages: number
  readonly peers: readonly { readonly node: string; readonly breaker: BreakerState }[]
}

interface Broadcast {
  readonly group: string
  readonly topic: string
  readonly from: string
  readonly isLocal: boolean
  /** The values as bytes; asked for at most once, and only when another node is to get them. @throws MoonmeshError: too large */
  payload(): Uint8Array
}

/** PIDs of one frame; larger groups take several. */
const PIDS_PER_FRAME_MAX = 16_384
/** Lists of PIDs that are kept of each node, and how long one may be. */
const LISTS_MAX = 8
const LIST_BYTES_MAX = 512 * 1024
const STALLED_MS = 30_000
const QUIET_MS = 5 * 60_000

export class ScopeRunner {
  readonly id: string
  readonly #parts: PgParts
  readonly #settings: ScopeSettings
  readonly #hooks: ScopeHooks
  readonly #scope: Scope
  readonly #actions: Actions
  readonly #outbox = new Outbox()
  readonly #links: ReadonlyMap<string, Run>
  readonly #counters = { joins: 0, leaves: 0, broadcasts: 0, recipients: 0 }
  readonly #dropped: ScopeDropped = { queue_full: 0, breaker_open: 0, no_link: 0, too_large: 0, timeout: 0 }
  /** Lists of PIDs as bytes, by the list: it is another one as soon as the group is. */
  readonly #encoded = new WeakMap<readonly (readonly [string, number])[], Uint8Array[]>()
  readonly #decoded = new Map<string, { bytes: Uint8Array; pids: readonly string[] }[]>()
  #isTurnDue = false
  #wakeAtMs = Number.POSITIVE_INFINITY
  #cancelWake: () => void = () => {}
  #isClosed = false

  /** @param options.links nodes with a session, kept up to date by the caller, who also tells of every change */
  constructor(
    options: { id: string; run: number; settings: ScopeSettings; hooks: ScopeHooks; links: ReadonlyMap<string, Run> },
    parts: PgParts,
  ) {
    const { id, run, settings, hooks, links } = options
    const { name, env, defer } = parts
    this.id = id
    this.#parts = parts
    this.#settings = settings
    this.#hooks = hooks
    this.#links = links
    this.#scope = new Scope({ node: name, epoch: parts.fabric?.epoch ?? 0, run, settings }, env)
    this.#actions = new Actions({
      env,
      defer,
      countMax: settings.actionsMax,
      crowdedCount: settings.actionsCrowded,
      onCrowded: (count) => parts.log('warn', 'pg_queue_crowded', { scope: id, count, max: settings.actionsMax }),
    })
    for (const node of [...links.values()].sort((a, b) => (a.name < b.name ? -1 : 1))) this.nodeUp(node)
  }

  // What processes of this node ask for. These may answer later, when the scope has much to do.

  /** @throws MoonmeshError `Invalid`, `RateLimited` (a limit of the scope), `Unavailable` (too much to do, or stopped) */
  join(pid: string, groups: readonly string[], signal?: AbortSignal): void | Promise<void> {
    return this.#act(signal, () => {
      this.#carryOut(this.#scope.join(pid, groups))
      this.#counters.joins++
    })
  }

  /** @throws MoonmeshError `Invalid` (in none of the groups), `Unavailable` */
  leave(pid: string, groups: readonly string[], signal?: AbortSignal): void | Promise<void> {
    return this.#act(signal, () => {
      this.#carryOut(this.#scope.leave(pid, groups))
      this.#counters.leaves++
    })
  }

  /**
   * Watches a group, or all when it is undefined: whatever changes after the members of the answer is an event.
   * @throws MoonmeshError `RateLimited` (too many watch already), `Unavailable`
   */
  monitor(pid: string, group: string | undefined, signal?: AbortSignal): Monitored | Promise<Monitored> {
    return this.#act(signal, () => {
      const monitoring = this.#scope.monitor(pid, group)
      if (monitoring === undefined) {
        throw new MoonmeshError('RateLimited', 'too many subscriptions in this scope; close some', { retryable: true })
      }
      const { subscription, members, effects } = monitoring
      this.#perform(effects)
      return { subscription, members }
    })
  }

  demonitor(subscription: number): void {
    this.#actions.note(() => this.#perform(this.#scope.demonitor(subscription)))
  }

  /** So many events were read. */
  consumed(subscription: number, count: number): void {
    this.#scope.consumed(subscription, count)
  }

  /** A process of this node has ended; one that never came here does not matter. */
  exited(pid: string): void {
    this.#actions.note(() => this.#step({ kind: 'exited', pid }))
  }

  members = (group: string): readonly string[] => this.#scope.members(group)
  localMembers = (group: string): readonly string[] => this.#scope.localMembers(group)
  groups = (): string[] => this.#scope.groups()
  localGroups = (): string[] => this.#scope.localGroups()

  /** Hands a message over to the other nodes. @returns the processes of this node that get it, once for every slot */
  broadcast(message: Broadcast): readonly string[] {
    const plan = this.#scope.plan(message.group, { isLocal: message.isLocal })
    this.#counters.broadcasts++
    this.#counters.recipients += plan.local.length
    this.#dropped.breaker_open += plan.skipped.length
    if (plan.remote.length > 0) this.#broadcastAway(message, plan.remote)
    return plan.local
  }

  #broadcastAway({ topic, from, payload }: Broadcast, remote: ReturnType<Scope['plan']>['remote']): void {
    const { fabric, env } = this.#parts
    if (fabric === undefined) return
    const begunMs = env.nowMs()
    let bytes: Uint8Array
    try {
      bytes = payload()
    } catch (error) {
      this.#dropped.too_large += remote.length
      for (const { node } of remote) this.#step({ kind: 'handed-over', node, outcome: 'queue-full' })
      this.#parts.log('warn', 'pg_broadcast_dropped', { scope: this.id, reason: messageOf(error) })
      return
    }
    for (const { node, pids } of remote) {
      if (env.nowMs() - begunMs > this.#settings.broadcastTimeoutMs) {
        this.#dropped.timeout++
        this.#step({ kind: 'handed-over', node, outcome: 'queue-full' })
        continue
      }
      this.#counters.recipients += pids.length
      const outcome = this.#handOver(fabric, node, pids, { scope: this.id, topic, from, payload: bytes })
      this.#step({ kind: 'handed-over', node, outcome })
    }
  }

  #handOver(
    fabric: Fabric,
    node: string,
    pids: readonly (readonly [string, number])[],
    message: Omit<BroadcastFrame, 'pids'>,
  ): 'sent' | 'failed' | 'queue-full' {
    const to = this.#links.get(node)
    if (to === undefined) {
      this.#dropped.no_link++
      return 'failed'
    }
    for (const list of this.#listsOf(pids)) {
      const refusal = fabric.send(to, 'pg', encodeBroadcast({ ...message, pids: list }))
      switch (refusal) {
        case undefined:
          break
        case 'too_large':
          this.#dropped.too_large++
          return 'queue-full'
        case 'queue_full':
          this.#dropped.queue_full++
          return 'queue-full'
        default:
          this.#dropped.no_link++
          return 'failed'
      }
    }
    return 'sent'
  }

  #listsOf(pids: readonly (readonly [string, number])[]): readonly Uint8Array[] {
    let lists = this.#encoded.get(pids)
    if (lists === undefined) {
      lists = []
      for (let at = 0; at < pids.length; at += PIDS_PER_FRAME_MAX) {
        lists.push(encodePids(pids.length <= PIDS_PER_FRAME_MAX ? pids : pids.slice(at, at + PIDS_PER_FRAME_MAX)))
      }
      this.#encoded.set(pids, lists)
    }
    return lists
  }

  // What other nodes say.

  nodeUp({ name: node, epoch }: Run): void {
    this.#step({ kind: 'node-up', node, epoch })
  }

  nodeDown({ name: node, epoch }: Run): void {
    this.#decoded.delete(node)
    this.#step({ kind: 'node-down', node, epoch })
  }

  heard({ name: node, epoch }: Run, message: PgMessage): void {
    this.#step({ kind: 'message', node, epoch, message })
  }

  answerPull(request: PullRequest): PullAnswer {
    return this.#scope.answerPull(request)
  }

  /** @throws UnpackError for what no node of ours says */
  broadcastFrom(node: Run, { topic, from, pids, payload }: BroadcastFrame): void {
    const parts = from === '' ? undefined : parsePid(from)
    const isSpeakingForItself = from === '' || (parts?.node === node.name && epochOf(parts.uniq) === node.epoch)
    if (!isSpeakingForItself) throw new UnpackError('a sender that is none of that node')
    if (topic === '' || topic.startsWith('@')) throw new UnpackError('a topic of the runtime')
    this.#scope.heard()
    this.#hooks.deliver(this.#pidsOf(node.name, pids), { topic, from, payload })
  }

  /** Groups are broadcast to again and again: a list that came before is not read again. */
  #pidsOf(node: string, bytes: Uint8Array): readonly string[] {
    const known = getOrAdd(this.#decoded, node, () => [])
    for (const list of known) if (Buffer.compare(list.bytes, bytes) === 0) return list.pids
    const pids = decodePids(bytes)
    if (bytes.length <= LIST_BYTES_MAX) {
      known.unshift({ bytes: bytes.slice(), pids })
      if (known.length > LISTS_MAX) known.pop()
    }
    return pids
  }

  // Looking at it.

  status(): ScopeStatus {
    const scope = this.#scope
    const { pulls, fullSyncs, rejectedOps, staleMessages } = scope.counters
    return {
      ...this.#counters,
      groups: scope.groupCount,
      members: scope.slotCount,
      subscriptions: scope.subscriptionCount,
      queued: this.#actions.count,
      refused: this.#actions.refused,
      dropped: this.#dropped,
      pulls,
      fullSyncs,
      rejectedOps,
      staleMessages,
      peers: scope.peers(),
    }
  }

  /** An idle scope is well; one that does not come round, or is cut off from nodes that have it too, is not. cluster.md §9.5 */
  health(): { ok: boolean; detail: string } {
    const scope = this.#scope
    const { waitingMs } = this.#actions
    if (waitingMs >= STALLED_MS) return { ok: false, detail: `operations wait for ${Math.round(waitingMs / 1000)} s` }
    const peerCount = scope.peers().filter(({ hasScope }) => hasScope === true).length
    const quietMs = this.#parts.env.nowMs() - scope.lastExchangeMs
    const { antiEntropyIntervalMs } = this.#settings
    const isComparing = antiEntropyIntervalMs > 0
    if (peerCount > 0 && isComparing && quietMs > Math.max(QUIET_MS, 2 * antiEntropyIntervalMs)) {
      const detail = `nothing was heard of ${peerCount} nodes with this scope for ${Math.round(quietMs / 1000)} s`
      return { ok: false, detail }
    }
    return { ok: true, detail: `${scope.groupCount} groups, ${scope.slotCount} members, ${peerCount} other nodes` }
  }

  /** The other nodes are told, whoever waits is refused. @returns nodes that could not be told */
  close(): readonly string[] {
    if (this.#isClosed) return []
    this.#actions.close()
    this.#step({ kind: 'stop' })
    const untold = this.#flush()
    this.#isClosed = true
    this.#cancelWake()
    return [...untold]
  }

  // Driving the core.

  #act<T>(signal: AbortSignal | undefined, run: () => T): T | Promise<T> {
    return this.#actions.do(() => {
      // Whoever asked may have ended while it waited: what it joins now nobody would take back.
      if (signal?.aborted === true) throw new MoonmeshError('Canceled', 'the process has ended', { retryable: false })
      return run()
    })
  }

  #carryOut({ outcome, effects }: ScopeAnswer): void {
    if (!outcome.ok) {
      throw new MoonmeshError(outcome.kind, outcome.message, { retryable: outcome.kind === 'RateLimited' })
    }
    this.#perform(effects)
  }

  #step(input: Parameters<Scope['step']>[0]): void {
    if (!this.#isClosed) this.#perform(this.#scope.step(input))
  }

  #perform(effects: readonly ScopeEffect[]): void {
    for (const effect of effects) this.#performOne(effect)
    if (this.#outbox.isFull) this.#flush()
    if (this.#isTurnDue || this.#parts.fabric === undefined) return
    this.#isTurnDue = true
    this.#parts.defer(() => {
      this.#isTurnDue = false
      if (this.#isClosed) return
      this.#flush()
      this.#arm()
    })
  }

  #performOne(effect: ScopeEffect): void {
    switch (effect.kind) {
      case 'send':
        return this.#outbox.add(effect.nodes, effect.message)
      case 'pull':
        this.#flush()
        return this.#pull(effect)
      case 'event':
        for (const subscription of effect.subscriptions) this.#hooks.event(subscription, effect.event)
        return
      case 'overflow':
        this.#parts.log('warn', 'pg_subscription_overflow', { scope: this.id })
        return this.#hooks.overflow(effect.subscription)
      case 'watch':
      case 'unwatch':
        // The node tells the end of every process that asked it for anything.
        return
      case 'breaker': {
        const level = effect.state === 'open' ? 'warn' : 'info'
        return this.#parts.log(level, `pg_breaker_${effect.state}`, { scope: this.id, peer: effect.node })
      }
      case 'full-sync':
        return this.#parts.log('info', 'pg_full_sync', { scope: this.id, peer: effect.node, slots: effect.slots })
    }
  }

  /** @returns nodes that did not take everything */
  #flush(): ReadonlySet<string> {
    const { fabric } = this.#parts
    const unsent = new Set<string>()
    for (const { nodes, message } of this.#outbox.take()) {
      const { method, body } = encodeMessage(this.id, message)
      for (const node of nodes) {
        const to = this.#links.get(node)
        // Without a link its end is told, or was: there is nothing to repair.
        if (to !== undefined && fabric?.notify(to, method, body) !== undefined) unsent.add(node)
      }
    }
    for (const node of unsent) this.#step({ kind: 'unsent', node })
    return unsent
  }

  #pull({ node, pull, request, timeoutMs }: Extract<ScopeEffect, { kind: 'pull' }>): void {
    const { fabric } = this.#parts
    const to = this.#links.get(node)
    if (fabric === undefined || to === undefined) return
    const answered = (answer: PullAnswer | undefined): void => this.#step({ kind: 'pulled', node, pull, answer })
    fabric.request(to, PULL, encodePull(this.id, request), { deadlineMs: timeoutMs }).then(
      (bytes) => {
        try {
          answered(decodeAnswer(bytes))
        } catch (error) {
          if (!(error instanceof UnpackError)) throw error
          this.#parts.log('warn', 'pg_unreadable', { scope: this.id, peer: node, reason: error.message })
          answered(undefined)
        }
      },
      () => answered(undefined),
    )
  }

  #arm(): void {
    const { fabric, env } = this.#parts
    const dueMs = this.#scope.nextDueMs
    if (fabric === undefined || dueMs === this.#wakeAtMs) return
    this.#cancelWake()
    this.#wakeAtMs = dueMs
    if (dueMs === Number.POSITIVE_INFINITY) return
    this.#cancelWake = fabric.after(Math.max(0, dueMs - env.nowMs()), () => {
      this.#wakeAtMs = Number.POSITIVE_INFINITY
      this.#step({ kind: 'wake' })
    })
  }
}

interface Monitored {
  readonly subscription: number
  readonly members: ReadonlyMap<string, readonly string[]>
}
