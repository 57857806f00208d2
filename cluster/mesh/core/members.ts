// What the mesh takes from gossip: who is there, in which run, and where it listens. cluster.md §3.10, §4.1.

export interface Endpoint {
  readonly host: string
  readonly port: number
}

/** A live member of the cluster other than this node. */
export interface MeshMember {
  readonly name: string
  readonly epoch: number
  /** In the order in which they are tried. */
  readonly endpoints: readonly Endpoint[]
  /** Voter or standby: gets a connection in every topology. */
  readonly isRaftMember: boolean
}

/** What gossip says of a member: the fields of its events that matter here. */
export interface GossipMember {
  readonly name: string
  readonly epoch: number
  readonly address: Endpoint
  readonly tags: ReadonlyMap<string, string>
}

export function meshMember({ name, epoch, address, tags }: GossipMember): MeshMember {
  const endpoints: Endpoint[] = []
  const advertised = parseEndpoint(tags.get('internode_addr') ?? '')
  if (advertised !== undefined) endpoints.push(advertised)
  const port = portOf(tags.get('internode_port') ?? '')
  if (port !== undefined) endpoints.push({ host: address.host, port })
  const role = tags.get('raft_role')
  return { name, epoch, endpoints, isRaftMember: role === 'voter' || role === 'standby' }
}

/** `host:port`, with IPv6 in brackets; undefined when it is neither. */
function parseEndpoint(text: string): Endpoint | undefined {
  const colon = text.lastIndexOf(':')
  if (colon <= 0) return undefined
  const host = text.slice(0, colon)
  const port = portOf(text.slice(colon + 1))
  if (port === undefined) return undefined
  if (host.startsWith('[') && host.endsWith(']') && host.length > 2) return { host: host.slice(1, -1), port }
  return host.includes(':') || host.includes('[') ? undefined : { host, port }
}

function portOf(text: string): number | undefined {
  if (!/^\d{1,5}$/.test(text)) return undefined
  const port = Number(text)
  return port >= 1 && port <= 65535 ? port : undefined
}

export const isSameEndpoints = (a: readonly Endpoint[], b: readonly Endpoint[]): boolean =>
  a.length === b.length && a.every(({ host, port }, i) => host === b[i]?.host && port === b[i]?.port)
