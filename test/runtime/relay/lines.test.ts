// The lines to other nodes: what becomes of a message that is too long, and of a session that is over. cluster.md §4.5, §10.

import { describe, expect, test } from 'vitest'
import { TableValue } from '../../../runtime/base/value.ts'
import { BASE_REQUEST, type SpawnRequest } from '../../../runtime/process/port.ts'
import { type PeerSession, Peers } from '../../../runtime/relay/peers.ts'
import type { PeerLine, Relay } from '../../../runtime/relay/relay.ts'
import { type PeerMessage, readPeerMessage, writePeerMessage } from '../../../runtime/relay/wire/messages.ts'
import { ValueReader, ValueWriter } from '../../../runtime/relay/wire/values.ts'

class Fixture {
  readonly opened: PeerLine[] = []
  readonly asked: { session: PeerSession; byteCount: number; isSignal: boolean }[] = []
  readonly sent: { session: PeerSession; bytes: Uint8Array }[] = []
  refusal: 'full' | undefined
  readonly #deferred: (() => void)[] = []
  readonly peers: Peers
  receive: (message: PeerMessage) => void = () => {}

  constructor(messageBytesMax: number) {
    const relay: Pick<Relay, 'openPeer' | 'peerLost' | 'receive'> = {
      receive: (_line, message) => this.receive(message),
      openPeer: (line) => void this.opened.push(line),
      peerLost: () => {},
    }
    this.peers = new Peers({
      relay: relay as Relay,
      messageBytesMax,
      queueBytesMax: 1_000_000,
      hasRoom: () => this.refusal === undefined,
      refusal: (session, byteCount, isSignal) => {
        this.asked.push({ session, byteCount, isSignal })
        return isSignal ? undefined : this.refusal
      },
      send: (session, bytes) => void this.sent.push({ session, bytes }),
      defer: (run) => void this.#deferred.push(run),
    })
  }

  up(): { session: PeerSession; line: PeerLine } {
    const session = { name: 'two', epoch: 7 }
    this.peers.up(session)
    return { session, line: this.opened.at(-1) as PeerLine }
  }

  /** The turn of the program is over. */
  turn(): void {
    for (const run of this.#deferred.splice(0)) run()
  }

  /** Messages that left, by what they traveled in. */
  left(): string[][] {
    return this.sent.map(({ bytes }) => {
      const reader = new ValueReader(Buffer.from(bytes))
      const kinds: string[] = []
      while (!reader.isAtEnd) kinds.push(readPeerMessage(reader).kind)
      return kinds
    })
  }
}

const PAIR = { to: '{two@app:a|7.001}', from: '{one@app:a|1.001}' }
const REQUEST: SpawnRequest = { ...BASE_REQUEST, host: 'app:a', entryId: 'app:worker', from: PAIR.from }

test('a message that grows beyond all bounds is refused, and the next one goes', () => {
  const fixture = new Fixture(1_000_000)
  const { line } = fixture.up()
  const text = 'x'.repeat(300_000)
  const values = [new TableValue(new Array(100_000).fill(text))]
  expect(line.send({ kind: 'send', ...PAIR, topic: 't', values })).toBe('too-large')
  expect(line.send({ kind: 'send', ...PAIR, topic: 't', values: [text] })).toBe('sent')
})

describe('of a session that is over', () => {
  test('nothing is said in the next one, of the same run', () => {
    const fixture = new Fixture(1_000_000)
    const { session, line } = fixture.up()
    fixture.peers.down(session)
    const next = fixture.up()
    expect(line.send({ kind: 'terminate', ...PAIR })).toBe('gone')
    expect(next.line.send({ kind: 'terminate', ...PAIR })).toBe('sent')
    fixture.turn()
    expect(fixture.sent).toMatchObject([{ session: next.session }])
  })
})

test('what can be refused waits for room like a message; signals do not', () => {
  const fixture = new Fixture(1_000_000)
  const { line } = fixture.up()
  line.send({ kind: 'send', ...PAIR, topic: 't', values: [] })
  line.send({ kind: 'spawn', ref: 1, request: REQUEST })
  line.send({ kind: 'abandon', ref: 1 })
  line.send({ kind: 'monitor', ...PAIR })
  expect(fixture.asked.map(({ isSignal }) => isSignal)).toEqual([false, false, true, true])
})

describe('what is said in one turn', () => {
  const send = (text: string) => ({ kind: 'send', ...PAIR, topic: 't', values: [text] }) as const

  test('travels together, in order', () => {
    const fixture = new Fixture(1_000_000)
    const { line } = fixture.up()
    line.send(send('one'))
    line.send({ kind: 'monitor', ...PAIR })
    line.send(send('two'))
    expect(fixture.sent).toEqual([])
    fixture.turn()
    line.send(send('three'))
    fixture.turn()
    fixture.turn()
    expect(fixture.left()).toEqual([['send', 'monitor', 'send'], ['send']])
  })

  test('is cut where it gets long, and a long message travels alone', () => {
    const fixture = new Fixture(1_000_000)
    const { line } = fixture.up()
    for (const length of [10_000, 10_000, 10_000, 100_000, 10]) line.send(send('x'.repeat(length)))
    fixture.turn()
    expect(fixture.left().map((each) => each.length)).toEqual([2, 1, 1, 1])
  })

  test('counts with what waits when there is little room, and what is refused leaves nothing behind', () => {
    const fixture = new Fixture(1_000_000)
    const { line } = fixture.up()
    line.send(send('one'))
    line.send(send('two'))
    const [one, two] = fixture.asked.map(({ byteCount }) => byteCount) as [number, number]
    expect(two).toBe(2 * one)
    fixture.refusal = 'full'
    expect(line.send(send('three'))).toBe('full')
    expect(line.send({ kind: 'terminate', ...PAIR })).toBe('sent')
    fixture.turn()
    expect(fixture.left()).toEqual([['send', 'send', 'terminate']])
  })

  test('is lost with its session', () => {
    const fixture = new Fixture(1_000_000)
    const { session, line } = fixture.up()
    line.send(send('one'))
    fixture.peers.down(session)
    fixture.turn()
    expect(fixture.sent).toEqual([])
  })
})

test('what is no message of a relay is said to be none; afterwards messages go on', () => {
  const fixture = new Fixture(1_000_000)
  const { session, line } = fixture.up()
  const got: PeerMessage[] = []
  fixture.receive = (message) => got.push(message)
  const writer = new ValueWriter()
  writePeerMessage(writer.start(), { kind: 'terminate', ...PAIR })
  const bytes = writer.finish()
  expect(fixture.peers.message(session, Buffer.of(0x91, 0x7f))).toBe(
    'a message of the relay: a message of an unknown kind',
  )
  expect(fixture.peers.message(session, bytes.subarray(1))).toMatch(/^a message of the relay: /)
  expect(fixture.peers.message(session, bytes)).toBeUndefined()
  expect([got, line.node]).toEqual([[{ kind: 'terminate', ...PAIR }], 'two'])
})
