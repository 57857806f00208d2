// What lies behind a stream that scripts hold: a file, a body, the output of a child process. Whoever makes streams for scripts implements
// `ByteStream` and hands it out in a StreamObject (stream.ts); the process that holds it, order and closing are seen to here.

import { MoonmeshError } from '../../runtime/base/errors.ts'
import type { ScriptProcess } from '../../runtime/services.ts'

export type Whence = 'set' | 'cur' | 'end'
export const WHENCES: readonly Whence[] = ['set', 'cur', 'end']

export interface StreamStat {
  /** Undefined when nobody knows. */
  readonly sizeBytes: number | undefined
  readonly position: number
}

/**
 * A sequence of bytes; data are byte strings. It has the methods of what can be done with it. At any time at most one of `read` and `seek`
 * runs, and at most one of `write` and `flush`. What fails rejects: a MoonmeshError or ErrorValue says its kind itself.
 */
export interface ByteStream {
  /** From 1 to `bytesMax` bytes; undefined at the end. */
  readonly read?: ((bytesMax: number) => Promise<string | undefined>) | undefined
  /** How many bytes were taken: all of them, unless it fails. Resolves when more is welcome. */
  readonly write?: ((bytes: string) => Promise<number>) | undefined
  /** The new position. */
  readonly seek?: ((whence: Whence, offset: number) => Promise<number>) | undefined
  readonly flush?: (() => Promise<void>) | undefined
  stat(): Promise<StreamStat>
  /** Called once, also while another method runs, which must then come to an end. */
  close(): Promise<void>
}

const internal = (text: string): MoonmeshError => new MoonmeshError('Internal', text, { retryable: false })
const refuse = (text: string): Promise<never> => Promise.reject(internal(text))

interface HoldingOptions {
  /** Told once when it closes. */
  readonly released?: () => void
  /** What its methods fail with when it is closed. */
  readonly closedError?: MoonmeshError
}

/** A stream in the hands of a process: it closes when the process ends. */
export class HeldStream {
  readonly #stream: ByteStream
  readonly #forget: () => void
  readonly #closedError: MoonmeshError
  readonly #incoming = new Lane()
  readonly #outgoing = new Lane()
  #closing: Promise<void> | undefined

  constructor(process: ScriptProcess, stream: ByteStream, options: HoldingOptions = {}) {
    this.#stream = stream
    this.#closedError = options.closedError ?? internal('stream is closed')
    const leave = process.onEnd(() => {
      // Nobody is left who could be told that closing failed.
      this.close().catch(() => {})
    })
    this.#forget = () => {
      leave()
      options.released?.()
    }
  }

  get isClosed(): boolean {
    return this.#closing !== undefined
  }
  get isReadable(): boolean {
    return this.#stream.read !== undefined
  }
  get isWritable(): boolean {
    return this.#stream.write !== undefined
  }
  get isSeekable(): boolean {
    return this.#stream.seek !== undefined
  }

  /** From 1 to `bytesMax` bytes; undefined at the end. */
  read(bytesMax: number): Promise<string | undefined> {
    return this.#in(this.#incoming, () => this.#stream.read?.(bytesMax) ?? refuse('stream is not readable'))
  }

  /** How many bytes were taken. */
  write(bytes: string): Promise<number> {
    return this.#in(this.#outgoing, () => this.#stream.write?.(bytes) ?? refuse('stream is not writable'))
  }

  /** The new position. */
  seek(whence: Whence, offset: number): Promise<number> {
    return this.#in(this.#incoming, () => this.#stream.seek?.(whence, offset) ?? refuse('stream is not seekable'))
  }

  flush(): Promise<void> {
    return this.#in(this.#outgoing, () => this.#stream.flush?.() ?? Promise.resolve())
  }

  stat(): Promise<StreamStat> {
    return this.isClosed ? Promise.reject(this.#closedError) : this.#stream.stat()
  }

  /** Idempotent. It does not wait for its turn: what is under way may never end by itself. */
  close(): Promise<void> {
    if (this.#closing === undefined) {
      this.#forget()
      this.#closing = this.#stream.close()
    }
    return this.#closing
  }

  #in<T>(lane: Lane, work: () => Promise<T>): Promise<T> {
    const whileOpen = async (): Promise<T> => {
      try {
        return await (this.isClosed ? Promise.reject(this.#closedError) : work())
      } catch (error) {
        // How an operation ends that was cut short says less than why.
        return this.isClosed ? Promise.reject(this.#closedError) : Promise.reject(error)
      }
    }
    return lane.run(whileOpen)
  }
}

/** Work that is done one after the other. */
class Lane {
  #last: Promise<unknown> = Promise.resolve()

  run<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work)
    this.#last = result.catch(() => {})
    return result
  }
}
