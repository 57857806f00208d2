// The relay's lines to other nodes: messages become bytes of a session and bytes of a session messages.

import { toBytes } from '../base/bytes.ts'
import { nodeDown, type PeerLine, type PeerSent, type Relay } from './relay.ts'
import { type PeerMessage, readPeerMessage, writePeerMessage } from './wire/messages.ts'
import { ValueReader, ValueWriter, WireError } from './wire/values.ts'

/** Another node in one run of it, while the session with it lasts. */
export interface PeerSession {
  readonly name: string
  readonly epoch: number
}

interface PeersOptions {
  readonly relay: Relay
  /** A message that is longer is not even written to its end. */
  readonly messageBytesMax: number
  /** Why the session would not take a message of so many bytes. @param isSignal it may go beyond the bound of the queue */
  refusal(session: PeerSession, byteCount: number, isSignal: boolean): Exclude<PeerSent, 'sent'> | undefined
  /** Whether the session's queue has room. */
  hasRoom(session: PeerSession): boolean
  /** Bound of that queue, in bytes. */
  readonly queueBytesMax: number
  /** Queues bytes of the session, one or more messages, beyond the bound of the queue if need be. */
  send(session: PeerSession, bytes: Uint8Array): void
  /** Runs something once the current run of the program is over, before anything that comes from outside. */
  defer(run: () => void): void
}

/** Whoever sends or spawns can be told that there is no room; of the rest nobody waits for an answer, and all of it has to arrive. */
const isSignal = (message: PeerMessage): boolean => {
  if (message.kind === 'undeliverable') return message.message === undefined
  return message.kind !== 'send' && message.kind !== 'spawn'
}

/** Messages of one turn go together, up to so many bytes: a frame of the mesh (cluster.md §4.4) holds them. */
const BATCH_BYTES_MAX = 24 * 1024

/** What one host may have sent ahead; so many hosts together go beyond the bound of the queue no further than signals may. */
const AHEAD_BYTES_MAX = 256 * 1024
const AHEAD_HOSTS = 64

export class Peers {
  readonly #options: PeersOptions
  readonly #lines = new Map<PeerSession, Outgoing>()
  /** Messages between processes, and not what nodes tell each other about them. */
  readonly counts = { sent: 0, received: 0 }
  /** Those with something to send. */
  #waiting: Outgoing[] = []

  constructor(options: PeersOptions) {
    this.#options = options
  }

  up(session: PeerSession): void {
    const line = new Outgoing(session, this.#options, {
      scheduled: () => this.#schedule(line),
      sent: () => void this.counts.sent++,
    })
    this.#lines.set(session, line)
    this.#options.relay.openPeer(line)
  }

  down(session: PeerSession): void {
    const line = this.#lines.get(session)
    this.#lines.delete(session)
    if (line === undefined) return
    line.close()
    this.#options.relay.peerLost(line, nodeDown(line.node))
  }

  /**
   * @param bytes one or more messages
   * @returns what is wrong with the bytes; undefined: they were messages
   */
  message(session: PeerSession, bytes: Uint8Array): string | undefined {
    const line = this.#lines.get(session)
    if (line === undefined) return undefined
    const reader = new ValueReader(
      Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length),
    )
    try {
      do {
        const message = readPeerMessage(reader)
        if (message.kind === 'send') this.counts.received++
        this.#options.relay.receive(line, message)
      } while (!reader.isAtEnd)
    } catch (error) {
      if (!(error instanceof WireError)) throw error
      return `a message of the relay: ${error.message}`
    }
    return undefined
  }

  #schedule(line: Outgoing): void {
    this.#waiting.push(line)
    if (this.#waiting.length === 1) this.#options.defer(() => this.#flush())
  }

  #flush(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const line of waiting) line.turnOver()
  }
}

interface Owner {
  /** Something waits for the end of the turn. */
  scheduled(): void
  /** A message between processes was accepted. */
  sent(): void
}

/**
 * What is said to one node in one session with it. A message is accepted or refused when it is said; the accepted ones of a turn travel as one,
 * beyond the bound of the queue if it filled up meanwhile.
 */
class Outgoing implements PeerLine {
  readonly node: string
  readonly epoch: number
  readonly aheadBytes: number
  readonly #session: PeerSession
  readonly #options: PeersOptions
  readonly #writer: ValueWriter
  readonly #owner: Owner
  #isClosed = false
  #isScheduled = false

  constructor(session: PeerSession, options: PeersOptions, owner: Owner) {
    this.node = toBytes(session.name)
    this.epoch = session.epoch
    this.aheadBytes = Math.min(AHEAD_BYTES_MAX, Math.floor(options.queueBytesMax / AHEAD_HOSTS))
    this.#session = session
    this.#options = options
    this.#writer = new ValueWriter(options.messageBytesMax)
    this.#owner = owner
  }

  /** The same run of the node may be reached again, in another session that knows nothing of this one. */
  close(): void {
    this.#isClosed = true
    this.#writer.start()
  }

  get hasRoom(): boolean {
    return !this.#isClosed && this.#options.hasRoom(this.#session)
  }

  send(message: PeerMessage, isAccepted = false): PeerSent {
    if (this.#isClosed) return 'gone'
    const writer = this.#writer
    try {
      writePeerMessage(writer.next(), message)
    } catch (error) {
      writer.undo()
      if (error instanceof WireError) return 'too-large'
      throw error
    }
    if (writer.length > BATCH_BYTES_MAX && writer.lengthBefore > 0) this.#hand(writer.finishBefore())
    const refusal = this.#options.refusal(this.#session, writer.length, isAccepted || isSignal(message))
    if (refusal !== undefined) {
      writer.undo()
      return refusal
    }
    if (writer.length > BATCH_BYTES_MAX) this.flush()
    else if (!this.#isScheduled) {
      this.#isScheduled = true
      this.#owner.scheduled()
    }
    if (message.kind === 'send') this.#owner.sent()
    return 'sent'
  }

  turnOver(): void {
    this.#isScheduled = false
    this.flush()
  }

  /** Hands over what waits. */
  flush(): void {
    const writer = this.#writer
    if (writer.length === 0) return
    const bytes = writer.finish()
    writer.start()
    this.#hand(bytes)
  }

  #hand(bytes: Buffer): void {
    // Refused only when the session is over, or ends because of it: then whoever watches hears of that.
    this.#options.send(this.#session, bytes)
  }
}
