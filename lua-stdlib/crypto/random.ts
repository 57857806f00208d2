// Random texts over a set of bytes, each as likely as the others.

import { randomBytes } from 'node:crypto'

const WORD_BYTES = 4
const WORDS = 2 ** (8 * WORD_BYTES)
/** Words drawn at a time. */
const BATCH = 16_384

/** `length` bytes of `charset` (not empty), as a byte string. Words beyond the last whole multiple of its size are drawn again. */
export function randomString(length: number, charset: string): string {
  const limit = WORDS - (WORDS % charset.length)
  const out = Buffer.allocUnsafe(length)
  let filled = 0
  while (filled < length) {
    const words = randomBytes(Math.min(BATCH, length - filled) * WORD_BYTES)
    for (let at = 0; at < words.length; at += WORD_BYTES) {
      const word = words.readUInt32LE(at)
      if (word < limit) out[filled++] = charset.charCodeAt(word % charset.length)
    }
  }
  return out.toString('latin1')
}
