import { expect, test } from 'vitest'
import { changedIds, Versions, withOps } from '../../../../runtime/registry/core/versions.ts'

const entry = (id: string, kind = 'registry.entry', n = 0) => ({ id, kind, n })
const map = (...entries: ReturnType<typeof entry>[]) => new Map(entries.map((each) => [each.id, each]))

test('operations follow each other, and the map that they start from stays as it is', () => {
  const before = map(entry('a:x'))
  const after = withOps(before, [
    { kind: 'entry.create', entry: entry('a:y') },
    { kind: 'entry.update', entry: entry('a:y', 'registry.entry', 1) },
    { kind: 'entry.delete', id: 'a:x' },
  ])
  expect([...after.values()]).toEqual([entry('a:y', 'registry.entry', 1)])
  expect([...before.keys()]).toEqual(['a:x'])
})

test.each([
  [{ kind: 'entry.create', entry: entry('a:x') }, 'AlreadyExists', 'entry already exists'],
  [{ kind: 'entry.update', entry: entry('a:z') }, 'NotFound', 'entry does not exist'],
  [{ kind: 'entry.update', entry: entry('a:x', 'other') }, 'Invalid', 'cannot change entry kind'],
  [{ kind: 'entry.delete', id: 'a:z' }, 'NotFound', 'cannot delete non-existent entry'],
] as const)('%o does not fit (lua-core.md §19.3)', (op, kind, text) => {
  expect(() => withOps(map(entry('a:x')), [op])).toThrow(
    expect.objectContaining({ kind, message: expect.stringContaining(text) }),
  )
})

test('what is not the same thing has changed', () => {
  const kept = entry('a:kept')
  const before = map(kept, entry('a:changed'), entry('a:gone'))
  const after = map(kept, entry('a:changed'), entry('a:new'))
  expect([...changedIds(before, after)].sort()).toEqual(['a:changed', 'a:gone', 'a:new'])
})

test('versions rise, can be returned to, and are forgotten in the end', () => {
  const versions = new Versions<ReturnType<typeof entry>>()
  expect(versions.current.id).toBe(0)
  const first = versions.add(map(entry('a:x')))
  const second = versions.add(map())
  expect([first.id, second.id, versions.current.id]).toEqual([1, 2, 2])
  versions.moveTo(first)
  expect(versions.current).toBe(first)
  expect(versions.add(map()).id).toBe(3)
  for (let i = 0; i < 200; i++) versions.add(map())
  expect(versions.kept.length).toBeLessThanOrEqual(101)
  expect(() => versions.at(1)).toThrow(expect.objectContaining({ kind: 'NotFound' }))
  expect(() => versions.at(0)).toThrow(expect.objectContaining({ kind: 'Invalid' }))
})
