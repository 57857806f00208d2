// A terminal host's end of the standard streams: output is queued to the node up to a bound, input is asked for. lua-core.md §20.

import type { ErrorValue } from '../base/value.ts'
import type { Answer, Terminal } from '../services.ts'
import type { FromHost, Port, ToHost } from './port.ts'

/** Output that may wait for the node before a writer is made to wait. */
const WAITING_BYTES_MAX = 1024 * 1024

type Done = (answer: Answer<string | undefined>) => void

export class TerminalPort implements Terminal {
  readonly #port: Port<FromHost, ToHost>
  /** Who waits for which answer of the node. */
  readonly #asked = new Map<number, Done>()
  #drained: (() => void)[] = []
  #args: readonly string[] = []
  #waitingBytes = 0
  #nextRef = 1
  #rawCount = 0

  constructor(port: Port<FromHost, ToHost>) {
    this.#port = port
  }

  get args(): readonly string[] {
    return this.#args
  }

  setArgs(args: readonly string[]): void {
    this.#args = args
  }

  write(stream: 'stdout' | 'stderr', bytes: string): boolean {
    if (bytes.length > 0) {
      this.#waitingBytes += bytes.length
      this.#port.post({ kind: 'terminal-write', stream, bytes })
    }
    return this.#waitingBytes <= WAITING_BYTES_MAX
  }

  drained(done: () => void): void {
    this.#drained.push(done)
  }

  written(byteCount: number): void {
    this.#waitingBytes -= byteCount
    if (this.#waitingBytes > WAITING_BYTES_MAX / 2) return
    const waiting = this.#drained
    this.#drained = []
    for (const done of waiting) done()
  }

  read(bytesMax: number, done: Done): void {
    this.#port.post({ kind: 'terminal-read', ref: this.#ask(done), bytesMax })
  }

  readLine(done: Done): void {
    this.#port.post({ kind: 'terminal-read', ref: this.#ask(done), bytesMax: 'line' })
  }

  #ask(done: Done): number {
    const ref = this.#nextRef++
    this.#asked.set(ref, done)
    return ref
  }

  arrived(ref: number, bytes: string | undefined, error: ErrorValue | undefined): void {
    const done = this.#asked.get(ref)
    this.#asked.delete(ref)
    done?.(error === undefined ? { ok: true, value: bytes } : { ok: false, error })
  }

  setRaw(enable: boolean, done: (answer: Answer<undefined>) => void): void {
    // Counted before the answer is there: a process that ends meanwhile must leave no raw mode behind.
    const before = this.#rawCount
    this.#rawCount = Math.max(0, before + (enable ? 1 : -1))
    const ref = this.#ask((answer) => {
      if (!answer.ok) this.#rawCount = before
      done(answer.ok ? { ok: true, value: undefined } : answer)
    })
    this.#port.post({ kind: 'terminal-raw', ref, enable: this.#rawCount > 0 })
  }

  /** The process ended: input it asked for is nobody's, raw mode is off. */
  reset(): void {
    this.#asked.clear()
    this.#drained = []
    if (this.#rawCount > 0) this.#port.post({ kind: 'terminal-raw', ref: this.#nextRef++, enable: false })
    this.#rawCount = 0
  }
}
