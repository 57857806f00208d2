// Commands as bytes of the log, modern msgpack, read strictly. An entry holds an array of them; each is a map with its version, so that
// a later form is told from an earlier one. Appended to, never renumbered. cluster.md §5.11, §5.12.
//   command = {v: 1, k: number of the kind, s: session, q: seq, f: floor, d: done with, c: what the kind needs}

import { type Packed, pack, UnpackError, unpack } from '../../../runtime/base/msgpack.ts'
import { parsePid } from '../../../runtime/base/pid.ts'
import { commandOf, packCommand } from '../../kv/wire/commands.ts'
import { type Command, DONE_MAX, type Envelope, isName, SESSIONLESS } from '../core/commands.ts'
import { Fields } from '../core/fields.ts'

const VERSION = 1
/** An array with a count of four bytes: the form that any number of commands fits. */
const ARRAY32 = 0xdd
const HEADER_BYTES = 5
const NUMBERS: readonly Command['kind'][] = [
  'node-up',
  'node-down',
  'proc-down',
  'register',
  'unregister',
  'strong-open',
  'strong-ack',
  'strong-reject',
  'strong-abort',
  'lock-acquire',
  'lock-release',
  'lock-renew',
  'cancel',
  'kv',
]
const PID_UNITS_MAX = 1024
const NODE_UNITS_MAX = 128
const PIDS_MAX = 4096
/** No wait and no lease is longer, so that no expiry leaves the safe integers. */
const SPAN_MS_MAX = 366 * 24 * 3600 * 1000

/** One command on its way to the leader. */
export function encodeEnvelope(envelope: Envelope): Uint8Array {
  return pack(packEnvelope(envelope))
}

/**
 * The data of one entry, from commands that are encoded each by itself.
 * @param commands each one of `encodeEnvelope`, decoded before so that nothing ill-formed gets here
 */
export function joinEnvelopes(commands: readonly Uint8Array[]): Uint8Array {
  const size = commands.reduce((sum, { length }) => sum + length, HEADER_BYTES)
  const out = new Uint8Array(size)
  out[0] = ARRAY32
  new DataView(out.buffer).setUint32(1, commands.length)
  let at = HEADER_BYTES
  for (const bytes of commands) {
    out.set(bytes, at)
    at += bytes.length
  }
  return out
}

/** @throws UnpackError saying what is wrong */
export function decodeCommands(bytes: Uint8Array): Envelope[] {
  const list = unpack(bytes)
  if (!Array.isArray(list)) throw new UnpackError('commands are no array')
  return (list as readonly Packed[]).map(envelopeOf)
}

/**
 * The leader calls this before it appends, so that nothing ill-formed ever reaches the log.
 * @throws UnpackError saying what is wrong
 */
export function decodeEnvelope(bytes: Uint8Array): Envelope {
  return envelopeOf(unpack(bytes))
}

function packEnvelope({ session, seq, floor, done = [], command }: Envelope): Packed {
  const kind = NUMBERS.indexOf(command.kind)
  const d = done.length === 0 ? undefined : done
  return { v: VERSION, k: kind, s: session, q: seq, f: floor, d, c: packBody(command) }
}

function packBody(command: Command): Packed {
  if (command.kind === 'kv') return { kv: packCommand(command.command) }
  const { kind: _, ...body } = command
  return body
}

function envelopeOf(value: Packed): Envelope {
  const fields = new Fields(value)
  if (fields.count('v') !== VERSION) throw new UnpackError(`a command of version ${fields.count('v')}`)
  const kind = NUMBERS[fields.count('k')]
  if (kind === undefined) throw new UnpackError(`command number ${fields.count('k')} is unknown`)
  const body = fields.map('c')
  const done = fields.has('d') ? fields.counts('d') : []
  const envelope = {
    session: fields.count('s'),
    seq: fields.count('q'),
    floor: fields.count('f'),
    ...(done.length === 0 ? {} : { done }),
    command: decodeCommand(kind, new Fields(body)),
  }
  if (envelope.session === 0 ? !SESSIONLESS.has(kind) : envelope.seq < 1 || envelope.floor > envelope.seq) {
    throw new UnpackError(`${kind}: session, seq and floor do not fit together`)
  }
  if (envelope.command.kind === 'cancel' && envelope.command.seq >= envelope.seq) {
    throw new UnpackError('what is cancelled came before')
  }
  if (done.length > DONE_MAX || done.includes(envelope.seq)) throw new UnpackError('a node is done with other requests')
  return envelope
}

function decodeCommand(kind: Command['kind'], f: Fields): Command {
  switch (kind) {
    case 'node-up':
      return { kind, node: node(f), epoch: f.count('epoch'), role: short(f.text('role')) }
    case 'node-down':
      return { kind, node: node(f), session: f.count('session'), reason: short(f.text('reason')) }
    case 'proc-down': {
      const pids = f.texts('pids')
      if (pids.length > PIDS_MAX) throw new UnpackError('too many PIDs')
      return { kind, pids: pids.map(pid) }
    }
    case 'register':
      return { kind, name: name(f), pid: pid(f.text('pid')) }
    case 'unregister': {
      const scope = f.text('scope')
      if (scope !== 'consistent' && scope !== 'strong') throw new UnpackError('no scope of the log')
      return { kind, name: name(f), pid: f.has('pid') ? pid(f.text('pid')) : undefined, scope }
    }
    case 'strong-open':
      return { kind, name: name(f), pid: pid(f.text('pid')), ttlMs: span(f, 'ttlMs') }
    case 'strong-ack':
      return { kind, name: name(f), revision: f.count('revision'), sessions: f.counts('sessions') }
    case 'strong-reject': {
      const [session, holder] = [f.count('session'), pid(f.text('holder'))]
      return { kind, name: name(f), revision: f.count('revision'), session, holder }
    }
    case 'strong-abort':
      return { kind, name: name(f), revision: f.count('revision') }
    case 'lock-acquire':
      return { kind, name: name(f), pid: pid(f.text('pid')), waitMs: span(f, 'waitMs'), ttlMs: span(f, 'ttlMs') }
    case 'lock-release':
      return { kind, name: name(f), pid: pid(f.text('pid')), token: f.countOr('token', undefined) }
    case 'lock-renew':
      return { kind, name: name(f), pid: pid(f.text('pid')), token: f.count('token'), ttlMs: span(f, 'ttlMs') }
    case 'cancel':
      return { kind, seq: f.count('seq') }
    case 'kv':
      return { kind, command: commandOf(f.value('kv')) }
  }
}

function name(fields: Fields): string {
  const text = fields.text('name')
  if (!isName(text)) throw new UnpackError('not a name')
  return text
}

function pid(text: string): string {
  if (text.length > PID_UNITS_MAX || parsePid(text)?.node === undefined) throw new UnpackError('not the PID of a node')
  return text
}

function node(fields: Fields): string {
  const text = fields.text('node')
  if (text === '' || text.length > NODE_UNITS_MAX) throw new UnpackError('not the name of a node')
  return text
}

function short(text: string): string {
  if (text.length > NODE_UNITS_MAX) throw new UnpackError('a word is too long')
  return text
}

function span(fields: Fields, key: string): number {
  const ms = fields.count(key)
  if (ms > SPAN_MS_MAX) throw new UnpackError(`"${key}" is longer than a year`)
  return ms
}
