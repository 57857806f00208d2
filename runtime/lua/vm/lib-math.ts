// The math library.

import { Float } from '../../base/value.ts'
import { numberArgument as anyNumber, integerArgument, isLess, type Natives, natives } from './library.ts'
import type { Machine } from './machine.ts'
import {
  float,
  floatToInteger,
  isInteger,
  isNumber,
  lessThan,
  type Num,
  negate,
  toDouble,
  toInteger,
} from './number.ts'
import type { NativeCode, Val } from './value.ts'

/** A text counts as a float. */
function numberArgument(m: Machine, S: Val[], at: number, count: number, index: number): Num {
  const number = anyNumber(m, S, at, count, index)
  return typeof S[at + index] === 'string' ? float(toDouble(number)) : number
}

const real =
  (compute: (x: number) => number): NativeCode =>
  (m, S, at, count) => {
    S[at] = float(compute(toDouble(numberArgument(m, S, at, count, 1))))
    return 1
  }

const rounded =
  (round: (x: number) => number): NativeCode =>
  (m, S, at, count) => {
    const x = numberArgument(m, S, at, count, 1)
    if (isInteger(x)) S[at] = x
    else {
      const whole = round(toDouble(x))
      S[at] = floatToInteger(whole) ?? float(whole)
    }
    return 1
  }

/** Whatever can be compared. @param isBetter whether the second takes the place of the first */
const extreme =
  (isBetter: (m: Machine, best: Val, next: Val) => boolean): NativeCode =>
  (m, S, at, count) => {
    if (count < 1) throw m.argumentError(1, 'value expected')
    let best = S[at + 1]
    for (let i = 2; i <= count; i++) {
      const next = S[at + i]
      if (isBetter(m, best, next)) best = next
    }
    S[at] = best
    return 1
  }

/** Uniform over whole numbers up to 2^63. */
function random(m: Machine, S: Val[], at: number, count: number): number {
  if (count > 2) throw m.error('wrong number of arguments')
  if (count === 0) {
    S[at] = float(Math.random())
    return 1
  }
  const bound = (index: number): number | bigint => integerArgument(m, S, at, count, index)
  const low = count === 1 ? 1 : bound(1)
  const high = bound(count)
  if (lessThan(high, low)) throw m.argumentError(1, 'interval is empty')
  const span = Number(high) - Number(low)
  if (Number.isSafeInteger(span) && typeof low === 'number') {
    S[at] = Math.min(Number(high), low + Math.floor(Math.random() * (span + 1)))
    return 1
  }
  if (BigInt(high) - BigInt(low) >= 2n ** 63n) throw m.argumentError(1, 'interval too large')
  const bits = (BigInt(Math.floor(Math.random() * 2 ** 32)) << 32n) | BigInt(Math.floor(Math.random() * 2 ** 32))
  const value = BigInt(low) + (bits % (BigInt(high) - BigInt(low) + 1n))
  S[at] = toInteger(value >= -9007199254740991n && value <= 9007199254740991n ? Number(value) : value)
  return 1
}

function logarithm(x: number, base: number | undefined): number {
  if (base === undefined) return Math.log(x)
  if (base === 2) return Math.log2(x)
  return base === 10 ? Math.log10(x) : Math.log(x) / Math.log(base)
}

export function mathLibrary(): Natives {
  return natives('math.', {
    abs(m, S, at, count) {
      const x = numberArgument(m, S, at, count, 1)
      S[at] = toDouble(x) < 0 || Object.is(toDouble(x), -0) ? negate(x) : x
      return 1
    },
    ceil: rounded(Math.ceil),
    floor: rounded(Math.floor),
    sqrt: real(Math.sqrt),
    sin: real(Math.sin),
    cos: real(Math.cos),
    tan: real(Math.tan),
    asin: real(Math.asin),
    acos: real(Math.acos),
    exp: real(Math.exp),
    deg: real((x) => x * (180 / Math.PI)),
    rad: real((x) => x * (Math.PI / 180)),
    atan(m, S, at, count) {
      const y = toDouble(numberArgument(m, S, at, count, 1))
      const x = count < 2 || S[at + 2] === undefined ? 1 : toDouble(numberArgument(m, S, at, count, 2))
      S[at] = float(Math.atan2(y, x))
      return 1
    },
    log(m, S, at, count) {
      const x = toDouble(numberArgument(m, S, at, count, 1))
      const base = count < 2 || S[at + 2] === undefined ? undefined : toDouble(numberArgument(m, S, at, count, 2))
      S[at] = float(logarithm(x, base))
      return 1
    },
    fmod(m, S, at, count) {
      // PUC Lua asks for the second first.
      const y = numberArgument(m, S, at, count, 2)
      const x = numberArgument(m, S, at, count, 1)
      if (isInteger(x) && isInteger(y)) {
        if (y === 0) throw m.argumentError(2, 'zero')
        // Cut towards zero, unlike `%`.
        const rest = BigInt(x) % BigInt(y)
        S[at] = rest >= -9007199254740991n && rest <= 9007199254740991n ? Number(rest) : rest
      } else S[at] = float(toDouble(x) % toDouble(y))
      return 1
    },
    modf(m, S, at, count) {
      const number = numberArgument(m, S, at, count, 1)
      if (isInteger(number)) {
        S[at] = number
        S[at + 1] = new Float(0)
        return 2
      }
      const x = toDouble(number)
      const whole = Number.isFinite(x) ? Math.trunc(x) : x
      S[at] = floatToInteger(whole) ?? float(whole)
      S[at + 1] = float(Number.isFinite(x) ? x - whole : Number.isNaN(x) ? x : 0)
      return 2
    },
    tointeger(m, S, at, count) {
      const x = S[at + 1]
      if (count < 1) throw m.argumentError(1, 'value expected')
      S[at] = toInteger(x)
      return 1
    },
    type(m, S, at, count) {
      if (count < 1) throw m.argumentError(1, 'value expected')
      const x = S[at + 1]
      S[at] = isNumber(x) ? (isInteger(x) ? 'integer' : 'float') : undefined
      return 1
    },
    ult(m, S, at, count) {
      const x = BigInt.asUintN(64, BigInt(integerArgument(m, S, at, count, 1)))
      S[at] = x < BigInt.asUintN(64, BigInt(integerArgument(m, S, at, count, 2)))
      return 1
    },
    max: extreme((m, best, next) => isLess(m, best, next)),
    min: extreme((m, best, next) => isLess(m, next, best)),
    random,
    randomseed: () => 0,
  })
}
