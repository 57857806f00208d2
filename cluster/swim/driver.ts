// Gossip in the real world: carries out what the core decides, with sockets, timers and the resolver. cluster.md §0.2, §3.

import type { Socket } from 'node:net'
import { unreachable } from '../../runtime/base/assert.ts'
import type { Env } from '../../runtime/base/env.ts'
import { MoonmeshError, messageOf } from '../../runtime/base/errors.ts'
import type { Histogram } from '../../runtime/base/histogram.ts'
import { Queue } from '../../runtime/base/queue.ts'
import { PauseWatch, Timers } from '../timers.ts'
import { type Address, formatAddress, isSameAddress } from './core/address.ts'
import type { MemberEvent } from './core/events.ts'
import type { Finding } from './core/inquiries.ts'
import type { Member } from './core/members.ts'
import type { Exchange, Frame, Message } from './core/messages.ts'
import type { SwimSettings } from './core/settings.ts'
import {
  META_BYTES_MAX,
  type ProbeResult,
  type Seed,
  Swim,
  type SwimCounters,
  type SwimEffect,
  type SwimInput,
  type SwimTimer,
} from './core/swim.ts'
import { LogRate } from './rate.ts'
import { type Resolve, Resolver } from './resolver.ts'
import { GossipSockets } from './sockets.ts'
import { type StreamFigures, Streams } from './streams.ts'
import { MessageCodec } from './wire/codec.ts'
import { DecodeError, DecryptError } from './wire/decode-error.ts'
import type { Keyring } from './wire/keyring.ts'
import { type Envelope, openPacket, sealPackets } from './wire/packet.ts'
import type { StreamMessage } from './wire/stream.ts'
import { encodeTags } from './wire/tags.ts'

/** Where to look for others. */
export interface SeedAddress {
  /** The node that is expected there. */
  readonly name?: string | undefined
  /** Canonical IP, or a DNS name that is resolved at each attempt. */
  readonly host: string
  readonly port: number
}

interface GossipHandlers {
  member(event: MemberEvent): void
  /** Data for the services above. @param from the sender, where it is known */
  frames(frames: readonly Frame[], from: string | undefined): void
  /** What the services add to an exchange of states. */
  exchangeFrames(): readonly Frame[]
  /** Another running node has this node's name: this one must not start. */
  nameInUse(address: string): void
  /** An earlier run had a higher epoch; this is above it. */
  epochRaised(epoch: number): void
  log(level: 'info' | 'warn', event: string, fields: Record<string, string | number>): void
}

/** What the mesh knows of nodes whose connection broke. Nothing here throws or rejects. */
interface CrashEvidence {
  /** Whether every port of the node refuses connections; a port that does not answer does not refuse. */
  areClosed(member: Member, timeoutMs: number): Promise<boolean>
  /** What another member found; `unknown` when it does not say within the time. */
  ask(peer: RunOfNode, about: RunOfNode, timeoutMs: number): Promise<Finding>
}

export interface RunOfNode {
  readonly name: string
  readonly epoch: number
}

export interface GossipOptions {
  readonly name: string
  readonly clusterId: string
  readonly epoch: number
  /** Own tags but `cluster_id` and `epoch`. */
  readonly tags: ReadonlyMap<string, string>
  /** Canonical IP; port 0: any free one. */
  readonly bind: { readonly host: string; readonly port: number }
  /** Where others reach this node: canonical IP, or a DNS name that is resolved now; without a port the bound one. */
  readonly advertise: { readonly host: string; readonly port?: number | undefined }
  readonly seeds: readonly SeedAddress[]
  readonly settings: SwimSettings
  readonly envelope: Envelope
  readonly handlers: GossipHandlers
  /** Absent: crashes are found by probes alone. */
  readonly evidence?: CrashEvidence
  readonly env: Env
  /** One for all protocols of the node; absent: an own one. */
  readonly pauses?: PauseWatch
  /** For tests; default: the system's resolver. */
  readonly resolve?: Resolve
}

/** What messages are counted as. `push-pull` is one side of an exchange. */
type CountedKind = Message['kind'] | 'push-pull'

export interface GossipStatistics {
  readonly packetsIn: number
  readonly packetsOut: number
  /** Of datagrams, without their IP and UDP headers. */
  readonly bytesIn: number
  readonly bytesOut: number
  readonly streams: Readonly<StreamFigures>
  /** Messages of datagrams, and exchanges, by kind. */
  readonly messagesIn: Readonly<Record<CountedKind, number>>
  readonly messagesOut: Readonly<Record<CountedKind, number>>
  /** Datagrams, or parts of them, that could not be read. */
  readonly undecodable: number
  /** Datagrams and connections that no key of the ring opens, or that should have been encrypted. */
  readonly undecryptable: number
  /** Messages that arrived faster than they could be acted on. */
  readonly incomingDropped: number
  /** Datagrams that the network stack did not take. */
  readonly unsent: number
  /** What waits to be told. */
  readonly queueDepth: number
  /** What arrived and waits to be acted on. */
  readonly incomingDepth: number
  /** Frames that others took the place of, or that had no room in an exchange. */
  readonly framesDropped: number
  /** Standstills of the event loop of a second and more. */
  readonly pauses: number
  /** 0: well. */
  readonly healthScore: number
  readonly counters: Readonly<SwimCounters>
  readonly probeSeconds: Readonly<Record<ProbeResult, Histogram>>
}

/** Messages that wait; those that cannot wait do not. */
const INCOMING_MAX = 1024
const INCOMING_TURN_MS = 4
/** Of the services in one side of an exchange, well below what a stream may have. */
const EXCHANGE_FRAME_BYTES_MAX = 8 * 1024 * 1024
/** A join that lasts is told a few times before it is told once a minute. */
const JOIN_LINES = 3
const RTTS_SPARE = 64
/** A score above this is a node that doubts itself. */
const WELL_SCORE_MAX = 4
/** The weight of the last round trip in the average. */
const RTT_WEIGHT = 0.25

const kinds = (): Record<CountedKind, number> => ({
  ping: 0,
  'indirect-ping': 0,
  ack: 0,
  nack: 0,
  suspect: 0,
  alive: 0,
  dead: 0,
  frame: 0,
  'serf-leave': 0,
  serf: 0,
  'push-pull': 0,
})

/** A join that somebody asked for. */
interface Waiting {
  readonly done: (reached: number) => void
  readonly exchanges: Set<number>
  reached: number
}

export class Gossip {
  readonly #options: GossipOptions
  readonly #env: Env
  readonly #sockets: GossipSockets
  readonly #streams: Streams
  readonly #swim: Swim
  readonly #codec = new MessageCodec()
  readonly #rate = new LogRate()
  readonly #resolver: Resolver
  readonly #timers: Timers
  readonly #pauses: PauseWatch
  readonly #ownPauses: PauseWatch | undefined
  #stopWatching: (() => void) | undefined
  /** Inputs that came up while the core's last answer was carried out: from handlers, or a send that failed at once. */
  readonly #inputs: SwimInput[] = []
  #isStepping = false
  /** Claims that nodes are alive go first: they save others from being taken for dead. */
  readonly #alives = new Queue<SwimInput>()
  readonly #others = new Queue<SwimInput>()
  #isDraining = false
  /** The last datagrams of the current step: a round of gossip says the same to several nodes. */
  #sealed: { parts: readonly Message[]; withCrc: boolean; packets: readonly Buffer[] } | undefined
  readonly #replies = new Map<number, (answer: StreamMessage | undefined) => void>()
  readonly #questions = new Map<number, (finding: Finding) => void>()
  /** Joins that somebody asked for and waits for. */
  readonly #joins = new Set<Waiting>()
  /** Milliseconds, by name. */
  readonly #rtts = new Map<string, number>()
  #probe: { seqNo: number; name: string; address: Address; sentAtMs: number } | undefined
  #figures = { packetsIn: 0, packetsOut: 0, bytesIn: 0, bytesOut: 0, undecodable: 0, undecryptable: 0 }
  readonly #messagesIn = kinds()
  readonly #messagesOut = kinds()
  #incomingDropped = 0
  #exchangeFramesDropped = 0
  #nextId = 1
  #isClosed = false
  #isNameRefused = false
  #unwellSinceMs: number | undefined
  readonly #settled: Promise<void>
  #settle: () => void = () => {}
  #leaving: Promise<void> | undefined
  #left: () => void = () => {}

  private constructor(options: GossipOptions, sockets: GossipSockets, resolver: Resolver, address: Address) {
    const { settings, envelope, seeds, env } = options
    this.#options = options
    this.#env = options.env
    this.#sockets = sockets
    this.#resolver = resolver
    this.#timers = new Timers(env)
    this.#ownPauses = options.pauses === undefined ? new PauseWatch(env) : undefined
    this.#pauses = options.pauses ?? (this.#ownPauses as PauseWatch)
    this.#settled = new Promise((resolve) => {
      this.#settle = resolve
    })
    this.#streams = new Streams({
      envelope,
      defaultPort: address.port,
      legTimeoutMs: settings.tcpTimeoutMs,
      env,
      timers: this.#timers,
      connect: (to) => sockets.connect(to),
      received: (message, from, reply) => this.#received(message, from, reply),
      refused: (from, reason, isUndecryptable) => this.#refused(from, reason, isUndecryptable),
    })
    const { name, clusterId, epoch, tags } = options
    const hasSeeds = seeds.length > 0
    this.#swim = new Swim({ name, address, clusterId, epoch, tags, hasSeeds, settings, wire: this.#codec }, this.#env)
  }

  /**
   * Listens; nothing is said before `start`.
   * @throws MoonmeshError `Unavailable` when the port is in use, `Invalid` when an address is none of this machine or cannot be resolved,
   * or the tags are too long
   */
  static async open(options: GossipOptions): Promise<Gossip> {
    checkTags(options, options.tags)
    const resolver = new Resolver(options.resolve)
    let gossip: Gossip | undefined
    const sockets = await GossipSockets.open(options.bind, {
      packet: (bytes, from) => void (gossip === undefined || gossip.#packet(bytes, from)),
      connection: (socket, from) => (gossip === undefined ? void socket.destroy() : gossip.#connection(socket, from)),
      trouble: (text) => options.handlers.log('warn', 'gossip_socket', { reason: text }),
    })
    try {
      const host = await advertisedHost(options, resolver)
      gossip = new Gossip(options, sockets, resolver, { host, port: options.advertise.port ?? sockets.address.port })
      return gossip
    } catch (error) {
      await sockets.close()
      throw error
    }
  }

  /** Where it listens. */
  get boundAddress(): Address {
    return this.#sockets.address
  }

  get self(): Member {
    return this.#swim.self
  }

  /** Every known node in any state, by name. */
  members(): readonly Member[] {
    return this.#swim.members()
  }

  /** Milliseconds of a round trip to a member, averaged; undefined before the first probe of it. */
  rttMs(name: string): number | undefined {
    return this.#rtts.get(name)
  }

  /** For how long this node has doubted itself without a break. 0: it is well. */
  get unwellMs(): number {
    return this.#unwellSinceMs === undefined ? 0 : this.#env.nowMs() - this.#unwellSinceMs
  }

  /** Announces this node and joins. */
  start(): void {
    this.#stopWatching ??= this.#pauses.subscribe((pausedMs) => this.#paused(pausedMs))
    this.#feed({ kind: 'start' })
  }

  /**
   * Resolves when this node is among others under its own name, or found nobody at its first attempt; not while somebody who was
   * reached does not fit.
   */
  get settled(): Promise<void> {
    return this.#settled
  }

  /** Joins through these addresses. @returns how many took this node in */
  async join(seeds: readonly SeedAddress[]): Promise<number> {
    const addresses = await this.#resolveSeeds(seeds)
    if (this.#isClosed) return 0
    return new Promise((done) => {
      const waiting: Waiting = { done, exchanges: new Set(), reached: 0 }
      this.#joins.add(waiting)
      for (const effect of this.#feed({ kind: 'join', seeds: addresses })) {
        if (effect.kind === 'exchange') waiting.exchanges.add(effect.id)
      }
      this.#endJoin(waiting)
    })
  }

  /** Tells all that this node leaves; resolves when that is told, or nobody hears it. `close` comes after it. Idempotent. */
  leave(): Promise<void> {
    if (this.#isClosed) return Promise.resolve()
    this.#leaving ??= new Promise((resolve) => {
      this.#left = resolve
      this.#feed({ kind: 'leave' })
    })
    return this.#leaving
  }

  /**
   * Own tags but `cluster_id` and `epoch`, in place of all former ones.
   * @throws MoonmeshError `Invalid` when they are too long together
   */
  setTags(tags: ReadonlyMap<string, string>): void {
    checkTags(this.#options, tags)
    this.#feed({ kind: 'tags', tags })
  }

  /** Spreads data to all members. @param key a later frame with the same key takes this one's place */
  broadcast(frame: Frame, key: string): void {
    this.#feed({ kind: 'broadcast', frame, key })
  }

  /** The mesh connection to a node broke, and neither side had closed it. */
  linkLost(node: RunOfNode): void {
    this.#feed({ kind: 'link-lost', node: node.name, epoch: node.epoch })
  }

  /** What this node found about another one, for a member that asks. @param isLinked the own mesh connection to it stands */
  finding(about: RunOfNode, isLinked: boolean): Promise<Finding> {
    if (this.#isClosed) return Promise.resolve('unknown')
    return new Promise((resolve) => {
      const id = this.#nextId++
      this.#questions.set(id, resolve)
      this.#feed({ kind: 'finding-asked', id, node: about.name, epoch: about.epoch, isLinked })
    })
  }

  /** Keys of the ring, the one that encrypts first; none: gossip is plain text. */
  keys(): readonly Uint8Array[] {
    return this.#options.envelope.keyring?.keys ?? []
  }

  /**
   * From now on the key is understood, but not used. Every member has to know a key before one uses it.
   * @throws MoonmeshError `Invalid`, `LimitExceeded`; `InvalidState` when gossip is plain text
   */
  addKey(key: Uint8Array): void {
    this.#keyring().add(key)
  }

  /** From now on the key encrypts. @throws MoonmeshError `NotFound` when it was not added, `InvalidState` */
  useKey(key: Uint8Array): void {
    this.#keyring().use(key)
  }

  /** From now on the key is not understood. @throws MoonmeshError `Conflict` for the one that encrypts, `InvalidState` */
  removeKey(key: Uint8Array): void {
    this.#keyring().remove(key)
  }

  #keyring(): Keyring {
    const { keyring } = this.#options.envelope
    if (keyring !== undefined) return keyring
    throw new MoonmeshError('InvalidState', 'gossip is plain text; set cluster.membership.secret_key and restart')
  }

  statistics(): GossipStatistics {
    const { queueDepth, framesDropped, healthScore, counters, probeSeconds } = this.#swim
    return {
      ...this.#figures,
      streams: { ...this.#streams.figures },
      messagesIn: { ...this.#messagesIn },
      messagesOut: { ...this.#messagesOut },
      incomingDropped: this.#incomingDropped,
      unsent: this.#sockets.unsentCount,
      queueDepth,
      incomingDepth: this.#alives.count + this.#others.count,
      framesDropped: framesDropped + this.#exchangeFramesDropped,
      pauses: this.#pauses.count,
      healthScore,
      counters: { ...counters },
      probeSeconds,
    }
  }

  /** Falls silent, as a crash does; `leave` first for a friendly end. Idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#timers.close()
    this.#stopWatching?.()
    this.#ownPauses?.close()
    this.#streams.close()
    this.#alives.clear()
    this.#others.clear()
    for (const waiting of this.#joins) waiting.done(waiting.reached)
    this.#joins.clear()
    for (const say of this.#questions.values()) say('unknown')
    this.#questions.clear()
    this.#settle()
    this.#left()
    await this.#sockets.close()
  }

  // ---- the core

  /** @returns what the core wants done for this input, and was begun; nothing when the input has to wait for the end of a step */
  #feed(input: SwimInput): readonly SwimEffect[] {
    if (this.#isClosed) return []
    if (this.#isStepping) {
      this.#inputs.push(input)
      return []
    }
    this.#isStepping = true
    try {
      const effects = this.#step(input)
      for (let next = this.#inputs.shift(); next !== undefined; next = this.#inputs.shift()) this.#step(next)
      return effects
    } finally {
      this.#isStepping = false
    }
  }

  #step(input: SwimInput): readonly SwimEffect[] {
    const effects = this.#swim.step(input)
    for (const effect of effects) {
      if (this.#isClosed) break
      this.#perform(effect)
    }
    this.#sealed = undefined
    if (this.#swim.healthScore <= WELL_SCORE_MAX) this.#unwellSinceMs = undefined
    else this.#unwellSinceMs ??= this.#env.nowMs()
    return effects
  }

  #perform(effect: SwimEffect): void {
    const { handlers } = this.#options
    switch (effect.kind) {
      case 'send':
        return this.#send(effect.to, effect.parts, effect.withCrc, effect.probe)
      case 'timer':
        return this.#timer(effect.afterMs, effect.then)
      case 'stream-ping':
        return this.#streamPing(effect.to, effect.ping, effect.timeoutMs)
      case 'stream-ack':
        return this.#reply(effect.id, { kind: 'ack', seqNo: effect.seqNo })
      case 'stream-refuse':
        return this.#reply(effect.id, undefined)
      case 'exchange':
        return this.#exchange(effect)
      case 'exchange-reply':
        return this.#reply(effect.id, { kind: 'push-pull', exchange: this.#withFrames(effect.exchange) })
      case 'resolve-seeds': {
        const { purpose } = effect
        void this.#resolveSeeds(this.#options.seeds).then((seeds) => {
          this.#feed({ kind: 'seeds-resolved', purpose, seeds })
          if (seeds.length === 0) this.#settle()
        })
        return
      }
      case 'member':
        if (effect.event.kind === 'left') this.#rtts.delete(effect.event.name)
        return handlers.member(effect.event)
      case 'frames':
        return handlers.frames(effect.frames, effect.from)
      case 'log':
        return this.#log(effect.level, effect.event, effect.fields)
      case 'joined':
        return this.#settle()
      case 'name-in-use':
        if (!this.#isNameRefused) handlers.nameInUse(formatAddress(effect.address))
        this.#isNameRefused = true
        return
      case 'epoch-raised':
        return handlers.epochRaised(effect.epoch)
      case 'left':
        return this.#left()
      case 'check-ports': {
        const { id, member, timeoutMs } = effect
        const check = this.#options.evidence?.areClosed(member, timeoutMs) ?? Promise.resolve(false)
        void check.then((areClosed) => this.#feed({ kind: 'ports-checked', id, areClosed }))
        return
      }
      case 'ask-witness': {
        const { id, peer, peerEpoch, node, epoch, timeoutMs } = effect
        const asked = this.#options.evidence?.ask({ name: peer, epoch: peerEpoch }, { name: node, epoch }, timeoutMs)
        void (asked ?? Promise.resolve('unknown' as const)).then((finding) =>
          this.#feed({ kind: 'witness-said', id, finding }),
        )
        return
      }
      case 'say-finding':
        this.#questions.get(effect.id)?.(effect.finding)
        this.#questions.delete(effect.id)
        return
      default:
        return unreachable(effect)
    }
  }

  #timer(afterMs: number, then: SwimTimer): void {
    this.#timers.after(afterMs, () => this.#feed(then))
  }

  #paused(pausedMs: number): void {
    this.#options.handlers.log('warn', 'local_pause', { paused_ms: Math.round(pausedMs) })
    this.#feed({ kind: 'paused', pausedMs })
  }

  // ---- datagrams

  #send(to: Address, parts: readonly Message[], withCrc: boolean, probe: number | undefined): void {
    if (probe !== undefined) {
      const [ping] = parts
      const name = ping?.kind === 'ping' ? ping.node : ''
      this.#probe = { seqNo: probe, name, address: to, sentAtMs: this.#env.nowMs() }
    }
    for (const part of parts) this.#messagesOut[part.kind]++
    const failed = probe === undefined ? undefined : (): void => void this.#feed({ kind: 'send-failed', seqNo: probe })
    for (const packet of this.#seal(parts, withCrc)) {
      this.#figures.packetsOut++
      this.#figures.bytesOut += packet.length
      this.#sockets.send(packet, to, failed)
    }
  }

  #seal(parts: readonly Message[], withCrc: boolean): readonly Buffer[] {
    const last = this.#sealed
    if (last?.withCrc === withCrc && isSameList(last.parts, parts)) return last.packets
    const encoded = parts.map((part) => this.#codec.encode(part))
    const packets = sealPackets(encoded, this.#options.envelope, withCrc)
    this.#sealed = { parts, withCrc, packets }
    return packets
  }

  #packet(bytes: Buffer, from: Address): void {
    if (this.#isClosed) return
    this.#figures.packetsIn++
    this.#figures.bytesIn += bytes.length
    try {
      const { messages, refused } = openPacket(bytes, this.#options.envelope, this.self.address.port)
      this.#figures.undecodable += refused.length
      if (refused[0] !== undefined) this.#refused(from, refused[0].message, false)
      for (const message of messages) this.#message(from, message)
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error
      if (!(error instanceof DecryptError)) this.#figures.undecodable++
      this.#refused(from, error.message, error instanceof DecryptError)
    }
  }

  /** Who asks is waiting, and who is asked must not seem slow: questions and answers are not queued. cluster.md §3.7. */
  #message(from: Address, message: Message): void {
    this.#messagesIn[message.kind]++
    switch (message.kind) {
      case 'ack':
        this.#measure(message.seqNo, from)
        break
      case 'nack':
      case 'ping':
      case 'indirect-ping':
        break
      default:
        return this.#enqueue(message.kind === 'alive' ? this.#alives : this.#others, { kind: 'message', from, message })
    }
    this.#feed({ kind: 'message', from, message })
  }

  #enqueue(queue: Queue<SwimInput>, input: SwimInput): void {
    if (this.#alives.count + this.#others.count >= INCOMING_MAX) {
      this.#incomingDropped++
      return
    }
    queue.push(input)
    if (this.#isDraining) return
    this.#isDraining = true
    setImmediate(() => this.#drain())
  }

  /** Acts on what waits for a few milliseconds, and goes on in the next turn, after what came in meanwhile. */
  #drain(): void {
    const endMs = this.#env.nowMs() + INCOMING_TURN_MS
    for (;;) {
      const input = this.#alives.shift() ?? this.#others.shift()
      if (input === undefined) break
      this.#feed(input)
      if (this.#env.nowMs() >= endMs) break
    }
    this.#isDraining = this.#alives.count + this.#others.count > 0
    if (this.#isDraining) setImmediate(() => this.#drain())
  }

  /** An ack that came from the target itself tells how far away it is. */
  #measure(seqNo: number, from: Address): void {
    const probe = this.#probe
    if (probe?.seqNo !== seqNo || !isSameAddress(from, probe.address)) return
    this.#probe = undefined
    const rttMs = this.#env.nowMs() - probe.sentAtMs
    // Foreign nodes leave without an event; whoever is still there is measured again with its next probe.
    if (this.#rtts.size > this.#swim.members().length + RTTS_SPARE) this.#rtts.clear()
    const before = this.#rtts.get(probe.name)
    this.#rtts.set(probe.name, before === undefined ? rttMs : before + (rttMs - before) * RTT_WEIGHT)
  }

  #refused(from: Address, reason: string, isUndecryptable: boolean): void {
    if (isUndecryptable) this.#figures.undecryptable++
    // The port of a connection says nothing, and there are 65,535 of them.
    this.#log('warn', isUndecryptable ? 'gossip_decrypt_failed' : 'gossip_unreadable', { from: from.host, reason })
  }

  #log(level: 'info' | 'warn', event: string, fields: Record<string, string | number>): void {
    const about = fields['peer'] ?? fields['from'] ?? fields['address'] ?? ''
    const burst = event === 'gossip_join_failed' ? JOIN_LINES : 1
    const suppressed = this.#rate.take(`${event} ${about}`, this.#env.nowMs(), burst)
    if (suppressed === undefined) return
    this.#options.handlers.log(level, event, suppressed === 0 ? fields : { ...fields, suppressed })
  }

  // ---- streams

  #connection(socket: Socket, from: Address): void {
    void this.#streams.serve(socket, from)
  }

  #received(message: StreamMessage, from: Address, reply: (answer: StreamMessage | undefined) => void): void {
    const id = this.#nextId++
    switch (message.kind) {
      case 'ping':
        this.#replies.set(id, reply)
        this.#feed({ kind: 'stream-ping', id, ping: message })
        break
      case 'push-pull':
        this.#messagesIn['push-pull']++
        this.#replies.set(id, reply)
        this.#feed({ kind: 'exchange-request', id, from, exchange: message.exchange })
        break
      default:
        reply(undefined)
    }
    // The core answers in the same step or not at all; streams arrive in turns of their own, never during another step.
    this.#reply(id, undefined)
  }

  #reply(id: number, answer: StreamMessage | undefined): void {
    const reply = this.#replies.get(id)
    this.#replies.delete(id)
    reply?.(answer)
  }

  #streamPing(to: Address, ping: Message & { kind: 'ping' }, timeoutMs: number): void {
    const { seqNo } = ping
    this.#streams.ask(to, ping, timeoutMs).then(
      (answer) => {
        const isAnswered = answer.kind === 'ack' && answer.seqNo === seqNo
        this.#feed({ kind: 'stream-pong', seqNo, isAnswered })
      },
      () => this.#feed({ kind: 'stream-pong', seqNo, isAnswered: false }),
    )
  }

  #exchange({ id, to, exchange, first }: SwimEffect & { kind: 'exchange' }): void {
    const ended = (input: SwimInput): void => {
      const refusedBefore = this.#swim.counters.pushPullsRefused
      this.#feed(input)
      const isReached = input.kind === 'exchange-done'
      const isTaken = isReached && this.#swim.counters.pushPullsRefused === refusedBefore
      // Who was reached leads to `joined`, once no question about the own name is open.
      if (!isReached) this.#settle()
      for (const waiting of this.#joins) {
        if (!waiting.exchanges.delete(id)) continue
        if (isTaken) waiting.reached++
        this.#endJoin(waiting)
      }
    }
    const greeted = first === undefined ? Promise.resolve() : this.#greet(to, first)
    const answered = greeted.then(() => {
      if (this.#isClosed) throw new Error('gossip is closed')
      return this.#streams.ask(to, { kind: 'push-pull', exchange: this.#withFrames(exchange) })
    })
    answered.then(
      (answer) => {
        if (answer.kind === 'push-pull') {
          this.#messagesIn['push-pull']++
          ended({ kind: 'exchange-done', id, exchange: answer.exchange })
        } else ended({ kind: 'exchange-failed', id, reason: `the peer answered with ${answer.kind}` })
      },
      (error: unknown) => {
        if (error instanceof DecodeError) this.#refused(to, error.message, error instanceof DecryptError)
        ended({ kind: 'exchange-failed', id, reason: messageOf(error) })
      },
    )
  }

  /** Resolves when the node of this name answers there. */
  async #greet(to: Address, ping: Message & { kind: 'ping' }): Promise<void> {
    let why = 'another node is there'
    try {
      const answer = await this.#streams.ask(to, ping)
      if (answer.kind === 'ack' && answer.seqNo === ping.seqNo) return
    } catch (error) {
      why = messageOf(error)
    }
    throw new Error(`no node of the name ${ping.node} answers there: ${why}`)
  }

  #withFrames(exchange: Exchange): Exchange {
    this.#messagesOut['push-pull']++
    let room = EXCHANGE_FRAME_BYTES_MAX
    const given = this.#options.handlers.exchangeFrames()
    const frames = given.filter(({ payload }) => {
      if (payload.length > room) return false
      room -= payload.length
      return true
    })
    this.#exchangeFramesDropped += given.length - frames.length
    return frames.length === 0 ? exchange : { ...exchange, frames: [...exchange.frames, ...frames] }
  }

  #endJoin(waiting: Waiting): void {
    if (waiting.exchanges.size > 0) return
    this.#joins.delete(waiting)
    waiting.done(waiting.reached)
  }

  // ---- names

  async #resolveSeeds(seeds: readonly SeedAddress[]): Promise<Seed[]> {
    const found = await Promise.all(
      seeds.map(async ({ name, host, port }) => {
        const hosts = await this.#resolver.addresses(host).catch((error: unknown) => {
          this.#log('warn', 'gossip_resolve_failed', { address: host, reason: messageOf(error) })
          return []
        })
        return hosts.map((each): Seed => ({ ...(name === undefined ? {} : { name }), address: { host: each, port } }))
      }),
    )
    return found.flat()
  }
}

/** @throws MoonmeshError `Invalid` when there is none that the bound sockets can be reached at */
async function advertisedHost({ advertise, bind }: GossipOptions, resolver: Resolver): Promise<string> {
  const refusal = (why: string, cause?: unknown): MoonmeshError =>
    new MoonmeshError(
      'Invalid',
      `gossip cannot advertise ${advertise.host}: ${why}; set cluster.membership.advertise_addr`,
      {
        retryable: false,
        cause,
      },
    )
  let hosts: readonly string[]
  try {
    hosts = await resolver.addresses(advertise.host)
  } catch (error) {
    throw refusal(messageOf(error), error)
  }
  // Sockets of IPv6 hear IPv4 too when they are bound to all addresses; others hear their own family.
  const isV6 = bind.host.includes(':')
  const host = hosts.find((each) => each.includes(':') === isV6) ?? (bind.host === '::' ? hosts[0] : undefined)
  if (host === undefined) throw refusal(`it has no address of the family of ${bind.host}`)
  if (host === '0.0.0.0' || host === '::') throw refusal('nobody can be reached there')
  return host
}

/** @throws MoonmeshError `Invalid` */
function checkTags({ clusterId, epoch }: GossipOptions, tags: ReadonlyMap<string, string>): void {
  const all = new Map(tags).set('cluster_id', clusterId).set('epoch', epoch.toString(36))
  const { length } = encodeTags(all)
  if (length <= META_BYTES_MAX) return
  const sizes = [...all].map(([key, value]) => `${key} ${encodeTags(new Map([[key, value]])).length - 2}`)
  throw new MoonmeshError(
    'Invalid',
    `the tags of this node have ${length} bytes, ${META_BYTES_MAX} are allowed: ${sizes.join(', ')}`,
  )
}

function isSameList(a: readonly Message[], b: readonly Message[]): boolean {
  return a.length === b.length && a.every((message, i) => message === b[i])
}
