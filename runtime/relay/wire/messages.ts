// What the relays of two nodes say to each other. Each message is a list: its number, then its fields in a fixed order. cluster.md §10.1.

import { readMemoryLimit } from '../../base/memory-limit.ts'
import type { Value } from '../../base/value.ts'
import { ErrorValue, TableValue } from '../../base/value.ts'
import type { ProcessQuestion, Reply, SpawnRequest, Telling } from '../../process/port.ts'
import type { Identity } from '../../security/core/policies.ts'
import type { Outcome } from '../../services.ts'
import type { Undelivered } from '../core/route.ts'
import { type ValueReader, type ValueWriter, WireError } from './values.ts'

/** `pid`, which `from` took to be who has the name, is not there. cluster.md §10.4 */
export interface Undeliverable {
  readonly pid: string
  /** Who sent. */
  readonly from: string
  readonly why: Undelivered
  readonly name: string
  /** What was said; undefined: it did not fit. */
  readonly message: { readonly topic: string; readonly values: readonly Value[] } | undefined
}

/** To or from another node. Only spawns are answered; what cannot be delivered comes back as what it means to the asker. */
export type PeerMessage =
  | ProcessQuestion
  | Telling
  /** `code`: the hash of the code that must run; absent when any will do. */
  | { kind: 'spawn'; ref: number; request: SpawnRequest; code?: string }
  | Reply
  | { kind: 'ended'; ref: number; outcome: Outcome }
  | { kind: 'abandon'; ref: number }
  | ({ kind: 'undeliverable' } & Undeliverable)

const SEND = 0
const MONITOR = 1
const UNMONITOR = 2
const LINK = 3
const UNLINK = 4
const CANCEL = 5
const TERMINATE = 6
const EXIT = 7
const LINK_DOWN = 8
const SPAWN = 9
const REPLY = 10
const ENDED = 11
const ABANDON = 12
const SEND_NAMED = 13
const UNLINK_ACK = 14
const UNDELIVERABLE = 15

const WHYS: readonly Undelivered[] = ['noproc', 'stale_epoch']

const MESSAGES_MAX = 1024

/** @throws WireError when a value cannot be sent */
export function writePeerMessage(out: ValueWriter, message: PeerMessage): void {
  switch (message.kind) {
    case 'send':
      if (message.name === undefined) out.fields(5).number(SEND)
      else out.fields(6).number(SEND_NAMED).text(message.name)
      out.text(message.to).text(message.from).text(message.topic)
      out.list(message.values, (value) => out.value(value))
      return
    case 'monitor':
      return writeNumbered(out, MONITOR, message)
    case 'unmonitor':
      return writeNumbered(out, UNMONITOR, message)
    case 'link':
      return writePair(out, LINK, message)
    case 'unlink':
      return writeNumbered(out, UNLINK, message)
    case 'unlink-ack':
      return writeNumbered(out, UNLINK_ACK, message)
    case 'terminate':
      return writePair(out, TERMINATE, message)
    case 'cancel':
      out.fields(4).number(CANCEL).text(message.to).text(message.from).text(message.reason)
      return
    case 'down': {
      const { event, to, from, outcome, atMs, id = 0 } = message
      out
        .fields(7)
        .number(event === 'exit' ? EXIT : LINK_DOWN)
        .text(to)
        .text(from)
        .number(id)
        .number(atMs)
      return writeOutcome(out, outcome)
    }
    case 'spawn':
      out.fields(4).number(SPAWN).number(message.ref).text(message.code)
      return writeRequest(out, message.request)
    case 'reply':
      out.fields(4).number(REPLY).number(message.ref)
      return writeOutcome(out, message)
    case 'ended':
      out.fields(4).number(ENDED).number(message.ref)
      return writeOutcome(out, message.outcome)
    case 'abandon':
      out.fields(2).number(ABANDON).number(message.ref)
      return
    case 'undeliverable': {
      const { pid, from, why, name, message: said } = message
      out.fields(7).number(UNDELIVERABLE).text(pid).text(from).number(WHYS.indexOf(why)).text(name).text(said?.topic)
      out.list(said?.values ?? [], (value) => out.value(value))
    }
  }
}

function writeNumbered(
  out: ValueWriter,
  code: number,
  { to, from, id = 0 }: { to: string; from: string; id?: number },
): void {
  out.fields(4).number(code).text(to).text(from).number(id)
}

function writePair(out: ValueWriter, code: number, { to, from }: { to: string; from: string }): void {
  out.fields(3).number(code).text(to).text(from)
}

/** Two fields. */
function writeOutcome(out: ValueWriter, outcome: Outcome): void {
  out.flag(outcome.ok).value(outcome.ok ? outcome.value : outcome.error)
}

function writeRequest(out: ValueWriter, request: SpawnRequest): void {
  const { host, entryId, args, from, monitor, link, name, messages, context, identity, wantsEnd } = request
  const { memoryLimitBytes } = request
  // A node of an earlier version refuses a limit rather than to leave it out.
  out
    .fields(memoryLimitBytes === undefined ? 11 : 12)
    .text(host)
    .text(entryId)
  out.list(args, (value) => out.value(value))
  out.text(from).flag(monitor).flag(link).text(name)
  out.list(messages, ({ topic, values }) => {
    out.fields(2).text(topic)
    out.list(values, (value) => out.value(value))
  })
  out.value(context)
  writeIdentity(out, identity)
  out.flag(wantsEnd)
  if (memoryLimitBytes !== undefined) out.number(memoryLimitBytes)
}

function writeIdentity(out: ValueWriter, identity: Identity | undefined): void {
  if (identity === undefined) {
    out.value(undefined)
    return
  }
  const { actor, scope } = identity
  out.fields(3).text(actor?.id).value(actor?.meta)
  if (scope === undefined) out.value(undefined)
  else out.list(scope, (id) => out.text(id))
}

/** Reads the next message. @throws WireError for bytes that are none */
export function readPeerMessage(reader: ValueReader): PeerMessage {
  const count = reader.next().fields()
  const code = reader.number()
  const message = readFields(reader, code)
  if (count !== FIELDS[code]) throw new WireError('a message with other fields')
  return message
}

/** How many a message has, by its number. */
const FIELDS = [5, 4, 4, 3, 4, 4, 3, 7, 7, 4, 4, 4, 2, 6, 4, 7]

function readFields(reader: ValueReader, code: number): PeerMessage {
  switch (code) {
    case SEND: {
      const [to, from, topic] = [reader.text(), reader.text(), reader.text()]
      return { kind: 'send', to, from, topic, values: reader.list(() => reader.value()) }
    }
    case SEND_NAMED: {
      const [name, to, from, topic] = [reader.text(), reader.text(), reader.text(), reader.text()]
      return { kind: 'send', to, from, topic, values: reader.list(() => reader.value()), name }
    }
    case MONITOR:
      return { kind: 'monitor', ...readPair(reader), ...readId(reader) }
    case UNMONITOR:
      return { kind: 'unmonitor', ...readPair(reader), ...readId(reader) }
    case LINK:
      return { kind: 'link', ...readPair(reader) }
    case UNLINK:
      return { kind: 'unlink', ...readPair(reader), ...readId(reader) }
    case UNLINK_ACK:
      return { kind: 'unlink-ack', id: 0, ...readPair(reader), ...readId(reader) }
    case TERMINATE:
      return { kind: 'terminate', ...readPair(reader) }
    case CANCEL:
      return { kind: 'cancel', ...readPair(reader), reason: reader.text() }
    case EXIT:
    case LINK_DOWN: {
      const pair = { ...readPair(reader), ...readId(reader) }
      const atMs = reader.number()
      return { kind: 'down', event: code === EXIT ? 'exit' : 'link-down', ...pair, atMs, outcome: readOutcome(reader) }
    }
    case SPAWN: {
      const [ref, code] = [reader.number(), reader.textOrNil()]
      const request = readRequest(reader)
      return { kind: 'spawn', ref, request, ...(code === undefined ? {} : { code }) }
    }
    case REPLY:
      return { kind: 'reply', ref: reader.number(), ...readOutcome(reader) }
    case ENDED:
      return { kind: 'ended', ref: reader.number(), outcome: readOutcome(reader) }
    case ABANDON:
      return { kind: 'abandon', ref: reader.number() }
    case UNDELIVERABLE:
      return { kind: 'undeliverable', ...readUndeliverable(reader) }
    default:
      throw new WireError('a message of an unknown kind')
  }
}

function readPair(reader: ValueReader): { to: string; from: string } {
  const to = reader.text()
  return { to, from: reader.text() }
}

/** 0 stands for none. */
function readId(reader: ValueReader): { id?: number } {
  const id = reader.number()
  if (!Number.isSafeInteger(id) || id < 0) throw new WireError('expected the number of a pair')
  return id === 0 ? {} : { id }
}

function readUndeliverable(reader: ValueReader): Undeliverable {
  const [pid, from] = [reader.text(), reader.text()]
  const why = WHYS[reader.number()]
  if (why === undefined) throw new WireError('undeliverable for an unknown reason')
  const name = reader.text()
  const topic = reader.textOrNil()
  const values = reader.list(() => reader.value())
  return { pid, from, why, name, message: topic === undefined ? undefined : { topic, values } }
}

function readOutcome(reader: ValueReader): Outcome {
  const ok = reader.flag()
  const value = reader.value()
  if (ok) return { ok, value }
  if (!(value instanceof ErrorValue)) throw new WireError('expected an error')
  return { ok, error: value }
}

function readRequest(reader: ValueReader): SpawnRequest {
  const fieldCount = reader.fields()
  if (fieldCount !== 11 && fieldCount !== 12) throw new WireError('a spawn with other fields')
  const host = reader.text()
  const entryId = reader.text()
  const args = reader.list(() => reader.value())
  const from = reader.text()
  const monitor = reader.flag()
  const link = reader.flag()
  const name = reader.textOrNil()
  const messages = reader.list(() => {
    if (reader.fields() !== 2) throw new WireError('a first message with other fields')
    const topic = reader.text()
    return { topic, values: reader.list(() => reader.value()) }
  })
  if (messages.length > MESSAGES_MAX) throw new WireError(`more than ${MESSAGES_MAX} first messages`)
  const context = readTable(reader)
  const identity = readIdentity(reader)
  const wantsEnd = reader.flag()
  // Functions run as processes only for the node that they belong to.
  const allowsFunction = false
  const limit = fieldCount === 12 ? { memoryLimitBytes: readLimit(reader) } : {}
  return {
    ...{ host, entryId, args, from, monitor, link, name, messages, context, identity, wantsEnd, allowsFunction },
    ...limit,
  }
}

function readLimit(reader: ValueReader): number {
  const bytes = reader.number()
  if (readMemoryLimit(bytes) === undefined) throw new WireError('a spawn with no limit of memory')
  return bytes
}

function readIdentity(reader: ValueReader): Identity | undefined {
  if (reader.isNil()) return undefined
  if (reader.fields() !== 3) throw new WireError('an identity with other fields')
  const id = reader.textOrNil()
  const meta = reader.value()
  if (meta !== undefined && !(meta instanceof TableValue)) throw new WireError('expected the meta of an actor')
  return {
    actor: id === undefined ? undefined : { id, meta: meta ?? new TableValue() },
    scope: reader.isNil() ? undefined : reader.list(() => reader.text()),
  }
}

function readTable(reader: ValueReader): TableValue {
  const value = reader.value()
  if (!(value instanceof TableValue)) throw new WireError('expected a table')
  return value
}
