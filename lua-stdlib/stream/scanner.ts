// Scanners over what a process holds, as scripts hold them: those of `fs` and those of streams differ in what their methods return.

import { toBytes } from '../../runtime/base/bytes.ts'
import { errorFrom } from '../../runtime/base/plain.ts'
import { ErrorValue } from '../../runtime/base/value.ts'
import { type Call, HostObject, type LuaValue, type Returns } from '../../runtime/lua/engine.ts'
import { objectArg } from '../support/args.ts'
import type { HeldStream } from './byte-stream.ts'
import { type Split, Tokenizer, TokenTooLong } from './tokens.ts'

const CHUNK_BYTES = 32 * 1024

/** The tokens of a stream, one after the other. */
export class Scanner {
  /** The token that the last step found. */
  text = ''
  /** Why it ended, unless the stream did. */
  error: ErrorValue | undefined
  readonly #stream: HeldStream
  readonly #tokenizer: Tokenizer
  /** The stream has given everything; there may be tokens left. */
  #isRead = false
  #hasEnded = false
  #running: Promise<boolean> | undefined

  constructor(stream: HeldStream, split: Split) {
    this.#stream = stream
    this.#tokenizer = new Tokenizer(split)
  }

  /** Whether there was a further token; a promise when the stream has to be read for it. */
  step(): boolean | Promise<boolean> {
    if (this.#running !== undefined) return this.#running.then(() => this.step())
    if (this.#takeToken()) return true
    if (this.#hasEnded) return false
    this.#running = this.#readToken().finally(() => {
      this.#running = undefined
    })
    return this.#running
  }

  async #readToken(): Promise<boolean> {
    try {
      while (!this.#hasEnded && !this.#isRead) {
        const bytes = await this.#stream.read(CHUNK_BYTES)
        this.#isRead = bytes === undefined
        if (bytes === undefined) this.#tokenizer.end()
        else this.#tokenizer.feed(bytes)
        if (this.#takeToken()) return true
      }
      if (!this.#hasEnded) this.#finish(undefined)
    } catch (thrown) {
      this.#finish(errorFrom(thrown))
    }
    return false
  }

  /** Whether what is there already has a token. */
  #takeToken(): boolean {
    if (this.#hasEnded) return false
    try {
      const token = this.#tokenizer.next()
      if (token === undefined) return false
      this.text = token
      return true
    } catch (thrown) {
      if (!(thrown instanceof TokenTooLong)) throw thrown
      this.#finish(new ErrorValue('Internal', toBytes(thrown.message), false))
      return false
    }
  }

  #finish(error: ErrorValue | undefined): void {
    this.#hasEnded = true
    this.error = error
    this.text = ''
  }
}

/** A scanner as a script holds it. */
export class ScannerObject extends HostObject {
  readonly scanner: Scanner
  readonly #className: string
  constructor(className: string, scanner: Scanner) {
    super()
    this.#className = className
    this.scanner = scanner
  }
  override get className(): string {
    return this.#className
  }
}

/** The scanner that a method of `className` was called on. */
export function scannerOf(call: Call, className: string, fn: string): Scanner {
  const object = objectArg(call, 1, fn, ScannerObject, className)
  return object.scanner
}

/**
 * What `scan` returns.
 * @param values of the step's outcome
 * @param suspend how to wait for a step that reads
 */
export function scan(
  scanner: Scanner,
  values: (isThere: boolean) => readonly LuaValue[],
  suspend: (work: () => Promise<readonly LuaValue[]>) => Returns,
): Returns {
  const step = scanner.step()
  return typeof step === 'boolean' ? values(step) : suspend(() => step.then(values))
}
