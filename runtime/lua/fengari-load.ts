// Loads fengari, which reads its build options from an environment variable, once, when it is first required.

import { createRequire } from 'node:module'
import { numberText } from '../base/number-text.ts'
import type { Internals, State, Table, TableEntry, TValue } from './fengari-types.ts'
import { NIL } from './fengari-values.ts'

const OPTIONS = {
  /** 3.0 prints as "3" (lua-core.md §2.1). */
  LUA_COMPAT_FLOATSTRING: true,
  /** Long entry ids stay whole in error positions. */
  LUA_IDSIZE: 512,
}

/** The longest string that a script can make. */
export const STRING_BYTES_MAX = 256 * 1024 * 1024
/** The handler, its argument, and as much again. */
const FAULT_SLOTS = 4

export function loadFengari(): Internals {
  const require = createRequire(import.meta.url)
  const before = process.env['FENGARICONF']
  process.env['FENGARICONF'] = JSON.stringify(OPTIONS)
  try {
    const isFirst = require.cache[require.resolve('fengari')] === undefined
    if (isFirst) {
      // These two need each other, this one first.
      require('fengari/src/defs.js')
      printNumbers(require('fengari/src/luaconf.js'))
      // Loaded before those who take the function out of it.
      boundStrings(require('fengari/src/lstring.js'))
      orderLists(require('fengari/src/ltable.js'))
    }
    const { lua, lauxlib, lualib } = require('fengari')
    const { TValue, LClosure, CClosure, Udata } = require('fengari/src/lobject.js')
    const {
      Table,
      luaH_get,
      luaH_getn,
      luaH_setint,
      luaH_setfrom,
      invalidateTMcache,
    } = require('fengari/src/ltable.js')
    const { TString } = require('fengari/src/lstring.js')
    distinguishStrings(TString)
    if (isFirst) {
      bridgeGaps(require('fengari/src/lfunc.js'), TValue)
      makeRoomForFaults(require('fengari/src/lapi.js'))
    }
    const { lua_State: State } = require('fengari/src/lstate.js')
    return {
      lua,
      lauxlib,
      lualib,
      TValue,
      LClosure,
      CClosure,
      Udata,
      Table,
      TString,
      State,
      luaH_get,
      luaH_getn,
      luaH_setint,
      luaH_setfrom,
      invalidateTMcache,
    }
  } finally {
    if (before === undefined) delete process.env['FENGARICONF']
    else process.env['FENGARICONF'] = before
  }
}

/** Numbers that do not fit 32 bits are floats here: identifiers and times among them must print all their digits. */
function printNumbers(configuration: { lua_number2str(number: number): string }): void {
  configuration.lua_number2str = numberText
}

interface Upvalues {
  luaF_close(L: State, level: number): void
}

/**
 * fengari moves the top of the stack first and computes what it puts there second. When the JavaScript stack runs out in between, the slot
 * stays empty, and clearing up after the error would fail on it, outside of any script.
 */
function bridgeGaps(upvalues: Upvalues, TValue: Internals['TValue']): void {
  upvalues.luaF_close = ({ stack, top }, level) => {
    for (let i = level; i < top; i++) {
      const old = stack[i]
      stack[i] = old === undefined ? new TValue(NIL, null) : new TValue(old.type, old.value)
    }
  }
}

interface Strings {
  luaS_bless(L: State, bytes: Uint8Array): unknown
}

/** Here every string of a script is born that is not a constant, also what `..` makes, for which fengari has no limit. */
function boundStrings(strings: Strings): void {
  const { luaS_bless } = strings
  strings.luaS_bless = (L, bytes) => {
    // A RangeError is what JavaScript itself throws for lengths that it cannot have: "not enough memory" to the script.
    if (bytes.length > STRING_BYTES_MAX) throw new RangeError('string too long')
    return luaS_bless(L, bytes)
  }
}

interface Tables {
  luaH_setint(table: Table, key: number, value: TValue): void
}

/**
 * fengari traverses a table in the order in which its keys came, and fills what `{ a, b, c }` makes from the end. Here the
 * keys of such a filling go in front of each other, so that `pairs` meets the list from its first element on, as elsewhere.
 */
function orderLists(tables: Tables): void {
  const { luaH_setint } = tables
  let filled: Table | undefined
  let filledKey = 0
  /** The entry of the lowest key that this filling has made; none of a nil. */
  let lowest: TableEntry | undefined
  tables.luaH_setint = (table, key, value) => {
    const before = table.l
    luaH_setint(table, key, value)
    const added = table.l
    const isAdded = added !== undefined && added !== before && added.p === before
    const isGoingOn = table === filled && key === filledKey - 1
    if (isAdded && isGoingOn && lowest !== undefined && table.strong.get(lowest.key.value) === lowest) {
      putInFront(table, added, lowest)
    }
    filled = table
    filledKey = key
    if (isAdded) lowest = added
    else if (!isGoingOn) lowest = undefined
  }
}

/** Moves the last entry. */
function putInFront(table: Table, last: TableEntry, next: TableEntry): void {
  table.l = last.p
  if (last.p !== undefined) last.p.n = undefined
  last.p = next.p
  last.n = next
  if (next.p === undefined) table.f = last
  else next.p.n = last
  next.p = last
}

interface Api {
  lua_pushcfunction(L: State, fn: unknown): void
}

/**
 * A JavaScript error in the middle of a Lua function is told to a handler, which is called on top of that function's stack. Often there is no
 * room left on it: then the handler is not called, `pcall` does not catch the error, and it leaves `lua_resume`. fengari uses this export
 * for nothing else.
 */
function makeRoomForFaults(api: Api): void {
  const { lua_pushcfunction } = api
  api.lua_pushcfunction = (L, fn) => {
    L.ci.top = Math.max(L.ci.top, L.top + FAULT_SLOTS)
    lua_pushcfunction(L, fn)
  }
}

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))
/** Beyond this many bytes Buffer is faster. */
const LOOP_MAX = 16

/** `|` and two digits a byte: distinct for distinct strings, and in the order of their bytes. */
function hashOf(bytes: Uint8Array): string {
  if (bytes.length > LOOP_MAX) return `|${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex')}`
  let hash = '|'
  for (const byte of bytes) hash += HEX[byte]
  return hash
}

/**
 * fengari finds strings in tables, and orders them, by a text of their bytes in hex without leading zeros. So `"\1\35"` and `"\18\3"` are one
 * key, and `"\n"` comes after `"b"`. Each string makes its text in our way instead, once; where fengari asks, it is there.
 */
function distinguishStrings(TString: { prototype: object }): void {
  if (Object.hasOwn(TString.prototype, 'hash')) return
  Object.defineProperty(TString.prototype, 'hash', {
    get(this: { realstring: Uint8Array; text: string | null }) {
      this.text ??= hashOf(this.realstring)
      return this.text
    },
    /** The constructor sets it to null. */
    set(this: { text: string | null }, text: string | null) {
      this.text = text
    },
  })
}
