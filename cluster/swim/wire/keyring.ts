// Encryption of gossip: AES-GCM under one primary key, and a ring of keys that can still be read. cluster.md §3.5.

import { createCipheriv, createDecipheriv, randomBytes, timingSafeEqual } from 'node:crypto'
import { MoonmeshError } from '../../../runtime/base/errors.ts'
import { DecodeError, DecryptError } from './decode-error.ts'

const NONCE_BYTES = 12
const TAG_BYTES = 16
const BLOCK_BYTES = 16
/** Keys that one ring holds. */
export const GOSSIP_KEYS_MAX = 16
/** Lengths that a key may have. */
export const GOSSIP_KEY_BYTES: readonly number[] = [16, 24, 32]
const HEADER_BYTES = 1 + NONCE_BYTES

/** 0 pads the plaintext to blocks (protocol 1), 1 leaves it as it is. */
export type EncryptionVersion = 0 | 1

/** What encryption adds at most to a packet. */
export const ENCRYPT_OVERHEAD: Record<EncryptionVersion, number> = {
  0: HEADER_BYTES + BLOCK_BYTES + TAG_BYTES,
  1: HEADER_BYTES + TAG_BYTES,
}

export class Keyring {
  /** Invariant: not empty; the first is the primary. */
  #keys: Buffer[] = []

  /**
   * @param primary 16, 24 or 32 bytes; encrypts and decrypts
   * @param others keys that only decrypt
   * @throws MoonmeshError `Invalid` for a key of another length, or more than 16 keys
   */
  constructor(primary: Uint8Array, others: readonly Uint8Array[] = []) {
    this.add(primary)
    for (const key of others) this.add(key)
  }

  get primary(): Buffer {
    return this.#keys[0] as Buffer
  }

  get keys(): readonly Buffer[] {
    return this.#keys
  }

  /** Makes a key readable; it does not encrypt yet. A known key stays where it is. */
  add(key: Uint8Array): void {
    if (!GOSSIP_KEY_BYTES.includes(key.length)) {
      throw new MoonmeshError('Invalid', `a gossip key has 16, 24 or 32 bytes, not ${key.length}`)
    }
    if (this.#indexOf(key) !== -1) return
    if (this.#keys.length === GOSSIP_KEYS_MAX)
      throw new MoonmeshError('LimitExceeded', `a key ring holds ${GOSSIP_KEYS_MAX} keys`)
    this.#keys.push(Buffer.from(key))
  }

  /** Makes a key of the ring the one that encrypts. @throws MoonmeshError `NotFound` */
  use(key: Uint8Array): void {
    const at = this.#indexOf(key)
    if (at === -1) throw new MoonmeshError('NotFound', 'the key is not in the ring; add it first')
    const [chosen] = this.#keys.splice(at, 1)
    this.#keys.unshift(chosen as Buffer)
  }

  /** Forgets a key. @throws MoonmeshError `Conflict` for the primary */
  remove(key: Uint8Array): void {
    const at = this.#indexOf(key)
    if (at === 0)
      throw new MoonmeshError('Conflict', 'the primary key cannot be removed; make another one primary first')
    if (at > 0) this.#keys.splice(at, 1)
  }

  #indexOf(key: Uint8Array): number {
    return this.#keys.findIndex((known) => known.length === key.length && timingSafeEqual(known, key))
  }
}

/** Encrypts with the primary key. @param nonce 12 bytes that are never used twice with one key; drawn when absent */
export function encrypt(
  keyring: Keyring,
  plain: Uint8Array,
  options: { version: EncryptionVersion; additionalData: Uint8Array; nonce?: Uint8Array },
): Buffer {
  const { version, additionalData, nonce = randomBytes(NONCE_BYTES) } = options
  const key = keyring.primary
  const cipher = createCipheriv(cipherName(key), key, nonce, { authTagLength: TAG_BYTES })
  cipher.setAAD(additionalData)
  const pieces = [Buffer.of(version), nonce, cipher.update(plain)]
  if (version === 0) {
    const pad = BLOCK_BYTES - (plain.length % BLOCK_BYTES)
    pieces.push(cipher.update(Buffer.alloc(pad, pad)))
  }
  pieces.push(cipher.final(), cipher.getAuthTag())
  return Buffer.concat(pieces)
}

/** Bytes that `encrypt` makes of `plainBytes`. */
export function encryptedLength(version: EncryptionVersion, plainBytes: number): number {
  const pad = version === 0 ? BLOCK_BYTES - (plainBytes % BLOCK_BYTES) : 0
  return HEADER_BYTES + plainBytes + pad + TAG_BYTES
}

/** Tries every key of the ring, the primary first. @throws DecodeError when none fits */
export function decrypt(keyring: Keyring, sealed: Buffer, additionalData: Uint8Array): Buffer {
  const version = sealed[0]
  if (version !== 0 && version !== 1) throw new DecryptError('not encrypted, or by an unknown version')
  if (sealed.length < ENCRYPT_OVERHEAD[version]) throw new DecryptError('too short to be encrypted')
  const nonce = sealed.subarray(1, HEADER_BYTES)
  const body = sealed.subarray(HEADER_BYTES, -TAG_BYTES)
  const tag = sealed.subarray(-TAG_BYTES)
  for (const key of keyring.keys) {
    const plain = open(key, nonce, body, tag, additionalData)
    if (plain !== undefined) return version === 0 ? unpad(plain) : plain
  }
  throw new DecryptError('no key of the ring decrypts it')
}

function open(key: Buffer, nonce: Buffer, body: Buffer, tag: Buffer, additionalData: Uint8Array): Buffer | undefined {
  const decipher = createDecipheriv(cipherName(key), key, nonce, { authTagLength: TAG_BYTES })
  decipher.setAAD(additionalData)
  decipher.setAuthTag(tag)
  const plain = decipher.update(body)
  try {
    // GCM gives nothing more here; this is where a wrong key or a changed byte is found out.
    decipher.final()
    return plain
  } catch {
    return undefined
  }
}

function unpad(plain: Buffer): Buffer {
  const pad = plain[plain.length - 1] ?? 0
  if (pad < 1 || pad > BLOCK_BYTES || pad > plain.length) throw new DecodeError('the padding is malformed')
  return plain.subarray(0, -pad)
}

function cipherName(key: Buffer): 'aes-128-gcm' {
  return `aes-${key.length * 8}-gcm` as 'aes-128-gcm'
}
