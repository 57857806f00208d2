import { expect, test } from 'vitest'
import type { Control } from '../../../../cluster/mesh/core/control.ts'
import { chooseVersion, commonFeatures, type Handshake } from '../../../../cluster/mesh/core/handshake.ts'
import {
  decodeControl,
  decodeHandshake,
  encodeControl,
  encodeHandshake,
  PREAMBLE,
} from '../../../../cluster/mesh/wire/handshake.ts'
import { ProtocolError } from '../../../../cluster/mesh/wire/protocol-error.ts'
import { type PackedMap, pack, unpack } from '../../../../runtime/base/msgpack.ts'
import { fc } from '../../../tools/property.ts'

const hello: Handshake = {
  kind: 'hello',
  versions: [1, 3],
  features: ['deflate', 'resume'],
  clusterId: 'default',
  name: 'a',
  epoch: 1_700_000_000_000,
  storeId: '',
  formationId: '00112233445566778899aabbccddeeff',
  nonce: 'ffeeddccbbaa99887766554433221100',
  session: '0123456789abcdef',
  received: { system: 4, app: 2 ** 47 },
  limits: { frameBytesMax: 65536, messageBytesMax: 16 * 1024 * 1024 },
  raftSession: 12,
  to: 'b',
  toEpoch: 0,
  dialCount: 3,
}
const { versions: _v, to: _t, toEpoch: _e, dialCount: _d, raftSession: _s, ...shared } = hello
const welcome: Handshake = { ...shared, kind: 'welcome', version: 2, session: '' }
const refusals: Handshake[] = [
  { kind: 'refuse', code: 'cluster_id', text: 'this is prod, not test' },
  { kind: 'refuse', code: 'stale_epoch', text: 'old', epoch: 9 },
  { kind: 'refuse', code: 'overloaded', text: 'busy', retryMs: 250 },
]
const controls: Control[] = [
  { kind: 'ping', token: 1 },
  { kind: 'pong', token: 2 ** 40 },
  { kind: 'ack', received: { system: 1, app: 2 }, bytes: 3 },
  { kind: 'credit', bulk: 262_144, rlog: 1_048_576 },
  { kind: 'goodbye', reason: 'duplicate' },
]

test('handshakes and messages of class link are read as they were written', () => {
  for (const each of [hello, welcome, ...refusals]) expect(decodeHandshake(encodeHandshake(each))).toEqual(each)
  for (const each of controls) expect(decodeControl(encodeControl(each))).toEqual(each)
  expect(Buffer.from(PREAMBLE).toString('latin1')).toBe('MMESH\r\n\x01')
})

test('unknown keys and later kinds are ignored, wrong types refused', () => {
  const map = unpack(encodeHandshake(hello)) as PackedMap
  expect(decodeHandshake(pack({ ...map, later: [1, 2] }))).toEqual(hello)
  expect(decodeControl(pack([9, 1]))).toBeUndefined()
  expect(decodeControl(pack([4, 'a reason of later']))).toEqual({ kind: 'goodbye', reason: 'shutdown' })
  for (const [key, value] of [
    ['t', 7],
    ['v', [1]],
    ['v', 1],
    ['ft', 'resume'],
    ['ft', [1]],
    ['id', 5],
    ['n', 'x'.repeat(1000)],
    ['e', -1],
    ['e', 1.5],
    ['nc', new Uint8Array(3)],
    ['ls', 'text'],
    ['rx', null],
    ['rx', { 2: 1 }],
    ['lim', { f: 1 }],
    ['sq', undefined],
  ] as const) {
    expect(() => decodeHandshake(pack({ ...map, [key]: value })), `${key} ${value}`).toThrow(ProtocolError)
  }
})

test('damaged handshakes and controls give a value or a ProtocolError', () => {
  const samples = [
    ...[hello, welcome, ...refusals].map((each) => [encodeHandshake(each), decodeHandshake] as const),
    ...controls.map((each) => [encodeControl(each), decodeControl] as const),
  ]
  fc.assert(
    fc.property(
      fc.constantFrom(...samples),
      fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { maxLength: 4 }),
      fc.nat(400),
      ([bytes, decode], places, length) => {
        const damaged = Uint8Array.from(bytes)
        for (const [at, value] of places) damaged[at % damaged.length] = value
        try {
          decode(damaged.subarray(0, Math.max(1, length)))
        } catch (error) {
          expect(error).toBeInstanceOf(ProtocolError)
        }
      },
    ),
    { numRuns: 2000 },
  )
})

test('the version is the highest that both speak; features are what both have', () => {
  expect(chooseVersion([1, 1], [1, 5])).toBe(1)
  expect(chooseVersion([1, 3], [2, 2])).toBe(2)
  expect(chooseVersion([2, 3], [1, 1])).toBeUndefined()
  expect(chooseVersion([1, 1], [2, 3])).toBeUndefined()
  expect(commonFeatures(['resume', 'deflate', 'x'], ['y', 'resume', 'x'])).toEqual(['resume', 'x'])
})
