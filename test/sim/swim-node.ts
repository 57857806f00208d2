// A node of gossip in the simulated world: the real core, with the simulator in the place of its driver. With `bytes` every
// packet and stream goes through the real wire too.

import { type Address, formatAddress, parseHost } from '../../cluster/swim/core/address.ts'
import type { MemberEvent } from '../../cluster/swim/core/events.ts'
import type { Finding } from '../../cluster/swim/core/inquiries.ts'
import type { Member } from '../../cluster/swim/core/members.ts'
import type { Exchange, Frame, Message, Ping } from '../../cluster/swim/core/messages.ts'
import { defaultSwimSettings, type SwimSettings } from '../../cluster/swim/core/settings.ts'
import { Swim, type SwimEffect, type SwimInput } from '../../cluster/swim/core/swim.ts'
import { MessageCodec } from '../../cluster/swim/wire/codec.ts'
import { type Envelope, openPacket, packetBudget, sealPackets } from '../../cluster/swim/wire/packet.ts'
import { StreamDecoder, sealStream } from '../../cluster/swim/wire/stream.ts'
import { unreachable } from '../../runtime/base/assert.ts'
import type { Network } from './network.ts'
import { SimProcess } from './process.ts'
import type { ClockOptions, World } from './world.ts'

type SwimPacket = { messages: readonly Message[] } | { bytes: readonly Buffer[] }
type SwimRequest = { exchange: Exchange } | { ping: Ping } | { bytes: Buffer }
export type SwimNetwork = Network<SwimPacket, SwimRequest, SwimRequest>

/** Who watches; called after every step of a node. */
export interface SwimObserver {
  stepped(node: SwimNode, input: SwimInput, effects: readonly SwimEffect[]): void
}

interface SwimNodeOptions {
  readonly name: string
  readonly address: Address
  readonly epoch: number
  /** What the addresses to join resolve to at the moment; a node without any is a seed. */
  readonly seeds?: () => readonly Address[]
  readonly settings?: Partial<SwimSettings>
  readonly tags?: ReadonlyMap<string, string>
  readonly clusterId?: string
  readonly clock?: ClockOptions
  /** Present: everything is encoded, sealed with this and opened again. */
  readonly envelope?: Envelope
  /** Plants a fault between the core and the world, for tests of the checkers. */
  readonly tamper?: Tamper
}

interface SimEvidence {
  areClosed(member: Member, timeoutMs: number, done: (areClosed: boolean) => void): void
  ask(peer: string, about: { node: string; epoch: number }, timeoutMs: number, done: (finding: Finding) => void): void
}

export interface Tamper {
  /** What the core gets instead; undefined: nothing. */
  input?(node: SwimNode, input: SwimInput): SwimInput | undefined
  /** What is carried out instead. */
  effects?(node: SwimNode, effects: readonly SwimEffect[]): readonly SwimEffect[]
}

const PORT = 7946
const PACKET_BYTES = 1400
/** IP and UDP headers, which a datagram costs too. */
const HEADER_BYTES = 28

export class SwimNode {
  readonly name: string
  readonly address: Address
  readonly key: string
  readonly swim: Swim
  readonly events: MemberEvent[] = []
  readonly frames: Frame[] = []
  /** Another protocol of the same program that lives by what gossip says. */
  onMember: (event: MemberEvent) => void = () => {}
  onEpochRaised: (epoch: number) => void = () => {}
  /** What a mesh beside gossip knows of crashes; without one nobody asks. */
  evidence: SimEvidence | undefined
  readonly process: SimProcess
  readonly startedAtMs: number
  epoch: number
  hasJoined = false
  hasLeft = false
  isNameRefused = false
  readonly #world: World
  readonly #network: SwimNetwork
  readonly #observer: SwimObserver | undefined
  readonly #options: SwimNodeOptions
  readonly #codec = new MessageCodec()
  readonly #replies = new Map<number, (reply: SwimRequest | undefined) => void>()
  readonly #questions = new Map<number, (finding: Finding) => void>()
  #nextId = 1

  constructor(world: World, network: SwimNetwork, options: SwimNodeOptions, observer?: SwimObserver) {
    this.#world = world
    this.#network = network
    this.#observer = observer
    this.#options = options
    this.startedAtMs = world.nowMs
    this.process = new SimProcess(world, options.clock)
    this.process.onPause = (pausedMs) => this.#step({ kind: 'paused', pausedMs })
    this.name = options.name
    this.address = options.address
    this.epoch = options.epoch
    this.key = formatAddress(options.address)
    const budget =
      options.envelope === undefined ? {} : { packetBudgetBytes: packetBudget(PACKET_BYTES, options.envelope) }
    this.swim = new Swim(
      {
        name: options.name,
        address: options.address,
        clusterId: options.clusterId ?? 'sim',
        epoch: options.epoch,
        tags: options.tags ?? new Map([['role', 'moonmesh']]),
        hasSeeds: options.seeds !== undefined,
        settings: { ...defaultSwimSettings, ...budget, ...options.settings },
        wire: this.#codec,
      },
      this.process.env,
    )
    network.attach(this.key, {
      packet: (from, packet) => this.process.packet(() => this.#packet(from, packet)),
      request: (from, request, reply) => this.process.input(() => this.#request(from, request, reply)),
    })
    this.feed({ kind: 'start' })
  }

  get isRunning(): boolean {
    return this.process.isRunning
  }

  /** Stops as a crash does: without a word. */
  crash(): void {
    this.process.kill()
    this.#network.detach(this.key)
  }

  /** Gives the core an input as soon as the process runs. */
  feed(input: SwimInput): void {
    this.process.input(() => this.#step(input))
  }

  /** What this node found about another one, for a member that asks over the mesh. */
  question(about: { node: string; epoch: number; isLinked: boolean }, say: (finding: Finding) => void): void {
    const id = this.#nextId++
    this.#questions.set(id, say)
    this.feed({ kind: 'finding-asked', id, ...about })
  }

  /** Live members as this node sees them, itself included. */
  live(): Member[] {
    return this.swim.members().filter(({ state }) => state === 'alive' || state === 'suspect')
  }

  #step(given: SwimInput): void {
    if (!this.isRunning) return
    const { tamper } = this.#options
    const input = tamper?.input === undefined ? given : tamper.input(this, given)
    if (input === undefined) return
    const { suspicions, refutes } = this.swim.counters
    const decided = this.swim.step(input)
    if (this.swim.counters.suspicions > suspicions) this.#world.note(() => `${this.name} suspects after ${say(input)}`)
    if (this.swim.counters.refutes > refutes) {
      this.#world.note(() => `${this.name} refutes with ${this.swim.self.incarnation} after ${say(input)}`)
    }
    const effects = tamper?.effects?.(this, decided) ?? decided
    for (const effect of effects) this.#perform(effect)
    this.#observer?.stepped(this, input, effects)
  }

  #perform(effect: SwimEffect): void {
    switch (effect.kind) {
      case 'timer':
        return this.process.timer(effect.afterMs, () => this.#step(effect.then))
      case 'send':
        return this.#send(effect.to, effect.parts, effect.withCrc)
      case 'stream-ping':
        return this.#ask(effect.to, { ping: effect.ping }, effect.timeoutMs, (reply) =>
          this.feed({ kind: 'stream-pong', seqNo: effect.ping.seqNo, isAnswered: reply !== undefined }),
        )
      case 'exchange': {
        const { id } = effect
        const { tcpTimeoutMs } = { ...defaultSwimSettings, ...this.#options.settings }
        return this.#ask(effect.to, { exchange: effect.exchange }, tcpTimeoutMs, (reply) => {
          if (reply !== undefined && 'exchange' in reply) {
            this.feed({ kind: 'exchange-done', id, exchange: reply.exchange })
          } else this.feed({ kind: 'exchange-failed', id, reason: 'no answer' })
        })
      }
      case 'exchange-reply':
        return this.#reply(effect.id, { exchange: effect.exchange })
      case 'stream-ack':
        return this.#reply(effect.id, { ping: { kind: 'ping', seqNo: effect.seqNo, node: '' } })
      case 'stream-refuse':
        return this.#reply(effect.id, undefined)
      case 'resolve-seeds': {
        const { purpose } = effect
        const seeds = (this.#options.seeds?.() ?? []).map((address) => ({ address }))
        this.#world.after(1, () => this.feed({ kind: 'seeds-resolved', purpose, seeds }))
        return
      }
      case 'member':
        this.events.push(effect.event)
        this.onMember(effect.event)
        this.#world.note(() => {
          const { kind, name, epoch, reason } = effect.event
          return `${this.name} hears: ${name}@${epoch} ${kind}${reason === undefined ? '' : ` (${reason})`}`
        })
        return
      case 'frames':
        this.frames.push(...effect.frames)
        return
      case 'joined':
        this.hasJoined = true
        return
      case 'name-in-use':
        this.isNameRefused = true
        return
      case 'epoch-raised':
        this.epoch = effect.epoch
        this.onEpochRaised(effect.epoch)
        this.#world.note(() => `${this.name} raises its epoch to ${effect.epoch}`)
        return
      case 'check-ports': {
        const { id, member, timeoutMs } = effect
        const done = (areClosed: boolean): void => this.feed({ kind: 'ports-checked', id, areClosed })
        if (this.evidence === undefined) return this.process.timer(0, () => done(false))
        return this.evidence.areClosed(member, this.process.trueMs(timeoutMs), done)
      }
      case 'ask-witness': {
        const { id, peer, node, epoch, timeoutMs } = effect
        const done = (finding: Finding): void => this.feed({ kind: 'witness-said', id, finding })
        if (this.evidence === undefined) return this.process.timer(0, () => done('unknown'))
        return this.evidence.ask(peer, { node, epoch }, this.process.trueMs(timeoutMs), done)
      }
      case 'say-finding':
        this.#questions.get(effect.id)?.(effect.finding)
        this.#questions.delete(effect.id)
        return
      case 'left':
        this.hasLeft = true
        this.crash()
        return
      case 'log':
        this.#world.note(() => `${this.name} logs ${effect.event} ${JSON.stringify(effect.fields)}`)
        return
      default:
        return unreachable(effect)
    }
  }

  #send(to: Address, parts: readonly Message[], withCrc: boolean): void {
    const { envelope } = this.#options
    if (envelope === undefined) {
      const bytes = parts.reduce((sum, part) => sum + this.#codec.lengthOf(part) + 2, HEADER_BYTES)
      this.#network.send(this.key, formatAddress(to), { messages: parts }, bytes)
      return
    }
    const bytes = sealPackets(
      parts.map((part) => this.#codec.encode(part)),
      envelope,
      withCrc,
    )
    const count = bytes.reduce((sum, packet) => sum + packet.length + HEADER_BYTES, 0)
    this.#network.send(this.key, formatAddress(to), { bytes }, count)
  }

  #packet(from: string, packet: SwimPacket): void {
    const address = parseAddress(from)
    const { envelope } = this.#options
    const messages =
      'messages' in packet
        ? packet.messages
        : packet.bytes.flatMap((bytes) => openPacket(bytes, envelope as Envelope, PORT).messages)
    for (const message of messages) this.#step({ kind: 'message', from: address, message })
  }

  #ask(
    to: Address,
    request: Exclude<SwimRequest, { bytes: Buffer }>,
    timeoutMs: number,
    done: (reply: SwimRequest | undefined) => void,
  ): void {
    const { sealed, bytes } = this.#seal(request)
    this.#network.request(this.key, formatAddress(to), sealed, {
      timeoutMs: this.process.trueMs(timeoutMs),
      bytes,
      done: (reply) => done(reply === undefined ? undefined : this.#open(reply)),
    })
  }

  #request(from: string, request: SwimRequest, reply: (reply: SwimRequest | undefined) => void): void {
    const id = this.#nextId++
    this.#replies.set(id, reply)
    const opened = this.#open(request)
    if (opened === undefined) this.#reply(id, undefined)
    else if ('ping' in opened) this.#step({ kind: 'stream-ping', id, ping: opened.ping })
    else this.#step({ kind: 'exchange-request', id, from: parseAddress(from), exchange: opened.exchange })
  }

  #reply(id: number, reply: Exclude<SwimRequest, { bytes: Buffer }> | undefined): void {
    const answer = this.#replies.get(id)
    this.#replies.delete(id)
    answer?.(reply === undefined ? undefined : this.#seal(reply).sealed)
  }

  #seal(request: Exclude<SwimRequest, { bytes: Buffer }>): { sealed: SwimRequest; bytes: number } {
    const { envelope } = this.#options
    if (envelope === undefined) return { sealed: request, bytes: 0 }
    const message = 'ping' in request ? request.ping : ({ kind: 'push-pull', exchange: request.exchange } as const)
    const bytes = sealStream(message, envelope)
    return { sealed: { bytes }, bytes: bytes.length }
  }

  #open(request: SwimRequest): Exclude<SwimRequest, { bytes: Buffer }> | undefined {
    if (!('bytes' in request)) return request
    const decoder = new StreamDecoder(this.#options.envelope as Envelope, PORT)
    decoder.push(request.bytes)
    for (;;) {
      const got = decoder.advance()
      if (got === 'turn') continue
      if (got === 'bytes') return undefined
      if (got.kind === 'ping') return { ping: got }
      return got.kind === 'push-pull' ? { exchange: got.exchange } : undefined
    }
  }
}

function parseAddress(text: string): Address {
  const at = text.lastIndexOf(':')
  const host = text.slice(0, at).replaceAll(/[[\]]/g, '')
  return { host: parseHost(host) as string, port: Number(text.slice(at + 1)) }
}

/** An input in a few words. */
function say(input: SwimInput): string {
  if (input.kind !== 'message') return input.kind
  const { message } = input
  const about = 'incarnation' in message ? ` ${message.node}@${message.incarnation}` : ''
  return `${message.kind}${about}${'from' in message ? ` from ${message.from}` : ''}`
}
