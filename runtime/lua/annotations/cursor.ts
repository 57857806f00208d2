// Where the reading of a chunk stands, and the errors it reports.

import { LuaSyntaxError } from '../engine.ts'
import type { Tokens } from './tokens.ts'

const SHOWN_LENGTH_MAX = 40

export class Cursor {
  readonly tokens: Tokens
  readonly #chunkName: string
  /** The index of the token that is read next. */
  at = 0

  constructor(tokens: Tokens, chunkName: string) {
    this.tokens = tokens
    this.#chunkName = chunkName
  }

  get kind(): string {
    return this.tokens.kinds[this.at] as string
  }

  kindAt(offset: number): string {
    return this.tokens.kinds[this.at + offset] ?? '<end>'
  }

  get text(): string {
    return this.textAt(0)
  }

  textAt(offset: number): string {
    const { source, starts, ends } = this.tokens
    return source.slice(starts[this.at + offset], ends[this.at + offset])
  }

  /** Where the next token begins in the text. */
  get start(): number {
    return this.tokens.starts[this.at] as number
  }

  /** Where the token before the next one ended. */
  get endOfLast(): number {
    return this.at === 0 ? 0 : (this.tokens.ends[this.at - 1] as number)
  }

  get line(): number {
    return this.tokens.lines[this.at] as number
  }

  /** How far from the beginning of its line the next token is. */
  get column(): number {
    return this.start - (this.tokens.lineStarts[this.line - 1] as number)
  }

  isFirstOnLine(offset = 0): boolean {
    return this.tokens.isFirstOnLine[this.at + offset] ?? true
  }

  /** Whether nothing stands between the token at `offset` and the one before it. */
  touches(offset: number): boolean {
    const { starts, ends } = this.tokens
    return starts[this.at + offset] === ends[this.at + offset - 1]
  }

  isName(text: string): boolean {
    const { source, starts, ends } = this.tokens
    const start = starts[this.at] as number
    return this.kind === '<name>' && ends[this.at] === start + text.length && source.startsWith(text, start)
  }

  next(): void {
    // The end is never passed.
    if (this.at < this.tokens.kinds.length - 1) this.at++
  }

  take(kind: string): boolean {
    if (this.kind !== kind) return false
    this.next()
    return true
  }

  /** @throws LuaSyntaxError `expected`, `why`, and what stands there instead */
  fail(expected: string, why = ''): never {
    if (this.kind === '<bad>') throw this.error(this.tokens.problem)
    const { text } = this
    const shown = text.length > SHOWN_LENGTH_MAX ? `${text.slice(0, SHOWN_LENGTH_MAX)}…` : text
    throw this.error(`${expected} expected${why} near ${this.kind === '<end>' ? '<eof>' : `'${oneLine(shown)}'`}`)
  }

  error(text: string, line = this.line): LuaSyntaxError {
    return new LuaSyntaxError(this.#chunkName, line, text)
  }

  expect(kind: string, why = ''): void {
    if (!this.take(kind)) this.fail(`'${kind}'`, why)
  }
}

const oneLine = (text: string): string => text.replace(/[\r\n\t]+/g, ' ')
