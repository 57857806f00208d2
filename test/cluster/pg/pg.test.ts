// Scopes on their fabric: what is said to whom, in how many messages, and what happens when it is not taken. cluster.md §9.

import { beforeEach, describe, expect, test } from 'vitest'
import type { PgEvent } from '../../../cluster/pg/core/scope.ts'
import { defaultPgSettings } from '../../../cluster/pg/core/settings.ts'
import { ProcessGroups } from '../../../cluster/pg/pg.ts'
import type { ScopeRunner, ScopeSettings } from '../../../cluster/pg/runner.ts'
import { encodeBroadcast, encodePids } from '../../../cluster/pg/wire/codec.ts'
import { pack } from '../../../runtime/base/msgpack.ts'
import { FakeEnv } from '../../tools/fake-env.ts'
import { type FakeFabric, FakeNet } from '../../tools/fake-fabric.ts'

const SCOPE = 'app:groups'
const settings: ScopeSettings = { ...defaultPgSettings, broadcastTimeoutMs: 5000, actionsCrowded: 2, actionsMax: 3 }
const pid = (node: string, name: string | number): string => `{${node}@h|1.${name}}`

interface Node {
  fabric: FakeFabric
  groups: ProcessGroups
  scope: ScopeRunner
  delivered: { pids: readonly string[]; topic: string; from: string; payload: string }[]
  events: PgEvent[]
}

let net: FakeNet

function open(groups: ProcessGroups, node: Pick<Node, 'delivered' | 'events'>, over: Partial<ScopeSettings> = {}) {
  return groups.open(
    SCOPE,
    { ...settings, ...over },
    {
      deliver: (pids, { topic, from, payload }) =>
        node.delivered.push({ pids, topic, from, payload: Buffer.from(payload).toString() }),
      event: (_, event) => node.events.push(event),
      overflow: () => {},
    },
  )
}

function start(name: string, over?: Partial<ScopeSettings>): Node {
  const fabric = net.add(name)
  const groups = new ProcessGroups({
    name,
    env: net.env,
    fabric,
    defer: (run) => net.later(run),
    log: (...what) => fabric.log(...what),
  })
  const node = { fabric, groups, delivered: [], events: [] }
  return { ...node, scope: open(groups, node, over) }
}

const broadcast = ({ scope, fabric }: Node, group: string, payload = 'hi', isLocal = false): readonly string[] =>
  scope.broadcast({ group, topic: 't', from: pid(fabric.name, 'sender'), isLocal, payload: () => Buffer.from(payload) })

const sentAs = (what: string): number => net.sent.filter((each) => each.what === what).length

beforeEach(() => {
  net = new FakeNet(new FakeEnv())
})

describe('members on other nodes', () => {
  test('are seen by those that have the scope, however late it begins there', async () => {
    const a = start('a')
    const late = net.add('b')
    const groups = new ProcessGroups({
      name: 'b',
      env: net.env,
      fabric: late,
      defer: (run) => net.later(run),
      log: () => {},
    })
    net.link('a', 'b')
    await net.settle()
    await a.scope.join(pid('a', 1), ['g'])
    await net.settle()
    // It has said that it has no such scope.
    expect(sentAs('pg.delta')).toBe(0)
    const scope = open(groups, { delivered: [], events: [] })
    await net.settle()
    expect(scope.members('g')).toEqual([pid('a', 1)])
  })

  test('go with their node, in one event', async () => {
    const [a, b] = [start('a'), start('b')]
    net.link('a', 'b')
    await net.settle()
    for (const name of [1, 2, 3]) await b.scope.join(pid('b', name), ['g'])
    await net.settle()
    await a.scope.monitor(pid('a', 'watcher'), 'g')
    net.cut('a', 'b')
    expect(a.events).toEqual([{ kind: 'member.left', group: 'g', pids: [1, 2, 3].map((name) => pid('b', name)) }])
    expect(a.scope.members('g')).toEqual([])
  })

  test('a thousand joins of one turn are one message to each node', async () => {
    const [a, b, c] = [start('a'), start('b'), start('c')]
    net.link('a', 'b')
    net.link('a', 'c')
    await net.settle()
    for (let i = 0; i < 1000; i++) await a.scope.join(pid('a', i), ['g'])
    await net.settle()
    expect(sentAs('pg.delta')).toBe(2)
    expect(b.scope.members('g')).toHaveLength(1000)
    expect(c.scope.members('g')).toHaveLength(1000)
  })

  test('what was not taken is told again, with growing delays', async () => {
    const [a, b] = [start('a', { antiEntropyIntervalMs: 0 }), start('b', { antiEntropyIntervalMs: 0 })]
    net.link('a', 'b')
    await net.settle()
    net.refuse = ({ from, what }) => (from === 'a' && what.startsWith('pg.') ? 'queue_full' : undefined)
    await a.scope.join(pid('a', 1), ['g'])
    await net.pass(150)
    expect(b.scope.members('g')).toEqual([])
    net.refuse = () => undefined
    await net.pass(400)
    expect(b.scope.members('g')).toEqual([pid('a', 1)])
  })

  test('a scope that begins anew begins with nobody, and so do the others see it', async () => {
    const [a, b] = [start('a'), start('b')]
    net.link('a', 'b')
    await a.scope.join(pid('a', 1), ['g'])
    await net.settle()
    expect(b.scope.members('g')).toHaveLength(1)
    const again = open(a.groups, a)
    await net.settle()
    expect(b.scope.members('g')).toEqual([])
    await again.join(pid('a', 2), ['g'])
    await net.settle()
    expect(b.scope.members('g')).toEqual([pid('a', 2)])
    a.groups.stop(SCOPE)
    await net.settle()
    expect(b.scope.members('g')).toEqual([])
  })
})

test('that a scope has ended is told until it is heard', async () => {
  const [a, b] = [start('a'), start('b')]
  net.link('a', 'b')
  await a.scope.join(pid('a', 1), ['g'])
  await net.settle()
  net.refuse = ({ what }) => (what === 'pg.none' ? 'queue_full' : undefined)
  a.groups.stop(SCOPE)
  await net.pass(2500)
  expect(b.scope.members('g')).toHaveLength(1)
  net.refuse = () => undefined
  await net.pass(1000)
  expect(b.scope.members('g')).toEqual([])
})

describe('a broadcast', () => {
  test('is one message for each node, encoded once', async () => {
    const [a, b, c] = [start('a'), start('b'), start('c')]
    net.link('a', 'b')
    net.link('a', 'c')
    net.link('b', 'c')
    await net.settle()
    for (const node of [a, b, c])
      for (let i = 0; i < 5; i++) await node.scope.join(pid(node.fabric.name, i), ['g', 'g'])
    await net.settle()
    let encoded = 0
    const payload = (): Uint8Array => Buffer.from(`payload ${++encoded}`)
    const local = a.scope.broadcast({ group: 'g', topic: 't', from: pid('a', 0), isLocal: false, payload })
    await net.settle()
    expect(local).toHaveLength(10)
    expect(encoded).toBe(1)
    expect(sentAs('pg')).toBe(2)
    expect(b.delivered).toMatchObject([{ topic: 't', from: pid('a', 0), payload: 'payload 1' }])
    expect(b.delivered[0]?.pids).toEqual([0, 0, 1, 1, 2, 2, 3, 3, 4, 4].map((i) => pid('b', i)))
    expect(c.delivered).toHaveLength(1)
  })

  test('reads a list of members again only when it is another one', async () => {
    const [a, b] = [start('a'), start('b')]
    net.link('a', 'b')
    await b.scope.join(pid('b', 1), ['g'])
    await net.settle()
    for (let i = 0; i < 2; i++) broadcast(a, 'g')
    await b.scope.join(pid('b', 2), ['g'])
    await net.settle()
    broadcast(a, 'g')
    await net.settle()
    const lists = b.delivered.map(({ pids }) => pids)
    expect(lists[1]).toBe(lists[0])
    expect(lists[2]).toHaveLength(2)
  })

  test('that is local asks nobody else', async () => {
    const [a, b] = [start('a'), start('b')]
    net.link('a', 'b')
    await a.scope.join(pid('a', 1), ['g'])
    await b.scope.join(pid('b', 1), ['g'])
    await net.settle()
    expect(broadcast(a, 'g', 'hi', true)).toEqual([pid('a', 1)])
    await net.settle()
    expect(b.delivered).toEqual([])
  })

  test('a full queue drops it and opens no breaker; failures in a row do, and one trial closes it', async () => {
    const [a, b] = [start('a'), start('b')]
    net.link('a', 'b')
    await b.scope.join(pid('b', 1), ['g'])
    await net.settle()
    net.refuse = ({ what }) => (what === 'pg' ? 'queue_full' : undefined)
    for (let i = 0; i < 5; i++) broadcast(a, 'g')
    expect(a.scope.status()).toMatchObject({ dropped: { queue_full: 5 }, peers: [{ breaker: 'closed' }] })
    net.refuse = ({ what }) => (what === 'pg' ? 'unreachable' : undefined)
    for (let i = 0; i < 5; i++) broadcast(a, 'g')
    expect(a.scope.status()).toMatchObject({ dropped: { no_link: 3, breaker_open: 2 }, peers: [{ breaker: 'open' }] })
    expect(a.fabric.logged).toContain('warn pg_breaker_open')
    net.refuse = () => undefined
    await net.pass(10_000)
    broadcast(a, 'g')
    await net.settle()
    expect(a.scope.status().peers[0]?.breaker).toBe('closed')
    expect(b.delivered).toHaveLength(1)
  })

  test('too large for another node still reaches this one', async () => {
    const [a, b] = [start('a'), start('b')]
    net.link('a', 'b')
    await a.scope.join(pid('a', 1), ['g'])
    await b.scope.join(pid('b', 1), ['g'])
    await net.settle()
    const payload = (): Uint8Array => {
      throw new Error('too large')
    }
    expect(a.scope.broadcast({ group: 'g', topic: 't', from: '', isLocal: false, payload })).toEqual([pid('a', 1)])
    expect(a.scope.status().dropped.too_large).toBe(1)
  })
})

describe('what another node may not say', () => {
  test.each([
    ['bytes that are no broadcast', Uint8Array.of(0xc1)],
    ['a sender of a third node', frameOf({ from: pid('c', 1) })],
    ['a sender of an earlier run', frameOf({ from: '{a@h|0.1}' })],
    ['a topic of the runtime', frameOf({ topic: '@pid/events' })],
    [
      'a list that is none',
      encodeBroadcast({ scope: SCOPE, topic: 't', from: '', pids: pack('x'), payload: Buffer.from('') }),
    ],
  ])('%s', async (_, bytes) => {
    const [a, b] = [start('a'), start('b')]
    net.link('a', 'b')
    await net.settle()
    for (let i = 0; i < 3; i++) a.fabric.send({ name: 'b', epoch: 1 }, 'pg', bytes)
    a.fabric.notify({ name: 'b', epoch: 1 }, 'pg.delta', Uint8Array.of(0xc1))
    await net.settle()
    expect(b.delivered).toEqual([])
    expect(b.groups.unreadableMessages).toBe(4)
    expect(b.fabric.logged.filter((line) => line === 'warn pg_unreadable')).toHaveLength(1)
  })

  function frameOf({ from = '', topic = 't' }: { from?: string; topic?: string }): Uint8Array {
    return encodeBroadcast({
      scope: SCOPE,
      topic,
      from,
      pids: encodePids([[pid('b', 1), 1]]),
      payload: Buffer.from(''),
    })
  }
})

describe('when there is too much to do', () => {
  /** Makes the turn look long. */
  const busy = (node: Node): void => {
    void node.scope.join(pid('a', 'first'), ['g'])
    net.env.advance(50)
  }

  test('operations wait for the next turn, in order, and beyond the bound they are refused', async () => {
    const a = start('a')
    busy(a)
    const waiting = [1, 2, 3].map((name) => a.scope.join(pid('a', name), ['g']))
    expect(() => a.scope.join(pid('a', 4), ['g'])).toThrow('event loop backpressure')
    expect(a.scope.members('g')).toHaveLength(1)
    expect(a.fabric.logged).toEqual(['warn pg_queue_crowded'])
    await net.settle()
    await Promise.all(waiting)
    expect(a.scope.members('g')).toEqual(['first', 1, 2, 3].map((name) => pid('a', name)))
  })

  test('who ends while its join waits is not in the group afterwards', async () => {
    const a = start('a')
    busy(a)
    const controller = new AbortController()
    const joining = Promise.resolve(a.scope.join(pid('a', 1), ['g'], controller.signal)).catch(
      (error: Error) => error.message,
    )
    const joined = a.scope.join(pid('a', 2), ['g'])
    controller.abort()
    a.scope.exited(pid('a', 1))
    a.scope.exited(pid('a', 2))
    await net.settle()
    expect(await joining).toContain('has ended')
    await joined
    expect(a.scope.members('g')).toEqual([pid('a', 'first')])
  })

  test('whoever waits when the scope stops hears of it', async () => {
    const a = start('a')
    busy(a)
    const joining = Promise.resolve(a.scope.join(pid('a', 1), ['g'])).catch((error: Error) => error.message)
    a.groups.stop(SCOPE)
    expect(await joining).toBe('service stopped')
    expect(() => a.scope.join(pid('a', 2), ['g'])).toThrow('service stopped')
  })
})

describe('health', () => {
  test('an idle scope is well, one that hears nothing of others for long is not', async () => {
    const [a] = [start('a'), start('b')]
    expect(a.scope.health().ok).toBe(true)
    net.link('a', 'b')
    await net.pass(20 * 60_000)
    expect(a.scope.health()).toMatchObject({ ok: true })
    net.refuse = () => 'queue_full'
    await net.pass(6 * 60_000)
    expect(a.scope.health()).toMatchObject({ ok: false })
  })
})

test('a node that is alone has groups of its own', async () => {
  const env = new FakeEnv()
  const groups = new ProcessGroups({ name: 'a', env, fabric: undefined, defer: () => {}, log: () => {} })
  const scope = open(groups, { delivered: [], events: [] })
  await scope.join('{h|1.1}', ['g'])
  expect(scope.members('g')).toEqual(['{h|1.1}'])
  scope.exited('{h|1.1}')
  expect(scope.groups()).toEqual([])
  groups.close()
})
