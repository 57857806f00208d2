// The table of known nodes, the order in which they are probed, and the memory of those that are gone. cluster.md §3.6, §3.8.

import { assert } from '../../../runtime/base/assert.ts'
import type { Env } from '../../../runtime/base/env.ts'
import { type Address, isSameAddress } from './address.ts'
import type { MemberState, Versions } from './messages.ts'

/** Gossip's view of one node. */
export interface Member {
  readonly name: string
  readonly address: Address
  /** Byte string. */
  readonly meta: string
  readonly tags: ReadonlyMap<string, string>
  /** The run of the node's process; undefined for a foreign node, which speaks for no cluster of ours. */
  readonly epoch: number | undefined
  readonly incarnation: number
  readonly state: MemberState
  /** When the state last changed, by the local monotonic clock. */
  readonly changedAtMs: number
  readonly versions: Versions
}

export function isLive(member: Member): boolean {
  return member.state === 'alive' || member.state === 'suspect'
}

export class Members {
  readonly #env: Env
  readonly #countMax: number
  readonly #byName = new Map<string, Member>()
  /** The round of probes. Invariant: the names of #byName, each once. */
  #round: string[] = []
  #next = 0
  #sorted: Member[] | undefined

  constructor(options: { countMax: number }, env: Env) {
    assert(options.countMax >= 1, 'countMax >= 1')
    this.#countMax = options.countMax
    this.#env = env
  }

  /** Known nodes in any state, this one included. */
  get count(): number {
    return this.#byName.size
  }

  get isFull(): boolean {
    return this.#byName.size >= this.#countMax
  }

  get(name: string): Member | undefined {
    return this.#byName.get(name)
  }

  /** Every node by name, in byte order. */
  sorted(): readonly Member[] {
    this.#sorted ??= [...this.#byName.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
    return this.#sorted
  }

  /** Adds or replaces the record of a node. A new one enters the round of probes at a random place, so that its first probe does not wait for a whole round. */
  set(member: Member): void {
    if (!this.#byName.has(member.name)) {
      assert(!this.isFull, 'a new member fits the table')
      const at = this.#env.randomInt(this.#round.length + 1)
      this.#round.push(this.#round[at] ?? member.name)
      this.#round[at] = member.name
    }
    this.#byName.set(member.name, member)
    this.#sorted = undefined
  }

  /**
   * The next node to probe that `isProbed` accepts. At the end of a round those that `isReaped` names leave the table, and
   * the rest is shuffled.
   */
  nextToProbe(
    isProbed: (member: Member) => boolean,
    isReaped: (member: Member) => boolean,
  ): { target: Member | undefined; reaped: Member[] } {
    const reaped: Member[] = []
    // Every node is looked at once at most, whatever the position in the round.
    for (let looked = 0; looked <= this.#round.length; looked++) {
      if (this.#next >= this.#round.length) {
        reaped.push(...this.#startRound(isReaped))
        this.#next = 0
      }
      const name = this.#round[this.#next++]
      const member = name === undefined ? undefined : this.#byName.get(name)
      if (member !== undefined && isProbed(member)) return { target: member, reaped }
    }
    return { target: undefined, reaped }
  }

  /** Up to `count` different random nodes that `accepts` takes. */
  choose(count: number, accepts: (member: Member) => boolean): Member[] {
    const names = this.#round
    const chosen: Member[] = []
    // Few nodes: random draws would often miss some that fit, so all are looked at in random order.
    if (names.length < count * 3) {
      for (const name of this.#shuffled(names)) {
        const member = this.#byName.get(name) as Member
        if (chosen.length < count && accepts(member)) chosen.push(member)
      }
      return chosen
    }
    for (let draw = 0; draw < names.length * 3 && chosen.length < count; draw++) {
      const member = this.#byName.get(names[this.#env.randomInt(names.length)] as string) as Member
      if (accepts(member) && !chosen.includes(member)) chosen.push(member)
    }
    return chosen
  }

  #startRound(isReaped: (member: Member) => boolean): Member[] {
    const reaped: Member[] = []
    const kept: string[] = []
    for (const name of this.#round) {
      const member = this.#byName.get(name) as Member
      if (isReaped(member)) reaped.push(member)
      else kept.push(name)
    }
    for (const member of reaped) this.#byName.delete(member.name)
    this.#round = this.#shuffled(kept)
    this.#sorted = undefined
    return reaped
  }

  #shuffled(names: readonly string[]): string[] {
    const out = [...names]
    for (let i = out.length - 1; i > 0; i--) {
      const j = this.#env.randomInt(i + 1)
      const held = out[i] as string
      out[i] = out[j] as string
      out[j] = held
    }
    return out
  }
}

/**
 * Members that were reaped: whom to look for when a partition heals, and whose old claims not to believe. Foreign nodes are
 * not remembered.
 */
export class Departed {
  readonly #countMax: number
  readonly #keepMs: number
  /** Invariant: in the order of their reaping. */
  readonly #byName = new Map<string, { member: Member; sinceMs: number }>()

  constructor(options: { countMax: number; keepMs: number }) {
    this.#countMax = options.countMax
    this.#keepMs = options.keepMs
  }

  get(name: string): Member | undefined {
    return this.#byName.get(name)?.member
  }

  add(member: Member, nowMs: number): void {
    this.#byName.delete(member.name)
    if (this.#byName.size >= this.#countMax) this.#byName.delete(this.#byName.keys().next().value as string)
    this.#byName.set(member.name, { member, sinceMs: nowMs })
  }

  forget(name: string): void {
    this.#byName.delete(name)
  }

  /** Forgets what is too old. */
  expire(nowMs: number): void {
    for (const [name, { sinceMs }] of this.#byName) {
      if (nowMs - sinceMs < this.#keepMs) return
      this.#byName.delete(name)
    }
  }

  /** The one that died at this address, as opposed to left. */
  deadAt(address: Address): Member | undefined {
    for (const { member } of this.#byName.values()) {
      if (member.state === 'dead' && isSameAddress(member.address, address)) return member
    }
    return undefined
  }

  /** Those that died, as opposed to left; by name. */
  dead(): Member[] {
    return [...this.#byName.values()]
      .map(({ member }) => member)
      .filter((member) => member.state === 'dead')
      .sort((a, b) => (a.name < b.name ? -1 : 1))
  }
}
