// The grammar of types (lua-core.md §3.2). The words that only types use are names everywhere else, so each is known by what follows it.

import type { Check, FunctionType, NamedType, RecordField, TypeNode } from '../../base/type-node.ts'
import { LuaSyntaxError } from '../engine.ts'
import type { Cursor } from './cursor.ts'
import { stringValue } from './tokens.ts'

/** Levels of types inside types. */
const DEPTH_MAX = 200

/** What may begin a type. */
const STARTS = new Set(['<name>', '<string>', '<number>', '(', '{', 'function', 'nil', 'true', 'false'])

/** After a whole generic type, these on the same line mean that `<` and `>` were comparisons. */
const OPERAND_STARTS = new Set(['<name>', '<string>', '<number>', '(', '{', '#', 'not', 'function', 'nil', 'true'])

/** What a name at the beginning of a line goes on with when it begins a statement. */
const STATEMENT_GOES_ON = new Set(['=', ',', '.', ':', '(', '[', '{', '<string>'])

interface Params {
  readonly items: FunctionType['params']
  /** One type without a name stands in the parentheses. */
  readonly isSingle: boolean
}

/** Reads Lua that stands inside a type, from the cursor on. */
interface LuaInTypes {
  readonly expression: () => void
  readonly statements: () => void
}

/** A type that was given a name. */
interface Declaration {
  readonly name: string
  readonly params: { name: string; bound: TypeNode | undefined }[]
  readonly type: TypeNode
  readonly isInterface: boolean
  /** The names that it refers to. */
  readonly named: NamedType[]
}

export class TypeParser {
  readonly #cursor: Cursor
  readonly #lua: LuaInTypes
  #depth = 0
  /** Whether `<` may just as well be a comparison: in a cast, outside of any brackets. */
  #isAfterValue = false
  /** Whether `?` belongs to a conditional type. */
  #isCondition = false
  /** Whether `(A, B)` may stand here for several results. */
  #allowsResults = false
  /** The last `(A, B)`, and the node that stands for it. */
  #several: { node: TypeNode; types: TypeNode[] } | undefined
  /** `<` tokens that are known to be comparisons. */
  readonly #comparisons = new Set<number>()
  /** Names that were read since somebody emptied the list. */
  named: NamedType[] = []

  constructor(cursor: Cursor, lua: LuaInTypes) {
    this.#cursor = cursor
    this.#lua = lua
  }

  /** `type T = …` or `interface T … end`, if one stands at the cursor, which is at a name. */
  declaration(): Declaration | undefined {
    const cursor = this.#cursor
    if (cursor.kindAt(1) !== '<name>') return undefined
    const isAlias = cursor.isName('type') && (cursor.kindAt(2) === '=' || cursor.kindAt(2) === '<')
    if (!isAlias && !cursor.isName('interface')) return undefined
    const { line, column } = cursor
    cursor.next()
    const name = this.name('name')
    this.named = []
    const params = cursor.kind === '<' ? this.generics() : []
    if (isAlias) cursor.expect('=')
    const type = isAlias ? this.type() : this.#interface(line, column)
    const { named } = this
    this.named = []
    return { name, params, type, isInterface: !isAlias, named }
  }

  /** Whether a type begins at the token. */
  canStart(offset: number): boolean {
    const kind = this.#cursor.kindAt(offset)
    if (kind === '-') return this.#cursor.kindAt(offset + 1) === '<number>'
    return STARTS.has(kind)
  }

  /** The type after `::` or `as`. */
  castType(): TypeNode {
    this.#isAfterValue = true
    try {
      return this.type()
    } finally {
      this.#isAfterValue = false
    }
  }

  /** One type. @throws LuaSyntaxError */
  type(): TypeNode {
    if (++this.#depth > DEPTH_MAX) throw this.#cursor.error(`type is nested deeper than ${DEPTH_MAX} levels`)
    const node = this.#conditional(this.#union())
    this.#depth--
    return node
  }

  /** One result or `(A, B)`. */
  results(): TypeNode[] {
    this.#allowsResults = true
    const node = this.type()
    this.#allowsResults = false
    return this.#several?.node === node ? this.#several.types : [node]
  }

  /** The results of a function with a body: also `A, B` without parentheses. */
  resultList(): TypeNode[] {
    const all = this.results()
    while (this.#cursor.take(',')) all.push(this.type())
    return all
  }

  /** `<T, U: Bound>` */
  generics(): { name: string; bound: TypeNode | undefined }[] {
    const cursor = this.#cursor
    const { line } = cursor
    cursor.expect('<')
    const params: { name: string; bound: TypeNode | undefined }[] = []
    do {
      const name = this.name('type parameter')
      params.push({ name, bound: cursor.take(':') ? this.type() : undefined })
    } while (cursor.take(','))
    cursor.expect('>', ` (to close '<' at line ${line})`)
    return params
  }

  name(what: string): string {
    const cursor = this.#cursor
    const { text } = cursor
    if (!cursor.take('<name>')) cursor.fail(what)
    return text
  }

  /** The parameters of an interface's method, from `(` to its results. */
  signature(): FunctionType {
    const cursor = this.#cursor
    if (cursor.kind !== '(') cursor.fail("'('")
    const { items } = this.#bracketed(() => this.#params())
    return { kind: 'function', params: items, returns: cursor.take(':') ? this.resultList() : [] }
  }

  /** A field, at its name. */
  field(): RecordField {
    const cursor = this.#cursor
    const isReadonly = cursor.isName('readonly') && cursor.kindAt(1) === '<name>'
    if (isReadonly) cursor.next()
    const name = cursor.text
    if (!this.#isFieldName(0)) cursor.fail('field name')
    cursor.next()
    const isOptional = cursor.take('?')
    cursor.expect(':')
    return { name, isOptional, isReadonly, type: this.type() }
  }

  /** Whether `name:` or `name?:` stands there. */
  isField(offset: number): boolean {
    const cursor = this.#cursor
    if (cursor.kindAt(offset) === '<name>' && cursor.textAt(offset) === 'readonly' && this.#hasColon(offset + 1)) {
      return this.#isFieldName(offset + 1)
    }
    return this.#isFieldName(offset) && this.#hasColon(offset)
  }

  #isFieldName(offset: number): boolean {
    return /^(<name>|[a-z]+)$/.test(this.#cursor.kindAt(offset))
  }

  #hasColon(offset: number): boolean {
    const kind = this.#cursor.kindAt(offset + 1)
    return kind === ':' || (kind === '?' && this.#cursor.kindAt(offset + 2) === ':')
  }

  /** Reads inside brackets, where nothing that surrounds them matters. */
  #bracketed<T>(read: () => T): T {
    const isAfterValue = this.#isAfterValue
    const isCondition = this.#isCondition
    this.#isAfterValue = false
    this.#isCondition = false
    this.#allowsResults = false
    const result = read()
    this.#isAfterValue = isAfterValue
    this.#isCondition = isCondition
    return result
  }

  #conditional(subject: TypeNode): TypeNode {
    const cursor = this.#cursor
    if (this.#isCondition || !cursor.isName('extends')) return subject
    if (cursor.isFirstOnLine() && STATEMENT_GOES_ON.has(cursor.kindAt(1))) return subject
    const { start } = cursor
    cursor.next()
    this.#isCondition = true
    this.#union()
    this.#isCondition = false
    cursor.expect('?')
    this.type()
    cursor.expect(':')
    this.type()
    return this.#opaque(start)
  }

  /** What stands in the text from `start` to here, as a type of which nothing is known. */
  #opaque(start: number): TypeNode {
    const { endOfLast, tokens } = this.#cursor
    return { kind: 'opaque', text: tokens.source.slice(start, endOfLast).replace(/[ \t-\r]+/g, ' ') }
  }

  #union(): TypeNode {
    const cursor = this.#cursor
    cursor.take('|')
    const first = this.#intersection()
    if (cursor.kind !== '|') return first
    const of = [first]
    while (cursor.take('|')) of.push(this.#intersection())
    return { kind: 'union', of }
  }

  #intersection(): TypeNode {
    const cursor = this.#cursor
    const first = this.#postfix()
    if (cursor.kind !== '&') return first
    const of = [first]
    while (cursor.take('&')) of.push(this.#postfix())
    return { kind: 'intersection', of }
  }

  #postfix(): TypeNode {
    const cursor = this.#cursor
    let node = this.#primary()
    // Each mark is a level of the type.
    for (let marks = 0; ; marks++) {
      if (marks > DEPTH_MAX) throw cursor.error(`type is nested deeper than ${DEPTH_MAX} levels`)
      if (cursor.kind === '?') {
        if (this.#isCondition && cursor.kindAt(1) !== '?') return node
        cursor.next()
        node = { kind: 'optional', of: node }
      } else if (cursor.kind === '[' && !cursor.isFirstOnLine()) node = this.#subscript(node)
      else if (cursor.kind === '@') node = { kind: 'checked', of: node, check: this.#check() }
      else return node
    }
  }

  #subscript(of: TypeNode): TypeNode {
    const cursor = this.#cursor
    const { line } = cursor
    cursor.next()
    if (cursor.take(']')) return { kind: 'array', of }
    const key = this.#bracketed(() => this.type())
    cursor.expect(']', ` (to close '[' at line ${line})`)
    return { kind: 'indexed', of, key }
  }

  #check(): Check {
    const cursor = this.#cursor
    cursor.next()
    const name = this.name('validator')
    const args: (string | number | boolean)[] = []
    const { line } = cursor
    if (!cursor.take('(') || cursor.take(')')) return { name, args }
    do args.push(this.#checkArgument())
    while (cursor.take(','))
    cursor.expect(')', ` (to close '(' at line ${line})`)
    return { name, args }
  }

  #checkArgument(): string | number | boolean {
    const cursor = this.#cursor
    const { kind, text } = cursor
    if (kind === '-' && cursor.kindAt(1) === '<number>') {
      cursor.next()
      return -this.#number()
    }
    if (kind === '<number>') return this.#number()
    if (!['<string>', '<name>', 'true', 'false'].includes(kind)) cursor.fail('number or string')
    cursor.next()
    if (kind === '<string>') return stringValue(text)
    return kind === '<name>' ? text : kind === 'true'
  }

  #number(): number {
    const cursor = this.#cursor
    const value = Number(cursor.text)
    if (Number.isNaN(value)) throw cursor.error(`malformed number near '${cursor.text}'`)
    cursor.next()
    return value
  }

  #primary(): TypeNode {
    const cursor = this.#cursor
    const allowsResults = this.#allowsResults
    this.#allowsResults = false
    const { kind, text } = cursor
    switch (kind) {
      case '<name>':
        return this.#nameOrOperator(text)
      case 'function':
      case 'nil':
        cursor.next()
        return this.#named(text, [])
      case 'true':
      case 'false':
        cursor.next()
        return { kind: 'literal', value: kind === 'true' }
      case '<string>':
        cursor.next()
        return { kind: 'literal', value: stringValue(text) }
      case '<number>':
        return { kind: 'literal', value: this.#number() }
      case '-':
        cursor.next()
        if (cursor.kind !== '<number>') cursor.fail('number')
        return { kind: 'literal', value: -this.#number() }
      case '(':
        return this.#parenthesised(allowsResults)
      case '{':
        return this.#bracketed(() => this.#braces(false))
      default:
        return cursor.fail('type')
    }
  }

  #nameOrOperator(text: string): TypeNode {
    const cursor = this.#cursor
    const following = cursor.kindAt(1)
    if (text === 'readonly' && following === '{') {
      cursor.next()
      return this.#bracketed(() => this.#braces(true))
    }
    if (text === 'interface' && following === '{') {
      cursor.next()
      return this.#bracketed(() => this.#braces(false))
    }
    if (text === 'fun' && following === '(') return this.#fun()
    if (text === 'keyof' && following === '(') {
      cursor.next()
      cursor.next()
      const of = this.#bracketed(() => this.type())
      cursor.expect(')')
      return { kind: 'keyof', of }
    }
    const { start } = cursor
    if (text === 'typeof' && following === '(') {
      cursor.next()
      cursor.next()
      this.#bracketed(() => this.#lua.expression())
      cursor.expect(')')
      return this.#opaque(start)
    }
    if (text === 'asserts' && following === '<name>' && !cursor.isFirstOnLine(1)) {
      cursor.next()
      cursor.next()
      if (cursor.isName('is') && !cursor.isFirstOnLine()) {
        cursor.next()
        this.type()
      }
      return this.#opaque(start)
    }
    return this.#reference(text)
  }

  #reference(first: string): NamedType {
    const cursor = this.#cursor
    cursor.next()
    let name = first
    if (cursor.kind === '.' && cursor.kindAt(1) === '<name>') {
      cursor.next()
      name = `${first}.${cursor.text}`
      cursor.next()
    }
    return this.#named(name, cursor.kind === '<' ? this.#args() : [])
  }

  #named(name: string, args: TypeNode[]): NamedType {
    const node: NamedType = { kind: 'named', name, args, target: undefined }
    this.named.push(node)
    return node
  }

  /** `<A, B>`; nothing when `<` turns out to be a comparison with a value that was cast. */
  #args(): TypeNode[] {
    if (!this.#isAfterValue) return this.#bracketed(() => this.#certainArgs())
    const cursor = this.#cursor
    const { at } = cursor
    if (this.#comparisons.has(at)) return []
    const depth = this.#depth
    const isCondition = this.#isCondition
    try {
      const args = this.#bracketed(() => this.#certainArgs())
      const isComparison =
        (cursor.touches(0) && (cursor.kind === '>' || cursor.kind === '=' || cursor.kind === '==')) ||
        (!cursor.isFirstOnLine() && OPERAND_STARTS.has(cursor.kind) && !cursor.isName('as'))
      if (!isComparison) return args
    } catch (error) {
      if (!(error instanceof LuaSyntaxError)) throw error
    }
    this.#comparisons.add(at)
    this.#depth = depth
    this.#isAfterValue = true
    this.#isCondition = isCondition
    cursor.at = at
    return []
  }

  #certainArgs(): TypeNode[] {
    const cursor = this.#cursor
    const { line } = cursor
    cursor.next()
    const args: TypeNode[] = []
    do args.push(this.type())
    while (cursor.take(','))
    cursor.expect('>', ` (to close '<' at line ${line})`)
    return args
  }

  #fun(): FunctionType {
    const cursor = this.#cursor
    cursor.next()
    const { items } = this.#bracketed(() => this.#params())
    return { kind: 'function', params: items, returns: cursor.take(':') ? this.results() : [] }
  }

  /** From `(` to `)`. */
  #params(): Params {
    const cursor = this.#cursor
    const { line } = cursor
    cursor.expect('(')
    const items: FunctionType['params'][number][] = []
    let hasNames = false
    while (cursor.kind !== ')') {
      const isRest = cursor.take('...')
      const isNamed = !isRest && this.isField(0)
      if (isRest) {
        const isTyped = cursor.take(':') || this.canStart(0)
        items.push({ name: undefined, isRest, type: isTyped ? this.type() : this.#named('any', []) })
      } else if (isNamed) {
        const { name, isOptional, type } = this.field()
        items.push({ name, isRest, type: isOptional ? { kind: 'optional', of: type } : type })
      } else items.push({ name: undefined, isRest, type: this.type() })
      hasNames ||= isRest || isNamed
      if (!cursor.take(',')) break
    }
    cursor.expect(')', ` (to close '(' at line ${line})`)
    return { items, isSingle: items.length === 1 && !hasNames }
  }

  /** A type in parentheses, the parameters of a function type, or several results. */
  #parenthesised(allowsResults: boolean): TypeNode {
    const cursor = this.#cursor
    const { items, isSingle } = this.#bracketed(() => this.#params())
    if (cursor.take('->')) return { kind: 'function', params: items, returns: this.results() }
    const first = items[0]
    if (isSingle && first !== undefined) return first.type
    if (!allowsResults) cursor.fail("'->'")
    const node: TypeNode = { kind: 'opaque', text: '()' }
    this.#several = { node, types: items.map(({ type }) => type) }
    return node
  }

  /** From `{` to `}`: an array, a map, a record. */
  #braces(isReadonly: boolean): TypeNode {
    const cursor = this.#cursor
    const { line } = cursor
    cursor.expect('{')
    const fields: RecordField[] = []
    let rest: { key: TypeNode; value: TypeNode } | undefined
    while (cursor.kind !== '}') {
      if (cursor.isName('readonly') && cursor.kindAt(1) === '[') cursor.next()
      if (cursor.kind === '[') {
        const entry = this.#entry()
        if (entry.key.kind === 'literal' && typeof entry.key.value === 'string') {
          fields.push({ name: entry.key.value, isOptional: false, isReadonly: false, type: entry.value })
        } else rest = entry
      } else if (fields.length === 0 && rest === undefined && !this.isField(0)) {
        const of = this.type()
        cursor.expect('}', ` (to close '{' at line ${line})`)
        return { kind: 'array', of }
      } else fields.push(this.field())
      if (!cursor.take(',') && !cursor.take(';')) break
    }
    cursor.expect('}', ` (to close '{' at line ${line})`)
    if (rest !== undefined && fields.length === 0) return { kind: 'map', ...rest }
    return { kind: 'record', fields, rest, isReadonly }
  }

  /** `[K]: V` */
  #entry(): { key: TypeNode; value: TypeNode } {
    const cursor = this.#cursor
    cursor.next()
    const key = this.type()
    cursor.expect(']')
    cursor.expect(':')
    return { key, value: this.type() }
  }

  /** From the bases, or the first member, to `end`. */
  #interface(line: number, column: number): TypeNode {
    const cursor = this.#cursor
    const bases: TypeNode[] = []
    if (cursor.take(':')) {
      do bases.push(this.type())
      while (cursor.take(','))
    }
    const fields: RecordField[] = []
    while (!cursor.take('end')) {
      if (cursor.take('function')) fields.push(this.#method(line, column))
      else if (this.isField(0)) fields.push(this.field())
      else cursor.fail("field, method or 'end'", ` (to close 'interface' at line ${line})`)
      if (!cursor.take(',')) cursor.take(';')
    }
    const record: TypeNode = { kind: 'record', fields, rest: undefined, isReadonly: false }
    return bases.length === 0 ? record : { kind: 'intersection', of: [...bases, record] }
  }

  #method(line: number, column: number): RecordField {
    const cursor = this.#cursor
    const name = this.name('method name')
    if (cursor.kind === '<') this.generics()
    const type: FunctionType = this.signature()
    if (cursor.kind === 'end') {
      if (this.#endsMethod(line, column)) cursor.next()
    } else if (cursor.kind !== 'function' && cursor.kind !== ',' && cursor.kind !== ';' && !this.isField(0)) {
      this.#lua.statements()
      cursor.expect('end', ` (to close 'interface' at line ${line})`)
    }
    return { name, isOptional: false, isReadonly: false, type }
  }

  /**
   * Whether the `end` behind a method belongs to the method or to its interface: methods are written with and without one. One behind the
   * method on its line is the method's, unless the whole interface is there; on a line of its own, one that is indented further than the
   * interface is.
   */
  #endsMethod(line: number, column: number): boolean {
    const cursor = this.#cursor
    if (cursor.line === line) {
      const following = cursor.kindAt(1)
      return !cursor.isFirstOnLine(1) && (following === 'end' || following === 'function' || this.isField(1))
    }
    return !cursor.isFirstOnLine() || cursor.column > column
  }
}
