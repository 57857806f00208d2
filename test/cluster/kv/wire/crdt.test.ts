import { describe, expect, test } from 'vitest'
import { decodeEntry, type Entry, encodeEntry } from '../../../../cluster/kv/core/entry.ts'
import type { ExchangeAnswer, ExchangeRequest } from '../../../../cluster/kv/core/replica.ts'
import {
  decodeExchange,
  decodeExchangeAnswer,
  decodeOne,
  encodeExchange,
  encodeExchangeAnswer,
} from '../../../../cluster/kv/wire/crdt.ts'
import { decodeRecords, decodeSnapshot, encodeRecord, encodeSnapshot } from '../../../../cluster/kv/wire/crdt-files.ts'
import { UnpackError } from '../../../../runtime/base/msgpack.ts'
import { fc } from '../../../tools/property.ts'

const VALUE_BYTES_MAX = 100
const byteString = (min: number, max: number): fc.Arbitrary<string> =>
  fc.uint8Array({ minLength: min, maxLength: max }).map((bytes) => String.fromCharCode(...bytes))
const hlc = fc.record({ ms: fc.integer({ min: 0, max: 2 ** 48 - 1 }), counter: fc.nat(0xffff) })
const entry: fc.Arbitrary<Entry> = fc
  .record({
    namespace: byteString(1, 8),
    key: byteString(1, 8),
    hlc,
    origin: byteString(1, 8),
    what: fc.constantFrom('delete', 'value', 'ttl', 'expired'),
    expiryMs: fc.integer({ min: 1, max: 2 ** 48 - 1 }),
    value: fc.uint8Array({ maxLength: VALUE_BYTES_MAX }),
  })
  .map(({ what, value, expiryMs, ...rest }) => ({
    ...rest,
    isDelete: what === 'delete',
    expiryMs: what === 'ttl' || what === 'expired' ? expiryMs : 0,
    value: what === 'delete' || what === 'expired' ? undefined : value,
  }))
const entries = fc.array(entry, { maxLength: 4 })
const keyHash = byteString(16, 16)
const summaries = fc
  .uniqueArray(fc.record({ keyHash, hlc, hash: byteString(8, 8) }), { maxLength: 4, selector: (each) => each.keyHash })
  .map((all) => all.sort((a, b) => (a.keyHash < b.keyHash ? -1 : 1)))
const request = fc.oneof(
  fc.record({ kind: fc.constant('digest'), hashes: fc.uint8Array({ minLength: 2048, maxLength: 2048 }) }),
  fc.record({
    kind: fc.constant('page'),
    shard: fc.nat(255),
    after: fc.oneof(fc.constant(''), keyHash),
    isLast: fc.boolean(),
    summaries,
    forgotten: fc.record({ since: hlc, floor: hlc }),
  }),
  fc.record({ kind: fc.constant('entries'), entries }),
) as fc.Arbitrary<ExchangeRequest>
const answer = fc.oneof(
  fc.record({ kind: fc.constant('digest'), shards: fc.array(fc.nat(255)) }),
  fc.record({
    kind: fc.constant('page'),
    entries,
    want: fc.array(keyHash, { maxLength: 3 }),
    gone: fc.array(keyHash, { maxLength: 3 }),
    upTo: fc.option(keyHash, { nil: undefined }),
  }),
  fc.record({ kind: fc.constant('entries') }),
) as fc.Arbitrary<ExchangeAnswer>

const damage = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 })
const damaged = (bytes: Uint8Array, changes: [number, number][]): Uint8Array => {
  const out = bytes.slice()
  for (const [at, byte] of changes) if (out.length > 0) out[at % out.length] = byte
  return out
}
function sound(read: () => unknown): void {
  try {
    read()
  } catch (error) {
    expect(error).toBeInstanceOf(UnpackError)
  }
}

describe('an entry', () => {
  test('arrives as it was sent, and in one form only', () => {
    fc.assert(
      fc.property(entry, (each) => {
        const bytes = encodeEntry(each)
        expect(decodeOne(bytes, VALUE_BYTES_MAX)).toEqual(each)
        expect(() => decodeOne(bytes.subarray(0, -1), VALUE_BYTES_MAX)).toThrow(UnpackError)
        expect(() => decodeOne(Uint8Array.of(...bytes, 0), VALUE_BYTES_MAX)).toThrow(UnpackError)
      }),
    )
  })

  test('out of a packet keeps nothing else of it alive', () => {
    const each: Entry = {
      namespace: 's',
      key: 'k',
      hlc: { ms: 1, counter: 0 },
      origin: 'n',
      isDelete: false,
      expiryMs: 0,
      value: new Uint8Array(VALUE_BYTES_MAX),
    }
    const packet = Buffer.concat([Buffer.alloc(1000), encodeEntry(each)])
    expect(decodeEntry(packet, 1000, VALUE_BYTES_MAX)?.entry.value?.buffer.byteLength).toBe(VALUE_BYTES_MAX)
  })

  test('has these bytes', () => {
    const each = {
      namespace: 's',
      key: 'k',
      hlc: { ms: 0x0102030405, counter: 7 },
      origin: 'n',
      isDelete: false,
      expiryMs: 0,
      value: Uint8Array.of(255),
    }
    expect(Buffer.from(encodeEntry(each)).toString('hex')).toBe(
      '00' + '000102030405' + '0007' + '00016e' + '000173' + '00016b' + '000000000000' + '00000001' + 'ff',
    )
  })

  test('that is damaged is refused, or read within its bounds', () => {
    fc.assert(
      fc.property(entry, damage, (each, changes) => {
        const read = decodeEntry(damaged(encodeEntry(each), changes), 0, VALUE_BYTES_MAX)
        if (read !== undefined) expect(encodeEntry(read.entry).length).toBe(read.end)
      }),
      { numRuns: 500 },
    )
  })

  test('whose value is too large is refused', () => {
    const each = { namespace: 's', key: 'k', hlc: { ms: 1, counter: 0 }, origin: 'n', isDelete: false, expiryMs: 0 }
    expect(() => decodeOne(encodeEntry({ ...each, value: new Uint8Array(101) }), VALUE_BYTES_MAX)).toThrow(UnpackError)
  })
})

describe('requests of a comparison', () => {
  test('and their answers arrive as they were sent', () => {
    fc.assert(
      fc.property(request, answer, (asked, answered) => {
        expect(decodeExchange(encodeExchange(asked), VALUE_BYTES_MAX)).toEqual(asked)
        expect(decodeExchangeAnswer(encodeExchangeAnswer(answered), VALUE_BYTES_MAX)).toEqual(answered)
      }),
    )
  })

  test('are refused or read when damaged, and nothing else happens', () => {
    fc.assert(
      fc.property(request, answer, damage, (asked, answered, changes) => {
        sound(() => decodeExchange(damaged(encodeExchange(asked), changes), VALUE_BYTES_MAX))
        sound(() => decodeExchangeAnswer(damaged(encodeExchangeAnswer(answered), changes), VALUE_BYTES_MAX))
      }),
      { numRuns: 500 },
    )
  })
})

describe('files', () => {
  const header = { namespace: 's', hlc: { ms: 5, counter: 1 } }
  const join = (pieces: Iterable<Uint8Array>): Uint8Array => new Uint8Array(Buffer.concat([...pieces]))

  test('a snapshot is read as it was written, and not at all when a bit of it is wrong', () => {
    fc.assert(
      fc.property(entries, fc.nat(), fc.nat(7), (all, at, bit) => {
        const bytes = join(encodeSnapshot({ ...header, count: all.length }, all))
        expect(decodeSnapshot(bytes, VALUE_BYTES_MAX)).toEqual({
          header: { ...header, count: all.length },
          entries: all,
        })
        const wrong = bytes.slice()
        wrong[at % wrong.length] = (wrong[at % wrong.length] as number) ^ (1 << bit)
        expect(() => decodeSnapshot(wrong, VALUE_BYTES_MAX)).toThrow(UnpackError)
        expect(() => decodeSnapshot(bytes.subarray(0, at % bytes.length), VALUE_BYTES_MAX)).toThrow(UnpackError)
      }),
    )
  })

  test('a log is read up to where it is torn', () => {
    fc.assert(
      fc.property(entries, fc.nat(), (all, at) => {
        const records = all.map(encodeRecord)
        const bytes = join(records)
        expect(decodeRecords(bytes, VALUE_BYTES_MAX)).toEqual({ entries: all, soundBytes: bytes.length })
        const cut = at % (bytes.length + 1)
        const read = decodeRecords(bytes.subarray(0, cut), VALUE_BYTES_MAX)
        expect(read.entries).toEqual(all.slice(0, read.entries.length))
        expect(read.soundBytes).toBe(records.slice(0, read.entries.length).reduce((sum, each) => sum + each.length, 0))
        expect(read.soundBytes).toBeLessThanOrEqual(cut)
      }),
    )
  })

  test('a record whose bytes changed ends the log before it', () => {
    const each = {
      namespace: 's',
      key: 'k',
      hlc: { ms: 1, counter: 0 },
      origin: 'n',
      isDelete: true,
      expiryMs: 0,
      value: undefined,
    }
    const one = encodeRecord(each)
    const bytes = join([one, one, one])
    bytes[one.length + 12] = (bytes[one.length + 12] as number) ^ 1
    expect(decodeRecords(bytes, VALUE_BYTES_MAX)).toEqual({ entries: [each], soundBytes: one.length })
  })
})
