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
const NEWLINE = 10
const RETURN = 13

export class TerminalIo {
  readonly #streams: StandardStreams
  readonly #reads = new Queue<Read>(READS_MAX)
  #chunks: Uint8Array[] = []
  #isListening = false
  #isEnded = false
  #failure: ErrorValue | undefined
  #writing = 0
  #idle: (() => void)[] = []

  constructor(streams: StandardStreams) {
    this.#streams = streams
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
        this.#chunks.push(typeof chunk === 'string' ? toUint8Array(toBytes(chunk)) : chunk)
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
      if (bytes === undefined && !this.#isEnded) return
      this.#reads.shift()
      this.#answer(read, bytes, bytes === undefined ? this.#failure : undefined)
    }
    if (!this.#isEnded) this.#streams.stdin.pause()
  }

  #answer(read: Read, bytes: string | undefined, error: ErrorValue | undefined): void {
    read.line.port.post({ kind: 'terminal-data', ref: read.ref, bytes, error })
  }

  /** What is there for this read; undefined when it must wait, or when the input has ended. */
  #take(bytesMax: number | 'line'): string | undefined {
    if (this.#chunks.length === 0) return undefined
    const all = this.#chunks.length === 1 ? (this.#chunks[0] as Uint8Array) : Buffer.concat(this.#chunks)
    this.#chunks = [all]
    if (bytesMax !== 'line') return this.#cut(all, Math.min(bytesMax, all.length), 0)
    const end = all.indexOf(NEWLINE)
    if (end >= 0) return this.#cut(all, end + 1, end > 0 && all[end - 1] === RETURN ? 2 : 1)
    return this.#isEnded ? this.#cut(all, all.length, 0) : undefined
  }

  #cut(all: Uint8Array, length: number, endLength: number): string {
    this.#chunks = length === all.length ? [] : [all.subarray(length)]
    return fromUint8Array(all.subarray(0, length - endLength))
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

function rawUnavailable(why: string): ErrorValue {
  return new ErrorValue('Unavailable', toBytes(`raw terminal control unavailable: ${why}`), false)
}
