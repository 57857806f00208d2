import { expect, test } from 'vitest'
import { canonicalKey, MemoryStore } from '../../../../runtime/store/core/memory-store.ts'
import { fc } from '../../../tools/property.ts'

class Clock {
  ms = 0
  nowMs = (): number => this.ms
}

test('it behaves as a map with expiry would, whatever is done in whatever order (lua-libraries.md §2)', () => {
  const key = fc.constantFrom('a', 'b', 'a:1', 'a:2', 'b:1', ':a')
  const step = fc.oneof(
    fc.record({ do: fc.constant('put'), key, ttl: fc.constantFrom(0, 5, 50) }),
    fc.record({ do: fc.constant('delete'), key }),
    fc.record({ do: fc.constant('wait'), ms: fc.constantFrom(1, 10, 60) }),
    fc.record({ do: fc.constant('sweep') }),
    fc.record({
      do: fc.constant('list'),
      prefix: fc.constantFrom('', 'a:', ':', 'b:1'),
      limit: fc.integer({ min: 1, max: 4 }),
    }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (plan) => {
      const clock = new Clock()
      const store = new MemoryStore(100, clock)
      const model = new Map<string, { value: number; until: number }>()
      const live = (): [string, number][] =>
        [...model]
          .filter(([, { until }]) => until > clock.ms)
          .map(([name, { value }]): [string, number] => [name, value])
          .sort(([a], [b]) => (a < b ? -1 : 1))
      let version = 0
      for (const [i, action] of plan.entries()) {
        if (action.do === 'put') {
          const { key: name, ttl } = action as { key: string; ttl: number }
          const entry = store.put(name, i, { ttlMs: ttl })
          expect(Number(entry.version)).toBeGreaterThan(version)
          version = Number(entry.version)
          model.set(canonicalKey(name), { value: i, until: ttl === 0 ? Number.POSITIVE_INFINITY : clock.ms + ttl })
        } else if (action.do === 'delete') {
          const name = canonicalKey((action as { key: string }).key)
          expect(store.delete(name)).toBe(live().some(([each]) => each === name))
          model.delete(name)
        } else if (action.do === 'wait') clock.ms += (action as { ms: number }).ms
        else if (action.do === 'sweep') store.sweep()
        else {
          const { prefix, limit } = action as { prefix: string; limit: number }
          const wanted = live().filter(([name]) => name.startsWith(prefix))
          const found: [string, unknown][] = []
          for (let after = '', more = true; more; ) {
            const page = store.list({ prefix, after, limit })
            found.push(...page.items.map(({ key: name, value }): [string, unknown] => [name, value]))
            expect(page.items.length).toBeLessThanOrEqual(limit)
            after = page.cursor
            more = page.hasMore
          }
          expect(found).toEqual(wanted)
        }
        for (const [name, value] of live()) expect(store.get(name)?.value).toBe(value)
      }
    }),
  )
})

test('a full store makes room by what has expired, never by what lives', () => {
  const clock = new Clock()
  const store = new MemoryStore(2, clock)
  store.put('a', 1, { ttlMs: 10 })
  store.put('b', 2, {})
  expect(() => store.put('c', 3, {})).toThrow(expect.objectContaining({ kind: 'Unavailable', retryable: true }))
  store.put('b', 4, {})
  clock.ms = 11
  store.put('c', 3, {})
  expect(store.size).toBe(2)
})
