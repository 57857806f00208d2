// What the services of the cluster stand on: other nodes that come and go, messages and requests to them, and gossip. The real one
// is made of this node's gossip and mesh; the simulator has its own. cluster.md §3, §4.

import type { Env } from '../runtime/base/env.ts'
import type { PayloadClass } from './mesh/core/classes.ts'
import type { SendRefusal } from './mesh/core/mesh.ts'
import type { Mesh, MeshMessage, RequestHandler, RequestOptions } from './mesh/mesh.ts'
import type { MemberEvent } from './swim/core/events.ts'
import { isLive, type Member } from './swim/core/members.ts'
import type { Gossip } from './swim/driver.ts'
import type { Timers } from './timers.ts'

/** Another node in one run of its process. */
export interface Run {
  readonly name: string
  readonly epoch: number
}

/** A node that gossip calls alive or suspect. */
export interface LiveNode extends Run {
  readonly tags: ReadonlyMap<string, string>
}

export interface LiveEvent {
  /** Strictly alternating joined and left for each name, with updates in between. */
  readonly kind: 'joined' | 'left' | 'updated'
  readonly node: LiveNode
  /** Of `left`. */
  readonly reason?: MemberEvent['reason']
}

/** Kinds of gossip frames. cluster.md §3. */
const GOSSIP_KIND = { bindings: 0xc1, crdt: 0xd2, eventualNames: 0xe1 } as const
export type GossipTopic = keyof typeof GOSSIP_KIND

/** What shares a channel class says so in its first byte. */
const LANES = {
  raft: { class: 'raft', mark: undefined },
  rlog: { class: 'rlog', mark: undefined },
  pg: { class: 'pg', mark: undefined },
  snapshot: { class: 'bulk', mark: 1 },
  crdt: { class: 'bulk', mark: 2 },
  names: { class: 'bulk', mark: 3 },
} as const satisfies Record<string, { class: PayloadClass; mark: number | undefined }>

/** Streams of messages without answers. Within one lane and session: in order, no gaps, at most once. */
export type Lane = keyof typeof LANES

export type LaneHandler = (from: Run, bytes: Uint8Array) => void | Promise<void>

export interface Fabric {
  readonly name: string
  /** Of this run; may rise once, before anybody was reached. */
  readonly epoch: number
  readonly env: Env
  /** The group that this node is of, or holds to: the first 16 hex digits. Absent before it met one. */
  formation?: string | undefined
  /** Calls once, never early. @returns cancels it */
  after(delayMs: number, run: () => void): () => void

  /** Alive and suspect nodes of this cluster, without this one, by name (bytewise). */
  live(): readonly LiveNode[]
  /** @returns takes it back */
  onLive(listener: (event: LiveEvent) => void): () => void
  /** Nodes with a session of the mesh, by name (bytewise): what is sent to them arrives, or they go down. */
  linked(): readonly Run[]
  isLinked(node: Run): boolean
  /** Strictly alternating for each node. After `down` nothing of that session is heard. @returns takes it back */
  onLink(listener: (event: { readonly kind: 'up' | 'down'; readonly node: Run }) => void): () => void

  /**
   * Asks a node and waits for its answer; `body` and answer are one msgpack value each.
   * @param to its `epoch` 0: whichever run
   * @throws MoonmeshError `NotFound` (no such node or method), `Unavailable` (node down, or overloaded), `Timeout`, `Canceled`, `Invalid`
   *   (too large), `Internal`, or what the handler threw
   */
  request(to: Run, method: string, body: Uint8Array, options?: Omit<RequestOptions, 'epoch'>): Promise<Uint8Array>
  /** Answers requests. A MoonmeshError that it throws reaches the caller as it is. @returns takes it back */
  serve(method: string, handler: RequestHandler): () => void
  /** Tells a node something that needs no answer, in order with requests. @returns why it was not taken */
  notify(to: Run, method: string, body: Uint8Array): SendRefusal | undefined
  /** One handler a method. @returns takes it back */
  onNotify(method: string, handler: (from: Run, body: Uint8Array) => void): () => void

  /** Queues a message; nobody may change `bytes` afterwards. @returns why it was not taken; `would_block`: `onRoom` tells when to try again */
  send(to: Run, lane: Lane, bytes: Uint8Array, options?: { readonly replaces?: string }): SendRefusal | undefined
  /** One handler a lane; the promise of a snapshot, crdt, names or rlog message says when it is consumed: until then the sender gets no more room. */
  onMessage(lane: Lane, handler: LaneHandler): () => void
  /** A lane that refused has room. @returns takes it back */
  onRoom(listener: (to: string, lane: Lane) => void): () => void

  /** Spreads a frame of at most some 900 bytes to all members. @param key a later frame with the same key takes this one's place */
  gossip(topic: GossipTopic, payload: Uint8Array, key: string): void
  /** Frames that others spread, or told in an exchange of full states; `from` is known in exchanges only. One handler a topic. */
  onGossip(topic: GossipTopic, handler: (payload: Uint8Array, from: string | undefined) => void): () => void
  /** What to tell in each exchange of full states (push/pull). One maker a topic. */
  onExchange(topic: GossipTopic, make: () => readonly Uint8Array[]): () => void
  /** What gossip tells of this node under a short key; undefined: nothing. @throws MoonmeshError `Invalid` when all are too long together */
  setTag(key: string, value: string | undefined): void

  /**
   * A change that spread by gossip or an exchange was taken over here, for the metric of how long that takes.
   * @param ageMs own hybrid clock − stamp of the change, milliseconds; a clock that is behind makes it 0. Absent where nobody counts
   */
  converged?(ageMs: number): void

  log(level: 'info' | 'warn' | 'error', event: string, fields: Record<string, string | number>): void
}

/** What a live node is in the group that this one is of, or holds to; undefined for all others. */
export function memberRole({ formation }: Fabric, { tags }: LiveNode): 'voter' | 'standby' | undefined {
  const role = tags.get('raft_role')
  if (role !== 'voter' && role !== 'standby') return undefined
  const theirs = tags.get('formation')
  return formation === undefined || theirs === undefined || theirs === formation ? role : undefined
}

interface FabricParts {
  readonly name: string
  readonly env: Env
  readonly timers: Timers
  readonly gossip: Gossip
  readonly mesh: Mesh
  epoch(): number
  setTag(key: string, value: string | undefined): void
  converged(ageMs: number): void
  log: Fabric['log']
}

/** The fabric of a running node. */
export class NodeFabric implements Fabric {
  formation: string | undefined
  readonly name: string
  readonly env: Env
  readonly log: Fabric['log']
  readonly setTag: Fabric['setTag']
  readonly converged: (ageMs: number) => void
  readonly #parts: FabricParts
  readonly #up = new Map<string, Run>()
  readonly #liveListeners = new Set<(event: LiveEvent) => void>()
  readonly #linkListeners = new Set<(event: { kind: 'up' | 'down'; node: Run }) => void>()
  readonly #roomListeners = new Set<(to: string, lane: Lane) => void>()
  readonly #bulk = new Map<number, LaneHandler>()
  readonly #gossipHandlers = new Map<number, (payload: Uint8Array, from: string | undefined) => void>()
  readonly #exchanges = new Map<number, () => readonly Uint8Array[]>()

  constructor(parts: FabricParts) {
    this.#parts = parts
    this.name = parts.name
    this.env = parts.env
    this.log = parts.log
    this.setTag = parts.setTag
    this.converged = parts.converged
    const { mesh } = parts
    mesh.on('node-up', ({ peer: name, epoch }) => {
      const node = { name, epoch }
      this.#up.set(name, node)
      for (const listener of this.#linkListeners) listener({ kind: 'up', node })
    })
    mesh.on('node-down', ({ peer: name, epoch }) => {
      const node = this.#up.get(name)
      if (node?.epoch !== epoch) return
      this.#up.delete(name)
      for (const listener of this.#linkListeners) listener({ kind: 'down', node })
    })
    mesh.on('room', ({ peer, class: channelClass }) => {
      for (const lane of LANE_NAMES) {
        if (LANES[lane].class === channelClass) for (const listener of this.#roomListeners) listener(peer, lane)
      }
    })
    mesh.onMessage('bulk', (message) => {
      const handler = this.#bulk.get(message.bytes[0] ?? 0)
      return handler?.(runOf(message), message.bytes.subarray(1))
    })
  }

  get epoch(): number {
    return this.#parts.epoch()
  }

  after(delayMs: number, run: () => void): () => void {
    return this.#parts.timers.after(delayMs, run)
  }

  live(): readonly LiveNode[] {
    const nodes: LiveNode[] = []
    for (const member of this.#parts.gossip.members()) {
      const node = liveNodeOf(member)
      if (node !== undefined && node.name !== this.name) nodes.push(node)
    }
    return nodes.sort(byName)
  }

  onLive(listener: (event: LiveEvent) => void): () => void {
    return added(this.#liveListeners, listener)
  }

  linked(): readonly Run[] {
    return [...this.#up.values()].sort(byName)
  }

  isLinked({ name, epoch }: Run): boolean {
    return this.#up.get(name)?.epoch === epoch
  }

  onLink(listener: (event: { readonly kind: 'up' | 'down'; readonly node: Run }) => void): () => void {
    return added(this.#linkListeners, listener)
  }

  request(to: Run, method: string, body: Uint8Array, options: Omit<RequestOptions, 'epoch'> = {}): Promise<Uint8Array> {
    return this.#parts.mesh.request(to.name, method, body, { ...options, ...epochOf(to) })
  }

  serve(method: string, handler: RequestHandler): () => void {
    return this.#parts.mesh.onRequest(method, handler)
  }

  notify(to: Run, method: string, body: Uint8Array): SendRefusal | undefined {
    return this.#parts.mesh.notify(to.name, method, body, epochOf(to))
  }

  onNotify(method: string, handler: (from: Run, body: Uint8Array) => void): () => void {
    return this.#parts.mesh.onNotify(method, (message) => handler(runOf(message), message.bytes))
  }

  send(to: Run, lane: Lane, bytes: Uint8Array, options: { readonly replaces?: string } = {}): SendRefusal | undefined {
    const { class: channelClass, mark } = LANES[lane]
    return this.#parts.mesh.send(to.name, channelClass, mark === undefined ? bytes : marked(mark, bytes), {
      ...epochOf(to),
      ...options,
    })
  }

  onMessage(lane: Lane, handler: LaneHandler): () => void {
    const { class: channelClass, mark } = LANES[lane]
    if (mark === undefined) {
      return this.#parts.mesh.onMessage(channelClass, (message) => handler(runOf(message), message.bytes))
    }
    return placed(this.#bulk, mark, handler)
  }

  onRoom(listener: (to: string, lane: Lane) => void): () => void {
    return added(this.#roomListeners, listener)
  }

  gossip(topic: GossipTopic, payload: Uint8Array, key: string): void {
    this.#parts.gossip.broadcast({ frameKind: GOSSIP_KIND[topic], payload }, `${topic} ${key}`)
  }

  onGossip(topic: GossipTopic, handler: (payload: Uint8Array, from: string | undefined) => void): () => void {
    return placed(this.#gossipHandlers, GOSSIP_KIND[topic], handler)
  }

  onExchange(topic: GossipTopic, make: () => readonly Uint8Array[]): () => void {
    return placed(this.#exchanges, GOSSIP_KIND[topic], make)
  }

  /** For the driver of gossip. */
  memberChanged(event: MemberEvent): void {
    const { kind, name, epoch, tags, reason } = event
    if (name === this.name) return
    const told: LiveEvent = { kind, node: { name, epoch, tags }, ...(reason === undefined ? {} : { reason }) }
    for (const listener of this.#liveListeners) listener(told)
  }

  /** For the driver of gossip: frames of kinds that nobody asked for are passed over. */
  framesReceived(
    frames: readonly { readonly frameKind: number; readonly payload: Uint8Array }[],
    from: string | undefined,
  ): void {
    for (const { frameKind, payload } of frames) this.#gossipHandlers.get(frameKind)?.(payload, from)
  }

  /** For the driver of gossip. */
  exchangeFrames(): { frameKind: number; payload: Uint8Array }[] {
    return [...this.#exchanges].flatMap(([frameKind, make]) => make().map((payload) => ({ frameKind, payload })))
  }
}

const LANE_NAMES = Object.keys(LANES) as Lane[]

const runOf = ({ peer, epoch }: MeshMessage): Run => ({ name: peer, epoch })

const epochOf = ({ epoch }: Run): { epoch?: number } => (epoch === 0 ? {} : { epoch })

function marked(mark: number, bytes: Uint8Array): Uint8Array {
  const out = new Uint8Array(1 + bytes.length)
  out[0] = mark
  out.set(bytes, 1)
  return out
}

function liveNodeOf(member: Member): LiveNode | undefined {
  const { name, epoch, tags } = member
  return epoch === undefined || !isLive(member) ? undefined : { name, epoch, tags }
}

function added<T>(set: Set<T>, value: T): () => void {
  set.add(value)
  return () => set.delete(value)
}

function placed<K, V>(map: Map<K, V>, key: K, value: V): () => void {
  map.set(key, value)
  return () => {
    if (map.get(key) === value) map.delete(key)
  }
}

/** Node names are ASCII, so the order of code units is that of bytes. */
const byName = (a: Run, b: Run): number => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0)
