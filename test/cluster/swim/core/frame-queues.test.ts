import { describe, expect, test } from 'vitest'
import { FrameQueues } from '../../../../cluster/swim/core/frame-queues.ts'
import type { Message } from '../../../../cluster/swim/core/messages.ts'

const lengthOf = (message: Message): number => (message.kind === 'frame' ? message.payload.length : 0)
const queues = (countMax = 100): FrameQueues => new FrameQueues({ countMax, lengthOf })
const frame = (frameKind: number, length: number): { frameKind: number; payload: Uint8Array } => ({
  frameKind,
  payload: new Uint8Array(length),
})
/** `c1:10` */
const shape = (messages: Message[]): string[] =>
  messages.map((message) =>
    message.kind === 'frame' ? `${message.frameKind.toString(16)}:${message.payload.length}` : '',
  )

describe('frames of the services share what is left of a packet (§3.7)', () => {
  test('an equal share each, in the order of kinds, then the leftovers', () => {
    const all = queues()
    all.queue(frame(0xe1, 10), 'x')
    for (let i = 0; i < 5; i++) all.queue(frame(0xc1, 18), `c${i}`)
    all.queue(frame(0xd2, 30), 'y')
    // 120 bytes: 40 each. C1 takes two of 20, D2 its 32, E1 its 12; of the 36 that are left C1 takes one more.
    expect(shape(all.take(120, 9))).toEqual(['c1:18', 'c1:18', 'd2:30', 'e1:10', 'c1:18'])
  })

  test('what is larger than a share may still use what others leave', () => {
    const all = queues()
    all.queue(frame(0xc1, 70), 'x')
    all.queue(frame(0xd2, 10), 'y')
    expect(shape(all.take(100, 9))).toEqual(['d2:10', 'c1:70'])
  })

  test('frames of one kind and key replace one another; other kinds have keys of their own', () => {
    const all = queues()
    all.queue(frame(0xc1, 1), 'x')
    all.queue(frame(0xc1, 2), 'x')
    all.queue(frame(0xd2, 3), 'x')
    expect(all.count).toBe(2)
    expect(shape(all.take(100, 9))).toEqual(['c1:2', 'd2:3'])
  })

  test('are told a bounded number of times', () => {
    const all = queues()
    all.queue(frame(0xc1, 1), 'x')
    for (let i = 0; i < 3; i++) expect(all.take(100, 3)).toHaveLength(1)
    expect(all.take(100, 3)).toEqual([])
    expect(all.count).toBe(0)
  })

  test('a full queue drops of the kind that has most', () => {
    const all = queues(3)
    all.queue(frame(0xd2, 1), 'a')
    all.queue(frame(0xc1, 1), 'a')
    all.queue(frame(0xc1, 1), 'b')
    all.queue(frame(0xe1, 1), 'a')
    expect(all.droppedTotal).toBe(1)
    expect(shape(all.take(100, 9)).sort()).toEqual(['c1:1', 'd2:1', 'e1:1'])
  })

  test('without room nothing is taken', () => {
    const all = queues()
    all.queue(frame(0xc1, 1), 'x')
    expect(all.take(-5, 9)).toEqual([])
    expect(all.take(0, 9)).toEqual([])
    expect(all.count).toBe(1)
  })
})
