// Whether a certificate, its key and the CA belong together and will pass the checks that peers make. cluster.md §2.1, §4.3.

import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import { createSecureContext } from 'node:tls'
import { messageOf } from '../../runtime/base/errors.ts'

/** Contents of the files, PEM. */
export interface TlsPem {
  readonly ca: string
  /** The leaf first; certificates between it and the CA may follow. */
  readonly cert: string
  readonly key: string
  readonly crl: string | undefined
}

export interface TlsProblem {
  readonly file: 'ca' | 'cert' | 'key' | 'crl'
  readonly message: string
}

const CERTIFICATES_MAX = 64
const CHAIN_MAX = 10
const SERVER_AUTH = '1.3.6.1.5.5.7.3.1'
const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2'
const ANY_USAGE = '2.5.29.37.0'
const MAKE_ONE = '`runtime cert issue` makes a right one'

/**
 * Everything that is wrong with a set of files; empty when a node may use it.
 * @param options.nowMs wall-clock milliseconds
 */
export function checkTls(pem: TlsPem, options: { nodeName: string; nowMs: number }): TlsProblem[] {
  const problems: TlsProblem[] = []
  const anchors = certificatesIn('ca', pem.ca, problems)
  const [leaf, ...between] = certificatesIn('cert', pem.cert, problems) ?? []
  const key = privateKey(pem.key, problems)
  if (leaf !== undefined) {
    if (key !== undefined && !leaf.checkPrivateKey(key)) {
      problems.push({ file: 'key', message: 'this is not the key of the certificate' })
    }
    const messages = [usageProblem(leaf), nameProblem(leaf, options.nodeName), dateProblem(leaf, options.nowMs)]
    for (const message of messages) if (message !== '') problems.push({ file: 'cert', message })
    if (anchors !== undefined) problems.push(...chainProblems(leaf, { between, anchors, nowMs: options.nowMs }))
  }
  if (pem.crl !== undefined) {
    const message = crlProblem(pem.crl)
    if (message !== '') problems.push({ file: 'crl', message })
  }
  return problems
}

/** The names that a certificate gives its holder: the common name and the DNS names of its subject alternative name. */
export function namesOf(certificate: X509Certificate): string[] {
  const commonName: unknown = certificate.toLegacyObject().subject?.CN
  const names = [commonName].flat().filter((name): name is string => typeof name === 'string')
  // A name that holds a comma stands in quotes, so that it cannot pass for two.
  for (const [part] of (certificate.subjectAltName ?? '').matchAll(/(?:[^",]|"(?:[^"\\]|\\.)*")+/g)) {
    const [, name] = /^\s*DNS:(.*)$/s.exec(part) ?? []
    if (name !== undefined) names.push(name)
  }
  return names
}

/** Whether it may stand for a node towards both sides of a connection. */
export function hasBothUsages(certificate: X509Certificate): boolean {
  // Node calls the extended key usages this.
  const usages = certificate.keyUsage as readonly string[] | undefined
  if (usages === undefined) return false
  return usages.includes(ANY_USAGE) || (usages.includes(SERVER_AUTH) && usages.includes(CLIENT_AUTH))
}

function certificatesIn(file: 'ca' | 'cert', pem: string, problems: TlsProblem[]): X509Certificate[] | undefined {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g) ?? []
  if (blocks.length === 0 || blocks.length > CERTIFICATES_MAX) {
    const message =
      blocks.length === 0 ? 'it holds no certificate (PEM)' : `it holds more than ${CERTIFICATES_MAX} certificates`
    problems.push({ file, message })
    return undefined
  }
  try {
    return blocks.map((block) => new X509Certificate(block))
  } catch (error) {
    problems.push({ file, message: `it holds a damaged certificate: ${messageOf(error)}` })
    return undefined
  }
}

function privateKey(pem: string, problems: TlsProblem[]): KeyObject | undefined {
  try {
    return createPrivateKey(pem)
  } catch (error) {
    const isEncrypted = /ENCRYPTED/.test(pem)
    const message = isEncrypted
      ? 'the key is encrypted; store it without a passphrase'
      : `it holds no private key (PEM): ${messageOf(error)}`
    problems.push({ file: 'key', message })
    return undefined
  }
}

function usageProblem(leaf: X509Certificate): string {
  if (hasBothUsages(leaf)) return ''
  return `the certificate needs the extended key usages serverAuth and clientAuth, for a node is both; ${MAKE_ONE}`
}

function nameProblem(leaf: X509Certificate, nodeName: string): string {
  // The CN usually stands among the SANs too.
  const names = [...new Set(namesOf(leaf))]
  if (names.includes(nodeName)) return ''
  const found =
    names.length === 0
      ? 'no name'
      : names
          .slice(0, 8)
          .map((name) => JSON.stringify(name))
          .join(', ')
  return `the certificate is not for this node: it needs the name "${nodeName}" as its CN or a DNS SAN, and has ${found}; ${MAKE_ONE}`
}

function dateProblem(certificate: X509Certificate, nowMs: number): string {
  if (nowMs > Date.parse(certificate.validTo)) return `expired on ${certificate.validTo}`
  return nowMs < Date.parse(certificate.validFrom) ? `is not valid before ${certificate.validFrom}` : ''
}

/** Follows the issuers up to a certificate of the CA file that has signed itself, as the TLS library does. */
function chainProblems(
  leaf: X509Certificate,
  {
    between,
    anchors,
    nowMs,
  }: { between: readonly X509Certificate[]; anchors: readonly X509Certificate[]; nowMs: number },
): TlsProblem[] {
  const known = [...anchors, ...between]
  let certificate = leaf
  for (let i = 0; i < CHAIN_MAX; i++) {
    const isAnchor = anchors.some((anchor) => anchor.fingerprint256 === certificate.fingerprint256)
    if (isAnchor && isIssuedBy(certificate, certificate)) return []
    const issuer = known.find(
      (each) => each.fingerprint256 !== certificate.fingerprint256 && isIssuedBy(certificate, each),
    )
    if (issuer === undefined) break
    const problem = dateProblem(issuer, nowMs)
    const file = anchors.includes(issuer) ? 'ca' : 'cert'
    if (problem !== '') return [{ file, message: `the certificate of ${oneLine(issuer.subject)} ${problem}` }]
    if (!issuer.ca) return [{ file, message: `${oneLine(issuer.subject)} is no CA and cannot issue certificates` }]
    certificate = issuer
  }
  const who = oneLine(certificate.issuer)
  return [{ file: 'cert', message: `the certificate is not signed by the CA in tls.ca: its issuer is ${who}` }]
}

function isIssuedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  try {
    return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey)
  } catch {
    // A key of a kind that cannot verify has not signed it.
    return false
  }
}

function crlProblem(pem: string): string {
  if (!/-----BEGIN X509 CRL-----/.test(pem)) return 'it holds no revocation list (PEM)'
  try {
    createSecureContext({ crl: pem })
    return ''
  } catch (error) {
    return `it holds a damaged revocation list: ${messageOf(error)}`
  }
}

const oneLine = (subject: string): string => subject.replaceAll('\n', ', ')
