import 'reflect-metadata'
import { createPrivateKey, webcrypto } from 'node:crypto'
import { X509CrlGenerator, X509Certificate as X509Source } from '@peculiar/x509'
import type { Issued } from '../../cluster/mesh/certificates.ts'

const DAY_MS = 86_400_000
const HOUR_MS = 3_600_000
/** What `createAuthority` signs with. */
const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }

/** A list of certificates that are not to be believed any more, PEM. @param serialNumbers hex, as `runtime cert show` prints them */
export async function createRevocationList(options: {
  authority: Issued
  serialNumbers: readonly string[]
  days: number
  nowMs: number
}): Promise<string> {
  const { authority, serialNumbers, days, nowMs } = options
  const der = createPrivateKey(authority.keyPem).export({ type: 'pkcs8', format: 'der' })
  const list = await X509CrlGenerator.create({
    issuer: new X509Source(authority.certPem).subjectName,
    thisUpdate: new Date(nowMs - HOUR_MS),
    nextUpdate: new Date(nowMs + days * DAY_MS),
    entries: serialNumbers.map((serialNumber) => ({ serialNumber, revocationDate: new Date(nowMs) })),
    signingKey: await webcrypto.subtle.importKey('pkcs8', der, ALGORITHM, false, ['sign']),
    signingAlgorithm: ALGORITHM,
  })
  // OpenSSL reads lists under this label only.
  return `${list.toString('pem').replaceAll(/(BEGIN|END) CRL/g, '$1 X509 CRL')}\n`
}
