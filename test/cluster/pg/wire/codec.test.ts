import { describe, expect, test } from 'vitest'
import type { PgMessage, PullAnswer } from '../../../../cluster/pg/core/messages.ts'
import {
  decodeAnswer,
  decodeBroadcast,
  decodeMessage,
  decodePids,
  decodePull,
  encodeAnswer,
  encodeBroadcast,
  encodeMessage,
  encodePids,
  encodePull,
} from '../../../../cluster/pg/wire/codec.ts'
import { pack, UnpackError } from '../../../../runtime/base/msgpack.ts'
import { fc } from '../../../tools/property.ts'

const byteString = (max: number): fc.Arbitrary<string> =>
  fc.uint8Array({ minLength: 1, maxLength: max }).map((bytes) => String.fromCharCode(...bytes))
const whole = fc.maxSafeInteger().map(Math.abs)
const count = fc.integer({ min: 1, max: 1000 })
const op = fc.record({ sign: fc.constantFrom(1, -1), group: byteString(20), pid: byteString(20), count })
const delta = fc.record({ seq: whole, ops: fc.array(op, { maxLength: 5 }) })
const pids = fc.array(fc.tuple(byteString(20), count), { maxLength: 5 })
const message = fc.oneof(
  fc.record({ kind: fc.constant('hello'), run: whole, seq: whole, isReply: fc.boolean() }),
  fc.record({
    kind: fc.constant('delta'),
    run: whole,
    seq: whole,
    changes: fc.array(fc.array(op, { maxLength: 3 }), { maxLength: 3 }),
  }),
  fc.record({ kind: fc.constant('none') }),
) as fc.Arbitrary<PgMessage>
const answer = fc.oneof(
  fc.record({ kind: fc.constant('deltas'), run: whole, deltas: fc.array(delta, { maxLength: 4 }) }),
  fc.record({
    kind: fc.constant('full'),
    run: whole,
    seq: whole,
    state: fc.array(fc.record({ group: byteString(20), pids }), { maxLength: 4 }),
  }),
) as fc.Arbitrary<PullAnswer>

describe('messages of process groups', () => {
  test('arrive as they were sent', () => {
    fc.assert(
      fc.property(message, byteString(30), (each, scope) => {
        const { method, body } = encodeMessage(scope, each)
        expect(decodeMessage(method, body)).toEqual({ scope, message: each })
      }),
    )
    fc.assert(
      fc.property(answer, (each) => {
        expect(decodeAnswer(encodeAnswer(each))).toEqual(each)
      }),
    )
    for (const have of [undefined, 7]) {
      expect(decodePull(encodePull('a:s', { run: 1, have }))).toEqual({ scope: 'a:s', request: { run: 1, have } })
    }
  })

  test('a broadcast carries the payload as it is', () => {
    const payload = Uint8Array.of(1, 2, 3, 255)
    const pids = encodePids([
      ['{m@h|1.1}', 2],
      ['{m@h|1.2}', 1],
    ])
    const frame = { scope: 'a:s', topic: 't', from: '{n@h|1.0}', pids, payload }
    const read = decodeBroadcast(encodeBroadcast(frame))
    expect(read).toEqual(frame)
    expect(decodePids(read.pids)).toEqual(['{m@h|1.1}', '{m@h|1.1}', '{m@h|1.2}'])
  })

  test('other methods are not ours', () => {
    expect(decodeMessage('names.feed', pack([1]))).toBeUndefined()
  })

  test('damaged bytes are refused or read, and nothing else happens', () => {
    const sound = (read: () => unknown): void => {
      try {
        read()
      } catch (error) {
        expect(error).toBeInstanceOf(UnpackError)
      }
    }
    const damage = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 })
    const damaged = (bytes: Uint8Array, changes: [number, number][]): Uint8Array => {
      const out = bytes.slice()
      for (const [at, byte] of changes) out[at % out.length] = byte
      return out
    }
    fc.assert(
      fc.property(message, damage, (each, changes) => {
        const { method, body } = encodeMessage('a:s', each)
        sound(() => decodeMessage(method, damaged(body, changes)))
        sound(() => decodePull(damaged(body, changes)))
        sound(() => decodeBroadcast(damaged(body, changes)))
        sound(() => decodePids(damaged(body, changes)))
      }),
      { numRuns: 500 },
    )
    fc.assert(
      fc.property(answer, damage, (each, changes) => sound(() => decodeAnswer(damaged(encodeAnswer(each), changes)))),
      { numRuns: 500 },
    )
  })

  test('a few bytes do not become many deliveries', () => {
    expect(() =>
      decodePids(
        encodePids([
          ['p', 262_144],
          ['q', 1],
        ]),
      ),
    ).toThrow('too many slots')
    expect(() => decodeBroadcast(pack(['s', 't', '', 1000]))).toThrow('ends too early')
    expect(() => decodeAnswer(pack([1, 0, 1, [['g', [['p', 1e9]]]]]))).toThrow(UnpackError)
  })

  test('text that is no byte string is refused', () => {
    expect(() => decodeMessage('pg.none', pack(['☃']))).toThrow('not bytes')
  })
})
