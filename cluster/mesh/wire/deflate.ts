// Compression of whole messages: raw deflate (RFC 1951), bounded on both sides because it happens on the thread that beats the heart.

import { deflateRawSync, inflateRawSync } from 'node:zlib'
import { ProtocolError } from './protocol-error.ts'

/** Messages outside of these bounds are sent as they are. */
const PLAIN_BYTES_MIN = 1024
const PLAIN_BYTES_MAX = 1024 * 1024
const LEVEL = 1

/** The compressed form, or undefined when it is not worth it. */
export function deflate(bytes: Uint8Array): Uint8Array | undefined {
  if (bytes.length < PLAIN_BYTES_MIN || bytes.length > PLAIN_BYTES_MAX) return undefined
  const out = deflateRawSync(bytes, { level: LEVEL })
  return out.length < bytes.length ? out : undefined
}

/** @throws ProtocolError */
export function inflate(bytes: Uint8Array): Uint8Array {
  if (bytes.length > PLAIN_BYTES_MAX) throw new ProtocolError('compressed message over the limit')
  try {
    return inflateRawSync(bytes, { maxOutputLength: PLAIN_BYTES_MAX })
  } catch {
    throw new ProtocolError('compressed message damaged or over the limit')
  }
}
