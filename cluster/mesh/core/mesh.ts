// All connections of one node: who dials whom, which of two connections stays, when a link session begins, goes on over a new
// connection or ends, and what is written next. Takes what arrives and what comes due, answers with what to do. cluster.md §4.

import { assert, unreachable } from '../../../runtime/base/assert.ts'
import { backoffMs } from '../../../runtime/base/backoff.ts'
import type { Env } from '../../../runtime/base/env.ts'
import { APP, BULK, CHANNEL_CLASSES, CHUNK_BYTES, CLASS_COUNT, isCredited, LINK, PG, RAFT, RLOG } from './classes.ts'
import type { Control, GoodbyeReason } from './control.ts'
import { FIRST, type Frame, frameBytes } from './frames.ts'
import {
  chooseVersion,
  commonFeatures,
  type Handshake,
  type Hello,
  PROTOCOL_VERSIONS,
  type Received,
  type Refuse,
  type RefuseCode,
  reactionTo,
  type Welcome,
} from './handshake.ts'
import { Inbox, Receipts } from './inbox.ts'
import { type Endpoint, isSameEndpoints, type MeshMember } from './members.ts'
import { type OfferOptions, type OfferRefusal, Outbox, QueueBudget } from './outbox.ts'
import {
  AFTER_VIOLATION_MS,
  BACKOFF,
  CHALLENGE_MS,
  FULL_AGAIN_MEMBERS,
  FULL_MEMBERS_MAX,
  HELD_BYTES_MAX,
  IDLE_MS,
  type MeshSettings,
  PARKED_MS,
  SECOND_DIALER_MS,
  SETTLED_MS,
  SOCKET_BYTES_MAX,
  STRANGERS_MAX,
  UNREACHABLE_MS,
} from './settings.ts'

/** What the transport proved about the other end. */
export type Security =
  | { readonly kind: 'plain' | 'psk' }
  | { readonly kind: 'certificate'; readonly names: readonly string[]; readonly notAfterMs: number }

export interface ReceivedMessage {
  readonly classId: number
  readonly seq: number
  readonly bytes: Uint8Array
  /** Before it was inflated. */
  readonly messageBytes: number
}

type GoneReason = 'left' | 'dead' | 'epoch' | 'foreign'

export type MeshInput =
  /** A live member, new or changed. */
  | { kind: 'member'; member: MeshMember }
  | { kind: 'gone'; name: string; epoch: number; reason: GoneReason }
  /** An earlier run of this node had a later epoch: this one counts on from it, as another run for everybody. */
  | { kind: 'epoch'; epoch: number }
  /** What this node says of itself in handshakes. */
  | { kind: 'self'; storeId: string; formationId: string; raftSession?: number }
  | { kind: 'dialed'; connection: number; security: Security }
  | { kind: 'dial-failed'; connection: number; reason: string; code?: RefuseCode }
  /** An accepted connection did not get as far as the handshake of the mesh. */
  | { kind: 'accept-refused'; from: string; reason: string; code?: RefuseCode }
  | { kind: 'accepted'; connection: number; security: Security; from: string }
  | { kind: 'handshake'; connection: number; message: Handshake }
  | { kind: 'control'; connection: number; message: Control }
  | {
      kind: 'messages'
      connection: number
      messages: readonly ReceivedMessage[]
      /** Bytes of frames in the classes that share the window. */
      windowBytes: number
      /** Bytes of messages of credited classes that are not whole yet. */
      assemblingBytes: { readonly bulk: number; readonly rlog: number }
    }
  /** The layer above is done with a message of a credited class. */
  | { kind: 'consumed'; peer: string; connection: number; classId: number; bytes: number }
  /** `classId`: of a whole message that a layer above could not read. */
  | { kind: 'violation'; connection: number; reason: string; classId?: number }
  | { kind: 'closed'; connection: number; reason: string }
  /** The socket wrote; what is left in its buffer. */
  | { kind: 'written'; connection: number; bufferedBytes: number }
  /** The event loop stood still: silence meanwhile was ours. */
  | { kind: 'paused'; pausedMs: number }
  /** Gossip tells everybody that this node leaves. They close its connections when they hear it; it dials nobody again. */
  | { kind: 'leave' }
  /** The node stops: no new connections, and a word to everybody. */
  | { kind: 'drain' }
  | { kind: 'wake' }
  | { kind: 'flush' }

export type DownReason =
  | GoneReason
  /** Without a connection for too long. */
  | 'unreachable'
  /** The peer knows nothing of the session. */
  | 'session_lost'
  | 'overflow'
  | 'violation'
  /** This node's own epoch was raised: for the peer it is another run. */
  | 'own_epoch'
  | 'shutdown'

export type MeshEffect =
  /** Try the endpoints in this order; all within the time. */
  | { kind: 'dial'; connection: number; peer: string; endpoints: readonly Endpoint[]; timeoutMs: number }
  | { kind: 'handshake'; connection: number; message: Handshake }
  /** Controls first, then frames. */
  | { kind: 'write'; connection: number; controls: readonly Control[]; frames: readonly Frame[] }
  /** The handshake is done: what the peer may send from now on. */
  | { kind: 'opened'; connection: number; peer: string; isDeflateNegotiated: boolean }
  /** Write the goodbye if there is one, then close; nothing of this connection is listened to any more. */
  | { kind: 'close'; connection: number; goodbye?: GoodbyeReason; reason: string }
  | { kind: 'deliver'; peer: string; epoch: number; connection: number; message: ReceivedMessage }
  | { kind: 'node-up'; peer: string; epoch: number; features: readonly string[]; facts: PeerFacts }
  | { kind: 'node-down'; peer: string; epoch: number; reason: DownReason }
  /** Also for a session that never was up: whoever waits for an answer waits in vain. */
  | { kind: 'session-over'; peer: string; epoch: number; reason: DownReason }
  /** A queue whose producer was refused has room again. */
  | { kind: 'room'; peer: string; classId: number }
  /** A connection broke that nobody closed; gossip may want to look. */
  | { kind: 'connection-lost'; peer: string; epoch: number; reason: string }
  /** A newer run of this node's name is out there. */
  | { kind: 'stale-self'; knownEpoch: number; peer: string }
  | { kind: 'log'; level: 'info' | 'warn' | 'error'; event: string; fields: Record<string, string | number> }

/** What a peer said of itself. */
export interface PeerFacts {
  readonly storeId: string
  readonly formationId: string
  readonly raftSession?: number
}

export type SendRefusal = OfferRefusal | 'unknown_node' | 'stale_epoch' | 'unreachable' | 'not_connected'

interface MeshOptions {
  readonly name: string
  readonly epoch: number
  readonly clusterId: string
  readonly features: readonly string[]
  readonly settings: MeshSettings
  /** Least and highest version of the protocol that it speaks; default: those of this program. */
  readonly versions?: readonly [min: number, max: number]
}

export interface MeshCounters {
  /** `handshake`: whoever came did not get as far as a handshake of the mesh, and not for a reason with a code. */
  readonly refused: Map<RefuseCode | 'handshake', number>
  readonly dropped: Map<string, number>
  readonly sessionsBroken: Map<DownReason, number>
  readonly messagesSent: number[]
  readonly messagesReceived: number[]
  resumed: number
  reconnects: number
  violations: number
  strangersRefused: number
}

export type LinkState = 'connected' | 'connecting' | 'idle' | 'unreachable'

export interface LinkStatus {
  readonly peer: string
  readonly epoch: number
  readonly state: LinkState
  readonly sessionId: string
  readonly isUp: boolean
  readonly rttMs: number | undefined
  readonly queueBytes: readonly number[]
  readonly reconnects: number
  readonly security: Security['kind'] | undefined
}

type Phase = 'dialing' | 'greeting' | 'expected' | 'challenger' | 'parked' | 'open'

interface Connection {
  readonly id: number
  readonly isDialed: boolean
  readonly from: string
  phase: Phase
  /** Of a dialed connection from the start, of an accepted one once its HELLO was believed. */
  link: Link | undefined
  /** Of an accepted one. */
  hello: Hello | undefined
  security: Security
  /** Of the phase; nothing for an open one. */
  deadlineMs: number
  /** The session that both ends will speak of. */
  sessionId: string
  /** An accepted connection is believed once the dialer spoke after the WELCOME: only then does it know the session. */
  isConfirmed: boolean
  peerMessageBytesMax: number
  features: readonly string[]
  openedAtMs: number
  lastReceivedMs: number
  lastPingMs: number
  pingToken: number
  /** Pings without their pong, by token. */
  readonly pings: Map<number, number>
  wantsPing: boolean
  pongToken: number | undefined
  bufferedBytes: number
  held: MeshInput[]
  heldBytes: number
}

interface Session {
  /** '' until both ends agreed on one. */
  id: string
  isUp: boolean
  readonly outbox: Outbox
  readonly inbox: Inbox
}

interface Link {
  readonly name: string
  readonly epoch: number
  member: MeshMember
  session: Session
  connection: Connection | undefined
  dial: Connection | undefined
  challenger: Connection | undefined
  challengeToken: number
  /** Session id last offered to the peer's HELLO, which it may have taken without our knowing. */
  offeredId: string
  highestDialCount: number
  attempts: number
  nextDialMs: number
  /** Since when a connection is wanted and missing. */
  aloneSinceMs: number | undefined
  /** The last connection was closed for want of traffic. */
  isDormant: boolean
  hasDemand: boolean
  isUnreachable: boolean
  lastTrafficMs: number
  rttMs: number | undefined
  reconnects: number
  /** Of the connection `receiptsOf`, the current or the last one. */
  receipts: Receipts
  receiptsOf: number
}

const COMPLAINT_MS = 60_000
const COMPLAINTS_MAX = 1024
const PINGS_MAX = 8
const SESSION_ID_BYTES = 8
const NONCE_BYTES = 16
const CONTROL_BYTES = 48
const FRAME_BYTES_MAX = 64 * 1024
/** A chunk and what stands before it. */
const FRAME_BYTES_MIN = CHUNK_BYTES + 10
const NODE_NAME = /^[A-Za-z0-9](?:[A-Za-z0-9.-]{0,126}[A-Za-z0-9])?$/

export class MeshCore {
  readonly #options: MeshOptions
  readonly #versions: readonly [min: number, max: number]
  #epoch: number
  readonly #settings: MeshSettings
  readonly #env: Env
  readonly #budget: QueueBudget
  readonly #links = new Map<string, Link>()
  /** Names of the links in order: iteration must not depend on who was heard of first. */
  #names: string[] = []
  readonly #connections = new Map<number, Connection>()
  readonly #dirty = new Set<Connection>()
  readonly #overflowed = new Set<Link>()
  /** Session id last offered to a run (`name/epoch`) that gossip does not know. */
  readonly #offeredToParked = new Map<string, string>()
  readonly #complaints = new Map<string, number>()
  #self: PeerFacts = { storeId: '', formationId: '' }
  #nextConnection = 1
  #dialCount = 0
  #strangers = 0
  #isLazy: boolean
  #isLeaving = false
  #isDraining = false
  #nextDueMs = Number.POSITIVE_INFINITY
  #out: MeshEffect[] = []
  readonly counters: MeshCounters = {
    refused: new Map(),
    dropped: new Map(),
    sessionsBroken: new Map(),
    messagesSent: new Array(CLASS_COUNT).fill(0),
    messagesReceived: new Array(CLASS_COUNT).fill(0),
    resumed: 0,
    reconnects: 0,
    violations: 0,
    strangersRefused: 0,
  }

  constructor(options: MeshOptions, env: Env) {
    const { keepaliveIntervalMs, keepaliveTimeoutMs } = options.settings
    assert(keepaliveTimeoutMs >= 2 * keepaliveIntervalMs, 'keepaliveTimeoutMs >= 2 * keepaliveIntervalMs')
    this.#options = options
    this.#versions = options.versions ?? PROTOCOL_VERSIONS
    this.#epoch = options.epoch
    this.#settings = options.settings
    this.#env = env
    this.#budget = new QueueBudget(options.settings.totalQueueBytesMax)
    this.#isLazy = options.settings.topology === 'lazy'
  }

  /** When `wake` is due at the latest; infinity when nothing is. */
  get nextDueMs(): number {
    return this.#nextDueMs
  }

  /** Whether `flush` has something to do. */
  get isDirty(): boolean {
    return this.#dirty.size > 0 || this.#overflowed.size > 0 || this.#out.length > 0
  }

  get totalQueueBytes(): number {
    return this.#budget.usedBytes
  }

  /** The id of a connection that is about to be announced with `accepted`. */
  newConnection(): number {
    return this.#nextConnection++
  }

  links(): LinkStatus[] {
    return this.#names.map((name) => statusOf(this.#links.get(name) as Link))
  }

  link(name: string): LinkStatus | undefined {
    const link = this.#links.get(name)
    return link === undefined ? undefined : statusOf(link)
  }

  /** Whether both ends of the link can do this; false while there is no connection. */
  hasFeature(peer: string, feature: string): boolean {
    return this.#links.get(peer)?.connection?.features.includes(feature) ?? false
  }

  /**
   * Queues a message, whose bytes nobody may change afterwards. It goes out with the next `flush`.
   * @param to.epoch the run that it is for; absent: whichever runs now
   * @returns why it was not taken
   */
  send(
    to: { readonly peer: string; readonly epoch?: number },
    classId: number,
    bytes: Uint8Array,
    options: OfferOptions = {},
  ): SendRefusal | undefined {
    const link = this.#links.get(to.peer)
    if (link === undefined) return 'unknown_node'
    if (to.epoch !== undefined && to.epoch !== link.epoch) return 'stale_epoch'
    this.#demand(link)
    const connection = link.connection
    if (link.isUnreachable) return 'unreachable'
    // Consensus repeats itself: what could not be sent at once is better made anew.
    if ((classId === RAFT || classId === RLOG) && connection?.isConfirmed !== true) return 'not_connected'
    const refusal = link.session.outbox.offer(classId, bytes, options)
    if (refusal === undefined) {
      if (connection !== undefined) this.#dirty.add(connection)
      return undefined
    }
    if (refusal === 'overflow') this.#overflowed.add(link)
    this.#countDropped(classId, refusal === 'too_large' ? 'too_large' : 'queue_full', 1)
    return refusal
  }

  /** Whether the queue has room for a small message. */
  hasRoom(to: { readonly peer: string; readonly epoch: number }, classId: number): boolean {
    const link = this.#links.get(to.peer)
    if (link?.epoch !== to.epoch || link.isUnreachable) return false
    return link.session.outbox.refusal(classId, 0) === undefined
  }

  /** Why `send` would not take a message of so many bytes now. What is refused counts as dropped. */
  refusal(
    to: { readonly peer: string; readonly epoch?: number },
    classId: number,
    byteCount: number,
    options: OfferOptions = {},
  ): SendRefusal | undefined {
    const link = this.#links.get(to.peer)
    if (link === undefined) return 'unknown_node'
    if (to.epoch !== undefined && to.epoch !== link.epoch) return 'stale_epoch'
    if (link.isUnreachable) return 'unreachable'
    const refusal = link.session.outbox.refusal(classId, byteCount, options)
    if (refusal === 'too_large' || refusal === 'queue_full') this.#countDropped(classId, refusal, 1)
    return refusal
  }

  step(input: MeshInput): MeshEffect[] {
    switch (input.kind) {
      case 'member':
        this.#member(input.member)
        break
      case 'gone':
        this.#gone(input.name, input.epoch, input.reason)
        break
      case 'epoch':
        this.#raiseEpoch(input.epoch)
        break
      case 'self': {
        const { kind: _, ...facts } = input
        this.#self = facts
        break
      }
      case 'dialed':
        this.#dialed(input.connection, input.security)
        break
      case 'dial-failed':
        this.#dialFailed(input)
        break
      case 'accept-refused': {
        const { from, reason, code } = input
        this.#count(this.counters.refused, code ?? 'handshake')
        // By host: the port is another one each time.
        const host = from.slice(0, Math.max(0, from.lastIndexOf(':')))
        this.#complain(`accept ${host}`, 'warn', 'mesh_refused', { from, code: code ?? 'handshake', reason })
        break
      }
      case 'accepted':
        this.#accepted(input.connection, input.security, input.from)
        break
      case 'handshake':
        this.#handshake(input.connection, input.message)
        break
      case 'control':
      case 'messages': {
        const connection = this.#connections.get(input.connection)
        if (connection !== undefined) this.#traffic(connection, input)
        break
      }
      case 'consumed': {
        const link = this.#links.get(input.peer)
        if (link === undefined) break
        link.receipts.consumed(input.classId, input.bytes, link.receiptsOf !== input.connection)
        if (link.connection !== undefined) this.#dirty.add(link.connection)
        break
      }
      case 'violation': {
        const connection = this.#connections.get(input.connection)
        if (input.classId !== undefined) this.#countDropped(input.classId, 'decode', 1)
        else if (connection !== undefined) this.#countDropped(LINK, 'decode', 1)
        if (connection !== undefined) this.#violation(connection, input.reason)
        break
      }
      case 'closed': {
        const connection = this.#connections.get(input.connection)
        if (connection !== undefined) this.#broken(connection, input.reason)
        break
      }
      case 'written': {
        const connection = this.#connections.get(input.connection)
        if (connection === undefined) break
        const wasFull = connection.bufferedBytes >= SOCKET_BYTES_MAX
        connection.bufferedBytes = input.bufferedBytes
        if (connection.phase !== 'open') break
        if (wasFull || connection.link?.session.outbox.isSendable === true) this.#dirty.add(connection)
        break
      }
      case 'paused':
        for (const connection of this.#connections.values()) {
          connection.lastReceivedMs = Math.min(this.#env.nowMs(), connection.lastReceivedMs + input.pausedMs)
          connection.deadlineMs += input.pausedMs
        }
        break
      case 'leave':
        this.#isLeaving = true
        break
      case 'drain':
        this.#drain()
        break
      case 'wake':
        this.#wake()
        break
      case 'flush':
        break
      default:
        return unreachable(input)
    }
    this.#flush()
    const out = this.#out
    this.#out = []
    return out
  }

  // --- Members ---------------------------------------------------------------------------------------------------------

  #member(member: MeshMember): void {
    assert(member.name !== this.#options.name, 'a member is another node')
    if (this.#isDraining) return
    const before = this.#links.get(member.name)
    if (before !== undefined && before.epoch === member.epoch) {
      const isMoved = !isSameEndpoints(before.member.endpoints, member.endpoints)
      before.member = member
      if (isMoved) {
        before.attempts = 0
        before.nextDialMs = Math.min(before.nextDialMs, this.#env.nowMs())
        if (before.dial?.phase === 'dialing') this.#close(before.dial, 'the peer moved')
      }
      this.#plan(before)
      return
    }
    if (before !== undefined) this.#gone(before.name, before.epoch, 'epoch')
    const nowMs = this.#env.nowMs()
    const link: Link = {
      name: member.name,
      epoch: member.epoch,
      member,
      session: this.#newSession(),
      connection: undefined,
      dial: undefined,
      challenger: undefined,
      challengeToken: 0,
      offeredId: '',
      highestDialCount: -1,
      attempts: 0,
      nextDialMs: this.#isPreferred(member.name) ? nowMs : nowMs + SECOND_DIALER_MS,
      aloneSinceMs: undefined,
      isDormant: false,
      hasDemand: false,
      isUnreachable: false,
      lastTrafficMs: nowMs,
      rttMs: undefined,
      reconnects: 0,
      receipts: new Receipts(),
      receiptsOf: 0,
    }
    this.#links.set(link.name, link)
    this.#names = [...this.#links.keys()].sort()
    this.#chooseTopology()
    link.offeredId = this.#offeredToParked.get(`${link.name}/${link.epoch}`) ?? ''
    this.#offeredToParked.delete(`${link.name}/${link.epoch}`)
    for (const connection of [...this.#connections.values()]) {
      const { hello } = connection
      if (connection.phase === 'parked' && hello?.name === link.name) this.#unpark(connection, hello, link)
    }
    this.#plan(link)
  }

  #gone(name: string, epoch: number, reason: GoneReason): void {
    const link = this.#links.get(name)
    if (link === undefined || link.epoch !== epoch) return
    this.#links.delete(name)
    this.#names = [...this.#links.keys()].sort()
    this.#overflowed.delete(link)
    this.#endSession(link, reason)
    for (const connection of [link.connection, link.dial, link.challenger]) {
      if (connection !== undefined) this.#close(connection, `gossip: ${reason}`, 'not_member')
    }
    this.#chooseTopology()
  }

  #chooseTopology(): void {
    if (this.#settings.topology !== 'auto') return
    const members = this.#links.size + 1
    if (!this.#isLazy && members > FULL_MEMBERS_MAX) {
      this.#isLazy = true
      // Nobody looked at the traffic before: all connections were used just now.
      for (const link of this.#links.values()) link.lastTrafficMs = this.#env.nowMs()
    } else if (this.#isLazy && members < FULL_AGAIN_MEMBERS) {
      this.#isLazy = false
      for (const name of this.#names) this.#plan(this.#links.get(name) as Link)
    }
  }

  #isPreferred(peer: string): boolean {
    return this.#options.name < peer
  }

  // --- Dialing ---------------------------------------------------------------------------------------------------------

  #wants(link: Link): boolean {
    if (link.session.outbox.isEmpty && link.isDormant && !link.hasDemand) return false
    return !this.#isLazy || link.member.isRaftMember || link.hasDemand || link.session.isUp
  }

  #demand(link: Link): void {
    if (this.#isLazy) link.lastTrafficMs = this.#env.nowMs()
    if (link.hasDemand) return
    link.hasDemand = true
    link.isDormant = false
    // Whoever has something to say dials, preferred or not.
    if (this.#isLazy && link.connection === undefined && link.attempts === 0) link.nextDialMs = this.#env.nowMs()
    this.#plan(link)
  }

  /** Dials when it is time, or sees to being woken when it is. */
  #plan(link: Link): void {
    if (this.#isLeaving || link.connection !== undefined || this.#links.get(link.name) !== link) return
    if (!this.#wants(link)) return
    const nowMs = this.#env.nowMs()
    link.aloneSinceMs ??= nowMs
    if (!link.isUnreachable) this.#due(link.aloneSinceMs + UNREACHABLE_MS)
    if (link.dial !== undefined || link.member.endpoints.length === 0) return
    if (link.nextDialMs > nowMs) return this.#due(link.nextDialMs)
    const { handshakeTimeoutMs } = this.#settings
    const connection = this.#newConnection(this.newConnection(), 'dialing', '')
    connection.link = link
    connection.deadlineMs = nowMs + handshakeTimeoutMs
    link.dial = connection
    this.#due(connection.deadlineMs)
    this.#out.push({
      kind: 'dial',
      connection: connection.id,
      peer: link.name,
      endpoints: link.member.endpoints,
      timeoutMs: handshakeTimeoutMs,
    })
  }

  #dialed(id: number, security: Security): void {
    const connection = this.#connections.get(id)
    if (connection?.phase !== 'dialing' || connection.link === undefined) return
    const { link } = connection
    connection.security = security
    if (!this.#isNameProven(security, link.name)) {
      return this.#refusedByUs(
        connection,
        link,
        'cert_name',
        `certificate of ${namesOf(security)}, not of ${link.name}`,
      )
    }
    connection.phase = 'greeting'
    const hello: Hello = {
      kind: 'hello',
      versions: this.#versions,
      ...this.#introduction(),
      session: link.session.id === '' ? link.offeredId : link.session.id,
      received: link.session.inbox.received,
      to: link.name,
      toEpoch: link.epoch,
      dialCount: ++this.#dialCount,
    }
    this.#out.push({ kind: 'handshake', connection: id, message: hello })
  }

  #dialFailed(input: MeshInput & { kind: 'dial-failed' }): void {
    const { reason, code } = input
    const connection = this.#connections.get(input.connection)
    const link = connection?.link
    if (connection === undefined || link === undefined || link.dial !== connection) return
    if (code !== undefined) return this.#refusedByUs(connection, link, code, reason)
    this.#forget(connection)
    this.#complain(`dial ${link.name}`, 'warn', 'mesh_dial_failed', { peer: link.name, reason })
    this.#retry(link)
  }

  #retry(link: Link, minMs = 0): void {
    link.attempts++
    const delayMs = Math.max(minMs, backoffMs(BACKOFF, link.attempts, this.#env))
    link.nextDialMs = this.#env.nowMs() + delayMs
    this.#plan(link)
  }

  #introduction(): Omit<Hello, 'kind' | 'versions' | 'session' | 'received' | 'to' | 'toEpoch' | 'dialCount'> {
    const { features, clusterId, name } = this.#options
    const limits = { frameBytesMax: FRAME_BYTES_MAX, messageBytesMax: this.#settings.messageBytesMax }
    return { features, clusterId, name, epoch: this.#epoch, ...this.#self, nonce: this.#randomHex(NONCE_BYTES), limits }
  }

  // --- Handshake -------------------------------------------------------------------------------------------------------

  #accepted(id: number, security: Security, from: string): void {
    if (this.#strangers >= STRANGERS_MAX) {
      this.counters.strangersRefused++
      this.#out.push({ kind: 'close', connection: id, reason: 'too many connections without a handshake' })
      return
    }
    const connection = this.#newConnection(id, 'expected', from)
    connection.security = security
    connection.deadlineMs = this.#env.nowMs() + this.#settings.handshakeTimeoutMs
    this.#due(connection.deadlineMs)
  }

  #handshake(id: number, message: Handshake): void {
    const connection = this.#connections.get(id)
    if (connection === undefined) return
    if (connection.phase === 'expected' && message.kind === 'hello') return this.#hello(connection, message)
    if (connection.phase === 'greeting' && message.kind === 'welcome') return this.#welcome(connection, message)
    if (connection.phase === 'greeting' && message.kind === 'refuse') return this.#refused(connection, message)
    this.#violation(connection, `${message.kind} at the wrong moment`)
  }

  #hello(connection: Connection, hello: Hello): void {
    const { name, clusterId } = this.#options
    const epoch = this.#epoch
    connection.hello = hello
    if (hello.clusterId !== clusterId) {
      return this.#refuse(connection, 'cluster_id', `this is cluster ${clusterId}, not ${hello.clusterId}`)
    }
    if (chooseVersion(this.#versions, hello.versions) === undefined) {
      const text = `mesh versions ${this.#versions.join('-')} here, ${hello.versions.join('-')} there`
      return this.#refuse(connection, 'version', text)
    }
    if (!this.#isNameProven(connection.security, hello.name)) {
      const text = `certificate of ${namesOf(connection.security)}, not of ${hello.name}`
      return this.#refuse(connection, 'cert_name', text)
    }
    if (!NODE_NAME.test(hello.name)) return this.#violation(connection, 'a name that no node can have')
    if (hello.limits.frameBytesMax < FRAME_BYTES_MIN) return this.#violation(connection, 'reads no chunks of 32 KiB')
    if (hello.to !== name || hello.name === name) {
      return this.#refuse(connection, 'wrong_node', `this is ${name}, not ${hello.to}`)
    }
    if (hello.toEpoch !== 0 && hello.toEpoch !== epoch) {
      return this.#refuse(connection, 'wrong_epoch', `this run is ${epoch}, not ${hello.toEpoch}`, { epoch })
    }
    if (this.#isDraining) return this.#refuse(connection, 'draining', `${name} is stopping`)
    const link = this.#links.get(hello.name)
    if (link === undefined || hello.epoch > link.epoch) return this.#park(connection, hello)
    if (hello.epoch < link.epoch) {
      const text = `${hello.name} runs as ${link.epoch}, not as ${hello.epoch}`
      return this.#refuse(connection, 'stale_epoch', text, { epoch: link.epoch })
    }
    this.#admit(connection, hello, link)
  }

  /** Decides between the connection and what there is already. cluster.md §4.6. */
  #admit(connection: Connection, hello: Hello, link: Link): void {
    if (hello.dialCount <= link.highestDialCount) return this.#refuse(connection, 'duplicate', 'a later dial is known')
    link.highestDialCount = hello.dialCount
    connection.link = link
    const { dial } = link
    if (dial !== undefined) {
      // Both dialed at once. Each side decides alike, whatever arrives first: the preferred dialer's connection stays.
      if (dial.phase === 'greeting' && this.#isPreferred(link.name)) {
        return this.#refuse(connection, 'duplicate', 'the other connection of the pair is under way')
      }
      this.#close(dial, 'the peer dialed')
    }
    const current = link.connection
    if (current === undefined) return this.#welcomeIn(connection, hello, link)
    if (!current.isDialed || !this.#isPreferred(link.name)) {
      this.#replace(link, current)
      return this.#welcomeIn(connection, hello, link)
    }
    // It loses, unless what it loses to is dead without our knowing.
    if (link.challenger !== undefined) this.#refuse(link.challenger, 'duplicate', 'a later dial is known')
    link.challenger = connection
    connection.phase = 'challenger'
    connection.deadlineMs = this.#env.nowMs() + CHALLENGE_MS
    this.#due(connection.deadlineMs)
    current.wantsPing = true
    link.challengeToken = current.pingToken + 1
    this.#dirty.add(current)
  }

  #welcomeIn(connection: Connection, hello: Hello, link: Link): void {
    if (hello.session !== '' && hello.session === link.session.id) connection.sessionId = hello.session
    else if (hello.session !== '' && hello.session === link.offeredId) connection.sessionId = hello.session
    else {
      if (link.session.id !== '') this.#endSession(link, 'session_lost')
      connection.sessionId = this.#randomHex(SESSION_ID_BYTES)
    }
    link.offeredId = connection.sessionId
    this.#sendWelcome(connection, hello, link.session.inbox.received)
    connection.phase = 'open'
    this.#connected(link, connection, hello)
  }

  #sendWelcome(connection: Connection, hello: Hello, received: Received): void {
    connection.features = commonFeatures(this.#options.features, hello.features)
    const welcome: Welcome = {
      kind: 'welcome',
      version: chooseVersion(this.#versions, hello.versions) as number,
      ...this.#introduction(),
      features: connection.features,
      session: connection.sessionId,
      received,
    }
    this.#out.push({ kind: 'handshake', connection: connection.id, message: welcome })
    this.#opened(connection)
  }

  #opened(connection: Connection): void {
    const isDeflateNegotiated = connection.features.includes('deflate')
    const peer = connection.link?.name ?? connection.hello?.name ?? ''
    this.#out.push({ kind: 'opened', connection: connection.id, peer, isDeflateNegotiated })
    const nowMs = this.#env.nowMs()
    connection.openedAtMs = nowMs
    connection.lastReceivedMs = nowMs
    connection.lastPingMs = nowMs
  }

  #park(connection: Connection, hello: Hello): void {
    connection.sessionId = this.#randomHex(SESSION_ID_BYTES)
    for (const other of [...this.#connections.values()]) {
      if (other.phase !== 'parked' || other.hello?.name !== hello.name || other.hello.epoch !== hello.epoch) continue
      if (hello.dialCount <= other.hello.dialCount) {
        return this.#refuse(connection, 'duplicate', 'a later dial is known')
      }
      this.#close(other, 'a later dial of the peer', 'duplicate')
    }
    // Nothing of what was held for it was acknowledged: the dialer sends all of it again in the same session.
    const key = `${hello.name}/${hello.epoch}`
    const offered = this.#offeredToParked.get(key)
    if (offered !== undefined && offered === hello.session) connection.sessionId = offered
    this.#offeredToParked.delete(key)
    this.#offeredToParked.set(key, connection.sessionId)
    if (this.#offeredToParked.size > STRANGERS_MAX) {
      const [oldest] = this.#offeredToParked.keys()
      this.#offeredToParked.delete(oldest as string)
    }
    connection.phase = 'parked'
    connection.deadlineMs = this.#env.nowMs() + PARKED_MS
    this.#due(connection.deadlineMs)
    this.#sendWelcome(connection, hello, { system: 0, app: 0 })
  }

  /** Gossip confirmed the name: the connection becomes the link's, and what was held is taken in. */
  #unpark(connection: Connection, hello: Hello, link: Link): void {
    if (hello.epoch !== link.epoch) {
      if (hello.epoch < link.epoch) this.#close(connection, 'another run of the peer lives', 'not_member')
      return
    }
    if (hello.dialCount <= link.highestDialCount) return this.#close(connection, 'a later dial is known', 'duplicate')
    link.highestDialCount = hello.dialCount
    connection.link = link
    if (link.connection !== undefined) this.#replace(link, link.connection)
    connection.phase = 'open'
    link.offeredId = connection.sessionId
    this.#connected(link, connection, hello)
    const held = connection.held
    connection.held = []
    connection.heldBytes = 0
    for (const input of held) {
      if (input.kind === 'control' || input.kind === 'messages') this.#traffic(connection, input)
    }
  }

  #welcome(connection: Connection, welcome: Welcome): void {
    const link = connection.link as Link
    const { clusterId } = this.#options
    if (welcome.clusterId !== clusterId) {
      const text = `this is cluster ${clusterId}, not ${welcome.clusterId}`
      return this.#refusedByUs(connection, link, 'cluster_id', text)
    }
    if (welcome.name !== link.name || welcome.epoch !== link.epoch) {
      const text = `${welcome.name} in run ${welcome.epoch} answers instead of ${link.name} in run ${link.epoch}`
      return this.#refusedByUs(connection, link, 'wrong_node', text)
    }
    if (welcome.version < this.#versions[0] || welcome.version > this.#versions[1] || welcome.session === '') {
      return this.#violation(connection, 'welcome with a version or session that was not offered')
    }
    if (welcome.limits.frameBytesMax < FRAME_BYTES_MIN) return this.#violation(connection, 'reads no chunks of 32 KiB')
    link.dial = undefined
    connection.phase = 'open'
    connection.features = commonFeatures(this.#options.features, welcome.features)
    connection.sessionId = welcome.session
    if (link.connection !== undefined) this.#replace(link, link.connection)
    if (link.session.id !== '' && link.session.id !== welcome.session) this.#endSession(link, 'session_lost')
    this.#opened(connection)
    this.#connected(link, connection, welcome)
    // The acceptor waits for a word before it believes that its WELCOME arrived.
    connection.wantsPing = true
    this.#confirm(link, connection, welcome)
  }

  #refused(connection: Connection, refuse: Refuse): void {
    const link = connection.link as Link
    const { code, text } = refuse
    this.#count(this.counters.refused, code)
    this.#forget(connection)
    this.#out.push({ kind: 'close', connection: connection.id, reason: `refused: ${code}` })
    const fields = { peer: link.name, code, reason: text }
    switch (reactionTo(code)) {
      case 'complain':
        this.#complain(`refused ${link.name}`, 'warn', 'mesh_refused', fields)
        return this.#retry(link, BACKOFF.maxMs * (1 - BACKOFF.jitter))
      case 'look-again':
        return this.#retry(link)
      case 'stale-self':
        this.#complain(`stale ${link.name}`, 'error', 'duplicate_or_stale_self', {
          ...fields,
          epoch: refuse.epoch ?? 0,
        })
        this.#out.push({ kind: 'stale-self', knownEpoch: refuse.epoch ?? 0, peer: link.name })
        return this.#retry(link, BACKOFF.maxMs * (1 - BACKOFF.jitter))
      case 'wait':
        link.nextDialMs = this.#env.nowMs() + (code === 'overloaded' ? (refuse.retryMs ?? 1000) : SECOND_DIALER_MS)
        return this.#plan(link)
    }
  }

  /** Answers a HELLO that cannot be taken. */
  #refuse(
    connection: Connection,
    code: RefuseCode,
    text: string,
    more: { epoch?: number; retryMs?: number } = {},
  ): void {
    this.#count(this.counters.refused, code)
    const { name } = this.#options
    this.#out.push({
      kind: 'handshake',
      connection: connection.id,
      message: { kind: 'refuse', code, text: `${name}: ${text}`, ...more },
    })
    if (code !== 'duplicate') {
      const peer = connection.hello?.name ?? ''
      this.#complain(`${code} ${peer}`, 'warn', 'mesh_refused', { peer, from: connection.from, code, reason: text })
    }
    this.#close(connection, `refused: ${code}`)
  }

  /** The dialer does not like who answers. */
  #refusedByUs(connection: Connection, link: Link, code: RefuseCode, text: string): void {
    this.#count(this.counters.refused, code)
    this.#complain(`${code} ${link.name}`, 'warn', 'mesh_refused', { peer: link.name, code, reason: text })
    this.#close(connection, `refused: ${code}`)
    this.#retry(link, code === 'wrong_node' ? 0 : BACKOFF.maxMs * (1 - BACKOFF.jitter))
  }

  #isNameProven(security: Security, name: string): boolean {
    return security.kind !== 'certificate' || security.names.includes(name)
  }

  // --- Links and sessions ----------------------------------------------------------------------------------------------

  /** The connection is the link's from now on. */
  #connected(link: Link, connection: Connection, peer: Hello | Welcome): void {
    const former = link.connection
    assert(former === undefined, 'one connection a link')
    connection.link = link
    connection.peerMessageBytesMax = peer.limits.messageBytesMax
    link.connection = connection
    link.receipts = new Receipts(link.receipts)
    link.receiptsOf = connection.id
    if (!connection.isDialed) this.#strangers--
    link.nextDialMs = 0
    link.isDormant = false
    link.lastTrafficMs = this.#env.nowMs()
    if (link.dial !== undefined && link.dial !== connection) this.#close(link.dial, 'the peer dialed')
    this.#due(connection.lastReceivedMs + this.#settings.keepaliveIntervalMs)
    this.#dirty.add(connection)
  }

  /** Both ends know the session: traffic begins, or goes on where it stopped. */
  #confirm(link: Link, connection: Connection, peer: Hello | Welcome): void {
    connection.isConfirmed = true
    const { session } = link
    if (session.id === '') session.id = connection.sessionId
    assert(session.id === connection.sessionId, 'a connection speaks for the session of its link')
    link.offeredId = ''
    const dropped = session.outbox.attach(this.#env.nowMs(), peer.received, connection.peerMessageBytesMax)
    if (dropped === undefined) return this.#violation(connection, 'received what was never sent')
    this.#dropped(dropped, 'too_large')
    link.aloneSinceMs = undefined
    link.isUnreachable = false
    this.#dirty.add(connection)
    if (session.isUp) {
      this.counters.resumed++
      return
    }
    session.isUp = true
    const { storeId, formationId, raftSession } = peer
    this.#out.push({
      kind: 'node-up',
      peer: link.name,
      epoch: link.epoch,
      features: connection.features,
      facts: { storeId, formationId, ...(raftSession === undefined ? {} : { raftSession }) },
    })
    this.#log('info', 'mesh_up', { peer: link.name, epoch: link.epoch, security: connection.security.kind })
  }

  #endSession(link: Link, reason: DownReason): void {
    const { session, name, epoch } = link
    link.session = this.#newSession()
    link.offeredId = ''
    this.#dropped(session.outbox.discard(), 'node_down')
    this.#out.push({ kind: 'session-over', peer: name, epoch, reason })
    if (!session.isUp) return
    this.#count(this.counters.sessionsBroken, reason)
    this.#out.push({ kind: 'node-down', peer: name, epoch, reason })
    this.#log('info', 'mesh_down', { peer: name, epoch, reason })
  }

  #newSession(): Session {
    const { queueBytesMax, messageBytesMax } = this.#settings
    const outbox = new Outbox({ appQueueBytesMax: queueBytesMax, messageBytesMax }, this.#budget)
    return { id: '', isUp: false, outbox, inbox: new Inbox() }
  }

  /** Another connection takes the place of the link's. */
  #replace(link: Link, former: Connection): void {
    link.reconnects++
    this.counters.reconnects++
    this.#close(former, 'another connection took its place', 'duplicate')
    assert(link.connection === undefined, 'a closed connection is no link')
  }

  /** Closes from our side. */
  #close(connection: Connection, reason: string, goodbye?: GoodbyeReason): void {
    const isOpen = connection.phase === 'open' || connection.phase === 'parked'
    this.#forget(connection)
    this.#out.push({
      kind: 'close',
      connection: connection.id,
      reason,
      ...(goodbye !== undefined && isOpen ? { goodbye } : {}),
    })
  }

  /** Takes a connection out of everything that knows it. */
  #forget(connection: Connection): void {
    this.#connections.delete(connection.id)
    this.#dirty.delete(connection)
    if (!connection.isDialed && connection.phase !== 'open') this.#strangers--
    const { link } = connection
    if (link === undefined) return
    if (link.dial === connection) link.dial = undefined
    if (link.challenger === connection) link.challenger = undefined
    if (link.connection !== connection) return
    link.connection = undefined
    this.#dropped(link.session.outbox.detach(), 'connection_lost')
  }

  /** A connection ended without our doing, or nothing came of it. */
  #broken(connection: Connection, reason: string): void {
    const { link, phase } = connection
    const wasOpen = link?.connection === connection
    const livedMs = this.#env.nowMs() - connection.openedAtMs
    this.#forget(connection)
    if (link === undefined || this.#links.get(link.name) !== link) return
    if (wasOpen) {
      link.reconnects++
      this.counters.reconnects++
      if (connection.isConfirmed && livedMs >= SETTLED_MS) link.attempts = 0
      this.#out.push({ kind: 'connection-lost', peer: link.name, epoch: link.epoch, reason })
      if (link.challenger?.hello !== undefined) {
        const { challenger } = link
        link.challenger = undefined
        return this.#welcomeIn(challenger, challenger.hello as Hello, link)
      }
      if (this.#isPreferred(link.name)) this.#retry(link)
      else {
        link.nextDialMs = this.#env.nowMs() + SECOND_DIALER_MS
        this.#plan(link)
      }
    } else if (phase === 'dialing' || phase === 'greeting') {
      this.#complain(`dial ${link.name}`, 'warn', 'mesh_dial_failed', { peer: link.name, reason })
      this.#retry(link)
    }
  }

  #violation(connection: Connection, reason: string): void {
    this.counters.violations++
    const { link } = connection
    const peer = link?.name ?? connection.hello?.name ?? ''
    this.#complain(`violation ${peer}`, 'warn', 'mesh_protocol_error', { peer, from: connection.from, reason })
    const wasOpen = link?.connection === connection
    const wasDial = link?.dial === connection
    this.#close(connection, reason, 'protocol')
    if (link !== undefined && (wasOpen || wasDial)) this.#retry(link, AFTER_VIOLATION_MS)
  }

  /** Ends the session on purpose; the peer learns of it from the next handshake at the latest. */
  #breakSession(link: Link, reason: DownReason): void {
    const { connection } = link
    this.#endSession(link, reason)
    if (connection === undefined) return
    this.#close(connection, `session over: ${reason}`, 'session_over')
    this.#retry(link, AFTER_VIOLATION_MS)
  }

  #raiseEpoch(epoch: number): void {
    assert(epoch > this.#epoch, 'an epoch only rises')
    this.#epoch = epoch
    for (const name of this.#names) this.#endSession(this.#links.get(name) as Link, 'own_epoch')
    for (const connection of [...this.#connections.values()]) {
      const { link } = connection
      this.#close(connection, 'this node counts as another run', 'session_over')
      if (link !== undefined) link.attempts = 0
    }
    for (const name of this.#names) {
      const link = this.#links.get(name) as Link
      link.nextDialMs = this.#env.nowMs() + (this.#isPreferred(name) ? 0 : SECOND_DIALER_MS)
      this.#plan(link)
    }
  }

  #drain(): void {
    this.#isLeaving = true
    this.#isDraining = true
    for (const connection of [...this.#connections.values()]) this.#close(connection, 'the node stops', 'shutdown')
    for (const name of this.#names) this.#endSession(this.#links.get(name) as Link, 'shutdown')
    this.#links.clear()
    this.#names = []
  }

  // --- Traffic ---------------------------------------------------------------------------------------------------------

  #traffic(connection: Connection, input: MeshInput & { kind: 'control' | 'messages' }): void {
    const nowMs = this.#env.nowMs()
    connection.lastReceivedMs = nowMs
    if (connection.phase === 'parked') return this.#hold(connection, input)
    const { link } = connection
    if (connection.phase !== 'open' || link?.connection !== connection) return
    if (!connection.isConfirmed) this.#confirm(link, connection, connection.hello as Hello)
    if (link.connection !== connection) return
    if (input.kind === 'control') this.#control(link, connection, input.message)
    else this.#messages(link, connection, input)
  }

  #hold(connection: Connection, input: MeshInput & { kind: 'control' | 'messages' }): void {
    if (input.kind === 'control') {
      connection.heldBytes += CONTROL_BYTES
      if (input.message.kind === 'ping') {
        connection.pongToken = input.message.token
        this.#dirty.add(connection)
        // One is enough to know that the dialer has the WELCOME.
        if (connection.held.length > 0) return
      }
    } else {
      // Frames count, not messages: half a message is held by the decoder.
      connection.heldBytes += input.windowBytes + CONTROL_BYTES
      for (const { classId, bytes } of input.messages) if (classId === RAFT) connection.heldBytes += bytes.length
    }
    if (connection.heldBytes > HELD_BYTES_MAX)
      return this.#violation(connection, 'too much before gossip knows the peer')
    connection.held.push(input)
  }

  #control(link: Link, connection: Connection, control: Control): void {
    const { outbox } = link.session
    const nowMs = this.#env.nowMs()
    switch (control.kind) {
      case 'ping':
        connection.pongToken = control.token
        this.#dirty.add(connection)
        return
      case 'pong': {
        const sentMs = connection.pings.get(control.token)
        if (sentMs === undefined) return
        connection.pings.delete(control.token)
        link.rttMs = nowMs - sentMs
        outbox.window?.rtt(link.rttMs)
        if (link.challenger !== undefined && control.token >= link.challengeToken) {
          this.#refuse(link.challenger, 'duplicate', 'the other connection of the pair lives')
        }
        return
      }
      case 'ack':
        if (!outbox.acknowledge(control.received) || outbox.window?.acked(control.bytes, nowMs) === false) {
          this.#endSession(link, 'violation')
          return this.#violation(connection, 'acknowledges what was never sent')
        }
        this.#dirty.add(connection)
        return
      case 'credit':
        outbox.grant(BULK, control.bulk)
        outbox.grant(RLOG, control.rlog)
        this.#dirty.add(connection)
        return
      case 'goodbye':
        return this.#goodbye(link, connection, control.reason)
      default:
        return unreachable(control)
    }
  }

  #goodbye(link: Link, connection: Connection, reason: GoodbyeReason): void {
    const livedMs = this.#env.nowMs() - connection.openedAtMs
    this.#close(connection, `goodbye: ${reason}`)
    if (livedMs >= SETTLED_MS) link.attempts = 0
    switch (reason) {
      case 'idle':
        link.isDormant = true
        link.hasDemand = !link.session.outbox.isEmpty
        return this.#plan(link)
      case 'session_over':
        this.#endSession(link, 'session_lost')
        return this.#retry(link, AFTER_VIOLATION_MS)
      case 'duplicate':
        link.nextDialMs = this.#env.nowMs() + SECOND_DIALER_MS
        return this.#plan(link)
      case 'cert_expired':
        return this.#retry(link, BACKOFF.maxMs * (1 - BACKOFF.jitter))
      case 'protocol':
      case 'not_member':
      case 'shutdown':
        return this.#retry(link, AFTER_VIOLATION_MS)
      default:
        return unreachable(reason)
    }
  }

  #messages(link: Link, connection: Connection, input: MeshInput & { kind: 'messages' }): void {
    const nowMs = this.#env.nowMs()
    const { receipts } = link
    const { inbox } = link.session
    receipts.frames(input.windowBytes, nowMs)
    receipts.assembling(BULK, input.assemblingBytes.bulk)
    receipts.assembling(RLOG, input.assemblingBytes.rlog)
    for (const message of input.messages) {
      const { classId } = message
      receipts.message(classId, nowMs)
      const verdict = inbox.take(classId, message.seq)
      if (verdict === 'duplicate') continue
      if (verdict === 'gap') {
        this.#endSession(link, 'violation')
        return this.#violation(connection, 'a message is missing')
      }
      if (isCredited(classId)) receipts.handedOver(classId, message.messageBytes)
      if (classId === APP || classId === PG || classId === BULK) link.lastTrafficMs = nowMs
      this.counters.messagesReceived[classId] = (this.counters.messagesReceived[classId] as number) + 1
      this.#out.push({ kind: 'deliver', peer: link.name, epoch: link.epoch, connection: connection.id, message })
    }
    // An acknowledgement mostly has time, and travels with what is said until then.
    const ackDueMs = receipts.ackDueMs(nowMs)
    if (receipts.owesCredit || (ackDueMs !== undefined && ackDueMs <= nowMs)) this.#dirty.add(connection)
    else if (ackDueMs !== undefined) this.#due(ackDueMs)
  }

  #flush(): void {
    for (const link of this.#overflowed) this.#breakSession(link, 'overflow')
    this.#overflowed.clear()
    if (this.#dirty.size === 0) return
    const dirty = [...this.#dirty].sort((a, b) => a.id - b.id)
    this.#dirty.clear()
    for (const connection of dirty) this.#write(connection)
  }

  #write(connection: Connection): void {
    const { link } = connection
    // What the socket has not taken yet comes before anything new; `written` brings us back here.
    if (connection.bufferedBytes >= SOCKET_BYTES_MAX) return
    const nowMs = this.#env.nowMs()
    const controls: Control[] = []
    if (connection.pongToken !== undefined) {
      controls.push({ kind: 'pong', token: connection.pongToken })
      connection.pongToken = undefined
    }
    if (connection.phase === 'parked' || link?.connection !== connection) {
      if (controls.length > 0) this.#out.push({ kind: 'write', connection: connection.id, controls, frames: [] })
      return
    }
    if (connection.wantsPing) {
      connection.wantsPing = false
      connection.lastPingMs = nowMs
      const token = ++connection.pingToken
      connection.pings.set(token, nowMs)
      if (connection.pings.size > PINGS_MAX) {
        const [oldest] = connection.pings.keys()
        connection.pings.delete(oldest as number)
      }
      controls.push({ kind: 'ping', token })
    }
    const frames: Frame[] = []
    if (connection.isConfirmed) {
      const { receipts } = link
      const ackDueMs = receipts.ackDueMs(nowMs)
      if (ackDueMs !== undefined) {
        if (ackDueMs <= nowMs || controls.length > 0) controls.push(receipts.takeAck(link.session.inbox.received))
        else this.#due(ackDueMs)
      }
      const credit = receipts.takeCredit()
      if (credit !== undefined) controls.push(credit)
      const { outbox } = link.session
      frames.push(...outbox.pull(SOCKET_BYTES_MAX - connection.bufferedBytes))
      for (const classId of outbox.takeRoom()) this.#out.push({ kind: 'room', peer: link.name, classId })
      const { messagesSent } = this.counters
      for (const { classId, flags } of frames) {
        if ((flags & FIRST) !== 0) messagesSent[classId] = (messagesSent[classId] as number) + 1
      }
    }
    if (controls.length === 0 && frames.length === 0) return
    connection.bufferedBytes += controls.length * CONTROL_BYTES
    for (const frame of frames) connection.bufferedBytes += frameBytes(frame)
    this.#out.push({ kind: 'write', connection: connection.id, controls, frames })
  }

  // --- Time ------------------------------------------------------------------------------------------------------------

  #due(atMs: number): void {
    if (atMs < this.#nextDueMs) this.#nextDueMs = atMs
  }

  #wake(): void {
    this.#nextDueMs = Number.POSITIVE_INFINITY
    const nowMs = this.#env.nowMs()
    for (const connection of [...this.#connections.values()]) {
      if (this.#connections.get(connection.id) !== connection) continue
      if (connection.phase === 'open') this.#checkOpen(connection, nowMs)
      else if (connection.deadlineMs <= nowMs) this.#timedOut(connection)
      else this.#due(connection.deadlineMs)
    }
    for (const name of this.#names) {
      const link = this.#links.get(name)
      if (link === undefined) continue
      if (
        link.aloneSinceMs !== undefined &&
        !link.isUnreachable &&
        link.connection?.isConfirmed !== true &&
        nowMs - link.aloneSinceMs >= UNREACHABLE_MS
      ) {
        link.isUnreachable = true
        this.#endSession(link, 'unreachable')
      }
      this.#plan(link)
    }
  }

  #checkOpen(connection: Connection, nowMs: number): void {
    const link = connection.link as Link
    const { keepaliveIntervalMs, keepaliveTimeoutMs } = this.#settings
    const { security } = connection
    const { receipts } = link
    const silentAtMs = connection.lastReceivedMs + keepaliveTimeoutMs
    if (silentAtMs <= nowMs) {
      const reason = `silent for ${Math.round(nowMs - connection.lastReceivedMs)} ms`
      this.#out.push({ kind: 'close', connection: connection.id, reason })
      return this.#broken(connection, reason)
    }
    if (security.kind === 'certificate') {
      const leftMs = security.notAfterMs - this.#env.wallMs()
      if (leftMs <= 0) {
        this.#close(connection, 'the certificate of the peer is past its time', 'cert_expired')
        this.#complain(`cert ${link.name}`, 'warn', 'mesh_cert_expired', { peer: link.name })
        return this.#retry(link, BACKOFF.maxMs * (1 - BACKOFF.jitter))
      }
      // The wall clock may be set; looked at now and then, an hour is soon enough.
      this.#due(nowMs + Math.min(leftMs, 3_600_000))
    }
    if (
      this.#isLazy &&
      !link.member.isRaftMember &&
      nowMs - link.lastTrafficMs >= IDLE_MS &&
      link.session.outbox.isEmpty
    ) {
      link.isDormant = true
      link.hasDemand = false
      return this.#close(connection, 'idle', 'idle')
    }
    const pingAtMs = connection.lastPingMs + keepaliveIntervalMs
    if (pingAtMs <= nowMs) {
      connection.wantsPing = true
      this.#dirty.add(connection)
      this.#due(nowMs + keepaliveIntervalMs)
    } else this.#due(pingAtMs)
    this.#due(silentAtMs)
    const ackDueMs = receipts.ackDueMs(nowMs)
    if (ackDueMs === undefined) return
    if (ackDueMs <= nowMs) this.#dirty.add(connection)
    else this.#due(ackDueMs)
  }

  #timedOut(connection: Connection): void {
    const { link, phase } = connection
    if (phase === 'challenger' && link !== undefined) {
      link.challenger = undefined
      if (link.connection !== undefined) this.#replace(link, link.connection)
      return this.#welcomeIn(connection, connection.hello as Hello, link)
    }
    if (phase === 'parked') {
      const peer = connection.hello?.name ?? ''
      this.#countDropped(0, 'not_member', connection.held.length)
      const reason = 'gossip does not know the peer'
      this.#complain(`parked ${peer}`, 'warn', 'mesh_refused', {
        peer,
        from: connection.from,
        code: 'not_member',
        reason,
      })
      return this.#close(connection, reason, 'not_member')
    }
    const reason = `no handshake within ${this.#settings.handshakeTimeoutMs} ms`
    this.#out.push({ kind: 'close', connection: connection.id, reason })
    this.#broken(connection, reason)
  }

  // --- Odds and ends ---------------------------------------------------------------------------------------------------

  #newConnection(id: number, phase: 'dialing' | 'expected', from: string): Connection {
    const nowMs = this.#env.nowMs()
    const connection: Connection = {
      id,
      isDialed: phase === 'dialing',
      from,
      phase,
      link: undefined,
      hello: undefined,
      security: { kind: 'plain' },
      deadlineMs: nowMs,
      sessionId: '',
      isConfirmed: false,
      peerMessageBytesMax: 0,
      features: [],
      openedAtMs: nowMs,
      lastReceivedMs: nowMs,
      lastPingMs: nowMs,
      pingToken: 0,
      pings: new Map(),
      wantsPing: false,
      pongToken: undefined,
      bufferedBytes: 0,
      held: [],
      heldBytes: 0,
    }
    this.#connections.set(id, connection)
    if (phase === 'expected') this.#strangers++
    return connection
  }

  #randomHex(bytes: number): string {
    let out = ''
    for (let i = 0; i < bytes; i++) out += this.#env.randomInt(256).toString(16).padStart(2, '0')
    return out
  }

  #dropped(counts: readonly number[], reason: string): void {
    for (const [classId, count] of counts.entries()) if (count > 0) this.#countDropped(classId, reason, count)
  }

  #countDropped(classId: number, reason: string, count: number): void {
    if (count === 0) return
    const key = `${CHANNEL_CLASSES[classId]} ${reason}`
    this.counters.dropped.set(key, (this.counters.dropped.get(key) ?? 0) + count)
  }

  #count<K>(counters: Map<K, number>, key: K): void {
    counters.set(key, (counters.get(key) ?? 0) + 1)
  }

  #log(level: 'info' | 'warn' | 'error', event: string, fields: Record<string, string | number>): void {
    this.#out.push({ kind: 'log', level, event, fields })
  }

  /** At most once a minute for each subject. */
  #complain(subject: string, level: 'warn' | 'error', event: string, fields: Record<string, string | number>): void {
    const nowMs = this.#env.nowMs()
    const lastMs = this.#complaints.get(subject)
    if (lastMs !== undefined && nowMs - lastMs < COMPLAINT_MS) return
    if (this.#complaints.size >= COMPLAINTS_MAX) this.#complaints.clear()
    this.#complaints.set(subject, nowMs)
    this.#log(level, event, fields)
  }
}

function namesOf(security: Security): string {
  return security.kind === 'certificate' ? security.names.join(', ') : 'nobody'
}

function statusOf(link: Link): LinkStatus {
  const { name, epoch, session, connection, rttMs, reconnects } = link
  const queueBytes: number[] = []
  for (let classId = 0; classId < CLASS_COUNT; classId++) queueBytes.push(session.outbox.queueBytes(classId))
  const state: LinkState =
    connection?.isConfirmed === true
      ? 'connected'
      : link.isUnreachable
        ? 'unreachable'
        : link.aloneSinceMs === undefined && connection === undefined
          ? 'idle'
          : 'connecting'
  return {
    peer: name,
    epoch,
    state,
    sessionId: session.id,
    isUp: session.isUp,
    rttMs,
    queueBytes,
    reconnects,
    security: connection?.security.kind,
  }
}
