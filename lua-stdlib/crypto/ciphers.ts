// Authenticated encryption: AES-GCM (NIST SP 800-38D) and ChaCha20-Poly1305 (RFC 8439). A ciphertext is one byte string: a random nonce of 12
// bytes, the encrypted data, a tag of 16 bytes.

import { type CipherGCMTypes, createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'

const NONCE_BYTES = 12
const TAG_BYTES = 16

export interface Cipher {
  /** What is wrong with a key of this many bytes. */
  keyProblem(byteCount: number): string | undefined
  /** The name under which OpenSSL knows it. */
  algorithm(keyByteCount: number): CipherGCMTypes
}

export const AES_GCM: Cipher = {
  keyProblem: (count) => (count === 16 || count === 24 || count === 32 ? undefined : 'key must be 16, 24, or 32 bytes'),
  algorithm: (count) => `aes-${(count * 8) as 128 | 192 | 256}-gcm`,
}

export const CHACHA20_POLY1305: Cipher = {
  keyProblem: (count) => (count === 32 ? undefined : 'key must be 32 bytes'),
  // Node's types know its GCM ciphers only, but it takes tag and associated data of this one the same way.
  algorithm: () => 'chacha20-poly1305' as CipherGCMTypes,
}

const bytesOf = (text: string): Buffer => Buffer.from(text, 'latin1')

/** All texts are byte strings; the key must have no problem. */
export function encrypt(cipher: Cipher, data: string, key: string, aad: string): string {
  const nonce = randomBytes(NONCE_BYTES)
  const box = createCipheriv(cipher.algorithm(key.length), bytesOf(key), nonce, { authTagLength: TAG_BYTES })
  box.setAAD(bytesOf(aad))
  return Buffer.concat([nonce, box.update(bytesOf(data)), box.final(), box.getAuthTag()]).toString('latin1')
}

type Decrypted = { ok: true; data: string } | { ok: false; why: 'too-short' | 'not-authentic' }

export function decrypt(cipher: Cipher, sealed: string, key: string, aad: string): Decrypted {
  const bytes = bytesOf(sealed)
  if (bytes.length < NONCE_BYTES) return { ok: false, why: 'too-short' }
  if (bytes.length < NONCE_BYTES + TAG_BYTES) return { ok: false, why: 'not-authentic' }
  const nonce = bytes.subarray(0, NONCE_BYTES)
  const box = createDecipheriv(cipher.algorithm(key.length), bytesOf(key), nonce, { authTagLength: TAG_BYTES })
  box.setAAD(bytesOf(aad))
  box.setAuthTag(bytes.subarray(bytes.length - TAG_BYTES))
  const start = box.update(bytes.subarray(NONCE_BYTES, bytes.length - TAG_BYTES))
  try {
    return { ok: true, data: Buffer.concat([start, box.final()]).toString('latin1') }
  } catch {
    // The one failure that `final` has; what was decrypted is dropped.
    return { ok: false, why: 'not-authentic' }
  }
}
