// Module `crypto`: random data, keyed digests, authenticated encryption, tokens, key derivation. lua-libraries.md §9.

import { createHmac, randomBytes, randomUUID, timingSafeEqual } from 'node:crypto'
import { toText } from '../runtime/base/bytes.ts'
import { MoonmeshError } from '../runtime/base/errors.ts'
import { floatValue, TableValue, type Value } from '../runtime/base/value.ts'
import type { Call, HostFunction, LuaTable, ModuleTable, Returns } from '../runtime/lua/engine.ts'
import type { LibraryModule } from '../runtime/services.ts'
import { AES_GCM, CHACHA20_POLY1305, type Cipher, decrypt, encrypt } from './crypto/ciphers.ts'
import { Derivations } from './crypto/derivations.ts'
import { DEFAULT_ALGORITHM, sign, type Unsigned, validityProblem, verify } from './crypto/jwt.ts'
import { randomString } from './crypto/random.ts'
import { integerArg, optionalString, processOf, stringArg, tableArg, toNumber } from './support/args.ts'
import { isList, toStored } from './support/convert.ts'
import { fail } from './support/fail.ts'
import { decodeJson, JsonSyntaxError } from './support/json-decode.ts'
import { encodeJson, JsonEncodeError } from './support/json-encode.ts'
import { engineMaker, markEmptyObject, neutralReader, type TableMaker } from './support/json-tables.ts'
import { awaitAlone } from './support/wait.ts'

const bytesOf = (text: string): Buffer => Buffer.from(text, 'latin1')

// ---- random

const RANDOM_BYTES_MAX = 1_048_576
const LETTERS_AND_DIGITS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'

function lengthProblem(length: number): string | undefined {
  if (length < 1) return 'length must be a positive integer'
  return length > RANDOM_BYTES_MAX ? `length exceeds maximum of ${RANDOM_BYTES_MAX} bytes` : undefined
}

const random: ModuleTable = {
  bytes: (call) => {
    const length = integerArg(call, 1, 'bytes')
    const problem = lengthProblem(length)
    return problem === undefined ? [randomBytes(length).toString('latin1'), undefined] : fail('Invalid', problem)
  },
  string: (call) => {
    const length = integerArg(call, 1, 'string')
    const given = call.arg(2)
    const charset = typeof given === 'string' ? given : LETTERS_AND_DIGITS
    const problem = lengthProblem(length) ?? (charset === '' ? 'charset cannot be empty' : undefined)
    return problem === undefined ? [randomString(length, charset), undefined] : fail('Invalid', problem)
  },
  uuid: () => [randomUUID(), undefined],
}

// ---- keyed digests

function keyedDigest(algorithm: string): HostFunction {
  return (call) => {
    const key = stringArg(call, 1, algorithm)
    const data = stringArg(call, 2, algorithm)
    if (key === '') return fail('Invalid', 'key cannot be empty')
    return [createHmac(algorithm, bytesOf(key)).update(bytesOf(data)).digest('hex'), undefined]
  }
}

// ---- encryption

const ciphers: readonly (readonly [name: string, cipher: Cipher])[] = [
  ['aes', AES_GCM],
  ['chacha20', CHACHA20_POLY1305],
]

function withCipher(run: (cipher: Cipher, data: string, key: string, aad: string) => Returns): ModuleTable {
  return Object.fromEntries(
    ciphers.map(([name, cipher]): [string, HostFunction] => [
      name,
      (call) => {
        const data = stringArg(call, 1, name)
        const key = stringArg(call, 2, name)
        const aad = optionalString(call, 3, name) ?? ''
        const problem = cipher.keyProblem(key.length)
        return problem === undefined ? run(cipher, data, key, aad) : fail('Invalid', problem)
      },
    ]),
  )
}

const encryption = withCipher((cipher, data, key, aad) => [encrypt(cipher, data, key, aad), undefined])

const decryption = withCipher((cipher, data, key, aad) => {
  const result = decrypt(cipher, data, key, aad)
  if (result.ok) return [result.data, undefined]
  return result.why === 'too-short'
    ? fail('Invalid', 'encrypted data too short')
    : fail('Internal', 'message authentication failed')
})

// ---- tokens

const HEADER_CLAIM = '_header'

function encodeToken(call: Call): Returns {
  const claims = tableArg(call, 1, 'encode')
  const key = stringArg(call, 2, 'encode')
  const algorithm = optionalString(call, 3, 'encode') ?? DEFAULT_ALGORITHM
  let unsigned: Unsigned
  try {
    const stored = toStored(call.engine, claims) as TableValue
    if (isList(stored)) return fail('Invalid', 'failed to convert payload to map: it is a list')
    unsigned = unsignedToken(stored)
  } catch (thrown) {
    if (!(thrown instanceof MoonmeshError || thrown instanceof JsonEncodeError)) throw thrown
    return fail('Invalid', `failed to convert payload to map: ${thrown.message}`)
  }
  return awaitAlone(call, async () => [await sign(unsigned, key, algorithm), undefined])
}

/** @throws JsonEncodeError */
function unsignedToken(claims: TableValue): Unsigned {
  const header = claims.get(HEADER_CLAIM)
  if (!(header instanceof TableValue) || isList(header)) return { payload: jsonOf(claims), header: {} }
  const isClaim = (key: Value): boolean => key !== HEADER_CLAIM
  const payload = new TableValue(
    [],
    claims.keys.filter(isClaim),
    claims.values.filter((_value, i) => isClaim(claims.keys[i])),
  )
  return { payload: jsonOf(payload), header: JSON.parse(toText(jsonOf(header))) }
}

function jsonOf(map: TableValue): string {
  markEmptyObject(map)
  return encodeJson(neutralReader, map)
}

function verifyToken(call: Call): Returns {
  const token = stringArg(call, 1, 'verify')
  const key = stringArg(call, 2, 'verify')
  const algorithm = optionalString(call, 3, 'verify') ?? DEFAULT_ALGORITHM
  const requiresExp = call.arg(4) !== false
  const { engine } = call
  const { env } = processOf(call)
  return awaitAlone(call, async () => {
    const payload = await verify(token, key, algorithm)
    let claims: LuaTable
    try {
      // The text may be anything that the holder of the key signed.
      if (!/^[ \t\r\n]*\{/.test(payload)) return fail('Internal', 'token is malformed: its claims are no object')
      claims = decodeJson(floatMaker(engineMaker(engine)), payload) as LuaTable
    } catch (thrown) {
      if (thrown instanceof JsonSyntaxError) return fail('Internal', `token is malformed: ${thrown.message}`)
      throw thrown
    }
    const claim = (name: string): unknown => {
      const value = engine.get(claims, name)
      return typeof value === 'string' ? value : (toNumber(value) ?? value)
    }
    const validity = { exp: claim('exp'), nbf: claim('nbf') }
    const problem = validityProblem(validity, requiresExp, env.wallMs() / 1000)
    return problem === undefined ? [claims, undefined] : fail('Internal', problem)
  })
}

/** Numbers in claims are floats, whole ones too. */
function floatMaker(maker: TableMaker): TableMaker {
  const asFloat = (value: unknown): unknown =>
    typeof value === 'number' || typeof value === 'bigint' ? floatValue(Number(value)) : value
  return { ...maker, set: (table, key, value) => maker.set(table, key, asFloat(value)) }
}

// ---- derivation

const ITERATIONS_MAX = 10_000_000
const KEY_BYTES_MAX = 1_048_576
/** Iterations for all blocks of a key together: half a minute or so. */
const WORK_MAX = 100_000_000
const HASH_BYTES = { sha256: 32, sha512: 64 } as const
type DerivationHash = keyof typeof HASH_BYTES

const isDerivationHash = (name: string): name is DerivationHash => Object.hasOwn(HASH_BYTES, name)

interface Asked {
  password: string
  salt: string
  iterations: number
  lengthBytes: number
  hash: string
}

function derivationProblem({ password, salt, iterations, lengthBytes, hash }: Asked): string | undefined {
  if (password === '') return 'password cannot be empty'
  if (salt === '') return 'salt cannot be empty'
  if (iterations < 1) return 'iterations must be positive'
  if (iterations > ITERATIONS_MAX) return `iterations exceeds maximum of ${ITERATIONS_MAX}`
  if (lengthBytes < 1) return 'key length must be positive'
  if (lengthBytes > KEY_BYTES_MAX) return `key length exceeds maximum of ${KEY_BYTES_MAX} bytes`
  if (!isDerivationHash(hash)) return 'unsupported hash function: use "sha256" or "sha512"'
  const work = iterations * Math.ceil(lengthBytes / HASH_BYTES[hash])
  return work > WORK_MAX ? `iterations exceeds maximum for a key of ${lengthBytes} bytes` : undefined
}

function derive(call: Call, derivations: Derivations): Returns {
  const asked: Asked = {
    password: stringArg(call, 1, 'pbkdf2'),
    salt: stringArg(call, 2, 'pbkdf2'),
    iterations: integerArg(call, 3, 'pbkdf2'),
    lengthBytes: integerArg(call, 4, 'pbkdf2'),
    hash: optionalString(call, 5, 'pbkdf2') ?? 'sha256',
  }
  const problem = derivationProblem(asked)
  if (problem !== undefined) return fail('Invalid', problem)
  const process = processOf(call)
  return awaitAlone(call, async () => {
    const key = await derivations.derive({
      password: bytesOf(asked.password),
      salt: bytesOf(asked.salt),
      iterations: asked.iterations,
      lengthBytes: asked.lengthBytes,
      hash: asked.hash as DerivationHash,
      isAbandoned: () => process.isEnding,
    })
    return [key.toString('latin1'), undefined]
  })
}

function constantTimeCompare(call: Call): Returns {
  const a = bytesOf(stringArg(call, 1, 'constant_time_compare'))
  const b = bytesOf(stringArg(call, 2, 'constant_time_compare'))
  return a.length === b.length && timingSafeEqual(a, b)
}

function build(): ModuleTable {
  const derivations = new Derivations()
  return {
    random,
    hmac: { sha256: keyedDigest('sha256'), sha512: keyedDigest('sha512') },
    encrypt: encryption,
    decrypt: decryption,
    jwt: { encode: encodeToken, verify: verifyToken },
    pbkdf2: (call) => derive(call, derivations),
    constant_time_compare: constantTimeCompare,
  }
}

export const cryptoModule: LibraryModule = {
  name: 'crypto',
  description: 'random data, keyed digests, encryption, tokens, key derivation',
  tags: ['security', 'nondeterministic', 'workflow'],
  build,
}
