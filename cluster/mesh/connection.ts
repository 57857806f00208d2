// One socket of the mesh: bytes to messages and back. Knows the frames and nothing of what they are for.

import type { Socket } from 'node:net'
import { BULK, CLASS_COUNT, LINK, RLOG, SYSTEM } from './core/classes.ts'
import type { Control } from './core/control.ts'
import type { Frame } from './core/frames.ts'
import type { Handshake } from './core/handshake.ts'
import type { ReceivedMessage } from './core/mesh.ts'
import { encodeFrames, FrameDecoder, linkFrame } from './wire/frame.ts'
import { decodeControl, decodeHandshake, encodeControl, encodeHandshake, PREAMBLE } from './wire/handshake.ts'
import { ProtocolError } from './wire/protocol-error.ts'

interface ConnectionHandlers {
  handshake(message: Handshake): void
  control(message: Control): void
  messages(batch: MessageBatch): void
  /** The peer breaks the protocol; whoever hears of it closes. */
  violation(reason: string): void
  /** The peer speaks TLS where this node does not. */
  speaksTls(): void
  written(bufferedBytes: number): void
  /** Once, unless this end closed. */
  closed(reason: string): void
}

interface MessageBatch {
  readonly messages: readonly ReceivedMessage[]
  readonly windowBytes: number
  readonly assemblingBytes: { readonly bulk: number; readonly rlog: number }
}

/** How long a closing socket may take to write what is left. */
const LINGER_MS = 1000
const TLS_HANDSHAKE = 0x16
const TLS_ALERT = 0x15

export class Connection {
  readonly #socket: Socket
  readonly #isDialed: boolean
  readonly #handlers: ConnectionHandlers
  readonly #decoder: FrameDecoder
  /** What an acceptor still waits for. */
  #preamble: Buffer = Buffer.alloc(0)
  #hasPreamble: boolean
  #isGreeted = false
  #isClosed = false
  #error = ''
  /** Bytes on the wire, by class and direction. */
  readonly receivedBytes: number[] = new Array(CLASS_COUNT).fill(0)
  readonly sentBytes: number[] = new Array(CLASS_COUNT).fill(0)

  constructor(socket: Socket, options: { isDialed: boolean; messageBytesMax: number }, handlers: ConnectionHandlers) {
    this.#socket = socket
    this.#isDialed = options.isDialed
    this.#hasPreamble = options.isDialed
    this.#handlers = handlers
    this.#decoder = new FrameDecoder({ messageBytesMax: options.messageBytesMax })
    if (options.isDialed) socket.write(PREAMBLE)
  }

  /** Begins to read; not before the owner knows the connection. */
  start(): void {
    const socket = this.#socket
    socket.on('data', (data: Buffer) => this.#data(data))
    socket.on('error', (error: Error & { code?: string }) => {
      this.#error = error.code ?? error.message
    })
    socket.on('close', () => {
      if (this.#isClosed) return
      this.#isClosed = true
      this.#handlers.closed(this.#error === '' ? 'closed by the peer' : this.#error)
    })
    if (socket.destroyed) this.#handlers.closed('closed by the peer')
  }

  get remote(): string {
    return `${this.#socket.remoteAddress ?? 'unknown'}:${this.#socket.remotePort ?? 0}`
  }

  /** The handshake is done. */
  open(options: { isDeflateNegotiated: boolean }): void {
    this.#decoder.isHandshaking = false
    this.#decoder.isDeflateNegotiated = options.isDeflateNegotiated
  }

  handshake(message: Handshake): void {
    this.#write([linkFrame(encodeHandshake(message))])
  }

  write(controls: readonly Control[], frames: readonly Frame[]): void {
    this.#write([...controls.map((control) => linkFrame(encodeControl(control))), ...frames])
  }

  /** Writes what is left and closes; `closed` is not called. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    const socket = this.#socket
    if (socket.destroyed) return
    const timer = setTimeout(() => socket.destroy(), LINGER_MS)
    socket.once('close', () => clearTimeout(timer))
    // Nobody reads what still comes; left alone it would keep the socket from closing.
    socket.removeAllListeners('data')
    socket.resume()
    socket.end()
  }

  destroy(): void {
    this.#isClosed = true
    this.#socket.destroy()
  }

  #write(frames: readonly Frame[]): void {
    const socket = this.#socket
    if (this.#isClosed || !socket.writable) return
    const buffers = encodeFrames(frames)
    for (const frame of frames) {
      this.sentBytes[frame.classId] = (this.sentBytes[frame.classId] as number) + frame.payload.length
    }
    const done = (error?: Error | null): void => {
      if (error || this.#isClosed) return
      this.#handlers.written(socket.writableLength)
    }
    if (buffers.length === 1) {
      socket.write(buffers[0] as Uint8Array, done)
      return
    }
    socket.cork()
    for (const [i, buffer] of buffers.entries()) {
      if (i === buffers.length - 1) socket.write(buffer, done)
      else socket.write(buffer)
    }
    socket.uncork()
  }

  #data(data: Buffer): void {
    if (this.#isClosed) return
    try {
      const rest = this.#hasPreamble ? data : this.#takePreamble(data)
      if (rest === undefined) return
      if (this.#isDialed && !this.#isGreeted && rest[0] === TLS_ALERT) return this.#handlers.speaksTls()
      this.#decoder.push(rest)
      this.#read()
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error
      this.#handlers.violation(error.message)
    }
  }

  #takePreamble(data: Buffer): Buffer | undefined {
    const all = this.#preamble.length === 0 ? data : Buffer.concat([this.#preamble, data])
    const count = Math.min(all.length, PREAMBLE.length)
    if (!all.subarray(0, count).equals(PREAMBLE.subarray(0, count))) {
      if (all[0] === TLS_HANDSHAKE) this.#handlers.speaksTls()
      else this.#handlers.violation('not the preamble of the mesh')
      return undefined
    }
    if (count < PREAMBLE.length) {
      this.#preamble = all
      return undefined
    }
    this.#hasPreamble = true
    return all.subarray(count)
  }

  #read(): void {
    let messages: ReceivedMessage[] = []
    let isHeard = false
    const hand = (): void => {
      const windowBytes = this.#takeBytes()
      // Half a frame is a sign of life, too.
      if (messages.length === 0 && windowBytes === 0 && (isHeard || !this.#isGreeted)) return
      isHeard = true
      const assemblingBytes = { bulk: this.#decoder.assemblingBytes(BULK), rlog: this.#decoder.assemblingBytes(RLOG) }
      const batch = { messages, windowBytes, assemblingBytes }
      messages = []
      this.#handlers.messages(batch)
    }
    while (!this.#isClosed) {
      const message = this.#decoder.next()
      if (message === undefined) return hand()
      if (message.classId !== LINK) {
        messages.push(message)
        continue
      }
      // Controls keep their place among the messages.
      hand()
      if (this.#isClosed) return
      if (!this.#isGreeted) {
        this.#isGreeted = true
        this.#handlers.handshake(decodeHandshake(message.bytes))
        continue
      }
      const control = decodeControl(message.bytes)
      if (control !== undefined) this.#handlers.control(control)
    }
  }

  /** @returns bytes taken since the last call in the classes that share the window */
  #takeBytes(): number {
    const { takenBytes } = this.#decoder
    let windowBytes = 0
    for (let classId = 0; classId < CLASS_COUNT; classId++) {
      const bytes = takenBytes[classId] as number
      if (bytes === 0) continue
      takenBytes[classId] = 0
      this.receivedBytes[classId] = (this.receivedBytes[classId] as number) + bytes
      if (classId >= SYSTEM) windowBytes += bytes
    }
    return windowBytes
  }
}
