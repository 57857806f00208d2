// Equal hashes mean equal code: of the entry, and of everything that it imports. cluster.md §10.1.

import { expect, test } from 'vitest'
import { CodeHashes } from '../../../runtime/app/code-hash.ts'
import type { CodeEntry } from '../../../runtime/lua/sandbox.ts'

const entry = (id: string, more: Partial<CodeEntry> = {}): CodeEntry => ({
  id,
  kind: 'process.lua',
  source: `return "${id}"`,
  method: 'main',
  modules: ['time', 'json'],
  imports: {},
  ...more,
})
const hash = (entries: CodeEntry[], id = 'app:main'): string | undefined => new CodeHashes(entries).of(id)
const main = entry('app:main', { imports: { a: 'app:a' } })
const [a, b] = [entry('app:a', { imports: { b: 'app:b' } }), entry('app:b', { imports: { a: 'app:a' } })]
const before = hash([main, a, b])

test('the same code has the same hash, in whatever order it is', () => {
  expect(before).toMatch(/^[0-9a-f]{64}$/)
  expect(hash([b, a, { ...main, modules: ['json', 'time'] }, entry('app:other')])).toBe(before)
})

test.each([
  ['its source', [entry('app:main', { ...main, source: 'return 1' }), a, b]],
  ['its method', [{ ...main, method: 'other' }, a, b]],
  ['its modules', [{ ...main, modules: ['time'] }, a, b]],
  ['what a name stands for', [{ ...main, imports: { c: 'app:a' } }, a, b]],
  ['the source of an import of an import', [main, a, { ...b, source: 'return 2' }]],
  ['an import that is not there', [main, a]],
])('changes with %s', (_, entries) => {
  expect(hash(entries)).not.toBe(before)
})

test('what is not there has none; an actor of the program is its name', () => {
  expect(hash([main], 'app:none')).toBe(undefined)
  expect(hash([], 'actor:echo')).not.toBe(hash([], 'actor:other'))
})
