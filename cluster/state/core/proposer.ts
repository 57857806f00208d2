// Commands from this node to the log, each applied at most once and answered exactly once: as long as the outcome of an attempt is not
// known, the same request, under the same number, is tried again. cluster.md §5.11; Ongaro's thesis §6.3. Who leads is decided elsewhere
// (leader.ts): here an attempt was answered, refused, or lost.

import { backoffMs } from '../../../runtime/base/backoff.ts'
import type { Env } from '../../../runtime/base/env.ts'
import { Heap } from '../../../runtime/base/heap.ts'
import { type Command, DONE_MAX, type Envelope, SESSIONLESS } from './commands.ts'
import type { Outcome, RequestId } from './outcomes.ts'

/** Commands that are not answered yet; what gives back what is held has some room of its own. */
export const OUTSTANDING_MAX = 1024
const RESERVED_FOR_ENDING = 128
/** Requests that were given up and that the log does not know of yet. From here on a command that does nothing tells it of them. */
const GIVEN_UP_MAX = 512
const TELLING: Command = { kind: 'proc-down', pids: [] }
/** No caller's. */
const TELLING_ID = -1
const ENDING: ReadonlySet<Command['kind']> = new Set(['proc-down', 'unregister', 'lock-release', 'cancel'])
/** What gives something to a process. */
export const TAKING: ReadonlySet<Command['kind']> = new Set(['register', 'strong-open', 'lock-acquire'])
const ATTEMPT_TIMEOUT_MS = 3000
/** A request that was told `pending` hears of its end; should that be lost, it asks. */
const ASK_AGAIN_MS = 1000
const BACKOFF = { initialMs: 50, maxMs: 1000, factor: 2, jitter: 0.3 }

export type ProposerInput =
  | { readonly kind: 'tick' }
  /** `id`: the caller's, unique among those that are not settled. */
  | { readonly kind: 'submit'; readonly id: number; readonly command: Command; readonly deadlineMs: number }
  | { readonly kind: 'cancel'; readonly id: number }
  /** The node's session; undefined: none that is open and trusted, and what needs one waits. */
  | { readonly kind: 'session'; readonly session: number | undefined }
  /** There is a leader to try. */
  | { readonly kind: 'leader-known' }
  | { readonly kind: 'answered'; readonly attempt: number; readonly answer: AttemptAnswer }
  /** The end of a request that was told `pending`. */
  | { readonly kind: 'told'; readonly request: RequestId; readonly outcome: Outcome }

export type AttemptAnswer =
  | { readonly kind: 'outcome'; readonly outcome: Outcome }
  /** It is not in the log and will not be; later, or elsewhere, it may be. */
  | { readonly kind: 'refused' }
  /** Nobody will ever take it. */
  | { readonly kind: 'invalid'; readonly message: string }
  /** Whether it is in the log is not known. */
  | { readonly kind: 'lost' }

export type ProposerEffect =
  /** Every attempt is answered, by `lost` after this time. */
  | { readonly kind: 'attempt'; readonly attempt: number; readonly envelope: Envelope; readonly timeoutMs: number }
  | { readonly kind: 'settled'; readonly id: number; readonly result: Settled }
  /** The log says that this session is over. */
  | { readonly kind: 'session-over'; readonly session: number }

export type Settled =
  | { readonly ok: true; readonly outcome: Outcome; readonly request: RequestId }
  | {
      readonly ok: false
      readonly reason: 'deadline' | 'canceled' | 'overloaded' | 'session-over' | 'invalid'
      /** Whether it may have happened, or may still. */
      readonly isAmbiguous: boolean
      /** Told `pending`: it waits in the log. */
      readonly isPending: boolean
      /** Under which it was proposed, if it was. */
      readonly request: RequestId | undefined
      readonly message?: string
    }

interface Proposal {
  readonly id: number
  readonly command: Command
  readonly deadlineMs: number
  /** Undefined until it is first proposed; session 0 for what needs none. */
  request: RequestId | undefined
  /** What a `cancel` names is of this session; 0: any will do. */
  readonly only: number
  /** Zero: none is under way. */
  attempt: number
  attempts: number
  /** Attempts that may be in the log. */
  lost: number
  isPending: boolean
  notBeforeMs: number
  /** What the last attempt said that we are done with. */
  done: readonly number[]
}

export class Proposer {
  readonly #env: Env
  #session: number | undefined
  /** Of the session that requests were last numbered in. */
  #numbered = 0
  #nextSeq = 1
  readonly #proposals = new Map<number, Proposal>()
  /** Those that could go; in the order in which they came. */
  readonly #waiting = new Set<Proposal>()
  readonly #attempts = new Map<number, Proposal>()
  /** By seq, ascending: numbered in this session and without any answer. The first is the floor. */
  readonly #unanswered = new Map<number, Proposal>()
  /** By seq: told `pending`. */
  readonly #pending = new Map<number, Proposal>()
  /**
   * Over for us, and the log may not know: told `pending` and ended since, or given up. Every further command says so, which makes sure that
   * what was given up does not happen after it.
   */
  readonly #done = new Set<number>()
  readonly #timers = new Heap<{ proposal: Proposal; atMs: number }>()
  #lastAttempt = 0
  #hasLeader = false

  constructor(env: Env) {
    this.#env = env
  }

  get outstanding(): number {
    return this.#proposals.size
  }

  /** When a tick is due; Infinity when nothing is. */
  get wakeAtMs(): number {
    return this.#timers.nextKey ?? Number.POSITIVE_INFINITY
  }

  /** Whether something waits for a leader. */
  get isWaiting(): boolean {
    return this.#waiting.size > 0
  }

  step(input: ProposerInput): ProposerEffect[] {
    const effects = this.#step(input)
    // Nobody else may come who could: others are refused meanwhile.
    if (this.#done.size >= GIVEN_UP_MAX && !this.#proposals.has(TELLING_ID)) {
      effects.push(...this.#add(TELLING_ID, TELLING, Number.POSITIVE_INFINITY))
    }
    return effects.filter((effect) => effect.kind !== 'settled' || effect.id !== TELLING_ID)
  }

  #step(input: ProposerInput): ProposerEffect[] {
    switch (input.kind) {
      case 'tick':
        return this.#tick()
      case 'submit':
        return this.#submit(input)
      case 'cancel': {
        const proposal = this.#proposals.get(input.id)
        return proposal === undefined ? [] : [this.#fail(proposal, 'canceled')]
      }
      case 'session':
        this.#session = input.session
        return input.session === undefined ? [] : [...this.#renumber(input.session), ...this.#dispatch()]
      case 'leader-known':
        this.#hasLeader = true
        for (const proposal of this.#waiting) proposal.notBeforeMs = 0
        return this.#dispatch()
      case 'answered':
        return this.#answered(input.attempt, input.answer)
      case 'told': {
        const { session, seq } = input.request
        const proposal = session === this.#numbered ? this.#pending.get(seq) : undefined
        return proposal === undefined ? [] : [this.#settle(proposal, input.outcome)]
      }
    }
  }

  #submit({ id, command, deadlineMs }: Extract<ProposerInput, { kind: 'submit' }>): ProposerEffect[] {
    const max = ENDING.has(command.kind) ? OUTSTANDING_MAX : OUTSTANDING_MAX - RESERVED_FOR_ENDING
    const isFull = this.#proposals.size >= max || this.#done.size >= (ENDING.has(command.kind) ? 2 : 1) * GIVEN_UP_MAX
    // What opens a session is one at a time, and all that is outstanding may be waiting for it.
    if (isFull && !SESSIONLESS.has(command.kind)) {
      const refused = { ok: false, reason: 'overloaded', isAmbiguous: false, isPending: false } as const
      return [{ kind: 'settled', id, result: { ...refused, request: undefined } }]
    }
    const abandoned = command.kind === 'proc-down' ? this.#abandon(new Set(command.pids)) : []
    return [...abandoned, ...this.#add(id, command, deadlineMs)]
  }

  #add(id: number, command: Command, deadlineMs: number): ProposerEffect[] {
    const proposal: Proposal = {
      id,
      command,
      deadlineMs,
      request: undefined,
      only: command.kind === 'cancel' ? this.#numbered : 0,
      attempt: 0,
      attempts: 0,
      lost: 0,
      isPending: false,
      notBeforeMs: 0,
      done: [],
    }
    this.#proposals.set(id, proposal)
    this.#waiting.add(proposal)
    this.#wake(proposal, deadlineMs)
    return this.#dispatch()
  }

  /** What these processes asked for and were not given yet must not be given to them after their end. */
  #abandon(pids: ReadonlySet<string>): ProposerEffect[] {
    const theirs = [...this.#proposals.values()].filter(
      ({ command }) => TAKING.has(command.kind) && 'pid' in command && pids.has(command.pid ?? ''),
    )
    return theirs.map((proposal) => this.#fail(proposal, 'canceled'))
  }

  #tick(): ProposerEffect[] {
    const nowMs = this.#env.nowMs()
    const effects: ProposerEffect[] = []
    while ((this.#timers.nextKey ?? Number.POSITIVE_INFINITY) <= nowMs) {
      const { proposal } = this.#timers.pop() as { proposal: Proposal }
      if (this.#proposals.get(proposal.id) !== proposal) continue
      if (proposal.deadlineMs <= nowMs) effects.push(this.#fail(proposal, 'deadline'))
      else if (proposal.isPending && proposal.attempt === 0 && proposal.notBeforeMs <= nowMs)
        this.#waiting.add(proposal)
    }
    return [...effects, ...this.#dispatch()]
  }

  #dispatch(): ProposerEffect[] {
    const nowMs = this.#env.nowMs()
    const effects: ProposerEffect[] = []
    for (const proposal of this.#waiting) {
      const { command } = proposal
      const needsSession = !SESSIONLESS.has(command.kind)
      if (!this.#hasLeader || proposal.notBeforeMs > nowMs || (needsSession && this.#session === undefined)) continue
      this.#waiting.delete(proposal)
      if (proposal.only !== 0 && proposal.only !== this.#session) {
        effects.push(this.#fail(proposal, 'session-over'))
        continue
      }
      if (proposal.request === undefined) {
        const session = needsSession ? (this.#session as number) : 0
        proposal.request = { session, seq: needsSession ? this.#nextSeq++ : 0 }
        if (needsSession) this.#unanswered.set(proposal.request.seq, proposal)
      }
      const { session, seq } = proposal.request
      const floor = session === 0 ? 0 : Math.min(seq, this.#floor())
      // The last first: what a process asked for until it ended must not come after word of its end.
      proposal.done = session === 0 ? [] : [...this.#done].filter((each) => each !== seq).slice(-DONE_MAX)
      proposal.attempt = ++this.#lastAttempt
      proposal.attempts++
      this.#attempts.set(proposal.attempt, proposal)
      const timeoutMs = Math.min(ATTEMPT_TIMEOUT_MS, proposal.deadlineMs - nowMs)
      const done = proposal.done.length === 0 ? {} : { done: proposal.done }
      const envelope = { session, seq, floor, ...done, command }
      effects.push({ kind: 'attempt', attempt: proposal.attempt, envelope, timeoutMs })
    }
    return effects
  }

  #floor(): number {
    const first = this.#unanswered.keys().next()
    return first.done === true ? this.#nextSeq : first.value
  }

  #answered(attempt: number, answer: AttemptAnswer): ProposerEffect[] {
    const proposal = this.#attempts.get(attempt)
    this.#attempts.delete(attempt)
    // Settled meanwhile.
    if (proposal === undefined || proposal.attempt !== attempt) return []
    proposal.attempt = 0
    switch (answer.kind) {
      case 'outcome':
        return this.#outcome(proposal, answer.outcome)
      case 'invalid':
        return [this.#fail(proposal, 'invalid', answer.message)]
      case 'lost':
        proposal.lost++
        return [...this.#again(proposal), ...this.#dispatch()]
      case 'refused':
        return [...this.#again(proposal), ...this.#dispatch()]
    }
  }

  #outcome(proposal: Proposal, outcome: Outcome): ProposerEffect[] {
    const request = proposal.request as RequestId
    if (outcome.status === 'session-expired') {
      const over = { kind: 'session-over', session: request.session } as const
      return [over, ...this.#leave(proposal), ...this.#dispatch()]
    }
    // The machine has no room for more of this node; nothing happened, and room comes with the answers of others.
    if (outcome.status === 'overloaded' && outcome.what === 'requests of this node') return this.#again(proposal)
    if (request.session === this.#numbered) for (const seq of proposal.done) this.#done.delete(seq)
    if (outcome.status !== 'pending') return [this.#settle(proposal, outcome)]
    if (request.session !== this.#numbered) return [this.#fail(proposal, 'session-over')]
    proposal.isPending = true
    proposal.attempts = 0
    this.#unanswered.delete(request.seq)
    this.#pending.set(request.seq, proposal)
    proposal.notBeforeMs = this.#env.nowMs() + ASK_AGAIN_MS
    this.#wake(proposal, proposal.notBeforeMs)
    return []
  }

  #again(proposal: Proposal): ProposerEffect[] {
    const { request } = proposal
    if (request !== undefined && request.session !== 0 && request.session !== this.#numbered)
      return this.#leave(proposal)
    this.#waiting.add(proposal)
    const waitMs = proposal.isPending ? ASK_AGAIN_MS : backoffMs(BACKOFF, proposal.attempts, this.#env)
    proposal.notBeforeMs = this.#env.nowMs() + waitMs
    this.#wake(proposal, proposal.notBeforeMs)
    return []
  }

  /** The session that it was numbered in is over. What may have happened there must not happen again. */
  #leave(proposal: Proposal): ProposerEffect[] {
    if (proposal.lost > 0 || proposal.isPending) return [this.#fail(proposal, 'session-over')]
    const { request } = proposal
    if (this.#unanswered.get(request?.seq ?? 0) === proposal) this.#unanswered.delete(request?.seq ?? 0)
    proposal.request = undefined
    proposal.notBeforeMs = 0
    // Nothing more goes into a session that is over.
    if (request?.session === this.#session) this.#session = undefined
    this.#waiting.add(proposal)
    return []
  }

  #renumber(session: number): ProposerEffect[] {
    if (session === this.#numbered) return []
    this.#numbered = session
    this.#nextSeq = 1
    this.#unanswered.clear()
    this.#pending.clear()
    this.#done.clear()
    const effects: ProposerEffect[] = []
    for (const proposal of [...this.#proposals.values()]) {
      const { request, attempt } = proposal
      // What is under way may still be answered by the session that is over.
      if (request === undefined || request.session === 0 || attempt !== 0) continue
      effects.push(...this.#leave(proposal))
    }
    return effects
  }

  #settle(proposal: Proposal, outcome: Outcome): ProposerEffect {
    const request = proposal.request as RequestId
    // Only what was given up is below the floor: somebody else speaks under this session.
    if (outcome.status === 'stale-request') return this.#fail(proposal, 'invalid', 'the log forgot this request', true)
    // An earlier attempt may still arrive and find the room that this one did not.
    if (outcome.status === 'overloaded' && proposal.lost > 0) return this.#fail(proposal, 'overloaded', outcome.what)
    this.#forget(proposal)
    return { kind: 'settled', id: proposal.id, result: { ok: true, outcome, request } }
  }

  #fail(
    proposal: Proposal,
    reason: Extract<Settled, { ok: false }>['reason'],
    message?: string,
    isStale = false,
  ): Extract<ProposerEffect, { kind: 'settled' }> {
    const { request, isPending, lost, attempt } = proposal
    const isAmbiguous = isPending || lost > 0 || attempt !== 0 || isStale
    this.#forget(proposal)
    const isGivenUp = request !== undefined && request.session !== 0 && request.session === this.#numbered
    if (isAmbiguous && isGivenUp && reason !== 'session-over') this.#done.add(request.seq)
    const why = message === undefined ? {} : { message }
    return { kind: 'settled', id: proposal.id, result: { ok: false, reason, isAmbiguous, isPending, request, ...why } }
  }

  #forget(proposal: Proposal): void {
    const seq = proposal.request?.seq ?? 0
    this.#proposals.delete(proposal.id)
    this.#waiting.delete(proposal)
    this.#attempts.delete(proposal.attempt)
    proposal.attempt = 0
    if (this.#unanswered.get(seq) === proposal) this.#unanswered.delete(seq)
    if (this.#pending.get(seq) !== proposal) return
    this.#pending.delete(seq)
    this.#done.add(seq)
  }

  #wake(proposal: Proposal, atMs: number): void {
    if (Number.isFinite(atMs)) this.#timers.push(atMs, { proposal, atMs })
    if (this.#timers.count <= 4 * this.#proposals.size + 64) return
    const nowMs = this.#env.nowMs()
    this.#timers.prune(
      ({ proposal, atMs }) => atMs <= nowMs || (this.#proposals.get(proposal.id) === proposal && isDue(proposal, atMs)),
    )
  }
}

function isDue({ deadlineMs, notBeforeMs }: Proposal, atMs: number): boolean {
  return atMs === deadlineMs || atMs === notBeforeMs
}
