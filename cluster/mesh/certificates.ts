// Makes certificates for the mesh: an authority, node certificates with both usages and the node's name. Used by
// `runtime cert`; a running node only reads (identity.ts). cluster.md §2.3, §4.3.

import 'reflect-metadata'
import { createPrivateKey, type KeyObject, randomBytes, webcrypto, X509Certificate } from 'node:crypto'
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsageExtension,
  type Extension,
  type JsonGeneralName,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
  X509Certificate as X509Source,
} from '@peculiar/x509'
import { MoonmeshError } from '../../runtime/base/errors.ts'
import { CLIENT_AUTH, SERVER_AUTH } from '../x509.ts'

/** A certificate and its private key, both PEM; the key is PKCS #8 and not encrypted. */
export interface Issued {
  readonly certPem: string
  readonly keyPem: string
}

const DAY_MS = 86_400_000
/** Clocks of other machines may be slow. */
const BACKDATE_MS = 3_600_000
const KEY_ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
const SERIAL_BYTES = 16
const NODE_NAME = /^[A-Za-z0-9](?:[A-Za-z0-9.-]{0,126}[A-Za-z0-9])?$/

/** A self-signed authority whose only use is to sign node certificates and revocation lists. */
export async function createAuthority(options: { commonName: string; days: number; nowMs: number }): Promise<Issued> {
  const keys = await newKeys()
  const certificate = await X509CertificateGenerator.createSelfSigned({
    serialNumber: newSerial(),
    name: [{ CN: [options.commonName] }],
    ...validity(options),
    keys,
    signingAlgorithm: KEY_ALGORITHM,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  })
  return { certPem: pem(certificate.toString('pem')), keyPem: await exportKey(keys.privateKey) }
}

export interface IssueOptions {
  readonly authority: Issued
  /** Goes into CN and the DNS names. */
  readonly nodeName: string
  /** Further DNS names and addresses; the mesh does not look at them. */
  readonly dnsNames?: readonly string[]
  readonly ipAddresses?: readonly string[]
  readonly days: number
  readonly nowMs: number
  /** Extended key usages; both that the mesh asks for unless told otherwise. */
  readonly usages?: readonly string[]
}

/** @throws MoonmeshError `Invalid` for a name that no node can have or an authority that cannot sign */
export async function issueCertificate(options: IssueOptions): Promise<Issued> {
  const { nodeName, authority, usages = [SERVER_AUTH, CLIENT_AUTH] } = options
  if (!NODE_NAME.test(nodeName)) {
    throw new MoonmeshError(
      'Invalid',
      `node name '${nodeName}': 1 to 128 of A-Z a-z 0-9 . - are allowed, letters or digits at both ends`,
    )
  }
  const issuer = await signer(authority)
  const keys = await newKeys()
  const names: JsonGeneralName[] = [nodeName, ...(options.dnsNames ?? [])].map((value) => ({ type: 'dns', value }))
  for (const value of options.ipAddresses ?? []) names.push({ type: 'ip', value })
  const extensions: Extension[] = [
    new BasicConstraintsExtension(false, undefined, true),
    new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
    new SubjectAlternativeNameExtension(names),
    await SubjectKeyIdentifierExtension.create(keys.publicKey),
    await AuthorityKeyIdentifierExtension.create(issuer.certificate.publicKey),
  ]
  if (usages.length > 0) extensions.push(new ExtendedKeyUsageExtension([...usages]))
  const certificate = await X509CertificateGenerator.create({
    serialNumber: newSerial(),
    subject: [{ CN: [nodeName] }],
    issuer: issuer.certificate.subjectName,
    ...validity(options),
    publicKey: keys.publicKey,
    signingKey: issuer.key,
    signingAlgorithm: issuer.algorithm,
    extensions,
  })
  return { certPem: pem(certificate.toString('pem')), keyPem: await exportKey(keys.privateKey) }
}

async function signer(authority: Issued): Promise<{
  certificate: X509Source
  key: webcrypto.CryptoKey
  algorithm: { name: string; hash?: string; namedCurve?: string }
}> {
  let checked: X509Certificate
  let key: KeyObject
  try {
    checked = new X509Certificate(authority.certPem)
    key = createPrivateKey(authority.keyPem)
  } catch (cause) {
    throw new MoonmeshError('Invalid', 'the authority is not a certificate and its key in PEM', { cause })
  }
  if (!checked.ca) throw new MoonmeshError('Invalid', 'the certificate is no authority: it may not sign others')
  if (!checked.checkPrivateKey(key)) throw new MoonmeshError('Invalid', 'the key is not that of the authority')
  const algorithm = algorithmOf(key)
  const der = key.export({ type: 'pkcs8', format: 'der' })
  const imported = await webcrypto.subtle.importKey('pkcs8', der, algorithm, false, ['sign'])
  return { certificate: new X509Source(authority.certPem), key: imported, algorithm }
}

const CURVES: Readonly<Record<string, { namedCurve: string; hash: string }>> = {
  prime256v1: { namedCurve: 'P-256', hash: 'SHA-256' },
  secp384r1: { namedCurve: 'P-384', hash: 'SHA-384' },
  secp521r1: { namedCurve: 'P-521', hash: 'SHA-512' },
}

function algorithmOf(key: KeyObject): { name: string; hash: string; namedCurve?: string } {
  if (key.asymmetricKeyType === 'rsa') return { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' }
  const curve = CURVES[key.asymmetricKeyDetails?.namedCurve ?? '']
  if (key.asymmetricKeyType === 'ec' && curve !== undefined) return { name: 'ECDSA', ...curve }
  throw new MoonmeshError(
    'Invalid',
    `a key of type ${key.asymmetricKeyType} cannot sign here; use RSA or P-256, P-384, P-521`,
  )
}

function validity({ days, nowMs }: { days: number; nowMs: number }): { notBefore: Date; notAfter: Date } {
  return { notBefore: new Date(nowMs - BACKDATE_MS), notAfter: new Date(nowMs + days * DAY_MS) }
}

async function newKeys(): Promise<webcrypto.CryptoKeyPair> {
  return (await webcrypto.subtle.generateKey(KEY_ALGORITHM, true, ['sign', 'verify'])) as webcrypto.CryptoKeyPair
}

async function exportKey(key: webcrypto.CryptoKey): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key))
  return createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
    .export({ type: 'pkcs8', format: 'pem' })
    .toString()
}

function newSerial(): string {
  const bytes = randomBytes(SERIAL_BYTES)
  // Positive and without a leading zero, as DER wants integers.
  bytes[0] = ((bytes[0] as number) & 0x3f) | 0x40
  return bytes.toString('hex')
}

function pem(text: string): string {
  return text.endsWith('\n') ? text : `${text}\n`
}
