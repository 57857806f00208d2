// The messages of process groups as modern msgpack. Byte strings travel as text, a character a byte, so that any name survives. What a
// peer sends is read strictly: a wrong shape is an error of the message, and nothing of it is used. cluster.md §9.2, §9.3.

import { type Packed, pack, UnpackError, unpack, unpackAt } from '../../../runtime/base/msgpack.ts'
import type { Delta, FullState, Op, PgMessage, PullAnswer, PullRequest } from '../core/messages.ts'
import { GROUP_BYTES_MAX, PID_BYTES_MAX, SLOTS_PER_NODE_MAX } from '../core/settings.ts'

export const HELLO = 'pg.hello'
export const DELTA = 'pg.delta'
export const NONE = 'pg.none'
export const PULL = 'pg.pull'

const SCOPE_BYTES_MAX = 512
const TOPIC_BYTES_MAX = 65_536

/** A one-way message as its method and body. @param scope id of the entry */
export function encodeMessage(scope: string, message: PgMessage): { method: string; body: Uint8Array } {
  switch (message.kind) {
    case 'hello':
      return { method: HELLO, body: pack([scope, message.run, message.seq, message.isReply]) }
    case 'delta':
      return {
        method: DELTA,
        body: pack([scope, message.run, message.seq, message.changes.map((ops) => ops.map(packOp))]),
      }
    case 'none':
      return { method: NONE, body: pack([scope]) }
  }
}

/** @returns undefined for a method that is none of ours  @throws UnpackError */
export function decodeMessage(method: string, body: Uint8Array): { scope: string; message: PgMessage } | undefined {
  if (method !== HELLO && method !== DELTA && method !== NONE) return undefined
  const [scopeItem, ...items] = listOf(unpack(body))
  const scope = textOf(scopeItem, SCOPE_BYTES_MAX)
  switch (method) {
    case HELLO: {
      const [run, seq, isReply] = items
      if (typeof isReply !== 'boolean') throw new UnpackError('not a boolean')
      return { scope, message: { kind: 'hello', run: countOf(run), seq: countOf(seq), isReply } }
    }
    case DELTA: {
      const [run, seq, changes] = items
      return {
        scope,
        message: { kind: 'delta', run: countOf(run), seq: countOf(seq), changes: listOf(changes).map(opsOf) },
      }
    }
    case NONE:
      return { scope, message: { kind: 'none' } }
  }
}

export function encodePull(scope: string, { run, have }: PullRequest): Uint8Array {
  return pack([scope, run, have ?? null])
}

/** @throws UnpackError */
export function decodePull(body: Uint8Array): { scope: string; request: PullRequest } {
  const [scope, run, have] = listOf(unpack(body))
  return {
    scope: textOf(scope, SCOPE_BYTES_MAX),
    request: { run: countOf(run), have: have === null ? undefined : countOf(have) },
  }
}

export function encodeAnswer(answer: PullAnswer): Uint8Array {
  if (answer.kind === 'deltas') {
    return pack([0, answer.run, answer.deltas.map(({ seq, ops }) => [seq, ops.map(packOp)])])
  }
  return pack([1, answer.run, answer.seq, answer.state.map(({ group, pids }) => [group, pids])])
}

/** @throws UnpackError */
export function decodeAnswer(body: Uint8Array): PullAnswer {
  const [kind, run, ...items] = listOf(unpack(body))
  if (kind === 0) {
    const deltas = listOf(items[0]).map((item): Delta => {
      const [seq, ops] = listOf(item)
      return { seq: countOf(seq), ops: opsOf(ops) }
    })
    return { kind: 'deltas', run: countOf(run), deltas }
  }
  if (kind !== 1) throw new UnpackError('no answer to a pull')
  const [seq, groups] = items
  const state: FullState = listOf(groups).map((item) => {
    const [group, pids] = listOf(item)
    return { group: textOf(group, GROUP_BYTES_MAX), pids: pidsOf(pids) }
  })
  return { kind: 'full', run: countOf(run), seq: countOf(seq), state }
}

/**
 * A broadcast to the processes of one node: a head, the list of PIDs, and the payload, which is the sender's own encoding and the same for
 * every node. The list is the same from one broadcast of a group to the next, so both ends may keep it.
 */
export interface BroadcastFrame {
  readonly scope: string
  readonly topic: string
  /** PID of the sender, empty when it has none. */
  readonly from: string
  /** How often each process gets it, as `encodePids` makes it. */
  readonly pids: Uint8Array
  readonly payload: Uint8Array
}

export const encodePids = (pids: readonly (readonly [string, number])[]): Uint8Array => pack(pids)

/** Once for every slot. @throws UnpackError */
export function decodePids(bytes: Uint8Array): string[] {
  const pids: string[] = []
  for (const [pid, count] of pidsOf(unpack(bytes))) for (let i = 0; i < count; i++) pids.push(pid)
  return pids
}

export function encodeBroadcast({ scope, topic, from, pids, payload }: BroadcastFrame): Uint8Array {
  const head = pack([scope, topic, from, pids.length])
  const out = new Uint8Array(head.length + pids.length + payload.length)
  out.set(head)
  out.set(pids, head.length)
  out.set(payload, head.length + pids.length)
  return out
}

/** List and payload are views of `bytes`. @throws UnpackError */
export function decodeBroadcast(bytes: Uint8Array): BroadcastFrame {
  const { value, end } = unpackAt(bytes, 0)
  const [scope, topic, from, length] = listOf(value)
  const payloadAt = end + countOf(length)
  if (payloadAt > bytes.length) throw new UnpackError('ends too early')
  return {
    scope: textOf(scope, SCOPE_BYTES_MAX),
    topic: textOf(topic, TOPIC_BYTES_MAX),
    from: textOf(from, PID_BYTES_MAX),
    pids: bytes.subarray(end, payloadAt),
    payload: bytes.subarray(payloadAt),
  }
}

function packOp({ sign, group, pid, count }: Op): Packed {
  return [sign, group, pid, count]
}

function opsOf(value: Packed | undefined): Op[] {
  return listOf(value).map((item): Op => {
    const [sign, group, pid, count] = listOf(item)
    if (sign !== 1 && sign !== -1) throw new UnpackError('neither a join nor a leave')
    return { sign, group: textOf(group, GROUP_BYTES_MAX), pid: textOf(pid, PID_BYTES_MAX), count: slotsOf(count) }
  })
}

function pidsOf(value: Packed | undefined): (readonly [string, number])[] {
  let slots = 0
  return listOf(value).map((item) => {
    const [pid, count] = listOf(item)
    slots += slotsOf(count)
    // A few bytes must not become millions of deliveries.
    if (slots > SLOTS_PER_NODE_MAX) throw new UnpackError('too many slots')
    return [textOf(pid, PID_BYTES_MAX), slotsOf(count)] as const
  })
}

function listOf(value: Packed | undefined): readonly Packed[] {
  if (!Array.isArray(value)) throw new UnpackError('not a list')
  return value
}

function countOf(value: Packed | undefined): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0)
    throw new UnpackError('not a whole number')
  return value
}

function slotsOf(value: Packed | undefined): number {
  const count = countOf(value)
  if (count < 1 || count > SLOTS_PER_NODE_MAX) throw new UnpackError('not a number of slots')
  return count
}

function textOf(value: Packed | undefined, bytesMax: number): string {
  if (typeof value !== 'string' || value.length > bytesMax) throw new UnpackError('not a short string')
  for (let i = 0; i < value.length; i++) if (value.charCodeAt(i) > 255) throw new UnpackError('not bytes')
  return value
}
