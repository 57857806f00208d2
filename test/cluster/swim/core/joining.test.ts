// Joining, leaving, healing: cluster.md §3.8.

import { beforeEach, describe, expect, test } from 'vitest'
import type { Exchange, NodeState } from '../../../../cluster/swim/core/messages.ts'
import { at, metaOf, Rig, type RigOptions, stateOf } from './rig.ts'

let rig: Rig

const states = (sender: string, nodes: readonly NodeState[]): Exchange => ({
  join: false,
  nodes,
  lTime: 1,
  sender,
  frames: [],
})

/** Answers the exchange that was started last. */
function answer(nodes: readonly NodeState[], sender = 'x'): void {
  const { id } = rig.all('exchange').at(-1) as { id: number }
  rig.feed({ kind: 'exchange-done', id, exchange: states(sender, nodes) })
}

function fail(): void {
  for (const { id } of rig.all('exchange')) rig.feed({ kind: 'exchange-failed', id, reason: 'refused' })
  rig.effects = rig.effects.filter((effect) => effect.kind !== 'exchange')
}

/** A node that is about to join through 10.0.0.24. */
function starting(options: RigOptions = {}): void {
  rig = new Rig({ hasSeeds: true, ...options })
  rig.feed({ kind: 'start' })
  rig.feed({ kind: 'seeds-resolved', purpose: 'join', seeds: [{ address: at(24) }] })
}

/** b is dead, reaped and remembered, or left if it said so. */
function departed(from = 'z', options: RigOptions = {}): void {
  rig = new Rig(options)
  rig.alive('c')
  rig.alive('b', { inc: 5, epoch: 3 })
  rig.dead('b', 5, from)
  rig.nowMs += 30_001
  for (let i = 0; i < 4; i++) {
    rig.feed({ kind: 'probe-tick' })
    const [probe] = rig.all('send').flatMap(({ probe = -1 }) => (probe === -1 ? [] : [probe]))
    if (probe !== undefined) rig.hear({ kind: 'ack', seqNo: probe })
    rig.take()
  }
  expect(rig.view('b')).toBeUndefined()
}

describe('joining', () => {
  test('a node without seeds is one', () => {
    rig = new Rig()
    rig.feed({ kind: 'start' })
    expect(rig.all('joined')).toHaveLength(1)
    expect(rig.told()).toEqual(['alive a 1'])
  })

  test('all addresses are asked, its own left out; one answer is enough', () => {
    rig = new Rig({ hasSeeds: true })
    rig.feed({ kind: 'start' })
    expect(rig.all('resolve-seeds')).toEqual([{ kind: 'resolve-seeds', purpose: 'join' }])
    rig.feed({ kind: 'seeds-resolved', purpose: 'join', seeds: [1, 24, 25].map((host) => ({ address: at(host) })) })
    expect(rig.all('exchange').map(({ to, exchange }) => [to, exchange.join])).toEqual([
      [at(24), true],
      [at(25), true],
    ])
    expect(rig.all('joined')).toEqual([])
    answer([stateOf('x', 'alive')])
    expect(rig.all('joined')).toHaveLength(1)
    fail()
    expect(rig.all('joined')).toHaveLength(1)
  })

  test('where a node is named, it is asked for by its name first', () => {
    rig = new Rig()
    rig.feed({ kind: 'join', seeds: [{ name: 'x', address: at(24) }, { address: at(25) }] })
    const [named, any] = rig.all('exchange')
    expect(named?.first).toMatchObject({ kind: 'ping', node: 'x', sourceNode: 'a' })
    expect(any?.first).toBeUndefined()
  })

  test('a node that names only itself waits for others', () => {
    rig = new Rig({ hasSeeds: true })
    rig.feed({ kind: 'start' })
    rig.feed({ kind: 'seeds-resolved', purpose: 'join', seeds: [{ address: at(1) }] })
    expect(rig.all('joined')).toHaveLength(1)
  })

  test('is tried again after 500 ms, doubling to 8 s, for ever', () => {
    starting()
    const waits: number[] = []
    for (let i = 0; i < 7; i++) {
      rig.take()
      rig.feed({ kind: 'exchange-failed', id: lastExchange, reason: 'refused' })
      waits.push(...rig.all('timer').map((effect) => effect.afterMs))
      rig.feed({ kind: 'join-due' })
      rig.feed({ kind: 'seeds-resolved', purpose: 'join', seeds: [{ address: at(24) }] })
      lastExchange = rig.all('exchange').at(-1)?.id as number
    }
    expect(waits).toEqual([500, 1000, 2000, 4000, 8000, 8000, 8000])
    answer([stateOf('x', 'alive')])
    expect(rig.all('joined')).toHaveLength(1)
  })
  let lastExchange = 0
  beforeEach(() => {
    starting()
    lastExchange = rig.all('exchange').at(-1)?.id as number
  })

  test('names that cannot be resolved are tried again', () => {
    rig = new Rig({ hasSeeds: true })
    rig.feed({ kind: 'start' })
    rig.take()
    rig.feed({ kind: 'seeds-resolved', purpose: 'join', seeds: [] })
    expect(rig.all('timer').map((effect) => effect.then.kind)).toEqual(['join-due'])
  })

  test('whoever does not fit is not joined', () => {
    answer([stateOf('x', 'alive', { versions: [1, 5, 2, 0, 0, 0] })])
    expect(rig.all('joined')).toEqual([])
    expect(rig.all('timer').at(-1)?.then.kind).toBe('join-due')
  })

  test('a node that lost everybody joins again', () => {
    answer([stateOf('x', 'alive')])
    rig.take()
    rig.dead('x', 1)
    expect(rig.all('timer').map((effect) => [effect.then.kind, effect.afterMs])).toEqual([['join-due', 500]])
  })
})

describe('a name that is in use', () => {
  const elsewhere = stateOf('a', 'alive', { inc: 4, epoch: 90, address: at(40) })

  test('a starting node asks there by name; an answer means that it must not start', () => {
    starting()
    answer([stateOf('x', 'alive'), elsewhere])
    expect(rig.all('joined')).toEqual([])
    const [ping] = rig.sent('ping').slice(-1)
    expect(ping).toMatchObject({ node: 'a' })
    expect(rig.all('stream-ping')[0]).toMatchObject({ to: at(40), timeoutMs: 1000 })
    rig.hear({ kind: 'ack', seqNo: ping?.seqNo as number })
    expect(rig.all('name-in-use')).toEqual([{ kind: 'name-in-use', address: at(40) }])
    expect(rig.logged()).toContain('gossip_name_conflict')
    expect(rig.all('joined')).toEqual([])
  })

  test('so does an answer on the stream', () => {
    starting()
    answer([stateOf('x', 'alive'), elsewhere])
    const [stream] = rig.all('stream-ping')
    rig.feed({ kind: 'stream-pong', seqNo: stream?.ping.seqNo as number, isAnswered: true })
    expect(rig.all('name-in-use')).toHaveLength(1)
  })

  test('silence means a former run, which is outbid', () => {
    starting()
    answer([stateOf('x', 'alive'), elsewhere])
    rig.advance(999)
    expect(rig.all('joined')).toEqual([])
    rig.advance(1)
    expect(rig.all('joined')).toHaveLength(1)
    expect(rig.view('a')).toBe('alive 5')
    expect(rig.swim.self.epoch).toBe(100)
  })

  test('a suspect elsewhere is asked, too', () => {
    starting()
    answer([stateOf('x', 'alive'), { ...elsewhere, state: 'suspect' }])
    expect(rig.all('stream-ping')[0]?.to).toEqual(at(40))
  })

  test('a question that comes back to this very node is silence', () => {
    starting()
    answer([stateOf('x', 'alive'), elsewhere])
    const ping = rig.sent('ping').at(-1)
    rig.take()
    rig.hear({ kind: 'ping', seqNo: ping?.seqNo as number, node: 'a', source: at(1), sourceNode: 'a' })
    expect(rig.sent('ack')).toEqual([])
    expect(rig.all('joined')).toHaveLength(1)
    expect(rig.view('a')).toBe('alive 5')
  })

  test('a running node says so and goes on', () => {
    rig = new Rig()
    rig.feed({ kind: 'start' })
    rig.take()
    rig.alive('a', { inc: 9, epoch: 200, address: at(40) })
    expect(rig.logged()).toEqual(['gossip_name_conflict'])
    expect(rig.view('a')).toBe('alive 1')
    expect(rig.all('name-in-use')).toEqual([])
  })

  test('a running node outbids the words of its own former run at another address', () => {
    rig = new Rig()
    rig.feed({ kind: 'start' })
    rig.alive('a', { inc: 9, epoch: 90, address: at(40) })
    expect(rig.view('a')).toBe('alive 10')
    expect(rig.logged()).toEqual([])
  })
})

describe('the epoch of a former run (§0.1)', () => {
  const raised = (): number[] => rig.all('epoch-raised').map((effect) => effect.epoch)

  test.each(['alive', 'suspect', 'dead', 'left'] as const)(
    'that was later, listed as %s: this one goes above',
    (state) => {
      starting()
      answer([stateOf('x', 'alive'), stateOf('a', state, { inc: 2, epoch: 500, address: at(1) })])
      expect(raised()).toEqual([501])
      expect(rig.swim.self).toMatchObject({ epoch: 501 })
      expect(rig.swim.self.incarnation).toBeGreaterThan(2)
      expect(rig.swim.self.tags.get('epoch')).toBe((501).toString(36))
    },
  )

  test('the same one with other words: above, too', () => {
    starting()
    answer([stateOf('x', 'alive'), stateOf('a', 'alive', { inc: 2, epoch: 100, x: '1', address: at(1) })])
    expect(raised()).toEqual([101])
  })

  test('own words that come back change nothing', () => {
    starting()
    const { meta } = rig.swim.self
    answer([stateOf('x', 'alive'), stateOf('a', 'dead', { inc: 1, address: at(1), meta })])
    expect(raised()).toEqual([])
    expect(rig.view('a')).toBe('alive 2')
  })

  test('a seed learns it from where its name is listed as gone, wherever that was', () => {
    rig = new Rig()
    rig.feed({ kind: 'start' })
    rig.exchange('x', [stateOf('a', 'dead', { inc: 2, epoch: 500, address: at(40) })])
    expect(raised()).toEqual([501])
    expect(rig.view('a')).toBe('alive 3')
  })

  test('a live node elsewhere does not push up the epoch of a running one', () => {
    rig = new Rig()
    rig.feed({ kind: 'start' })
    rig.alive('a', { inc: 2, epoch: 500, address: at(40) })
    rig.exchange('x', [stateOf('a', 'suspect', { inc: 2, epoch: 500, address: at(40) })])
    expect(raised()).toEqual([])
  })

  test('another cluster has no say', () => {
    starting()
    answer([stateOf('x', 'alive'), stateOf('a', 'dead', { address: at(1), meta: metaOf(500, 'other') })])
    expect(raised()).toEqual([])
  })
})

describe('a run at another address', () => {
  beforeEach(() => {
    rig = new Rig()
    rig.alive('b', { inc: 3, epoch: 1 })
    rig.take()
    rig.alive('b', { inc: 1, epoch: 2, address: at(20) })
  })

  test('a later epoch: the old address is asked by name; silence, and it is taken without the reclaim time', () => {
    expect(rig.sent('ping')).toMatchObject([{ node: 'b' }])
    expect(rig.all('stream-ping')).toMatchObject([{ to: at(2), timeoutMs: 1000, ping: { node: 'b' } }])
    rig.advance(999)
    expect(rig.record('b').address).toEqual(at(2))
    rig.advance(1)
    expect(rig.record('b')).toMatchObject({ state: 'alive', epoch: 2, address: at(20) })
    expect(rig.heard()).toEqual(['joined b 1', 'left b 1 dead', 'joined b 2'])
    expect(rig.swim.counters.conflicts).toBe(0)
  })

  test('an answer: a genuine duplicate', () => {
    const seqNo = rig.sent('ping')[0]?.seqNo as number
    rig.hear({ kind: 'ack', seqNo })
    rig.advance(2000)
    expect(rig.record('b')).toMatchObject({ epoch: 1, address: at(2) })
    expect(rig.logged()).toContain('gossip_name_conflict')
  })

  test('is asked once at a time, and taken with the newest of its claims', () => {
    rig.alive('b', { inc: 4, epoch: 2, address: at(20) })
    rig.alive('b', { inc: 2, epoch: 2, address: at(20) })
    expect(rig.all('stream-ping')).toHaveLength(1)
    rig.advance(1000)
    expect(rig.view('b')).toBe('alive 4')
    rig.dead('b', 3)
    expect(rig.view('b')).toBe('alive 4')
  })

  test('an old address that is ours now is a silent one', () => {
    const ping = rig.sent('ping')[0]
    if (ping !== undefined) rig.hear(ping)
    expect(rig.record('b')).toMatchObject({ epoch: 2, address: at(20) })
  })

  test('a claim without a later epoch is a conflict, and asks nobody', () => {
    rig = new Rig()
    rig.alive('b', { inc: 3, epoch: 'foreign' })
    rig.take()
    rig.alive('b', { inc: 4, epoch: 'foreign', address: at(20) })
    expect(rig.all('stream-ping')).toEqual([])
    expect(rig.swim.counters.conflicts).toBe(1)
  })
})

describe('those that are gone are remembered', () => {
  test('hearsay does not bring them back, a higher incarnation or epoch does', () => {
    departed()
    rig.alive('b', { inc: 5, epoch: 3 })
    rig.alive('b', { inc: 99, epoch: 2 })
    expect(rig.view('b')).toBeUndefined()
    rig.alive('b', { inc: 6, epoch: 3 })
    expect(rig.view('b')).toBe('alive 6')
    departed()
    rig.alive('b', { inc: 1, epoch: 4 })
    expect(rig.view('b')).toBe('alive 1')
  })

  test('nor does the list of a third party, but its own does', () => {
    departed()
    rig.exchange('c', [stateOf('b', 'alive', { inc: 5, epoch: 3 })])
    expect(rig.view('b')).toBeUndefined()
    rig.exchange('b', [stateOf('b', 'alive', { inc: 5, epoch: 3 })])
    expect(rig.view('b')).toBe('alive 5')
  })

  test('hearsay of one that died is a reason to ask it, once in a while; of one that left it is none', () => {
    departed()
    rig.alive('b', { inc: 5, epoch: 3 })
    rig.alive('b', { inc: 5, epoch: 3 })
    expect(rig.all('exchange').map((effect) => effect.to)).toEqual([at(2)])
    departed('b')
    rig.alive('b', { inc: 5, epoch: 3 })
    expect(rig.all('exchange')).toEqual([])
  })

  test.each(['z', 'b'])(
    'whoever comes back is told what it is remembered as, so that it refutes (said by %s)',
    (from) => {
      departed(from)
      const { nodes } = rig.exchange('b', [])
      expect(nodes.map(({ name, state, incarnation }) => `${name} ${state} ${incarnation}`)).toEqual([
        'a alive 1',
        'c alive 1',
        `b ${from === 'b' ? 'left' : 'dead'} 5`,
      ])
      expect(rig.exchange('c', []).nodes).toHaveLength(2)
    },
  )

  test('only for a time', () => {
    departed('z', { settings: { reconnectTimeoutMs: 60_000 } })
    rig.nowMs += 60_000
    rig.feed({ kind: 'reconnect-tick' })
    rig.alive('b', { inc: 5, epoch: 3 })
    expect(rig.view('b')).toBe('alive 5')
  })

  test('foreign nodes follow the rules of memberlist: nobody remembers them', () => {
    rig = new Rig()
    rig.alive('b', { inc: 5, epoch: 'foreign' })
    rig.dead('b', 5)
    rig.nowMs += 30_001
    for (let i = 0; i < 3; i++) rig.feed({ kind: 'probe-tick' })
    expect(rig.view('b')).toBeUndefined()
    rig.alive('b', { inc: 1, epoch: 'foreign' })
    expect(rig.view('b')).toBe('alive 1')
  })

  test('a foreign node may take the name of a member that is gone', () => {
    departed()
    rig.alive('b', { inc: 1, epoch: 'foreign' })
    expect(rig.view('b')).toBe('alive 1')
  })
})

describe('healing', () => {
  test('a lost member is looked for at its address, and listed as dead to it', () => {
    departed()
    rig.feed({ kind: 'reconnect-tick' })
    const [exchange] = rig.all('exchange')
    expect(exchange?.to).toEqual(at(2))
    expect(exchange?.exchange.join).toBe(true)
    expect(exchange?.exchange.nodes.find((node) => node.name === 'b')).toMatchObject({ state: 'dead', incarnation: 5 })
  })

  test('one that left is not looked for', () => {
    departed('b')
    for (let i = 0; i < 20; i++) rig.feed({ kind: 'reconnect-tick' })
    expect(rig.all('exchange')).toEqual([])
  })

  test('all nodes together make about one attempt an interval', () => {
    rig = new Rig()
    for (let i = 2; i < 22; i++) rig.alive(`n${i}`, { address: at(i) })
    rig.dead('n5', 1)
    for (let i = 0; i < 2000; i++) {
      rig.feed({ kind: 'reconnect-tick' })
      fail()
    }
    // 19 others live.
    expect(rig.swim.counters.pushPulls / 2000).toBeGreaterThan(0.6 / 19)
    expect(rig.swim.counters.pushPulls / 2000).toBeLessThan(1.4 / 19)
  })

  test('a seed that nobody owns is asked, one after the other until one answers', () => {
    rig = new Rig({ hasSeeds: true })
    rig.alive('b')
    rig.feed({ kind: 'reconnect-tick' })
    expect(rig.all('resolve-seeds')).toEqual([{ kind: 'resolve-seeds', purpose: 'seed-check' }])
    const seeds = [1, 2, 30, 31].map((host) => ({ address: at(host) }))
    rig.feed({ kind: 'seeds-resolved', purpose: 'seed-check', seeds })
    expect(rig.all('exchange')).toHaveLength(1)
    const first = rig.all('exchange')[0]
    rig.feed({ kind: 'exchange-failed', id: first?.id as number, reason: 'refused' })
    const asked = rig.all('exchange').map((effect) => effect.to.host)
    expect([...asked].sort()).toEqual(['10.0.0.30', '10.0.0.31'])
    answer([stateOf('x', 'alive')])
    expect(rig.view('x')).toBe('alive 1')
    expect(rig.all('exchange')).toHaveLength(2)
  })
})

describe('leaving', () => {
  beforeEach(() => {
    rig = new Rig()
    for (const name of ['b', 'c']) rig.alive(name)
    rig.feed({ kind: 'start' })
    rig.advance(5000)
    for (const { name } of rig.swim.members().filter((member) => member.name !== 'a')) rig.alive(name, { inc: 50 })
    rig.advance(5000)
    rig.take()
    rig.feed({ kind: 'leave' })
  })

  test("serf's intent goes ahead, then the departure, until it is told", () => {
    expect(rig.sent('serf-leave').length).toBeGreaterThan(0)
    expect(rig.sent('dead')).toEqual([])
    rig.advance(500)
    expect(rig.sent('dead')[0]).toMatchObject({ node: 'a', from: 'a' })
    rig.advance(2499)
    expect(rig.all('left')).toHaveLength(1)
  })

  test('pings are answered meanwhile', () => {
    rig.advance(400)
    rig.take()
    rig.hear({ kind: 'ping', seqNo: 5, node: 'a' })
    expect(rig.sent('ack')).toEqual([{ kind: 'ack', seqNo: 5 }])
  })

  test('accusations are not refuted, and a death that others claim does not make a failure of it', () => {
    const { incarnation } = rig.swim.self
    rig.suspect('a', incarnation)
    rig.dead('a', incarnation)
    rig.advance(500)
    expect(rig.view('a')).toBe(`left ${incarnation}`)
    expect(rig.sent('dead').every(({ from }) => from === 'a')).toBe(true)
  })

  test('every live member of a small cluster hears of it, however many of the others are dead without being known to be', () => {
    rig = new Rig({ settings: { gossipNodes: 1 } })
    const names = [...'bcdefghijklm']
    for (const name of names) rig.alive(name)
    rig.feed({ kind: 'start' })
    rig.take()
    rig.feed({ kind: 'leave' })
    rig.advance(500)
    const told = rig
      .all('send')
      .filter(({ parts }) => parts.some((part) => part.kind === 'dead' && part.from === 'a'))
      .map(({ to }) => to.host)
    expect(new Set(told).size).toBe(names.length)
  })

  test('is over after three seconds whoever has heard it', () => {
    rig = new Rig({ settings: { retransmitMult: 1000 } })
    rig.alive('b')
    rig.feed({ kind: 'start' })
    rig.feed({ kind: 'leave' })
    rig.advance(2999)
    expect(rig.all('left')).toEqual([])
    rig.advance(1)
    expect(rig.all('left')).toHaveLength(1)
    rig.take()
    rig.hear({ kind: 'ping', seqNo: 5, node: 'a' })
    expect(rig.effects).toEqual([])
  })

  test('nobody is there: at once', () => {
    rig = new Rig({ settings: { speaksSerf: false } })
    rig.feed({ kind: 'start' })
    rig.take()
    rig.feed({ kind: 'leave' })
    expect(rig.all('left')).toHaveLength(1)
  })
})

describe('foreign nodes (§3.8)', () => {
  test('are seen and probed, and no layer above hears of them', () => {
    rig = new Rig()
    rig.alive('b', { epoch: 'foreign' })
    expect(rig.view('b')).toBe('alive 1')
    expect(rig.record('b').epoch).toBeUndefined()
    expect(rig.heard()).toEqual([])
    rig.feed({ kind: 'probe-tick' })
    expect(rig.sent('ping')).toMatchObject([{ node: 'b' }])
    rig.dead('b', 1)
    expect(rig.heard()).toEqual([])
  })

  test('one that turns into a member joins', () => {
    rig = new Rig()
    rig.alive('b', { epoch: 'foreign' })
    rig.alive('b', { inc: 2, epoch: 7 })
    expect(rig.heard()).toEqual(['joined b 7'])
  })
})
