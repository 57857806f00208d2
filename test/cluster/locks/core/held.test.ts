// What a node knows of the locks that its processes hold: doubt counts as no. cluster.md §5.10, §7.

import { beforeEach, describe, expect, test } from 'vitest'
import { HeldLocks } from '../../../../cluster/locks/core/held.ts'

const PID = '{n1@app:p|1.100}'
const OTHER = '{n1@app:p|1.200}'

let nowMs: number
let held: HeldLocks

beforeEach(() => {
  nowMs = 1000
  held = new HeldLocks({ nowMs: () => nowMs })
})

const grant = (name: string, token: number, ttlMs = 0, pid = PID) => ({ name, pid, token, ttlMs, sentMs: nowMs })

test('only the holder holds it, until it gives it back', () => {
  held.granted(grant('a', 5))
  expect([held.tokenOf('a', PID), held.tokenOf('a', OTHER), held.tokenOf('b', PID)]).toEqual([5, undefined, undefined])
  held.released('a', 4)
  expect(held.tokenOf('a', PID)).toBe(5)
  held.released('a', 5)
  expect(held.tokenOf('a', PID)).toBeUndefined()
})

test('an older grant does not take the place of a newer one', () => {
  held.granted(grant('a', 5))
  held.granted(grant('a', 3, 0, OTHER))
  expect(held.tokenOf('a', PID)).toBe(5)
})

describe('a lock with a time', () => {
  test('is held for certain only for so long after the request was sent', () => {
    held.granted(grant('a', 5, 2000))
    // A little less than its time: the clock that ends it may be faster.
    nowMs += 1959
    expect(held.tokenOf('a', PID)).toBe(5)
    nowMs += 1
    expect(held.tokenOf('a', PID)).toBeUndefined()
    expect(held.grantOf('a', PID)).toMatchObject({ token: 5 })
  })

  test('that was renewed is held for so long after that', () => {
    held.granted(grant('a', 5, 2000))
    nowMs += 1500
    held.renewed('a', 4, 2000, nowMs)
    held.renewed('a', 5, 2000, nowMs)
    nowMs += 1959
    expect(held.tokenOf('a', PID)).toBe(5)
  })

  test('is lost when the log says so, once', () => {
    held.granted(grant('a', 5, 2000))
    expect(held.over('a', 4, 'expired')).toEqual([])
    expect(held.over('a', 5, 'expired')).toEqual([{ kind: 'lost', name: 'a', pid: PID, token: 5, reason: 'expired' }])
    expect(held.over('a', 5, 'expired')).toEqual([])
  })

  test('is lost, and given back, when the word of the log does not come', () => {
    held.granted(grant('a', 5, 2000))
    held.granted(grant('b', 6))
    nowMs = held.wakeAtMs - 1
    expect(held.tick()).toEqual([])
    nowMs++
    expect(held.tick()).toEqual([
      { kind: 'lost', name: 'a', pid: PID, token: 5, reason: 'expired' },
      { kind: 'release', name: 'a', pid: PID, token: 5 },
    ])
    expect(held.wakeAtMs).toBe(Number.POSITIVE_INFINITY)
    expect(held.count).toBe(1)
  })
})

describe('a session', () => {
  test('that is suspended loses all locks for good: they are given back', () => {
    held.granted(grant('a', 5))
    held.granted(grant('b', 6, 0, OTHER))
    expect(held.suspended()).toEqual([
      { kind: 'release', name: 'a', pid: PID, token: 5 },
      { kind: 'release', name: 'b', pid: OTHER, token: 6 },
      { kind: 'lost', name: 'a', pid: PID, token: 5, reason: 'lost' },
      { kind: 'lost', name: 'b', pid: OTHER, token: 6, reason: 'lost' },
    ])
    expect(held.tokenOf('a', PID)).toBeUndefined()
    expect(held.suspended()).toEqual([])
  })

  test('that ended owns nothing that could be given back', () => {
    held.granted(grant('a', 5))
    held.suspended()
    held.granted(grant('c', 9))
    expect(held.ended()).toEqual([{ kind: 'lost', name: 'c', pid: PID, token: 9, reason: 'lost' }])
    expect(held.ended()).toEqual([])
  })
})

test('a process that ended is told nothing', () => {
  held.granted(grant('a', 5))
  held.exited(PID)
  expect(held.suspended()).toEqual([])
})

test('the next to expire is known however many are held, renewed and given back', () => {
  for (let i = 0; i < 50; i++) held.granted(grant(`l${i}`, i + 1, 10_000 + i))
  for (let round = 0; round < 20; round++) for (let i = 1; i < 50; i++) held.renewed(`l${i}`, i + 1, 20_000, nowMs)
  held.released('l0', 1)
  expect(held.wakeAtMs).toBe(nowMs + 22_000)
  held.exited(PID)
  expect([held.count, held.wakeAtMs]).toEqual([0, Number.POSITIVE_INFINITY])
})
