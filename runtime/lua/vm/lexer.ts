// The words of Lua 5.3, and those that only types use, one after the other, from a byte string.

import { LuaSyntaxError } from '../engine.ts'
import { type Num, parseNumber } from './number.ts'

const KEYWORDS: ReadonlySet<string> = new Set(
  'and break do else elseif end false for function goto if in local nil not or repeat return then true until while'.split(
    ' ',
  ),
)
const SIMPLE_ESCAPES: Readonly<Record<string, string>> = {
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
  '\\': '\\',
  '"': '"',
  "'": "'",
}
/** Symbols of more than one character, longest first, by their first. `>=` and `>>` are left in parts, for types end in `>`. */
const SYMBOLS: Readonly<Record<string, readonly string[]>> = {
  '=': ['=='],
  '<': ['<=', '<<'],
  '~': ['~='],
  ':': ['::'],
  '/': ['//'],
  '.': ['...', '..'],
  '-': ['->'],
}

const LF = 10
const CR = 13

const isDigit = (code: number): boolean => code >= 48 && code <= 57
const isHex = (code: number): boolean => isDigit(code) || ((code | 32) >= 97 && (code | 32) <= 102)
const isNameStart = (code: number): boolean => ((code | 32) >= 97 && (code | 32) <= 122) || code === 95
const isLineEnd = (code: number): boolean => code === LF || code === CR

/** Reads a text word by word. */
export class Lexer {
  readonly #source: string
  readonly #chunkName: string
  #at = 0
  /** In a string: where the part begins that is not in `text` yet, or the escape that is being read. */
  #escapeAt = 0
  /** Where the word that was read last begins. */
  start = 0
  /** In which line that is. */
  startLine = 1
  /** The line in which it ends. */
  line = 1
  /** Where lines begin in the text. */
  readonly lineStarts = [0]
  /** Of a name or string. */
  text = ''
  number: Num = 0

  constructor(chunkName: string, source: string) {
    this.#chunkName = chunkName
    this.#source = source
    // The first line may say which program runs the file.
    if (source.charCodeAt(0) === 35)
      while (this.#at < source.length && !isLineEnd(source.charCodeAt(this.#at))) this.#at++
  }

  /** Where it ends. */
  get end(): number {
    return this.#at
  }

  /**
   * Reads the next word. @returns `<name>`, `<string>`, `<number>`, `<end>`, or the text of a keyword, a symbol, or a character that is none
   * @throws LuaSyntaxError
   */
  next(): string {
    return this.#scan()
  }

  fail(text: string, line = this.line): never {
    throw new LuaSyntaxError(this.#chunkName, line, text)
  }

  /** An error in the token that is being read. */
  #bad(text: string, end = this.#at): never {
    return this.fail(`${text} near '${this.#source.slice(this.start, end)}'`)
  }

  /** An error in a string in quotes. What was read of it is shown as it was understood, up to a zero byte. */
  #badString(text: string, end: number): never {
    const shown = `${this.#source[this.start]}${this.text}${this.#source.slice(this.#escapeAt, end)}`
    return this.fail(`${text} near '${untilZero(shown)}'`)
  }

  #scan(): string {
    const source = this.#source
    for (;;) {
      const code = source.charCodeAt(this.#at)
      this.start = this.#at
      this.startLine = this.line
      if (Number.isNaN(code)) return '<end>'
      if (isLineEnd(code)) this.#lineEnd(code)
      else if (code === 32 || (code >= 9 && code <= 12)) this.#at++
      else if (code === 45 && source.charCodeAt(this.#at + 1) === 45) this.#comment()
      else if (isNameStart(code)) return this.#name()
      else if (isDigit(code) || (code === 46 && isDigit(source.charCodeAt(this.#at + 1)))) return this.#readNumber()
      else if (code === 34 || code === 39) return this.#quoted(code)
      else if (code === 91) {
        const level = this.#longLevel()
        if (level === -1) {
          this.#at++
          return '['
        }
        if (level < 0) this.#bad('invalid long string delimiter', this.#at - level)
        this.text = this.#long(level, 'string')
        return '<string>'
      } else return this.#symbol()
    }
  }

  #lineEnd(code: number): void {
    const next = this.#source.charCodeAt(++this.#at)
    if (isLineEnd(next) && next !== code) this.#at++
    this.line++
    this.lineStarts.push(this.#at)
  }

  #comment(): void {
    this.#at += 2
    if (this.#source.charCodeAt(this.#at) === 91) {
      const level = this.#longLevel()
      if (level >= 0) {
        this.#long(level, 'comment')
        return
      }
    }
    const source = this.#source
    while (this.#at < source.length && !isLineEnd(source.charCodeAt(this.#at))) this.#at++
  }

  /** How many `=` stand in the long bracket that opens here; -1: a plain bracket; below: so many characters of a broken one. */
  #longLevel(): number {
    let at = this.#at + 1
    while (this.#source.charCodeAt(at) === 61) at++
    if (this.#source.charCodeAt(at) === 91) return at - this.#at - 1
    return at === this.#at + 1 ? -1 : -(at - this.#at)
  }

  #long(level: number, what: string): string {
    const source = this.#source
    const firstLine = this.line
    this.#at += level + 2
    const close = `]${'='.repeat(level)}]`
    const end = source.indexOf(close, this.#at)
    const parts: string[] = []
    let from = this.#at
    if (isLineEnd(source.charCodeAt(this.#at))) {
      this.#lineEnd(source.charCodeAt(this.#at))
      from = this.#at
    }
    const stop = end < 0 ? source.length : end
    while (this.#at < stop) {
      const code = source.charCodeAt(this.#at)
      if (!isLineEnd(code)) {
        this.#at++
        continue
      }
      parts.push(source.slice(from, this.#at), '\n')
      this.#lineEnd(code)
      from = this.#at
    }
    if (end < 0) this.fail(`unfinished long ${what} (starting at line ${firstLine}) near <eof>`)
    parts.push(source.slice(from, stop))
    this.#at = stop + close.length
    return parts.length === 1 ? (parts[0] as string) : parts.join('')
  }

  #name(): string {
    const source = this.#source
    let end = this.#at + 1
    for (let code = source.charCodeAt(end); isNameStart(code) || isDigit(code); code = source.charCodeAt(end)) end++
    const text = source.slice(this.#at, end)
    this.#at = end
    if (KEYWORDS.has(text)) return text
    this.text = text
    return '<name>'
  }

  #readNumber(): string {
    const source = this.#source
    let end = this.#at
    let exponent = 101
    if (source.charCodeAt(end) === 48 && (source.charCodeAt(end + 1) | 32) === 120) {
      exponent = 112
      end += 2
    }
    for (;;) {
      const code = source.charCodeAt(end)
      if ((code | 32) === exponent) {
        end++
        if (source[end] === '+' || source[end] === '-') end++
      } else if (isHex(code) || code === 46) end++
      else break
    }
    this.#at = end
    const value = parseNumber(source.slice(this.start, end))
    if (value === undefined) this.#bad('malformed number')
    this.number = value
    return '<number>'
  }

  #quoted(quote: number): string {
    const source = this.#source
    this.#at++
    this.#escapeAt = this.#at
    this.text = ''
    for (;;) {
      const code = source.charCodeAt(this.#at)
      if (code === quote) break
      if (Number.isNaN(code)) this.fail('unfinished string near <eof>')
      if (isLineEnd(code)) this.#badString('unfinished string', this.#at)
      if (code !== 92) {
        this.#at++
        continue
      }
      this.text += source.slice(this.#escapeAt, this.#at)
      this.#escapeAt = this.#at
      this.#at++
      this.text += this.#escape()
      this.#escapeAt = this.#at
    }
    this.text += source.slice(this.#escapeAt, this.#at)
    this.#at++
    return '<string>'
  }

  #escape(): string {
    const source = this.#source
    const code = source.charCodeAt(this.#at)
    if (Number.isNaN(code)) this.fail('unfinished string near <eof>')
    if (isLineEnd(code)) {
      this.#lineEnd(code)
      return '\n'
    }
    const letter = source[this.#at] as string
    const simple = SIMPLE_ESCAPES[letter]
    if (simple !== undefined) {
      this.#at++
      return simple
    }
    if (letter === 'z') {
      this.#at++
      for (
        let next = source.charCodeAt(this.#at);
        next === 32 || (next >= 9 && next <= 13);
        next = source.charCodeAt(this.#at)
      ) {
        if (isLineEnd(next)) this.#lineEnd(next)
        else this.#at++
      }
      return ''
    }
    if (letter === 'x') return this.#hexEscape()
    if (letter === 'u') return this.#utf8Escape()
    if (!isDigit(code)) this.#badString('invalid escape sequence', this.#at + 1)
    let value = 0
    let count = 0
    for (; count < 3 && isDigit(source.charCodeAt(this.#at)); count++) {
      value = value * 10 + source.charCodeAt(this.#at) - 48
      this.#at++
    }
    if (value > 255) this.#badString('decimal escape too large', Math.min(this.#at + 1, source.length))
    return String.fromCharCode(value)
  }

  #hexEscape(): string {
    const source = this.#source
    for (let i = 1; i <= 2; i++) {
      if (!isHex(source.charCodeAt(this.#at + i))) this.#badString('hexadecimal digit expected', this.#at + i + 1)
    }
    const value = Number.parseInt(source.slice(this.#at + 1, this.#at + 3), 16)
    this.#at += 3
    return String.fromCharCode(value)
  }

  #utf8Escape(): string {
    const source = this.#source
    let at = this.#at + 1
    if (source[at] !== '{') this.#badString("missing '{'", at + 1)
    at++
    if (!isHex(source.charCodeAt(at))) this.#badString('hexadecimal digit expected', at + 1)
    let value = 0
    for (; isHex(source.charCodeAt(at)); at++) {
      value = value * 16 + Number.parseInt(source[at] as string, 16)
      if (value > 0x10ffff) this.#badString('UTF-8 value too large', at + 1)
    }
    if (source[at] !== '}') this.#badString("missing '}'", at + 1)
    this.#at = at + 1
    return utf8Bytes(value)
  }

  #symbol(): string {
    const source = this.#source
    const first = source[this.#at] as string
    const long = SYMBOLS[first]?.find((symbol) => source.startsWith(symbol, this.#at))
    if (long !== undefined) {
      this.#at += long.length
      return long
    }
    this.#at++
    return first
  }
}

/** Error texts of Lua are strings of C, which a zero byte ends. */
export function untilZero(text: string): string {
  const end = text.indexOf('\0')
  return end < 0 ? text : text.slice(0, end)
}

/** Of any number up to 2^31, as Lua has it. */
export function utf8Bytes(point: number): string {
  if (point < 0x80) return String.fromCharCode(point)
  let rest = point
  let out = ''
  let firstMax = 0x3f
  do {
    out = String.fromCharCode(0x80 | (rest & 0x3f)) + out
    rest = Math.floor(rest / 64)
    firstMax >>= 1
  } while (rest > firstMax)
  return String.fromCharCode(((~firstMax << 1) & 0xff) | rest) + out
}
