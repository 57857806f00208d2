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
