// Exchanges over TCP: one message each way, opened by the asker, closed by the answerer. Every leg has a deadline, all of them together a
// bound in memory. cluster.md §3.1, §3.5.

import type { Socket } from 'node:net'
import type { Address } from './core/address.ts'
import { DecodeError, DecryptError } from './wire/decode-error.ts'
import type { Envelope } from './wire/packet.ts'
import { StreamDecoder, type StreamMessage, sealStream } from './wire/stream.ts'

export interface StreamOptions {
  readonly envelope: Envelope
  /** The port of nodes that name none. */
  readonly defaultPort: number
  /** For connecting, for each write, for each message to arrive. */
  readonly legTimeoutMs: number
  /** Opens a connection. */
  connect(to: Address): Socket
  /** A peer's message; `reply` may be called once, later or never, and undefined ends without a word. */
  received(message: StreamMessage, from: Address, reply: (answer: StreamMessage | undefined) => void): void
  /** A stream that was refused, and why. */
  refused(from: Address, reason: string, isUndecryptable: boolean): void
}

export interface StreamFigures {
  opened: number
  accepted: number
  refused: number
  bytesIn: number
  bytesOut: number
}

/** Incoming ones at once; further ones are closed. */
const INCOMING_MAX = 128
/** What half-received messages of all streams may hold together. */
const HELD_BYTES_MAX = 64 * 1024 * 1024

export class Streams {
  readonly #options: StreamOptions
  readonly #sockets = new Set<Socket>()
  #incomingCount = 0
  #heldBytes = 0
  readonly figures: StreamFigures = { opened: 0, accepted: 0, refused: 0, bytesIn: 0, bytesOut: 0 }

  constructor(options: StreamOptions) {
    this.#options = options
  }

  /** Asks a peer. @param timeoutMs bound of the whole; without: the legs' own. Rejects with the reason. */
  async ask(to: Address, message: StreamMessage, timeoutMs?: number): Promise<StreamMessage> {
    const socket = this.#options.connect(to)
    this.#keep(socket)
    this.figures.opened++
    const deadline =
      timeoutMs === undefined ? undefined : setTimeout(() => socket.destroy(new Error('no answer in time')), timeoutMs)
    try {
      await this.#leg(socket, 'connecting', (done) => socket.once('connect', done))
      await this.#write(socket, sealStream(message, this.#options.envelope))
      const answer = await this.#read(socket)
      if (answer.kind === 'error') throw new Error(`the peer says: ${answer.text}`)
      return answer
    } finally {
      clearTimeout(deadline)
      socket.destroy()
    }
  }

  /** Serves a connection that a peer opened. */
  async serve(socket: Socket, from: Address): Promise<void> {
    this.#keep(socket)
    if (this.#incomingCount >= INCOMING_MAX) {
      this.figures.refused++
      socket.destroy()
      return
    }
    this.#incomingCount++
    this.figures.accepted++
    try {
      const message = await this.#read(socket)
      const answer = await this.#leg<StreamMessage | undefined>(socket, 'answering', (done) =>
        this.#options.received(message, from, done),
      )
      if (answer !== undefined) await this.#write(socket, sealStream(answer, this.#options.envelope))
      socket.end()
      // The peer reads to the end and closes; it has one more leg for that.
      socket.setTimeout(this.#options.legTimeoutMs, () => socket.destroy())
    } catch (error) {
      this.#refuse(socket, from, error)
    } finally {
      this.#incomingCount--
    }
  }

  #refuse(socket: Socket, from: Address, error: unknown): void {
    if (!(error instanceof DecodeError)) {
      // It went away, or took too long: nothing that anybody has to be told.
      socket.destroy()
      return
    }
    this.figures.refused++
    this.#options.refused(from, error.message, error instanceof DecryptError)
    if (socket.destroyed) return
    socket.setTimeout(this.#options.legTimeoutMs, () => socket.destroy())
    socket.end(sealStream({ kind: 'error', text: error.message }, this.#options.envelope, true))
    socket.resume()
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket)
    // Whoever waits on the socket hears of its end; an error nobody listens for would end the program.
    socket.on('error', () => {})
    socket.once('close', () => {
      this.#sockets.delete(socket)
      this.figures.bytesIn += socket.bytesRead
      this.figures.bytesOut += socket.bytesWritten
    })
  }

  /** Resolves when `begin` says so; rejects when the socket ends or the leg takes too long. */
  #leg<T>(socket: Socket, what: string, begin: (done: (value: T) => void) => void): Promise<T> {
    const { legTimeoutMs } = this.#options
    return new Promise((resolve, reject) => {
      let failure: Error | undefined
      const late = setTimeout(
        () => socket.destroy(new Error(`${what} took more than ${legTimeoutMs} ms`)),
        legTimeoutMs,
      )
      const failed = (error: Error): void => {
        failure = error
      }
      const closed = (): void => {
        clearTimeout(late)
        reject(failure ?? new Error(`the connection ended while ${what}`))
      }
      socket.once('error', failed)
      socket.once('close', closed)
      if (socket.destroyed) closed()
      begin((value) => {
        clearTimeout(late)
        socket.off('error', failed)
        socket.off('close', closed)
        resolve(value)
      })
    })
  }

  #write(socket: Socket, bytes: Buffer): Promise<void> {
    return this.#leg(socket, 'sending', (done) => {
      socket.write(bytes, (error) => {
        if (error === null || error === undefined) done(undefined)
      })
    })
  }

  /** One message of the peer. Rejects with a DecodeError when it is none. */
  async #read(socket: Socket): Promise<StreamMessage> {
    const { envelope, defaultPort, legTimeoutMs } = this.#options
    const decoder = new StreamDecoder(envelope, defaultPort)
    let held = 0
    let late: NodeJS.Timeout | undefined
    try {
      return await new Promise<StreamMessage>((resolve, reject) => {
        let isSlicing = false
        let end: Error | undefined
        const advance = (): void => {
          isSlicing = false
          try {
            const got = decoder.advance()
            if (got === 'turn') {
              // A large message is read in slices, with other work in between; the peer may be gone by the last of them.
              isSlicing = true
              setImmediate(advance)
            } else if (got !== 'bytes') resolve(got)
            else if (end !== undefined) reject(end)
          } catch (error) {
            reject(error)
          }
        }
        const ended = (error?: Error): void => {
          end ??= error ?? new Error('the connection ended before the message was whole')
          if (!isSlicing) reject(end)
        }
        late = setTimeout(() => ended(new Error(`receiving took more than ${legTimeoutMs} ms`)), legTimeoutMs)
        socket.on('data', (piece: Buffer) => {
          try {
            decoder.push(piece)
            this.#heldBytes += decoder.bytesHeld - held
            held = decoder.bytesHeld
            if (this.#heldBytes > HELD_BYTES_MAX) throw new DecodeError('too much is being received at once')
            if (!isSlicing) advance()
          } catch (error) {
            reject(error)
          }
        })
        socket.once('error', ended)
        socket.once('end', () => ended())
        socket.once('close', () => ended())
        if (socket.destroyed) ended()
      })
    } finally {
      clearTimeout(late)
      this.#heldBytes -= held
      for (const event of ['data', 'end']) socket.removeAllListeners(event)
    }
  }

  /** Ends every connection. */
  close(): void {
    for (const socket of this.#sockets) socket.destroy()
  }
}
