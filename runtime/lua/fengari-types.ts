// The part of fengari 0.1.5 that fengari.ts uses. Its internals are reached on purpose: a process must cost one thread and one table, and
// messages are copied straight between its tables and our values; the public API alone would copy and re-parse.

export interface TString {
  realstring: Uint8Array
  /** Ours: the byte string, once somebody asked. */
  bytes?: string
}
export interface TValue {
  type: number
  value: unknown
}
export interface TableEntry {
  key: TValue
  value: TValue
  /** The previous and the next entry. */
  p: TableEntry | undefined
  n: TableEntry | undefined
}
export interface Table {
  /** The first and the last entry. */
  f: TableEntry | undefined
  l: TableEntry | undefined
  metatable: Table | null
  strong: Map<unknown, TableEntry>
  /** Ours: the table whose content this empty, read-only one shows. */
  shown?: Table
}
export interface Proto {
  upvalues: unknown[]
}
export interface Closure {
  p: Proto
  upvals: TValue[]
  nupvalues: number
}
export interface Udata {
  data: unknown
  metatable: Table | null
}
interface CallInfo {
  /** Where the stack that this call may use ends. */
  top: number
  funcOff: number
  callstatus: number
}
export interface State {
  stack: TValue[]
  top: number
  ci: CallInfo
  status: number
  nny: number
  hookcount: number
  errorJmp: unknown
  l_G: { mt: (Table | null)[] }
  /** Ours: the thread is run by the scheduler and not to be resumed by a script. */
  isRoot?: boolean
  isMain?: boolean
  /** Ours: suspended by the runtime rather than by coroutine.yield. */
  isWaiting?: boolean
}
export type CFunction = (L: State) => number
export type Continuation = (L: State, status: number, context: unknown) => number

interface Lua {
  LUA_OK: number
  LUA_YIELD: number
  LUA_ERRRUN: number
  LUA_MASKCOUNT: number
  lua_newthread(L: State): State
  lua_close(L: State): void
  lua_resume(L: State, from: State | null, argCount: number): number
  lua_yield(L: State, resultCount: number): number
  lua_yieldk(L: State, resultCount: number, context: unknown, k: Continuation): number
  lua_sethook(L: State, hook: ((L: State) => void) | null, mask: number, count: number): void
  lua_atnativeerror(L: State, handler: CFunction): void
  lua_checkstack(L: State, count: number): boolean
  lua_settop(L: State, index: number): void
  lua_gettop(L: State): number
  lua_xmove(from: State, to: State, count: number): void
  lua_error(L: State): number
  lua_concat(L: State, count: number): void
  lua_insert(L: State, index: number): void
  lua_pushvalue(L: State, index: number): void
  lua_tolstring(L: State, index: number): Uint8Array | null
  lua_geti(L: State, index: number, key: number): number
  lua_touserdata(L: State, index: number): unknown
  lua_getstack(L: State, level: number, ar: unknown): number
  lua_Debug: new () => unknown
}
interface Lauxlib {
  luaL_newstate(): State
  luaL_openlibs(L: State): void
  luaL_loadbufferx(L: State, source: Uint8Array, size: number, name: Uint8Array, mode: Uint8Array): number
  luaL_traceback(L: State, thread: State, message: null, level: number): void
  luaL_tolstring(L: State, index: number): Uint8Array
  luaL_where(L: State, level: number): void
  luaL_error(L: State, text: Uint8Array): number
  luaL_checknumber(L: State, index: number): number
  luaL_argerror(L: State, index: number, text: Uint8Array): number
  luaL_typename(L: State, index: number): Uint8Array
  luaL_checktype(L: State, index: number, type: number): void
  luaL_checklstring(L: State, index: number): Uint8Array
  luaL_optlstring(L: State, index: number, fallback: Uint8Array): Uint8Array | null
  luaL_checkinteger(L: State, index: number): number
  luaL_optinteger(L: State, index: number, fallback: number): number
  luaL_len(L: State, index: number): number
}
export interface Internals {
  lua: Lua
  lauxlib: Lauxlib
  lualib: { luaL_openlibs(L: State): void }
  TValue: new (type: number, value: unknown) => TValue
  LClosure: new (L: State, count: number) => Closure
  CClosure: abstract new () => object
  Udata: new (L: State, size: number) => Udata
  Table: new (L: State) => Table
  TString: new (L: State, bytes: Uint8Array) => TString
  State: abstract new () => State
  luaH_get(L: State, table: Table, key: TValue): TValue
  luaH_getn(table: Table): number
  luaH_setint(table: Table, key: number, value: TValue): void
  luaH_setfrom(L: State, table: Table, key: TValue, value: TValue): void
  invalidateTMcache(table: Table): void
}
