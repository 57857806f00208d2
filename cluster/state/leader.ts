// Requests to whoever leads: here, over a link, or through one member. What became of each is told; trying again is the caller's.
// cluster.md §5.11.

import { MoonmeshError, messageOf } from '../../runtime/base/errors.ts'
import type { Packed } from '../../runtime/base/msgpack.ts'
import { type Fabric, memberRole, type Run } from '../fabric.ts'
import type { Consensus } from '../raft/consensus.ts'
import { membersOf } from '../raft/core/membership.ts'
import { nameOf } from '../raft/core/server.ts'
import { type LeaderEffect, LeaderFinder, type LeaderInput } from './core/leader.ts'
import { Waker } from './waker.ts'
import { decodeForLeader, decodeLeader, encodeForLeader, encodeLeader } from './wire/requests.ts'

type LeaderAnswer =
  | { readonly kind: 'answer'; readonly bytes: Uint8Array }
  /** It was not taken, and will not be. */
  | { readonly kind: 'refused' }
  | { readonly kind: 'invalid'; readonly message: string }
  /** It may have been taken. */
  | { readonly kind: 'lost' }

/** What the leader does with a request. @throws MoonmeshError of the kinds of `ProposalFailure` */
type LeaderHandler = (
  body: Packed,
  from: { readonly name: string; readonly isRelay: boolean },
) => Promise<Uint8Array> | Uint8Array

const METHOD_LEADER = 'raft.leader'
/** Who answers with one of these has not taken the request, and who leads may still be right. */
const BUSY = new Set(['Transferring', 'Overloaded', 'RateLimited'])
/** Time to come back in, of the deadline of what is passed on. */
const RELAY_MARGIN_MS = 50

export class LeaderClient {
  readonly #fabric: Fabric
  readonly #consensus: Consensus | undefined
  readonly #finder: LeaderFinder
  readonly #waker: Waker
  readonly #local = new Map<string, LeaderHandler>()
  readonly #closers: (() => void)[] = []
  readonly #onKnown: () => void

  /** @param onKnown there is somebody to try */
  constructor(fabric: Fabric, consensus: Consensus | undefined, onKnown: () => void) {
    this.#fabric = fabric
    this.#consensus = consensus
    this.#onKnown = onKnown
    this.#finder = new LeaderFinder(fabric.name, fabric.env)
    this.#waker = new Waker(
      () => fabric.env.nowMs(),
      (delayMs, run) => fabric.after(delayMs, run),
      () => this.#feed({ kind: 'tick' }),
    )
    this.#closers.push(
      fabric.onLink(() => this.#topologyChanged()),
      fabric.onLive(() => this.#topologyChanged()),
    )
    if (consensus !== undefined) {
      this.#closers.push(
        consensus.onStatus(() => this.#ownChanged(consensus)),
        fabric.serve(METHOD_LEADER, () => {
          const { leader, term } = consensus.status()
          return encodeLeader(leader === undefined ? undefined : nameOf(leader), term)
        }),
      )
    }
  }

  /** After construction, when listeners may be called. */
  start(): void {
    this.#topologyChanged()
    if (this.#consensus !== undefined) this.#ownChanged(this.#consensus)
  }

  /** As far as it is known here. */
  get leader(): string | undefined {
    return this.#finder.leader
  }

  /** Servers of the group that this node is linked with, by name. */
  get members(): readonly string[] {
    const configured = this.#configured()
    const roles = new Map(this.#fabric.live().map((node) => [node.name, memberRole(this.#fabric, node)]))
    return this.#fabric
      .linked()
      .map(({ name }) => name)
      .filter((name) => configured.has(name) || roles.get(name) !== undefined)
  }

  /** Somebody waits for a leader: looks for one. */
  want(): void {
    this.#feed({ kind: 'wanted' })
  }

  /** Answers requests of this method while this node leads, its own included, and passes on those of others. */
  serve(method: string, handler: LeaderHandler): void {
    this.#local.set(method, handler)
    const serve = this.#fabric.serve(method, async (bytes, { peer, deadlineMs, signal }) => {
      const { hops, relay, body } = readAs(decodeForLeader, bytes)
      const leader = this.#ownLeader()
      if (leader === this.#fabric.name) return handler(body, { name: peer, isRelay: hops > 0 })
      const isLinked = leader !== undefined && this.#fabric.linked().some(({ name }) => name === leader)
      if (!relay || hops > 0 || !isLinked) throw notLeader(leader)
      const remainingMs = deadlineMs - this.#fabric.env.nowMs() - RELAY_MARGIN_MS
      if (remainingMs <= 0) throw notLeader(leader)
      return this.#fabric.request(anyRun(leader), method, encodeForLeader({ hops: 1, relay: false, body }), {
        deadlineMs: remainingMs,
        signal,
      })
    })
    this.#closers.push(serve)
  }

  /** One attempt. Never throws. */
  async ask(method: string, body: Packed, timeoutMs: number): Promise<LeaderAnswer> {
    const route = this.#finder.route()
    if (route === undefined) {
      this.want()
      return { kind: 'refused' }
    }
    const { to, leader, relay } = route
    try {
      const local = to === this.#fabric.name ? this.#local.get(method) : undefined
      if (local === undefined && to === this.#fabric.name) throw notLeader(undefined)
      const bytes =
        local === undefined
          ? await this.#fabric.request(anyRun(to), method, encodeForLeader({ hops: 0, relay, body }), {
              deadlineMs: timeoutMs,
            })
          : await local(body, { name: to, isRelay: false })
      this.#feed({ kind: 'served', name: leader })
      return { kind: 'answer', bytes }
    } catch (error) {
      return this.#failed(leader, error)
    }
  }

  close(): void {
    for (const close of this.#closers.splice(0)) close()
    this.#waker.close()
  }

  #failed(leader: string, error: unknown): LeaderAnswer {
    const kind = error instanceof MoonmeshError ? error.kind : 'Internal'
    if (BUSY.has(kind)) return { kind: 'refused' }
    if (kind === 'Invalid') return { kind: 'invalid', message: messageOf(error) }
    const hint = error instanceof MoonmeshError ? error.details?.['leader'] : undefined
    this.#feed({ kind: 'refuted', name: leader, hint: typeof hint === 'string' ? hint : undefined })
    this.want()
    // No such node, or none that serves this: nothing was taken.
    return { kind: kind === 'NotLeader' || kind === 'NotFound' ? 'refused' : 'lost' }
  }

  #feed(input: LeaderInput): void {
    const effects = this.#finder.step(input)
    this.#waker.set(this.#finder.wakeAtMs)
    for (const effect of effects) this.#perform(effect)
  }

  #perform(effect: LeaderEffect): void {
    if (effect.kind === 'known') return this.#onKnown()
    const { ask, to, timeoutMs } = effect
    void this.#fabric.request(anyRun(to), METHOD_LEADER, NIL, { deadlineMs: timeoutMs }).then(
      (bytes) => {
        try {
          this.#feed({ kind: 'told', ask, ...decodeLeader(bytes) })
        } catch {
          this.#feed({ kind: 'told', ask, leader: undefined, term: 0 })
        }
      },
      () => this.#feed({ kind: 'told', ask, leader: undefined, term: 0 }),
    )
  }

  #ownLeader(): string | undefined {
    const leader = this.#consensus?.status().leader
    return leader === undefined ? undefined : nameOf(leader)
  }

  #ownChanged(consensus: Consensus): void {
    const { role, leader, term } = consensus.status()
    // Who is in no group knows no leader, whatever it knew once.
    const known = role === 'none' || leader === undefined ? undefined : nameOf(leader)
    this.#feed({ kind: 'own', leader: known, term })
    this.#topologyChanged()
  }

  #topologyChanged(): void {
    const linked = new Set(this.#fabric.linked().map(({ name }) => name))
    this.#feed({ kind: 'topology', members: this.members, linked })
  }

  #configured(): ReadonlySet<string> {
    const configuration = this.#consensus?.status().configuration.configuration
    return new Set(configuration === undefined ? [] : membersOf(configuration).map(nameOf))
  }
}

/** What a node says that cannot be read is refused as invalid. @throws MoonmeshError `Invalid` */
export function readAs<T>(decode: (bytes: Uint8Array) => T, bytes: Uint8Array): T {
  try {
    return decode(bytes)
  } catch (error) {
    throw new MoonmeshError('Invalid', `a request that cannot be read: ${messageOf(error)}`, { retryable: false })
  }
}

const NIL = Uint8Array.of(0xc0)

const anyRun = (name: string): Run => ({ name, epoch: 0 })

export function notLeader(leader: string | undefined): MoonmeshError {
  const details = leader === undefined ? {} : { details: { leader } }
  return new MoonmeshError('NotLeader', `this node does not lead${leader === undefined ? '' : `, ${leader} may`}`, {
    retryable: true,
    ...details,
  })
}
