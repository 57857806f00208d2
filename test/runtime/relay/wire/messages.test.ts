// Messages between nodes survive the wire, and no bytes of a peer do harm. cluster.md §10.1.

import { describe, expect, test } from 'vitest'
import {
  ErrorValue,
  Float,
  floatValue,
  integerValue,
  record,
  TableValue,
  type Value,
} from '../../../../runtime/base/value.ts'
import { type PeerMessage, readPeerMessage, writePeerMessage } from '../../../../runtime/relay/wire/messages.ts'
import { DEPTH_MAX, ValueReader, ValueWriter, WireError } from '../../../../runtime/relay/wire/values.ts'
import { fc } from '../../../tools/property.ts'

const writer = new ValueWriter()

function bytesOf(message: PeerMessage): Buffer {
  writePeerMessage(writer.start(), message)
  return writer.finish()
}

/** The one message that there is. */
function read(bytes: Buffer): PeerMessage {
  const reader = new ValueReader(bytes)
  const message = readPeerMessage(reader)
  if (!reader.isAtEnd) readPeerMessage(reader)
  return message
}

function sent(value: Value): Value {
  const message = read(bytesOf({ kind: 'send', to: 'a', from: 'b', topic: 't', values: [value] }))
  return message.kind === 'send' ? message.values[0] : undefined
}

const byteString = fc.string({ unit: fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code)) })
const scalar: fc.Arbitrary<Value> = fc.oneof(
  fc.constant(undefined),
  fc.boolean(),
  fc.maxSafeInteger(),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(integerValue),
  fc.double({ noNaN: true }).map(floatValue),
  byteString,
)
const key = fc.oneof(byteString, fc.boolean(), fc.double({ noNaN: true }).map(floatValue))
const { value: anyValue } = fc.letrec<{ value: Value }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    scalar,
    fc.array(tie('value'), { maxLength: 6 }).map((items) => new TableValue(items)),
    fc
      .tuple(
        fc.array(tie('value'), { maxLength: 3 }),
        fc.array(fc.tuple(key, tie('value')), { minLength: 1, maxLength: 4 }),
      )
      .map(
        ([array, pairs]) =>
          new TableValue(
            array,
            pairs.map(([name]) => name),
            pairs.map(([, value]) => value),
          ),
      ),
    fc
      .tuple(byteString, byteString, fc.option(fc.boolean(), { nil: undefined }))
      .map(([kind, message, retryable]) => new ErrorValue(kind, message, retryable, record({ code: 7 }), 'at a:1')),
  ),
}))

describe('values', () => {
  test('come out as they went in', () => {
    fc.assert(
      fc.property(anyValue, (value) => {
        expect(sent(value)).toEqual(value)
      }),
      { numRuns: 500 },
    )
  })

  test.each([
    [0, 1],
    [127, 1],
    [128, 2],
    [255, 2],
    [256, 3],
    [65_535, 3],
    [65_536, 5],
    [2 ** 32 - 1, 5],
    [2 ** 32, 9],
    [-1, 1],
    [-32, 1],
    [-33, 2],
    [-128, 2],
    [-129, 3],
    [-32_768, 3],
    [-32_769, 5],
    [-(2 ** 31), 5],
    [-(2 ** 31) - 1, 9],
  ])('the integer %d takes %d bytes', (value, length) => {
    writer.start().value(value)
    expect(writer.length).toBe(length)
    expect(sent(value)).toBe(value)
  })

  test('a float that is whole stays one, and so does -0', () => {
    expect(sent(new Float(3))).toEqual(new Float(3))
    expect(Object.is((sent(new Float(-0)) as Float).value, -0)).toBe(true)
    expect(sent(Number.NaN)).toBeNaN()
    expect(sent(Number.POSITIVE_INFINITY)).toBe(Number.POSITIVE_INFINITY)
  })

  test('a table that occurs twice, or in itself, is one table', () => {
    const shared = new TableValue([1])
    const outer = new TableValue([shared, shared, 'x', new TableValue([shared])])
    outer.keys.push('self')
    outer.values.push(outer)
    const got = sent(outer) as TableValue
    expect(got.array[0]).toBe(got.array[1])
    expect((got.array[3] as TableValue).array[0]).toBe(got.array[0])
    expect(got.get('self')).toBe(got)
    const message = read(bytesOf({ kind: 'send', to: 'a', from: 'b', topic: 't', values: [shared, shared] }))
    expect(message.kind === 'send' && message.values[0] === message.values[1]).toBe(true)
  })

  test('too deep is refused on either side', () => {
    let deep = new TableValue()
    for (let i = 1; i < DEPTH_MAX; i++) deep = new TableValue([deep])
    expect(sent(deep)).toEqual(deep)
    expect(() => sent(new TableValue([deep]))).toThrow(WireError)
    const hostile = Buffer.concat([
      Buffer.from([0x95, 0, 0xc4, 0, 0xc4, 0, 0xc4, 0, 0x91]),
      Buffer.alloc(100_000, 0x91),
    ])
    expect(() => read(hostile)).toThrow('within each other')
  })
})

test('what is larger than a message may be is refused before it is written', () => {
  const small = new ValueWriter(1000)
  const text = 'x'.repeat(400)
  expect(() => small.start().value(new TableValue([text, text, text]))).toThrow(WireError)
  small.start().value(new TableValue([text, text]))
  expect(small.finish().length).toBe(807)
})

test('what comes with an identity is read as it was', () => {
  const shared = record({ role: 'admin' })
  const meta = record({ now: shared, next: shared })
  const request = { ...REQUEST, identity: { actor: { id: 'ada', meta }, scope: undefined } }
  const got = read(bytesOf({ kind: 'spawn', ref: 1, request }))
  expect(got.kind === 'spawn' && got.request.identity).toEqual(request.identity)
})

const PAIR = { to: '{b@app:p|1.1}', from: '{a@app:p|1.2}' }
const REQUEST = {
  host: 'app:p',
  entryId: 'app:worker',
  args: [1, 'x', new TableValue(['y'])],
  from: PAIR.from,
  monitor: true,
  link: false,
  name: 'me',
  messages: [{ topic: 'first', values: [1] }],
  context: record({ trace: 'abc' }),
  identity: { actor: { id: 'ada', meta: record({ role: 'admin' }) }, scope: ['app:read', 'app:write'] },
  wantsEnd: true,
  allowsFunction: false,
}
const ERROR = new ErrorValue('NotFound', 'gone', false, record({ pid: 'x' }), '')
const EVERY: PeerMessage[] = [
  { kind: 'send', ...PAIR, topic: 'job', values: [1, undefined, 'x'] },
  { kind: 'send', ...PAIR, topic: 'job', values: [1, undefined, 'x'], name: 'worker' },
  { kind: 'undeliverable', pid: 'p', from: 'q', why: 'noproc', name: 'n', message: { topic: 't', values: [1] } },
  { kind: 'undeliverable', pid: 'p', from: 'q', why: 'stale_epoch', name: 'n', message: undefined },
  { kind: 'monitor', ...PAIR },
  { kind: 'monitor', ...PAIR, id: 7 },
  { kind: 'unmonitor', ...PAIR },
  { kind: 'unmonitor', ...PAIR, id: 7 },
  { kind: 'link', ...PAIR },
  { kind: 'unlink', ...PAIR },
  { kind: 'unlink', ...PAIR, id: 2 ** 40 },
  { kind: 'unlink-ack', ...PAIR, id: 8 },
  { kind: 'cancel', ...PAIR, reason: 'enough' },
  { kind: 'terminate', ...PAIR },
  { kind: 'down', ...PAIR, event: 'exit', outcome: { ok: true, value: 5 }, atMs: 1_795_000_000_000.5 },
  { kind: 'down', ...PAIR, event: 'exit', outcome: { ok: true, value: 5 }, atMs: 12, id: 7 },
  { kind: 'down', ...PAIR, event: 'link-down', outcome: { ok: false, error: ERROR }, atMs: 12 },
  { kind: 'spawn', ref: 7, request: REQUEST },
  { kind: 'spawn', ref: 7, request: REQUEST, code: 'c0de' },
  { kind: 'spawn', ref: 7, request: { ...REQUEST, memoryLimitBytes: 32 * 2 ** 20 } },
  { kind: 'spawn', ref: 8, request: { ...REQUEST, name: undefined, identity: undefined, messages: [] } },
  { kind: 'spawn', ref: 9, request: { ...REQUEST, identity: { actor: undefined, scope: undefined } } },
  { kind: 'reply', ref: 3, ok: true, value: 'pid' },
  { kind: 'reply', ref: 3, ok: false, error: ERROR },
  { kind: 'ended', ref: 4, outcome: { ok: true, value: undefined } },
  { kind: 'abandon', ref: 2 ** 40 },
]

test.each(EVERY.map((message) => [message.kind, message] as const))('a %s comes out as it went in', (_, message) => {
  expect(read(bytesOf(message))).toEqual(message)
})

describe('hostile bytes', () => {
  const attempt = (bytes: Buffer): void => {
    try {
      read(bytes)
    } catch (error) {
      expect(error).toBeInstanceOf(WireError)
    }
  }

  test('every message, cut off anywhere, is refused', () => {
    for (const message of EVERY) {
      const bytes = bytesOf(message)
      for (let length = 0; length < bytes.length; length++) {
        expect(() => read(bytes.subarray(0, length))).toThrow(WireError)
      }
      expect(() => read(Buffer.concat([bytes, Buffer.of(0)]))).toThrow(WireError)
    }
  })

  test('random bytes, and messages with a byte changed, are read or refused', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => attempt(Buffer.from(bytes))),
      { numRuns: 2000 },
    )
    fc.assert(
      fc.property(fc.constantFrom(...EVERY), fc.nat(), fc.nat(255), (message, at, byte) => {
        const bytes = bytesOf(message)
        bytes[at % bytes.length] = byte
        attempt(bytes)
      }),
      { numRuns: 5000 },
    )
  })

  test('a length that is not there reserves nothing', () => {
    for (const header of [[0xdd], [0xdf], [0xc6], [0xc9]]) {
      const bytes = Buffer.from([0x95, 0, 0xc4, 0, 0xc4, 0, 0xc4, 0, 0x91, ...header, 0xff, 0xff, 0xff, 0xff])
      expect(() => read(bytes)).toThrow(WireError)
    }
  })
})
