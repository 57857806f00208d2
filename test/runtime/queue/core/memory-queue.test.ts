import { expect, test } from 'vitest'
import { TableValue } from '../../../../runtime/base/value.ts'
import { MemoryQueue, type QueueMessage } from '../../../../runtime/queue/core/memory-queue.ts'

const message = (id: string): QueueMessage => ({ id, body: id, headers: new TableValue() })

function takeAll(queue: MemoryQueue): string[] {
  const ids: string[] = []
  for (let i = 0; i < 10; i++) queue.take((each) => ids.push(each.id))()
  return ids
}

test('first in, first out; a publisher of a full queue waits for room (lua-libraries.md §19)', () => {
  const queue = new MemoryQueue(2)
  const accepted: string[] = []
  for (const id of ['a', 'b', 'c', 'd']) queue.publish(message(id), () => accepted.push(id))
  expect(accepted).toEqual(['a', 'b'])
  expect(queue.length).toBe(2)
  expect(takeAll(queue)).toEqual(['a', 'b', 'c', 'd'])
  expect(accepted).toEqual(['a', 'b', 'c', 'd'])
})

test('a publisher that gives up leaves nothing behind', () => {
  const queue = new MemoryQueue(1)
  queue.publish(message('a'), () => {})
  queue.publish(message('b'), () => {})()
  queue.publish(message('c'), () => {})
  expect(takeAll(queue)).toEqual(['a', 'c'])
})

test('whoever waits for a message gets it without its lying in the queue', () => {
  const queue = new MemoryQueue(1)
  const got: string[] = []
  const giveUp = queue.take((each) => got.push(`first ${each.id}`))
  queue.take((each) => got.push(`second ${each.id}`))
  giveUp()
  queue.publish(message('a'), () => {})
  expect(got).toEqual(['second a'])
  expect(queue.length).toBe(0)
})

test('what comes back goes to the tail, if there is room', () => {
  const queue = new MemoryQueue(2)
  queue.publish(message('a'), () => {})
  expect(queue.requeue(message('back'))).toBe(true)
  expect(queue.requeue(message('too much'))).toBe(false)
  expect(takeAll(queue)).toEqual(['a', 'back'])
})

test('a publisher that waits is told when the queue is cleared', () => {
  const queue = new MemoryQueue(1)
  const told: string[] = []
  const publish = (id: string): (() => void) =>
    queue.publish(
      message(id),
      () => told.push(`${id} accepted`),
      () => told.push(`${id} dropped`),
    )
  publish('a')
  publish('gone')()
  publish('b')
  queue.clear()
  expect(told).toEqual(['a accepted', 'b dropped'])
  expect(queue.length).toBe(0)
})

test('a queue that becomes longer takes what waits, in order', () => {
  const queue = new MemoryQueue(1)
  const accepted: string[] = []
  for (const id of ['a', 'b', 'c', 'd']) queue.publish(message(id), () => accepted.push(id))
  queue.lengthMax = 3
  expect(accepted).toEqual(['a', 'b', 'c'])
  expect(takeAll(queue)).toEqual(['a', 'b', 'c', 'd'])
})
