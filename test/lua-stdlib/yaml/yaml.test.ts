// YAML as Lua sees it, where the package alone would lose data, time or both. lua-libraries.md §5, §0.4.

import { describe, expect, test } from 'vitest'
import * as library from 'yaml'
import { readYaml } from '../../../lua-stdlib/yaml/read.ts'
import { writeYaml } from '../../../lua-stdlib/yaml/write.ts'
import { toBytes, toText } from '../../../runtime/base/bytes.ts'
import { Float, list, record, type Value } from '../../../runtime/base/value.ts'

const read = (text: string): Value => readYaml(library, text)
const write = (value: Value, indent = 4): string =>
  writeYaml(library, value, { indent, first: new Map(), isBytewise: false })

describe('what is written is read as the same', () => {
  const texts = [
    ...[
      '',
      ' ',
      'true',
      'null',
      '~',
      'yes',
      'n',
      'off',
      '12',
      '-017',
      '0o17',
      '0x1F',
      '1e3',
      '.5',
      '1.',
      '.inf',
      '.NaN',
      '1_000',
    ],
    ...[
      '2024-01-02',
      '2024-01-02 03:04:05',
      '1:30',
      '=',
      '<<',
      '- a',
      '? x',
      '# c',
      'a: b',
      'a #b',
      'key:',
      '&a',
      '*a',
      '!x',
      '%x',
    ],
    ...[
      '@x',
      '`x',
      '|',
      '>',
      '---',
      '...',
      '--- a',
      '"',
      "'",
      '[',
      '{',
      ' a',
      'a ',
      '\t',
      'a\tb',
      'a:\tb',
      '\0',
      '\x7f',
      '\x1b[0m',
    ],
    ...[
      '\n',
      '\n\n',
      'a\n',
      'a\n\n',
      ' a\nb',
      ' a\nb\n',
      '\n a',
      'a\n b\n',
      '\ta\nb',
      '\r',
      'a\r\nb',
      'a\n---\nb',
      'a\n...\nb\n',
    ],
    ...['é世😀', '\ufeffx', '\u0085', '\u2028', 'long word '.repeat(50), '9223372036854775808', '\ufffd'],
  ].map(toBytes)
  test.each([...texts, '\xff', '\xed\xa0\x80', 'a\n\xc3\x28\n'])('text %j', (text) => {
    for (const indent of [2, 4]) {
      expect(read(toText(write(record({ v: text }), indent)))).toEqual(record({ v: text }))
      expect(read(toText(write(record({ [text]: 1 }), indent)))).toEqual(record({ [text]: 1 }))
      expect(read(toText(write(list([list([text])]), indent)))).toEqual(list([list([text])]))
    }
  })

  const integers = [0, -1, 2 ** 53 - 1, 2n ** 63n - 1n, -(2n ** 63n)]
  const floats = [1.5, -1e-7, 2 ** 63, 1e21, 1.5e300, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]
  test.each([...integers, ...floats])('number %s', (number) => {
    expect(read(write(list([number])))).toEqual(list([number]))
  })

  test('a whole float has all its digits and no point', () => {
    expect(write(list([new Float(2), 2 ** 62]))).toBe('- 2\n- 4611686018427387904\n')
    expect(read('4611686018427387904')).toBe(2n ** 62n)
  })
})

describe('reading', () => {
  test.each<[string, Value]>([
    ['2024-01-02', 1704153600],
    ['2024-1-2', 1704153600],
    ['2024-01-02T03:04:05+02:00', 1704157445],
    ['2024-01-02 03:04:05.678', 1704164645],
    ['1969-12-31T23:59:59.5Z', -1],
    ['0001-01-01', -62135596800],
    ['2024-13-45', '2024-13-45'],
    ['2024-02-30', '2024-02-30'],
    ['2024-01-02T25:00:00Z', '2024-01-02T25:00:00Z'],
    ["'2024-01-02'", '2024-01-02'],
    ['!!float 1', new Float(1)],
    ['!!float -.inf', Number.NEGATIVE_INFINITY],
    ['!!str 12', '12'],
    ["!!int '12'", 12],
    ['!!binary |\n  //8A\n  AA==', '\xff\xff\0\0'],
  ])('%j', (text, value) => expect(read(text)).toEqual(value))

  test.each([
    "!!binary '*&^'",
    '!!binary abc',
    '!!float x',
    '1: a\n"1": b',
    'a: 1\na: 2',
    '? [1]\n: 2',
    'c:\n  <<: 5',
    '*x',
  ])('refuses %j', (text) => expect(() => read(text)).toThrow())

  test.each([
    ['1', '1'],
    ['1.5', '1.5'],
    ['2.0', '2'],
    ['017', '15'],
    ['0x1F', '31'],
    ['true', 'true'],
    ['~', 'null'],
    ['2024-01-02', '2024-01-02'],
    ['.inf', 'inf'],
    ['9223372036854775807', '9223372036854775807'],
  ])('the key %s is the text %j', (key, text) => expect(read(`${key}: a`)).toEqual(record({ [text]: 'a' })))

  test('merge keys give way to what is there, also to null, and earlier ones win', () => {
    const text =
      'a: &a {x: 1, y: ~}\nb: &b {<<: *a, y: 2, z: 3}\nc: {<<: [*a, *b], x: ~, "<<": q}\nd: {<<: *b, <<: *a, w: 5}'
    expect(read(text)).toEqual(
      record({
        a: record({ x: 1 }),
        b: record({ y: 2, z: 3, x: 1 }),
        c: record({ '<<': 'q', z: 3 }),
        d: record({ w: 5, y: 2, z: 3, x: 1 }),
      }),
    )
  })

  test('an alias stands for the anchor before it, wherever it is read again', () => {
    const text = 'x: &a [&b 1, *b]\ny: &b 2\nz: *a\nw: *b\nv: &a 3\nu: *a'
    expect(read(text)).toEqual(record({ x: list([1, 1]), y: 2, z: list([1, 1]), w: 2, v: 3, u: 3 }))
  })

  test('only the first document counts', () => {
    expect(read('a: 1\n---\nb: ][')).toEqual(record({ a: 1 }))
    expect(read('---\n---\nb: 1')).toBe(undefined)
    expect(read('# only this\n')).toBe(undefined)
  })

  test('two thousand aliases of something small are no attack', () => {
    expect(read(`x: &a {q: 1}\ny: [${'*a, '.repeat(2000)}]`)).toBeInstanceOf(Object)
  })

  test('aliases of something large are', () => {
    const few = (text: string): Value => readYaml(library, text, 1000)
    expect(() => few(`x: &a [${'1,'.repeat(40)}]\ny: [${'*a, '.repeat(40)}]`)).toThrow('more than 1000 parts')
    const map = `&a {${Array.from({ length: 40 }, (_, i) => `k${i}: 1`).join(', ')}}`
    const merges = Array.from({ length: 40 }, (_, i) => `y${i}: {<<: *a}`).join('\n')
    expect(() => few(`x: ${map}\n${merges}`)).toThrow('more than 1000 parts')
  })

  test.each(['&a [*a]', '&a {x: *a}', '&a {<<: *a}', '&a {<<: [*a]}'])('what is in itself is refused: %s', (text) =>
    expect(() => read(text)).toThrow('contains itself'),
  )

  test('a map of many keys is read in linear time', () => {
    const text = Array.from({ length: 30_000 }, (_, i) => `k${i}: 1`).join('\n')
    expect((read(text) as ReturnType<typeof record>).keys).toHaveLength(30_000)
  })
})
