// The node's end of a terminal host: this program's standard streams. lua-core.md §20.

import type { ReadStream } from 'node:tty'
import { fromUint8Array, toBytes, toUint8Array } from './base/bytes.ts'
import { messageOf } from './base/errors.ts'
import { Queue } from './base/queue.ts'
import { ErrorValue } from './base/value.ts'
import type { TerminalMessage } from './process/port.ts'
import type { HostLine } from './relay/relay.ts'

export interface StandardStreams {
  stdin: NodeJS.ReadableStream
  stdout: NodeJS.WritableStream
  stderr: NodeJS.WritableStream
}

interface Read {
  line: HostLine
  ref: number
  bytesMax: number | 'line'
}

/** Reads that may wait at once; a process has few coroutines that read. */
const READS_MAX = 1000
/** Of one read or line: no string of a script is longer. */
const TEXT_BYTES_MAX = 256 * 1024 * 1024
const NEWLINE = 10
const RETURN = 13

export class TerminalIo {
  readonly #streams: StandardStreams
  readonly #textBytesMax: number
  readonly #reads = new Queue<Read>(READS_MAX)
  /** Input that nobody has taken yet. */
  #chunks: Uint8Array[] = []
  #chunkBytes = 0
  /** How many of the chunks are known to hold no line end, and their bytes. */
  #searchedCount = 0
  #searchedBytes = 0
  #isListening = false
  #isEnded = false
  #failure: ErrorValue | undefined
  #writing = 0
  #idle: (() => void)[] = []

  constructor(streams: StandardStreams, textBytesMax = TEXT_BYTES_MAX) {
    this.#streams = streams
    this.#textBytesMax = textBytesMax
  }

  handle(line: HostLine, message: TerminalMessage): void {
    switch (message.kind) {
      case 'terminal-write':
        this.#write(line, message.stream, message.bytes)
        break
      case 'terminal-read':
        this.#read({ line, ref: message.ref, bytesMax: message.bytesMax })
        break
      case 'terminal-raw':
        line.port.post({
          kind: 'terminal-data',
          ref: message.ref,
          bytes: undefined,
          error: this.#setRaw(message.enable),
        })
        break
    }
  }

  #write(line: HostLine, stream: 'stdout' | 'stderr', bytes: string): void {
    this.#writing++
    this.#streams[stream].write(Buffer.from(toUint8Array(bytes)), () => {
      this.#writing--
      line.port.post({ kind: 'terminal-written', byteCount: bytes.length })
      if (this.#writing === 0) for (const done of this.#idle.splice(0)) done()
    })
  }

  /** Resolves when everything written so far has reached the streams. */
  flushed(): Promise<void> {
    if (this.#writing === 0) return Promise.resolve()
    return new Promise((resolve) => this.#idle.push(resolve))
  }

  #read(read: Read): void {
    if (!this.#reads.push(read)) {
      this.#answer(
        read,
        undefined,
        new ErrorValue('LimitExceeded', `more than ${READS_MAX} reads wait for input`, true),
      )
      return
    }
    this.#listen()
    this.#serve()
  }

  /** Input is taken from the stream only while somebody wants it. */
  #listen(): void {
    const { stdin } = this.#streams
    if (!this.#isListening) {
      this.#isListening = true
      stdin.on('data', (chunk: Buffer | string) => {
        const bytes = typeof chunk === 'string' ? toUint8Array(toBytes(chunk)) : chunk
        this.#chunks.push(bytes)
        this.#chunkBytes += bytes.length
        this.#serve()
      })
      stdin.on('end', () => this.#end(undefined))
      stdin.on('error', (error) => this.#end(new ErrorValue('Internal', toBytes(messageOf(error)), false)))
    }
    stdin.resume()
  }

  #end(failure: ErrorValue | undefined): void {
    this.#isEnded = true
    this.#failure = failure
    this.#serve()
  }

  #serve(): void {
    for (let read = this.#reads.peek(); read !== undefined; read = this.#reads.peek()) {
      const bytes = this.#take(read.bytesMax)
      const isTooLong = bytes === undefined && this.#chunkBytes > this.#textBytesMax
      if (bytes === undefined && !this.#isEnded && !isTooLong) return
      this.#reads.shift()
      this.#answer(
        read,
        bytes,
        bytes === undefined ? (isTooLong ? lineTooLong(this.#textBytesMax) : this.#failure) : undefined,
      )
    }
    if (!this.#isEnded) this.#streams.stdin.pause()
  }

  #answer(read: Read, bytes: string | undefined, error: ErrorValue | undefined): void {
    read.line.port.post({ kind: 'terminal-data', ref: read.ref, bytes, error })
  }

  /** What is there for this read; undefined when it must wait, when the input has ended, or when the line is too long. */
  #take(bytesMax: number | 'line'): string | undefined {
    if (this.#chunks.length === 0) return undefined
    if (bytesMax !== 'line') return fromUint8Array(this.#cut(Math.min(bytesMax, this.#chunkBytes, this.#textBytesMax)))
    const length = this.#lineLength()
    if (length === undefined || length > this.#textBytesMax) return undefined
    const line = this.#cut(length)
    const isReturned = line[length - 1] === NEWLINE && line[length - 2] === RETURN
    const endLength = isReturned ? 2 : line[length - 1] === NEWLINE ? 1 : 0
    return fromUint8Array(line.subarray(0, length - endLength))
  }

  /** Of the first line with its end; at the end of the input all that is left. Looks through each chunk once. */
  #lineLength(): number | undefined {
    for (; this.#searchedCount < this.#chunks.length; this.#searchedCount++) {
      const chunk = this.#chunks[this.#searchedCount] as Uint8Array
      const end = chunk.indexOf(NEWLINE)
      if (end >= 0) return this.#searchedBytes + end + 1
      this.#searchedBytes += chunk.length
    }
    return this.#isEnded ? this.#chunkBytes : undefined
  }

  /** Takes so many bytes from the beginning. */
  #cut(length: number): Uint8Array {
    const parts: Uint8Array[] = []
    let left = length
    let count = 0
    for (const chunk of this.#chunks) {
      if (left < chunk.length) break
      parts.push(chunk)
      left -= chunk.length
      count++
    }
    this.#chunks.splice(0, count)
    const [next] = this.#chunks
    if (left > 0 && next !== undefined) {
      parts.push(next.subarray(0, left))
      this.#chunks[0] = next.subarray(left)
    }
    this.#chunkBytes -= length
    this.#searchedCount = 0
    this.#searchedBytes = 0
    return parts.length === 1 ? (parts[0] as Uint8Array) : Buffer.concat(parts)
  }

  /** Why it cannot be done; undefined when it is. */
  #setRaw(enable: boolean): ErrorValue | undefined {
    const stdin = this.#streams.stdin as Partial<ReadStream>
    if (stdin.isTTY !== true || stdin.setRawMode === undefined) return rawUnavailable('the input is no terminal')
    try {
      stdin.setRawMode(enable)
      return undefined
    } catch (thrown) {
      return rawUnavailable(messageOf(thrown))
    }
  }

  close(): void {
    this.#setRaw(false)
    this.#reads.clear()
    if (this.#isListening) this.#streams.stdin.pause()
  }
}

function lineTooLong(bytesMax: number): ErrorValue {
  return new ErrorValue('Internal', toBytes(`the line has more than ${bytesMax} bytes; read it piece by piece`), false)
}

function rawUnavailable(why: string): ErrorValue {
  return new ErrorValue('Unavailable', toBytes(`raw terminal control unavailable: ${why}`), false)
}
