// Rules of the expression language that need numbers, bytes and sizes at their edges. lua-libraries.md §15, §0.4.

import { expect, test } from 'vitest'
import { ExprError, Program } from '../../../lua-stdlib/expr/program.ts'
import { toBytes } from '../../../runtime/base/bytes.ts'
import { Float, list, record, type Value } from '../../../runtime/base/value.ts'

const run = (source: string, env: Record<string, Value> = {}): Value => new Program(toBytes(source)).run(record(env))
const MAX = 2n ** 63n - 1n

test('integers have 64 bits and never lose one', () => {
  expect(run('9223372036854775807')).toBe(MAX)
  expect(run('x', { x: MAX })).toBe(MAX)
  expect(run('x - y', { x: MAX, y: MAX - 1n })).toBe(1)
  expect(run('9007199254740993 == 9007199254740992')).toBe(false)
  expect(run('9007199254740993 > 9007199254740992')).toBe(true)
  expect(run('9007199254740993 == 9007199254740992.0')).toBe(false)
  expect(run('max(9007199254740993, 9007199254740992)')).toBe(2n ** 53n + 1n)
  expect(run('sum([9007199254740991, 9007199254740991, -9007199254740991])')).toBe(2 ** 53 - 1)
  expect(run("int('9223372036854775807')")).toBe(MAX)
  expect(run("int('-9223372036854775808')")).toBe(-MAX - 1n)
  expect(run('string(x)', { x: MAX })).toBe('9223372036854775807')
  expect(run('toJSON([x])', { x: MAX })).toBe('[9223372036854775807]')
  expect(run('fromJSON("[9223372036854775807]")[0]')).toBe(MAX)
  expect(run('bitand(x, 255)', { x: MAX })).toBe(255)
  expect(run('bitshl(1, 62)')).toBe(2n ** 62n)
  expect(run('bitushr(-1, 1)')).toBe(MAX)
  expect(run('uniq([x, x, y])', { x: MAX, y: MAX - 1n })).toEqual(list([MAX, MAX - 1n]))
  expect(run('sort([x, y, 1])', { x: MAX, y: MAX - 1n })).toEqual(list([1, MAX - 1n, MAX]))
})

test('integers wrap around beyond 64 bits, as in Lua', () => {
  expect(run('x + 1', { x: MAX })).toBe(-MAX - 1n)
  expect(run('9007199254740992 * 9007199254740992')).toBe(0)
  expect(run('-x', { x: -MAX - 1n })).toBe(-MAX - 1n)
  expect(run('x / 1', { x: MAX })).toBe(2 ** 63)
})

test.each(['9223372036854775808', `${'9'.repeat(60_000)}`, "int('9223372036854775808')", 'int(1e30)'])(
  'what has more than 64 bits is no integer: %.30s',
  (source) => expect(() => run(source)).toThrow(ExprError),
)

test('bytes that are no UTF-8 stay what they are', () => {
  expect(run('s', { s: '\xff\0ok' })).toBe('\xff\0ok')
  expect(run('{k: s}', { s: '\xff' })).toEqual(record({ k: '\xff' }))
  expect(run('s == t', { s: '\xff', t: '\xfe' })).toBe(false)
  expect(run("s + 'é'", { s: '\xc3' })).toBe('\xc3\xc3\xa9')
  expect(run('len(s)', { s: `\xff\xfe${toBytes('é😀')}` })).toBe(4)
  expect(run('toBase64(s)', { s: '\xff' })).toBe('/w==')
  expect(run("fromBase64('/w==')")).toBe('\xff')
  expect(run("'\\ufeffx'")).toBe('\xef\xbb\xbfx')
})

test('maps, optional conditions and comments nest without exponential time', () => {
  const nested = (open: string, middle: string, close: string, n: number): string =>
    open.repeat(n) + middle + close.repeat(n)
  expect(run(nested('len({(', '1', '): 1})', 20))).toBe(1)
  expect(run(nested('(', 'nil', ' ?: 1)', 40))).toBe(1)
  expect(() => run(nested('len({(', '1', '): 1)', 30))).toThrow(ExprError)
  expect(() => run('/* '.repeat(20_000))).toThrow('comment without an end')
  expect(run('/* a */ 1 /**/ + /* b // */ 2 // c')).toBe(3)
})

test('a map that is no predicate does not use up the depth of what follows', () => {
  expect(run(`len({(1): 1})${' + len({(1): 1})'.repeat(300)}`)).toBe(301)
})

test.each([
  ['operators', '1+'.repeat(30_000).concat('1')],
  ['members', `a${'.b'.repeat(30_000)}`],
  ['optional members', `a${'?.b'.repeat(20_000)}`],
  ['indexes', `a${'[0]'.repeat(20_000)}`],
  ['pipes', `[1]${'|len()'.repeat(9000)}`],
])('a long chain of %s is told to be too deep', (_what, source) =>
  expect(() => run(source, { a: record({}) })).toThrow('chains of operators included'),
)

test('a chain of some hundreds is none', () => {
  expect(run('1+'.repeat(900).concat('1'))).toBe(901)
})

const doubled = `let a = 1..100; ${[...'bcdefghij'].map((name, i) => {
  const before = 'abcdefghi'[i]
  return `let ${name} = [${Array(10).fill(before).join(',')}]; `
})}`.replaceAll('; ,', '; ')

test.each([
  ['a result that is small inside and large outside', `${doubled} j`],
  ['comparing what is small and looks large', `${doubled} j == [j, j, j, j, j, j, j, j, j, j][0]`],
  ['showing it', `${doubled} len(string(j))`],
  ['writing it as JSON', `${doubled} len(toJSON(j))`],
  ['telling lists apart, each with each', 'len(uniq(map(1..20000, [#])))'],
  ['looking through a list again and again', 'count(1..100000, -1 in l)'],
  ['looking through a text again and again', "count(1..100000, s contains 'y')"],
  ['matching it again and again', "count(1..100000, s matches 'x+y$')"],
  ['counting its characters', 'count(1..100000, len(s) > 0)'],
  ['sorting again and again', 'count(1..1000, len(sort(l)) > 0)'],
  ['reading JSON again and again', "count(1..1000, len(fromJSON('[' + s + ']')) > 0)"],
])('%s ends early', (_what, source) => {
  const env = { l: list(Array.from({ length: 20_000 }, (_, i) => i)), s: 'x'.repeat(200_000) }
  expect(() => run(source, env)).toThrow(ExprError)
})

test('grouping is linear', () => {
  expect(run('len(groupBy(1..60000, 1)["1"])')).toBe(60_000)
})

test('a float is none of the integers, however whole', () => {
  expect(run('type(x)', { x: 1e300 })).toBe('float')
  expect(run('x', { x: 1e300 })).toBe(1e300)
  expect(() => run('x % 2', { x: 1e300 })).toThrow('invalid operation %')
})

test('a map is asked by the text of a number', () => {
  const env = { m: record({ 5: 'five' }) }
  expect(run('m[5]', env)).toBe('five')
  expect(run('m[5.0]', env)).toBe('five')
  expect(() => run('[1][1.0]')).toThrow('an array has no member 1 ')
  expect(run('2.0')).toEqual(new Float(2))
})

test.each(['x', 'string(x)', 'toJSON(x)', 'x == y', 'uniq([x, y])'])(
  'a value that is nested too deeply is refused, not a fault: %s',
  (source) => {
    const grown = `let x = reduce(1..300000, [#acc], 0); let y = reduce(1..300000, [#acc], 1); ${source}`
    expect(() => run(grown)).toThrow(ExprError)
    expect(() => run(grown.replaceAll('300000', '130'))).toThrow(/nest/)
  },
)

test.each([
  ['toJSON([nil, 1, {}, [], {a: nil}])', '[null,1,{},[],{"a":null}]'],
  ['toJSON(fromJSON(\'{"b":[null,{}],"a":[]}\'))', '{"a":[],"b":[null,{}]}'],
  ['toJSON({})', '{}'],
  ["toJSON('\u00e4')", toBytes('"ä"')],
  ["len(fromJSON('[null, 1]'))", 2],
  ["fromJSON('[null, 1]')[1]", 1],
  ["type(fromJSON('[]'))", 'array'],
  ["fromJSON('null')", undefined],
])('JSON keeps what nil, arrays and maps are: %s', (source, expected) => {
  expect(run(source)).toEqual(expected)
})

test.each([
  ["split('a😀b', '')", ['a', '😀', 'b']],
  ["trim('😀a😀', '😀')", 'a'],
  ["trim('😀😀', '😀')", ''],
  ["'😀ab'[1:2]", 'a'],
  ["'😀ab'[:-1]", '😀a'],
  ["indexOf('😀a', 'a')", 1],
  ["lastIndexOf('😀a😀', '😀')", 2],
  ["indexOf('a', 'b')", -1],
  ["replace('😀b', '', '-')", '-😀-b-'],
  ["replace('ab', '', '-', 1)", '-ab'],
])('texts are taken apart between characters: %s', (source, expected) => {
  const neutral = Array.isArray(expected) ? list(expected.map(toBytes)) : expected
  expect(run(source)).toEqual(typeof neutral === 'string' ? toBytes(neutral) : neutral)
})

test('an empty table of Lua serves as an empty list', () => {
  const items = record({})
  expect(run('any(items, .price > 1)', { items })).toBe(false)
  expect(run('sum(map(items, .price))', { items })).toBe(0)
  expect(run('max(items, 1)', { items })).toBe(1)
})

test.each(["fromBase64('a')", "fromBase64('YQ')", "fromBase64('Y===')"])('base64 is padded: %s', (source) => {
  expect(() => run(source)).toThrow('not base64')
})
