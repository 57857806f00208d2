// A node of the mesh in the simulated world: the real core and the real wire, with the simulator in the place of sockets.

import { CLASS_COUNT, LINK } from '../../cluster/mesh/core/classes.ts'
import type { MeshMember } from '../../cluster/mesh/core/members.ts'
import { MeshCore, type MeshEffect, type MeshInput, type ReceivedMessage } from '../../cluster/mesh/core/mesh.ts'
import type { OfferOptions } from '../../cluster/mesh/core/outbox.ts'
import { defaultMeshSettings, type MeshSettings } from '../../cluster/mesh/core/settings.ts'
import { encodeFrames, FrameDecoder, linkFrame } from '../../cluster/mesh/wire/frame.ts'
import {
  decodeControl,
  decodeHandshake,
  encodeControl,
  encodeHandshake,
  PREAMBLE,
} from '../../cluster/mesh/wire/handshake.ts'
import { ProtocolError } from '../../cluster/mesh/wire/protocol-error.ts'
import { unreachable } from '../../runtime/base/assert.ts'
import { SimProcess } from './process.ts'
import type { StreamEnd, StreamNetwork } from './streams.ts'
import type { ClockOptions, World } from './world.ts'

export interface MeshNodeOptions {
  readonly name: string
  readonly epoch: number
  /** `host:port` in the stream network. */
  readonly address: string
  readonly settings?: Partial<MeshSettings>
  readonly clusterId?: string
  readonly features?: readonly string[]
  readonly clock?: ClockOptions
  /** The program that it is a part of; absent: one of its own. */
  readonly process?: SimProcess
}

/** Who watches; called after every step of a node. */
interface MeshObserver {
  stepped(node: MeshNode, effects: readonly MeshEffect[]): void
}

interface Open {
  readonly id: number
  readonly isDialed: boolean
  end: StreamEnd | undefined
  readonly decoder: FrameDecoder
  /** Bytes of the preamble that an acceptor still waits for. */
  preambleBytes: number
  isGreeted: boolean
  cancel: () => void
}

export class MeshNode {
  readonly name: string
  epoch: number
  readonly address: string
  readonly core: MeshCore
  readonly process: SimProcess
  readonly effects: MeshEffect[] = []
  onConnectionLost: (peer: string, epoch: number) => void = () => {}
  /** Called for every message of the layers above. */
  onDeliver: (peer: string, epoch: number, message: ReceivedMessage, consumed: () => void) => void = (
    ...[, , , done]
  ) => done()
  /** Called when a session begins or ends, in its place among the messages. */
  onSession: (effect: MeshEffect & { kind: 'node-up' | 'node-down' }) => void = () => {}
  readonly #world: World
  readonly #network: StreamNetwork
  readonly #observer: MeshObserver | undefined
  readonly #open = new Map<number, Open>()
  readonly #settings: MeshSettings
  #wakeAtMs = Number.POSITIVE_INFINITY
  #isStepping = false

  constructor(world: World, network: StreamNetwork, options: MeshNodeOptions, observer?: MeshObserver) {
    this.#world = world
    this.#network = network
    this.#observer = observer
    this.process = options.process ?? new SimProcess(world, options.clock)
    this.name = options.name
    this.epoch = options.epoch
    this.address = options.address
    const { onPause } = this.process
    this.process.onPause = (pausedMs) => {
      onPause(pausedMs)
      this.feed({ kind: 'paused', pausedMs })
    }
    this.#settings = { ...defaultMeshSettings, ...options.settings }
    this.core = new MeshCore(
      {
        name: options.name,
        epoch: options.epoch,
        clusterId: options.clusterId ?? 'sim',
        features: options.features ?? ['resume', 'deflate'],
        settings: this.#settings,
      },
      this.process.env,
    )
    network.listen(options.address, (end, from) => this.#when(() => this.#accept(end, from)))
  }

  get queueBytesMax(): number {
    return this.#settings.queueBytesMax
  }

  get totalQueueBytesMax(): number {
    return this.#settings.totalQueueBytesMax
  }

  get member(): MeshMember {
    const [host = '', port = '0'] = this.address.split(':')
    return { name: this.name, epoch: this.epoch, endpoints: [{ host, port: Number(port) }], isRaftMember: false }
  }

  /** Counts as another run from now on. */
  raiseEpoch(epoch: number): void {
    this.feed({ kind: 'epoch', epoch })
    this.epoch = epoch
  }

  get isRunning(): boolean {
    return this.process.isRunning
  }

  crash(): void {
    this.process.kill()
    this.#network.crash(this.address)
  }

  send(peer: string, classId: number, bytes: Uint8Array, options?: OfferOptions, epoch?: number): string | undefined {
    const to = epoch === undefined ? { peer } : { peer, epoch }
    const refusal = this.core.send(to, classId, bytes, options)
    if (this.core.isDirty && !this.#isStepping) this.feed({ kind: 'flush' })
    return refusal
  }

  feed(input: MeshInput): void {
    if (!this.isRunning) return
    this.#isStepping = true
    const effects = this.core.step(input)
    this.effects.push(...effects)
    for (const effect of effects) this.#perform(effect)
    this.#isStepping = false
    this.#observer?.stepped(this, effects)
    if (this.core.isDirty) this.#world.after(0, () => this.#when(() => this.feed({ kind: 'flush' })))
    this.#wake()
  }

  #when(act: () => void): void {
    this.process.input(act)
  }

  #wake(): void {
    const dueMs = this.core.nextDueMs
    if (dueMs >= this.#wakeAtMs || dueMs === Number.POSITIVE_INFINITY) return
    this.#wakeAtMs = dueMs
    this.process.timer(dueMs - this.process.env.nowMs(), () => {
      if (this.#wakeAtMs !== dueMs) return
      this.#wakeAtMs = Number.POSITIVE_INFINITY
      this.feed({ kind: 'wake' })
    })
  }

  #perform(effect: MeshEffect): void {
    switch (effect.kind) {
      case 'dial': {
        const { connection } = effect
        const [endpoint] = effect.endpoints
        const open = this.#add(connection, true)
        const attempt = this.#network.connect(
          this.address,
          `${endpoint?.host}:${endpoint?.port}`,
          this.process.trueMs(effect.timeoutMs),
          (result) =>
            this.#when(() => {
              if (this.#open.get(connection) !== open) return typeof result === 'string' ? undefined : result.close()
              if (typeof result === 'string') {
                this.#open.delete(connection)
                return this.feed({ kind: 'dial-failed', connection, reason: result })
              }
              this.#attach(open, result)
              result.write(PREAMBLE)
              this.feed({ kind: 'dialed', connection, security: { kind: 'plain' } })
            }),
        )
        open.cancel = () => attempt.cancel()
        return
      }
      case 'handshake':
        return this.#write(effect.connection, encodeFrames([linkFrame(encodeHandshake(effect.message))]))
      case 'write': {
        const controls = effect.controls.map((control) => linkFrame(encodeControl(control)))
        return this.#write(effect.connection, encodeFrames([...controls, ...effect.frames]))
      }
      case 'opened': {
        const open = this.#open.get(effect.connection)
        if (open === undefined) return
        open.decoder.isHandshaking = false
        open.decoder.isDeflateNegotiated = effect.isDeflateNegotiated
        return
      }
      case 'close': {
        const open = this.#open.get(effect.connection)
        if (open === undefined) return
        if (effect.goodbye !== undefined) {
          const goodbye = linkFrame(encodeControl({ kind: 'goodbye', reason: effect.goodbye }))
          this.#write(effect.connection, encodeFrames([goodbye]))
        }
        this.#open.delete(effect.connection)
        open.cancel()
        open.end?.close()
        return
      }
      case 'deliver': {
        const { peer, connection, message } = effect
        const { classId, messageBytes: bytes } = message
        this.onDeliver(peer, effect.epoch, message, () =>
          this.#world.after(0, () =>
            this.#when(() => this.feed({ kind: 'consumed', peer, connection, classId, bytes })),
          ),
        )
        return
      }
      case 'connection-lost':
        return this.onConnectionLost(effect.peer, effect.epoch)
      case 'node-up':
      case 'node-down':
        return this.onSession(effect)
      case 'session-over':
      case 'room':
      case 'stale-self':
      case 'log':
        return
      default:
        return unreachable(effect)
    }
  }

  #add(id: number, isDialed: boolean): Open {
    const decoder = new FrameDecoder({ messageBytesMax: this.#settings.messageBytesMax })
    const open: Open = {
      id,
      isDialed,
      end: undefined,
      decoder,
      preambleBytes: isDialed ? 0 : PREAMBLE.length,
      isGreeted: false,
      cancel: () => {},
    }
    this.#open.set(id, open)
    return open
  }

  #accept(end: StreamEnd, from: string): void {
    const id = this.core.newConnection()
    const open = this.#add(id, false)
    this.#attach(open, end)
    this.feed({ kind: 'accepted', connection: id, security: { kind: 'plain' }, from })
  }

  #attach(open: Open, end: StreamEnd): void {
    const { id } = open
    open.end = end
    end.onData = (bytes) => this.#when(() => this.#data(open, bytes))
    end.onClose = (reason) =>
      this.#when(() => {
        if (this.#open.delete(id)) this.feed({ kind: 'closed', connection: id, reason })
      })
    end.onWritten = () =>
      this.#when(() => {
        if (this.#open.get(id) !== open) return
        this.feed({ kind: 'written', connection: id, bufferedBytes: end.bufferedBytes })
      })
  }

  #write(id: number, buffers: readonly Uint8Array[]): void {
    for (const bytes of buffers) this.#open.get(id)?.end?.write(bytes)
  }

  #data(open: Open, data: Uint8Array): void {
    const { id, decoder } = open
    if (this.#open.get(id) !== open) return
    const skipped = Math.min(open.preambleBytes, data.length)
    open.preambleBytes -= skipped
    decoder.push(data.subarray(skipped))
    try {
      this.#read(open)
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error
      this.feed({ kind: 'violation', connection: id, reason: error.message })
    }
  }

  #read(open: Open): void {
    const { id, decoder } = open
    const messages: ReceivedMessage[] = []
    const flush = (): void => {
      const bytes = decoder.takenBytes
      let windowBytes = 0
      for (let classId = 2; classId < CLASS_COUNT; classId++) {
        windowBytes += bytes[classId] as number
        bytes[classId] = 0
      }
      if (messages.length === 0 && windowBytes === 0) return
      const assemblingBytes = { bulk: decoder.assemblingBytes(5), rlog: decoder.assemblingBytes(6) }
      this.feed({ kind: 'messages', connection: id, messages: messages.splice(0), windowBytes, assemblingBytes })
    }
    while (this.#open.get(id) === open) {
      const message = decoder.next()
      if (message === undefined) return flush()
      if (message.classId !== LINK) {
        messages.push(message)
        continue
      }
      flush()
      if (!open.isGreeted) {
        open.isGreeted = true
        this.feed({ kind: 'handshake', connection: id, message: decodeHandshake(message.bytes) })
        continue
      }
      const control = decodeControl(message.bytes)
      if (control !== undefined) this.feed({ kind: 'control', connection: id, message: control })
    }
  }
}
