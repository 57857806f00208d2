// The mesh in the real world: carries out what the core decides, over sockets, and gives the layers above messages, requests and
// word of nodes that come and go. cluster.md §4.

import { randomUUID } from 'node:crypto'
import type { Socket } from 'node:net'
import { unreachable } from '../../runtime/base/assert.ts'
import type { Env } from '../../runtime/base/env.ts'
import { MoonmeshError, messageOf } from '../../runtime/base/errors.ts'
import { Histogram } from '../../runtime/base/histogram.ts'
import type { PauseWatch } from '../timers.ts'
import { Timers } from '../timers.ts'
import { Connection } from './connection.ts'
import { CHANNEL_CLASSES, CLASS_COUNT, CLASS_ID, isCredited, type PayloadClass, SYSTEM } from './core/classes.ts'
import { type GossipMember, meshMember } from './core/members.ts'
import {
  type DownReason,
  type LinkStatus,
  MeshCore,
  type MeshCounters,
  type MeshEffect,
  type MeshInput,
  type PeerFacts,
  type SendRefusal,
} from './core/mesh.ts'
import type { OfferOptions } from './core/outbox.ts'
import {
  DEADLINE_MS_DEFAULT,
  type RequestCounters,
  type RequestEffect,
  type RequestError,
  type RequestInput,
  type RequestOutcome,
  Requests,
  type Served,
} from './core/requests.ts'
import { defaultMeshSettings, type MeshSettings } from './core/settings.ts'
import { type DialResult, dial } from './dialer.ts'
import { type Listener, listen } from './listener.ts'
import { type Secured, type SecurityRefusal, type SecuritySettings, Transport } from './tls.ts'
import { deflate } from './wire/deflate.ts'
import { ProtocolError } from './wire/protocol-error.ts'
import { decodeRequest, encodeRequest } from './wire/request.ts'

export interface MeshOptions {
  readonly name: string
  readonly epoch: number
  readonly clusterId: string
  /** Canonical IP; port 0: one of 7950 to 7959, else any free one. */
  readonly bind: { readonly host: string; readonly port: number }
  readonly security: SecuritySettings
  readonly settings?: Partial<MeshSettings>
  /** What the layers above can do beyond the mesh's own. */
  readonly features?: readonly string[]
  /** Least and highest version of the protocol that it speaks; default: those of this program. */
  readonly versions?: readonly [min: number, max: number]
  readonly env: Env
  /** One for all protocols of the node; absent: pauses are not noticed. */
  readonly pauses?: PauseWatch
  readonly log: (level: 'info' | 'warn' | 'error', event: string, fields: Record<string, string | number>) => void
}

/** Events of gossip about other nodes. */
interface MeshMemberEvent extends GossipMember {
  readonly kind: 'joined' | 'left' | 'updated'
  readonly reason?: 'left' | 'dead' | 'epoch' | 'foreign'
}

/** A message of another node. `bytes` may be a view of a larger buffer: whoever keeps it copies it. */
export interface MeshMessage {
  readonly peer: string
  /** The run of the peer that sent it. */
  readonly epoch: number
  readonly bytes: Uint8Array
}

/**
 * For the credited classes a promise says when the message is consumed; until then the sender gets no more room for it.
 * @throws ProtocolError for bytes that are no message: the connection is closed, and the session goes on over another one, without them
 */
type MessageHandler = (message: MeshMessage) => void | Promise<void>

interface RequestContext {
  readonly peer: string
  readonly epoch: number
  /** On the clock of `Env.nowMs`. */
  readonly deadlineMs: number
  /** Aborted when the caller cancels, at the deadline and when the peer is gone. */
  readonly signal: AbortSignal
}

/** Answers with one msgpack value, or throws: a MoonmeshError reaches the caller as it is, anything else as `Internal`. */
export type RequestHandler = (body: Uint8Array, context: RequestContext) => Uint8Array | Promise<Uint8Array>

interface MeshEvents {
  'node-up': { peer: string; epoch: number; features: readonly string[]; facts: PeerFacts }
  'node-down': { peer: string; epoch: number; reason: DownReason }
  /** A queue of a credited class that refused has room. */
  room: { peer: string; class: PayloadClass }
  /** A connection broke that nobody closed. */
  'connection-lost': { peer: string; epoch: number; reason: string }
  /** A newer run of this node's name exists. */
  'stale-self': { knownEpoch: number; peer: string }
}

interface SendOptions extends Pick<OfferOptions, 'isSignal' | 'replaces'> {
  /** The run of the peer that the message is for; absent: whichever runs. */
  readonly epoch?: number
  /** Deflate it where the peer understands that and it is worth it; for texts of some length. */
  readonly isCompressible?: boolean
}

export interface RequestOptions {
  /** From now; default 10 s. */
  readonly deadlineMs?: number
  readonly signal?: AbortSignal
  readonly epoch?: number
}

export interface MeshStatistics {
  readonly links: readonly LinkStatus[]
  readonly counters: MeshCounters
  readonly requests: RequestCounters
  /** Payload bytes by peer and class since the start; peers long gone are left out. */
  readonly bytes: ReadonlyMap<string, { readonly sent: readonly number[]; readonly received: readonly number[] }>
  readonly totalQueueBytes: number
  /** Those that succeeded, from the first byte of the connection on. */
  readonly handshakes: Histogram
  /** Of this node's own certificate, seconds from now; undefined without one. */
  readonly certificateSeconds: number | undefined
}

interface Waiting {
  settle(outcome: RequestOutcome): void
}

interface Live {
  peer: string
  connection: Connection | undefined
  readonly sinceMs: number
  cancelDial: () => void
}

interface Traffic {
  readonly sent: number[]
  readonly received: number[]
  goneAtMs: number | undefined
}

const OWN_FEATURES = ['resume', 'deflate']
const CONNECTIONS_MAX = 4096
const TRAFFIC_KEPT_MS = 600_000
const COMPLAINT_MS = 60_000
const DAY_MS = 86_400_000
const EXPIRY_CHECK_MS = 3_600_000
const EXPIRY_WARN_DAYS = 14
const EXPIRY_URGENT_DAYS = 3
/** How long goodbyes may take when the node stops. */
/** Since the last flush: then whoever sends is alone. */
const CALM_MS = 0.02
const LINGER_MS = 1000

export class Mesh {
  readonly #options: MeshOptions
  readonly #settings: MeshSettings
  readonly #env: Env
  readonly #core: MeshCore
  readonly #requests: Requests
  readonly #transport: Transport
  readonly #timers: Timers
  readonly #lives = new Map<number, Live>()
  readonly #handlers: (MessageHandler | undefined)[] = new Array(CLASS_COUNT).fill(undefined)
  readonly #methods = new Map<string, RequestHandler>()
  readonly #oneWays = new Map<string, (message: MeshMessage) => void>()
  readonly #listeners = new Map<keyof MeshEvents, Set<(event: never) => void>>()
  readonly #waiting = new Map<string, Waiting>()
  readonly #serving = new Map<string, AbortController>()
  readonly #traffic = new Map<string, Traffic>()
  /** All that are open, whatever they became. */
  readonly #sockets = new Set<Socket>()
  #listener: Listener | undefined
  #flush: NodeJS.Immediate | undefined
  #isFlushDue = false
  #flushedAtMs = Number.NEGATIVE_INFINITY
  #wakeAtMs = Number.POSITIVE_INFINITY
  #cancelWake: () => void = () => {}
  readonly #handshakes = new Histogram()
  #expiryWarnedAtMs: number | undefined
  #acceptToldMs = Number.NEGATIVE_INFINITY
  #closing: Promise<void> | undefined
  #unwatch: () => void = () => {}

  private constructor(options: MeshOptions) {
    const { name, epoch, clusterId, env, features = [] } = options
    this.#options = options
    this.#env = env
    this.#settings = { ...defaultMeshSettings, ...options.settings }
    const all = [...new Set([...OWN_FEATURES, ...features])]
    const versions = options.versions === undefined ? {} : { versions: options.versions }
    this.#core = new MeshCore({ name, epoch, clusterId, features: all, settings: this.#settings, ...versions }, env)
    this.#requests = new Requests(env)
    this.#timers = new Timers(env)
    this.#transport = new Transport(options.security, {
      wallMs: () => env.wallMs(),
      handshakeTimeoutMs: this.#settings.handshakeTimeoutMs,
    })
  }

  /**
   * Listens. Nobody is dialed before gossip names somebody.
   * @throws MoonmeshError when the port is in use or the address is none of this machine
   */
  static async open(options: MeshOptions): Promise<Mesh> {
    const mesh = new Mesh(options)
    const accept = mesh.#transport.onAccepted(
      (secured) => mesh.#accepted(secured),
      ({ code, reason }, from) => {
        if (code !== 'gone') mesh.#feed({ kind: 'accept-refused', from, reason, ...refusalOf(code) })
      },
    )
    mesh.#listener = await listen(options.bind, (socket) => {
      mesh.#watch(socket)
      accept(socket)
    })
    mesh.#listener.server.maxConnections = CONNECTIONS_MAX
    // Accepting fails when the program is out of file descriptors: that costs a peer its connection, not the node its life.
    mesh.#listener.server.on('error', (error) => mesh.#acceptFailed(messageOf(error)))
    mesh.#watchExpiry()
    mesh.#unwatch = options.pauses?.subscribe((pausedMs) => mesh.#feed({ kind: 'paused', pausedMs })) ?? (() => {})
    return mesh
  }

  /** What goes into the tag `internode_port`. */
  get port(): number {
    return this.#listener?.port ?? 0
  }

  /** An event of gossip about another node, in the order in which gossip tells them. */
  member(event: MeshMemberEvent): void {
    const { kind, name, epoch, reason = 'left' } = event
    if (name === this.#options.name) return
    if (kind === 'left') this.#feed({ kind: 'gone', name, epoch, reason })
    else this.#feed({ kind: 'member', member: meshMember(event) })
  }

  /** Gossip found that an earlier run had a later epoch: from now on this run has this one, and all sessions begin anew. */
  raiseEpoch(epoch: number): void {
    this.#feed({ kind: 'epoch', epoch })
  }

  /** What this node says of itself in handshakes to come. */
  describe(facts: PeerFacts): void {
    this.#feed({ kind: 'self', ...facts })
  }

  /**
   * Queues a message; nobody may change `bytes` afterwards. Returns at once.
   * @returns why it was not taken; undefined: it was
   */
  send(
    peer: string,
    channelClass: PayloadClass,
    bytes: Uint8Array,
    options: SendOptions = {},
  ): SendRefusal | undefined {
    const { epoch, isCompressible, ...offer } = options
    const classId = CLASS_ID[channelClass]
    if (isCompressible === true && this.#core.hasFeature(peer, 'deflate')) {
      const smaller = deflate(bytes)
      if (smaller !== undefined) return this.#send(peer, epoch, classId, smaller, { ...offer, isCompressed: true })
    }
    return this.#send(peer, epoch, classId, bytes, offer)
  }

  /** Whether the queue has room for a small message. */
  hasRoom(peer: string, channelClass: PayloadClass, epoch: number): boolean {
    return this.#core.hasRoom({ peer, epoch }, CLASS_ID[channelClass])
  }

  /** Why `send` would not take a message of so many bytes now; undefined: it would. */
  refusal(
    peer: string,
    channelClass: PayloadClass,
    byteCount: number,
    options: SendOptions = {},
  ): SendRefusal | undefined {
    return this.#core.refusal({ peer, ...options }, CLASS_ID[channelClass], byteCount, options)
  }

  /**
   * Asks a peer and waits for the answer.
   * @param body one msgpack value; empty: nil
   * @throws MoonmeshError `NotFound` (no such node, no such method), `Unavailable` (node down, or `overloaded`: retryable), `Timeout`,
   *   `Canceled`, `Invalid` (too large), `Internal`, or what the handler threw
   */
  request(peer: string, method: string, body: Uint8Array, options: RequestOptions = {}): Promise<Uint8Array> {
    const { deadlineMs = DEADLINE_MS_DEFAULT, signal, epoch } = options
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true)
        return reject(new MoonmeshError('Canceled', `request ${method} to ${peer} cancelled`))
      const begun = this.#requests.begin(peer, method, deadlineMs)
      if (begun === undefined) return reject(refused('queue_full', peer))
      const { id } = begun
      const remainingMs = Math.max(1, deadlineMs)
      const message = encodeRequest({ kind: 'request', id, method, remainingMs, body })
      const refusal = this.#send(peer, epoch, SYSTEM, message)
      if (refusal !== undefined) {
        this.#requests.forget(peer, id)
        return reject(refused(refusal, peer))
      }
      const cancel = (): void => this.#step({ kind: 'cancel', peer, id })
      signal?.addEventListener('abort', cancel, { once: true })
      this.#waiting.set(`${peer}/${id}`, {
        settle: (outcome) => {
          signal?.removeEventListener('abort', cancel)
          if (outcome.ok) resolve(outcome.body)
          else reject(errorOf(outcome.error))
        },
      })
      this.#schedule()
    })
  }

  /** Tells a peer something that needs no answer. @returns why it was not taken */
  notify(peer: string, method: string, body: Uint8Array, options: { epoch?: number } = {}): SendRefusal | undefined {
    return this.#send(peer, options.epoch, SYSTEM, encodeRequest({ kind: 'one-way', method, body }))
  }

  /** One handler a class; `system` is for requests. @returns takes it back */
  onMessage(channelClass: Exclude<PayloadClass, 'system'>, handler: MessageHandler): () => void {
    const classId = CLASS_ID[channelClass]
    this.#handlers[classId] = handler
    return () => {
      if (this.#handlers[classId] === handler) this.#handlers[classId] = undefined
    }
  }

  /** Answers requests of this method. @returns takes it back */
  onRequest(method: string, handler: RequestHandler): () => void {
    this.#methods.set(method, handler)
    return () => {
      if (this.#methods.get(method) === handler) this.#methods.delete(method)
    }
  }

  /** Hears what peers tell under this method. @returns takes it back */
  onNotify(method: string, handler: (message: MeshMessage) => void): () => void {
    this.#oneWays.set(method, handler)
    return () => {
      if (this.#oneWays.get(method) === handler) this.#oneWays.delete(method)
    }
  }

  /** @returns takes it back */
  on<K extends keyof MeshEvents>(kind: K, listener: (event: MeshEvents[K]) => void): () => void {
    let listeners = this.#listeners.get(kind)
    if (listeners === undefined) {
      listeners = new Set()
      this.#listeners.set(kind, listeners)
    }
    listeners.add(listener)
    return () => listeners.delete(listener)
  }

  link(peer: string): LinkStatus | undefined {
    return this.#core.link(peer)
  }

  /** Keys or certificates for connections to come; those that are live stay. The level of security cannot change. */
  reload(security: SecuritySettings): void {
    this.#transport.reload(security)
    this.#expiryWarnedAtMs = undefined
    this.#warnOfExpiry()
  }

  statistics(): MeshStatistics {
    this.#forgetTraffic()
    const bytes = new Map<string, { sent: number[]; received: number[] }>()
    for (const [peer, { sent, received }] of this.#traffic)
      bytes.set(peer, { sent: [...sent], received: [...received] })
    for (const { peer, connection } of this.#lives.values()) {
      const entry = bytes.get(peer)
      if (entry === undefined || connection === undefined) continue
      add(entry.sent, connection.sentBytes)
      add(entry.received, connection.receivedBytes)
    }
    const { notAfterMs } = this.#transport
    return {
      links: this.#core.links(),
      counters: this.#core.counters,
      requests: this.#requests.counters,
      bytes,
      totalQueueBytes: this.#core.totalQueueBytes,
      handshakes: this.#handshakes,
      certificateSeconds: notAfterMs === undefined ? undefined : (notAfterMs - this.#env.wallMs()) / 1000,
    }
  }

  /** This node leaves the cluster: those who hear of it close its connections, and it dials nobody again. `close` comes after it. */
  leave(): void {
    this.#feed({ kind: 'leave' })
  }

  /** Says goodbye to all peers and closes everything; requests that wait fail. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#unwatch()
    this.#feed({ kind: 'drain' })
    this.#timers.close()
    clearImmediate(this.#flush)
    const server = this.#listener?.server
    const isClosed = new Promise<void>((done) => (server === undefined ? done() : server.close(() => done())))
    const late = setTimeout(() => {
      for (const socket of this.#sockets) socket.destroy()
    }, LINGER_MS)
    await Promise.all([...this.#sockets].map((socket) => new Promise((done) => socket.once('close', done))))
    await isClosed
    clearTimeout(late)
    this.#transport.close()
    this.#lives.clear()
    this.#listeners.clear()
  }

  // --- The core and its effects ---------------------------------------------------------------------------------------

  #watchExpiry(): void {
    this.#warnOfExpiry()
    this.#timers.after(EXPIRY_CHECK_MS, () => this.#watchExpiry())
  }

  /** Once below two weeks, then daily below three days. */
  #warnOfExpiry(): void {
    const { notAfterMs } = this.#transport
    if (notAfterMs === undefined) return
    const nowMs = this.#env.wallMs()
    const leftDays = (notAfterMs - nowMs) / DAY_MS
    if (leftDays >= EXPIRY_WARN_DAYS) return
    const warnedMs = this.#expiryWarnedAtMs
    if (warnedMs !== undefined && (leftDays >= EXPIRY_URGENT_DAYS || nowMs - warnedMs < DAY_MS)) return
    this.#expiryWarnedAtMs = nowMs
    this.#options.log('warn', 'mesh_cert_expires', {
      days: Math.floor(leftDays),
      notAfter: new Date(notAfterMs).toISOString(),
    })
  }

  #send(
    peer: string,
    epoch: number | undefined,
    classId: number,
    bytes: Uint8Array,
    options?: OfferOptions,
  ): SendRefusal | undefined {
    const refusal = this.#core.send(epoch === undefined ? { peer } : { peer, epoch }, classId, bytes, options)
    this.#schedule()
    return refusal
  }

  /**
   * What was sent in this turn of the event loop goes out together; after a while without any, what was sent in this one callback: a lone
   * message need not wait for the others' sockets.
   */
  #schedule(): void {
    if (this.#isFlushDue || this.#closing !== undefined) return
    this.#isFlushDue = true
    const flush = (): void => {
      this.#isFlushDue = false
      // First: what a flush leaves to do waits for the next turn.
      this.#flushedAtMs = this.#env.nowMs()
      if (this.#closing === undefined) this.#feed({ kind: 'flush' })
    }
    if (this.#env.nowMs() - this.#flushedAtMs >= CALM_MS) process.nextTick(flush)
    else this.#flush = setImmediate(flush)
  }

  #feed(input: MeshInput): void {
    for (const effect of this.#core.step(input)) this.#perform(effect)
    if (this.#core.isDirty) this.#schedule()
    this.#arm()
  }

  #arm(): void {
    const dueMs = Math.min(this.#core.nextDueMs, this.#requests.nextDueMs)
    if (dueMs >= this.#wakeAtMs) return
    this.#cancelWake()
    this.#wakeAtMs = dueMs
    this.#cancelWake = this.#timers.after(Math.max(0, dueMs - this.#env.nowMs()), () => {
      this.#wakeAtMs = Number.POSITIVE_INFINITY
      this.#step({ kind: 'wake' })
      this.#feed({ kind: 'wake' })
    })
  }

  #perform(effect: MeshEffect): void {
    switch (effect.kind) {
      case 'dial':
        return this.#dial(effect)
      case 'handshake':
        return this.#lives.get(effect.connection)?.connection?.handshake(effect.message)
      case 'write':
        return this.#lives.get(effect.connection)?.connection?.write(effect.controls, effect.frames)
      case 'opened': {
        const live = this.#lives.get(effect.connection)
        if (live === undefined) return
        live.peer = effect.peer
        this.#trafficOf(effect.peer).goneAtMs = undefined
        live.connection?.open(effect)
        this.#handshakes.observe((this.#env.nowMs() - live.sinceMs) / 1000)
        return
      }
      case 'close': {
        const live = this.#lives.get(effect.connection)
        if (live === undefined) return
        live.cancelDial()
        if (effect.goodbye !== undefined) live.connection?.write([{ kind: 'goodbye', reason: effect.goodbye }], [])
        this.#retire(effect.connection, live)
        live.connection?.close()
        return
      }
      case 'deliver':
        return this.#deliver(effect)
      case 'node-up':
        this.#emit('node-up', {
          peer: effect.peer,
          epoch: effect.epoch,
          features: effect.features,
          facts: effect.facts,
        })
        return
      case 'node-down':
        this.#emit('node-down', { peer: effect.peer, epoch: effect.epoch, reason: effect.reason })
        return
      case 'session-over':
        this.#trafficOf(effect.peer).goneAtMs = this.#env.nowMs()
        this.#step({ kind: 'session-over', peer: effect.peer, reason: effect.reason })
        return
      case 'room':
        this.#emit('room', { peer: effect.peer, class: CHANNEL_CLASSES[effect.classId] as PayloadClass })
        return
      case 'connection-lost':
        this.#emit('connection-lost', { peer: effect.peer, epoch: effect.epoch, reason: effect.reason })
        return
      case 'stale-self':
        this.#emit('stale-self', { knownEpoch: effect.knownEpoch, peer: effect.peer })
        return
      case 'log':
        return this.#options.log(effect.level, effect.event, effect.fields)
      default:
        return unreachable(effect)
    }
  }

  #emit<K extends keyof MeshEvents>(kind: K, event: MeshEvents[K]): void {
    for (const listener of this.#listeners.get(kind) ?? []) {
      this.#guard(`listener of ${kind}`, () => (listener as (event: MeshEvents[K]) => void)(event))
    }
  }

  /** What a layer above throws is its bug and does not break the mesh. */
  #guard(what: string, run: () => void): void {
    try {
      run()
    } catch (error) {
      this.#options.log('error', 'mesh_handler_failed', { what, error: messageOf(error) })
    }
  }

  // --- Connections ----------------------------------------------------------------------------------------------------

  #dial(effect: MeshEffect & { kind: 'dial' }): void {
    const { connection: id, endpoints, timeoutMs } = effect
    const live: Live = { peer: effect.peer, connection: undefined, sinceMs: this.#env.nowMs(), cancelDial: () => {} }
    this.#lives.set(id, live)
    const failed = ({ reason, code }: { reason: string; code?: 'auth' | 'plaintext' }): void => {
      if (this.#lives.get(id) !== live) return
      this.#lives.delete(id)
      this.#feed({ kind: 'dial-failed', connection: id, reason, ...(code === undefined ? {} : { code }) })
    }
    live.cancelDial = dial(endpoints, timeoutMs, (result: DialResult) => {
      if (!result.ok) return failed(result)
      const { socket: raw } = result
      this.#watch(raw)
      live.cancelDial = () => raw.destroy()
      this.#transport.dial(raw, (secured) => {
        if (this.#lives.get(id) !== live) {
          if ('socket' in secured) secured.socket.destroy()
          return
        }
        if ('code' in secured) {
          const { code, reason } = secured
          return failed({ reason, ...refusalOf(code) })
        }
        live.cancelDial = () => {}
        this.#attach(id, live, secured, true)
        this.#feed({ kind: 'dialed', connection: id, security: secured.security })
        live.connection?.start()
      })
    })
  }

  #acceptFailed(reason: string): void {
    const nowMs = this.#env.nowMs()
    if (nowMs < this.#acceptToldMs + COMPLAINT_MS) return
    this.#acceptToldMs = nowMs
    this.#options.log('warn', 'mesh_accept_failed', { reason })
  }

  #accepted(secured: Secured): void {
    if (this.#closing !== undefined) {
      secured.socket.destroy()
      return
    }
    const id = this.#core.newConnection()
    const live: Live = { peer: '', connection: undefined, sinceMs: this.#env.nowMs(), cancelDial: () => {} }
    this.#lives.set(id, live)
    const connection = this.#attach(id, live, secured, false)
    this.#feed({ kind: 'accepted', connection: id, security: secured.security, from: connection.remote })
    connection.start()
  }

  #watch(socket: Socket): void {
    // Whoever the socket belongs to hears of errors; until it belongs to somebody nobody has to.
    socket.on('error', () => {})
    this.#sockets.add(socket)
    socket.once('close', () => this.#sockets.delete(socket))
  }

  #attach(id: number, live: Live, { socket }: Secured, isDialed: boolean): Connection {
    const { messageBytesMax } = this.#settings
    const connection = new Connection(
      socket,
      { isDialed, messageBytesMax },
      {
        handshake: (message) => this.#feed({ kind: 'handshake', connection: id, message }),
        control: (message) => this.#feed({ kind: 'control', connection: id, message }),
        messages: (batch) => this.#feed({ kind: 'messages', connection: id, ...batch }),
        violation: (reason) => this.#feed({ kind: 'violation', connection: id, reason }),
        speaksTls: () => this.#speaksTls(id, isDialed, connection),
        written: (bufferedBytes) => this.#feed({ kind: 'written', connection: id, bufferedBytes }),
        closed: (reason) => {
          this.#retire(id, live)
          this.#feed({ kind: 'closed', connection: id, reason })
        },
      },
    )
    live.connection = connection
    return connection
  }

  #speaksTls(id: number, isDialed: boolean, connection: Connection): void {
    const reason = 'the peer speaks TLS, this node does not'
    if (isDialed) {
      this.#feed({ kind: 'dial-failed', connection: id, reason, code: 'plaintext' })
      return
    }
    const from = connection.remote
    connection.handshake({ kind: 'refuse', code: 'plaintext', text: `${this.#options.name} runs without TLS` })
    connection.close()
    this.#feed({ kind: 'accept-refused', from, reason, code: 'plaintext' })
    this.#feed({ kind: 'closed', connection: id, reason })
    this.#lives.delete(id)
  }

  #retire(id: number, live: Live): void {
    this.#lives.delete(id)
    if (live.connection === undefined || live.peer === '') return
    const traffic = this.#trafficOf(live.peer)
    add(traffic.sent, live.connection.sentBytes)
    add(traffic.received, live.connection.receivedBytes)
    // Of a stranger whom gossip never confirmed no session ends.
    if (this.#core.link(live.peer) === undefined) traffic.goneAtMs ??= this.#env.nowMs()
  }

  #trafficOf(peer: string): Traffic {
    let traffic = this.#traffic.get(peer)
    if (traffic === undefined) {
      this.#forgetTraffic()
      traffic = { sent: new Array(CLASS_COUNT).fill(0), received: new Array(CLASS_COUNT).fill(0), goneAtMs: undefined }
      this.#traffic.set(peer, traffic)
    }
    return traffic
  }

  #forgetTraffic(): void {
    const nowMs = this.#env.nowMs()
    for (const [peer, { goneAtMs }] of this.#traffic) {
      if (goneAtMs === undefined || nowMs - goneAtMs < TRAFFIC_KEPT_MS) continue
      if (this.#core.link(peer) === undefined) this.#traffic.delete(peer)
    }
  }

  // --- Messages and requests -------------------------------------------------------------------------------------------

  #deliver(effect: MeshEffect & { kind: 'deliver' }): void {
    const { peer, epoch, connection, message } = effect
    const { classId, bytes, messageBytes } = message
    if (classId === SYSTEM) return this.#system(peer, epoch, connection, bytes)
    const handler = this.#handlers[classId]
    const failed = (error: unknown): void => this.#handlerFailed(connection, classId, error)
    let consuming: void | Promise<void> | undefined
    try {
      consuming = handler?.({ peer, epoch, bytes })
    } catch (error) {
      failed(error)
    }
    if (!isCredited(classId)) {
      if (consuming instanceof Promise) consuming.catch(failed)
      return
    }
    const consumed = (): void => this.#feed({ kind: 'consumed', peer, connection, classId, bytes: messageBytes })
    if (consuming instanceof Promise) {
      consuming.catch(failed).then(consumed, consumed)
    } else setImmediate(consumed)
  }

  /** Bytes that nobody can read are the peer's fault; anything else is a bug of the layer above and does not break the mesh. */
  #handlerFailed(connection: number, classId: number, error: unknown): void {
    if (error instanceof ProtocolError)
      return this.#feed({ kind: 'violation', connection, reason: error.message, classId })
    this.#options.log('error', 'mesh_handler_failed', {
      what: `handler of ${CHANNEL_CLASSES[classId]}`,
      error: messageOf(error),
    })
  }

  #system(peer: string, epoch: number, connection: number, bytes: Uint8Array): void {
    try {
      const message = decodeRequest(bytes)
      if (message !== undefined) this.#step({ kind: 'received', peer, epoch, message })
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error
      this.#feed({ kind: 'violation', connection, reason: error.message })
    }
  }

  #step(input: RequestInput): void {
    for (const effect of this.#requests.step(input)) this.#performRequest(effect)
    this.#schedule()
  }

  #performRequest(effect: RequestEffect): void {
    switch (effect.kind) {
      case 'send':
        // What has no room now is a reply whose caller has a deadline, or a cancel whose request has one.
        this.#core.send({ peer: effect.peer }, SYSTEM, encodeRequest(effect.message), { isReply: effect.isReply })
        return
      case 'done': {
        const key = `${effect.peer}/${effect.id}`
        const waiting = this.#waiting.get(key)
        this.#waiting.delete(key)
        waiting?.settle(effect.outcome)
        return
      }
      case 'serve':
        void this.#serve(effect)
        return
      case 'abort': {
        const key = keyOf(effect.served)
        this.#serving.get(key)?.abort(effect.reason)
        this.#serving.delete(key)
        return
      }
      case 'notify': {
        const { peer, epoch, method, body } = effect
        const handler = this.#oneWays.get(method)
        if (handler !== undefined) this.#guard(`handler of ${method}`, () => handler({ peer, epoch, bytes: body }))
        return
      }
      default:
        return unreachable(effect)
    }
  }

  async #serve({ served, method, deadlineMs, body }: RequestEffect & { kind: 'serve' }): Promise<void> {
    const controller = new AbortController()
    const key = keyOf(served)
    this.#serving.set(key, controller)
    let outcome: RequestOutcome
    try {
      const handler = this.#methods.get(method)
      if (handler === undefined) throw new MoonmeshError('NotFound', `${this.#options.name} knows no method ${method}`)
      const { peer, epoch } = served
      outcome = { ok: true, body: await handler(body, { peer, epoch, deadlineMs, signal: controller.signal }) }
    } catch (error) {
      outcome = { ok: false, error: this.#wireError(method, error) }
    }
    this.#serving.delete(key)
    this.#step({ kind: 'answer', to: served, outcome })
  }

  #wireError(method: string, error: unknown): RequestError {
    if (error instanceof MoonmeshError) {
      return { kind: error.kind, message: error.message, details: packable(error.details) }
    }
    const correlationId = randomUUID()
    this.#options.log('error', 'mesh_handler_failed', { what: method, error: messageOf(error), correlationId })
    return {
      kind: 'Internal',
      message: `${method} failed; see the log for ${correlationId}`,
      details: { correlationId },
    }
  }
}

const keyOf = ({ peer, session, id }: Served): string => `${peer}/${session}/${id}`

function add(sums: number[], more: readonly number[]): void {
  for (const [i, count] of more.entries()) sums[i] = (sums[i] as number) + count
}

/** Details of an error as far as they can travel: what JSON keeps. */
function packable(details: Record<string, unknown> | undefined): unknown {
  if (details === undefined) return null
  try {
    return JSON.parse(JSON.stringify(details))
  } catch {
    return null
  }
}

function errorOf({ kind, message, details }: RequestError): MoonmeshError {
  const facts = typeof details === 'object' && details !== null ? (details as Record<string, unknown>) : undefined
  return new MoonmeshError(kind, message, {
    ...(kind === 'Unavailable' || kind === 'Timeout' ? { retryable: true } : {}),
    ...(facts === undefined ? {} : { details: facts }),
  })
}

/** What the core counts; other failures are just failures. */
function refusalOf(code: SecurityRefusal['code'] | undefined): { code?: 'auth' | 'plaintext' } {
  return code === 'auth' || code === 'plaintext' ? { code } : {}
}

/** The failure of a caller whose message was not taken. */
function refused(refusal: SendRefusal, peer: string): MoonmeshError {
  switch (refusal) {
    case 'unknown_node':
      return new MoonmeshError('NotFound', `node ${peer} is not a member of the cluster`, { details: { node: peer } })
    case 'stale_epoch':
    case 'unreachable':
    case 'not_connected':
      return new MoonmeshError('Unavailable', `node down: ${peer} (${refusal})`, {
        retryable: true,
        details: { reason: 'node_down', node: peer },
      })
    case 'too_large':
      return new MoonmeshError('Invalid', `message to ${peer} is larger than cluster.internode.max_message_size`)
    case 'queue_full':
    case 'overflow':
      return new MoonmeshError('Unavailable', `peer queue full: too much waits to be sent to ${peer}`, {
        retryable: true,
        details: { reason: 'overloaded', node: peer },
      })
  }
}
