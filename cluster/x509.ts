// What is read off certificates: names, usages, times, who issued whom. A node's own files (config/tls-files.ts) and what peers show
// (mesh/identity.ts) are held to the same rules. cluster.md §4.3.

import { X509Certificate } from 'node:crypto'

export const SERVER_AUTH = '1.3.6.1.5.5.7.3.1'
export const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2'
export const ANY_USAGE = '2.5.29.37.0'
const CHAIN_MAX = 10
const PEM = /-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g

/** All certificates of a PEM text, none if there are none. @throws when one is damaged */
export function certificatesIn(text: string): X509Certificate[] {
  return (text.match(PEM) ?? []).map((block) => new X509Certificate(block))
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

/** Nodes listen and dial: both usages, or any. */
export function usageProblem(certificate: X509Certificate): string | undefined {
  // Node calls the extended key usages this.
  const usages = certificate.keyUsage as readonly string[] | undefined
  if (usages === undefined || usages.length === 0) return 'has no extended key usage'
  if (usages.includes(ANY_USAGE)) return undefined
  if (!usages.includes(SERVER_AUTH)) return 'lacks serverAuth among its extended key usages'
  if (!usages.includes(CLIENT_AUTH)) return 'lacks clientAuth among its extended key usages'
  return undefined
}

export function validityProblem(certificate: X509Certificate, nowMs: number): string | undefined {
  if (nowMs > Date.parse(certificate.validTo)) return `expired on ${certificate.validTo}`
  return nowMs < Date.parse(certificate.validFrom) ? `is not valid before ${certificate.validFrom}` : undefined
}

interface Trust {
  /** Those of the CA file. */
  readonly anchors: readonly X509Certificate[]
  /** Those that came with the leaf. */
  readonly between: readonly X509Certificate[]
  readonly nowMs: number
}

/** What is wrong with a certificate on the way from a leaf to the CA. */
interface ChainProblem {
  readonly kind: 'invalid-time' | 'no-authority' | 'unknown-issuer'
  readonly certificate: X509Certificate
}

/**
 * Follows the issuers up to a certificate of the CA file that has signed itself, as the TLS library does. The times of the leaf itself are not
 * looked at.
 * @returns the chain with its leaf first, or what is wrong with it
 */
export function chainOf(leaf: X509Certificate, { anchors, between, nowMs }: Trust): X509Certificate[] | ChainProblem {
  const known = [...anchors, ...between]
  const chain = [leaf]
  for (let certificate = leaf; chain.length <= CHAIN_MAX; ) {
    const isAnchor = anchors.some((anchor) => anchor.fingerprint256 === certificate.fingerprint256)
    if (isAnchor && isIssuedBy(certificate, certificate)) return chain
    const issuer = known.find(
      (each) => each.fingerprint256 !== certificate.fingerprint256 && isIssuedBy(certificate, each),
    )
    if (issuer === undefined) return { kind: 'unknown-issuer', certificate }
    if (validityProblem(issuer, nowMs) !== undefined) return { kind: 'invalid-time', certificate: issuer }
    if (!issuer.ca) return { kind: 'no-authority', certificate: issuer }
    chain.push(issuer)
    certificate = issuer
  }
  return { kind: 'unknown-issuer', certificate: leaf }
}

function isIssuedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  try {
    return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey)
  } catch {
    // A key of a kind that cannot verify has not signed it.
    return false
  }
}
