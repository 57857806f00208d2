// The versioned store against a naive one, and its rules one by one. cluster.md §8.2 to §8.4, V2.

import { describe, expect, test } from 'vitest'
import { Changes, type KvChange } from '../../../../cluster/kv/core/changes.ts'
import { type KvCommand, type KvResult, type Put, TXN_OPS_MAX } from '../../../../cluster/kv/core/commands.ts'
import { type KvContext, type Stored, type ValueEffect, Versions } from '../../../../cluster/kv/core/versions.ts'
import { commandOf, packCommand } from '../../../../cluster/kv/wire/commands.ts'
import { pack, UnpackError, unpack } from '../../../../runtime/base/msgpack.ts'
import { fc } from '../../../tools/property.ts'

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const putOf = (key: string, value = key, ttlMs = 0): Put => ({ key, value: bytes(value), ttlMs, keepsExpiry: false })

/** The machine around the store, and the disk behind it. */
class Machine {
  readonly versions: Versions
  readonly values = new Map<string, Uint8Array>()
  readonly index = new Map<string, Stored>()
  readonly locks = new Map<string, number>()
  revision = 0
  clockMs = 0

  constructor(options: ConstructorParameters<typeof Versions>[0] = {}) {
    this.versions = new Versions(options)
  }

  get context(): KvContext {
    return {
      clockMs: this.clockMs,
      nextRevision: () => ++this.revision,
      lockToken: (lock) => this.locks.get(lock),
    }
  }

  /** Applies an entry whose clock is `afterMs` later: what is due expires first. */
  apply(command: KvCommand | undefined, afterMs = 0): KvResult | undefined {
    this.clockMs += afterMs
    while (this.versions.nextExpiryMs <= this.clockMs) this.store(this.versions.expireNext(this.context))
    if (command === undefined) return undefined
    const { result, effects } = this.versions.apply(command, this.context)
    this.store(effects)
    return result
  }

  store(effects: readonly ValueEffect[]): void {
    for (const effect of effects) {
      const at = `${effect.namespace}\0${effect.key}`
      if (effect.kind === 'put') {
        this.values.set(`${at}\0${effect.stored.version}`, effect.value)
        this.index.set(at, effect.stored)
      } else if (effect.kind === 'remove') this.index.delete(at)
      else expect(this.values.delete(`${at}\0${effect.version}`)).toBe(true)
    }
  }

  value(key: string, namespace = 's'): string | undefined {
    const item = this.versions.get(namespace, key)
    if (item === undefined) return undefined
    return new TextDecoder().decode(this.values.get(`${namespace}\0${key}\0${item.version}`))
  }

  put(put: Put, options: Partial<Extract<KvCommand, { kind: 'put' }>> = {}): KvResult {
    const command = { kind: 'put', namespace: 's', put, condition: 'none', fence: undefined, ...options } as const
    return this.apply(command) as KvResult
  }

  delete(key: string, ifVersion?: number): KvResult {
    return this.apply({ kind: 'delete', namespace: 's', key, ifVersion, fence: undefined }) as KvResult
  }

  txn(parts: Partial<Extract<KvCommand, { kind: 'txn' }>>): KvResult {
    const none = { checks: [], puts: [], deletes: [], fence: undefined }
    return this.apply({ kind: 'txn', namespace: 's', ...none, ...parts }) as KvResult
  }
}

const key = fc.constantFrom('a', 'a1', 'a2', 'b', 'c')
const namespace = fc.constantFrom('s', 't')
const version = fc.nat(20)
const put = fc.record({
  key,
  value: fc.uint8Array({ maxLength: 3 }),
  ttlMs: fc.constantFrom(0, 0, 5, 20),
  keepsExpiry: fc.boolean(),
})
const fence = fc.option(fc.record({ lock: fc.constant('l'), token: fc.constantFrom(7, 8) }), {
  nil: undefined,
  freq: 8,
})
const command = fc.oneof(
  fc.record({
    kind: fc.constant('put'),
    namespace,
    put,
    condition: fc.oneof(fc.constantFrom('none', 'absent'), fc.record({ version: version.map((n) => n + 1) })),
    fence,
  }),
  fc.record({ kind: fc.constant('delete'), namespace, key, ifVersion: fc.option(version, { nil: undefined }), fence }),
  fc.record({
    kind: fc.constant('txn'),
    namespace,
    checks: fc.array(fc.record({ key, version }), { maxLength: 2 }),
    puts: fc.array(put, { maxLength: 3 }),
    deletes: fc.array(key, { maxLength: 2 }),
    fence,
  }),
) as fc.Arbitrary<KvCommand>
const entry = fc.record({ command: fc.option(command, { nil: undefined, freq: 8 }), afterMs: fc.constantFrom(0, 1, 6) })

interface Plain {
  value: Uint8Array
  version: number
  created: number
  expiryMs: number
}

/** The rules once more, as plainly as they can be said. */
class PlainStore {
  readonly keys = new Map<string, Plain>()
  readonly changes: Omit<KvChange, 'value'>[] = []
  revision = 0
  clockMs = 0

  apply(command: KvCommand | undefined, afterMs: number): boolean | undefined {
    this.clockMs += afterMs
    const due = [...this.keys].filter(([, { expiryMs }]) => expiryMs > 0 && expiryMs <= this.clockMs)
    for (const [at, { version }] of due.sort(([a, x], [b, y]) => x.expiryMs - y.expiryMs || (a < b ? -1 : 1))) {
      this.keys.delete(at)
      this.change('expired', at, ++this.revision, version)
    }
    if (command === undefined) return undefined
    if (command.fence !== undefined && command.fence.token !== 7) return false
    const find = (key: string): Plain | undefined => this.keys.get(`${command.namespace}\0${key}`)
    let puts: readonly Put[] = []
    let deletes: readonly string[] = []
    if (command.kind === 'put') {
      const { condition } = command
      puts = [command.put]
      const found = find(command.put.key)
      if (condition === 'absent' ? found !== undefined : condition !== 'none' && found?.version !== condition.version) {
        return false
      }
    } else if (command.kind === 'delete') {
      deletes = [command.key]
      if (command.ifVersion !== undefined && find(command.key)?.version !== command.ifVersion) return false
    } else {
      puts = command.puts
      deletes = command.deletes
      const written = [...puts.map((each) => each.key), ...deletes]
      if (new Set(written).size !== written.length) return false
      if (command.checks.some((check) => (find(check.key)?.version ?? 0) !== check.version)) return false
    }
    if (puts.some(({ keepsExpiry, ttlMs }) => keepsExpiry && ttlMs > 0)) return false
    const present = deletes.filter((each) => find(each) !== undefined)
    if (puts.length + present.length === 0) return true
    const version = ++this.revision
    for (const each of [...puts.map((p) => p.key), ...present].sort()) {
      const at = `${command.namespace}\0${each}`
      const before = this.keys.get(at)
      const made = puts.find((p) => p.key === each)
      this.change(made === undefined ? 'delete' : 'put', at, version, before?.version)
      if (made === undefined) this.keys.delete(at)
      else {
        const expiryMs = made.keepsExpiry ? (before?.expiryMs ?? 0) : made.ttlMs > 0 ? this.clockMs + made.ttlMs : 0
        this.keys.set(at, { value: made.value, version, created: before?.created ?? version, expiryMs })
      }
    }
    return true
  }

  change(kind: KvChange['kind'], at: string, version: number, prevVersion: number | undefined): void {
    const [namespace = '', key = ''] = at.split('\0')
    this.changes.push({ kind, namespace, key, version, prevVersion })
  }
}

describe('the versioned store', () => {
  test('does what a plain map does, by any commands and clocks; its disk holds the current values and no other', () => {
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 60, size: 'max' }), (entries) => {
        const machine = new Machine()
        machine.locks.set('l', 7)
        const watch = machine.versions.changes.watch('s', 'a') as number
        const seen: Omit<KvChange, 'value'>[] = []
        const plain = new PlainStore()
        for (const { command: each, afterMs } of entries) {
          const result = machine.apply(each, afterMs)
          expect(result?.ok).toBe(plain.apply(each, afterMs))
          expect(machine.revision).toBe(plain.revision)
          const batch = machine.versions.changes.take(watch)
          if (batch.kind === 'changes') seen.push(...batch.changes.map(({ value: _, ...rest }) => rest))
        }
        const { versions } = machine
        expect(versions.keyCount).toBe(plain.keys.size)
        expect(machine.values.size).toBe(plain.keys.size)
        const used = versions.namespaces().map((namespace) => versions.usageOf(namespace))
        expect(used.reduce((sum, { keys }) => sum + keys, 0)).toBe(plain.keys.size)
        const keyBytes = versions.namespaces().flatMap((namespace) => versions.list(namespace, { limit: 1000 }).items)
        const expected = keyBytes.reduce((sum, { key, valueBytes }) => sum + key.length + valueBytes, 0)
        expect(used.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(expected)
        let total = 0
        for (const [at, { value, version, created, expiryMs }] of plain.keys) {
          const [namespace = '', key = ''] = at.split('\0')
          expect(versions.get(namespace, key)).toEqual({ key, version, created, expiryMs, valueBytes: value.length })
          expect(machine.values.get(`${at}\0${version}`)).toEqual(value)
          expect(machine.index.get(at)?.version).toBe(version)
          total += value.length
        }
        expect(versions.valueBytes).toBe(total)
        expect(machine.index.size).toBe(plain.keys.size)
        const keys = [...plain.keys.keys()].filter((at) => at.startsWith('s\0a')).map((at) => at.slice(2))
        expect(versions.list('s', { prefix: 'a' }).items.map((item) => item.key)).toEqual(keys.sort())
        expect(seen).toEqual(plain.changes.filter((change) => change.namespace === 's' && change.key.startsWith('a')))
      }),
      { numRuns: 300 },
    )
  })

  test('goes on alike from a snapshot that was taken in between (R12)', () => {
    fc.assert(
      fc.property(
        fc.array(entry, { maxLength: 40, size: 'max' }),
        fc.array(entry, { maxLength: 40, size: 'max' }),
        (before, after) => {
          const machine = new Machine()
          for (const { command: each, afterMs } of before) machine.apply(each, afterMs)
          const records: { namespace: string; key: string; stored: Stored; value: Uint8Array }[] = []
          const pin = machine.versions.pin()
          for (const { namespace: ns, keys } of machine.versions.view()) {
            for (const [each, stored] of keys.range()) {
              const value = machine.values.get(`${ns}\0${each}\0${stored.version}`) as Uint8Array
              records.push({ namespace: ns, key: each, stored, value })
            }
          }
          machine.store(machine.versions.unpin(pin))
          const copy = new Machine()
          copy.versions.restore(records, { version: machine.revision, clockMs: machine.clockMs })
          for (const { namespace: ns, key: each, stored, value } of records) {
            copy.store([{ kind: 'put', namespace: ns, key: each, stored, value }])
          }
          copy.revision = machine.revision
          copy.clockMs = machine.clockMs
          for (const { command: each, afterMs } of after) {
            expect(copy.apply(each, afterMs)).toEqual(machine.apply(each, afterMs))
          }
          expect(copy.values).toEqual(machine.values)
          expect(copy.index).toEqual(machine.index)
          expect(copy.revision).toBe(machine.revision)
        },
      ),
    )
  })

  test('a view is what was there, with its values, while the store goes on', () => {
    const machine = new Machine()
    for (const each of ['a', 'b', 'c']) machine.put(putOf(each, 'old'))
    const pin = machine.versions.pin()
    const [view] = machine.versions.view()
    machine.put(putOf('a', 'new'))
    machine.delete('b')
    machine.put(putOf('a', 'newer'))
    const later = machine.versions.pin()
    machine.put(putOf('c', 'new'))
    const read = [...(view?.keys.range() ?? [])].map(([each, stored]) =>
      new TextDecoder().decode(machine.values.get(`s\0${each}\0${stored.version}`)),
    )
    expect(read).toEqual(['old', 'old', 'old'])
    machine.store(machine.versions.unpin(pin))
    expect(machine.values.size).toBe(3)
    machine.store(machine.versions.unpin(later))
    expect(machine.versions.unpin(later)).toEqual([])
    expect([machine.values.size, machine.value('a'), machine.value('c')]).toEqual([2, 'newer', 'new'])
  })
})

describe('conditions', () => {
  test('say what is there instead', () => {
    const machine = new Machine()
    const first = machine.put(putOf('k'), { condition: 'absent' })
    expect(first).toEqual({ ok: true, version: 1, existed: 0 })
    expect(machine.put(putOf('k'), { condition: 'absent' })).toMatchObject({ kind: 'AlreadyExists', version: 1 })
    expect(machine.put(putOf('k'), { condition: { version: 9 } })).toMatchObject({ kind: 'Conflict', version: 1 })
    expect(machine.put(putOf('x'), { condition: { version: 9 } })).toMatchObject({ kind: 'NotFound', key: 'x' })
    expect(machine.put(putOf('k', 'v2'), { condition: { version: 1 } })).toEqual({ ok: true, version: 2, existed: 1 })
    expect(machine.delete('k', 1)).toMatchObject({ kind: 'Conflict', version: 2 })
    expect(machine.delete('k', 2)).toEqual({ ok: true, version: 3, existed: 1 })
    expect(machine.delete('k')).toEqual({ ok: true, version: undefined, existed: 0 })
    expect(machine.revision).toBe(3)
  })

  test('a fence that is not the current grant refuses the write', () => {
    const machine = new Machine()
    const fenced = { fence: { lock: 'l', token: 5 } }
    expect(machine.put(putOf('k'), fenced)).toMatchObject({ ok: false, kind: 'Conflict' })
    machine.locks.set('l', 5)
    expect(machine.put(putOf('k'), fenced).ok).toBe(true)
    machine.locks.set('l', 6)
    expect(machine.put(putOf('k'), fenced)).toMatchObject({ ok: false, kind: 'Conflict' })
    expect(machine.txn({ puts: [putOf('j')], ...fenced })).toMatchObject({ ok: false, kind: 'Conflict' })
  })

  test('a transaction is all or nothing, under one version', () => {
    const machine = new Machine()
    machine.put(putOf('a'))
    const checks = [
      { key: 'a', version: 1 },
      { key: 'b', version: 0 },
    ]
    expect(machine.txn({ checks, puts: [putOf('b'), putOf('c')], deletes: ['a', 'z'] })).toEqual({
      ok: true,
      version: 2,
      existed: 1,
    })
    expect(machine.versions.list('s').items.map((item) => [item.key, item.version])).toEqual([
      ['b', 2],
      ['c', 2],
    ])
    expect(machine.txn({ checks, puts: [putOf('d')] })).toMatchObject({ kind: 'Conflict', key: 'a' })
    expect(machine.txn({ checks: [{ key: 'b', version: 0 }] })).toMatchObject({
      kind: 'Conflict',
      key: 'b',
      version: 2,
    })
    expect(machine.txn({ puts: [putOf('d'), putOf('d')] })).toMatchObject({ kind: 'Invalid' })
    expect(machine.value('d')).toBeUndefined()
    const many = Array.from({ length: TXN_OPS_MAX + 1 }, (_, i) => `k${i}`)
    expect(machine.txn({ deletes: many })).toMatchObject({ kind: 'Invalid' })
  })

  test('what is no key, no namespace or no time is refused', () => {
    const machine = new Machine()
    expect(machine.put(putOf(''))).toMatchObject({ kind: 'Invalid' })
    expect(machine.put(putOf('k'.repeat(1025)))).toMatchObject({ kind: 'Invalid' })
    expect(machine.put(putOf('k'), { namespace: '' })).toMatchObject({ kind: 'Invalid' })
    expect(machine.put(putOf('k', 'v', Number.NaN))).toMatchObject({ kind: 'Invalid' })
    expect(machine.put(putOf('k', 'v', 1e15))).toMatchObject({ kind: 'Invalid' })
    expect(machine.put({ ...putOf('k', 'v', 5), keepsExpiry: true })).toMatchObject({ kind: 'Invalid' })
    expect(machine.txn({ checks: [{ key: '', version: 1 }] })).toMatchObject({ kind: 'Invalid' })
    expect(machine.revision).toBe(0)
  })

  test('a store has room for so many keys, and what is there can still be replaced', () => {
    const machine = new Machine({ limits: { keysMax: 2 } })
    machine.txn({ puts: [putOf('a'), putOf('b')] })
    expect(machine.put(putOf('c'))).toMatchObject({ ok: false, kind: 'Unavailable' })
    expect(machine.put(putOf('a', 'again')).ok).toBe(true)
  })
})

describe('deadlines', () => {
  test('are by the clock of the log, and each is a change', () => {
    const machine = new Machine()
    const watch = machine.versions.changes.watch('s', '') as number
    machine.put(putOf('b', 'v', 10))
    machine.put(putOf('a', 'v', 10))
    machine.put(putOf('c', 'v', 5))
    machine.apply(undefined, 9)
    machine.apply(undefined, 1)
    expect([machine.versions.keyCount, machine.values.size]).toEqual([0, 0])
    const batch = machine.versions.changes.take(watch)
    const told = batch.kind === 'changes' ? batch.changes.map((each) => `${each.kind} ${each.key} ${each.version}`) : []
    expect(told).toEqual(['put b 1', 'put a 2', 'put c 3', 'expired c 4', 'expired a 5', 'expired b 6'])
  })

  test('a write without one makes the key stay, one that keeps it does not', () => {
    const machine = new Machine()
    machine.put(putOf('a', 'v', 10))
    machine.put(putOf('b', 'v', 10))
    machine.put(putOf('a', 'w'))
    machine.put({ ...putOf('b', 'w'), keepsExpiry: true })
    machine.put({ ...putOf('new'), keepsExpiry: true })
    machine.apply(undefined, 10)
    expect(machine.versions.list('s').items.map((item) => item.key)).toEqual(['a', 'new'])
  })

  test('a key whose time has come is absent even before it is removed', () => {
    const { versions } = new Machine()
    let revision = 0
    const at = (clockMs: number): KvContext => ({ clockMs, nextRevision: () => ++revision, lockToken: () => undefined })
    const put = { kind: 'put', namespace: 's', condition: 'absent', fence: undefined } as const
    versions.apply({ ...put, put: putOf('k', 'v', 10) }, at(0))
    expect(versions.apply({ ...put, put: putOf('k', 'w') }, at(10)).result.ok).toBe(true)
    expect(versions.expireNext(at(10))).toEqual([])
    expect(versions.get('s', 'k')?.created).toBe(2)
  })
})

describe('lists', () => {
  test('are pages by count and by size, and know whether there is more', () => {
    const machine = new Machine()
    for (let i = 0; i < 5; i++) machine.put({ ...putOf(`k${i}`), value: new Uint8Array(400_000) })
    const page = machine.versions.list('s')
    expect([page.items.length, page.cursor, page.hasMore, page.version]).toEqual([2, 'k1', true, 5])
    const last = machine.versions.list('s', { after: 'k2', limit: 2 })
    expect([last.items.length, last.cursor, last.hasMore]).toEqual([2, 'k4', false])
    expect(machine.versions.list('s', { after: 'k4' })).toMatchObject({ items: [], cursor: '', hasMore: false })
    machine.put({ ...putOf('z'), value: new Uint8Array(2_000_000) })
    expect(machine.versions.list('s', { after: 'k4' }).items.length).toBe(1)
  })
})

describe('watches (V2)', () => {
  const change = (at: number, key = 'a', prevVersion?: number): KvChange => ({
    kind: 'put',
    namespace: 's',
    key,
    value: bytes('v'),
    version: at,
    prevVersion,
  })

  test('give what comes after a version, once, in whole versions', () => {
    const changes = new Changes()
    changes.append([change(1)])
    const all = changes.watch('s', '', 0) as number
    const now = changes.watch('s', '') as number
    expect(changes.ready()).toEqual([all])
    changes.append([change(2, 'a'), change(2, 'b'), change(2, 'c')])
    expect(changes.take(all, 2)).toMatchObject({
      changes: [{ version: 1 }, { version: 2 }, { version: 2 }, { version: 2 }],
    })
    expect(changes.take(all)).toMatchObject({ kind: 'changes', changes: [] })
    expect(changes.take(now)).toMatchObject({ changes: [{ key: 'a' }, { key: 'b' }, { key: 'c' }] })
    expect(changes.ready()).toEqual([])
  })

  test('a long batch is taken in parts', () => {
    const changes = new Changes()
    const watch = changes.watch('s', '') as number
    for (let i = 1; i <= 10; i++) changes.append([change(i)])
    const taken: number[] = []
    while (changes.ready().length > 0) {
      const batch = changes.take(watch, 3)
      if (batch.kind === 'changes') taken.push(...batch.changes.map((each) => each.version))
    }
    expect(taken).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
  })

  test('one from too far back, or of a state that was replaced, lists again', () => {
    const changes = new Changes({ countMax: 2 })
    const slow = changes.watch('s', '') as number
    for (let i = 1; i <= 3; i++) changes.append([change(i)])
    expect(changes.take(slow)).toEqual({ kind: 'resync', version: 3 })
    expect(changes.take(slow)).toMatchObject({ kind: 'changes', changes: [] })
    const exact = changes.watch('s', '', 1) as number
    expect(changes.take(exact)).toMatchObject({ kind: 'changes', changes: [{ version: 2 }, { version: 3 }] })
    changes.reset(10)
    expect(changes.ready()).toEqual([slow, exact])
    expect(changes.take(slow)).toEqual({ kind: 'resync', version: 10 })
    const future = changes.watch('s', '', 99) as number
    expect(changes.take(future)).toEqual({ kind: 'resync', version: 10 })
    changes.advance(50)
    expect(changes.watch('s', '') === undefined ? 0 : changes.latest).toBe(50)
  })

  test('large values count against the bound', () => {
    const changes = new Changes({ bytesMax: 1000 })
    const watch = changes.watch('s', '') as number
    changes.append([{ ...change(1), value: new Uint8Array(2000) }])
    expect(changes.take(watch)).toEqual({ kind: 'resync', version: 1 })
  })

  test('only those of the prefix are woken, also when there are many prefixes', () => {
    const changes = new Changes()
    const others = Array.from({ length: 50 }, (_, i) => changes.watch('s', `x${i}`))
    const mine = changes.watch('s', 'ab')
    const empty = changes.watch('s', '')
    changes.watch('t', 'ab')
    changes.append([change(1, 'abc')])
    expect(changes.ready()).toEqual([mine, empty])
    for (const id of [...others, mine, empty]) changes.unwatch(id as number)
    changes.append([change(2, 'abc')])
    expect([changes.ready(), changes.watchCount]).toEqual([[], 1])
    expect(changes.take(mine as number)).toMatchObject({ kind: 'changes', changes: [] })
  })
})

describe('commands as bytes', () => {
  test('are read as they were written', () => {
    fc.assert(
      fc.property(command, (each) => {
        const written =
          each.kind === 'put'
            ? { ...each, put: { ...each.put, ttlMs: each.put.keepsExpiry ? 0 : each.put.ttlMs } }
            : each.kind === 'txn'
              ? { ...each, puts: each.puts.map((p) => ({ ...p, ttlMs: p.keepsExpiry ? 0 : p.ttlMs })) }
              : each
        expect(commandOf(unpack(pack(packCommand(written))))).toEqual(written)
      }),
    )
  })

  test('are refused or read when damaged, and nothing else happens', () => {
    const damage = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 })
    fc.assert(
      fc.property(command, damage, (each, changes) => {
        const damaged = pack(packCommand(each)).slice()
        for (const [at, byte] of changes) damaged[at % damaged.length] = byte
        try {
          commandOf(unpack(damaged))
        } catch (error) {
          expect(error).toBeInstanceOf(UnpackError)
        }
      }),
      { numRuns: 500 },
    )
  })
})
