// Keys that gossip is encrypted with, as people write them. No message shows a key or a part of it. cluster.md §2.1.

import { GOSSIP_KEY_BYTES, GOSSIP_KEYS_MAX } from '../swim/wire/keyring.ts'

const MAKE_ONE = '`runtime keygen` makes one'

/** Base64, standard or url-safe, with or without padding, of 16, 24 or 32 bytes. */
export function parseGossipKey(text: string): { value: Uint8Array } | { why: string } {
  const [, digits, padding] = /^([A-Za-z0-9+/_-]*)(={0,2})$/.exec(text.trim()) ?? []
  const isWhole = digits !== undefined && digits.length % 4 !== 1
  const isPadded = padding === '' || ((digits?.length ?? 0) + (padding?.length ?? 0)) % 4 === 0
  if (!isWhole || !isPadded) return { why: `a gossip key is written in base64, and this is none; ${MAKE_ONE}` }
  // Node's decoder takes both alphabets.
  const key = new Uint8Array(Buffer.from(digits, 'base64'))
  if (GOSSIP_KEY_BYTES.includes(key.length)) return { value: key }
  return { why: `a gossip key has 16, 24 or 32 bytes, this one has ${key.length}; ${MAKE_ONE}` }
}

/** The keys of `membership.secret_file`: the first line is the primary, further ones only decrypt. Empty lines do not count. */
export function parseKeyFile(text: string): { value: readonly Uint8Array[] } | { why: string } {
  const keys: Uint8Array[] = []
  for (const [i, line] of text.split('\n').entries()) {
    if (line.trim() === '') continue
    if (keys.length === GOSSIP_KEYS_MAX) return { why: `it holds more than ${GOSSIP_KEYS_MAX} keys` }
    const parsed = parseGossipKey(line)
    if ('why' in parsed) return { why: `line ${i + 1}: ${parsed.why}` }
    keys.push(parsed.value)
  }
  return keys.length === 0 ? { why: `it holds no key; ${MAKE_ONE}` } : { value: keys }
}
