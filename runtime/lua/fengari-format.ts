// string.format. fengari's own writes most numbers differently from C, fails for flags that it does not know, and measures strings in
// characters. Here each directive is written out, and the rest (`%q`, mistakes) is left to it.

import { toUint8Array } from '../base/bytes.ts'
import { type Directive, floatText, padded, signOf } from './directives.ts'
import type { FengariEngine } from './fengari.ts'
import type { CFunction, State, TString } from './fengari-types.ts'
import { LONG_STRING, STRING } from './fengari-values.ts'

/** As many flags, and digits, as Lua takes. */
const DIRECTIVE = /%(?:%|([-+ #0]{0,5})(?![-+ #0])(\d{0,2})(?:\.(\d{0,2}))?([a-zA-Z]))/g
const INTEGERS = new Set('diouxX')
const FLOATS = new Set('aAeEfFgG')
const INT32_MIN = -(2 ** 31)

export function formatting(engine: FengariEngine, native: CFunction): CFunction {
  return (L) => {
    const base = L.ci.funcOff
    const template = L.stack[base + 1]
    if (L.top <= base + 2 || template === undefined || !isString(template.type)) return native(L)
    let index = 1
    let isChanged = false
    const text = engine.values.readString(template.value as TString)
    const rest = text.replace(DIRECTIVE, (whole, flags = '', width = '', precision?: string, kind?: string) => {
      if (kind === undefined) return whole
      index++
      // Too few arguments: the first missing one is reported.
      if (base + index >= L.top) return whole
      const directive = {
        flags,
        width: Number(width),
        precision: precision === undefined ? undefined : Number(precision),
        kind,
      }
      const written = write(engine, L, index, directive)
      if (written === undefined) return whole
      isChanged = true
      L.stack[base + index] = engine.values.make(written)
      return '%s'
    })
    if (isChanged) L.stack[base + 1] = engine.values.make(rest)
    return native(L)
  }
}

const isString = (type: number): boolean => type === STRING || type === LONG_STRING

/** The text of one argument; undefined for what fengari writes, or refuses, itself. Raises for an argument of a wrong type. */
function write(engine: FengariEngine, L: State, index: number, directive: Directive): string | undefined {
  const { flags, width, precision, kind } = directive
  if (kind === 's') {
    // Without modifiers a string stays as it is, zeros and all.
    if (flags === '' && width === 0 && precision === undefined) return undefined
    return padded(tostring(engine, L, index).slice(0, precision), flags, width)
  }
  if (kind === 'c')
    return padded(String.fromCharCode(engine.fengari.lauxlib.luaL_checkinteger(L, index) & 255), flags, width)
  if (!INTEGERS.has(kind) && !FLOATS.has(kind)) return undefined
  const number = engine.fengari.lauxlib.luaL_checknumber(L, index)
  return INTEGERS.has(kind) ? integerText(number, directive) : floatText(number, directive)
}

function tostring(engine: FengariEngine, L: State, index: number): string {
  const { lua, lauxlib } = engine.fengari
  const bytes = lauxlib.luaL_tolstring(L, index)
  lua.lua_settop(L, -2)
  let text = ''
  for (const byte of bytes) text += String.fromCharCode(byte)
  return text
}

/** `%d` cuts a fraction (lua-core.md §2.1); the others refuse one. */
function integerText(number: number, { flags, width, precision, kind }: Directive): string | undefined {
  const isDecimal = kind === 'd' || kind === 'i'
  if (!Number.isFinite(number) || (!isDecimal && !Number.isInteger(number))) return undefined
  const whole = Math.trunc(number)
  let digits: string
  let sign = ''
  if (isDecimal) {
    digits = String(BigInt(Math.abs(whole)))
    sign = signOf(whole < 0, flags)
  } else {
    const radix = kind === 'o' ? 8 : kind === 'u' ? 10 : 16
    digits = unsigned(whole).toString(radix)
    if (kind === 'X') digits = digits.toUpperCase()
    if (flags.includes('#') && whole !== 0 && radix !== 10) sign = kind === 'o' ? '0' : `0${kind}`
  }
  if (precision !== undefined) return padded(sign + digits.padStart(precision, '0'), flags.replaceAll('0', ''), width)
  return padded(digits, flags, width, sign)
}

/** Negative numbers are shown by their bits: 32 of an integer of this engine, 64 of a larger number. */
const unsigned = (whole: number): bigint => BigInt.asUintN(whole >= INT32_MIN && whole < 0 ? 32 : 64, BigInt(whole))

/** math.random: uniform over whole numbers up to 2^53, not only those that are integers of this engine. */
export function random(engine: FengariEngine): CFunction {
  const { lauxlib } = engine.fengari
  const argumentError = (L: State, index: number, text: string): number =>
    lauxlib.luaL_argerror(L, index, toUint8Array(text))
  return (L) => {
    const count = L.top - L.ci.funcOff - 1
    if (count > 2) return lauxlib.luaL_error(L, toUint8Array('wrong number of arguments'))
    let result = Math.random()
    if (count > 0) {
      const bounds = [1, 1]
      for (let i = 1; i <= count; i++) {
        const bound = lauxlib.luaL_checknumber(L, i)
        if (!Number.isInteger(bound)) return argumentError(L, i, 'number has no integer representation')
        bounds[count === 1 ? 1 : i - 1] = bound
      }
      const [low = 1, high = 1] = bounds
      if (low > high) return argumentError(L, count, 'interval is empty')
      if (!Number.isSafeInteger(high - low)) return argumentError(L, count, 'interval too large')
      result = Math.min(high, low + Math.floor(result * (high - low + 1)))
    }
    L.stack[L.top++] = count === 0 ? engine.values.makeFloat(result) : engine.values.make(result)
    return 1
  }
}
