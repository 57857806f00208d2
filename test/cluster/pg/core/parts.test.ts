import { describe, expect, test } from 'vitest'
import { Breaker } from '../../../../cluster/pg/core/breaker.ts'
import { History } from '../../../../cluster/pg/core/history.ts'
import { HISTORY_DELTAS_MAX, HISTORY_OPS_MAX } from '../../../../cluster/pg/core/settings.ts'
import { Subscriptions } from '../../../../cluster/pg/core/subscriptions.ts'

describe('a circuit breaker (cluster.md §9.3)', () => {
  const breaker = (): Breaker => new Breaker({ failuresMax: 3, resetMs: 1000 })

  test('opens after failures in a row, not after as many in all', () => {
    const it = breaker()
    it.failed(0)
    it.failed(0)
    it.succeeded()
    it.failed(0)
    it.failed(0)
    expect(it.state(0)).toBe('closed')
    expect(it.failed(0)).toBe(true)
    expect(it.state(0)).toBe('open')
    expect(it.take(999)).toBe(false)
  })

  test('lets exactly one trial through when half-open; its failure opens it again', () => {
    const it = breaker()
    for (let i = 0; i < 3; i++) it.failed(0)
    expect(it.state(1000)).toBe('half-open')
    expect([it.take(1000), it.take(1000), it.take(5000)]).toEqual([true, false, false])
    expect(it.failed(1100)).toBe(true)
    expect([it.take(2000), it.take(2100)]).toEqual([false, true])
    it.succeeded()
    expect(it.state(2100)).toBe('closed')
    expect(it.take(2100)).toBe(true)
  })

  test('a full queue is neither success nor failure', () => {
    const it = breaker()
    for (let i = 0; i < 3; i++) it.failed(0)
    expect(it.take(1000)).toBe(true)
    it.returned()
    expect(it.take(1000)).toBe(true)
  })

  test('never opens when failures do not count', () => {
    const it = new Breaker({ failuresMax: 0, resetMs: 1 })
    for (let i = 0; i < 100; i++) it.failed(i)
    expect(it.state(100)).toBe('closed')
  })
})

describe('the history of changes', () => {
  const op = { sign: 1, group: 'g', pid: 'p', count: 1 } as const

  test('gives what came after a number, as far back as it goes', () => {
    const history = new History()
    expect(history.since(0)).toEqual([])
    for (let i = 0; i < HISTORY_DELTAS_MAX + 10; i++) history.append([op])
    expect(history.since(9)).toBeUndefined()
    expect(history.since(10)?.length).toBe(HISTORY_DELTAS_MAX)
    expect(history.since(history.seq - 2)?.map(({ seq }) => seq)).toEqual([history.seq - 1, history.seq])
    expect(history.since(history.seq)).toEqual([])
    expect(history.since(history.seq + 1)).toBeUndefined()
  })

  test('keeps no more changes than its bound, however many are in one delta', () => {
    const history = new History()
    const many = new Array(HISTORY_OPS_MAX).fill(op)
    history.append([op])
    history.append(many)
    expect(history.since(0)).toBeUndefined()
    expect(history.since(1)?.length).toBe(1)
    history.append([...many, op])
    expect(history.since(2)).toBeUndefined()
    expect(history.since(3)).toEqual([])
  })
})

describe('subscriptions', () => {
  test('an event goes to those of its group and of all groups, each once', () => {
    const subscriptions = new Subscriptions()
    const a = subscriptions.add('p', 'a')
    const all = subscriptions.add('p', undefined)
    const b = subscriptions.add('q', 'b')
    expect(subscriptions.tell('a').told).toEqual([a, all])
    expect(subscriptions.tell('b').told).toEqual([all, b])
    subscriptions.removeOwner('p')
    expect(subscriptions.tell('a').told).toEqual([])
    expect(subscriptions.count).toBe(1)
  })

  test('one that leaves too many events unread is cut off; one that reads is not', () => {
    const subscriptions = new Subscriptions(2)
    const slow = subscriptions.add('slow', 'g') as number
    const quick = subscriptions.add('quick', 'g') as number
    for (let i = 0; i < 2; i++) {
      expect(subscriptions.tell('g')).toEqual({ told: [slow, quick], cutOff: [] })
      subscriptions.consumed(quick, 1)
    }
    expect(subscriptions.tell('g')).toEqual({ told: [quick], cutOff: [slow] })
  })
})
