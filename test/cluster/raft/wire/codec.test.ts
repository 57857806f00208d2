import { describe, expect, test } from 'vitest'
import type { Entry } from '../../../../cluster/raft/core/entry.ts'
import { configurationOf } from '../../../../cluster/raft/core/membership.ts'
import type { Message, SnapshotMeta } from '../../../../cluster/raft/core/messages.ts'
import { RaftCodec, type WireMessage } from '../../../../cluster/raft/wire/codec.ts'
import { EntryBytes } from '../../../../cluster/raft/wire/entry.ts'
import { type Packed, pack, UnpackError, unpack } from '../../../../runtime/base/msgpack.ts'
import { fc } from '../../../tools/property.ts'

const formation = '000102030405060708090a0b0c0d0e0f'
const address = { formation, from: `a/${'1'.repeat(32)}`, to: `b/${'2'.repeat(32)}` }
const codec = new RaftCodec(new EntryBytes())
const through = (message: WireMessage): unknown =>
  new RaftCodec(new EntryBytes()).decode(codec.encode({ ...address, message }))
const head = { term: 7, round: 123_456_789_012 }
const snapshot: SnapshotMeta = {
  index: 9,
  term: 3,
  clockMs: 77,
  configuration: configurationOf(['a/1', 'b/2', 'c/3'], ['d/4']),
  sizeBytes: 1000,
  checksum: 'ab'.repeat(32),
}
const entries: Entry[] = [
  { index: 6, term: 3, clockMs: 10, kind: 'noop' },
  { index: 7, term: 3, clockMs: 10, kind: 'configuration', configuration: configurationOf(['a/1', 'b/2']) },
  { index: 8, term: 4, clockMs: 11, kind: 'commands', data: Uint8Array.of(1, 2, 3) },
  { index: 9, term: 4, clockMs: 12, kind: 'tick' },
  { index: 10, term: 7, clockMs: 12, kind: 'settings', data: new Uint8Array(70_000) },
]
const append: Message = {
  kind: 'append',
  ...head,
  previous: { index: 5, term: 2 },
  commit: 4,
  entries,
  isHeartbeat: false,
  clockMs: 13,
}
const reply = { kind: 'append-reply', ...head, index: 9, applied: 3, syncMs: 0.25 } as const
const messages: readonly WireMessage[] = [
  { kind: 'prevote', ...head, last: { index: 5, term: 4 }, isTransfer: false },
  { kind: 'vote', ...head, last: { index: 0, term: 0 }, isTransfer: true },
  { kind: 'prevote-reply', ...head, granted: true },
  { kind: 'vote-reply', ...head, granted: false, why: 'log' },
  append,
  { ...append, entries: [], isHeartbeat: true },
  { ...reply, ok: true, isHeartbeat: true },
  { ...reply, ok: false, isHeartbeat: false, hint: { index: 4 } },
  { ...reply, ok: false, isHeartbeat: false, hint: { index: 4, term: 2 } },
  { kind: 'snapshot', ...head, snapshot, offset: 0, data: new Uint8Array(0) },
  { kind: 'snapshot', ...head, snapshot, offset: 500, data: new Uint8Array(500).fill(9) },
  { kind: 'snapshot-reply', ...head, index: 9, checksum: snapshot.checksum, offset: 500, isDone: false },
  { kind: 'timeout-now', ...head },
  { kind: 'read-index', ...head },
  { kind: 'read-index-reply', ...head },
  { kind: 'read-index-reply', ...head, index: 12 },
  { kind: 'reset-required', ...head },
  { kind: 'refused', ...head, why: 'store_mismatch', store: '3'.repeat(32) },
]

describe('messages of consensus (cluster.md §5.3)', () => {
  test.each(messages.map((message) => [message.kind, message] as const))('%s arrives as it was sent', (_, message) => {
    expect(through(message)).toEqual({ ...address, message })
  })

  test('appends of any entries arrive as they were sent', () => {
    const data = fc.uint8Array({ maxLength: 300 })
    const payload = fc.oneof(
      fc.record({ kind: fc.constantFrom('commands' as const, 'settings' as const), data }),
      fc.record({ kind: fc.constantFrom('noop' as const, 'tick' as const) }),
    )
    const before = fc.record({
      index: fc.integer({ min: 1, max: 2 ** 52 }),
      term: fc.integer({ min: 1, max: 2 ** 40 }),
    })
    fc.assert(
      fc.property(before, fc.array(payload, { minLength: 1, maxLength: 20 }), fc.nat(), (previous, payloads, rise) => {
        const sent: Entry[] = payloads.map((each, at) => ({
          index: previous.index + 1 + at,
          term: previous.term,
          clockMs: rise + at,
          ...each,
        }))
        const message: Message = { ...append, term: previous.term, previous, entries: sent }
        expect(through(message)).toEqual({ ...address, message })
      }),
    )
  })

  test('an entry is encoded once, for all followers and the disk, and not again where it arrives', () => {
    const bytes = new EntryBytes()
    const [, , entry] = entries as [Entry, Entry, Entry]
    expect(bytes.of(entry)).toBe(bytes.of(entry))
    const here = new EntryBytes()
    const arrived = here.read(8, bytes.of(entry))
    expect(here.of(arrived)).toBe(bytes.of(entry))
  })

  test('what is kept of encoded entries is bounded', () => {
    const bytes = new EntryBytes()
    const big = (index: number): Entry => ({
      index,
      term: 1,
      clockMs: 0,
      kind: 'commands',
      data: new Uint8Array(2 ** 20),
    })
    const first = big(1)
    const packed = bytes.of(first)
    for (let index = 2; index < 10; index++) bytes.of(big(index))
    expect(bytes.of(first) === packed).toBe(false)
    expect(Buffer.compare(bytes.of(first), packed)).toBe(0)
  })

  test('unknown keys are passed over', () => {
    const map = unpack(codec.encode({ ...address, message: messages[0] as WireMessage })) as { [key: string]: Packed }
    expect(codec.decode(pack({ ...map, later: [1, { x: 'y' }] })).message).toEqual(messages[0])
  })

  test.each([
    ['no map', pack([1])],
    ['no kind', pack({ t: 1, q: 1 })],
    ['a kind of later', pack({ m: 99, t: 1, q: 1 })],
    ['nothing', new Uint8Array()],
    ['a map that is not there', Uint8Array.of(0xdf, 255, 255, 255, 255)],
    ['a message and more', Uint8Array.of(...codec.encode({ ...address, message: messages[0] as WireMessage }), 0)],
  ])('%s is refused', (_, bytes) => {
    expect(() => codec.decode(bytes)).toThrow(UnpackError)
  })

  test('what no server says is refused: a gap in the offered entries, a formation of another length', () => {
    const gap = { ...append, entries: entries.slice(1) }
    expect(through({ ...append, entries: [] })).toBeTruthy()
    // Indexes are not on the wire: what is left counts on from the entry before.
    expect((codec.decode(codec.encode({ ...address, message: gap })).message as typeof append).entries[0]?.index).toBe(
      6,
    )
    const map = unpack(codec.encode({ ...address, message: messages[0] as WireMessage })) as { [key: string]: Packed }
    expect(() => codec.decode(pack({ ...map, g: new Uint8Array(15) }))).toThrow(UnpackError)
    expect(() => codec.decode(pack({ ...map, f: ['a', 'x'.repeat(65)] }))).toThrow(UnpackError)
    expect(() => codec.decode(pack({ ...map, f: ['a'.repeat(129), 'x'] }))).toThrow(UnpackError)
    expect(() => codec.decode(pack({ ...map, t: -1 }))).toThrow(UnpackError)
  })

  test('hostile bytes are refused and never anything worse', () => {
    const all = messages.map((message) => codec.encode({ ...address, message }))
    fc.assert(
      fc.property(
        fc.constantFrom(...all),
        fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 8 }),
        (bytes, edits) => {
          const mutated = bytes.slice(0, 2000)
          for (const [at, value] of edits) mutated[at % mutated.length] = value
          try {
            codec.decode(mutated)
          } catch (error) {
            expect(error).toBeInstanceOf(UnpackError)
          }
        },
      ),
      { numRuns: 3000 },
    )
  })
})
