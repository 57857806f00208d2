// The little of serf's protocol that lets serf agents show our nodes as left rather than failed. cluster.md §3.10.

import type { Message } from '../core/messages.ts'
import { DecodeError } from './decode-error.ts'
import { Reader, type Writer } from './msgpack.ts'

const LEAVE = 0
const JOIN = 1
const PUSH_PULL = 2
const KEYS_MAX = 64
const STATUS_NODES_MAX = 65_535
const NAME_BYTES_MAX = 512

export function encodeSerfLeave(out: Writer, message: { lTime: number; node: string }): void {
  out.u8(LEAVE).mapHeader(3)
  out.raw('LTime').uint(message.lTime).raw('Node').raw(message.node).raw('Prune').bool(false)
}

/** Any message of serf in a user packet, for its member clock. @throws DecodeError */
export function decodeSerf(bytes: Buffer): Message {
  const reader = new Reader(bytes)
  const type = reader.u8()
  // Only join and leave intents carry the clock of member states; events and queries count on their own.
  if (type !== LEAVE && type !== JOIN) return { kind: 'serf', lTime: 0 }
  let lTime = 0
  let node = ''
  reader.map(KEYS_MAX, (key) => {
    if (key === 'LTime') lTime = reader.uint(Number.MAX_SAFE_INTEGER)
    else if (key === 'Node') node = reader.raw(NAME_BYTES_MAX) ?? ''
    else return false
    return true
  })
  return type === LEAVE ? { kind: 'serf-leave', lTime, node } : { kind: 'serf', lTime }
}

/** The state that opens the user state of a push/pull; it also names the sender. */
export function encodeSerfState(out: Writer, state: { lTime: number; node: string }): void {
  out.u8(PUSH_PULL).mapHeader(6)
  out.raw('EventLTime').uint(1).raw('Events').nil()
  out.raw('LTime').uint(state.lTime).raw('LeftMembers').arrayHeader(0).raw('QueryLTime').uint(1)
  out.raw('StatusLTimes').mapHeader(1).raw(state.node).uint(state.lTime)
}

/** Whether a user state begins with serf's. */
export function isSerfState(first: number): boolean {
  return first === PUSH_PULL
}

/**
 * Reads past a leading serf state. Exactly one status time means that the sender is one of ours and names itself.
 * @throws DecodeError
 */
export function readSerfState(reader: Reader): { lTime: number; sender?: string } {
  if (reader.u8() !== PUSH_PULL) throw new DecodeError('expected the state of serf')
  let lTime = 0
  let only: string | undefined
  reader.map(KEYS_MAX, (key) => {
    if (key === 'LTime') lTime = reader.uint(Number.MAX_SAFE_INTEGER)
    else if (key === 'StatusLTimes') {
      const count = reader.mapHeader(STATUS_NODES_MAX)
      for (let i = 0; i < count; i++) {
        const name = reader.raw(NAME_BYTES_MAX)
        reader.uint(Number.MAX_SAFE_INTEGER)
        if (count === 1) only = name
      }
    } else return false
    return true
  })
  return { lTime, ...(only === undefined ? {} : { sender: only }) }
}
