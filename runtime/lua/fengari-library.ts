// fengari's standard library in the restricted form of lua-core.md §2: without what reaches files, the loader or the debugger; error
// objects serve as strings; coroutines pass the runtime's suspensions through; sizes are bounded.

import { fromUint8Array, toUint8Array } from '../base/bytes.ts'
import type { Engine, LuaTable, ModuleTable } from './engine.ts'
import { ErrorObject } from './engine.ts'
import type { FengariEngine } from './fengari.ts'
import { formatting, random } from './fengari-format.ts'
import { STRING_BYTES_MAX } from './fengari-load.ts'
import type { CFunction, Continuation, State, Table, TString, Udata } from './fengari-types.ts'
import { FLOAT, INTEGER, LIGHT_FUNCTION, LONG_STRING, NIL, STRING, TABLE, THREAD, USERDATA } from './fengari-values.ts'

const GLOBALS = [
  'assert',
  'error',
  'getmetatable',
  'ipairs',
  'next',
  'pairs',
  'pcall',
  'rawequal',
  'rawget',
  'select',
  'setmetatable',
  'tonumber',
  'tostring',
  'type',
  'xpcall',
]
const STRING_FUNCTIONS = ['byte', 'char', 'dump', 'find', 'gmatch', 'gsub', 'len', 'lower', 'match', 'pack', 'packsize']
  .concat(['reverse', 'sub', 'unpack', 'upper'])
  .filter((name) => name !== 'dump')
const TABLE_FUNCTIONS = ['insert', 'move', 'remove', 'sort', 'unpack']
const MATH_FUNCTIONS = [
  'abs',
  'acos',
  'asin',
  'atan',
  'ceil',
  'cos',
  'deg',
  'exp',
  'floor',
  'fmod',
  'log',
  'max',
  'min',
  'modf',
].concat(['rad', 'random', 'sin', 'sqrt', 'tan', 'tointeger', 'type', 'ult'])

const EMPTY = new Uint8Array()

/** CIST_OAH of fengari's lstate.js. */
const HOOKS_ALLOWED = 1

type Functions = Record<string, CFunction>

export function restrictedLibrary(engine: FengariEngine, L: State): Engine['standardLibrary'] {
  const globals = pick(globalTable(L), GLOBALS)
  const string = pick(library(L, 'string'), STRING_FUNCTIONS)
  const original = functionsOf(library(L, 'string'))
  for (const [name, fn] of Object.entries(string)) string[name] = withMessages(engine, fn)
  string['rep'] = withMessages(engine, rep(engine))
  string['char'] = withMessages(engine, char(engine))
  string['format'] = withMessages(engine, formatting(engine, original['format'] as CFunction))
  const table = pick(library(L, 'table'), TABLE_FUNCTIONS)
  table['concat'] = concat(engine)
  table['pack'] = pack(engine)
  const math = pick(library(L, 'math'), MATH_FUNCTIONS)
  math['random'] = random(engine)
  math['randomseed'] = () => 0
  for (const name of ['pcall', 'xpcall']) globals[name] = keepingHooks(globals[name] as CFunction)
  globals['rawset'] = guardedRawset(engine, functionsOf(globalTable(L))['rawset'] as CFunction)
  for (const name of ['rawget', 'next']) globals[name] = onShown(engine, globals[name] as CFunction)
  for (const name of ['pcall', 'xpcall']) globals[name] = stoppingRunaways(engine, globals[name] as CFunction)
  string['gfind'] = string['gmatch'] as CFunction
  const coroutine = coroutines(engine)
  nameInErrors(engine, globalTable(L), globals)
  for (const [name, functions] of Object.entries({ string, table, math, coroutine })) {
    nameInErrors(engine, library(L, name), functions)
  }
  return {
    globals: { ...asModule(engine, globals), _VERSION: 'Lua 5.3' },
    libraries: {
      string: asModule(engine, string),
      table: asModule(engine, table),
      math: {
        ...asModule(engine, math),
        pi: Math.PI,
        huge: Number.POSITIVE_INFINITY,
        maxinteger: 2147483647,
        mininteger: -2147483648,
      },
      coroutine: asModule(engine, coroutine),
    },
  }
}

/** `bad argument #1 to 'string.rep'`: where a call gives no name, fengari looks the function up in its own tables. */
function nameInErrors(engine: FengariEngine, table: Table, functions: Functions): void {
  for (const [name, fn] of Object.entries(functions)) {
    engine.set(table as unknown as LuaTable, name, engine.native(fn))
  }
}

function asModule(engine: FengariEngine, functions: Functions): ModuleTable {
  return Object.fromEntries(Object.entries(functions).map(([name, fn]) => [name, engine.native(fn)]))
}

function globalTable(L: State): Table {
  const registry = (L.l_G as unknown as { l_registry: { value: Table } }).l_registry.value
  return registry.strong.get(2)?.value.value as Table
}

function library(L: State, name: string): Table {
  for (let entry = globalTable(L).f; entry !== undefined; entry = entry.n) {
    if (keyOf(entry.key.value) === name) return entry.value.value as Table
  }
  throw new Error(`fengari has no library ${name}`)
}

const keyOf = (key: unknown): string => Buffer.from((key as TString).realstring).toString('latin1')

function functionsOf(table: Table): Functions {
  const out: Functions = {}
  for (let entry = table.f; entry !== undefined; entry = entry.n) {
    if (entry.value.type === LIGHT_FUNCTION) out[keyOf(entry.key.value)] = entry.value.value as CFunction
    else if ((entry.value.type & 15) === 6) out[keyOf(entry.key.value)] = (entry.value.value as { f: CFunction }).f
  }
  return out
}

function pick(table: Table, names: readonly string[]): Functions {
  const all = functionsOf(table)
  return Object.fromEntries(names.flatMap((name) => (all[name] === undefined ? [] : [[name, all[name]]])))
}

/** Error objects among the arguments become their messages (lua-core.md §2.4). */
function withMessages(engine: FengariEngine, fn: CFunction): CFunction {
  return (L) => {
    for (let i = L.ci.funcOff + 1; i < L.top; i++) {
      const tv = L.stack[i]
      if (tv?.type !== USERDATA) continue
      const { data } = tv.value as Udata
      if (data instanceof ErrorObject) L.stack[i] = engine.values.make(data.error.message)
    }
    return fn(L)
  }
}

function raise(engine: FengariEngine, L: State, text: string): number {
  return engine.fengari.lauxlib.luaL_error(L, toUint8Array(text))
}

/** fengari's own fails where it should say that a value is out of range. */
function char(engine: FengariEngine): CFunction {
  const { TString, TValue, lauxlib } = engine.fengari
  return (L) => {
    const count = L.top - L.ci.funcOff - 1
    const bytes = new Uint8Array(count)
    for (let i = 1; i <= count; i++) {
      const value = lauxlib.luaL_checkinteger(L, i)
      if (value < 0 || value > 255) return lauxlib.luaL_argerror(L, i, toUint8Array('value out of range'))
      bytes[i - 1] = value
    }
    L.stack[L.top++] = new TValue(LONG_STRING, new TString(L, bytes))
    return 1
  }
}

/** Fills by doubling: fengari's own appends one piece after the other, which takes seconds for sizes that are still allowed. */
function rep(engine: FengariEngine): CFunction {
  const { TString, TValue, lauxlib } = engine.fengari
  return (L) => {
    const text = lauxlib.luaL_checklstring(L, 1)
    const count = lauxlib.luaL_checkinteger(L, 2)
    const separator = lauxlib.luaL_optlstring(L, 3, EMPTY) as Uint8Array
    const unit = text.length + separator.length
    const size = count <= 0 ? 0 : unit * count - separator.length
    if (size > STRING_BYTES_MAX) return raise(engine, L, 'resulting string too large')
    const bytes = new Uint8Array(size)
    if (size > 0) {
      bytes.set(text)
      bytes.set(separator.subarray(0, size - text.length), text.length)
      for (let filled = unit; filled < size; filled *= 2) bytes.copyWithin(filled, 0, Math.min(filled, size - filled))
    }
    L.stack[L.top++] = new TValue(LONG_STRING, new TString(L, bytes))
    return 1
  }
}

const isString = (type: number): boolean => type === STRING || type === LONG_STRING

function concat(engine: FengariEngine): CFunction {
  const { lua, lauxlib } = engine.fengari
  return (L) => {
    const base = L.ci.funcOff
    const argumentCount = L.top - base - 1
    lauxlib.luaL_checktype(L, 1, TABLE)
    let separator: Uint8Array | undefined
    if (argumentCount >= 2 && L.stack[base + 2]?.type !== NIL) separator = stringAt(engine, L, 2)
    if (argumentCount >= 2 && separator === undefined && L.stack[base + 2]?.type !== NIL) {
      lauxlib.luaL_checktype(L, 2, STRING)
    }
    const first = lauxlib.luaL_optinteger(L, 3, 1)
    const last =
      argumentCount >= 4 && L.stack[base + 4]?.type !== NIL ? lauxlib.luaL_optinteger(L, 4, 0) : lauxlib.luaL_len(L, 1)
    const parts: Uint8Array[] = []
    let size = 0
    for (let i = first; i <= last; i++) {
      lua.lua_geti(L, 1, i)
      const part = stringAt(engine, L, -1)
      if (part === undefined) {
        const got = fromUint8Array(lauxlib.luaL_typename(L, -1))
        return raise(engine, L, `invalid value (${got}) at index ${i} in table for 'concat'`)
      }
      lua.lua_settop(L, -2)
      parts.push(part)
      size += part.length
      if (i < last && separator !== undefined && separator.length > 0) {
        parts.push(separator)
        size += separator.length
      }
      if (size > STRING_BYTES_MAX) return raise(engine, L, 'resulting string too large')
    }
    const joined = new Uint8Array(size)
    let at = 0
    for (const part of parts) {
      joined.set(part, at)
      at += part.length
    }
    L.stack[L.top++] = new engine.fengari.TValue(LONG_STRING, new engine.fengari.TString(L, joined))
    return 1
  }
}

/** fengari's own begins at the end, and `pairs` would too. */
function pack(engine: FengariEngine): CFunction {
  const { TValue, luaH_setint } = engine.fengari
  return (L) => {
    const base = L.ci.funcOff
    const count = L.top - base - 1
    const table = engine.newTable()
    for (let i = 1; i <= count; i++)
      luaH_setint(table as unknown as Table, i, L.stack[base + i] as State['stack'][number])
    engine.set(table, 'n', count)
    L.stack[L.top++] = new TValue(TABLE, table)
    return 1
  }
}

/** The bytes of a string, number or error object. */
function stringAt(engine: FengariEngine, L: State, index: number): Uint8Array | undefined {
  const at = index > 0 ? L.ci.funcOff + index : L.top + index
  const tv = L.stack[at]
  if (tv === undefined) return undefined
  if (isString(tv.type)) return (tv.value as TString).realstring
  if (tv.type === INTEGER || tv.type === FLOAT) return engine.fengari.lua.lua_tolstring(L, index) ?? undefined
  if (tv.type !== USERDATA) return undefined
  const { data } = tv.value as Udata
  return data instanceof ErrorObject ? toUint8Array(data.error.message) : undefined
}

/**
 * A protected call that has caught an error must leave the count hook as it was. fengari restores it from a flag of the call that it never
 * sets, so without this a script could not be paused any more after its first caught error.
 */
function keepingHooks(fn: CFunction): CFunction {
  return (L) => {
    L.ci.callstatus |= HOOKS_ALLOWED
    return fn(L)
  }
}

function guardedRawset(engine: FengariEngine, rawset: CFunction): CFunction {
  return (L) => {
    const tv = L.stack[L.ci.funcOff + 1]
    if (tv?.type === TABLE && (tv.value as Table).shown !== undefined) {
      return raise(engine, L, 'cannot change read-only table')
    }
    return rawset(L)
  }
}

/** Read-only tables are empty themselves; what reads raw reads what they show. */
function onShown(engine: FengariEngine, fn: CFunction): CFunction {
  return (L) => {
    const tv = L.stack[L.ci.funcOff + 1]
    const shown = tv?.type === TABLE ? (tv.value as Table).shown : undefined
    if (shown !== undefined) L.stack[L.ci.funcOff + 1] = new engine.fengari.TValue(TABLE, shown)
    return fn(L)
  }
}

/** A runaway that cannot be paused must not catch the error that stops it. */
function stoppingRunaways(engine: FengariEngine, protectedCall: CFunction): CFunction {
  return (L) => {
    const count = protectedCall(L)
    engine.checkOverrun(L)
    return count
  }
}

function coroutines(engine: FengariEngine): Functions {
  const { lua, lauxlib } = engine.fengari

  const threadArgument = (L: State): State => {
    lauxlib.luaL_checktype(L, 1, THREAD)
    return L.stack[L.ci.funcOff + 1]?.value as State
  }

  const answerResume = (L: State, count: number): number => {
    const isOk = count >= 0
    const results = isOk ? count : 1
    L.stack[L.top++] = engine.values.make(isOk)
    lua.lua_insert(L, -(results + 1))
    return results + 1
  }
  const finishResume: Continuation = (L, _status, thread) =>
    answerResume(L, engine.continueResume(L, thread as State, 0, finishResume))

  const answerWrap = (L: State, count: number): number => {
    if (count >= 0) return count
    const error = L.stack[L.top - 1]
    if (error !== undefined && isString(error.type)) {
      lauxlib.luaL_where(L, 1)
      lua.lua_insert(L, -2)
      lua.lua_concat(L, 2)
    }
    return lua.lua_error(L)
  }
  const finishWrap: Continuation = (L, _status, thread) =>
    answerWrap(L, engine.continueResume(L, thread as State, 0, finishWrap))

  const status = (L: State, thread: State): string => {
    if (thread === L) return 'running'
    // It has not yielded: something that it called waits, and with it whoever resumed it.
    if (thread.isWaiting === true) return 'normal'
    if (thread.status === lua.LUA_YIELD) return 'suspended'
    if (thread.status !== lua.LUA_OK) return 'dead'
    if (lua.lua_getstack(thread, 0, new lua.lua_Debug()) > 0) return 'normal'
    return lua.lua_gettop(thread) === 0 ? 'dead' : 'suspended'
  }

  return {
    create: (L) => {
      lauxlib.luaL_checktype(L, 1, 6)
      const thread = engine.newCoroutine(L)
      L.stack[L.top - 1] = engine.values.make(thread as never)
      return 1
    },
    resume: (L) => {
      const thread = threadArgument(L)
      return answerResume(L, engine.resume(L, thread, lua.lua_gettop(L) - 1, finishResume))
    },
    wrap: (L) => {
      lauxlib.luaL_checktype(L, 1, 6)
      const thread = engine.newCoroutine(L)
      const wrapped: CFunction = (caller) =>
        answerWrap(caller, engine.resume(caller, thread, lua.lua_gettop(caller), finishWrap))
      L.stack[L.top - 1] = engine.values.make(wrapped as never)
      return 1
    },
    yield: (L) => engine.yield(L),
    status: (L) => {
      // Before the top moves: an argument error must not find a gap in the stack.
      const text = status(L, threadArgument(L))
      L.stack[L.top++] = engine.values.make(text)
      return 1
    },
    running: (L) => {
      L.stack[L.top++] = engine.values.make(L as never)
      L.stack[L.top++] = engine.values.make(L.isMain === true)
      return 2
    },
    isyieldable: (L) => {
      L.stack[L.top++] = engine.values.make(engine.canSuspend(L))
      return 1
    },
  }
}
