import { expect, test } from 'vitest'
import { deltaOf, sameValue } from '../../../lua-stdlib/registry/delta.ts'
import { filterOf, splitId } from '../../../lua-stdlib/registry/find.ts'
import { toPlain } from '../../../runtime/base/plain.ts'
import { Float, list, record, type TableValue } from '../../../runtime/base/value.ts'

const entry = (id: string, meta: TableValue = record({})): TableValue => record({ id, kind: 'registry.entry', meta })

test.each([
  ['.id', 'a:*', true],
  ['.id', 'a:y', false],
  ['.name', 'x', true],
  ['.ns', 'a', true],
  ['.kind', '*entry', true],
  ['.kind', 'r*.e*y', true],
  ['.kind', 'r*x*y', false],
  ['meta.n', 1, true],
  ['meta.n', new Float(1), true],
  ['meta.deep.er', 'yes', true],
  ['~meta.t', '^te', true],
  ['~meta.t', '(', false],
  ['*meta.tags', 'red', true],
  ['^meta.t', 'te', true],
  ['$meta.t', 'xt', true],
  ['meta.none', 'x', false],
])('%s = %o: %s (lua-core.md §19.1)', (key, value, matches) => {
  const meta = record({ n: 1, t: 'text', deep: record({ er: 'yes' }), tags: list(['red']) })
  const filter = filterOf(record({ [key]: value }))
  expect(filter.ignored).toEqual([])
  expect(filter.matches(entry('a:x', meta))).toBe(matches)
})

test('other keys mean nothing', () => {
  const filter = filterOf(record({ kind: 'none', meta: record({ a: 1 }) }))
  expect(filter.ignored).toEqual(['kind', 'meta'])
  expect(filter.matches(entry('a:x'))).toBe(true)
})

test('ids are split at the first colon', () => {
  expect(splitId('a:b:c')).toEqual({ ns: 'a', name: 'b:c' })
  expect(splitId('a')).toEqual({ ns: '', name: 'a' })
})

test('a delta holds what differs, deletions first', () => {
  const from = [entry('a:gone'), entry('a:same', record({ n: 1 })), entry('a:other', record({ n: 1 }))]
  const to = [entry('a:new'), entry('a:same', record({ n: 1 })), entry('a:other', record({ n: 2 }))]
  const ops = toPlain(deltaOf(from, to)) as { kind: string; entry: { id: string } }[]
  expect(ops.map((op) => `${op.kind} ${op.entry.id}`)).toEqual([
    'entry.delete a:gone',
    'entry.create a:new',
    'entry.update a:other',
  ])
})

test('values are the same by content, an integer and a float are not', () => {
  expect(sameValue(record({ a: list([1, 2]) }), record({ a: list([1, 2]) }))).toBe(true)
  expect(sameValue(record({ a: 1, b: 2 }), record({ b: 2, a: 1 }))).toBe(true)
  expect(sameValue(1, new Float(1))).toBe(false)
})
