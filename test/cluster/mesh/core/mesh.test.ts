import { expect, test } from 'vitest'
import { APP, BULK, PG, RAFT, RLOG, SYSTEM } from '../../../../cluster/mesh/core/classes.ts'
import type { MeshEffect } from '../../../../cluster/mesh/core/mesh.ts'
import type { MeshSettings } from '../../../../cluster/mesh/core/settings.ts'
import { MeshNode, type MeshNodeOptions } from '../../../sim/mesh-node.ts'
import { type StreamFaults, StreamNetwork } from '../../../sim/streams.ts'
import { World } from '../../../sim/world.ts'

const KIB = 1024

class Pair {
  readonly world = new World(1)
  readonly network = new StreamNetwork(this.world)
  readonly a: MeshNode
  readonly b: MeshNode
  readonly got: string[] = []

  constructor(
    options: Partial<MeshNodeOptions> & { faults?: Partial<StreamFaults>; b?: Partial<MeshNodeOptions> } = {},
  ) {
    Object.assign(this.network.faults, options.faults)
    this.a = this.node('a', options)
    this.b = this.node('b', { ...options, ...options.b })
  }

  node(name: string, options: Partial<MeshNodeOptions> = {}): MeshNode {
    const node = new MeshNode(this.world, this.network, { name, epoch: 1, address: `${name}:1`, ...options })
    node.onDeliver = (peer, _epoch, { classId, bytes }, consumed) => {
      this.got.push(`${peer}>${name} ${classId} ${bytes.length > 20 ? bytes.length : Buffer.from(bytes).toString()}`)
      consumed()
    }
    return node
  }

  meet(one = this.a, other = this.b): void {
    one.feed({ kind: 'member', member: other.member })
    other.feed({ kind: 'member', member: one.member })
  }

  run(durationMs: number): this {
    this.world.run(durationMs)
    return this
  }

  say(from: MeshNode, to: MeshNode, text: string, classId = APP): string | undefined {
    return from.send(to.name, classId, Buffer.from(text))
  }
}

const kinds = (node: MeshNode, ...wanted: MeshEffect['kind'][]): string[] =>
  node.effects
    .filter((effect) => wanted.includes(effect.kind))
    .map((effect) => ('reason' in effect ? `${effect.kind} ${effect.reason}` : effect.kind))

const dials = (node: MeshNode): number => kinds(node, 'dial').length
const codes = (node: MeshNode): string[] => [...node.core.counters.refused].map(([code, count]) => `${code} ${count}`)
const lazy: Partial<MeshSettings> = { topology: 'lazy' }

test('the node of the lower name dials, and both come up (§4.1)', () => {
  const pair = new Pair()
  pair.meet()
  pair.run(100)
  expect([dials(pair.a), dials(pair.b)]).toEqual([1, 0])
  expect(pair.a.core.link('b')).toMatchObject({ state: 'connected', isUp: true })
  expect(pair.b.core.link('a')).toMatchObject({ state: 'connected', isUp: true })
  expect(pair.a.core.link('b')?.sessionId).toBe(pair.b.core.link('a')?.sessionId)
  expect(pair.a.core.link('b')?.rttMs).toBeGreaterThan(0)
  expect(kinds(pair.a, 'node-up', 'node-down')).toEqual(['node-up'])
})

test('messages of every class arrive in the order of their class', () => {
  const pair = new Pair()
  pair.meet()
  pair.run(100)
  for (const classId of [RAFT, SYSTEM, APP, PG, BULK, RLOG]) {
    pair.say(pair.a, pair.b, 'one', classId)
    pair.say(pair.a, pair.b, 'two', classId)
  }
  pair.run(100)
  for (const classId of [RAFT, SYSTEM, APP, PG, BULK, RLOG]) {
    expect(pair.got.filter((line) => line.startsWith(`a>b ${classId}`))).toEqual([
      `a>b ${classId} one`,
      `a>b ${classId} two`,
    ])
  }
})

test('what is said before there is a connection waits for it; consensus does not', () => {
  const pair = new Pair()
  pair.a.feed({ kind: 'member', member: pair.b.member })
  expect(pair.say(pair.a, pair.b, 'early')).toBeUndefined()
  expect(pair.say(pair.a, pair.b, 'vote', RAFT)).toBe('not_connected')
  expect(pair.say(pair.a, pair.a, 'who')).toBe('unknown_node')
  expect(pair.a.core.send({ peer: 'b', epoch: 9 }, APP, Buffer.from('x'))).toBe('stale_epoch')
  pair.b.feed({ kind: 'member', member: pair.a.member })
  pair.run(100)
  expect(pair.got).toEqual(['a>b 3 early'])
})

test('the other side dials two seconds later where the preferred dialer cannot', () => {
  const pair = new Pair()
  pair.a.feed({ kind: 'member', member: { ...pair.b.member, endpoints: [] } })
  pair.b.feed({ kind: 'member', member: pair.a.member })
  pair.run(1900)
  expect(pair.b.core.link('a')?.state).toBe('connecting')
  pair.run(200)
  expect(pair.b.core.link('a')?.state).toBe('connected')
})

test('dials that fail are repeated with a growing pause, at once again when the peer moves', () => {
  const pair = new Pair()
  const dead = { ...pair.b.member, endpoints: [{ host: 'nowhere', port: 1 }] }
  pair.a.feed({ kind: 'member', member: dead })
  pair.run(30_000)
  const count = dials(pair.a)
  expect(count).toBeGreaterThan(9)
  expect(count).toBeLessThan(16)
  pair.a.feed({ kind: 'member', member: pair.b.member })
  pair.b.feed({ kind: 'member', member: pair.a.member })
  pair.run(50)
  expect(pair.a.core.link('b')?.state).toBe('connected')
})

test('a broken connection neither loses, doubles nor reorders what is resumed (§4.6)', () => {
  const pair = new Pair()
  pair.meet()
  pair.run(100)
  let sent = 0
  for (let round = 0; round < 60; round++) {
    for (let i = 0; i < 50; i++) pair.say(pair.a, pair.b, `m${sent++}`)
    pair.run(round % 7)
    pair.network.reset()
    pair.run(993)
  }
  pair.run(10_000)
  expect(pair.got).toEqual(Array.from({ length: sent }, (_, i) => `a>b 3 m${i}`))
  expect(kinds(pair.a, 'node-down')).toEqual([])
  expect(pair.a.core.link('b')?.queueBytes[APP]).toBe(0)
  expect(pair.a.core.counters.resumed).toBeGreaterThan(10)
})

test('both dial at once: one connection stays, and one session', () => {
  const pair = new Pair()
  pair.meet()
  pair.run(100)
  pair.network.partition(['a:1'], ['b:1'])
  pair.run(20_000)
  pair.say(pair.a, pair.b, 'after')
  pair.say(pair.b, pair.a, 'back')
  pair.network.heal()
  pair.run(20_000)
  expect(pair.got.sort()).toEqual(['a>b 3 after', 'b>a 3 back'])
  expect(kinds(pair.a, 'node-down')).toEqual([])
  expect(kinds(pair.b, 'node-down')).toEqual([])
  expect(pair.a.core.link('b')?.state).toBe('connected')
})

test('a half-open connection does not block a new one of the side that lost it', () => {
  for (const [dead, other] of [
    ['a', 'b'],
    ['b', 'a'],
  ] as const) {
    const pair = new Pair()
    pair.meet()
    pair.run(100)
    const node = pair[dead]
    // Its end is gone without the other hearing of it, as after a firewall forgot the connection.
    for (let connection = 1; connection < 3; connection++) node.feed({ kind: 'closed', connection, reason: 'gone' })
    pair.say(pair[other], node, 'there?')
    pair.run(8000)
    expect(pair[other].core.link(dead)?.state).toBe('connected')
    expect(pair.got).toEqual([`${other}>${dead} 3 there?`])
    expect(kinds(pair[other], 'node-down')).toEqual([])
  }
})

test('silence for the keepalive time breaks the connection, the session goes on', () => {
  const pair = new Pair()
  pair.meet()
  pair.run(100)
  pair.network.partition(['a:1'], ['b:1'])
  pair.run(16_000)
  expect(kinds(pair.a, 'connection-lost')[0]).toMatch(/silent/)
  pair.network.heal()
  pair.run(15_000)
  expect(pair.a.core.link('b')?.state).toBe('connected')
  expect(kinds(pair.a, 'node-up', 'node-down')).toEqual(['node-up'])
})

test('sixty seconds without a connection end the session, on both sides once (M2)', () => {
  const pair = new Pair()
  pair.meet()
  pair.run(100)
  pair.network.partition(['a:1'], ['b:1'])
  pair.run(20_000)
  pair.say(pair.a, pair.b, 'lost')
  pair.run(60_000)
  expect(kinds(pair.a, 'node-down')).toEqual(['node-down unreachable'])
  expect(kinds(pair.b, 'node-down')).toEqual(['node-down unreachable'])
  expect(pair.say(pair.a, pair.b, 'no')).toBe('unreachable')
  expect(pair.a.core.totalQueueBytes).toBe(0)
  pair.network.heal()
  pair.run(15_000)
  expect(kinds(pair.a, 'node-up', 'node-down')).toEqual(['node-up', 'node-down unreachable', 'node-up'])
  expect(pair.say(pair.a, pair.b, 'again')).toBeUndefined()
  pair.run(100)
  expect(pair.got).toEqual(['a>b 3 again'])
})

test('what gossip says ends a session at once, and a new run begins another', () => {
  const pair = new Pair()
  pair.meet()
  pair.run(100)
  pair.b.crash()
  pair.a.feed({ kind: 'gone', name: 'b', epoch: 1, reason: 'dead' })
  expect(kinds(pair.a, 'node-down')).toEqual(['node-down dead'])
  const second = pair.node('b', { epoch: 2 })
  pair.meet(pair.a, second)
  pair.run(500)
  expect(pair.a.core.link('b')).toMatchObject({ epoch: 2, isUp: true })
  expect(pair.a.core.send({ peer: 'b', epoch: 1 }, APP, Buffer.from('x'))).toBe('stale_epoch')
})

test('one side ended the session: the other hears of it with the next handshake', () => {
  const pair = new Pair()
  pair.meet()
  pair.run(100)
  pair.a.feed({ kind: 'gone', name: 'b', epoch: 1, reason: 'dead' })
  pair.a.feed({ kind: 'member', member: pair.b.member })
  pair.run(3000)
  expect(kinds(pair.a, 'node-up', 'node-down')).toEqual(['node-up', 'node-down dead', 'node-up'])
  expect(kinds(pair.b, 'node-up', 'node-down')).toEqual(['node-up', 'node-down session_lost', 'node-up'])
})

test('a peer that gossip does not know is parked: heard once it is known, else closed', () => {
  const pair = new Pair()
  pair.a.feed({ kind: 'member', member: pair.b.member })
  pair.say(pair.a, pair.b, 'hello')
  pair.run(3000)
  expect(pair.got).toEqual([])
  expect(pair.b.core.links()).toEqual([])
  pair.b.feed({ kind: 'member', member: pair.a.member })
  pair.run(100)
  expect(pair.got).toEqual(['a>b 3 hello'])
  const other = new Pair()
  other.a.feed({ kind: 'member', member: other.b.member })
  other.run(10_500)
  expect(other.b.effects.some((effect) => effect.kind === 'close' && effect.goodbye === 'not_member')).toBe(true)
})

test('a parked peer that dials anew loses nothing of what it said', () => {
  const pair = new Pair()
  pair.a.feed({ kind: 'member', member: pair.b.member })
  pair.say(pair.a, pair.b, 'one')
  pair.run(100)
  pair.network.reset()
  pair.say(pair.a, pair.b, 'two')
  pair.run(1000)
  pair.b.feed({ kind: 'member', member: pair.a.member })
  pair.run(100)
  expect(pair.got).toEqual(['a>b 3 one', 'a>b 3 two'])
  expect(kinds(pair.a, 'node-down')).toEqual([])
})

test('another cluster, another node, an old run: refused with the reason', () => {
  const other = new Pair({ b: { clusterId: 'prod' } })
  other.meet()
  other.run(20_000)
  expect(codes(other.b)[0]).toMatch(/^cluster_id/)
  expect(dials(other.a)).toBeLessThan(10)
  expect(other.a.effects.find((effect) => effect.kind === 'log' && effect.event === 'mesh_refused')).toMatchObject({
    fields: { code: 'cluster_id', reason: 'b: this is cluster prod, not sim' },
  })

  const wrong = new Pair()
  wrong.a.feed({ kind: 'member', member: { ...wrong.b.member, name: 'c' } })
  wrong.run(300)
  expect(codes(wrong.b)[0]).toMatch(/^wrong_node/)

  const stale = new Pair({ epoch: 5 })
  stale.b.feed({ kind: 'member', member: { ...stale.a.member, epoch: 6 } })
  stale.a.feed({ kind: 'member', member: stale.b.member })
  stale.run(100)
  expect(stale.a.effects.find((effect) => effect.kind === 'stale-self')).toMatchObject({ knownEpoch: 6, peer: 'b' })

  const newer = new Pair({ b: { epoch: 2 } })
  newer.a.feed({ kind: 'member', member: { ...newer.b.member, epoch: 1 } })
  newer.run(300)
  expect(codes(newer.b)[0]).toMatch(/^wrong_epoch/)
})

test('a full queue refuses, signals get twice the room, then the session ends on purpose (§4.5)', () => {
  const pair = new Pair({ settings: { queueBytesMax: 1024 * KIB } })
  pair.meet()
  pair.run(100)
  pair.b.process.freeze(600_000)
  const chunk = Buffer.alloc(64 * KIB)
  let refusal: string | undefined
  for (let i = 0; i < 100 && refusal === undefined; i++) refusal = pair.a.send('b', APP, chunk)
  expect(refusal).toBe('queue_full')
  expect(pair.a.core.link('b')?.queueBytes[APP]).toBeLessThanOrEqual(1024 * KIB)
  let signals = 0
  for (; signals < 100 && pair.a.send('b', APP, chunk, { isSignal: true }) === undefined; ) signals++
  expect(signals).toBeGreaterThan(14)
  expect(kinds(pair.a, 'node-down')).toEqual(['node-down overflow'])
  expect(pair.a.core.totalQueueBytes).toBe(0)
  // The other side hears of it when it wakes up.
  const fresh = pair.b
  pair.run(700_000)
  expect(kinds(fresh, 'node-up', 'node-down').slice(0, 2)[1]).toMatch(/^node-down/)
})

test('a heartbeat does not wait behind bulk data', () => {
  const pair = new Pair({ faults: { bytesPerMs: 1000 } })
  pair.meet()
  pair.run(100)
  let at = 0
  pair.b.onDeliver = (_peer, _epoch, { classId }, consumed) => {
    if (classId === RAFT) at = pair.world.nowMs
    consumed()
  }
  const worst: number[] = []
  for (let i = 0; i < 100; i++) {
    while (pair.a.send('b', BULK, Buffer.alloc(256 * KIB)) === undefined);
    while (pair.a.send('b', APP, Buffer.alloc(256 * KIB)) === undefined);
    const sentAtMs = pair.world.nowMs
    pair.say(pair.a, pair.b, 'beat', RAFT)
    pair.run(800)
    worst.push(at - sentAtMs)
  }
  // At a megabyte a second: what is in the socket (256 KiB) and the kernel (256 KiB) is ahead of it, and no more.
  expect(Math.max(...worst)).toBeLessThan(600)
  expect(Math.min(...worst)).toBeGreaterThan(0)
})

test('a message larger than what is granted ahead gets through, one by one', () => {
  const pair = new Pair()
  pair.meet()
  pair.run(100)
  for (let i = 0; i < 3; i++) expect(pair.a.send('b', BULK, Buffer.alloc(1024 * KIB))).toBeUndefined()
  pair.run(1000)
  expect(pair.got).toHaveLength(3)
})

test('a receiver that does not consume stops the sender, whose queue is bounded; room is announced', () => {
  const pair = new Pair()
  pair.meet()
  pair.run(100)
  const waiting: (() => void)[] = []
  pair.b.onDeliver = (_peer, _epoch, _message, consumed) => waiting.push(consumed)
  let taken = 0
  while (pair.a.send('b', BULK, Buffer.alloc(32 * KIB)) === undefined) taken++
  pair.run(1000)
  expect(waiting.length).toBe(32)
  expect(pair.a.core.link('b')?.queueBytes[BULK]).toBeGreaterThan(2 * 1024 * KIB)
  // Over a new connection there is no more room than before: what was handed over still waits.
  pair.network.reset()
  pair.run(3000)
  expect(waiting.length).toBe(32)
  for (let i = 0; i < 1000; i++) {
    waiting.shift()?.()
    pair.run(2)
  }
  pair.run(1000)
  expect(pair.a.core.link('b')?.queueBytes[BULK]).toBe(0)
  expect(pair.a.effects.filter((effect) => effect.kind === 'room').length).toBe(1)
  expect(taken).toBeGreaterThan(100)
})

test('in the lazy topology the first use dials, and ten idle minutes close; the session stays (§4.1)', () => {
  const pair = new Pair({ settings: lazy })
  pair.meet()
  pair.run(70_000)
  expect(pair.a.core.link('b')).toMatchObject({ state: 'idle', isUp: false })
  expect(kinds(pair.a, 'session-over')).toEqual([])
  pair.say(pair.b, pair.a, 'wake up')
  pair.run(100)
  expect(pair.got).toEqual(['b>a 3 wake up'])
  pair.run(700_000)
  expect(pair.a.core.link('b')).toMatchObject({ state: 'idle', isUp: true })
  pair.run(100_000)
  pair.say(pair.a, pair.b, 'again')
  pair.run(100)
  expect(pair.got).toEqual(['b>a 3 wake up', 'a>b 3 again'])
  expect(kinds(pair.a, 'node-up', 'node-down')).toEqual(['node-up'])
})

test('raft members are dialed in every topology', () => {
  const pair = new Pair({ settings: lazy })
  pair.a.feed({ kind: 'member', member: { ...pair.b.member, isRaftMember: true } })
  pair.b.feed({ kind: 'member', member: pair.a.member })
  pair.run(100)
  expect(pair.a.core.link('b')?.state).toBe('connected')
})

test('with more than 64 members connections are made on demand, below 48 all again', () => {
  const world = new World(3)
  const network = new StreamNetwork(world)
  const node = new MeshNode(world, network, { name: 'a', epoch: 1, address: 'a:1' })
  const member = (i: number) => ({
    name: `m${i}`,
    epoch: 1,
    endpoints: [{ host: 'none', port: i + 1 }],
    isRaftMember: false,
  })
  for (let i = 0; i < 63; i++) node.feed({ kind: 'member', member: member(i) })
  expect(dials(node)).toBe(63)
  node.feed({ kind: 'member', member: member(63) })
  expect(dials(node)).toBe(63)
  for (let i = 63; i >= 46; i--) node.feed({ kind: 'gone', name: `m${i}`, epoch: 1, reason: 'left' })
  world.run(6000)
  expect(node.core.links().every(({ state }) => state === 'connecting')).toBe(true)
})

test('a run that counts as a later one begins all sessions anew', () => {
  const pair = new Pair()
  pair.meet()
  pair.run(100)
  pair.b.raiseEpoch(7)
  pair.run(100)
  expect(kinds(pair.b, 'node-down')).toEqual(['node-down own_epoch'])
  expect(kinds(pair.a, 'node-down')).toEqual(['node-down session_lost'])
  pair.a.feed({ kind: 'gone', name: 'b', epoch: 1, reason: 'epoch' })
  pair.a.feed({ kind: 'member', member: pair.b.member })
  pair.run(5000)
  expect(pair.a.core.link('b')).toMatchObject({ epoch: 7, state: 'connected', isUp: true })
  expect(pair.b.core.link('a')).toMatchObject({ state: 'connected', isUp: true })
})

test('a node that stops says so, and refuses who comes', () => {
  const pair = new Pair()
  pair.meet()
  pair.run(100)
  pair.b.feed({ kind: 'drain' })
  pair.run(3000)
  expect(kinds(pair.b, 'node-down')).toEqual(['node-down shutdown'])
  expect(codes(pair.a)[0]).toMatch(/^draining/)
})

test('a node that leaves does not dial those who heard of it and closed', () => {
  const pair = new Pair()
  pair.meet()
  pair.run(100)
  pair.a.feed({ kind: 'leave' })
  expect(pair.say(pair.a, pair.b, 'bye')).toBeUndefined()
  pair.run(100)
  pair.b.feed({ kind: 'gone', name: 'a', epoch: 1, reason: 'left' })
  pair.run(20_000)
  expect(pair.got).toEqual(['a>b 3 bye'])
  expect([dials(pair.a), dials(pair.b)]).toEqual([1, 0])
  pair.a.feed({ kind: 'drain' })
  expect(kinds(pair.a, 'node-up', 'node-down')).toEqual(['node-up', 'node-down shutdown'])
})

test('a pause of our own is not the peer being silent', () => {
  const pair = new Pair()
  pair.meet()
  pair.run(100)
  pair.a.process.freeze(14_000)
  pair.run(16_000)
  expect(kinds(pair.a, 'connection-lost')).toEqual([])
})

test('a peer that sends on without a handshake or answers nothing is closed in time', () => {
  const world = new World(4)
  const network = new StreamNetwork(world)
  const node = new MeshNode(world, network, { name: 'a', epoch: 1, address: 'a:1' })
  for (let i = 0; i < 400; i++) network.connect(`x:${i}`, 'a:1', 1000, () => {})
  world.run(100)
  expect(node.core.counters.strangersRefused).toBe(144)
  world.run(5000)
  expect(node.effects.filter(({ kind }) => kind === 'close')).toHaveLength(400)
})
