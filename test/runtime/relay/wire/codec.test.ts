// What crosses between threads arrives as it was: subtypes, bytes, shared references, errors.

import { describe, expect, test } from 'vitest'
import { MoonmeshError } from '../../../../runtime/base/errors.ts'
import { ErrorValue, Float, TableValue, type Value } from '../../../../runtime/base/value.ts'
import { decodeBatch, encodeBatch } from '../../../../runtime/relay/wire/codec.ts'
import { fc } from '../../../tools/property.ts'

const through = (value: unknown): unknown => decodeBatch(encodeBatch([value]))[0]

const bytes = fc.uint8Array({ maxLength: 12 }).map((data) => String.fromCharCode(...data))
const scalar: fc.Arbitrary<Value> = fc.oneof(
  fc.boolean(),
  fc.maxSafeInteger(),
  fc.double({ noNaN: true, noInteger: true }),
  fc.maxSafeInteger().map((whole) => new Float(whole)),
  fc.bigInt({ min: 2n ** 53n, max: 2n ** 63n - 1n }),
  bytes,
)
const { value } = fc.letrec<{ value: Value; table: TableValue }>((tie) => ({
  value: fc.oneof({ maxDepth: 4 }, scalar, tie('table')),
  table: fc
    .tuple(fc.array(tie('value'), { maxLength: 4 }), fc.array(fc.tuple(scalar, tie('value')), { maxLength: 4 }))
    .map(
      ([array, pairs]) =>
        new TableValue(
          array,
          pairs.map(([key]) => key),
          pairs.map(([, item]) => item),
        ),
    ),
}))

describe('a batch', () => {
  test('brings any values unchanged', () => {
    fc.assert(
      fc.property(fc.array(value), (values) => {
        const message = { kind: 'send', ref: 1, values }
        expect(through(message)).toEqual(message)
      }),
    )
  })

  test('keeps the sign of a zero', () => {
    expect(through({ values: [new Float(-0), new Float(0)] })).toEqual({ values: [new Float(-0), new Float(0)] })
  })

  test('keeps shared references and cycles', () => {
    const shared = new TableValue(['x'])
    const table = new TableValue([shared, shared])
    table.keys.push('me')
    table.values.push(table)
    const back = through({ value: table }) as { value: TableValue }
    expect(back.value.array[0]).toBe(back.value.array[1])
    expect(back.value.get('me')).toBe(back.value)
    expect(back.value.array[0]).toEqual(shared)
  })

  test('keeps errors, with what they lack', () => {
    const full = new ErrorValue('Conflict', 'taken', true, new TableValue([], ['by'], ['me']), 'stack')
    const bare = new ErrorValue('', 'x')
    expect(through({ errors: [full, bare] })).toEqual({ errors: [full, bare] })
  })

  test('brings tables of any depth', () => {
    let deep = new TableValue()
    for (let i = 0; i < 20_000; i++) deep = new TableValue([deep])
    let depth = 0
    for (let at = through(deep) as TableValue; at.array.length > 0; at = at.array[0] as TableValue) depth++
    expect(depth).toBe(20_000)
  })

  test('is in a buffer of its own', () => {
    const batch = encodeBatch([1])
    expect(batch.byteLength).toBe(batch.buffer.byteLength)
  })
})

describe('garbage', () => {
  test('is refused as Invalid, whatever it is', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), fc.boolean(), (garbage, isVersioned) => {
        const data = isVersioned ? Uint8Array.from([1, ...garbage]) : garbage
        try {
          decodeBatch(data)
        } catch (error) {
          expect(error).toBeInstanceOf(MoonmeshError)
          expect((error as MoonmeshError).kind).toBe('Invalid')
        }
      }),
      { numRuns: 2000 },
    )
  })

  test('a batch cut short or changed never crashes the decoder', () => {
    const good = encodeBatch([{ kind: 'send', values: [new TableValue([1, 'x', new Float(2)], ['k'], [true])] }])
    for (let length = 0; length < good.length; length++) {
      expect(() => decodeBatch(good.slice(0, length))).toThrow(MoonmeshError)
    }
    for (let at = 0; at < good.length; at++) {
      for (const byte of [0, 0x93, 0xdc, 0xff]) {
        const changed = good.slice()
        changed[at] = byte
        try {
          decodeBatch(changed)
        } catch (error) {
          expect(error).toBeInstanceOf(MoonmeshError)
        }
      }
    }
  })
})
