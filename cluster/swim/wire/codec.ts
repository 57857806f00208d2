// The wire as the core sees it: lengths of messages, tags as meta. Messages are immutable, so each is encoded once, however
// often it is sent.

import type { Message, SwimWire } from '../core/messages.ts'
import { encodeMessage } from './messages.ts'
import { decodeTags, encodeTags } from './tags.ts'

export class MessageCodec implements SwimWire {
  readonly #encoded = new WeakMap<Message, Buffer>()

  /** The bytes of a message, shared between calls: not to be written to. */
  encode(message: Message): Buffer {
    let bytes = this.#encoded.get(message)
    if (bytes === undefined) {
      const written = encodeMessage(message)
      // Of its exact size: a part of the pool would keep all of it alive for as long as the message waits to be told.
      bytes = Buffer.allocUnsafeSlow(written.length)
      bytes.set(written)
      this.#encoded.set(message, bytes)
    }
    return bytes
  }

  lengthOf(message: Message): number {
    return this.encode(message).length
  }

  encodeTags(tags: ReadonlyMap<string, string>): string {
    return encodeTags(tags)
  }

  decodeTags(meta: string): ReadonlyMap<string, string> | undefined {
    return decodeTags(meta)
  }
}
