// The words of a chunk: those of Lua 5.3 and those that only types use. Strings and comments are passed over whole, so nothing in them is
// ever taken for an annotation.

/** Side by side, in order; the last token is the end. */
export interface Tokens {
  readonly source: string
  /** `<name>`, `<number>`, `<string>`, `<bad>`, `<end>`, or the text of a keyword or symbol. A `>` always stands alone. */
  readonly kinds: readonly string[]
  readonly starts: readonly number[]
  readonly ends: readonly number[]
  /** Of the first character, counted from 1. */
  readonly lines: readonly number[]
  /** Where each line begins in the text. */
  readonly lineStarts: readonly number[]
  /** Whether there is an end of line between the token before and this one. */
  readonly isFirstOnLine: readonly boolean[]
  /** The labels that some `goto` names. */
  readonly gotoNames: ReadonlySet<string>
  /** Whether `type Name` or `interface Name` occurs. */
  readonly mayDeclareTypes: boolean
  /** What is wrong with the `<bad>` token. */
  readonly problem: string
}

const KEYWORDS: ReadonlySet<string> = new Set(
  'and break do else elseif end false for function goto if in local nil not or repeat return then true until while'.split(
    ' ',
  ),
)

const TAB = 9
const LF = 10
const CR = 13
const SPACE = 32
const QUOTE = 34
const APOSTROPHE = 39
const MINUS = 45
const DOT = 46
const ZERO = 48
const OPEN = 91
const BACKSLASH = 92
const SMALL_Z = 122

/** Symbols of more than one character, longest first, by their first character. `>=` and `>>` are left in parts. */
const LONG_SYMBOLS: Readonly<Record<string, readonly string[]>> = {
  '.': ['...', '..'],
  ':': ['::'],
  '=': ['=='],
  '~': ['~='],
  '<': ['<=', '<<'],
  '/': ['//'],
  '-': ['->'],
}

const isDigit = (code: number): boolean => code >= 48 && code <= 57
const isHexDigit = (code: number): boolean => isDigit(code) || ((code | 32) >= 97 && (code | 32) <= 102)
const isNameStart = (code: number): boolean => ((code | 32) >= 97 && (code | 32) <= 122) || code === 95
const isNamePart = (code: number): boolean => isNameStart(code) || isDigit(code)
const isLineEnd = (code: number): boolean => code === LF || code === CR
const isSpace = (code: number): boolean => code === SPACE || (code >= TAB && code <= CR)

class Scanner implements Tokens {
  readonly source: string
  readonly kinds: string[] = []
  readonly starts: number[] = []
  readonly ends: number[] = []
  readonly lines: number[] = []
  readonly lineStarts: number[] = [0]
  readonly isFirstOnLine: boolean[] = []
  readonly gotoNames = new Set<string>()
  mayDeclareTypes = false
  problem = ''
  #at = 0
  #line = 1
  #lineOfLast = 1

  constructor(source: string) {
    this.source = source
  }

  scan(): this {
    const { source } = this
    for (;;) {
      const code = source.charCodeAt(this.#at)
      if (Number.isNaN(code)) break
      if (isLineEnd(code)) this.#lineEnd(code)
      else if (isSpace(code)) this.#at++
      else if (code === MINUS && source.charCodeAt(this.#at + 1) === MINUS) this.#comment()
      else if (isNameStart(code)) this.#name()
      else if (isDigit(code) || (code === DOT && isDigit(source.charCodeAt(this.#at + 1)))) this.#number(code)
      else if (code === QUOTE || code === APOSTROPHE) this.#quoted(code)
      else if (code === OPEN) this.#bracket()
      else this.#symbol()
    }
    this.#add('<end>', source.length)
    return this
  }

  /** Adds the token from here to `end`, which stands on one line unless `firstLine` says where it began. */
  #add(kind: string, end: number, firstLine = this.#line): void {
    this.kinds.push(kind)
    this.starts.push(this.#at)
    this.ends.push(end)
    this.lines.push(firstLine)
    this.isFirstOnLine.push(firstLine > this.#lineOfLast || this.kinds.length === 1)
    this.#lineOfLast = this.#line
    this.#at = end
  }

  /** `\n`, `\r`, `\r\n` and `\n\r` are one end of line each. */
  #lineEnd(code: number): void {
    const next = this.source.charCodeAt(++this.#at)
    if (isLineEnd(next) && next !== code) this.#at++
    this.#line++
    this.lineStarts.push(this.#at)
  }

  #comment(): void {
    this.#at += 2
    const level = this.source.charCodeAt(this.#at) === OPEN ? this.#longLevel() : -1
    if (level >= 0) {
      const start = this.#at
      const firstLine = this.#line
      if (!this.#skipLong(level)) this.#bad(start, firstLine, 'unfinished long comment')
      return
    }
    while (this.#at < this.source.length && !isLineEnd(this.source.charCodeAt(this.#at))) this.#at++
  }

  /** How many `=` stand in the long bracket that opens here; -1 when none does. */
  #longLevel(): number {
    let at = this.#at + 1
    while (this.source[at] === '=') at++
    return this.source.charCodeAt(at) === OPEN ? at - this.#at - 1 : -1
  }

  /** Moves behind the long bracket that opens here. */
  #skipLong(level: number): boolean {
    const close = `]${'='.repeat(level)}]`
    const found = this.source.indexOf(close, this.#at + level + 2)
    const end = found < 0 ? this.source.length : found + close.length
    while (this.#at < end) {
      const code = this.source.charCodeAt(this.#at)
      if (isLineEnd(code)) this.#lineEnd(code)
      else this.#at++
    }
    return found >= 0
  }

  #name(): void {
    const { source, kinds } = this
    let end = this.#at + 1
    while (isNamePart(source.charCodeAt(end))) end++
    const text = source.slice(this.#at, end)
    if (KEYWORDS.has(text)) return this.#add(text, end)
    const last = kinds.length - 1
    if (kinds[last] === 'goto') this.gotoNames.add(text)
    if (kinds[last] === '<name>') {
      const before = source.slice(this.starts[last], this.ends[last])
      if (before === 'type' || before === 'interface') this.mayDeclareTypes = true
    }
    this.#add('<name>', end)
  }

  /** As far as Lua's own scanner goes, well-formed or not. */
  #number(first: number): void {
    const { source } = this
    let end = this.#at
    let exponent = 101
    if (first === ZERO && (source.charCodeAt(end + 1) | 32) === 120) {
      exponent = 112
      end += 2
    }
    for (;;) {
      const code = source.charCodeAt(end)
      if ((code | 32) === exponent) {
        end++
        if (source[end] === '+' || source[end] === '-') end++
      } else if (isHexDigit(code) || code === DOT) end++
      else break
    }
    this.#add('<number>', end)
  }

  #quoted(quote: number): void {
    const { source } = this
    const start = this.#at
    const firstLine = this.#line
    this.#at++
    for (;;) {
      const code = source.charCodeAt(this.#at)
      if (code === quote) break
      if (Number.isNaN(code) || isLineEnd(code)) return this.#bad(start, firstLine, 'unfinished string')
      this.#at++
      if (code === BACKSLASH) this.#escaped()
    }
    const end = this.#at + 1
    this.#at = start
    this.#add('<string>', end, firstLine)
  }

  #escaped(): void {
    const { source } = this
    const code = source.charCodeAt(this.#at)
    if (isLineEnd(code)) return this.#lineEnd(code)
    if (code !== SMALL_Z) {
      this.#at++
      return
    }
    this.#at++
    for (let next = source.charCodeAt(this.#at); isSpace(next); next = source.charCodeAt(this.#at)) {
      if (isLineEnd(next)) this.#lineEnd(next)
      else this.#at++
    }
  }

  #bracket(): void {
    const level = this.#longLevel()
    if (level < 0) return this.#symbol()
    const start = this.#at
    const firstLine = this.#line
    if (!this.#skipLong(level)) return this.#bad(start, firstLine, 'unfinished long string')
    const end = this.#at
    this.#at = start
    this.#add('<string>', end, firstLine)
  }

  #symbol(): void {
    const { source } = this
    const first = source[this.#at] as string
    const long = LONG_SYMBOLS[first]?.find((symbol) => source.startsWith(symbol, this.#at))
    this.#add(long ?? first, this.#at + (long ?? first).length)
  }

  /** The rest of the text is lost. */
  #bad(start: number, firstLine: number, problem: string): void {
    this.problem = problem
    this.#at = start
    this.#add('<bad>', this.source.length, firstLine)
  }
}

/** Linear in the length of the text; never fails: what cannot be read is a `<bad>` token. */
export function tokenize(source: string): Tokens {
  return new Scanner(source).scan()
}

const SIMPLE_ESCAPES: Readonly<Record<string, string>> = {
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
}

/** The bytes that a `<string>` token stands for. */
export function stringValue(text: string): string {
  const long = /^\[(=*)\[(?:\r\n|\n\r|\n|\r)?/.exec(text)
  if (long !== null) return text.slice(long[0].length, -2 - (long[1] as string).length)
  return text
    .slice(1, -1)
    .replace(
      /\\(?:z[ \t-\r]*|x([0-9a-fA-F]{2})|u\{([0-9a-fA-F]{1,8})\}|(\d{1,3})|(\r\n|\n\r|[\s\S]))/g,
      (_whole, hex?: string, point?: string, decimal?: string, other?: string) => {
        if (hex !== undefined) return String.fromCharCode(Number.parseInt(hex, 16))
        if (point !== undefined) return utf8(Number.parseInt(point, 16))
        if (decimal !== undefined) return String.fromCharCode(Number(decimal) & 255)
        if (other === undefined) return ''
        return isLineEnd(other.charCodeAt(0)) ? '\n' : (SIMPLE_ESCAPES[other] ?? other)
      },
    )
}

function utf8(point: number): string {
  const valid = point <= 0x10ffff ? point : 0xfffd
  return Buffer.from(String.fromCodePoint(valid)).toString('latin1')
}
