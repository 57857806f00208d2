// From the tree to code for the machine. Registers are given as in "The Implementation of Lua 5.0": variables live in the lowest, values on
// their way in those above, like a stack. A variable that an inner function holds too lives in a box, and its register holds the box.

import { LuaSyntaxError } from '../engine.ts'
import type {
  Binary,
  CallNode,
  Expression,
  FunctionNode,
  IndexNode,
  LocalVariable,
  Statement,
  TableNode,
} from './ast.ts'
import { longConstants } from './long-strings.ts'
import { ArithmeticError, arithmetic, bitwise, isInteger, type Num, negate, toDouble, toInteger } from './number.ts'
import { FOR_ITERATOR, OP } from './opcodes.ts'
import { parse } from './parser.ts'
import { Proto } from './proto.ts'
import type { Val } from './value.ts'

const REGISTERS_MAX = 250
const LIST_FLUSH = 50
/** Instructions that a jump may pass. */
const JUMP_MAX = 131_071
const OPERATORS: readonly Binary[] = ['+', '-', '*', '%', '^', '/', '//', '&', '|', '~', '<<', '>>']
const FIRST_BITWISE = OPERATORS.indexOf('&')
const XOR = OPERATORS.indexOf('~')
const DIVISIONS: ReadonlySet<Binary> = new Set(['%', '/', '//'])
/** The most that a call may cost of the budget, whatever the function's length. */
const CALL_COST_MAX = 16

interface Block {
  readonly parent: Block | undefined
  readonly activeCount: number
  readonly isLoop: boolean
  /** Jumps of `break`. */
  readonly breaks: number[]
  readonly labels: Map<string, { pc: number; activeCount: number; line: number }>
  /** Jumps whose labels have not come yet. */
  gotos: { label: string; pc: number; line: number; activeCount: number }[]
}

/** @throws LuaSyntaxError */
export function compile(chunkName: string, source: string): Proto {
  try {
    const { main, types } = parse(chunkName, source)
    const proto = new FunctionCompiler(chunkName, main, undefined).finish()
    proto.types = types
    proto.longConstants = longConstants(proto)
    return proto
  } catch (error) {
    // An expression of thousands of operands.
    if (error instanceof RangeError) throw new LuaSyntaxError(chunkName, 1, 'function or expression is too complex')
    throw error
  }
}

class FunctionCompiler {
  readonly #chunkName: string
  readonly #node: FunctionNode
  readonly #parent: FunctionCompiler | undefined
  readonly #proto = new Proto()
  readonly #code: number[] = []
  readonly #lines: number[] = []
  readonly #constants = new Map<Val | string, number>()
  #active: LocalVariable[] = []
  #free = 0
  #block: Block

  constructor(chunkName: string, node: FunctionNode, parent: FunctionCompiler | undefined) {
    this.#chunkName = chunkName
    this.#node = node
    this.#parent = parent
    this.#block = this.#newBlock(undefined, false)
  }

  finish(): Proto {
    const { parameters, body, upvalues, isVararg, line, endLine } = this.#node
    const proto = this.#proto
    for (const variable of parameters) this.#activate(variable, this.#reserve(1, line))
    for (const variable of parameters) if (variable.isCaptured) this.#emit(OP.NEWBOX, variable.register, 0, 0, line)
    this.#statements(body)
    this.#emit(OP.RETURN0, 0, 0, 0, endLine)
    this.#undefinedGotos(this.#block)
    proto.code = Int32Array.from(this.#code)
    proto.lines = Int32Array.from(this.#lines)
    proto.upvalues = upvalues.map(({ name, local, index }) => ({ name, register: local?.register ?? -1, index }))
    proto.parameterCount = parameters.length
    proto.isVararg = isVararg
    proto.chunkName = this.#chunkName
    proto.line = line
    proto.endLine = endLine
    proto.cost = Math.min(CALL_COST_MAX, this.#code.length)
    return proto
  }

  #fail(text: string, line: number): never {
    throw new LuaSyntaxError(this.#chunkName, line, text)
  }

  // ---- code

  #emit(op: number, a: number, b: number, c: number, line: number): number {
    this.#lines.push(line)
    return this.#code.push(op | (a << 8) | (b << 16) | (c << 24)) - 1
  }

  #emitX(op: number, a: number, bx: number, line: number): number {
    this.#lines.push(line)
    return this.#code.push(op | (a << 8) | (bx << 16)) - 1
  }

  #word(value: number, line: number): void {
    this.#lines.push(line)
    this.#code.push(value | 0)
  }

  #jump(line: number): number {
    this.#lines.push(line)
    return this.#code.push(OP.JMP) - 1
  }

  get #pc(): number {
    return this.#code.length
  }

  #patch(jump: number, target: number): void {
    if (Math.abs(target - jump) > JUMP_MAX) this.#fail('control structure too long', this.#lines[jump] ?? 0)
    this.#code[jump] = OP.JMP | ((target - jump - 1) << 8)
  }

  #patchAll(jumps: readonly number[], target: number): void {
    for (const jump of jumps) this.#patch(jump, target)
  }

  #patchLoop(instruction: number, target: number, line: number): void {
    const offset = target - instruction - 1
    if (offset < -32768 || offset > 32767) this.#fail('control structure too long', line)
    this.#code[instruction] = ((this.#code[instruction] as number) & 0xffff) | (offset << 16)
  }

  #named(pc: number, ...names: (string | undefined)[]): void {
    if (names.some((name) => name !== undefined)) this.#proto.names[pc] = names
  }

  /** How error texts call the value. */
  #describe(node: Expression): string | undefined {
    switch (node.kind) {
      case 'local':
        return `local '${node.variable.name}'`
      case 'upvalue':
        return `upvalue '${node.name}'`
      case 'paren':
        return this.#describe(node.a)
      case 'index': {
        const { object, key } = node
        const name = key.kind === 'constant' && typeof key.value === 'string' ? key.value : '?'
        const isGlobal =
          (object.kind === 'upvalue' && object.name === '_ENV') ||
          (object.kind === 'local' && object.variable.name === '_ENV')
        return `${isGlobal ? 'global' : 'field'} '${name}'`
      }
      case 'and':
      case 'or':
        // Of the two only one can be meant.
        return isAlways(node.a, node.kind === 'and') ? this.#describe(node.b) : undefined
      case 'constant':
        return typeof node.value === 'string' ? `constant '${node.value}'` : undefined
      default:
        return undefined
    }
  }

  // ---- registers and constants

  #reserve(count: number, line: number): number {
    const first = this.#free
    this.#free += count
    if (this.#free > REGISTERS_MAX) this.#fail('function or expression needs too many registers', line)
    if (this.#free + 1 > this.#proto.size) this.#proto.size = this.#free + 1
    return first
  }

  #constant(value: Val): number {
    const { constants } = this.#proto
    // A float and an integer of the same value are two constants.
    const key =
      typeof value === 'object'
        ? `float ${String((value as { value: number }).value)} ${Object.is((value as { value: number }).value, -0)}`
        : typeof value === 'string'
          ? `"${value}`
          : value
    const known = this.#constants.get(key)
    if (known !== undefined) return known
    const index = constants.push(value) - 1
    this.#constants.set(key, index)
    return index
  }

  #activate(variable: LocalVariable, register: number): void {
    variable.register = register
    this.#active.push(variable)
  }

  /** Registers of active variables are below. */
  get #variableEnd(): number {
    const last = this.#active.at(-1)
    return last === undefined ? 0 : last.register + 1
  }

  // ---- blocks

  #newBlock(parent: Block | undefined, isLoop: boolean): Block {
    return { parent, activeCount: this.#active.length, isLoop, breaks: [], labels: new Map(), gotos: [] }
  }

  #open(isLoop: boolean): Block {
    this.#block = this.#newBlock(this.#block, isLoop)
    return this.#block
  }

  /** Leaves the variables of the block; the caller patches its breaks. */
  #close(): void {
    const block = this.#block
    const parent = block.parent as Block
    this.#active.length = block.activeCount
    this.#free = this.#variableEnd
    for (const pending of block.gotos) {
      parent.gotos.push({ ...pending, activeCount: Math.min(pending.activeCount, block.activeCount) })
    }
    this.#block = parent
    // Labels of the blocks around that came before.
    parent.gotos = parent.gotos.filter((pending) => !this.#resolveBack(pending))
  }

  #resolveBack({
    label,
    pc,
    line,
    activeCount,
  }: {
    label: string
    pc: number
    line: number
    activeCount: number
  }): boolean {
    const found = this.#block.labels.get(label)
    if (found === undefined) return false
    if (activeCount < found.activeCount) {
      const { name } = this.#active[activeCount] as LocalVariable
      this.#fail(`<goto ${label}> at line ${line} jumps into the scope of local '${name}'`, line)
    }
    this.#patch(pc, found.pc)
    return true
  }

  #undefinedGotos({ gotos }: Block): void {
    const first = gotos[0]
    if (first !== undefined)
      this.#fail(`no visible label '${first.label}' for <goto> at line ${first.line}`, first.line)
  }

  /** @param isSeenOn whether what follows the statements sees their variables */
  #statements(body: readonly Statement[], isSeenOn = false): void {
    let lastCode = body.length
    while (lastCode > 0 && body[lastCode - 1]?.kind === 'label') lastCode--
    for (const [i, statement] of body.entries()) {
      if (statement.kind === 'label') this.#label(statement, !isSeenOn && i >= lastCode)
      else this.#statement(statement)
      this.#free = this.#variableEnd
    }
  }

  #scoped(body: readonly Statement[]): void {
    this.#open(false)
    this.#statements(body)
    this.#close()
  }

  #label({ label, line }: Statement & { kind: 'label' }, isLast: boolean): void {
    const known = this.#block.labels.get(label)
    if (known !== undefined) this.#fail(`label '${label}' already defined on line ${known.line}`, line)
    // At the end of a block its variables are over.
    const activeCount = isLast ? this.#block.activeCount : this.#active.length
    this.#block.labels.set(label, { pc: this.#pc, activeCount, line })
    this.#block.gotos = this.#block.gotos.filter((pending) => !this.#resolveBack(pending))
  }

  // ---- statements

  #statement(node: Statement): void {
    const { line } = node
    switch (node.kind) {
      case 'local':
        return this.#local(node.variables, node.values, line)
      case 'localFunction': {
        const { variable } = node
        const register = this.#reserve(1, line)
        this.#activate(variable, register)
        if (!variable.isCaptured) return this.#function(node.fn, register, line)
        this.#emit(OP.LOADNIL, register, 0, 0, line)
        this.#emit(OP.NEWBOX, register, 0, 0, line)
        const value = this.#reserve(1, line)
        this.#function(node.fn, value, line)
        this.#emit(OP.SETBOX, register, value, 0, line)
        return
      }
      case 'assign':
        return this.#assign(node.targets, node.values, line)
      case 'call':
        this.#call(node.call, 1)
        return
      case 'do':
        return this.#scoped(node.body)
      case 'while': {
        const start = this.#pc
        const exits = this.#condition(node.condition, false)
        this.#free = this.#variableEnd
        const block = this.#open(true)
        this.#statements(node.body)
        this.#close()
        this.#patch(this.#jump(line), start)
        this.#patchAll(exits, this.#pc)
        this.#patchAll(block.breaks, this.#pc)
        return
      }
      case 'repeat': {
        const start = this.#pc
        const block = this.#open(true)
        this.#open(false)
        this.#statements(node.body, true)
        const again = this.#condition(node.condition, false)
        this.#close()
        this.#close()
        this.#patchAll(again, start)
        this.#patchAll(block.breaks, this.#pc)
        return
      }
      case 'if': {
        const ends: number[] = []
        for (const [i, { condition, body }] of node.branches.entries()) {
          const skips = this.#condition(condition, false)
          this.#free = this.#variableEnd
          this.#scoped(body)
          if (i < node.branches.length - 1 || node.otherwise !== undefined) ends.push(this.#jump(line))
          this.#patchAll(skips, this.#pc)
        }
        if (node.otherwise !== undefined) this.#scoped(node.otherwise)
        this.#patchAll(ends, this.#pc)
        return
      }
      case 'numericFor':
        return this.#numericFor(node)
      case 'genericFor':
        return this.#genericFor(node)
      case 'return':
        return this.#return(node.values, line)
      case 'break': {
        let block: Block | undefined = this.#block
        while (block !== undefined && !block.isLoop) block = block.parent
        if (block === undefined) this.#fail(`<break> at line ${line} not inside a loop`, line)
        block.breaks.push(this.#jump(line))
        return
      }
      case 'goto':
        return this.#goto(node.label, line)
      case 'label':
        return
    }
  }

  #goto(label: string, line: number): void {
    const pc = this.#jump(line)
    const found = this.#block.labels.get(label)
    if (found !== undefined) {
      this.#patch(pc, found.pc)
      return
    }
    // A label of a block around counts only if this one does not get such a label yet.
    this.#block.gotos.push({ label, pc, line, activeCount: this.#active.length })
  }

  #local(variables: readonly LocalVariable[], values: readonly Expression[], line: number): void {
    const first = this.#free
    this.#values(values, variables.length, line)
    for (const [i, variable] of variables.entries()) {
      this.#activate(variable, first + i)
      if (variable.isCaptured) this.#emit(OP.NEWBOX, first + i, 0, 0, line)
    }
  }

  /** Puts exactly `count` values into the next registers. */
  #values(values: readonly Expression[], count: number, line: number): void {
    const first = this.#free
    for (const [i, value] of values.entries()) {
      const isLast = i === values.length - 1
      if (isLast && isMulti(value) && i < count) {
        this.#multi(value, count - i + 1)
        this.#free = first + i
        this.#reserve(count - i, line)
        return
      }
      if (i < count) this.#toNext(value)
      else if (isMulti(value)) {
        this.#multi(value, 1)
        this.#free = first + count
      } else {
        this.#toNext(value)
        this.#free = first + count
      }
    }
    const missing = count - values.length
    if (missing > 0) {
      const from = this.#reserve(missing, line)
      this.#emit(OP.LOADNIL, from, missing - 1, 0, line)
    }
  }

  #assign(targets: readonly Expression[], values: readonly Expression[], line: number): void {
    const [target] = targets
    if (targets.length === 1 && values.length === 1 && target !== undefined) {
      const value = values[0] as Expression
      if (target.kind === 'local' && !target.variable.isCaptured) {
        const { register } = target.variable
        if (isAtomic(value)) this.#to(value, register)
        else {
          const from = this.#any(value)
          if (from !== register) this.#emit(OP.MOVE, register, from, 0, line)
        }
        return
      }
      if (target.kind === 'index') {
        const place = this.#place(target, false)
        this.#store(target, place, this.#any(value), target.line)
        return
      }
      this.#store(target, undefined, this.#any(value), line)
      return
    }
    const writesLocal = targets.some(({ kind }) => kind === 'local')
    const places = targets.map((each) => (each.kind === 'index' ? this.#place(each, writesLocal) : undefined))
    const first = this.#free
    this.#values(values, targets.length, line)
    for (let i = targets.length - 1; i >= 0; i--) this.#store(targets[i] as Expression, places[i], first + i, line)
  }

  /** Registers of object and key. @param mustCopy whether variables may change before they are used */
  #place({ object, key }: IndexNode, mustCopy: boolean): { object: number; key: number } {
    const isUpvalue = object.kind === 'upvalue' && isFieldName(key) && this.#smallConstant(key) !== undefined
    const inRegister = (node: Expression): number => (mustCopy ? this.#toNext(node) : this.#any(node))
    const objectRegister = isUpvalue ? -1 : inRegister(object)
    if (this.#smallConstant(key) !== undefined && isFieldName(key)) return { object: objectRegister, key: -1 }
    if (isSmallIndex(key)) return { object: objectRegister, key: -2 }
    return { object: objectRegister, key: inRegister(key) }
  }

  #store(target: Expression, place: { object: number; key: number } | undefined, value: number, line: number): void {
    if (target.kind === 'local') {
      const { register, isCaptured } = target.variable
      if (isCaptured) this.#emit(OP.SETBOX, register, value, 0, line)
      else if (register !== value) this.#emit(OP.MOVE, register, value, 0, line)
    } else if (target.kind === 'upvalue') this.#emit(OP.SETUP, value, target.index, 0, line)
    else if (target.kind === 'index' && place !== undefined) {
      const { object, key } = target
      const constant = place.key === -1 ? (this.#smallConstant(key) as number) : 0
      let pc: number
      if (place.object === -1 && object.kind === 'upvalue')
        pc = this.#emit(OP.SETTABUP, object.index, constant, value, line)
      else if (place.key === -1) pc = this.#emit(OP.SETFIELD, place.object, constant, value, line)
      else if (place.key === -2) pc = this.#emit(OP.SETI, place.object, (key as { value: number }).value, value, line)
      else pc = this.#emit(OP.SETTABLE, place.object, place.key, value, line)
      this.#named(pc, this.#describe(object))
    }
  }

  /** The index of a constant that fits eight bits. */
  #smallConstant(node: Expression): number | undefined {
    if (node.kind !== 'constant') return undefined
    const index = this.#constant(node.value)
    return index <= 255 ? index : undefined
  }

  #numericFor({ variable, from, to, step, body, doLine, line }: Statement & { kind: 'numericFor' }): void {
    const base = this.#free
    this.#toNext(from)
    this.#toNext(to)
    if (step === undefined) this.#to({ kind: 'constant', value: 1, line }, this.#reserve(1, line))
    else this.#toNext(step)
    const block = this.#open(true)
    for (let i = 0; i < 3; i++) this.#activate(hidden(), base + i)
    const prepare = this.#emitX(OP.FORPREP, base, 0, doLine)
    this.#open(false)
    this.#activate(variable, this.#reserve(1, line))
    if (variable.isCaptured) this.#emit(OP.NEWBOX, base + 3, 0, 0, line)
    this.#statements(body)
    this.#close()
    const loop = this.#emitX(OP.FORLOOP, base, 0, line)
    this.#patchLoop(loop, prepare + 1, line)
    this.#patchLoop(prepare, this.#pc, line)
    this.#close()
    this.#free = base
    this.#patchAll(block.breaks, this.#pc)
  }

  #genericFor({ variables, values, body, line }: Statement & { kind: 'genericFor' }): void {
    const base = this.#free
    this.#values(values, 3, line)
    const block = this.#open(true)
    for (let i = 0; i < 3; i++) this.#activate(hidden(), base + i)
    const enter = this.#jump(line)
    this.#open(false)
    // A call needs room for the function and its two arguments.
    this.#reserve(Math.max(7, variables.length), line)
    for (const [i, variable] of variables.entries()) this.#activate(variable, base + 3 + i)
    this.#free = base + 3 + variables.length
    for (const { isCaptured, register } of variables) if (isCaptured) this.#emit(OP.NEWBOX, register, 0, 0, line)
    const start = this.#pc - variables.filter(({ isCaptured }) => isCaptured).length
    this.#statements(body)
    this.#close()
    this.#patch(enter, this.#pc)
    const call = this.#emit(OP.TFORCALL, base, 0, variables.length, line)
    this.#named(call, FOR_ITERATOR)
    const loop = this.#emitX(OP.TFORLOOP, base, 0, line)
    this.#patchLoop(loop, start, line)
    this.#close()
    this.#free = base
    this.#patchAll(block.breaks, this.#pc)
  }

  #return(values: readonly Expression[], line: number): void {
    if (values.length === 0) {
      this.#emit(OP.RETURN0, 0, 0, 0, line)
      return
    }
    const [only] = values
    if (values.length === 1 && only !== undefined && !isMulti(only)) {
      this.#emit(OP.RETURN1, this.#any(only), 2, 0, line)
      return
    }
    if (values.length === 1 && only?.kind === 'call') {
      const base = this.#call(only, 0)
      const pc = this.#pc - 1
      this.#code[pc] = ((this.#code[pc] as number) & 0x00ffff00) | OP.TAILCALL
      this.#emit(OP.RETURN, base, 0, 0, line)
      return
    }
    const first = this.#free
    const isOpen = this.#openValues(values)
    this.#emit(OP.RETURN, first, isOpen ? 0 : values.length + 1, 0, line)
  }

  /** Puts the values into the next registers; whether the last of them are as many as there are. */
  #openValues(values: readonly Expression[]): boolean {
    for (const [i, value] of values.entries()) {
      if (i === values.length - 1 && isMulti(value)) {
        this.#multi(value, 0)
        return true
      }
      this.#toNext(value)
    }
    return false
  }

  // ---- expressions

  /** @param count results wanted and one more; 0 is as many as there are */
  #multi(node: Expression, count: number): void {
    if (node.kind === 'call') this.#call(node, count)
    else {
      const register = this.#free
      if (count > 1) {
        this.#reserve(count - 1, node.line)
        this.#free = register
      } else this.#reserve(1, node.line)
      this.#emit(OP.VARARG, register, count, 0, node.line)
    }
  }

  /** @returns the register of the function, where results begin; it is free again */
  #call(node: CallNode, count: number): number {
    const { fn, method, args, line } = node
    const base = this.#free
    let name: string | undefined
    if (method !== undefined) {
      const object = this.#any(fn)
      this.#free = base
      this.#reserve(2, line)
      const index = this.#constant(method)
      name = `method '${method}'`
      let pc: number
      if (index <= 255) pc = this.#emit(OP.SELF, base, object, index, line)
      else {
        if (object !== base + 1) this.#emit(OP.MOVE, base + 1, object, 0, line)
        this.#to({ kind: 'constant', value: method, line }, base)
        pc = this.#emit(OP.GETTABLE, base, base + 1, base, line)
      }
      this.#named(pc, this.#describe(fn))
    } else {
      this.#toNext(fn)
      name = this.#describe(fn)
    }
    const isOpen = this.#openValues(args)
    const argumentCount = args.length + (method === undefined ? 0 : 1)
    // A native function may look at four arguments, and leave as many results.
    const top = this.#free
    this.#free = base
    this.#reserve(Math.max(top - base, count - 1, 6), line)
    this.#free = base
    const pc = this.#emit(OP.CALL, base, isOpen ? 0 : argumentCount + 1, count, line)
    this.#named(pc, name)
    return base
  }

  /** Into the next free register, which it takes. */
  #toNext(node: Expression): number {
    const register = this.#reserve(1, node.line)
    this.#to(node, register)
    this.#free = register + 1
    return register
  }

  /** The register that holds the value: that of a variable, or the next free one. */
  #any(node: Expression): number {
    if (node.kind === 'local' && !node.variable.isCaptured) return node.variable.register
    if (node.kind === 'paren') return this.#any(truncated(node))
    return this.#toNext(node)
  }

  /**
   * Into a register: a fresh one, the last that was taken, or that of a variable, if the value is atomic. Registers taken on the way are free
   * afterwards.
   */
  #to(node: Expression, register: number): void {
    const { line } = node
    const free = this.#free
    switch (node.kind) {
      case 'nil':
        this.#emit(OP.LOADNIL, register, 0, 0, line)
        break
      case 'true':
      case 'false':
        this.#emit(OP.LOADBOOL, register, node.kind === 'true' ? 1 : 0, 0, line)
        break
      case 'vararg':
        this.#emit(OP.VARARG, register, 2, 0, line)
        break
      case 'constant': {
        const index = this.#constant(node.value)
        if (index <= 0xffff) this.#emitX(OP.LOADK, register, index, line)
        else {
          this.#emit(OP.LOADKX, register, 0, 0, line)
          this.#word(index, line)
        }
        break
      }
      case 'function':
        this.#function(node.fn, register, line)
        break
      case 'local': {
        const { variable } = node
        if (variable.isCaptured) this.#emit(OP.GETBOX, register, variable.register, 0, line)
        else if (variable.register !== register) this.#emit(OP.MOVE, register, variable.register, 0, line)
        break
      }
      case 'upvalue':
        this.#emit(OP.GETUP, register, node.index, 0, line)
        break
      case 'index':
        this.#index(node, register)
        break
      case 'call': {
        // The last register that was taken may hold the function, too.
        if (register === free - 1 && register >= this.#variableEnd) this.#free = register
        const base = this.#call(node, 2)
        if (base !== register) this.#emit(OP.MOVE, register, base, 0, line)
        break
      }
      case 'and':
      case 'or': {
        this.#to(node.a, register)
        this.#emit(OP.TEST, register, 0, node.kind === 'or' ? 1 : 0, line)
        const skip = this.#jump(line)
        this.#to(node.b, register)
        this.#patch(skip, this.#pc)
        break
      }
      case 'binary':
        this.#binary(node, register)
        break
      case 'unary':
        this.#unary(node, register)
        break
      case 'table':
        this.#table(node, register)
        break
      case 'paren':
        this.#to(truncated(node), register)
        break
    }
    this.#free = free
  }

  #function(fn: FunctionNode, register: number, line: number): void {
    const index = this.#proto.protos.push(new FunctionCompiler(this.#chunkName, fn, this).finish()) - 1
    if (index > 0xffff) this.#fail('function has too many functions', line)
    this.#emitX(OP.CLOSURE, register, index, fn.endLine)
  }

  /** Into a register that is free to hold what is on the way, or a fresh one. */
  #operand(node: Expression, target: number): number {
    if (node.kind === 'local' && !node.variable.isCaptured) return node.variable.register
    if (node.kind === 'paren') return this.#operand(truncated(node), target)
    if (target < this.#variableEnd || target !== this.#free - 1) return this.#toNext(node)
    this.#to(node, target)
    return target
  }

  #index({ object, key, line }: IndexNode, register: number): void {
    const constant = isFieldName(key) ? this.#smallConstant(key) : undefined
    let pc: number
    if (object.kind === 'upvalue' && constant !== undefined) {
      pc = this.#emit(OP.GETTABUP, register, object.index, constant, line)
    } else {
      const from = this.#operand(object, register)
      if (constant !== undefined) pc = this.#emit(OP.GETFIELD, register, from, constant, line)
      else if (isSmallIndex(key)) pc = this.#emit(OP.GETI, register, from, (key as { value: number }).value, line)
      else pc = this.#emit(OP.GETTABLE, register, from, this.#any(key), line)
    }
    this.#named(pc, this.#describe(object))
  }

  #unary(node: Expression & { kind: 'unary' }, register: number): void {
    const { operator, a, line } = node
    const folded = fold(node)
    if (folded !== undefined) return this.#to(folded, register)
    const from = this.#operand(a, register)
    const op = operator === 'not' ? OP.NOT : operator === '-' ? OP.UNM : operator === '#' ? OP.LEN : OP.BNOT
    this.#named(this.#emit(op, register, from, 0, line), this.#describe(a))
  }

  #binary(node: Expression & { kind: 'binary' }, register: number): void {
    const { operator, a, b, line } = node
    const folded = fold(node)
    if (folded !== undefined) return this.#to(folded, register)
    const index = OPERATORS.indexOf(operator)
    if (index >= 0) {
      const left = this.#operand(a, register)
      const right = isNumeric(b) ? this.#smallConstant(b) : undefined
      const pc =
        right === undefined
          ? this.#emit(OP.ADD + index, register, left, this.#any(b), line)
          : this.#emit(OP.ADDK + index, register, left, right, line)
      // Constants stand in no register in the reference implementation.
      const nameOf = (operand: Expression): string | undefined => {
        const name = this.#describe(operand)
        return name?.startsWith('constant ') === true ? undefined : name
      }
      return this.#named(pc, nameOf(a), nameOf(b))
    }
    if (operator === '..') {
      const first = this.#free
      const parts: Expression[] = []
      let rest: Expression = node
      // One instruction for all; errors name the line of the operator that stands last.
      let { line: lastLine } = node
      while (rest.kind === 'binary' && rest.operator === '..') {
        lastLine = rest.line
        parts.push(rest.a)
        rest = rest.b
      }
      parts.push(rest)
      for (const part of parts) this.#toNext(part)
      const pc = this.#emit(OP.CONCAT, register, first, first + parts.length - 1, lastLine)
      return this.#named(pc, ...parts.map((part) => this.#describe(part)))
    }
    // A comparison: true where its jump arrives.
    const jumps = this.#comparison(node, true)
    this.#emit(OP.LOADBOOL, register, 0, 1, line)
    this.#patchAll(jumps, this.#pc)
    this.#emit(OP.LOADBOOL, register, 1, 0, line)
  }

  /** @returns jumps that are taken when the comparison is `wanted` */
  #comparison({ operator, a, b, line }: Expression & { kind: 'binary' }, wanted: boolean): number[] {
    const free = this.#free
    const left = this.#any(a)
    const isEquality = operator === '==' || operator === '~='
    const isConstant = isEquality ? b.kind === 'constant' : isNumeric(b)
    const constant = isConstant ? this.#smallConstant(b) : undefined
    const flag = (operator === '~=' ? !wanted : wanted) ? 1 : 0
    if (constant !== undefined) {
      const op = isEquality
        ? OP.EQK
        : operator === '<'
          ? OP.LTK
          : operator === '<='
            ? OP.LEK
            : operator === '>'
              ? OP.GTK
              : OP.GEK
      this.#emit(op, flag, left, constant, line)
    } else {
      const right = this.#any(b)
      if (isEquality) this.#emit(OP.EQ, flag, left, right, line)
      else {
        const op = operator === '<' || operator === '>' ? OP.LT : OP.LE
        const isSwapped = operator === '>' || operator === '>='
        this.#emit(op, flag, isSwapped ? right : left, isSwapped ? left : right, line)
      }
    }
    this.#free = free
    return [this.#jump(line)]
  }

  /** Jumps away when the truth of the value is `wanted`, else goes on. @returns the jumps */
  #condition(node: Expression, wanted: boolean): number[] {
    const { line } = node
    switch (node.kind) {
      case 'paren':
        return this.#condition(truncated(node), wanted)
      case 'nil':
      case 'false':
        return wanted ? [] : [this.#jump(line)]
      case 'true':
      case 'constant':
      case 'function':
        return wanted ? [this.#jump(line)] : []
      case 'unary':
        if (node.operator === 'not') return this.#condition(node.a, !wanted)
        break
      case 'and':
      case 'or': {
        const isShort = (node.kind === 'or') === wanted
        const first = this.#condition(node.a, node.kind === 'or')
        const second = this.#condition(node.b, wanted)
        if (isShort) return [...first, ...second]
        this.#patchAll(first, this.#pc)
        return second
      }
      case 'binary':
        if (['==', '~=', '<', '<=', '>', '>='].includes(node.operator)) return this.#comparison(node, wanted)
        break
      case 'vararg':
      case 'local':
      case 'upvalue':
      case 'index':
      case 'call':
      case 'table':
        break
    }
    const free = this.#free
    const register = this.#any(node)
    this.#free = free
    this.#emit(OP.TEST, register, 0, wanted ? 1 : 0, line)
    return [this.#jump(line)]
  }

  #table({ items, line }: TableNode, register: number): void {
    // The list is gathered above the table, so the table must be on top.
    const isOnTop = register === this.#free - 1 && register >= this.#variableEnd
    const table = isOnTop ? register : this.#reserve(1, line)
    const listCount = items.filter(({ key }) => key === undefined).length
    this.#emit(OP.NEWTABLE, table, Math.min(255, listCount), Math.min(255, items.length - listCount), line)
    let gathered = 0
    let stored = 0
    const flush = (isOpen: boolean): void => {
      if (gathered === 0 && !isOpen) return
      this.#emit(OP.SETLIST, table, isOpen ? 0 : gathered, 0, line)
      this.#word(stored, line)
      stored += gathered
      gathered = 0
      this.#free = table + 1
    }
    for (const [i, { key, value }] of items.entries()) {
      if (key !== undefined) {
        const free = this.#free
        const target: IndexNode = { kind: 'index', object: { kind: 'nil', line }, key, line: key.line }
        const constant = isFieldName(key) ? this.#smallConstant(key) : undefined
        const place = { object: table, key: constant !== undefined ? -1 : isSmallIndex(key) ? -2 : this.#any(key) }
        this.#store(target, place, this.#any(value), value.line)
        this.#free = free
      } else if (i === items.length - 1 && isMulti(value)) {
        this.#multi(value, 0)
        flush(true)
      } else {
        this.#toNext(value)
        gathered++
        if (gathered === LIST_FLUSH) flush(false)
      }
    }
    flush(false)
    if (table !== register) this.#emit(OP.MOVE, register, table, 0, line)
  }
}

const hidden = (): LocalVariable => ({ name: '(for state)', isCaptured: false, register: -1 })

/** Whether the value is known to be true, or to be false. */
function isAlways(node: Expression, truth: boolean): boolean {
  switch (node.kind) {
    case 'paren':
      return isAlways(node.a, truth)
    case 'true':
    case 'constant':
      return truth
    case 'false':
    case 'nil':
      return !truth
    case 'unary':
      return node.operator === 'not' ? isAlways(node.a, !truth) : truth && fold(node) !== undefined
    case 'and':
      return truth && isAlways(node.a, true) && isAlways(node.b, true)
    case 'or':
      return !truth && isAlways(node.a, false) && isAlways(node.b, false)
    default:
      return truth && fold(node) !== undefined
  }
}

const isMulti = ({ kind }: Expression): boolean => kind === 'call' || kind === 'vararg'

const isFieldName = (node: Expression): boolean => node.kind === 'constant' && typeof node.value === 'string'

const isSmallIndex = (node: Expression): boolean =>
  node.kind === 'constant' &&
  typeof node.value === 'number' &&
  Number.isInteger(node.value) &&
  node.value >= 1 &&
  node.value <= 255

const isNumeric = (node: Expression): boolean => node.kind === 'constant' && typeof node.value !== 'string'

/** What is in the parentheses; of several values the first. */
function truncated(node: Expression & { kind: 'paren' }): Expression {
  return node.a
}

/** Whether the value may be made in the register of a variable that it reads. */
function isAtomic(node: Expression): boolean {
  switch (node.kind) {
    case 'paren':
      return isAtomic(node.a)
    case 'and':
    case 'or':
    case 'table':
    case 'call':
      return false
    default:
      return true
  }
}

/** A constant for operations on numbers whose result can be foretold. */
function fold(node: Expression): (Expression & { kind: 'constant' }) | undefined {
  const { line } = node
  if (node.kind === 'constant') return typeof node.value === 'string' ? undefined : node
  if (node.kind === 'paren') return fold(node.a)
  if (node.kind === 'unary') {
    const a = node.operator === '-' || node.operator === '~' ? fold(node.a) : undefined
    if (a === undefined || node.operator === '-') return a && checked(negate(a.value as Num), line)
    const whole = toInteger(a.value as Num)
    return whole === undefined ? undefined : { kind: 'constant', value: bitwise(XOR, whole, -1), line }
  }
  if (node.kind !== 'binary') return undefined
  const index = OPERATORS.indexOf(node.operator)
  if (index < 0) return undefined
  const a = fold(node.a)
  const b = a === undefined ? undefined : fold(node.b)
  if (a === undefined || b === undefined) return undefined
  if (index >= FIRST_BITWISE) {
    const [left, right] = [toInteger(a.value as Num), toInteger(b.value as Num)]
    if (left === undefined || right === undefined) return undefined
    return { kind: 'constant', value: bitwise(index, left, right), line }
  }
  // As in the reference implementation, whose names of operands tell what was foretold.
  if (toDouble(b.value as Num) === 0 && DIVISIONS.has(node.operator)) return undefined
  try {
    return checked(arithmetic(index, a.value as Num, b.value as Num), line)
  } catch (error) {
    if (error instanceof ArithmeticError) return undefined
    throw error
  }
}

/** Zeros and what is no number are left to the machine. */
function checked(value: Num, line: number): (Expression & { kind: 'constant' }) | undefined {
  const double = toDouble(value)
  return Number.isNaN(double) || (double === 0 && !isInteger(value)) ? undefined : { kind: 'constant', value, line }
}
