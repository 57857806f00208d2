// The probe cycle of cluster.md §3.6: SWIM 3.1, Lifeguard IV.A.

import { beforeEach, describe, expect, test } from 'vitest'
import type { Ping } from '../../../../cluster/swim/core/messages.ts'
import { at, Rig } from './rig.ts'

let rig: Rig

/** Starts a rig that knows b, and more nodes if asked; advances to the first probe. */
function probing(options: ConstructorParameters<typeof Rig>[0] = {}, others: string[] = []): Ping {
  rig = new Rig(options)
  rig.alive('b')
  rig.feed({ kind: 'start' })
  rig.take()
  while (rig.all('send').every((effect) => effect.probe === undefined)) rig.advance(1)
  for (const name of others) rig.alive(name)
  const [send] = rig.all('send').filter((effect) => effect.probe !== undefined)
  expect(send?.to).toEqual(at(2))
  return send?.parts[0] as Ping
}

describe('a probe', () => {
  test('pings by name, with its own address for the ack', () => {
    const ping = probing()
    expect(ping).toMatchObject({ kind: 'ping', node: 'b', source: at(1), sourceNode: 'a' })
  })

  test('succeeds with an ack, from wherever it comes', () => {
    const { seqNo } = probing()
    rig.hear({ kind: 'ack', seqNo }, at(77))
    rig.advance(1100)
    expect(rig.view('b')).toBe('alive 1')
    expect(rig.swim.counters.probeFailures).toBe(0)
  })

  test('is timed, by how it ended', () => {
    const { seqNo } = probing()
    rig.advance(100)
    rig.hear({ kind: 'ack', seqNo })
    // The next one is answered over a stream alone, the one after it not at all.
    while (rig.all('stream-ping').length === 0) rig.advance(1)
    const [stream] = rig.all('stream-ping')
    rig.feed({ kind: 'stream-pong', seqNo: stream?.ping.seqNo as number, isAnswered: true })
    rig.advance(2500)
    const { ok, tcp, failed } = rig.swim.probeSeconds
    expect([ok.count, ok.sum, tcp.count, tcp.sum, failed.count]).toEqual([1, 0.1, 1, 1, 1])
  })

  test('an ack of another number is none', () => {
    const { seqNo } = probing()
    rig.hear({ kind: 'ack', seqNo: seqNo + 1 })
    rig.advance(999)
    expect(rig.swim.counters.probeFailures).toBe(0)
    rig.advance(1)
    expect(rig.view('b')).toBe('suspect 1')
    expect(rig.swim.healthScore).toBe(1)
  })

  test('after the timeout asks others and tries a stream, with what is left of the deadline', () => {
    const { seqNo } = probing({}, ['c', 'd', 'e', 'f'])
    rig.take()
    rig.advance(199)
    expect(rig.sent('indirect-ping')).toEqual([])
    rig.advance(1)
    const requests = rig.sent('indirect-ping')
    expect(requests).toHaveLength(3)
    for (const request of requests) {
      expect(request).toMatchObject({
        seqNo,
        target: at(2),
        node: 'b',
        wantsNack: true,
        source: at(1),
        sourceNode: 'a',
      })
    }
    const [stream] = rig.all('stream-ping')
    expect(stream).toMatchObject({ to: at(2), ping: { seqNo, node: 'b' } })
    expect(stream?.timeoutMs).toBeCloseTo(800, 5)
  })

  test('asks others at once when the network refuses the ping', () => {
    const { seqNo } = probing({}, ['c'])
    rig.take()
    rig.feed({ kind: 'send-failed', seqNo })
    expect(rig.sent('indirect-ping')).toHaveLength(1)
    rig.advance(300)
    expect(rig.sent('indirect-ping')).toHaveLength(1)
  })

  test('asks only who is alive, and for nacks only who knows them', () => {
    probing({}, ['c', 'd'])
    rig.alive('e', { versions: [1, 3, 2, 2, 5, 4] })
    rig.suspect('c', 1)
    rig.dead('d', 1)
    rig.take()
    rig.advance(210)
    expect(rig.sent('indirect-ping').map((request) => request.wantsNack)).toEqual([false])
  })

  test('no stream for old peers, nor when they are off', () => {
    probing()
    rig.alive('b', { inc: 2, versions: [1, 2, 2, 2, 5, 4] })
    const off = rig
    probing({ settings: { tcpPings: false } })
    rig.take()
    rig.advance(900)
    expect(rig.all('stream-ping')).toEqual([])
    off.hear({ kind: 'ack', seqNo: 0 })
    off.advance(1500)
    expect(off.all('stream-ping').filter(({ ping }) => ping.node === 'b')).toHaveLength(1)
  })

  test('an answered stream is a success that says what is wrong', () => {
    const { seqNo } = probing()
    rig.advance(300)
    rig.feed({ kind: 'stream-pong', seqNo, isAnswered: true })
    rig.advance(700)
    expect(rig.view('b')).toBe('alive 1')
    expect(rig.logged()).toContain('gossip_udp_blocked')
    expect(rig.swim.healthScore).toBe(0)
  })

  test('a suspect hears of the accusation together with the ping', () => {
    const { seqNo } = probing()
    rig.hear({ kind: 'ack', seqNo })
    rig.suspect('b', 1, 'z')
    rig.take()
    rig.advance(1000)
    const [send] = rig.all('send').filter((effect) => effect.probe !== undefined)
    expect(send?.parts.slice(0, 2)).toMatchObject([
      { kind: 'ping', node: 'b' },
      { kind: 'suspect', node: 'b', incarnation: 1, from: 'a' },
    ])
  })

  test('a late timer of an earlier probe changes nothing', () => {
    const { seqNo } = probing()
    rig.hear({ kind: 'ack', seqNo })
    rig.take()
    rig.feed({ kind: 'probe-timeout', seqNo })
    rig.feed({ kind: 'probe-deadline', seqNo })
    expect(rig.effects).toEqual([])
  })

  test('is dropped without blame when this node stood still', () => {
    const { seqNo } = probing()
    rig.nowMs += 5000
    rig.feed({ kind: 'paused', pausedMs: 5000 })
    rig.feed({ kind: 'probe-timeout', seqNo })
    rig.feed({ kind: 'probe-deadline', seqNo })
    expect(rig.view('b')).toBe('alive 1')
    expect(rig.swim.healthScore).toBe(5)
  })
})

describe('awareness', () => {
  test.each([
    [0, 3],
    [2, 1],
    [3, 0],
  ])('%i nacks of three: the score rises by %i', (nacks, score) => {
    const { seqNo } = probing({}, ['c', 'd', 'e'])
    rig.advance(210)
    for (let i = 0; i < nacks; i++) rig.hear({ kind: 'nack', seqNo })
    rig.advance(800)
    expect(rig.view('b')).toBe('suspect 1')
    expect(rig.swim.healthScore).toBe(score)
  })

  test('with a score the deadline is longer, the timeout is not, and ticks are swallowed', () => {
    rig = new Rig()
    rig.alive('b')
    rig.suspect('a', 1)
    rig.feed({ kind: 'start' })
    rig.take()
    while (rig.swim.counters.probes === 0) rig.advance(1)
    const { probes } = rig.swim.counters
    rig.advance(210)
    expect(rig.all('stream-ping')[0]?.timeoutMs).toBeGreaterThan(1700)
    rig.advance(1700)
    expect(rig.swim.counters.probes).toBe(probes)
    expect(rig.view('b')).toBe('alive 1')
    rig.advance(100)
    expect(rig.view('b')).toBe('suspect 1')
  })

  test('falls with each success', () => {
    const { seqNo } = probing()
    rig.suspect('a', 1)
    expect(rig.swim.healthScore).toBe(1)
    rig.hear({ kind: 'ack', seqNo })
    expect(rig.swim.healthScore).toBe(0)
  })

  test('falls while there is nobody to probe: a lone survivor does not doubt itself for ever', () => {
    rig = new Rig()
    rig.feed({ kind: 'start' })
    rig.feed({ kind: 'paused', pausedMs: 7000 })
    expect(rig.swim.healthScore).toBe(7)
    rig.advance(8000)
    expect(rig.swim.healthScore).toBe(0)
  })
})

describe('duties towards others', () => {
  beforeEach(() => {
    rig = new Rig()
  })

  test('a ping is acked to its source, or to where it came from', () => {
    rig.hear({ kind: 'ping', seqNo: 9, node: 'a', source: at(5), sourceNode: 'e' }, at(6))
    rig.hear({ kind: 'ping', seqNo: 10, node: '' }, at(6))
    expect(rig.all('send')).toMatchObject([
      { to: at(5), parts: [{ kind: 'ack', seqNo: 9 }] },
      { to: at(6), parts: [{ kind: 'ack', seqNo: 10 }] },
    ])
  })

  test('a ping for another name is not answered, nor is one on a stream', () => {
    rig.hear({ kind: 'ping', seqNo: 9, node: 'other' })
    rig.feed({ kind: 'stream-ping', id: 3, ping: { kind: 'ping', seqNo: 9, node: 'other' } })
    rig.feed({ kind: 'stream-ping', id: 4, ping: { kind: 'ping', seqNo: 9, node: 'a' } })
    expect(rig.logged()).toEqual(['gossip_ping_for_other'])
    expect(rig.effects.filter((effect) => effect.kind !== 'log')).toEqual([
      { kind: 'stream-refuse', id: 3 },
      { kind: 'stream-ack', id: 4, seqNo: 9 },
    ])
    expect(rig.swim.counters.pingsForOthers).toBe(2)
  })

  const request = { kind: 'indirect-ping', seqNo: 9, target: at(2), node: 'b', wantsNack: true, source: at(5) } as const

  test('a relay pings with a number of its own and passes the ack on', () => {
    rig.hear(request, at(6))
    const [ping] = rig.sent('ping')
    expect(ping).toMatchObject({ node: 'b', source: at(1), sourceNode: 'a' })
    expect(ping?.seqNo).not.toBe(9)
    rig.take()
    rig.hear({ kind: 'ack', seqNo: ping?.seqNo as number })
    expect(rig.all('send')).toMatchObject([{ to: at(5), parts: [{ kind: 'ack', seqNo: 9 }] }])
    rig.take()
    rig.advance(300)
    expect(rig.sent('nack')).toEqual([])
  })

  test('or says no, to who wants to hear it, after the timeout', () => {
    rig.hear(request, at(6))
    rig.hear({ ...request, seqNo: 10, wantsNack: false }, at(6))
    rig.take()
    rig.advance(199)
    expect(rig.effects).toEqual([])
    rig.advance(1)
    expect(rig.sent('nack')).toEqual([{ kind: 'nack', seqNo: 9 }])
  })

  test('relays are bounded, and go to allowed addresses only', () => {
    for (let i = 0; i < 2000; i++) rig.hear({ ...request, seqNo: i })
    expect(rig.sent('ping')).toHaveLength(1024)
    expect(rig.swim.counters.relaysRefused).toBe(976)
    rig = new Rig({ settings: { allowedCidrs: [{ bytes: Uint8Array.of(10, 1, 0, 0), bits: 16 }] } })
    rig.hear(request)
    expect(rig.sent('ping')).toEqual([])
  })
})

test('a ping cannot send an answer to where no node may be', () => {
  rig = new Rig({ settings: { allowedCidrs: [{ bytes: Uint8Array.of(10, 0, 0, 0), bits: 8 }] } })
  const ping = { kind: 'ping', seqNo: 1, node: '' } as const
  rig.hear({ ...ping, source: { host: '192.0.2.1', port: 53 } }, at(6))
  rig.hear({ ...ping, source: { host: '10.0.0.7', port: 7946 } }, at(6))
  expect(rig.all('send').map(({ to }) => to.host)).toEqual([at(6).host, '10.0.0.7'])
})

describe('gossip (§3.7)', () => {
  test('goes to live nodes and the recently dead, never to those that left', () => {
    rig = new Rig({ settings: { gossipNodes: 10 } })
    for (const name of ['b', 'c', 'd', 'e']) rig.alive(name)
    rig.suspect('b', 1)
    rig.dead('c', 1)
    rig.dead('d', 1, 'd')
    rig.take()
    rig.feed({ kind: 'gossip-tick' })
    const hosts = (): string[] =>
      rig
        .all('send')
        .map((effect) => effect.to.host)
        .sort()
    expect(hosts()).toEqual(['10.0.0.2', '10.0.0.3', '10.0.0.5'])
    rig.nowMs += 30_000
    rig.take()
    rig.feed({ kind: 'tags', tags: new Map([['x', '1']]) })
    rig.feed({ kind: 'gossip-tick' })
    expect(hosts()).toEqual(['10.0.0.2', '10.0.0.5'])
  })

  test.each([
    [3, 1],
    [9, 3],
    [30, 4],
  ])(
    'of %i nodes, of which three fit a packet, %i packets go to each chosen one, and everything is told once',
    (nodes, packets) => {
      rig = new Rig({ settings: { gossipNodes: 1, packetBudgetBytes: 900 } })
      for (let i = 1; i <= nodes; i++) rig.alive(`n${i}`, { address: at(1 + i), x: 'y'.repeat(180) })
      rig.take()
      rig.feed({ kind: 'gossip-tick' })
      const sends = rig.all('send')
      expect(sends).toHaveLength(packets)
      expect(new Set(sends.map(({ to }) => to.host)).size).toBe(1)
      const told = rig.sent('alive').map(({ node }) => node)
      expect(new Set(told).size).toBe(told.length)
      expect(told.length).toBeGreaterThanOrEqual(Math.min(nodes, 3 * packets))
    },
  )

  test('is silent when there is nothing to tell', () => {
    rig = new Rig()
    rig.feed({ kind: 'gossip-tick' })
    expect(rig.all('send')).toEqual([])
  })

  test('frames go to members, not to foreign nodes', () => {
    rig = new Rig({ settings: { gossipNodes: 10 } })
    rig.alive('b')
    rig.alive('f', { epoch: 'foreign' })
    rig.feed({ kind: 'broadcast', frame: { frameKind: 0xc1, payload: new Uint8Array(10) }, key: 'k' })
    rig.take()
    rig.feed({ kind: 'gossip-tick' })
    const withFrames = rig.all('send').filter(({ parts }) => parts.some((part) => part.kind === 'frame'))
    expect(withFrames.map((effect) => effect.to)).toEqual([at(2)])
  })

  test('a checksum goes to who knows it', () => {
    rig = new Rig()
    rig.alive('b', { versions: [1, 5, 2, 2, 5, 4] })
    rig.alive('d', { versions: [1, 4, 2, 2, 5, 4] })
    rig.take()
    rig.hear({ kind: 'ping', seqNo: 1, node: 'a', sourceNode: 'b' })
    rig.hear({ kind: 'ping', seqNo: 1, node: 'a', sourceNode: 'd' })
    rig.hear({ kind: 'ping', seqNo: 1, node: 'a' })
    expect(rig.all('send').map((effect) => effect.withCrc)).toEqual([true, false, false])
  })

  test('packets stay within their budget', () => {
    rig = new Rig({ settings: { packetBudgetBytes: 500 } })
    for (let i = 0; i < 100; i++) rig.alive(`n${i}`, { address: at(100), x: 'y'.repeat(i) })
    rig.take()
    rig.hear({ kind: 'ping', seqNo: 1, node: '' })
    const [send] = rig.all('send')
    expect(send?.parts[0]?.kind).toBe('ack')
    expect(send?.parts.length).toBeGreaterThan(2)
    expect(send?.parts.length).toBeLessThan(9)
  })
})
