import { describe, expect, test } from 'vitest'
import { Suspicion, suspicionTerms } from '../../../../cluster/swim/core/suspicion.ts'

const defaults = { suspicionMult: 3, suspicionMaxMult: 6, probeIntervalMs: 1000 }

describe('how long a suspect has (§3.6, Lifeguard IV.B)', () => {
  test.each([
    [3, 3000, 18_000],
    [10, 3000, 18_000],
    [32, 4515, 27_090],
    [100, 6000, 36_000],
    [1000, 9000, 54_000],
  ])('%i nodes: %i to %i ms with one confirmation', (nodes, minMs, maxMs) => {
    expect(suspicionTerms(nodes, defaults)).toEqual({ confirmationsWanted: 1, minMs, maxMs })
  })

  test('with nobody who could confirm, the shortest time holds at once', () => {
    expect(suspicionTerms(2, defaults).confirmationsWanted).toBe(0)
    expect(suspicionTerms(3, { ...defaults, suspicionMult: 4 }).confirmationsWanted).toBe(0)
    expect(suspicionTerms(10, { ...defaults, suspicionMult: 1 }).confirmationsWanted).toBe(0)
    expect(new Suspicion('x', suspicionTerms(2, defaults), 1, 500).deadlineMs).toBe(3500)
  })

  test('confirmations shorten it: 24, 11.381, 4 s for a multiplier of 4 and ten nodes', () => {
    const suspicion = new Suspicion('x', suspicionTerms(10, { ...defaults, suspicionMult: 4 }), 1, 0)
    expect(suspicion.deadlineMs).toBe(24_000)
    expect(suspicion.confirm('y')).toBe(true)
    expect(suspicion.deadlineMs).toBe(11_381)
    expect(suspicion.confirm('z')).toBe(true)
    expect(suspicion.deadlineMs).toBe(4000)
  })

  test('only new accusers confirm, and only as many as are wanted', () => {
    const suspicion = new Suspicion('x', suspicionTerms(10, { ...defaults, suspicionMult: 4 }), 1, 0)
    expect(suspicion.confirm('x')).toBe(false)
    suspicion.confirm('y')
    expect(suspicion.confirm('y')).toBe(false)
    suspicion.confirm('z')
    expect(suspicion.confirm('w')).toBe(false)
    expect(suspicion.confirmations).toBe(2)
    expect(suspicion.deadlineMs).toBe(4000)
  })

  test('time in which nobody could be heard does not count', () => {
    const suspicion = new Suspicion('x', suspicionTerms(10, defaults), 1, 0)
    suspicion.postpone(5000)
    expect(suspicion.deadlineMs).toBe(23_000)
    suspicion.confirm('y')
    expect(suspicion.deadlineMs).toBe(8000)
  })
})
