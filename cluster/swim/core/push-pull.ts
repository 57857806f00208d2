// Rules of the full exchange of states: who understands whom, how often, and what a listed state claims. cluster.md §3.6,
// §3.7, §3.9.

import type { Member } from './members.ts'
import type { Alive, Dead, NodeState, Suspect, Versions } from './messages.ts'

const SCALE_FROM_NODES = 32

/** The interval between exchanges, longer in large clusters so that their cost a node stays level. */
export function pushPullIntervalMs(baseMs: number, nodes: number): number {
  if (nodes <= SCALE_FROM_NODES) return baseMs
  return baseMs * (Math.ceil(Math.log2(nodes) - Math.log2(SCALE_FROM_NODES)) + 1)
}

export function nodeStateOf(member: Member): NodeState {
  const { name, address, meta, incarnation, state, versions } = member
  return { name, address, meta, incarnation, state, versions }
}

export function aliveOf({ name, address, meta, incarnation, versions }: NodeState): Alive {
  return {
    kind: 'alive',
    incarnation,
    node: name,
    address,
    meta: meta ?? '',
    ...(versions === undefined ? {} : { versions }),
  }
}

/** What an entry of a peer's list claims. A death seen elsewhere is only a suspicion here, so that the node can answer. */
export function claimOf(node: NodeState, self: string): Alive | Suspect | Dead {
  const { name, incarnation } = node
  switch (node.state) {
    case 'alive':
      return aliveOf(node)
    case 'left':
      return { kind: 'dead', incarnation, node: name, from: name }
    case 'dead':
    case 'suspect':
      return { kind: 'suspect', incarnation, node: name, from: self }
  }
}

/**
 * Whether all nodes of both sides speak a version that every live one understands.
 * @returns what does not fit, for a log; undefined when everything does
 */
export function versionProblem(remote: readonly NodeState[], local: readonly Member[]): string | undefined {
  const range = { pmin: 0, pmax: 255, dmin: 0, dmax: 255 }
  for (const { state, versions } of [...remote, ...local]) {
    if (state !== 'alive' || versions === undefined) continue
    range.pmin = Math.max(range.pmin, versions[0])
    range.pmax = Math.min(range.pmax, versions[1])
    range.dmin = Math.max(range.dmin, versions[3])
    range.dmax = Math.min(range.dmax, versions[4])
  }
  for (const { name, versions } of [...remote, ...local]) {
    const [, , pcur, , , dcur] = versions ?? ([0, 0, 0, 0, 0, 0] satisfies Versions)
    if (pcur < range.pmin || pcur > range.pmax) {
      return `node ${name} speaks protocol version ${pcur}, others understand ${range.pmin} to ${range.pmax}`
    }
    if (dcur < range.dmin || dcur > range.dmax) {
      return `node ${name} speaks delegate version ${dcur}, others understand ${range.dmin} to ${range.dmax}`
    }
  }
  return undefined
}
