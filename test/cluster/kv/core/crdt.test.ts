// The rules of the convergent store. cluster.md §8.5 to §8.8, C1 to C3.

import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { type CrdtSettings, CrdtStore } from '../../../../cluster/kv/core/crdt.ts'
import { held, keyHashOf, SHARD_HASH_BYTES, SHARDS } from '../../../../cluster/kv/core/digest.ts'
import { compareEntries, type Entry } from '../../../../cluster/kv/core/entry.ts'
import { compareHlc, HLC_COUNTER_MAX, HybridClock } from '../../../../cluster/kv/core/hlc.ts'
import { FakeEnv } from '../../../tools/fake-env.ts'
import { fc } from '../../../tools/property.ts'

const sha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest()
const HOUR_MS = 3_600_000
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const textOf = (value: Uint8Array | undefined): string | undefined =>
  value === undefined ? undefined : new TextDecoder().decode(value)

function storeOf(
  origin: string,
  settings: Partial<CrdtSettings> = {},
  savedMs?: number,
): { store: CrdtStore; env: FakeEnv } {
  const env = new FakeEnv()
  return { store: new CrdtStore({ origin, hash: sha256, settings, savedMs }, env), env }
}

const read = (store: CrdtStore, key: string): string | undefined => textOf(store.get('s', key)?.value)
const written = (store: CrdtStore, key: string, value: string, ttlMs = 0): Entry => {
  const outcome = store.set('s', key, bytes(value), ttlMs)
  if (!outcome.ok) throw new Error(outcome.message)
  return outcome.entry
}
const deleted = (store: CrdtStore, key: string): Entry => {
  const outcome = store.delete('s', key)
  if (outcome?.ok !== true) throw new Error('not deleted')
  return outcome.entry
}

describe('a hybrid clock', () => {
  test('never gives a stamp twice or backwards, whatever the wall clock does and others say', () => {
    const event = fc.oneof(
      fc.record({ kind: fc.constant('write' as const) }),
      fc.record({ kind: fc.constant('wall' as const), by: fc.integer({ min: -5000, max: 5000 }) }),
      fc.record({
        kind: fc.constant('hear' as const),
        ms: fc.integer({ min: -3000, max: 3000 }),
        counter: fc.nat(HLC_COUNTER_MAX),
      }),
    )
    fc.assert(
      fc.property(fc.array(event, { maxLength: 100, size: 'max' }), (events) => {
        const env = new FakeEnv()
        const clock = new HybridClock({ skewMaxMs: 1000 }, env)
        let last = clock.latest
        for (const each of events) {
          if (each.kind === 'wall') env.wall += each.by
          else if (each.kind === 'hear') {
            const hlc = { ms: env.wall + each.ms, counter: each.counter }
            if (clock.isAhead(hlc)) continue
            clock.observe(hlc)
            if (compareHlc(hlc, last) > 0) last = hlc
          } else {
            const { hlc } = clock.next()
            expect(compareHlc(hlc, last)).toBeGreaterThan(0)
            expect(hlc.ms).toBeGreaterThanOrEqual(env.wall)
            last = hlc
          }
        }
      }),
    )
  })

  test('a counter that is full moves the milliseconds', () => {
    const env = new FakeEnv()
    const clock = new HybridClock({ skewMaxMs: 1000 }, env)
    clock.observe({ ms: env.wall, counter: HLC_COUNTER_MAX })
    expect(clock.next().hlc).toEqual({ ms: env.wall + 1, counter: 0 })
  })

  test('a restart goes on behind everything that was given out, however the clocks stand', () => {
    const env = new FakeEnv()
    let clock = new HybridClock({ skewMaxMs: 600_000 }, env)
    let savedMs: number | undefined
    let last = clock.latest
    for (let i = 0; i < 200; i++) {
      if (i % 7 === 3) clock.observe({ ms: env.wall + i * 1000, counter: 5 })
      if (i % 5 === 4) {
        env.wall -= 3000
        clock = new HybridClock({ skewMaxMs: 600_000, savedMs }, env)
      }
      env.advance(400)
      const { hlc, saveMs } = clock.next()
      savedMs = saveMs ?? savedMs
      expect(compareHlc(hlc, last)).toBeGreaterThan(0)
      last = hlc
    }
  })
})

const entry: fc.Arbitrary<Entry> = fc
  .record({
    key: fc.constantFrom('a', 'b'),
    hlc: fc.record({ ms: fc.integer({ min: 1, max: 3 }), counter: fc.nat(1) }),
    origin: fc.constantFrom('n1', 'n2'),
    what: fc.constantFrom('delete', 'value', 'ttl'),
    value: fc.uint8Array({ maxLength: 2 }),
  })
  .map(({ what, value, ...rest }) => ({
    namespace: 's',
    ...rest,
    isDelete: what === 'delete',
    expiryMs: what === 'ttl' ? 2_000_000_000_000 : 0,
    value: what === 'delete' ? undefined : what === 'ttl' ? bytes(`${rest.hlc.ms}${rest.origin}`) : value,
  }))

describe('merging (C1)', () => {
  test('the order of versions is total', () => {
    fc.assert(
      fc.property(entry, entry, entry, (a, b, c) => {
        expect(Math.sign(compareEntries(a, b))).toBe(-Math.sign(compareEntries(b, a)) + 0)
        if (compareEntries(a, b) <= 0 && compareEntries(b, c) <= 0) expect(compareEntries(a, c)).toBeLessThanOrEqual(0)
      }),
    )
  })

  test('any order and any repetition of the same versions gives the same store', () => {
    fc.assert(
      fc.property(
        fc.array(entry, { maxLength: 12 }),
        fc.array(fc.nat(11), { maxLength: 12 }),
        fc.nat(),
        (all, again, seed) => {
          const one = storeOf('x', { retentionMs: 0 }).store
          const other = storeOf('y', { retentionMs: 0 }).store
          for (const each of all) one.merge(each)
          const env = new FakeEnv(seed)
          const shuffled = [...all, ...again.flatMap((i) => all[i] ?? [])]
            .map((each) => [env.randomInt(1e9), each] as const)
            .sort(([a], [b]) => a - b)
          for (const [, each] of shuffled) other.merge(each)
          expect(other.digest.hashes).toEqual(one.digest.hashes)
          expect(other.list('s')).toEqual(one.list('s'))
          for (const each of all) expect(other.merge(each)).not.toBe('won')
        },
      ),
    )
  })
})

describe('the digest', () => {
  test('is what is computed from all entries anew, after any writes, merges, deadlines and collections', () => {
    const action = fc.record({
      what: fc.constantFrom('set', 'ttl', 'delete', 'merge', 'time'),
      key: fc.constantFrom('a', 'b', 'c'),
      entry,
    })
    fc.assert(
      fc.property(fc.array(action, { maxLength: 50, size: 'max' }), (actions) => {
        const { store, env } = storeOf('n9', { retentionMs: 600_000 })
        for (const { what, key, entry: each } of actions) {
          if (what === 'set') store.set('s', key, bytes(key))
          else if (what === 'ttl') store.set('t', key, bytes(key), 100_000)
          else if (what === 'delete') store.delete('s', key)
          else if (what === 'merge') store.merge(each)
          else env.advance(70_000)
          store.expire()
        }
        const plain = new Uint8Array(SHARDS * SHARD_HASH_BYTES)
        let count = 0
        for (const namespace of store.namespaces()) {
          for (const [, { entry: each }] of store.view(namespace).range()) {
            count++
            const endMs = Math.max(each.hlc.ms, each.expiryMs)
            if (each.value === undefined && endMs + 600_000 <= store.clock.readMs()) continue
            const { keyHash, hash } = held(each, keyHashOf(each.namespace, each.key, sha256), sha256)
            for (let i = 0; i < SHARD_HASH_BYTES; i++) {
              const at = keyHash.charCodeAt(0) * SHARD_HASH_BYTES + i
              plain[at] = (plain[at] as number) ^ hash.charCodeAt(i)
            }
          }
        }
        expect(store.digest.hashes).toEqual(plain)
        expect(store.entryCount).toBe(count)
      }),
    )
  })
})

describe('writes (C2)', () => {
  test('are seen at once and beat everything the node has seen, even with a slow clock', () => {
    const slow = storeOf('a')
    const quick = storeOf('b')
    slow.env.wall -= 300_000
    slow.store.merge(written(quick.store, 'k', 'quick'))
    const mine = written(slow.store, 'k', 'slow')
    expect(read(slow.store, 'k')).toBe('slow')
    expect(quick.store.merge(mine)).toBe('won')
  })

  test('of a clock that is too far ahead wait until the own clock is there', () => {
    const { store, env } = storeOf('a', { skewMaxMs: 10_000 })
    const fast = storeOf('b')
    fast.env.wall += 15_000
    const early = written(fast.store, 'k', 'v')
    expect(store.merge(early)).toBe('skewed')
    expect(read(store, 'k')).toBeUndefined()
    env.advance(5_000)
    expect(store.merge(early)).toBe('won')
  })

  test('have bounds', () => {
    const { store } = storeOf('a', { valueBytesMax: 10, entriesMax: 2 })
    expect(store.set('s', 'k', new Uint8Array(11))).toMatchObject({ ok: false, kind: 'Invalid' })
    expect(store.set('s', '', bytes('v'))).toMatchObject({ ok: false, kind: 'Invalid' })
    expect(store.set('s', 'k'.repeat(1025), bytes('v'))).toMatchObject({ ok: false, kind: 'Invalid' })
    expect(store.set('s', 'k', bytes('v'), Number.NaN)).toMatchObject({ ok: false, kind: 'Invalid' })
    written(store, '1', 'v')
    written(store, '2', 'v')
    expect(store.set('s', '3', bytes('v'))).toMatchObject({ ok: false, kind: 'Unavailable', message: 'store is full' })
    expect(store.set('s', '2', bytes('w')).ok).toBe(true)
    expect(store.merge(written(storeOf('b').store, '3', 'v'))).toBe('full')
    expect(store.delete('s', '1')?.ok).toBe(true)
  })

  test('each has another version', () => {
    const { store } = storeOf('a')
    const versions = new Set(
      Array.from({ length: 50 }, () => {
        written(store, 'k', 'same')
        return store.get('s', 'k')?.version
      }),
    )
    expect(versions.size).toBe(50)
  })

  test('namespaces are apart', () => {
    const { store } = storeOf('a')
    written(store, 'k', 'v')
    expect(store.get('t', 'k')).toBeUndefined()
    expect(store.list('t').items).toEqual([])
  })
})

describe('lists', () => {
  test('are pages in byte order without what is deleted or past its deadline', () => {
    const { store, env } = storeOf('a')
    for (const key of ['b3', 'a', 'b1', 'c', 'b2', 'b4']) written(store, key, key)
    written(store, 'b0', 'short', 10)
    deleted(store, 'b2')
    env.advance(10)
    const first = store.list('s', { prefix: 'b', limit: 2 })
    expect([first.items.map(({ key }) => key), first.cursor, first.hasMore]).toEqual([['b1', 'b3'], 'b3', true])
    const second = store.list('s', { prefix: 'b', after: first.cursor, limit: 2 })
    expect([second.items.map(({ key }) => key), second.cursor, second.hasMore]).toEqual([['b4'], 'b4', false])
    expect(store.list('s', { after: 'z' })).toEqual({ items: [], cursor: '', hasMore: false })
    expect(store.list('s', { limit: 4 }).hasMore).toBe(true)
    expect(store.list('s', { limit: 5 }).hasMore).toBe(false)
  })
})

describe('deletes (C3)', () => {
  test('stay deleted whatever older version comes again', () => {
    const { store } = storeOf('a')
    const other = storeOf('b').store
    const old = written(other, 'k', 'old')
    store.merge(old)
    expect(read(store, 'k')).toBe('old')
    const end = deleted(store, 'k')
    expect(store.merge(old)).toBe('older')
    expect(other.merge(end)).toBe('won')
    expect(read(other, 'k')).toBeUndefined()
    expect(store.delete('s', 'k')).toBeUndefined()
    expect(store.delete('s', 'never')).toBeUndefined()
    expect(other.merge(written(store, 'k', 'new'))).toBe('won')
  })

  test('are remembered for the retention by both clocks', () => {
    const { store, env } = storeOf('a')
    env.advance(1)
    written(store, 'k', 'v')
    deleted(store, 'k')
    env.wall += 48 * HOUR_MS
    store.expire()
    expect(store.tombstoneCount).toBe(1)
    env.wall -= 48 * HOUR_MS
    env.now += 25 * HOUR_MS
    store.expire()
    expect(store.tombstoneCount).toBe(1)
    env.advance(24 * HOUR_MS)
    store.expire()
    expect([store.tombstoneCount, store.entryCount, store.namespaces()]).toEqual([0, 0, []])
  })

  test('are out of the digest when their time has come, whichever node still holds them', () => {
    const { store, env } = storeOf('a')
    const late = storeOf('b')
    written(store, 'k', 'v')
    const end = deleted(store, 'k')
    for (const each of [env, late.env]) each.advance(20 * HOUR_MS)
    late.store.merge(end)
    for (const each of [env, late.env]) each.advance(5 * HOUR_MS)
    store.expire()
    late.store.expire()
    expect([store.entryCount, late.store.entryCount]).toEqual([0, 1])
    expect(late.store.digest.hashes).toEqual(store.digest.hashes)
    expect(
      late.store.merge({ ...end, isDelete: false, value: bytes('old'), hlc: { ms: end.hlc.ms - 1, counter: 0 } }),
    ).toBe('older')
    late.env.wall -= 10 * HOUR_MS
    late.store.expire()
    expect(late.store.digest.differing(store.digest.hashes)).not.toEqual([])
    late.env.wall += 10 * HOUR_MS
    late.store.expire()
    expect(late.store.digest.differing(store.digest.hashes)).toEqual([])
  })

  test('retention 0 keeps them for ever', () => {
    const { store, env } = storeOf('a', { retentionMs: 0 })
    written(store, 'k', 'v')
    deleted(store, 'k')
    env.advance(1e9)
    store.expire()
    expect(store.tombstoneCount).toBe(1)
  })

  test('what was deleted and forgotten is not taken from one who was away', () => {
    const { store, env } = storeOf('a')
    env.advance(1000)
    const away = storeOf('b')
    away.env.wall = env.wall
    const old = written(away.store, 'k', 'old')
    store.merge(old)
    env.advance(1000)
    deleted(store, 'k')
    env.advance(25 * HOUR_MS)
    store.expire()
    expect(store.entryCount).toBe(0)
    expect(store.merge(old)).toBe('collected')
    // A node that has only just begun has forgotten nothing and must not claim it.
    const fresh = new CrdtStore({ origin: 'c', hash: sha256 }, env)
    env.advance(1)
    expect(fresh.merge(old)).toBe('won')
  })

  test('a remembered delete that is past its time is no news to who has nothing', () => {
    const { store, env } = storeOf('a')
    const end = { ...written(storeOf('b').store, 'k', 'v'), isDelete: true, value: undefined }
    env.advance(25 * HOUR_MS)
    expect(store.merge(end)).toBe('collected')
  })
})

describe('deadlines', () => {
  test('belong to the write: absent everywhere, without a message, when the time has come', () => {
    const { store, env } = storeOf('a')
    const other = storeOf('b')
    other.store.merge(written(store, 'k', 'v', 1000))
    env.advance(999)
    expect(read(store, 'k')).toBe('v')
    for (const each of [env, other.env]) each.wall = 1_700_000_001_000
    expect(read(store, 'k')).toBeUndefined()
    expect(store.delete('s', 'k')).toBeUndefined()
    store.expire()
    expect(store.tombstoneCount).toBe(1)
    expect(store.digest.hashes).toEqual(other.store.digest.hashes)
    expect(other.store.list('s').items).toEqual([])
  })

  test('a later write is not undone by the deadline of an earlier one, on whichever side it was made', () => {
    const { store, env } = storeOf('a')
    const other = storeOf('b')
    const lease = written(store, 'k', 'lease', 1000)
    other.env.advance(500)
    other.store.merge(lease)
    const kept = written(other.store, 'k', 'kept')
    env.advance(5000)
    store.expire()
    expect(read(store, 'k')).toBeUndefined()
    expect(store.merge(kept)).toBe('won')
    expect(read(store, 'k')).toBe('kept')
    for (const [, { entry: each }] of store.view('s').range()) expect(other.store.merge(each)).not.toBe('won')
  })

  test('one write replaces the deadline of the one before', () => {
    const { store, env } = storeOf('a')
    written(store, 'k', '1', 1000)
    written(store, 'k', '2', 5000)
    env.advance(2000)
    store.expire()
    expect(read(store, 'k')).toBe('2')
    written(store, 'k', '3')
    env.advance(60_000)
    store.expire()
    expect(read(store, 'k')).toBe('3')
  })

  test('a value that went with a clock that was ahead comes back with the next comparison', () => {
    const { store, env } = storeOf('a')
    const lease = written(storeOf('b').store, 'k', 'v', HOUR_MS)
    store.merge(lease)
    env.wall += 2 * HOUR_MS
    store.expire()
    expect(read(store, 'k')).toBeUndefined()
    env.wall -= 2 * HOUR_MS
    expect(store.merge(lease)).toBe('won')
    expect(read(store, 'k')).toBe('v')
    expect(store.merge(lease)).toBe('known')
  })
})

describe('a restart', () => {
  test('goes on with stamps above all that the earlier run gave out', () => {
    const before = storeOf('a')
    const outcome = before.store.set('s', 'k', bytes('old'))
    const savedMs = outcome.ok ? outcome.saveMs : undefined
    const other = storeOf('b').store
    if (outcome.ok) other.merge(outcome.entry)
    const after = storeOf('a', {}, savedMs)
    after.env.wall -= 60_000
    expect(other.merge(written(after.store, 'k', 'new'))).toBe('won')
  })

  test('takes back what was on disk, deletes included', () => {
    const { store } = storeOf('a')
    written(store, 'a', '1')
    written(store, 'b', '2')
    deleted(store, 'b')
    const again = storeOf('a').store
    for (const [, { entry: each }] of store.view('s').range()) again.restore(each)
    expect(again.digest.hashes).toEqual(store.digest.hashes)
    expect(read(again, 'a')).toBe('1')
  })
})
