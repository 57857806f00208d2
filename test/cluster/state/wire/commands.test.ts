// Commands as bytes: every form, and what is no form. cluster.md §5.11, §5.12.

import { expect, test } from 'vitest'
import type { Command, Envelope } from '../../../../cluster/state/core/commands.ts'
import {
  decodeCommands,
  decodeEnvelope,
  encodeEnvelope,
  joinEnvelopes,
} from '../../../../cluster/state/wire/commands.ts'
import { pack, UnpackError } from '../../../../runtime/base/msgpack.ts'
import { fc } from '../../../tools/property.ts'
import { encodeCommands } from '../../../tools/state-commands.ts'

const pid = '{a@h|1.1}'
const COMMANDS: readonly Command[] = [
  { kind: 'node-up', node: 'a', epoch: 1, role: 'voter' },
  { kind: 'node-down', node: 'a', session: 7, reason: 'left' },
  { kind: 'proc-down', pids: [pid] },
  { kind: 'register', name: 'straße', pid },
  { kind: 'unregister', name: 'x', pid, scope: 'strong' },
  { kind: 'unregister', name: 'x', scope: 'consistent' },
  { kind: 'strong-open', name: 'x', pid, ttlMs: 1000 },
  { kind: 'strong-ack', name: 'x', revision: 3, sessions: [1, 2] },
  { kind: 'strong-reject', name: 'x', revision: 3, session: 1, holder: pid },
  { kind: 'strong-abort', name: 'x', revision: 3 },
  { kind: 'lock-acquire', name: 'l', pid, waitMs: 5, ttlMs: 0 },
  { kind: 'lock-release', name: 'l', pid, token: 9 },
  { kind: 'lock-renew', name: 'l', pid, token: 9, ttlMs: 10 },
  { kind: 'cancel', seq: 2 },
  {
    kind: 'kv',
    command: {
      kind: 'put',
      namespace: 's',
      put: { key: '\xff', value: new Uint8Array([0, 255]), ttlMs: 1, keepsExpiry: false },
      condition: 'absent',
      fence: { lock: 'l', token: 9 },
    },
  },
  { kind: 'kv', command: { kind: 'delete', namespace: 's', key: 'k', ifVersion: 2, fence: undefined } },
  {
    kind: 'kv',
    command: {
      kind: 'txn',
      namespace: 's',
      checks: [{ key: 'k', version: 0 }],
      puts: [],
      deletes: ['k'],
      fence: undefined,
    },
  },
]
const envelopeOf = (command: Command): Envelope => ({ session: 12, seq: 3, floor: 2, command })

test('every command comes back as it went, one by one and joined', () => {
  const envelopes = COMMANDS.map(envelopeOf)
  for (const envelope of envelopes) expect(decodeEnvelope(encodeEnvelope(envelope))).toEqual(envelope)
  expect(decodeCommands(encodeCommands(envelopes))).toEqual(envelopes)
  expect(decodeCommands(joinEnvelopes(envelopes.map(encodeEnvelope)))).toEqual(envelopes)
  expect(decodeCommands(joinEnvelopes([]))).toEqual([])
})

test('bytes that are no command are refused, whatever they are', () => {
  const samples = COMMANDS.map((command) => encodeEnvelope(envelopeOf(command)))
  const mutated = fc
    .tuple(fc.constantFrom(...samples), fc.nat(), fc.nat({ max: 255 }), fc.nat())
    .map(([bytes, at, byte, cut]) => {
      const copy = bytes.slice(0, bytes.length - (cut % 3))
      copy[at % copy.length] = byte
      return copy
    })
  fc.assert(
    fc.property(fc.oneof(mutated, fc.uint8Array({ maxLength: 100 })), (bytes) => {
      try {
        // What is read is a command, and is written as one.
        encodeEnvelope(decodeEnvelope(bytes))
      } catch (error) {
        expect(error).toBeInstanceOf(UnpackError)
      }
    }),
    { numRuns: 2000 },
  )
})

test.each([
  ['a later version', { v: 2, k: 3 }],
  ['an unknown number', { k: 200 }],
  ['no session for what needs one', { s: 0 }],
  ['a floor above the seq', { f: 9 }],
  ['no body', { c: null }],
  ['a control character in a name', { c: { name: 'a\nb', pid } }],
  ['a name too long', { c: { name: 'ß'.repeat(128), pid } }],
  ['a PID without a node', { c: { name: 'x', pid: '{h|1.1}' } }],
])('%s is refused', (_what, change) => {
  const good = { v: 1, k: 3, s: 12, q: 3, f: 2, c: { name: 'x', pid } }
  expect(() => decodeEnvelope(pack(good))).not.toThrow()
  expect(() => decodeEnvelope(pack({ ...good, ...change }))).toThrow(UnpackError)
})
