// What gossip tells of a server, read from its tags. cluster.md §3.10.

import type { RaftSettings } from '../config.ts'
import type { LiveNode } from '../fabric.ts'
import type { Seen } from './core/bootstrap.ts'
import type { Limits } from './core/selection.ts'
import { nameOf, type ServerId, storeOf } from './core/server.ts'

const STATUSES: readonly Seen['status'][] = ['none', 'pre', 'out', 'in', 'leaving']
const ID = /^[0-9a-f]{16}$/
const PRIORITY_MAX = 10_000
const EXPECT_MAX = 9

/** Undefined for a node that tells nothing of itself, or nonsense: it has no part in any group. */
export function seenOf({ name, epoch, tags }: LiveNode, isLinked: boolean): Seen | undefined {
  const status = STATUSES.find((each) => each === tags.get('raft_status'))
  if (status === undefined) return undefined
  const store = tags.get('store') ?? ''
  const formation = tags.get('formation')
  return {
    name,
    epoch,
    store: ID.test(store) ? store : '',
    status,
    isEligible: tags.get('raft_eligible') === 'true',
    priority: wholeIn(tags.get('raft_priority'), PRIORITY_MAX) ?? PRIORITY_MAX,
    domain: tags.get('failure_domain') ?? '',
    expect: wholeIn(tags.get('bootstrap_expect'), EXPECT_MAX) ?? 0,
    formation: formation !== undefined && ID.test(formation) ? formation : undefined,
    isLinked,
  }
}

/** Whether the node runs with the store of this server: one that lost it has the name still. */
export function isStoreOf({ name, tags }: LiveNode, server: ServerId): boolean {
  const store = tags.get('store') ?? ''
  return name === nameOf(server) && store !== '' && storeOf(server).startsWith(store)
}

/** Whether the node of this server says that it runs with another store. */
export function hasOtherStore(node: LiveNode, server: ServerId): boolean {
  return node.name === nameOf(server) && (node.tags.get('store') ?? '') !== '' && !isStoreOf(node, server)
}

export function limitsOf({ votersMax, votersMin, standbysMax }: RaftSettings): Limits {
  return { votersMax, votersMin, standbysMax }
}

function wholeIn(text: string | undefined, max: number): number | undefined {
  const value = Number(text)
  return text !== undefined && Number.isSafeInteger(value) && value >= 0 && value <= max ? value : undefined
}
