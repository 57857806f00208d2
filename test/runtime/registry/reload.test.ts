// What edited files make of the entries in force.

import { expect, test } from 'vitest'
import { builtFrom, editOf } from '../../../runtime/registry/reload.ts'

interface Fake {
  readonly id: string
  readonly kind: string
  readonly source?: string
  readonly line?: number
  readonly imports?: Readonly<Record<string, string>>
}

const entry = (id: string, source: string, line = 1): Fake => ({ id, kind: 'process.lua', source, line })
const byId = (...entries: Fake[]): Map<string, Fake> => new Map(entries.map((each) => [each.id, each]))

test('what is the same stays the same object, wherever it stands in the file by now', () => {
  const [a, b] = [entry('a', '1'), entry('b', '1')]
  const edit = editOf(byId(a, b), [a, b], [entry('a', '1', 7), entry('b', '2')], ['line'])
  expect(edit).toMatchObject({ added: [], changed: ['b'], removed: [] })
  expect(edit.next.get('a')).toBe(a)
  expect(edit.next.get('b')).toEqual(entry('b', '2'))
})

test('what scripts made, changed and deleted stays so, unless the files change it', () => {
  const [a, b, c] = [entry('a', '1'), entry('b', '1'), entry('c', '1')]
  const current = byId(entry('a', 'script'), entry('b', 'script'), entry('made', '1'))
  const edit = editOf(current, [a, b, c], [a, entry('b', '2'), c], [])
  expect(edit).toMatchObject({ added: [], changed: ['b'], removed: [] })
  expect(edit.next.get('a')?.source).toBe('script')
  expect([...edit.next.keys()]).toEqual(['a', 'b', 'made'])
})

test('what comes is added, what goes is removed, and what was gone already is not', () => {
  const [a, b, c] = [entry('a', '1'), entry('b', '1'), entry('c', '1')]
  expect(editOf(byId(a, b), [a, b, c], [entry('d', '1')], [])).toMatchObject({
    added: ['d'],
    changed: [],
    removed: ['a', 'b'],
  })
})

test('code is new when what it imports is, over any number of steps', () => {
  const entries = [
    { ...entry('a', ''), imports: { x: 'b' } },
    { ...entry('b', ''), imports: { x: 'c' } },
    { ...entry('c', ''), imports: { x: 'a' } },
    { ...entry('d', ''), imports: { x: 'e' } },
  ]
  expect([...builtFrom(entries, new Set(['c']))].sort()).toEqual(['a', 'b', 'c'])
})
