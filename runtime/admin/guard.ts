// Keeps web pages away from the TCP listener: a page may make the browser of someone on this machine ask it (cross-site requests), or
// give its own name this machine's address (DNS rebinding). operations.md §3.

import type { IncomingHttpHeaders } from 'node:http'
import { isIP } from 'node:net'

const WILDCARDS = ['0.0.0.0', '::']

/**
 * Why a request is refused, or undefined.
 * @param configuredHost the host of `admin.http`, without port and brackets
 */
export function refusal(headers: IncomingHttpHeaders, configuredHost: string): string | undefined {
  const { host, origin } = headers
  if (host === undefined) return 'a Host header is needed'
  const name = hostName(host)
  if (name === undefined || !isKnownHost(name, configuredHost)) {
    return `host ${JSON.stringify(host)} is not this node; ask for localhost or ${configuredHost}`
  }
  if (origin !== undefined && origin !== `http://${host}`) return `requests from ${origin} are not answered`
  // Requests of a page that carry no Origin (images, scripts) do carry this.
  const site = headers['sec-fetch-site']
  if (site !== undefined && site !== 'same-origin' && site !== 'none')
    return 'requests from other sites are not answered'
  return undefined
}

function isKnownHost(name: string, configuredHost: string): boolean {
  if (name === 'localhost' || name === '::1' || /^127\.\d+\.\d+\.\d+$/.test(name)) return true
  // An address cannot be rebound as a name can, so any of this machine's own will do when all of them are listened on.
  return name === configuredHost.toLowerCase() || (WILDCARDS.includes(configuredHost) && isIP(name) !== 0)
}

/** `localhost:80` -> `localhost`, `[::1]:80` -> `::1`, lower case. */
function hostName(host: string): string | undefined {
  return /^(?:\[([0-9a-f:.]+)\]|([^:[\]]+))(?::\d+)?$/i
    .exec(host)
    ?.slice(1)
    .find((part) => part !== undefined)
    ?.toLowerCase()
}

/** Whether only this machine can reach what listens there. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'))
}
