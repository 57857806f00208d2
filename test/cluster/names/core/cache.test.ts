import { describe, expect, test } from 'vitest'
import {
  BindingCache,
  type BindingChange,
  type CachedBinding,
  MISS_MS,
  STALE_MS,
} from '../../../../cluster/names/core/cache.ts'
import { fc } from '../../../tools/property.ts'

const bound = (name: string, pid: string, revision: number): CachedBinding => ({
  name,
  pid,
  scope: 'consistent',
  revision,
})
const freed = (name: string, revision: number): BindingChange => ({
  name,
  pid: undefined,
  scope: 'consistent',
  revision,
})

describe('a cache of bindings', () => {
  test('takes what is newer and passes over the rest (N5)', () => {
    const cache = new BindingCache()
    expect(cache.apply(bound('x', 'p', 5))).toBe(true)
    expect(cache.apply(bound('x', 'q', 4))).toBe(false)
    expect(cache.apply(freed('x', 6))).toBe(true)
    expect(cache.apply(bound('x', 'p', 5))).toBe(false)
    expect(cache.lookup('x')).toBeUndefined()
    expect(cache.apply(bound('x', 'q', 7))).toBe(true)
    expect(cache.lookup('x')?.pid).toBe('q')
  })

  test('a snapshot replaces what is older, and leaves what gossip has told since', () => {
    const cache = new BindingCache()
    cache.apply(bound('old', 'p', 3))
    cache.apply(bound('new', 'p', 12))
    cache.apply(bound('kept', 'p', 4))
    expect(cache.load([bound('kept', 'p', 4), bound('more', 'q', 8)], { index: 9, revision: 10 }, 0)).toEqual([
      'more',
      'old',
    ])
    expect(cache.bindings().map(({ name }) => name)).toEqual(['kept', 'more', 'new'])
  })

  test('remembers what was given up until the feed has passed it', () => {
    const cache = new BindingCache()
    cache.apply(freed('x', 6))
    cache.heard({ index: 4, revision: 5 }, 0)
    expect(cache.apply(bound('x', 'p', 3))).toBe(false)
    cache.heard({ index: 5, revision: 6 }, 0)
    expect(cache.revisionOf('x')).toBe(0)
  })

  test('word that comes after the feed has passed it brings nothing back, but a snapshot does', () => {
    const cache = new BindingCache()
    cache.apply(bound('x', 'p', 3))
    cache.apply(freed('x', 6))
    cache.heard({ index: 5, revision: 6 }, 0)
    expect(cache.apply(bound('x', 'p', 3))).toBe(false)
    expect(cache.load([bound('y', 'p', 4)], { index: 5, revision: 6 }, 0)).toEqual(['y'])
  })

  test('is stale when the feed is silent for long, and from the start', () => {
    const cache = new BindingCache()
    expect(cache.isStale(0)).toBe(true)
    cache.heard({ index: 1, revision: 1 }, 100)
    expect([cache.isStale(100 + STALE_MS), cache.isStale(101 + STALE_MS)]).toEqual([false, true])
  })

  test('remembers for a second that a name is free, unless it is bound', () => {
    const cache = new BindingCache()
    cache.missed('x', 0)
    expect([cache.isMissed('x', MISS_MS - 1), cache.isMissed('x', MISS_MS)]).toEqual([true, false])
    cache.missed('x', 0)
    cache.apply(bound('x', 'p', 1))
    expect(cache.isMissed('x', 0)).toBe(false)
    for (let i = 0; i < 10_000; i++) cache.missed(`n${i}`, 0)
    expect(cache.isMissed('n0', 1)).toBe(false)
  })

  test('whatever order changes come in, the last of each name counts', () => {
    const change = fc.record({ name: fc.constantFrom('x', 'y', 'z'), bind: fc.boolean() })
    fc.assert(
      fc.property(fc.array(change, { maxLength: 20 }), fc.nat(), (log, seed) => {
        const changes = log.map(({ name, bind }, i) => (bind ? bound(name, `p${i}`, i + 1) : freed(name, i + 1)))
        const shuffled = changes.map((each, i) => ({ each, at: (i * 7919 + seed) % 97 })).sort((a, b) => a.at - b.at)
        const cache = new BindingCache()
        for (const { each } of [...shuffled, ...shuffled]) cache.apply(each)
        for (const name of ['x', 'y', 'z']) {
          expect(cache.lookup(name)?.pid).toBe(changes.findLast((each) => each.name === name)?.pid)
        }
      }),
    )
  })
})
