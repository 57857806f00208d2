import { describe, expect, test } from 'vitest'
import { fc } from '../../tools/property.ts'
import { checkLinearizable, type Model, type Operation } from './linearizable.ts'

type Call = { readonly put: number } | 'get'

/** A register: puts answer nothing, gets answer the value. */
const register: Model<number, Call, number> = {
  initial: 0,
  step: (state, call, result) => {
    if (call !== 'get') return call.put
    return result === undefined || result === state ? state : undefined
  },
  key: String,
  isRead: (call) => call === 'get',
}

type Told = readonly [client: string, call: Call, calledMs: number, returnedMs?: number, result?: number]

function history(...told: Told[]): Operation<Call, number>[] {
  return told.map(([client, call, calledMs, atMs, result = 0]) => ({
    client,
    call,
    calledMs,
    ...(atMs === undefined ? {} : { returned: { atMs, result } }),
  }))
}

const isFine = (...told: Told[]): boolean => checkLinearizable(history(...told), register).ok

describe('good histories', () => {
  test('one after the other', () => {
    expect(isFine(['a', { put: 1 }, 0, 1], ['a', 'get', 2, 3, 1])).toBe(true)
  })

  test('a read during a write sees either', () => {
    expect(isFine(['a', { put: 1 }, 0, 10], ['b', 'get', 2, 3, 0])).toBe(true)
    expect(isFine(['a', { put: 1 }, 0, 10], ['b', 'get', 2, 3, 1])).toBe(true)
  })

  test('a write without an answer may have happened, late, or never', () => {
    expect(isFine(['a', { put: 1 }, 0], ['b', 'get', 5, 6, 0], ['b', 'get', 7, 8, 1])).toBe(true)
    expect(isFine(['a', { put: 1 }, 0], ['b', 'get', 5, 6, 0], ['b', 'get', 7, 8, 0])).toBe(true)
  })

  test('what touches may overlap', () => {
    expect(isFine(['a', { put: 1 }, 0, 5], ['b', 'get', 5, 6, 0])).toBe(true)
  })

  test('any history made by doing one thing at a time, with answers that come late', () => {
    const step = fc.record({
      put: fc.option(fc.nat(3), { nil: undefined }),
      early: fc.nat(5),
      late: fc.nat(5),
      lost: fc.nat(9),
    })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        let value = 0
        const told = steps.map(({ put, early, late, lost }, at): Operation<Call, number> => {
          if (put !== undefined) value = put
          const call: Call = put === undefined ? 'get' : { put }
          const calledMs = at * 3 - early
          if (lost === 0) return { client: 'x', call, calledMs }
          return { client: 'x', call, calledMs, returned: { atMs: at * 3 + 1 + late, result: value } }
        })
        expect(checkLinearizable(told, register).ok).toBe(true)
      }),
    )
  })
})

describe('bad histories', () => {
  test('a read that misses a write', () => {
    expect(isFine(['a', { put: 1 }, 0, 1], ['b', 'get', 2, 3, 0])).toBe(false)
  })

  test('a value that goes back', () => {
    const put: Told = ['a', { put: 1 }, 0, 20]
    expect(isFine(put, ['b', 'get', 2, 3, 1], ['c', 'get', 4, 5, 0])).toBe(false)
  })

  test('a value that nobody wrote', () => {
    expect(isFine(['a', { put: 1 }, 0, 1], ['b', 'get', 2, 3, 7])).toBe(false)
  })

  test('a write without an answer happens once', () => {
    expect(isFine(['a', { put: 1 }, 0], ['b', 'get', 2, 3, 1], ['b', { put: 2 }, 4, 5], ['b', 'get', 6, 7, 1])).toBe(
      false,
    )
  })

  test('and not before its call', () => {
    expect(isFine(['b', 'get', 1, 2, 1], ['a', { put: 1 }, 3])).toBe(false)
  })

  test('the verdict names the longest order and what could not follow', () => {
    const verdict = checkLinearizable(history(['a', { put: 1 }, 0, 1], ['b', 'get', 2, 3, 0]), register)
    expect(verdict).toMatchObject({ ok: false, order: [{ client: 'a' }], stuck: [{ client: 'b' }] })
  })

  test('agrees with trying every order', () => {
    const operation = fc.record({
      put: fc.option(fc.nat(2), { nil: undefined }),
      result: fc.nat(2),
      from: fc.nat(12),
      length: fc.nat(6),
      isLost: fc.boolean(),
    })
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 6 }), (drawn) => {
        const told = drawn.map(({ put, result, from, length, isLost }): Operation<Call, number> => {
          const call: Call = put === undefined ? 'get' : { put }
          const base = { client: 'x', call, calledMs: from }
          return isLost ? base : { ...base, returned: { atMs: from + length, result } }
        })
        expect(checkLinearizable(told, register).ok).toBe(naive(told, 0))
      }),
      { numRuns: 500 },
    )
  })
})

function naive(left: readonly Operation<Call, number>[], state: number): boolean {
  if (left.every(({ returned }) => returned === undefined)) return true
  const endMs = Math.min(...left.map(({ returned }) => returned?.atMs ?? Number.POSITIVE_INFINITY))
  return left.some((operation) => {
    if (operation.calledMs > endMs) return false
    const after = register.step(state, operation.call, operation.returned?.result)
    return (
      after !== undefined &&
      naive(
        left.filter((each) => each !== operation),
        after,
      )
    )
  })
}
