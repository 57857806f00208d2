// The words of a chunk in a row, as the grammar of types reads them (annotations/tokens.ts), and the reader of the parser over them: where a
// type stands, both go through the same row.

import { Cursor } from '../annotations/cursor.ts'
import type { Tokens } from '../annotations/tokens.ts'
import { LuaSyntaxError } from '../engine.ts'
import { Lexer, untilZero } from './lexer.ts'
import type { Num } from './number.ts'

/** All words up to the first that is none. */
class Words implements Tokens {
  readonly source: string
  readonly kinds: string[] = []
  readonly starts: number[] = []
  readonly ends: number[] = []
  readonly lines: number[] = []
  readonly lineStarts: readonly number[]
  readonly isFirstOnLine: boolean[] = []
  readonly gotoNames = new Set<string>()
  mayDeclareTypes = false
  problem = ''
  /** The line in which each word ends. */
  readonly endLines: number[] = []
  /** What strings and numbers stand for. */
  readonly values: (string | Num | undefined)[] = []
  /** Of the last word, if it is `<bad>`. */
  error: LuaSyntaxError | undefined

  constructor(chunkName: string, source: string) {
    const lexer = new Lexer(chunkName, source)
    this.source = source
    this.lineStarts = lexer.lineStarts
    try {
      for (let kind = lexer.next(); kind !== '<end>'; kind = lexer.next()) this.#add(kind, lexer, lexer.end)
    } catch (error) {
      if (!(error instanceof LuaSyntaxError)) throw error
      this.error = error
      this.problem = error.text
      this.#add('<bad>', lexer, source.length)
    }
    lexer.start = source.length
    lexer.startLine = lexer.line
    this.#add('<end>', lexer, source.length)
  }

  #add(kind: string, lexer: Lexer, end: number): void {
    const { kinds, endLines } = this
    const { length } = kinds
    if (kind === '<name>') this.#addName(lexer.text)
    kinds.push(kind)
    this.starts.push(lexer.start)
    this.ends.push(end)
    this.lines.push(lexer.startLine)
    this.isFirstOnLine.push(length === 0 || lexer.startLine > (endLines[length - 1] as number))
    endLines.push(lexer.line)
    this.values.push(kind === '<string>' ? lexer.text : kind === '<number>' ? lexer.number : undefined)
  }

  #addName(text: string): void {
    const { kinds, starts, ends, source } = this
    const last = kinds.length - 1
    if (kinds[last] === 'goto') this.gotoNames.add(text)
    if (kinds[last] !== '<name>') return
    const before = source.slice(starts[last], ends[last])
    if (before === 'type' || before === 'interface') this.mayDeclareTypes = true
  }
}

/** The words as Lua has them, one after the other. */
export class Reader {
  readonly #words: Words
  /** Reads the same words for types; `resume` after it moved. */
  readonly cursor: Cursor
  /** `<name>`, `<string>`, `<number>`, `<eof>`, or the text of a keyword or symbol. */
  kind = ''
  /** The line in which the word ends. */
  line = 1
  /** That of the word before. */
  lastLine = 1
  /** How many words of the row the current one takes. */
  #width = 1
  /** Whether the `-` of `->`, which is no symbol of Lua, has been read. */
  #isHalf = false
  /** What a type expects in place of Lua that is wrong: nothing remains of a type. */
  expected: string | undefined

  constructor(chunkName: string, source: string) {
    this.#words = new Words(chunkName, source)
    this.cursor = new Cursor(this.#words, chunkName)
  }

  get tokens(): Tokens {
    return this.#words
  }

  /** Of a name or string. */
  get text(): string {
    return this.kind === '<name>' ? this.cursor.text : (this.#words.values[this.cursor.at] as string)
  }

  get number(): Num {
    return this.#words.values[this.cursor.at] as Num
  }

  next(): void {
    const { cursor } = this
    if (cursor.kind === '->' && !this.#isHalf) {
      this.#isHalf = true
      this.kind = '>'
      this.lastLine = this.line
      return
    }
    this.#isHalf = false
    for (let i = this.#width; i > 0; i--) cursor.next()
    this.resume()
  }

  /** Goes on where the cursor is. @throws LuaSyntaxError at what is no word */
  resume(): void {
    const { cursor } = this
    const { at, kind } = cursor
    const { endLines, error } = this.#words
    if (kind === '<bad>') this.#bad(error as LuaSyntaxError)
    this.lastLine = at === 0 ? 1 : (endLines[at - 1] as number)
    this.line = endLines[at] as number
    this.#width = 1
    if (kind === '>') this.#joinWithNext()
    else this.kind = kind === '<end>' ? '<eof>' : kind === '->' ? '-' : kind
  }

  /** `>=` and `>>` are in parts, for types end in `>`. */
  #joinWithNext(): void {
    const next = this.cursor.kindAt(1)
    const isOne = (next === '>' || next === '=') && this.cursor.touches(1)
    this.kind = isOne ? `>${next}` : '>'
    this.#width = isOne ? 2 : 1
  }

  #bad(error: LuaSyntaxError): never {
    if (this.expected !== undefined) this.cursor.fail(this.expected)
    throw error
  }

  /** The kind of the word behind the current one. */
  peek(): string {
    return this.cursor.kindAt(this.#width)
  }

  /** An error at the current word. */
  failNear(text: string): never {
    const { cursor } = this
    if (this.expected !== undefined) cursor.fail(this.expected)
    throw cursor.error(`${text} near ${this.#shown()}`, this.line)
  }

  #shown(): string {
    if (this.kind === '<eof>') return '<eof>'
    const { source, starts, ends } = this.#words
    const { at } = this.cursor
    const read = source.slice(starts[at], ends[at + this.#width - 1])
    if (this.kind === '<string>') return `'${untilZero(asUnderstood(read, this.text))}'`
    const text = this.cursor.kind === '->' ? this.kind : read
    const code = text.charCodeAt(0)
    // A character that cannot be shown, by its number.
    return text.length === 1 && (code < 32 || code > 126) ? `'<\\${code}>'` : `'${text}'`
  }
}

/** A string between what delimits it in the source. */
function asUnderstood(read: string, value: string): string {
  const level = /^\[=*\[/.exec(read)?.[0].length ?? 1
  return read.slice(0, level) + value + read.slice(-level)
}
