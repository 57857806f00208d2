// Addresses as gossip compares them: the canonical text of an IP and a port. A form that has two spellings would make one
// node look like two, so text enters through `parseHost` and bytes through `hostFromBytes` only. cluster.md, appendix C.3.

/** Where a node listens. */
export interface Address {
  /** Invariant: canonical text of an IPv4 or IPv6 address; an IPv4-mapped IPv6 address is its IPv4 form. */
  readonly host: string
  /** 1..65535 */
  readonly port: number
}

export function isSameAddress(a: Address, b: Address): boolean {
  return a.port === b.port && a.host === b.host
}

/** `10.0.0.1:7946`, `[::1]:7946` */
export function formatAddress(address: Address): string {
  return address.host.includes(':') ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`
}

/** The canonical host of 4 or 16 bytes at `at`; undefined for another length. */
export function hostFromBytes(bytes: Uint8Array): string | undefined {
  if (bytes.length === 4) return bytes.join('.')
  if (bytes.length !== 16) return undefined
  if (isMapped(bytes)) return bytes.subarray(12).join('.')
  const groups: number[] = []
  for (let i = 0; i < 16; i += 2) groups.push(((bytes[i] as number) << 8) | (bytes[i + 1] as number))
  return formatGroups(groups)
}

/** The 4 or 16 bytes of a canonical host. `host` must come from this file. */
export function hostToBytes(host: string): Uint8Array {
  return parseV4(host) ?? parseV6(host) ?? new Uint8Array(4)
}

/** The canonical form of an IP literal, zone index dropped; undefined when it is none. */
export function parseHost(text: string): string | undefined {
  const zone = text.indexOf('%')
  const literal = zone === -1 ? text : text.slice(0, zone)
  const bytes = parseV4(literal) ?? parseV6(literal)
  return bytes === undefined ? undefined : hostFromBytes(bytes)
}

/** A range of addresses in CIDR form. */
export interface Cidr {
  readonly bytes: Uint8Array
  readonly bits: number
}

/** `10.0.0.0/8`, `fd00::/8`; undefined when malformed. */
export function parseCidr(text: string): Cidr | undefined {
  const match = /^([^/]+)\/(\d{1,3})$/.exec(text)
  const bytes = match === null ? undefined : (parseV4(match[1] as string) ?? parseV6(match[1] as string))
  const bits = Number(match?.[2])
  return bytes === undefined || bits > bytes.length * 8 ? undefined : { bytes, bits }
}

/** Whether a canonical host lies in one of the ranges; no range at all allows every host. */
export function isHostAllowed(host: string, ranges: readonly Cidr[]): boolean {
  if (ranges.length === 0) return true
  const bytes = hostToBytes(host)
  return ranges.some((range) => range.bytes.length === bytes.length && hasPrefix(bytes, range))
}

function hasPrefix(bytes: Uint8Array, { bytes: prefix, bits }: Cidr): boolean {
  for (let i = 0; i * 8 < bits; i++) {
    const mask = bits - i * 8 >= 8 ? 0xff : (0xff << (8 - (bits - i * 8))) & 0xff
    if (((bytes[i] as number) & mask) !== ((prefix[i] as number) & mask)) return false
  }
  return true
}

function isMapped(bytes: Uint8Array): boolean {
  for (let i = 0; i < 10; i++) if (bytes[i] !== 0) return false
  return bytes[10] === 0xff && bytes[11] === 0xff
}

function parseV4(text: string): Uint8Array | undefined {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text)
  if (match === null) return undefined
  const parts = match.slice(1).map(Number)
  return parts.every((part) => part <= 255) ? Uint8Array.from(parts) : undefined
}

function parseV6(text: string): Uint8Array | undefined {
  if (text.length > 45 || !text.includes(':')) return undefined
  // A dotted tail is two groups.
  const tail = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text)
  let plain = text
  if (tail !== null) {
    const v4 = parseV4(tail[2] as string)
    if (v4 === undefined) return undefined
    const [a, b, c, d] = v4 as unknown as [number, number, number, number]
    plain = `${tail[1]}${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`
  }
  const halves = plain.split('::')
  if (halves.length > 2) return undefined
  const [head, rest] = halves.map((half) => (half === '' ? [] : half.split(':'))) as [string[], string[] | undefined]
  const missing = 8 - head.length - (rest?.length ?? 0)
  if (rest === undefined ? missing !== 0 : missing < 1) return undefined
  const groups = [...head, ...new Array<string>(missing).fill('0'), ...(rest ?? [])]
  const out = new Uint8Array(16)
  for (const [i, group] of groups.entries()) {
    if (!/^[0-9a-fA-F]{1,4}$/.test(group)) return undefined
    const value = Number.parseInt(group, 16)
    out[i * 2] = value >> 8
    out[i * 2 + 1] = value & 0xff
  }
  return out
}

/** RFC 5952: lower case, no leading zeros, the longest run of two or more zero groups (the first of equals) as `::`. */
function formatGroups(groups: readonly number[]): string {
  let runAt = -1
  let runCount = 1
  for (let i = 0; i < groups.length; i++) {
    let end = i
    while (groups[end] === 0) end++
    if (end - i > runCount) {
      runAt = i
      runCount = end - i
    }
    i = Math.max(i, end - 1)
  }
  const hex = groups.map((group) => group.toString(16))
  if (runAt === -1) return hex.join(':')
  return `${hex.slice(0, runAt).join(':')}::${hex.slice(runAt + runCount).join(':')}`
}
