// Gossip in the real world: carries out what the core decides, with sockets, timers and the resolver. cluster.md §0.2, §3.

import { lookup } from 'node:dns/promises'
import type { Socket } from 'node:net'
import { unreachable } from '../../runtime/base/assert.ts'
import type { Env } from '../../runtime/base/env.ts'
import { MoonmeshError, messageOf } from '../../runtime/base/errors.ts'
import { type Address, formatAddress, isSameAddress, parseHost } from './core/address.ts'
import type { MemberEvent } from './core/events.ts'
import type { Member } from './core/members.ts'
import type { Exchange, Frame, Message } from './core/messages.ts'
import type { SwimSettings } from './core/settings.ts'
import { type Seed, Swim, type SwimCounters, type SwimEffect, type SwimInput, type SwimTimer } from './core/swim.ts'
import { LogRate } from './rate.ts'
import { GossipSockets } from './sockets.ts'
import { type StreamFigures, Streams } from './streams.ts'
import { MessageCodec } from './wire/codec.ts'
import { DecodeError, DecryptError } from './wire/decode-error.ts'
import { type Envelope, openPacket, sealPackets } from './wire/packet.ts'
import type { StreamMessage } from './wire/stream.ts'

/** Where to look for others. */
export interface SeedAddress {
  /** The node that is expected there. */
  readonly name?: string | undefined
  /** Canonical IP, or a DNS name that is resolved at each attempt. */
  readonly host: string
  readonly port: number
}

export interface GossipHandlers {
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
  readonly env: Env
  /** For tests; default: the system's resolver. */
  readonly resolve?: (host: string) => Promise<readonly string[]>
}

export type MessageKind = Message['kind']

export interface GossipStatistics {
  readonly packetsIn: number
  readonly packetsOut: number
  /** Of datagrams, without their IP and UDP headers. */
  readonly bytesIn: number
  readonly bytesOut: number
  readonly streams: Readonly<StreamFigures>
  /** Datagrams, or parts of them, that could not be read. */
  readonly undecodable: number
  /** Of datagrams, by kind. */
  readonly messagesIn: ReadonlyMap<MessageKind, number>
  readonly messagesOut: ReadonlyMap<MessageKind, number>
  /** How often the event loop stood still for a second or more. */
  readonly pauses: number
  readonly queueDepth: number
  readonly framesDropped: number
  /** 0: well. */
  readonly healthScore: number
  readonly counters: Readonly<SwimCounters>
}

const TICK_MS = 100
const PAUSE_MS = 1000
const WELL_SCORE_MAX = 4
const LATE_MS = 50
const LATE_SHARE = 0.1
const RESOLVE_MS = 5000
const ADDRESSES_PER_SEED_MAX = 16
/** The weight of the last round trip in the average. */
const RTT_WEIGHT = 0.25

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
  readonly #timers = new Set<NodeJS.Timeout>()
  readonly #replies = new Map<number, (answer: StreamMessage | undefined) => void>()
  /** Joins that somebody asked for and waits for. */
  readonly #joins = new Set<Waiting>()
  /** Milliseconds, by name. */
  readonly #rtts = new Map<string, number>()
  #probe: { seqNo: number; name: string; address: Address; sentAtMs: number } | undefined
  #figures = { packetsIn: 0, packetsOut: 0, bytesIn: 0, bytesOut: 0, undecodable: 0, pauses: 0 }
  readonly #messages = { in: new Map<MessageKind, number>(), out: new Map<MessageKind, number>() }
  #nextId = 1
  #lastTickMs = 0
  #unwellSinceMs: number | undefined
  #isClosed = false
  #isNameRefused = false
  readonly #settled: Promise<void>
  #settle: () => void = () => {}
  #left: (() => void) | undefined

  private constructor(options: GossipOptions, sockets: GossipSockets, address: Address) {
    const { settings, envelope, seeds } = options
    this.#options = options
    this.#env = options.env
    this.#sockets = sockets
    this.#settled = new Promise((resolve) => {
      this.#settle = resolve
    })
    this.#streams = new Streams({
      envelope,
      defaultPort: address.port,
      legTimeoutMs: settings.tcpTimeoutMs,
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
   * @throws MoonmeshError `Unavailable` when the port is in use, `Invalid` when an address is none of this machine or cannot be resolved
   */
  static async open(options: GossipOptions): Promise<Gossip> {
    let gossip: Gossip | undefined
    const sockets = await GossipSockets.open(options.bind, {
      packet: (bytes, from) => void (gossip === undefined || gossip.#packet(bytes, from)),
      connection: (socket, from) => (gossip === undefined ? void socket.destroy() : gossip.#connection(socket, from)),
      trouble: (text) => options.handlers.log('warn', 'gossip_socket', { reason: text }),
    })
    try {
      const { advertise } = options
      const [host] = await resolved(options, advertise.host)
      if (host === undefined) {
        const text = `the address to advertise, ${advertise.host}, cannot be resolved; see cluster.membership.advertise_addr`
        throw new MoonmeshError('Invalid', text, { retryable: false })
      }
      gossip = new Gossip(options, sockets, { host, port: advertise.port ?? sockets.address.port })
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
    this.#lastTickMs = this.#env.nowMs()
    this.#tick()
    this.#feed({ kind: 'start' })
  }

  /**
   * Resolves when this node is among others under its own name, or found nobody at its first attempt; not while somebody who was
   * reached does not fit.
   */
  get settled(): Promise<void> {
    return this.#settled
  }

  /** Joins through these addresses. @returns how many answered */
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

  /** Tells all that this node leaves; resolves when that is told, or nobody hears it. */
  leave(): Promise<void> {
    if (this.#isClosed) return Promise.resolve()
    return new Promise((resolve) => {
      this.#left = resolve
      this.#feed({ kind: 'leave' })
    })
  }

  setTags(tags: ReadonlyMap<string, string>): void {
    this.#feed({ kind: 'tags', tags })
  }

  /** Spreads data to all members. @param key a later frame with the same key takes this one's place */
  broadcast(frame: Frame, key: string): void {
    this.#feed({ kind: 'broadcast', frame, key })
  }

  statistics(): GossipStatistics {
    const { queueDepth, framesDropped, healthScore, counters } = this.#swim
    const { in: messagesIn, out: messagesOut } = this.#messages
    return {
      ...this.#figures,
      messagesIn,
      messagesOut,
      streams: this.#streams.figures,
      queueDepth,
      framesDropped,
      healthScore,
      counters,
    }
  }

  /** Falls silent, as a crash does; `leave` first for a friendly end. Idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true
    for (const timer of this.#timers) clearTimeout(timer)
    this.#timers.clear()
    this.#streams.close()
    for (const waiting of this.#joins) waiting.done(waiting.reached)
    this.#joins.clear()
    this.#settle()
    this.#left?.()
    await this.#sockets.close()
  }

  // ---- the core

  #feed(input: SwimInput): readonly SwimEffect[] {
    if (this.#isClosed) return []
    const effects = this.#swim.step(input)
    for (const effect of effects) this.#perform(effect)
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
        return this.#exchange(effect.id, effect.to, effect.exchange)
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
      case 'left': {
        const left = this.#left
        this.#left = undefined
        return left?.()
      }
      default:
        return unreachable(effect)
    }
  }

  #timer(afterMs: number, then: SwimTimer): void {
    const dueMs = this.#env.nowMs() + afterMs
    const wake = (): void => {
      const lateMs = this.#env.nowMs() - dueMs
      // Node rounds its clock of timers, which may be up to a millisecond ahead; the core takes a timer at its word.
      if (lateMs < 0) this.#after(-lateMs, wake)
      else if (lateMs <= Math.max(LATE_MS, afterMs * LATE_SHARE)) this.#feed(then)
      // Due timers run before sockets are read: after a standstill the answers that seem to be missing lie in the kernel.
      else setImmediate(() => setImmediate(() => this.#feed(then)))
    }
    this.#after(afterMs, wake)
  }

  #after(afterMs: number, run: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      run()
    }, Math.ceil(afterMs))
    this.#timers.add(timer)
  }

  /** Notices when the event loop stood still. */
  #tick(): void {
    const nowMs = this.#env.nowMs()
    const gapMs = nowMs - this.#lastTickMs
    this.#lastTickMs = nowMs
    if (gapMs >= PAUSE_MS) {
      this.#figures.pauses++
      this.#options.handlers.log('warn', 'local_pause', { paused_ms: Math.round(gapMs) })
      this.#feed({ kind: 'paused', pausedMs: gapMs })
    }
    if (this.#swim.healthScore <= WELL_SCORE_MAX) this.#unwellSinceMs = undefined
    else this.#unwellSinceMs ??= nowMs
    this.#after(TICK_MS, () => this.#tick())
  }

  // ---- datagrams

  #send(to: Address, parts: readonly Message[], withCrc: boolean, probe: number | undefined): void {
    if (probe !== undefined) {
      const [ping] = parts
      const name = ping?.kind === 'ping' ? ping.node : ''
      this.#probe = { seqNo: probe, name, address: to, sentAtMs: this.#env.nowMs() }
    }
    const failed = probe === undefined ? undefined : (): void => void this.#feed({ kind: 'send-failed', seqNo: probe })
    const encoded = parts.map((part) => {
      count(this.#messages.out, part.kind)
      return this.#codec.encode(part)
    })
    for (const packet of sealPackets(encoded, this.#options.envelope, withCrc)) {
      this.#figures.packetsOut++
      this.#figures.bytesOut += packet.length
      this.#sockets.send(packet, to, failed)
    }
  }

  #packet(bytes: Buffer, from: Address): void {
    if (this.#isClosed) return
    this.#figures.packetsIn++
    this.#figures.bytesIn += bytes.length
    try {
      const { messages, refused } = openPacket(bytes, this.#options.envelope, this.self.address.port)
      this.#figures.undecodable += refused.length
      if (refused[0] !== undefined) this.#refused(from, refused[0].message, false)
      for (const message of messages) {
        count(this.#messages.in, message.kind)
        if (message.kind === 'ack') this.#measure(message.seqNo, from)
        this.#feed({ kind: 'message', from, message })
      }
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error
      this.#figures.undecodable++
      this.#refused(from, error.message, error instanceof DecryptError)
    }
  }

  /** An ack that came from the target itself tells how far away it is. */
  #measure(seqNo: number, from: Address): void {
    const probe = this.#probe
    if (probe?.seqNo !== seqNo || !isSameAddress(from, probe.address)) return
    this.#probe = undefined
    const rttMs = this.#env.nowMs() - probe.sentAtMs
    const before = this.#rtts.get(probe.name)
    this.#rtts.set(probe.name, before === undefined ? rttMs : before + (rttMs - before) * RTT_WEIGHT)
  }

  #refused(from: Address, reason: string, isUndecryptable: boolean): void {
    // The port of a connection says nothing, and there are 65,535 of them.
    this.#log('warn', isUndecryptable ? 'gossip_decrypt_failed' : 'gossip_unreadable', { from: from.host, reason })
  }

  #log(level: 'info' | 'warn', event: string, fields: Record<string, string | number>): void {
    const about = fields['peer'] ?? fields['from'] ?? fields['address'] ?? ''
    const suppressed = this.#rate.take(`${event} ${about}`, this.#env.nowMs())
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
        this.#replies.set(id, reply)
        this.#feed({ kind: 'exchange-request', id, from, exchange: message.exchange })
        break
      default:
        reply(undefined)
    }
    // The core answers in the same step or not at all.
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

  #exchange(id: number, to: Address, exchange: Exchange): void {
    const ended = (input: SwimInput, isReached: boolean): void => {
      this.#feed(input)
      // Who was reached leads to `joined`, once no question about the own name is open.
      if (!isReached) this.#settle()
      for (const waiting of this.#joins) {
        if (!waiting.exchanges.delete(id)) continue
        if (isReached) waiting.reached++
        this.#endJoin(waiting)
      }
    }
    this.#streams.ask(to, { kind: 'push-pull', exchange: this.#withFrames(exchange) }).then(
      (answer) => {
        if (answer.kind === 'push-pull') ended({ kind: 'exchange-done', id, exchange: answer.exchange }, true)
        else ended({ kind: 'exchange-failed', id, reason: `the peer answered with ${answer.kind}` }, false)
      },
      (error: unknown) => {
        if (error instanceof DecodeError) this.#refused(to, error.message, error instanceof DecryptError)
        ended({ kind: 'exchange-failed', id, reason: messageOf(error) }, false)
      },
    )
  }

  #withFrames(exchange: Exchange): Exchange {
    const frames = this.#options.handlers.exchangeFrames()
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
        const hosts = await resolved(this.#options, host).catch((error: unknown) => {
          this.#log('warn', 'gossip_resolve_failed', { address: host, reason: messageOf(error) })
          return []
        })
        return hosts.map((each): Seed => ({ ...(name === undefined ? {} : { name }), address: { host: each, port } }))
      }),
    )
    return found.flat()
  }
}

function count(counts: Map<MessageKind, number>, kind: MessageKind): void {
  counts.set(kind, (counts.get(kind) ?? 0) + 1)
}

/** The canonical addresses of a host. Rejects when the resolver does, or takes too long. */
async function resolved({ resolve = resolveBySystem }: GossipOptions, host: string): Promise<string[]> {
  const literal = parseHost(host)
  if (literal !== undefined) return [literal]
  let late: NodeJS.Timeout | undefined
  const tooLate = new Promise<never>((_, reject) => {
    late = setTimeout(() => reject(new Error(`resolving ${host} took more than ${RESOLVE_MS} ms`)), RESOLVE_MS)
  })
  try {
    const found = await Promise.race([resolve(host), tooLate])
    return found
      .map(parseHost)
      .filter((each) => each !== undefined)
      .slice(0, ADDRESSES_PER_SEED_MAX)
  } finally {
    clearTimeout(late)
  }
}

async function resolveBySystem(host: string): Promise<string[]> {
  return (await lookup(host, { all: true })).map(({ address }) => address)
}
