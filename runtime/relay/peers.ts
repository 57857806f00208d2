// The relay's lines to other nodes: messages become bytes of a session and bytes of a session messages.

import { toBytes } from '../base/bytes.ts'
import { ErrorValue } from '../base/value.ts'
import type { PeerLine, PeerSent, Relay } from './relay.ts'
import { type PeerMessage, readPeerMessage, writePeerMessage } from './wire/messages.ts'
import { ValueReader, ValueWriter, WireError } from './wire/values.ts'

/** Another node in one run of it, while the session with it lasts. */
export interface PeerSession {
  readonly name: string
  readonly epoch: number
}

export interface PeersOptions {
  readonly relay: Relay
  /** Queues bytes of the session. @returns why not; a signal may go beyond the bound of the queue */
  send(session: PeerSession, bytes: Uint8Array, isSignal: boolean): Exclude<PeerSent, 'sent'> | undefined
  /** A peer sent what is no message of the relay. */
  unreadable(session: PeerSession, why: string): void
}

export class Peers {
  readonly #options: PeersOptions
  readonly #lines = new Map<PeerSession, PeerLine>()
  readonly #writer = new ValueWriter()

  constructor(options: PeersOptions) {
    this.#options = options
  }

  up(session: PeerSession): void {
    const line: PeerLine = {
      node: toBytes(session.name),
      epoch: session.epoch,
      send: (message) => this.#send(session, message),
    }
    this.#lines.set(session, line)
    this.#options.relay.openPeer(line)
  }

  down(session: PeerSession): void {
    const line = this.#lines.get(session)
    this.#lines.delete(session)
    if (line === undefined) return
    this.#options.relay.peerLost(line, new ErrorValue('Unavailable', toBytes(`node down: ${session.name}`), true))
  }

  message(session: PeerSession, bytes: Uint8Array): void {
    const line = this.#lines.get(session)
    if (line === undefined) return
    let message: PeerMessage
    try {
      message = readPeerMessage(new ValueReader(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)))
    } catch (error) {
      if (!(error instanceof WireError)) throw error
      this.#options.unreadable(session, error.message)
      return
    }
    this.#options.relay.receive(line, message)
  }

  #send(session: PeerSession, message: PeerMessage): PeerSent {
    try {
      writePeerMessage(this.#writer.start(), message)
    } catch (error) {
      if (error instanceof WireError) return 'too-large'
      throw error
    }
    return this.#options.send(session, this.#writer.finish(), message.kind !== 'send') ?? 'sent'
  }
}
