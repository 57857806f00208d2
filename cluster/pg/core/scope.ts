// One scope of process groups on one node. Each node alone writes what its own processes joined, as a log of numbered changes; every
// other node follows that log, sees a gap by the number and asks for what it missed. So no order of exits, partitions and restarts
// loses or doubles a member. A run of a node, and a run of the scope within it, begins with an empty log. cluster.md §9; the words
// and the races follow Erlang's pg.

import { assert, unreachable } from '../../../runtime/base/assert.ts'
import { backoffMs } from '../../../runtime/base/backoff.ts'
import type { Env } from '../../../runtime/base/env.ts'
import { getOrAdd } from '../../../runtime/base/maps.ts'
import { epochOf, parsePid } from '../../../runtime/base/pid.ts'
import { Breaker, type BreakerState } from './breaker.ts'
import { History } from './history.ts'
import { Members } from './members.ts'
import type { Delta, FullState, Op, PgMessage, PullAnswer, PullRequest } from './messages.ts'
import {
  defaultPgSettings,
  GREETINGS_MAX,
  GROUP_BYTES_MAX,
  type PgSettings,
  PID_BYTES_MAX,
  SLOTS_PER_NODE_MAX,
  STATE_BYTES_MAX,
} from './settings.ts'
import { Subscriptions } from './subscriptions.ts'

export type ScopeInput =
  /** A link session with another node began. */
  | { kind: 'node-up'; node: string; epoch: number }
  | { kind: 'node-down'; node: string; epoch: number }
  /** The epoch is the link's, not the message's: a late message of a run that is gone says nothing. */
  | { kind: 'message'; node: string; epoch: number; message: PgMessage }
  /** A pull ended: with its answer, or without one. */
  | { kind: 'pulled'; node: string; pull: number; answer: PullAnswer | undefined }
  /** A local process that was watched is gone. */
  | { kind: 'exited'; pid: string }
  /** Something for a node was not taken: what it missed is told again after a while. */
  | { kind: 'unsent'; node: string }
  /** What became of a broadcast to a node: `failed` is no link; a full queue is the receiver's trouble and no failure. */
  | { kind: 'handed-over'; node: string; outcome: 'sent' | 'failed' | 'queue-full' }
  /** Something is due, see `nextDueMs`. */
  | { kind: 'wake' }
  /** The scope ends: the peers are told. */
  | { kind: 'stop' }

export interface PgEvent {
  readonly kind: 'member.joined' | 'member.left'
  readonly group: string
  /** Ascending; each once for every slot. */
  readonly pids: readonly string[]
}

export type ScopeEffect =
  /** One message to each of these nodes, in the order of effects. One that cannot be sent is repaired later. */
  | { kind: 'send'; nodes: readonly string[]; message: PgMessage }
  /** Ask a node; the answer comes back as `pulled` with the same number. */
  | { kind: 'pull'; node: string; pull: number; request: PullRequest; timeoutMs: number }
  | { kind: 'event'; subscriptions: readonly number[]; event: PgEvent }
  /** A subscriber left too many events unread: this is its last. */
  | { kind: 'overflow'; subscription: number }
  /** Tell, with `exited`, when this local process ends. */
  | { kind: 'watch' | 'unwatch'; pid: string }
  | { kind: 'breaker'; node: string; state: 'open' | 'closed' }
  /** All of a node's state was taken over. */
  | { kind: 'full-sync'; node: string; slots: number }

type ScopeOutcome =
  | { readonly ok: true }
  | { readonly ok: false; readonly kind: 'Invalid' | 'RateLimited'; readonly message: string }

export interface ScopeAnswer {
  readonly outcome: ScopeOutcome
  readonly effects: ScopeEffect[]
}

/** Whom a broadcast goes to, as of one moment. PIDs appear once for every slot. */
interface BroadcastPlan {
  readonly local: readonly string[]
  /** One frame for each, ascending by node. */
  readonly remote: readonly { readonly node: string; readonly pids: readonly (readonly [string, number])[] }[]
  /** Nodes behind an open breaker. */
  readonly skipped: readonly string[]
}

interface Monitoring {
  readonly subscription: number
  /** As of the same moment: every later change is an event, none before it is. By group, ascending. */
  readonly members: ReadonlyMap<string, readonly string[]>
  readonly effects: ScopeEffect[]
}

interface ScopeCounters {
  pulls: number
  pullFailures: number
  fullSyncs: number
  /** Items of peers that make no sense or are too many. */
  rejectedOps: number
  /** Messages of runs that are not live. */
  staleMessages: number
}

interface Peer {
  readonly node: string
  readonly epoch: number
  /** Of the scope there; the log of a higher one begins anew. */
  run: number
  have: number
  /** Highest number heard of. */
  seen: number
  /** Undefined until it says so. */
  hasScope: boolean | undefined
  /** The greeting that waits for its answer: when to stop waiting. */
  greetingEndsMs: number | undefined
  pull: number | undefined
  attempts: number
  retryAtMs: number | undefined
  /** When to tell the peer where the own log stands, since it may have missed something; and how often that was tried. */
  tellAtMs: number | undefined
  toldAtMs: number
  tellAttempts: number
  readonly breaker: Breaker
}

export interface ScopeOptions {
  readonly node: string
  readonly epoch: number
  /** Counts the runs of this scope within the node's run, ascending. */
  readonly run: number
  readonly settings?: Partial<PgSettings>
  /** Changes that are kept for peers that missed some. */
  readonly historyMax?: number
}

const OK: ScopeOutcome = { ok: true }

export class Scope {
  readonly #env: Env
  readonly #node: string
  readonly #epoch: number
  readonly #run: number
  readonly #settings: PgSettings
  readonly #members = new Members()
  readonly #history: History
  readonly #subscriptions = new Subscriptions()
  readonly #peers = new Map<string, Peer>()
  /** Local processes and the groups they are in. */
  readonly #joined = new Map<string, Set<string>>()
  /** Size of the own full state as a message, roughly. */
  #stateBytes = 0
  /** Nodes to greet, in random order: after a restart of many, not all ask the same one first. */
  readonly #toGreet: string[] = []
  #antiEntropyAtMs: number
  #lastCompared = ''
  #nextPull = 1
  #lastExchangeMs: number
  readonly counters: ScopeCounters = { pulls: 0, pullFailures: 0, fullSyncs: 0, rejectedOps: 0, staleMessages: 0 }

  constructor(options: ScopeOptions, env: Env) {
    assert(Number.isSafeInteger(options.run) && options.run >= 0, 'run is a whole number')
    this.#env = env
    this.#node = options.node
    this.#epoch = options.epoch
    this.#run = options.run
    this.#history = new History(options.historyMax)
    this.#settings = { ...defaultPgSettings, ...options.settings }
    this.#lastExchangeMs = env.nowMs()
    this.#antiEntropyAtMs = this.#nextAntiEntropyMs()
  }

  // What processes of this node ask for.

  /** Adds a slot in each group; a group named twice gets two. All or nothing. */
  join(pid: string, groups: readonly string[]): ScopeAnswer {
    const ops = opsOf(1, pid, groups)
    const refusal = this.#refusalOf(ops)
    if (refusal !== undefined) return { outcome: refusal, effects: [] }
    const effects: ScopeEffect[] = []
    if (!this.#isWatched(pid)) effects.push({ kind: 'watch', pid })
    effects.push(...this.#changeLocal(ops))
    return { outcome: OK, effects }
  }

  /** Takes a slot from each group that has one; fails when none has. */
  leave(pid: string, groups: readonly string[]): ScopeAnswer {
    const ops: Op[] = []
    for (const op of opsOf(-1, pid, groups)) {
      const count = Math.min(op.count, this.#members.countOf(op.group, pid))
      if (count > 0) ops.push({ ...op, count })
    }
    if (ops.length === 0) {
      const named = groups.length === 1 ? 'the group' : 'any of the groups'
      return { outcome: { ok: false, kind: 'Invalid', message: `not joined: ${pid} is not in ${named}` }, effects: [] }
    }
    const effects = this.#changeLocal(ops)
    if (!this.#isWatched(pid)) effects.push({ kind: 'unwatch', pid })
    return { outcome: OK, effects }
  }

  /** All members, once for each slot, in the order in which this node saw them join. Stays as it is when they change. */
  members(group: string): readonly string[] {
    return this.#members.members(group)
  }

  localMembers(group: string): readonly string[] {
    return this.#members.membersOf(group, this.#node)
  }

  /** Groups with members, ascending. */
  groups(): string[] {
    return this.#members.groups()
  }

  localGroups(): string[] {
    return this.#members.groupsOfNode(this.#node)
  }

  /** Whom a broadcast reaches now. Each node of the plan is answered for with `handed-over`. */
  plan(group: string, options: { isLocal?: boolean } = {}): BroadcastPlan {
    const local = this.localMembers(group)
    if (options.isLocal === true) return { local, remote: [], skipped: [] }
    const nowMs = this.#env.nowMs()
    const remote: BroadcastPlan['remote'][number][] = []
    const skipped: string[] = []
    for (const node of this.#members.nodesOf(group)) {
      if (node === this.#node) continue
      if (this.#peers.get(node)?.breaker.take(nowMs) === true) {
        remote.push({ node, pids: this.#members.countsOf(group, node) })
      } else skipped.push(node)
    }
    return { local, remote, skipped }
  }

  /** @param group undefined watches all groups  @returns undefined when there are too many subscriptions */
  monitor(owner: string, group: string | undefined): Monitoring | undefined {
    const effects: ScopeEffect[] = this.#isWatched(owner) ? [] : [{ kind: 'watch', pid: owner }]
    const subscription = this.#subscriptions.add(owner, group)
    if (subscription === undefined) return undefined
    const groups = group === undefined ? this.#members.groups() : [group]
    const members = new Map(groups.map((each) => [each, this.#members.members(each)]))
    return { subscription, members, effects }
  }

  demonitor(subscription: number): ScopeEffect[] {
    const owner = this.#subscriptions.remove(subscription)
    return owner === undefined || this.#isWatched(owner) ? [] : [{ kind: 'unwatch', pid: owner }]
  }

  /** The subscriber took events off its queue. */
  consumed(subscription: number, count: number): void {
    this.#subscriptions.consumed(subscription, count)
  }

  // What others ask for.

  answerPull({ run, have }: PullRequest): PullAnswer {
    this.#lastExchangeMs = this.#env.nowMs()
    const deltas = run === this.#run && have !== undefined ? this.#history.since(have) : undefined
    // Many changes of few members are longer than what came of them.
    if (deltas !== undefined && opCount(deltas) <= 64 + 2 * this.#members.slotsOfNode(this.#node)) {
      return { kind: 'deltas', run: this.#run, deltas }
    }
    return { kind: 'full', run: this.#run, seq: this.#history.seq, state: this.#stateOf(this.#node) }
  }

  step(input: ScopeInput): ScopeEffect[] {
    switch (input.kind) {
      case 'node-up':
        return this.#nodeUp(input.node, input.epoch)
      case 'node-down': {
        const peer = this.#peers.get(input.node)
        return peer?.epoch === input.epoch ? this.#forget(peer) : []
      }
      case 'message':
        return this.#message(input.node, input.epoch, input.message)
      case 'pulled':
        return this.#pulled(input.node, input.pull, input.answer)
      case 'exited':
        return this.#exited(input.pid)
      case 'unsent':
        return this.#unsent(input.node)
      case 'handed-over':
        return this.#handedOver(input.node, input.outcome)
      case 'wake':
        return this.#wake()
      case 'stop': {
        const nodes = this.#nodesWithScope()
        return nodes.length === 0 ? [] : [{ kind: 'send', nodes, message: { kind: 'none' } }]
      }
      default:
        return unreachable(input)
    }
  }

  /** When `wake` is due next, on the clock of `Env.nowMs`. */
  get nextDueMs(): number {
    let dueMs = this.#antiEntropyAtMs
    for (const { greetingEndsMs, retryAtMs, tellAtMs } of this.#peers.values()) {
      dueMs = Math.min(dueMs, greetingEndsMs ?? dueMs, retryAtMs ?? dueMs, tellAtMs ?? dueMs)
    }
    return dueMs
  }

  /** When anything of this scope last came from another node; the start when nothing has yet. */
  get lastExchangeMs(): number {
    return this.#lastExchangeMs
  }

  get groupCount(): number {
    return this.#members.groupCount
  }

  get slotCount(): number {
    return this.#members.slotCount
  }

  get subscriptionCount(): number {
    return this.#subscriptions.count
  }

  /** Live nodes, ascending. */
  peers(): { node: string; epoch: number; hasScope: boolean | undefined; isSynced: boolean; breaker: BreakerState }[] {
    const nowMs = this.#env.nowMs()
    return this.#sortedPeers().map(({ node, epoch, hasScope, have, seen, breaker }) => ({
      node,
      epoch,
      hasScope,
      isSynced: hasScope !== undefined && have >= seen,
      breaker: breaker.state(nowMs),
    }))
  }

  /** Anything of this scope arrived that the core does not see, such as a broadcast. */
  heard(): void {
    this.#lastExchangeMs = this.#env.nowMs()
  }

  // The own log.

  #refusalOf(ops: readonly Op[]): ScopeOutcome | undefined {
    const { groupsMax, membersPerGroupMax } = this.#settings
    let newGroups = 0
    let slots = this.#members.slotsOfNode(this.#node)
    let bytes = this.#stateBytes
    for (const { group, pid, count } of ops) {
      if (group.length === 0 || group.length > GROUP_BYTES_MAX) {
        return {
          ok: false,
          kind: 'Invalid',
          message: `a group name has 1 to ${GROUP_BYTES_MAX} bytes, not ${group.length}`,
        }
      }
      if (!this.#members.has(group)) newGroups++
      if (membersPerGroupMax > 0 && this.#members.slotsOf(group) + count > membersPerGroupMax) {
        return { ok: false, kind: 'RateLimited', message: `maximum members per group reached (${membersPerGroupMax})` }
      }
      slots += count
      bytes += count * slotBytes(group, pid)
    }
    if (groupsMax > 0 && newGroups > 0 && this.#members.groupCount + newGroups > groupsMax) {
      return { ok: false, kind: 'RateLimited', message: `maximum number of groups reached (${groupsMax})` }
    }
    if (slots > SLOTS_PER_NODE_MAX || bytes > STATE_BYTES_MAX) {
      return { ok: false, kind: 'RateLimited', message: 'maximum number of memberships of one node reached' }
    }
    return undefined
  }

  #changeLocal(ops: readonly Op[]): ScopeEffect[] {
    for (const { sign, group, pid, count } of ops) {
      this.#stateBytes += sign * count * slotBytes(group, pid)
      const groups = getOrAdd(this.#joined, pid, () => new Set<string>())
      if (sign === 1 || this.#members.countOf(group, pid) > count) groups.add(group)
      else groups.delete(group)
      if (groups.size === 0) this.#joined.delete(pid)
    }
    const effects = this.#apply(this.#node, ops)
    const delta = this.#history.append(ops)
    const nodes = this.#nodesWithScope()
    if (nodes.length > 0) {
      const message = { kind: 'delta', run: this.#run, seq: delta.seq, changes: [ops] } as const
      effects.push({ kind: 'send', nodes, message })
    }
    return effects
  }

  #exited(pid: string): ScopeEffect[] {
    this.#subscriptions.removeOwner(pid)
    const groups = this.#joined.get(pid)
    if (groups === undefined) return []
    const ops = [...groups]
      .sort()
      .map((group): Op => ({ sign: -1, group, pid, count: this.#members.countOf(group, pid) }))
    return this.#changeLocal(ops)
  }

  #isWatched(pid: string): boolean {
    return this.#joined.has(pid) || this.#subscriptions.hasOwner(pid)
  }

  // The logs of others.

  #nodeUp(node: string, epoch: number): ScopeEffect[] {
    const known = this.#peers.get(node)
    if (node === this.#node || (known !== undefined && known.epoch > epoch)) return []
    const effects = known === undefined ? [] : this.#forget(known)
    const { breakerFailures, breakerResetMs } = this.#settings
    this.#peers.set(node, {
      node,
      epoch,
      run: -1,
      have: 0,
      seen: 0,
      hasScope: undefined,
      greetingEndsMs: undefined,
      pull: undefined,
      attempts: 0,
      retryAtMs: undefined,
      tellAtMs: undefined,
      toldAtMs: Number.NEGATIVE_INFINITY,
      tellAttempts: 0,
      breaker: new Breaker({ failuresMax: breakerFailures, resetMs: breakerResetMs }),
    })
    this.#toGreet.splice(this.#env.randomInt(this.#toGreet.length + 1), 0, node)
    return [...effects, ...this.#greet()]
  }

  /** Greets those that wait, a few at a time. */
  #greet(): ScopeEffect[] {
    const nowMs = this.#env.nowMs()
    let waiting = 0
    for (const { greetingEndsMs } of this.#peers.values()) if (greetingEndsMs !== undefined) waiting++
    const effects: ScopeEffect[] = []
    for (; waiting < GREETINGS_MAX; waiting++) {
      const peer = this.#peers.get(this.#toGreet.shift() ?? '')
      if (peer === undefined) break
      peer.greetingEndsMs = nowMs + this.#settings.protocolTimeoutMs
      effects.push(this.#hello(peer.node, false))
    }
    return effects
  }

  #hello(node: string, isReply: boolean): ScopeEffect {
    return { kind: 'send', nodes: [node], message: { kind: 'hello', run: this.#run, seq: this.#history.seq, isReply } }
  }

  #message(node: string, epoch: number, message: PgMessage): ScopeEffect[] {
    const peer = this.#peers.get(node)
    if (peer === undefined || peer.epoch !== epoch) {
      this.counters.staleMessages++
      return []
    }
    this.#lastExchangeMs = this.#env.nowMs()
    switch (message.kind) {
      case 'hello': {
        peer.greetingEndsMs = undefined
        const effects = this.#sees(peer, message.run)
        if (effects === undefined) return []
        peer.attempts = 0
        if (!message.isReply) effects.push(this.#hello(node, true))
        // A log that is shorter than what is known of it cannot be: all is asked for anew.
        if (message.seq < peer.have) {
          peer.have = 0
          peer.seen = message.seq
          effects.push(...this.#pull(peer, undefined))
        } else {
          peer.seen = Math.max(peer.seen, message.seq)
          if (message.seq > peer.have) effects.push(...this.#pull(peer, peer.have))
        }
        return [...effects, ...this.#greet()]
      }
      case 'delta': {
        const effects = this.#sees(peer, message.run)
        if (effects === undefined) return []
        let { seq } = message
        peer.seen = Math.max(peer.seen, seq + message.changes.length - 1)
        for (const ops of message.changes) {
          if (seq === peer.have + 1) effects.push(...this.#follow(peer, { seq, ops }))
          seq++
        }
        if (peer.have < peer.seen) effects.push(...this.#pull(peer, peer.have))
        return effects
      }
      case 'none': {
        peer.hasScope = false
        peer.greetingEndsMs = undefined
        return [...this.#reset(peer), ...this.#greet()]
      }
      default:
        return unreachable(message)
    }
  }

  /** A word of a run of the peer's scope: what an earlier run had is gone. Undefined: it is of an earlier run itself. */
  #sees(peer: Peer, run: number): ScopeEffect[] | undefined {
    if (run < peer.run) {
      this.counters.staleMessages++
      return undefined
    }
    peer.hasScope = true
    if (run === peer.run) return []
    const effects = this.#reset(peer)
    peer.run = run
    return effects
  }

  #follow(peer: Peer, delta: Delta): ScopeEffect[] {
    peer.have = delta.seq
    return this.#apply(peer.node, this.#sound(peer, delta.ops))
  }

  /** Asks for what is missing, unless that is under way or waits for its repetition. */
  #pull(peer: Peer, have: number | undefined): ScopeEffect[] {
    if (peer.pull !== undefined || peer.retryAtMs !== undefined) return []
    peer.pull = this.#nextPull++
    this.counters.pulls++
    const request = { run: peer.run, have }
    const timeoutMs = this.#settings.protocolTimeoutMs
    return [{ kind: 'pull', node: peer.node, pull: peer.pull, request, timeoutMs }]
  }

  #pulled(node: string, pull: number, answer: PullAnswer | undefined): ScopeEffect[] {
    const peer = this.#peers.get(node)
    // Of an earlier link session or run: whatever it says has been asked for again.
    if (peer === undefined || peer.pull !== pull) return []
    peer.pull = undefined
    if (answer === undefined) {
      this.counters.pullFailures++
      const { retriesMax } = this.#settings
      if (peer.attempts >= retriesMax) return []
      peer.retryAtMs = this.#env.nowMs() + this.#retryMs(++peer.attempts)
      return []
    }
    this.#lastExchangeMs = this.#env.nowMs()
    const effects = this.#sees(peer, answer.run)
    if (effects === undefined) return []
    if (answer.kind === 'full') {
      peer.seen = Math.max(peer.seen, answer.seq)
      if (answer.seq >= peer.have) effects.push(...this.#takeOver(peer, answer.seq, answer.state))
    } else {
      for (const delta of answer.deltas) {
        peer.seen = Math.max(peer.seen, delta.seq)
        if (delta.seq === peer.have + 1) effects.push(...this.#follow(peer, delta))
      }
    }
    // More happened meanwhile, or the answer left something out; asked as often as if it had failed.
    if (peer.have < peer.seen && peer.attempts < this.#settings.retriesMax) {
      peer.attempts++
      effects.push(...this.#pull(peer, undefined))
    } else if (peer.have >= peer.seen) peer.attempts = 0
    return effects
  }

  /** Makes a node's members what the state says; only what really differs is an event. */
  #takeOver(peer: Peer, seq: number, state: FullState): ScopeEffect[] {
    const wanted = new Map<string, Map<string, number>>()
    for (const { group, pids } of state) {
      const counts = wanted.get(group) ?? new Map<string, number>()
      wanted.set(group, counts)
      for (const [pid, count] of pids) counts.set(pid, (counts.get(pid) ?? 0) + count)
    }
    const ops: Op[] = []
    const groups = new Set([...wanted.keys(), ...this.#members.groupsOfNode(peer.node)])
    for (const group of [...groups].sort()) {
      const counts = wanted.get(group) ?? new Map<string, number>()
      for (const [pid, count] of this.#members.countsOf(group, peer.node)) {
        const left = count - (counts.get(pid) ?? 0)
        if (left > 0) ops.push({ sign: -1, group, pid, count: left })
      }
      for (const [pid, count] of [...counts].sort(([a], [b]) => (a < b ? -1 : 1))) {
        const more = count - this.#members.countOf(group, pid)
        if (more > 0) ops.push({ sign: 1, group, pid, count: more })
      }
    }
    peer.have = seq
    peer.seen = seq
    this.counters.fullSyncs++
    const effects = this.#apply(peer.node, this.#sound(peer, ops))
    effects.push({ kind: 'full-sync', node: peer.node, slots: this.#members.slotsOfNode(peer.node) })
    return effects
  }

  /** What a node may say: changes of its own processes, within the bounds. The rest is left out, one by one. */
  #sound(peer: Peer, ops: readonly Op[]): Op[] {
    let room = SLOTS_PER_NODE_MAX - this.#members.slotsOfNode(peer.node)
    return ops.filter((op) => {
      const { group, pid, count, sign } = op
      const parts = pid.length <= PID_BYTES_MAX ? parsePid(pid) : undefined
      const isSound =
        parts?.node === peer.node &&
        epochOf(parts.uniq) === peer.epoch &&
        group.length > 0 &&
        group.length <= GROUP_BYTES_MAX &&
        Number.isSafeInteger(count) &&
        count > 0 &&
        (sign === -1 || count <= room)
      if (!isSound) this.counters.rejectedOps++
      else if (sign === 1) room -= count
      return isSound
    })
  }

  /** Nothing of this peer's log is known any more. */
  #reset(peer: Peer): ScopeEffect[] {
    peer.have = 0
    peer.seen = 0
    peer.pull = undefined
    peer.retryAtMs = undefined
    peer.attempts = 0
    const ops: Op[] = []
    for (const group of this.#members.groupsOfNode(peer.node)) {
      for (const [pid, count] of this.#members.countsOf(group, peer.node)) ops.push({ sign: -1, group, pid, count })
    }
    return this.#apply(peer.node, ops)
  }

  #forget(peer: Peer): ScopeEffect[] {
    const effects = this.#reset(peer)
    this.#peers.delete(peer.node)
    const at = this.#toGreet.indexOf(peer.node)
    if (at >= 0) this.#toGreet.splice(at, 1)
    return [...effects, ...this.#greet()]
  }

  /**
   * Changes the members; one event for each group and direction. What comes and goes within one list is told in the order of the list, so
   * that whoever follows the events never sees one leave that is not there.
   */
  #apply(node: string, ops: readonly Op[]): ScopeEffect[] {
    const events: { kind: PgEvent['kind']; group: string; pids: string[] }[] = []
    const latest = new Map<string, (typeof events)[number]>()
    for (const { sign, group, pid, count } of ops) {
      let changed = count
      if (sign === 1) this.#members.add(group, node, pid, count)
      else changed = this.#members.remove(group, node, pid, count)
      if (changed === 0) continue
      const kind = sign === 1 ? 'member.joined' : 'member.left'
      let event = latest.get(group)
      if (event?.kind !== kind) {
        event = { kind, group, pids: [] }
        latest.set(group, event)
        events.push(event)
      }
      for (let i = 0; i < changed; i++) event.pids.push(pid)
    }
    const effects: ScopeEffect[] = []
    for (const event of events) {
      const { told, cutOff } = this.#subscriptions.tell(event.group)
      event.pids.sort()
      if (told.length > 0) effects.push({ kind: 'event', subscriptions: told, event })
      for (const subscription of cutOff)
        effects.push({ kind: 'overflow', subscription }, ...this.demonitor(subscription))
    }
    return effects
  }

  // Time and trouble.

  #wake(): ScopeEffect[] {
    const nowMs = this.#env.nowMs()
    const effects: ScopeEffect[] = []
    for (const peer of this.#sortedPeers()) {
      if (peer.greetingEndsMs !== undefined && peer.greetingEndsMs <= nowMs) peer.greetingEndsMs = undefined
      if (peer.retryAtMs !== undefined && peer.retryAtMs <= nowMs) {
        peer.retryAtMs = undefined
        if (peer.have < peer.seen) effects.push(...this.#pull(peer, peer.have))
      }
      if (peer.tellAtMs !== undefined && peer.tellAtMs <= nowMs) {
        peer.tellAtMs = undefined
        peer.toldAtMs = nowMs
        // Maybe it was the greeting that was lost, so an answer is wanted.
        effects.push(this.#hello(peer.node, false))
      }
    }
    effects.push(...this.#greet())
    if (this.#antiEntropyAtMs <= nowMs) {
      this.#antiEntropyAtMs = this.#nextAntiEntropyMs()
      const candidates = this.#sortedPeers().filter(({ hasScope }) => hasScope !== false)
      const next = candidates.find(({ node }) => node > this.#lastCompared) ?? candidates[0]
      if (next !== undefined) {
        this.#lastCompared = next.node
        effects.push(this.#hello(next.node, false))
      }
    }
    return effects
  }

  #unsent(node: string): ScopeEffect[] {
    const peer = this.#peers.get(node)
    if (peer === undefined || peer.tellAtMs !== undefined) return []
    const nowMs = this.#env.nowMs()
    const { retriesMax, retryMaxMs } = this.#settings
    if (nowMs > peer.toldAtMs + retryMaxMs) peer.tellAttempts = 0
    // After the last attempt the next change or greeting shows the gap.
    if (peer.tellAttempts < retriesMax) peer.tellAtMs = nowMs + this.#retryMs(++peer.tellAttempts)
    return []
  }

  #retryMs(attempt: number): number {
    const { retryBaseMs: initialMs, retryMaxMs: maxMs } = this.#settings
    return backoffMs({ initialMs, maxMs, factor: 2, jitter: 0.2 }, attempt, this.#env)
  }

  #handedOver(node: string, outcome: 'sent' | 'failed' | 'queue-full'): ScopeEffect[] {
    const peer = this.#peers.get(node)
    if (peer === undefined) return []
    const { breaker } = peer
    const nowMs = this.#env.nowMs()
    switch (outcome) {
      case 'sent': {
        const wasClosed = breaker.state(nowMs) === 'closed'
        breaker.succeeded()
        return wasClosed ? [] : [{ kind: 'breaker', node, state: 'closed' }]
      }
      case 'queue-full':
        breaker.returned()
        return []
      case 'failed':
        return breaker.failed(nowMs) ? [{ kind: 'breaker', node, state: 'open' }] : []
      default:
        return unreachable(outcome)
    }
  }

  #nextAntiEntropyMs(): number {
    const { antiEntropyIntervalMs } = this.#settings
    return antiEntropyIntervalMs === 0 ? Number.POSITIVE_INFINITY : this.#env.nowMs() + antiEntropyIntervalMs
  }

  #stateOf(node: string): FullState {
    return this.#members.groupsOfNode(node).map((group) => ({ group, pids: this.#members.countsOf(group, node) }))
  }

  #nodesWithScope(): string[] {
    const nodes: string[] = []
    for (const { node, hasScope } of this.#peers.values()) if (hasScope === true) nodes.push(node)
    return nodes.sort()
  }

  #sortedPeers(): Peer[] {
    return [...this.#peers.values()].sort((a, b) => (a.node < b.node ? -1 : 1))
  }
}

/** One op for each group, ascending; a group that is named twice counts two. */
function opsOf(sign: 1 | -1, pid: string, groups: readonly string[]): Op[] {
  const counts = new Map<string, number>()
  for (const group of groups) counts.set(group, (counts.get(group) ?? 0) + 1)
  return [...counts].sort(([a], [b]) => (a < b ? -1 : 1)).map(([group, count]) => ({ sign, group, pid, count }))
}

function opCount(deltas: readonly Delta[]): number {
  let count = 0
  for (const { ops } of deltas) count += ops.length
  return count
}

const slotBytes = (group: string, pid: string): number => group.length + pid.length + 8
