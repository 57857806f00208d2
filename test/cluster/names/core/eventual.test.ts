import { describe, expect, test } from 'vitest'
import type { Change, Dot } from '../../../../cluster/names/core/change.ts'
import { compareDots } from '../../../../cluster/names/core/change.ts'
import { Eventual } from '../../../../cluster/names/core/eventual.ts'
import { HISTORY_MAX, WAITING_MAX } from '../../../../cluster/names/core/origin.ts'
import { FakeEnv } from '../../../tools/fake-env.ts'
import { fc } from '../../../tools/property.ts'
import { pidOf, Rig, sha256 } from './rig.ts'

const change = (seq: number, name: string, of: Partial<Change> = {}): Change => ({
  origin: 'b',
  epoch: 1,
  seq,
  name,
  bound: { pid: pidOf('b', 1), hlc: { ms: 1000 + seq, counter: 0 }, priority: 0 },
  ...of,
})

describe('registering', () => {
  test('is visible here at once and elsewhere when gossip arrives', () => {
    const rig = new Rig(['a', 'b'])
    expect(rig.register('x', 'a')).toEqual({ ok: true, changed: true })
    expect(rig.lookup('x')).toEqual([pidOf('a', 1), undefined])
    rig.deliver()
    expect(rig.lookup('x')).toEqual([pidOf('a', 1), pidOf('a', 1)])
  })

  test('the same name and PID again changes nothing', () => {
    const rig = new Rig(['a', 'b'])
    rig.register('x', 'a')
    rig.lose()
    expect(rig.register('x', 'a')).toEqual({ ok: true, changed: false })
    expect(rig.waiting).toEqual([])
  })

  test('a name that stands for another process is taken', () => {
    const rig = new Rig(['a', 'b'])
    rig.register('x', 'a')
    rig.deliver()
    expect(rig.register('x', 'b')).toEqual({ ok: false, why: 'taken', pid: pidOf('a', 1) })
    expect(rig.register('x', 'a', 2)).toEqual({ ok: false, why: 'taken', pid: pidOf('a', 1) })
  })

  test('limits are of one node and of the cluster (§6.5)', () => {
    const rig = new Rig(['a', 'b'], { namesPerOriginMax: 2, namesMax: 3 })
    for (const name of ['a1', 'a2']) rig.register(name, 'a')
    expect(rig.register('a3', 'a')).toMatchObject({ ok: false, why: 'full' })
    rig.register('b1', 'b')
    rig.deliver()
    expect(rig.register('b2', 'b')).toMatchObject({ ok: false, why: 'full' })
    expect(rig.register('b1', 'b')).toMatchObject({ ok: true })
  })
})

describe('releasing', () => {
  test('unregister is the own node alone', () => {
    const rig = new Rig(['a', 'b'])
    rig.register('x', 'a')
    rig.deliver()
    expect(rig.unregister('x', 'b')).toBe(false)
    expect(rig.unregister('x', 'a')).toBe(true)
    rig.deliver()
    expect(rig.lookup('x')).toEqual([undefined, undefined])
  })

  test('a process that ends gives up all its names', () => {
    const rig = new Rig(['a', 'b'])
    for (const name of ['x', 'y']) rig.register(name, 'a')
    rig.register('z', 'a', 2)
    const node = rig.node('a')
    rig.perform(node, node.exited(pidOf('a', 1)))
    rig.deliver()
    expect([...rig.lookup('x'), ...rig.lookup('y')]).toEqual([undefined, undefined, undefined, undefined])
    expect(rig.lookup('z')).toEqual([pidOf('a', 1, 2), pidOf('a', 1, 2)])
  })

  test('the names of a node that is gone are hidden, and come back with it', () => {
    const rig = new Rig(['a', 'b'])
    rig.register('x', 'a')
    rig.deliver()
    rig.gone('a')
    expect(rig.node('b').lookup('x')).toBeUndefined()
    rig.feed(rig.node('b'), { kind: 'live', node: 'a', epoch: 1 })
    expect(rig.node('b').lookup('x')).toBe(pidOf('a', 1))
  })

  test('a newer run begins with nothing, and a late word of the old one says nothing', () => {
    const rig = new Rig(['a', 'b'])
    rig.register('x', 'a')
    const late = rig.waiting
    rig.deliver()
    rig.start('a', 2)
    expect(rig.node('b').lookup('x')).toBeUndefined()
    expect(rig.node('b').digest()).toEqual([])
    for (const { input } of late) rig.feed(rig.node('b'), input)
    expect(rig.node('b').lookup('x')).toBeUndefined()
  })

  test('what a dead run had bound is forgotten after a day', () => {
    const rig = new Rig(['a', 'b'], { keepDeadMs: 100_000 })
    rig.register('x', 'a')
    rig.deliver()
    rig.gone('a')
    rig.nodes.delete('a')
    rig.advance(90_000)
    expect(rig.node('b').digest()).toHaveLength(1)
    rig.advance(80_000)
    expect(rig.node('b').digest()).toEqual([])
  })
})

describe('the winner', () => {
  const dot = (origin: string, priority: number, ms: number, counter = 0): Dot => ({
    ...(change(1, 'x', { origin }) as Dot),
    bound: { pid: pidOf(origin, 1), hlc: { ms, counter }, priority },
  })

  test('has the highest priority, then the lowest stamp, then the lowest origin', () => {
    expect(compareDots(dot('b', 1, 9), dot('a', 0, 1))).toBeGreaterThan(0)
    expect(compareDots(dot('b', 0, 1), dot('a', 0, 2))).toBeGreaterThan(0)
    expect(compareDots(dot('b', 0, 1, 0), dot('a', 0, 1, 1))).toBeGreaterThan(0)
    expect(compareDots(dot('b', 0, 1), dot('a', 0, 1))).toBeLessThan(0)
  })

  test('the loser is told once after two seconds, and its loss is final', () => {
    const rig = new Rig(['a', 'b'])
    rig.register('x', 'a')
    rig.env.advance(10)
    rig.register('x', 'b')
    rig.deliver()
    expect(rig.lookup('x')).toEqual([pidOf('a', 1), pidOf('a', 1)])
    rig.advance(1900)
    expect(rig.revoked).toEqual([])
    rig.advance(200)
    rig.deliver()
    rig.advance(10_000)
    expect(rig.revoked).toEqual([{ node: 'b', name: 'x', pid: pidOf('b', 1) }])
    rig.unregister('x', 'a')
    rig.deliver()
    expect(rig.lookup('x')).toEqual([undefined, undefined])
  })

  test('a node that flaps takes nobody his name', () => {
    const rig = new Rig(['a', 'b'])
    rig.register('x', 'a')
    rig.env.advance(10)
    rig.register('x', 'b')
    rig.deliver()
    for (let i = 0; i < 5; i++) {
      rig.advance(1500)
      rig.gone('a', 'b')
      rig.advance(1000)
      rig.feed(rig.node('b'), { kind: 'live', node: 'a', epoch: 1 })
    }
    expect(rig.revoked).toEqual([])
  })
})

describe('repair', () => {
  test('a gap is pulled from the origin', () => {
    const rig = new Rig(['a', 'b'])
    rig.register('x', 'a')
    rig.lose()
    rig.register('y', 'a')
    rig.deliver()
    expect(rig.node('b').lookup('y')).toBeUndefined()
    rig.advance(200)
    expect([rig.node('b').lookup('x'), rig.node('b').lookup('y')]).toEqual([pidOf('a', 1), pidOf('a', 1)])
  })

  test('packets that overtake each other need no pull', () => {
    const rig = new Rig(['a', 'b'])
    for (const name of ['x', 'y', 'z']) rig.register(name, 'a')
    rig.waiting.reverse()
    rig.deliver()
    rig.advance(200)
    expect(rig.node('b').counters.pulls).toBe(0)
    expect(
      rig
        .node('b')
        .names()
        .map(({ name }) => name),
    ).toEqual(['x', 'y', 'z'])
  })

  test('what is missing comes from another node when the origin does not answer', () => {
    const rig = new Rig(['a', 'b', 'c'])
    rig.register('x', 'a')
    rig.waiting = rig.waiting.filter(({ to }) => to === 'c')
    rig.deliver()
    rig.lose()
    const [a] = [rig.node('a')]
    rig.nodes.delete('a')
    rig.feed(rig.node('b'), { kind: 'digest', node: 'c', entries: rig.node('c').digest() })
    rig.advance(2000)
    expect(a.lookup('x')).toBe(rig.node('b').lookup('x'))
  })

  test('a node that was away for longer than the log takes the whole state', () => {
    const rig = new Rig(['a', 'b'])
    for (let i = 0; i < HISTORY_MAX + 10; i++) rig.register(`n${i}`, 'a')
    rig.unregister('n3', 'a')
    rig.deliver()
    const [first] = rig.node('a').digest()
    const late = rig.start('c', 1)
    rig.feed(late, { kind: 'changes', changes: [change(1, 'mine', { origin: 'a' })] })
    rig.feed(late, { kind: 'digest', node: 'b', entries: rig.node('b').digest() })
    rig.advance(500)
    expect(late.counters.states).toBe(1)
    expect(late.digest()).toEqual([first])
    expect(late.lookup('n3')).toBeUndefined()
    expect(late.lookup('mine')).toBeUndefined()
  })

  test('comparing finds a lost change without another one', () => {
    const rig = new Rig(['a', 'b'])
    rig.register('x', 'a')
    rig.lose()
    rig.advance(21_000)
    expect(rig.node('b').lookup('x')).toBe(pidOf('a', 1))
  })

  test('two states of one number that differ are settled by the origin', () => {
    const rig = new Rig(['a', 'b'])
    rig.register('x', 'a')
    rig.lose()
    rig.feed(rig.node('b'), { kind: 'changes', changes: [change(1, 'forged', { origin: 'a' })] })
    rig.feed(rig.node('b'), { kind: 'digest', node: 'a', entries: rig.node('a').digest() })
    rig.advance(500)
    expect([rig.node('b').lookup('forged'), rig.node('b').lookup('x')]).toEqual([undefined, pidOf('a', 1)])
  })

  test('a change that changed nothing is not told on', () => {
    const rig = new Rig(['a', 'b'])
    rig.register('x', 'a')
    const [{ input } = { input: { kind: 'wake' as const } }] = rig.waiting
    rig.lose()
    rig.feed(rig.node('b'), input)
    expect(rig.waiting).toHaveLength(1)
    rig.lose()
    rig.feed(rig.node('b'), input)
    expect(rig.waiting).toEqual([])
  })
})

describe('bounds', () => {
  test('the word of others about this node is nothing', () => {
    const node = new Eventual({ node: 'b', epoch: 1, hash: sha256 }, new FakeEnv())
    node.register('x', pidOf('b', 1))
    expect(node.step({ kind: 'changes', changes: [change(2, 'x', { bound: undefined })] })).toEqual([])
    const entry = { origin: 'b', epoch: 9, seq: 9, hash: '12345678' }
    expect(node.step({ kind: 'digest', node: 'c', entries: [entry] })).toEqual([])
    expect(node.lookup('x')).toBe(pidOf('b', 1))
  })

  test('an origin beyond its limit is passed over, and asked no more for it', () => {
    const env = new FakeEnv()
    const node = new Eventual({ node: 'a', epoch: 1, hash: sha256, settings: { namesPerOriginMax: 2 } }, env)
    node.step({ kind: 'live', node: 'b', epoch: 1 })
    node.step({ kind: 'changes', changes: [change(1, 'x'), change(2, 'y'), change(3, 'z')] })
    expect(node.names().map(({ name }) => name)).toEqual(['x', 'y'])
    node.step({ kind: 'digest', node: 'b', entries: [{ origin: 'b', epoch: 1, seq: 3, hash: '12345678' }] })
    env.advance(1000)
    expect(node.step({ kind: 'wake' }).filter(({ kind }) => kind === 'pull')).toEqual([])
  })

  test('runs that are known are bounded; dead ones make room first', () => {
    const node = new Eventual({ node: 'a', epoch: 1, hash: sha256, settings: { originsMax: 3 } }, new FakeEnv())
    node.step({ kind: 'live', node: 'b', epoch: 1 })
    for (const origin of ['b', 'c', 'd', 'e']) node.step({ kind: 'changes', changes: [change(1, origin, { origin })] })
    expect(node.digest().map(({ origin }) => origin)).toEqual(['b', 'e'])
  })

  test('what waits for a gap is bounded', () => {
    const node = new Eventual({ node: 'a', epoch: 1, hash: sha256 }, new FakeEnv())
    node.step({ kind: 'live', node: 'b', epoch: 1 })
    const late = Array.from({ length: 2 * WAITING_MAX }, (_, i) => change(i + 2, `n${i}`))
    node.step({ kind: 'changes', changes: late })
    node.step({ kind: 'changes', changes: [change(1, 'first')] })
    expect(node.names()).toHaveLength(WAITING_MAX + 1)
  })
})

/** What happens, by dice: who does what, whose gossip arrives, who is thought dead. */
const event = fc.record({ dice: fc.nat(99), node: fc.nat(3), name: fc.nat(2), other: fc.nat(3) })

describe('N8', () => {
  test('order, loss and repetition make no difference: all agree, one survives, every loser is told once', () => {
    fc.assert(
      fc.property(fc.array(event, { maxLength: 60 }), fc.nat(), (events, seed) => {
        const nodes = ['a', 'b', 'c', 'd']
        const rig = new Rig(nodes, {}, seed)
        const wins = new Map<string, number>()
        const ends = new Map<string, number>()
        const key = (node: string, name: string): string => `${node} ${name}`
        for (const { dice, node, name, other } of events) {
          const [at, about] = [nodes[node] as string, nodes[other] as string]
          if (dice < 35) {
            const outcome = rig.register(`x${name}`, at)
            if (outcome.ok && outcome.changed) wins.set(key(at, `x${name}`), (wins.get(key(at, `x${name}`)) ?? 0) + 1)
          } else if (dice < 45) {
            if (rig.unregister(`x${name}`, at)) ends.set(key(at, `x${name}`), (ends.get(key(at, `x${name}`)) ?? 0) + 1)
          } else if (dice < 75) {
            const [sent] = rig.waiting.splice(rig.env.randomInt(Math.max(1, rig.waiting.length)), dice < 60 ? 1 : 0)
            if (sent !== undefined) rig.feed(rig.node(sent.to), sent.input)
          } else if (dice < 80) rig.waiting.splice(0, 2)
          else if (dice < 85) rig.waiting.push(...rig.waiting.slice(0, 3))
          else if (dice < 90 && at !== about) rig.gone(about, at)
          else if (dice < 95 && at !== about) rig.feed(rig.node(at), { kind: 'live', node: about, epoch: 1 })
          else rig.advance(300)
        }
        for (const at of nodes) {
          for (const about of nodes) {
            if (at !== about) rig.feed(rig.node(at), { kind: 'live', node: about, epoch: 1 })
          }
        }
        for (let round = 0; round < 12; round++) {
          rig.deliver()
          rig.advance(10_000)
        }
        const digests = nodes.map((node) => JSON.stringify(rig.node(node).digest()))
        expect(new Set(digests).size).toBe(1)
        for (const name of ['x0', 'x1', 'x2']) {
          expect(new Set(rig.lookup(name)).size).toBe(1)
          const holders = nodes.filter((node) => rig.node(node).ownPid(name) !== undefined)
          expect(holders.length).toBeLessThanOrEqual(1)
          expect(rig.lookup(name)[0]).toBe(holders[0] === undefined ? undefined : pidOf(holders[0], 1))
          for (const node of nodes) {
            const told = rig.revoked.filter((each) => each.node === node && each.name === name).length
            const held = holders.includes(node) ? 1 : 0
            expect(wins.get(key(node, name)) ?? 0).toBe(held + told + (ends.get(key(node, name)) ?? 0))
          }
        }
      }),
      { numRuns: 150 },
    )
  })
})
