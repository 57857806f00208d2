// Handshakes and messages of class link as msgpack. Unknown keys are ignored, wrong types refused. cluster.md §4.2.

import { isPackedMap, type Packed, type PackedMap, pack, UnpackError, unpack } from '../../../runtime/base/msgpack.ts'
import { type Control, GOODBYE_REASONS, type GoodbyeReason } from '../core/control.ts'
import { type Handshake, REFUSE_CODES, type Received, type RefuseCode } from '../core/handshake.ts'
import { ProtocolError } from './protocol-error.ts'

/** The first bytes of a dialer, before its first frame. */
export const PREAMBLE: Uint8Array = Buffer.from('MMESH\r\n\x01', 'latin1')

const HELLO = 0
const WELCOME = 1
const REFUSE = 2
const FEATURES_MAX = 64
const TEXT_BYTES_MAX = 512
const U32_MAX = 0xffffffff

const PING = 0
const PONG = 1
const ACK = 2
const CREDIT = 3
const GOODBYE = 4

export function encodeHandshake(message: Handshake): Uint8Array {
  if (message.kind === 'refuse') {
    const { code, text, epoch, retryMs } = message
    return pack({ t: REFUSE, code, text, [epochKey(code)]: epoch, retry_ms: retryMs })
  }
  const shared = {
    ft: message.features,
    id: message.clusterId,
    n: message.name,
    e: message.epoch,
    st: hex(message.storeId),
    fm: hex(message.formationId),
    nc: hex(message.nonce),
    ls: hex(message.session),
    rx: packReceived(message.received),
    lim: { f: message.limits.frameBytesMax, m: message.limits.messageBytesMax },
    sess: message.raftSession,
  }
  if (message.kind === 'welcome') return pack({ t: WELCOME, v: message.version, ...shared })
  const { versions, to, toEpoch, dialCount } = message
  return pack({ t: HELLO, v: versions, ...shared, to, toe: toEpoch, sq: dialCount })
}

/** @throws ProtocolError */
export function decodeHandshake(bytes: Uint8Array): Handshake {
  const map = read(bytes)
  if (!isPackedMap(map)) throw new ProtocolError('a handshake is a map')
  const type = map['t']
  if (type === REFUSE) {
    const code = oneOf(map, 'code', REFUSE_CODES) as RefuseCode
    const key = epochKey(code)
    const epoch = map[key] === undefined ? {} : { epoch: integer(map, key) }
    const retryMs = map['retry_ms'] === undefined ? {} : { retryMs: integer(map, 'retry_ms', U32_MAX) }
    return { kind: 'refuse', code, text: text(map, 'text'), ...epoch, ...retryMs }
  }
  const limits = map['lim']
  if (!isPackedMap(limits)) throw new ProtocolError('lim is a map')
  const shared = {
    features: features(map),
    clusterId: text(map, 'id'),
    name: text(map, 'n'),
    epoch: integer(map, 'e'),
    storeId: bytesOf(map, 'st', [0, 16]),
    formationId: bytesOf(map, 'fm', [0, 16]),
    nonce: bytesOf(map, 'nc', [16]),
    session: bytesOf(map, 'ls', [0, 8]),
    received: unpackReceived(map['rx']),
    limits: { frameBytesMax: integer(limits, 'f', U32_MAX), messageBytesMax: integer(limits, 'm', U32_MAX) },
    ...(map['sess'] === undefined ? {} : { raftSession: integer(map, 'sess') }),
  }
  if (type === WELCOME) return { kind: 'welcome', version: integer(map, 'v', U32_MAX), ...shared }
  if (type !== HELLO) throw new ProtocolError('unknown kind of handshake')
  const versions = map['v']
  if (!Array.isArray(versions) || versions.length !== 2) throw new ProtocolError('v is a pair')
  const pair = { min: versions[0] as Packed, max: versions[1] as Packed }
  return {
    kind: 'hello',
    versions: [integer(pair, 'min', U32_MAX), integer(pair, 'max', U32_MAX)],
    ...shared,
    to: text(map, 'to'),
    toEpoch: integer(map, 'toe'),
    dialCount: integer(map, 'sq'),
  }
}

export function encodeControl(message: Control): Uint8Array {
  switch (message.kind) {
    case 'ping':
      return pack([PING, message.token])
    case 'pong':
      return pack([PONG, message.token])
    case 'ack':
      return pack([ACK, packReceived(message.received), message.bytes])
    case 'credit':
      return pack([CREDIT, { 5: message.bulk, 6: message.rlog }])
    case 'goodbye':
      return pack([GOODBYE, message.reason])
  }
}

/** Undefined: a kind of a later version, to be ignored. @throws ProtocolError */
export function decodeControl(bytes: Uint8Array): Control | undefined {
  const list = read(bytes)
  if (!Array.isArray(list) || list.length < 2) throw new ProtocolError('a message of class link is an array')
  const map: PackedMap = { kind: list[0] as Packed, a: list[1] as Packed, b: list[2] as Packed | undefined }
  switch (integer(map, 'kind')) {
    case PING:
      return { kind: 'ping', token: integer(map, 'a') }
    case PONG:
      return { kind: 'pong', token: integer(map, 'a') }
    case ACK:
      return { kind: 'ack', received: unpackReceived(map['a']), bytes: integer(map, 'b') }
    case CREDIT: {
      const granted = map['a']
      if (!isPackedMap(granted)) throw new ProtocolError('credits are a map')
      return { kind: 'credit', bulk: integer(granted, '5'), rlog: integer(granted, '6') }
    }
    case GOODBYE:
      return { kind: 'goodbye', reason: reason(text(map, 'a')) }
    default:
      return undefined
  }
}

/** Under which key a refusal names an epoch: the refuser's own, or the newest run of the dialer's name that it knows. */
const epochKey = (code: RefuseCode): string => (code === 'stale_epoch' ? 'known' : 'epoch')

/** A later version may have further reasons; what they have in common is that the peer closes. */
function reason(word: string): GoodbyeReason {
  return GOODBYE_REASONS.find((each) => each === word) ?? 'shutdown'
}

function packReceived({ system, app }: Received): PackedMap {
  return { 2: system, 3: app }
}

function unpackReceived(value: Packed | undefined): Received {
  if (!isPackedMap(value)) throw new ProtocolError('what was received is a map')
  return { system: integer(value, '2'), app: integer(value, '3') }
}

function read(bytes: Uint8Array): Packed {
  try {
    return unpack(bytes)
  } catch (error) {
    if (error instanceof UnpackError) throw new ProtocolError(`no msgpack: ${error.message}`)
    throw error
  }
}

function integer(map: PackedMap, key: string, max = Number.MAX_SAFE_INTEGER): number {
  const value = map[key]
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > max) {
    throw new ProtocolError(`${key} is a whole number up to ${max}`)
  }
  return value
}

function text(map: PackedMap, key: string): string {
  const value = map[key]
  if (typeof value !== 'string' || value.length > TEXT_BYTES_MAX) {
    throw new ProtocolError(`${key} is a string of at most ${TEXT_BYTES_MAX} characters`)
  }
  return value
}

function oneOf(map: PackedMap, key: string, words: readonly string[]): string {
  const word = text(map, key)
  if (!words.includes(word)) throw new ProtocolError(`${key} is an unknown word`)
  return word
}

function bytesOf(map: PackedMap, key: string, lengths: readonly number[]): string {
  const value = map[key]
  if (!(value instanceof Uint8Array) || !lengths.includes(value.length)) {
    throw new ProtocolError(`${key} is ${lengths.join(' or ')} bytes`)
  }
  return Buffer.from(value).toString('hex')
}

function features(map: PackedMap): string[] {
  const value = map['ft']
  if (!Array.isArray(value) || value.length > FEATURES_MAX) throw new ProtocolError('ft is a list of names')
  return (value as readonly Packed[]).map((each) => text({ each }, 'each'))
}

function hex(digits: string): Uint8Array {
  return Buffer.from(digits, 'hex')
}
