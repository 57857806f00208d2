// Membership by gossip: SWIM with the Lifeguard extensions, in memberlist's dialect. Takes what arrives, what comes due and
// what this node wants to say; answers with what to send, when to look again and what changed. cluster.md §3.6–3.10.

import { assert, unreachable } from '../../../runtime/base/assert.ts'
import type { Env } from '../../../runtime/base/env.ts'
import { Histogram } from '../../../runtime/base/histogram.ts'
import { type Address, formatAddress, isHostAllowed, isSameAddress } from './address.ts'
import { Awareness } from './awareness.ts'
import { Broadcasts, PART_OVERHEAD_BYTES, transmitLimit } from './broadcasts.ts'
import { type MemberEvent, MemberEvents } from './events.ts'
import { FrameQueues } from './frame-queues.ts'
import {
  Inquiries,
  type InquiryEffect,
  type InquiryInput,
  type InquirySurroundings,
  type InquiryTimer,
} from './inquiries.ts'
import { Departed, isLive, type Member, Members } from './members.ts'
import type {
  Alive,
  Dead,
  Exchange,
  Frame,
  IndirectPing,
  Message,
  NodeState,
  Ping,
  Suspect,
  SwimWire,
  Versions,
} from './messages.ts'
import { aliveOf, claimOf, nodeStateOf, pushPullIntervalMs, versionProblem } from './push-pull.ts'
import type { SwimSettings } from './settings.ts'
import { Suspicion, suspicionTerms } from './suspicion.ts'

/** Where to look for others: an entry of `join_addrs`, resolved. */
export interface Seed {
  /** Name of the node where the entry gave one. */
  readonly name?: string
  readonly address: Address
}

export type SwimInput =
  | { kind: 'start' }
  | { kind: 'message'; from: Address; message: Message }
  /** A ping on a stream, answered by `stream-ack` or `stream-refuse` with the same id. */
  | { kind: 'stream-ping'; id: number; ping: Ping }
  | { kind: 'stream-pong'; seqNo: number; isAnswered: boolean }
  /** A peer's half of an exchange; the answer is `exchange-reply` with the same id. */
  | { kind: 'exchange-request'; id: number; from: Address; exchange: Exchange }
  | { kind: 'exchange-done'; id: number; exchange: Exchange }
  | { kind: 'exchange-failed'; id: number; reason: string }
  /** The network stack refused the ping of a probe. */
  | { kind: 'send-failed'; seqNo: number }
  | { kind: 'seeds-resolved'; purpose: SeedPurpose; seeds: readonly Seed[] }
  | { kind: 'join'; seeds: readonly Seed[] }
  | { kind: 'tags'; tags: ReadonlyMap<string, string> }
  | { kind: 'broadcast'; frame: Frame; key: string }
  /** The event loop stood still. */
  | { kind: 'paused'; pausedMs: number }
  | { kind: 'leave' }
  | Exclude<InquiryInput, InquiryTimer>
  | SwimTimer

type SeedPurpose = 'join' | 'seed-check'

/** Inputs that effects of kind `timer` carry; one that no longer fits is ignored. */
export type SwimTimer =
  | { kind: 'probe-tick' }
  | { kind: 'probe-timeout'; seqNo: number }
  | { kind: 'probe-deadline'; seqNo: number }
  | { kind: 'relay-timeout'; seqNo: number }
  | { kind: 'suspicion-due'; node: string; token: number }
  | { kind: 'last-call'; node: string; token: number; deadlineMs: number }
  | { kind: 'check-due'; seqNo: number }
  | { kind: 'gossip-tick' }
  | { kind: 'push-pull-tick' }
  | { kind: 'reconnect-tick' }
  | { kind: 'join-due' }
  | { kind: 'tags-due' }
  | { kind: 'leave-announced' }
  | { kind: 'leave-due' }
  | InquiryTimer

export type SwimEffect =
  /** One datagram where the parts fit; `probe` names the probe that a refusal of the network stack fails. */
  | { kind: 'send'; to: Address; parts: readonly Message[]; withCrc: boolean; probe?: number }
  | { kind: 'timer'; afterMs: number; then: SwimTimer }
  | { kind: 'stream-ping'; to: Address; ping: Ping; timeoutMs: number }
  | { kind: 'stream-ack'; id: number; seqNo: number }
  | { kind: 'stream-refuse'; id: number }
  /** Frames of the services are for the driver to add. */
  /** `first` is asked before, over a stream; without its ack the exchange fails. */
  | { kind: 'exchange'; id: number; to: Address; exchange: Exchange; first?: Ping }
  | { kind: 'exchange-reply'; id: number; exchange: Exchange }
  | { kind: 'resolve-seeds'; purpose: SeedPurpose }
  | { kind: 'member'; event: MemberEvent }
  /** Data of the services above; `from` is the name of the sender where it is known. */
  | { kind: 'frames'; frames: readonly Frame[]; from?: string }
  /** Something a person may want to know; `event` is stable. */
  | { kind: 'log'; level: 'info' | 'warn'; event: string; fields: Record<string, string | number> }
  /** The join reached somebody, and nobody else has this node's name. */
  | { kind: 'joined' }
  /** Another running node has this node's name: do not start. */
  | { kind: 'name-in-use'; address: Address }
  /** An earlier run of this name had a higher epoch; this run's is above it now. */
  | { kind: 'epoch-raised'; epoch: number }
  /** The leave is told, or nobody is there to hear it. */
  | { kind: 'left' }
  | InquiryEffect

interface SwimOptions {
  readonly name: string
  /** Where others reach this node. */
  readonly address: Address
  readonly clusterId: string
  /** This run of the process. */
  readonly epoch: number
  /** Own tags but `cluster_id` and `epoch`, which are added. */
  readonly tags: ReadonlyMap<string, string>
  /** Whether there are `join_addrs`; a node without any is a seed. */
  readonly hasSeeds: boolean
  readonly settings: SwimSettings
  readonly wire: SwimWire
}

/** Things that happened, by how often. */
export interface SwimCounters {
  probes: number
  probeFailures: number
  suspicions: number
  deaths: number
  refutes: number
  conflicts: number
  foreignCluster: number
  /** Claims that broke a rule or had no room. */
  ignoredClaims: number
  pings: number
  pingsForOthers: number
  relaysRefused: number
  pushPulls: number
  pushPullFailures: number
  pushPullsRefused: number
  /** Broken mesh connections that were looked into, and the deaths that were found so. */
  inquiries: number
  inquiryVerdicts: number
}

/** How a probe ended: somebody's ack came, the node answered over TCP alone, or it did not. */
export type ProbeResult = 'ok' | 'tcp' | 'failed'

/** The longest meta that memberlist takes. */
export const META_BYTES_MAX = 512

const NO_VERSIONS: Versions = [0, 0, 0, 0, 0, 0]
const INCARNATION_MAX = 0xffffffff
const RELAYS_MAX = 1024
const CHECKS_MAX = 64
const EXCHANGES_MAX = 64
const JOIN_RETRY_MIN_MS = 500
const JOIN_RETRY_MAX_MS = 8000
const JOIN_TARGETS_MAX = 32
const LEAVE_MS = 3000
/** Members that are told of a departure each by itself. */
const GOODBYES_MAX = 16
const LAST_CALLS = 3
/** To one node, in a round of gossip. */
const PACKETS_PER_ROUND = 4
const STALE_ANSWERS_MAX = 64
/** From these versions on a peer answers pings on streams, sends nacks, reads checksums. */
const PMAX_STREAM_PING = 3
const PMAX_NACK = 4
const PMAX_CRC = 5

interface Probe {
  readonly seqNo: number
  readonly target: Member
  readonly startedAtMs: number
  /** Invariant: false while only the direct ping is out. */
  isIndirect: boolean
  nacksExpected: number
  nacks: number
  isStreamAnswered: boolean
  readonly deadlineMs: number
}

interface Relay {
  readonly seqNo: number
  readonly to: Address
  readonly name: string
  readonly wantsNack: boolean
}

/** A question whether a node still answers at an address that a claim contests. */
interface Check {
  readonly purpose: 'takeover' | 'own-name'
  readonly address: Address
  claim: Alive
}

interface PendingExchange {
  readonly purpose: 'periodic' | 'join' | 'heal' | 'seed-check'
  readonly address: Address
}

interface Described {
  readonly tags: ReadonlyMap<string, string>
  readonly epoch: number | undefined
  readonly clusterId: string | undefined
}

export class Swim {
  readonly #env: Env
  readonly #settings: SwimSettings
  readonly #wire: SwimWire
  readonly #clusterId: string
  readonly #hasSeeds: boolean
  readonly #name: string
  readonly #members: Members
  readonly #departed: Departed
  readonly #events = new MemberEvents()
  readonly #awareness: Awareness
  readonly #broadcasts: Broadcasts
  readonly #frames: FrameQueues
  /** By node. Invariant: exactly those whose record is `suspect`. */
  readonly #suspicions = new Map<string, Suspicion>()
  readonly #relays = new Map<number, Relay>()
  readonly #checks = new Map<number, Check>()
  readonly #exchanges = new Map<number, PendingExchange>()
  readonly #inquiries: Inquiries
  #probe: Probe | undefined
  #epoch: number
  #tags: ReadonlyMap<string, string>
  #lastTagsAtMs = Number.NEGATIVE_INFINITY
  #isTagsDue = false
  #seqNo: number
  #nextId = 1
  #lTime = 1
  /** Until the first join reached somebody: own names seen elsewhere are a previous run or a reason not to start. */
  #isStarting: boolean
  #isJoining = false
  /** Seeds still to be asked whether they lead to a part of the cluster that this one does not know. */
  #unknownSeeds: Address[] = []
  #joinFailures = 0
  #leave: 'no' | 'announcing' | 'leaving' | 'done' = 'no'
  /** Remembered members that somebody called alive during this step, without news of them. */
  #hinted: Member[] = []
  /** Since the last round of gossip. */
  #staleAnswers = 0
  #lastHintAtMs = Number.NEGATIVE_INFINITY
  #out: SwimEffect[] = []

  /** How long probes took, by how they ended. */
  readonly probeSeconds: Readonly<Record<ProbeResult, Histogram>> = {
    ok: new Histogram(),
    tcp: new Histogram(),
    failed: new Histogram(),
  }
  readonly counters: SwimCounters = {
    probes: 0,
    probeFailures: 0,
    suspicions: 0,
    deaths: 0,
    refutes: 0,
    conflicts: 0,
    foreignCluster: 0,
    ignoredClaims: 0,
    pings: 0,
    pingsForOthers: 0,
    relaysRefused: 0,
    pushPulls: 0,
    pushPullFailures: 0,
    pushPullsRefused: 0,
    inquiries: 0,
    inquiryVerdicts: 0,
  }

  constructor(options: SwimOptions, env: Env) {
    const { settings, wire } = options
    this.#env = env
    this.#settings = settings
    this.#wire = wire
    this.#name = options.name
    this.#clusterId = options.clusterId
    this.#epoch = options.epoch
    this.#tags = options.tags
    this.#hasSeeds = options.hasSeeds
    this.#isStarting = options.hasSeeds
    this.#members = new Members({ countMax: settings.membersMax }, env)
    this.#departed = new Departed({ countMax: settings.membersMax, keepMs: settings.reconnectTimeoutMs })
    this.#awareness = new Awareness(settings.awarenessMax)
    const lengthOf = (message: Message): number => wire.lengthOf(message)
    // Accusations and refutations are keyed by node, so the table bounds them; serf's intent has a key of its own.
    this.#broadcasts = new Broadcasts({ countMax: settings.membersMax + 1, lengthOf })
    this.#frames = new FrameQueues({ countMax: settings.userFramesMax, lengthOf })
    this.#inquiries = this.#newInquiries()
    // A previous run's acks may still be on their way.
    this.#seqNo = env.randomInt(0x40000000)
    const meta = this.#ownMeta()
    const described = this.#describe(meta)
    this.#members.set({
      name: options.name,
      address: options.address,
      meta,
      tags: described.tags,
      epoch: described.epoch,
      incarnation: 1,
      state: 'alive',
      changedAtMs: env.nowMs(),
      versions: settings.versions,
    })
  }

  /** This node as others are told of it. */
  get self(): Member {
    return this.#members.get(this.#name) as Member
  }

  /** Every known node in any state, by name. */
  members(): readonly Member[] {
    return this.#members.sorted()
  }

  /** What is known of one node; undefined when nothing is. */
  member(name: string): Member | undefined {
    return this.#members.get(name)
  }

  get healthScore(): number {
    return this.#awareness.score
  }

  /** Messages about nodes, and frames, that wait to be told. */
  get queueDepth(): number {
    return this.#broadcasts.count + this.#frames.count
  }

  get framesDropped(): number {
    return this.#frames.droppedTotal
  }

  step(input: SwimInput): SwimEffect[] {
    this.#out = []
    this.#hinted = []
    if (this.#leave !== 'done') this.#handle(input)
    this.#followHint()
    return this.#out
  }

  #handle(input: SwimInput): void {
    switch (input.kind) {
      case 'start':
        return this.#start()
      case 'message':
        return this.#message(input.from, input.message)
      case 'stream-ping':
        return this.#streamPing(input.id, input.ping)
      case 'stream-pong':
        return this.#streamPong(input.seqNo, input.isAnswered)
      case 'exchange-request':
        return this.#exchangeRequest(input.id, input.exchange)
      case 'exchange-done':
        return this.#exchangeDone(input.id, input.exchange)
      case 'exchange-failed':
        return this.#exchangeFailed(input.id, input.reason)
      case 'send-failed':
        if (this.#probe?.seqNo === input.seqNo) this.#probeIndirectly(this.#probe)
        return
      case 'seeds-resolved':
        return input.purpose === 'join' ? this.#joinSeeds(input.seeds) : this.#checkSeeds(input.seeds)
      case 'join':
        return this.#joinSeeds(input.seeds)
      case 'tags':
        this.#tags = input.tags
        return this.#updateTags()
      case 'broadcast':
        return this.#frames.queue(input.frame, input.key)
      case 'paused':
        this.#awareness.apply(Math.floor(input.pausedMs / 1000))
        // Acks and refutations may have waited, or been dropped, while nobody read them: that is not the others' fault.
        this.#probe = undefined
        this.#inquiries.abandon()
        return this.#postponeVerdicts(input.pausedMs)
      case 'leave':
        return this.#startLeave()
      case 'probe-tick':
        return this.#probeTick()
      case 'probe-timeout':
        if (this.#probe?.seqNo === input.seqNo) this.#probeIndirectly(this.#probe)
        return
      case 'probe-deadline':
        if (this.#probe?.seqNo === input.seqNo) this.#endProbe(this.#probe)
        return
      case 'relay-timeout':
        return this.#relayTimeout(input.seqNo)
      case 'suspicion-due':
        return this.#suspicionDue(input.node, input.token)
      case 'last-call':
        return this.#lastCall(input.node, input.token, input.deadlineMs)
      case 'check-due':
        return this.#checkDue(input.seqNo)
      case 'gossip-tick':
        return this.#gossipTick()
      case 'push-pull-tick':
        return this.#pushPullTick()
      case 'reconnect-tick':
        return this.#reconnectTick()
      case 'join-due':
        if (this.#isJoining) this.#out.push({ kind: 'resolve-seeds', purpose: 'join' })
        return
      case 'tags-due':
        this.#isTagsDue = false
        return this.#updateTags()
      case 'leave-announced':
        return this.#leaveAnnounced()
      case 'leave-due':
        return this.#endLeave()
      case 'link-lost':
        if (this.#leave === 'no') this.#inquiries.step(input)
        return
      case 'ports-checked':
      case 'witness-said':
      case 'finding-asked':
      case 'inquiry-due':
      case 'question-due':
        return this.#inquiries.step(input)
      default:
        return unreachable(input)
    }
  }

  #start(): void {
    const { probeIntervalMs, gossipIntervalMs, reconnectIntervalMs, pushPullIntervalMs } = this.#settings
    this.#tell(aliveOf(this.self))
    // Staggered, so that nodes started together do not all speak at once ever after.
    this.#timer(this.#env.randomInt(Math.ceil(probeIntervalMs)), { kind: 'probe-tick' })
    this.#timer(this.#env.randomInt(Math.ceil(gossipIntervalMs)), { kind: 'gossip-tick' })
    this.#timer(this.#env.randomInt(Math.ceil(reconnectIntervalMs)), { kind: 'reconnect-tick' })
    if (pushPullIntervalMs > 0) {
      this.#timer(this.#env.randomInt(Math.ceil(pushPullIntervalMs)), { kind: 'push-pull-tick' })
    }
    if (this.#hasSeeds) {
      this.#isJoining = true
      this.#out.push({ kind: 'resolve-seeds', purpose: 'join' })
    } else this.#out.push({ kind: 'joined' })
  }

  // ── Packets ────────────────────────────────────────────────────────────────────────────────────────────────────────

  #message(from: Address, message: Message): void {
    this.#inquiries.heard(from)
    switch (message.kind) {
      case 'ping':
        return this.#ping(from, message)
      case 'indirect-ping':
        return this.#indirectPing(from, message)
      case 'ack':
        return this.#ack(message.seqNo)
      case 'nack':
        if (this.#probe?.seqNo === message.seqNo) this.#probe.nacks++
        return
      case 'alive':
        return this.#alive(message, { isFirstHand: false })
      case 'suspect':
        return this.#isStale(message) ? this.#answerStale(from) : this.#suspect(message)
      case 'dead':
        return this.#isStale(message) ? this.#answerStale(from) : this.#dead(message)
      case 'frame': {
        const { frameKind, payload } = message
        this.#out.push({ kind: 'frames', frames: [{ frameKind, payload }] })
        return
      }
      case 'serf-leave':
      case 'serf':
        this.#lTime = Math.max(this.#lTime, message.lTime + 1)
        return
      default:
        return unreachable(message)
    }
  }

  #ping(from: Address, ping: Ping): void {
    this.counters.pings++
    const isOwnQuestion = ping.sourceNode === this.#name
    if (!this.#isForUs(ping)) {
      if (!isOwnQuestion) this.#log('warn', 'gossip_ping_for_other', { from: formatAddress(from), meant: ping.node })
      return
    }
    this.#send(this.#replyTo(ping.source, from), ping.sourceNode, [{ kind: 'ack', seqNo: ping.seqNo }])
  }

  /** Where an answer goes: where the asker says, unless nodes cannot be there. */
  #replyTo(source: Address | undefined, from: Address): Address {
    return source !== undefined && isHostAllowed(source.host, this.#settings.allowedCidrs) ? source : from
  }

  #streamPing(id: number, ping: Ping): void {
    this.counters.pings++
    if (ping.sourceNode !== undefined) this.#inquiries.heardOf(ping.sourceNode)
    if (this.#isForUs(ping)) this.#out.push({ kind: 'stream-ack', id, seqNo: ping.seqNo })
    else this.#out.push({ kind: 'stream-refuse', id })
  }

  /** Whether a ping means this node: its address may have belonged to another one. */
  #isForUs(ping: Ping): boolean {
    // An own question about an address that turned out to be ours too: nobody else answers there.
    if (ping.sourceNode === this.#name && this.#checks.has(ping.seqNo)) {
      this.#checkDue(ping.seqNo)
      return false
    }
    if (ping.node === '' || ping.node === this.#name) return true
    this.counters.pingsForOthers++
    return false
  }

  #indirectPing(from: Address, request: IndirectPing): void {
    const to = this.#replyTo(request.source, from)
    if (this.#relays.size >= RELAYS_MAX || !isHostAllowed(request.target.host, this.#settings.allowedCidrs)) {
      this.counters.relaysRefused++
      return
    }
    const seqNo = this.#newSeqNo()
    this.#relays.set(seqNo, {
      seqNo: request.seqNo,
      to,
      name: request.sourceNode ?? '',
      wantsNack: request.wantsNack,
    })
    this.#send(request.target, request.node, [this.#pingTo(request.node, seqNo)])
    this.#timer(this.#settings.probeTimeoutMs, { kind: 'relay-timeout', seqNo })
  }

  #relayTimeout(seqNo: number): void {
    const relay = this.#relays.get(seqNo)
    if (relay === undefined) return
    this.#relays.delete(seqNo)
    if (relay.wantsNack) this.#send(relay.to, relay.name, [{ kind: 'nack', seqNo: relay.seqNo }])
  }

  #ack(seqNo: number): void {
    if (this.#probe?.seqNo === seqNo) return this.#probeSucceeded(this.#probe, 'ok')
    const relay = this.#relays.get(seqNo)
    if (relay !== undefined) {
      this.#relays.delete(seqNo)
      this.#send(relay.to, relay.name, [{ kind: 'ack', seqNo: relay.seqNo }])
      return
    }
    this.#inquiries.acked(seqNo)
    this.#checkAnswered(seqNo)
  }

  #streamPong(seqNo: number, isAnswered: boolean): void {
    if (!isAnswered) return
    if (this.#probe?.seqNo === seqNo) this.#probe.isStreamAnswered = true
    else this.#checkAnswered(seqNo)
  }

  // ── Probing ────────────────────────────────────────────────────────────────────────────────────────────────────────

  #probeTick(): void {
    if (this.#leave !== 'no') return
    // A probe that needs longer than the interval swallows ticks: the node is not well and slows down.
    if (this.#probe === undefined) this.#startProbe()
    this.#timer(this.#settings.probeIntervalMs, { kind: 'probe-tick' })
  }

  #startProbe(): void {
    const nowMs = this.#env.nowMs()
    const { target, reaped } = this.#members.nextToProbe(
      (member) => isLive(member) && member.name !== this.#name,
      (member) => !isLive(member) && nowMs - member.changedAtMs > this.#settings.gossipToTheDeadMs,
    )
    for (const member of reaped) {
      this.#broadcasts.forget(member.name)
      if (member.epoch !== undefined) this.#departed.add(member, nowMs)
    }
    if (target === undefined) {
      // Who has nobody to ask has no reason to doubt itself; nothing else would ever take the doubt away.
      this.#awareness.apply(-1)
      return
    }
    this.counters.probes++
    const seqNo = this.#newSeqNo()
    const deadlineMs = this.#awareness.scaleMs(this.#settings.probeIntervalMs)
    this.#probe = {
      seqNo,
      target,
      startedAtMs: nowMs,
      isIndirect: false,
      nacksExpected: 0,
      nacks: 0,
      isStreamAnswered: false,
      deadlineMs: nowMs + deadlineMs,
    }
    const { name, incarnation, state } = target
    const parts: Message[] = [this.#pingTo(name, seqNo)]
    // A suspect learns of the accusation together with the question, so that it can refute at once.
    if (state === 'suspect') parts.push({ kind: 'suspect', incarnation, node: name, from: this.#name })
    this.#send(target.address, name, parts, seqNo)
    this.#timer(this.#settings.probeTimeoutMs, { kind: 'probe-timeout', seqNo })
    this.#timer(deadlineMs, { kind: 'probe-deadline', seqNo })
  }

  #probeSucceeded(probe: Probe, result: ProbeResult): void {
    this.#observe(probe, result)
    this.#probe = undefined
    this.#awareness.apply(-1)
  }

  #observe({ startedAtMs }: Probe, result: ProbeResult): void {
    this.probeSeconds[result].observe((this.#env.nowMs() - startedAtMs) / 1000)
  }

  #probeIndirectly(probe: Probe): void {
    if (probe.isIndirect) return
    probe.isIndirect = true
    const { target, seqNo } = probe
    const { name, address } = target
    probe.nacksExpected += this.#pingThroughOthers(target, seqNo)
    if (this.#settings.tcpPings && target.versions[1] >= PMAX_STREAM_PING) {
      const timeoutMs = Math.max(0, probe.deadlineMs - this.#env.nowMs())
      this.#out.push({ kind: 'stream-ping', to: address, ping: this.#pingTo(name, seqNo), timeoutMs })
    }
  }

  /** Asks some others to ping a node. @returns how many of them will say so when it does not answer */
  #pingThroughOthers({ name, address }: Member, seqNo: number): number {
    let nacksExpected = 0
    const relays = this.#members.choose(
      this.#settings.indirectChecks,
      (member) => member.state === 'alive' && member.name !== this.#name && member.name !== name,
    )
    for (const relay of relays) {
      const wantsNack = relay.versions[1] >= PMAX_NACK
      if (wantsNack) nacksExpected++
      const request: IndirectPing = {
        kind: 'indirect-ping',
        seqNo,
        target: address,
        node: name,
        wantsNack,
        source: this.self.address,
        sourceNode: this.#name,
      }
      this.#send(relay.address, relay.name, [request])
    }
    return nacksExpected
  }

  #endProbe(probe: Probe): void {
    if (probe.isStreamAnswered) {
      const { name, address } = probe.target
      this.#log('warn', 'gossip_udp_blocked', { peer: name, address: formatAddress(address) })
      return this.#probeSucceeded(probe, 'tcp')
    }
    this.#observe(probe, 'failed')
    this.#probe = undefined
    this.counters.probeFailures++
    // Relays that do not even say no hint at a problem on this side.
    this.#awareness.apply(probe.nacksExpected > 0 ? Math.max(0, probe.nacksExpected - probe.nacks) : 1)
    const { name, incarnation } = probe.target
    this.#suspect({ kind: 'suspect', incarnation, node: name, from: this.#name })
  }

  // ── Broken mesh connections ────────────────────────────────────────────────────────────────────────────────────────

  #newInquiries(): Inquiries {
    const around: InquirySurroundings = {
      member: (name) => (name === this.#name ? undefined : this.#members.get(name)),
      patienceMs: () => this.#awareness.scaleMs(this.#settings.probeTimeoutMs),
      newId: () => this.#nextId++,
      choosePeer: (accepts) =>
        this.#members.choose(
          1,
          (member) =>
            member.state === 'alive' && member.epoch !== undefined && member.name !== this.#name && accepts(member),
        )[0],
      ping: ({ name, address, incarnation }, isAccused) => {
        const seqNo = this.#newSeqNo()
        const parts: Message[] = [this.#pingTo(name, seqNo)]
        if (isAccused) parts.push({ kind: 'suspect', incarnation, node: name, from: this.#name })
        this.#send(address, name, parts)
        return seqNo
      },
      pingThroughOthers: (member, seqNo) => void this.#pingThroughOthers(member, seqNo),
      suspect: ({ name, incarnation }) => this.#suspect({ kind: 'suspect', incarnation, node: name, from: this.#name }),
      declareDead: ({ name, epoch = 0, incarnation, address }) => {
        this.#log('info', 'gossip_crash_found', { peer: name, epoch, address: formatAddress(address) })
        this.#dead({ kind: 'dead', incarnation, node: name, from: this.#name })
      },
      timer: (afterMs, then) => this.#timer(afterMs, then),
      effect: (effect) => this.#out.push(effect),
    }
    return new Inquiries(around, this.counters)
  }

  // ── Claims about nodes ─────────────────────────────────────────────────────────────────────────────────────────────

  /** @param options.isFirstHand the node itself says so, in an exchange  @param options.isTakeover its old address is silent */
  #alive(claim: Alive, options: { isFirstHand: boolean; isTakeover?: boolean }): void {
    const meta = claim.meta ?? ''
    const [pmin, pmax] = claim.versions ?? this.#members.get(claim.node)?.versions ?? NO_VERSIONS
    if (claim.node === '' || meta.length > META_BYTES_MAX || pmin === 0 || pmax === 0 || pmin > pmax) {
      this.counters.ignoredClaims++
      return
    }
    const record = this.#members.get(claim.node)
    // Most claims repeat what is known, so the tags are read only when they differ.
    const described = record?.meta === meta ? this.#descriptionOf(record) : this.#describe(meta)
    if (described.clusterId !== undefined && described.clusterId !== this.#clusterId) {
      this.counters.foreignCluster++
      this.#log('warn', 'foreign_cluster_id', { peer: claim.node, cluster_id: described.clusterId })
      return
    }
    if (claim.node === this.#name) return this.#aliveAboutSelf(claim, described)
    if (record === undefined) this.#aliveUnknown(claim, described, options.isFirstHand)
    else this.#aliveKnown(record, claim, described, options.isTakeover ?? false)
  }

  #aliveUnknown(claim: Alive, described: Described, isFirstHand: boolean): void {
    if (this.#members.isFull || !isHostAllowed(claim.address.host, this.#settings.allowedCidrs)) {
      this.counters.ignoredClaims++
      return
    }
    const departed = this.#departed.get(claim.node)
    // Somebody slow may still tell of a node that this one has seen dead and forgotten.
    if (departed !== undefined && !isNews(claim, described, departed, isFirstHand)) {
      if (departed.state === 'dead') this.#hinted.push(departed)
      return
    }
    this.#departed.forget(claim.node)
    this.#accept(undefined, claim, described)
  }

  #aliveKnown(record: Member, claim: Alive, described: Described, isTakeover: boolean): void {
    const [known, claimed] = [record.epoch, described.epoch]
    // Words of an earlier run may still be about. A later run whose clock went back learns that from its own record.
    if (known !== undefined && claimed !== undefined && claimed < known) {
      this.counters.ignoredClaims++
      return
    }
    if (isSameAddress(record.address, claim.address)) {
      if (claim.incarnation > record.incarnation) this.#accept(record, claim, described)
      return
    }
    // Within a run no claim takes back a later one, wherever it says the node is.
    if (known !== undefined && known === claimed && claim.incarnation <= record.incarnation) return
    if (!isHostAllowed(claim.address.host, this.#settings.allowedCidrs)) {
      this.counters.ignoredClaims++
      return
    }
    const { deadNodeReclaimMs } = this.#settings
    const isReclaimable =
      record.state === 'left' ||
      (record.state === 'dead' && deadNodeReclaimMs > 0 && this.#env.nowMs() - record.changedAtMs > deadNodeReclaimMs)
    if (isTakeover || isReclaimable) return this.#accept(record, claim, described)
    if (known !== undefined && claimed !== undefined && claimed > known) {
      // A newer run elsewhere: if the old address is silent, there is nobody to take the name from.
      return this.#startCheck('takeover', record.address, claim)
    }
    this.#conflict(record.address, claim)
  }

  #accept(record: Member | undefined, claim: Alive, { tags, epoch }: Described): void {
    const isNewState = record === undefined || record.state !== 'alive'
    this.#suspicions.delete(claim.node)
    const isMoved = record === undefined || !isSameAddress(record.address, claim.address)
    const member: Member = {
      name: claim.node,
      // The same object while nothing moved, so that a change is seen by identity.
      address: isMoved ? claim.address : record.address,
      meta: claim.meta ?? '',
      tags,
      epoch,
      incarnation: claim.incarnation,
      state: 'alive',
      changedAtMs: isNewState ? this.#env.nowMs() : record.changedAtMs,
      versions: claim.versions ?? record?.versions ?? NO_VERSIONS,
    }
    this.#members.set(member)
    this.#tell(claim)
    this.#announce(member)
  }

  #aliveAboutSelf(claim: Alive, described: Described): void {
    if (this.#leave !== 'no') return
    const { address, incarnation, meta, versions } = this.self
    const isHere = isSameAddress(address, claim.address)
    if ((this.#isStarting || isHere) && this.#isOutrunBy(claim, described)) this.#raiseEpoch(described.epoch as number)
    if (!isHere) {
      if (this.#isStarting) return this.#startCheck('own-name', claim.address, claim)
      const isEarlierRun = described.epoch !== undefined && described.epoch < this.#epoch
      if (!isEarlierRun) return this.#conflict(address, claim)
      // Only a newer run outbids an older one, so that two running nodes of one name do not outbid each other for ever.
      if (claim.incarnation >= incarnation) this.#refute(claim.incarnation)
      return
    }
    if (claim.incarnation < incarnation) return
    const isSame = (claim.meta ?? '') === meta && versions.every((version, i) => version === claim.versions?.[i])
    if (claim.incarnation === incarnation && isSame) return
    this.#refute(claim.incarnation)
  }

  /** Somebody lists this node's name as suspect, dead or left: that may be an earlier run with a later epoch. */
  #listedAsGone(node: NodeState): void {
    const { epoch, clusterId } = this.#describe(node.meta ?? '')
    if (this.#leave !== 'no' || epoch === undefined || clusterId !== this.#clusterId) return
    // A suspect elsewhere is a live node, as far as anybody knows: that is a conflict, unless this one is only starting.
    const isElsewhere = node.state === 'suspect' && !isSameAddress(node.address, this.self.address)
    if (epoch > this.#epoch && (this.#isStarting || !isElsewhere)) this.#raiseEpoch(epoch)
    if (isElsewhere && this.#isStarting) this.#startCheck('own-name', node.address, aliveOf(node))
  }

  /** Whether a claim about this node comes from a run that would count as later; this run's own earlier words do not. */
  #isOutrunBy(claim: Alive, { epoch }: Described): boolean {
    if (epoch === undefined || epoch < this.#epoch) return false
    return epoch > this.#epoch || (claim.incarnation >= this.self.incarnation && claim.meta !== this.self.meta)
  }

  #suspect(claim: Suspect): void {
    const record = this.#members.get(claim.node)
    if (record === undefined || claim.incarnation < record.incarnation) return
    const suspicion = this.#suspicions.get(claim.node)
    if (suspicion !== undefined) {
      if (!suspicion.confirm(claim.from)) return
      this.#tell(claim)
      return this.#awaitRefutation(claim.node, suspicion)
    }
    if (record.state !== 'alive') return
    if (claim.node === this.#name) {
      if (this.#leave === 'no') this.#refute(claim.incarnation)
      return
    }
    this.counters.suspicions++
    const nowMs = this.#env.nowMs()
    const started = new Suspicion(
      claim.from,
      suspicionTerms(this.#members.count, this.#settings),
      this.#nextId++,
      nowMs,
    )
    this.#suspicions.set(claim.node, started)
    this.#members.set({ ...record, state: 'suspect', incarnation: claim.incarnation, changedAtMs: nowMs })
    this.#tell(claim)
    this.#awaitRefutation(claim.node, started)
  }

  #awaitRefutation(node: string, { token, deadlineMs }: Suspicion): void {
    const leftMs = Math.max(0, deadlineMs - this.#env.nowMs())
    for (let call = LAST_CALLS; call > 0; call--) {
      const afterMs = leftMs - call * this.#settings.probeTimeoutMs
      if (afterMs > 0) this.#timer(afterMs, { kind: 'last-call', node, token, deadlineMs })
    }
    this.#timer(leftMs, { kind: 'suspicion-due', node, token })
  }

  /** Gives suspects the time back in which this node could not have heard them. */
  #postponeVerdicts(pausedMs: number): void {
    for (const [node, suspicion] of this.#suspicions) {
      suspicion.postpone(pausedMs)
      this.#awaitRefutation(node, suspicion)
    }
  }

  /**
   * Tells the suspect itself, shortly before the verdict. A refutation is told a bounded number of times and may have missed
   * this node; the suspect then answers with it directly.
   */
  #lastCall(node: string, token: number, deadlineMs: number): void {
    const suspicion = this.#suspicions.get(node)
    if (suspicion?.token !== token || suspicion.deadlineMs !== deadlineMs) return
    const { address, incarnation } = this.#members.get(node) as Member
    const accusation: Suspect = { kind: 'suspect', incarnation, node, from: this.#name }
    this.#send(address, node, [this.#pingTo(node, this.#newSeqNo()), accusation])
  }

  /** Whether this node is accused of what it has refuted already. */
  #isStale(claim: Suspect | Dead): boolean {
    return claim.node === this.#name && claim.incarnation < this.self.incarnation
  }

  /** Gives who missed the refutation this node's word. Bounded, since the sender of a datagram may not be who it says. */
  #answerStale(from: Address): void {
    if (this.#leave !== 'no' || this.#staleAnswers >= STALE_ANSWERS_MAX) return
    this.#staleAnswers++
    this.#send(from, undefined, [aliveOf(this.self)])
  }

  #suspicionDue(node: string, token: number): void {
    const suspicion = this.#suspicions.get(node)
    if (suspicion?.token !== token) return
    const leftMs = suspicion.deadlineMs - this.#env.nowMs()
    // Postponed, or a clock that rounds: a suspicion must not be left without a timer.
    if (leftMs > 0) return this.#timer(Math.max(1, leftMs), { kind: 'suspicion-due', node, token })
    const { incarnation } = this.#members.get(node) as Member
    this.#dead({ kind: 'dead', incarnation, node, from: this.#name })
  }

  #dead(claim: Dead): void {
    const record = this.#members.get(claim.node)
    if (record === undefined || claim.incarnation < record.incarnation || !isLive(record)) return
    if (claim.node === this.#name) {
      if (this.#leave === 'no') return this.#refute(claim.incarnation)
      // Whoever leaves says so itself: another's word must not make a failure of it.
      if (claim.from !== this.#name) return
    }
    this.#suspicions.delete(claim.node)
    const state = claim.from === claim.node ? 'left' : 'dead'
    if (state === 'dead') this.counters.deaths++
    const member: Member = { ...record, state, incarnation: claim.incarnation, changedAtMs: this.#env.nowMs() }
    this.#members.set(member)
    this.#tell(claim)
    this.#announce(member)
    this.#joinIfAlone()
  }

  /** Outbids what was claimed about this node. */
  #refute(claimedIncarnation: number): void {
    this.counters.refutes++
    this.#awareness.apply(1)
    this.#renew(Math.min(INCARNATION_MAX, Math.max(this.self.incarnation, claimedIncarnation) + 1))
  }

  /** Tells everybody of this node as it is now. */
  #renew(incarnation: number): void {
    const meta = this.#ownMeta()
    const { tags, epoch } = this.#describe(meta)
    const self: Member = { ...this.self, meta, tags, epoch, incarnation }
    this.#members.set(self)
    this.#tell(aliveOf(self))
  }

  #raiseEpoch(seen: number): void {
    this.#epoch = seen + 1
    this.#renew(this.self.incarnation + 1)
    this.#out.push({ kind: 'epoch-raised', epoch: this.#epoch })
  }

  #updateTags(): void {
    if (this.#isTagsDue || this.#leave !== 'no' || this.#ownMeta() === this.self.meta) return
    const nowMs = this.#env.nowMs()
    const waitMs = this.#lastTagsAtMs + this.#settings.gossipIntervalMs - nowMs
    if (waitMs > 0) {
      this.#isTagsDue = true
      return this.#timer(waitMs, { kind: 'tags-due' })
    }
    this.#lastTagsAtMs = nowMs
    this.#renew(this.self.incarnation + 1)
  }

  #conflict(known: Address, claim: Alive): void {
    this.counters.conflicts++
    this.#log('warn', 'gossip_name_conflict', {
      peer: claim.node,
      known: formatAddress(known),
      claimed: formatAddress(claim.address),
    })
  }

  #announce(member: Member): void {
    for (const event of this.#events.changed(member)) this.#out.push({ kind: 'member', event })
  }

  // ── Contested addresses ────────────────────────────────────────────────────────────────────────────────────────────

  #startCheck(purpose: Check['purpose'], address: Address, claim: Alive): void {
    const asked = [...this.#checks.values()].find((check) => check.claim.node === claim.node)
    if (asked !== undefined) {
      // The newcomer may have outbid the claims about its former run by now: those must not hit it once it is taken.
      const isLater = isSameAddress(asked.claim.address, claim.address) && claim.incarnation > asked.claim.incarnation
      if (isLater) asked.claim = claim
      return
    }
    if (this.#checks.size >= CHECKS_MAX) return
    const seqNo = this.#newSeqNo()
    this.#checks.set(seqNo, { purpose, address, claim })
    const ping = this.#pingTo(claim.node, seqNo)
    const timeoutMs = this.#settings.tcpTimeoutMs
    this.#send(address, claim.node, [ping])
    this.#out.push({ kind: 'stream-ping', to: address, ping, timeoutMs })
    this.#timer(timeoutMs, { kind: 'check-due', seqNo })
  }

  #checkAnswered(seqNo: number): void {
    const check = this.#checks.get(seqNo)
    if (check === undefined) return
    this.#checks.delete(seqNo)
    this.#conflict(check.address, check.claim)
    if (check.purpose === 'own-name' && this.#isStarting)
      this.#out.push({ kind: 'name-in-use', address: check.address })
  }

  #checkDue(seqNo: number): void {
    const check = this.#checks.get(seqNo)
    if (check === undefined) return
    this.#checks.delete(seqNo)
    if (check.purpose === 'own-name') {
      // Silence: it was a previous run of this node, and its claims have to be outbid.
      this.#refute(check.claim.incarnation)
      return this.#endStarting()
    }
    const record = this.#members.get(check.claim.node)
    if (record === undefined || !isSameAddress(record.address, check.address)) return
    this.#dead({ kind: 'dead', incarnation: record.incarnation, node: record.name, from: this.#name })
    this.#alive(check.claim, { isFirstHand: false, isTakeover: true })
  }

  // ── Exchanges ──────────────────────────────────────────────────────────────────────────────────────────────────────

  #pushPullTick(): void {
    if (this.#leave !== 'no') return
    const intervalMs = pushPullIntervalMs(this.#settings.pushPullIntervalMs, this.#members.count)
    this.#timer(intervalMs, { kind: 'push-pull-tick' })
    const isOther = (member: Member): boolean => member.state === 'alive' && member.name !== this.#name
    for (const peer of this.#members.choose(1, isOther)) this.#exchange('periodic', peer.address)
  }

  /** @param name the node that has to be there; undefined: whoever is there will do */
  #exchange(purpose: PendingExchange['purpose'], address: Address, name?: string): void {
    if (this.#exchanges.size >= EXCHANGES_MAX || isSameAddress(address, this.self.address)) return
    const id = this.#nextId++
    this.#exchanges.set(id, { purpose, address })
    this.counters.pushPulls++
    const exchange = this.#ownExchange(purpose !== 'periodic', this.#departed.deadAt(address))
    const first = name === undefined ? {} : { first: this.#pingTo(name, this.#newSeqNo()) }
    this.#out.push({ kind: 'exchange', id, to: address, exchange, ...first })
  }

  /** @param departed whom this node remembers the peer as: it is listed as gone, so that it refutes and all others take it back */
  #ownExchange(join: boolean, departed?: Member): Exchange {
    const nodes: NodeState[] = this.#members.sorted().map(nodeStateOf)
    if (departed !== undefined && this.#members.get(departed.name) === undefined) nodes.push(nodeStateOf(departed))
    return { join, nodes, lTime: this.#lTime, sender: this.#name, frames: [] }
  }

  #exchangeRequest(id: number, exchange: Exchange): void {
    const departed = exchange.sender === undefined ? undefined : this.#departed.get(exchange.sender)
    if (exchange.sender !== undefined) this.#inquiries.heardOf(exchange.sender)
    // The answer goes out before the merge: it says what was known until now.
    this.#out.push({ kind: 'exchange-reply', id, exchange: this.#ownExchange(exchange.join, departed) })
    this.#merge(exchange)
  }

  #exchangeDone(id: number, exchange: Exchange): void {
    const pending = this.#exchanges.get(id)
    if (pending === undefined) return
    this.#exchanges.delete(id)
    const isMerged = this.#merge(exchange)
    if (pending.purpose === 'seed-check') this.#unknownSeeds = []
    if (pending.purpose !== 'join') return
    if (isMerged) this.#joinSucceeded()
    else this.#joinAttemptEnded()
  }

  #exchangeFailed(id: number, reason: string): void {
    const pending = this.#exchanges.get(id)
    if (pending === undefined) return
    this.#exchanges.delete(id)
    this.counters.pushPullFailures++
    if (pending.purpose === 'seed-check') this.#askNextSeed()
    if (pending.purpose !== 'join') return
    this.#log('warn', 'gossip_join_failed', { address: formatAddress(pending.address), reason })
    this.#joinAttemptEnded()
  }

  /** Takes over what a peer knows; false when its versions, or those of a node it lists, do not fit. */
  #merge(exchange: Exchange): boolean {
    if (this.#leave !== 'no') return false
    this.#lTime = Math.max(this.#lTime, exchange.lTime + 1)
    const problem = versionProblem(exchange.nodes, this.#members.sorted())
    if (problem !== undefined) {
      this.counters.pushPullsRefused++
      this.#log('warn', 'gossip_merge_refused', { reason: problem })
      return false
    }
    for (const node of exchange.nodes) {
      if (node.name === this.#name && node.state !== 'alive') this.#listedAsGone(node)
      const claim = claimOf(node, this.#name)
      if (claim.kind === 'alive') this.#alive(claim, { isFirstHand: node.name === exchange.sender })
      else if (claim.kind === 'suspect') this.#suspect(claim)
      else this.#dead(claim)
    }
    if (exchange.frames.length > 0) {
      const from = exchange.sender === undefined ? {} : { from: exchange.sender }
      this.#out.push({ kind: 'frames', frames: exchange.frames, ...from })
    }
    return true
  }

  // ── Joining and healing ────────────────────────────────────────────────────────────────────────────────────────────

  #joinSeeds(seeds: readonly Seed[]): void {
    const others = seeds.filter(({ address }) => !isSameAddress(address, this.self.address)).slice(0, JOIN_TARGETS_MAX)
    // A node that names only itself waits for others to come.
    if (others.length === 0 && seeds.length > 0) return this.#joinSucceeded()
    for (const { address, name } of others) this.#exchange('join', address, name)
    this.#joinAttemptEnded()
  }

  #joinSucceeded(): void {
    this.#isJoining = false
    this.#joinFailures = 0
    this.#endStarting()
  }

  /** The start is over once somebody was reached and no question about the own name is open. */
  #endStarting(): void {
    const isAsking = [...this.#checks.values()].some((check) => check.purpose === 'own-name')
    if (!this.#isStarting || this.#isJoining || isAsking) return
    this.#isStarting = false
    this.#out.push({ kind: 'joined' })
  }

  /** Tries again later once every seed of the attempt has failed. */
  #joinAttemptEnded(): void {
    const isPending = [...this.#exchanges.values()].some((exchange) => exchange.purpose === 'join')
    if (!this.#isJoining || isPending) return
    const afterMs = Math.min(JOIN_RETRY_MAX_MS, JOIN_RETRY_MIN_MS * 2 ** Math.min(this.#joinFailures, 8))
    this.#joinFailures++
    this.#timer(afterMs, { kind: 'join-due' })
  }

  #joinIfAlone(): void {
    if (!this.#hasSeeds || this.#isJoining || this.#leave !== 'no' || this.#livePeers() > 0) return
    this.#isJoining = true
    this.#joinFailures = 0
    this.#joinAttemptEnded()
  }

  #livePeers(): number {
    return this.#members.sorted().reduce((count, member) => count + (isLive(member) ? 1 : 0), 0) - 1
  }

  #reconnectTick(): void {
    if (this.#leave !== 'no') return
    this.#timer(this.#settings.reconnectIntervalMs, { kind: 'reconnect-tick' })
    this.#departed.expire(this.#env.nowMs())
    this.#joinIfAlone()
    const isLost = (member: Member): boolean => member.state === 'dead' && member.epoch !== undefined
    const lost = [...this.#members.sorted().filter(isLost), ...this.#departed.dead()]
    const alive = Math.max(1, this.#livePeers())
    // All nodes together should make about one attempt an interval for each that is lost.
    if (lost.length > 0 && this.#env.randomInt(alive) < lost.length) {
      const peer = lost[this.#env.randomInt(lost.length)] as Member
      this.#exchange('heal', peer.address)
    }
    if (this.#hasSeeds) this.#out.push({ kind: 'resolve-seeds', purpose: 'seed-check' })
  }

  /**
   * Asks one of the members that are remembered as gone and were called alive. Hearsay does not bring a node back, but its
   * own word does: so the halves of a long partition know each other soon after the first contact.
   */
  #followHint(): void {
    if (this.#hinted.length === 0 || this.#leave !== 'no') return
    const nowMs = this.#env.nowMs()
    if (nowMs - this.#lastHintAtMs < this.#settings.probeIntervalMs) return
    this.#lastHintAtMs = nowMs
    this.#exchange('heal', (this.#hinted[this.#env.randomInt(this.#hinted.length)] as Member).address)
  }

  /** A seed that no live member owns may lead to a part of the cluster that this one has forgotten. */
  #checkSeeds(seeds: readonly Seed[]): void {
    const live = new Set(
      this.#members
        .sorted()
        .filter(isLive)
        .map((member) => formatAddress(member.address)),
    )
    this.#unknownSeeds = seeds
      .map((seed) => seed.address)
      .filter((address) => !live.has(formatAddress(address)))
      .slice(0, JOIN_TARGETS_MAX)
    this.#askNextSeed()
  }

  /** One at a time, until one answers. */
  #askNextSeed(): void {
    const address = this.#unknownSeeds.splice(this.#env.randomInt(Math.max(1, this.#unknownSeeds.length)), 1)[0]
    if (address !== undefined && this.#leave === 'no') this.#exchange('seed-check', address)
  }

  // ── Leaving ────────────────────────────────────────────────────────────────────────────────────────────────────────

  #startLeave(): void {
    if (this.#leave !== 'no') return
    this.#leave = 'announcing'
    this.#probe = undefined
    this.#inquiries.abandon()
    this.#timer(LEAVE_MS, { kind: 'leave-due' })
    if (!this.#settings.speaksSerf) return this.#leaveAnnounced()
    // serf shows a node as left only if the intent arrived before the death, so the intent gets a round of its own.
    this.#lTime++
    const intent: Message = { kind: 'serf-leave', lTime: this.#lTime, node: this.#name }
    this.#broadcasts.queue('serf leave', intent)
    this.#sayGoodbye(intent)
    this.#gossip()
    this.#timer(this.#settings.gossipIntervalMs, { kind: 'leave-announced' })
  }

  #leaveAnnounced(): void {
    if (this.#leave !== 'announcing') return
    this.#leave = 'leaving'
    const farewell: Dead = { kind: 'dead', incarnation: this.self.incarnation, node: this.#name, from: this.#name }
    this.#dead(farewell)
    if (!this.#members.sorted().some((member) => isLive(member))) return this.#endLeave()
    this.#sayGoodbye(farewell)
    this.#gossip()
    this.#endLeaveIfTold()
  }

  /**
   * Tells every live member itself, where there are few. Gossip alone may go to members that are dead and not known to be, and who leaves
   * cannot wait to find out.
   */
  #sayGoodbye(message: Message): void {
    const live = this.#members.sorted().filter((member) => isLive(member) && member.name !== this.#name)
    if (live.length > GOODBYES_MAX) return
    for (const { name, address } of live) this.#send(address, name, [message])
  }

  #endLeaveIfTold(): void {
    if (this.#leave === 'leaving' && !this.#broadcasts.has(this.#name)) this.#endLeave()
  }

  #endLeave(): void {
    this.#leave = 'done'
    this.#out.push({ kind: 'left' })
  }

  // ── Gossip ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  #gossipTick(): void {
    this.#staleAnswers = 0
    this.#gossip()
    this.#endLeaveIfTold()
    if (this.#leave !== 'done') this.#timer(this.#settings.gossipIntervalMs, { kind: 'gossip-tick' })
  }

  #gossip(): void {
    if (this.queueDepth === 0) return
    const nowMs = this.#env.nowMs()
    const { gossipNodes, gossipToTheDeadMs } = this.#settings
    // The recently dead are told too: that is how a node that is not dead learns that it has to refute.
    const isTold = (member: Member): boolean =>
      member.name !== this.#name &&
      (isLive(member) || (member.state === 'dead' && nowMs - member.changedAtMs < gossipToTheDeadMs))
    for (const member of this.#members.choose(gossipNodes, isTold)) {
      // What does not fit one packet would wait for the next round, and the one after it: when many join at once that takes long.
      let untold = this.queueDepth
      for (let packets = 0; packets < PACKETS_PER_ROUND && untold > 0; packets++) {
        const told = this.#send(member.address, member.name, [])
        if (told === 0) break
        untold -= told
      }
    }
  }

  /** Queues what is said about a node, in place of what was said before. */
  #tell(message: Alive | Suspect | Dead): void {
    this.#broadcasts.queue(message.node, message)
  }

  /** Sends parts, and as much of what is queued as fits with them. @returns how much of that went */
  #send(to: Address, name: string | undefined, first: readonly Message[], probe?: number): number {
    const member = name === undefined ? undefined : this.#members.get(name)
    const limit = transmitLimit(this.#settings.retransmitMult, this.#members.count)
    let budget = this.#settings.packetBudgetBytes
    for (const part of first) budget -= this.#wire.lengthOf(part) + PART_OVERHEAD_BYTES
    const told = this.#broadcasts.take(budget)
    this.#broadcasts.release(limit)
    // Foreign nodes do not know frames and would complain about each.
    const frames = member?.epoch === undefined ? [] : this.#frames.take(budget - told.bytes, limit)
    const parts = [...first, ...told.messages, ...frames]
    if (parts.length === 0) return 0
    const withCrc = member !== undefined && member.versions[1] >= PMAX_CRC
    this.#out.push({ kind: 'send', to, parts, withCrc, ...(probe === undefined ? {} : { probe }) })
    return parts.length - first.length
  }

  #pingTo(node: string, seqNo: number): Ping {
    return { kind: 'ping', seqNo, node, source: this.self.address, sourceNode: this.#name }
  }

  // ── Words ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  #ownMeta(): string {
    const tags = new Map(this.#tags)
    tags.set('cluster_id', this.#clusterId)
    tags.set('epoch', this.#epoch.toString(36))
    const meta = this.#wire.encodeTags(tags)
    assert(meta.length <= META_BYTES_MAX, `own tags fit ${META_BYTES_MAX} bytes`)
    return meta
  }

  #describe(meta: string): Described {
    const tags = this.#wire.decodeTags(meta) ?? new Map<string, string>()
    const clusterId = tags.get('cluster_id')
    return { tags, clusterId, epoch: clusterId === undefined ? undefined : parseEpoch(tags.get('epoch')) }
  }

  #descriptionOf({ tags, epoch }: Member): Described {
    return { tags, epoch, clusterId: tags.get('cluster_id') }
  }

  #newSeqNo(): number {
    this.#seqNo = (this.#seqNo + 1) >>> 0
    return this.#seqNo
  }

  #timer(afterMs: number, then: SwimTimer): void {
    this.#out.push({ kind: 'timer', afterMs, then })
  }

  #log(level: 'info' | 'warn', event: string, fields: Record<string, string | number>): void {
    this.#out.push({ kind: 'log', level, event, fields })
  }
}

/** Whether a claim says more than what is remembered of a node that is gone. The word of a foreign node always does. */
function isNews(claim: Alive, { epoch }: Described, departed: Member, isFirstHand: boolean): boolean {
  if (epoch === undefined) return true
  const known = departed.epoch ?? 0
  if (epoch !== known) return epoch > known
  return claim.incarnation > departed.incarnation || (isFirstHand && claim.incarnation === departed.incarnation)
}

function parseEpoch(text: string | undefined): number {
  const epoch = text === undefined || !/^[0-9a-z]{1,11}$/.test(text) ? 0 : Number.parseInt(text, 36)
  return Number.isSafeInteger(epoch) ? epoch : 0
}
