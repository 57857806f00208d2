// From the code of a hot function to JavaScript. What is made does the simple cases in place, keeps registers in variables, and calls other
// such functions as JavaScript functions; its frames stand among the others all the same. Whatever it cannot do at once (a metamethod, a
// yield, the end of the budget, too many calls inside calls) ends in the one way out: every function on the JavaScript stack writes its
// registers back and returns UNWIND, and the loop of machine.ts goes on where it was. It comes back in at the head of a loop that stays hot.
//
// Nothing of a script's text stands in what is made: numbers that are written out by us, constants by index, everything else by name of ours.
//
// Structured code is made from the graph of jumps by N. Ramsey, "Beyond Relooper" (2022), which works for any beginning: the first
// instruction, the head of a loop, or what comes behind a call.

import { Float } from '../../base/value.ts'
import { kill, use } from './liveness.ts'
import type { Machine } from './machine.ts'
import { float, power } from './number.ts'
import { Cache, type Entry, type Proto } from './proto.ts'
import { epoch, Table } from './table.ts'
import { takesUnboxed, Unboxed } from './unboxed.ts'
import { Box, CALLING, Closure, type Frame, NO_ARGS, SUSPENDING, type Val } from './value.ts'

/** Why a function in JavaScript gives up: the slice has ended. */
const SLICE = 1
/** It was asked to, after a round. */
const ROUND = 2
/** The loop is over. */
const LEFT = 3
/** The instruction is done over by the machine's loop. */
const AGAIN = 4

/** The condition that the function in register `a` is `select`, and what is behind it one of its usual arguments. */
const selects = (a: number): string =>
  `r${a}===m.selectNative&&(r${a + 1}==='#'||typeof r${a + 1}==='number'&&r${a + 1}>0&&(r${a + 1}|0)===r${a + 1})`

/** @param pc where the frame goes on; below zero: it knows   @param why SLICE … AGAIN; 0: `pending` says it */
function leave(machine: Machine, frame: Frame, pc: number, why: number): void {
  machine.js--
  if (pc >= 0) frame.pc = pc
  if (why === SLICE) machine.pending = SUSPENDING
  else if (why !== 0 && why !== ROUND) machine.pending = CALLING
  if (why === LEFT) frame.heat = HEAT_LEFT
  else if (why !== ROUND && machine.pending === CALLING) {
    frame.heat = 0
    ;(frame.fn as Closure).proto.unwound++
  } else {
    const isPreempted = machine.pending === SUSPENDING && machine.outcome === 'preempted'
    frame.heat = why === ROUND || isPreempted ? HEAT_MAX : 0
  }
}

/** In a register whose float is kept apart. */
const APART = new Box(undefined) as unknown as Val
/** The function has written its registers back; `Machine.pending` says how to go on. */
export const UNWIND = new Box(undefined) as unknown as Val
/** No result, or several: they are in `Machine.many`. */
export const MULTI = new Box(undefined) as unknown as Val

const PENDING_NAME = 'PENDING'
/** Of a frame whose slice has ended in JavaScript: it goes back there with the next jump. */
const HEAT_MAX = 2 ** 29
/** Of a frame whose loop has ended in JavaScript: a loop around it goes there with its next jump. */
export const HEAT_LEFT = 2 ** 28
/** Functions with more instructions are left to the loop. */
const CODE_MAX = 4000
/** Blocks inside blocks of what is made. */
const NESTING_MAX = 120
/** Arguments that are spread in a JavaScript call. */
export const SPREAD_MAX = 200
/** Calls inside calls on the JavaScript stack. */
export const JS_DEPTH_MAX = 180

const SAFE = Number.MAX_SAFE_INTEGER

/** What a loop is given whose function ends it with no value: to V8 a list with some, as it was before. */
const NILS: Val[] = [undefined]
while (NILS.length < 256) NILS.push(undefined)

class Refused extends Error {}

/** How an operand of arithmetic is written. */
interface Operand {
  readonly name: string
  /** Where its float is, if it may be kept apart. */
  readonly float: string | undefined
  /** It is a constant. */
  readonly isAlwaysApart: boolean
  /** Conditions: 'true', 'false', or what is to be asked. */
  readonly isNumber: string
  readonly isSmall: string
  /** Of a number: it is an integer. */
  readonly isWhole: string
  /** Of a constant: its value, if it is an integer. */
  readonly integer: number | undefined
}

/** Operations that are written in place, by their index. */
const ARITHMETIC_SIGNS: Readonly<Record<number, string>> = {
  0: '+',
  1: '-',
  2: '*',
  3: '%',
  5: '/',
  7: '&',
  8: '|',
  9: '^',
}

/** The conjunction of conditions. */
function all(...conditions: string[]): string {
  if (conditions.includes('false')) return 'false'
  return [...new Set(conditions)].filter((condition) => condition !== 'true').join('&&') || 'true'
}

const numbers = (x: Operand, y: Operand): string => all(x.isNumber, y.isNumber)

/** Puts `t`, which a function of ours has given, into a register. @param keeps a float is kept apart */
const resultOf = (register: number, keeps: boolean): string =>
  keeps ? `if(t instanceof Float){d${register}=t.value;r${register}=APART}else r${register}=t;` : `r${register}=t;`

/** The operand as any value. */
const anyForm = ({ name, float, isAlwaysApart }: Operand): string =>
  float === undefined || isAlwaysApart ? name : `${name}===APART?float(${float}):${name}`

/**
 * Both are numbers or floats kept apart, at least one of them so: the condition, and the two as numbers where it holds; undefined: that
 * cannot be.
 */
function someApart(x: Operand, y: Operand): [condition: string, x: string, y: string] | undefined {
  const isApart = ({ name, isAlwaysApart }: Operand): string => (isAlwaysApart ? 'true' : `${name}===APART`)
  if (x.float === undefined) return y.float === undefined ? undefined : [all(isApart(y), x.isNumber), x.name, y.float]
  if (y.float === undefined) return [all(isApart(x), y.isNumber), x.float, y.name]
  if (x.name === y.name) return [isApart(x), x.float, y.float]
  const either = ({ name, float }: Operand): string => `(${name}===APART?${float}:+${name})`
  if (x.isAlwaysApart) return [`${isApart(y)}||${y.isNumber}`, x.float, either(y)]
  if (y.isAlwaysApart) return [`${isApart(x)}||${x.isNumber}`, either(x), y.float]
  return [`${isApart(x)}?${isApart(y)}||${y.isNumber}:${isApart(y)}&&${x.isNumber}`, either(x), either(y)]
}

/**
 * @param start the head of the loop to begin at, or the instruction behind a call; undefined: the function
 * @param pending the value PENDING of the machine   @param floats registers that hold floats now
 * @param isLoop the loop alone is made, not what comes behind it
 * @returns undefined for a function that is not compiled
 */
export function compileEntry(
  proto: Proto,
  start: number | undefined,
  pending: Val,
  floats: Iterable<number> = [],
  isLoop = start !== undefined,
): Entry | undefined {
  if (proto.code.length > CODE_MAX) return undefined
  try {
    const body = new Generator(proto, start, isLoop, floats).generate()
    const factory = new Function('K', 'P', 'C', 'H', body) as (K: unknown, P: unknown, C: unknown, H: unknown) => Entry
    const caches = (pc: number): Cache => {
      while (proto.caches.length <= pc) proto.caches.push(undefined)
      let cache = proto.caches[pc]
      if (cache === undefined) {
        cache = new Cache()
        proto.caches[pc] = cache
      }
      return cache
    }
    return factory(proto.constants, proto.protos, caches, {
      UNWIND,
      MULTI,
      PENDING: pending,
      Table,
      Closure,
      Box,
      Float,
      float,
      power,
      leave,
      APART,
      epoch,
      NO_ARGS,
      NILS,
    })
  } catch (error) {
    // Where JavaScript may not be made from text, or does not take it, the loop does the work.
    if (
      error instanceof Refused ||
      error instanceof EvalError ||
      error instanceof SyntaxError ||
      error instanceof RangeError
    )
      return undefined
    throw error
  }
}

interface Block {
  readonly start: number
  /** Behind its last instruction. */
  end: number
  successors: number[]
  order: number
  dominator: number
  predecessors: number[]
}

class Generator {
  readonly #proto: Proto
  readonly #start: number
  readonly #out: string[] = []
  readonly #blocks = new Map<number, Block>()
  readonly #children = new Map<number, number[]>()
  readonly #loopHeads = new Set<number>()
  readonly #merges = new Set<number>()
  readonly #header = new Set<string>()
  readonly #upvalues = new Set<number>()
  readonly #unboxed: Unboxed
  /** Registers that keep nothing apart, though they may. */
  readonly #isPlain = new Set<number>()
  readonly #row: Uint8Array
  #nesting = 0
  /** The register behind which open results stand. */
  #openFrom = 0

  readonly #isFunction: boolean
  readonly #isLoop: boolean
  /** Behind what is translated: of a loop its last jump to the head. */
  readonly #end: number

  constructor(proto: Proto, start: number | undefined, isLoop: boolean, floats: Iterable<number>) {
    this.#proto = proto
    this.#start = start ?? 0
    this.#isFunction = start === undefined
    this.#isLoop = isLoop
    this.#end = isLoop ? this.#loopEnd(this.#start) : proto.code.length
    this.#row = new Uint8Array(proto.size)
    this.#findBlocks()
    this.#analyse()
    const order = [...this.#blocks.values()].map((block) => this.#instructions(block))
    this.#unboxed = new Unboxed(proto, order, floats)
  }

  generate(): string {
    const { size, parameterCount, isVararg, cost } = this.#proto
    this.#tree(this.#start)
    const registers = Array.from({ length: size - 1 }, (_, i) => `r${i}`)
    // Whatever leaves early does so in one place: what V8 has never seen happen it has not compiled either.
    const body = `X:{${this.#out.join('\n')}}${this.#spill('p,q')}`
    const head = [...this.#header]
    const upvalues = [...this.#upvalues].map((i) => `const u${i}=up[${i}];`).join('')
    const parameters = registers.slice(0, parameterCount)
    const apart = [...this.#unboxed.registers]
    const floats = apart.length > 0 ? `let ${apart.map((r) => `d${r}=0`).join(',')};` : ''
    let prologue: string
    if (this.#isFunction) {
      const rest = isVararg ? [...parameters, '...va'] : parameters
      const locals = registers.slice(parameterCount)
      const args = isVararg ? `[${[...parameters, '...va'].join(',')}]` : `[${parameters.join(',')}]`
      prologue =
        `return(function(${['m', 'fn', 'base', ...rest].join(',')}){` +
        `if(m.js>${JS_DEPTH_MAX})return m.park(fn,base,${args},-1);` +
        `if((m.budget-=${cost})<0&&m.exhausted(${cost})){m.budget+=${cost};return m.park(fn,base,${args},-2)}` +
        `const co=m.co,S=co.S,frames=co.frames,d=co.depth+1;` +
        `if(d>=frames.length||base+${size + 8}>S.length)m.grow(co,base+${size + 8});` +
        `co.depth=d;m.js++;const fr=frames[d];fr.kind=0;fr.fn=fn;fr.base=base;fr.pc=0;fr.varargs=${isVararg ? 'va' : 'NO_ARGS'};` +
        (locals.length > 0 ? `let ${locals.join(',')};` : '') +
        floats
    } else {
      const loads = registers.map((name, i) => `${name}=S[base+${i}]`)
      prologue =
        `return(function(m,fn,base,fr){const co=m.co,S=co.S,d=co.depth;m.js++;` +
        `let ${loads.join(',')};const va=fr.varargs;${floats}` +
        apart.map((r) => `if(r${r} instanceof Float){d${r}=r${r}.value;r${r}=APART}`).join('')
    }
    return (
      `"use strict";const {UNWIND,MULTI,${PENDING_NAME},Table,Closure,Box,Float,float,power,leave,APART,epoch,NO_ARGS,NILS}=H;${head.join('')}\n` +
      `${prologue}const up=fn.up;${upvalues}let ov=NO_ARGS,p=-1,q=0,t;\n` +
      `${body}})`
    )
  }

  // ---- the graph

  /** Where control goes behind the instruction; undefined: to the next one. */
  #targets(pc: number): number[] | undefined {
    const { code } = this.#proto
    const i = code[pc] as number
    const op = i & 255
    switch (op) {
      case 4:
        return i >>> 24 !== 0 ? [pc + 2] : undefined
      case 47:
        return [pc + 1 + (i >> 8)]
      case 48:
      case 49:
      case 50:
      case 51:
      case 52:
      case 53:
      case 54:
      case 55:
      case 56: {
        // The jump behind it belongs to it.
        const jump = code[pc + 1] as number
        if ((jump & 255) !== 47) throw new Refused()
        return [pc + 2 + (jump >> 8), pc + 2]
      }
      case 59:
      case 60:
      case 68:
      case 69:
        return []
      case 61:
        return [pc + 1 + (i >> 16), pc + 1]
      case 62:
        return [pc + 1, pc + 1 + (i >> 16)]
      case 64:
        return [pc + 1 + (i >> 16), pc + 1]
      default:
        return undefined
    }
  }

  #instructions({ start, end }: { readonly start: number; readonly end: number }): number[] {
    const pcs: number[] = []
    for (let pc = start; pc < end; pc += this.#length(pc)) pcs.push(pc)
    return pcs
  }

  #length(pc: number): number {
    const op = (this.#proto.code[pc] as number) & 255
    return op === 2 || op === 65 ? 2 : 1
  }

  /** Lua's loops are one stretch of code; what a `goto` makes of it besides goes on in the machine's loop. */
  #loopEnd(start: number): number {
    const { code } = this.#proto
    let end = start
    for (let pc = start; pc < code.length; pc += this.#length(pc)) {
      if (!this.#targets(pc)?.includes(start)) continue
      const op = (code[pc] as number) & 255
      // The jump behind a comparison belongs to it.
      end = pc + (op >= 48 && op <= 56 ? 2 : 1)
    }
    return end
  }

  #isInside = (pc: number): boolean => !this.#isLoop || (pc >= this.#start && pc < this.#end)

  #findBlocks(): void {
    const { code } = this.#proto
    const leaders = new Set<number>([this.#start])
    for (let pc = 0; pc < code.length; pc += this.#length(pc)) {
      const targets = this.#targets(pc)
      if (targets === undefined) continue
      for (const target of targets) leaders.add(target)
    }
    const work = [this.#start]
    while (work.length > 0) {
      const start = work.pop() as number
      if (this.#blocks.has(start)) continue
      const block: Block = { start, end: start, successors: [], order: -1, dominator: -1, predecessors: [] }
      this.#blocks.set(start, block)
      let pc = start
      for (;;) {
        const targets = this.#targets(pc)
        pc += this.#length(pc)
        if (targets !== undefined) {
          block.successors = [...new Set(targets)].filter(this.#isInside)
          break
        }
        if (leaders.has(pc) || !this.#isInside(pc)) {
          block.successors = [pc].filter(this.#isInside)
          break
        }
      }
      block.end = pc
      work.push(...block.successors)
    }
  }

  /** Reverse postorder, dominators, heads of loops, and places where paths meet. */
  #analyse(): void {
    const postorder: number[] = []
    const seen = new Set<number>()
    // Without recursion: functions may be long.
    const stack: { at: number; next: number }[] = [{ at: this.#start, next: 0 }]
    seen.add(this.#start)
    while (stack.length > 0) {
      const top = stack[stack.length - 1] as { at: number; next: number }
      const { successors } = this.#blocks.get(top.at) as Block
      const successor = successors[top.next++]
      if (successor === undefined) {
        postorder.push(top.at)
        stack.pop()
      } else if (!seen.has(successor)) {
        seen.add(successor)
        stack.push({ at: successor, next: 0 })
      }
    }
    const order = postorder.reverse()
    for (const [i, at] of order.entries()) (this.#blocks.get(at) as Block).order = i
    for (const block of this.#blocks.values()) {
      for (const successor of block.successors) (this.#blocks.get(successor) as Block).predecessors.push(block.start)
    }
    const first = this.#blocks.get(this.#start) as Block
    first.dominator = first.start
    for (let isChanged = true; isChanged; ) {
      isChanged = false
      for (const at of order.slice(1)) {
        const block = this.#blocks.get(at) as Block
        let dominator = -1
        for (const each of block.predecessors) {
          if ((this.#blocks.get(each) as Block).dominator === -1) continue
          dominator = dominator === -1 ? each : this.#meet(dominator, each)
        }
        if (dominator !== block.dominator) {
          block.dominator = dominator
          isChanged = true
        }
      }
    }
    for (const at of order) {
      const block = this.#blocks.get(at) as Block
      let forward = 0
      for (const each of block.predecessors) {
        if ((this.#blocks.get(each) as Block).order < block.order) forward++
        else if (this.#dominates(at, each)) this.#loopHeads.add(at)
        else throw new Refused()
      }
      if (forward > 1) this.#merges.add(at)
      if (at !== this.#start) {
        const siblings = this.#children.get(block.dominator)
        if (siblings === undefined) this.#children.set(block.dominator, [at])
        else siblings.push(at)
      }
    }
  }

  #meet(a: number, b: number): number {
    let x = this.#blocks.get(a) as Block
    let y = this.#blocks.get(b) as Block
    while (x !== y) {
      while (x.order > y.order) x = this.#blocks.get(x.dominator) as Block
      while (y.order > x.order) y = this.#blocks.get(y.dominator) as Block
    }
    return x.start
  }

  #dominates(a: number, b: number): boolean {
    let at = this.#blocks.get(b) as Block
    while (at.start !== a) {
      if (at.start === this.#start) return false
      at = this.#blocks.get(at.dominator) as Block
    }
    return true
  }

  // ---- structured code

  #tree(at: number): void {
    if (++this.#nesting > NESTING_MAX) throw new Refused()
    const isLoop = this.#loopHeads.has(at)
    if (isLoop) this.#out.push(`H${at}:for(;;){`)
    const joined = (this.#children.get(at) ?? []).filter((child) => this.#merges.has(child))
    joined.sort((a, b) => (this.#blocks.get(a) as Block).order - (this.#blocks.get(b) as Block).order)
    for (const child of [...joined].reverse()) this.#out.push(`M${child}:{`)
    this.#block(this.#blocks.get(at) as Block)
    for (const child of joined) {
      this.#out.push('}')
      this.#tree(child)
    }
    if (isLoop) this.#out.push('}')
    this.#nesting--
  }

  #branch(from: Block, to: number): void {
    const target = this.#blocks.get(to)
    if (target === undefined) this.#leave(to)
    else if (target.order <= from.order) this.#out.push(`continue H${to};`)
    else if (this.#merges.has(to)) this.#out.push(`break M${to};`)
    else this.#tree(to)
  }

  #block(block: Block): void {
    this.#isPlain.clear()
    for (const pc of this.#instructions(block)) {
      const targets = this.#targets(pc)
      const op = (this.#proto.code[pc] as number) & 255
      if (this.#isLoop && (op === 59 || op === 60 || op === 68 || op === 69)) {
        this.#leave(pc)
        return
      }
      const isAware = takesUnboxed(op)
      if (!isAware) this.#takeTogether(pc)
      if (targets !== undefined) {
        this.#last(block, pc, targets)
        return
      }
      this.#plain(pc)
      if (!isAware && !this.#unboxed.keeps(pc)) this.#notePlain(pc)
    }
    this.#branch(block, block.end)
  }

  /** Makes one value of a register that may keep a float apart. */
  #together(register: number): void {
    if (!this.#mayBeApart(register)) return
    this.#out.push(`if(r${register}===APART)r${register}=float(d${register});`)
    this.#isPlain.add(register)
  }

  #mayBeApart(register: number): boolean {
    return this.#unboxed.registers.has(register) && !this.#isPlain.has(register)
  }

  /** Before an instruction that knows nothing of floats kept apart. */
  #takeTogether(pc: number): void {
    const row = this.#row.fill(0)
    use(this.#proto, pc, row)
    for (const r of this.#unboxed.registers) if (row[r] !== 0) this.#together(r)
  }

  /** After it: what it has written is no float kept apart. */
  #notePlain(pc: number): void {
    const row = this.#row.fill(1)
    kill(this.#proto, pc, row)
    for (const r of this.#unboxed.registers) if (row[r] === 0) this.#isPlain.add(r)
  }

  /** A jump backwards pays for what it repeats. */
  #pay(pc: number, target: number): void {
    const cost = pc + 1 - target
    if (cost <= 0) return
    const isOwn = this.#isLoop && target === this.#start && target !== 0
    const owed = target === 0 ? `0,${this.#proto.cost}` : ''
    const isOver = isOwn ? 'm.roundIsLast()' : `m.exhausted(${owed})`
    this.#out.push(`if((m.budget-=${cost})<0&&${isOver}){p=${target};q=${isOwn ? ROUND : SLICE};break X}`)
  }

  /**
   * Gives up: the registers, and how to go on.
   * @param how where, and why: LEFT, ROUND, SLICE; `-1,0`: the frame and the machine know
   * @param count registers that are in use: those above belong to the callee
   */
  #spill(how = '-1,0', count = this.#proto.size - 1): string {
    const registers = Array.from({ length: count }, (_, i) => `r${i}`)
    const { registers: unboxed } = this.#unboxed
    const floats = [...unboxed].filter((r) => r < count).map((r) => `d${r}`)
    const list = ['', ...registers, ...floats].join(',')
    const value = (i: number): string => (unboxed.has(i) ? `r${i}===APART?float(d${i}):r${i}` : `r${i}`)
    this.#header.add(
      `function spill${count}(m,co,fr,base,p,q${list}){const S=co.S;` +
        `${registers.map((_, i) => `S[base+${i}]=${value(i)};`).join('')}leave(m,fr,p,q);return UNWIND}`,
    )
    return `return spill${count}(m,co,fr,base,${how}${list});`
  }

  /** What is between `if` and `else` of a slow way. */
  #slow(pc: number, call: string, target: string): string {
    return `{fr.pc=${pc + 1};t=${call};if(t===PENDING)break X;${target}}`
  }

  #constant(index: number): string {
    const value = this.#proto.constants[index]
    if (typeof value === 'number' && Number.isFinite(value)) return value < 0 ? `(${value})` : String(value)
    this.#header.add(`const k${index}=K[${index}];`)
    return `k${index}`
  }

  #cache(pc: number): string {
    this.#header.add(`const c${pc}=C(${pc + 1});`)
    return `c${pc}`
  }

  #up(index: number): string {
    this.#upvalues.add(index)
    return `u${index}`
  }

  /** The last instruction of a block. */
  #last(block: Block, pc: number, targets: readonly number[]): void {
    const out = this.#out
    const i = this.#proto.code[pc] as number
    const op = i & 255
    const a = (i >>> 8) & 255
    const b = (i >>> 16) & 255
    const c = i >>> 24
    switch (op) {
      case 4:
        out.push(`r${a}=${b !== 0};`)
        return this.#branch(block, targets[0] as number)
      case 47:
        this.#pay(pc, targets[0] as number)
        return this.#branch(block, targets[0] as number)
      case 59:
        return this.#tailCall(pc, a, b)
      case 60:
      case 68:
      case 69:
        return this.#return(op, a, b)
      case 61: {
        const at = `r${a}`
        const step = `r${a + 2}`
        const by = this.#knownStep(targets[0] as number, a + 2)
        const isWithin =
          by === undefined ? `(${step}>0?t<=r${a + 1}:t>=r${a + 1})` : by > 0 ? `t<=r${a + 1}` : `t>=r${a + 1}`
        out.push(
          `if(typeof ${step}==='number'){t=${at}+${by ?? step};t=${isWithin}?(${at}=r${a + 3}=t,true):false}` +
            `else{S[base+${a}]=${at};S[base+${a + 1}]=r${a + 1};S[base+${a + 2}]=${step};t=m.forNext(S,base+${a});${at}=S[base+${a}];r${a + 3}=S[base+${a + 3}]}`,
        )
        out.push('if(t){')
        this.#pay(pc, targets[0] as number)
        break
      }
      case 62: {
        const three = [a, a + 1, a + 2]
        const isSmall = three.map((r) => `typeof r${r}==='number'&&(r${r}|0)===r${r}`).join('&&')
        out.push(
          `if(${isSmall}&&r${a + 2}!==0){t=r${a + 2}>0?r${a}<=r${a + 1}:r${a}>=r${a + 1};r${a + 3}=r${a}}else{` +
            `${three.map((r) => `S[base+${r}]=r${r};`).join('')}fr.pc=${pc + 1};t=m.forPrepare(S,base+${a});` +
            `${[...three, a + 3].map((r) => `r${r}=S[base+${r}];`).join('')}}`,
        )
        out.push('if(t){')
        break
      }
      case 64:
        out.push(`if(r${a + 3}!==undefined){r${a + 2}=r${a + 3};`)
        this.#pay(pc, targets[0] as number)
        break
      case 56:
        out.push(`if(r${a}!==undefined&&r${a}!==false){`)
        if (c === 0) return this.#fork(block, pc, targets, true)
        return this.#fork(block, pc, targets, false)
      default:
        this.#compare(op, pc, b, c)
        return this.#fork(block, pc, targets, a === 0)
    }
    this.#branch(block, targets[0] as number)
    out.push('}else{')
    this.#branch(block, targets[1] as number)
    out.push('}')
  }

  /** What a numeric loop steps by, if it is written out: the loop is made ready right before it begins. */
  #knownStep(start: number, register: number): number | undefined {
    const { code, constants } = this.#proto
    const i = code[start - 2] as number
    // The second word of a LOADKX may look like a LOADK.
    const isLoad = (i & 255) === 1 && ((i >>> 8) & 255) === register && ((code[start - 3] as number) & 255) !== 2
    const by = isLoad ? constants[i >>> 16] : undefined
    return typeof by === 'number' && by !== 0 && (by | 0) === by ? by : undefined
  }

  /** A loop is over, or its function. The machine's loop goes on there. */
  #leave(pc: number): void {
    // There it would begin the function once more.
    if (pc === 0) throw new Refused()
    this.#out.push(`p=${pc};q=${LEFT};break X;`)
  }

  /** Both ways of a condition whose `if(…){` stands there. @param isInverted whether the jump is taken when it does not hold */
  #fork(block: Block, pc: number, targets: readonly number[], isInverted: boolean): void {
    const [taken, fallThrough] = targets as [number, number]
    const jump = (): void => {
      this.#pay(pc + 1, taken)
      this.#branch(block, taken)
    }
    const goOn = (): void => this.#branch(block, fallThrough)
    if (isInverted) goOn()
    else jump()
    this.#out.push('}else{')
    if (isInverted) jump()
    else goOn()
    this.#out.push('}')
  }

  #compare(op: number, pc: number, b: number, c: number): void {
    const out = this.#out
    const isConstant = op >= 51
    if (op === 48 || op === 51) {
      const constant = this.#proto.constants[c]
      const x = `r${b}`
      const y = isConstant ? this.#constant(c) : `r${c}`
      if (isConstant && typeof constant === 'string') out.push(`if(${x}===${y}){`)
      else {
        const mayDiffer =
          isConstant && typeof constant !== 'number'
            ? 'true'
            : isConstant
              ? `(typeof ${x}==='object'||typeof ${x}==='bigint')`
              : `(typeof ${x}==='object'||typeof ${y}==='object'||typeof ${x}==='bigint'||typeof ${y}==='bigint')&&${x}!==undefined&&${y}!==undefined`
        out.push(`t=${x}===${y};if(!t&&${mayDiffer})${this.#slow(pc, `m.equals(${x},${y})`, '')}if(t){`)
      }
      return
    }
    const isLess = op === 49 || op === 52
    const isGreater = op === 54
    const sign = isLess ? '<' : isGreater ? '>' : op === 55 ? '>=' : '<='
    const left = this.#operand(b)
    const right = isConstant ? this.#constantOperand(c) : this.#operand(c)
    const swapped = op === 54 || op === 55
    const [first, second] = swapped ? [right, left] : [left, right]
    const call = `m.${isLess || isGreater ? 'less' : 'lessOrEqual'}(${anyForm(first)},${anyForm(second)})`
    const apart = someApart(left, right)
    out.push(
      `if(${numbers(left, right)})t=${left.name}${sign}${right.name};` +
        (apart === undefined ? '' : `else if(${apart[0]})t=${apart[1]}${sign}${apart[2]};`) +
        `else${this.#slow(pc, call, '')}if(t){`,
    )
  }

  // ---- calls

  /** The values of registers `from` … and what is open behind them, as a list of arguments. */
  #arguments(from: number, b: number): string[] {
    if (b !== 0) return Array.from({ length: b - 1 }, (_, i) => `r${from + i}`)
    return [...Array.from({ length: this.#openFrom - from }, (_, i) => `r${from + i}`), '...ov']
  }

  #callText(a: number, b: number): string {
    const args = this.#arguments(a + 1, b)
    const list = args.length === 0 ? '' : `,${args.join(',')}`
    const isOpen = b === 0
    const other =
      isOpen || args.length > 3
        ? `m.callMany(r${a},base+${a},[${args.join(',')}])`
        : `m.call${args.length}(r${a},base+${a}${list})`
    const guard = isOpen ? `ov.length<${SPREAD_MAX}&&` : ''
    return `t=${guard}r${a} instanceof Closure&&r${a}.proto.entry!==undefined?r${a}.proto.entry(m,r${a},base+${a + 1}${list}):${other};`
  }

  /** Whether it may be `select(i, ...)` or `select('#', ...)`, which needs no call. */
  #isSelect(a: number, b: number): boolean {
    return b === 0 && this.#openFrom === a + 2
  }

  #call(pc: number, a: number, b: number, c: number): void {
    const out = this.#out
    const isSelect = (c === 2 || c === 0) && this.#isSelect(a, b)
    if (isSelect) {
      const i = `r${a + 1}`
      out.push(
        `if(${selects(a)})` +
          (c === 2
            ? `r${a}=${i}==='#'?ov.length:${i}<=ov.length?ov[${i}-1]:undefined;`
            : `ov=${i}==='#'?[ov.length]:ov.slice(${i}-1);`) +
          'else{',
      )
    }
    out.push(`fr.pc=${pc + 1};${this.#callText(a, b)}if(t===UNWIND){${this.#spill('-1,0', a)}}`)
    if (c === 0) {
      out.push('ov=t===MULTI?m.many:[t];')
      this.#openFrom = a
    } else if (c === 2) out.push(`r${a}=t===MULTI?m.many[0]:t;`)
    else if (c > 2) {
      const several = Array.from({ length: c - 1 }, (_, k) => `r${a + k}=t[${k}];`).join('')
      const one = Array.from({ length: c - 2 }, (_, k) => `r${a + 1 + k}=undefined;`).join('')
      out.push(`if(t===MULTI){t=m.many;${several}}else{r${a}=t;${one}}`)
    }
    if (isSelect) out.push('}')
  }

  /** A call whose frame goes when it is unwound, so that tail calls may follow each other for ever. */
  #tailCall(pc: number, a: number, b: number): void {
    if (this.#isSelect(a, b)) {
      const i = `r${a + 1}`
      this.#out.push(
        `if(${selects(a)}){co.depth=d-1;m.js--;if(${i}==='#')return ov.length;m.many=ov.slice(${i}-1);return MULTI;}`,
      )
    }
    this.#out.push(
      `fr.pc=${pc + 1};${this.#callText(a, b)}` +
        `if(t===UNWIND){if(m.co===co&&co.depth>d){m.dropFrame(co,d);m.js--;return UNWIND}${this.#spill('-1,0', a)}}` +
        `co.depth=d-1;m.js--;return t;`,
    )
  }

  #return(op: number, a: number, b: number): void {
    const out = this.#out
    out.push('co.depth=d-1;m.js--;')
    if (op === 69) out.push(`return r${a};`)
    else if (op === 68) out.push('m.many=NO_ARGS;return MULTI;')
    else {
      const values = this.#arguments(a, b)
      if (b === 2) out.push(`return ${values[0]};`)
      else out.push(`m.many=[${values.join(',')}];return MULTI;`)
    }
  }

  #iterate(pc: number, a: number, c: number): void {
    const f = `r${a}`
    const list = `r${a + 1}`
    const control = `r${a + 2}`
    const key = `r${a + 3}`
    const value = c > 1 ? `r${a + 4}=` : ''
    const others = Array.from({ length: Math.max(0, c - 2) }, (_, k) => `r${a + 5 + k}=undefined;`).join('')
    const several = Array.from({ length: c }, (_, k) => `r${a + 3 + k}=t[${k}];`).join('')
    const one = Array.from({ length: c - 1 }, (_, k) => `r${a + 4 + k}=undefined;`).join('')
    const call = `m.call2(${f},base+${a + 3},${list},${control})`
    this.#out.push(
      `fr.pc=${pc + 1};` +
        `if(${f}===m.ipairsNative&&typeof ${control}==='number'&&${control}>=0&&${list} instanceof Table&&(t=${list}.arr[${control}+1])!==undefined){${key}=${control}+1;${value}t;${others}}` +
        `else if(${f}===m.nextNative&&m.step(${list},${control})){${key}=m.stepKey;${value}m.stepValue;${others}}else{` +
        `t=${f} instanceof Closure&&${f}.proto.entry!==undefined?${f}.proto.entry(m,${f},base+${a + 4},${list},${control}):${call};` +
        `if(t===UNWIND){${this.#spill('-1,0', a + 3)}}if(t===MULTI){t=m.many;if(t.length===0)t=NILS;${several}}else{${key}=t;${one}}}`,
    )
  }

  // ---- everything else

  #getField(pc: number, object: string, target: number, constant: number, isMethod: boolean): void {
    const cache = this.#cache(pc)
    const own = `o.shape===${cache}.shape&&(t=o.slots[${cache}.slot])!==undefined`
    const inherited = `o.shape===${cache}.missShape&&o.meta===${cache}.missMeta&&${cache}.missEpoch===epoch.value`
    const first = isMethod ? `if(${inherited})r${target}=${cache}.value;else if(${own})` : `if(${own})`
    const second = isMethod ? '' : `else if(${inherited})r${target}=${cache}.value;`
    const self = isMethod ? `r${target + 1}=o;` : ''
    this.#out.push(
      `{const o=${object};${self}if(o instanceof Table){${first}r${target}=t;${second}else${this.#slow(pc, `m.getField(o,${this.#constant(constant)},${cache})`, `r${target}=t;`)}}` +
        `else${this.#slow(pc, `m.getField(o,${this.#constant(constant)},${cache})`, `r${target}=t;`)}}`,
    )
  }

  #setField(pc: number, object: string, constant: number, value: string): void {
    const cache = this.#cache(pc)
    this.#out.push(
      `{const o=${object};if(o instanceof Table&&o.shape===${cache}.shape&&${cache}.next===undefined&&o.slots[${cache}.slot]!==undefined)o.slots[${cache}.slot]=${value};` +
        `else${this.#slow(pc, `m.storeField(o,${this.#constant(constant)},${value},${cache})`, '')}}`,
    )
  }

  /** A register that is read as a number. */
  #operand(register: number): Operand {
    const name = `r${register}`
    return {
      name,
      float: this.#mayBeApart(register) ? `d${register}` : undefined,
      isAlwaysApart: false,
      isNumber: `typeof ${name}==='number'`,
      isSmall: `(${name}|0)===${name}`,
      isWhole: `Math.floor(${name})===${name}&&${name}<=${SAFE}&&${name}>=-${SAFE}`,
      integer: undefined,
    }
  }

  #constantOperand(index: number): Operand {
    const value = this.#proto.constants[index]
    const name = this.#constant(index)
    if (value instanceof Float) {
      const text = Object.is(value.value, -0) || value.value < 0 ? `(-${-value.value})` : String(value.value)
      return {
        name,
        float: text,
        isAlwaysApart: true,
        isNumber: 'false',
        isSmall: 'false',
        isWhole: 'false',
        integer: undefined,
      }
    }
    const integer = typeof value === 'number' && Number.isSafeInteger(value) ? value : undefined
    return {
      name,
      float: undefined,
      isAlwaysApart: false,
      isNumber: String(typeof value === 'number'),
      isSmall: String(integer !== undefined && (integer | 0) === integer),
      isWhole: String(integer !== undefined),
      integer,
    }
  }

  #arithmetic(op: number, pc: number, a: number, x: Operand, y: Operand): void {
    const out = this.#out
    const small = all(x.isSmall, y.isSmall)
    const both = numbers(x, y)
    // Where the result is kept apart it is so if it is a float.
    const keeps = this.#unboxed.keeps(pc)
    const done = `break A${pc};`
    const float = (text: string): string =>
      keeps ? `d${a}=${text};r${a}=APART;${done}` : `r${a}=float(${text});${done}`
    const fraction = keeps ? `d${a}=t;r${a}=APART;${done}` : `r${a}=t;${done}`
    const ways: string[] = []
    const way = (condition: string, then: string): void => {
      if (condition !== 'false') ways.push(`if(${condition}){${then}}`)
    }
    const apart = op < 6 && op !== 3 ? someApart(x, y) : undefined
    const text = (p: string, q: string): string => (op === 4 ? `power(${p},${q})` : `${p}${ARITHMETIC_SIGNS[op]}${q}`)
    switch (op) {
      case 0:
      case 1:
      case 2: {
        const sum = `t=${text(x.name, y.name)};`
        // A product of zero may be minus zero.
        const isZero = op === 2 ? 't!==0' : 'true'
        const isSmall = op === 2 ? all(isZero, '(t|0)===t', small) : small
        way(both, `${sum}if(${isSmall}){r${a}=t;${done}}if(Math.floor(t)!==t){${fraction}}`)
        break
      }
      case 4:
      case 5:
        way(both, float(text(x.name, y.name)))
        break
      case 3:
        way(all(both, small, `${x.name}>=0`, `${y.name}>0`), `r${a}=${text(x.name, y.name)};${done}`)
        break
      case 6:
        way(all(both, small, `${y.name}>0`), `r${a}=Math.floor(${x.name}/${y.name});${done}`)
        break
      case 7:
        // What is beyond 32 bits does not count where the mask has none there.
        if (y.integer !== undefined && y.integer >= 0 && y.integer < 2 ** 31) {
          way(all(both, x.isWhole), `r${a}=${x.name}&${y.name};${done}`)
          break
        }
        if (y.integer === 2 ** 32 - 1) {
          way(all(both, x.isWhole), `r${a}=${x.name}>>>0;${done}`)
          break
        }
        way(all(both, small), `r${a}=${text(x.name, y.name)};${done}`)
        break
      case 8:
      case 9:
        way(all(both, small), `r${a}=${text(x.name, y.name)};${done}`)
        break
      case 10:
        if (y.integer === undefined || y.integer < 0 || y.integer > 52) break
        way(all(both, x.isWhole), `t=${x.name}*${2 ** y.integer};if(t<=${SAFE}&&t>=-${SAFE}){r${a}=t;${done}}`)
        break
      case 11:
        if (y.integer === undefined || y.integer < 0 || y.integer > 52) break
        if (y.integer < 32) way(all(both, small, `${x.name}>=0`), `r${a}=${x.name}>>>${y.integer};${done}`)
        way(all(both, x.isWhole, `${x.name}>=0`), `r${a}=Math.floor(${x.name}/${2 ** y.integer});${done}`)
    }
    if (apart !== undefined) way(apart[0], float(text(apart[1], apart[2])))
    const call =
      op < 3
        ? `m.${['add', 'subtract', 'multiply'][op]}(${anyForm(x)},${anyForm(y)})`
        : `m.arith(${op},${anyForm(x)},${anyForm(y)})`
    out.push(`A${pc}:{${ways.join('else ')}${this.#slow(pc, call, resultOf(a, keeps))}}`)
    this.#noteResult(a, keeps)
  }

  /** The register has been written. */
  #noteResult(register: number, mayBeApart: boolean): void {
    if (mayBeApart) this.#isPlain.delete(register)
    else this.#isPlain.add(register)
  }

  #negate(pc: number, a: number, x: Operand): void {
    const keeps = this.#unboxed.keeps(pc)
    const number = keeps
      ? `{t=0-${x.name};if(Math.floor(t)!==t){d${a}=t;r${a}=APART}else r${a}=t}`
      : `r${a}=0-${x.name};`
    const apart = keeps ? `{d${a}=-${x.float};r${a}=APART}` : `r${a}=float(-${x.float});`
    this.#out.push(
      `if(${x.isNumber})${number}else ${x.float === undefined ? '' : `if(${x.name}===APART)${apart}else `}` +
        this.#slow(pc, `m.unaryMinus(${anyForm(x)})`, resultOf(a, keeps)),
    )
    this.#noteResult(a, keeps)
  }

  #plain(pc: number): void {
    const out = this.#out
    const { code, protos } = this.#proto
    const i = code[pc] as number
    const op = i & 255
    const a = (i >>> 8) & 255
    const b = (i >>> 16) & 255
    const c = i >>> 24
    if (op >= 18 && op < 42) {
      const isConstant = op >= 30
      const y = isConstant ? this.#constantOperand(c) : this.#operand(c)
      return this.#arithmetic(isConstant ? op - 30 : op - 18, pc, a, this.#operand(b), y)
    }
    switch (op) {
      case 0:
        if (!this.#unboxed.keeps(pc)) this.#together(b)
        out.push(this.#mayBeApart(b) ? `r${a}=r${b};d${a}=d${b};` : `r${a}=r${b};`)
        return this.#noteResult(a, this.#mayBeApart(b))
      case 1:
        if (this.#unboxed.keeps(pc)) {
          out.push(`d${a}=${this.#constantOperand(i >>> 16).float};r${a}=APART;`)
          this.#noteResult(a, true)
        } else out.push(`r${a}=${this.#constant(i >>> 16)};`)
        return
      case 2:
        out.push(`r${a}=${this.#constant(code[pc + 1] as number)};`)
        return
      case 3:
        for (let r = a; r <= a + b; r++) out.push(`r${r}=undefined;`)
        return
      case 4:
        out.push(`r${a}=${b !== 0};`)
        return
      case 5:
        out.push(`r${a}=${this.#up(b)}.v;`)
        return
      case 6:
        out.push(`${this.#up(b)}.v=r${a};`)
        return
      case 7:
        return this.#getField(pc, `${this.#up(b)}.v`, a, c, false)
      case 8:
        return this.#setField(pc, `${this.#up(a)}.v`, b, `r${c}`)
      case 9:
        out.push(
          `if(r${b} instanceof Table&&typeof r${c}==='number'&&r${c}>0&&r${c}<r${b}.arr.length&&(t=r${b}.arr[r${c}])!==undefined)r${a}=t;` +
            `else${this.#slow(pc, `m.fetch(r${b},r${c})`, `r${a}=t;`)}`,
        )
        return
      case 10:
        return this.#getField(pc, `r${b}`, a, c, false)
      case 11:
        out.push(
          `A${pc}:{if(r${a} instanceof Table&&typeof r${b}==='number'&&r${b}>0&&(r${b}|0)===r${b}&&r${c}!==undefined){t=r${a}.arr;` +
            `if(r${b}<t.length){if(t[r${b}]!==undefined){t[r${b}]=r${c};break A${pc}}}` +
            // One more at the end of the list, unless its length is one at which the table looks for more.
            `else if(r${b}===t.length&&(r${b}&(r${b}-1))!==0&&r${a}.meta===undefined&&r${a}.hash===undefined){t.push(r${c});m.allocated+=8;break A${pc}}}` +
            `${this.#slow(pc, `m.store(r${a},r${b},r${c})`, '')}}`,
        )
        return
      case 12:
        return this.#setField(pc, `r${a}`, b, `r${c}`)
      case 13:
        out.push(`m.allocated+=80;r${a}=new Table();`)
        return
      case 14:
        return this.#getField(pc, `r${b}`, a, c, true)
      case 15:
        out.push(`r${a}=r${b}.v;`)
        return
      case 16:
        out.push(`r${a}.v=r${b};`)
        return
      case 17:
        out.push(`r${a}=new Box(r${a});`)
        return
      case 42:
        return this.#negate(pc, a, this.#operand(b))
      case 43:
        out.push(
          `if(typeof r${b}==='number'&&(r${b}|0)===r${b})r${a}=~r${b};else${this.#slow(pc, `m.bitwiseNot(r${b})`, `r${a}=t;`)}`,
        )
        return
      case 44:
        out.push(`r${a}=r${b}===undefined||r${b}===false;`)
        return
      case 45:
        out.push(
          `if(r${b} instanceof Table&&r${b}.meta===undefined&&r${b}.arr.length>1)r${a}=r${b}.arr.length-1;` +
            `else${this.#slow(pc, `m.lengthOf(r${b})`, `r${a}=t;`)}`,
        )
        return
      case 46: {
        const parts = Array.from({ length: c - b + 1 }, (_, k) => `r${b + k}`)
        // What has a metamethod is begun again in the loop.
        out.push(
          `t=m.join${parts.length === 2 ? `2(${parts.join(',')})` : `([${parts.join(',')}])`};` +
            `if(t===undefined){p=${pc};q=${AGAIN};break X}r${a}=t;`,
        )
        return
      }
      case 58:
        return this.#call(pc, a, b, c)
      case 63:
        return this.#iterate(pc, a, c)
      case 65: {
        const values = this.#arguments(a + 1, b === 0 ? 0 : b + 1)
        out.push(`m.fillList(r${a},${code[pc + 1]},[undefined,${values.join(',')}]);`)
        return
      }
      case 66: {
        const boxes = (protos[i >>> 16] as Proto).upvalues.map(({ register, index }) =>
          register >= 0 ? `r${register}` : this.#up(index),
        )
        this.#header.add(`const p${i >>> 16}=P[${i >>> 16}];`)
        out.push(`m.allocated+=64;r${a}=new Closure(p${i >>> 16},[${boxes.join(',')}]);`)
        return
      }
      case 67:
        if (b === 0) {
          out.push('ov=va;')
          this.#openFrom = a
        } else for (let k = 0; k < b - 1; k++) out.push(`r${a + k}=va[${k}];`)
        return
      case 70:
        out.push(
          `if(r${b} instanceof Table&&${c}<r${b}.arr.length&&(t=r${b}.arr[${c}])!==undefined)r${a}=t;` +
            `else${this.#slow(pc, `m.fetch(r${b},${c})`, `r${a}=t;`)}`,
        )
        return
      case 71:
        out.push(this.#slow(pc, `m.store(r${a},${b},r${c})`, ''))
        return
      default:
        throw new Refused()
    }
  }
}
