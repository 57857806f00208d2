import { describe, expect, test } from 'vitest'
import { Barriers } from '../../../../cluster/raft/core/barriers.ts'
import { Proposals } from '../../../../cluster/raft/core/proposals.ts'

describe('proposals (cluster.md §5.11)', () => {
  test('the entry that was appended for a proposal answers it', () => {
    const proposals = new Proposals<string>()
    proposals.offer(1, 'a')
    proposals.offer(2, 'b')
    proposals.accepted(1, 10, 3)
    proposals.accepted(2, 11, 3)
    expect(proposals.applied(9, 3)).toEqual({ own: undefined, lost: [] })
    expect(proposals.applied(10, 3)).toEqual({ own: 'a', lost: [] })
    expect(proposals.applied(11, 3)).toEqual({ own: 'b', lost: [] })
    expect(proposals.count).toBe(0)
  })

  test('an entry of another term in its place, or beyond it, leaves its fate unknown', () => {
    const proposals = new Proposals<string>()
    for (const [ref, index] of [
      [1, 10],
      [2, 11],
      [3, 12],
    ] as const) {
      proposals.offer(ref, `p${index}`)
      proposals.accepted(ref, index, 3)
    }
    expect(proposals.applied(10, 4)).toEqual({ own: undefined, lost: ['p10'] })
    expect(proposals.applied(12, 3)).toEqual({ own: 'p12', lost: ['p11'] })
  })

  test('what was refused did not happen, what was appended under a leadership that ended may have', () => {
    const proposals = new Proposals<string>()
    for (const ref of [1, 2, 3]) proposals.offer(ref, `p${ref}`)
    proposals.accepted(1, 5, 2)
    expect(proposals.refused(2)).toBe('p2')
    expect(proposals.refused(2)).toBeUndefined()
    expect(proposals.lost()).toEqual(['p1'])
    expect(proposals.lost()).toEqual([])
    expect(proposals.withdrawn()).toEqual(['p3'])
    proposals.accepted(9, 6, 2)
    expect(proposals.applied(6, 2)).toEqual({ own: undefined, lost: [] })
  })
})

describe('reads that wait (cluster.md §5.7)', () => {
  test('those that come while a question is on its way wait for the next one', () => {
    const barriers = new Barriers<string>(10)
    barriers.add('a', 100)
    expect(barriers.needsQuestion).toBe(true)
    barriers.asked(1)
    barriers.add('b', 100)
    expect(barriers.needsQuestion).toBe(false)
    expect(barriers.answered(1, 7)).toBe(true)
    expect(barriers.applied(7)).toEqual(['a'])
    expect(barriers.needsQuestion).toBe(true)
    expect(barriers.count).toBe(1)
  })

  test('an answer counts once the state has come as far', () => {
    const barriers = new Barriers<string>(10)
    barriers.add('a', 100)
    barriers.asked(1)
    barriers.answered(1, 7)
    expect(barriers.applied(6)).toEqual([])
    expect(barriers.applied(8)).toEqual(['a'])
  })

  test('a question without an answer is asked again for the same ones, until their deadlines', () => {
    const barriers = new Barriers<string>(10)
    barriers.add('a', 100)
    barriers.add('b', 200)
    barriers.asked(1)
    expect(barriers.failed(2)).toBe(false)
    expect(barriers.failed(1)).toBe(true)
    expect(barriers.expired(99)).toEqual([])
    expect(barriers.expired(100)).toEqual(['a'])
    barriers.asked(3)
    expect(barriers.answered(1, 4)).toBe(false)
    expect(barriers.expired(200)).toEqual(['b'])
    expect(barriers.answered(3, 4)).toBe(true)
    expect(barriers.applied(4)).toEqual([])
    expect(barriers.count).toBe(0)
  })

  test('an answer about a log that is no more counts for nothing: the question is put again', () => {
    const barriers = new Barriers<string>(10)
    barriers.add('a', 100)
    barriers.asked(1)
    barriers.answered(1, 7)
    barriers.add('b', 200)
    barriers.asked(2)
    barriers.voided()
    expect(barriers.answered(2, 3)).toBe(false)
    expect(barriers.applied(9)).toEqual([])
    expect(barriers.needsQuestion).toBe(true)
    barriers.asked(3)
    barriers.answered(3, 2)
    expect(barriers.applied(2)).toEqual(['a', 'b'])
    expect(barriers.count).toBe(0)
  })

  test('no more wait than there is room for', () => {
    const barriers = new Barriers<string>(2)
    expect([barriers.add('a', 1), barriers.add('b', 1), barriers.add('c', 1)]).toEqual([true, true, false])
    barriers.asked(1)
    barriers.restarted()
    expect(barriers.needsQuestion).toBe(true)
    expect(barriers.clear()).toEqual(['a', 'b'])
    expect(barriers.add('d', 1)).toBe(true)
  })
})
