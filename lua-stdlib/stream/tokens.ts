// Cuts bytes that arrive piece by piece into tokens: what scanners of streams and files give out. lua-libraries.md §18, §20.

import { sequenceLength } from '../support/json-utf8.ts'

export type Split = 'lines' | 'words' | 'bytes' | 'runes'
export const SPLITS: readonly Split[] = ['lines', 'words', 'bytes', 'runes']

export const TOKEN_BYTES_MAX = 64 * 1024
/** Of one character in UTF-8. */
const RUNE_BYTES_MAX = 4
/** U+FFFD in UTF-8: what an ill-formed byte is shown as. */
const REPLACEMENT = '\xef\xbf\xbd'

/** White space of Unicode, in UTF-8: from TAB to CR, space, NEL, no-break space, and the wide ones. */
const SPACE =
  '[\\t-\\r ]|\\xc2[\\x85\\xa0]|\\xe1\\x9a\\x80|\\xe2\\x80[\\x80-\\x8a\\xa8\\xa9\\xaf]|\\xe2\\x81\\x9f|\\xe3\\x80\\x80'
const NEXT_SPACE = new RegExp(SPACE, 'g')
const LEADING_SPACES = new RegExp(`(?:${SPACE})*`, 'y')

export class TokenTooLong extends Error {
  override readonly name = 'TokenTooLong'
  constructor() {
    super(`token too long: at most ${TOKEN_BYTES_MAX} bytes`)
  }
}

/** Invariant: what is kept between two calls of `feed` is no more than a token and a separator. */
export class Tokenizer {
  readonly #split: Split
  #buffer = ''
  /** Where in the buffer the next token begins. */
  #at = 0
  #hasEnded = false

  constructor(split: Split) {
    this.#split = split
  }

  /** More bytes; call it when `next` has none. */
  feed(bytes: string): void {
    this.#buffer = this.#buffer.slice(this.#at) + bytes
    this.#at = 0
  }

  /** There will be no more: the rest is a token, too. */
  end(): void {
    this.#hasEnded = true
  }

  /**
   * The next token. Undefined: it needs more bytes, or after `end` there is none left.
   * @throws TokenTooLong
   */
  next(): string | undefined {
    switch (this.#split) {
      case 'lines':
        return this.#line()
      case 'words':
        return this.#word()
      case 'bytes':
        return this.#at < this.#buffer.length ? this.#buffer[this.#at++] : undefined
      case 'runes':
        return this.#rune()
    }
  }

  #line(): string | undefined {
    const end = this.#buffer.indexOf('\n', this.#at)
    if (end >= 0) return this.#take(end, end + 1, dropCarriageReturn)
    return this.#rest(dropCarriageReturn)
  }

  #word(): string | undefined {
    LEADING_SPACES.lastIndex = this.#at
    LEADING_SPACES.test(this.#buffer)
    this.#at = LEADING_SPACES.lastIndex
    NEXT_SPACE.lastIndex = this.#at
    const space = NEXT_SPACE.exec(this.#buffer)
    return space === null ? this.#rest(same) : this.#take(space.index, NEXT_SPACE.lastIndex, same)
  }

  #rune(): string | undefined {
    const left = this.#buffer.length - this.#at
    if (left === 0) return undefined
    const length = sequenceLength(this.#buffer, this.#at)
    // What is ill-formed now may be the beginning of a character whose end has not come yet.
    if (length === 0 && left < RUNE_BYTES_MAX && !this.#hasEnded) return undefined
    const rune = length === 0 ? REPLACEMENT : this.#buffer.slice(this.#at, this.#at + length)
    this.#at += length || 1
    return rune
  }

  /** The token up to `end`; the next one begins at `next`. */
  #take(end: number, next: number, trim: (token: string) => string): string {
    const token = trim(this.#buffer.slice(this.#at, end))
    if (token.length > TOKEN_BYTES_MAX) throw new TokenTooLong()
    this.#at = next
    return token
  }

  /** What has no separator behind it: a token at the end, the beginning of one before. */
  #rest(trim: (token: string) => string): string | undefined {
    const { length } = this.#buffer
    if (!this.#hasEnded && length - this.#at > TOKEN_BYTES_MAX + RUNE_BYTES_MAX) throw new TokenTooLong()
    return this.#hasEnded && this.#at < length ? this.#take(length, length, trim) : undefined
  }
}

const same = (token: string): string => token
const dropCarriageReturn = (line: string): string => (line.endsWith('\r') ? line.slice(0, -1) : line)
