// The machine: one loop over the code of Lua functions. A Lua call is a frame, not a JavaScript call; a coroutine is a stack of values and a
// stack of frames; to suspend is to leave the loop. What an instruction still waits for (the results of a call, of a metamethod) is not noted
// anywhere: the instruction before the frame's `pc` says it, and `#finish` puts the results where it wants them.

import { ErrorValue, Float } from '../../base/value.ts'
import { ErrorObject, HostObject } from '../engine.ts'
import { newTemplates } from './format.ts'
import { compileEntry, HEAT_LEFT, JS_DEPTH_MAX, MULTI, SPREAD_MAX, UNWIND } from './jit.ts'
import { LongStrings } from './long-strings.ts'
import {
  ArithmeticError,
  arithmetic,
  bitwise,
  float,
  floatToInteger,
  isFloat,
  isInteger,
  isNumber,
  lessEqual,
  lessThan,
  type Num,
  negate,
  numberToString,
  rawEqual,
  toDouble,
  toInteger,
  toNumber,
} from './number.ts'
import { FOR_ITERATOR, OP } from './opcodes.ts'
import { newPatterns } from './patterns.ts'
import type { Cache, Entry, Proto } from './proto.ts'
import { Cache as NewCache, Place } from './proto.ts'
import { epoch, Table } from './table.ts'
import {
  BARRIER,
  Box,
  CALLING,
  Closure,
  type Continuation,
  Coroutine,
  Frame,
  HANDLER,
  LUA,
  LuaError,
  NATIVE,
  Native,
  NO_ARGS,
  PCALL,
  PLAIN,
  SUSPENDING,
  typeName,
  type Val,
  WRAPS,
  XPCALL,
  YIELDS,
} from './value.ts'

/** A JavaScript function waits for what has just been delivered. */
const EXITING = -3
/** An error is to be raised where the machine stands, by its loop. */
const RAISING = -4

/** Calls inside calls, of one coroutine. */
export const DEPTH_MAX = 200_000
/** Registers of one coroutine. */
export const SLOTS_MAX = 1_000_000
/** Coroutines inside coroutines. */
export const NESTING_MAX = 1000
/** Callbacks inside callbacks, each with a loop of its own. */
const BARRIERS_MAX = 150
/** Hops from one table to the next. */
const INDEX_HOPS_MAX = 2000
/** The longest string. */
export const STRING_BYTES_MAX = 256 * 1024 * 1024
/** How far a slice may overrun its budget where it cannot be suspended, before the script is stopped: some seconds. */
const OVERRUN_MAX = 50_000_000
/** Errors in the handler of an `xpcall` that it is given itself, one after the other. */
const HANDLINGS_MAX = 220
/** A stack that once was this large is cut back when the coroutine waits. */
const FRAMES_KEPT = 64
const SLOTS_KEPT = 16
const SMALL_STACK = 64
/** In a cache, in place of an epoch: what it holds is a method of a class. */
const METHODS = -2

const EVENTS = [
  '__add',
  '__sub',
  '__mul',
  '__mod',
  '__pow',
  '__div',
  '__idiv',
  '__band',
  '__bor',
  '__bxor',
  '__shl',
  '__shr',
]

/** The metamethod that an instruction may call. */
function eventOf(op: number): string | undefined {
  if (op >= OP.ADD && op < OP.UNM) return EVENTS[(op - OP.ADD) % EVENTS.length]
  return OTHER_EVENTS[op]
}
const OTHER_EVENTS: Readonly<Record<number, string>> = {
  [OP.GETTABUP]: '__index',
  [OP.GETTABLE]: '__index',
  [OP.GETFIELD]: '__index',
  [OP.GETI]: '__index',
  [OP.SELF]: '__index',
  [OP.SETTABUP]: '__newindex',
  [OP.SETTABLE]: '__newindex',
  [OP.SETFIELD]: '__newindex',
  [OP.SETI]: '__newindex',
  [OP.UNM]: '__unm',
  [OP.BNOT]: '__bnot',
  [OP.LEN]: '__len',
  [OP.CONCAT]: '__concat',
  [OP.EQ]: '__eq',
  [OP.LT]: '__lt',
  [OP.LTK]: '__lt',
  [OP.GTK]: '__lt',
  [OP.LE]: '__le',
  [OP.LEK]: '__le',
  [OP.GEK]: '__le',
}

/** Beyond so many functions in JavaScript the loop begins none. */
const REENTRY_MAX = JS_DEPTH_MAX - 60
/** What a loop takes of the JavaScript stack, in functions. */
const LOOP_COST = 4
/** A frame whose loop cannot be in JavaScript has so many rounds before anybody asks again. */
const HEAT_NEVER = -(2 ** 30)
/** What a loop may spend at first when it has just been made into JavaScript. */
const TRIAL_BUDGET = 1000
/** A loop that is not, or cannot be, in JavaScript. */
const COLD = 1
/** Instructions of one function that may become JavaScript, counted again for each call that it goes on behind. */
const PLACES_CODE_MAX = 4000
/** An instruction is done. */
const DONE = 2

/** In place of a value that is not there yet; `Machine.pending` says how to go on. */
export const PENDING = new Box(undefined) as unknown as Val

type Outcome = 'suspended' | 'yielded' | 'preempted'

export class Machine {
  co: Coroutine
  budget = 0
  /** How the machine goes on when something is PENDING: CALLING, SUSPENDING, EXITING or RAISING. */
  pending = CALLING
  /** Why it suspends. */
  outcome: Outcome = 'suspended'
  /** Where results were delivered to a function of ours. */
  resultAt = 0
  resultCount = 0
  /** Loops that cannot be suspended. */
  barrierDepth = 0
  stringMeta: Table | undefined = undefined
  readonly classMetas = new Map<string, Table>()
  readonly templates = newTemplates()
  readonly patterns = newPatterns(this)
  /** The stack of the error that nobody catches. */
  traceback = ''
  /** What a script sees of an exception that is no error of its own. */
  readonly faultValue: (thrown: unknown) => Val
  /** Bytes that were asked for in this turn, roughly. */
  allocated = 0
  /** As many in one turn are too many, whatever became of them. */
  allocationLimit = Number.POSITIVE_INFINITY
  /** What the process may hold, as errors tell it. */
  memoryLimit = Number.POSITIVE_INFINITY
  /** The limit is that of the process, not that of all on the host. */
  isOwnLimit = false

  constructor(faultValue: (thrown: unknown) => Val, anotherSlice: Machine['anotherSlice']) {
    this.faultValue = faultValue
    this.anotherSlice = anotherSlice
    this.co = new Coroutine()
  }

  // ---- errors

  /** `chunk:line: ` of the function at that level; level 1 is the one that runs. */
  where(level: number): string {
    const { co } = this
    let left = level
    for (let i = co.depth; i > 0; i--) {
      const frame = co.frames[i] as Frame
      if (isReplaced(co, i)) continue
      if (--left > 0) continue
      if (frame.kind !== LUA) return ''
      const { proto } = frame.fn as Closure
      return `${proto.chunkName}:${proto.lines[frame.pc - 1] ?? proto.line}: `
    }
    return ''
  }

  /** An error of the running function. */
  error(text: string): LuaError {
    return new LuaError(this.where(1) + text)
  }

  argumentError(index: number, text: string): LuaError {
    const { name, isMethod } = this.#calledAs(this.native as Native)
    const position = isMethod ? index - 1 : index
    if (position === 0) return this.error(`calling '${name}' on bad self (${text})`)
    return this.error(`bad argument #${position} to '${name}' (${text})`)
  }

  /** How the code that calls the native function names it. */
  #calledAs(native: Native): { name: string; isMethod: boolean } {
    const unnamed = { name: native.qualifiedName, isMethod: false }
    const top = this.co.frames[this.co.depth] as Frame
    if (this.co.depth === 0 || top.kind !== LUA) return unnamed
    const { code, names } = (top.fn as Closure).proto
    const op = (code[top.pc - 1] as number) & 255
    if (op !== OP.CALL && op !== OP.TAILCALL && op !== OP.TFORCALL)
      return { ...unnamed, name: eventOf(op) ?? unnamed.name }
    const quoted = /^([\w ]+) '(.*)'$/s.exec(names[top.pc - 1]?.[0] ?? '')
    return quoted === null ? unnamed : { name: quoted[2] as string, isMethod: quoted[1] === 'method' }
  }

  /** How the source calls an operand of the current instruction, in parentheses. */
  #nameOf(operand: number): string {
    const frame = this.co.frames[this.co.depth] as Frame
    const name = frame.kind === LUA ? frame.fn?.proto.names[frame.pc - 1]?.[operand] : undefined
    return name === undefined || name === FOR_ITERATOR ? '' : ` (${name})`
  }

  /** As error texts call the type of the value. */
  typeNameOf(value: Val): string {
    const name = this.metaOf(value)?.getStr('__name')
    return typeof name === 'string' && typeof value === 'object' ? name : typeName(value)
  }

  typeError(action: string, value: Val, operand: number): LuaError {
    return this.error(`attempt to ${action} a ${this.typeNameOf(value)} value${this.#nameOf(operand)}`)
  }

  #arithmeticError(operation: number, a: Val, b: Val): LuaError {
    if (operation >= 7) {
      if (toNumber(a) !== undefined && toNumber(b) !== undefined) {
        const culprit = toInteger(a) === undefined ? 0 : 1
        return this.error(`number${this.#nameOf(culprit)} has no integer representation`)
      }
      const isFirst = toNumber(a) === undefined
      return this.typeError('perform bitwise operation on', isFirst ? a : b, isFirst ? 0 : 1)
    }
    const isFirst = toNumber(a) === undefined
    return this.typeError('perform arithmetic on', isFirst ? a : b, isFirst ? 0 : 1)
  }

  #compareError(a: Val, b: Val): LuaError {
    const x = this.typeNameOf(a)
    const y = this.typeNameOf(b)
    return this.error(x === y ? `attempt to compare two ${x} values` : `attempt to compare ${x} with ${y}`)
  }

  /** The frames of the coroutine, and of those that wait for it, innermost first. */
  tracebackOf(from: Coroutine): string {
    const lines = ['stack traceback:']
    for (let co: Coroutine | undefined = from; co !== undefined; co = co.resumer) {
      for (let i = co.depth; i > 0; i--) {
        const frame = co.frames[i] as Frame
        if (isReplaced(co, i)) continue
        if (frame.kind !== LUA) {
          const what =
            frame.kind === PCALL ? " 'pcall'" : frame.kind === XPCALL || frame.kind === HANDLER ? " 'xpcall'" : ''
          lines.push(`\t[native]: in function${what === '' ? ' <callback>' : what}`)
          continue
        }
        const { proto } = frame.fn as Closure
        lines.push(`\t${proto.chunkName}:${proto.lines[frame.pc - 1] ?? proto.line}: in ${frameName(co, i)}`)
      }
    }
    // The middle of an endless recursion says nothing.
    if (lines.length > 24) lines.splice(12, lines.length - 23, '\t...')
    return lines.join('\n')
  }

  // ---- memory

  /** Counts bytes that are asked for. @throws LuaError when the process has too many */
  allocate(bytes: number): void {
    this.allocated += bytes
    if (this.allocated > this.allocationLimit) throw this.#outOfMemory()
  }

  /** Of two strings that become one: JavaScript keeps both as they are. @throws LuaError */
  #checkJoined(a: string, b: string): void {
    const length = a.length + b.length
    if (length > STRING_BYTES_MAX) throw new LuaError('not enough memory')
    if (length > 64) this.allocate(32 + Math.min(a.length, b.length))
    this.longStrings.add(length)
  }

  /** @throws LuaError */
  checkLength(length: number): void {
    if (length > STRING_BYTES_MAX) throw new LuaError('not enough memory')
    if (length > 64) this.allocate(length)
  }

  /** A string was made. The process is charged for it elsewhere. @returns it */
  made(text: string): string {
    this.longStrings.add(text.length)
    return text
  }

  /** Those of this turn. */
  readonly longStrings = new LongStrings()

  /**
   * Counts bytes that the process was given, by a function of the host or as part of a text. They are no error, however many: the turn ends
   * after so many, and what the process holds is counted.
   */
  give(bytes: number): void {
    this.allocated += bytes
    this.given += bytes
    if (this.given * 4 > this.allocationLimit) {
      this.given = 0
      if (this.budget > 0) this.budget = 0
    }
  }

  /** Bytes since the turn began, or was last cut short for them. */
  given = 0

  /** A string that the process was given. */
  giveText(text: string): void {
    if (text.length <= 64) return
    this.give(text.length)
    this.made(text)
  }

  /** The script may catch it, and must not go on asking for much in the same turn. */
  #outOfMemory(): LuaError {
    this.allocated = this.allocationLimit - this.allocationLimit / 8
    return this.memoryError()
  }

  /** The process holds more than it may. */
  memoryError(): LuaError {
    const who = this.isOwnLimit ? 'this process' : 'a process on this host'
    const text = `not enough memory: ${who} has at most ${Math.floor(this.memoryLimit / 2 ** 20)} MiB`
    return new LuaError(new ErrorObject(new ErrorValue('LimitExceeded', text, false)))
  }

  #ensure(S: Val[], length: number): void {
    if (length > SLOTS_MAX) throw this.error('stack overflow')
    // Most stacks are small, and of many idle processes each register counts.
    const wanted = length + (length < SMALL_STACK ? 4 : 32)
    for (let i = S.length; i < wanted; i++) S.push(undefined)
  }

  // ---- metatables

  metaOf(value: Val): Table | undefined {
    if (typeof value === 'object') {
      if (value instanceof Table) return value.meta
      if (value instanceof HostObject) return this.#classMeta(value)
      return undefined
    }
    return typeof value === 'string' ? this.stringMeta : undefined
  }

  #classMeta(object: HostObject): Table {
    if (object.box instanceof Table) return object.box
    const meta = this.classMetas.get(object.className)
    if (meta === undefined) throw new Error(`class ${object.className} is not defined on this engine`)
    object.box = meta
    return meta
  }

  // ---- calls

  /** The first register that is free for calls that no instruction names. */
  #scratch(co: Coroutine): number {
    if (co.depth === 0) return 1
    const frame = co.frames[co.depth] as Frame
    return frame.kind === LUA ? frame.base + (frame.fn as Closure).proto.size : frame.base + 1
  }

  pushFrame(kind: number, base: number): Frame {
    const { co } = this
    if (co.depth >= DEPTH_MAX) throw this.error('stack overflow')
    const depth = ++co.depth
    let frame = co.frames[depth]
    if (frame === undefined) {
      frame = new Frame()
      co.frames.push(frame)
      // A frame and its registers.
      this.allocate(160)
    }
    frame.kind = kind
    frame.heat = 0
    frame.fn = undefined
    frame.base = base
    frame.pc = 0
    return frame
  }

  /** Calls `S[at]` with the arguments behind it. @returns the number of results from `S[at]` on, or how to go on */
  callAt(at: number, argumentCount: number): number {
    const { S } = this.co
    let f = S[at]
    let count = argumentCount
    while (!(f instanceof Closure)) {
      if (f instanceof Native) {
        return this.#native(f, S, at, count)
      }
      const handler = this.metaOf(f)?.getStr('__call')
      if (!(handler instanceof Closure || handler instanceof Native)) throw this.typeError('call', f, 0)
      this.#ensure(S, at + count + 2)
      for (let i = at + count; i >= at; i--) S[i + 1] = S[i]
      S[at] = handler
      count++
      f = handler
    }
    this.#enter(f, at, count)
    return CALLING
  }

  #enter(f: Closure, at: number, count: number): void {
    const { proto } = f
    const { S } = this.co
    const base = at + 1
    if (base + proto.size + 6 > S.length) this.#ensure(S, base + proto.size + 6)
    const frame = this.pushFrame(LUA, base)
    frame.fn = f
    for (let i = count; i < proto.parameterCount; i++) S[base + i] = undefined
    frame.varargs =
      proto.isVararg && count > proto.parameterCount ? S.slice(base + proto.parameterCount, base + count) : NO_ARGS
  }

  /** Calls a function, or what `__call` makes one, on top of the current frame. @returns its first result, or PENDING */
  #callMeta(handler: Val, a: Val, b: Val, c?: Val, count = 2): Val {
    const { co } = this
    const { S } = co
    const at = this.freeAt
    if (at + 6 > S.length) this.#ensure(S, at + 6)
    if (handler instanceof Closure) {
      const entry = this.entryOf(handler)
      if (entry !== undefined) {
        const value = count === 2 ? entry(this, handler, at + 1, a, b) : entry(this, handler, at + 1, a, b, c)
        if (value === UNWIND) return PENDING
        return value === MULTI ? this.many[0] : value
      }
    }
    S[at] = handler
    S[at + 1] = a
    S[at + 2] = b
    S[at + 3] = c
    const results = this.callAt(at, count)
    if (results >= 0) return results > 0 ? S[at] : undefined
    this.pending = results
    return PENDING
  }

  /** As `callAt`, but a function that is in JavaScript runs at once. */
  callNow(at: number, count: number): number {
    const { S } = this.co
    const f = S[at]
    const entry = f instanceof Closure && count < SPREAD_MAX ? this.entryOf(f) : undefined
    if (entry === undefined) return this.callAt(at, count)
    const value = this.#compiled(entry, f as Closure, S, at + 1, count)
    if (value === UNWIND) return this.pending
    if (value !== MULTI) {
      S[at] = value
      return 1
    }
    const { many } = this
    this.room(S, at, many.length)
    for (let k = 0; k < many.length; k++) S[at + k] = many[k]
    return many.length
  }

  /**
   * Runs a function to its end, in a loop of its own: it cannot be suspended. The function is at `at`, a register above all in use.
   * @returns the number of results, which begin at `resultAt` of the same coroutine
   */
  callSync(at: number, count: number): number {
    const { co, barrierDepth, js, native, nativeTop } = this
    const { depth, protections } = co
    if (barrierDepth >= BARRIERS_MAX) throw this.error('C stack overflow')
    this.pushFrame(BARRIER, at)
    this.barrierDepth++
    co.barriers++
    this.nativeTop = 0
    try {
      const results = this.callNow(at, count)
      if (results >= 0) {
        this.resultAt = at
        return results
      }
      this.loop(results)
      return this.resultCount
    } finally {
      co.barriers--
      this.barrierDepth = barrierDepth
      this.co = co
      co.depth = depth
      co.protections = protections
      this.js = js
      this.native = native
      this.nativeTop = nativeTop
    }
  }

  /** Calls a function with values and returns its first result; it cannot be suspended. */
  callValue(f: Val, ...args: Val[]): Val {
    const { co } = this
    const at = this.freeAt
    this.#ensure(co.S, at + args.length + 2)
    co.S[at] = f
    for (let i = 0; i < args.length; i++) co.S[at + 1 + i] = args[i]
    const count = this.callSync(at, args.length)
    return count > 0 ? co.S[this.resultAt] : undefined
  }

  /** Does what may call a metamethod, and waits for it. */
  sync(operation: () => Val): Val {
    const { co, barrierDepth, js, native, nativeTop } = this
    const { depth, protections } = co
    if (barrierDepth >= BARRIERS_MAX) throw this.error('C stack overflow')
    this.pushFrame(BARRIER, this.freeAt)
    this.barrierDepth++
    co.barriers++
    this.nativeTop = 0
    try {
      const value = operation()
      if (value !== PENDING) return value
      this.loop(this.pending)
      return this.resultCount > 0 ? co.S[this.resultAt] : undefined
    } finally {
      co.barriers--
      this.barrierDepth = barrierDepth
      this.co = co
      co.depth = depth
      co.protections = protections
      this.js = js
      this.native = native
      this.nativeTop = nativeTop
    }
  }

  /** The native function that runs. */
  native: Native | undefined = undefined
  /** Registers below hold its arguments. */
  nativeTop = 0

  /** Registers from here on are free for calls by the native function that runs. */
  get freeAt(): number {
    return Math.max(this.#scratch(this.co), this.nativeTop)
  }

  get canSuspend(): boolean {
    return this.barrierDepth === 0
  }

  // ---- delivering results

  /** Gives `count` values, from `S[at]` on, to the top frame of the current coroutine. @returns CALLING, SUSPENDING or EXITING */
  deliver(at: number, count: number): number {
    let from = at
    let n = count
    for (;;) {
      const { co } = this
      const { S } = co
      if (co.depth === 0) {
        co.status = 'dead'
        const to = co.resumer
        if (to === undefined) {
          this.resultAt = from
          this.resultCount = n
          return EXITING
        }
        this.leave(co, to)
        if (co === this.nested) return this.exit(co, S, from, n)
        from = this.transfer(S, from, n, to, !co.isWrapped)
        if (!co.isWrapped) n++
        continue
      }
      const frame = co.frames[co.depth] as Frame
      switch (frame.kind) {
        case LUA:
          return this.#finish(frame, from, n)
        case PCALL:
        case XPCALL:
        case HANDLER: {
          const { base } = frame
          if (frame.kind === HANDLER) n = 1
          if (base + n + 2 > S.length) this.#ensure(S, base + n + 2)
          if (frame.kind === HANDLER && count === 0) S[from] = undefined
          move(S, from, base + 1, n)
          S[base] = frame.kind !== HANDLER
          from = base
          n++
          co.depth--
          co.protections--
          break
        }
        case NATIVE: {
          co.depth--
          const results = (frame.goOn as Continuation)(this, S, from, n, frame.extra)
          if (results < 0) return results
          n = results
          break
        }
        default:
          co.depth--
          this.resultAt = from
          this.resultCount = n
          return EXITING
      }
    }
  }

  /** A function in JavaScript has resumed this coroutine and waits, in `#runNested`, for what it gives; of several the last. */
  nested: Coroutine | undefined = undefined
  /** What it has given, in the way of such functions. */
  #given: Val

  /** `nested` gives values and has been left. @returns EXITING */
  exit(co: Coroutine, S: Val[], at: number, count: number): number {
    if (co.isWrapped) {
      if (count === 1) {
        this.#given = S[at]
        return EXITING
      }
      this.many = S.slice(at, at + count)
    } else this.many = count === 0 ? [true] : count === 1 ? [true, S[at]] : [true, ...S.slice(at, at + count)]
    this.#given = MULTI
    return EXITING
  }

  /** Control goes into a coroutine; who runs now waits for it. */
  goInto(co: Coroutine, isWrapped: boolean): void {
    const from = this.co
    co.isWrapped = isWrapped
    co.resumer = from
    co.nesting = from.nesting + 1
    co.status = 'running'
    from.status = 'normal'
    this.co = co
  }

  /** Control goes from a coroutine back to whoever resumed it. */
  leave(co: Coroutine, to: Coroutine): void {
    co.resumer = undefined
    to.status = 'running'
    this.co = to
  }

  /** Copies values on top of another coroutine, with `true` before them if asked. @returns where they begin */
  transfer(S: Val[], at: number, count: number, to: Coroutine, isPrefixed: boolean): number {
    const top = this.#scratch(to)
    const target = to.S
    const extra = isPrefixed ? 1 : 0
    if (top + count + extra > target.length) {
      if (top + count > SLOTS_MAX) throw this.error('too many results to resume')
      this.#ensure(target, top + count + extra)
    }
    if (isPrefixed) target[top] = true
    for (let i = 0; i < count; i++) target[top + extra + i] = S[at + i]
    return top
  }

  /** Where values for a coroutine that waits may be put. */
  transferAt(co: Coroutine): number {
    return this.#scratch(co)
  }

  /** The instruction before the frame's `pc` has its results. */
  #finish(frame: Frame, at: number, count: number): number {
    const { co } = this
    const { S } = co
    const { base } = frame
    const { code } = (frame.fn as Closure).proto
    const i = code[frame.pc - 1] as number
    const a = base + ((i >>> 8) & 255)
    switch (i & 255) {
      case 58: // CALL
      case 59: {
        const wanted = (i & 255) === 59 ? -1 : (i >>> 24) - 1
        if (wanted < 0) {
          if (a + count + 8 > S.length) this.#ensure(S, a + count + 8)
          for (let k = 0; k < count; k++) S[a + k] = S[at + k]
          co.top = a + count
        } else {
          const given = count < wanted ? count : wanted
          for (let k = 0; k < given; k++) S[a + k] = S[at + k]
          for (let k = given; k < wanted; k++) S[a + k] = undefined
        }
        return CALLING
      }
      case 63: {
        // TFORCALL
        const wanted = i >>> 24
        for (let k = 0; k < wanted; k++) S[a + 3 + k] = k < count ? S[at + k] : undefined
        return CALLING
      }
      case 8:
      case 11:
      case 12:
      case 71:
        return CALLING
      case 46: {
        // CONCAT: the last two of the values up to `extra` are one now.
        const top = (frame.extra as number) - 1
        S[base + top] = count > 0 ? S[at] : undefined
        return this.#concat(frame, i, top)
      }
      case 48:
      case 49:
      case 50:
      case 51:
      case 52:
      case 53:
      case 54:
      case 55: {
        const value = count > 0 ? S[at] : undefined
        let isTrue = value !== undefined && value !== false
        if (frame.extra === true) isTrue = !isTrue
        if (isTrue !== (((i >>> 8) & 255) === 1)) frame.pc++
        return CALLING
      }
      default:
        S[a] = count > 0 ? S[at] : undefined
        return CALLING
    }
  }

  // ---- what instructions do when it is not simple

  /** `o[key]`. @returns the value, or PENDING */
  index(o: Val, key: Val): Val {
    let object = o
    for (let hops = 0; hops < INDEX_HOPS_MAX; hops++) {
      let handler: Val
      if (object instanceof Table) {
        const value = object.get(key)
        if (value !== undefined || object.meta === undefined) return value
        handler = object.meta.getStr('__index')
        if (handler === undefined) return undefined
      } else {
        handler = this.metaOf(object)?.getStr('__index')
        if (handler === undefined) throw this.#indexError(object, key, hops)
      }
      if (handler instanceof Closure || handler instanceof Native) return this.#callMeta(handler, object, key)
      object = handler
    }
    throw this.error("'__index' chain too long; possibly a loop")
  }

  #indexError(object: Val, key: Val, hops: number): LuaError {
    // A name for the object if the source has one, else the key that it was asked for.
    const name = hops > 0 ? '' : this.#nameOf(0)
    if (name === '' && typeof key === 'string') {
      return this.error(
        `attempt to index a ${this.typeNameOf(object)} value (field '${key}')`.replace(` (field '${key}')`, ''),
      )
    }
    return this.error(`attempt to index a ${this.typeNameOf(object)} value${name}`)
  }

  /** `o[key]` for a constant key; learns. @returns the value, or PENDING */
  getField(o: Val, key: string, cache: Cache): Val {
    if (!(o instanceof Table)) {
      return typeof o === 'object' || typeof o === 'string' ? this.#getMethod(o, key, cache) : this.index(o, key)
    }
    const { shape } = o
    if (shape.isDictionary) {
      const value = o.getStr(key)
      return value !== undefined || o.meta === undefined ? value : this.index(o, key)
    }
    const slot = shape.index.get(key)
    if (slot !== undefined) {
      const value = o.slots[slot]
      if (value === undefined) return o.meta === undefined ? undefined : this.index(o, key)
      cache.shape = shape
      cache.slot = slot
      return value
    }
    const { meta } = o
    if (meta === undefined) return undefined
    if (cache.missMeta !== meta) {
      cache.missMeta = meta
      cache.missEpoch = -1
      return this.index(o, key)
    }
    return this.#getInherited(o, meta, key, cache)
  }

  /** Of an object of ours or a string. Their methods never change, so what was found once is found again. */
  #getMethod(o: Val, key: string, cache: Cache): Val {
    const meta = this.metaOf(o)
    if (meta === undefined) return this.index(o, key)
    if (cache.missMeta === meta && cache.missEpoch === METHODS) return cache.value
    const methods = meta.getStr('__index')
    if (!(methods instanceof Table && (methods.meta === undefined || methods.getStr(key) !== undefined)))
      return this.index(o, key)
    cache.missShape = null
    cache.missMeta = meta
    cache.missEpoch = METHODS
    cache.value = methods.getStr(key)
    return cache.value
  }

  /** What the chain of `__index` tables gives is remembered until one of them changes. */
  #getInherited(o: Table, first: Table, key: string, cache: Cache): Val {
    let meta: Table | undefined = first
    for (let hops = 0; hops < INDEX_HOPS_MAX && meta !== undefined; hops++) {
      meta.watch('__index')
      const handler = meta.getStr('__index')
      if (handler === undefined) break
      if (!(handler instanceof Table)) return this.index(o, key)
      handler.watch(key)
      const value = handler.getStr(key)
      if (value !== undefined) return this.#remember(o, key, cache, value)
      meta = handler.meta
      if (hops > 10) return this.index(o, key)
    }
    return this.#remember(o, key, cache, undefined)
  }

  #remember(o: Table, key: string, cache: Cache, value: Val): Val {
    if (!o.shape.isDictionary && !o.shape.index.has(key)) {
      // A shape of its own stays the same when it gets the key.
      if (o.shape.watched !== undefined) o.watch(key)
      cache.missShape = o.shape
      cache.missEpoch = epoch.value
      cache.value = value
    }
    return value
  }

  /** `o[key] = value`. @returns undefined, or PENDING */
  setIndex(o: Val, key: Val, value: Val): Val {
    let object = o
    for (let hops = 0; hops < INDEX_HOPS_MAX; hops++) {
      let handler: Val
      if (object instanceof Table) {
        const { meta } = object
        if (meta === undefined) return this.rawSet(object, key, value)
        if (object.get(key) !== undefined) return this.rawSet(object, key, value)
        handler = meta.getStr('__newindex')
        if (handler === undefined) return this.rawSet(object, key, value)
      } else {
        handler = this.metaOf(object)?.getStr('__newindex')
        if (handler === undefined) throw this.#indexError(object, key, hops)
      }
      if (handler instanceof Closure || handler instanceof Native) {
        return this.#callMeta(handler, object, key, value, 3) === PENDING ? PENDING : undefined
      }
      object = handler
    }
    throw this.error("'__newindex' chain too long; possibly a loop")
  }

  /** @throws LuaError for nil, NaN, and tables that are read-only */
  rawSet(table: Table, key: Val, value: Val): undefined {
    if (table.frozen !== undefined) throw this.frozenError(table, key)
    if (key === undefined) throw this.error('index is nil'.replace('index', 'table index'))
    if (typeof key === 'number') {
      if (Number.isNaN(key)) throw this.error('table index is NaN')
      table.setNum(key, value)
    } else table.set(key, value)
    this.allocate(16)
    return undefined
  }

  frozenError(table: Table, key: Val): LuaError {
    const field = typeof key === 'string' ? `'${key}'` : isNumber(key) ? numberToString(key) : typeName(key)
    return this.error(`cannot change ${table.frozen} (field ${field})`)
  }

  /** `o[key] = value` for a constant key; learns. @returns undefined, or PENDING */
  setField(o: Val, key: string, value: Val, cache: Cache): Val {
    if (!(o instanceof Table) || o.frozen !== undefined) return this.setIndex(o, key, value)
    const { shape, meta } = o
    if (shape.isDictionary) return this.setIndex(o, key, value)
    const slot = shape.index.get(key)
    if (slot !== undefined && o.slots[slot] !== undefined) {
      o.setStr(key, value, true)
      if (shape.watched === undefined) {
        cache.shape = shape
        cache.slot = slot
        cache.next = undefined
      }
      return undefined
    }
    if (meta !== undefined) {
      meta.watch('__newindex')
      if (meta.getStr('__newindex') !== undefined) return this.setIndex(o, key, value)
    }
    o.setStr(key, value, true)
    this.allocate(16)
    const next = o.shape
    if (
      value !== undefined &&
      shape.watched === undefined &&
      next !== shape &&
      !next.isDictionary &&
      next.watched === undefined
    ) {
      cache.shape = shape
      cache.next = next
      cache.missMeta = meta
      cache.missEpoch = epoch.value
    }
    return undefined
  }

  /** `a op b`, an index of EVENTS. @returns the value, or PENDING */
  arith(operation: number, a: Val, b: Val): Val {
    if (typeof a === 'number' && typeof b === 'number' && Number.isSafeInteger(a) && Number.isSafeInteger(b)) {
      if (operation >= 7) return bitwise(operation, a, b)
      if (operation === 3 && b > 0) {
        const rest = a % b
        return rest < 0 ? rest + b : rest + 0
      }
    }
    if (operation < 7) {
      const x = toNumber(a)
      const y = x === undefined ? undefined : toNumber(b)
      if (x !== undefined && y !== undefined) {
        try {
          // The number of a text counts as a float.
          return arithmetic(operation, typeof a === 'string' ? asFloat(x) : x, typeof b === 'string' ? asFloat(y) : y)
        } catch (error) {
          if (error instanceof ArithmeticError) throw this.error(error.text)
          throw error
        }
      }
    } else if ((typeof a !== 'string' && typeof b !== 'string') || this.#binaryHandler(operation, a, b) === undefined) {
      const x = toInteger(a)
      const y = x === undefined ? undefined : toInteger(b)
      if (x !== undefined && y !== undefined) return bitwise(operation, x, y)
    }
    const handler = this.#binaryHandler(operation, a, b)
    if (handler === undefined) throw this.#arithmeticError(operation, a, b)
    return this.#callMeta(handler, a, b)
  }

  #binaryHandler(operation: number, a: Val, b: Val): Val {
    const event = EVENTS[operation] as string
    return this.metaOf(a)?.getStr(event) ?? this.metaOf(b)?.getStr(event)
  }

  unaryMinus(a: Val): Val {
    const x = toNumber(a)
    if (x !== undefined) return negate(typeof a === 'string' ? asFloat(x) : x)
    const handler = this.metaOf(a)?.getStr('__unm')
    if (handler === undefined) throw this.typeError('perform arithmetic on', a, 0)
    return this.#callMeta(handler, a, a)
  }

  bitwiseNot(a: Val): Val {
    const x = toInteger(a)
    if (x !== undefined) return bitwise(9, x, -1)
    const handler = this.metaOf(a)?.getStr('__bnot')
    if (handler === undefined) throw this.#arithmeticError(7, a, a)
    return this.#callMeta(handler, a, a)
  }

  lengthOf(a: Val): Val {
    if (typeof a === 'string') return a.length
    const handler = this.metaOf(a)?.getStr('__len')
    if (handler !== undefined) return this.#callMeta(handler, a, a)
    if (a instanceof Table) return a.length()
    throw this.typeError('get length of', a, 0)
  }

  /** @returns a boolean, or PENDING */
  equals(a: Val, b: Val): Val {
    if (rawEqual(a, b)) return true
    if (!(a instanceof Table && b instanceof Table) && !(a instanceof HostObject && b instanceof HostObject))
      return false
    const handler = this.metaOf(a)?.getStr('__eq') ?? this.metaOf(b)?.getStr('__eq')
    if (handler === undefined) return false
    ;(this.co.frames[this.co.depth] as Frame).extra = undefined
    const result = this.#callMeta(handler, a, b)
    return result === PENDING ? PENDING : result !== undefined && result !== false
  }

  /** @returns a boolean, or PENDING */
  less(a: Val, b: Val): Val {
    if (isNumber(a) && isNumber(b)) return lessThan(a, b)
    if (typeof a === 'string' && typeof b === 'string') return a < b
    const handler = this.metaOf(a)?.getStr('__lt') ?? this.metaOf(b)?.getStr('__lt')
    if (handler === undefined) throw this.#compareError(a, b)
    ;(this.co.frames[this.co.depth] as Frame).extra = undefined
    const result = this.#callMeta(handler, a, b)
    return result === PENDING ? PENDING : result !== undefined && result !== false
  }

  /** @returns a boolean, or PENDING */
  lessOrEqual(a: Val, b: Val): Val {
    if (isNumber(a) && isNumber(b)) return lessEqual(a, b)
    if (typeof a === 'string' && typeof b === 'string') return a <= b
    const frame = this.co.frames[this.co.depth] as Frame
    let handler = this.metaOf(a)?.getStr('__le') ?? this.metaOf(b)?.getStr('__le')
    if (handler !== undefined) {
      frame.extra = undefined
      const result = this.#callMeta(handler, a, b)
      return result === PENDING ? PENDING : result !== undefined && result !== false
    }
    // not (b < a)
    handler = this.metaOf(b)?.getStr('__lt') ?? this.metaOf(a)?.getStr('__lt')
    if (handler === undefined) throw this.#compareError(a, b)
    frame.extra = true
    const result = this.#callMeta(handler, b, a)
    return result === PENDING ? PENDING : result === undefined || result === false
  }

  /** Two values by `..`. @returns the value, or PENDING */
  concat(a: Val, b: Val, operand = 0): Val {
    const x = typeof a === 'string' ? a : isNumber(a) ? numberToString(a) : undefined
    const y = typeof b === 'string' ? b : isNumber(b) ? numberToString(b) : undefined
    if (x !== undefined && y !== undefined) {
      this.#checkJoined(x, y)
      return x + y
    }
    const handler = this.metaOf(a)?.getStr('__concat') ?? this.metaOf(b)?.getStr('__concat')
    if (handler === undefined) {
      throw x === undefined ? this.typeError('concatenate', a, operand) : this.typeError('concatenate', b, operand + 1)
    }
    return this.#callMeta(handler, a, b)
  }

  /** Goes on with an instruction CONCAT whose values end at register `last`. @returns CALLING, SUSPENDING or EXITING */
  #concat(frame: Frame, i: number, last: number): number {
    const { S } = this.co
    const { base } = frame
    const first = (i >>> 16) & 255
    for (let top = last; top > first; top--) {
      frame.extra = top
      const value = this.concat(S[base + top - 1], S[base + top], top - 1 - first)
      if (value === PENDING) return this.pending
      S[base + top - 1] = value
    }
    S[base + ((i >>> 8) & 255)] = S[base + first]
    return CALLING
  }

  /** Makes a numeric loop ready. @returns whether it has a round; the first value is then in its fourth register */
  forPrepare(S: Val[], a: number): boolean {
    const from = loopNumber(S[a])
    const to = loopNumber(S[a + 1])
    const step = loopNumber(S[a + 2])
    if (to === undefined) throw this.error("'for' limit must be a number")
    if (step === undefined) throw this.error("'for' step must be a number")
    if (from === undefined) throw this.error("'for' initial value must be a number")
    if (isInteger(from) && isInteger(step)) {
      if (step === 0) throw this.error("'for' step is zero")
      const limit = isInteger(to) ? to : clipped(toDouble(to), step > 0)
      if (limit === undefined || (step > 0 ? from > limit : from < limit)) return false
      const isSmall =
        typeof from === 'number' &&
        typeof limit === 'number' &&
        typeof step === 'number' &&
        Number.isSafeInteger(limit + step)
      if (isSmall) S[a + 1] = limit
      else {
        S[a] = BigInt(from)
        S[a + 1] = BigInt(limit)
        S[a + 2] = BigInt(step)
      }
      S[a + 3] = from
      return true
    }
    const limit = toDouble(to)
    const by = toDouble(step)
    // The manual (§3.3.5) steps back before the first round, and so rounds.
    const start = toDouble(from) - by + by
    if (by === 0) throw this.error("'for' step is zero")
    if (!(by > 0 ? start <= limit : start >= limit)) return false
    // A boxed step says that the loop is one of floats.
    S[a] = start
    S[a + 1] = limit
    S[a + 2] = new Float(by)
    S[a + 3] = float(start)
    return true
  }

  /** The next round of a loop that is not one of small integers. */
  forNext(S: Val[], a: number): boolean {
    const step = S[a + 2]
    if (typeof step === 'bigint') {
      const value = (S[a] as bigint) + step
      const limit = S[a + 1] as bigint
      if (step > 0n ? value > limit : value < limit) return false
      S[a] = value
      S[a + 3] = value >= -9007199254740991n && value <= 9007199254740991n ? Number(value) : value
      return true
    }
    const by = (step as Float).value
    const value = (S[a] as number) + by
    const limit = S[a + 1] as number
    if (!(by > 0 ? value <= limit : value >= limit)) return false
    S[a] = value
    S[a + 3] = float(value)
    return true
  }

  /** Gives a new budget, as if the thread had been left and run again. @returns whether it did */
  readonly anotherSlice: (unpaid: number, owed: number) => boolean

  /**
   * The budget is used up.
   * @param unpaid what was paid just now and is paid again when the thread goes on   @param owed what is paid besides when it goes on: at the
   * first instruction of a function, whose cost it is, also after a jump to it
   * @returns whether the loop is to be left
   */
  exhausted(unpaid = 0, owed = 0): boolean {
    if (this.held > 0) {
      this.giveBack()
      if (this.budget >= 0) return false
    }
    if (this.barrierDepth === 0) {
      if (this.anotherSlice(unpaid, owed)) return false
      this.outcome = 'preempted'
      return true
    }
    if (this.budget < -OVERRUN_MAX) {
      const text = 'instruction budget exceeded inside a metamethod, comparator or callback, which cannot be paused'
      throw new LuaError(this.where(1) + text, true)
    }
    return false
  }

  /** Of the budget what is kept back while a loop is tried. */
  held = 0

  giveBack(): void {
    this.budget += this.held
    this.held = 0
  }

  /** The budget is used up after a round of a loop in JavaScript. @returns whether the loop is to be left; `pending` says how to go on then */
  roundIsLast(): boolean {
    if (this.held > 0) {
      this.giveBack()
      if (this.budget >= 0) {
        this.pending = CALLING
        return true
      }
    }
    this.pending = SUSPENDING
    return this.exhausted()
  }

  // ---- running

  /**
   * Runs until something waits for JavaScript: EXITING, results were delivered; SUSPENDING.
   * @param begun how to go on
   * @throws LuaError that no frame above catches
   */
  loop(begun: number): number {
    const { js } = this
    let next = this.raise(begun)
    while (next === CALLING) {
      this.js = js + LOOP_COST
      try {
        next = this.#execute()
      } catch (thrown) {
        next = this.raiseLater(thrown)
      }
      this.js = js
      next = this.raise(next)
    }
    return next
  }

  #raised: unknown

  /**
   * Raises an error where the machine stands, once the functions in JavaScript that called this have left, as for everything that takes time.
   * They may be those of another coroutine, which lives on; and it costs less than to throw.
   */
  raiseLater(thrown: unknown): number {
    this.#raised = thrown
    return RAISING
  }

  /** Whatever is to be raised is raised. @returns how to go on, other than by raising */
  raise(begun: number): number {
    let next = begun
    while (next === RAISING) next = this.caught(this.#takeRaised())
    return next
  }

  #takeRaised(): unknown {
    const thrown = this.#raised
    this.#raised = undefined
    return thrown
  }

  /**
   * Finds who catches the error, and goes on there. @returns how, which may be to raise another
   * @param below a coroutine of which functions in JavaScript may be running: its frames are theirs
   * @throws LuaError when that is somebody beyond this loop, or in `below`
   */
  caught(thrown: unknown, below?: Coroutine): number {
    this.nativeTop = 0
    let error = this.asError(thrown)
    if (this.traceback === '' && !this.#isCaught()) this.traceback = this.tracebackOf(this.co)
    for (;;) {
      const { co } = this
      while (co.depth > 0) {
        const frame = co.frames[co.depth] as Frame
        const isCatching = frame.kind >= PCALL && frame.kind <= HANDLER && !(error.isFinal && this.barrierDepth > 0)
        if (isCatching) {
          const { base } = frame
          const { S } = co
          if (frame.kind === XPCALL || (frame.kind === HANDLER && frame.heat < HANDLINGS_MAX)) {
            // What fails in the handler is handled, too.
            frame.kind = HANDLER
            frame.heat++
            S[base + 1] = frame.extra
            S[base + 2] = error.value
            try {
              const results = this.callAt(base + 1, 1)
              if (results !== RAISING) return results >= 0 ? this.deliver(base + 1, results) : results
              error = this.asError(this.#takeRaised())
            } catch (again) {
              error = this.asError(again)
            }
            continue
          }
          co.depth--
          co.protections--
          S[base] = false
          S[base + 1] = frame.kind === HANDLER ? 'error in error handling' : error.value
          return this.#handOver(base)
        }
        if (frame.kind === BARRIER) throw error
        co.depth--
        if (frame.kind >= PCALL && frame.kind <= HANDLER) co.protections--
      }
      co.status = 'dead'
      const to = co.resumer
      if (to === undefined) throw error
      this.leave(co, to)
      if (!co.isWrapped && !(error.isFinal && this.barrierDepth > 0)) {
        if (co === this.nested) {
          this.many = [false, error.value]
          this.#given = MULTI
          return EXITING
        }
        const top = this.#scratch(to)
        this.#ensure(to.S, top + 2)
        to.S[top] = false
        to.S[top + 1] = error.value
        return this.#handOver(top)
      }
      if (typeof error.value === 'string') error = new LuaError(this.where(1) + error.value, error.isFinal)
      if (co === this.nested || to === below) throw error
    }
  }

  /** Gives `false` and an error's value, which are at `at`, to who caught it. @returns as `deliver` */
  #handOver(at: number): number {
    try {
      return this.deliver(at, 2)
    } catch (thrown) {
      // Who caught it can do nothing with them, and may be caught in turn.
      return this.raiseLater(thrown)
    }
  }

  /**
   * For `pcall`, whose frame is at that depth: if that is who catches the error, it has the results at once.
   * @returns 2: `false` and the error's value, from the frame's base on; or how to go on
   */
  caughtAt(thrown: unknown, co: Coroutine, depth: number): number {
    const error = this.asError(thrown)
    if (this.co !== co || (error.isFinal && this.barrierDepth > 0)) return this.caught(error)
    for (let i = co.depth; i > depth; i--) {
      const { kind } = co.frames[i] as Frame
      if (kind !== LUA && kind !== NATIVE) return this.caught(error)
    }
    this.nativeTop = 0
    const { base } = co.frames[depth] as Frame
    co.depth = depth - 1
    co.protections--
    co.S[base] = false
    co.S[base + 1] = error.value
    return 2
  }

  /** For `pcall`, whose frame is at that depth: what it called has no results yet. @returns as `caughtAt` */
  raisedAt(next: number, co: Coroutine, depth: number): number {
    return next === RAISING ? this.caughtAt(this.#takeRaised(), co, depth) : next
  }

  asError(thrown: unknown): LuaError {
    if (thrown instanceof LuaError) return thrown
    return new LuaError(this.faultValue(thrown))
  }

  /** Whether a script catches what is thrown now. */
  #isCaught(): boolean {
    for (let co: Coroutine | undefined = this.co; co !== undefined; co = co.resumer) {
      for (let i = co.depth; i > 0; i--) {
        const { kind } = co.frames[i] as Frame
        if (kind >= PCALL && kind <= HANDLER) return true
      }
      if (co.resumer !== undefined && !co.isWrapped) return true
    }
    return false
  }

  /** Lets go of what a waiting coroutine does not need. */
  trim(co: Coroutine): void {
    if (co.frames.length > co.depth + FRAMES_KEPT) co.frames.length = co.depth + 8
    const needed = this.#scratch(co) + 2
    if (co.S.length > needed + (needed < SMALL_STACK ? SLOTS_KEPT : 4 * SLOTS_KEPT)) co.S.length = needed
  }

  /** @returns as `loop`, or CALLING: it is to be called again */
  #execute(): number {
    frames: for (;;) {
      const { co } = this
      const { S, frames } = co
      let frame = frames[co.depth] as Frame
      let fn = frame.fn as Closure
      let proto: Proto = fn.proto
      let code = proto.code
      let K = proto.constants
      let up = fn.up
      let base = frame.base
      let pc = frame.pc
      if (pc === 0) {
        if (proto.entry !== undefined && this.js <= REENTRY_MAX && frame.varargs.length < SPREAD_MAX) {
          const next = this.#enterCompiled(co, frame)
          if (next !== CALLING) return next
          continue
        }
        this.budget -= proto.cost
        if (this.budget < 0 && this.exhausted(proto.cost)) {
          // It is not paid twice.
          this.budget += proto.cost
          return SUSPENDING
        }
      }
      for (;;) {
        const i = code[pc++] as number
        // What is simple goes on with `continue`; what breaks off is done, or done all over, by `#slow`.
        switch (i & 255) {
          case 0: // MOVE
            S[base + ((i >>> 8) & 255)] = S[base + ((i >>> 16) & 255)]
            continue
          case 1: // LOADK
            S[base + ((i >>> 8) & 255)] = K[i >>> 16]
            continue
          case 4: // LOADBOOL
            S[base + ((i >>> 8) & 255)] = ((i >>> 16) & 255) !== 0
            if (i >>> 24 !== 0) pc++
            continue
          case 5: // GETUP
            S[base + ((i >>> 8) & 255)] = (up[(i >>> 16) & 255] as Box).v
            continue
          case 6: // SETUP
            ;(up[(i >>> 16) & 255] as Box).v = S[base + ((i >>> 8) & 255)]
            continue
          case 7: // GETTABUP
          case 10: {
            // GETFIELD
            const o = (i & 255) === 7 ? (up[(i >>> 16) & 255] as Box).v : S[base + ((i >>> 16) & 255)]
            const cache = proto.caches[pc]
            if (cache === undefined || !(o instanceof Table)) break
            if (o.shape === cache.shape) {
              const value = o.slots[cache.slot]
              if (value === undefined) break
              S[base + ((i >>> 8) & 255)] = value
              continue
            }
            if (o.shape !== cache.missShape || o.meta !== cache.missMeta || cache.missEpoch !== epoch.value) break
            S[base + ((i >>> 8) & 255)] = cache.value
            continue
          }
          case 8: // SETTABUP
          case 12: {
            // SETFIELD
            const o = (i & 255) === 8 ? (up[(i >>> 8) & 255] as Box).v : S[base + ((i >>> 8) & 255)]
            const cache = proto.caches[pc]
            if (cache === undefined || !(o instanceof Table) || o.shape !== cache.shape) break
            if (cache.next !== undefined || o.slots[cache.slot] === undefined) break
            o.slots[cache.slot] = S[base + (i >>> 24)]
            continue
          }
          case 9: {
            // GETTABLE
            const o = S[base + ((i >>> 16) & 255)]
            const key = S[base + (i >>> 24)]
            if (!(o instanceof Table) || typeof key !== 'number') break
            const { arr } = o
            if (!(key > 0 && key < arr.length && (key | 0) === key)) break
            const value = arr[key]
            if (value === undefined) break
            S[base + ((i >>> 8) & 255)] = value
            continue
          }
          case 11: {
            // SETTABLE
            const o = S[base + ((i >>> 8) & 255)]
            const key = S[base + ((i >>> 16) & 255)]
            const value = S[base + (i >>> 24)]
            if (typeof key !== 'number' || value === undefined || !(o instanceof Table)) break
            const { arr } = o
            if (key > 0 && (key | 0) === key) {
              if (key < arr.length) {
                if (o.meta !== undefined && arr[key] === undefined) break
                arr[key] = value
                continue
              }
              if (key === arr.length && o.meta === undefined && o.frozen === undefined) {
                o.append(value)
                this.allocated += 8
                continue
              }
            }
            break
          }
          case 13: {
            // NEWTABLE
            S[base + ((i >>> 8) & 255)] = new Table()
            this.allocated += 80
            continue
          }
          case 14: {
            // SELF
            const o = S[base + ((i >>> 16) & 255)]
            const cache = proto.caches[pc]
            if (cache === undefined || !(o instanceof Table)) break
            const a = base + ((i >>> 8) & 255)
            if (o.shape === cache.missShape && o.meta === cache.missMeta && cache.missEpoch === epoch.value) {
              S[a + 1] = o
              S[a] = cache.value
              continue
            }
            if (o.shape !== cache.shape) break
            const value = o.slots[cache.slot]
            if (value === undefined) break
            S[a + 1] = o
            S[a] = value
            continue
          }
          case 15: // GETBOX
            S[base + ((i >>> 8) & 255)] = (S[base + ((i >>> 16) & 255)] as unknown as Box).v
            continue
          case 16: // SETBOX
            ;(S[base + ((i >>> 8) & 255)] as unknown as Box).v = S[base + ((i >>> 16) & 255)]
            continue
          case 18: // ADD
          case 30: {
            // ADDK
            const x = S[base + ((i >>> 16) & 255)]
            const y = (i & 255) === 18 ? S[base + (i >>> 24)] : K[i >>> 24]
            if (typeof x !== 'number' || typeof y !== 'number') {
              if (!(x instanceof Float) || typeof y !== 'number') break
              S[base + ((i >>> 8) & 255)] = float(x.value + y)
              continue
            }
            const r = x + y
            if (!(((x | 0) === x && (y | 0) === y) || Math.floor(r) !== r)) break
            S[base + ((i >>> 8) & 255)] = r
            continue
          }
          case 19: // SUB
          case 31: {
            // SUBK
            const x = S[base + ((i >>> 16) & 255)]
            const y = (i & 255) === 19 ? S[base + (i >>> 24)] : K[i >>> 24]
            if (typeof x !== 'number' || typeof y !== 'number') break
            const r = x - y
            if (!(((x | 0) === x && (y | 0) === y) || Math.floor(r) !== r)) break
            S[base + ((i >>> 8) & 255)] = r
            continue
          }
          case 20: // MUL
          case 32: {
            // MULK
            const x = S[base + ((i >>> 16) & 255)]
            const y = (i & 255) === 20 ? S[base + (i >>> 24)] : K[i >>> 24]
            if (typeof x !== 'number' || typeof y !== 'number') break
            const r = x * y
            if (!(Math.floor(r) !== r || (r !== 0 && (r | 0) === r && (x | 0) === x && (y | 0) === y))) break
            S[base + ((i >>> 8) & 255)] = r
            continue
          }
          case 21: // MOD
          case 33: {
            // MODK
            const x = S[base + ((i >>> 16) & 255)]
            const y = (i & 255) === 21 ? S[base + (i >>> 24)] : K[i >>> 24]
            if (!(typeof x === 'number' && typeof y === 'number' && (x | 0) === x && (y | 0) === y && x >= 0 && y > 0))
              break
            S[base + ((i >>> 8) & 255)] = x % y
            continue
          }
          case 44: {
            // NOT
            const x = S[base + ((i >>> 16) & 255)]
            S[base + ((i >>> 8) & 255)] = x === undefined || x === false
            continue
          }
          case 47: {
            // JMP
            const by = i >> 8
            pc += by
            if (by >= 0) continue
            const heat = ++frame.heat
            this.budget += by
            if (this.budget >= 0 && heat <= this.roundsUntilHot) continue
            frame.pc = pc
            const next = this.#backwards(co, frame)
            if (next === COLD) continue
            return next
          }
          case 48: // EQ
          case 51: {
            // EQK
            const x = S[base + ((i >>> 16) & 255)]
            const y = (i & 255) === 48 ? S[base + (i >>> 24)] : K[i >>> 24]
            const isTrue = x === y
            if (!isTrue && x !== undefined && y !== undefined) {
              const isPlain = typeof x !== 'object' && typeof x !== 'bigint'
              if (!isPlain || typeof y === 'object' || typeof y === 'bigint') break
            }
            if (isTrue !== (((i >>> 8) & 255) !== 0)) pc++
            continue
          }
          case 49: // LT
          case 52: {
            // LTK
            const x = S[base + ((i >>> 16) & 255)]
            const y = (i & 255) === 49 ? S[base + (i >>> 24)] : K[i >>> 24]
            if (typeof x !== 'number' || typeof y !== 'number') break
            if (x < y !== (((i >>> 8) & 255) !== 0)) pc++
            continue
          }
          case 50: // LE
          case 53: {
            // LEK
            const x = S[base + ((i >>> 16) & 255)]
            const y = (i & 255) === 50 ? S[base + (i >>> 24)] : K[i >>> 24]
            if (typeof x !== 'number' || typeof y !== 'number') break
            if (x <= y !== (((i >>> 8) & 255) !== 0)) pc++
            continue
          }
          case 54: // GTK
          case 55: {
            // GEK
            const x = S[base + ((i >>> 16) & 255)]
            const y = K[i >>> 24]
            if (typeof x !== 'number' || typeof y !== 'number') break
            if (((i & 255) === 54 ? x > y : x >= y) !== (((i >>> 8) & 255) !== 0)) pc++
            continue
          }
          case 56: {
            // TEST
            const x = S[base + ((i >>> 8) & 255)]
            if ((x !== undefined && x !== false) !== (i >>> 24 !== 0)) pc++
            continue
          }
          case 58: {
            // CALL
            const at = base + ((i >>> 8) & 255)
            const b = (i >>> 16) & 255
            const count = b !== 0 ? b - 1 : co.top - at - 1
            const f = S[at]
            frame.pc = pc
            if (f instanceof Closure) {
              const callee = f.proto
              if (callee.entry !== undefined && count < SPREAD_MAX && this.js <= REENTRY_MAX) {
                const next = this.#callCompiled(callee.entry, f, i, at, count)
                if (next === DONE) continue
                if (next !== CALLING) return next
                continue frames
              }
              if (callee.heat >= 0 && ++callee.heat > this.callsUntilHot) this.compile(callee)
              if (callee.isVararg || co.depth + 1 >= frames.length || at + 8 + callee.size > S.length) {
                this.#enter(f, at, count)
                continue frames
              }
              frame = frames[++co.depth] as Frame
              base = at + 1
              frame.kind = LUA
              frame.fn = f
              frame.base = base
              frame.pc = 0
              frame.heat = 0
              frame.varargs = NO_ARGS
              for (let k = count; k < callee.parameterCount; k++) S[base + k] = undefined
              this.budget -= callee.cost
              if (this.budget < 0) {
                const isLeft = this.exhausted(callee.cost)
                if (isLeft || this.budget >= 0) {
                  // It is paid when the function begins.
                  this.budget += callee.cost
                  return isLeft ? SUSPENDING : CALLING
                }
              }
              fn = f
              proto = callee
              code = callee.code
              K = callee.constants
              up = f.up
              pc = 0
              continue
            }
            const results = f instanceof Native ? this.#callNative(f, S, at, count) : this.callAt(at, count)
            if (results < 0) {
              if (results !== CALLING) return results
              continue frames
            }
            const wanted = (i >>> 24) - 1
            if (wanted < 0) co.top = at + results
            else for (let k = results; k < wanted; k++) S[at + k] = undefined
            continue
          }
          case 60: // RETURN
          case 68: // RETURN0
          case 69: {
            // RETURN1
            const at = base + ((i >>> 8) & 255)
            const op = i & 255
            const b = (i >>> 16) & 255
            const count = op === 69 ? 1 : op === 68 ? 0 : b !== 0 ? b - 1 : co.top - at
            const depth = --co.depth
            frame = frames[depth] as Frame
            if (depth > 0 && frame.kind === LUA) {
              fn = frame.fn as Closure
              proto = fn.proto
              code = proto.code
              pc = frame.pc
              const call = code[pc - 1] as number
              if ((call & 255) === 58) {
                base = frame.base
                const to = base + ((call >>> 8) & 255)
                const wanted = (call >>> 24) - 1
                if (wanted === 1) S[to] = count > 0 ? S[at] : undefined
                else if (wanted < 0) {
                  for (let k = 0; k < count; k++) S[to + k] = S[at + k]
                  co.top = to + count
                } else {
                  for (let k = 0; k < wanted; k++) S[to + k] = k < count ? S[at + k] : undefined
                }
                K = proto.constants
                up = fn.up
                continue
              }
            }
            const next = this.deliver(at, count)
            if (next !== CALLING) return next
            continue frames
          }
          case 61: {
            // FORLOOP
            const a = base + ((i >>> 8) & 255)
            const step = S[a + 2]
            if (typeof step === 'number') {
              const value = (S[a] as number) + step
              if (step > 0 ? value > (S[a + 1] as number) : value < (S[a + 1] as number)) continue
              S[a] = value
              S[a + 3] = value
            } else if (!this.forNext(S, a)) continue
            const by = i >> 16
            pc += by
            const heat = ++frame.heat
            this.budget += by
            if (this.budget >= 0 && heat <= this.roundsUntilHot) continue
            frame.pc = pc
            const next = this.#backwards(co, frame)
            if (next === COLD) continue
            return next
          }
          case 63: {
            // TFORCALL
            const a = base + ((i >>> 8) & 255)
            const f = S[a]
            S[a + 3] = f
            S[a + 4] = S[a + 1]
            S[a + 5] = S[a + 2]
            frame.pc = pc
            const results = this.callAt(a + 3, 2)
            if (results < 0) {
              if (results !== CALLING) return results
              continue frames
            }
            const wanted = i >>> 24
            for (let k = results; k < wanted; k++) S[a + 3 + k] = undefined
            continue
          }
          case 64: {
            // TFORLOOP
            const a = base + ((i >>> 8) & 255)
            const control = S[a + 3]
            if (control === undefined) continue
            S[a + 2] = control
            const by = i >> 16
            pc += by
            const heat = ++frame.heat
            this.budget += by
            if (this.budget >= 0 && heat <= this.roundsUntilHot) continue
            frame.pc = pc
            const next = this.#backwards(co, frame)
            if (next === COLD) continue
            return next
          }
          case 70: {
            // GETI
            const o = S[base + ((i >>> 16) & 255)]
            const key = i >>> 24
            if (!(o instanceof Table)) break
            const { arr } = o
            if (key >= arr.length) break
            const value = arr[key]
            if (value === undefined) break
            S[base + ((i >>> 8) & 255)] = value
            continue
          }
        }
        frame.pc = pc
        const next = this.#slow(i, co, frame)
        if (next === DONE) {
          pc = frame.pc
          continue
        }
        if (next !== CALLING) return next
        continue frames
      }
    }
  }

  /** After a jump backwards, when the budget is used up or the loop is hot. @returns how to go on, or COLD: in place */
  #backwards(co: Coroutine, frame: Frame): number {
    if (this.budget < 0) {
      if (this.exhausted()) return SUSPENDING
      // With another slice it begins anew: V8 compiles a function sooner, and better, than a loop that is running.
      if (this.budget >= 0) return CALLING
    }
    return frame.heat > this.roundsUntilHot ? this.#enterLoop(co, frame) : COLD
  }

  /** An instruction CALL whose function is in JavaScript. @returns how to go on, or DONE */
  #callCompiled(entry: Entry, f: Closure, i: number, at: number, count: number): number {
    const { co } = this
    const { S } = co
    const value = this.#compiled(entry, f, S, at + 1, count)
    if (value === UNWIND) return this.pending
    const wanted = (i >>> 24) - 1
    if (value !== MULTI) {
      S[at] = value
      if (wanted < 0) co.top = at + 1
      else for (let k = 1; k < wanted; k++) S[at + k] = undefined
      return DONE
    }
    const { many } = this
    if (wanted < 0) {
      this.room(S, at, many.length)
      co.top = at + many.length
    }
    const end = wanted < 0 ? many.length : wanted
    for (let k = 0; k < end; k++) S[at + k] = many[k]
    return DONE
  }

  /**
   * Does an instruction of any kind but jumps, calls and returns, the frame's `pc` behind it. Apart from `#execute`, which V8 would otherwise
   * compile over and over: each time that a program does something for the first time.
   * @returns how to go on, or DONE
   */
  #slow(i: number, co: Coroutine, frame: Frame): number {
    const { S } = co
    const { base } = frame
    const { proto, up } = frame.fn as Closure
    const { constants: K } = proto
    const op = i & 255
    const a = base + ((i >>> 8) & 255)
    const b = (i >>> 16) & 255
    const c = i >>> 24
    let value: Val
    switch (op) {
      case 2: // LOADKX
        S[a] = K[proto.code[frame.pc++] as number]
        return DONE
      case 3: // LOADNIL
        for (let k = a + b; k >= a; k--) S[k] = undefined
        return DONE
      case 7: // GETTABUP
      case 10: {
        // GETFIELD
        const o = op === 7 ? (up[b] as Box).v : S[base + b]
        value = this.getField(o, K[c] as string, proto.caches[frame.pc] ?? newCache(proto, frame.pc))
        break
      }
      case 8: // SETTABUP
      case 12: {
        // SETFIELD
        const o = op === 8 ? (up[a - base] as Box).v : S[a]
        const cache = proto.caches[frame.pc] ?? newCache(proto, frame.pc)
        return this.storeField(o, K[b] as string, S[base + c], cache) === PENDING ? this.pending : DONE
      }
      case 9: // GETTABLE
        value = this.fetch(S[base + b], S[base + c])
        break
      case 11: // SETTABLE
        return this.setIndex(S[a], S[base + b], S[base + c]) === PENDING ? this.pending : DONE
      case 14: {
        // SELF
        const o = S[base + b]
        S[a + 1] = o
        value = this.getField(o, K[c] as string, proto.caches[frame.pc] ?? newCache(proto, frame.pc))
        break
      }
      case 17: // NEWBOX
        S[a] = new Box(S[a]) as unknown as Val
        return DONE
      case 42: // UNM
        value = this.unaryMinus(S[base + b])
        break
      case 43: // BNOT
        value = this.bitwiseNot(S[base + b])
        break
      case 45: // LEN
        value = this.lengthOf(S[base + b])
        break
      case 46: {
        // CONCAT
        const next = this.#concat(frame, i, c)
        if (next !== CALLING) return next
        return co.frames[co.depth] === frame && this.co === co ? DONE : CALLING
      }
      case 48: // EQ
      case 51: // EQK
        return this.#decide(this.equals(S[base + b], op === 48 ? S[base + c] : K[c]), i, frame)
      case 49: // LT
      case 52: // LTK
        return this.#decide(this.less(S[base + b], op === 49 ? S[base + c] : K[c]), i, frame)
      case 50: // LE
      case 53: // LEK
        return this.#decide(this.lessOrEqual(S[base + b], op === 50 ? S[base + c] : K[c]), i, frame)
      case 54: // GTK
        return this.#decide(this.less(K[c], S[base + b]), i, frame)
      case 55: // GEK
        return this.#decide(this.lessOrEqual(K[c], S[base + b]), i, frame)
      case 59: // TAILCALL
        return this.#tailCall(co, frame, a, b !== 0 ? b - 1 : co.top - a - 1)
      case 62: // FORPREP
        if (!this.forPrepare(S, a)) frame.pc += i >> 16
        return DONE
      case 65: // SETLIST
        this.setList(S[a] as Table, S, a, proto.code[frame.pc++] as number, b !== 0 ? b : co.top - a - 1)
        return DONE
      case 66: // CLOSURE
        S[a] = makeClosure(proto.protos[i >>> 16] as Proto, S, base, up)
        this.allocated += 64
        return DONE
      case 67: {
        // VARARG
        const { varargs } = frame
        const count = b !== 0 ? b - 1 : varargs.length
        if (b === 0) {
          if (a + count + 8 > S.length) this.#ensure(S, a + count + 8)
          co.top = a + count
        }
        for (let k = 0; k < count; k++) S[a + k] = varargs[k]
        return DONE
      }
      case 70: // GETI
        value = this.fetch(S[base + b], c)
        break
      case 71: // SETI
        return this.setIndex(S[a], b, S[base + c]) === PENDING ? this.pending : DONE
      default: {
        // ADD … SHR, with a register or a constant
        if (op < 18 || op >= 42) throw new Error(`no instruction ${op}`)
        const x = S[base + b]
        const y = op < 30 ? S[base + c] : K[c]
        const operation = op < 30 ? op - 18 : op - 30
        value = this.#arithmetic(operation, x, y)
      }
    }
    if (value === PENDING) return this.pending
    S[a] = value
    return DONE
  }

  #arithmetic(operation: number, x: Val, y: Val): Val {
    if (typeof x === 'number' && typeof y === 'number') {
      if (operation === 5) {
        const r = x / y
        if (Math.floor(r) !== r) return r
      } else if ((x | 0) === x && (y | 0) === y) {
        if (operation === 7) return x & y
        if (operation === 8) return x | y
        if (operation === 9) return x ^ y
        if (operation === 6 && y > 0) return Math.floor(x / y)
      }
    }
    if (operation === 0) return this.add(x, y)
    if (operation === 1) return this.subtract(x, y)
    return operation === 2 ? this.multiply(x, y) : this.arith(operation, x, y)
  }

  /** What a comparison found decides whether the jump behind it is skipped. @returns how to go on, or DONE */
  #decide(isTrue: Val, i: number, frame: Frame): number {
    if (isTrue === PENDING) return this.pending
    if (isTrue !== (((i >>> 8) & 255) !== 0)) frame.pc++
    return DONE
  }

  #tailCall(co: Coroutine, { base }: Frame, at: number, given: number): number {
    const { S } = co
    let count = given
    let f = S[at]
    if (!(f instanceof Closure) && !(f instanceof Native)) {
      const handler = this.metaOf(f)?.getStr('__call')
      if (handler instanceof Closure) {
        for (let k = at + count; k >= at; k--) S[k + 1] = S[k]
        S[at] = handler
        f = handler
        count++
      }
    }
    if (f instanceof Closure) {
      for (let k = 0; k <= count; k++) S[base - 1 + k] = S[at + k]
      co.depth--
      this.#enter(f, base - 1, count)
      return CALLING
    }
    const results = this.callAt(at, count)
    if (results < 0) return results
    co.top = at + results
    return DONE
  }

  // ---- functions in JavaScript (jit.ts)

  /** Functions in JavaScript that call each other now. */
  js = 0
  /** The results of the last of them that has not one. */
  many: Val[] = NO_ARGS
  ipairsNative: Native | undefined = undefined
  nextNative: Native | undefined = undefined
  selectNative: Native | undefined = undefined
  stepKey: Val = undefined
  stepValue: Val = undefined
  /** Calls of a function before it is made into JavaScript. */
  callsUntilHot = 20
  /** Rounds of loops in one call, likewise. */
  roundsUntilHot = 40
  /** Off: everything is done by the loop. */
  isCompiling = true

  /** The function in JavaScript, if it has become one by being called so often, and may be called now. */
  entryOf({ proto }: Closure): Entry | undefined {
    this.warm(proto)
    return this.js <= REENTRY_MAX ? proto.entry : undefined
  }

  /** It is called once more. */
  warm(proto: Proto): void {
    if (proto.heat >= 0 && ++proto.heat > this.callsUntilHot) this.compile(proto)
  }

  compile(proto: Proto): void {
    proto.heat = -1
    if (this.isCompiling) proto.entry = compileEntry(proto, undefined, PENDING)
  }

  #compiled(entry: Entry, f: Closure, S: Val[], base: number, count: number): Val {
    switch (count) {
      case 0:
        return entry(this, f, base)
      case 1:
        return entry(this, f, base, S[base])
      case 2:
        return entry(this, f, base, S[base], S[base + 1])
      case 3:
        return entry(this, f, base, S[base], S[base + 1], S[base + 2])
      default:
        return entry(this, f, base, ...S.slice(base, base + count))
    }
  }

  /** Runs the function of a frame that has not begun. @returns how to go on */
  #enterCompiled(co: Coroutine, frame: Frame): number {
    const { fn, base, varargs } = frame
    const { proto } = fn as Closure
    const { S } = co
    co.depth--
    const args = S.slice(base, base + proto.parameterCount)
    if (varargs.length > 0) args.push(...varargs)
    return this.#left((proto.entry as Entry)(this, fn, base, ...args), S, base)
  }

  /** Goes on with a loop that has become hot, in JavaScript. @returns how to go on, or COLD */
  #enterLoop(co: Coroutine, frame: Frame): number {
    const { fn, base, pc } = frame
    const { proto } = fn as Closure
    if (frame.heat < this.roundsUntilHot + proto.unwound || this.js > REENTRY_MAX) return COLD
    let entry = proto.loops.get(pc)
    if (entry === undefined) {
      if (!this.isCompiling || proto.loops.has(pc)) {
        frame.heat = HEAT_NEVER
        return COLD
      }
      // Behind a loop that was hot comes another: it has yet to show that it is, or that there is one around both.
      const rounds = frame.heat - HEAT_LEFT
      if (rounds >= 0 && rounds <= this.roundsUntilHot && !isAround(proto, pc)) return COLD
      entry = compileEntry(proto, pc, PENDING, floatsAmong(co.S, base, proto.size))
      proto.loops.set(pc, entry)
      if (entry === undefined) return COLD
      // It is left once soon, and begun again: what V8 compiles then knows the way out, and does not have to be thrown away for it.
      if (this.held === 0 && this.budget > TRIAL_BUDGET) {
        this.held = this.budget - TRIAL_BUDGET
        this.budget = TRIAL_BUDGET
      }
    }
    const { S } = co
    this.#ensure(S, base + proto.size + 8)
    return this.#left(entry(this, fn, base, frame), S, base)
  }

  /** Goes on with a coroutine whose call has returned, in JavaScript if it often is there. @returns how to go on, or COLD */
  #enterPlace(co: Coroutine): number {
    const frame = co.frames[co.depth] as Frame
    const { fn, base, pc } = frame
    const { proto } = fn as Closure
    const entry = proto.places[pc]?.entry ?? this.#placeEntry(co, frame)
    if (entry === undefined) return COLD
    const { S } = co
    if (base + proto.size + 8 > S.length) this.#ensure(S, base + proto.size + 8)
    return this.#left(entry(this, fn, base, frame), S, base)
  }

  #placeEntry(co: Coroutine, { fn, base, pc }: Frame): Entry | undefined {
    if (pc === 0) return undefined
    const { proto } = fn as Closure
    const call = proto.code[pc - 1] as number
    // Open results are not in registers.
    if ((call & 255) !== 58 || call >>> 24 === 0) return undefined
    const { places } = proto
    let place = places[pc]
    if (place === undefined) {
      place = new Place()
      while (places.length <= pc) places.push(undefined)
      places[pc] = place
    }
    if (place.heat < 0 || ++place.heat <= this.callsUntilHot) return undefined
    place.heat = -1
    if (++proto.placeCount * proto.code.length <= PLACES_CODE_MAX)
      place.entry = compileEntry(proto, pc, PENDING, floatsAmong(co.S, base, proto.size), false)
    return place.entry
  }

  /** Runs a coroutine that a function in JavaScript has resumed, until it gives something. @returns what it gives, or UNWIND */
  #runNested(inner: Coroutine): Val {
    const { js, nested } = this
    this.nested = inner
    try {
      let next = COLD
      do {
        this.js = js + LOOP_COST
        try {
          if (next === RAISING) throw this.#takeRaised()
          if (next === COLD) next = this.#enterPlace(inner)
          if (next < 0 && next !== CALLING) continue
          next = this.#execute()
        } catch (thrown) {
          // If it has been left, this is an error of whoever resumed it.
          if (inner.resumer === undefined) throw thrown
          next = this.caught(thrown)
        }
      } while (next === CALLING || next === RAISING)
      if (next === EXITING) return this.#given
      this.pending = next
      return UNWIND
    } finally {
      this.js = js
      this.nested = nested
    }
  }

  /** A function in JavaScript has returned, or given up. @returns how to go on */
  #left(value: Val, S: Val[], base: number): number {
    if (value === UNWIND) return this.pending
    const at = base - 1
    if (value !== MULTI) {
      S[at] = value
      return this.deliver(at, 1)
    }
    const { many } = this
    this.room(S, at, many.length)
    for (let k = 0; k < many.length; k++) S[at + k] = many[k]
    return this.deliver(at, many.length)
  }

  /** Makes a frame for a call that cannot go on now. */
  park(f: Closure, base: number, args: Val[], pending: number): Val {
    const { S } = this.co
    if (base + args.length + 8 > S.length) this.#ensure(S, base + args.length + 8)
    for (let i = 0; i < args.length; i++) S[base + i] = args[i]
    this.#enter(f, base - 1, args.length)
    this.pending = pending
    return UNWIND
  }

  grow(co: Coroutine, length: number): void {
    if (co.depth + 1 >= DEPTH_MAX) throw this.error('stack overflow')
    if (co.frames.length <= co.depth + 1) {
      co.frames.push(new Frame())
      this.allocated += 160
    }
    if (length > co.S.length) this.#ensure(co.S, length)
  }

  /** Takes the frame of a function out that has nothing left to do but to return what its callee returns. */
  dropFrame(co: Coroutine, depth: number): void {
    const { frames, S } = co
    const frame = frames[depth] as Frame
    const callee = frames[depth + 1] as Frame
    if (co.depth === depth + 1 && callee.kind === LUA) {
      // Its registers move down, or endless tail calls would fill the stack.
      const size = (callee.fn as Closure).proto.size
      // Several values that it has just been given may stand above them.
      const from = callee.base - 1
      move(S, from, frame.base - 1, Math.max(callee.base + size, co.top) - from)
      co.top -= callee.base - frame.base
      callee.base = frame.base
    }
    frames.splice(depth, 1)
    frames.push(frame)
    co.depth--
  }

  call0(f: Val, at: number): Val {
    return this.callMany(f, at, NO_ARGS)
  }

  call1(f: Val, at: number, a: Val): Val {
    if (!(f instanceof Native)) return this.callMany(f, at, [a])
    const { S } = this.co
    S[at + 1] = a
    return this.#nativeResult(f, S, at, 1)
  }

  call2(f: Val, at: number, a: Val, b: Val): Val {
    if (!(f instanceof Native)) return this.callMany(f, at, [a, b])
    const { S } = this.co
    S[at + 1] = a
    S[at + 2] = b
    return this.#nativeResult(f, S, at, 2)
  }

  call3(f: Val, at: number, a: Val, b: Val, c: Val): Val {
    if (!(f instanceof Native)) return this.callMany(f, at, [a, b, c])
    const { S } = this.co
    S[at + 1] = a
    S[at + 2] = b
    S[at + 3] = c
    return this.#nativeResult(f, S, at, 3)
  }

  callMany(f: Val, at: number, args: Val[]): Val {
    if (f instanceof Closure && args.length < SPREAD_MAX) {
      // Called from hot code, so it will be hot itself.
      if (f.proto.heat >= 0) this.compile(f.proto)
      if (f.proto.entry !== undefined) return f.proto.entry(this, f, at + 1, ...args)
    }
    const { S } = this.co
    if (at + args.length + 8 > S.length) this.#ensure(S, at + args.length + 8)
    for (let i = 0; i < args.length; i++) S[at + 1 + i] = args[i]
    return this.#nativeResult(f, S, at, args.length)
  }

  #nativeResult(f: Val, S: Val[], at: number, count: number): Val {
    S[at] = f
    const { depth } = this.co
    const results = f instanceof Native ? this.#callNative(f, S, at, count) : this.callAt(at, count)
    if (results === 1) return S[at]
    if (results < 0) return this.#waitFor(results, S, depth)
    this.many = results === 0 ? NO_ARGS : S.slice(at, at + results)
    return MULTI
  }

  /** A native function, called at that depth, has no results yet. @returns those of a coroutine that it has resumed, or UNWIND */
  #waitFor(started: number, S: Val[], depth: number): Val {
    this.pending = started
    if (started !== CALLING) return UNWIND
    const { co } = this
    const from = co.resumer
    // Frames above it would stand between the two.
    if (from === undefined || from.S !== S || from.depth !== depth || this.js > REENTRY_MAX) return UNWIND
    return this.#runNested(co)
  }

  /** @returns as `callAt` */
  #callNative(f: Native, S: Val[], at: number, count: number): number {
    if (f.role !== PLAIN) {
      const next = this.#switch(f, S, at, count)
      if (next !== 0) return next
    }
    return this.#native(f, S, at, count)
  }

  /**
   * What `yield`, `resume` and the functions of `wrap` mostly do: they hand values from a Lua function to one that waits at a call.
   * @returns how to go on, or 0: this is another case, for the function itself
   */
  #switch(f: Native, S: Val[], at: number, count: number): number {
    const { co } = this
    if (f.role === YIELDS) {
      const to = co.resumer
      if (to === undefined || co.barriers > 0) return 0
      if (co === this.nested) {
        co.status = 'suspended'
        this.leave(co, to)
        return this.exit(co, S, at + 1, count)
      }
      if (!this.#give(to, S, at + 1, count, !co.isWrapped)) return 0
      co.status = 'suspended'
      this.leave(co, to)
      return CALLING
    }
    const isWrapped = f.role === WRAPS
    const inner = isWrapped ? f.held : count > 0 ? S[at + 1] : undefined
    if (!(inner instanceof Coroutine) || inner.status !== 'suspended' || inner.depth === 0 || inner.isRoot) return 0
    const first = isWrapped ? 1 : 2
    if (co.nesting >= NESTING_MAX || !this.#give(inner, S, at + first, count + 1 - first, false)) return 0
    this.goInto(inner, isWrapped)
    return CALLING
  }

  /** Values become the results that an instruction CALL of another coroutine waits for. @returns whether it waits at one */
  #give(to: Coroutine, S: Val[], at: number, count: number, isPrefixed: boolean): boolean {
    const { kind, fn, base, pc } = to.frames[to.depth] as Frame
    if (kind !== LUA) return false
    const i = (fn as Closure).proto.code[pc - 1] as number
    if ((i & 255) !== 58 || i >>> 24 === 0) return false
    let register = base + ((i >>> 8) & 255)
    const end = register + (i >>> 24) - 1
    const target = to.S
    if (isPrefixed && register < end) target[register++] = true
    for (let k = 0; register < end; k++) target[register++] = k < count ? S[at + k] : undefined
    return true
  }

  /** The next pair of a table, as `stepKey` and `stepValue`. @returns whether it was one that `next` takes */
  step(table: Val, key: Val): boolean {
    if (!(table instanceof Table)) return false
    const from = table.position(key)
    if (from < 0) return false
    const position = table.nextPosition(from)
    this.stepKey = position === 0 ? undefined : table.keyAt(position)
    this.stepValue = position === 0 ? undefined : table.valueAt(position)
    return true
  }

  /** `o[key]`. @returns the value, or PENDING */
  fetch(o: Val, key: Val): Val {
    if (o instanceof Table) {
      const value = typeof key === 'number' ? o.getNum(key) : typeof key === 'string' ? o.getStr(key) : o.get(key)
      if (value !== undefined || o.meta === undefined) return value
    }
    return this.index(o, key)
  }

  /** `o[key] = value`. @returns undefined, or PENDING */
  store(o: Val, key: Val, value: Val): Val {
    if (typeof key === 'number' && value !== undefined && o instanceof Table && key > 0 && (key | 0) === key) {
      const { arr } = o
      if (key < arr.length) {
        if (o.meta === undefined || arr[key] !== undefined) {
          arr[key] = value
          return undefined
        }
      } else if (key === arr.length && o.meta === undefined && o.frozen === undefined) {
        o.append(value)
        this.allocated += 8
        return undefined
      }
    }
    return this.setIndex(o, key, value)
  }

  /** `o[key] = value` for a constant key. @returns undefined, or PENDING */
  storeField(o: Val, key: string, value: Val, cache: Cache): Val {
    if (
      o instanceof Table &&
      o.shape === cache.shape &&
      cache.next !== undefined &&
      value !== undefined &&
      (o.meta === undefined || (o.meta === cache.missMeta && cache.missEpoch === epoch.value))
    ) {
      o.addSlot(value)
      o.shape = cache.next
      this.allocated += 16
      return undefined
    }
    return this.setField(o, key, value, cache)
  }

  add(a: Val, b: Val): Val {
    if (typeof a === 'number' && typeof b === 'number') {
      const result = a + b
      if (Number.isSafeInteger(result) && Number.isSafeInteger(a) && Number.isSafeInteger(b)) return result
      return this.arith(0, a, b)
    }
    const x = typeof a === 'number' ? a : a instanceof Float ? a.value : undefined
    const y = typeof b === 'number' ? b : b instanceof Float ? b.value : undefined
    if (x === undefined || y === undefined) return this.arith(0, a, b)
    return float(x + y)
  }

  subtract(a: Val, b: Val): Val {
    if (typeof a === 'number' && typeof b === 'number') {
      const result = a - b
      if (Number.isSafeInteger(result) && Number.isSafeInteger(a) && Number.isSafeInteger(b)) return result
      return this.arith(1, a, b)
    }
    const x = typeof a === 'number' ? a : a instanceof Float ? a.value : undefined
    const y = typeof b === 'number' ? b : b instanceof Float ? b.value : undefined
    if (x === undefined || y === undefined) return this.arith(1, a, b)
    return float(x - y)
  }

  multiply(a: Val, b: Val): Val {
    if (typeof a === 'number' && typeof b === 'number') {
      const result = a * b
      if (Number.isSafeInteger(result) && Number.isSafeInteger(a) && Number.isSafeInteger(b)) return result + 0
      return this.arith(2, a, b)
    }
    const x = typeof a === 'number' ? a : a instanceof Float ? a.value : undefined
    const y = typeof b === 'number' ? b : b instanceof Float ? b.value : undefined
    if (x === undefined || y === undefined) return this.arith(2, a, b)
    return float(x * y)
  }

  /** Two values by `..`; undefined when that takes a metamethod. */
  join2(a: Val, b: Val): Val {
    const x = typeof a === 'string' ? a : isNumber(a) ? numberToString(a) : undefined
    const y = typeof b === 'string' ? b : isNumber(b) ? numberToString(b) : undefined
    if (x === undefined || y === undefined) return undefined
    this.#checkJoined(x, y)
    return x + y
  }

  join(parts: Val[]): Val {
    let text = ''
    for (let i = parts.length - 1; i >= 0; i--) {
      const part = parts[i]
      if (typeof part === 'string') text = part + text
      else if (isNumber(part)) text = numberToString(part) + text
      else return undefined
      if (text.length > STRING_BYTES_MAX) break
    }
    this.checkLength(text.length)
    return this.made(text)
  }

  fillList(table: Table, stored: number, values: Val[]): void {
    this.allocated += values.length * 8
    if (stored === 0 && table.arr.length === 1 && table.hash === undefined) {
      while (values.length > 1 && values[values.length - 1] === undefined) values.pop()
      if (values.length > 1) table.arr = values
      return
    }
    for (let k = 1; k < values.length; k++) table.setNum(stored + k, values[k])
  }

  #native(f: Native, S: Val[], at: number, count: number): number {
    if (at + count + 6 > S.length) this.#ensure(S, at + count + 6)
    for (let k = count + 1; k <= 4; k++) S[at + k] = undefined
    const { native, nativeTop } = this
    this.native = f
    this.nativeTop = at + count + 1
    const results = f.code(this, S, at, count)
    this.native = native
    this.nativeTop = nativeTop
    return results
  }

  /** Values behind register `a` into a new table. */
  setList(table: Table, S: Val[], a: number, stored: number, count: number): void {
    this.allocate(count * 8)
    if (stored === 0 && table.arr.length === 1 && table.hash === undefined && count > 0) {
      const values: Val[] = [undefined]
      for (let k = 1; k <= count; k++) values.push(S[a + k])
      while (values.length > 1 && values[values.length - 1] === undefined) values.pop()
      if (values.length > 1) table.arr = values
      return
    }
    for (let k = 1; k <= count; k++) table.setNum(stored + k, S[a + k])
  }

  /** Room for a native function that leaves `count` results from `S[at]` on. */
  room(S: Val[], at: number, count: number): void {
    if (at + count + 8 > S.length) this.#ensure(S, at + count + 8)
  }
}

/** Whether the place of the frame is taken by its callee, a Lua function, though in JavaScript it is still there. */
function isReplaced(co: Coroutine, depth: number): boolean {
  if (depth >= co.depth || co.frames[depth + 1]?.kind !== LUA) return false
  const { kind, fn, pc } = co.frames[depth] as Frame
  return kind === LUA && ((fn as Closure).proto.code[pc - 1] as number) % 256 === 59
}

/** Of the registers of a frame those that hold floats. */
function floatsAmong(S: readonly Val[], base: number, size: number): number[] {
  const registers: number[] = []
  for (let r = 0; r < size; r++) {
    if (isFloat(S[base + r])) registers.push(r)
  }
  return registers
}

/** Whether the loop that begins there has one in it, or behind it, that is in JavaScript. */
function isAround(proto: Proto, pc: number): boolean {
  for (const start of proto.loops.keys()) if (start > pc) return true
  return false
}

/** Values within a stack or a list. V8's `copyWithin` takes several times as long. */
export function move(S: Val[], from: number, to: number, count: number): void {
  if (to < from) for (let k = 0; k < count; k++) S[to + k] = S[from + k]
  else if (to > from) for (let k = count - 1; k >= 0; k--) S[to + k] = S[from + k]
}

function newCache(proto: Proto, pc: number): Cache {
  const cache = new NewCache()
  while (proto.caches.length <= pc) proto.caches.push(undefined)
  proto.caches[pc] = cache
  return cache
}

function makeClosure(proto: Proto, S: readonly Val[], base: number, up: readonly Box[]): Closure {
  const boxes: Box[] = []
  for (const { register, index } of proto.upvalues) {
    boxes.push(register >= 0 ? (S[base + register] as unknown as Box) : (up[index] as Box))
  }
  return new Closure(proto, boxes)
}

/** The limit of a loop of integers that is a float; undefined: no round. */
function clipped(limit: number, isUp: boolean): number | bigint | undefined {
  if (Number.isNaN(limit)) return undefined
  const whole = floatToInteger(isUp ? Math.floor(limit) : Math.ceil(limit))
  if (whole !== undefined) return whole
  if (limit > 0) return isUp ? 2n ** 63n - 1n : undefined
  return isUp ? undefined : -(2n ** 63n)
}

/** A text counts as a float. */
function loopNumber(value: Val): Num | undefined {
  const number = toNumber(value)
  return number === undefined || typeof value !== 'string' ? number : asFloat(number)
}

const asFloat = (value: Num): Num => float(toDouble(value))

/** How a traceback calls the function of a frame. */
function frameName(co: Coroutine, depth: number): string {
  const { proto } = (co.frames[depth] as Frame).fn as Closure
  if (proto.line === 0) return 'main chunk'
  const caller = depth > 1 ? co.frames[depth - 1] : undefined
  if (caller?.kind === LUA) {
    const described = caller.fn?.proto.names[caller.pc - 1]?.[0]
    const op = ((caller.fn as Closure).proto.code[caller.pc - 1] as number) & 255
    if (described !== undefined && op === 58)
      return described.startsWith('global ') ? `function ${described.slice(7)}` : described
  }
  return `function <${proto.chunkName}:${proto.line}>`
}
