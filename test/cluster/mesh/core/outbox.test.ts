import { expect, test } from 'vitest'
import { APP, BULK, CHUNK_BYTES, PG, RAFT, RLOG, SYSTEM } from '../../../../cluster/mesh/core/classes.ts'
import { FIRST, type Frame, frameBytes, LAST } from '../../../../cluster/mesh/core/frames.ts'
import { Receipts } from '../../../../cluster/mesh/core/inbox.ts'
import { Outbox, QueueBudget } from '../../../../cluster/mesh/core/outbox.ts'
import { WINDOW_BYTES_MIN, Window } from '../../../../cluster/mesh/core/window.ts'
import { fc } from '../../../tools/property.ts'

const MIB = 1024 * 1024
const nothing = { system: 0, app: 0 }

function open(appQueueBytesMax = 4 * MIB, budget = new QueueBudget(512 * MIB)): Outbox {
  const outbox = new Outbox({ appQueueBytesMax, messageBytesMax: 16 * MIB }, budget)
  outbox.attach(0, nothing, 16 * MIB)
  outbox.grant(BULK, 64 * MIB)
  outbox.grant(RLOG, 64 * MIB)
  return outbox
}

const text = (frame: Frame): string => Buffer.from(frame.payload).toString()
const total = (frames: readonly Frame[]): number => frames.reduce((sum, frame) => sum + frameBytes(frame), 0)

test('raft goes first, whatever waits', () => {
  const outbox = open()
  outbox.offer(APP, Buffer.alloc(3 * CHUNK_BYTES))
  expect(outbox.pull(1)).toHaveLength(1)
  outbox.offer(RAFT, Buffer.from('beat'))
  const [first, second] = outbox.pull(1000)
  expect(first && text(first)).toBe('beat')
  expect(second).toMatchObject({ classId: APP, flags: 0 })
})

test('shared classes get their weights of what there is (§4.5)', () => {
  const outbox = open(64 * MIB)
  for (const classId of [SYSTEM, APP, PG, BULK, RLOG]) {
    for (let i = 0; i < 100; i++) outbox.offer(classId, Buffer.alloc(CHUNK_BYTES))
  }
  const sent = new Map<number, number>()
  // Two rounds of all quanta; the peer confirms at once.
  let left = 2 * 31 * 64 * 1024
  let seen = 0
  while (left > 0) {
    for (const frame of outbox.pull(65_536)) {
      const bytes = frameBytes(frame)
      left -= bytes
      seen += bytes
      sent.set(frame.classId, (sent.get(frame.classId) ?? 0) + bytes)
    }
    outbox.window?.acked(seen, 0)
  }
  const share = (classId: number): number => Math.round((sent.get(classId) ?? 0) / (2 * 64 * 1024))
  expect([SYSTEM, APP, PG, BULK, RLOG].map(share)).toEqual([8, 4, 2, 1, 16])
})

test('chunks of a message are contiguous in their class and add up', () => {
  const outbox = open()
  outbox.offer(APP, Buffer.alloc(CHUNK_BYTES * 2 + 1, 1))
  outbox.offer(APP, Buffer.alloc(0))
  outbox.offer(PG, Buffer.alloc(10))
  const frames = outbox.pull(10 * MIB)
  const app = frames.filter(({ classId }) => classId === APP)
  expect(app.map(({ flags, seq, payload }) => [flags, seq, payload.length])).toEqual([
    [FIRST, 1, CHUNK_BYTES],
    [0, 0, CHUNK_BYTES],
    [LAST, 0, 1],
    [FIRST | LAST, 2, 0],
  ])
})

test('outstanding bytes are bounded by the window; consensus ignores it', () => {
  const outbox = open(64 * MIB)
  for (let i = 0; i < 100; i++) outbox.offer(APP, Buffer.alloc(CHUNK_BYTES))
  const sent = total(outbox.pull(100 * MIB))
  expect(sent).toBeGreaterThanOrEqual(WINDOW_BYTES_MIN)
  expect(sent).toBeLessThan(WINDOW_BYTES_MIN + 2 * CHUNK_BYTES)
  expect(outbox.pull(MIB)).toEqual([])
  outbox.offer(RAFT, Buffer.from('beat'))
  expect(outbox.pull(MIB)).toHaveLength(1)
  outbox.window?.acked(CHUNK_BYTES * 10, 1)
  expect(outbox.pull(MIB).length).toBeGreaterThan(5)
})

test('the window follows what the path holds', () => {
  const window = new Window(0)
  window.rtt(100)
  let at = 0
  for (let i = 1; i <= 20; i++) {
    window.sent(5 * MIB)
    at += 5 * MIB
    window.acked(at, i * 100)
  }
  // 5 MiB in 100 ms, over a path of 100 ms.
  expect(window.bytes).toBeCloseTo(10 * MIB, -3)
  expect(window.acked(at + 1, 3000)).toBe(false)
})

test('credited classes wait for what the receiver grants', () => {
  const outbox = new Outbox({ appQueueBytesMax: MIB, messageBytesMax: 16 * MIB }, new QueueBudget(MIB * 100))
  outbox.attach(0, nothing, 16 * MIB)
  outbox.offer(BULK, Buffer.alloc(3 * CHUNK_BYTES))
  expect(outbox.pull(MIB)).toEqual([])
  outbox.grant(BULK, CHUNK_BYTES)
  expect(outbox.pull(MIB)).toHaveLength(1)
  outbox.grant(BULK, CHUNK_BYTES * 3)
  expect(outbox.pull(MIB).map(({ flags }) => flags)).toEqual([0, LAST])
})

test('a queue takes one message however large, then what fits its limit', () => {
  const outbox = open(MIB)
  expect(outbox.offer(APP, Buffer.alloc(17 * MIB))).toBe('too_large')
  expect(outbox.offer(APP, Buffer.alloc(8 * MIB))).toBeUndefined()
  expect(outbox.offer(APP, Buffer.alloc(1))).toBe('queue_full')
  expect(outbox.offer(APP, Buffer.alloc(1), { isSignal: true })).toBe('overflow')
  expect(outbox.discard()[APP]).toBe(1)
  expect(outbox.offer(APP, Buffer.alloc(MIB - 64))).toBeUndefined()
  expect(outbox.offer(APP, Buffer.alloc(MIB - 64), { isSignal: true })).toBeUndefined()
  expect(outbox.offer(APP, Buffer.alloc(1), { isSignal: true })).toBe('overflow')
})

test('replies have room of their own; the total bounds every peer', () => {
  const budget = new QueueBudget(34 * MIB)
  const one = open(MIB, budget)
  for (let i = 0; i < 32; i++) one.offer(SYSTEM, Buffer.alloc(MIB - 64))
  expect(one.offer(SYSTEM, Buffer.alloc(1))).toBe('queue_full')
  expect(one.offer(SYSTEM, Buffer.alloc(MIB), { isReply: true })).toBeUndefined()
  const other = open(MIB, budget)
  expect(other.offer(PG, Buffer.alloc(MIB))).toBeUndefined()
  expect(other.offer(APP, Buffer.alloc(1))).toBe('queue_full')
  expect(other.offer(APP, Buffer.alloc(1), { isSignal: true })).toBeUndefined()
  expect(other.offer(RAFT, Buffer.alloc(1))).toBeUndefined()
  one.discard()
  other.discard()
  expect(budget.usedBytes).toBe(0)
})

test('a newer heartbeat takes the place of the one that waits, and nothing piles up', () => {
  const outbox = open()
  for (let i = 0; i < 10_000; i++) {
    expect(outbox.offer(RAFT, Buffer.from(`beat ${i}`), { replaces: 'heartbeat' })).toBeUndefined()
    if (i % 100 === 0) outbox.offer(RAFT, Buffer.from(`vote ${i}`))
  }
  const got = outbox.pull(MIB).map(text)
  expect(got).toHaveLength(101)
  expect(got.at(-1)).toBe('beat 9999')
  expect(outbox.isEmpty).toBe(true)
})

test('raft takes 4096 messages and no more', () => {
  const outbox = open()
  for (let i = 0; i < 4096; i++) expect(outbox.offer(RAFT, Buffer.from([1]))).toBeUndefined()
  expect(outbox.offer(RAFT, Buffer.from([1]))).toBe('queue_full')
})

test('what was sent stays until it is acknowledged and is sent again after a break', () => {
  const outbox = open()
  for (const word of ['one', 'two', 'three']) outbox.offer(APP, Buffer.from(word))
  outbox.offer(PG, Buffer.alloc(2 * CHUNK_BYTES))
  expect(outbox.pull(1).map(text)).toEqual(['one'])
  outbox.pull(CHUNK_BYTES)
  expect(outbox.acknowledge({ system: 0, app: 1 })).toBe(true)
  const dropped = outbox.detach()
  expect(dropped[PG]).toBe(1)
  outbox.attach(0, { system: 0, app: 2 }, 16 * MIB)
  expect(outbox.pull(MIB).map((frame) => [text(frame), frame.seq])).toEqual([['three', 3]])
  expect(outbox.acknowledge({ system: 0, app: 4 })).toBe(false)
  expect(outbox.acknowledge({ system: 0, app: 3 })).toBe(true)
  expect(outbox.isEmpty).toBe(true)
})

test('a peer with a smaller limit gets no larger messages, and no gap', () => {
  const outbox = new Outbox({ appQueueBytesMax: MIB, messageBytesMax: MIB }, new QueueBudget(100 * MIB))
  outbox.offer(APP, Buffer.from('a'))
  outbox.offer(APP, Buffer.alloc(100_000))
  outbox.offer(APP, Buffer.from('b'))
  expect(outbox.attach(0, nothing, 65_536)?.[APP]).toBe(1)
  expect(outbox.pull(MIB).map((frame) => [text(frame), frame.seq])).toEqual([
    ['a', 1],
    ['b', 2],
  ])
  expect(outbox.offer(APP, Buffer.alloc(100_000))).toBe('too_large')
})

test('against a naive queue: sent, acknowledged, broken, sent again, nothing is lost or doubled', () => {
  const action = fc.oneof(
    fc.record({ kind: fc.constant('offer' as const), bytes: fc.nat(100_000) }),
    fc.record({ kind: fc.constant('pull' as const), bytes: fc.nat(100_000) }),
    fc.record({ kind: fc.constant('ack' as const), bytes: fc.constant(0) }),
    fc.record({ kind: fc.constant('break' as const), bytes: fc.constant(0) }),
  )
  fc.assert(
    fc.property(fc.array(action, { maxLength: 60 }), (actions) => {
      const budget = new QueueBudget(512 * MIB)
      const outbox = open(64 * MIB, budget)
      const sizes: number[] = []
      let received = 0
      let partial = 0
      let windowBytes = 0
      for (const { kind, bytes } of [...actions, { kind: 'break', bytes: 0 }, { kind: 'pull', bytes: 64 * MIB }]) {
        if (kind === 'offer' && outbox.offer(APP, Buffer.alloc(bytes)) === undefined) sizes.push(bytes)
        else if (kind === 'ack') expect(outbox.acknowledge({ system: 0, app: received })).toBe(true)
        else if (kind === 'break') {
          outbox.detach()
          expect(outbox.attach(0, { system: 0, app: received }, 16 * MIB)).toBeDefined()
          partial = 0
          windowBytes = 0
        } else if (kind === 'pull') {
          for (let frames = outbox.pull(bytes); frames.length > 0; frames = bytes > MIB ? outbox.pull(bytes) : []) {
            for (const { flags, seq, payload } of frames) {
              if (seq > 0) {
                partial = 0
                // Nothing that was received before is begun again, and nothing is skipped.
                expect(seq).toBeLessThanOrEqual(received + 1)
              }
              partial += payload.length
              if ((flags & LAST) === 0) continue
              if (partial !== -1) {
                expect(partial).toBe(sizes[received])
                received++
              }
            }
            windowBytes += total(frames)
            outbox.window?.acked(windowBytes, 0)
          }
        }
      }
      expect(received).toBe(sizes.length)
      expect(outbox.acknowledge({ system: 0, app: received })).toBe(true)
      expect(budget.usedBytes).toBe(0)
    }),
    { numRuns: 200 },
  )
})

test('grants follow what was consumed, over connections', () => {
  const first = new Receipts()
  expect(first.takeCredit()).toEqual({ kind: 'credit', bulk: 1_048_576, rlog: 1_048_576 })
  expect(first.takeCredit()).toBeUndefined()
  first.handedOver(BULK, 600_000)
  first.consumed(BULK, 300_000, false)
  expect(first.takeCredit()).toMatchObject({ bulk: 1_348_576 })
  const second = new Receipts(first)
  expect(second.takeCredit()).toMatchObject({ bulk: 748_576 })
  second.consumed(BULK, 300_000, true)
  expect(second.takeCredit()).toMatchObject({ bulk: 1_048_576 })
  second.assembling(BULK, 270_000)
  expect(second.takeCredit()).toMatchObject({ bulk: 1_318_576 })
})
