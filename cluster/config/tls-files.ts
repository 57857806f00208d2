// Whether a certificate, its key and the CA belong together and will pass the checks that peers make. cluster.md §2.1, §4.3.

import { createPrivateKey, type KeyObject, type X509Certificate } from 'node:crypto'
import { createSecureContext } from 'node:tls'
import { messageOf } from '../../runtime/base/errors.ts'
import { certificatesIn, chainOf, namesOf, usageProblem, validityProblem } from '../x509.ts'

/** Contents of the files, PEM. */
export interface TlsPem {
  readonly ca: string
  /** The leaf first; certificates between it and the CA may follow. */
  readonly cert: string
  readonly key: string
  readonly crl: string | undefined
}

interface TlsProblem {
  readonly file: 'ca' | 'cert' | 'key' | 'crl'
  readonly message: string
}

const CERTIFICATES_MAX = 64
const MAKE_ONE = '`runtime cert issue` makes a right one'

/**
 * Everything that is wrong with a set of files; empty when a node may use it.
 * @param options.nowMs wall-clock milliseconds
 */
export function checkTls(pem: TlsPem, options: { nodeName: string; nowMs: number }): TlsProblem[] {
  const problems: TlsProblem[] = []
  const anchors = readCertificates('ca', pem.ca, problems)
  const [leaf, ...between] = readCertificates('cert', pem.cert, problems) ?? []
  const key = privateKey(pem.key, problems)
  if (leaf !== undefined) {
    if (key !== undefined && !leaf.checkPrivateKey(key)) {
      problems.push({ file: 'key', message: 'this is not the key of the certificate' })
    }
    const messages = [
      usageMessage(leaf),
      nameProblem(leaf, options.nodeName),
      validityProblem(leaf, options.nowMs) ?? '',
    ]
    for (const message of messages) if (message !== '') problems.push({ file: 'cert', message })
    if (anchors !== undefined) problems.push(...chainProblems(leaf, { between, anchors, nowMs: options.nowMs }))
  }
  if (pem.crl !== undefined) {
    const message = crlProblem(pem.crl)
    if (message !== '') problems.push({ file: 'crl', message })
  }
  return problems
}

function readCertificates(file: 'ca' | 'cert', pem: string, problems: TlsProblem[]): X509Certificate[] | undefined {
  try {
    const certificates = certificatesIn(pem)
    if (certificates.length > 0 && certificates.length <= CERTIFICATES_MAX) return certificates
    const isNone = certificates.length === 0
    const message = isNone ? 'it holds no certificate (PEM)' : `it holds more than ${CERTIFICATES_MAX} certificates`
    problems.push({ file, message })
  } catch (error) {
    problems.push({ file, message: `it holds a damaged certificate: ${messageOf(error)}` })
  }
  return undefined
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

function usageMessage(leaf: X509Certificate): string {
  const problem = usageProblem(leaf)
  if (problem === undefined) return ''
  return `the certificate needs the extended key usages serverAuth and clientAuth, for a node is both, and ${problem}; ${MAKE_ONE}`
}

function nameProblem(leaf: X509Certificate, nodeName: string): string {
  const names = namesOf(leaf)
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

function chainProblems(
  leaf: X509Certificate,
  trust: { between: readonly X509Certificate[]; anchors: readonly X509Certificate[]; nowMs: number },
): TlsProblem[] {
  const found = chainOf(leaf, trust)
  if (Array.isArray(found)) return []
  const { kind, certificate } = found
  const file = trust.anchors.includes(certificate) ? 'ca' : 'cert'
  const who = oneLine(certificate.subject)
  switch (kind) {
    case 'invalid-time':
      return [{ file, message: `the certificate of ${who} ${validityProblem(certificate, trust.nowMs)}` }]
    case 'no-authority':
      return [{ file, message: `${who} is no CA and cannot issue certificates` }]
    case 'unknown-issuer': {
      const issuer = oneLine(certificate.issuer)
      return [{ file: 'cert', message: `the certificate is not signed by the CA in tls.ca: its issuer is ${issuer}` }]
    }
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
