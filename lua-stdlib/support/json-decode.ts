// JSON text, in UTF-8 bytes, to values (lua-libraries.md §4.2; grammar: RFC 8259). Exactly one value is read and what follows is ignored.

import { toText } from '../../runtime/base/bytes.ts'
import { floatValue, integerValue } from '../../runtime/base/value.ts'
import { markEmptyObject, type TableMaker } from './json-tables.ts'
import { illFormedAt } from './json-utf8.ts'

const DEPTH_MAX = 128
const INT64_MAX = 2n ** 63n - 1n
const INT64_MIN = -(2n ** 63n)
/** No 64-bit integer has more digits. */
const INT64_DIGITS = 19
const SAFE_DIGITS = 15

/** What is wrong with the text, and where. `message` is text. */
export class JsonSyntaxError extends Error {
  override readonly name = 'JsonSyntaxError'
}

/** @throws JsonSyntaxError */
export function decodeJson(maker: TableMaker, bytes: string): unknown {
  return new Decoder(maker, bytes).decode()
}

const SPACE = /[ \t\n\r]*/y
const NUMBER = /(-?)(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?/y
/** Bytes of a string up to its end, an escape, or a byte that may not stand there. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are the bytes that may not stand in a string
const STRING_RUN = /[^"\\\x00-\x1f]*/y
const HEX = /[0-9a-fA-F]{4}/y

const ESCAPES: Readonly<Record<string, string>> = {
  '"': '"',
  '\\': '\\',
  '/': '/',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
}

class Decoder {
  readonly #maker: TableMaker
  readonly #bytes: string
  #at = 0
  #depth = 0

  constructor(maker: TableMaker, bytes: string) {
    this.#maker = maker
    this.#bytes = bytes
  }

  decode(): unknown {
    this.#take(SPACE)
    return this.#value()
  }

  #value(): unknown {
    switch (this.#bytes[this.#at]) {
      case '{':
        return this.#nested(() => this.#object())
      case '[':
        return this.#nested(() => this.#array())
      case '"':
        return this.#string()
      case 't':
        return this.#word('true', true)
      case 'f':
        return this.#word('false', false)
      case 'n':
        return this.#word('null', this.#maker.null)
      default:
        return this.#number()
    }
  }

  #nested(read: () => object): object {
    if (++this.#depth > DEPTH_MAX) throw new JsonSyntaxError(`maximum nesting depth of ${DEPTH_MAX} levels exceeded`)
    this.#at++
    this.#take(SPACE)
    const table = read()
    this.#depth--
    return table
  }

  #object(): object {
    const table = this.#maker.newObject()
    const names = new Set<string>()
    let isEmpty = true
    if (this.#skip('}')) {
      markEmptyObject(table)
      return table
    }
    do {
      this.#take(SPACE)
      if (this.#bytes[this.#at] !== '"') this.#fail('a member name')
      const start = this.#at
      const name = this.#string()
      if (names.has(name)) this.#fail('a member name that is not there yet', start)
      names.add(name)
      this.#take(SPACE)
      if (!this.#skip(':')) this.#fail("':'")
      this.#take(SPACE)
      const value = this.#value()
      if (value !== undefined) {
        this.#maker.set(table, name, value)
        isEmpty = false
      }
      this.#take(SPACE)
    } while (this.#skip(','))
    if (!this.#skip('}')) this.#fail("',' or '}'")
    if (isEmpty) markEmptyObject(table)
    return table
  }

  /** A null leaves a hole, so that later elements keep their positions. */
  #array(): object {
    const table = this.#maker.newArray()
    if (this.#skip(']')) return table
    let index = 0
    do {
      this.#take(SPACE)
      const value = this.#value()
      index++
      if (value !== undefined) this.#maker.set(table, index, value)
      this.#take(SPACE)
    } while (this.#skip(','))
    if (!this.#skip(']')) this.#fail("',' or ']'")
    return table
  }

  #string(): string {
    const start = this.#at++
    let text = ''
    for (;;) {
      text += this.#take(STRING_RUN)
      if (this.#skip('"')) break
      if (!this.#skip('\\')) this.#fail('the end of a string')
      text += this.#escape()
    }
    const wrong = illFormedAt(text)
    if (wrong >= 0) throw new JsonSyntaxError(`invalid UTF-8 in the string at byte ${start + 1}`)
    return text
  }

  #escape(): string {
    const char = this.#bytes[this.#at++] ?? ''
    if (char !== 'u') return ESCAPES[char] ?? this.#fail('an escape sequence', this.#at - 1)
    const start = this.#at
    const unit = this.#hex()
    if (unit < 0xd800 || unit > 0xdfff) return utf8Of(unit)
    const low = unit < 0xdc00 && this.#skip('\\') && this.#skip('u') ? this.#hex() : 0
    if (low < 0xdc00 || low > 0xdfff) this.#fail('both halves of a surrogate pair', start)
    return utf8Of(0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00))
  }

  #hex(): number {
    const digits = this.#take(HEX)
    return digits === '' ? this.#fail('four hexadecimal digits') : Number.parseInt(digits, 16)
  }

  #word<W>(word: string, value: W): W {
    if (!this.#bytes.startsWith(word, this.#at)) this.#fail('a value')
    this.#at += word.length
    return value
  }

  #number(): unknown {
    NUMBER.lastIndex = this.#at
    const match = NUMBER.exec(this.#bytes)
    if (match === null) return this.#fail('a value')
    this.#at += match[0].length
    if (/[.eE]/.test(this.#bytes[this.#at] ?? '')) this.#fail('a digit')
    const [text, sign, digits, fraction, exponent] = match
    if (fraction !== undefined || exponent !== undefined) return floatValue(Number(text))
    return integer(sign === '-', digits as string)
  }

  /** What the sticky expression matches here, taken; empty when it does not. */
  #take(expression: RegExp): string {
    expression.lastIndex = this.#at
    const match = expression.exec(this.#bytes)
    if (match === null) return ''
    this.#at += match[0].length
    return match[0]
  }

  #skip(char: string): boolean {
    if (this.#bytes[this.#at] !== char) return false
    this.#at++
    return true
  }

  #fail(expected: string, at = this.#at): never {
    const found =
      at >= this.#bytes.length ? 'the text ends' : `found ${JSON.stringify(toText(this.#bytes.slice(at, at + 10)))}`
    throw new JsonSyntaxError(`syntax error at byte ${at + 1}: expected ${expected}, ${found}`)
  }
}

/** The bytes of a code point, as a byte string. */
function utf8Of(point: number): string {
  if (point < 0x80) return String.fromCharCode(point)
  const last = 0x80 | (point & 0x3f)
  if (point < 0x800) return String.fromCharCode(0xc0 | (point >> 6), last)
  const third = 0x80 | ((point >> 6) & 0x3f)
  if (point < 0x10000) return String.fromCharCode(0xe0 | (point >> 12), third, last)
  return String.fromCharCode(0xf0 | (point >> 18), 0x80 | ((point >> 12) & 0x3f), third, last)
}

/** Beyond 64 bits, the nearest integer there is. */
function integer(isNegative: boolean, digits: string): number | bigint {
  if (digits.length <= SAFE_DIGITS) return (isNegative ? 0 - Number(digits) : Number(digits)) + 0
  const size = digits.length > INT64_DIGITS ? INT64_MAX + 1n : BigInt(digits)
  const value = isNegative ? -size : size
  return integerValue(value > INT64_MAX ? INT64_MAX : value < INT64_MIN ? INT64_MIN : value)
}
