// What certificates prove: which node a peer is, whether it may be one, until when. The library's own verdict is not enough in
// either direction, so usages and names are checked here, and chains again where the library objects to any-usage. cluster.md §4.3.

import { X509Certificate } from 'node:crypto'
import type { DetailedPeerCertificate } from 'node:tls'
import { messageOf } from '../../runtime/base/errors.ts'
import { checkTls } from '../config/tls-files.ts'
import {
  ANY_USAGE,
  CLIENT_AUTH,
  certificatesIn,
  chainOf,
  namesOf,
  SERVER_AUTH,
  usageProblem,
  validityProblem,
} from '../x509.ts'
import type { Revocations } from './revocations.ts'

const PRESENTED_MAX = 10

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
  const pem = { ...files, crl: files.crl }
  const problems = checkTls(pem, options).map(({ file, message }) => `tls.${file}: ${message}`)
  if (problems.length > 0) return { ok: false, problems }
  const authorities = certificatesIn(files.ca)
  let revocations: Revocations | undefined
  try {
    revocations = await loadRevocations(files.crl, authorities)
  } catch (error) {
    return { ok: false, problems: [`tls.crl: ${messageOf(error)}`] }
  }
  const [leaf] = certificatesIn(files.cert) as [X509Certificate]
  const notAfterMs = Date.parse(leaf.validTo)
  return { ok: true, material: { files, authorities, revocations, notAfterMs, names: namesOf(leaf) } }
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
type Proof =
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
    const problem = chainProblem(chain as [X509Certificate], material, nowMs)
    if (problem !== undefined) return refuse(problem)
  }
  const problem = usageProblem(leaf)
  if (problem !== undefined) return refuse(`it ${problem}`)
  return { ok: true, names: namesOf(leaf), notAfterMs: Date.parse(leaf.validTo) }
}

/** What is wrong with what a peer presented, its leaf first. */
function chainProblem(
  [leaf, ...between]: readonly [X509Certificate, ...X509Certificate[]],
  { authorities: anchors, revocations }: CertificateMaterial,
  nowMs: number,
): string | undefined {
  const timeProblem = validityProblem(leaf, nowMs)
  if (timeProblem !== undefined) return `it ${timeProblem}`
  const found = chainOf(leaf, { anchors, between, nowMs })
  if (!Array.isArray(found)) {
    switch (found.kind) {
      case 'invalid-time':
        return `one that issued it ${validityProblem(found.certificate, nowMs)}`
      case 'no-authority':
        return 'it was issued by a certificate that is no authority'
      case 'unknown-issuer':
        return 'no authority in tls.ca signed it'
    }
  }
  if (revocations === undefined) return undefined
  if (revocations.nextUpdateMs < nowMs) return 'the revocation list is out of date'
  // The last one has signed itself: whom nobody issued nobody revokes.
  return found.slice(0, Math.max(1, found.length - 1)).some((each) => revocations.isRevoked(each))
    ? 'it was revoked'
    : undefined
}

function presentedChain(peer: DetailedPeerCertificate): X509Certificate[] {
  const chain: X509Certificate[] = []
  const seen = new Set<unknown>()
  for (
    let each = peer;
    each?.raw !== undefined && !seen.has(each) && chain.length < PRESENTED_MAX;
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
  const certificates = certificatesIn(text)
  if (certificates.length === 0) throw new Error('no certificate in PEM found')
  return certificates.map((certificate) => {
    const usages: readonly string[] = certificate.keyUsage ?? []
    const usage = usageProblem(certificate)
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
      problem: certificate.ca || usage === undefined ? undefined : `it ${usage}`,
    }
  })
}
