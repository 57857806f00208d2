import { expect, test } from 'vitest'
import { type Packed, pack, UnpackError, unpack, unpackAt } from '../../../runtime/base/msgpack.ts'
import { fc } from '../../tools/property.ts'

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const bytes = (text: string): Uint8Array => Buffer.from(text.replaceAll(' ', ''), 'hex')

const value: fc.Arbitrary<Packed> = fc.letrec<{ value: Packed }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.constant(null),
    fc.boolean(),
    fc.maxSafeInteger(),
    fc.double({ noNaN: true }).filter((n) => !Number.isInteger(n) || Math.abs(n) < 2 ** 53),
    fc.string({ unit: 'binary', maxLength: 40 }),
    fc.uint8Array({ maxLength: 300 }),
    fc.array(tie('value'), { maxLength: 20 }),
    fc.dictionary(fc.string({ maxLength: 8 }), tie('value'), { maxKeys: 20, noNullPrototype: false }),
  ),
})).value

test('what is packed is unpacked the same', () => {
  fc.assert(
    fc.property(value, (each) => {
      expect(unpack(pack(each))).toEqual(each)
    }),
  )
})

test('the shortest form is written', () => {
  for (const [each, form] of [
    [127, '7f'],
    [128, 'cc80'],
    [-32, 'e0'],
    [-33, 'd0df'],
    [65536, 'ce00010000'],
    [2 ** 53 - 1, 'cf001fffffffffffff'],
    [-(2 ** 53 - 1), 'd3ffe0000000000001'],
    [1.5, 'cb3ff8000000000000'],
    ['a'.repeat(32), `d920${'61'.repeat(32)}`],
    [new Uint8Array([1, 2]), 'c4020102'],
    [{ a: 1, b: undefined }, '81a16101'],
  ] as const) {
    expect(hex(pack(each))).toBe(form)
  }
})

test('what breaks a rule of the dialect is refused', () => {
  for (const [form, why] of [
    ['', 'ends too early'],
    ['c1', 'has no place'],
    ['d40101', 'has no place'],
    ['0101', 'bytes follow'],
    ['8101 01', 'no string'],
    ['82a16101a16102', 'appears twice'],
    ['a1ff', 'not UTF-8'],
    ['cf0020000000000000', '2^53-1'],
    ['d3ffdfffffffffffff', '2^53-1'],
    ['ddffffffff', 'ends too early'],
    ['dfffffffff00', 'ends too early'],
    ['c6ffffffff00', 'ends too early'],
    ['91'.repeat(40), 'nested deeper'],
  ] as const) {
    expect(() => unpack(bytes(form)), form).toThrow(why)
  }
})

test('a key named like a member of every object is a key', () => {
  expect(Object.keys(unpack(bytes('81a95f5f70726f746f5f5f01')) as object)).toEqual(['__proto__'])
})

test('any bytes give a value or an UnpackError', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (each) => {
      try {
        unpack(each)
      } catch (error) {
        expect(error).toBeInstanceOf(UnpackError)
      }
    }),
    { numRuns: 2000 },
  )
})

test('one value is read where others follow', () => {
  expect(unpackAt(bytes('0102a16103'), 2)).toEqual({ value: 'a', end: 4 })
})

test('bytes out of a buffer keep nothing else of it alive', () => {
  const packet = Buffer.concat([Buffer.alloc(1000), pack(new Uint8Array(200))]).subarray(1000)
  const read = unpack(packet) as Uint8Array
  expect(read.buffer.byteLength).toBe(200)
})
