// Follows the grammar of Lua 5.3 just far enough to know where annotations may stand (lua-core.md §3.1) and lists them. It builds no tree
// and judges no program: at the first thing that is not Lua it stops, and what is wrong there is for the engine to say.

import { Cursor } from './cursor.ts'
import { type Declared, Scopes } from './scopes.ts'
import type { Tokens } from './tokens.ts'
import { TypeParser } from './type-parser.ts'

/** A part of the text to change, in order, none inside another. */
export interface Edit {
  readonly start: number
  readonly end: number
  /**
   * - `blank`: the part goes.
   * - `separator`: it goes, and what stands before it must not be taken together with what follows.
   * - `declaration`, `reference`: of a type.
   */
  readonly kind: 'blank' | 'separator' | 'declaration' | 'reference'
  readonly declared?: Declared
}

/** Levels of blocks and expressions; the engine refuses fewer. */
const DEPTH_MAX = 250

/** The text is not Lua here. */
class NotLua extends Error {}

const BLOCK_ENDS = new Set(['<end>', '<bad>', 'end', 'else', 'elseif', 'until'])
const UNARY = new Set(['not', '-', '#', '~'])
const BINARY = new Set('+ - * / // % ^ .. < <= << == ~= and or & | ~'.split(' '))
/** What would be the arguments of a call if nothing stood before it. */
const ARGUMENTS = new Set(['(', '{', '<string>'])

export class ChunkParser {
  readonly edits: Edit[] = []
  readonly scopes = new Scopes()
  readonly #cursor: Cursor
  readonly #types: TypeParser
  readonly #tokens: Tokens
  #tracksNames: boolean
  #depth = 0

  constructor(tokens: Tokens, chunkName: string) {
    this.#tokens = tokens
    this.#tracksNames = tokens.mayDeclareTypes
    this.#cursor = new Cursor(tokens, chunkName)
    this.#types = new TypeParser(this.#cursor, {
      expression: () => this.#inType(() => this.#expression(), 'expression'),
      statements: () => this.#inType(() => this.#block(), 'statement'),
    })
  }

  /** @throws LuaSyntaxError for a type that is none */
  parse(): void {
    try {
      this.#block()
    } catch (error) {
      if (!(error instanceof NotLua)) throw error
    }
  }

  #stop(): never {
    throw new NotLua()
  }

  #expect(kind: string): void {
    if (!this.#cursor.take(kind)) this.#stop()
  }

  #enter(): void {
    if (++this.#depth > DEPTH_MAX) this.#stop()
  }

  #edit(kind: Edit['kind'], start: number, editCount = this.edits.length): void {
    // What an erased part contains goes with it.
    this.edits.length = editCount
    this.edits.push({ kind, start, end: this.#cursor.endOfLast })
  }

  /** Reads Lua inside a type, of which nothing stays whether it is Lua or not. */
  #inType(read: () => void, expected: string): void {
    const { named } = this.#types
    const editCount = this.edits.length
    const depth = this.#depth
    const tracksNames = this.#tracksNames
    this.#tracksNames = false
    try {
      read()
    } catch (error) {
      if (!(error instanceof NotLua)) throw error
      this.#cursor.fail(expected)
    } finally {
      this.#types.named = named
      this.edits.length = editCount
      this.#depth = depth
      this.#tracksNames = tracksNames
    }
  }

  // ---- names

  #variable(): void {
    if (this.#cursor.kind !== '<name>') this.#stop()
    if (this.#tracksNames) this.scopes.variable(this.#cursor.text)
    this.#cursor.next()
  }

  #openScope(): void {
    if (this.#tracksNames) this.scopes.open()
  }

  #closeScope(): void {
    if (this.#tracksNames) this.scopes.close()
  }

  // ---- statements

  #block(): void {
    while (!BLOCK_ENDS.has(this.#cursor.kind)) {
      if (this.#cursor.kind === 'return') return this.#return()
      this.#enter()
      this.#statement()
      this.#depth--
    }
  }

  #scopedBlock(end: string): void {
    this.#openScope()
    this.#block()
    this.#expect(end)
    this.#closeScope()
  }

  #return(): void {
    const cursor = this.#cursor
    cursor.next()
    if (!BLOCK_ENDS.has(cursor.kind) && cursor.kind !== ';') this.#expressions()
    cursor.take(';')
    if (!BLOCK_ENDS.has(cursor.kind)) this.#stop()
  }

  #statement(): void {
    const cursor = this.#cursor
    switch (cursor.kind) {
      case ';':
      case 'break':
        return cursor.next()
      case 'if':
        return this.#if()
      case 'while':
        cursor.next()
        this.#expression()
        this.#expect('do')
        return this.#scopedBlock('end')
      case 'do':
        cursor.next()
        return this.#scopedBlock('end')
      case 'for':
        return this.#for()
      case 'repeat':
        cursor.next()
        this.#openScope()
        this.#block()
        this.#expect('until')
        this.#expression()
        return this.#closeScope()
      case 'function':
        return this.#function()
      case 'local':
        return this.#local()
      case '::':
        cursor.next()
        this.#expect('<name>')
        return this.#expect('::')
      case 'goto':
        cursor.next()
        return this.#expect('<name>')
      case '<name>':
        if (this.#declaration()) return
        return this.#expressionStatement()
      case '(':
        return this.#expressionStatement()
      default:
        return this.#stop()
    }
  }

  #if(): void {
    const cursor = this.#cursor
    do {
      cursor.next()
      this.#expression()
      this.#expect('then')
      this.#openScope()
      this.#block()
      this.#closeScope()
    } while (cursor.kind === 'elseif')
    if (cursor.take('else')) return this.#scopedBlock('end')
    this.#expect('end')
  }

  #for(): void {
    const cursor = this.#cursor
    cursor.next()
    const firstName = cursor.at
    do this.#expect('<name>')
    while (cursor.take(','))
    const isNumeric = cursor.take('=')
    if (!isNumeric) this.#expect('in')
    this.#expressions()
    this.#expect('do')
    this.#openScope()
    if (this.#tracksNames) this.#variablesFrom(firstName)
    this.#block()
    this.#expect('end')
    this.#closeScope()
  }

  /** Binds the names of a list that begins with that token. */
  #variablesFrom(first: number): void {
    const { kinds, source, starts, ends } = this.#tokens
    for (let at = first; kinds[at] === '<name>'; at += 2) {
      this.scopes.variable(source.slice(starts[at], ends[at]))
      if (kinds[at + 1] !== ',') return
    }
  }

  #function(): void {
    const cursor = this.#cursor
    cursor.next()
    this.#reference()
    this.#expect('<name>')
    while (cursor.take('.')) this.#expect('<name>')
    if (cursor.kind === ':' && cursor.kindAt(1) === '<name>') {
      cursor.next()
      cursor.next()
    }
    this.#functionBody()
  }

  #local(): void {
    const cursor = this.#cursor
    cursor.next()
    if (cursor.take('function')) {
      this.#variable()
      return this.#functionBody()
    }
    const names: string[] = []
    do {
      if (cursor.kind !== '<name>') this.#stop()
      names.push(cursor.text)
      cursor.next()
      this.#annotation()
    } while (cursor.take(','))
    if (cursor.take('=')) this.#expressions()
    if (this.#tracksNames) for (const name of names) this.scopes.variable(name)
  }

  #expressionStatement(): void {
    const cursor = this.#cursor
    this.#primary()
    if (cursor.kind !== '=' && cursor.kind !== ',') return
    while (cursor.take(',')) this.#primary()
    this.#expect('=')
    this.#expressions()
  }

  // ---- annotations

  /** `: T`, if it stands there. */
  #annotation(): void {
    const cursor = this.#cursor
    if (cursor.kind !== ':') return
    const { start } = cursor
    const editCount = this.edits.length
    cursor.next()
    this.#types.type()
    this.#edit('blank', start, editCount)
  }

  #generics(): void {
    const { kind, start } = this.#cursor
    if (kind !== '<') return
    const editCount = this.edits.length
    this.#types.generics()
    this.#edit('blank', start, editCount)
  }

  /** Whether a cast stands after a value. A label looks alike: it is one when it begins a line or some `goto` names it. */
  #isCast(): boolean {
    const cursor = this.#cursor
    if (cursor.kind === '<name>') {
      if (!cursor.isName('as') || !this.#types.canStart(1)) return false
      return !cursor.isFirstOnLine() || !ARGUMENTS.has(cursor.kindAt(1))
    }
    if (cursor.kind !== '::') return false
    if (cursor.kindAt(1) !== '<name>' || cursor.kindAt(2) !== '::') return true
    if (cursor.isFirstOnLine() || this.#tokens.gotoNames.has(cursor.textAt(1))) return false
    return !cursor.isFirstOnLine(3) && this.#types.canStart(3)
  }

  #cast(): void {
    const cursor = this.#cursor
    const { start } = cursor
    const editCount = this.edits.length
    cursor.next()
    this.#types.castType()
    // Without the type between them the value would be called with what follows.
    this.#edit(ARGUMENTS.has(cursor.kind) ? 'separator' : 'blank', start, editCount)
  }

  /** `!`, but not the one of `!=`, which other languages have. */
  #isMark(): boolean {
    const cursor = this.#cursor
    if (cursor.kind !== '!') return false
    if (cursor.kindAt(1) === '=' && cursor.touches(1)) throw cursor.error("unexpected '!=' (Lua writes '~=')")
    return true
  }

  #mark(): void {
    const { start } = this.#cursor
    this.#cursor.next()
    this.#edit('blank', start)
  }

  // ---- expressions

  #expressions(): void {
    do this.#expression()
    while (this.#cursor.take(','))
  }

  #expression(): void {
    const cursor = this.#cursor
    this.#enter()
    do {
      while (UNARY.has(cursor.kind)) cursor.next()
      this.#operand()
    } while (this.#binary())
    this.#depth--
  }

  #binary(): boolean {
    const cursor = this.#cursor
    if (cursor.kind !== '>') {
      if (!BINARY.has(cursor.kind)) return false
      cursor.next()
      return true
    }
    cursor.next()
    if ((cursor.kind === '>' || cursor.kind === '=') && cursor.touches(0)) cursor.next()
    return true
  }

  #operand(): void {
    const cursor = this.#cursor
    switch (cursor.kind) {
      case '<name>':
      case '(':
        return this.#primary()
      case '<number>':
      case '<string>':
      case 'nil':
      case 'true':
      case 'false':
      case '...':
        cursor.next()
        break
      case '{':
        this.#table()
        break
      case 'function':
        cursor.next()
        this.#functionBody()
        break
      default:
        this.#stop()
    }
    this.#postfixes(false)
  }

  /** A name or an expression in parentheses, and all that follows it. */
  #primary(): void {
    const cursor = this.#cursor
    if (cursor.take('(')) {
      this.#expression()
      this.#expect(')')
    } else if (cursor.kind === '<name>') {
      this.#reference()
      cursor.next()
    } else this.#stop()
    this.#postfixes(true)
  }

  /** Remembers a name that means a declared type. */
  #reference(): void {
    if (!this.#tracksNames) return
    const { start, text } = this.#cursor
    const declared = this.scopes.used(text)
    if (declared !== undefined) this.edits.push({ kind: 'reference', start, end: start + text.length, declared })
  }

  /** Fields, calls, marks and casts. @param isPrefix whether fields and calls may follow */
  #postfixes(isPrefix: boolean): void {
    const cursor = this.#cursor
    let mayCall = isPrefix
    for (;;) {
      if (this.#isMark()) this.#mark()
      else if (this.#isCast()) {
        this.#cast()
        mayCall = false
      } else if (cursor.kind === ':' && isPrefix) {
        cursor.next()
        this.#expect('<name>')
        if (!ARGUMENTS.has(cursor.kind)) this.#stop()
        this.#arguments()
        mayCall = true
      } else if (!mayCall) return
      else if (cursor.kind === '.') {
        cursor.next()
        this.#expect('<name>')
      } else if (cursor.kind === '[') {
        cursor.next()
        this.#expression()
        this.#expect(']')
      } else if (ARGUMENTS.has(cursor.kind)) this.#arguments()
      else return
    }
  }

  #arguments(): void {
    const cursor = this.#cursor
    if (cursor.take('<string>')) return
    if (cursor.kind === '{') return this.#table()
    cursor.next()
    if (cursor.take(')')) return
    this.#expressions()
    this.#expect(')')
  }

  #table(): void {
    const cursor = this.#cursor
    cursor.next()
    while (cursor.kind !== '}') {
      if (cursor.take('[')) {
        this.#expression()
        this.#expect(']')
        this.#expect('=')
      } else if (cursor.kind === '<name>' && cursor.kindAt(1) === '=') {
        cursor.next()
        cursor.next()
      }
      this.#expression()
      if (!cursor.take(',') && !cursor.take(';')) break
    }
    this.#expect('}')
  }

  /** From the generics, or `(`, to `end`. */
  #functionBody(): void {
    const cursor = this.#cursor
    this.#generics()
    this.#expect('(')
    this.#openScope()
    while (cursor.kind !== ')') {
      if (!cursor.take('...')) this.#variable()
      this.#annotation()
      if (!cursor.take(',')) break
    }
    this.#expect(')')
    if (cursor.kind === ':') this.#resultTypes()
    this.#block()
    this.#expect('end')
    this.#closeScope()
  }

  #resultTypes(): void {
    const { start } = this.#cursor
    const editCount = this.edits.length
    this.#cursor.next()
    this.#types.resultList()
    this.#edit('blank', start, editCount)
  }

  // ---- declarations

  /** A declaration of a type, if one stands there. */
  #declaration(): boolean {
    const { start } = this.#cursor
    const editCount = this.edits.length
    const declaration = this.#types.declaration()
    if (declaration === undefined) return false
    this.edits.length = editCount
    this.edits.push({
      kind: 'declaration',
      start,
      end: this.#cursor.endOfLast,
      declared: this.scopes.declare(declaration),
    })
    return true
  }
}
