// The JSON writer and reader without an engine.

import { describe, expect, test } from 'vitest'
import { decodeJson, JsonSyntaxError } from '../../lua-stdlib/support/json-decode.ts'
import { encodeJson, JsonEncodeError } from '../../lua-stdlib/support/json-encode.ts'
import { neutralMaker, neutralReader } from '../../lua-stdlib/support/json-tables.ts'
import { illFormedAt } from '../../lua-stdlib/support/json-utf8.ts'
import { fromUint8Array, toBytes, toText } from '../../runtime/base/bytes.ts'
import { fromPlain, type Plain, toPlain } from '../../runtime/base/plain.ts'
import { Float, TableValue, type Value } from '../../runtime/base/value.ts'
import { fc } from '../tools/property.ts'

const encode = (value: Value): string => encodeJson(neutralReader, value)
const decode = (text: string): Value => decodeJson(neutralMaker, toBytes(text)) as Value

describe('held against JSON of JavaScript', () => {
  // `null` leaves holes in Lua's tables, and empty tables are both `[]` and `{}`; both have their own tests.
  const json = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 5 },
      fc.boolean(),
      fc.integer(),
      // Integers beyond the safe range are bigints on our side.
      fc
        .double({ noNaN: true, noDefaultInfinity: true })
        .filter((value) => !Number.isInteger(value) || Number.isSafeInteger(value)),
      fc.string({ unit: 'binary' }),
      fc.array(tie('value'), { minLength: 1, maxLength: 5 }),
      fc.dictionary(
        fc.string({ unit: 'grapheme', minLength: 1 }).filter((key) => key !== '__proto__'),
        tie('value'),
        {
          minKeys: 1,
          maxKeys: 5,
          noNullPrototype: true,
        },
      ),
    ),
  })).value as fc.Arbitrary<Plain>

  test('what is written means the same to JSON.parse', () => {
    fc.assert(
      fc.property(json, (data) => {
        // -0 is written as 0, because its value is whole.
        const expected = JSON.parse(JSON.stringify(data))
        expect(JSON.parse(toText(encode(fromPlain(data))))).toEqual(expected)
      }),
      { numRuns: 500 },
    )
  })

  test('what JSON.stringify writes is read as the same data', () => {
    fc.assert(
      fc.property(json, fc.constantFrom(undefined, 1, '\t'), (data, indent) => {
        expect(toPlain(decode(JSON.stringify(data, undefined, indent)))).toEqual(JSON.parse(JSON.stringify(data)))
      }),
      { numRuns: 500 },
    )
  })

  test('any text is either read or refused with a JsonSyntaxError, and refused only if JSON.parse refuses it too', () => {
    const piece = fc.constantFrom(...'[]{}",:0123456789.eE+-tfn\\u \n', 'true', 'null', '"a"', '\\ud800', '"b":', 'é')
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
        const text = pieces.join('')
        let isRead = true
        try {
          decode(text)
        } catch (thrown) {
          expect(thrown).toBeInstanceOf(JsonSyntaxError)
          isRead = false
        }
        let isJson = true
        try {
          JSON.parse(text)
        } catch {
          isJson = false
        }
        // JSON.parse takes repeated names and half surrogate pairs.
        if (isJson && !isRead) expect(text).toMatch(/\\ud800|"[ab]":.*"[ab]":/s)
      }),
      { numRuns: 3000 },
    )
  })
})

describe('UTF-8', () => {
  test('is judged like a strict decoder does', () => {
    const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
    const byte = fc.oneof(
      fc.constantFrom(0x80, 0xbf, 0xc0, 0xc2, 0xe0, 0xa0, 0xed, 0x9f, 0xf0, 0x90, 0xf4, 0x8f),
      fc.nat(255),
    )
    fc.assert(
      fc.property(fc.array(byte, { maxLength: 8 }), (bytes) => {
        const data = Uint8Array.from(bytes)
        let isValid = true
        try {
          strict.decode(data)
        } catch {
          isValid = false
        }
        expect(illFormedAt(fromUint8Array(data)) < 0).toBe(isValid)
      }),
      { numRuns: 3000 },
    )
  })

  test('every ill-formed byte is written as U+FFFD', () => {
    expect(encode('a\xff\xc3(\xed\xa0\x80b')).toBe('"a\\ufffd\\ufffd(\\ufffd\\ufffd\\ufffdb"')
  })
})

describe('numbers', () => {
  test.each<[Value, string]>([
    [0, '0'],
    [-5, '-5'],
    [2n ** 63n - 1n, '9223372036854775807'],
    [-(2n ** 63n), '-9223372036854775808'],
    [new Float(2), '2'],
    [new Float(-0), '0'],
    [2 ** 60, '1152921504606846976'],
    [0.1, '0.1'],
    [1e-6, '0.000001'],
    [1e-7, '1e-7'],
    [1.5e21, '1.5e+21'],
    [1e20, '100000000000000000000'],
    [Number.NaN, 'null'],
    [Number.POSITIVE_INFINITY, 'null'],
  ])('%s at top level is %s', (value, text) => {
    expect(encode(value)).toBe(text)
  })

  test.each<[number, string]>([
    [1e-7, '0.0000001'],
    [1.25e-10, '0.000000000125'],
    [-1.5e-7, '-0.00000015'],
    [1.5e21, '1500000000000000000000'],
    [1.234e22, '12340000000000000000000'],
    [Number.MIN_VALUE, `0.${'0'.repeat(323)}5`],
  ])('%s inside a table has no exponent', (value, text) => {
    expect(encode(new TableValue([value]))).toBe(`[${text}]`)
  })

  test.each<[string, Value]>([
    ['0', 0],
    ['-0', 0],
    ['12', 12],
    ['9007199254740993', 9_007_199_254_740_993n],
    ['9223372036854775807', 2n ** 63n - 1n],
    ['9223372036854775808', 2n ** 63n - 1n],
    ['-99999999999999999999999999', -(2n ** 63n)],
    ['1.0', new Float(1)],
    ['-0.0', new Float(-0)],
    ['1e2', new Float(100)],
    ['2.5E-1', 0.25],
  ])('%s is read with its subtype', (text, value) => {
    expect(decode(text)).toEqual(value)
  })
})

describe('reading', () => {
  test.each([
    ...['', ' ', 'x', 'tru', '{', '[', '[1', '[1,]', '[,1]', '{"a"}', '{"a":}', '{"a":1,}', '{a:1}', "{'a':1}"],
    ...[
      '"',
      '"a',
      '"\n"',
      '"\\x"',
      '"\\u12"',
      '"\\ud800"',
      '"\\udc00"',
      '"\\ud800\\u0041"',
      '-',
      '1.',
      '1e',
      '.5',
      '+1',
    ],
    ...['[1 2]', '{"a":1 "b":2}', '{"a":1,"a":2}', '{"a":1,"\\u0061":2}', '[1.x]'],
  ])('%j is a syntax error', (text) => {
    expect(() => decode(text)).toThrow(JsonSyntaxError)
  })

  test('ill-formed UTF-8 is a syntax error', () => {
    expect(() => decodeJson(neutralMaker, '"\xff"')).toThrow('invalid UTF-8')
  })

  test('the message says where and what', () => {
    expect(() => decode('{"a": x}')).toThrow('syntax error at byte 7: expected a value, found "x}"')
    expect(() => decode('[1')).toThrow("expected ',' or ']', the text ends")
  })

  test.each([
    ['{"a":1} junk', { a: 1 }],
    ['1 2', 1],
    ['true,', true],
    ['"a""b"', 'a'],
  ])('what follows the first value is ignored: %s', (text, value) => {
    expect(toPlain(decode(text))).toEqual(value)
  })

  test('escapes', () => {
    expect(toText(decode('"\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\ud83d\\ude00"') as string)).toBe('"\\/\b\f\n\r\té😀')
  })

  test('null leaves later elements where they are, and members out', () => {
    expect(decode('[null,1,null,2]')).toEqual(new TableValue([], [2, 4], [1, 2]))
    expect(decode('{"a":null,"b":1}')).toEqual(new TableValue([], ['b'], [1]))
    expect(decode('null')).toBeUndefined()
  })

  test('nests 128 levels deep and no deeper', () => {
    expect(decode('['.repeat(128) + ']'.repeat(128))).toBeInstanceOf(TableValue)
    expect(() => decode('['.repeat(129) + ']'.repeat(129))).toThrow('maximum nesting depth')
    expect(() => decode('{"a":'.repeat(100_000))).toThrow('maximum nesting depth')
  })
})

describe('writing tables', () => {
  const table = (pairs: [Value, Value][]): TableValue =>
    new TableValue(
      [],
      pairs.map(([key]) => key),
      pairs.map(([, value]) => value),
    )

  test('a sequence filled out of order is an array', () => {
    expect(
      encode(
        table([
          [2, 'b'],
          [1, 'a'],
          [3, 'c'],
        ]),
      ),
    ).toBe('["a","b","c"]')
  })

  test('keys are written in bytewise order; numbers, booleans and fractions as text', () => {
    const keys: [Value, Value][] = [
      ['b', 1],
      ['a', 2],
      [-1, 3],
      [0.5, 4],
      [true, 5],
      [0, 6],
      ['Z', 7],
    ]
    expect(encode(table(keys))).toBe('{"-1":3,"0":6,"0.5":4,"Z":7,"a":2,"b":1,"true":5}')
  })

  test('a name stands once, even if two keys have its text', () => {
    expect(
      encode(
        table([
          ['0', 1],
          [0, 2],
        ]),
      ),
    ).toBe('{"0":1}')
  })

  test.each<[string, [Value, Value][]]>([
    [
      'mixed-key table',
      [
        [1, 'a'],
        ['x', 'b'],
      ],
    ],
    [
      'mixed-key table',
      [
        [1, 'a'],
        [-1, 'b'],
      ],
    ],
    [
      'sparse array',
      [
        [1, 'a'],
        [3, 'b'],
      ],
    ],
    ['sparse array', [[2, 'a']]],
    ['sparse array', [[new Float(2 ** 40), 'a']]],
  ])('%s', (text, pairs) => {
    expect(() => encode(table(pairs))).toThrow(text)
    expect(() => encode(table(pairs))).toThrow(JsonEncodeError)
  })

  test('a table on its own path is refused, on two paths it is written twice', () => {
    const shared = table([['a', 1]])
    expect(encode(new TableValue([shared, shared]))).toBe('[{"a":1},{"a":1}]')
    const ring = new TableValue([])
    ring.array.push(new TableValue([ring]))
    expect(() => encode(ring)).toThrow('recursively nested')
  })

  test('nests 128 levels below the root and no deeper', () => {
    let deep = new TableValue([1])
    for (let i = 0; i < 128; i++) deep = new TableValue([deep])
    expect(encode(deep)).toHaveLength(2 * 129 + 1)
    expect(() => encode(new TableValue([deep]))).toThrow('maximum nesting depth')
  })

  test('escapes in strings and in names', () => {
    const text = toBytes('"\\\n\r\t\b\f\u0001<>&\u2028\u2029\u007fé')
    const written = '"\\"\\\\\\n\\r\\t\\b\\f\\u0001\\u003c\\u003e\\u0026\\u2028\\u2029\u007fé"'
    expect(toText(encode(text))).toBe(written)
    expect(toText(encode(table([[text, 1]])))).toBe(`{${written}:1}`)
  })
})
