// memberlist's messages as bytes: a type byte and a msgpack map, keys in ascending order. cluster.md §3.3.

import { type Address, hostFromBytes, hostToBytes } from '../core/address.ts'
import type { MemberState, Message, NodeState, Versions } from '../core/messages.ts'
import { DecodeError } from './decode-error.ts'
import { Reader, Writer } from './msgpack.ts'
import { decodeSerf, encodeSerfLeave } from './serf.ts'

/** memberlist's type bytes. */
export const MessageType = {
  ping: 0,
  indirectPing: 1,
  ack: 2,
  suspect: 3,
  alive: 4,
  dead: 5,
  pushPull: 6,
  compound: 7,
  user: 8,
  compress: 9,
  encrypt: 10,
  nack: 11,
  crc: 12,
  error: 13,
  label: 244,
} as const

const NAME_BYTES_MAX = 512
const META_BYTES_MAX = 65_535
const ACK_PAYLOAD_BYTES_MAX = 65_535
const STRUCT_KEYS_MAX = 64
const U32_MAX = 0xffffffff
/** A user part of ours begins with its frame kind; below this it is a message of serf. */
const SERF_TYPE_MAX = 9

const STATES: readonly MemberState[] = ['alive', 'suspect', 'dead', 'left']

/** The whole message with its type byte. */
export function encodeMessage(message: Message): Buffer {
  const out = new Writer(128)
  switch (message.kind) {
    case 'ping':
      out.u8(MessageType.ping).mapHeader(2 + sourceKeys(message))
      out.raw('Node').raw(message.node).raw('SeqNo').uint(message.seqNo)
      writeSource(out, message)
      break
    case 'indirect-ping':
      out.u8(MessageType.indirectPing).mapHeader(5 + sourceKeys(message))
      out.raw('Nack').bool(message.wantsNack).raw('Node').raw(message.node)
      out.raw('Port').uint(message.target.port).raw('SeqNo').uint(message.seqNo)
      writeSource(out, message)
      out.raw('Target').rawBytes(hostToBytes(message.target.host))
      break
    case 'ack':
      out.u8(MessageType.ack).mapHeader(2).raw('Payload').nil().raw('SeqNo').uint(message.seqNo)
      break
    case 'nack':
      out.u8(MessageType.nack).mapHeader(1).raw('SeqNo').uint(message.seqNo)
      break
    case 'suspect':
    case 'dead':
      out.u8(MessageType[message.kind]).mapHeader(3)
      out.raw('From').raw(message.from).raw('Incarnation').uint(message.incarnation).raw('Node').raw(message.node)
      break
    case 'alive':
      out.u8(MessageType.alive).mapHeader(6)
      out.raw('Addr').rawBytes(hostToBytes(message.address.host)).raw('Incarnation').uint(message.incarnation)
      writeMeta(out, message.meta)
      out.raw('Node').raw(message.node).raw('Port').uint(message.address.port)
      writeVersions(out, message.versions)
      break
    case 'frame':
      out.u8(MessageType.user)
      writeFrame(out, message)
      break
    case 'serf-leave':
      out.u8(MessageType.user)
      encodeSerfLeave(out, message)
      break
    case 'serf':
      throw new DecodeError('a message of serf is only ever read')
  }
  return out.finish()
}

/**
 * The message of one part, type byte included; not for the types that contain others.
 * @param defaultPort the port of a peer that names none: version 1 of the protocol had one port for all
 * @returns undefined for a user part that is neither a frame nor serf's
 * @throws DecodeError
 */
export function decodeMessage(bytes: Buffer, defaultPort: number): Message | undefined {
  const reader = new Reader(bytes)
  const type = reader.u8()
  switch (type) {
    case MessageType.ping:
      return readPing(reader)
    case MessageType.indirectPing:
      return readIndirectPing(reader, defaultPort)
    case MessageType.ack:
      return { kind: 'ack', seqNo: readSeqNo(reader) }
    case MessageType.nack:
      return { kind: 'nack', seqNo: readSeqNo(reader) }
    case MessageType.suspect:
      return { kind: 'suspect', ...readAccusation(reader) }
    case MessageType.dead:
      return { kind: 'dead', ...readAccusation(reader) }
    case MessageType.alive:
      return readAlive(reader, defaultPort)
    case MessageType.user:
      return readUser(reader)
    default:
      throw new DecodeError(`message type ${type} is not known`)
  }
}

/** Bytes of a multiplexed frame: kind, length in little-endian, payload. cluster.md §3.7. */
export function writeFrame(out: Writer, frame: { frameKind: number; payload: Uint8Array }): void {
  const length = Buffer.allocUnsafe(4)
  length.writeUInt32LE(frame.payload.length)
  out.u8(frame.frameKind).bytes(length).bytes(frame.payload)
}

/** A copy of the next frame; the buffer may be reused by who owns it. */
export function readFrame(reader: Reader): { frameKind: number; payload: Uint8Array } {
  const frameKind = reader.u8()
  const payload = Uint8Array.from(reader.bytes(reader.u32le()))
  return { frameKind, payload }
}

export function writeNodeState(out: Writer, node: NodeState): void {
  out.mapHeader(7).raw('Addr').rawBytes(hostToBytes(node.address.host)).raw('Incarnation').uint(node.incarnation)
  writeMeta(out, node.meta)
  out.raw('Name').raw(node.name).raw('Port').uint(node.address.port)
  out.raw('State').uint(STATES.indexOf(node.state))
  writeVersions(out, node.versions)
}

/** @throws DecodeError */
export function readNodeState(reader: Reader, defaultPort: number): NodeState {
  let name = ''
  let host: string | undefined
  let port = 0
  let meta: string | undefined
  let incarnation = 0
  let state = 0
  let versions: Versions | undefined
  reader.map(STRUCT_KEYS_MAX, (key) => {
    if (key === 'Name') name = reader.raw(NAME_BYTES_MAX) ?? ''
    else if (key === 'Addr') host = readHost(reader)
    else if (key === 'Port') port = reader.uint(0xffff)
    else if (key === 'Meta') meta = reader.raw(META_BYTES_MAX)
    else if (key === 'Incarnation') incarnation = reader.uint(U32_MAX)
    else if (key === 'State') state = reader.uint(STATES.length - 1)
    else if (key === 'Vsn') versions = readVersions(reader)
    else return false
    return true
  })
  return {
    name,
    address: requireAddress(host, port, defaultPort),
    ...(meta === undefined ? {} : { meta }),
    incarnation,
    state: STATES[state] as MemberState,
    ...(versions === undefined ? {} : { versions }),
  }
}

/** The fields of a ping on a stream, after its type byte. @throws DecodeError */
export function readPing(reader: Reader): Extract<Message, { kind: 'ping' }> {
  let seqNo = 0
  let node = ''
  const source = new SourceFields()
  reader.map(STRUCT_KEYS_MAX, (key) => {
    if (key === 'SeqNo') seqNo = reader.uint(U32_MAX)
    else if (key === 'Node') node = reader.raw(NAME_BYTES_MAX) ?? ''
    else return source.read(reader, key)
    return true
  })
  return { kind: 'ping', seqNo, node, ...source.fields() }
}

/** The only field of acks and nacks that we use. @throws DecodeError */
export function readSeqNo(reader: Reader): number {
  let seqNo = 0
  reader.map(STRUCT_KEYS_MAX, (key) => {
    if (key === 'SeqNo') seqNo = reader.uint(U32_MAX)
    else if (key === 'Payload') reader.rawBytes(ACK_PAYLOAD_BYTES_MAX)
    else return false
    return true
  })
  return seqNo
}

function readIndirectPing(reader: Reader, defaultPort: number): Message {
  let seqNo = 0
  let node = ''
  let host: string | undefined
  let port = 0
  let wantsNack = false
  const source = new SourceFields()
  reader.map(STRUCT_KEYS_MAX, (key) => {
    if (key === 'SeqNo') seqNo = reader.uint(U32_MAX)
    else if (key === 'Node') node = reader.raw(NAME_BYTES_MAX) ?? ''
    else if (key === 'Target') host = readHost(reader)
    else if (key === 'Port') port = reader.uint(0xffff)
    else if (key === 'Nack') wantsNack = reader.bool()
    else return source.read(reader, key)
    return true
  })
  const target = requireAddress(host, port, defaultPort)
  return { kind: 'indirect-ping', seqNo, target, node, wantsNack, ...source.fields() }
}

function readAccusation(reader: Reader): { incarnation: number; node: string; from: string } {
  let incarnation = 0
  let node = ''
  let from = ''
  reader.map(STRUCT_KEYS_MAX, (key) => {
    if (key === 'Incarnation') incarnation = reader.uint(U32_MAX)
    else if (key === 'Node') node = reader.raw(NAME_BYTES_MAX) ?? ''
    else if (key === 'From') from = reader.raw(NAME_BYTES_MAX) ?? ''
    else return false
    return true
  })
  return { incarnation, node, from }
}

function readAlive(reader: Reader, defaultPort: number): Message {
  let incarnation = 0
  let node = ''
  let host: string | undefined
  let port = 0
  let meta: string | undefined
  let versions: Versions | undefined
  reader.map(STRUCT_KEYS_MAX, (key) => {
    if (key === 'Incarnation') incarnation = reader.uint(U32_MAX)
    else if (key === 'Node') node = reader.raw(NAME_BYTES_MAX) ?? ''
    else if (key === 'Addr') host = readHost(reader)
    else if (key === 'Port') port = reader.uint(0xffff)
    else if (key === 'Meta') meta = reader.raw(META_BYTES_MAX)
    else if (key === 'Vsn') versions = readVersions(reader)
    else return false
    return true
  })
  return {
    kind: 'alive',
    incarnation,
    node,
    address: requireAddress(host, port, defaultPort),
    ...(meta === undefined ? {} : { meta }),
    ...(versions === undefined ? {} : { versions }),
  }
}

function readUser(reader: Reader): Message | undefined {
  if (reader.remaining === 0) return undefined
  const bytes = reader.rest()
  if ((bytes[0] as number) <= SERF_TYPE_MAX) return decodeSerf(bytes)
  const inner = new Reader(bytes)
  const frame = readFrame(inner)
  if (inner.remaining > 0) throw new DecodeError('a user packet holds more than one frame')
  return { kind: 'frame', ...frame }
}

/** The sender's own data in pings, any of which may be missing. */
class SourceFields {
  #host: string | undefined
  #port = 0
  #node = ''

  read(reader: Reader, key: string): boolean {
    if (key === 'SourceAddr') this.#host = readHost(reader)
    else if (key === 'SourcePort') this.#port = reader.uint(0xffff)
    else if (key === 'SourceNode') this.#node = reader.raw(NAME_BYTES_MAX) ?? ''
    else return false
    return true
  }

  fields(): { source?: Address; sourceNode?: string } {
    return {
      ...(this.#host === undefined || this.#port === 0 ? {} : { source: { host: this.#host, port: this.#port } }),
      ...(this.#node === '' ? {} : { sourceNode: this.#node }),
    }
  }
}

interface Source {
  readonly source?: Address
  readonly sourceNode?: string
}

function sourceKeys(message: Source): number {
  return (message.source === undefined ? 0 : 2) + (message.sourceNode === undefined ? 0 : 1)
}

function writeSource(out: Writer, { source, sourceNode }: Source): void {
  if (source !== undefined) out.raw('SourceAddr').rawBytes(hostToBytes(source.host))
  if (sourceNode !== undefined) out.raw('SourceNode').raw(sourceNode)
  if (source !== undefined) out.raw('SourcePort').uint(source.port)
}

function writeMeta(out: Writer, meta: string | undefined): void {
  out.raw('Meta')
  if (meta === undefined) out.nil()
  else out.raw(meta)
}

function writeVersions(out: Writer, versions: Versions | undefined): void {
  out.raw('Vsn')
  if (versions === undefined) out.nil()
  else out.rawBytes(Uint8Array.from(versions))
}

function readVersions(reader: Reader): Versions | undefined {
  const bytes = reader.rawBytes(64)
  return bytes === undefined || bytes.length < 6 ? undefined : ([...bytes.subarray(0, 6)] as unknown as Versions)
}

function readHost(reader: Reader): string | undefined {
  const bytes = reader.rawBytes(16)
  if (bytes === undefined || bytes.length === 0) return undefined
  const host = hostFromBytes(bytes)
  if (host === undefined) throw new DecodeError('an address has neither 4 nor 16 bytes')
  return host
}

function requireAddress(host: string | undefined, port: number, defaultPort: number): Address {
  if (host === undefined) throw new DecodeError('an address is missing')
  return { host, port: port === 0 ? defaultPort : port }
}
