// `host:port`, as `admin.http` is written.

import { MoonmeshError } from '../base/errors.ts'

export interface Address {
  host: string
  port: number
}

/** @throws MoonmeshError `Invalid` */
export function parseAddress(text: string): Address {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]\s]*)):(\d{1,5})$/.exec(text)
  const port = Number(match?.[3])
  if (match === null || port > 65_535) {
    throw new MoonmeshError(
      'Invalid',
      `admin.http ${JSON.stringify(text)} is not an address: write host:port, or "off"`,
    )
  }
  // Without a host only this machine is served: opening to others is said in full.
  const host = match[1] ?? match[2] ?? ''
  return { host: host === '' ? '127.0.0.1' : host, port }
}

export function formatAddress({ host, port }: Address): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}
