// Lua 5.3's grammar (manual §9) by recursive descent. Names are resolved on the way: each is a local variable, an upvalue, or a field of _ENV.

import type { Binary, CallNode, Expression, FunctionNode, LocalVariable, Statement, TableNode } from './ast.ts'
import { Lexer } from './lexer.ts'

/** Levels of blocks, functions and expressions. */
const DEPTH_MAX = 200
const LOCALS_MAX = 200
const UPVALUES_MAX = 255

const BLOCK_ENDS = new Set(['<eof>', 'end', 'else', 'elseif', 'until'])
/** How tightly operators bind to the left and to the right. */
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

export function parse(chunkName: string, source: string): FunctionNode {
  return new Parser(chunkName, source).chunk()
}

class Parser {
  readonly #lexer: Lexer
  #scope: Scope
  #depth = 0

  constructor(chunkName: string, source: string) {
    this.#lexer = new Lexer(chunkName, source)
    const node: FunctionNode = { parameters: [], isVararg: true, upvalues: [], body: [], line: 0, endLine: 0 }
    node.upvalues.push({ name: '_ENV', local: undefined, index: 0 })
    this.#scope = { node, parent: undefined, visible: [] }
  }

  chunk(): FunctionNode {
    const { node } = this.#scope
    this.#lexer.next()
    node.body = this.#block()
    if (this.#lexer.kind !== '<eof>') this.#lexer.failNear("'<eof>' expected")
    node.endLine = this.#lexer.line
    return node
  }

  // ---- words

  #take(kind: string): boolean {
    if (this.#lexer.kind !== kind) return false
    this.#lexer.next()
    return true
  }

  #expect(kind: string): void {
    if (!this.#take(kind)) this.#lexer.failNear(`'${kind}' expected`)
  }

  /** The end of what began with `what` in that line. */
  #close(kind: string, what: string, line: number): void {
    if (this.#take(kind)) return
    if (line === this.#lexer.line) this.#lexer.failNear(`'${kind}' expected`)
    this.#lexer.failNear(`'${kind}' expected (to close '${what}' at line ${line})`)
  }

  #name(): string {
    const { kind, text } = this.#lexer
    if (kind !== '<name>') this.#lexer.failNear('<name> expected')
    this.#lexer.next()
    return text
  }

  #enter(): void {
    if (++this.#depth > DEPTH_MAX) this.#limit('C levels', DEPTH_MAX)
  }

  #limit(what: string, limit: number): never {
    const { line, parent } = { line: this.#scope.node.line, parent: this.#scope.parent }
    const where = parent === undefined ? 'main function' : `function at line ${line}`
    return this.#lexer.failNear(`too many ${what} (limit is ${limit}) in ${where}`)
  }

  // ---- names

  #variable(name: string): LocalVariable {
    return { name, isCaptured: false, register: -1 }
  }

  #declare(variables: readonly LocalVariable[]): void {
    this.#scope.visible.push(...variables)
    if (this.#scope.visible.length > LOCALS_MAX) this.#limit('local variables', LOCALS_MAX)
  }

  #resolve(name: string, line: number): Expression {
    const found = this.#find(name, this.#scope)
    if (found === undefined) {
      const environment = this.#resolve('_ENV', line)
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
    const { visible } = this.#scope
    const before = visible.length
    const body = this.#statements()
    visible.length = before
    return body
  }

  #statements(): Statement[] {
    const body: Statement[] = []
    while (!BLOCK_ENDS.has(this.#lexer.kind)) {
      if (this.#lexer.kind === 'return') {
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
    const { line } = this.#lexer
    this.#lexer.next()
    const values = BLOCK_ENDS.has(this.#lexer.kind) || this.#lexer.kind === ';' ? [] : this.#expressions()
    this.#take(';')
    return { kind: 'return', values, line }
  }

  #statement(): Statement | undefined {
    const lexer = this.#lexer
    const { line } = lexer
    switch (lexer.kind) {
      case ';':
        lexer.next()
        return undefined
      case 'if':
        return this.#if(line)
      case 'while': {
        lexer.next()
        const condition = this.#expression()
        this.#expect('do')
        const body = this.#block()
        this.#close('end', 'while', line)
        return { kind: 'while', condition, body, line }
      }
      case 'do': {
        lexer.next()
        const body = this.#block()
        this.#close('end', 'do', line)
        return { kind: 'do', body, line }
      }
      case 'for':
        return this.#for(line)
      case 'repeat': {
        lexer.next()
        const { visible } = this.#scope
        const before = visible.length
        const body = this.#statements()
        this.#close('until', 'repeat', line)
        const condition = this.#expression()
        visible.length = before
        return { kind: 'repeat', body, condition, line }
      }
      case 'function':
        return this.#function(line)
      case 'local':
        lexer.next()
        return this.#take('function') ? this.#localFunction(line) : this.#local(line)
      case '::': {
        lexer.next()
        const label = this.#name()
        this.#expect('::')
        return { kind: 'label', label, line }
      }
      case 'break':
        lexer.next()
        return { kind: 'break', line }
      case 'goto': {
        lexer.next()
        return { kind: 'goto', label: this.#name(), line }
      }
      default:
        return this.#expressionStatement(line)
    }
  }

  #if(line: number): Statement {
    const branches: { condition: Expression; body: Statement[] }[] = []
    do {
      this.#lexer.next()
      const condition = this.#expression()
      this.#expect('then')
      branches.push({ condition, body: this.#block() })
    } while (this.#lexer.kind === 'elseif')
    const otherwise = this.#take('else') ? this.#block() : undefined
    this.#close('end', 'if', line)
    return { kind: 'if', branches, otherwise, line }
  }

  #for(line: number): Statement {
    const lexer = this.#lexer
    lexer.next()
    const names = [this.#name()]
    const { visible } = this.#scope
    const before = visible.length
    if (this.#take('=')) {
      const from = this.#expression()
      this.#expect(',')
      const to = this.#expression()
      const step = this.#take(',') ? this.#expression() : undefined
      this.#expect('do')
      const variable = this.#variable(names[0] as string)
      this.#declare([
        this.#variable('(for index)'),
        this.#variable('(for limit)'),
        this.#variable('(for step)'),
        variable,
      ])
      const body = this.#block()
      visible.length = before
      this.#close('end', 'for', line)
      return { kind: 'numericFor', variable, from, to, step, body, line }
    }
    if (lexer.kind !== ',' && lexer.kind !== 'in') lexer.failNear("'=' or 'in' expected")
    while (this.#take(',')) names.push(this.#name())
    this.#expect('in')
    // What is called stands in this line.
    const { line: callLine } = lexer
    const values = this.#expressions()
    this.#expect('do')
    const variables = names.map((name) => this.#variable(name))
    const hidden = ['(for generator)', '(for state)', '(for control)'].map((name) => this.#variable(name))
    this.#declare([...hidden, ...variables])
    const body = this.#block()
    visible.length = before
    this.#close('end', 'for', line)
    return { kind: 'genericFor', variables, values, body, line: callLine }
  }

  #function(line: number): Statement {
    this.#lexer.next()
    let target = this.#resolve(this.#name(), line)
    let isMethod = false
    while (this.#lexer.kind === '.' || this.#lexer.kind === ':') {
      isMethod = this.#lexer.kind === ':'
      this.#lexer.next()
      const { line: keyLine } = this.#lexer
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
    return { kind: 'localFunction', variable, fn: this.#functionBody(this.#lexer.line, false), line }
  }

  #local(line: number): Statement {
    const variables: LocalVariable[] = []
    do variables.push(this.#variable(this.#name()))
    while (this.#take(','))
    const values = this.#take('=') ? this.#expressions() : []
    this.#declare(variables)
    return { kind: 'local', variables, values, line }
  }

  #expressionStatement(line: number): Statement {
    const first = this.#suffixed()
    if (this.#lexer.kind !== '=' && this.#lexer.kind !== ',') {
      if (first.kind !== 'call') this.#lexer.failNear('syntax error')
      return { kind: 'call', call: first, line }
    }
    const targets = [first]
    let count = 1
    while (this.#take(',')) {
      targets.push(this.#suffixed())
      if (++count > DEPTH_MAX - this.#depth) this.#limit('C levels', DEPTH_MAX)
    }
    for (const { kind } of targets) {
      if (kind !== 'local' && kind !== 'upvalue' && kind !== 'index') this.#lexer.failNear('syntax error')
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
    const lexer = this.#lexer
    this.#enter()
    let left: Expression
    const { kind, line } = lexer
    if (kind === 'not' || kind === '-' || kind === '#' || kind === '~') {
      lexer.next()
      left = { kind: 'unary', operator: kind, a: this.#expression(UNARY_PRIORITY), line }
    } else left = this.#simple()
    for (;;) {
      const operator = lexer.kind
      const priority = PRIORITIES[operator]
      if (priority === undefined || priority[0] <= limit) break
      const { line: operatorLine } = lexer
      lexer.next()
      const right = this.#expression(priority[1])
      left =
        operator === 'and' || operator === 'or'
          ? { kind: operator, a: left, b: right, line: operatorLine }
          : { kind: 'binary', operator: operator as Binary, a: left, b: right, line: operatorLine }
    }
    this.#depth--
    return left
  }

  #simple(): Expression {
    const lexer = this.#lexer
    const { kind, line } = lexer
    switch (kind) {
      case '<number>': {
        const value = lexer.number
        lexer.next()
        return { kind: 'constant', value, line }
      }
      case '<string>': {
        const value = lexer.text
        lexer.next()
        return { kind: 'constant', value, line }
      }
      case 'nil':
      case 'true':
      case 'false':
        lexer.next()
        return { kind, line }
      case '...':
        if (!this.#scope.node.isVararg) lexer.failNear("cannot use '...' outside a vararg function")
        lexer.next()
        return { kind: 'vararg', line }
      case '{':
        return this.#table()
      case 'function':
        lexer.next()
        return { kind: 'function', fn: this.#functionBody(line, false), line }
      default:
        return this.#suffixed()
    }
  }

  #primary(): Expression {
    const lexer = this.#lexer
    const { kind, line } = lexer
    if (kind === '<name>') return this.#resolve(this.#name(), line)
    if (kind !== '(') lexer.failNear('unexpected symbol')
    lexer.next()
    const inner = this.#expression()
    this.#close(')', '(', line)
    return { kind: 'paren', a: inner, line }
  }

  #suffixed(): Expression {
    const lexer = this.#lexer
    // Calls stand in the line in which the expression begins.
    const { line } = lexer
    let left = this.#primary()
    for (;;) {
      switch (lexer.kind) {
        case '.': {
          lexer.next()
          const { line: keyLine } = lexer
          left = {
            kind: 'index',
            object: left,
            key: { kind: 'constant', value: this.#name(), line: keyLine },
            line: keyLine,
          }
          break
        }
        case '[': {
          lexer.next()
          const key = this.#expression()
          this.#expect(']')
          left = { kind: 'index', object: left, key, line: lexer.lastLine }
          break
        }
        case ':': {
          lexer.next()
          const method = this.#name()
          left = this.#call(left, method, line)
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
    const lexer = this.#lexer
    let args: Expression[]
    if (lexer.kind === '<string>') {
      args = [{ kind: 'constant', value: lexer.text, line: lexer.line }]
      lexer.next()
    } else if (lexer.kind === '{') args = [this.#table()]
    else {
      if (lexer.kind !== '(') lexer.failNear('function arguments expected')
      lexer.next()
      args = lexer.kind === ')' ? [] : this.#expressions()
      this.#close(')', '(', line)
    }
    return { kind: 'call', fn, method, args, line }
  }

  #table(): TableNode {
    const lexer = this.#lexer
    const { line } = lexer
    lexer.next()
    const items: { key: Expression | undefined; value: Expression }[] = []
    while (lexer.kind !== '}') {
      let key: Expression | undefined
      if (lexer.kind === '[') {
        lexer.next()
        key = this.#expression()
        this.#expect(']')
        this.#expect('=')
      } else if (lexer.kind === '<name>' && lexer.peek() === '=') {
        key = { kind: 'constant', value: lexer.text, line: lexer.line }
        lexer.next()
        lexer.next()
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
    this.#expect('(')
    while (this.#lexer.kind !== ')') {
      if (this.#take('...')) {
        node.isVararg = true
        break
      }
      node.parameters.push(this.#variable(this.#name()))
      if (!this.#take(',')) break
      if (this.#lexer.kind === ')') this.#lexer.failNear('<name> expected')
    }
    this.#expect(')')
    this.#declare(node.parameters)
    node.body = this.#block()
    node.endLine = this.#lexer.line
    this.#close('end', 'function', line)
    this.#scope = outer
    return node
  }
}
