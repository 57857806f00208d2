// Evaluates expressions. Nothing here can run for long: steps, what they look at, and the size of what is made are bounded.
// lua-libraries.md §15.

import { RE2JS } from 're2js'
import { builtins } from './builtins.ts'
import { ExprError, place } from './lexer.ts'
import type { Node } from './parser.ts'
import {
  characters,
  type ExprMap,
  type ExprValue,
  equal,
  exactOf,
  float,
  integer,
  isArray,
  isIndex,
  isInteger,
  isMap,
  isNumber,
  lengthOf,
  numberOf,
  show,
  typeName,
} from './values.ts'

const STEPS_MAX = 1_000_000
const ITEMS_MAX = 1_000_000
/** Items of arrays and maps that are looked at, and texts by `CHARACTERS_PER_ITEM`: well below a second. */
const LOOKED_AT_MAX = 10_000_000
const CHARACTERS_PER_ITEM = 8
/** A character takes a matcher as many steps, at worst, as the pattern is long. */
const PATTERN_CHARACTERS_PER_ITEM = 32
const PATTERN_LENGTH_MAX = 64 * 1024
const TEXT_LENGTH_MAX = 16 * 1024 * 1024
const PATTERNS_MAX = 100

/** What a predicate sees, innermost first. */
interface Scope {
  readonly names: ReadonlyMap<string, ExprValue>
  readonly item: ExprValue
  readonly hasItem: boolean
}

/** What a closure is called with: the item, and names such as `#index` and `#acc`. */
export type Predicate = (item: ExprValue, names?: ReadonlyMap<string, ExprValue>) => ExprValue

export type Argument = { readonly value: ExprValue } | { readonly predicate: Predicate }

/** One evaluation: its environment and what it has used of its bounds. */
export class Evaluation {
  /** Undefined: there is none, and a name is a failure. */
  readonly #env: ExprMap | undefined
  readonly #patterns = new Map<string, ReturnType<typeof RE2JS.compile>>()
  #steps = 0
  #itemCount = 0
  #lookedAtCount = 0

  constructor(env: ExprMap | undefined) {
    this.#env = env
  }

  /** @throws ExprError */
  run(node: Node): ExprValue {
    return this.#value(node, { names: new Map(), item: undefined, hasItem: false })
  }

  /** Counts items that are about to be made. */
  spend(itemCount: number): void {
    this.#itemCount += itemCount
    if (this.#itemCount > ITEMS_MAX) throw new ExprError(`the expression makes more than ${ITEMS_MAX} items`)
  }

  /** Counts items that are about to be looked at. */
  readonly look = (itemCount: number): void => {
    this.#lookedAtCount += itemCount
    if (this.#lookedAtCount > LOOKED_AT_MAX) {
      throw new ExprError(`the expression looks at more than ${LOOKED_AT_MAX} items or pieces of text`)
    }
  }

  #lookAt(value: ExprValue): void {
    if (typeof value === 'string') this.look(value.length / CHARACTERS_PER_ITEM)
    else if (isArray(value)) this.look(value.length)
    else if (isMap(value)) this.look(value.size)
  }

  /** A text of this length is about to be made. */
  spendText(length: number): void {
    if (length > TEXT_LENGTH_MAX) throw new ExprError(`the expression makes a text of ${length} characters`)
    this.spend(Math.ceil(length / 64))
  }

  pattern(source: string): ReturnType<typeof RE2JS.compile> {
    const known = this.#patterns.get(source)
    if (known !== undefined) return known
    if (source.length > PATTERN_LENGTH_MAX) {
      throw new ExprError(`a pattern has at most ${PATTERN_LENGTH_MAX} characters`)
    }
    if (this.#patterns.size >= PATTERNS_MAX) this.#patterns.clear()
    let compiled: ReturnType<typeof RE2JS.compile>
    try {
      compiled = RE2JS.compile(source)
    } catch (thrown) {
      throw new ExprError(thrown instanceof Error ? thrown.message : 'not a regular expression')
    }
    this.#patterns.set(source, compiled)
    return compiled
  }

  #value(node: Node, scope: Scope): ExprValue {
    if (++this.#steps > STEPS_MAX) throw new ExprError(`the expression takes more than ${STEPS_MAX} steps`)
    switch (node.kind) {
      case 'integer':
        return node.value
      case 'float':
        return float(node.value)
      case 'string':
      case 'boolean':
        return node.value
      case 'nil':
        return undefined
      case 'name':
        return this.#name(node.name, node.at, scope)
      case 'item':
        if (!scope.hasItem) throw new ExprError('# stands for an item only inside a predicate')
        return scope.item
      case 'array':
        this.spend(node.items.length)
        return node.items.map((item) => this.#value(item, scope))
      case 'map':
        this.spend(node.pairs.length)
        return new Map(
          node.pairs.map(
            ({ key, value }) => [show(this.#value(key, scope), this.look), this.#value(value, scope)] as const,
          ),
        )
      case 'unary':
        return this.#unary(node, this.#value(node.operand, scope))
      case 'binary':
        return this.#binary(node, scope)
      case 'condition':
        return this.#condition(node, scope)
      case 'member':
        return this.#member(node, scope)
      case 'slice':
        return this.#slice(node, scope)
      case 'call':
        return this.#call(node, scope)
      case 'closure':
        throw new ExprError('a predicate can only be an argument of a function such as filter')
      case 'let': {
        this.look(scope.names.size)
        const names = new Map(scope.names).set(node.name, this.#value(node.value, scope))
        return this.#value(node.body, { ...scope, names })
      }
    }
  }

  #name(name: string, at: number, { names }: Scope): ExprValue {
    if (names.has(name)) return names.get(name)
    if (name === '$env') return this.#env ?? new Map()
    if (this.#env === undefined) throw new ExprError(`unknown name ${name} at ${place(at)}: there is no environment`)
    return this.#env.get(name)
  }

  #unary({ operator, at }: Node & { kind: 'unary' }, operand: ExprValue): ExprValue {
    if (operator === 'not') {
      if (typeof operand !== 'boolean') throw typeError('not', operand, at)
      return !operand
    }
    if (!isNumber(operand)) throw typeError(operator, operand, at)
    if (operator === '+') return operand
    if (isIndex(operand)) return -operand || 0
    return isInteger(operand) ? integer(-operand) : float(-numberOf(operand))
  }

  #condition({ test, yes, no }: Node & { kind: 'condition' }, scope: Scope): ExprValue {
    const value = this.#value(test, scope)
    // `a ?: b`: a, unless it is nil or false.
    if (test === yes) return value === undefined || value === false ? this.#value(no, scope) : value
    if (typeof value !== 'boolean') throw new ExprError(`a condition must be a bool, not ${typeName(value)}`)
    return this.#value(value ? yes : no, scope)
  }

  #binary(node: Node & { kind: 'binary' }, scope: Scope): ExprValue {
    const { operator, at } = node
    const left = this.#value(node.left, scope)
    switch (operator) {
      case 'and':
      case '&&':
        return this.#truth(left, operator, at) && this.#truth(this.#value(node.right, scope), operator, at)
      case 'or':
      case '||':
        return this.#truth(left, operator, at) || this.#truth(this.#value(node.right, scope), operator, at)
      case '??':
        return left === undefined ? this.#value(node.right, scope) : left
    }
    const right = this.#value(node.right, scope)
    switch (operator) {
      case '==':
        return equal(left, right, this.look)
      case '!=':
        return !equal(left, right, this.look)
      case 'in':
        return this.#within(left, right, at)
      case 'not in':
        return !this.#within(left, right, at)
      case '..':
        return this.#range(left, right, at)
      case 'contains':
      case 'startsWith':
      case 'endsWith':
      case 'matches':
        return this.#textTest(operator, left, right, at)
    }
    return this.#arithmetic(operator, left, right, at)
  }

  #truth(value: ExprValue, operator: string, at: number): boolean {
    if (typeof value !== 'boolean') throw typeError(operator, value, at)
    return value
  }

  #within(item: ExprValue, container: ExprValue, at: number): boolean {
    this.#lookAt(container)
    if (isArray(container)) return container.some((each) => equal(each, item, this.look))
    if (isMap(container)) return typeof item === 'string' && container.has(item)
    if (container === undefined) return false
    if (typeof container === 'string' && typeof item === 'string') return container.includes(item)
    throw typeError('in', container, at)
  }

  #range(from: ExprValue, to: ExprValue, at: number): ExprValue {
    if (!isIndex(from) || !isIndex(to)) throw typeError('..', isIndex(from) ? to : from, at)
    const count = Math.max(0, to - from + 1)
    this.spend(count)
    return Array.from({ length: count }, (_, i) => from + i)
  }

  #textTest(operator: string, left: ExprValue, right: ExprValue, at: number): boolean {
    if (typeof left !== 'string' || typeof right !== 'string') {
      throw typeError(operator, typeof left === 'string' ? right : left, at)
    }
    this.#lookAt(left)
    if (operator === 'contains') return left.includes(right)
    if (operator === 'startsWith') return left.startsWith(right)
    if (operator === 'endsWith') return left.endsWith(right)
    this.look(left.length * Math.ceil(right.length / PATTERN_CHARACTERS_PER_ITEM))
    return this.pattern(right).matcher(left).find()
  }

  #arithmetic(operator: string, left: ExprValue, right: ExprValue, at: number): ExprValue {
    if (typeof left === 'string' && typeof right === 'string') {
      this.#lookAt(left)
      const order = left < right ? -1 : left > right ? 1 : 0
      switch (operator) {
        case '+':
          this.spendText(left.length + right.length)
          return left + right
        case '<':
          return order < 0
        case '>':
          return order > 0
        case '<=':
          return order <= 0
        case '>=':
          return order >= 0
      }
    }
    if (!isNumber(left) || !isNumber(right)) {
      const types = `${typeName(left)} and ${typeName(right)}`
      throw new ExprError(`invalid operation ${operator} (mismatched types ${types}) at ${place(at)}`)
    }
    const a = numberOf(left)
    const b = numberOf(right)
    const [exactA, exactB] = [exactOf(left), exactOf(right)]
    const areIntegers = isInteger(left) && isInteger(right)
    const result = (value: number, work: (a: bigint, b: bigint) => bigint): ExprValue => {
      if (!areIntegers) return float(value)
      // What is safe came about safely: rounding leads out of that range, never into it.
      if (Number.isSafeInteger(value) && typeof left === 'number' && typeof right === 'number') return value || 0
      return integer(work(BigInt(left as number | bigint), BigInt(right as number | bigint)))
    }
    switch (operator) {
      case '+':
        return result(a + b, (x, y) => x + y)
      case '-':
        return result(a - b, (x, y) => x - y)
      case '*':
        return result(a * b, (x, y) => x * y)
      case '/':
        return float(a / b)
      case '%':
        if (!areIntegers) throw typeError('%', isInteger(left) ? right : left, at)
        if (b === 0) throw new ExprError(`integer divide by zero at ${place(at)}`)
        return result(a % b, (x, y) => x % y)
      case '**':
      case '^':
        return float(a ** b)
      case '<':
        return exactA < exactB
      case '>':
        return exactA > exactB
      case '<=':
        return exactA <= exactB
      case '>=':
        return exactA >= exactB
    }
    throw new ExprError(`unknown operator ${operator} at ${place(at)}`)
  }

  #member({ of, key, isOptional, at }: Node & { kind: 'member' }, scope: Scope): ExprValue {
    const container = this.#value(of, scope)
    if (container === undefined) {
      // Once a chain is optional, all of it is.
      if (isOptional || (of.kind === 'member' && isChainOptional(of))) return undefined
      const name = key.kind === 'string' ? key.value : 'a member'
      throw new ExprError(`cannot fetch ${name} from nil at ${place(at)}`)
    }
    const index = this.#value(key, scope)
    if (isMap(container)) return container.get(show(index, this.look))
    if (isArray(container)) {
      if (!isIndex(index)) throw new ExprError(`an array has no member ${show(index, this.look)} at ${place(at)}`)
      const position = index < 0 ? container.length + index : index
      if (position < 0 || position >= container.length) {
        throw new ExprError(`index out of range: ${index} (array length is ${container.length}) at ${place(at)}`)
      }
      return container[position]
    }
    throw new ExprError(`type ${typeName(container)} has no members at ${place(at)}`)
  }

  #slice({ of, from, to, at }: Node & { kind: 'slice' }, scope: Scope): ExprValue {
    const sliced = this.#value(of, scope)
    if (!isArray(sliced) && typeof sliced !== 'string') throw typeError('[:]', sliced, at)
    this.#lookAt(sliced)
    const hasPairs = typeof sliced === 'string' && lengthOf(sliced) < sliced.length
    if (hasPairs) this.look(sliced.length)
    const container = hasPairs ? characters(sliced) : sliced
    const bound = (node: Node | undefined, otherwise: number): number => {
      const value = node === undefined ? otherwise : this.#value(node, scope)
      if (!isIndex(value)) throw typeError('[:]', value, at)
      return Math.min(Math.max(value < 0 ? container.length + value : value, 0), container.length)
    }
    const begin = bound(from, 0)
    const end = Math.max(begin, bound(to, container.length))
    this.spend(end - begin)
    const slice = container.slice(begin, end)
    return hasPairs ? (slice as readonly string[]).join('') : slice
  }

  #call({ fn, args, at }: Node & { kind: 'call' }, scope: Scope): ExprValue {
    const builtin = builtins.get(fn)
    if (builtin === undefined) throw new ExprError(`unknown function ${fn} at ${place(at)}`)
    const given = args.map((arg, i): Argument => {
      const isPredicate = arg.kind === 'closure' || builtin.predicateAt === i
      if (isPredicate) return { predicate: this.#predicate(arg, scope) }
      const value = this.#value(arg, scope)
      this.#lookAt(value)
      return { value }
    })
    try {
      return builtin.run(given, this)
    } catch (thrown) {
      if (thrown instanceof ExprError) throw new ExprError(`${fn}: ${thrown.message}`)
      throw thrown
    }
  }

  #predicate(node: Node, scope: Scope): Predicate {
    const body = node.kind === 'closure' ? node.body : node
    return (item, names) => {
      this.look(scope.names.size + (isMap(item) ? item.size : 0))
      const inner = names === undefined ? scope.names : new Map([...scope.names, ...names])
      // Fields of the item can be named without anything before them.
      return this.#value(body, { names: isMap(item) ? withFields(inner, item) : inner, item, hasItem: true })
    }
  }
}

function withFields(names: ReadonlyMap<string, ExprValue>, item: ExprMap): ReadonlyMap<string, ExprValue> {
  return item.size === 0 ? names : new Map([...item, ...names])
}

function isChainOptional(node: Node & { kind: 'member' }): boolean {
  return node.isOptional || (node.of.kind === 'member' && isChainOptional(node.of))
}

function typeError(operator: string, value: ExprValue, at: number): ExprError {
  return new ExprError(`invalid operation ${operator} on ${typeName(value)} at ${place(at)}`)
}
