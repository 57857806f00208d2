import { describe, expect, test } from 'vitest'
import {
  checkCut,
  checkLinearizable,
  checkWatch,
  type KvAction,
  type KvAnswer,
  type KvOperation,
} from './checkers/kv.ts'
import { runKvChaos } from './kv.ts'

describe('the versioned store as clients see it', () => {
  test.each([1, 2, 3, 4, 5])('keeps V1 and V2 (seed %i)', (seed) => {
    const { answered, watched } = runKvChaos({ seed, clients: 4, operations: 60 })
    expect(answered).toBeGreaterThan(150)
    expect(watched).toBeGreaterThan(20)
  })

  test('reads of an old state are found (V1)', () => {
    expect(() => runKvChaos({ seed: 1, clients: 4, operations: 60, staleReads: 8 })).toThrow('(V1)')
  })
})

describe('the checker of V1', () => {
  const at = (invokedAtMs: number, answeredAtMs: number, action: KvAction, answer: KvAnswer): KvOperation => ({
    client: 'c',
    key: 'k',
    action,
    answer,
    invokedAtMs,
    answeredAtMs,
  })
  const put = (value: string, ifVersion?: number): KvAction => ({
    kind: 'put',
    value,
    ...(ifVersion === undefined ? {} : { ifVersion }),
  })
  const get: KvAction = { kind: 'get' }
  const written = (version: number): KvAnswer => ({ kind: 'written', version })
  const found = (value: string, version: number): KvAnswer => ({ kind: 'found', value, version })
  const unknown: KvAnswer = { kind: 'unknown' }
  const isFine = (...operations: KvOperation[]): boolean => {
    try {
      checkLinearizable(operations, 1)
      return true
    } catch {
      return false
    }
  }

  test('takes any order of what overlaps, and only the order of time of what does not', () => {
    const first = at(0, 10, put('x'), written(1))
    const second = at(5, 15, put('y'), written(2))
    expect(isFine(first, second, at(20, 21, get, found('y', 2)))).toBe(true)
    expect(isFine(first, second, at(20, 21, get, found('x', 1)))).toBe(false)
    expect(isFine(first, second, at(6, 7, get, found('x', 1)))).toBe(true)
    expect(isFine(first, second, at(20, 21, get, { kind: 'absent' }))).toBe(false)
    expect(isFine(at(0, 1, put('x'), written(2)), at(2, 3, put('y'), written(1)))).toBe(false)
  })

  test('a write whose answer is lost may have happened, at any time after it began', () => {
    const lost = at(5, Number.POSITIVE_INFINITY, put('x'), unknown)
    expect(isFine(lost, at(6, 7, get, { kind: 'absent' }), at(50, 51, get, found('x', 9)))).toBe(true)
    expect(isFine(lost, at(6, 7, get, found('x', 9)), at(50, 51, get, { kind: 'absent' }))).toBe(false)
    expect(isFine(lost, at(1, 2, get, found('x', 9)))).toBe(false)
    expect(isFine(lost, at(6, 7, get, { kind: 'absent' }))).toBe(true)
    expect(isFine(at(0, 1, get, { kind: 'absent' }), at(60, 61, put('y'), written(3)), lost)).toBe(true)
  })

  test('of two writes under one condition one succeeds', () => {
    const first = at(0, 1, put('x', 0), written(1))
    expect(
      isFine(first, at(2, 9, put('y', 1), written(2)), at(2, 9, put('z', 1), { kind: 'refused', version: 2 })),
    ).toBe(true)
    expect(isFine(first, at(2, 9, put('y', 1), written(2)), at(2, 9, put('z', 1), written(3)))).toBe(false)
    expect(isFine(first, at(2, 3, { kind: 'delete' }, written(2)), at(4, 5, put('z', 0), written(3)))).toBe(true)
    expect(isFine(first, at(2, 3, put('z', 0), { kind: 'refused' }))).toBe(false)
    expect(isFine(at(0, 1, { kind: 'delete' }, { kind: 'absent' }), first)).toBe(true)
  })

  test('a page shows everything up to its newest version', () => {
    const writes = [
      { key: 'a', version: 1, isDelete: false },
      { key: 'b', version: 2, isDelete: false },
      { key: 'a', version: 3, isDelete: true },
      { key: 'c', version: 4, isDelete: false },
    ]
    const page = (keys: [string, number][]): void => checkCut({ keys: new Map(keys), covers: () => true }, writes, 1)
    page([])
    page([['a', 1]])
    page([
      ['a', 1],
      ['b', 2],
    ])
    page([
      ['b', 2],
      ['c', 4],
    ])
    page([['b', 2]])
    expect(() =>
      page([
        ['a', 1],
        ['b', 2],
        ['c', 4],
      ]),
    ).toThrow('shows version 1 of a')
    expect(() => page([['c', 4]])).toThrow('shows nothing of b')
  })

  test('a watcher is told everything in order, or to list again (V2)', () => {
    const changes = [1, 2, 3, 4].map((version) => ({ key: 'k', version }))
    const told = (...seen: number[]): { kind: 'change'; key: string; version: number }[] =>
      seen.map((version) => ({ kind: 'change', key: 'k', version }))
    checkWatch(told(1, 2, 3, 4), changes, 0, true, 1)
    checkWatch(told(3), changes, 2, false, 1)
    checkWatch([...told(1), { kind: 'resync', version: 3 }, ...told(4)], changes, 0, true, 1)
    expect(() => checkWatch(told(1, 3), changes, 0, false, 1)).toThrow('(V2)')
    expect(() => checkWatch(told(1, 1), changes, 0, false, 1)).toThrow('(V2)')
    expect(() => checkWatch(told(1, 2, 3), changes, 0, true, 1)).toThrow('was not told')
  })
})
