// Lua 5.3's grammar (manual §9) and that of annotations (lua-core.md §3) by recursive descent, in one pass. Names are resolved on the way: each
// is a local variable, an upvalue, a field of _ENV, or a declared type. Of annotations nothing remains but the declared types that are values.

import type { ChunkTypes } from '../../base/type-node.ts'
import { type Declared, freeName, Scopes } from '../annotations/scopes.ts'
import { TypeParser } from '../annotations/type-parser.ts'
import type {
  Binary,
  CallNode,
  ConstantNode,
  Expression,
  FunctionNode,
  LocalVariable,
  Statement,
  TableNode,
} from './ast.ts'
import { Reader } from './words.ts'

/** Levels of blocks, functions and expressions. */
const DEPTH_MAX = 200
const LOCALS_MAX = 200
const UPVALUES_MAX = 255

const BLOCK_ENDS = new Set(['<eof>', 'end', 'else', 'elseif', 'until'])
/** How tightly operators bind to the left and to the right. */
const COMPARISONS: ReadonlySet<string> = new Set(['<', '<=', '>', '>=', '==', '~='])
const PRIORITIES: Readonly<Record<string, readonly [number, number]>> = {
  or: [1, 1],
  and: [2, 2],
  '<': [3, 3],
  '>': [3, 3],
  '<=': [3, 3],
  '>=': [3, 3],
  '~=': [3, 3],
  '==': [3, 3],
  '|': [4, 4],
  '~': [5, 5],
  '&': [6, 6],
  '<<': [7, 7],
  '>>': [7, 7],
  '..': [9, 8],
  '+': [10, 10],
  '-': [10, 10],
  '*': [11, 11],
  '/': [11, 11],
  '//': [11, 11],
  '%': [11, 11],
  '^': [14, 13],
}
const UNARY_PRIORITY = 12

interface Scope {
  readonly node: FunctionNode
  readonly parent: Scope | undefined
  /** Visible variables, innermost last. */
  readonly visible: LocalVariable[]
}

/** What would be the arguments of a call if nothing stood before it. */
const ARGUMENTS = new Set(['(', '{', '<string>'])

/** A declaration that may become a call, with what is in scope where it stands. */
interface Declaration {
  readonly declared: Declared
  readonly scope: Scope
  readonly body: Statement[]
  readonly line: number
}

interface Chunk {
  readonly main: FunctionNode
  /** The declared types whose values it uses. */
  readonly types: ChunkTypes | undefined
}

/** @throws LuaSyntaxError */
export function parse(chunkName: string, source: string): Chunk {
  return new Parser(chunkName, source).chunk()
}

class Parser {
  readonly #reader: Reader
  readonly #types: TypeParser
  readonly #declaredTypes = new Scopes()
  readonly #declarations: Declaration[] = []
  /** Where a declared type is a value: the name of the table of types, and the key, are known in the end. */
  readonly #references: { table: ConstantNode; key: ConstantNode; declared: Declared }[] = []
  /** Whether names may mean declared types. */
  #tracksTypes: boolean
  #scope: Scope
  #depth = 0

  constructor(chunkName: string, source: string) {
    this.#reader = new Reader(chunkName, source)
    this.#tracksTypes = this.#reader.tokens.mayDeclareTypes
    this.#types = new TypeParser(this.#reader.cursor, {
      expression: () => this.#inType(() => this.#expression(), 'expression'),
      statements: () => this.#inType(() => this.#statements(), 'statement'),
    })
    this.#scope = mainScope()
  }

  chunk(): Chunk {
    const { node } = this.#scope
    this.#reader.resume()
    node.body = this.#block()
    if (this.#reader.kind !== '<eof>') this.#reader.failNear('<eof> expected')
    node.endLine = this.#reader.line
    return { main: node, types: this.#finishTypes() }
  }

  // ---- words

  #take(kind: string): boolean {
    if (this.#reader.kind !== kind) return false
    this.#reader.next()
    return true
  }

  #expect(kind: string): void {
    if (!this.#take(kind)) this.#reader.failNear(`'${kind}' expected`)
  }

  /** The end of what began with `what` in that line. */
  #close(kind: string, what: string, line: number): void {
    if (this.#take(kind)) return
    if (line === this.#reader.line) this.#reader.failNear(`'${kind}' expected`)
    this.#reader.failNear(`'${kind}' expected (to close '${what}' at line ${line})`)
  }

  #name(): string {
    const { kind, text } = this.#reader
    if (kind !== '<name>') this.#reader.failNear('<name> expected')
    this.#reader.next()
    return text
  }

  #enter(): void {
    if (++this.#depth > DEPTH_MAX) this.#limit('C levels', DEPTH_MAX)
  }

  #limit(what: string, limit: number): never {
    const { line, parent } = { line: this.#scope.node.line, parent: this.#scope.parent }
    const where = parent === undefined ? 'main function' : `function at line ${line}`
    return this.#reader.failNear(`too many ${what} (limit is ${limit}) in ${where}`)
  }

  // ---- names

  #variable(name: string): LocalVariable {
    return { name, isCaptured: false, register: -1 }
  }

  #declare(variables: readonly LocalVariable[]): void {
    this.#scope.visible.push(...variables)
    if (this.#tracksTypes) for (const { name } of variables) this.#declaredTypes.variable(name)
    if (this.#scope.visible.length > LOCALS_MAX) this.#limit('local variables', LOCALS_MAX)
  }

  #openBlock(): number {
    if (this.#tracksTypes) this.#declaredTypes.open()
    return this.#scope.visible.length
  }

  #closeBlock(visibleCount: number): void {
    if (this.#tracksTypes) this.#declaredTypes.close()
    this.#scope.visible.length = visibleCount
  }

  #resolve(name: string, line: number): Expression {
    const declared = this.#tracksTypes ? this.#declaredTypes.used(name) : undefined
    return declared === undefined ? this.#resolveVariable(name, line) : this.#typeValue(declared, line)
  }

  #resolveVariable(name: string, line: number): Expression {
    const found = this.#find(name, this.#scope)
    if (found === undefined) {
      const environment = this.#resolveVariable('_ENV', line)
      return { kind: 'index', object: environment, key: { kind: 'constant', value: name, line }, line }
    }
    if (typeof found === 'number') return { kind: 'upvalue', index: found, name, line }
    return { kind: 'local', variable: found, line }
  }

  /** A variable of the scope, the index of an upvalue, or undefined: a global. */
  #find(name: string, scope: Scope): LocalVariable | number | undefined {
    const { visible, node } = scope
    for (let i = visible.length - 1; i >= 0; i--) if (visible[i]?.name === name) return visible[i]
    const known = node.upvalues.findIndex((upvalue) => upvalue.name === name)
    if (known >= 0) return known
    if (scope.parent === undefined) return undefined
    const outer = this.#find(name, scope.parent)
    if (outer === undefined) return undefined
    if (node.upvalues.length >= UPVALUES_MAX) this.#limit('upvalues', UPVALUES_MAX)
    if (typeof outer === 'number') return node.upvalues.push({ name, local: undefined, index: outer }) - 1
    outer.isCaptured = true
    return node.upvalues.push({ name, local: outer, index: 0 }) - 1
  }

  // ---- statements

  #block(): Statement[] {
    const before = this.#openBlock()
    const body = this.#statements()
    this.#closeBlock(before)
    return body
  }

  #statements(): Statement[] {
    const body: Statement[] = []
    while (!BLOCK_ENDS.has(this.#reader.kind)) {
      if (this.#reader.kind === 'return') {
        body.push(this.#return())
        break
      }
      this.#enter()
      const statement = this.#statement()
      this.#depth--
      if (statement !== undefined) body.push(statement)
    }
    return body
  }

  #return(): Statement {
    const { line } = this.#reader
    this.#reader.next()
    const values = BLOCK_ENDS.has(this.#reader.kind) || this.#reader.kind === ';' ? [] : this.#expressions()
    this.#take(';')
    return { kind: 'return', values, line }
  }

  #statement(): Statement | undefined {
    const reader = this.#reader
    const { line } = reader
    switch (reader.kind) {
      case ';':
        reader.next()
        return undefined
      case 'if':
        return this.#if(line)
      case 'while': {
        reader.next()
        const condition = this.#expression()
        this.#expect('do')
        const body = this.#block()
        this.#close('end', 'while', line)
        return { kind: 'while', condition, body, line }
      }
      case 'do': {
        reader.next()
        const body = this.#block()
        this.#close('end', 'do', line)
        return { kind: 'do', body, line }
      }
      case 'for':
        return this.#for(line)
      case 'repeat': {
        reader.next()
        const before = this.#openBlock()
        const body = this.#statements()
        this.#close('until', 'repeat', line)
        const condition = this.#expression()
        this.#closeBlock(before)
        return { kind: 'repeat', body, condition, line }
      }
      case 'function':
        return this.#function(line)
      case 'local':
        reader.next()
        return this.#take('function') ? this.#localFunction(line) : this.#local(line)
      case '::': {
        reader.next()
        const label = this.#name()
        this.#expect('::')
        return { kind: 'label', label, line }
      }
      case 'break':
        reader.next()
        return { kind: 'break', line }
      case 'goto': {
        reader.next()
        return { kind: 'goto', label: this.#name(), line }
      }
      default:
        return this.#declaration(line) ?? this.#expressionStatement(line)
    }
  }

  #if(line: number): Statement {
    const branches: { condition: Expression; body: Statement[] }[] = []
    do {
      this.#reader.next()
      const condition = this.#expression()
      this.#expect('then')
      branches.push({ condition, body: this.#block() })
    } while (this.#reader.kind === 'elseif')
    const otherwise = this.#take('else') ? this.#block() : undefined
    this.#close('end', 'if', line)
    return { kind: 'if', branches, otherwise, line }
  }

  #for(line: number): Statement {
    const reader = this.#reader
    reader.next()
    const names = [this.#name()]
    if (this.#take('=')) {
      const from = this.#expression()
      this.#expect(',')
      const to = this.#expression()
      const step = this.#take(',') ? this.#expression() : undefined
      this.#expect('do')
      const { lastLine: doLine } = reader
      const before = this.#openBlock()
      const variable = this.#variable(names[0] as string)
      this.#declare([
        this.#variable('(for index)'),
        this.#variable('(for limit)'),
        this.#variable('(for step)'),
        variable,
      ])
      const body = this.#block()
      this.#closeBlock(before)
      this.#close('end', 'for', line)
      return { kind: 'numericFor', variable, from, to, step, body, doLine, line }
    }
    if (reader.kind !== ',' && reader.kind !== 'in') reader.failNear("'=' or 'in' expected")
    while (this.#take(',')) names.push(this.#name())
    this.#expect('in')
    // What is called stands in this line.
    const { line: callLine } = reader
    const values = this.#expressions()
    this.#expect('do')
    const variables = names.map((name) => this.#variable(name))
    const hidden = ['(for generator)', '(for state)', '(for control)'].map((name) => this.#variable(name))
    const before = this.#openBlock()
    this.#declare([...hidden, ...variables])
    const body = this.#block()
    this.#closeBlock(before)
    this.#close('end', 'for', line)
    return { kind: 'genericFor', variables, values, body, line: callLine }
  }

  #function(line: number): Statement {
    this.#reader.next()
    let target = this.#resolve(this.#name(), line)
    let isMethod = false
    while (this.#reader.kind === '.' || this.#reader.kind === ':') {
      isMethod = this.#reader.kind === ':'
      this.#reader.next()
      const { line: keyLine } = this.#reader
      target = {
        kind: 'index',
        object: target,
        key: { kind: 'constant', value: this.#name(), line: keyLine },
        line: keyLine,
      }
      if (isMethod) break
    }
    const fn = this.#functionBody(line, isMethod)
    return { kind: 'assign', targets: [target], values: [{ kind: 'function', fn, line }], line }
  }

  #localFunction(line: number): Statement {
    const variable = this.#variable(this.#name())
    this.#declare([variable])
    return { kind: 'localFunction', variable, fn: this.#functionBody(this.#reader.line, false), line }
  }

  #local(line: number): Statement {
    const variables: LocalVariable[] = []
    do {
      variables.push(this.#variable(this.#name()))
      this.#annotation()
    } while (this.#take(','))
    const values = this.#take('=') ? this.#expressions() : []
    this.#declare(variables)
    return { kind: 'local', variables, values, line }
  }

  #expressionStatement(line: number): Statement {
    const first = this.#suffixed()
    if (this.#reader.kind !== '=' && this.#reader.kind !== ',') {
      if (first.kind !== 'call') this.#reader.failNear('syntax error')
      return { kind: 'call', call: first, line }
    }
    const targets = [first]
    let count = 1
    while (this.#take(',')) {
      targets.push(this.#suffixed())
      if (++count > DEPTH_MAX - this.#depth) this.#limit('C levels', DEPTH_MAX)
    }
    for (const { kind } of targets) {
      if (kind !== 'local' && kind !== 'upvalue' && kind !== 'index') this.#reader.failNear('syntax error')
    }
    this.#expect('=')
    return { kind: 'assign', targets, values: this.#expressions(), line }
  }

  // ---- expressions

  #expressions(): Expression[] {
    const list = [this.#expression()]
    while (this.#take(',')) list.push(this.#expression())
    return list
  }

  #expression(limit = 0): Expression {
    const reader = this.#reader
    this.#enter()
    let left: Expression
    const { kind, line } = reader
    if (kind === 'not' || kind === '-' || kind === '#' || kind === '~') {
      reader.next()
      left = { kind: 'unary', operator: kind, a: this.#expression(UNARY_PRIORITY), line }
    } else left = this.#simple()
    for (;;) {
      const operator = reader.kind
      const priority = PRIORITIES[operator]
      if (priority === undefined || priority[0] <= limit) break
      const { line: operatorLine } = reader
      reader.next()
      const right = this.#expression(priority[1])
      // Errors of a comparison tell the line in which it ends, those of other operators their own.
      const binaryLine = COMPARISONS.has(operator) ? reader.lastLine : operatorLine
      left =
        operator === 'and' || operator === 'or'
          ? { kind: operator, a: left, b: right, line: operatorLine }
          : { kind: 'binary', operator: operator as Binary, a: left, b: right, line: binaryLine }
    }
    this.#depth--
    return left
  }

  #simple(): Expression {
    const reader = this.#reader
    const { kind, line } = reader
    switch (kind) {
      case '<number>': {
        const value = reader.number
        reader.next()
        return this.#annotated({ kind: 'constant', value, line })
      }
      case '<string>': {
        const value = reader.text
        reader.next()
        return this.#annotated({ kind: 'constant', value, line })
      }
      case 'nil':
      case 'true':
      case 'false':
        reader.next()
        return this.#annotated({ kind, line })
      case '...':
        if (!this.#scope.node.isVararg) reader.failNear("cannot use '...' outside a vararg function")
        reader.next()
        return this.#annotated({ kind: 'vararg', line })
      case '{':
        return this.#annotated(this.#table())
      case 'function':
        reader.next()
        return this.#annotated({ kind: 'function', fn: this.#functionBody(line, false), line })
      default:
        return this.#suffixed()
    }
  }

  #primary(): Expression {
    const reader = this.#reader
    const { kind, line } = reader
    if (kind === '<name>') return this.#resolve(this.#name(), line)
    if (kind !== '(') reader.failNear('unexpected symbol')
    reader.next()
    const inner = this.#expression()
    this.#close(')', '(', line)
    return { kind: 'paren', a: inner, line }
  }

  #suffixed(): Expression {
    const reader = this.#reader
    // Calls stand in the line in which the expression begins.
    const { line } = reader
    let left = this.#primary()
    // Behind a cast the value is not indexed or called without parentheses.
    let isCast = false
    for (;;) {
      if (this.#mark()) continue
      if (this.#cast()) {
        isCast = true
        continue
      }
      if (isCast && reader.kind !== ':') return left
      switch (reader.kind) {
        case '.': {
          reader.next()
          const { line: keyLine } = reader
          left = {
            kind: 'index',
            object: left,
            key: { kind: 'constant', value: this.#name(), line: keyLine },
            line: keyLine,
          }
          break
        }
        case '[': {
          reader.next()
          const key = this.#expression()
          this.#expect(']')
          left = { kind: 'index', object: left, key, line: reader.lastLine }
          break
        }
        case ':': {
          reader.next()
          const method = this.#name()
          left = this.#call(left, method, line)
          isCast = false
          break
        }
        case '(':
        case '{':
        case '<string>':
          left = this.#call(left, undefined, line)
          break
        default:
          return left
      }
    }
  }

  #call(fn: Expression, method: string | undefined, line: number): CallNode {
    const reader = this.#reader
    let args: Expression[]
    if (reader.kind === '<string>') {
      args = [{ kind: 'constant', value: reader.text, line: reader.line }]
      reader.next()
    } else if (reader.kind === '{') args = [this.#table()]
    else {
      if (reader.kind !== '(') reader.failNear('function arguments expected')
      reader.next()
      args = reader.kind === ')' ? [] : this.#expressions()
      this.#close(')', '(', line)
    }
    return { kind: 'call', fn, method, args, line }
  }

  #table(): TableNode {
    const reader = this.#reader
    const { line } = reader
    reader.next()
    const items: { key: Expression | undefined; value: Expression }[] = []
    while (reader.kind !== '}') {
      let key: Expression | undefined
      if (reader.kind === '[') {
        reader.next()
        key = this.#expression()
        this.#expect(']')
        this.#expect('=')
      } else if (reader.kind === '<name>' && reader.peek() === '=') {
        key = { kind: 'constant', value: reader.text, line: reader.line }
        reader.next()
        reader.next()
      }
      items.push({ key, value: this.#expression() })
      if (!this.#take(',') && !this.#take(';')) break
    }
    this.#close('}', '{', line)
    return { kind: 'table', items, line }
  }

  #functionBody(line: number, isMethod: boolean): FunctionNode {
    const node: FunctionNode = { parameters: [], isVararg: false, upvalues: [], body: [], line, endLine: line }
    const outer = this.#scope
    this.#scope = { node, parent: outer, visible: [] }
    if (isMethod) node.parameters.push(this.#variable('self'))
    this.#generics()
    this.#expect('(')
    if (this.#reader.kind !== ')') this.#parameters(node)
    this.#expect(')')
    if (this.#reader.kind === ':') this.#type(() => this.#types.resultList())
    const before = this.#openBlock()
    this.#declare(node.parameters)
    node.body = this.#block()
    this.#closeBlock(before)
    node.endLine = this.#reader.line
    this.#close('end', 'function', line)
    this.#scope = outer
    return node
  }

  #parameters(node: FunctionNode): void {
    do {
      if (this.#take('...')) {
        node.isVararg = true
        this.#annotation()
        return
      }
      if (this.#reader.kind !== '<name>') this.#reader.failNear("<name> or '...' expected")
      node.parameters.push(this.#variable(this.#name()))
      this.#annotation()
    } while (this.#take(','))
  }

  // ---- annotations

  /** Passes over the current word, reads a type, and goes on behind it. */
  #type(read: () => unknown): void {
    const { cursor } = this.#reader
    cursor.next()
    read()
    this.#reader.resume()
  }

  /** `: T`, if it stands there. */
  #annotation(): void {
    if (this.#reader.kind === ':') this.#type(() => this.#types.type())
  }

  #generics(): void {
    if (this.#reader.kind !== '<') return
    this.#types.generics()
    this.#reader.resume()
  }

  /** A value that cannot be indexed or called, with marks and casts. */
  #annotated<T extends Expression>(value: T): T {
    while (this.#mark() || this.#cast());
    return value
  }

  /** `!`, if it stands there, but not the one of `!=`, which other languages have. */
  #mark(): boolean {
    const { cursor, kind } = this.#reader
    if (kind !== '!') return false
    if (cursor.kindAt(1) === '=' && cursor.touches(1)) throw cursor.error("unexpected '!=' (Lua writes '~=')")
    this.#reader.next()
    return true
  }

  /** `:: T` or `as T`, if it stands there. */
  #cast(): boolean {
    const { kind } = this.#reader
    if ((kind !== '::' && kind !== '<name>') || !this.#isCast()) return false
    this.#type(() => this.#types.castType())
    return true
  }

  /** A label looks like a cast: it is one when it begins a line or some `goto` names it. */
  #isCast(): boolean {
    const { cursor, tokens } = this.#reader
    if (cursor.kind === '<name>') {
      if (!cursor.isName('as') || !this.#types.canStart(1)) return false
      return !cursor.isFirstOnLine() || !ARGUMENTS.has(cursor.kindAt(1))
    }
    if (cursor.kindAt(1) !== '<name>' || cursor.kindAt(2) !== '::') return true
    if (cursor.isFirstOnLine() || tokens.gotoNames.has(cursor.textAt(1))) return false
    return !cursor.isFirstOnLine(3) && this.#types.canStart(3)
  }

  /** Reads Lua inside a type, of which nothing stays. */
  #inType(read: () => void, expected: string): void {
    const reader = this.#reader
    const { expected: outerExpected } = reader
    const { named } = this.#types
    const scope = this.#scope
    const depth = this.#depth
    const tracksTypes = this.#tracksTypes
    this.#scope = mainScope()
    this.#tracksTypes = false
    reader.expected = expected
    try {
      reader.resume()
      read()
    } finally {
      reader.expected = outerExpected
      this.#types.named = named
      this.#scope = scope
      this.#depth = depth
      this.#tracksTypes = tracksTypes
    }
  }

  // ---- declared types

  /** A declaration of a type, if one stands there. */
  #declaration(line: number): Statement | undefined {
    if (this.#reader.kind !== '<name>') return undefined
    const declaration = this.#types.declaration()
    if (declaration === undefined) return undefined
    const body: Statement[] = []
    if (this.#tracksTypes) {
      const declared = this.#declaredTypes.declare(declaration)
      this.#declarations.push({ declared, scope: copyOf(this.#scope), body, line })
    }
    this.#reader.resume()
    return { kind: 'do', body, line }
  }

  /** The field of the table of types that holds the type's value. */
  #typeValue(declared: Declared, line: number): Expression {
    const table: ConstantNode = { kind: 'constant', value: '', line }
    const key: ConstantNode = { kind: 'constant', value: '', line }
    this.#references.push({ table, key, declared })
    const object: Expression = { kind: 'index', object: this.#resolveVariable('_ENV', line), key: table, line }
    return { kind: 'index', object, key, line }
  }

  /** Once all is read: which declarations are values, under which keys, and which of them need the values of variables. */
  #finishTypes(): ChunkTypes | undefined {
    if (this.#declarations.length === 0) return undefined
    const types = this.#declaredTypes.finish(freeName(this.#reader.tokens.source))
    if (types === undefined) return undefined
    for (const { table, key, declared } of this.#references) {
      table.value = types.global
      key.value = declared.key as string
    }
    for (const declaration of this.#declarations) this.#bind(declaration, types.global)
    return types
  }

  /** A type that refers to variables gets their values where it is declared: `_TYPES.bind(key, ...)`. */
  #bind({ declared, scope, body, line }: Declaration, global: string): void {
    const { key, slots } = declared
    if (key === undefined || slots.length === 0) return
    this.#scope = scope
    const constant = (value: string): ConstantNode => ({ kind: 'constant', value, line })
    const table = this.#resolveVariable(global, line)
    const fn: Expression = { kind: 'index', object: table, key: constant('bind'), line }
    const args = [constant(key), ...slots.map((name) => this.#resolveVariable(name, line))]
    body.push({ kind: 'call', call: { kind: 'call', fn, method: undefined, args, line }, line })
  }
}

function mainScope(): Scope {
  const node: FunctionNode = { parameters: [], isVararg: true, upvalues: [], body: [], line: 0, endLine: 0 }
  node.upvalues.push({ name: '_ENV', local: undefined, index: 0 })
  return { node, parent: undefined, visible: [] }
}

/** As it is now, whatever becomes visible later. */
const copyOf = ({ node, parent, visible }: Scope): Scope => ({
  node,
  parent: parent === undefined ? undefined : copyOf(parent),
  visible: [...visible],
})
