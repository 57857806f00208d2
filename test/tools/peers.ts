// Two nodes in miniature whose relays talk to each other: bytes over a line that keeps order, until it is cut.

import { ErrorValue } from '../../runtime/base/value.ts'
import type { PeerLine, PeerSent } from '../../runtime/relay/relay.ts'
import { type PeerMessage, readPeerMessage, writePeerMessage } from '../../runtime/relay/wire/messages.ts'
import { ValueReader, ValueWriter } from '../../runtime/relay/wire/values.ts'
import type { TestNode } from './lua.ts'

/** What a host may send ahead. */
const AHEAD_BYTES = 1000

export interface Connection {
  /** What the next messages of the first node meet; `undefined`: they are sent. */
  refuse: PeerSent | undefined
  /** What the first node sends stays on its way. */
  isSlow: boolean
  /** Messages that are longer are refused. */
  bytesMax: number
  /** What the first node handed over to the line. */
  readonly sent: PeerMessage[]
  /** What went over the line. */
  readonly log: PeerMessage[]
  /** A message as if the second node had sent it. */
  forge(message: PeerMessage): void
  /** The session ends; both nodes learn of it. */
  cut(): void
}

/** Both nodes share one driver. */
export function connect(a: TestNode, b: TestNode): Connection {
  const writer = new ValueWriter()
  let isOpen = true
  const end = (from: TestNode, to: TestNode, arrived: (message: PeerMessage) => void): PeerLine => ({
    node: to.name as string,
    epoch: to.epoch,
    aheadBytes: AHEAD_BYTES,
    get hasRoom() {
      return from !== a || connection.refuse === undefined
    },
    send: (message, isAccepted) => {
      if (!isOpen) return 'gone'
      if (from === a && connection.refuse !== undefined && isAccepted !== true) return connection.refuse
      writePeerMessage(writer.start(), message)
      const bytes = writer.finish()
      if (bytes.length > connection.bytesMax) return 'too-large'
      if (from === a) connection.sent.push(message)
      if (from === a && connection.isSlow) return 'sent'
      from.driver.defer(() => {
        if (!isOpen) return
        const read = readPeerMessage(new ValueReader(bytes))
        connection.log.push(read)
        arrived(read)
      })
      return 'sent'
    },
  })
  const toB = end(a, b, (message) => b.relay.receive(toA, message))
  const toA: PeerLine = end(b, a, (message) => a.relay.receive(toB, message))
  const connection: Connection = {
    refuse: undefined,
    isSlow: false,
    bytesMax: Number.POSITIVE_INFINITY,
    sent: [],
    log: [],
    forge: (message) => a.relay.receive(toB, message),
    cut: () => {
      isOpen = false
      a.relay.peerLost(toB, nodeDown(b))
      b.relay.peerLost(toA, nodeDown(a))
      a.driver.settle()
    },
  }
  a.relay.openPeer(toB)
  b.relay.openPeer(toA)
  return connection
}

const nodeDown = ({ name }: TestNode): ErrorValue => new ErrorValue('Unavailable', `node down: ${name}`, true)
