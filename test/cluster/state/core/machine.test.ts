import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Command, encodeCommands } from '../../../../cluster/state/core/commands.ts'
import { Machine } from '../../../../cluster/state/core/machine.ts'
import type { Outcome } from '../../../../cluster/state/core/outcomes.ts'
import { LockChecker } from '../../../sim/checkers/locks.ts'
import { checkNames } from '../../../sim/checkers/names.ts'

const pid = (node: string, epoch: number, n: number): string => `{${node}@h|${epoch.toString(36)}.${n}}`

class Rig {
  machine = new Machine()
  clockMs = 0
  #seq = 0

  run(command: Command, session = 0, seq = ++this.#seq, floor = 0) {
    const data = encodeCommands([{ session, seq, floor, command }])
    const applied = this.machine.apply({ index: this.machine.index + 1, clockMs: this.clockMs, kind: 'commands', data })
    return { outcome: applied.outcomes[0] as Outcome, events: applied.events, seq }
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
    rig.machine = Machine.restored(rig.machine.snapshot())
    const again = rig.run({ kind: 'register', name: 'x', pid: pid('a', 1, 1) }, a, 7)
    expect(again.outcome).toEqual(first.outcome)
    expect(again.events).toEqual([])
  })

  test('below the floor, or of an ended session, are refused', () => {
    const rig = new Rig()
    const a = rig.up('a')
    rig.run({ kind: 'lock-cancel', seq: 1 }, a, 9, 9)
    expect(rig.run({ kind: 'lock-cancel', seq: 1 }, a, 8, 8).outcome.status).toBe('stale-request')
    rig.run({ kind: 'node-down', node: 'a', session: a, reason: 'dead' })
    expect(rig.run({ kind: 'lock-cancel', seq: 1 }, a, 10, 10).outcome.status).toBe('session-expired')
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

const node = fc.constantFrom('a', 'b', 'c')
const epoch = fc.integer({ min: 1, max: 2 })
const name = fc.constantFrom('x', 'y', '\ue000', '\u{1f600}')
const someone = fc.tuple(node, epoch, fc.integer({ min: 1, max: 2 })).map(([n, e, i]) => pid(n, e, i))
const span = fc.constantFrom(0, 10, 30)
const number = fc.integer({ min: 1, max: 40 })
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
  fc.record({ kind: fc.constant('lock-cancel' as const), seq: number }),
)

test('any commands in any order keep N1, N2, K1, K2, K4; a restored machine goes on alike (R12)', () => {
  const step = fc.record({
    command,
    who: node,
    seq: number,
    advanceMs: fc.constantFrom(0, 0, 5, 20),
    restore: fc.boolean(),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const lived = new Machine()
      let other = new Machine()
      const locks = new LockChecker()
      let clockMs = 0
      for (const { command, who, seq, advanceMs, restore } of steps) {
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
        if (restore) other = Machine.restored(other.snapshot())
        expect(other.digest()).toBe(lived.digest())
      }
    }),
    { numRuns: 300 },
  )
})
