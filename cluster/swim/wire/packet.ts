// Datagrams. Inside out: message or compound, compressed if that helps, checksum, encryption, label. cluster.md §3.4.

import type { Message } from '../core/messages.ts'
import { crc32 } from './crc32.ts'
import { DecodeError } from './decode-error.ts'
import { decrypt, ENCRYPT_OVERHEAD, type EncryptionVersion, encrypt, type Keyring } from './keyring.ts'
import { labelHeader, labelOverhead, passLabel } from './label.ts'
import { lzwDecode, lzwEncode } from './lzw.ts'
import { decodeMessage, MessageType } from './messages.ts'
import { Reader, Writer } from './msgpack.ts'

/** How both ends of a cluster wrap what they send. */
export interface Envelope {
  /** 0..255 bytes; empty: none. */
  readonly label: Uint8Array
  /** Absent: plain text. */
  readonly keyring?: Keyring
  readonly encryptionVersion: EncryptionVersion
  /** With a key: refuse what is not encrypted, and encrypt what is sent. Off only while a key is being introduced. */
  readonly verifyIncoming: boolean
  readonly verifyOutgoing: boolean
  /** Compress what is sent; what is received is always understood. */
  readonly compression: boolean
}

const PARTS_MAX = 255
const DEPTH_MAX = 4
// What a sender may pack into a datagram is bounded by the datagram before it is compressed.
const EXPANDED_BYTES_MAX = 1 << 20
const COMPOUND_PART_OVERHEAD = 2

/** Bytes of parts (each counted with its compound overhead) that fit a packet of `packetBytes`. */
export function packetBudget(packetBytes: number, envelope: Envelope): number {
  const encrypts = envelope.keyring !== undefined && envelope.verifyOutgoing
  const encryption = encrypts ? ENCRYPT_OVERHEAD[envelope.encryptionVersion] : 0
  return packetBytes - COMPOUND_PART_OVERHEAD - labelOverhead(envelope.label) - encryption
}

/** The datagrams of some encoded messages: one, unless there are more than 255. @param withCrc the receiver knows version 5 */
export function sealPackets(parts: readonly Buffer[], envelope: Envelope, withCrc: boolean): Buffer[] {
  const out: Buffer[] = []
  for (let at = 0; at < parts.length; at += PARTS_MAX) {
    out.push(seal(compound(parts.slice(at, at + PARTS_MAX)), envelope, withCrc))
  }
  return out
}

function seal(plain: Buffer, envelope: Envelope, withCrc: boolean): Buffer {
  let content = plain
  if (envelope.compression) {
    const compressed = compress(content)
    if (compressed.length < content.length) content = compressed
  }
  if (withCrc) content = new Writer(content.length + 5).u8(MessageType.crc).u32(crc32(content)).bytes(content).finish()
  if (envelope.keyring !== undefined && envelope.verifyOutgoing) {
    content = encrypt(envelope.keyring, content, {
      version: envelope.encryptionVersion,
      additionalData: envelope.label,
    })
  }
  return envelope.label.length === 0 ? content : Buffer.concat([labelHeader(envelope.label), content])
}

/** Several messages as one; a single one stays itself. @param parts 1..255 encoded messages */
export function compound(parts: readonly Buffer[]): Buffer {
  if (parts.length === 1) return parts[0] as Buffer
  const out = new Writer(2 + parts.reduce((sum, part) => sum + part.length + COMPOUND_PART_OVERHEAD, 0))
  out.u8(MessageType.compound).u8(parts.length)
  for (const part of parts) out.u16(part.length)
  for (const part of parts) out.bytes(part)
  return out.finish()
}

export function compress(plain: Buffer): Buffer {
  const packed = lzwEncode(plain)
  const out = new Writer(packed.length + 16)
  return out.u8(MessageType.compress).mapHeader(2).raw('Algo').uint(0).raw('Buf').rawBytes(packed).finish()
}

/** The compressed bytes of a compress message, read after its type byte. @throws DecodeError */
export function readCompressed(reader: Reader, bytesMax: number): Buffer {
  let algorithm = 0
  let packed: Buffer = Buffer.alloc(0)
  reader.map(8, (key) => {
    if (key === 'Algo') algorithm = reader.uint(255)
    else if (key === 'Buf') packed = reader.rawBytes(bytesMax) ?? packed
    else return false
    return true
  })
  if (algorithm !== 0) throw new DecodeError(`compression algorithm ${algorithm} is not known`)
  return packed
}

/** What a datagram held. */
interface Opened {
  readonly messages: Message[]
  /** Why parts were left out; the others count. */
  readonly refused: DecodeError[]
}

/**
 * Everything readable in a datagram.
 * @param defaultPort the port of nodes that name none
 * @throws DecodeError when the datagram as a whole is not for us: label, key, checksum
 */
export function openPacket(packet: Buffer, envelope: Envelope, defaultPort: number): Opened {
  let content = packet.subarray(passLabel(packet, envelope.label))
  if (envelope.keyring !== undefined) content = decryptOrPlain(content, envelope, envelope.keyring)
  if (content.length >= 5 && content[0] === MessageType.crc) {
    const expected = content.readUInt32BE(1)
    content = content.subarray(5)
    if (crc32(content) !== expected) throw new DecodeError('the checksum does not match')
  }
  const opened: Opened = { messages: [], refused: [] }
  const state = { parts: 0, expandedBytes: 0 }
  unpack(content, 1, state, defaultPort, opened)
  return opened
}

function decryptOrPlain(content: Buffer, envelope: Envelope, keyring: Keyring): Buffer {
  try {
    return decrypt(keyring, content, envelope.label)
  } catch (error) {
    if (envelope.verifyIncoming || !(error instanceof DecodeError)) throw error
    return content
  }
}

function unpack(
  bytes: Buffer,
  depth: number,
  state: { parts: number; expandedBytes: number },
  defaultPort: number,
  out: Opened,
): void {
  try {
    if (depth > DEPTH_MAX) throw new DecodeError(`packed deeper than ${DEPTH_MAX} levels`)
    switch (bytes[0]) {
      case MessageType.compound:
        for (const part of splitCompound(bytes, out)) unpack(part, depth + 1, state, defaultPort, out)
        return
      case MessageType.compress: {
        const room = EXPANDED_BYTES_MAX - state.expandedBytes
        // An expansion that fails has cost as much as the room it had, so it uses that up.
        state.expandedBytes = EXPANDED_BYTES_MAX
        const plain = lzwDecode(readCompressed(new Reader(bytes, 1), bytes.length), room)
        state.expandedBytes -= room - plain.length
        return unpack(plain, depth + 1, state, defaultPort, out)
      }
      default: {
        if (++state.parts > PARTS_MAX) throw new DecodeError(`more than ${PARTS_MAX} parts`)
        const message = decodeMessage(bytes, defaultPort)
        if (message !== undefined) out.messages.push(message)
      }
    }
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error
    // A packet of nothing but refusals must not cost more to describe than to read.
    if (out.refused.length < PARTS_MAX) out.refused.push(error)
  }
}

function splitCompound(bytes: Buffer, out: Opened): Buffer[] {
  const reader = new Reader(bytes, 1)
  const count = reader.u8()
  const lengths: number[] = []
  for (let i = 0; i < count; i++) lengths.push(reader.u16())
  const parts: Buffer[] = []
  for (const length of lengths) {
    if (length > reader.remaining) {
      out.refused.push(new DecodeError(`${count - parts.length} of ${count} parts are cut off`))
      break
    }
    parts.push(reader.bytes(length))
  }
  return parts
}
