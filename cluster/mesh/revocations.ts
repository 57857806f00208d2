// Revocation lists, for the chains that are checked by hand (identity.ts). Loaded only where `tls.crl` is set.

import 'reflect-metadata'
import type { X509Certificate } from 'node:crypto'
import { X509Crl, X509Certificate as X509Source } from '@peculiar/x509'

export interface Revocations {
  /** The earliest end of the lists. */
  readonly nextUpdateMs: number
  isRevoked(certificate: X509Certificate): boolean
}

const PEM = /-----BEGIN X509 CRL-----[\s\S]*?-----END X509 CRL-----/g

/** @throws when there is no list, or one that no authority signed */
export async function readRevocations(text: string, authorities: readonly X509Certificate[]): Promise<Revocations> {
  const blocks = text.match(PEM)
  if (blocks === null) throw new Error('no revocation list in PEM found')
  const lists: { authority: X509Certificate; serials: ReadonlySet<string> }[] = []
  let nextUpdateMs = Number.POSITIVE_INFINITY
  for (const block of blocks) {
    const list = new X509Crl(block)
    const authority = await signerOf(list, authorities)
    if (authority === undefined) throw new Error(`the list of ${list.issuer} is signed by no authority in tls.ca`)
    lists.push({ authority, serials: new Set(list.entries.map(({ serialNumber }) => normalize(serialNumber))) })
    nextUpdateMs = Math.min(nextUpdateMs, list.nextUpdate?.getTime() ?? Number.POSITIVE_INFINITY)
  }
  return {
    nextUpdateMs,
    isRevoked: (certificate) =>
      lists.some(
        ({ authority, serials }) =>
          serials.has(normalize(certificate.serialNumber)) && certificate.checkIssued(authority),
      ),
  }
}

async function signerOf(list: X509Crl, authorities: readonly X509Certificate[]): Promise<X509Certificate | undefined> {
  for (const authority of authorities) {
    try {
      const publicKey = new X509Source(authority.toString())
      if (await list.verify({ publicKey })) return authority
    } catch {
      // A key of another kind cannot have signed it.
    }
  }
  return undefined
}

function normalize(serialNumber: string): string {
  return serialNumber.toLowerCase().replace(/^0+/, '')
}
