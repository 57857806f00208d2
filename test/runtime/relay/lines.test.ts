// The lines to other nodes: what becomes of a message that is too long, and of a session that is over. cluster.md §4.5, §10.

import { describe, expect, test } from 'vitest'
import { record, TableValue } from '../../../runtime/base/value.ts'
import type { SpawnRequest } from '../../../runtime/process/port.ts'
import { type PeerSession, Peers } from '../../../runtime/relay/peers.ts'
import type { PeerLine, Relay } from '../../../runtime/relay/relay.ts'

class Fixture {
  readonly opened: PeerLine[] = []
  readonly sent: { session: PeerSession; isSignal: boolean }[] = []
  readonly peers: Peers

  constructor(messageBytesMax: number) {
    const relay: Pick<Relay, 'openPeer' | 'peerLost'> = {
      openPeer: (line) => void this.opened.push(line),
      peerLost: () => {},
    }
    this.peers = new Peers({
      relay: relay as Relay,
      messageBytesMax,
      send: (session, _bytes, isSignal) => {
        this.sent.push({ session, isSignal })
        return undefined
      },
      unreadable: () => {},
    })
  }

  up(): { session: PeerSession; line: PeerLine } {
    const session = { name: 'two', epoch: 7 }
    this.peers.up(session)
    return { session, line: this.opened.at(-1) as PeerLine }
  }
}

const PAIR = { to: '{two@app:a|7.001}', from: '{one@app:a|1.001}' }
const REQUEST: SpawnRequest = {
  host: 'app:a',
  entryId: 'app:worker',
  args: [],
  from: PAIR.from,
  monitor: false,
  link: false,
  name: undefined,
  messages: [],
  context: record({}),
  identity: undefined,
  wantsEnd: false,
  allowsFunction: false,
}

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
  expect(fixture.sent.map(({ isSignal }) => isSignal)).toEqual([false, false, true, true])
})
