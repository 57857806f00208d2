import { expect, test } from 'vitest'
import { type RequestEffect, Requests, SERVED_MAX } from '../../../../cluster/mesh/core/requests.ts'
import { ProtocolError } from '../../../../cluster/mesh/wire/protocol-error.ts'
import { decodeRequest, encodeRequest } from '../../../../cluster/mesh/wire/request.ts'
import { pack } from '../../../../runtime/base/msgpack.ts'
import { World } from '../../../sim/world.ts'
import { fc } from '../../../tools/property.ts'

const body = pack({ a: 1 })

class Pair {
  readonly world = new World(1)
  readonly caller = new Requests(this.world.env())
  readonly server = new Requests(this.world.env())
  readonly done: string[] = []
  readonly aborted: string[] = []
  serve: (effect: RequestEffect & { kind: 'serve' }) => void = ({ served }) => this.answer(served.id)
  /** Whether answers arrive. */
  isMute = false

  call(method = 'm', deadlineMs = 1000): number {
    const begun = this.caller.begin('s', method, deadlineMs)
    if (begun === undefined) throw new Error('too many')
    const message = { kind: 'request' as const, id: begun.id, method, remainingMs: deadlineMs, body }
    this.toServer(encodeRequest(message))
    return begun.id
  }

  toServer(bytes: Uint8Array): void {
    const message = decodeRequest(bytes)
    if (message === undefined) return
    for (const effect of this.server.step({ kind: 'received', peer: 'c', epoch: 1, message })) this.atServer(effect)
  }

  answer(id: number, session = 1): void {
    const to = { peer: 'c', epoch: 1, id, session }
    const effects = this.server.step({ kind: 'answer', to, outcome: { ok: true, body } })
    for (const effect of effects) this.atServer(effect)
  }

  atServer(effect: RequestEffect): void {
    if (effect.kind === 'serve') this.serve(effect)
    else if (effect.kind === 'abort') this.aborted.push(`${effect.served.id} ${effect.reason}`)
    else if (effect.kind === 'send' && !this.isMute) {
      const message = decodeRequest(encodeRequest(effect.message))
      if (message === undefined) return
      for (const each of this.caller.step({ kind: 'received', peer: 's', epoch: 1, message })) this.atCaller(each)
    }
  }

  atCaller(effect: RequestEffect): void {
    if (effect.kind === 'send') this.toServer(encodeRequest(effect.message))
    if (effect.kind !== 'done') return
    this.done.push(`${effect.id} ${effect.outcome.ok ? 'ok' : effect.outcome.error.kind}`)
  }

  wait(durationMs: number): void {
    this.world.run(durationMs)
    for (const effect of this.caller.step({ kind: 'wake' })) this.atCaller(effect)
    for (const effect of this.server.step({ kind: 'wake' })) this.atServer(effect)
  }
}

test('a request is answered once', () => {
  const pair = new Pair()
  const id = pair.call()
  expect(pair.done).toEqual([`${id} ok`])
  pair.answer(id)
  pair.wait(2000)
  expect(pair.done).toHaveLength(1)
  expect(pair.caller.pendingCount('s')).toBe(0)
})

test('at its deadline a request fails, and the other side stops', () => {
  const pair = new Pair()
  pair.serve = () => {}
  const id = pair.call('slow', 100)
  pair.wait(99)
  expect(pair.done).toEqual([])
  expect(pair.caller.nextDueMs).toBe(100)
  pair.wait(1)
  expect(pair.done).toEqual([`${id} Timeout`])
  expect(pair.aborted).toHaveLength(1)
  pair.answer(id)
  expect(pair.caller.counters.lateReplies).toBe(0)
})

test('a request that is cancelled is over at once, here and there', () => {
  const pair = new Pair()
  pair.serve = () => {}
  const id = pair.call()
  for (const effect of pair.caller.step({ kind: 'cancel', peer: 's', id })) pair.atCaller(effect)
  expect(pair.done).toEqual([`${id} Canceled`])
  expect(pair.aborted).toEqual([`${id} cancelled`])
  expect(pair.caller.step({ kind: 'cancel', peer: 's', id })).toEqual([])
})

test('the end of a session ends its requests on both sides', () => {
  const pair = new Pair()
  pair.serve = () => {}
  const ids = [pair.call(), pair.call()]
  for (const effect of pair.caller.step({ kind: 'session-over', peer: 's', reason: 'dead' })) pair.atCaller(effect)
  expect(pair.done).toEqual(ids.map((id) => `${id} Unavailable`))
  for (const effect of pair.server.step({ kind: 'session-over', peer: 'c', reason: 'dead' })) pair.atServer(effect)
  expect(pair.aborted).toEqual(ids.map((id) => `${id} session`))
  pair.wait(5000)
  expect(pair.done).toHaveLength(2)
})

test('an answer of a session that is over is not taken for one of the next', () => {
  const pair = new Pair()
  pair.serve = () => {}
  pair.call()
  pair.server.step({ kind: 'session-over', peer: 'c', reason: 'dead' })
  pair.caller.step({ kind: 'session-over', peer: 's', reason: 'dead' })
  expect(pair.call()).toBe(1)
  pair.answer(1)
  expect(pair.done).toEqual([])
  pair.answer(1, 2)
  expect(pair.done).toEqual(['1 ok'])
})

test('beyond 1024 in progress a peer is told that we are overloaded', () => {
  const pair = new Pair()
  pair.serve = () => {}
  for (let i = 0; i < SERVED_MAX; i++) pair.call()
  expect(pair.done).toEqual([])
  pair.call()
  expect(pair.done).toEqual([`${SERVED_MAX + 1} Unavailable`])
})

test('a request without time left is dropped unanswered', () => {
  const pair = new Pair()
  pair.toServer(encodeRequest({ kind: 'request', id: 1, method: 'm', remainingMs: 0, body }))
  expect(pair.server.counters.served).toBe(0)
})

test('a reply to an unknown request is ignored and counted', () => {
  const pair = new Pair()
  expect(pair.caller.step({ kind: 'received', peer: 's', epoch: 1, message: { kind: 'ok', id: 7, body } })).toEqual([])
  expect(pair.caller.counters.lateReplies).toBe(1)
})

test('many requests leave nothing behind', () => {
  const pair = new Pair()
  for (let i = 0; i < 50_000; i++) pair.call('m', 3_600_000)
  expect(pair.done).toHaveLength(50_000)
  expect(pair.caller.pendingCount('s')).toBe(0)
})

test('requests are read as they were written, whatever the body', () => {
  for (const message of [
    { kind: 'request', id: 1, method: 'names.resolve', remainingMs: 10_000, body },
    { kind: 'ok', id: 2 ** 40, body: pack(null) },
    { kind: 'error', id: 3, error: { kind: 'Conflict', message: 'taken', details: { pid: '{a@h|1.1}' } } },
    { kind: 'cancel', id: 4 },
    { kind: 'one-way', method: 'pg.join', body: pack([1, 2, 3]) },
  ] as const) {
    const read = decodeRequest(encodeRequest(message))
    expect({ ...read, ...(read !== undefined && 'body' in read ? { body: Uint8Array.from(read.body) } : {}) }).toEqual(
      message,
    )
  }
  expect(decodeRequest(encodeRequest({ kind: 'ok', id: 1, body: new Uint8Array() }))).toMatchObject({
    body: Uint8Array.of(0xc0),
  })
  expect(decodeRequest(pack([9, 1]))).toBeUndefined()
})

test('damaged requests give a value or a ProtocolError', () => {
  const sample = encodeRequest({ kind: 'error', id: 3, error: { kind: 'Conflict', message: 'taken', details: null } })
  const other = encodeRequest({ kind: 'request', id: 3, method: 'm', remainingMs: 5, body })
  fc.assert(
    fc.property(fc.constantFrom(sample, other), fc.nat(60), fc.nat(255), fc.nat(60), (bytes, at, value, length) => {
      const damaged = Uint8Array.from(bytes)
      damaged[at % damaged.length] = value
      try {
        decodeRequest(damaged.subarray(0, length))
      } catch (error) {
        expect(error).toBeInstanceOf(ProtocolError)
      }
    }),
    { numRuns: 2000 },
  )
})

test('nothing is kept of a peer to whom nothing could be sent', () => {
  const requests = new Requests({ nowMs: () => 0, wallMs: () => 0, randomInt: () => 0 })
  for (let i = 0; i < 100; i++) requests.forget(`nobody-${i}`, requests.begin(`nobody-${i}`, 'm', 1000)?.id as number)
  expect(requests.peerCount).toBe(0)
  const first = requests.begin('b', 'm', 1000)?.id as number
  const second = requests.begin('b', 'm', 1000)?.id as number
  requests.forget('b', second)
  requests.forget('b', first)
  // Numbers that were used once are not used again in the session.
  expect(requests.begin('b', 'm', 1000)?.id).toBe(3)
})
