// What follows when a mesh connection breaks: the evidence that is looked for, and when it is enough. cluster.md §1.5.

import { beforeEach, describe, expect, test } from 'vitest'
import type { SwimEffect } from '../../../../cluster/swim/core/swim.ts'
import { at, Rig } from './rig.ts'

const B = { node: 'b', epoch: 1 } as const
/** How long an answer is waited for. */
const PATIENCE_MS = 200

let rig: Rig

beforeEach(() => {
  rig = new Rig()
  for (const name of ['b', 'c', 'd', 'e']) rig.alive(name)
  rig.take()
})

const last = <K extends SwimEffect['kind']>(kind: K): Extract<SwimEffect, { kind: K }> => {
  const found = rig.all(kind).at(-1)
  if (found === undefined) throw new Error(`no ${kind}`)
  return found
}
const lose = (): unknown => rig.feed({ kind: 'link-lost', ...B })
const ports = (areClosed: boolean): unknown => {
  // They are looked at after half of the time.
  if (rig.all('check-ports').length === 0) rig.advance(PATIENCE_MS / 2)
  return rig.feed({ kind: 'ports-checked', id: last('check-ports').id, areClosed })
}
const witness = (finding: 'closed' | 'open' | 'unknown'): unknown =>
  rig.feed({ kind: 'witness-said', id: last('ask-witness').id, finding })
const pingsOfB = (): number[] => rig.sent('ping').flatMap(({ node, seqNo }) => (node === 'b' ? [seqNo] : []))

/** As far as the accusation. */
function accused(): void {
  lose()
  ports(true)
  witness('closed')
  rig.advance(PATIENCE_MS / 2)
  expect(rig.view('b')).toBe('suspect 1')
}

describe('a broken connection', () => {
  test('makes this node ping and look at the ports, and says nothing of it', () => {
    lose()
    expect(pingsOfB()).toHaveLength(1)
    expect(rig.all('check-ports')).toEqual([])
    rig.advance(PATIENCE_MS / 2)
    expect(last('check-ports')).toMatchObject({ member: { name: 'b', address: at(2) }, timeoutMs: 2 * PATIENCE_MS })
    expect(pingsOfB()).toHaveLength(2)
    expect(rig.sent('suspect')).toEqual([])
    expect(rig.all('ask-witness')).toEqual([])
  })

  test('of another run, of a foreign node, of nobody and of the dead is nothing', () => {
    rig.alive('w', { epoch: 'foreign' })
    rig.dead('c', 1)
    rig.take()
    for (const [node, epoch] of [
      ['b', 2],
      ['w', 0],
      ['x', 1],
      ['c', 1],
      ['a', 100],
    ] as const) {
      rig.feed({ kind: 'link-lost', node, epoch })
    }
    expect(rig.effects).toEqual([])
    expect(rig.swim.counters.inquiries).toBe(0)
  })

  test('is looked into once a second, however often it breaks', () => {
    for (let i = 0; i < 19; i++) {
      lose()
      rig.advance(100)
      if (i % 2 === 0) rig.feed({ kind: 'ports-checked', id: last('check-ports').id, areClosed: false })
    }
    expect(rig.swim.counters.inquiries).toBe(2)
    rig.advance(5000)
    expect(rig.swim.counters.inquiries).toBe(3)
  })

  test('of very many at once is looked into for some', () => {
    const crowd = new Rig()
    for (let i = 0; i < 100; i++) crowd.alive(`n${i}`, { address: at(i + 2) })
    for (let i = 0; i < 100; i++) crowd.feed({ kind: 'link-lost', node: `n${i}`, epoch: 1 })
    expect(crowd.swim.counters.inquiries).toBe(32)
  })
})

describe('a verdict', () => {
  test('comes after two nodes found closed ports and silence, twice', () => {
    lose()
    ports(true)
    expect(last('ask-witness')).toMatchObject({ ...B, peerEpoch: 1, timeoutMs: 2 * PATIENCE_MS })
    expect(last('ask-witness').peer).not.toBe('b')
    witness('closed')
    expect(rig.view('b')).toBe('alive 1')
    rig.advance(PATIENCE_MS / 2 - 1)
    expect(rig.view('b')).toBe('alive 1')
    rig.take()
    rig.advance(1)
    expect(rig.view('b')).toBe('suspect 1')
    expect(rig.sent('suspect')).toContainEqual({ kind: 'suspect', node: 'b', incarnation: 1, from: 'a' })
    expect(rig.sent('indirect-ping')).toHaveLength(3)
    ports(true)
    rig.advance(PATIENCE_MS - 1)
    expect(rig.view('b')).toBe('suspect 1')
    rig.advance(1)
    expect(rig.view('b')).toBe('dead 1')
    expect(rig.heard().at(-1)).toBe('left b 1 dead')
    expect(rig.logged()).toContain('gossip_crash_found')
    expect(rig.swim.counters.inquiryVerdicts).toBe(1)
  })

  test('waits longer when this node is not well', () => {
    rig.suspect('a', 1)
    expect(rig.swim.healthScore).toBe(1)
    lose()
    rig.advance(PATIENCE_MS)
    ports(true)
    witness('closed')
    rig.advance(PATIENCE_MS - 1)
    expect(rig.view('b')).toBe('alive 1')
    rig.advance(1)
    expect(rig.view('b')).toBe('suspect 1')
  })

  test('does not come when a port took a connection, or did not refuse it', () => {
    lose()
    ports(false)
    rig.advance(5000)
    expect(rig.all('ask-witness')).toEqual([])
    expect(rig.view('b')).toBe('alive 1')
  })

  test('does not come when the ports are open the second time', () => {
    accused()
    ports(false)
    rig.advance(PATIENCE_MS)
    expect(rig.view('b')).toBe('suspect 1')
    expect(rig.swim.counters.inquiryVerdicts).toBe(0)
  })

  test('waits for the ports, in a node that is busy', () => {
    lose()
    rig.advance(PATIENCE_MS + 50)
    ports(true)
    witness('closed')
    expect(rig.view('b')).toBe('suspect 1')
    rig.advance(PATIENCE_MS + 50)
    expect(rig.view('b')).toBe('suspect 1')
    ports(true)
    expect(rig.view('b')).toBe('dead 1')
  })

  test('comes although something is read that was sent before', () => {
    lose()
    rig.hear({ kind: 'ping', seqNo: 1, node: 'a', sourceNode: 'b' }, at(2))
    ports(true)
    witness('closed')
    rig.advance(PATIENCE_MS)
    expect(rig.view('b')).toBe('suspect 1')
  })

  test.each([
    ['an ack', () => rig.hear({ kind: 'ack', seqNo: pingsOfB()[0] as number }, at(9))],
    ['any datagram of it', () => rig.hear({ kind: 'ping', seqNo: 1, node: 'a', sourceNode: 'b' }, at(2))],
    [
      'a ping over a stream',
      () => rig.feed({ kind: 'stream-ping', id: 1, ping: { kind: 'ping', seqNo: 1, node: 'a', sourceNode: 'b' } }),
    ],
    ['its half of an exchange', () => rig.exchange('b', [])],
  ])('does not come after %s', (_, speaks) => {
    lose()
    ports(true)
    rig.advance(PATIENCE_MS / 2)
    speaks()
    witness('closed')
    rig.advance(2 * PATIENCE_MS)
    expect(rig.view('b')).toBe('alive 1')
    expect(rig.sent('suspect')).toEqual([])
  })

  test('does not come when it answers the accusation, itself or through another', () => {
    accused()
    ports(true)
    rig.hear({ kind: 'ack', seqNo: pingsOfB().at(-1) as number }, at(4))
    rig.advance(PATIENCE_MS)
    expect(rig.view('b')).toBe('suspect 1')
  })

  test('does not come after a refutation', () => {
    accused()
    ports(true)
    rig.alive('b', { inc: 2 })
    rig.advance(PATIENCE_MS)
    expect(rig.view('b')).toBe('alive 2')
  })

  test('does not hit another run', () => {
    accused()
    ports(true)
    rig.alive('b', { inc: 2, epoch: 2 })
    rig.suspect('b', 2)
    rig.advance(PATIENCE_MS)
    expect(rig.view('b')).toBe('suspect 2')
  })

  test('does not come after a pause of this node, which may have missed the answers', () => {
    accused()
    ports(true)
    rig.feed({ kind: 'paused', pausedMs: 1500 })
    rig.advance(2 * PATIENCE_MS)
    expect(rig.view('b')).toBe('suspect 1')
  })
})

describe('the witness', () => {
  test('who reaches it ends the inquiry', () => {
    lose()
    ports(true)
    witness('open')
    rig.advance(5000)
    expect(rig.view('b')).toBe('alive 1')
    expect(rig.all('ask-witness')).toHaveLength(1)
  })

  test('who does not know is followed by another one, three in all', () => {
    lose()
    ports(true)
    for (let i = 0; i < 3; i++) witness('unknown')
    const asked = rig.all('ask-witness').map(({ peer }) => peer)
    expect(asked.sort()).toEqual(['c', 'd', 'e'])
    rig.advance(5000)
    expect(rig.view('b')).toBe('alive 1')
  })

  test('is nobody in a cluster of two', () => {
    rig = new Rig()
    rig.alive('b')
    lose()
    ports(true)
    rig.advance(5000)
    expect(rig.all('ask-witness')).toEqual([])
    expect(rig.view('b')).toBe('alive 1')
  })

  test('is not one whose connection broke too', () => {
    for (const node of ['c', 'd']) rig.feed({ kind: 'link-lost', node, epoch: 1 })
    lose()
    ports(true)
    expect(last('ask-witness').peer).toBe('e')
  })
})

describe('a question of another member', () => {
  const ask = (id: number, isLinked: boolean): unknown => rig.feed({ kind: 'finding-asked', id, ...B, isLinked })
  const said = (): string[] => rig.all('say-finding').map(({ id, finding }) => `${id} ${finding}`)

  test('is answered when this node knows, and afterwards for a second', () => {
    lose()
    ask(1, false)
    ports(true)
    rig.advance(PATIENCE_MS / 2 - 1)
    expect(said()).toEqual([])
    rig.advance(1)
    expect(said()).toEqual(['1 closed'])
    ask(2, false)
    expect(said()).toEqual(['1 closed', '2 closed'])
    for (let i = 0; i < 3; i++) witness('unknown')
    rig.advance(1000)
    ask(3, false)
    expect(said().at(-1)).toBe('3 unknown')
  })

  test('is answered although others declared the node dead meanwhile', () => {
    lose()
    ask(1, false)
    rig.dead('b', 1)
    ports(true)
    rig.advance(PATIENCE_MS)
    expect(said()).toEqual(['1 closed'])
  })

  test('waits where the connection stands, and its end may still be heard of', () => {
    ask(1, true)
    rig.advance(PATIENCE_MS / 2)
    lose()
    ports(true)
    rig.advance(PATIENCE_MS)
    expect(said()).toEqual(['1 closed'])
  })

  test('is answered with open where the connection stands', () => {
    ask(1, true)
    rig.advance(PATIENCE_MS)
    expect(said()).toEqual(['1 open'])
  })

  test('is not known where there never was a connection, and of another run', () => {
    ask(1, false)
    expect(said()).toEqual(['1 unknown'])
    lose()
    rig.feed({ kind: 'finding-asked', id: 2, node: 'b', epoch: 2, isLinked: false })
    expect(said().at(-1)).toBe('2 unknown')
  })

  test('has no room beside very many', () => {
    for (let i = 0; i < 70; i++) ask(i, true)
    expect(said()).toEqual(['64', '65', '66', '67', '68', '69'].map((id) => `${id} unknown`))
  })
})
