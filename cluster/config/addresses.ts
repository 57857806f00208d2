// Addresses as settings write them: literals, names, the list of nodes to join, and which of the machine's own to tell the others.

import { NODE_NAME, NODE_NAME_FORM } from '../../runtime/base/node-name.ts'
import { type Cidr, isHostAllowed, parseCidr, parseHost } from '../swim/core/address.ts'

/** The port of memberlist. */
export const GOSSIP_PORT = 7946

/** Where a node may be found before it is known. */
export interface JoinAddress {
  /** The node that is expected there. */
  readonly name: string | undefined
  /** Canonical IP, or a DNS name. */
  readonly host: string
  /** Undefined: the port of our own gossip. */
  readonly port: number | undefined
}

/** One address of this machine. */
export interface Interface {
  /** `eth0` */
  readonly name: string
  readonly address: string
}

type Parsed<T> = { value: T } | { why: string }

const BAD_IP = 'expected an IP address such as 10.0.0.1 or fd00::1'

/** Canonical. A zone index (`%eth0`) has a meaning on one machine only, and is refused. */
export function parseIp(text: string): Parsed<string> {
  const host = text.includes('%') ? undefined : parseHost(text)
  return host === undefined ? { why: `${BAD_IP}, found ${JSON.stringify(text)}` } : { value: host }
}

const DNS_NAME =
  /^(?=.{1,253}$)[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*\.?$/

/** A canonical IP or a DNS name; undefined for anything else. All digits and dots is an IP gone wrong, not a name. */
export function parseIpOrName(text: string): string | undefined {
  if (text.includes('%')) return undefined
  const host = parseHost(text)
  if (host !== undefined) return host
  return DNS_NAME.test(text) && !/^[\d.]+$/.test(text) ? text : undefined
}

/** `host[:port]` or `name/host[:port]`, IPv6 in brackets. */
export function parseJoinAddress(text: string): Parsed<JoinAddress> {
  const wrong = (why: string): { why: string } => ({ why: `${JSON.stringify(text.slice(0, 300))}: ${why}` })
  const FORM = 'expected host, host:port or name/host:port'
  if (text === '') return { why: `an item is empty; ${FORM}` }
  if (text.length > 512) return { why: 'an item has more than 512 characters' }
  const slash = text.indexOf('/')
  const name = slash === -1 ? undefined : text.slice(0, slash)
  if (name !== undefined && !NODE_NAME.test(name)) return wrong(`the name before "/" has ${NODE_NAME_FORM}`)
  const place = text.slice(slash + 1)
  const [, bracketed, plain, portText] = /^(?:\[([^\]]*)\]|([^:[\]]+))(?::(.*))?$/.exec(place) ?? []
  if (bracketed === undefined && plain === undefined) {
    return wrong(
      parseHost(place) === undefined ? FORM : `an IPv6 address stands in brackets: "[${place}]:${GOSSIP_PORT}"`,
    )
  }
  const host = bracketed === undefined ? parseIpOrName(plain as string) : parseIp6(bracketed)
  if (host === undefined)
    return wrong(bracketed === undefined ? 'no such host name or address' : 'brackets are for an IPv6 address')
  if (portText === undefined) return { value: { name, host, port: undefined } }
  const port = /^\d{1,5}$/.test(portText) ? Number(portText) : 0
  if (port < 1 || port > 65_535) return wrong('a port is a number from 1 to 65535')
  return { value: { name, host, port } }
}

function parseIp6(text: string): string | undefined {
  return text.includes(':') && !text.includes('%') ? parseHost(text) : undefined
}

export function parseRange(text: string): Parsed<Cidr> {
  const cidr = parseCidr(text)
  return cidr === undefined
    ? { why: `expected a range such as 10.0.0.0/8 or fd00::/8, found ${JSON.stringify(text)}` }
    : { value: cidr }
}

const ranges = (...texts: string[]): Cidr[] => texts.flatMap((text) => parseCidr(text) ?? [])

const LOOPBACK = ranges('127.0.0.0/8', '::1/128')
const PRIVATE_V4 = ranges('10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10')
const PRIVATE_V6 = ranges('fc00::/7')

/** Whether nobody but this machine can be behind it: a loopback address, or a name that always means one (RFC 6761). */
export function isLoopback(host: string): boolean {
  if (parseHost(host) !== undefined) return isHostAllowed(host, LOOPBACK)
  return /^(?:.+\.)?localhost\.?$/i.test(host)
}

const isUnspecified = (host: string): boolean => host === '0.0.0.0' || host === '::'

/**
 * What others are told when nothing is set: the address that is bound; of all addresses the first private one, in the order of the
 * operating system. A node that is bound to `::` hears IPv4 too, which is preferred: peers may have nothing else.
 */
export function advertisedHost(bindHost: string, interfaces: readonly Interface[]): string | undefined {
  if (!isUnspecified(bindHost)) return bindHost
  const hosts = interfaces.flatMap(({ address }) => parseHost(address) ?? [])
  const v4 = hosts.find((host) => isHostAllowed(host, PRIVATE_V4))
  return v4 ?? (bindHost === '::' ? hosts.find((host) => isHostAllowed(host, PRIVATE_V6)) : undefined)
}
