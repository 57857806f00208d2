// A frame as the scheduler sees it: one chunk of one message of one class. cluster.md §4.4.

import { isResumed } from './classes.ts'

export const FIRST = 1
export const LAST = 2
export const COMPRESSED = 4

export interface Frame {
  readonly classId: number
  readonly flags: number
  /** Number of the message, on the first chunk in a resumed class; else 0. */
  readonly seq: number
  /** Length of the whole message; written on the first chunk. */
  readonly messageBytes: number
  readonly payload: Uint8Array
}

export const HEADER_BYTES = 8
const SEQ_BYTES = 6
const MESSAGE_LENGTH_BYTES = 4

/** What stands before the message on the first chunk. */
export const prefixBytes = (classId: number): number =>
  isResumed(classId) ? SEQ_BYTES + MESSAGE_LENGTH_BYTES : MESSAGE_LENGTH_BYTES

/** What a frame takes on the wire. */
export const frameBytes = ({ classId, flags, payload }: Frame): number =>
  HEADER_BYTES + ((flags & FIRST) === 0 ? 0 : prefixBytes(classId)) + payload.length
