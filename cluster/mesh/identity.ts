// What certificates prove: which node a peer is, whether it may be one, until when. The library's own verdict is not enough in
// either direction, so usages and names are checked here, and chains again where the library objects to any-usage. cluster.md §4.3.

import { createPrivateKey, X509Certificate } from 'node:crypto'
import type { DetailedPeerCertificate } from 'node:tls'
import { messageOf } from '../../runtime/base/errors.ts'
import type { Revocations } from './revocations.ts'

export const SERVER_AUTH = '1.3.6.1.5.5.7.3.1'
export const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2'
export const ANY_USAGE = '2.5.29.37.0'
const CHAIN_MAX = 8

/** PEM texts, as the files hold them. */
export interface CertificateFiles {
  readonly ca: string
  readonly cert: string
  readonly key: string
  readonly crl?: string
}

/** Files that were checked against each other. */
export interface CertificateMaterial {
  readonly files: CertificateFiles
  readonly authorities: readonly X509Certificate[]
  readonly revocations: Revocations | undefined
  /** Of this node's own certificate. */
  readonly notAfterMs: number
  readonly names: readonly string[]
}

/** Checks a node's own files. @returns the material, or what is wrong in words, everything at once */
export async function readMaterial(
  files: CertificateFiles,
  options: { nodeName: string; nowMs: number },
): Promise<{ ok: true; material: CertificateMaterial } | { ok: false; problems: readonly string[] }> {
  const problems: string[] = []
  const read = <T>(what: string, make: () => T): T | undefined => {
    try {
      return make()
    } catch (error) {
      problems.push(`${what} cannot be read: ${messageOf(error)}`)
      return undefined
    }
  }
  const authorities = read('tls.ca', () => readCertificates(files.ca)) ?? []
  const chain = read('tls.cert', () => readCertificates(files.cert)) ?? []
  const key = read('tls.key', () => createPrivateKey(files.key))
  const revocations = await loadRevocations(files.crl, authorities).catch((error: unknown) => {
    problems.push(`tls.crl cannot be read: ${messageOf(error)}`)
    return undefined
  })
  const [leaf] = chain
  if (leaf === undefined || authorities.length === 0) return { ok: false, problems }
  if (key !== undefined && !leaf.checkPrivateKey(key)) problems.push('tls.key is not the key of tls.cert')
  const { nodeName, nowMs } = options
  const chainProblem = checkChain(leaf, chain.slice(1), { authorities, revocations: undefined, nowMs })
  if (chainProblem !== undefined) problems.push(`tls.cert: ${chainProblem}`)
  const usageProblem = checkUsages(leaf)
  if (usageProblem !== undefined) problems.push(`tls.cert: ${usageProblem}`)
  const names = namesOf(leaf)
  if (!names.includes(nodeName)) {
    const found = names.length === 0 ? 'no name' : names.join(', ')
    problems.push(`tls.cert is for ${found}; the node name ${nodeName} is neither its CN nor one of its DNS names`)
  }
  if (problems.length > 0) return { ok: false, problems }
  return { ok: true, material: { files, authorities, revocations, notAfterMs: Date.parse(leaf.validTo), names } }
}

async function loadRevocations(
  text: string | undefined,
  authorities: readonly X509Certificate[],
): Promise<Revocations | undefined> {
  if (text === undefined) return undefined
  const { readRevocations } = await import('./revocations.ts')
  return readRevocations(text, authorities)
}

/** What a peer proved, or why it is not to be talked to. */
export type Proof =
  | { readonly ok: true; readonly names: readonly string[]; readonly notAfterMs: number }
  | { readonly ok: false; readonly reason: string }

/**
 * Judges the peer of a finished TLS handshake.
 * @param verdict the library's objection to the chain, undefined when it had none
 */
export function judgePeer(
  peer: DetailedPeerCertificate | undefined,
  verdict: string | undefined,
  material: CertificateMaterial,
  nowMs: number,
): Proof {
  if (peer?.raw === undefined) return { ok: false, reason: 'no certificate' }
  const chain = presentedChain(peer)
  const leaf = chain[0] as X509Certificate
  const who = namesOf(leaf).join(', ') || 'nobody'
  const refuse = (reason: string): Proof => ({ ok: false, reason: `certificate of ${who}: ${reason}` })
  if (verdict !== undefined) {
    if (verdict !== 'INVALID_PURPOSE') return refuse(describeVerdict(verdict))
    const { authorities, revocations } = material
    const problem = checkChain(leaf, chain.slice(1), { authorities, revocations, nowMs })
    if (problem !== undefined) return refuse(problem)
  }
  const problem = checkUsages(leaf)
  if (problem !== undefined) return refuse(problem)
  return { ok: true, names: namesOf(leaf), notAfterMs: Date.parse(leaf.validTo) }
}

/** CN and DNS names of a certificate. */
export function namesOf(certificate: X509Certificate): string[] {
  const names: string[] = []
  const commonName: unknown = certificate.toLegacyObject().subject?.CN
  for (const name of Array.isArray(commonName) ? commonName : [commonName]) {
    if (typeof name === 'string' && name !== '') names.push(name)
  }
  for (const name of dnsNames(certificate.subjectAltName ?? '')) if (!names.includes(name)) names.push(name)
  return names
}

/** The DNS names of node's text of a subjectAltName; a value with unusual characters comes quoted, and is no node name. */
export function dnsNames(text: string): string[] {
  const out: string[] = []
  const entry = /([^:,"]+):("(?:[^"\\]|\\.)*"|[^,"]*)(?:, |$)/y
  while (entry.lastIndex < text.length) {
    const match = entry.exec(text)
    // A form that is not understood could hide anything behind it.
    if (match === null) return []
    const [, kind, value = ''] = match
    if (kind === 'DNS' && !value.startsWith('"') && value !== '') out.push(value)
  }
  return out
}

/** Both ends listen and dial: both usages, or any. */
function checkUsages(leaf: X509Certificate): string | undefined {
  const usages: readonly string[] | undefined = leaf.keyUsage
  if (usages === undefined || usages.length === 0) {
    return 'it has no extended key usage; serverAuth and clientAuth are needed'
  }
  if (usages.includes(ANY_USAGE)) return undefined
  if (!usages.includes(SERVER_AUTH)) return 'its extended key usage lacks serverAuth'
  if (!usages.includes(CLIENT_AUTH)) return 'its extended key usage lacks clientAuth'
  return undefined
}

interface Trust {
  readonly authorities: readonly X509Certificate[]
  readonly revocations: Revocations | undefined
  readonly nowMs: number
}

/** Follows issuers up to an authority. @returns what is wrong with the chain */
function checkChain(leaf: X509Certificate, others: readonly X509Certificate[], trust: Trust): string | undefined {
  let certificate = leaf
  for (let depth = 0; depth < CHAIN_MAX; depth++) {
    const timeProblem = checkValidity(certificate, trust.nowMs)
    if (timeProblem !== undefined) return timeProblem
    if (depth > 0 && !certificate.ca) return 'it was issued by a certificate that is no authority'
    const { revocations } = trust
    if (revocations !== undefined) {
      if (revocations.nextUpdateMs < trust.nowMs) return 'the revocation list is out of date'
      if (revocations.isRevoked(certificate)) return 'it was revoked'
    }
    const anchor = trust.authorities.find((each) => isIssuedBy(certificate, each))
    if (anchor !== undefined) {
      if (!anchor.ca) return 'it was issued by a certificate that is no authority'
      return checkValidity(anchor, trust.nowMs)
    }
    const issuer = others.find((each) => each !== certificate && isIssuedBy(certificate, each))
    if (issuer === undefined) return 'no authority in tls.ca signed it'
    certificate = issuer
  }
  return 'its chain is too long'
}

function isIssuedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  try {
    return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey)
  } catch {
    return false
  }
}

function checkValidity(certificate: X509Certificate, nowMs: number): string | undefined {
  if (nowMs < Date.parse(certificate.validFrom)) return `it is not valid before ${certificate.validFrom}`
  if (nowMs > Date.parse(certificate.validTo)) return `it expired on ${certificate.validTo}`
  return undefined
}

function presentedChain(peer: DetailedPeerCertificate): X509Certificate[] {
  const chain: X509Certificate[] = []
  const seen = new Set<unknown>()
  for (
    let each = peer;
    each?.raw !== undefined && !seen.has(each) && chain.length < CHAIN_MAX;
    each = each.issuerCertificate
  ) {
    seen.add(each)
    chain.push(new X509Certificate(each.raw))
  }
  return chain
}

const VERDICTS: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: 'it has expired',
  CERT_NOT_YET_VALID: 'it is not valid yet',
  CERT_REVOKED: 'it was revoked',
  CRL_HAS_EXPIRED: 'the revocation list is out of date',
  UNABLE_TO_GET_CRL: 'tls.crl says nothing about its issuer',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'it is self-signed, not signed by tls.ca',
  SELF_SIGNED_CERT_IN_CHAIN: 'another authority than tls.ca signed it',
  UNABLE_TO_GET_ISSUER_CERT: 'no authority in tls.ca signed it',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'no authority in tls.ca signed it',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'no authority in tls.ca signed it',
}

function describeVerdict(verdict: string): string {
  const words = VERDICTS[verdict]
  return words === undefined ? verdict : `${words} (${verdict})`
}

const PEM = /-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g

/** All certificates of a PEM text. @throws when there is none or one is damaged */
export function readCertificates(text: string): X509Certificate[] {
  const blocks = text.match(PEM)
  if (blocks === null) throw new Error('no certificate in PEM found')
  return blocks.map((block) => new X509Certificate(block))
}

/** What `runtime cert show` prints of a certificate. */
export interface CertificateFacts {
  readonly subject: string
  readonly issuer: string
  readonly serialNumber: string
  readonly names: readonly string[]
  readonly usages: readonly string[]
  readonly notBeforeMs: number
  readonly notAfterMs: number
  readonly isAuthority: boolean
  readonly fingerprint: string
  /** Why the mesh would not take it as a node's certificate, chain and time aside. */
  readonly problem: string | undefined
}

const USAGE_WORDS: Readonly<Record<string, string>> = {
  [SERVER_AUTH]: 'serverAuth',
  [CLIENT_AUTH]: 'clientAuth',
  [ANY_USAGE]: 'anyExtendedKeyUsage',
}

/** @throws when the text holds no certificate */
export function describeCertificates(text: string): CertificateFacts[] {
  return readCertificates(text).map((certificate) => {
    const usages: readonly string[] = certificate.keyUsage ?? []
    return {
      subject: certificate.subject.replaceAll('\n', ', '),
      issuer: certificate.issuer.replaceAll('\n', ', '),
      serialNumber: certificate.serialNumber.toLowerCase(),
      names: namesOf(certificate),
      usages: usages.map((usage) => USAGE_WORDS[usage] ?? usage),
      notBeforeMs: Date.parse(certificate.validFrom),
      notAfterMs: Date.parse(certificate.validTo),
      isAuthority: certificate.ca,
      fingerprint: certificate.fingerprint256,
      problem: certificate.ca ? undefined : checkUsages(certificate),
    }
  })
}
