import { describe, expect, test } from 'vitest'
import type { Op, PgMessage } from '../../../../cluster/pg/core/messages.ts'
import { Outbox } from '../../../../cluster/pg/core/outbox.ts'

const op = (group: string): Op => ({ sign: 1, group, pid: 'p', count: 1 })
const delta = (seq: number, run = 0): PgMessage => ({ kind: 'delta', run, seq, changes: [[op(`g${seq}`)]] })
const hello: PgMessage = { kind: 'hello', run: 0, seq: 0, isReply: true }

describe('what a scope says within one turn', () => {
  test('changes that follow each other are one message', () => {
    const outbox = new Outbox()
    for (const seq of [4, 5, 6]) outbox.add(['a', 'b'], delta(seq))
    const changes = [[op('g4')], [op('g5')], [op('g6')]]
    expect(outbox.take()).toEqual([{ nodes: ['a', 'b'], message: { kind: 'delta', run: 0, seq: 4, changes } }])
    expect(outbox.isEmpty).toBe(true)
  })

  test('what came between stays between', () => {
    const outbox = new Outbox()
    outbox.add(['a'], delta(1))
    outbox.add(['a'], hello)
    outbox.add(['a'], delta(2))
    expect(outbox.take().map(({ message }) => message.kind)).toEqual(['delta', 'hello', 'delta'])
  })

  test.each([
    ['a gap', ['a'], delta(3)],
    ['other nodes', ['a', 'b'], delta(2)],
    ['another run', ['a'], delta(2, 1)],
  ] as const)('%s begins another message', (_, nodes, next) => {
    const outbox = new Outbox()
    outbox.add(['a'], delta(1))
    outbox.add(nodes, next)
    expect(outbox.take()).toHaveLength(2)
  })

  test('is full after some thousand changes', () => {
    const outbox = new Outbox()
    for (let seq = 1; seq <= 4096; seq++) {
      expect(outbox.isFull).toBe(false)
      outbox.add(['a'], delta(seq))
    }
    expect(outbox.isFull).toBe(true)
    outbox.take()
    expect(outbox.isFull).toBe(false)
  })
})
