// Loads fengari, which reads its build options from an environment variable, once, when it is first required.

import { createRequire } from 'node:module'
import { numberText } from '../base/number-text.ts'
import type { Internals } from './fengari-types.ts'

const OPTIONS = {
  /** 3.0 prints as "3" (lua-core.md §2.1). */
  LUA_COMPAT_FLOATSTRING: true,
  /** Long entry ids stay whole in error positions. */
  LUA_IDSIZE: 512,
}

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
