import { describe, expect, test } from 'vitest'
import { Broadcasts, transmitLimit } from '../../../../cluster/swim/core/broadcasts.ts'
import type { Message } from '../../../../cluster/swim/core/messages.ts'
import { fc } from '../../../tools/property.ts'

/** A message of `length` bytes. */
const of = (node: string, length: number): Message => ({ kind: 'suspect', node, incarnation: length, from: '' })
const lengthOf = (message: Message): number => (message.kind === 'suspect' ? message.incarnation : 0)
const queueOf = (...entries: [string, number][]): Broadcasts => {
  const queue = new Broadcasts({ countMax: 100, lengthOf })
  for (const [key, length] of entries) queue.queue(key, of(key, length))
  return queue
}
const names = ({ messages }: { messages: Message[] }): string[] =>
  messages.map((message) => (message.kind === 'suspect' ? message.node : ''))

describe('what still has to be told (§3.7)', () => {
  test.each([
    [1, 4],
    [9, 4],
    [10, 8],
    [99, 8],
    [100, 12],
    [999, 12],
    [1000, 16],
  ])('among %i nodes a message goes out %i times', (nodes, times) => {
    expect(transmitLimit(4, nodes)).toBe(times)
  })

  test('an entry is dropped after its last transmission', () => {
    const queue = queueOf(['a', 10])
    for (let i = 0; i < 4; i++) {
      expect(names(queue.take(100))).toEqual(['a'])
      queue.release(4)
    }
    expect(queue.count).toBe(0)
    expect(queue.take(100)).toEqual({ messages: [], bytes: 0 })
  })

  test('the least told go first, of these the longest, of these the newest', () => {
    const queue = queueOf(['told', 30])
    queue.take(100)
    queue.release(9)
    for (const [key, length] of [
      ['short', 10],
      ['old', 20],
      ['new', 20],
    ] as const)
      queue.queue(key, of(key, length))
    expect(names(queue.take(1000))).toEqual(['new', 'old', 'short', 'told'])
  })

  test('a packet is filled tier by tier with the largest that still fits', () => {
    const queue = queueOf(['a', 50], ['b', 40], ['c', 5], ['d', 4])
    // 52 for a leave 8: too little for b, enough for one of five bytes with its two of overhead.
    expect(queue.take(60)).toEqual({ messages: [of('a', 50), of('c', 5)], bytes: 59 })
    queue.release(9)
    expect(names(queue.take(60))).toEqual(['b', 'd', 'c'])
  })

  test('a message takes the place of the one under its key, and counts from nothing', () => {
    const queue = queueOf(['a', 10])
    queue.take(100)
    queue.release(2)
    queue.queue('a', of('a', 11))
    expect(queue.count).toBe(1)
    for (let i = 0; i < 2; i++) {
      expect(queue.take(100).messages).toEqual([of('a', 11)])
      queue.release(2)
    }
    expect(queue.count).toBe(0)
  })

  test('a message that was replaced while it was out does not come back', () => {
    const queue = queueOf(['a', 10])
    queue.take(100)
    queue.queue('a', of('a', 12))
    queue.release(9)
    expect(queue.take(100).messages).toEqual([of('a', 12)])
  })

  test('a full queue drops what was told most', () => {
    const queue = new Broadcasts({ countMax: 2, lengthOf })
    queue.queue('a', of('a', 10))
    queue.take(12)
    queue.release(9)
    queue.queue('b', of('b', 10))
    queue.queue('c', of('c', 10))
    expect(queue.droppedTotal).toBe(1)
    expect(queue.has('a')).toBe(false)
    expect(queue.count).toBe(2)
  })

  test('what is forgotten is not told', () => {
    const queue = queueOf(['a', 10], ['b', 10])
    queue.forget('a')
    queue.forget('nobody')
    expect(names(queue.take(100))).toEqual(['b'])
  })

  test('tiers keep the order of a plain list that is sorted each time', () => {
    const step = fc.oneof(
      fc.record({ key: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f'), length: fc.integer({ min: 1, max: 9 }) }),
      fc.record({ budget: fc.integer({ min: 0, max: 40 }) }),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const queue = new Broadcasts({ countMax: 100, lengthOf })
        const list: { key: string; length: number; order: number; transmits: number }[] = []
        let order = 0
        for (const step of steps) {
          if ('key' in step) {
            queue.queue(step.key, of(step.key, step.length))
            const known = list.findIndex((entry) => entry.key === step.key)
            if (known !== -1) list.splice(known, 1)
            list.push({ ...step, order: order++, transmits: 0 })
            continue
          }
          list.sort((a, b) => a.transmits - b.transmits || b.length - a.length || b.order - a.order)
          let left = step.budget
          const taken = list.filter((entry) => {
            if (entry.length + 2 > left) return false
            left -= entry.length + 2
            return true
          })
          expect(names(queue.take(step.budget))).toEqual(taken.map((entry) => entry.key))
          queue.release(3)
          for (const entry of taken) if (++entry.transmits === 3) list.splice(list.indexOf(entry), 1)
          expect(queue.count).toBe(list.length)
        }
      }),
      { numRuns: 300 },
    )
  })
})
