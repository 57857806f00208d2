import { describe, expect, test } from 'vitest'
import { Float } from '../../../../runtime/base/value.ts'
import {
  arithmetic,
  bitwise,
  float,
  lessThan,
  type Num,
  negate,
  numberToString,
  parseNumber,
  rawEqual,
  wrap,
} from '../../../../runtime/lua/vm/number.ts'
import { fc } from '../../../tools/property.ts'

const MAX = 2n ** 63n - 1n
const MIN = -(2n ** 63n)
const integers = fc.oneof(
  fc.bigInt({ min: MIN, max: MAX }),
  fc.integer().map(BigInt),
  fc.constantFrom(MIN, MAX, 0n, -1n, 2n ** 53n, -(2n ** 53n), 2n ** 32n - 1n),
)

describe('64-bit integers', () => {
  test('each has one form: a number where that is exact', () => {
    fc.assert(
      fc.property(integers, (value) => {
        const made = wrap(value)
        expect(BigInt(made)).toBe(value)
        expect(typeof made).toBe(value >= -9007199254740991n && value <= 9007199254740991n ? 'number' : 'bigint')
      }),
    )
  })

  test.each([
    [0, (a: bigint, b: bigint) => a + b],
    [1, (a: bigint, b: bigint) => a - b],
    [2, (a: bigint, b: bigint) => a * b],
    [3, (a: bigint, b: bigint) => ((a % b) + b) % b],
    [6, (a: bigint, b: bigint) => (a - (((a % b) + b) % b)) / b],
  ])('operation %d wraps around (Lua 5.3 manual §3.4.1)', (operation, exact) => {
    fc.assert(
      fc.property(integers, integers, (a, b) => {
        if (operation >= 3 && b === 0n) return
        expect(arithmetic(operation, wrap(a), wrap(b))).toBe(wrap(exact(a, b)))
      }),
    )
  })

  test.each([
    [7, (a: bigint, b: bigint) => a & b],
    [8, (a: bigint, b: bigint) => a | b],
    [9, (a: bigint, b: bigint) => a ^ b],
    [10, (a: bigint, b: bigint) => (b >= 64n || b <= -64n ? 0n : b >= 0n ? a << b : BigInt.asUintN(64, a) >> -b)],
    [11, (a: bigint, b: bigint) => (b >= 64n || b <= -64n ? 0n : b >= 0n ? BigInt.asUintN(64, a) >> b : a << -b)],
  ])('operation %d works on 64 bits (§3.4.2)', (operation, exact) => {
    const shifts = fc.oneof(integers, fc.bigInt({ min: -70n, max: 70n }))
    fc.assert(
      fc.property(integers, shifts, (a, b) => {
        expect(bitwise(operation, wrap(a), wrap(b))).toBe(wrap(exact(a, b)))
      }),
    )
  })

  test('the smallest has no counterpart', () => expect(negate(MIN)).toBe(MIN))
})

describe('floats', () => {
  test.each<[number, Num, Num, Num]>([
    [0, 0.5, 0.5, new Float(1)],
    [0, 1, new Float(1), new Float(2)],
    [5, 4, 2, new Float(2)],
    [4, 2, 2, new Float(4)],
    [2, 0, -0.5, new Float(-0)],
    [3, new Float(5), Number.POSITIVE_INFINITY, new Float(5)],
    [3, -5.5, 2, 0.5],
    [6, 7, 2.5, new Float(2)],
    [0, 2 ** 53 - 1, new Float(1), 2 ** 53],
  ])('operation %d of %o and %o keeps the subtype', (operation, a, b, expected) => {
    expect(arithmetic(operation, a, b)).toEqual(expected)
  })

  test('are equal to integers of the same value, and only to these (§3.4.4)', () => {
    expect(rawEqual(1, new Float(1))).toBe(true)
    expect(rawEqual(2n ** 53n, 2 ** 53)).toBe(true)
    expect(rawEqual(MAX, 2 ** 63)).toBe(false)
    expect(rawEqual(Number.NaN, Number.NaN)).toBe(false)
    expect(rawEqual(new Float(-0), 0)).toBe(true)
  })

  test('compare exactly with integers', () => {
    expect(lessThan(MAX, 2 ** 63)).toBe(true)
    expect(lessThan(2n ** 53n + 1n, 2 ** 53)).toBe(false)
    expect(lessThan(2 ** 53, 2n ** 53n + 1n)).toBe(true)
  })
})

describe('texts', () => {
  test.each<[string, Num | undefined]>([
    ['0x10', 16],
    ['  12\n', 12],
    ['-0', 0],
    ['-0.0', new Float(-0)],
    ['1e1', new Float(10)],
    ['0x.8p1', new Float(1)],
    ['0x1p-1074', 5e-324],
    ['9223372036854775807', MAX],
    ['9223372036854775808', 2 ** 63],
    ['0xffffffffffffffff', -1],
    ['0x1ffffffffffffffff', -1],
    ['', undefined],
    ['1e', undefined],
    ['0x', undefined],
    ['1 2', undefined],
    ['inf', undefined],
    ['1_000', undefined],
  ])('%o is %o (§3.1)', (text, expected) => expect(parseNumber(text)).toEqual(expected))

  test('whole powers below one are as near as doubles are', () => {
    for (const [x, y] of [
      [10, -5],
      [5, -4],
      [3, -18],
      [7, -2],
      [-3, -3],
    ] as const)
      expect(arithmetic(4, x, y)).toBe(1 / x ** -y)
    expect(arithmetic(4, 10, -5)).toBe(1e-5)
  })

  test.each<[Num, string]>([
    [3, '3'],
    [new Float(3), '3'],
    [0.1, '0.1'],
    [MIN, '-9223372036854775808'],
    [1e100, '1e+100'],
    [float(Number.NaN), 'nan'],
  ])('%o prints as %s', (value, expected) => expect(numberToString(value)).toBe(expected))
})
