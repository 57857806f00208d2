// The structures of base/ against naive models.

import { describe, expect, test } from 'vitest'
import { backoffMs } from '../../../runtime/base/backoff.ts'
import { Heap } from '../../../runtime/base/heap.ts'
import { PairSet } from '../../../runtime/base/pair-set.ts'
import { Queue } from '../../../runtime/base/queue.ts'
import { RateLimit } from '../../../runtime/base/rate-limit.ts'
import { fc } from '../../tools/property.ts'

describe('Queue', () => {
  test('is first in, first out, like an array', () => {
    fc.assert(
      fc.property(fc.array(fc.option(fc.nat(), { nil: undefined })), (steps) => {
        const queue = new Queue<number>()
        const model: number[] = []
        for (const step of steps) {
          if (step === undefined) expect(queue.shift()).toBe(model.shift())
          else {
            queue.push(step)
            model.push(step)
          }
          expect(queue.count).toBe(model.length)
          expect(queue.peek()).toBe(model[0])
          expect([...queue]).toEqual(model)
        }
      }),
    )
  })

  test('stays right and small after thousands have passed through', () => {
    const queue = new Queue<number>()
    for (let i = 0; i < 10_000; i++) {
      queue.push(i)
      if (i >= 10) expect(queue.shift()).toBe(i - 10)
    }
    expect([...queue]).toHaveLength(10)
  })

  test('refuses what exceeds its bound', () => {
    const queue = new Queue<number>(2)
    expect([queue.push(1), queue.push(2), queue.push(3)]).toEqual([true, true, false])
    expect([...queue]).toEqual([1, 2])
  })
})

describe('Heap', () => {
  test('gives items by key, equal keys in the order they came', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(10)), (keys) => {
        const heap = new Heap<number>()
        for (const [i, key] of keys.entries()) heap.push(key, i)
        const sorted = keys.map((key, i) => ({ key, i })).sort((a, b) => a.key - b.key || a.i - b.i)
        for (const { key, i } of sorted) {
          expect(heap.nextKey).toBe(key)
          expect(heap.pop()).toBe(i)
        }
        expect(heap.pop()).toBeUndefined()
      }),
    )
  })

  test('prune keeps the order of what stays', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(20)), (keys) => {
        const heap = new Heap<number>()
        for (const key of keys) heap.push(key, key)
        heap.prune((item) => item % 2 === 0)
        const rest: number[] = []
        for (let item = heap.pop(); item !== undefined; item = heap.pop()) rest.push(item)
        expect(rest).toEqual(keys.filter((key) => key % 2 === 0).sort((a, b) => a - b))
      }),
    )
  })
})

describe('PairSet', () => {
  const name = fc.constantFrom('a', 'b', 'c', 'd')
  const step = fc.tuple(fc.constantFrom('add', 'remove', 'takeLeft', 'takeRight'), name, name)

  test('is a set of pairs with an index from either side', () => {
    fc.assert(
      fc.property(fc.array(step), (steps) => {
        const pairs = new PairSet<string>()
        let model: [string, string][] = []
        const has = (l: string, r: string): boolean => model.some(([a, b]) => a === l && b === r)
        for (const [kind, left, right] of steps) {
          if (kind === 'add') {
            expect(pairs.add(left, right)).toBe(!has(left, right))
            if (!has(left, right)) model.push([left, right])
          } else if (kind === 'remove') {
            expect(pairs.remove(left, right)).toBe(has(left, right))
            model = model.filter(([a, b]) => a !== left || b !== right)
          } else if (kind === 'takeLeft') {
            expect(pairs.takeLeft(left)).toEqual(model.filter(([a]) => a === left).map(([, b]) => b))
            model = model.filter(([a]) => a !== left)
          } else {
            expect(pairs.takeRight(right)).toEqual(model.filter(([, b]) => b === right).map(([a]) => a))
            model = model.filter(([, b]) => b !== right)
          }
          for (const l of 'abcd') for (const r of 'abcd') expect(pairs.has(l, r)).toBe(has(l, r))
          expect(pairs.isEmpty).toBe(model.length === 0)
        }
      }),
    )
  })
})

describe('backoffMs', () => {
  const options = { initialMs: 100, maxMs: 1000, factor: 2, jitter: 0.1 }

  test('grows by the factor up to the maximum (lua-core.md §22.2)', () => {
    const middle = { randomInt: () => 500_000 }
    expect([1, 2, 3, 4, 5, 50].map((attempt) => backoffMs(options, attempt, middle))).toEqual([
      100, 200, 400, 800, 1000, 1000,
    ])
  })

  test('is changed by at most the jitter', () => {
    fc.assert(
      fc.property(fc.nat(1_000_000), (chance) => {
        const ms = backoffMs(options, 1, { randomInt: () => chance })
        expect(ms).toBeGreaterThanOrEqual(90)
        expect(ms).toBeLessThanOrEqual(110)
      }),
    )
  })
})

test('RateLimit allows so many a second and counts the rest', () => {
  const limit = new RateLimit(2)
  const allowed = [0, 1, 2, 999].map((ms) => limit.take(ms).isAllowed)
  expect(allowed).toEqual([true, true, false, false])
  expect(limit.take(1000)).toEqual({ isAllowed: true, droppedBefore: 2 })
  expect(limit.take(1001)).toEqual({ isAllowed: true, droppedBefore: 0 })
})
