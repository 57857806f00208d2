// The invariants of process groups, P1 and P2 of cluster.md §13, against the joins that only the simulator knows of all nodes.

import type { PgEvent, ScopeEffect } from '../../../cluster/pg/core/scope.ts'
import { InvariantError } from './invariant-error.ts'

/** What the checker sees of one run of a node. */
interface ObservedScope {
  readonly name: string
  readonly isRunning: boolean
  readonly scope: { members(group: string): readonly string[]; groups(): string[] }
}

interface Replay {
  /** Undefined: all groups. */
  readonly group: string | undefined
  readonly members: Map<string, string[]>
}

export class PgChecker<Node extends ObservedScope> {
  readonly #seed: number
  /** Slots that processes took themselves, by node and group. */
  readonly #joined = new Map<Node, Map<string, string[]>>()
  readonly #replays = new Map<Node, Map<number, Replay>>()
  events = 0

  constructor(seed: number) {
    this.#seed = seed
  }

  joined(node: Node, pid: string, group: string): void {
    slotsOf(getOrMake(this.#joined, node), group).push(pid)
  }

  left(node: Node, pid: string, group: string): void {
    const slots = slotsOf(getOrMake(this.#joined, node), group)
    const at = slots.indexOf(pid)
    if (at < 0) throw this.#error(`${pid} leaves ${group}, in which it is not`)
    slots.splice(at, 1)
  }

  exited(node: Node, pid: string): void {
    for (const [group, slots] of getOrMake(this.#joined, node)) {
      getOrMake(this.#joined, node).set(
        group,
        slots.filter((each) => each !== pid),
      )
    }
  }

  ended(node: Node): void {
    this.#joined.delete(node)
    this.#replays.delete(node)
  }

  monitoring(
    node: Node,
    subscription: number,
    group: string | undefined,
    members: ReadonlyMap<string, readonly string[]>,
  ): void {
    const replay = { group, members: new Map([...members].map(([each, pids]) => [each, [...pids]])) }
    getOrMake(this.#replays, node).set(subscription, replay)
  }

  demonitored(node: Node, subscription: number): void {
    this.#replays.get(node)?.delete(subscription)
  }

  /** P2: the snapshot and the events since give what the node has now. */
  stepped(node: Node, effects: readonly ScopeEffect[]): void {
    const replays = getOrMake(this.#replays, node)
    for (const effect of effects) {
      if (effect.kind === 'event') {
        for (const id of effect.subscriptions) this.#replay(node, replays.get(id), effect.event)
      } else if (effect.kind === 'overflow') replays.delete(effect.subscription)
    }
    for (const { group, members } of replays.values()) {
      const groups = group === undefined ? new Set([...node.scope.groups(), ...members.keys()]) : [group]
      for (const each of groups) {
        const replayed = (members.get(each) ?? []).toSorted().join(' ')
        const seen = node.scope.members(each).toSorted().join(' ')
        if (replayed !== seen)
          throw this.#error(`${node.name}: ${each} is [${seen}], its monitor has [${replayed}] (P2)`)
      }
    }
  }

  /** P1: how the members that nodes see differ from what the processes of running nodes joined; undefined when they do not. */
  disagreement(nodes: readonly Node[]): string | undefined {
    const truth = new Map<string, string[]>()
    for (const node of nodes) {
      if (!node.isRunning) continue
      for (const [group, slots] of getOrMake(this.#joined, node)) slotsOf(truth, group).push(...slots)
    }
    const groups = [...truth].filter(([, slots]) => slots.length > 0)
    for (const node of nodes) {
      if (!node.isRunning) continue
      for (const [group, slots] of groups) {
        const seen = node.scope.members(group).toSorted().join(' ')
        const joined = slots.toSorted().join(' ')
        if (seen !== joined) return `${node.name} sees ${group} as [${seen}], joined are [${joined}] (P1)`
      }
      const extra = node.scope.groups().find((group) => (truth.get(group) ?? []).length === 0)
      if (extra !== undefined) return `${node.name} sees members of ${extra}, which nobody joined (P1)`
    }
    return undefined
  }

  #replay(node: Node, replay: Replay | undefined, { kind, group, pids }: PgEvent): void {
    if (replay === undefined) throw this.#error(`${node.name}: an event for a monitor that is closed (P2)`)
    this.events++
    const members = slotsOf(replay.members, group)
    for (const pid of pids) {
      if (kind === 'member.joined') members.push(pid)
      else {
        const at = members.indexOf(pid)
        if (at < 0) throw this.#error(`${node.name}: ${pid} leaves ${group}, in which no event had put it (P2)`)
        members.splice(at, 1)
      }
    }
  }

  #error(text: string): InvariantError {
    return new InvariantError(`${text}; seed ${this.#seed}`)
  }
}

function getOrMake<K, A, B>(map: Map<K, Map<A, B>>, key: K): Map<A, B> {
  let made = map.get(key)
  if (made === undefined) {
    made = new Map()
    map.set(key, made)
  }
  return made
}

function slotsOf(map: Map<string, string[]>, group: string): string[] {
  let slots = map.get(group)
  if (slots === undefined) {
    slots = []
    map.set(group, slots)
  }
  return slots
}
