// The table of claims of cluster.md §3.6, row by row.

import { beforeEach, describe, expect, test } from 'vitest'
import { aliveClaim, at, metaOf, Rig, stateOf } from './rig.ts'

let rig: Rig
beforeEach(() => {
  rig = new Rig()
})

describe('a claim about an unknown node', () => {
  test('alive: it is added, announced and told on', () => {
    rig.alive('b', { inc: 3 })
    expect(rig.view('b')).toBe('alive 3')
    expect(rig.heard()).toEqual(['joined b 1'])
    expect(rig.told()).toContain('alive b 3')
  })

  test('suspect and dead: ignored', () => {
    rig.suspect('b', 1)
    rig.dead('b', 1)
    expect(rig.view('b')).toBeUndefined()
    expect(rig.told()).toEqual([])
  })
})

describe('alive, same address', () => {
  test.each([4, 5])('incarnation %i of 5: ignored', (inc) => {
    rig.alive('b', { inc: 5 })
    rig.told()
    rig.alive('b', { inc, x: 'other' })
    expect(rig.record('b').tags.get('x')).toBeUndefined()
  })

  test('a higher incarnation: all fields are taken, and told on', () => {
    rig.alive('b', { inc: 5 })
    rig.alive('b', { inc: 6, x: 'new', versions: [1, 4, 2, 2, 5, 4] })
    expect(rig.record('b')).toMatchObject({ incarnation: 6, versions: [1, 4, 2, 2, 5, 4] })
    expect(rig.record('b').tags.get('x')).toBe('new')
    expect(rig.heard()).toEqual(['joined b 1', 'updated b 1'])
    expect(rig.told()).toContain('alive b 6')
  })

  test('a suspect is cleared by a higher incarnation only', () => {
    rig.alive('b')
    rig.suspect('b', 1)
    rig.alive('b', { inc: 1 })
    expect(rig.view('b')).toBe('suspect 1')
    rig.alive('b', { inc: 2 })
    expect(rig.view('b')).toBe('alive 2')
    rig.advance(60_000)
    expect(rig.heard()).toEqual(['joined b 1'])
  })

  test('the dead come back with a higher incarnation only', () => {
    rig.alive('b', { inc: 5 })
    rig.dead('b', 5)
    rig.alive('b', { inc: 5 })
    expect(rig.view('b')).toBe('dead 5')
    rig.alive('b', { inc: 6 })
    expect(rig.view('b')).toBe('alive 6')
    expect(rig.heard()).toEqual(['joined b 1', 'left b 1 dead', 'joined b 1'])
  })
})

describe('alive, another address', () => {
  test('of a live node: a conflict, ignored', () => {
    rig.alive('b', { inc: 1 })
    rig.take()
    rig.alive('b', { inc: 9, address: at(20) })
    expect(rig.record('b').address).toEqual(at(2))
    expect(rig.swim.counters.conflicts).toBe(1)
    rig.alive('x', { epoch: 'foreign', address: at(3) })
    rig.alive('x', { epoch: 'foreign', address: at(4), inc: 2 })
    expect(rig.swim.counters.conflicts).toBe(2)
    expect(rig.logged()).toContain('gossip_name_conflict')
  })

  test('of a node that left: taken, whatever the incarnation', () => {
    rig.alive('b', { inc: 5, epoch: 'foreign' })
    rig.dead('b', 5, 'b')
    rig.alive('b', { inc: 1, epoch: 'foreign', address: at(20) })
    expect(rig.record('b')).toMatchObject({ state: 'alive', incarnation: 1, address: at(20) })
  })

  test('of a dead node: taken once it is dead for longer than the reclaim time', () => {
    const claim = { inc: 1, epoch: 'foreign', address: at(20) } as const
    rig.alive('b', { inc: 5, epoch: 'foreign' })
    rig.dead('b', 5)
    rig.nowMs += 30_000
    rig.alive('b', claim)
    expect(rig.view('b')).toBe('dead 5')
    rig.nowMs += 1
    rig.alive('b', claim)
    expect(rig.view('b')).toBe('alive 1')
  })

  test('of a dead node with a reclaim time of 0: never by time', () => {
    rig = new Rig({ settings: { deadNodeReclaimMs: 0 } })
    rig.alive('b', { inc: 5, epoch: 'foreign' })
    rig.dead('b', 5)
    rig.nowMs += 3_600_000
    rig.alive('b', { inc: 6, epoch: 'foreign', address: at(20) })
    expect(rig.view('b')).toBe('dead 5')
  })

  test('within a run a lower incarnation takes nothing back, not even of a node that left (G4)', () => {
    rig.alive('b', { inc: 5 })
    rig.dead('b', 5, 'b')
    rig.alive('b', { inc: 5, address: at(20) })
    expect(rig.view('b')).toBe('left 5')
    rig.alive('b', { inc: 6, address: at(20) })
    expect(rig.view('b')).toBe('alive 6')
  })
})

describe('alive of another run', () => {
  test('an earlier epoch is never taken, in whatever state the record is', () => {
    const old = { inc: 99, epoch: 1 }
    rig.alive('b', { inc: 2, epoch: 2 })
    rig.alive('b', old)
    expect(rig.view('b')).toBe('alive 2')
    rig.dead('b', 2)
    rig.alive('b', old)
    expect(rig.view('b')).toBe('dead 2')
    rig.alive('b', { inc: 3, epoch: 2 })
    rig.dead('b', 3, 'b')
    rig.alive('b', { ...old, address: at(20) })
    expect(rig.view('b')).toBe('left 3')
  })

  test('a later epoch at the same address is a departure and an arrival', () => {
    rig.alive('b', { inc: 1, epoch: 1 })
    rig.alive('b', { inc: 2, epoch: 2 })
    expect(rig.heard()).toEqual(['joined b 1', 'left b 1 epoch', 'joined b 2'])
  })

  test('a member that turns into a foreign node has left', () => {
    rig.alive('b', { inc: 1, epoch: 1 })
    rig.alive('b', { inc: 2, epoch: 'foreign' })
    expect(rig.heard()).toEqual(['joined b 1', 'left b 1 foreign'])
    expect(rig.view('b')).toBe('alive 2')
  })
})

describe('alive that is no good', () => {
  test.each([
    ['pmin 0', [0, 5, 2, 2, 5, 4]],
    ['pmax 0', [1, 0, 2, 2, 5, 4]],
    ['pmin above pmax', [3, 2, 2, 2, 5, 4]],
  ] as const)('%s', (_, versions) => {
    rig.alive('b', { versions })
    expect(rig.view('b')).toBeUndefined()
    expect(rig.swim.counters.ignoredClaims).toBe(1)
  })

  test('a meta of 513 bytes', () => {
    rig.alive('b', { meta: 'x'.repeat(513) })
    expect(rig.view('b')).toBeUndefined()
    rig.alive('b', { meta: 'x'.repeat(512) })
    expect(rig.view('b')).toBe('alive 1')
  })

  test('another cluster (§3.8)', () => {
    rig.alive('b', { meta: metaOf(1, 'other') })
    expect(rig.view('b')).toBeUndefined()
    expect(rig.swim.counters.foreignCluster).toBe(1)
    expect(rig.logged()).toContain('foreign_cluster_id')
  })

  test('an address outside of the allowed ranges, new or moved', () => {
    rig = new Rig({ settings: { allowedCidrs: [{ bytes: Uint8Array.of(10, 0, 0, 0), bits: 24 }] } })
    rig.alive('b', { address: { host: '10.0.1.1', port: 1 } })
    expect(rig.view('b')).toBeUndefined()
    rig.alive('b', { epoch: 'foreign' })
    rig.dead('b', 1, 'b')
    rig.alive('b', { epoch: 'foreign', inc: 2, address: { host: '10.0.1.1', port: 1 } })
    expect(rig.view('b')).toBe('left 1')
  })

  test('a full table', () => {
    rig = new Rig({ settings: { membersMax: 2 } })
    rig.alive('b')
    rig.alive('c')
    expect(rig.view('c')).toBeUndefined()
    expect(rig.swim.counters.ignoredClaims).toBe(1)
    rig.alive('b', { inc: 2 })
    expect(rig.view('b')).toBe('alive 2')
  })
})

describe('suspect', () => {
  beforeEach(() => {
    rig.alive('c')
    rig.alive('d')
    rig.alive('b', { inc: 5 })
    rig.told()
  })

  test('a lower incarnation: ignored', () => {
    rig.suspect('b', 4)
    expect(rig.view('b')).toBe('alive 5')
  })

  test.each([5, 7])('incarnation %i of 5: suspected with that one, told on', (inc) => {
    rig.suspect('b', inc)
    expect(rig.view('b')).toBe(`suspect ${inc}`)
    expect(rig.told()).toContain(`suspect b ${inc} from z`)
    expect(rig.heard()).toHaveLength(3)
  })

  test('again by another one: a confirmation, told on; by the same one or surplus: neither', () => {
    rig.suspect('b', 5, 'x')
    rig.told()
    rig.suspect('b', 5, 'x')
    expect(rig.told()).toContain('suspect b 5 from x')
    rig.suspect('b', 5, 'y')
    expect(rig.told()).toContain('suspect b 5 from y')
    rig.suspect('b', 5, 'w')
    expect(rig.told()).not.toContain('suspect b 5 from w')
    rig.advance(3000)
    expect(rig.view('b')).toBe('dead 5')
  })

  test('without a confirmation the longest time holds, then it is dead', () => {
    rig.suspect('b', 5)
    rig.advance(17_999)
    expect(rig.view('b')).toBe('suspect 5')
    rig.advance(1)
    expect(rig.view('b')).toBe('dead 5')
    expect(rig.heard().at(-1)).toBe('left b 1 dead')
    expect(rig.told()).toContain('dead b 5 from a')
  })

  test('of one that is dead or left: ignored', () => {
    rig.dead('b', 5)
    rig.suspect('b', 5)
    expect(rig.view('b')).toBe('dead 5')
    rig.dead('c', 1, 'c')
    rig.suspect('c', 9)
    expect(rig.view('c')).toBe('left 1')
  })

  test('a suspicion that was refuted does not bring its verdict to a later one', () => {
    rig.suspect('b', 5)
    rig.advance(10_000)
    rig.alive('b', { inc: 6 })
    rig.suspect('b', 6)
    rig.advance(10_000)
    expect(rig.view('b')).toBe('suspect 6')
    rig.advance(8000)
    expect(rig.view('b')).toBe('dead 6')
  })

  test('the suspect is told once more, shortly before the verdict', () => {
    rig.suspect('b', 5, 'x')
    rig.advance(17_000)
    rig.take()
    rig.advance(900)
    const calls = rig.all('send').filter((effect) => effect.to.host === at(2).host && effect.parts[0]?.kind === 'ping')
    expect(calls.filter(({ parts }) => parts[1]?.kind === 'suspect')).toHaveLength(3)
  })

  test('a pause gives suspects the time back (§12, row 22)', () => {
    rig.suspect('b', 5)
    rig.advance(10_000)
    rig.nowMs += 30_000
    rig.feed({ kind: 'paused', pausedMs: 30_000 })
    rig.advance(7999)
    expect(rig.view('b')).toBe('suspect 5')
    rig.advance(2)
    expect(rig.view('b')).toBe('dead 5')
  })

  test('a timer that comes a rounding early does not leave a suspicion for ever', () => {
    const due = rig.suspect('b', 5).find((effect) => effect.kind === 'timer' && effect.then.kind === 'suspicion-due')
    expect(due?.kind).toBe('timer')
    rig.nowMs += 17_999.999999
    if (due?.kind === 'timer') rig.feed(due.then)
    rig.advance(2)
    expect(rig.view('b')).toBe('dead 5')
  })
})

describe('dead', () => {
  beforeEach(() => {
    rig.alive('b', { inc: 5 })
    rig.told()
  })

  test('a lower incarnation: ignored', () => {
    rig.dead('b', 4)
    expect(rig.view('b')).toBe('alive 5')
  })

  test('by another one: dead with that incarnation, announced, told on', () => {
    rig.dead('b', 6, 'x')
    expect(rig.view('b')).toBe('dead 6')
    expect(rig.heard().at(-1)).toBe('left b 1 dead')
    expect(rig.told()).toContain('dead b 6 from x')
  })

  test('by itself: left', () => {
    rig.dead('b', 5, 'b')
    expect(rig.view('b')).toBe('left 5')
    expect(rig.heard().at(-1)).toBe('left b 1 left')
  })

  test('again: ignored, a death is no departure afterwards', () => {
    rig.dead('b', 5)
    rig.dead('b', 6, 'b')
    expect(rig.view('b')).toBe('dead 5')
    expect(rig.heard()).toEqual(['joined b 1', 'left b 1 dead'])
  })

  test('ends a suspicion', () => {
    rig.suspect('b', 5)
    rig.dead('b', 5, 'b')
    rig.advance(60_000)
    expect(rig.view('b')).not.toBe('dead 5')
    expect(rig.heard()).toHaveLength(2)
  })
})

describe('claims about this node', () => {
  test('suspect or dead with its incarnation or a higher one: refuted above both', () => {
    rig.suspect('a', 1)
    expect(rig.view('a')).toBe('alive 2')
    expect(rig.told()).toContain('alive a 2')
    rig.dead('a', 7)
    expect(rig.view('a')).toBe('alive 8')
    expect(rig.swim.counters.refutes).toBe(2)
    expect(rig.swim.healthScore).toBe(2)
  })

  test('a refutation takes the place of the queued accusation', () => {
    rig.told()
    rig.suspect('a', 1)
    expect(rig.told()).toEqual(['alive a 2'])
  })

  test('suspect or dead with a lower one: the accuser gets the word that it missed, no refutation', () => {
    rig.suspect('a', 4)
    rig.take()
    const from = at(9)
    rig.hear({ kind: 'suspect', node: 'a', incarnation: 4, from: 'z' }, from)
    expect(rig.view('a')).toBe('alive 5')
    expect(rig.all('send')[0]).toMatchObject({ to: from })
    expect(rig.sent('alive')[0]).toMatchObject({ node: 'a', incarnation: 5 })
    rig.take()
    for (let i = 0; i < 1000; i++) rig.dead('a', 1)
    expect(rig.all('send').length).toBeLessThan(100)
  })

  test('alive: lower or the same words are ignored, other words are refuted', () => {
    const { address, meta } = rig.swim.self
    rig.suspect('a', 1)
    const own = { address, meta }
    rig.alive('a', { ...own, inc: 1 })
    rig.alive('a', { ...own, inc: 2 })
    expect(rig.view('a')).toBe('alive 2')
    rig.alive('a', { ...own, inc: 4 })
    expect(rig.view('a')).toBe('alive 5')
    rig.alive('a', { ...own, inc: 5, versions: [1, 5, 3, 2, 5, 4] })
    expect(rig.view('a')).toBe('alive 6')
    rig.alive('a', { address, inc: 6, meta: metaOf(50) })
    expect(rig.view('a')).toBe('alive 7')
  })

  test('an incarnation at the end of its range stays in it', () => {
    rig.dead('a', 0xffffffff)
    expect(rig.view('a')).toBe('alive 4294967295')
  })
})

describe('an exchange of states (§3.6, §3.7)', () => {
  test('a death elsewhere is a suspicion here, a departure is one', () => {
    for (const name of ['b', 'c', 'd']) rig.alive(name)
    rig.exchange('x', [stateOf('b', 'dead'), stateOf('c', 'suspect'), stateOf('d', 'left')])
    expect(['b', 'c', 'd'].map((name) => rig.view(name))).toEqual(['suspect 1', 'suspect 1', 'left 1'])
    expect(rig.told()).toEqual(expect.arrayContaining(['suspect b 1 from a', 'suspect c 1 from a', 'dead d 1 from d']))
  })

  test('the answer says what was known before, the dead and the left included', () => {
    for (const name of ['b', 'c', 'd']) rig.alive(name)
    rig.dead('c', 1)
    rig.dead('d', 1, 'd')
    const answer = rig.exchange('x', [stateOf('x', 'alive')])
    expect(answer.nodes.map(({ name, state }) => `${name} ${state}`)).toEqual([
      'a alive',
      'b alive',
      'c dead',
      'd left',
    ])
    expect(answer.sender).toBe('a')
    expect(rig.view('x')).toBe('alive 1')
  })

  test('own accusations are refuted', () => {
    rig.exchange('x', [stateOf('x', 'alive'), stateOf('a', 'dead', { inc: 3, epoch: 100 })])
    expect(rig.view('a')).toBe('alive 4')
  })

  test('versions that do not fit refuse the whole merge, naming the node (§3.9)', () => {
    rig.exchange('x', [stateOf('x', 'alive'), stateOf('y', 'alive', { versions: [1, 5, 2, 0, 0, 0] })])
    expect(rig.view('x')).toBeUndefined()
    expect(rig.all('log')[0]).toMatchObject({
      event: 'gossip_merge_refused',
      fields: { reason: expect.stringMatching('node x') },
    })
    expect(rig.swim.counters.pushPullsRefused).toBe(1)
  })

  test('frames of the services are handed up with the name of the sender', () => {
    const frames = [{ frameKind: 0xc1, payload: Uint8Array.of(1) }]
    const exchange = { join: false, nodes: [], lTime: 7, sender: 'x', frames }
    rig.feed({ kind: 'exchange-request', id: 1, from: at(9), exchange })
    expect(rig.all('frames')).toEqual([{ kind: 'frames', frames, from: 'x' }])
    expect(rig.exchange('x', []).lTime).toBe(8)
  })
})

describe('own tags (§3.6)', () => {
  test('a change raises the incarnation, at most once in a gossip interval', () => {
    for (const x of ['1', '2', '3']) rig.feed({ kind: 'tags', tags: new Map([['x', x]]) })
    expect(rig.view('a')).toBe('alive 2')
    expect(rig.swim.self.tags.get('x')).toBe('1')
    rig.advance(500)
    expect(rig.view('a')).toBe('alive 3')
    expect(rig.swim.self.tags.get('x')).toBe('3')
  })

  test('the same tags again are no news', () => {
    rig.feed({ kind: 'tags', tags: new Map([['role', 'moonmesh']]) })
    expect(rig.view('a')).toBe('alive 1')
  })
})

test('repeated claims keep tags as they are (one object)', () => {
  rig.alive('b', { inc: 1, x: '1' })
  const { tags } = rig.record('b')
  rig.hear({ ...aliveClaim('b', { inc: 2, x: '1' }) })
  expect(rig.record('b').tags).toBe(tags)
})
