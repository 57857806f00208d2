import { describe, expect, test } from 'vitest'
import type { KvCommand } from '../../../../cluster/kv/core/commands.ts'
import type { Command } from '../../../../cluster/state/core/commands.ts'
import { Machine, type MachineView, SECTIONS, type Section } from '../../../../cluster/state/core/machine.ts'
import type { Outcome } from '../../../../cluster/state/core/outcomes.ts'
import { RESULTS_MAX } from '../../../../cluster/state/core/sessions.ts'
import { decodeCommands } from '../../../../cluster/state/wire/commands.ts'
import { toBytes } from '../../../../runtime/base/bytes.ts'
import { pack, UnpackError } from '../../../../runtime/base/msgpack.ts'
import { LockChecker } from '../../../sim/checkers/locks.ts'
import { checkNames } from '../../../sim/checkers/names.ts'
import { fc } from '../../../tools/property.ts'
import { encodeCommands } from '../../../tools/state-commands.ts'

const pid = (node: string, epoch: number, n: number): string => `{${node}@h|${epoch.toString(36)}.${n}}`

class Rig {
  machine = new Machine(decodeCommands)
  clockMs = 0
  #seq = 0

  run(command: Command, session = 0, seq = ++this.#seq, floor = 0) {
    const data = encodeCommands([{ session, seq, floor, command }])
    const applied = this.machine.apply({ index: this.machine.index + 1, clockMs: this.clockMs, kind: 'commands', data })
    return { outcome: applied.outcomes[0] as Outcome, events: applied.events, seq }
  }

  /** Several commands without a session in one entry. */
  entry(commands: readonly Command[]) {
    const data = encodeCommands(commands.map((command) => ({ session: 0, seq: 0, floor: 0, command })))
    return this.machine.apply({ index: this.machine.index + 1, clockMs: this.clockMs, kind: 'commands', data })
  }

  up(node: string, epoch = 1): number {
    const { outcome } = this.run({ kind: 'node-up', node, epoch, role: 'voter' })
    return outcome.status === 'session' ? outcome.session : 0
  }

  tick(clockMs: number) {
    this.clockMs = clockMs
    return this.machine.apply({ index: this.machine.index + 1, clockMs, kind: 'tick' }).events
  }
}

describe('requests (cluster.md §5.11)', () => {
  test('are applied once and answered alike, also after a snapshot', () => {
    const rig = new Rig()
    const a = rig.up('a')
    const first = rig.run({ kind: 'register', name: 'x', pid: pid('a', 1, 1) }, a, 7)
    rig.machine = Machine.restored(rig.machine.snapshot(), decodeCommands)
    const again = rig.run({ kind: 'register', name: 'x', pid: pid('a', 1, 1) }, a, 7)
    expect(again.outcome).toEqual(first.outcome)
    expect(again.events).toEqual([])
  })

  test('below the floor, or of an ended session, are refused', () => {
    const rig = new Rig()
    const a = rig.up('a')
    rig.run({ kind: 'cancel', seq: 1 }, a, 9, 9)
    expect(rig.run({ kind: 'cancel', seq: 1 }, a, 8, 8).outcome.status).toBe('stale-request')
    rig.run({ kind: 'node-down', node: 'a', session: a, reason: 'dead' })
    expect(rig.run({ kind: 'cancel', seq: 1 }, a, 10, 10).outcome.status).toBe('session-expired')
  })

  test('the first that is open finds room, however many came after it', () => {
    const rig = new Rig()
    const a = rig.up('a')
    for (let seq = 2; seq <= RESULTS_MAX + 1; seq++) rig.run({ kind: 'proc-down', pids: [] }, a, seq, 1)
    expect(rig.run({ kind: 'proc-down', pids: [] }, a, RESULTS_MAX + 2, 1).outcome.status).toBe('overloaded')
    expect(rig.run({ kind: 'proc-down', pids: [] }, a, 1, 1).outcome.status).toBe('ok')
    expect(rig.run({ kind: 'proc-down', pids: [] }, a, RESULTS_MAX + 2, RESULTS_MAX + 2).outcome.status).toBe('ok')
  })
})

test('NODE_DOWN releases names and locks in one entry, and waiters are granted (cluster.md §5.10)', () => {
  const rig = new Rig()
  const [a, b] = [rig.up('a'), rig.up('b')]
  rig.run({ kind: 'register', name: 'x', pid: pid('a', 1, 1) }, a)
  rig.run({ kind: 'lock-acquire', name: 'l', pid: pid('a', 1, 1), waitMs: 0, ttlMs: 0 }, a)
  const wait = rig.run({ kind: 'lock-acquire', name: 'l', pid: pid('b', 1, 1), waitMs: 5000, ttlMs: 0 }, b)
  expect(wait.outcome.status).toBe('pending')
  rig.run({ kind: 'node-down', node: 'a', session: a, reason: 'dead' })
  expect(rig.machine.names.lookup('x')).toBeUndefined()
  expect(rig.machine.locks.holder('l')?.pid).toBe(pid('b', 1, 1))
  expect(rig.machine.result({ session: b, seq: wait.seq })?.status).toBe('granted')
})

describe('NODE_UP of a later run (cluster.md §5.10)', () => {
  const down = (session: number): Command => ({ kind: 'node-down', node: 'a', session, reason: 'dead' })

  test('ends the earlier one in its own entry: what that had goes on to others, and nothing of it to its successor', () => {
    const rig = new Rig()
    const [a, b] = [rig.up('a'), rig.up('b')]
    rig.run({ kind: 'register', name: 'x', pid: pid('a', 1, 1) }, a)
    rig.run({ kind: 'lock-acquire', name: 'l', pid: pid('a', 1, 1), waitMs: 0, ttlMs: 0 }, a)
    // Another process of the same run is the first who waits: it must not be given what ends with it.
    const own = rig.run({ kind: 'lock-acquire', name: 'l', pid: pid('a', 1, 2), waitMs: 5000, ttlMs: 0 }, a)
    const other = rig.run({ kind: 'lock-acquire', name: 'l', pid: pid('b', 1, 1), waitMs: 5000, ttlMs: 0 }, b)
    const { outcome, events } = rig.run({ kind: 'node-up', node: 'a', epoch: 2, role: 'voter' })
    const session = outcome.status === 'session' ? outcome.session : 0
    expect(session).toBeGreaterThan(a)
    expect(events.map(({ kind }) => kind)).toEqual([
      'lock-released',
      'lock-granted',
      'answer',
      'binding',
      'session-ended',
      'session-opened',
    ])
    expect(rig.machine.locks.holder('l')).toMatchObject({ pid: pid('b', 1, 1), queue: new Map() })
    expect(rig.machine.result({ session: b, seq: other.seq })?.status).toBe('granted')
    expect(rig.machine.result({ session: a, seq: own.seq })).toBeUndefined()
    expect(rig.machine.names.lookup('x')).toBeUndefined()
    // The first run is fenced, its processes too; whatever ends its session comes too late.
    expect(rig.run({ kind: 'register', name: 'x', pid: pid('a', 2, 1) }, a).outcome.status).toBe('session-expired')
    const stale = { status: 'stale-epoch', epoch: 2 }
    expect(rig.run({ kind: 'register', name: 'x', pid: pid('a', 1, 1) }, session).outcome).toEqual(stale)
    expect(rig.run(down(a)).outcome).toEqual({ status: 'ok', changed: false })
    expect(rig.machine.sessions.ofNode('a')?.session).toBe(session)
  })

  test('again opens no second session, and one of an earlier run that comes after it is refused', () => {
    const rig = new Rig()
    const first = rig.up('a')
    const second = rig.up('a', 2)
    rig.run({ kind: 'register', name: 'x', pid: pid('a', 2, 1) }, second)
    const { revision } = rig.machine
    expect(rig.up('a', 2)).toBe(second)
    expect(rig.run({ kind: 'node-up', node: 'a', epoch: 1, role: 'voter' }).outcome).toEqual({
      status: 'stale-epoch',
      epoch: 2,
    })
    expect([rig.machine.revision, rig.machine.sessions.count]).toEqual([revision, 1])
    expect(rig.machine.names.lookup('x')?.session).toBe(second)
    // Also when the later run is over: it was there.
    rig.run(down(second))
    expect(rig.up('a')).toBe(0)
    expect(rig.up('a', 3)).toBeGreaterThan(second)
    expect(rig.run(down(first)).outcome).toEqual({ status: 'ok', changed: false })
  })
})

describe('of two sessions that end in one entry, who was given what the first had loses it with the second:', () => {
  const up = (rig: Rig) => [rig.up('a'), rig.up('b'), rig.up('c')] as const
  const end = (rig: Rig, ...ended: [string, number][]) => {
    const commands: Command[] = ended.map(([node, session]) => ({ kind: 'node-down', node, session, reason: 'dead' }))
    return rig.entry(commands)
  }

  test('a lock goes on to the waiter of a third, whatever their order', () => {
    for (const isReversed of [false, true]) {
      const rig = new Rig()
      const [a, b, c] = up(rig)
      rig.run({ kind: 'lock-acquire', name: 'l', pid: pid('a', 1, 1), waitMs: 0, ttlMs: 0 }, a)
      rig.run({ kind: 'lock-acquire', name: 'l', pid: pid('b', 1, 1), waitMs: 5000, ttlMs: 0 }, b)
      const { seq } = rig.run({ kind: 'lock-acquire', name: 'l', pid: pid('c', 1, 1), waitMs: 5000, ttlMs: 0 }, c)
      const ends: [string, number][] = [
        ['a', a],
        ['b', b],
      ]
      const { events } = end(rig, ...(isReversed ? ends.reverse() : ends))
      const granted = events.flatMap((event) => (event.kind === 'lock-granted' ? [event.pid] : []))
      expect(granted).toEqual(isReversed ? [pid('c', 1, 1)] : [pid('b', 1, 1), pid('c', 1, 1)])
      expect(rig.machine.locks.holder('l')?.pid).toBe(pid('c', 1, 1))
      expect(rig.machine.result({ session: c, seq })?.status).toBe('granted')
      expect([rig.machine.locks.waiterCount, rig.machine.nextExpiryMs]).toEqual([0, undefined])
    }
  })

  test('a strong name that waited only for the first is nobody’s, and no reservation is left', () => {
    for (const isReversed of [false, true]) {
      const rig = new Rig()
      const [a, b, c] = up(rig)
      const { outcome } = rig.run({ kind: 'strong-open', name: 'x', pid: pid('b', 1, 1), ttlMs: 1000 }, b)
      const revision = outcome.status === 'pending' ? outcome.revision : 0
      rig.run({ kind: 'strong-ack', name: 'x', revision, sessions: [b, c] })
      const ends: [string, number][] = [
        ['a', a],
        ['b', b],
      ]
      const { events } = end(rig, ...(isReversed ? ends.reverse() : ends))
      const bindings = events.flatMap((event) => (event.kind === 'binding' ? [event.pid] : []))
      expect(bindings).toEqual(isReversed ? [] : [pid('b', 1, 1), undefined])
      expect(rig.machine.names.lookup('x')).toBeUndefined()
      expect(rig.machine.names.reservation('x')).toBeUndefined()
      expect(rig.machine.names.strongNames('', 10)).toEqual([])
      const again = rig.run({ kind: 'register', name: 'x', pid: pid('c', 1, 1) }, c)
      expect(again.outcome).toMatchObject({ status: 'ok', changed: true })
    }
  })
})

test('a strong name is active after every session acknowledged or ended (cluster.md §6.4)', () => {
  const rig = new Rig()
  const [a, b] = [rig.up('a'), rig.up('b')]
  const { outcome, seq } = rig.run({ kind: 'strong-open', name: 'x', pid: pid('a', 1, 1), ttlMs: 1000 }, a)
  const revision = outcome.status === 'pending' ? outcome.revision : 0
  rig.run({ kind: 'strong-ack', name: 'x', revision, sessions: [a] })
  const c = rig.up('c')
  rig.run({ kind: 'node-down', node: 'b', session: b, reason: 'dead' })
  expect(rig.machine.names.lookup('x')).toBeUndefined()
  rig.run({ kind: 'strong-ack', name: 'x', revision, sessions: [c] })
  expect(rig.machine.names.lookup('x')?.scope).toBe('strong')
  expect(rig.machine.result({ session: a, seq })?.status).toBe('ok')
})

test('strong names and reservations are listed without the others, also after a snapshot', () => {
  const rig = new Rig()
  const a = rig.up('a')
  const open = (name: string): number => {
    const { outcome } = rig.run({ kind: 'strong-open', name, pid: pid('a', 1, 1), ttlMs: 1000 }, a)
    return outcome.status === 'pending' ? outcome.revision : 0
  }
  rig.run({ kind: 'register', name: 'c', pid: pid('a', 1, 1) }, a)
  for (const name of ['b', 'gone', 'x']) {
    rig.run({ kind: 'strong-ack', name, revision: open(name), sessions: [a] })
  }
  for (const name of ['late', 'reserved']) open(name)
  rig.run({ kind: 'unregister', name: 'gone', pid: undefined, scope: 'strong' }, a)
  const listed = (): string[][] => [
    rig.machine.names.strongNames('', 10),
    rig.machine.names.strongNames('b', 2),
    rig.machine.names.strongNames('x', 2),
  ]
  expect(listed()).toEqual([['b', 'late', 'reserved', 'x'], ['late', 'reserved'], []])
  rig.machine = Machine.restored(rig.machine.snapshot(), decodeCommands)
  expect(listed()).toEqual([['b', 'late', 'reserved', 'x'], ['late', 'reserved'], []])
  rig.tick(1000)
  expect(rig.machine.names.strongNames('', 10)).toEqual(['b', 'x'])
})

test('a reservation that is not acknowledged in time names who was missing (cluster.md §6.4)', () => {
  const rig = new Rig()
  const a = rig.up('a')
  rig.up('b')
  const { outcome, seq } = rig.run({ kind: 'strong-open', name: 'x', pid: pid('a', 1, 1), ttlMs: 1000 }, a)
  const revision = outcome.status === 'pending' ? outcome.revision : 0
  rig.run({ kind: 'strong-ack', name: 'x', revision, sessions: [a] })
  rig.tick(1000)
  expect(rig.machine.result({ session: a, seq })).toEqual({ status: 'timeout', missing: ['b'], missingCount: 1 })
})

describe('the store in the machine (cluster.md §8.2, §8.3)', () => {
  const put = (key: string, options: { ttlMs?: number; fence?: { lock: string; token: number } } = {}): Command => ({
    kind: 'kv',
    command: {
      kind: 'put',
      namespace: 's',
      put: { key, value: new Uint8Array([1]), ttlMs: options.ttlMs ?? 0, keepsExpiry: false },
      condition: 'none',
      fence: options.fence,
    },
  })

  test('versions are revisions of the machine, and a repeated write is one write', () => {
    const rig = new Rig()
    const a = rig.up('a')
    const first = rig.run(put('k'), a, 5)
    expect(first.outcome).toEqual({ status: 'kv', result: { ok: true, version: rig.machine.revision, existed: 0 } })
    rig.machine = Machine.restored(rig.machine.snapshot(), decodeCommands)
    expect(rig.run(put('k'), a, 5).outcome).toEqual(first.outcome)
    expect(rig.machine.store.get('s', 'k')?.version).toBe(rig.machine.revision)
  })

  test('a fence is the token of the current grant, whatever was granted before (K2)', () => {
    const rig = new Rig()
    const a = rig.up('a')
    const lock = 'schloß'
    const fenceOf = (token: number) => ({ lock: toBytes(lock), token })
    rig.run({ kind: 'lock-acquire', name: lock, pid: pid('a', 1, 1), waitMs: 0, ttlMs: 10 }, a)
    const old = rig.machine.locks.holder(lock)?.token ?? 0
    expect(rig.run(put('k', { fence: fenceOf(old) }), a).outcome).toMatchObject({ result: { ok: true } })
    rig.tick(10)
    expect(rig.run(put('k', { fence: fenceOf(old) }), a).outcome).toMatchObject({ result: { kind: 'Conflict' } })
    rig.run({ kind: 'lock-acquire', name: lock, pid: pid('a', 1, 1), waitMs: 0, ttlMs: 0 }, a)
    expect(rig.run(put('k', { fence: fenceOf(old) }), a).outcome).toMatchObject({ result: { kind: 'Conflict' } })
    const token = rig.machine.locks.holder(lock)?.token ?? 0
    expect(rig.run(put('k', { fence: fenceOf(token) }), a).outcome).toMatchObject({ result: { ok: true } })
  })

  test('keys end by the log clock, before the commands of the entry that moved it', () => {
    const rig = new Rig()
    const a = rig.up('a')
    rig.run(put('k', { ttlMs: 10 }), a)
    expect(rig.machine.nextExpiryMs).toBe(10)
    rig.tick(9)
    expect(rig.machine.store.get('s', 'k')).toBeDefined()
    rig.clockMs = 10
    expect(rig.run(put('k'), a).outcome).toMatchObject({ result: { ok: true, existed: 0 } })
    expect(rig.machine.nextExpiryMs).toBeUndefined()
  })

  test('who follows it lists again when the state is replaced (cluster.md §8.4)', () => {
    const rig = new Rig()
    const a = rig.up('a')
    const { changes } = rig.machine.store
    const watch = changes.watch('s', '') ?? 0
    const other = Machine.restored(rig.machine.snapshot(), decodeCommands)
    const ahead = new Rig()
    ahead.machine = other
    ahead.run(put('k'), a, 50)
    rig.machine.replaceBy(Machine.restored(ahead.machine.snapshot(), decodeCommands))
    expect(rig.machine.store.changes.take(watch)).toEqual({ kind: 'resync', version: rig.machine.revision })
    rig.run(put('l'), a, 51)
    expect(rig.machine.store.changes.take(watch)).toMatchObject({ changes: [{ key: 'l' }] })
  })
})

test('an entry of an unknown command stops the machine and changes nothing (cluster.md §5.12)', () => {
  const rig = new Rig()
  const a = rig.up('a')
  const before = rig.machine.digest()
  const known = { v: 1, k: 3, s: a, q: 1, f: 1, c: { name: 'x', pid: pid('a', 1, 1) } }
  for (const list of [[known, { ...known, k: 99 }], [{ ...known, v: 2 }], [{ ...known, c: { name: 'x' } }], known]) {
    const entry = { index: rig.machine.index + 1, clockMs: 0, kind: 'commands' as const, data: pack(list) }
    expect(() => rig.machine.apply(entry)).toThrow(UnpackError)
    expect(rig.machine.digest()).toBe(before)
  }
})

test('a node of many names and locks is released in one entry of many small pieces (cluster.md §12, 43)', () => {
  const rig = new Rig()
  const a = rig.up('a')
  for (let i = 0; i < 300; i++) {
    rig.run({ kind: 'register', name: `n${i}`, pid: pid('a', 1, 1) }, a, i + 1, i + 1)
    rig.run({ kind: 'lock-acquire', name: `l${i}`, pid: pid('a', 1, 1), waitMs: 0, ttlMs: 0 }, a, 1000 + i, i + 1)
  }
  const command: Command = { kind: 'node-down', node: 'a', session: a, reason: 'dead' }
  const data = encodeCommands([{ session: 0, seq: 0, floor: 0, command }])
  const { index } = rig.machine
  const work = rig.machine.applying({ index: index + 1, clockMs: 0, kind: 'commands', data })
  let pieces = 0
  while (work.next().done !== true) {
    expect(rig.machine.index).toBe(index)
    pieces++
  }
  expect(pieces).toBeGreaterThanOrEqual(600)
  expect([rig.machine.index, rig.machine.names.count, rig.machine.locks.count]).toEqual([index + 1, 0, 0])
})

const node = fc.constantFrom('a', 'b', 'c')
const epoch = fc.integer({ min: 1, max: 2 })
const name = fc.constantFrom('x', 'y', '\ue000', '\u{1f600}')
const someone = fc.tuple(node, epoch, fc.integer({ min: 1, max: 2 })).map(([n, e, i]) => pid(n, e, i))
const span = fc.constantFrom(0, 10, 30)
const number = fc.integer({ min: 1, max: 40 })
const fence = fc.option(fc.record({ lock: name.map(toBytes), token: number }), { nil: undefined })
const namespace = fc.constantFrom('s', 't')
const put = fc.record({
  key: name.map(toBytes),
  value: fc.uint8Array({ maxLength: 3 }),
  ttlMs: span,
  keepsExpiry: fc.constant(false),
})
const kvCommand: fc.Arbitrary<KvCommand> = fc.oneof(
  fc.record({
    kind: fc.constant('put' as const),
    namespace,
    put,
    condition: fc.oneof(
      fc.constantFrom('none' as const, 'absent' as const),
      number.map((version) => ({ version })),
    ),
    fence,
  }),
  fc.record({
    kind: fc.constant('delete' as const),
    namespace,
    key: name.map(toBytes),
    ifVersion: fc.option(number, { nil: undefined }),
    fence,
  }),
)
const command: fc.Arbitrary<Command> = fc.oneof(
  fc.record({ kind: fc.constant('node-up' as const), node, epoch, role: fc.constant('voter') }),
  fc.record({ kind: fc.constant('node-down' as const), node, session: number, reason: fc.constant('dead') }),
  fc.record({ kind: fc.constant('proc-down' as const), pids: fc.array(someone, { maxLength: 2 }) }),
  fc.record({ kind: fc.constant('register' as const), name, pid: someone }),
  fc.record({
    kind: fc.constant('unregister' as const),
    name,
    pid: someone,
    scope: fc.constant('consistent' as const),
  }),
  fc.record({ kind: fc.constant('strong-open' as const), name, pid: someone, ttlMs: span }),
  fc.record({ kind: fc.constant('strong-ack' as const), name, revision: number, sessions: fc.array(number) }),
  fc.record({ kind: fc.constant('lock-acquire' as const), name, pid: someone, waitMs: span, ttlMs: span }),
  fc.record({ kind: fc.constant('lock-release' as const), name, pid: someone }),
  fc.record({ kind: fc.constant('lock-renew' as const), name, pid: someone, token: number, ttlMs: span }),
  fc.record({ kind: fc.constant('cancel' as const), seq: fc.constant(0) }),
  fc.record({ kind: fc.constant('kv' as const), command: kvCommand }),
)

function sectionsOf(view: MachineView): Section[] {
  const sections: Section[] = Object.values(SECTIONS).map((id) => ({ id, records: [] }))
  for (const { section, record } of view.records()) {
    const records = sections.find(({ id }) => id === section)?.records as Uint8Array[] | undefined
    records?.push(record)
  }
  return sections
}

test('any commands in any order keep N1, N2, K1, K2, K4; a restored machine goes on alike, and a view stays what it was (R12)', () => {
  const step = fc.record({
    command,
    who: node,
    seq: number,
    advanceMs: fc.constantFrom(0, 0, 5, 20),
    restore: fc.boolean(),
    view: fc.constantFrom('open', 'close', 'no', 'no'),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const lived = new Machine(decodeCommands)
      let other = new Machine(decodeCommands)
      const locks = new LockChecker()
      const views: { view: MachineView; expected: Section[] }[] = []
      let clockMs = 0
      for (const node of ['a', 'b', 'c']) {
        const command: Command = { kind: 'node-up', node, epoch: 1, role: 'voter' }
        const data = encodeCommands([{ session: 0, seq: 0, floor: 0, command }])
        for (const each of [lived, other]) each.apply({ index: each.index + 1, clockMs, kind: 'commands', data })
      }
      const closeOldest = () => {
        const oldest = views.shift()
        if (oldest === undefined) return
        expect(sectionsOf(oldest.view)).toEqual(oldest.expected)
        oldest.view.close()
      }
      for (const { command: drawn, who, seq, advanceMs, restore, view } of steps) {
        const command = drawn.kind === 'cancel' ? { ...drawn, seq: seq >> 1 } : drawn
        clockMs += advanceMs
        const session = lived.sessions.ofNode(who)?.session ?? 0
        const isBare = /^(node|strong-ack)/.test(command.kind)
        if (session === 0 && !isBare) continue
        const data = encodeCommands([{ session: isBare ? 0 : session, seq, floor: 0, command }])
        const entry = { index: lived.index + 1, clockMs, kind: 'commands' as const, data }
        const applied = lived.apply(entry)
        expect(other.apply(entry)).toEqual(applied)
        checkNames(lived)
        locks.applied(applied.events, lived)
        if (restore) other = Machine.restored(other.snapshot(), decodeCommands)
        expect(other.digest()).toBe(lived.digest())
        if (view === 'open') views.push({ view: lived.view(), expected: other.snapshot() })
        if (view === 'close') closeOldest()
      }
      while (views.length > 0) closeOldest()
    }),
    { numRuns: 300 },
  )
})
