// Whether the tags of a node fit the meta of gossip whatever happens at run time. cluster.md §2.2, §3.10.

import { encodeTags, META_BYTES_MAX } from '../swim/wire/tags.ts'

interface TagSource {
  readonly id: string
  readonly failureDomain: string
  readonly packageVersion: string
  /** `internode.advertise_addr` */
  readonly meshHost: string | undefined
  readonly priority: number
}

const PORT = '65535'
const ID_PREFIX = 'f'.repeat(16)

/** Every tag with its longest possible value. */
function longestTags(source: TagSource): ReadonlyMap<string, string> {
  const { id, failureDomain, packageVersion, meshHost, priority } = source
  const host = meshHost?.includes(':') === true ? `[${meshHost}]` : meshHost
  return new Map([
    ['role', 'moonmesh'],
    ['version', packageVersion],
    ['cluster_id', id],
    ['epoch', Number.MAX_SAFE_INTEGER.toString(36)],
    ['internode_port', PORT],
    ['internode_addr', host === undefined ? '' : `${host}:${PORT}`],
    ['mesh', '255-255'],
    ['raft_eligible', 'false'],
    ['raft_priority', String(priority)],
    ['failure_domain', failureDomain],
    ['raft_status', 'leaving'],
    ['raft_role', 'standby'],
    ['bootstrap_expect', '9'],
    ['store', ID_PREFIX],
    ['formation', ID_PREFIX],
  ])
}

/** What is wrong with them, each tag with its bytes; undefined when they fit. */
export function tagsProblem(source: TagSource): string | undefined {
  const tags = longestTags(source)
  const total = encodeTags(tags).length
  if (total <= META_BYTES_MAX) return undefined
  const rest = encodeTags(new Map()).length
  const sizes = [...tags].flatMap(([key, value]) =>
    value === '' ? [] : `${key} ${encodeTags(new Map([[key, value]])).length - rest}`,
  )
  return `the tags of this node may take ${total} bytes, and gossip carries ${META_BYTES_MAX}; shorten what you have set (bytes: ${sizes.join(', ')})`
}
