// Syntax trees of the expression language, by precedence climbing (Pratt). lua-libraries.md §15.

import { ExprError, place, type Token, tokensOf } from './lexer.ts'

export type Node =
  | { readonly kind: 'integer'; readonly value: number | bigint }
  | { readonly kind: 'float'; readonly value: number }
  | { readonly kind: 'string'; readonly value: string }
  | { readonly kind: 'boolean'; readonly value: boolean }
  | { readonly kind: 'nil' }
  | { readonly kind: 'name'; readonly name: string; readonly at: number }
  /** What a predicate is asked about: `#`. */
  | { readonly kind: 'item' }
  | { readonly kind: 'array'; readonly items: readonly Node[] }
  | { readonly kind: 'map'; readonly pairs: readonly { readonly key: Node; readonly value: Node }[] }
  | { readonly kind: 'unary'; readonly operator: string; readonly operand: Node; readonly at: number }
  | {
      readonly kind: 'binary'
      readonly operator: string
      readonly left: Node
      readonly right: Node
      readonly at: number
    }
  | { readonly kind: 'condition'; readonly test: Node; readonly yes: Node; readonly no: Node }
  | {
      readonly kind: 'member'
      readonly of: Node
      readonly key: Node
      readonly isOptional: boolean
      readonly at: number
    }
  | {
      readonly kind: 'slice'
      readonly of: Node
      readonly from: Node | undefined
      readonly to: Node | undefined
      readonly at: number
    }
  | { readonly kind: 'call'; readonly fn: string; readonly args: readonly Node[]; readonly at: number }
  | { readonly kind: 'closure'; readonly body: Node }
  | { readonly kind: 'let'; readonly name: string; readonly value: Node; readonly body: Node }

const SOURCE_LENGTH_MAX = 64 * 1024
const DEPTH_MAX = 200
/** Of the tree: long chains of operators nest without a bracket. What goes through trees recurses. */
const TREE_DEPTH_MAX = 1000

/** Left binding power; a higher one binds tighter. */
const BINARY: Readonly<Record<string, number>> = {
  '|': 1,
  '??': 5,
  or: 10,
  '||': 10,
  and: 15,
  '&&': 15,
  '==': 20,
  '!=': 20,
  '<': 20,
  '>': 20,
  '<=': 20,
  '>=': 20,
  in: 20,
  'not in': 20,
  matches: 20,
  contains: 20,
  startsWith: 20,
  endsWith: 20,
  '..': 25,
  '+': 30,
  '-': 30,
  '*': 60,
  '/': 60,
  '%': 60,
  '**': 100,
  '^': 100,
}
const UNARY: Readonly<Record<string, number>> = { not: 50, '!': 50, '-': 90, '+': 90 }
const WORDS = new Set(['and', 'or', 'not', 'in', 'matches', 'contains', 'startsWith', 'endsWith', 'let', 'if', 'else'])

/** @throws ExprError */
export function parseExpr(text: string): Node {
  if (text.length > SOURCE_LENGTH_MAX) throw new ExprError(`an expression has at most ${SOURCE_LENGTH_MAX} characters`)
  const root = new Parser(tokensOf(text)).parse()
  if (isDeeperThan(root, TREE_DEPTH_MAX)) {
    throw new ExprError(`an expression nests at most ${TREE_DEPTH_MAX} levels deep, chains of operators included`)
  }
  return root
}

function isDeeperThan(root: Node, depthMax: number): boolean {
  const waiting = [{ node: root, depth: 1 }]
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const { node, depth } = next
    if (depth > depthMax) return true
    for (const child of childrenOf(node)) waiting.push({ node: child, depth: depth + 1 })
  }
  return false
}

function childrenOf(node: Node): readonly Node[] {
  switch (node.kind) {
    case 'array':
      return node.items
    case 'map':
      return node.pairs.flatMap(({ key, value }) => [key, value])
    case 'unary':
      return [node.operand]
    case 'binary':
      return [node.left, node.right]
    case 'condition':
      // Of `a ?: b` the test is the result too: one tree in two places.
      return node.test === node.yes ? [node.test, node.no] : [node.test, node.yes, node.no]
    case 'member':
      return [node.of, node.key]
    case 'slice':
      return [node.of, node.from, node.to].filter((child) => child !== undefined)
    case 'call':
      return node.args
    case 'closure':
      return [node.body]
    case 'let':
      return [node.value, node.body]
    default:
      return []
  }
}

class Parser {
  readonly #tokens: readonly Token[]
  #index = 0
  #depth = 0
  /** Where a `{` has turned out to open no predicate: each is tried once, or nested ones would take exponential time. */
  readonly #noPredicates = new Set<number>()

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens
  }

  parse(): Node {
    const node = this.#sequence()
    if (this.#token.kind !== 'end') this.#unexpected()
    return node
  }

  get #token(): Token {
    return this.#tokens[this.#index] as Token
  }

  #is(value: string): boolean {
    const token = this.#token
    return (token.kind === 'operator' || token.kind === 'name') && token.value === value
  }

  #accept(value: string): boolean {
    if (!this.#is(value)) return false
    this.#index++
    return true
  }

  #expect(value: string): void {
    if (!this.#accept(value)) this.#unexpected(`expected "${value}"`)
  }

  #unexpected(wanted = ''): never {
    const token = this.#token
    const found = token.kind === 'end' ? 'the end' : JSON.stringify('value' in token ? token.value : '')
    throw new ExprError(`unexpected ${found} at ${place(token.at)}${wanted === '' ? '' : `; ${wanted}`}`)
  }

  #name(): string {
    const token = this.#token
    if (token.kind !== 'name') return this.#unexpected('expected a name')
    this.#index++
    return token.value
  }

  #nested<T>(read: () => T): T {
    if (++this.#depth > DEPTH_MAX) throw new ExprError(`an expression nests at most ${DEPTH_MAX} levels deep`)
    const result = read()
    this.#depth--
    return result
  }

  /** `let a = 1; body` */
  #sequence(): Node {
    return this.#nested(() => {
      if (!this.#is('let')) return this.#conditional()
      this.#index++
      const name = this.#name()
      this.#expect('=')
      const value = this.#conditional()
      this.#expect(';')
      return { kind: 'let', name, value, body: this.#sequence() }
    })
  }

  #conditional(): Node {
    return this.#nested(() => {
      if (this.#is('if')) return this.#ifElse()
      const test = this.#binary(0)
      if (!this.#accept('?')) return test
      if (this.#accept(':')) return { kind: 'condition', test, yes: test, no: this.#conditional() }
      const yes = this.#conditional()
      this.#expect(':')
      return { kind: 'condition', test, yes, no: this.#conditional() }
    })
  }

  #ifElse(): Node {
    this.#expect('if')
    const test = this.#binary(0)
    this.#expect('{')
    const yes = this.#sequence()
    this.#expect('}')
    this.#expect('else')
    if (this.#is('if')) return { kind: 'condition', test, yes, no: this.#nested(() => this.#ifElse()) }
    this.#expect('{')
    const no = this.#sequence()
    this.#expect('}')
    return { kind: 'condition', test, yes, no }
  }

  /** The binary operator here: its name and how many tokens it takes. */
  #operator(): { name: string; length: number } | undefined {
    const token = this.#token
    if (token.kind !== 'operator' && token.kind !== 'name') return undefined
    if (token.value === 'not') {
      const next = this.#tokens[this.#index + 1]
      const isNotIn = next?.kind === 'name' && next.value === 'in'
      return isNotIn ? { name: 'not in', length: 2 } : undefined
    }
    return Object.hasOwn(BINARY, token.value) ? { name: token.value, length: 1 } : undefined
  }

  #binary(powerMin: number): Node {
    return this.#nested(() => {
      let left = this.#unary()
      for (let next = this.#operator(); next !== undefined; next = this.#operator()) {
        const power = BINARY[next.name] as number
        if (power < powerMin) break
        const { at } = this.#token
        this.#index += next.length
        if (next.name === '|') {
          left = this.#pipe(left, at)
          continue
        }
        const isRight = next.name === '**' || next.name === '^'
        const right = this.#binary(isRight ? power : power + 1)
        left = { kind: 'binary', operator: next.name, left, right, at }
      }
      return left
    })
  }

  /** `list | map(# * 2)`: the left side is the first argument. */
  #pipe(left: Node, at: number): Node {
    const fn = this.#name()
    if (!this.#is('(')) this.#unexpected('expected the arguments of a function')
    return this.#postfix({ kind: 'call', fn, args: [left, ...this.#args()], at })
  }

  #unary(): Node {
    const token = this.#token
    if ((token.kind === 'operator' || token.kind === 'name') && Object.hasOwn(UNARY, token.value)) {
      this.#index++
      const operand = this.#nested(() => this.#binary(UNARY[token.value] as number))
      return { kind: 'unary', operator: token.value === '!' ? 'not' : token.value, operand, at: token.at }
    }
    return this.#postfix(this.#primary())
  }

  #postfix(start: Node): Node {
    let node = start
    while (true) {
      const { at } = this.#token
      if (this.#accept('.') || this.#is('?.')) {
        const isOptional = this.#accept('?.')
        if (isOptional && this.#accept('[')) node = this.#bracket(node, at, true)
        else node = { kind: 'member', of: node, key: { kind: 'string', value: this.#name() }, isOptional, at }
      } else if (this.#accept('[')) node = this.#bracket(node, at, false)
      else return node
    }
  }

  /** Behind the `[`. */
  #bracket(of: Node, at: number, isOptional: boolean): Node {
    let from: Node | undefined
    if (!this.#is(':')) from = this.#conditional()
    if (this.#accept(':')) {
      const to = this.#is(']') ? undefined : this.#conditional()
      this.#expect(']')
      return { kind: 'slice', of, from, to, at }
    }
    this.#expect(']')
    return { kind: 'member', of, key: from as Node, isOptional, at }
  }

  #primary(): Node {
    const token = this.#token
    switch (token.kind) {
      case 'integer':
        this.#index++
        return { kind: 'integer', value: token.value }
      case 'float':
        this.#index++
        return { kind: 'float', value: token.value }
      case 'string':
        this.#index++
        return { kind: 'string', value: token.value }
      case 'name':
        return this.#named(token)
      case 'operator':
        return this.#bracketed(token)
      case 'end':
        return this.#unexpected()
    }
  }

  #named(token: { value: string; at: number }): Node {
    if (WORDS.has(token.value)) return token.value === 'if' ? this.#ifElse() : this.#unexpected()
    this.#index++
    switch (token.value) {
      case 'true':
      case 'false':
        return { kind: 'boolean', value: token.value === 'true' }
      case 'nil':
        return { kind: 'nil' }
    }
    if (this.#is('(')) return { kind: 'call', fn: token.value, args: this.#args(), at: token.at }
    return { kind: 'name', name: token.value, at: token.at }
  }

  #bracketed(token: { value: string; at: number }): Node {
    this.#index++
    switch (token.value) {
      case '(': {
        const node = this.#sequence()
        this.#expect(')')
        return node
      }
      case '[':
        return { kind: 'array', items: this.#list(']', () => this.#conditional()) }
      case '{':
        return { kind: 'map', pairs: this.#list('}', () => this.#pair()) }
      case '#':
        return { kind: 'item' }
      // A field of the item: `{.price > 3}`.
      case '.':
        return {
          kind: 'member',
          of: { kind: 'item' },
          key: { kind: 'string', value: this.#name() },
          isOptional: false,
          at: token.at,
        }
    }
    this.#index--
    return this.#unexpected()
  }

  #list<T>(end: string, read: () => T): T[] {
    const items: T[] = []
    while (!this.#accept(end)) {
      items.push(this.#nested(read))
      if (!this.#is(end)) this.#expect(',')
    }
    return items
  }

  #pair(): { key: Node; value: Node } {
    const token = this.#token
    let key: Node
    if (token.kind === 'name' || token.kind === 'string') {
      this.#index++
      key = { kind: 'string', value: token.value }
    } else if (token.kind === 'integer') {
      this.#index++
      key = { kind: 'string', value: String(token.value) }
    } else if (this.#accept('(')) {
      key = this.#conditional()
      this.#expect(')')
    } else return this.#unexpected('expected a key')
    this.#expect(':')
    return { key, value: this.#conditional() }
  }

  #args(): Node[] {
    this.#expect('(')
    return this.#list(')', () => this.#argument())
  }

  /** A predicate in braces, or with `#` or a leading `.` in it without them. */
  #argument(): Node {
    if (this.#is('{') && !this.#noPredicates.has(this.#index)) {
      const start = this.#index
      const depth = this.#depth
      try {
        this.#index++
        const body = this.#sequence()
        this.#expect('}')
        return { kind: 'closure', body }
      } catch (thrown) {
        // `{a: 1}` is a map and no predicate.
        if (!(thrown instanceof ExprError)) throw thrown
        this.#noPredicates.add(start)
        this.#index = start
        this.#depth = depth
      }
    }
    return this.#conditional()
  }
}
