// Timers that neither act early nor before the sockets were read, and the watch over standstills. cluster.md §0.2.

import { createSocket } from 'node:dgram'
import { afterEach, expect, test } from 'vitest'
import { PauseWatch, Timers } from '../../cluster/timers.ts'
import { systemEnv } from '../../runtime/driver.ts'
import { eventually } from '../tools/eventually.ts'

const opened: { close(): unknown }[] = []

afterEach(() => {
  for (const each of opened.splice(0)) each.close()
})

const timers = (env = systemEnv): Timers => {
  const made = new Timers(env)
  opened.push(made)
  return made
}

/** Holds the event loop. */
function stall(durationMs: number): void {
  const endMs = performance.now() + durationMs
  while (performance.now() < endMs);
}

test('a late timer lets in what waits in the sockets first (§0.2)', async () => {
  const socket = createSocket('udp4')
  opened.push(socket)
  await new Promise<void>((done) => socket.bind(0, '127.0.0.1', done))
  const order: string[] = []
  socket.on('message', () => order.push('answer'))
  timers().after(20, () => order.push('timeout'))
  await new Promise((sent) => socket.send('x', socket.address().port, '127.0.0.1', sent))
  stall(200)
  await eventually(() => expect(order).toEqual(['answer', 'timeout']))
})

test('a timer is never early by its own clock, and lasts as long as it is told', async () => {
  const slow = { ...systemEnv, nowMs: () => performance.now() * 0.5 }
  const startMs = slow.nowMs()
  const tookMs = await new Promise<number>((done) => timers(slow).after(30, () => done(slow.nowMs() - startMs)))
  expect(tookMs).toBeGreaterThanOrEqual(30)
  let isEarly = false
  const long = timers()
  long.after(2 ** 33, () => {
    isEarly = true
  })
  await new Promise<void>((done) => timers().after(20, done))
  expect([isEarly, long.count]).toEqual([false, 1])
})

test('what is cancelled or closed does not run, even while it lets others go first', async () => {
  const ran: string[] = []
  const made = timers()
  const cancel = made.after(1, () => ran.push('cancelled'))
  made.after(1, () => {
    ran.push('closes')
    made.close()
  })
  made.after(2, () => ran.push('closed'))
  cancel()
  stall(120)
  await new Promise<void>((done) => timers().after(30, done))
  expect(ran).toEqual(['closes'])
  made.after(0, () => ran.push('after close'))
  expect(made.count).toBe(0)
})

test('a standstill of a second is told to all, with its length', async () => {
  const skewed = { ms: 0 }
  const watch = new PauseWatch({ ...systemEnv, nowMs: () => performance.now() + skewed.ms })
  opened.push(watch)
  const told: number[] = []
  watch.subscribe((pausedMs) => told.push(pausedMs))
  const stop = watch.subscribe(() => told.push(-1))
  stop()
  skewed.ms = 2500
  await eventually(() => expect(told).toHaveLength(1))
  expect(told[0]).toBeGreaterThanOrEqual(2500)
  expect(watch.count).toBe(1)
})
