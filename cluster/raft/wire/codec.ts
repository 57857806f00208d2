// What servers say to each other, as bytes: msgpack maps of the modern dialect. cluster.md §5.3.
//   every message   m kind · g formation (16 bytes) · f from [name, store] · to [name, store] · t term · q round
//   prevote, vote   li, lt last index and term · x transfer      reply  ok · why
//   append          pi, pt previous · ci commit · hb heartbeat · lc log clock · es entries, each as in the log      reply  ok · hb · mi match
//                   · xi, xt where to go on · ap applied · fs average sync, ms
//   snap            si, st index and term · lc log clock · cf configuration · size · sum SHA-256 · off · d data      reply  si · sum · off · done
//   read_index      reply  i index, absent: not the leader
//   refused         why: formation or store_mismatch · s the store that is here
// Numbers of kinds are appended to, never renumbered. Unknown keys are passed over.

import { assert, unreachable } from '../../../runtime/base/assert.ts'
import { ownBytes } from '../../../runtime/base/bytes.ts'
import { type Packed, Packer, UnpackError, Unpacker } from '../../../runtime/base/msgpack.ts'
import type { Entry, LogPosition } from '../core/entry.ts'
import type { Message, SnapshotMeta } from '../core/messages.ts'
import type { ServerId } from '../core/server.ts'
import { messageProblem } from '../core/well-formed.ts'
import { type EntryBytes, packConfiguration, packServer, unpackConfiguration, unpackServer } from './entry.ts'

/** A server that was addressed wrongly says so, once in a while. */
export interface Refused {
  readonly kind: 'refused'
  readonly term: number
  readonly round: number
  readonly why: 'formation' | 'store_mismatch'
  /** The store of whoever refuses. */
  readonly store: string
}

export type WireMessage = Message | Refused

export interface Envelope {
  /** Hex. */
  readonly formation: string
  readonly from: ServerId
  readonly to: ServerId
  readonly message: WireMessage
}

const KINDS = [
  'prevote',
  'prevote-reply',
  'vote',
  'vote-reply',
  'append',
  'append-reply',
  'snapshot',
  'snapshot-reply',
  'timeout-now',
  'read-index',
  'read-index-reply',
  'reset-required',
  'refused',
] as const satisfies readonly WireMessage['kind'][]

const FORMATION_BYTES = 16
const CHECKSUM_BYTES = 32
const ENTRIES_MAX = 1024
const WHY_LENGTH_MAX = 64
const KEYS_MAX = 32
const ADDRESSES_MAX = 64

/** Writes and reads the messages of one server. */
export class RaftCodec {
  readonly #entries: EntryBytes
  /** `g`, `f` and `to` in front of what goes to one server. */
  readonly #addresses = new Map<string, Uint8Array>()

  constructor(entries: EntryBytes) {
    this.#entries = entries
  }

  encode({ formation, from, to, message }: Envelope): Uint8Array {
    const fields = fieldsOf(message)
    const isWithEntries = message.kind === 'append' && message.entries.length > 0
    const out = new Packer().map(6 + fields.length + (isWithEntries ? 1 : 0))
    out
      .value('m')
      .value(KINDS.indexOf(message.kind))
      .raw(this.#address(formation, from, to))
    out.value('t').value(message.term).value('q').value(message.round)
    for (const [key, value] of fields) out.value(key).value(value)
    if (isWithEntries) {
      out.value('es').array(message.entries.length)
      for (const entry of message.entries) out.raw(this.#entries.of(entry))
    }
    return out.finish()
  }

  /** @throws UnpackError: no server says that; the message tells what is wrong and quotes nothing */
  decode(bytes: Uint8Array): Envelope {
    const reader = new Unpacker(bytes)
    const count = reader.map()
    if (count > KEYS_MAX) throw new UnpackError('too many keys')
    const fields = new Map<string, Packed>()
    let raw: Uint8Array[] = []
    for (let at = 0; at < count; at++) {
      const key = reader.value()
      if (typeof key !== 'string') throw new UnpackError('a key is no string')
      if (fields.has(key)) throw new UnpackError('a key appears twice')
      if (key !== 'es') fields.set(key, reader.value())
      else {
        fields.set(key, null)
        raw = rawEntries(reader, bytes)
      }
    }
    if (!reader.isAtEnd) throw new UnpackError('bytes follow the message')
    const message = this.#message(new Fields(fields), raw)
    const problem = message.kind === 'refused' ? undefined : messageProblem(message)
    if (problem !== undefined) throw new UnpackError(problem)
    return {
      formation: hex(new Fields(fields).bytes('g', FORMATION_BYTES)),
      from: unpackServer(fields.get('f')),
      to: unpackServer(fields.get('to')),
      message,
    }
  }

  #address(formation: string, from: ServerId, to: ServerId): Uint8Array {
    const key = `${formation} ${from} ${to}`
    const known = this.#addresses.get(key)
    if (known !== undefined) return known
    const g = Buffer.from(formation, 'hex')
    assert(g.length === FORMATION_BYTES, 'a formation is 16 bytes')
    const out = new Packer().value('g').value(g).value('f').value(packServer(from)).value('to').value(packServer(to))
    const bytes = out.finish()
    if (this.#addresses.size >= ADDRESSES_MAX) this.#addresses.clear()
    this.#addresses.set(key, bytes)
    return bytes
  }

  #message(f: Fields, raw: readonly Uint8Array[]): WireMessage {
    const kind = KINDS[f.count('m')]
    const head = { term: f.count('t'), round: f.count('q') }
    switch (kind) {
      case 'prevote':
      case 'vote':
        return { kind, ...head, last: f.position('li', 'lt'), isTransfer: f.flag('x') }
      case 'prevote-reply':
      case 'vote-reply': {
        const why = f.has('why') ? { why: f.text('why', WHY_LENGTH_MAX) } : {}
        return { kind, ...head, granted: f.flag('ok'), ...why }
      }
      case 'append': {
        const previous = f.position('pi', 'pt')
        if (!Number.isSafeInteger(previous.index + raw.length)) throw new UnpackError('an index beyond 2^53-1')
        const entries: Entry[] = raw.map((bytes, at) => this.#entries.read(previous.index + 1 + at, bytes))
        const [commit, clockMs] = [f.count('ci'), f.count('lc')]
        return { kind, ...head, previous, commit, entries, isHeartbeat: f.flag('hb'), clockMs }
      }
      case 'append-reply': {
        const hint = f.has('xi') ? { index: f.count('xi'), ...(f.has('xt') ? { term: f.count('xt') } : {}) } : undefined
        const known = { index: f.count('mi'), applied: f.count('ap'), syncMs: f.number('fs') }
        const reply = { kind, ...head, ok: f.flag('ok'), isHeartbeat: f.flag('hb'), ...known }
        return hint === undefined ? reply : { ...reply, hint }
      }
      case 'snapshot': {
        const snapshot: SnapshotMeta = {
          ...f.position('si', 'st'),
          clockMs: f.count('lc'),
          configuration: unpackConfiguration(f.get('cf')),
          sizeBytes: f.count('size'),
          checksum: hex(f.bytes('sum', CHECKSUM_BYTES)),
        }
        return { kind, ...head, snapshot, offset: f.count('off'), data: f.bytes('d') }
      }
      case 'snapshot-reply': {
        const about = { index: f.count('si'), checksum: hex(f.bytes('sum', CHECKSUM_BYTES)) }
        return { kind, ...head, ...about, offset: f.count('off'), isDone: f.flag('done') }
      }
      case 'timeout-now':
      case 'read-index':
      case 'reset-required':
        return { kind, ...head }
      case 'read-index-reply':
        return f.has('i') ? { kind, ...head, index: f.count('i') } : { kind, ...head }
      case 'refused': {
        const why = f.text('why', WHY_LENGTH_MAX)
        if (why !== 'formation' && why !== 'store_mismatch') throw new UnpackError('no reason to refuse')
        return { kind, ...head, why, store: f.text('s', WHY_LENGTH_MAX) }
      }
      case undefined:
        throw new UnpackError('a message of a kind that is not known')
      default:
        return unreachable(kind)
    }
  }
}

/** What follows the header; entries are written by whoever has them as bytes. */
function fieldsOf(message: WireMessage): readonly (readonly [key: string, value: Packed])[] {
  switch (message.kind) {
    case 'prevote':
    case 'vote':
      return [
        ['li', message.last.index],
        ['lt', message.last.term],
        ['x', message.isTransfer],
      ]
    case 'prevote-reply':
    case 'vote-reply':
      return message.why === undefined
        ? [['ok', message.granted]]
        : [
            ['ok', message.granted],
            ['why', message.why],
          ]
    case 'append':
      return [
        ['pi', message.previous.index],
        ['pt', message.previous.term],
        ['ci', message.commit],
        ['hb', message.isHeartbeat],
        ['lc', message.clockMs],
      ]
    case 'append-reply': {
      const { hint } = message
      const fields: [string, Packed][] = [
        ['ok', message.ok],
        ['hb', message.isHeartbeat],
        ['mi', message.index],
        ['ap', message.applied],
        ['fs', message.syncMs],
      ]
      if (hint !== undefined) fields.push(['xi', hint.index])
      if (hint?.term !== undefined) fields.push(['xt', hint.term])
      return fields
    }
    case 'snapshot': {
      const { index, term, clockMs, configuration, sizeBytes, checksum } = message.snapshot
      return [
        ['si', index],
        ['st', term],
        ['lc', clockMs],
        ['cf', packConfiguration(configuration)],
        ['size', sizeBytes],
        ['sum', checksumBytes(checksum)],
        ['off', message.offset],
        ['d', message.data],
      ]
    }
    case 'snapshot-reply':
      return [
        ['si', message.index],
        ['sum', checksumBytes(message.checksum)],
        ['off', message.offset],
        ['done', message.isDone],
      ]
    case 'read-index-reply':
      return message.index === undefined ? [] : [['i', message.index]]
    case 'refused':
      return [
        ['why', message.why],
        ['s', message.store],
      ]
    case 'timeout-now':
    case 'read-index':
    case 'reset-required':
      return []
    default:
      return unreachable(message)
  }
}

/** Entries as they are; copied, since a message may be a view of a larger buffer. */
function rawEntries(reader: Unpacker, bytes: Uint8Array): Uint8Array[] {
  const count = reader.array()
  if (count > ENTRIES_MAX) throw new UnpackError('too many entries')
  const raw: Uint8Array[] = []
  for (let at = 0; at < count; at++) {
    const from = reader.at
    reader.skip()
    raw.push(ownBytes(bytes.subarray(from, reader.at)))
  }
  return raw
}

class Fields {
  readonly #fields: ReadonlyMap<string, Packed>

  constructor(fields: ReadonlyMap<string, Packed>) {
    this.#fields = fields
  }

  get(key: string): Packed | undefined {
    return this.#fields.get(key)
  }

  has(key: string): boolean {
    return this.#fields.has(key)
  }

  count(key: string): number {
    const value = this.#fields.get(key)
    if (!Number.isSafeInteger(value) || (value as number) < 0) throw refused(key)
    return value as number
  }

  number(key: string): number {
    const value = this.#fields.get(key)
    if (typeof value !== 'number') throw refused(key)
    return value
  }

  flag(key: string): boolean {
    const value = this.#fields.get(key)
    if (typeof value !== 'boolean') throw refused(key)
    return value
  }

  text(key: string, lengthMax: number): string {
    const value = this.#fields.get(key)
    if (typeof value !== 'string' || value.length > lengthMax) throw refused(key)
    return value
  }

  bytes(key: string, length?: number): Uint8Array {
    const value = this.#fields.get(key)
    if (!(value instanceof Uint8Array) || (length !== undefined && value.length !== length)) throw refused(key)
    return value
  }

  position(index: string, term: string): LogPosition {
    return { index: this.count(index), term: this.count(term) }
  }
}

function refused(key: string): UnpackError {
  return new UnpackError(`"${key}" is missing or of the wrong type`)
}

function checksumBytes(checksum: string): Uint8Array {
  const bytes = Buffer.from(checksum, 'hex')
  assert(bytes.length === CHECKSUM_BYTES, 'a checksum is SHA-256 in hex')
  return bytes
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex')
}
