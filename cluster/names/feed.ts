// How nodes without a replica learn of consistent and strong names: the leader gossips each change, and a member feeds whoever asks it, from
// a snapshot on, with every change in order. cluster.md §6.6.

import { toBytes } from '../../runtime/base/bytes.ts'
import { MoonmeshError } from '../../runtime/base/errors.ts'
import { pack, UnpackError, unpack } from '../../runtime/base/msgpack.ts'
import { type Fabric, memberRole, type Run } from '../fabric.ts'
import type { Consensus } from '../raft/consensus.ts'
import { Fields } from '../state/core/fields.ts'
import type { StateEvent } from '../state/core/outcomes.ts'
import type { AsOf, BindingChange, CachedBinding } from './core/cache.ts'
import {
  bindingBytes,
  decodeBindingFrame,
  decodeFeed,
  encodeBindingFrame,
  encodeFeed,
  type FeedMessage,
  shortFormation,
} from './wire/bindings.ts'

const FEED = 'names.feed'
/** Changes that a member keeps for those who read them later than it. */
const KEPT_MAX = 8192
const CHUNK_BYTES = 32 * 1024
const HEARTBEAT_MS = 5000
/** A feed that is silent for longer is lost. */
const SILENT_MS = 15_000
const RETRY_MS = 500
const SUBSCRIBERS_MAX = 4096
/** A change that is longer is left to the feed. */
const GOSSIP_BYTES_MAX = 900

/** A change of a name in the log, in the words of the cache. */
export function changeOf(event: StateEvent & { kind: 'binding' }): BindingChange {
  const { name, pid, scope, revision } = event
  return { name: toBytes(name), pid: pid === undefined ? undefined : toBytes(pid), scope, revision }
}

/** All that is bound in the replica. */
export function allBindings({ machine }: Consensus): CachedBinding[] {
  return machine.names.names().map((name) => {
    const { pid, scope, revision } = machine.names.lookup(name) ?? { pid: '', scope: 'consistent', revision: 0 }
    return { name: toBytes(name), pid: toBytes(pid), scope, revision }
  })
}

export const asOf = ({ machine }: Consensus): AsOf => ({ index: machine.index, revision: machine.appliedRevision })

interface Subscriber {
  readonly run: Run
  /** The number of the next change; undefined: a snapshot is due. */
  next: number | undefined
  /** Of the snapshot that is being told. */
  rest: { bindings: CachedBinding[]; at: number; asOf: AsOf; next: number } | undefined
  lastSentMs: number
}

/** The member's part. */
export class FeedServer {
  readonly #fabric: Fabric
  readonly #consensus: Consensus
  readonly #subscribers = new Map<string, Subscriber>()
  #kept: BindingChange[] = []
  /** The number of the first change that is kept. */
  #first = 0
  readonly #undo: (() => void)[] = []
  #cancelTick: () => void

  constructor(fabric: Fabric, consensus: Consensus) {
    this.#fabric = fabric
    this.#consensus = consensus
    this.#undo.push(
      fabric.serve(FEED, (body, { peer: name, epoch }) => this.#subscribe({ name, epoch }, body)),
      fabric.onRoom((to, lane) => {
        const subscriber = lane === 'names' ? this.#subscribers.get(to) : undefined
        if (subscriber !== undefined) this.#send(subscriber)
      }),
      fabric.onLink(({ kind, node: { name } }) => {
        if (kind === 'down') this.#subscribers.delete(name)
      }),
    )
    this.#cancelTick = fabric.after(HEARTBEAT_MS / 5, () => this.#tick())
  }

  /** After an entry was applied. */
  applied(changes: readonly BindingChange[]): void {
    const { formation, raftRole } = this.#consensus.status()
    if (formation === undefined) return
    this.#kept.push(...changes)
    if (this.#kept.length > 2 * KEPT_MAX) {
      this.#first += this.#kept.length - KEPT_MAX
      this.#kept = this.#kept.slice(-KEPT_MAX)
    }
    if (raftRole === 'leader') for (const change of changes) this.#gossip(formation, change)
    for (const subscriber of this.#subscribers.values()) this.#send(subscriber)
  }

  /** The replica is another one: what was kept does not lead to it. */
  restored(): void {
    this.#first += this.#kept.length + 1
    this.#kept = []
    for (const subscriber of this.#subscribers.values()) {
      subscriber.next = undefined
      subscriber.rest = undefined
      this.#send(subscriber)
    }
  }

  close(): void {
    this.#cancelTick()
    for (const undo of this.#undo.splice(0)) undo()
    this.#subscribers.clear()
  }

  #gossip(formation: string, change: BindingChange): void {
    const frame = encodeBindingFrame(formation, change)
    if (frame.length <= GOSSIP_BYTES_MAX) this.#fabric.gossip('bindings', frame, change.name)
  }

  #subscribe(run: Run, body: Uint8Array): Uint8Array {
    const fields = new Fields(unpack(body))
    const { formation, role, failure } = this.#consensus.status()
    if (formation === undefined || role === 'none' || failure !== undefined) {
      throw new MoonmeshError('Unavailable', `${this.#fabric.name} has no replica`, { retryable: true })
    }
    if (!this.#subscribers.has(run.name) && this.#subscribers.size >= SUBSCRIBERS_MAX) {
      throw new MoonmeshError('Unavailable', `${this.#fabric.name} feeds ${SUBSCRIBERS_MAX} nodes`, { retryable: true })
    }
    fields.count('from')
    const subscriber: Subscriber = { run, next: undefined, rest: undefined, lastSentMs: this.#fabric.env.nowMs() }
    this.#subscribers.set(run.name, subscriber)
    // What is sent now must not overtake the answer.
    this.#fabric.after(0, () => this.#send(subscriber))
    return pack(true)
  }

  #tick(): void {
    this.#cancelTick = this.#fabric.after(HEARTBEAT_MS / 5, () => this.#tick())
    const { role, failure } = this.#consensus.status()
    // Silence makes them look for another member.
    if (role === 'none' || failure !== undefined) this.#subscribers.clear()
    const nowMs = this.#fabric.env.nowMs()
    for (const subscriber of this.#subscribers.values()) {
      if (nowMs - subscriber.lastSentMs < HEARTBEAT_MS) continue
      this.#send(subscriber)
      if (nowMs - subscriber.lastSentMs < HEARTBEAT_MS) continue
      this.#post(subscriber, { kind: 'heartbeat', isFirst: false, isLast: false, changes: [], asOf: this.#asOf() })
    }
  }

  #asOf(): AsOf {
    return asOf(this.#consensus)
  }

  #send(subscriber: Subscriber): void {
    if (this.#subscribers.get(subscriber.run.name) !== subscriber) return
    if (subscriber.next !== undefined && subscriber.next < this.#first) subscriber.next = undefined
    if (subscriber.next === undefined && !this.#sendSnapshot(subscriber)) return
    const end = this.#first + this.#kept.length
    while (subscriber.next !== undefined && subscriber.next < end) {
      const changes = chunk(this.#kept, subscriber.next - this.#first)
      // Only the last one is as far as the replica is.
      const isAll = subscriber.next + changes.length === end
      const reached = isAll ? this.#asOf() : { index: 0, revision: 0 }
      if (!this.#post(subscriber, { kind: 'changes', isFirst: false, isLast: isAll, changes, asOf: reached })) return
      subscriber.next += changes.length
    }
  }

  /** @returns whether it is told to its end */
  #sendSnapshot(subscriber: Subscriber): boolean {
    const next = this.#first + this.#kept.length
    subscriber.rest ??= { bindings: allBindings(this.#consensus), at: 0, asOf: this.#asOf(), next }
    const { rest } = subscriber
    do {
      const changes = chunk(rest.bindings, rest.at)
      const isLast = rest.at + changes.length >= rest.bindings.length
      const message = { kind: 'snapshot', isFirst: rest.at === 0, isLast, changes, asOf: rest.asOf } as const
      if (!this.#post(subscriber, message)) return false
      rest.at += changes.length
    } while (rest.at < rest.bindings.length)
    subscriber.next = rest.next
    subscriber.rest = undefined
    return true
  }

  #post(subscriber: Subscriber, message: Omit<FeedMessage, 'formation'>): boolean {
    const { formation = '' } = this.#consensus.status()
    const refusal = this.#fabric.send(subscriber.run, 'names', encodeFeed({ formation, ...message }))
    if (refusal === undefined) subscriber.lastSentMs = this.#fabric.env.nowMs()
    return refusal === undefined
  }
}

/** From `at` on, what one message takes; at least one. */
function chunk<T extends BindingChange>(changes: readonly T[], at: number): T[] {
  const out: T[] = []
  let bytes = 0
  for (let i = at; i < changes.length; i++) {
    const change = changes[i] as T
    bytes += bindingBytes(change)
    if (bytes > CHUNK_BYTES && out.length > 0) break
    out.push(change)
  }
  return out
}

interface FeedListener {
  /** Of another formation than an earlier one: nothing of that one counts any more. */
  formation(formation: string): void
  changes(changes: readonly BindingChange[]): void
  snapshot(bindings: readonly CachedBinding[], asOf: AsOf): void
  heard(asOf: AsOf): void
}

/** The part of a node without a replica: it holds one feed, and takes what gossip tells. */
export class FeedClient {
  readonly #fabric: Fabric
  readonly #listener: FeedListener
  readonly #undo: (() => void)[] = []
  #cancelTick: () => void
  #isWanted = false
  #source: Run | undefined
  #isAsking = false
  #heardAtMs = 0
  #formation: string | undefined
  #snapshot: CachedBinding[] | undefined
  malformed = 0

  constructor(fabric: Fabric, listener: FeedListener) {
    this.#fabric = fabric
    this.#listener = listener
    this.#undo.push(
      fabric.onMessage('names', (from, bytes) => this.#fed(from, bytes)),
      fabric.onGossip('bindings', (payload) => this.#gossiped(payload)),
      fabric.onLink(({ kind, node }) => {
        if (kind === 'down' && node.name === this.#source?.name) this.#source = undefined
        this.#ask()
      }),
    )
    this.#cancelTick = fabric.after(RETRY_MS, () => this.#tick())
  }

  /** Whether a feed is wanted: this node has no replica. */
  want(isWanted: boolean): void {
    if (isWanted === this.#isWanted) return
    this.#isWanted = isWanted
    this.#source = undefined
    this.#ask()
  }

  /** Of the group that this node belongs to, where a replica says so. */
  knowFormation(formation: string): void {
    if (formation === this.#formation) return
    const before = this.#formation
    this.#formation = formation
    // What is known before any feed was answered to this node itself, or agreed to by it: a feed that is behind does not take it back.
    if (before !== undefined) this.#listener.formation(formation)
  }

  close(): void {
    this.#cancelTick()
    for (const undo of this.#undo.splice(0)) undo()
  }

  #tick(): void {
    this.#cancelTick = this.#fabric.after(RETRY_MS, () => this.#tick())
    const source = this.#source
    const roles = new Map(this.#fabric.live().map((node) => [node.name, memberRole(this.#fabric, node)]))
    const isOver = source !== undefined && roles.get(source.name) === undefined
    if (isOver || this.#fabric.env.nowMs() - this.#heardAtMs > SILENT_MS) this.#source = undefined
    this.#ask()
  }

  #ask(): void {
    if (!this.#isWanted || this.#source !== undefined || this.#isAsking) return
    const members = this.#fabric
      .live()
      .filter((node) => memberRole(this.#fabric, node) !== undefined && this.#fabric.isLinked(node))
    const to = members[this.#fabric.env.randomInt(Math.max(1, members.length))]
    if (to === undefined) return
    this.#isAsking = true
    this.#source = to
    this.#heardAtMs = this.#fabric.env.nowMs()
    const body = pack({ formation: this.#formation ?? '', from: 0 })
    this.#fabric.request(to, FEED, body, { deadlineMs: SILENT_MS / 3 }).then(
      () => {
        this.#isAsking = false
      },
      () => {
        this.#isAsking = false
        if (this.#source === to) this.#source = undefined
      },
    )
  }

  #gossiped(payload: Uint8Array): void {
    const read = this.#read(() => decodeBindingFrame(payload))
    if (read === undefined) return
    // A formation that no member has confirmed says nothing.
    if (this.#formation === undefined || read.formation !== shortFormation(this.#formation)) return
    this.#listener.changes([read.change])
  }

  #fed(from: Run, bytes: Uint8Array): void {
    if (from.name !== this.#source?.name || from.epoch !== this.#source.epoch) return
    const message = this.#read(() => decodeFeed(bytes))
    if (message === undefined) return
    this.#heardAtMs = this.#fabric.env.nowMs()
    this.knowFormation(message.formation)
    const { kind, changes, asOf: reached, isFirst, isLast } = message
    if (kind === 'heartbeat') return this.#listener.heard(reached)
    if (kind === 'changes') {
      this.#listener.changes(changes)
      if (isLast) this.#listener.heard(reached)
      return
    }
    if (isFirst) this.#snapshot = []
    for (const change of changes) if (change.pid !== undefined) this.#snapshot?.push(change as CachedBinding)
    if (!isLast || this.#snapshot === undefined) return
    const bindings = this.#snapshot
    this.#snapshot = undefined
    this.#listener.snapshot(bindings, reached)
  }

  #read<T>(decode: () => T): T | undefined {
    try {
      return decode()
    } catch (error) {
      if (!(error instanceof UnpackError)) throw error
      this.malformed++
      return undefined
    }
  }
}
