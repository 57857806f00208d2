import { expect, test } from 'vitest'
import { plainOf } from '../../../runtime/app/located.ts'
import { formatProblem, ProblemList } from '../../../runtime/app/problems.ts'
import { parseYaml } from '../../../runtime/app/yaml.ts'

function read(text: string): { plain: unknown; problems: string[] } {
  const problems = new ProblemList()
  const located = parseYaml(text, '/a.yaml', problems)
  const list = problems.sorted().map((problem) => formatProblem(problem, '/'))
  return { plain: located === undefined ? undefined : plainOf(located), problems: list }
}

const problemsIn = (text: string): string[] => read(text).problems

test.each([
  ['a:\n\tb: 1\n', 'a.yaml:2:1 YAML syntax: tabs are not allowed as indentation; indent with spaces'],
  ['a: b: c\n', 'a.yaml:1:4 a map cannot begin on this line; a value that contains ": " must stand in quotes'],
  ['a: "x\nb: 1\n', 'a.yaml:3:1 YAML syntax: missing closing "quote'],
  ['a: @x\n', 'a.yaml:1:4 YAML syntax: plain value cannot start with reserved character @'],
  ['a:\n  - b\n c: 1', 'a.yaml:3:1 YAML syntax: all mapping items must start at the same column'],
  ['key\nb: 1', 'a.yaml:1:1 a key and its ":" must stand on one line; check the indentation and the ":"'],
  ['a: !env X\n', 'a.yaml:1:4 this tag ("!…") is not known; remove it, or put the text into quotes'],
])('a syntax error has its line and column and is told in plain words: %j', (text, expected) => {
  expect(problemsIn(text)[0]).toContain(expected)
})

test('a second document in a file is a problem', () => {
  expect(problemsIn('a: 1\n---\nb: 2\n')).toEqual([
    'a.yaml:2:1 a file holds one YAML document; put what follows "---" into a file of its own and `include:` it',
  ])
})

test('a key that stands twice in a map is a problem at the second one', () => {
  expect(problemsIn('a: 1\nb: {c: 1, c: 2}\na: 2\n')).toEqual([
    'a.yaml:2:11 b.c: "c" stands twice in this map, first on line 2',
    'a.yaml:3:1 a: "a" stands twice in this map, first on line 1',
  ])
})

test('a key is plain text; numbers and words of YAML are taken as they are written', () => {
  expect(problemsIn('? [a]\n: 1\n')).toEqual(['a.yaml:1:3 a key must be plain text'])
  expect(read('1.0: a\ntrue: b\n')).toEqual({ plain: { '1.0': 'a', true: 'b' }, problems: [] })
})

test('aliases stand for what their anchor holds, "<<" merges maps, own keys first', () => {
  const text = 'a: &a {x: 1, y: 1}\nb: *a\nc: {<<: *a, y: 2}\nd: {<<: [{x: 3}, *a]}\n'
  const xy = { x: 1, y: 1 }
  expect(read(text).plain).toEqual({ a: xy, b: xy, c: { y: 2, x: 1 }, d: { x: 3, y: 1 } })
})

test('an alias without an anchor before it, or inside its own value, is a problem at the alias', () => {
  expect(problemsIn('a: *b\nb: &b 1\n')).toEqual(['a.yaml:1:4 a: no anchor "&b" stands before the alias "*b"'])
  expect(problemsIn('a: &a [*a]\n')).toEqual(['a.yaml:1:8 a[0]: the alias "*a" stands inside its own value'])
})

test('an alias holds the value of the last anchor before it', () => {
  expect(read('a: &x 1\nb: &y [*x]\nc: &x 2\nd: *y\ne: *x\n').plain).toMatchObject({ d: [1], e: 2 })
})

test('aliases that explode are refused, quickly (a billion laughs)', () => {
  const levels = 'bcdefghi'.split('').map((name, i) => {
    const below = 'abcdefgh'[i]
    return `${name}: &${name} [${Array(10).fill(`*${below}`).join(', ')}]`
  })
  const startMs = performance.now()
  expect(problemsIn(`a: &a [${'x, '.repeat(10)}]\n${levels.join('\n')}`)[0]).toContain(
    'stand for more than 1000000 values',
  )
  expect(performance.now() - startMs).toBeLessThan(1000)
})

test('many aliases of one small value are fine', () => {
  const { plain } = read(`a: &a {x: 1}\nb: [${'*a, '.repeat(5000)}]`)
  expect((plain as { b: unknown[] }).b).toHaveLength(5000)
})

test.each(['[', '{a: ', '- ', '? ', '{a: [', '!!seq [', '&a [', '"', ']', ',', '*a, ', '%', '|', '>\n', ': '])(
  'what repeats %j is read or refused, and does not throw',
  (piece) => {
    const { plain, problems } = read(piece.repeat(20_000))
    if (plain === undefined) expect(problems.length).toBeGreaterThan(0)
  },
)

test('nesting has a bound, with the place where it is crossed', () => {
  expect(problemsIn(`${'['.repeat(99)}${']'.repeat(99)}`)).toEqual([])
  expect(problemsIn(`${'['.repeat(150)}${']'.repeat(150)}`)[0]).toContain('a.yaml:1:102')
})

test('too many pieces in one file are refused before the parser spends a kilobyte on each', () => {
  expect(problemsIn('- a\n'.repeat(400_000))).toEqual([
    'a.yaml: more than 1000000 words and signs in one file; divide it and `include:` the parts',
  ])
})

test('a map of very many keys takes time in proportion', () => {
  const startMs = performance.now()
  const { problems } = read(Array.from({ length: 60_000 }, (_, i) => `k${i}: 1\n`).join(''))
  expect(problems).toEqual([])
  expect(performance.now() - startMs).toBeLessThan(5000)
})

test('integers of 64 bits keep their digits, larger ones become floats', () => {
  expect(read('a: 9223372036854775807\nb: -9223372036854775808\nc: 99999999999999999999\nd: 0x1f').plain).toEqual({
    a: 9223372036854775807n,
    b: -9223372036854775808n,
    c: 1e20,
    d: 31,
  })
})

test('a key named __proto__ is a key like any other', () => {
  const { plain } = read('__proto__: {polluted: true}\nconstructor: 1\n')
  expect(Object.keys(plain as object)).toEqual(['__proto__', 'constructor'])
  expect(({} as Record<string, unknown>)['polluted']).toBeUndefined()
})

test('an empty file is an empty map; yes, no and off are text (YAML 1.2)', () => {
  expect(read('').plain).toEqual({})
  expect(read('# nothing\n').plain).toEqual({})
  expect(read('%YAML 1.1\n---\na: off\nb: yes').plain).toEqual({ a: 'off', b: 'yes' })
})

test('an empty field of a map is left out, an empty item of a list keeps its place', () => {
  expect(read('a:\nb: [1, , 2]'.replace(', ,', ', ~,')).plain).toEqual({ b: [1, null, 2] })
})
