// The label header that keeps clusters on one network apart: a marker byte, a length, the label. cluster.md §3.3, §3.4.

import { DecodeError, TruncatedError } from './decode-error.ts'
import { MessageType } from './messages.ts'

/** Bytes that a label adds to every packet. */
export function labelOverhead(label: Uint8Array): number {
  return label.length === 0 ? 0 : 2 + label.length
}

/** The header; empty for an empty label. */
export function labelHeader(label: Uint8Array): Buffer {
  return label.length === 0 ? Buffer.alloc(0) : Buffer.concat([Buffer.of(MessageType.label, label.length), label])
}

/** Where the content begins, once the label was found to be the expected one. @throws DecodeError */
export function passLabel(bytes: Buffer, expected: Uint8Array): number {
  if (bytes.length === 0) throw new TruncatedError(1)
  if (bytes[0] !== MessageType.label) {
    if (expected.length > 0) throw new DecodeError('the label is missing')
    return 0
  }
  if (bytes.length < 2) throw new TruncatedError(2)
  const length = bytes[1] as number
  if (length === 0) throw new DecodeError('the label is empty')
  if (bytes.length < 2 + length) throw new TruncatedError(2 + length)
  if (!bytes.subarray(2, 2 + length).equals(expected)) throw new DecodeError('the label is another one')
  return 2 + length
}
