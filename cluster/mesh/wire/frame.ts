// Frames to bytes and back. The decoder takes a stream in any pieces, gives whole messages, and holds at most one message a class
// and one frame that has not arrived whole. cluster.md §4.4.

import { CLASS_COUNT, isResumed, LINK } from '../core/classes.ts'
import { COMPRESSED, FIRST, type Frame, frameBytes, HEADER_BYTES, LAST, prefixBytes } from '../core/frames.ts'
import { inflate } from './deflate.ts'
import { ProtocolError } from './protocol-error.ts'

const VERSION = 1
const KNOWN_FLAGS = FIRST | LAST | COMPRESSED
const PAYLOAD_BYTES_MAX = 64 * 1024
const LINK_MESSAGE_BYTES_MAX = 16 * 1024
/** Payloads of this size are handed on as they are; smaller ones are copied next to each other. */
const COPY_BYTES_MAX = 4096
const BATCH_BYTES = 64 * 1024
/** What the buffer of a message begins with; it grows with what arrives. */
const FIRST_ROOM_BYTES = 64 * 1024

/** The frames as buffers to write in this order. Large payloads are not copied. */
export function encodeFrames(frames: readonly Frame[]): Uint8Array[] {
  const out: Uint8Array[] = []
  let batch: Buffer | undefined
  let from = 0
  let at = 0
  let remaining = 0
  const room = (count: number): Buffer => {
    if (batch !== undefined && at + count <= batch.length) return batch
    if (batch !== undefined && at > from) out.push(batch.subarray(from, at))
    batch = Buffer.allocUnsafe(Math.max(count, Math.min(BATCH_BYTES, remaining)))
    from = 0
    at = 0
    return batch
  }
  for (const frame of frames) remaining += frame.payload.length > COPY_BYTES_MAX ? HEADER_BYTES + 10 : frameBytes(frame)
  for (const frame of frames) {
    const { classId, flags, payload } = frame
    const prefix = (flags & FIRST) === 0 ? 0 : prefixBytes(classId)
    const isCopied = payload.length <= COPY_BYTES_MAX
    const count = HEADER_BYTES + prefix + (isCopied ? payload.length : 0)
    const buffer = room(count)
    remaining -= count
    buffer[at] = VERSION
    buffer[at + 1] = classId
    buffer[at + 2] = flags
    buffer[at + 3] = 0
    at = buffer.writeUInt32BE(prefix + payload.length, at + 4)
    if (prefix > 0) {
      if (isResumed(classId)) at = buffer.writeUIntBE(frame.seq, at, 6)
      at = buffer.writeUInt32BE(frame.messageBytes, at)
    }
    if (isCopied) {
      buffer.set(payload, at)
      at += payload.length
    } else {
      if (at > from) out.push(buffer.subarray(from, at))
      from = at
      out.push(payload)
    }
  }
  if (batch !== undefined && at > from) out.push(batch.subarray(from, at))
  return out
}

/** One whole message of class `link`, as a frame. */
export function linkFrame(payload: Uint8Array): Frame {
  return { classId: LINK, flags: FIRST | LAST, seq: 0, messageBytes: payload.length, payload }
}

export interface DecodedMessage {
  readonly classId: number
  /** 0 in classes without numbers. */
  readonly seq: number
  /** May be a view of a larger buffer; whoever keeps it copies it. */
  readonly bytes: Uint8Array
  /** Its length on the wire, before it was inflated. */
  readonly messageBytes: number
}

interface Partial {
  readonly seq: number
  readonly flags: number
  readonly messageBytes: number
  buffer: Buffer
  length: number
}

export class FrameDecoder {
  readonly #messageBytesMax: number
  #chunk: Buffer = Buffer.alloc(0)
  #at = 0
  readonly #partials: (Partial | undefined)[] = new Array(CLASS_COUNT).fill(undefined)
  /** Bytes of frames taken so far, by class, headers included. */
  readonly takenBytes: number[] = new Array(CLASS_COUNT).fill(0)
  /** Until the handshake is done nothing but class link may come. */
  isHandshaking = true
  isDeflateNegotiated = false

  constructor(options: { messageBytesMax: number }) {
    this.#messageBytesMax = options.messageBytesMax
  }

  /** Bytes held of messages that are not whole yet, by class. */
  assemblingBytes(classId: number): number {
    return this.#partials[classId]?.length ?? 0
  }

  push(chunk: Uint8Array): void {
    const rest = this.#chunk.length - this.#at
    const next = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
    this.#chunk = rest === 0 ? next : Buffer.concat([this.#chunk.subarray(this.#at), next])
    this.#at = 0
  }

  /** The next whole message, or undefined until more is pushed. @throws ProtocolError, and then there is no way on */
  next(): DecodedMessage | undefined {
    for (;;) {
      const chunk = this.#chunk
      const at = this.#at
      const rest = chunk.length - at
      if (rest < HEADER_BYTES) return undefined
      if (chunk[at] !== VERSION || chunk[at + 3] !== 0) throw new ProtocolError('no frame of version 1')
      const classId = chunk[at + 1] as number
      const flags = chunk[at + 2] as number
      if (classId >= CLASS_COUNT) throw new ProtocolError('unknown class')
      if (this.isHandshaking && classId !== LINK) throw new ProtocolError('a message before the handshake')
      if ((flags & ~KNOWN_FLAGS) !== 0) throw new ProtocolError('unknown flag')
      const length = chunk.readUInt32BE(at + 4)
      if (length > PAYLOAD_BYTES_MAX) throw new ProtocolError('frame longer than 64 KiB')
      if (rest < HEADER_BYTES + length) return undefined
      const payload = chunk.subarray(at + HEADER_BYTES, at + HEADER_BYTES + length)
      this.#at = at + HEADER_BYTES + length
      this.takenBytes[classId] = (this.takenBytes[classId] as number) + HEADER_BYTES + length
      const message = this.#frame(classId, flags, payload)
      if (message !== undefined) return message
    }
  }

  #frame(classId: number, flags: number, payload: Buffer): DecodedMessage | undefined {
    if ((flags & COMPRESSED) !== 0 && (!this.isDeflateNegotiated || classId === LINK)) {
      throw new ProtocolError('compressed without agreement')
    }
    return (flags & FIRST) === 0 ? this.#more(classId, flags, payload) : this.#first(classId, flags, payload)
  }

  #first(classId: number, flags: number, payload: Buffer): DecodedMessage | undefined {
    if (this.#partials[classId] !== undefined) throw new ProtocolError('a message begins within another')
    const prefix = prefixBytes(classId)
    if (payload.length < prefix) throw new ProtocolError('first chunk too short')
    const isNumbered = isResumed(classId)
    const seq = isNumbered ? payload.readUIntBE(0, 6) : 0
    if (isNumbered && seq === 0) throw new ProtocolError('message number 0')
    const messageBytes = payload.readUInt32BE(prefix - 4)
    const bytesMax = classId === LINK ? LINK_MESSAGE_BYTES_MAX : this.#messageBytesMax
    if (messageBytes > bytesMax) throw new ProtocolError('message over the limit')
    const bytes = payload.subarray(prefix)
    if ((flags & LAST) !== 0) {
      if (bytes.length !== messageBytes) throw new ProtocolError('chunks do not add up to the message')
      return this.#whole(classId, flags, seq, bytes)
    }
    if (bytes.length === 0 || bytes.length >= messageBytes)
      throw new ProtocolError('chunks do not add up to the message')
    const buffer = Buffer.allocUnsafe(Math.min(messageBytes, FIRST_ROOM_BYTES))
    buffer.set(bytes, 0)
    this.#partials[classId] = { seq, flags, messageBytes, buffer, length: bytes.length }
    return undefined
  }

  #more(classId: number, flags: number, payload: Buffer): DecodedMessage | undefined {
    const partial = this.#partials[classId]
    if (partial === undefined) throw new ProtocolError('a chunk without its first')
    if ((flags & COMPRESSED) !== (partial.flags & COMPRESSED)) throw new ProtocolError('flags change within a message')
    const length = partial.length + payload.length
    const isLast = (flags & LAST) !== 0
    if (isLast ? length !== partial.messageBytes : payload.length === 0 || length >= partial.messageBytes) {
      throw new ProtocolError('chunks do not add up to the message')
    }
    if (length > partial.buffer.length) {
      const grown = Buffer.allocUnsafe(Math.min(partial.messageBytes, Math.max(length, partial.buffer.length * 2)))
      partial.buffer.copy(grown, 0, 0, partial.length)
      partial.buffer = grown
    }
    partial.buffer.set(payload, partial.length)
    partial.length = length
    if (!isLast) return undefined
    this.#partials[classId] = undefined
    return this.#whole(classId, partial.flags, partial.seq, partial.buffer.subarray(0, length))
  }

  #whole(classId: number, flags: number, seq: number, bytes: Uint8Array): DecodedMessage {
    return { classId, seq, bytes: (flags & COMPRESSED) === 0 ? bytes : inflate(bytes), messageBytes: bytes.length }
  }
}
