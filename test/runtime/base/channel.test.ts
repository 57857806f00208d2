// lua-core.md §11.2, §11.3, as far as they need no scheduler.

import { beforeEach, describe, expect, test } from 'vitest'
import { Channel, type Party, type Waiter } from '../../../runtime/base/channel.ts'

let told: unknown[][]
const party = (name: string): Party<number> => ({
  received: (waiter: Waiter<number>, value, ok) => told.push([name, 'received', value, ok, waiter.index]),
  sent: (waiter) => told.push([name, 'sent', waiter.index]),
  refused: () => told.push([name, 'refused']),
})

beforeEach(() => {
  told = []
})

describe('an unbuffered channel', () => {
  test('lets sender and receiver meet', () => {
    const channel = new Channel<number>()
    expect(channel.trySend(1)).toBe('full')
    expect(channel.tryReceive()).toBeUndefined()
    channel.waitToReceive(party('r'))
    expect(channel.trySend(1)).toBe('sent')
    channel.waitToSend(party('s'), 2)
    expect(channel.tryReceive()).toEqual({ value: 2, ok: true })
    expect(told).toEqual([
      ['r', 'received', 1, true, 0],
      ['s', 'sent', 0],
    ])
  })

  test('serves waiting receivers and senders first come, first served', () => {
    const channel = new Channel<number>()
    for (const name of ['a', 'b', 'c']) channel.waitToReceive(party(name))
    for (const value of [1, 2, 3]) channel.trySend(value)
    expect(told.map(([name, , value]) => [name, value])).toEqual([
      ['a', 1],
      ['b', 2],
      ['c', 3],
    ])
    for (const value of [4, 5]) channel.waitToSend(party('s'), value)
    expect([channel.tryReceive()?.value, channel.tryReceive()?.value]).toEqual([4, 5])
  })
})

describe('a buffered channel', () => {
  test('holds so many, and fills a freed slot from the longest-waiting sender at once', () => {
    const channel = new Channel<number>(2)
    expect([channel.trySend(1), channel.trySend(2), channel.trySend(3)]).toEqual(['sent', 'sent', 'full'])
    channel.waitToSend(party('s'), 3)
    expect(channel.tryReceive()).toEqual({ value: 1, ok: true })
    expect(told).toEqual([['s', 'sent', 0]])
    expect(channel.bufferedCount).toBe(2)
    expect([channel.tryReceive()?.value, channel.tryReceive()?.value]).toEqual([2, 3])
  })

  test('a negative size counts as none', () => {
    expect(new Channel(-3).capacity).toBe(0)
  })

  test('keeps its order when thousands pass through', () => {
    const channel = new Channel<number>(5000)
    for (let i = 0; i < 5000; i++) channel.trySend(i)
    for (let i = 0; i < 3000; i++) expect(channel.tryReceive()?.value).toBe(i)
    for (let i = 5000; i < 7000; i++) channel.trySend(i)
    for (let i = 3000; i < 7000; i++) expect(channel.tryReceive()?.value).toBe(i)
  })
})

describe('closing', () => {
  test('wakes receivers with nothing, refuses senders, keeps what is buffered', () => {
    const channel = new Channel<number>(1)
    channel.trySend(1)
    channel.waitToSend(party('s'), 2)
    channel.close()
    channel.close()
    expect(told).toEqual([['s', 'refused']])
    expect(channel.tryReceive()).toEqual({ value: 1, ok: true })
    expect(channel.tryReceive()).toEqual({ value: undefined, ok: false })
    expect(channel.tryReceive()).toEqual({ value: undefined, ok: false })
    expect(channel.trySend(3)).toBe('closed')
    expect(channel.offer(3)).toBe(false)
    const other = new Channel<number>()
    other.waitToReceive(party('r'))
    other.close()
    expect(told.at(-1)).toEqual(['r', 'received', undefined, false, 0])
  })
})

test('a withdrawn waiter is never served; withdrawing twice or after service does nothing', () => {
  const channel = new Channel<number>()
  const first = channel.waitToReceive(party('first'))
  const middle = channel.waitToReceive(party('middle'))
  channel.waitToReceive(party('last'))
  middle.withdraw()
  middle.withdraw()
  channel.trySend(1)
  first.withdraw()
  channel.trySend(2)
  expect(told.map(([name]) => name)).toEqual(['first', 'last'])
  expect(channel.trySend(3)).toBe('full')
})

test('offer ignores the capacity, drain takes everything back', () => {
  const channel = new Channel<number>()
  for (const value of [1, 2, 3]) expect(channel.offer(value)).toBe(true)
  expect(channel.tryReceive()?.value).toBe(1)
  expect(channel.drain()).toEqual([2, 3])
  expect(channel.tryReceive()).toBeUndefined()
})
