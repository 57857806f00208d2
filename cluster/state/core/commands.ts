// The commands of the replicated state machine and their form in the log. An entry holds an array of them; each is a map with its
// version, so that a later form is told from an earlier one. cluster.md §5.11, §6.2, §7. Appended to, never renumbered.

import { isPackedMap, type Packed, pack, UnpackError, unpack } from '../../../runtime/base/msgpack.ts'
import { parsePid } from '../../../runtime/base/pid.ts'
import { Fields } from './fields.ts'
import type { GlobalScope } from './outcomes.ts'

export type Command =
  | { readonly kind: 'node-up'; readonly node: string; readonly epoch: number; readonly role: string }
  | { readonly kind: 'node-down'; readonly node: string; readonly session: number; readonly reason: string }
  | { readonly kind: 'proc-down'; readonly pids: readonly string[] }
  | { readonly kind: 'register'; readonly name: string; readonly pid: string }
  /** Without a PID: whoever owns it. */
  | {
      readonly kind: 'unregister'
      readonly name: string
      readonly pid?: string | undefined
      readonly scope: GlobalScope
    }
  | { readonly kind: 'strong-open'; readonly name: string; readonly pid: string; readonly ttlMs: number }
  | {
      readonly kind: 'strong-ack'
      readonly name: string
      readonly revision: number
      readonly sessions: readonly number[]
    }
  | {
      readonly kind: 'strong-reject'
      readonly name: string
      readonly revision: number
      readonly session: number
      readonly holder: string
    }
  | { readonly kind: 'strong-abort'; readonly name: string; readonly revision: number }
  /** `waitMs` 0: fail fast. `ttlMs` 0: until released. */
  | {
      readonly kind: 'lock-acquire'
      readonly name: string
      readonly pid: string
      readonly waitMs: number
      readonly ttlMs: number
    }
  /** Without a token: whichever grant. */
  | { readonly kind: 'lock-release'; readonly name: string; readonly pid: string; readonly token?: number | undefined }
  | {
      readonly kind: 'lock-renew'
      readonly name: string
      readonly pid: string
      readonly token: number
      readonly ttlMs: number
    }
  /** Ends the waiting of an earlier request of the same session. */
  | { readonly kind: 'lock-cancel'; readonly seq: number }

/** Who asks. Session 0: the leader or a node without a session, for commands that are idempotent by themselves. */
export interface Envelope {
  readonly session: number
  /** From 1, rising within the session. */
  readonly seq: number
  /** The smallest seq that the submitter has not got an answer for. */
  readonly floor: number
  readonly command: Command
}

const VERSION = 1
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
  'lock-cancel',
]
/** Commands that carry their own identity and need no session. */
const SESSIONLESS: ReadonlySet<Command['kind']> = new Set([
  'node-up',
  'node-down',
  'strong-ack',
  'strong-reject',
  'strong-abort',
])
const NAME_BYTES_MAX = 255
const PID_UNITS_MAX = 1024
const NODE_UNITS_MAX = 128
const PIDS_MAX = 4096
/** No wait and no lease is longer, so that no expiry leaves the safe integers. */
const SPAN_MS_MAX = 366 * 24 * 3600 * 1000
const encoder = new TextEncoder()

/** Whether every scope takes this name: 1..255 bytes of UTF-8, no control characters, no PID and no topic. cluster.md §6.1. */
export function isName(text: string): boolean {
  if (text === '' || text.length > NAME_BYTES_MAX || text[0] === '{' || text[0] === '@') return false
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    if (unit < 0x20 || (unit >= 0x7f && unit < 0xa0)) return false
  }
  return encoder.encode(text).length <= NAME_BYTES_MAX
}

export function encodeCommands(envelopes: readonly Envelope[]): Uint8Array {
  return pack(
    envelopes.map(({ session, seq, floor, command: { kind, ...rest } }) => ({
      v: VERSION,
      k: NUMBERS.indexOf(kind),
      s: session,
      q: seq,
      f: floor,
      c: rest as { readonly [key: string]: Packed | undefined },
    })),
  )
}

/**
 * The leader calls this before it appends, so that nothing ill-formed ever reaches the log.
 * @throws UnpackError saying what is wrong
 */
export function decodeCommands(bytes: Uint8Array): Envelope[] {
  const list = unpack(bytes)
  if (!Array.isArray(list)) throw new UnpackError('commands are no array')
  return (list as readonly Packed[]).map(decodeEnvelope)
}

function decodeEnvelope(value: Packed): Envelope {
  const fields = new Fields(value)
  if (fields.count('v') !== VERSION) throw new UnpackError(`a command of version ${fields.count('v')}`)
  const kind = NUMBERS[fields.count('k')]
  if (kind === undefined) throw new UnpackError(`command number ${fields.count('k')} is unknown`)
  const body = fields.map('c')
  const envelope = {
    session: fields.count('s'),
    seq: fields.count('q'),
    floor: fields.count('f'),
    command: decodeCommand(kind, new Fields(body)),
  }
  if (envelope.session === 0 ? !SESSIONLESS.has(kind) : envelope.seq < 1 || envelope.floor > envelope.seq) {
    throw new UnpackError(`${kind}: session, seq and floor do not fit together`)
  }
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
    case 'lock-cancel':
      return { kind, seq: f.count('seq') }
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

export function isOutcomeMap(value: Packed): boolean {
  return isPackedMap(value) && typeof value['status'] === 'string'
}
