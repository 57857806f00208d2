// The replicated state as the services of a node see it, on servers and clients alike: commands that happen once, the node's session, reads,
// and what became of its processes' possessions. cluster.md §5.7, §5.10, §5.11.

import { backoffMs } from '../../runtime/base/backoff.ts'
import { MoonmeshError } from '../../runtime/base/errors.ts'
import { Histogram } from '../../runtime/base/histogram.ts'
import type { Packed } from '../../runtime/base/msgpack.ts'
import { parsePid } from '../../runtime/base/pid.ts'
import type { Fabric } from '../fabric.ts'
import type { Consensus } from '../raft/consensus.ts'
import type { Command } from './core/commands.ts'
import type { Machine } from './core/machine.ts'
import type { Outcome, RequestId, StateEvent } from './core/outcomes.ts'
import { Proposer, type ProposerEffect, type ProposerInput, type Settled, TAKING } from './core/proposer.ts'
import {
  type SessionEffect,
  type SessionEvent,
  type SessionInput,
  SessionKeeper,
  type SessionSettings,
} from './core/session.ts'
import { LeaderClient } from './leader.ts'
import {
  METHOD_EVENT,
  METHOD_PROPOSE,
  METHOD_READ,
  METHOD_RENEW,
  Member,
  OVER,
  type Query,
  type SessionTtl,
  ttlIn,
} from './member.ts'
import { Waker } from './waker.ts'
import { encodeEnvelope } from './wire/commands.ts'
import { decodeEvent, decodeOutcome, encodeRead } from './wire/requests.ts'

const DEADLINE_MS_DEFAULT = 10_000
/** Of a NODE_UP; afterwards it is tried anew. */
const OPEN_DEADLINE_MS = 10_000
const LEAVE_DEADLINE_MS = 2000
const UNDO_AGAIN_MS = 1000
const READ_ATTEMPT_MS = 3000
const READ_BACKOFF = { initialMs: 50, maxMs: 1000, factor: 2, jitter: 0.3 }

interface StateOptions {
  readonly fabric: Fabric
  /** Undefined: this node is a client for good. */
  readonly consensus: Consensus | undefined
  readonly session: SessionSettings
  /** What the group has agreed on for sessions; default: what `session` says. */
  readonly ttl?: SessionTtl
  readonly role: 'server' | 'client'
}

export interface SubmitOptions {
  /** From now; default 10 s. For a request that waits in the log, longer than that wait. Infinity: until the session ends. */
  readonly deadlineMs?: number
  readonly signal?: AbortSignal
  /**
   * Called with the outcome in the turn in which it is known, before anything that happens to the session later: who waits for the promise
   * may be told of the session's end first.
   */
  readonly settled?: (outcome: Outcome) => void
}

interface ReadOptions {
  /** From now; default 10 s. */
  readonly deadlineMs?: number
  /** Of whatever is applied at the member that is asked, or here. */
  readonly stale?: boolean
}

interface SessionStatus {
  readonly state: 'none' | 'open' | 'suspended' | 'fenced' | 'closed'
  /** 0 without one. */
  readonly session: number
  /** By the clock of `fabric.env`; in the past when nothing may be trusted. */
  readonly trustedUntilMs: number
  readonly isLeaderReachable: boolean
}

interface SessionFigures extends SessionStatus {
  /** Seconds from the sending of a renewal to its acknowledgement. */
  readonly renewals: Histogram
  readonly suspensions: number
  /** Sessions that this node, as the leader, ended because their nodes were silent. */
  readonly downs: { readonly dead: number; readonly silent: number }
}

const NO_DOWNS = { dead: 0, silent: 0 }

export class ClusterState {
  readonly #fabric: Fabric
  readonly #consensus: Consensus | undefined
  readonly #role: string
  readonly #leader: LeaderClient
  readonly #member: Member | undefined
  readonly #proposer: Proposer
  readonly #keeper: SessionKeeper
  readonly #wakers: { readonly proposer: Waker; readonly keeper: Waker }
  readonly #queries = new Map<string, Query>()
  readonly #waiting = new Map<
    number,
    { resolve(outcome: Outcome): void; reject(error: MoonmeshError): void; command: Command }
  >()
  readonly #sessionListeners = new Set<(event: SessionEvent) => void>()
  readonly #eventListeners = new Set<(event: StateEvent) => void>()
  readonly #closers: (() => void)[] = []
  #lastId = 0
  #epoch: number
  readonly #renewals = new Histogram()
  #suspensions = 0
  #closing: Promise<void> | undefined
  #isClosing = false

  constructor({ fabric, consensus, session, ttl, role }: StateOptions) {
    this.#fabric = fabric
    this.#consensus = consensus
    this.#role = role
    this.#epoch = fabric.epoch
    this.#proposer = new Proposer(fabric.env)
    this.#keeper = new SessionKeeper(session, fabric.env)
    const waker = (run: () => void): Waker =>
      new Waker(
        () => fabric.env.nowMs(),
        (delayMs, act) => fabric.after(delayMs, act),
        run,
      )
    this.#wakers = {
      proposer: waker(() => this.#propose({ kind: 'tick' })),
      keeper: waker(() => this.#keep({ kind: 'tick' })),
    }
    this.#leader = new LeaderClient(fabric, consensus, () => {
      this.#propose({ kind: 'leader-known' })
      this.#keep({ kind: 'tick' })
    })
    this.#closers.push(fabric.onNotify(METHOD_EVENT, (_from, body) => this.#told(body)))
    if (consensus !== undefined) {
      const { ttlMs } = session
      const agreed = ttl ?? { grantMs: () => ttlMs, waitMs: () => ttlMs }
      this.#member = new Member({ fabric, consensus, leader: this.#leader, ttl: agreed, queries: this.#queries })
      this.#closers.push(consensus.onApplied((_index, events) => this.#applied(events)))
    }
  }

  /** Opens the session, now or once there is a leader. */
  start(): void {
    this.#leader.start()
    this.#keep({ kind: 'start' })
  }

  /** An earlier run of this node had a later epoch, and this one is beyond it now: its session begins anew. */
  epochRaised(): void {
    if (this.#fabric.epoch === this.#epoch) return
    this.#epoch = this.#fabric.epoch
    this.#propose({ kind: 'session', session: undefined })
    this.#keep({ kind: 'epoch-raised' })
  }

  // ── Commands ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Makes a command happen at most once, and tells what came of it. What needs a session waits for one that is trusted. An acquire or a
   * strong registration whose caller gets an error is undone.
   * @throws MoonmeshError `Unavailable` (no answer by the deadline, or the session ended; `details.ambiguous`: it may have happened or may
   *   yet), `Canceled`, `LimitExceeded` (too many of this node are under way; nothing happened), `Invalid`
   */
  submit(command: Command, options: SubmitOptions = {}): Promise<Outcome> {
    const { deadlineMs = DEADLINE_MS_DEFAULT, signal, settled } = options
    return new Promise((done, reject) => {
      const resolve = (outcome: Outcome): void => {
        settled?.(outcome)
        done(outcome)
      }
      if (this.#closing !== undefined) return reject(closed())
      if (signal?.aborted === true) return reject(new MoonmeshError('Canceled', `${command.kind}: cancelled`))
      this.#submit(command, deadlineMs, { resolve, reject }, signal)
    })
  }

  /** Commands of this node that are not answered yet. */
  get outstanding(): number {
    return this.#proposer.outstanding
  }

  // ── Session ───────────────────────────────────────────────────────────────────────────────────────────────────────────

  session(): SessionStatus {
    const { state, session, trustedUntilMs, isLeaderReachable } = this.#keeper
    return { state, session, trustedUntilMs, isLeaderReachable }
  }

  figures(): SessionFigures {
    const downs = this.#member?.downs ?? NO_DOWNS
    return { ...this.session(), renewals: this.#renewals, suspensions: this.#suspensions, downs }
  }

  /** Whether this node has a session that it trusts; while there is no group there is nothing to have it with. For readiness. */
  check(): { readonly name: 'session'; readonly ok: boolean; readonly detail: string } {
    const check = (ok: boolean, detail: string) => ({ name: 'session', ok, detail }) as const
    const { state, session } = this.session()
    if (state === 'open' && this.isTrusted) return check(true, `session ${session} is open`)
    if (state === 'none' && !this.#hasGroup) return check(true, 'no group yet')
    if (state === 'none') return check(false, 'no session: nobody leads, or the leader is out of reach')
    if (state === 'fenced') return check(false, 'a later run of this node is in the cluster')
    if (state === 'closed') return check(false, 'this node is stopping')
    return check(false, `session ${session} is suspended: the leader is out of reach`)
  }

  /** As far as it is known here. */
  get #hasGroup(): boolean {
    if (this.#consensus?.status().formation !== undefined) return true
    const isMember = (role: string | undefined): boolean => role === 'voter' || role === 'standby'
    return this.#fabric.live().some(({ tags }) => isMember(tags.get('raft_role')))
  }

  /** Whether what this node holds through its session may be trusted at this very moment. */
  get isTrusted(): boolean {
    return this.#keeper.isTrusted
  }

  /** @returns takes it back */
  onSession(listener: (event: SessionEvent) => void): () => void {
    return added(this.#sessionListeners, listener)
  }

  /**
   * What the log did: `answer`, `lock-granted` and `lock-released` of this node's requests and processes, and the end of its session; on a
   * server with a replica also sessions, bindings and reservations of all. One may come twice, and some are lost with a leader or with a
   * snapshot that was restored: what must not be missed is read.
   * @returns takes it back
   */
  onEvents(listener: (event: StateEvent) => void): () => void {
    return added(this.#eventListeners, listener)
  }

  // ── Reads ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** What is applied here, where this node has a part in the group; it may lag behind. */
  get replica(): Machine | undefined {
    return this.#member?.hasReplica === true ? this.#consensus?.machine : undefined
  }

  /** The leader as far as it is known here. */
  get leader(): string | undefined {
    return this.#leader.leader
  }

  /**
   * Makes a query known under a name, for reads of this node and of others that ask it. The same on all nodes.
   * @throws MoonmeshError `AlreadyExists`
   */
  addQuery(name: string, query: Query): void {
    if (this.#queries.has(name)) throw new MoonmeshError('AlreadyExists', `the query ${name} is there already`)
    this.#queries.set(name, query)
  }

  /**
   * Asks a query: of the local replica, or of a member where there is none. Linearizable unless `stale`.
   * @throws MoonmeshError `Unavailable` (nobody answered by the deadline), or what the query threw
   */
  async read(query: string, args: Packed, options: ReadOptions = {}): Promise<Uint8Array> {
    const { env } = this.#fabric
    const { deadlineMs = DEADLINE_MS_DEFAULT, stale = false } = options
    const endMs = env.nowMs() + deadlineMs
    let problem = 'no member of the group is known'
    for (let attempt = 1; this.#closing === undefined; attempt++) {
      const remainingMs = endMs - env.nowMs()
      if (remainingMs <= 0) break
      const timeoutMs = Math.min(remainingMs, READ_ATTEMPT_MS)
      try {
        if (this.#member?.hasReplica === true) {
          return await this.#member.read(query, args, { stale, deadlineMs: timeoutMs })
        }
        const to = this.#memberToAsk()
        if (to === undefined) this.#leader.want()
        else {
          const body = encodeRead({ query, stale, args })
          return await this.#fabric.request({ name: to, epoch: 0 }, METHOD_READ, body, { deadlineMs: timeoutMs })
        }
      } catch (error) {
        if (!isPassing(error)) throw error
        problem = error.message
      }
      const waitMs = backoffMs(READ_BACKOFF, attempt, env)
      await this.#pause(Math.min(waitMs, Math.max(1, endMs - env.nowMs())))
    }
    const text = `${query}: no answer within ${deadlineMs} ms; the last attempt: ${problem}`
    throw new MoonmeshError('Unavailable', text, { retryable: true })
  }

  /**
   * Resolves once the local replica, if there is one, is as new as every command that was acknowledged before.
   * @throws MoonmeshError `Timeout`, `Unavailable`
   */
  async barrier(deadlineMs = DEADLINE_MS_DEFAULT): Promise<void> {
    if (this.#member?.hasReplica !== true)
      throw new MoonmeshError('Unavailable', 'no replica here', { retryable: true })
    await this.#consensus?.barrier(deadlineMs)
  }

  /** Leaves: ends the session in the log if somebody leads, within two seconds. Idempotent. */
  leave(): Promise<void> {
    this.#closing ??= this.#close(true)
    return this.#closing
  }

  /** Falls silent at once: the session ends when the others have waited for it. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close(false)
    return this.#closing
  }

  async #close(isLeaving: boolean): Promise<void> {
    this.#isClosing = true
    const session = this.#keeper.session
    this.#keep({ kind: 'close' })
    if (session !== 0 && isLeaving) {
      const command = { kind: 'node-down', node: this.#fabric.name, session, reason: 'left' } as const
      await new Promise<void>((done) => {
        this.#submit(command, LEAVE_DEADLINE_MS, { resolve: () => done(), reject: () => done() }, undefined)
      })
    }
    for (const [id] of [...this.#waiting]) this.#propose({ kind: 'cancel', id })
    for (const close of this.#closers.splice(0)) close()
    this.#leader.close()
    this.#member?.close()
    this.#wakers.proposer.close()
    this.#wakers.keeper.close()
    this.#sessionListeners.clear()
    this.#eventListeners.clear()
  }

  // ── Inside ────────────────────────────────────────────────────────────────────────────────────────────────────────────

  #submit(
    command: Command,
    deadlineMs: number,
    { resolve, reject }: { resolve(outcome: Outcome): void; reject(error: MoonmeshError): void },
    signal: AbortSignal | undefined,
  ): void {
    const id = ++this.#lastId
    const cancel = (): void => this.#propose({ kind: 'cancel', id })
    signal?.addEventListener('abort', cancel, { once: true })
    const settled = (): void => signal?.removeEventListener('abort', cancel)
    this.#waiting.set(id, {
      command,
      resolve: (outcome) => {
        settled()
        resolve(outcome)
      },
      reject: (error) => {
        settled()
        reject(error)
      },
    })
    this.#propose({ kind: 'submit', id, command, deadlineMs: this.#fabric.env.nowMs() + deadlineMs })
  }

  #propose(input: ProposerInput): void {
    const effects = this.#proposer.step(input)
    this.#wakers.proposer.set(this.#proposer.wakeAtMs)
    for (const effect of effects) this.#performProposal(effect)
    if (this.#proposer.isWaiting && this.#leader.leader === undefined) this.#leader.want()
  }

  #performProposal(effect: ProposerEffect): void {
    switch (effect.kind) {
      case 'attempt': {
        const { attempt, envelope, timeoutMs } = effect
        void this.#leader.ask(METHOD_PROPOSE, encodeEnvelope(envelope), timeoutMs).then((answer) => {
          if (answer.kind !== 'answer') return this.#propose({ kind: 'answered', attempt, answer })
          try {
            const outcome = decodeOutcome(answer.bytes)
            this.#propose({ kind: 'answered', attempt, answer: { kind: 'outcome', outcome } })
          } catch {
            this.#propose({ kind: 'answered', attempt, answer: { kind: 'lost' } })
          }
        })
        return
      }
      case 'session-over':
        return this.#keep({ kind: 'over', session: effect.session })
      case 'settled': {
        const waiting = this.#waiting.get(effect.id)
        this.#waiting.delete(effect.id)
        if (waiting === undefined) return
        const { result } = effect
        if (!result.ok) {
          if (result.reason === 'invalid' && result.isAmbiguous) {
            this.#fabric.log('error', 'state_request_forgotten', { ...result.request })
          }
          if (result.isAmbiguous && result.request !== undefined) this.#undo(waiting.command, result.request)
          return waiting.reject(failureOf(waiting.command, result))
        }
        if (!this.#mayTake(waiting.command, result)) {
          this.#undo(waiting.command, result.request)
          const failed = { ok: false, reason: 'session-over', isAmbiguous: true, isPending: false } as const
          return waiting.reject(failureOf(waiting.command, { ...failed, request: result.request }))
        }
        return waiting.resolve(result.outcome)
      }
    }
  }

  #mayTake({ kind }: Command, { outcome, request }: Extract<Settled, { ok: true }>): boolean {
    const isGiven = outcome.status === 'granted' || (outcome.status === 'ok' && TAKING.has(kind))
    // What was given in a session that is over went with it, however late the answer comes.
    if (isGiven && request.session !== this.#keeper.session) return false
    // A lock that was granted while nothing may be trusted would be held by nobody's knowledge.
    return outcome.status !== 'granted' || this.#keeper.isTrusted
  }

  /** Nobody waits for what this request may yet bring. */
  #undo(command: Command, { session, seq }: RequestId): void {
    if (command.kind !== 'lock-acquire' && command.kind !== 'strong-open') return
    // What a session owned went with it.
    if (session !== this.#keeper.session) return
    const reject = ({ kind }: MoonmeshError): void => {
      // There was no room. Any other failure means that the session is over.
      if (kind === 'LimitExceeded') this.#fabric.after(UNDO_AGAIN_MS, () => this.#undo(command, { session, seq }))
    }
    this.#submit({ kind: 'cancel', seq }, Number.POSITIVE_INFINITY, { resolve: () => {}, reject }, undefined)
  }

  #keep(input: SessionInput): void {
    const effects = this.#keeper.step(input)
    this.#wakers.keeper.set(this.#keeper.wakeAtMs)
    for (const effect of effects) this.#performSession(effect)
  }

  #performSession(effect: SessionEffect): void {
    switch (effect.kind) {
      case 'open': {
        const { opening } = effect
        const { name, epoch } = this.#fabric
        const command = { kind: 'node-up', node: name, epoch, role: this.#role } as const
        const resolve = (outcome: Outcome): void => {
          if (outcome.status === 'session') this.#keep({ kind: 'up', opening, session: outcome.session })
          else if (outcome.status === 'stale-epoch') this.#keep({ kind: 'stale', opening, epoch: outcome.epoch })
          else this.#keep({ kind: 'up-failed', opening })
        }
        const reject = (): void => this.#keep({ kind: 'up-failed', opening })
        return this.#submit(command, OPEN_DEADLINE_MS, { resolve, reject }, undefined)
      }
      case 'renew': {
        const { renewal, session, timeoutMs } = effect
        const sentMs = this.#fabric.env.nowMs()
        void this.#leader.ask(METHOD_RENEW, session, timeoutMs).then((answer) => {
          if (answer.kind === 'answer') this.#renewals.observe((this.#fabric.env.nowMs() - sentMs) / 1000)
          if (answer.kind !== 'answer') return this.#keep({ kind: 'renewal-failed', renewal })
          if (answer.bytes[0] === OVER) return this.#keep({ kind: 'over', session })
          const ttlMs = ttlIn(answer.bytes)
          this.#keep({ kind: 'renewed', renewal, ...(ttlMs === undefined ? {} : { ttlMs }) })
        })
        return
      }
      case 'leave':
        // `close` sees to it.
        return
      case 'event':
        return this.#sessionEvent(effect.event)
    }
  }

  #sessionEvent(event: SessionEvent): void {
    const fabric = this.#fabric
    switch (event.kind) {
      case 'opened':
        fabric.log('info', 'session_opened', { session: event.session })
        this.#propose({ kind: 'session', session: event.session })
        break
      case 'resumed':
        fabric.log('info', 'session_resumed', { session: event.session })
        this.#propose({ kind: 'session', session: event.session })
        break
      case 'suspended':
        this.#suspensions++
        fabric.log('warn', 'session_suspended', { session: event.session })
        this.#propose({ kind: 'session', session: undefined })
        break
      case 'ended':
        // Who stops has given it up: nobody is to look for a reason.
        if (!this.#isClosing) fabric.log('warn', 'session_lost', { session: event.session })
        this.#propose({ kind: 'session', session: undefined })
        break
      case 'fenced':
        fabric.log('error', 'node_fenced', { epoch: event.epoch })
        break
      case 'leader-unreachable':
        fabric.log('warn', 'leader_unreachable', {})
        break
      case 'leader-reached':
        fabric.log('info', 'leader_reached', {})
        break
    }
    for (const listener of this.#sessionListeners) listener(event)
  }

  #applied(events: readonly StateEvent[]): void {
    for (const event of events) this.#happened(event)
  }

  #told(body: Uint8Array): void {
    try {
      const event = decodeEvent(body)
      if (event !== undefined) this.#happened(event)
    } catch {
      // Of no use here; whoever sent it has counted it as told, and asking repairs what it said.
      this.#fabric.log('warn', 'state_event_unreadable', {})
    }
  }

  #happened(event: StateEvent): void {
    const { name } = this.#fabric
    switch (event.kind) {
      case 'answer':
        if (event.request.session !== this.#keeper.session) return
        this.#propose({ kind: 'told', request: event.request, outcome: event.outcome })
        break
      case 'session-ended':
        if (event.node === name) this.#keep({ kind: 'over', session: event.session })
        break
      case 'lock-granted':
      case 'lock-released':
        if (parsePid(event.pid)?.node !== name) return
        break
      default:
        break
    }
    for (const listener of this.#eventListeners) listener(event)
  }

  /** The leader if there is a link to it, else any member. */
  #memberToAsk(): string | undefined {
    const { members } = this.#leader
    const { leader } = this.#leader
    if (leader !== undefined && members.includes(leader)) return leader
    return members[this.#fabric.env.randomInt(Math.max(1, members.length))]
  }

  #pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.#fabric.after(delayMs, resolve)
    })
  }
}

function failureOf(command: Command, failed: Extract<Settled, { ok: false }>): MoonmeshError {
  const { reason, isAmbiguous, request, message } = failed
  const details = { ambiguous: isAmbiguous, ...(request === undefined ? {} : { request }) }
  const what = command.kind
  switch (reason) {
    case 'deadline':
      return new MoonmeshError('Unavailable', `${what}: no answer of a leader by the deadline`, {
        retryable: true,
        details,
      })
    case 'canceled':
      return new MoonmeshError('Canceled', `${what}: cancelled`, { details })
    case 'overloaded':
      return new MoonmeshError(
        'LimitExceeded',
        `${what}: ${message ?? 'too many requests of this node are under way'}`,
        {
          retryable: true,
          details,
        },
      )
    case 'session-over':
      return new MoonmeshError('Unavailable', `${what}: the session of this node ended or is not trusted`, {
        retryable: true,
        details,
      })
    case 'invalid':
      return new MoonmeshError('Invalid', `${what}: ${message ?? 'refused'}`, { retryable: false, details })
  }
}

/** Whether another attempt, or another member, may answer. */
function isPassing(error: unknown): error is MoonmeshError {
  if (!(error instanceof MoonmeshError)) return false
  return (
    error.kind === 'Unavailable' || error.kind === 'Timeout' || error.kind === 'NotLeader' || error.kind === 'Internal'
  )
}

function closed(): MoonmeshError {
  return new MoonmeshError('Canceled', 'this node is stopping')
}

function added<T>(set: Set<T>, value: T): () => void {
  set.add(value)
  return () => set.delete(value)
}
