// Exchanges over TCP: one message each way. Message, compressed, encrypted as one frame, label first. cluster.md §3.1,
// §3.4, §3.5. A peer does not close its side before it has its answer, so the end of a message is found by parsing it.

import type { Exchange, Frame, NodeState, Ping } from '../core/messages.ts'
import { DecodeError, DecryptError, TruncatedError } from './decode-error.ts'
import { decrypt, encrypt, encryptedLength } from './keyring.ts'
import { labelHeader, passLabel } from './label.ts'
import { LzwDecoder } from './lzw.ts'
import {
  encodeMessage,
  MessageType,
  readFrame,
  readNodeState,
  readPing,
  readSeqNo,
  writeFrame,
  writeNodeState,
} from './messages.ts'
import { Reader, Writer } from './msgpack.ts'
import { compress, type Envelope, readCompressed } from './packet.ts'
import { encodeSerfState, isSerfState, readSerfState } from './serf.ts'

/** The largest encrypted or plain message on a stream. */
export const STREAM_BYTES_MAX = 20 << 20
/** The largest message that a compressed one may expand to. */
const EXPANDED_BYTES_MAX = 40 << 20

const NODES_MAX = 65_536
const HEADER_KEYS_MAX = 64
const ERROR_BYTES_MAX = 4096
const NODES_PER_SLICE = 256
/** Of a user state; what follows is not read. Empty ones would cost a thousand times what they cost to send. */
const FRAMES_MAX = 16_384
const EXPAND_BYTES_PER_SLICE = 256 * 1024

export type StreamMessage =
  | Ping
  | { readonly kind: 'ack'; readonly seqNo: number }
  | { readonly kind: 'push-pull'; readonly exchange: Exchange }
  | { readonly kind: 'error'; readonly text: string }
  /** A user message on a stream; nothing of ours sends one. */
  | { readonly kind: 'user' }

/** The bytes of a message on a stream, label included. @param sender own name, for a push/pull */
export function sealStream(message: StreamMessage, envelope: Envelope, forceEncryption = false): Buffer {
  let content = encodeStreamMessage(message)
  if (envelope.compression) content = compress(content)
  if (envelope.keyring !== undefined && (envelope.verifyOutgoing || forceEncryption)) {
    const version = envelope.encryptionVersion
    const header = Buffer.allocUnsafe(5)
    header[0] = MessageType.encrypt
    header.writeUInt32BE(encryptedLength(version, content.length), 1)
    const additionalData = Buffer.concat([header, envelope.label])
    content = Buffer.concat([header, encrypt(envelope.keyring, content, { version, additionalData })])
  }
  return Buffer.concat([labelHeader(envelope.label), content])
}

/** The message alone, type byte first. */
export function encodeStreamMessage(message: StreamMessage): Buffer {
  switch (message.kind) {
    case 'ping':
    case 'ack':
      return encodeMessage(message)
    case 'error': {
      const out = new Writer().u8(MessageType.error).mapHeader(1)
      return out.raw('Error').rawBytes(Buffer.from(message.text).subarray(0, ERROR_BYTES_MAX)).finish()
    }
    case 'push-pull':
      return encodePushPull(message.exchange)
    case 'user':
      throw new DecodeError('a user message on a stream is only ever read')
  }
}

function encodePushPull(exchange: Exchange): Buffer {
  const user = new Writer()
  if (exchange.sender !== undefined) encodeSerfState(user, { lTime: exchange.lTime, node: exchange.sender })
  for (const frame of exchange.frames) writeFrame(user, frame)
  const userState = user.finish()
  const out = new Writer(256 + exchange.nodes.length * 160 + userState.length)
  out.u8(MessageType.pushPull).mapHeader(3).raw('Join').bool(exchange.join)
  out.raw('Nodes').uint(exchange.nodes.length).raw('UserStateLen').uint(userState.length)
  for (const node of exchange.nodes) writeNodeState(out, node)
  return out.bytes(userState).finish()
}

/** What the decoder wants before it is called again: bytes of the peer, or another turn. */
type StreamNeed = 'bytes' | 'turn'

/** Reads one message out of the pieces of a stream. */
export class StreamDecoder {
  readonly #envelope: Envelope
  readonly #defaultPort: number
  readonly #steps: Generator<StreamNeed, StreamMessage>
  #buffer: Buffer = Buffer.alloc(0)
  #length = 0
  #bytesNeeded = 0

  /** @param defaultPort the port of nodes that name none */
  constructor(envelope: Envelope, defaultPort: number) {
    this.#envelope = envelope
    this.#defaultPort = defaultPort
    this.#steps = this.#decode()
  }

  /** Bytes that are held for this stream. */
  get bytesHeld(): number {
    return this.#buffer.length
  }

  /** Adds a piece, which is copied. @throws DecodeError when the stream is longer than any message may be */
  push(piece: Uint8Array): void {
    const length = this.#length + piece.length
    if (length > STREAM_BYTES_MAX + 1024) throw new DecodeError(`a stream is longer than ${STREAM_BYTES_MAX} bytes`)
    if (length > this.#buffer.length) {
      const grown = Buffer.allocUnsafe(Math.max(length, Math.min(this.#buffer.length * 2, STREAM_BYTES_MAX + 1024)))
      this.#buffer.copy(grown, 0, 0, this.#length)
      this.#buffer = grown
    }
    this.#buffer.set(piece, this.#length)
    this.#length = length
  }

  /** Works for a bounded time. @throws DecodeError */
  advance(): StreamMessage | StreamNeed {
    if (this.#length < this.#bytesNeeded) return 'bytes'
    const step = this.#steps.next()
    return step.value
  }

  *#decode(): Generator<StreamNeed, StreamMessage> {
    const envelope = this.#envelope
    const start = yield* this.#attempt(() => passLabel(this.#received(), envelope.label))
    const type = yield* this.#attempt(() => new Reader(this.#received(), start).u8())
    if (type === MessageType.encrypt) return yield* this.#decodeWhole(yield* this.#decrypted(start))
    if (envelope.keyring !== undefined && envelope.verifyIncoming) {
      throw new DecryptError('encryption is configured, and the stream is not encrypted')
    }
    if (type === MessageType.compress) {
      const packed = yield* this.#attempt(() =>
        readCompressed(new Reader(this.#received(), start + 1), STREAM_BYTES_MAX),
      )
      return yield* this.#decodeExpanded(packed)
    }
    return yield* this.#decodeMessage(start, () => this.#received())
  }

  *#decrypted(start: number): Generator<StreamNeed, Buffer> {
    const { keyring, label } = this.#envelope
    if (keyring === undefined) throw new DecryptError('the stream is encrypted, and no key is configured')
    const length = yield* this.#attempt(() => new Reader(this.#received(), start + 1).u32())
    if (length > STREAM_BYTES_MAX) throw new DecodeError(`an encrypted stream is longer than ${STREAM_BYTES_MAX} bytes`)
    const sealed = yield* this.#attempt(() => new Reader(this.#received(), start + 5).bytes(length))
    const header = this.#received().subarray(start, start + 5)
    return decrypt(keyring, sealed, Buffer.concat([header, label]))
  }

  *#decodeWhole(content: Buffer): Generator<StreamNeed, StreamMessage> {
    if (content[0] !== MessageType.compress) return yield* this.#decodeMessage(0, () => content, true)
    return yield* this.#decodeExpanded(readCompressed(new Reader(content, 1), STREAM_BYTES_MAX))
  }

  *#decodeExpanded(packed: Buffer): Generator<StreamNeed, StreamMessage> {
    const decoder = new LzwDecoder(packed, EXPANDED_BYTES_MAX)
    while (!decoder.run(EXPAND_BYTES_PER_SLICE)) yield 'turn'
    const content = decoder.output()
    return yield* this.#decodeMessage(0, () => content, true)
  }

  /** @param isWhole no more bytes will come: what is cut off stays so */
  *#decodeMessage(start: number, content: () => Buffer, isWhole = false): Generator<StreamNeed, StreamMessage> {
    const attempt = <T>(read: () => T): Generator<StreamNeed, T> => this.#attempt(read, isWhole)
    const type = yield* attempt(() => new Reader(content(), start).u8())
    const body = (): Reader => new Reader(content(), start + 1)
    switch (type) {
      case MessageType.ping:
        return yield* attempt(() => readPing(body()))
      case MessageType.ack:
        return yield* attempt((): StreamMessage => ({ kind: 'ack', seqNo: readSeqNo(body()) }))
      case MessageType.error:
        return yield* attempt((): StreamMessage => ({ kind: 'error', text: readError(body()) }))
      case MessageType.user:
        return { kind: 'user' }
      case MessageType.pushPull:
        return { kind: 'push-pull', exchange: yield* this.#decodePushPull(start + 1, content, isWhole) }
      default:
        throw new DecodeError(`message type ${type} is not for streams`)
    }
  }

  *#decodePushPull(start: number, content: () => Buffer, isWhole: boolean): Generator<StreamNeed, Exchange> {
    let at = start
    const read = <T>(part: (reader: Reader) => T): Generator<StreamNeed, T> =>
      this.#attempt(() => {
        const reader = new Reader(content(), at)
        const value = part(reader)
        at = reader.at
        return value
      }, isWhole)
    const header = yield* read(readPushPullHeader)
    const nodes: NodeState[] = []
    while (nodes.length < header.nodes) {
      nodes.push(yield* read((reader) => readNodeState(reader, this.#defaultPort)))
      if (nodes.length % NODES_PER_SLICE === 0) yield 'turn'
    }
    const userState = yield* read((reader) => reader.bytes(header.userStateLength))
    return { join: header.join, nodes, ...readUserState(userState) }
  }

  /** Repeats a read that ran out of bytes once there are enough for it to get further. */
  *#attempt<T>(read: () => T, isWhole = false): Generator<StreamNeed, T> {
    for (;;) {
      try {
        const value = read()
        this.#bytesNeeded = 0
        return value
      } catch (error) {
        if (isWhole || !(error instanceof TruncatedError)) throw error
        this.#bytesNeeded = error.bytesNeeded
      }
      yield 'bytes'
    }
  }

  #received(): Buffer {
    return this.#buffer.subarray(0, this.#length)
  }
}

function readPushPullHeader(reader: Reader): { nodes: number; userStateLength: number; join: boolean } {
  const header = { nodes: 0, userStateLength: 0, join: false }
  reader.map(HEADER_KEYS_MAX, (key) => {
    if (key === 'Nodes') header.nodes = reader.uint(NODES_MAX)
    else if (key === 'UserStateLen') header.userStateLength = reader.uint(STREAM_BYTES_MAX)
    else if (key === 'Join') header.join = reader.bool()
    else return false
    return true
  })
  return header
}

/**
 * A user state: serf's, then our frames. What another application put there is not ours to judge, so the first byte that fits
 * neither ends the reading.
 */
export function readUserState(bytes: Buffer): { lTime: number; sender?: string; frames: Frame[] } {
  const reader = new Reader(bytes)
  const frames: Frame[] = []
  let serf: { lTime: number; sender?: string } = { lTime: 0 }
  try {
    if (bytes.length > 0 && isSerfState(bytes[0] as number)) serf = readSerfState(reader)
    while (reader.remaining > 0 && frames.length < FRAMES_MAX) frames.push(readFrame(reader))
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error
  }
  return { ...serf, frames }
}

function readError(reader: Reader): string {
  let text = ''
  reader.map(HEADER_KEYS_MAX, (key) => {
    if (key !== 'Error') return false
    text = reader.rawBytes(ERROR_BYTES_MAX)?.toString('utf8') ?? ''
    return true
  })
  return text
}
