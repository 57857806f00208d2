// Loads fengari, which reads its build options from an environment variable, once, when it is first required.

import { createRequire } from 'node:module'
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
      printWholeFloatsWhole(require('fengari/src/luaconf.js'))
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
function printWholeFloatsWhole(configuration: { lua_number2str(number: number): string }): void {
  const { lua_number2str: rounded } = configuration
  configuration.lua_number2str = (number) => (Number.isSafeInteger(number) ? String(number) : rounded(number))
}
