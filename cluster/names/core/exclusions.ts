// A node's part in strong names: once it has agreed to one, it lets nobody else have the name, in any scope, until it hears what became of
// it. cluster.md §6.4. Once the name is active its binding does the same (resolve.ts), so an exclusion lasts while the name is reserved.
// Names and PIDs are byte strings.

import { holderAgainstStrong } from './resolve.ts'

export interface Check {
  readonly name: string
  readonly pid: string
  /** Of the reservation. */
  readonly revision: number
}

type CheckAnswer =
  | { readonly kind: 'ack' }
  /** Another process has the name here. */
  | { readonly kind: 'reject'; readonly holder: string }
  /** A later word is known already: this one says nothing. */
  | { readonly kind: 'stale' }
  | { readonly kind: 'full' }

/** What the log says of a reservation. */
export type ReservationState = 'pending' | 'active' | 'unknown'

interface Exclusion extends Check {
  /** When something was heard of it last. */
  heardAtMs: number
  askedAtMs: number
}

export const EXCLUSIONS_MAX = 4096
/** Without news for so long a node asks what became of a reservation. */
export const NEWS_MS = 5000

export class Exclusions {
  readonly #exclusions = new Map<string, Exclusion>()

  get count(): number {
    return this.#exclusions.size
  }

  /** Who is about to have the name. */
  reservedFor(name: string): string | undefined {
    return this.#exclusions.get(name)?.pid
  }

  /**
   * The leader asks whether this process may have the name.
   * @param known what this node knows: who has the name in smaller scopes, and the revision of the strong name that is active, or 0
   */
  check(
    check: Check,
    known: {
      readonly eventual: string | undefined
      readonly local: string | undefined
      readonly activeRevision: number
    },
    nowMs: number,
  ): CheckAnswer {
    const { name, pid, revision } = check
    const before = this.#exclusions.get(name)
    if (before !== undefined && before.revision > revision) return { kind: 'stale' }
    if (before?.revision === revision) {
      before.heardAtMs = nowMs
      return { kind: 'ack' }
    }
    // Asked before it became active, this came late.
    if (known.activeRevision > revision) return { kind: 'stale' }
    const holder = holderAgainstStrong(pid, known)
    if (holder !== undefined) return { kind: 'reject', holder }
    if (before === undefined && this.#exclusions.size >= EXCLUSIONS_MAX) return { kind: 'full' }
    this.#exclusions.set(name, { name, pid, revision, heardAtMs: nowMs, askedAtMs: nowMs })
    return { kind: 'ack' }
  }

  /** As the log has it when a node joins: whoever else has the name here gives it up. */
  install({ name, pid, revision }: Check, nowMs: number): void {
    const before = this.#exclusions.get(name)
    if (before !== undefined && before.revision >= revision) return
    this.#exclusions.set(name, { name, pid, revision, heardAtMs: nowMs, askedAtMs: nowMs })
  }

  /**
   * The strong name is active since this revision: an earlier reservation of it is over, and the binding does its work. A consistent name
   * of the same process may come and go meanwhile. @returns whether it was reserved here
   */
  activated(name: string, revision: number): boolean {
    const known = this.#exclusions.get(name)
    return known !== undefined && revision > known.revision && this.#exclusions.delete(name)
  }

  /** Another process has got the name since: the reservation came to nothing before that. @returns whether it was reserved here */
  outlived(name: string, pid: string, revision: number): boolean {
    const known = this.#exclusions.get(name)
    return known !== undefined && known.pid !== pid && revision > known.revision && this.#exclusions.delete(name)
  }

  /** That reservation came to nothing. @returns whether it was known here */
  released(name: string, revision: number): boolean {
    if (this.#exclusions.get(name)?.revision !== revision) return false
    return this.#exclusions.delete(name)
  }

  /** Reservations to ask the leader about, each at most once in such a time. */
  due(nowMs: number): Check[] {
    const due: Check[] = []
    for (const exclusion of this.#exclusions.values()) {
      if (nowMs - Math.max(exclusion.heardAtMs, exclusion.askedAtMs) < NEWS_MS) continue
      exclusion.askedAtMs = nowMs
      due.push(exclusion)
    }
    return due.sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  get nextDueMs(): number {
    let dueMs = Number.POSITIVE_INFINITY
    for (const { heardAtMs, askedAtMs } of this.#exclusions.values()) {
      dueMs = Math.min(dueMs, Math.max(heardAtMs, askedAtMs) + NEWS_MS)
    }
    return dueMs
  }

  /** The answer. @returns whether the name is no longer reserved */
  told({ name, revision }: Check, state: ReservationState, nowMs: number): boolean {
    const known = this.#exclusions.get(name)
    if (known?.revision !== revision) return false
    if (state !== 'pending') return this.#exclusions.delete(name)
    known.heardAtMs = nowMs
    return false
  }

  /** Another group of servers: it knows nothing of these. @returns the names */
  clear(): string[] {
    const names = [...this.#exclusions.keys()].sort()
    this.#exclusions.clear()
    return names
  }
}
