import { expect, test } from 'vitest'
import { Sequence, type SequenceNode } from '../../../../runtime/supervisor/core/sequence.ts'
import { fc } from '../../../tools/property.ts'

/** `{ b: 'a' }`: b needs a. An id that ends in `?` is optional. */
function sequence(needs: Record<string, string>): Sequence {
  return new Sequence(
    Object.entries(needs).map(([name, dependencies]): SequenceNode => {
      const id = name.replace('?', '')
      const startup = name.endsWith('?') ? 'optional' : 'required'
      return { id, dependencies: dependencies.split(' ').filter((each) => each !== ''), startup }
    }),
  )
}

const diamond = { web: 'cache queue', cache: 'disk', queue: 'disk', disk: '', other: '' }

test('dependencies come before dependents, whatever the order they are written in (§22.3)', () => {
  expect(sequence(diamond).order).toEqual(['disk', 'cache', 'queue', 'web', 'other'])
})

test('a dependency that has no lifecycle counts as running (§22.3)', () => {
  const each = sequence({ a: 'some:entry b', b: '' })
  expect(each.dependenciesOf('a')).toEqual(['b'])
  expect(each.missingFor('a', (id) => id === 'b')).toEqual([])
})

test('only what is reachable from the roots starts (§22.3)', () => {
  expect(sequence(diamond).reachableFrom(['queue'])).toEqual(['disk', 'queue'])
  expect(sequence(diamond).reachableFrom([])).toEqual([])
})

test('all dependencies must run before a service can start (§22.3)', () => {
  const each = sequence(diamond)
  expect(each.missingFor('web', (id) => id === 'cache')).toEqual(['queue'])
  expect(each.missingFor('web', (id) => id !== 'disk')).toEqual([])
})

test('a service can stop when nothing that needs it is left, not even through others (§22.3)', () => {
  const each = sequence(diamond)
  expect(each.dependentsOf('disk')).toEqual(['web', 'queue', 'cache'])
  expect(each.canStop('disk', (id) => id === 'web')).toBe(false)
  expect(each.canStop('disk', (id) => id === 'other')).toBe(true)
})

test('a cycle is told as the path that leads back to its first id (§22.3)', () => {
  expect(sequence({ x: 'a', a: 'b', b: 'c', c: 'a' }).cycle).toEqual(['a', 'b', 'c', 'a'])
  expect(sequence({ a: 'a' }).cycle).toEqual(['a', 'a'])
  expect(sequence(diamond).cycle).toBeUndefined()
})

test('a required service takes the whole start with it, an optional one its branch (§22.3)', () => {
  const each = sequence({ host: '', 'cache?': 'host', web: 'cache', page: 'web' })
  expect(each.failureOf('host')).toEqual({ kind: 'abort' })
  expect(each.failureOf('cache')).toEqual({ kind: 'skip', ids: ['page', 'web', 'cache'] })
})

test('several with their dependents are one stop order, each once', () => {
  const node = (id: string, ...dependencies: string[]): SequenceNode => ({ id, dependencies, startup: 'required' })
  const each = new Sequence([node('host'), node('cache', 'host'), node('web', 'cache', 'host'), node('clock')])
  expect(each.withDependents(['cache', 'host', 'clock'])).toEqual(['clock', 'web', 'cache', 'host'])
  expect(each.withDependents([])).toEqual([])
})

test('an id that is defined twice is a bug', () => {
  const node: SequenceNode = { id: 'a', dependencies: [], startup: 'required' }
  expect(() => new Sequence([node, node])).toThrow('service a is defined once')
})

test('against a naive check: the order respects every edge, or there is a cycle of real edges', () => {
  const ids = ['a', 'b', 'c', 'd', 'e', 'f']
  const graph = fc.array(fc.subarray(ids), { minLength: ids.length, maxLength: ids.length })
  fc.assert(
    fc.property(graph, (needs) => {
      const nodes = ids.map((id, i): SequenceNode => ({ id, dependencies: needs[i] ?? [], startup: 'required' }))
      const each = new Sequence(nodes)
      const needsOf = (id: string): readonly string[] => needs[ids.indexOf(id)] ?? []
      if (each.cycle !== undefined) {
        expect(each.cycle.at(0)).toBe(each.cycle.at(-1))
        for (const [i, id] of each.cycle.slice(0, -1).entries()) expect(needsOf(id)).toContain(each.cycle[i + 1])
        return
      }
      expect([...each.order].sort()).toEqual(ids)
      for (const [i, id] of each.order.entries()) {
        for (const need of needsOf(id)) expect(each.order.slice(0, i)).toContain(need)
        expect(each.withDependents([id])).toEqual([...each.dependentsOf(id), id])
        for (const dependent of each.dependentsOf(id)) expect(each.reachableFrom([dependent])).toContain(id)
      }
    }),
  )
})
