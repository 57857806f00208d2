// The machine behind the engine seam. Values are the same on both sides, so most of this is what a process adds: classes of host objects,
// read-only tables, environments, and turns.

import { toBytes } from '../../base/bytes.ts'
import { MoonmeshError, messageOf } from '../../base/errors.ts'
import { errorFrom } from '../../base/plain.ts'
import type { ChunkTypes } from '../../base/type-node.ts'
import { ErrorValue, Float, floatValue, integerValue, TableValue, topBytes, type Value } from '../../base/value.ts'
import {
  type Call,
  type Engine,
  type EngineSaving,
  ErrorObject,
  type HostClass,
  type HostFunction,
  HostObject,
  type LuaCode,
  type LuaFunction,
  type LuaTable,
  type LuaThread,
  type LuaType,
  type LuaValue,
  type MemoryCount,
  type ModuleTable,
  Raise,
  type Restored,
  type Returns,
  type RunInput,
  type RunStatus,
  type SharedThings,
  SUSPEND,
} from '../engine.ts'
import { compile } from './compiler.ts'
import { baseLibrary, coroutineLibrary, ipairsIterator } from './lib-base.ts'
import { mathLibrary } from './lib-math.ts'
import { stringLibrary } from './lib-string.ts'
import { tableLibrary } from './lib-table.ts'
import { toText } from './library.ts'
import { LONG_STRING_MIN } from './long-strings.ts'
import { Machine } from './machine.ts'
import { Account, defaultLimit } from './memory.ts'
import type { Proto } from './proto.ts'
import { Restorer } from './restore.ts'
import { Saver } from './save.ts'
import { Shape, Table } from './table.ts'
import { Box, CALLING, Closure, LuaError, Native, Root, SUSPENDING, typeName, type Val } from './value.ts'

const NO_VALUES: readonly LuaValue[] = []
/** A process with a small limit may ask for so much in one turn: what it keeps is counted after it. */
const TURN_BYTES_MAX = 64 * 1024 * 1024
/** What tables that functions of the host make take, and each of their fields. */
const TABLE_BYTES = 80
const FIELD_BYTES = 16
/** Registers of a new thread besides those of its function. */
const ROOM = 12
/** How far a chain of `__index` tables is followed. */
const INDEX_HOPS_MAX = 100
/** Begins what is said of the tables of modules. */
const READ_ONLY = 'read-only table'

interface VmOptions {
  /** Told about exceptions of our own code that a script met as an `Internal` error. */
  onFault?(error: unknown): void
  /** Whether hot code is made into JavaScript; it is by default. */
  jit?: boolean
  /** What a process may hold, in bytes; a quarter of what the thread has by default. */
  memoryBytesMax?: number
}

/** The machine's form of a value of ours: numbers that have two forms at the seam have one in the machine. */
function make(value: LuaValue): Val {
  if (typeof value === 'number') return Object.is(value, -0) ? new Float(-0) : value
  if (typeof value === 'bigint') {
    const integer = integerValue(value)
    return typeof integer === 'bigint' && integer !== BigInt.asIntN(64, integer) ? Number(integer) : integer
  }
  if (value instanceof Float) return floatValue(value.value)
  return value as Val
}

class VmCall implements Call {
  readonly engine: VmEngine
  readonly #machine: Machine
  S: Val[] = []
  at = 0
  count = 0
  constructor(engine: VmEngine, machine: Machine) {
    this.engine = engine
    this.#machine = machine
  }
  get owner(): unknown {
    return this.engine.owner
  }
  get canSuspend(): boolean {
    return this.#machine.canSuspend
  }
  arg(index: number): LuaValue {
    return index <= this.count ? (this.S[this.at + index] as LuaValue) : undefined
  }
  args(from: number): LuaValue[] {
    return this.S.slice(this.at + from, this.at + this.count + 1) as LuaValue[]
  }
  type(index: number): LuaType | 'none' {
    return index <= this.count ? typeName(this.S[this.at + index]) : 'none'
  }
  tostring(index: number): string {
    return index <= this.count ? toText(this.#machine, this.S[this.at + index]) : 'nil'
  }
  where(): string {
    return this.#machine.where(1).slice(0, -2)
  }
}

export class VmEngine implements Engine {
  readonly name = 'moonmesh'
  readonly integerBits = 64
  readonly machine: Machine
  readonly standardLibrary: Engine['standardLibrary']
  results: readonly LuaValue[] = NO_VALUES
  owner: unknown = undefined
  usedBudget = 0
  moreBudget: Engine['moreBudget'] = undefined
  /** Of the slice that runs. */
  #budget = 0
  traceback = ''

  readonly #options: VmOptions
  readonly #call: VmCall
  readonly #memoryBytesMax: number
  /** Of the process that runs. */
  #account: Account | undefined = undefined
  readonly #environmentMetas = new WeakMap<Table, Table>()
  /** The other way round. */
  readonly #globalsBehind = new WeakMap<Table, Table>()
  readonly #classes = new Map<string, HostClass>()
  /** Natives that belong to the engine, not to a module: methods of classes, iterators. */
  readonly #ownNames = new Map<unknown, string>([[ipairsIterator, 'ipairs iterator']])
  readonly #own = new Map<string, LuaValue>([['ipairs iterator', ipairsIterator as unknown as LuaValue]])
  readonly saving: EngineSaving = {
    capture: (root, shared, owner, bytesMax) =>
      new Saver(this.#forSaving, this.#withOwn(shared), owner, root, bytesMax).capture(),
    restore: (bytes, shared, owner) => this.#restore(bytes, shared, owner),
  }

  constructor(options: VmOptions = {}) {
    this.#options = options
    this.machine = new Machine(
      (thrown) => this.#valueOf(thrown),
      (unpaid, owed) => this.#anotherSlice(unpaid, owed),
    )
    this.#memoryBytesMax = options.memoryBytesMax ?? defaultLimit()
    this.machine.isCompiling = options.jit ?? true
    this.machine.allocationLimit = this.#memoryBytesMax
    this.machine.memoryLimit = this.#memoryBytesMax
    this.#call = new VmCall(this, this.machine)
    const globals = baseLibrary()
    this.machine.nextNative = globals['next']
    this.machine.selectNative = globals['select']
    this.machine.ipairsNative = ipairsIterator
    this.standardLibrary = {
      globals: { ...asModule(globals), _VERSION: 'Lua 5.3' },
      libraries: {
        string: asModule(stringLibrary()),
        table: asModule(tableLibrary()),
        math: {
          ...asModule(mathLibrary()),
          pi: Math.PI,
          huge: Number.POSITIVE_INFINITY,
          maxinteger: (2n ** 63n - 1n) as unknown as number,
          mininteger: -(2n ** 63n) as unknown as number,
        },
        coroutine: asModule(coroutineLibrary()),
      },
    }
  }

  // ---- code

  compile(chunkName: string, source: string): LuaCode {
    return compile(chunkName, source) as unknown as LuaCode
  }

  typesOf(code: LuaCode): ChunkTypes | undefined {
    return (code as unknown as Proto).types
  }

  load(code: LuaCode, environment: LuaTable): LuaFunction {
    const chunk = code as unknown as Proto
    // They are those of whoever runs it, which is who runs next.
    for (const length of chunk.longConstants) this.machine.longStrings.add(length)
    return new Closure(chunk, [new Box(environment as unknown as Table)]) as unknown as LuaFunction
  }

  // ---- what scripts see

  /** Names for documents. */
  #named(name: string, native: Native): Native {
    this.#ownNames.set(native, name)
    this.#own.set(name, native as unknown as LuaValue)
    return native
  }

  readonly #forSaving = {
    classOf: (className: string) => this.#classes.get(className),
    globalsBehind: (meta: Table) => this.#globalsBehind.get(meta),
    globalsOver: (base: Table) => this.#environmentMeta(base),
  }

  #withOwn(shared: SharedThings): SharedThings {
    return {
      codes: shared.codes,
      nameOf: (value) => this.#ownNames.get(value) ?? shared.nameOf(value),
      find: (name) => this.#own.get(name) ?? shared.find(name),
    }
  }

  #restore(bytes: Uint8Array, shared: SharedThings, owner: unknown): Restored {
    const restorer = new Restorer(this.#forSaving, this.#withOwn(shared), owner, bytes, this.#memoryBytesMax)
    const restored = restorer.restore()
    const account = new Account(this.#memoryBytesMax)
    if (!restorer.longStrings.isEmpty) account.addLong(restorer.longStrings)
    for (const root of restorer.roots) {
      if (root.status === 'dead') continue
      root.account = account
      account.add(root)
    }
    return restored
  }

  defineClass(definition: HostClass): void {
    this.#classes.set(definition.name, definition)
    const meta = new Table()
    for (const [name, fn] of Object.entries(definition.metamethods ?? {})) {
      meta.setStr(`__${name}`, this.#named(`${definition.name}.__${name}`, this.#native(name, fn)), true)
    }
    if (definition.metamethods?.['index'] === undefined) {
      const methods = new Table()
      for (const [name, fn] of Object.entries(definition.methods))
        methods.setStr(name, this.#named(`${definition.name}:${name}`, this.#native(name, fn)), true)
      meta.setStr('__index', methods, true)
    }
    meta.setStr('__name', definition.name, true)
    meta.setStr('__metatable', false, true)
    this.machine.classMetas.set(definition.name, meta)
  }

  moduleTable(name: string, module: ModuleTable, call?: HostFunction): LuaTable {
    const table = new Table()
    for (const [key, item] of Object.entries(module)) {
      table.setStr(toBytes(key), this.#moduleItem(`${name}.${key}`, key, item), true)
    }
    const meta = new Table()
    meta.setStr('__metatable', false, true)
    if (call !== undefined) meta.setStr('__call', this.#native(name, call), true)
    table.meta = meta
    table.freeze(`${READ_ONLY} '${name}'`)
    return table as unknown as LuaTable
  }

  #moduleItem(path: string, key: string, item: ModuleTable[string]): Val {
    if (typeof item === 'function') return this.#native(key, item as HostFunction)
    if (typeof item === 'string') return toBytes(item)
    const isNested = typeof item === 'object' && Object.getPrototypeOf(item) === Object.prototype
    return isNested ? (this.moduleTable(path, item as ModuleTable) as unknown as Table) : make(item as LuaValue)
  }

  setStringMethods(library: LuaTable): void {
    const meta = new Table()
    meta.setStr('__index', library as unknown as Table, true)
    meta.setStr('__metatable', false, true)
    this.machine.stringMeta = meta
  }

  function(name: string, fn: HostFunction): LuaFunction {
    return this.#native(name, fn) as unknown as LuaFunction
  }

  #native(name: string, fn: HostFunction): Native {
    const call = this.#call
    return new Native(name, (machine, S, at, count) => {
      const { S: outerS, at: outerAt, count: outerCount } = call
      call.S = S
      call.at = at
      call.count = count
      let returned: Returns
      try {
        returned = fn(call)
      } catch (thrown) {
        throw this.#thrown(thrown)
      } finally {
        call.S = outerS
        call.at = outerAt
        call.count = outerCount
      }
      if (returned === SUSPEND) {
        if (!machine.canSuspend) throw machine.error('attempt to yield across a call that cannot be suspended')
        machine.outcome = 'suspended'
        return SUSPENDING
      }
      return leave(machine, S, at, returned)
    })
  }

  #thrown(thrown: unknown): LuaError {
    if (thrown instanceof LuaError) return thrown
    if (!(thrown instanceof Raise)) return new LuaError(this.#valueOf(thrown))
    const { value, withPosition } = thrown
    return withPosition && typeof value === 'string' ? this.machine.error(value) : new LuaError(make(value))
  }

  /** Of an exception that is no Lua error: our own, or the JavaScript stack or memory running out. */
  #valueOf(thrown: unknown): Val {
    if (thrown instanceof ErrorObject) return thrown
    if (thrown instanceof RangeError) return /call stack/.test(thrown.message) ? 'stack overflow' : 'not enough memory'
    if (thrown instanceof MoonmeshError || thrown instanceof ErrorValue) return new ErrorObject(errorFrom(thrown))
    this.#options.onFault?.(thrown)
    return new ErrorObject(new ErrorValue('Internal', toBytes(`internal fault: ${messageOf(thrown)}`), false))
  }

  newEnvironment(base: LuaTable): LuaTable {
    const environment = new Table()
    environment.meta = this.#environmentMeta(base as unknown as Table)
    environment.setStr('_G', environment, true)
    return environment as unknown as LuaTable
  }

  #environmentMeta(base: Table): Table {
    let meta = this.#environmentMetas.get(base)
    if (meta === undefined) {
      meta = new Table()
      meta.setStr('__index', base, true)
      meta.setStr('__metatable', false, true)
      this.#environmentMetas.set(base, meta)
      this.#globalsBehind.set(meta, base)
    }
    return meta
  }

  // ---- values

  typeOf(value: LuaValue): LuaType {
    return typeName(value as Val)
  }

  newTable(): LuaTable {
    this.machine.give(TABLE_BYTES)
    return new Table() as unknown as LuaTable
  }

  get(table: LuaTable, key: LuaValue): LuaValue {
    return (table as unknown as Table).get(make(key)) as LuaValue
  }

  set(table: LuaTable, key: LuaValue, value: LuaValue): void {
    const target = table as unknown as Table
    const madeKey = make(key)
    const { machine } = this
    machine.give(FIELD_BYTES)
    const madeValue = given(machine, value)
    if (typeof madeKey === 'string') target.setData(madeKey, madeValue)
    else if (madeKey !== undefined && !Number.isNaN(madeKey)) target.set(madeKey, madeValue)
  }

  lookup(value: LuaTable | HostObject, key: string): LuaValue {
    let from: Val =
      value instanceof HostObject ? this.machine.metaOf(value)?.getStr('__index') : (value as unknown as Table)
    for (let hops = 0; hops < INDEX_HOPS_MAX && from instanceof Table; hops++) {
      const found = from.getStr(key)
      if (found !== undefined) return found as LuaValue
      from = from.meta?.getStr('__index')
    }
    return undefined
  }

  length(table: LuaTable): number {
    return (table as unknown as Table).length()
  }

  each(table: LuaTable, visit: (key: LuaValue, value: LuaValue) => void): void {
    ;(table as unknown as Table).each((key, value) => visit(key as LuaValue, value as LuaValue))
  }

  freeze(table: LuaTable): void {
    const target = table as unknown as Table
    target.freeze('immutable table')
  }

  isFrozen(table: LuaTable): boolean {
    return (table as unknown as Table).frozen !== undefined
  }

  copyOut(value: LuaValue): Value {
    return copyOut(value as Val)
  }

  copyIn(value: Value): LuaValue {
    if (value instanceof TableValue) return this.#tableIn(value) as unknown as LuaValue
    this.#arrived(value)
    return scalarIn(value) as LuaValue
  }

  /** What arrives counts as asked for by whoever runs next: that is its receiver, or one of few others. */
  #tableIn(value: TableValue): Table {
    const { form } = value
    if (form instanceof Shape) {
      this.#arrived(value)
      return flatIn(form, value.values)
    }
    return deepIn(value, (each) => this.#arrived(each))
  }

  /** What a copy takes, roughly. Long strings count, though they are shared: the receiver may be the last to hold them. */
  #arrived(value: Value): void {
    const { machine } = this
    const bytes = topBytes(value)
    machine.allocated += bytes
    if (bytes < LONG_STRING_MIN) return
    const lists = value instanceof TableValue ? [value.array, value.values] : [[value]]
    for (const list of lists) for (const text of list) if (typeof text === 'string') machine.made(text)
  }

  // ---- running

  newThread(fn: LuaFunction, isMain = false): LuaThread {
    const root = new Root((fn as unknown) instanceof Closure ? (fn as unknown as Closure).proto.size + ROOM : ROOM)
    root.isRoot = true
    root.isMain = isMain
    // What a thread starts counts for the process that it is part of; a process that it starts is another one.
    if (!isMain) {
      root.account = this.#account
      root.account?.add(root)
    }
    root.S[1] = fn as unknown as Val
    return root as unknown as LuaThread
  }

  limitMemory(handle: LuaThread, bytes: number): void {
    const root = handle as unknown as Root
    const account = root.account ?? this.#count(root)
    account.limit = Math.min(bytes, this.#memoryBytesMax)
  }

  run(handle: LuaThread, owner: unknown, budget: number, input: RunInput): RunStatus {
    const root = handle as unknown as Root
    const { machine } = this
    this.owner = owner
    machine.budget = budget
    this.#budget = budget
    machine.traceback = ''
    machine.nativeTop = 0
    machine.js = 0
    const account = root.account ?? this.#count(root)
    this.#account = account
    const { limit } = account
    machine.isOwnLimit = limit < this.#memoryBytesMax
    machine.memoryLimit = limit
    machine.allocationLimit = Math.max(limit, Math.min(this.#memoryBytesMax, TURN_BYTES_MAX))
    machine.co = root.active
    machine.co.status = 'running'
    let status: RunStatus
    if (account.isOver && root.isStarted) {
      // It waited, so it hears of it now.
      account.isOver = false
      status = this.#outOfMemory(root)
    } else {
      status = this.#turn(root, input)
      if (!machine.longStrings.isEmpty) account.addLong(machine.longStrings)
      if (machine.allocated > 0 && account.isOverdrawn(machine.allocated)) {
        machine.co = root.active
        if (status === 'preempted') status = this.#outOfMemory(root)
        else account.isOver = status === 'suspended' || status === 'yielded'
      }
    }
    machine.allocated = 0
    machine.given = 0
    machine.giveBack()
    if (status === 'done' || status === 'error') account.remove(root)
    this.owner = undefined
    this.#account = undefined
    this.usedBudget = this.#budget - machine.budget
    return status
  }

  /** Not when memory is to be counted: what functions in JavaScript hold would be missed. */
  #anotherSlice(unpaid: number, owed: number): boolean {
    const { machine, moreBudget } = this
    const account = this.#account
    if (moreBudget === undefined || account === undefined || account.isLookDue(machine.allocated)) return false
    const budget = moreBudget(this.owner, this.#budget - machine.budget - unpaid)
    if (budget <= 0) return false
    account.isOverdrawn(machine.allocated)
    machine.allocated = 0
    this.#budget = budget
    machine.budget = budget - unpaid - owed
    return true
  }

  /** Of the first thread of a process. */
  #count(root: Root): Account {
    const account = new Account(this.#memoryBytesMax)
    account.add(root)
    root.account = account
    return account
  }

  memoryOf(handle: LuaThread, stepsMax: number): MemoryCount {
    const root = handle as unknown as Root
    // A thread that has not run yet is the first of its process.
    const account = root.account ?? this.#count(root)
    return account.estimate({ stepsMax, isShared: this.#isShared })
  }

  /** Modules, and the globals that every process of an entry sees. */
  readonly #isShared = (table: Table): boolean =>
    this.#globalsBehind.has(table) || table.frozen?.startsWith(READ_ONLY) === true

  /** Raises where the thread stands. It goes on with the next turn if the script catches that. */
  #outOfMemory(root: Root): RunStatus {
    const { machine } = this
    try {
      return this.#ended(root, machine.raise(machine.raiseLater(machine.memoryError())))
    } catch (thrown) {
      return this.#failed(thrown)
    }
  }

  #turn(root: Root, input: RunInput): RunStatus {
    const { machine } = this
    try {
      const begun = root.isStarted ? this.#goOn(root, input) : this.#start(root, input)
      return this.#ended(root, machine.loop(begun))
    } catch (thrown) {
      return this.#failed(thrown)
    }
  }

  #failed(thrown: unknown): RunStatus {
    const { machine } = this
    const error = machine.asError(thrown)
    this.traceback = machine.traceback
    this.results = [error.value as LuaValue]
    return 'error'
  }

  /** @param outcome how the machine left off */
  #ended(root: Root, outcome: number): RunStatus {
    const { machine } = this
    let next = outcome
    if (next === CALLING) {
      next = SUSPENDING
      machine.outcome = 'preempted'
    }
    if (next === SUSPENDING) {
      root.active = machine.co
      machine.trim(machine.co)
      root.waitsFor = machine.outcome
      this.results = NO_VALUES
      return machine.outcome
    }
    const { resultAt, resultCount } = machine
    this.results = root.S.slice(resultAt, resultAt + resultCount) as LuaValue[]
    return 'done'
  }

  #start(root: Root, input: RunInput): number {
    const { machine } = this
    root.isStarted = true
    try {
      if ('raise' in input) throw new LuaError(make(input.raise))
      const { S } = root
      machine.room(S, 2, input.values.length)
      const { values } = input
      for (let i = 0; i < values.length; i++) S[2 + i] = make(values[i])
      const f = S[1]
      // A process is made by calling its chunk and its method.
      if (f instanceof Closure) machine.warm(f.proto)
      const results = machine.callAt(1, values.length)
      return results >= 0 ? machine.deliver(1, results) : results
    } catch (thrown) {
      return machine.caught(thrown)
    }
  }

  #goOn(root: Root, input: RunInput): number {
    const { machine } = this
    const { waitsFor } = root
    if (waitsFor === 'preempted') return CALLING
    try {
      if ('raise' in input) throw this.#thrown(new Raise(input.raise))
      const { co } = machine
      const at = machine.transferAt(co)
      machine.room(co.S, at, input.values.length)
      const { values } = input
      for (let i = 0; i < values.length; i++) co.S[at + i] = given(machine, values[i])
      return machine.deliver(at, values.length)
    } catch (thrown) {
      return machine.caught(thrown)
    }
  }

  close(): void {
    this.machine.classMetas.clear()
    this.machine.stringMeta = undefined
  }
}

const asModule = (functions: Record<string, Native>): ModuleTable => functions as unknown as ModuleTable

/** A value that the process gets from the host. */
function given(machine: Machine, value: LuaValue): Val {
  if (typeof value === 'string') machine.giveText(value)
  else if (value instanceof HostObject) machine.allocated += value.askedBytes()
  return make(value)
}

/** Leaves what a host function returned from `S[at]` on. */
function leave(machine: Machine, S: Val[], at: number, returned: Exclude<Returns, typeof SUSPEND>): number {
  if (returned === undefined) return 0
  if (!Array.isArray(returned)) {
    S[at] = given(machine, returned as LuaValue)
    return 1
  }
  const { length } = returned
  if (length > 4) machine.room(S, at, length)
  for (let i = 0; i < length; i++) S[at + i] = given(machine, returned[i] as LuaValue)
  return length
}

// ---- copies that belong to nobody. Tables are filled one after the other, not one inside the other: no shape is too deep.

function copyOut(value: Val): Value {
  if (!(value instanceof Table)) return scalarOut(value)
  return flatOut(value) ?? deepOut(value)
}

/** Shared by all tables without a list, and by those without fields: nobody changes a value that was made. */
const NOTHING: Value[] = []

/** Of a table of fields under constant names that holds no other table, as most messages are; undefined for others. */
function flatOut({ arr, cold, hash, shape, slots }: Table): TableValue | undefined {
  // The keys of a shape that one table has for itself may change.
  if (hash !== undefined || shape.transitions === undefined || cold !== undefined || arr.length > 1) return undefined
  const { keys } = shape
  if (keys.length === 1) return new TableValue(NOTHING, NOTHING, NOTHING)
  const values = slots.slice(1) as Value[]
  for (let i = 0; i < values.length; i++) {
    const value = values[i] as Val
    if (typeof value === 'string' || typeof value === 'number') continue
    if (typeof value === 'object' && value instanceof Table) return undefined
    const copied = scalarOut(value)
    if (copied === undefined) return undefined
    values[i] = copied
  }
  const copy = new TableValue(NOTHING, shape.fields, values)
  copy.form = shape
  return copy
}

function deepOut(value: Table): TableValue {
  const copies = new Map<Table, TableValue>()
  const root = new TableValue()
  copies.set(value, root)
  // The map grows while it is walked.
  for (const [table, copy] of copies) fillOut(copy, table, copies)
  return root
}

function scalarOut(value: Val): Value {
  if (typeof value !== 'object') return value
  if (value instanceof Float) return value
  return value instanceof HostObject ? value.leave() : undefined
}

function partOut(value: Val, copies: Map<Table, TableValue>): Value {
  if (!(value instanceof Table)) return scalarOut(value)
  const known = copies.get(value)
  if (known !== undefined) return known
  const copy = new TableValue()
  copies.set(value, copy)
  return copy
}

function fillOut({ array, keys, values }: TableValue, table: Table, copies: Map<Table, TableValue>): void {
  table.each((key, value) => {
    const copied = partOut(value, copies)
    if (copied === undefined) return
    if (key === array.length + 1) {
      array.push(copied)
      return
    }
    const copiedKey = partOut(key, copies)
    if (copiedKey === undefined) return
    keys.push(copiedKey)
    values.push(copied)
  })
}

/** Of what `flatOut` has made: scalars. */
function flatIn(shape: Shape, values: readonly Value[]): Table {
  const table = new Table()
  table.shape = shape
  // An array that grew would have room for many.
  switch (values.length) {
    case 1:
      table.slots = [undefined, scalarIn(values[0])]
      break
    case 2:
      table.slots = [undefined, scalarIn(values[0]), scalarIn(values[1])]
      break
    case 3:
      table.slots = [undefined, scalarIn(values[0]), scalarIn(values[1]), scalarIn(values[2])]
      break
    case 4:
      table.slots = [undefined, scalarIn(values[0]), scalarIn(values[1]), scalarIn(values[2]), scalarIn(values[3])]
      break
    default: {
      const slots: Val[] = [undefined]
      for (let i = 0; i < values.length; i++) slots.push(scalarIn(values[i]))
      table.slots = slots
    }
  }
  return table
}

/** @param visit sees every table once */
function deepIn(value: TableValue, visit: (source: TableValue) => void): Table {
  const tables = new Map<TableValue, Table>()
  const root = new Table()
  tables.set(value, root)
  for (const [source, table] of tables) {
    visit(source)
    fillIn(table, source, tables)
  }
  return root
}

/** Of anything but a table. */
function scalarIn(value: Value): Val {
  if (typeof value === 'string') return value
  return value instanceof ErrorValue ? new ErrorObject(value) : make(value as Exclude<Value, TableValue | ErrorValue>)
}

function partIn(value: Value, tables: Map<TableValue, Table>): Val {
  if (!(value instanceof TableValue)) return scalarIn(value)
  let table = tables.get(value)
  if (table === undefined) {
    table = new Table()
    tables.set(value, table)
  }
  return table
}

function fillIn(table: Table, { array, keys, values }: TableValue, tables: Map<TableValue, Table>): void {
  for (let i = 0; i < array.length; i++) table.setNum(i + 1, partIn(array[i], tables))
  for (let i = 0; i < keys.length; i++) {
    const key = partIn(keys[i], tables)
    const value = partIn(values[i], tables)
    if (typeof key === 'string') table.setData(key, value)
    else if (key !== undefined && !Number.isNaN(key)) table.set(key, value)
  }
}
