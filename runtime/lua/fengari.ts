// fengari, a Lua 5.3 interpreter in JavaScript, behind the engine seam. One Lua state; a process is a thread of it with its own table of
// globals. Suspension is fengari's yield with a continuation, passed outwards through the script's own coroutines; the instruction budget
// is its count hook.

import { fromUint8Array, toBytes, toUint8Array } from '../base/bytes.ts'
import { MoonmeshError, messageOf } from '../base/errors.ts'
import { errorFrom } from '../base/plain.ts'
import type { ChunkTypes } from '../base/type-node.ts'
import { ErrorValue, type Value } from '../base/value.ts'
import { eraseAnnotations } from './annotations/erase.ts'
import {
  type Call,
  type Engine,
  ErrorObject,
  type HostClass,
  type HostFunction,
  HostObject,
  type LuaCode,
  type LuaFunction,
  LuaSyntaxError,
  type LuaTable,
  type LuaThread,
  type LuaType,
  type LuaValue,
  type ModuleTable,
  Raise,
  type Returns,
  type RunInput,
  type RunStatus,
  SUSPEND,
} from './engine.ts'
import { restrictedLibrary } from './fengari-library.ts'
import { loadFengari } from './fengari-load.ts'
import type { CFunction, Closure, Continuation, Internals, Proto, State, Table } from './fengari-types.ts'
import { FengariValues } from './fengari-values.ts'

/** VM instructions between two looks at the budget. */
const GRAIN = 1000
/** How far a slice may overrun its budget where it cannot be suspended, before the script is stopped: some seconds. */
const OVERRUN_MAX = 50_000_000
/** Results pushed without asking for stack space; a call always has 20 free slots. */
const FREE_SLOTS = 16

const TYPE_NAMES: readonly LuaType[] = [
  'nil',
  'boolean',
  'userdata',
  'number',
  'string',
  'table',
  'function',
  'userdata',
  'thread',
]
/** How far a chain of `__index` tables is followed. */
const INDEX_HOPS_MAX = 100
const NO_VALUES: readonly LuaValue[] = []

interface FengariOptions {
  /** Told about exceptions of our own code that a script met as an `Internal` error. */
  onFault?(error: unknown): void
}

class FengariCall implements Call {
  readonly engine: FengariEngine
  L: State
  base = 0
  count = 0
  constructor(engine: FengariEngine, L: State) {
    this.engine = engine
    this.L = L
  }
  get owner(): unknown {
    return this.engine.owner
  }
  get canSuspend(): boolean {
    return this.engine.canSuspend(this.L)
  }
  arg(index: number): LuaValue {
    const tv = index <= this.count ? this.L.stack[this.base + index] : undefined
    return tv === undefined ? undefined : this.engine.values.read(tv)
  }
  args(from: number): LuaValue[] {
    const out: LuaValue[] = []
    for (let i = from; i <= this.count; i++) out.push(this.arg(i))
    return out
  }
  type(index: number): LuaType | 'none' {
    const tv = index <= this.count ? this.L.stack[this.base + index] : undefined
    return tv === undefined ? 'none' : (TYPE_NAMES[tv.type & 15] as LuaType)
  }
  /** A copy of the argument that belongs to nobody. */
  tostring(index: number): string {
    const { lua, lauxlib } = this.engine.fengari
    const { L } = this
    if (index > this.count) return 'nil'
    const bytes = lauxlib.luaL_tolstring(L, index)
    lua.lua_settop(L, -2)
    return fromUint8Array(bytes)
  }
  where(): string {
    const { lua, lauxlib } = this.engine.fengari
    const { L } = this
    lauxlib.luaL_where(L, 1)
    const bytes = lua.lua_tolstring(L, -1)
    lua.lua_settop(L, -2)
    return bytes === null ? '' : fromUint8Array(bytes).slice(0, -2)
  }
}

export class FengariEngine implements Engine {
  readonly name = 'fengari'
  readonly integerBits = 32
  readonly fengari: Internals
  readonly values: FengariValues
  readonly standardLibrary: Engine['standardLibrary']
  results: readonly LuaValue[] = NO_VALUES
  owner: unknown = undefined
  usedBudget = 0

  readonly #L: State
  readonly #options: FengariOptions
  readonly #types = new WeakMap<LuaCode, ChunkTypes>()
  readonly #call: FengariCall
  readonly #metatables = new Map<string, Table>()
  /** Tells fengari's functions from ours, which are JavaScript functions both. */
  readonly #native = new WeakSet<object>()
  readonly #environmentMetatables = new WeakMap<Table, Table>()
  #budget = 0
  #input: RunInput = { values: NO_VALUES }
  /** Why the thread that is unwinding stops; undefined while a script's own coroutine.yield passes by. */
  #stopping: 'suspended' | 'yielded' | 'preempted' | undefined
  #root: State | undefined
  /** Resumes, on the way down from the root, that were made where their caller cannot be suspended. */
  #unyieldableDepth = 0
  #failed: State | undefined

  constructor(options: FengariOptions = {}) {
    this.#options = options
    this.fengari = loadFengari()
    const { lua, lauxlib, lualib } = this.fengari
    this.#L = lauxlib.luaL_newstate()
    lualib.luaL_openlibs(this.#L)
    this.values = new FengariValues(this.fengari, this.#L, this.#metatables)
    this.#call = new FengariCall(this, this.#L)
    lua.lua_sethook(this.#L, (L) => this.#count(L), lua.LUA_MASKCOUNT, GRAIN)
    lua.lua_atnativeerror(this.#L, (L) => this.#nativeError(L))
    this.standardLibrary = restrictedLibrary(this, this.#L)
  }

  // ---- code

  compile(chunkName: string, source: string): LuaCode {
    const erased = eraseAnnotations(chunkName, source)
    const code = this.compilePlain(chunkName, erased.source)
    if (erased.types !== undefined) this.#types.set(code, erased.types)
    return code
  }

  typesOf(code: LuaCode): ChunkTypes | undefined {
    return this.#types.get(code)
  }

  /** Of Lua without annotations. */
  compilePlain(chunkName: string, source: string): LuaCode {
    const { lua, lauxlib } = this.fengari
    const L = this.#L
    const top = lua.lua_gettop(L)
    const bytes = toUint8Array(source)
    const status = lauxlib.luaL_loadbufferx(
      L,
      bytes,
      bytes.length,
      toUint8Array(toBytes(`=${chunkName}`)),
      toUint8Array('t'),
    )
    const value = this.values.read(L.stack[L.top - 1] as never)
    lua.lua_settop(L, top)
    if (status === lua.LUA_OK) return (value as unknown as Closure).p as unknown as LuaCode
    const text = String(value)
    const match = /^.*?:(\d+): (.*)$/s.exec(text.startsWith(chunkName) ? text.slice(chunkName.length - 1) : text)
    throw new LuaSyntaxError(chunkName, match === null ? 1 : Number(match[1]), match?.[2] ?? text)
  }

  load(code: LuaCode, environment: LuaTable): LuaFunction {
    const proto = code as unknown as Proto
    const closure = new this.fengari.LClosure(this.#L, proto.upvalues.length)
    closure.p = proto
    for (let i = 0; i < closure.nupvalues; i++) closure.upvals[i] = this.values.make(i === 0 ? environment : undefined)
    return closure as unknown as LuaFunction
  }

  // ---- what scripts see

  defineClass(definition: HostClass): void {
    const metatable = this.#newTable()
    this.#setFunctions(metatable, definition.metamethods ?? {}, '__')
    if (definition.metamethods?.['index'] === undefined) {
      const methods = this.#newTable()
      this.#setFunctions(methods, definition.methods, '')
      this.set(metatable as unknown as LuaTable, '__index', methods as unknown as LuaTable)
    }
    this.set(metatable as unknown as LuaTable, '__name', definition.name)
    this.set(metatable as unknown as LuaTable, '__metatable', false)
    this.#metatables.set(definition.name, metatable)
  }

  #setFunctions(table: Table, functions: Readonly<Record<string, HostFunction>>, prefix: string): void {
    for (const [name, fn] of Object.entries(functions)) {
      this.set(table as unknown as LuaTable, prefix + name, this.function(name, fn))
    }
  }

  moduleTable(name: string, module: ModuleTable, call?: HostFunction): LuaTable {
    const content = this.#newTable()
    for (const [key, item] of Object.entries(module)) {
      this.set(content as unknown as LuaTable, toBytes(key), this.#moduleItem(`${name}.${key}`, key, item))
    }
    const table = this.#readOnly(name, content)
    if (call !== undefined) {
      const { metatable } = table as unknown as Table
      this.set(metatable as unknown as LuaTable, '__call', this.function(name, call))
    }
    return table
  }

  #moduleItem(path: string, key: string, item: ModuleTable[string]): LuaValue {
    if (typeof item === 'function')
      return this.isNative(item) ? (item as unknown as LuaFunction) : this.function(key, item)
    if (typeof item === 'string') return toBytes(item)
    const isNested = typeof item === 'object' && Object.getPrototypeOf(item) === Object.prototype
    return isNested ? this.moduleTable(path, item as ModuleTable) : (item as LuaValue)
  }

  #readOnly(name: string, content: Table): LuaTable {
    const proxy = this.#newTable()
    this.#show(proxy, content, `read-only table '${name}'`)
    return proxy as unknown as LuaTable
  }

  /** Makes `proxy`, which is empty, show `content` and refuse writes, also raw ones (see the library's rawset, rawget and next). */
  #show(proxy: Table, content: Table, name: string): void {
    const metatable = this.#newTable()
    const meta = metatable as unknown as LuaTable
    const before = content.metatable as unknown as LuaTable | null
    if (before !== null) this.each(before, (key, value) => this.set(meta, key, value))
    const define = (key: string, fn: HostFunction): void => {
      if (this.get(meta, key) === undefined) this.set(meta, key, this.function(key, fn))
    }
    define('__pairs', (call) => [this.standardLibrary.globals['next'] as unknown as LuaFunction, call.arg(1)])
    define('__len', () => this.length(content as unknown as LuaTable))
    this.set(meta, '__index', content as unknown as LuaTable)
    this.set(
      meta,
      '__newindex',
      this.function('newindex', (call) => refuseWrite(name, call)),
    )
    if (this.get(meta, '__metatable') === undefined) this.set(meta, '__metatable', before ?? false)
    proxy.metatable = metatable
    proxy.shown = content
  }

  freeze(handle: LuaTable): void {
    const table = handle as unknown as Table
    if (table.shown !== undefined) return
    const content = this.#newTable()
    const { f, l, strong, metatable } = table
    Object.assign(content, { f, l, strong, metatable })
    Object.assign(table, { f: undefined, l: undefined, strong: new Map() })
    this.#show(table, content, 'immutable table')
  }

  isFrozen(handle: LuaTable): boolean {
    return (handle as unknown as Table).shown !== undefined
  }

  setStringMethods(library: LuaTable): void {
    const metatable = this.#newTable()
    const shown = (library as unknown as Table).shown ?? (library as unknown as Table)
    this.set(metatable as unknown as LuaTable, '__index', shown as unknown as LuaTable)
    this.set(metatable as unknown as LuaTable, '__metatable', false)
    this.#L.l_G.mt[4] = metatable
  }

  function(_name: string, fn: HostFunction): LuaFunction {
    const continuation: Continuation = (L) => this.#resumed(L)
    const wrapper: CFunction = (L) => {
      const call = this.#call
      const { L: callerL, base, count } = call
      call.L = L
      call.base = L.ci.funcOff
      call.count = L.top - call.base - 1
      let returned: Returns
      try {
        returned = fn(call)
      } catch (thrown) {
        if (thrown === L.errorJmp) throw thrown
        return this.#raise(L, thrown)
      } finally {
        call.L = callerL
        call.base = base
        call.count = count
      }
      if (returned === SUSPEND) return this.#suspend(L, 'suspended', continuation)
      return this.#push(L, returned)
    }
    return this.native(wrapper)
  }

  /** A function in fengari's own calling convention, as a value. */
  native(fn: CFunction): LuaFunction {
    this.#native.add(fn)
    return fn as unknown as LuaFunction
  }

  isNative(fn: object): boolean {
    return this.#native.has(fn)
  }

  newEnvironment(base: LuaTable): LuaTable {
    const environment = this.#newTable()
    const shown = (base as unknown as Table).shown ?? (base as unknown as Table)
    let metatable = this.#environmentMetatables.get(shown)
    if (metatable === undefined) {
      metatable = this.#newTable()
      this.set(metatable as unknown as LuaTable, '__index', shown as unknown as LuaTable)
      this.set(metatable as unknown as LuaTable, '__metatable', false)
      this.#environmentMetatables.set(shown, metatable)
    }
    environment.metatable = metatable
    const handle = environment as unknown as LuaTable
    this.set(handle, '_G', handle)
    return handle
  }

  // ---- values

  typeOf(value: LuaValue): LuaType {
    return TYPE_NAMES[this.values.make(value).type & 15] as LuaType
  }

  newTable(): LuaTable {
    return this.#newTable() as unknown as LuaTable
  }

  #newTable(): Table {
    return new this.fengari.Table(this.#L)
  }

  get(table: LuaTable, key: LuaValue): LuaValue {
    const shown = (table as unknown as Table).shown ?? (table as unknown as Table)
    return this.values.read(this.fengari.luaH_get(this.#L, shown, this.values.make(key)))
  }

  set(table: LuaTable, key: LuaValue, value: LuaValue): void {
    this.fengari.luaH_setfrom(this.#L, table as unknown as Table, this.values.make(key), this.values.make(value))
    this.fengari.invalidateTMcache(table as unknown as Table)
  }

  lookup(value: LuaTable | HostObject, key: string): LuaValue {
    const keyTv = this.values.make(key)
    let from: LuaValue = value instanceof HostObject ? this.#indexOf(this.#metatables.get(value.className)) : value
    for (let hops = 0; hops < INDEX_HOPS_MAX && from instanceof this.fengari.Table; hops++) {
      const found = this.values.read(this.fengari.luaH_get(this.#L, from.shown ?? from, keyTv))
      if (found !== undefined) return found
      from = this.#indexOf(from.metatable)
    }
    return undefined
  }

  #indexOf(metatable: Table | null | undefined): LuaValue {
    return metatable ? this.get(metatable as unknown as LuaTable, '__index') : undefined
  }

  length(table: LuaTable): number {
    return this.fengari.luaH_getn((table as unknown as Table).shown ?? (table as unknown as Table))
  }

  each(table: LuaTable, visit: (key: LuaValue, value: LuaValue) => void): void {
    const shown = (table as unknown as Table).shown ?? (table as unknown as Table)
    for (let entry = shown.f; entry !== undefined; entry = entry.n) {
      visit(this.values.read(entry.key), this.values.read(entry.value))
    }
  }

  copyOut(value: LuaValue): Value {
    if (typeof value !== 'object' && typeof value !== 'function') return value
    return this.values.copyOut(this.values.make(value))
  }

  copyIn(value: Value): LuaValue {
    return this.values.read(this.values.copyIn(value))
  }

  // ---- running

  newThread(fn: LuaFunction, isMain = false): LuaThread {
    const { lua } = this.fengari
    const thread = lua.lua_newthread(this.#L)
    lua.lua_settop(this.#L, -2)
    thread.isRoot = true
    thread.isMain = isMain
    thread.stack[thread.top++] = this.values.make(fn)
    return thread as unknown as LuaThread
  }

  run(handle: LuaThread, owner: unknown, budget: number, input: RunInput): RunStatus {
    const { lua } = this.fengari
    const thread = handle as unknown as State
    const { L: callL, base, count } = this.#call
    this.owner = owner
    this.#budget = budget
    this.usedBudget = 0
    this.#root = thread
    this.#stopping = undefined
    this.#unyieldableDepth = 0
    this.#failed = undefined
    let argumentCount = 0
    if (thread.status === lua.LUA_YIELD) this.#input = input
    else if ('values' in input) argumentCount = this.#push(thread, input.values)
    const status = this.#resume(thread, argumentCount)
    this.owner = undefined
    this.#root = undefined
    this.#input = { values: NO_VALUES }
    this.#call.L = callL
    this.#call.base = base
    this.#call.count = count
    return this.#ended(thread, status)
  }

  /** A fault inside fengari itself ends the thread, not the host with all its other processes. */
  #resume(thread: State, argumentCount: number): number {
    const { lua } = this.fengari
    try {
      return lua.lua_resume(thread, null, argumentCount)
    } catch (thrown) {
      thread.status = lua.LUA_ERRRUN
      thread.stack[thread.top++] = this.values.make(this.#errorObject(thrown))
      return lua.LUA_ERRRUN
    }
  }

  #ended(thread: State, status: number): RunStatus {
    const { lua } = this.fengari
    if (status === lua.LUA_YIELD) {
      this.results = NO_VALUES
      return this.#stopping ?? 'yielded'
    }
    if (status === lua.LUA_OK) {
      const top = lua.lua_gettop(thread)
      const values: LuaValue[] = []
      for (let i = 1; i <= top; i++) values.push(this.values.read(thread.stack[thread.ci.funcOff + i] as never))
      lua.lua_settop(thread, 0)
      this.results = values
      return 'done'
    }
    this.results = [this.values.read(thread.stack[thread.top - 1] as never)]
    this.#failed = thread
    return 'error'
  }

  get traceback(): string {
    if (this.#failed === undefined) return ''
    const { lua, lauxlib } = this.fengari
    lauxlib.luaL_traceback(this.#L, this.#failed, null, 0)
    const bytes = lua.lua_tolstring(this.#L, -1)
    lua.lua_settop(this.#L, -2)
    return bytes === null ? '' : fromUint8Array(bytes).replaceAll('[JS]', '[native]')
  }

  close(): void {
    this.fengari.lua.lua_close(this.#L)
  }

  canSuspend(L: State): boolean {
    return L.nny === 0 && this.#unyieldableDepth === 0
  }

  /** The count hook: at the end of the budget the thread stops where it is. */
  #count(L: State): void {
    this.usedBudget += GRAIN
    if (this.usedBudget < this.#budget) return
    if (this.canSuspend(L)) {
      this.#stopping = 'preempted'
      this.fengari.lua.lua_yield(L, 0)
    } else this.checkOverrun(L)
  }

  /** Raises where a runaway can be neither paused nor caught; the library asks wherever an error is about to be caught. */
  checkOverrun(L: State): void {
    if (this.usedBudget <= this.#budget + OVERRUN_MAX || this.canSuspend(L)) return
    const text = 'instruction budget exceeded inside a metamethod, comparator or callback, which cannot be paused'
    this.fengari.lauxlib.luaL_error(L, toUint8Array(text))
  }

  /** Unwinds the thread; `continuation` runs when it goes on. Never returns normally. */
  #suspend(L: State, reason: 'suspended' | 'yielded', continuation: Continuation): number {
    if (!this.canSuspend(L)) return this.#raise(L, new Raise('attempt to yield across a call that cannot be suspended'))
    this.#stopping = reason
    return this.fengari.lua.lua_yieldk(L, 0, null, continuation)
  }

  #resumed(L: State): number {
    const input = this.#input
    this.#input = { values: NO_VALUES }
    return 'raise' in input ? this.#raise(L, new Raise(input.raise)) : this.#push(L, input.values)
  }

  #push(L: State, returned: Exclude<Returns, typeof SUSPEND>): number {
    if (returned === undefined) return 0
    if (!Array.isArray(returned)) {
      L.stack[L.top++] = this.values.make(returned as LuaValue)
      return 1
    }
    const { length } = returned
    if (length > FREE_SLOTS && !this.fengari.lua.lua_checkstack(L, length)) {
      return this.#raise(L, new Raise('too many values'))
    }
    for (let i = 0; i < length; i++) L.stack[L.top++] = this.values.make(returned[i] as LuaValue)
    return length
  }

  #raise(L: State, thrown: unknown): number {
    const { lua, lauxlib } = this.fengari
    if (!(thrown instanceof Raise)) {
      L.stack[L.top++] = this.values.make(this.#errorObject(thrown))
    } else if (thrown.withPosition) {
      lauxlib.luaL_where(L, 1)
      L.stack[L.top++] = this.values.make(thrown.value)
      lua.lua_concat(L, 2)
    } else {
      L.stack[L.top++] = this.values.make(thrown.value)
    }
    return lua.lua_error(L)
  }

  /** Exceptions that are no Lua errors: fengari's own, or the JavaScript stack or memory running out below it. */
  #nativeError(L: State): number {
    L.stack[L.top++] = this.values.make(this.#errorObject(this.fengari.lua.lua_touserdata(L, 1)))
    return 1
  }

  #errorObject(thrown: unknown): ErrorObject | string {
    if (thrown instanceof ErrorObject) return thrown
    if (thrown instanceof RangeError) return /call stack/.test(thrown.message) ? 'stack overflow' : 'not enough memory'
    if (thrown instanceof MoonmeshError || thrown instanceof ErrorValue) return new ErrorObject(errorFrom(thrown))
    this.#options.onFault?.(thrown)
    return new ErrorObject(new ErrorValue('Internal', toBytes(`internal fault: ${messageOf(thrown)}`), false))
  }

  // ---- coroutines of scripts (used by the library)

  /** coroutine.resume: the values of `L` above the first argument go to `thread`. Negative: the error is on top of `L`. */
  resume(L: State, thread: State, argumentCount: number, finish: Continuation): number {
    const { lua } = this.fengari
    const refusal = this.#whyNotResumable(L, thread)
    if (refusal !== undefined) {
      L.stack[L.top++] = this.values.make(refusal)
      return -1
    }
    if (!lua.lua_checkstack(thread, argumentCount)) {
      L.stack[L.top++] = this.values.make('too many arguments to resume')
      return -1
    }
    lua.lua_xmove(L, thread, argumentCount)
    return this.continueResume(L, thread, argumentCount, finish)
  }

  #whyNotResumable(L: State, thread: State): string | undefined {
    const { lua } = this.fengari
    if (thread === L || thread.isRoot === true || thread.isWaiting === true)
      return 'cannot resume non-suspended coroutine'
    if (thread.status === lua.LUA_OK && lua.lua_gettop(thread) === 0) return 'cannot resume dead coroutine'
    return undefined
  }

  /** Also the way on after the runtime suspended the whole chain of coroutines below `L`. */
  continueResume(L: State, thread: State, argumentCount: number, finish: Continuation): number {
    const { lua } = this.fengari
    const isUnyieldable = L.nny > 0
    if (isUnyieldable) this.#unyieldableDepth++
    thread.isWaiting = false
    // One count for the whole chain: many short coroutines cost what one long one costs.
    thread.hookcount = L.hookcount
    const status = lua.lua_resume(thread, L, argumentCount)
    L.hookcount = thread.hookcount
    if (isUnyieldable) this.#unyieldableDepth--
    if (status === lua.LUA_YIELD && this.#stopping !== undefined) {
      thread.isWaiting = true
      return lua.lua_yieldk(L, 0, thread, finish)
    }
    if (status !== lua.LUA_OK && status !== lua.LUA_YIELD) {
      this.checkOverrun(L)
      lua.lua_xmove(thread, L, 1)
      return -1
    }
    const count = lua.lua_gettop(thread)
    if (!lua.lua_checkstack(L, count + 1)) {
      lua.lua_settop(thread, 0)
      L.stack[L.top++] = this.values.make('too many results to resume')
      return -1
    }
    lua.lua_xmove(thread, L, count)
    return count
  }

  /** coroutine.yield. On a thread of the scheduler it gives up the turn. */
  yield(L: State): number {
    const { lua } = this.fengari
    if (L.isRoot !== true) return lua.lua_yield(L, lua.lua_gettop(L))
    return this.#suspend(L, 'yielded', () => 0)
  }

  /** A script's own coroutine, not yet started. */
  newCoroutine(L: State): State {
    const { lua } = this.fengari
    const thread = lua.lua_newthread(L)
    lua.lua_pushvalue(L, 1)
    lua.lua_xmove(L, thread, 1)
    return thread
  }

  isRunning(thread: State): boolean {
    return thread === this.#root
  }
}

function refuseWrite(name: string, call: Call): never {
  const key = call.arg(2)
  const field = typeof key === 'string' ? `'${key}'` : String(key instanceof HostObject ? key.className : key)
  throw new Raise(`${toBytes(`cannot change ${name} (field `)}${field})`)
}
