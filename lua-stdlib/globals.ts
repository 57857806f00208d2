// Globals that the engine does not bring: print, coroutine.spawn, and the older names that scripts still use (lua-core.md §2).

import { floatValue } from '../runtime/base/value.ts'
import type { Call, HostFunction, LuaTable, LuaValue, Returns } from '../runtime/lua/engine.ts'
import type { LibraryModule } from '../runtime/services.ts'
import {
  functionArg,
  integerArg,
  isNumber,
  numberArg,
  optionalNumber,
  processOf,
  raise,
  tableArg,
  toNumber,
} from './support/args.ts'

/** One log record at level info; arguments joined by one space. */
function print(call: Call): Returns {
  let text = ''
  for (let i = 1; i <= call.count; i++) text += (i > 1 ? ' ' : '') + call.tostring(i)
  processOf(call).log('info', text, call.where())
}

const UNPACK_MAX = 1_000_000

function unpack(call: Call): Returns {
  const table = tableArg(call, 1, 'unpack')
  const from = optionalNumber(call, 2, 'unpack', 1)
  const to = optionalNumber(call, 3, 'unpack', call.engine.length(table))
  if (to - from >= UNPACK_MAX) raise('too many results to unpack')
  const values: LuaValue[] = []
  for (let i = from; i <= to; i++) values.push(call.engine.get(table, i))
  return values
}

function maxn(call: Call): Returns {
  let largest = 0
  call.engine.each(tableArg(call, 1, 'maxn'), (key) => {
    if (isNumber(key)) largest = Math.max(largest, toNumber(key) as number)
  })
  return largest
}

const float =
  (fn: string, compute: (x: number) => number): HostFunction =>
  (call) =>
    floatValue(compute(numberArg(call, 1, fn)))

function frexp(call: Call): Returns {
  const x = numberArg(call, 1, 'frexp')
  if (x === 0 || !Number.isFinite(x)) return [floatValue(x), 0]
  let exponent = Math.max(-1023, Math.floor(Math.log2(Math.abs(x))) + 1)
  let mantissa = x * 2 ** -exponent
  for (; Math.abs(mantissa) < 0.5; exponent--) mantissa *= 2
  for (; Math.abs(mantissa) >= 1; exponent++) mantissa /= 2
  return [floatValue(mantissa), exponent]
}

export const coroutineModule: LibraryModule = {
  name: 'coroutine',
  description: 'coroutines',
  tags: ['deterministic'],
  isAlwaysPresent: true,
  build: () => ({ spawn: (call) => processOf(call).startFiber(functionArg(call, 1, 'spawn')) }),
  globals: { print, unpack },
}

export const mathModule: LibraryModule = {
  name: 'math',
  description: 'mathematics and random numbers',
  tags: ['nondeterministic'],
  isAlwaysPresent: true,
  build: () => ({
    pow: (call) => floatValue(numberArg(call, 1, 'pow') ** numberArg(call, 2, 'pow')),
    log10: float('log10', Math.log10),
    sinh: float('sinh', Math.sinh),
    cosh: float('cosh', Math.cosh),
    tanh: float('tanh', Math.tanh),
    atan2: (call) => floatValue(Math.atan2(numberArg(call, 1, 'atan2'), numberArg(call, 2, 'atan2'))),
    ldexp: (call) => floatValue(numberArg(call, 1, 'ldexp') * 2 ** integerArg(call, 2, 'ldexp')),
    frexp,
    mod: (call) => floatValue(numberArg(call, 1, 'mod') % numberArg(call, 2, 'mod')),
  }),
}

export const tableModule: LibraryModule = {
  name: 'table',
  description: 'tables',
  tags: ['deterministic'],
  isAlwaysPresent: true,
  build: () => ({
    getn: (call) => call.engine.length(tableArg(call, 1, 'getn')),
    maxn,
    create: (call): LuaTable => call.engine.newTable(),
    make_immutable: (call) => {
      const table = tableArg(call, 1, 'make_immutable')
      call.engine.freeze(table)
      return table
    },
    is_immutable: (call) => call.engine.isFrozen(tableArg(call, 1, 'is_immutable')),
  }),
}
