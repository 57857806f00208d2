// What this node knows of the locks that its processes hold: enough to say for certain that one is held, and to tell a holder in time that it
// no longer is. Doubt counts as no. cluster.md §5.10, §7.

import type { Env } from '../../../runtime/base/env.ts'
import { Heap } from '../../../runtime/base/heap.ts'
import { IndexBy } from '../../state/core/index-by.ts'

/** An expiry is told by the log; for this long its word is awaited. */
const EXPIRY_GRACE_MS = 2000
/** Of its time for which a lock counts as held: the clock of whoever leads may be the faster one. */
const TRUSTED_SHARE = 0.98
/** Renewals leave stale items among the timers; they are dropped when they are the larger part. */
const STALE_MIN = 64

export type LossReason = 'lost' | 'expired'

export type HeldEffect =
  /** The holder is to be told, once. */
  | {
      readonly kind: 'lost'
      readonly name: string
      readonly pid: string
      readonly token: number
      readonly reason: LossReason
    }
  /** The log may still have it: it is to be given back. */
  | { readonly kind: 'release'; readonly name: string; readonly pid: string; readonly token: number }

export interface Grant {
  readonly name: string
  readonly pid: string
  readonly token: number
  /** 0: until released. */
  readonly ttlMs: number
  /** When the request was sent that the grant's time counts from, by this node's clock: the log's counts from later. */
  readonly sentMs: number
}

interface Held extends Grant {
  readonly trustedUntilMs: number
  readonly endMs: number
}

export class HeldLocks {
  readonly #env: Pick<Env, 'nowMs'>
  readonly #held = new Map<string, Held>()
  readonly #ofPid = new IndexBy<string>()
  /** Of what has a time. One that is not the same as in `#held` counts no more. */
  readonly #timers = new Heap<Held>()

  constructor(env: Pick<Env, 'nowMs'>) {
    this.#env = env
  }

  get count(): number {
    return this.#held.size
  }

  /** Of the process, with the token; undefined when it is certain of nothing. */
  tokenOf(name: string, pid: string): number | undefined {
    const held = this.#held.get(name)
    return held?.pid === pid && this.#env.nowMs() < held.trustedUntilMs ? held.token : undefined
  }

  /** What the process holds as far as anybody told, however certain that is. */
  grantOf(name: string, pid: string): Grant | undefined {
    const held = this.#held.get(name)
    return held?.pid === pid ? held : undefined
  }

  granted(grant: Grant): void {
    const known = this.#held.get(grant.name)
    if (known !== undefined && known.token > grant.token) return
    this.#set(grant)
  }

  /** The log has given it more time. */
  renewed(name: string, token: number, ttlMs: number, sentMs: number): void {
    const held = this.#held.get(name)
    if (held?.token === token) this.#set({ ...held, ttlMs, sentMs })
  }

  /** The process gave it back, or is about to. */
  released(name: string, token: number): void {
    if (this.#held.get(name)?.token === token) this.#delete(name)
  }

  /** The log says that this grant is over, and it was not the process that ended it. */
  over(name: string, token: number, reason: LossReason): HeldEffect[] {
    const held = this.#held.get(name)
    if (held?.token !== token) return []
    this.#delete(name)
    return [{ kind: 'lost', name, pid: held.pid, token, reason }]
  }

  /** The process has ended; the log is told of that elsewhere. */
  exited(pid: string): void {
    for (const name of this.#ofPid.of(pid)) this.#delete(name)
  }

  /**
   * The session is not trusted any more: all locks are lost, and stay so when it comes back. Given back at once, so that this reaches the log
   * before the holder asks for one again.
   */
  suspended(): HeldEffect[] {
    const all = [...this.#held.values()]
    const released = all.map(({ name, pid, token }) => ({ kind: 'release', name, pid, token }) as const)
    return [...released, ...this.ended()]
  }

  /** The session is over, and all that it owned. */
  ended(): HeldEffect[] {
    const all = [...this.#held.values()]
    for (const { name } of all) this.#delete(name)
    return all.map(({ name, pid, token }) => ({ kind: 'lost', name, pid, token, reason: 'lost' }))
  }

  /** When a tick is due; Infinity when nothing is. */
  get wakeAtMs(): number {
    for (let next = this.#timers.peek(); next !== undefined; next = this.#timers.peek()) {
      if (this.#held.get(next.name) === next) return next.endMs + EXPIRY_GRACE_MS
      this.#timers.pop()
    }
    return Number.POSITIVE_INFINITY
  }

  /** The word of the log did not come: what must have expired is over, and given back to be certain. */
  tick(): HeldEffect[] {
    const nowMs = this.#env.nowMs()
    const effects: HeldEffect[] = []
    while (this.wakeAtMs <= nowMs) {
      const { name, pid, token } = this.#timers.pop() as Held
      this.#delete(name)
      effects.push({ kind: 'lost', name, pid, token, reason: 'expired' }, { kind: 'release', name, pid, token })
    }
    return effects
  }

  #set(grant: Grant): void {
    const { ttlMs, sentMs } = grant
    const endAfter = (share: number): number => (ttlMs === 0 ? Number.POSITIVE_INFINITY : sentMs + share * ttlMs)
    const held = { ...grant, trustedUntilMs: endAfter(TRUSTED_SHARE), endMs: endAfter(1) }
    this.#delete(held.name)
    this.#held.set(held.name, held)
    this.#ofPid.add(held.pid, held.name)
    if (!Number.isFinite(held.endMs)) return
    this.#timers.push(held.endMs, held)
    if (this.#timers.count > 2 * this.#held.size + STALE_MIN) {
      this.#timers.prune((item) => this.#held.get(item.name) === item)
    }
  }

  #delete(name: string): void {
    const held = this.#held.get(name)
    if (held === undefined) return
    this.#held.delete(name)
    this.#ofPid.delete(held.pid, name)
  }
}
