// Exchanges over TCP: one message each way, opened by the asker, closed by the answerer. Every leg has a deadline, all of them together a
// bound in memory. cluster.md §3.1, §3.5.

import type { Socket } from 'node:net'
import type { Env } from '../../runtime/base/env.ts'
import type { Timers } from '../timers.ts'
import type { Address } from './core/address.ts'
import { Turns } from './turns.ts'
import { DecodeError, DecryptError } from './wire/decode-error.ts'
import type { Envelope } from './wire/packet.ts'
import { StreamDecoder, type StreamMessage, sealStream } from './wire/stream.ts'

interface StreamOptions {
  readonly envelope: Envelope
  /** The port of nodes that name none. */
  readonly defaultPort: number
  /** For connecting, for each write, for each message to arrive, for closing. */
  readonly legTimeoutMs: number
  readonly env: Env
  readonly timers: Timers
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
  /** Incoming ones that were too many, or not understood. */
  refused: number
  /** A leg of which took too long. */
  timedOut: number
  bytesIn: number
  bytesOut: number
}

/** Incoming ones at once; further ones are closed. */
const INCOMING_MAX = 128
/** What half-received messages of all streams may hold together. */
const HELD_BYTES_MAX = 64 * 1024 * 1024
const ERROR_CHARACTERS_MAX = 200

export class Streams {
  readonly #options: StreamOptions
  readonly #turns: Turns
  readonly #sockets = new Set<Socket>()
  #incomingCount = 0
  #heldBytes = 0
  readonly figures: StreamFigures = { opened: 0, accepted: 0, refused: 0, timedOut: 0, bytesIn: 0, bytesOut: 0 }

  constructor(options: StreamOptions) {
    this.#options = options
    this.#turns = new Turns(options.env)
  }

  /** Asks a peer. @param timeoutMs bound of the whole; without: the legs' own. Rejects with the reason. */
  async ask(to: Address, message: StreamMessage, timeoutMs?: number): Promise<StreamMessage> {
    const socket = this.#options.connect(to)
    this.#keep(socket)
    this.figures.opened++
    const cancel =
      timeoutMs === undefined ? undefined : this.#within(timeoutMs, 'the answer', (error) => socket.destroy(error))
    try {
      await this.#leg(socket, 'connecting', (done) => socket.once('connect', done))
      await this.#write(socket, sealStream(message, this.#options.envelope))
      const answer = await this.#read(socket)
      if (answer.kind === 'error') throw new Error(`the peer says: ${printable(answer.text)}`)
      return answer
    } finally {
      cancel?.()
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
    // Until it is closed: a peer that is answered and does not go away holds a place, too.
    socket.once('close', () => this.#incomingCount--)
    try {
      const message = await this.#read(socket)
      const answer = await this.#leg<StreamMessage | undefined>(socket, 'answering', (done) =>
        orStop(() => this.#options.received(message, from, done)),
      )
      if (answer !== undefined) await this.#write(socket, sealStream(answer, this.#options.envelope))
      this.#end(socket)
    } catch (error) {
      this.#refuse(socket, from, error)
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
    this.#end(socket, sealStream({ kind: 'error', text: error.message }, this.#options.envelope, true))
  }

  /** Says the last word. The peer reads to the end and closes; it has one more leg for that, whatever it sends meanwhile. */
  #end(socket: Socket, bytes?: Buffer): void {
    if (socket.destroyed) return
    if (bytes === undefined) socket.end()
    else socket.end(bytes)
    socket.resume()
    socket.once(
      'close',
      this.#options.timers.after(this.#options.legTimeoutMs, () => socket.destroy()),
    )
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

  /** @returns cancels it */
  #within(timeoutMs: number, what: string, late: (error: Error) => void): () => void {
    return this.#options.timers.after(timeoutMs, () => {
      this.figures.timedOut++
      late(new Error(`${what} took more than ${Math.round(timeoutMs)} ms`))
    })
  }

  /** Resolves when `begin` says so; rejects when the socket ends or the leg takes too long. */
  #leg<T>(socket: Socket, what: string, begin: (done: (value: T) => void) => void): Promise<T> {
    return new Promise((resolve, reject) => {
      let failure: Error | undefined
      const cancel = this.#within(this.#options.legTimeoutMs, what, (error) => socket.destroy(error))
      const failed = (error: Error): void => {
        failure = error
      }
      const closed = (): void => {
        cancel()
        reject(failure ?? new Error(`the connection ended while ${what}`))
      }
      socket.once('error', failed)
      socket.once('close', closed)
      if (socket.destroyed) return closed()
      begin((value) => {
        cancel()
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
    const turns = this.#turns
    let held = 0
    let release = (): void => {}
    try {
      return await new Promise<StreamMessage>((resolve, reject) => {
        let isSlicing = false
        let end: Error | undefined
        const read = {
          slice: (): void => {
            try {
              const got = decoder.advance()
              isSlicing = got === 'turn'
              if (got === 'turn') return turns.addLarge(read)
              turns.release(read)
              if (got !== 'bytes') resolve(got)
              else if (end !== undefined) reject(end)
            } catch (error) {
              reject(error)
            }
          },
        }
        const ended = (error?: Error): void => {
          end ??= error ?? new Error('the connection ended before the message was whole')
          // What has arrived may still be the whole message, in slices that were not read yet.
          if (!isSlicing) reject(end)
        }
        const data = (piece: Buffer): void => {
          try {
            decoder.push(piece)
            this.#heldBytes += decoder.bytesHeld - held
            held = decoder.bytesHeld
            if (this.#heldBytes > HELD_BYTES_MAX) throw new DecodeError('too much is being received at once')
            isSlicing = true
            turns.add(read)
          } catch (error) {
            reject(error)
          }
        }
        const cancel = this.#within(legTimeoutMs, 'receiving', reject)
        const gone = (): void => ended()
        const events = { data, end: gone, error: ended, close: gone }
        for (const [event, listener] of Object.entries(events)) socket.on(event, listener)
        release = () => {
          cancel()
          turns.release(read)
          for (const [event, listener] of Object.entries(events)) socket.off(event, listener)
        }
        if (socket.destroyed) ended()
      })
    } finally {
      release()
      this.#heldBytes -= held
    }
  }

  /** Ends every connection. */
  close(): void {
    for (const socket of this.#sockets) socket.destroy()
  }
}

/** A failure of ours is no failure of the stream: it must not end here, where a peer is expected to fail. */
function orStop(act: () => void): void {
  try {
    act()
  } catch (bug) {
    setImmediate(() => {
      throw bug
    })
  }
}

/** A peer's words for the log: short, on one line. */
function printable(text: string): string {
  return text.slice(0, ERROR_CHARACTERS_MAX).replace(/\p{Cc}/gu, ' ')
}
