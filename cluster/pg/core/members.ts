// The members of all groups of a scope as this node sees them: per group a multiset of PIDs in the order in which they joined, indexed
// by PID and by node, so that a change costs the same however large the group is. Follows the slots of lua-libraries.md §1.2.

import { getOrAdd } from '../../../runtime/base/maps.ts'

/** What one node has in a group. The lists are built when asked for and dropped with the next change; whoever holds one keeps what it was. */
interface Share {
  /** Slots of each PID. */
  readonly counts: Map<string, number>
  members: readonly string[] | undefined
  pairs: readonly (readonly [string, number])[] | undefined
}

interface Group {
  /** By number, ascending: the order of joins. */
  readonly slots: Map<number, string>
  /** Numbers of a PID's slots, ascending. */
  readonly byPid: Map<string, number[]>
  readonly byNode: Map<string, Share>
  /** As the lists of a share. */
  all: readonly string[] | undefined
  nodes: readonly string[] | undefined
}

const NOBODY: readonly string[] = []
const NOTHING: readonly (readonly [string, number])[] = []
const emptyGroup = (): Group => ({
  slots: new Map(),
  byPid: new Map(),
  byNode: new Map(),
  all: undefined,
  nodes: undefined,
})
const emptyShare = (): Share => ({ counts: new Map(), members: undefined, pairs: undefined })

/** Invariant: a PID is always given with the same node; groups without members do not exist. */
export class Members {
  readonly #groups = new Map<string, Group>()
  readonly #groupsOfNode = new Map<string, Set<string>>()
  readonly #slotsOfNode = new Map<string, number>()
  #nextSlot = 1
  #slotCount = 0

  get groupCount(): number {
    return this.#groups.size
  }

  get slotCount(): number {
    return this.#slotCount
  }

  has(group: string): boolean {
    return this.#groups.has(group)
  }

  slotsOf(group: string): number {
    return this.#groups.get(group)?.slots.size ?? 0
  }

  slotsOfNode(node: string): number {
    return this.#slotsOfNode.get(node) ?? 0
  }

  countOf(group: string, pid: string): number {
    return this.#groups.get(group)?.byPid.get(pid)?.length ?? 0
  }

  add(group: string, node: string, pid: string, count: number): void {
    const entry = getOrAdd(this.#groups, group, emptyGroup)
    const ofPid = getOrAdd(entry.byPid, pid, () => [])
    for (let i = 0; i < count; i++) {
      entry.slots.set(this.#nextSlot, pid)
      ofPid.push(this.#nextSlot++)
    }
    const share = getOrAdd(entry.byNode, node, emptyShare)
    if (share.counts.size === 0) entry.nodes = undefined
    share.counts.set(pid, ofPid.length)
    share.members = undefined
    share.pairs = undefined
    getOrAdd(this.#groupsOfNode, node, () => new Set<string>()).add(group)
    this.#count(node, count)
    entry.all = undefined
  }

  /** Takes up to `count` slots, the latest first. @returns how many there were */
  remove(group: string, node: string, pid: string, count: number): number {
    const entry = this.#groups.get(group)
    const ofPid = entry?.byPid.get(pid)
    if (entry === undefined || ofPid === undefined) return 0
    const removed = Math.min(count, ofPid.length)
    for (let i = 0; i < removed; i++) entry.slots.delete(ofPid.pop() as number)
    if (ofPid.length === 0) entry.byPid.delete(pid)
    const share = entry.byNode.get(node)
    if (share !== undefined) {
      share.members = undefined
      share.pairs = undefined
      if (ofPid.length > 0) share.counts.set(pid, ofPid.length)
      else share.counts.delete(pid)
      if (share.counts.size === 0) {
        entry.byNode.delete(node)
        entry.nodes = undefined
        this.#leaveGroup(node, group)
      }
    }
    if (entry.slots.size === 0) this.#groups.delete(group)
    this.#count(node, -removed)
    entry.all = undefined
    return removed
  }

  /** Once for each slot, in the order of joins. */
  members(group: string): readonly string[] {
    const entry = this.#groups.get(group)
    if (entry === undefined) return NOBODY
    entry.all ??= [...entry.slots.values()]
    return entry.all
  }

  /** Those of one node, once for each slot, in the order of joins. The same list until it changes. */
  membersOf(group: string, node: string): readonly string[] {
    const entry = this.#groups.get(group)
    const share = entry?.byNode.get(node)
    if (entry === undefined || share === undefined) return NOBODY
    if (entry.byNode.size === 1) return this.members(group)
    if (share.members === undefined) {
      const slots: [number, string][] = []
      for (const pid of share.counts.keys()) for (const slot of entry.byPid.get(pid) ?? []) slots.push([slot, pid])
      share.members = slots.sort(([a], [b]) => a - b).map(([, pid]) => pid)
    }
    return share.members
  }

  /** Nodes with members of a group, ascending. */
  nodesOf(group: string): readonly string[] {
    const entry = this.#groups.get(group)
    if (entry === undefined) return NOBODY
    entry.nodes ??= [...entry.byNode.keys()].sort()
    return entry.nodes
  }

  /** Slots of a node's processes in a group, by PID, ascending. The same list until it changes. */
  countsOf(group: string, node: string): readonly (readonly [string, number])[] {
    const share = this.#groups.get(group)?.byNode.get(node)
    if (share === undefined) return NOTHING
    share.pairs ??= [...share.counts].sort(([a], [b]) => (a < b ? -1 : 1))
    return share.pairs
  }

  /** Names, ascending. */
  groups(): string[] {
    return [...this.#groups.keys()].sort()
  }

  groupsOfNode(node: string): string[] {
    return [...(this.#groupsOfNode.get(node) ?? [])].sort()
  }

  #leaveGroup(node: string, group: string): void {
    const groups = this.#groupsOfNode.get(node)
    groups?.delete(group)
    if (groups?.size === 0) this.#groupsOfNode.delete(node)
  }

  #count(node: string, change: number): void {
    this.#slotCount += change
    const count = this.slotsOfNode(node) + change
    if (count === 0) this.#slotsOfNode.delete(node)
    else this.#slotsOfNode.set(node, count)
  }
}
