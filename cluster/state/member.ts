// What a server does for the others: as the leader it takes proposals and renewals, ends sessions and tells nodes what became of theirs;
// as any member it answers reads. cluster.md §5.7, §5.10, §5.11.

import { MoonmeshError, messageOf } from '../../runtime/base/errors.ts'
import type { Packed } from '../../runtime/base/msgpack.ts'
import { parsePid } from '../../runtime/base/pid.ts'
import type { Fabric } from '../fabric.ts'
import type { Consensus } from '../raft/consensus.ts'
import { nameOf } from '../raft/core/server.ts'
import type { Envelope } from './core/commands.ts'
import type { Machine } from './core/machine.ts'
import { type Outcome, type StateEvent, toldAt } from './core/outcomes.ts'
import { Verdict, type VerdictInput } from './core/verdict.ts'
import { type LeaderClient, notLeader, readAs } from './leader.ts'
import { Waker } from './waker.ts'
import { decodeEnvelope, encodeEnvelope } from './wire/commands.ts'
import { decodeRead, encodeEvent, encodeOutcome, type PushedEvent } from './wire/requests.ts'

export const METHOD_PROPOSE = 'raft.propose'
export const METHOD_RENEW = 'session.renew'
export const METHOD_READ = 'state.read'
export const METHOD_EVENT = 'state.event'

/** For a majority to say that it follows. */
const CONFIRM_MS = 1000

/** What a renewal is answered with; after RENEWED for how long, milliseconds in four bytes. */
const RENEWED = 0
export const OVER = 1

/** Of sessions: what a leader grants with a renewal, and how long it waits, which covers what any leader before may have granted. */
export interface SessionTtl {
  grantMs(): number
  waitMs(): number
}

/** Evaluates a query on a replica. Bytes of the answer are one msgpack value. @throws MoonmeshError */
export type Query = (machine: Machine, args: Packed) => Uint8Array

interface MemberOptions {
  readonly fabric: Fabric
  readonly consensus: Consensus
  readonly leader: LeaderClient
  readonly ttl: SessionTtl
  readonly queries: ReadonlyMap<string, Query>
}

/** A command that ends sessions, on its way. */
interface Ending {
  readonly up: { readonly node: string; readonly epoch: number } | undefined
  readonly sessions: number[]
}

export class Member {
  readonly #fabric: Fabric
  readonly #consensus: Consensus
  readonly #verdict: Verdict
  readonly #ttl: SessionTtl
  readonly #waker: Waker
  readonly #queries: ReadonlyMap<string, Query>
  readonly #closers: (() => void)[] = []
  /** Runs of nodes that are to get their session. */
  readonly #rising = new Set<Ending>()
  /** That the verdict was last begun in, or ended. */
  #term = 0
  readonly downs = { dead: 0, silent: 0 }

  constructor({ fabric, consensus, leader, ttl, queries }: MemberOptions) {
    this.#ttl = ttl
    this.#fabric = fabric
    this.#consensus = consensus
    this.#queries = queries
    this.#verdict = new Verdict(() => ttl.waitMs(), fabric.env)
    this.#waker = new Waker(
      () => fabric.env.nowMs(),
      (delayMs, run) => fabric.after(delayMs, run),
      () => this.#judge({ kind: 'tick' }),
    )
    leader.serve(METHOD_PROPOSE, (body, from) => this.#propose(body, from))
    leader.serve(METHOD_RENEW, (body) => this.#renew(body))
    this.#closers.push(
      fabric.serve(METHOD_READ, (bytes, { deadlineMs }) => this.#read(bytes, deadlineMs - fabric.env.nowMs())),
      consensus.onApplied((_index, events) => this.#applied(events)),
      consensus.onRestored(() => this.#lead()),
      consensus.onStatus(() => this.#lead()),
    )
    this.#lead()
  }

  close(): void {
    for (const close of this.#closers.splice(0)) close()
    this.#waker.close()
  }

  /** Whether a local read says anything: this server is of the group and has state. */
  get hasReplica(): boolean {
    const { role, failure } = this.#consensus.status()
    return role !== 'none' && failure === undefined && this.#consensus.machine.index > 0
  }

  // ── Proposals ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  async #propose(body: Packed, from: { readonly name: string; readonly isRelay: boolean }): Promise<Uint8Array> {
    if (!(body instanceof Uint8Array)) throw new MoonmeshError('Invalid', 'a command is bytes', { retryable: false })
    const envelope = readAs(decodeEnvelope, body)
    const owner = this.#consensus.machine.sessions.get(envelope.session)?.node
    // Who relays has seen to it already.
    if (!from.isRelay && owner !== undefined && owner !== from.name) {
      throw new MoonmeshError('Invalid', `session ${envelope.session} is of ${owner}, not of ${from.name}`)
    }
    const outcome = await this.#append(envelope, body)
    // Its replica should have what it is told has happened.
    if (from.name !== this.#fabric.name) this.#consensus.tellCommit(from.name)
    return encodeOutcome(toldAt(this.#consensus.machine.clockMs, outcome))
  }

  async #append(envelope: Envelope, bytes: Uint8Array): Promise<Outcome> {
    const { command } = envelope
    const ending: Ending = { up: command.kind === 'node-up' ? command : undefined, sessions: [] }
    const doomed = this.#doomedBy(envelope)
    if (doomed !== undefined) this.#condemn(ending, doomed)
    if (ending.up !== undefined) this.#rising.add(ending)
    const spare = (): void => {
      for (const session of ending.sessions) this.#judge({ kind: 'spared', session })
    }
    try {
      const outcome = await this.#consensus.propose(bytes)
      spare()
      return outcome
    } catch (error) {
      if (!(error instanceof MoonmeshError)) throw error
      // While the outcome is open the session stays condemned; whoever leads next counts anew.
      if (error.kind !== 'LeadershipLost') spare()
      if (error.kind !== 'NotLeader') throw error
      const hint = error.details?.['hint']
      throw notLeader(typeof hint === 'string' ? nameOf(hint) : undefined)
    } finally {
      this.#rising.delete(ending)
    }
  }

  /** From here on it may be over at any moment: a renewal must not be acknowledged any more. */
  #condemn(ending: Ending, session: number): void {
    ending.sessions.push(session)
    this.#judge({ kind: 'condemned', session })
  }

  /** A session of a run while a later run of its node is on its way into the log. */
  #outrun({ node, epoch, session }: { node: string; epoch: number; session: number }): void {
    for (const ending of this.#rising) {
      if (ending.up?.node === node && ending.up.epoch > epoch) this.#condemn(ending, session)
    }
  }

  /** The session that this command would end. */
  #doomedBy({ command }: Envelope): number | undefined {
    if (command.kind === 'node-down') return command.session
    if (command.kind !== 'node-up') return undefined
    const open = this.#consensus.machine.sessions.ofNode(command.node)
    return open === undefined || open.epoch === command.epoch ? undefined : open.session
  }

  // ── Sessions ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  async #renew(body: Packed): Promise<Uint8Array> {
    if (typeof body !== 'number') throw new MoonmeshError('Invalid', 'a session is a number', { retryable: false })
    this.#lead()
    if (!this.#consensus.holdsQuorum()) {
      await this.#confirm()
      this.#lead()
    }
    const verdict = this.#verdict.renew(body)
    if (verdict === 'ok') return renewedFor(this.#ttl.grantMs())
    const isOver = verdict === 'over' && this.#consensus.machine.sessions.get(body) === undefined
    if (isOver) return Uint8Array.of(OVER)
    throw new MoonmeshError('Transferring', `session ${body} may be about to end`, { retryable: true })
  }

  /**
   * After a transfer that came to nothing the successor may still stand for election, whatever contact there was: what the leader was told
   * before says nothing then. That a majority follows it now, asked after the renewal came, does: who is elected later waits from then on.
   * @throws MoonmeshError `NotLeader`
   */
  async #confirm(): Promise<void> {
    const { role, isReady, term } = this.#consensus.status()
    if (role !== 'leader' || !isReady) throw notLeader(undefined)
    await this.#consensus.barrier(CONFIRM_MS).catch(() => {
      throw notLeader(undefined)
    })
    const now = this.#consensus.status()
    if (now.role !== 'leader' || now.term !== term) throw notLeader(undefined)
  }

  /** Role or state may have changed. */
  #lead(): void {
    const { role, isReady, term } = this.#consensus.status()
    const isLeading = role === 'leader' && isReady
    if (isLeading === this.#verdict.isLeading && (!isLeading || term === this.#term)) return
    this.#term = term
    if (!isLeading) return this.#judge({ kind: 'following' })
    this.#judge({ kind: 'leading', sessions: this.#consensus.machine.sessions.sessions() })
  }

  #judge(input: VerdictInput): void {
    if (input.kind === 'tick') this.#verdict.step({ kind: 'live', epochs: this.#liveEpochs() })
    for (const { node, session, reason } of this.#verdict.step(input)) {
      this.#fabric.log('warn', 'session_node_down', { peer: node, session, reason })
      this.downs[reason]++
      const command = { kind: 'node-down', node, session, reason } as const
      const envelope = { session: 0, seq: 0, floor: 0, command }
      // What it could not do now the next tick asks for again.
      void this.#append(envelope, encodeEnvelope(envelope)).catch((error: unknown) =>
        this.#fabric.log('info', 'session_node_down_refused', { peer: node, session, reason: messageOf(error) }),
      )
    }
    this.#waker.set(this.#verdict.wakeAtMs)
  }

  #liveEpochs(): Map<string, number> {
    const epochs = new Map(this.#fabric.live().map(({ name, epoch }) => [name, epoch]))
    return epochs.set(this.#fabric.name, this.#fabric.epoch)
  }

  #applied(events: readonly StateEvent[]): void {
    this.#lead()
    for (const event of events) {
      if (event.kind === 'session-opened') {
        this.#judge({ kind: 'opened', session: event })
        this.#outrun(event)
      } else if (event.kind === 'session-ended') this.#judge({ kind: 'ended', session: event.session })
    }
    if (!this.#verdict.isLeading) return
    for (const event of events) this.#push(event)
  }

  /** Tells a node what is its own. A lost one is repaired by asking; one that comes twice is harmless. */
  #push(event: StateEvent): void {
    const node = this.#nodeOf(event)
    if (node === undefined || node === this.#fabric.name) return
    this.#fabric.notify({ name: node, epoch: 0 }, METHOD_EVENT, encodeEvent(event as PushedEvent))
    this.#consensus.tellCommit(node)
  }

  #nodeOf(event: StateEvent): string | undefined {
    switch (event.kind) {
      case 'answer':
        return this.#consensus.machine.sessions.get(event.request.session)?.node
      case 'lock-granted':
      case 'lock-released':
        return parsePid(event.pid)?.node
      case 'session-ended':
        return event.node
      default:
        return undefined
    }
  }

  // ── Reads ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

  async #read(bytes: Uint8Array, remainingMs: number): Promise<Uint8Array> {
    const { query, stale, args } = readAs(decodeRead, bytes)
    return this.read(query, args, { stale, deadlineMs: remainingMs })
  }

  /** @throws MoonmeshError `Unavailable` when there is no replica here, `Timeout`, or what the query threw */
  async read(query: string, args: Packed, options: { stale: boolean; deadlineMs: number }): Promise<Uint8Array> {
    const evaluate = this.#queries.get(query)
    if (evaluate === undefined) throw new MoonmeshError('NotFound', `${this.#fabric.name} knows no query ${query}`)
    if (!this.hasReplica) throw new MoonmeshError('Unavailable', 'no replica here', { retryable: true })
    if (!options.stale) await this.#consensus.barrier(options.deadlineMs)
    return evaluate(this.#consensus.machine, args)
  }
}

function renewedFor(ttlMs: number): Uint8Array {
  const answer = new Uint8Array(5)
  answer[0] = RENEWED
  new DataView(answer.buffer).setUint32(1, ttlMs)
  return answer
}

/** Undefined: the leader does not say. */
export function ttlIn(answer: Uint8Array): number | undefined {
  return answer.length < 5 ? undefined : new DataView(answer.buffer, answer.byteOffset).getUint32(1)
}
