// JSON Web Tokens (RFC 7519), signed in the compact form of RFC 7515. Which key is read, and how, follows from the algorithm that the caller
// names; a token's header only has to agree, so that no token chooses how it is verified.

import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto'
import { toText } from '../../runtime/base/bytes.ts'
import { MoonmeshError, messageOf } from '../../runtime/base/errors.ts'

export const DEFAULT_ALGORITHM = 'HS256'
const ALGORITHMS = ['HS256', 'HS384', 'HS512', 'RS256'] as const
type Algorithm = (typeof ALGORITHMS)[number]

const isAlgorithm = (name: string): name is Algorithm => (ALGORITHMS as readonly string[]).includes(name)

/** Of a name in a token's header, in an error message. */
const NAME_SHOWN_MAX = 32

/** RFC 7518 §3.3 allows no less. */
const RSA_BITS_MIN = 2048

const invalid = (text: string): MoonmeshError => new MoonmeshError('Invalid', text, { retryable: false })
const refused = (text: string): MoonmeshError => new MoonmeshError('Internal', text, { retryable: false })

export interface Unsigned {
  /** JSON text in UTF-8, as a byte string. */
  readonly payload: string
  /** Beside `alg` and `typ`; `alg` cannot be set here. */
  readonly header: Readonly<Record<string, unknown>>
}

/**
 * The token. A name that is no algorithm means HS256.
 * @param key a byte string: the secret, or for RS256 a private key in PEM
 * @throws MoonmeshError `Invalid` for a key or header that cannot be used
 */
export async function sign({ payload, header }: Unsigned, key: string, algorithmName: string): Promise<string> {
  const alg = isAlgorithm(algorithmName) ? algorithmName : DEFAULT_ALGORITHM
  const signingKey = alg === 'RS256' ? rsaKey(key, 'private') : secret(key)
  // Loaded with the first token: most scripts need none.
  const { CompactSign, errors } = await import('jose')
  try {
    return await new CompactSign(Buffer.from(payload, 'latin1'))
      .setProtectedHeader({ typ: 'JWT', ...header, alg })
      .sign(signingKey)
  } catch (thrown) {
    if (thrown instanceof errors.JOSEError) throw invalid(`the header cannot be used: ${thrown.message}`)
    throw thrown
  }
}

/**
 * The payload of a token whose signature is right: JSON text in UTF-8, as a byte string.
 * @param key a byte string: the secret, or for RS256 a public key or certificate in PEM
 * @throws MoonmeshError `Invalid` for a key that cannot be used, `Internal` for a token that is refused
 */
export async function verify(token: string, key: string, algorithmName: string): Promise<string> {
  if (!isAlgorithm(algorithmName)) {
    throw refused(`signing method ${toText(algorithmName)} is invalid: there are ${ALGORITHMS.join(', ')}`)
  }
  const verificationKey = algorithmName === 'RS256' ? rsaKey(key, 'public') : secret(key)
  const { compactVerify, decodeProtectedHeader, errors } = await import('jose')
  try {
    const { payload } = await compactVerify(token, verificationKey, { algorithms: [algorithmName] })
    return Buffer.from(payload).toString('latin1')
  } catch (thrown) {
    if (thrown instanceof errors.JWSSignatureVerificationFailed) throw refused('signature is invalid')
    if (thrown instanceof errors.JOSEAlgNotAllowed) {
      const named = decodeProtectedHeader(token).alg?.slice(0, NAME_SHOWN_MAX)
      throw refused(`signing method ${named} is invalid: expected ${algorithmName}`)
    }
    throw refused(`token is malformed: ${messageOf(thrown)}`)
  }
}

function secret(key: string): Uint8Array {
  if (key === '') throw invalid('key cannot be empty')
  return Buffer.from(key, 'latin1')
}

/** PEM of the kind asked for and no other: where a public key is wanted, a private one is a mistake. */
function rsaKey(pem: string, kind: 'private' | 'public'): KeyObject {
  const key = parsePem(pem, kind)
  if (key?.asymmetricKeyType !== 'rsa') throw invalid(`invalid RSA ${kind} key: expected ${PEM_FORMS[kind]}`)
  const bits = key.asymmetricKeyDetails?.modulusLength ?? 0
  if (bits < RSA_BITS_MIN)
    throw invalid(`invalid RSA ${kind} key: it has ${bits} bits, at least ${RSA_BITS_MIN} are needed`)
  return key
}

const PEM_FORMS = {
  private: 'an unencrypted private key in PEM (PKCS#1 or PKCS#8)',
  public: 'a public key or certificate in PEM',
}

function parsePem(pem: string, kind: 'private' | 'public'): KeyObject | undefined {
  try {
    if (kind === 'private') return createPrivateKey(pem)
    return /-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(pem) ? undefined : createPublicKey(pem)
  } catch {
    return undefined
  }
}

/** What a token says of when it may be used. */
interface Validity {
  readonly exp: unknown
  readonly nbf: unknown
}

/**
 * @param nowS seconds since 1970
 * @returns why the token is refused. `exp` is the first moment at which it is too late, `nbf` the first at which it is not too early
 */
export function validityProblem({ exp, nbf }: Validity, requiresExp: boolean, nowS: number): string | undefined {
  for (const [name, value] of [
    ['exp', exp],
    ['nbf', nbf],
  ]) {
    if (value !== undefined && typeof value !== 'number') return `token is malformed: ${name} must be a number`
  }
  if (exp === undefined && requiresExp) return 'exp claim is required'
  if (typeof exp === 'number' && nowS >= exp) return 'token is expired'
  if (typeof nbf === 'number' && nowS < nbf) return 'token is not valid yet'
  return undefined
}
