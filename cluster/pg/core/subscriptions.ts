// Who is told of which changes. An event goes to those that watch its group and to those that watch all, in the order in which they
// subscribed; one that leaves too many unread is cut off. cluster.md §9.4.

import { getOrAdd } from '../../../runtime/base/maps.ts'
import { EVENTS_WAITING_MAX, SUBSCRIPTIONS_MAX } from './settings.ts'

interface Subscription {
  readonly id: number
  readonly owner: string
  /** Undefined: all groups. */
  readonly group: string | undefined
  waiting: number
}

export class Subscriptions {
  readonly #byId = new Map<number, Subscription>()
  readonly #byGroup = new Map<string | undefined, Set<Subscription>>()
  readonly #byOwner = new Map<string, Set<Subscription>>()
  readonly #waitingMax: number
  #nextId = 1

  constructor(waitingMax = EVENTS_WAITING_MAX) {
    this.#waitingMax = waitingMax
  }

  get count(): number {
    return this.#byId.size
  }

  /** Undefined: there are too many. */
  add(owner: string, group: string | undefined): number | undefined {
    if (this.#byId.size >= SUBSCRIPTIONS_MAX) return undefined
    const subscription = { id: this.#nextId++, owner, group, waiting: 0 }
    this.#byId.set(subscription.id, subscription)
    getOrAdd(this.#byGroup, group, () => new Set<Subscription>()).add(subscription)
    getOrAdd(this.#byOwner, owner, () => new Set<Subscription>()).add(subscription)
    return subscription.id
  }

  /** @returns its owner, or undefined when there is none of this number any more */
  remove(id: number): string | undefined {
    const subscription = this.#byId.get(id)
    if (subscription === undefined) return undefined
    this.#byId.delete(id)
    leave(this.#byGroup, subscription.group, subscription)
    leave(this.#byOwner, subscription.owner, subscription)
    return subscription.owner
  }

  removeOwner(owner: string): void {
    for (const { id } of [...(this.#byOwner.get(owner) ?? [])]) this.remove(id)
  }

  hasOwner(owner: string): boolean {
    return this.#byOwner.has(owner)
  }

  /** Counts one more event for each that watches `group`. @returns who gets it, ascending, and who got too many already */
  tell(group: string): { told: readonly number[]; cutOff: readonly number[] } {
    const told: number[] = []
    const cutOff: number[] = []
    for (const watching of [this.#byGroup.get(group), this.#byGroup.get(undefined)]) {
      if (watching === undefined) continue
      for (const subscription of watching) {
        if (++subscription.waiting > this.#waitingMax) cutOff.push(subscription.id)
        else told.push(subscription.id)
      }
    }
    return { told: told.sort((a, b) => a - b), cutOff: cutOff.sort((a, b) => a - b) }
  }

  consumed(id: number, count: number): void {
    const subscription = this.#byId.get(id)
    if (subscription !== undefined) subscription.waiting = Math.max(0, subscription.waiting - count)
  }
}

function leave<K>(map: Map<K, Set<Subscription>>, key: K, subscription: Subscription): void {
  const set = map.get(key)
  set?.delete(subscription)
  if (set?.size === 0) map.delete(key)
}
