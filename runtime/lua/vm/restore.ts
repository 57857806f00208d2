// Makes of a document what save.ts wrote down. A document may come from anywhere: whatever it says is checked before the machine works with
// it. What it asks for in memory is added up while it is read, and nothing is reserved for what is not there.

import { MoonmeshError } from '../../base/errors.ts'
import { ErrorValue, Float, TableValue, type Value } from '../../base/value.ts'
import { DEPTH_MAX as INNERMOST, ValueReader, WireError } from '../../relay/wire/values.ts'
import {
  ErrorObject,
  GLOBALS_PREFIX,
  type HostClass,
  type HostObject,
  type LuaValue,
  type Restored,
  type SharedThings,
} from '../engine.ts'
import { compiledHash, KIND, LOOPS, STATUS, WAITS } from './heap-form.ts'
import { CONTINUATIONS, Wrap } from './lib-base.ts'
import { GlobalMatch } from './lib-string.ts'
import { BOX, DEAD, Liveness, LOOP, LOOP_REST, VALUE } from './liveness.ts'
import { LongStrings } from './long-strings.ts'
import { DEPTH_MAX, NESTING_MAX, SLOTS_MAX } from './machine.ts'
import { Proto } from './proto.ts'
import { Table } from './table.ts'
import {
  Box,
  Closure,
  type Continuation,
  Coroutine,
  Frame,
  HANDLER,
  LUA,
  NATIVE,
  Native,
  NO_ARGS,
  PCALL,
  Root,
  type Val,
  XPCALL,
} from './value.ts'

/** What the restorer asks of the engine. */
interface RestoringEngine {
  classOf(className: string): HostClass | undefined
  /** The metatable of globals over the shared table. */
  globalsOver(base: Table): Table
}

/** What one node takes, in bytes, beside what is counted on its own. */
const NODE_BYTES = 250
const COROUTINE_BYTES = 600
const FRAME_BYTES = 160
const SLOT_BYTES = 16
/** Room that the machine keeps above a frame. */
const SLACK = 8

type Node = object | string

/** What stands for something until it is read. */
const NO_CODE = new Proto()
const NO_COROUTINE = new Coroutine()
const NO_ERROR = new ErrorValue('', '')
const NO_OBJECT = {}

const damaged = (what: string): WireError => new WireError(what)

const conflict = (what: string): MoonmeshError =>
  new MoonmeshError('Conflict', `cannot resume the process here: ${what}`, { retryable: false })

export class Restorer {
  readonly #engine: RestoringEngine
  readonly #shared: SharedThings
  readonly #owner: unknown
  readonly #reader: Reader
  #bytesLeft: number
  #kinds = ''
  readonly #nodes: Node[] = []
  readonly #chunks: Proto[] = []
  readonly #constants = new Set<string>()
  readonly #liveness = new Map<Proto, Liveness>()
  /** Objects whose contents follow. */
  readonly #objects: { object: HostObject; definition: HostClass; values: LuaValue[] }[] = []
  readonly #chained = new Set<Coroutine>()
  /** Each root with the coroutines that it waits for, from the outside in. */
  readonly #chains: Coroutine[][] = []
  /** How each coroutine says that it stands. */
  readonly #status = new Map<Coroutine, number>()
  readonly roots: Root[] = []
  /** Of what has been read. */
  readonly longStrings = new LongStrings()

  constructor(
    engine: RestoringEngine,
    shared: SharedThings,
    owner: unknown,
    bytes: Uint8Array,
    memoryBytesMax: number,
  ) {
    this.#engine = engine
    this.#shared = shared
    this.#owner = owner
    this.#bytesLeft = memoryBytesMax
    this.#reader = new Reader(
      Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength),
      (number) => this.#nodes[number],
    )
  }

  /** @throws MoonmeshError */
  restore(): Restored {
    try {
      return this.#read()
    } catch (error) {
      if (!(error instanceof WireError)) throw error
      throw new MoonmeshError('Invalid', `the document is damaged: ${error.message}`, {
        retryable: false,
        cause: error,
      })
    }
  }

  #read(): Restored {
    const reader = this.#reader
    this.#count(9, 'a document')
    this.#kinds = reader.text()
    this.#charge(this.#kinds.length * NODE_BYTES)
    const strings = reader.list(() => this.#charged(reader.text()))
    const names = reader.list(() => reader.text())
    reader.list(() => this.#code())
    this.#allocate(strings, names)
    this.#each([KIND.DATA, KIND.ERROR], (node) => this.#data(node as TableValue | ErrorValue))
    this.#makeObjects()
    const simple: string[] = [KIND.STRING, KIND.SHARED, KIND.GLOBALS, KIND.DATA, KIND.ERROR, KIND.OBJECT]
    this.#each(
      [...new Set(this.#kinds)].filter((kind) => !simple.includes(kind)),
      (node) => this.#fill(node),
    )
    this.#link()
    this.#count(this.#objects.length, 'values')
    for (const { values } of this.#objects) for (const value of this.#values()) values.push(value)
    this.#count(2, 'a root')
    const data = reader.list(() => this.#datum())
    const values = this.#values()
    if (!reader.isAtEnd) throw damaged('something follows its end')
    return { data, values, fill: () => this.#fillObjects() }
  }

  /** A list of so many parts. */
  #count(expected: number, what: string): void {
    if (this.#reader.fields() !== expected) throw damaged(`${what} of another form`)
  }

  /** @throws MoonmeshError when it is more than a process may hold */
  #charge(bytes: number): void {
    this.#bytesLeft -= bytes
    if (this.#bytesLeft < 0) {
      throw new MoonmeshError('LimitExceeded', 'the document holds more than a process may (memory limit)', {
        retryable: false,
      })
    }
  }

  #charged(text: string): string {
    this.#charge(text.length)
    this.longStrings.add(text.length)
    return text
  }

  // ---- names

  #code(): void {
    const reader = this.#reader
    this.#count(3, 'a code')
    const [name, source, compiled] = [reader.text(), reader.text(), reader.text()]
    const found = this.#shared.codes.find((each) => each.name === name)
    if (found === undefined) throw conflict(`${name} is not part of the process here`)
    if (found.hash !== source) throw conflict(`the source of ${name} is another one here`)
    const chunk = found.code as unknown as Proto
    if (compiledHash(chunk) !== compiled) throw conflict(`${name} was compiled by another version of Moonmesh`)
    this.#chunks.push(chunk)
    for (const length of chunk.longConstants) this.longStrings.add(length)
    const open = [chunk]
    for (let proto = open.pop(); proto !== undefined; proto = open.pop()) {
      for (const constant of proto.constants) if (typeof constant === 'string') this.#constants.add(constant)
      open.push(...proto.protos)
    }
  }

  #allocate(strings: readonly string[], names: readonly string[]): void {
    let string = 0
    let name = 0
    const next = <T>(from: readonly T[], at: number): T => {
      if (at >= from.length) throw damaged('a node without its name')
      return from[at] as T
    }
    for (let i = 0; i < this.#kinds.length; i++) {
      const kind = this.#kinds[i] as string
      if (kind === KIND.STRING) this.#nodes.push(next(strings, string++))
      else if (kind === KIND.SHARED || kind === KIND.GLOBALS)
        this.#nodes.push(this.#sharedThing(kind, next(names, name++)))
      else this.#nodes.push(this.#blank(kind))
    }
    if (string !== strings.length || name !== names.length) throw damaged('a name without its node')
  }

  #sharedThing(kind: string, name: string): Node {
    const found = this.#shared.find(name) as unknown
    // A script sees its globals through a table of its own, never the shared one.
    const isGlobals = name.startsWith(GLOBALS_PREFIX)
    if (kind === KIND.SHARED && !isGlobals && typeof found === 'object' && found !== null) return found
    if (kind === KIND.GLOBALS && isGlobals && found instanceof Table) return this.#engine.globalsOver(found)
    throw conflict(`there is no ${name.slice(0, 200)}`)
  }

  #blank(kind: string): Node {
    switch (kind) {
      case KIND.DATA:
        return new TableValue()
      case KIND.ERROR:
        return new ErrorValue('', '')
      case KIND.ERROR_OBJECT:
        return new ErrorObject(NO_ERROR)
      case KIND.OBJECT:
        return NO_OBJECT
      case KIND.TABLE:
        return new Table()
      case KIND.CLOSURE:
        return new Closure(NO_CODE, [])
      case KIND.BOX:
        return new Box(undefined)
      case KIND.COROUTINE:
        this.#charge(COROUTINE_BYTES)
        return new Coroutine()
      case KIND.ROOT: {
        this.#charge(COROUTINE_BYTES)
        const root = new Root()
        root.isRoot = true
        return root
      }
      case KIND.WRAP:
        return new Wrap(NO_COROUTINE)
      case KIND.GLOBAL_MATCH:
        return new GlobalMatch('', '')
      default:
        throw damaged('a node of an unknown kind')
    }
  }

  /** The nodes of these kinds, in order; the document has as many entries. */
  #each(kinds: readonly string[], read: (node: Node, number: number) => void): void {
    let count = 0
    for (const kind of this.#kinds) if (kinds.includes(kind)) count++
    this.#count(count, 'a list of nodes')
    for (let i = 0; i < this.#kinds.length; i++)
      if (kinds.includes(this.#kinds[i] as string)) read(this.#nodes[i] as Node, i)
  }

  // ---- cells

  /** A value of a script. */
  #value(): Val {
    const value = this.#reader.cell()
    if (typeof value !== 'object') return value as Val
    if (value instanceof Box || value instanceof TableValue || value instanceof ErrorValue || value === NO_OBJECT)
      throw damaged('a reference to what no script can hold')
    return value as Val
  }

  #values(): LuaValue[] {
    const { length } = this.#kinds
    const count = this.#reader.fields()
    this.#charge((count + length / 64) * 8)
    const values: LuaValue[] = []
    for (let i = 0; i < count; i++) values.push(this.#value() as LuaValue)
    return values
  }

  /** A list of values whose first place does not count. */
  #list(): Val[] {
    const count = this.#reader.fields()
    this.#charge(count * 8)
    const list: Val[] = [undefined]
    for (let i = 0; i < count; i++) list.push(this.#value())
    return list
  }

  /** Data that belongs to no script. */
  #datum(): Value {
    const value = this.#reader.cell()
    const isData = typeof value !== 'object' || value instanceof Float || value instanceof TableValue
    if (!isData && !(value instanceof ErrorValue)) throw damaged('a reference to what is no data')
    return value as Value
  }

  #boxAt(): Box {
    const box: unknown = this.#reader.cell()
    if (!(box instanceof Box)) throw damaged('a variable that is none')
    return box
  }

  #text(): string {
    const text = this.#reader.cell()
    if (typeof text !== 'string') throw damaged('a text that is none')
    return text
  }

  #integer(min: number, max: number): number {
    const value = this.#reader.cell()
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < min || value > max)
      throw damaged('a number out of range')
    return value
  }

  // ---- nodes

  #data(node: TableValue | ErrorValue): void {
    if (node instanceof ErrorValue) {
      this.#count(5, 'an error')
      const [kind, message] = [this.#text(), this.#text()]
      const retryable = this.#datum()
      const details = this.#datum()
      if (retryable !== undefined && typeof retryable !== 'boolean') throw damaged('an error of another form')
      if (details !== undefined && !(details instanceof TableValue)) throw damaged('an error of another form')
      Object.assign(node, { kind, message, retryable, details, stack: this.#text() })
      return
    }
    this.#count(3, 'a table of data')
    for (const list of [node.array, node.keys, node.values]) {
      const count = this.#reader.fields()
      this.#charge(count * 8)
      for (let i = 0; i < count; i++) list.push(this.#datum())
    }
    if (node.keys.length !== node.values.length) throw damaged('a key without a value')
    if (node.keys.some((key) => key === undefined || Number.isNaN(key))) throw damaged('a key that no table can have')
  }

  #makeObjects(): void {
    this.#each([KIND.OBJECT], (_, number) => {
      this.#count(2, 'an object')
      const className = this.#reader.text()
      const definition = this.#engine.classOf(className)
      const saving = definition?.saving
      const data = this.#reader.list(() => this.#datum())
      if (definition === undefined || saving === undefined || typeof saving === 'string')
        throw conflict(`objects of class ${className.slice(0, 200)} cannot be restored`)
      const object = saving.restore(data, this.#owner)
      this.#nodes[number] = object
      this.#objects.push({ object, definition, values: [] })
    })
  }

  #fillObjects(): void {
    for (const { object, definition, values } of this.#objects) {
      const { saving } = definition
      if (typeof saving === 'object') saving.fill?.(object, values, this.#owner)
    }
  }

  #fill(node: Node): void {
    if (node instanceof Table) this.#table(node)
    else if (node instanceof Closure) this.#closure(node)
    else if (node instanceof Box) node.v = this.#value()
    else if (node instanceof Coroutine) this.#coroutine(node)
    else if (node instanceof ErrorObject) {
      const error: unknown = this.#reader.cell()
      if (!(error instanceof ErrorValue)) throw damaged('an error that is none')
      ;(node as { error: ErrorValue }).error = error
    } else if (node instanceof Wrap) {
      const co = this.#value()
      if (!(co instanceof Coroutine) || co instanceof Root) throw damaged('a coroutine that is none')
      node.held = co
    } else this.#globalMatch(node as GlobalMatch)
  }

  #globalMatch(node: GlobalMatch): void {
    this.#count(4, 'an iterator')
    node.source = this.#text()
    node.pattern = this.#text()
    node.from = this.#integer(0, node.source.length + 1)
    node.last = this.#integer(-1, node.source.length)
  }

  #table(table: Table): void {
    const reader = this.#reader
    this.#count(6, 'a table')
    const meta = this.#value()
    if (meta !== undefined && !(meta instanceof Table)) throw damaged('a metatable that is none')
    const frozen = reader.textOrNil()
    const list = this.#list()
    const [names, fields] = this.#pairs(() => this.#text())
    const isDictionary = reader.flag()
    const [keys, values] = this.#pairs(() => this.#value())
    const parts = { list, isDictionary, names, fields, keys, values }
    if (!table.refill(parts, (key) => this.#constants.has(key))) throw damaged('a table that cannot be')
    table.meta = meta
    if (frozen !== undefined) table.freeze(frozen)
  }

  #pairs<K>(readKey: () => K): [K[], Val[]] {
    const count = this.#reader.fields()
    if (count % 2 !== 0) throw damaged('a key without a value')
    this.#charge(count * 32)
    const keys: K[] = [undefined as K]
    const values: Val[] = [undefined]
    for (let i = 0; i < count; i += 2) {
      keys.push(readKey())
      values.push(this.#value())
    }
    return [keys, values]
  }

  #closure(closure: Closure): void {
    const reader = this.#reader
    this.#count(3, 'a function')
    let proto = this.#chunks[this.#integer(0, this.#chunks.length - 1)] as Proto
    for (let left = reader.fields(); left > 0; left--) {
      const inner = proto.protos[this.#integer(0, proto.protos.length - 1)]
      if (inner === undefined) throw damaged('a function that is not there')
      proto = inner
    }
    const count = reader.fields()
    if (count !== proto.upvalues.length && !(count === 1 && proto.line === 0))
      throw damaged('a function with other variables')
    for (let i = 0; i < count; i++) closure.up.push(this.#boxAt())
    ;(closure as { proto: Proto }).proto = proto
  }

  // ---- coroutines

  #coroutine(co: Coroutine): void {
    const reader = this.#reader
    const isRoot = co instanceof Root
    this.#count(isRoot ? 7 : 3, 'a coroutine')
    const status = this.#integer(0, 3)
    this.#status.set(co, status)
    co.isWrapped = reader.flag()
    const plans: FramePlan[] = []
    if (status === STATUS.FRESH) {
      const body = this.#value()
      if (isRoot) co.S[1] = body
      else if (body instanceof Closure || body instanceof Native) co.S[1] = body
      else throw damaged('a coroutine without a function')
    } else if (status === STATUS.DEAD) {
      if (this.#value() !== undefined) throw damaged('a coroutine of another form')
    } else {
      const depth = reader.fields()
      if (depth > DEPTH_MAX || (depth === 0 && status === STATUS.WAITING)) throw damaged('a coroutine of another form')
      for (let i = 0; i < depth; i++) plans.push(this.#framePlan())
    }
    co.status = status === STATUS.DEAD ? 'dead' : 'suspended'
    if (isRoot) this.#rootPart(co, status)
    this.#plans.push({ co, plans })
  }

  readonly #plans: { co: Coroutine; plans: FramePlan[] }[] = []

  #rootPart(root: Root, status: number): void {
    const reader = this.#reader
    root.isMain = reader.flag()
    root.isStarted = reader.flag()
    root.waitsFor = WAITS[this.#integer(0, WAITS.length - 1)] as Root['waitsFor']
    const count = reader.fields()
    if (status === STATUS.WAITING || root.isStarted !== (status !== STATUS.FRESH))
      throw damaged('a thread of another form')
    if (count > NESTING_MAX || (count > 0 && status !== STATUS.CHAINED)) throw damaged('a thread of another form')
    this.roots.push(root)
    const chain: Coroutine[] = status === STATUS.CHAINED ? [root] : []
    for (let i = 0; i < count; i++) {
      const co = this.#value()
      if (!(co instanceof Coroutine) || co instanceof Root) throw damaged('a coroutine that is none')
      chain.push(co)
    }
    this.#chains.push(chain)
  }

  /** Each waits for the next one. */
  #chain(chain: readonly Coroutine[]): void {
    const root = chain[0] as Root
    for (const [i, co] of chain.entries()) {
      if (this.#chained.has(co)) throw damaged('a coroutine that two wait for')
      this.#chained.add(co)
      co.status = i < chain.length - 1 ? 'normal' : 'running'
      co.resumer = chain[i - 1]
      co.nesting = i
      root.active = co
    }
  }

  /** When all coroutines are read: what each says of itself and what others say of it have to agree. Then frames are built. */
  #link(): void {
    const running = new Set<Coroutine>()
    for (const chain of this.#chains) if (chain.length > 0) this.#chain(chain)
    for (const root of this.roots) {
      if (root.isStarted && this.#chained.has(root) && root.waitsFor === 'preempted') running.add(root.active)
    }
    for (const [co, status] of this.#status) {
      if ((status === STATUS.CHAINED) !== this.#chained.has(co)) throw damaged('a coroutine that nobody waits for')
    }
    for (const { co, plans } of this.#plans) this.#build(co, plans, running.has(co))
  }

  #framePlan(): FramePlan {
    const reader = this.#reader
    this.#charge(FRAME_BYTES)
    const count = reader.fields()
    const kind = this.#integer(0, NATIVE)
    const distance = this.#integer(kind === LUA ? 1 : 0, SLOTS_MAX)
    const frame = new Frame()
    frame.kind = kind
    const plan: FramePlan = { frame, distance, registers: [], open: [] }
    switch (kind) {
      case LUA:
        if (count !== 8) throw damaged('a frame of another form')
        this.#luaFrame(plan)
        return plan
      case PCALL:
      case HANDLER:
        if (count !== 2) throw damaged('a frame of another form')
        return plan
      case XPCALL: {
        const handler = count === 3 ? this.#value() : undefined
        if (!(handler instanceof Closure || handler instanceof Native)) throw damaged('a frame of another form')
        frame.extra = handler
        return plan
      }
      case NATIVE: {
        if (count !== 4) throw damaged('a frame of another form')
        const name = reader.text()
        const goOn = Object.hasOwn(CONTINUATIONS, name)
          ? (CONTINUATIONS as Record<string, Continuation>)[name]
          : undefined
        if (goOn === undefined) throw damaged('a continuation that is not there')
        frame.goOn = goOn
        frame.extra = this.#value()
        return plan
      }
      default:
        throw damaged('a frame of an unknown kind')
    }
  }

  #luaFrame({ frame, registers, open }: FramePlan): void {
    const reader = this.#reader
    const fn = this.#value()
    if (!(fn instanceof Closure)) throw damaged('a frame without a function')
    frame.fn = fn
    frame.pc = this.#integer(0, Number.MAX_SAFE_INTEGER)
    frame.extra = this.#value()
    const varargs = this.#list()
    varargs.shift()
    frame.varargs = varargs.length === 0 ? NO_ARGS : varargs
    const count = reader.fields()
    if (count > 256) throw damaged('a frame with too many registers')
    this.#charge(count * SLOT_BYTES)
    for (let i = 0; i < count; i++) registers.push(reader.register())
    const openCount = reader.fields()
    this.#charge(openCount * SLOT_BYTES)
    for (let i = 0; i < openCount; i++) open.push(this.#value())
  }

  #build(co: Coroutine, plans: readonly FramePlan[], isRunning: boolean): void {
    let base = 0
    let slots = 0
    for (const { frame, distance } of plans) {
      base += distance
      slots = Math.max(slots, base + (frame.fn?.proto.size ?? 0))
    }
    const openCount = plans.at(-1)?.open.length ?? 0
    slots += openCount + SLACK
    if (slots > SLOTS_MAX) throw damaged('a coroutine with too many registers')
    this.#charge(slots * 8)
    const { S } = co
    while (S.length < slots) S.push(undefined)
    if (isRunning && plans.at(-1)?.frame.kind !== LUA) throw damaged('a thread that cannot go on')
    base = 0
    /** Registers below belong to frames below. */
    let taken = 0
    for (const [i, plan] of plans.entries()) {
      const { frame } = plan
      base += plan.distance
      frame.base = base
      if ((frame.kind === LUA ? base - 1 : base) < taken) throw damaged('a frame over another one')
      co.frames[i + 1] = frame
      if (frame.kind >= PCALL && frame.kind <= HANDLER) co.protections++
      const runs = isRunning && i === plans.length - 1
      taken = frame.kind === LUA ? this.#fillRegisters(co, plan, runs) : base
      if (frame.kind !== LUA && plan.open.length > 0) throw damaged('a frame of another form')
      if (frame.kind === LUA && plan.open.length > 0 && !runs) throw damaged('a frame of another form')
    }
    co.depth = plans.length
  }

  /** @returns one behind the last register that counts */
  #fillRegisters(co: Coroutine, { frame, registers, open }: FramePlan, isRunning: boolean): number {
    const { proto } = frame.fn as Closure
    if (proto === NO_CODE) throw damaged('a frame without a function')
    const liveness = this.#livenessOf(proto)
    const { base, pc, extra } = frame
    if (pc >= proto.code.length) throw damaged('a place that the code does not have')
    const row = isRunning ? liveness.before(pc) : liveness.waiting(pc, extra)
    if (row === undefined) throw damaged('a place where the code does not wait')
    const keepsExtra = !isRunning && (liveness.isConcat(pc) || liveness.isComparison(pc))
    if (!keepsExtra && extra !== undefined) throw damaged('a frame of another form')
    const openFrom = isRunning ? liveness.openFrom(pc) : undefined
    if (openFrom === undefined && open.length > 0) throw damaged('a frame of another form')
    const end = openFrom ?? row.length
    let last = base
    let next = 0
    for (let r = 0; r < end; r++) {
      const holds = row[r] as number
      if (holds === DEAD) continue
      if (next >= registers.length) throw damaged('a frame with too few registers')
      const register = registers[next++]
      last = base + r + 1
      if (holds === LOOP) this.#loop(co.S, base + r, register)
      else if (holds !== LOOP_REST) co.S[base + r] = checked(register, holds)
      else if (register !== undefined) throw damaged('a loop of another form')
    }
    if (next !== registers.length) throw damaged('a frame with too many registers')
    if (openFrom !== undefined) {
      for (const [k, value] of open.entries()) co.S[base + openFrom + k] = value
      co.top = base + openFrom + open.length
    }
    return last
  }

  #loop(S: Val[], at: number, loop: unknown): void {
    if (!(loop instanceof TableValue) || loop.array.length !== 4) throw damaged('a loop of another form')
    const [kind, ...three] = loop.array
    const integers = three.map((each) => (typeof each === 'number' ? each : undefined))
    if (kind === LOOPS.SMALL) {
      const [from, to, step] = integers
      if (from === undefined || to === undefined || step === undefined || step === 0)
        throw damaged('a loop of another form')
      if (!three.every(Number.isSafeInteger) || !Number.isSafeInteger(to + step))
        throw damaged('a loop of another form')
      for (let k = 0; k < 3; k++) S[at + k] = integers[k]
    } else if (kind === LOOPS.LARGE) {
      const isWhole = three.every((each) => typeof each === 'bigint' || Number.isSafeInteger(each))
      if (!isWhole || BigInt(three[2] as number) === 0n) throw damaged('a loop of another form')
      for (let k = 0; k < 3; k++) S[at + k] = BigInt(three[k] as number)
    } else if (kind === LOOPS.FLOAT) {
      const floats = three.map((each) => (each instanceof Float ? each.value : each))
      if (!floats.every((each) => typeof each === 'number') || floats[2] === 0) throw damaged('a loop of another form')
      S[at] = floats[0] as number
      S[at + 1] = floats[1] as number
      S[at + 2] = new Float(floats[2] as number)
    } else throw damaged('a loop of another form')
  }

  #livenessOf(proto: Proto): Liveness {
    let known = this.#liveness.get(proto)
    if (known === undefined) {
      known = new Liveness(proto)
      this.#liveness.set(proto, known)
    }
    return known
  }
}

interface FramePlan {
  readonly frame: Frame
  /** From the base of the frame below. */
  readonly distance: number
  readonly registers: unknown[]
  readonly open: Val[]
}

/** What is read of a register that holds a value or a variable. */
function checked(register: unknown, holds: number): Val {
  const isBox = register instanceof Box
  const isNoValue = register instanceof TableValue || register instanceof ErrorValue || register === NO_OBJECT
  if (isBox !== (holds === BOX) || (isNoValue && holds === VALUE)) throw damaged('a register with something else')
  return register as Val
}

class Reader extends ValueReader {
  readonly #nodeAt: (number: number) => Node | undefined
  constructor(bytes: Buffer, nodeAt: (number: number) => Node | undefined) {
    super(bytes)
    this.#nodeAt = nodeAt
  }

  protected override referred(number: number): Value {
    const node = this.#nodeAt(number)
    if (node === undefined) throw damaged('a reference to nothing')
    return node as Value
  }

  /** A scalar or a node: nothing that has parts of its own here. */
  cell(): Value {
    return this.value(INNERMOST)
  }

  /** The same, or the four parts of a loop. */
  register(): unknown {
    return this.value(INNERMOST - 1)
  }
}
