// Module `hash`: digests, keyed digests and FNV. lua-libraries.md §8.

import { createHash, createHmac } from 'node:crypto'
import { Float } from '../runtime/base/value.ts'
import type { Call, HostFunction, Returns } from '../runtime/lua/engine.ts'
import type { LibraryModule } from '../runtime/services.ts'
import { fail } from './support/fail.ts'

const ALGORITHMS = ['md5', 'sha1', 'sha256', 'sha512'] as const

const bytesOf = (text: string): Buffer => Buffer.from(text, 'latin1')

/** Hexadecimal, or the bytes themselves when the last argument is neither nil nor false. */
function shown(call: Call, rawIndex: number, digest: Buffer): Returns {
  const raw = call.arg(rawIndex)
  const isRaw = raw !== undefined && raw !== false
  return [digest.toString(isRaw ? 'latin1' : 'hex'), undefined]
}

function digest(algorithm: string): HostFunction {
  return (call) => {
    const data = call.arg(1)
    if (typeof data !== 'string') return fail('Invalid', 'data must be a string')
    return shown(call, 2, createHash(algorithm).update(bytesOf(data)).digest())
  }
}

function keyed(algorithm: string): HostFunction {
  return (call) => {
    const data = call.arg(1)
    const secret = call.arg(2)
    if (typeof data !== 'string') return fail('Invalid', 'data must be a string')
    if (typeof secret !== 'string') return fail('Invalid', 'secret must be a string')
    return shown(call, 3, createHmac(algorithm, bytesOf(secret)).update(bytesOf(data)).digest())
  }
}

/** FNV-1: multiply, then xor. http://www.isthe.com/chongo/tech/comp/fnv/ */
function fnv32(call: Call): Returns {
  const data = call.arg(1)
  if (typeof data !== 'string') return fail('Invalid', 'data must be a string')
  let hash = 0x811c9dc5
  for (let i = 0; i < data.length; i++) hash = (Math.imul(hash, 0x01000193) ^ data.charCodeAt(i)) >>> 0
  return [hash, undefined]
}

const FNV64_OFFSET = { high: 0xcbf29ce4, low: 0x84222325 }
/** The prime is 2^40 and this. */
const FNV64_PRIME_LOW = 0x1b3
const WORD = 2 ** 32

/** A float: what is below its precision is rounded. */
function fnv64(call: Call): Returns {
  const data = call.arg(1)
  if (typeof data !== 'string') return fail('Invalid', 'data must be a string')
  let { high, low } = FNV64_OFFSET
  for (let i = 0; i < data.length; i++) {
    const product = low * FNV64_PRIME_LOW
    high = (high * FNV64_PRIME_LOW + Math.floor(product / WORD) + ((low << 8) >>> 0)) >>> 0
    low = ((product >>> 0) ^ data.charCodeAt(i)) >>> 0
  }
  return [new Float(Number((BigInt(high) << 32n) | BigInt(low))), undefined]
}

export const hashModule: LibraryModule = {
  name: 'hash',
  description: 'digests, keyed digests, FNV',
  tags: ['encoding', 'security', 'deterministic'],
  build: () => ({
    ...Object.fromEntries(ALGORITHMS.map((algorithm) => [algorithm, digest(algorithm)])),
    ...Object.fromEntries(ALGORITHMS.map((algorithm) => [`hmac_${algorithm}`, keyed(algorithm)])),
    fnv32,
    fnv64,
  }),
}
