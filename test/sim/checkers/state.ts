// The invariants of sessions, names, locks and the store that the log of a simulated cluster shows: N1, N2, N6, K1, K2 in the order of
// the log, R5, R12, R14. cluster.md §13. Every entry is looked at where it is applied first; every other replica must agree.

import type { Entry } from '../../../cluster/raft/core/entry.ts'
import type { Machine } from '../../../cluster/state/core/machine.ts'
import type { Outcome } from '../../../cluster/state/core/outcomes.ts'
import { decodeCommands } from '../../../cluster/state/wire/commands.ts'
import type { AppliedEntry } from '../sim-consensus.ts'
import { InvariantError } from './invariant-error.ts'
import { LockChecker } from './locks.ts'
import { checkNames } from './names.ts'
import { QueueChecker } from './queue.ts'
import { StrongChecker } from './strong.ts'

/** Clocks of nodes differ by a percent. */
const DRIFT = 0.97
/** Digests read the whole state. */
const DIGEST_EVERY = 4

export class StateChecker {
  readonly #nowMs: () => number
  readonly #fail: (text: string) => never
  readonly #locks = new LockChecker()
  readonly #queues = new QueueChecker()
  readonly strong = new StrongChecker()
  readonly #digests = new Map<number, string>()
  readonly #outcomes = new Map<string, Outcome>()
  /** Unique values of puts, by the version that they were written with. */
  readonly #values = new Map<string, number>()
  readonly #tokens = new Map<string, number>()
  /** Grants that were the latest of their lock at some moment of the entry. */
  readonly #current = new Set<string>()
  readonly #ended = new Set<number>()
  readonly #appendedMs = new Map<string, number>()
  readonly #leases = new Map<string, { token: number; atMs: number; ttlMs: number }>()
  #index = 0
  #clockMs = 0
  /** Commands that were applied, and those that came again. */
  readonly counts = {
    commands: 0,
    repeated: 0,
    grants: 0,
    downs: 0,
    fenced: 0,
    refusedFences: 0,
    pending: 0,
    strong: 0,
    queued: 0,
  }

  constructor(nowMs: () => number, fail: (text: string) => never) {
    this.#nowMs = nowMs
    this.#fail = fail
  }

  get index(): number {
    return this.#index
  }

  /** Entries are written down somewhere: the first time is when they got their clock. */
  appended(entries: readonly Entry[]): void {
    for (const { index, term } of entries) {
      const id = `${index} ${term}`
      if (!this.#appendedMs.has(id)) this.#appendedMs.set(id, this.#nowMs())
    }
  }

  applied(machine: Machine, { entry, outcomes, events }: AppliedEntry): void {
    if (entry.index % DIGEST_EVERY === 0) this.#digest(machine)
    if (entry.index <= this.#index) return
    if (entry.index !== this.#index + 1) this.#fail(`entry ${entry.index} is applied after ${this.#index}`)
    this.#index = entry.index
    if (machine.clockMs < this.#clockMs) this.#fail('the log clock went back (R14)')
    this.#clockMs = machine.clockMs
    const stampedMs = this.#appendedMs.get(`${entry.index} ${entry.term}`) ?? this.#nowMs()
    this.#current.clear()
    for (const [lock, token] of this.#tokens) this.#current.add(`${lock} ${token}`)
    for (const event of events) {
      if (event.kind === 'lock-granted') {
        this.counts.grants++
        this.#current.add(`${event.name} ${event.token}`)
        this.#tokens.set(event.name, event.token)
        const lock = machine.locks.holder(event.name)
        if (lock?.token === event.token && lock.expiryMs > 0) {
          const ttlMs = lock.expiryMs - machine.clockMs
          this.#leases.set(event.name, { token: event.token, atMs: stampedMs, ttlMs })
        }
      }
      if (event.kind === 'session-ended') {
        this.counts.downs++
        this.#ended.add(event.session)
      }
      if (event.kind !== 'lock-released' || event.reason !== 'expired') continue
      const lease = this.#leases.get(event.name)
      if (lease?.token === event.token && stampedMs - lease.atMs < lease.ttlMs * DRIFT) {
        this.#fail(`${event.name} expired after ${stampedMs - lease.atMs} of ${lease.ttlMs} ms (R14)`)
      }
    }
    try {
      const envelopes = entry.kind === 'commands' ? decodeCommands(entry.data) : []
      this.#locks.applied(events, machine)
      this.#queues.applied(envelopes, outcomes, events)
      this.strong.applied(envelopes, events)
      this.strong.settled()
      checkNames(machine)
    } catch (error) {
      if (error instanceof InvariantError) this.#fail(error.message)
      throw error
    }
    this.counts.strong = this.strong.active
    this.counts.queued = this.#queues.granted
    if (entry.kind === 'commands') this.#commands(entry.data, outcomes)
  }

  /** Whether it has ended in the log. */
  hasEnded(session: number): boolean {
    return this.#ended.has(session)
  }

  /** A node trusts this session: then it has not ended anywhere. cluster.md §5.10. */
  trusted(node: string, session: number): void {
    if (this.#ended.has(session)) this.#fail(`${node} trusts its session ${session}, which has ended (K1)`)
  }

  restored(machine: Machine): void {
    this.#digest(machine)
  }

  #commands(data: Uint8Array, outcomes: readonly Outcome[]): void {
    for (const [at, { session, seq, command }] of decodeCommands(data).entries()) {
      const outcome = outcomes[at] as Outcome
      this.counts.commands++
      // What is answered from memory happened before.
      const isNew = session === 0 || this.#once(`${session}.${seq}`, outcome)
      if (!isNew) continue
      if (command.kind !== 'kv' || outcome.status !== 'kv') continue
      const { result } = outcome
      const inner = command.command
      if (inner.fence !== undefined && !result.ok) this.counts.refusedFences++
      if (!result.ok || result.version === undefined) continue
      if (inner.fence !== undefined) {
        this.counts.fenced++
        const { lock, token } = inner.fence
        // Within an entry the lock may have passed on after the write.
        const isCurrent = token === this.#tokens.get(lock) || this.#current.has(`${lock} ${token}`)
        if (!isCurrent) this.#fail(`a write passed the fence ${token} of ${lock}, which others hold by now (K2)`)
      }
      if (inner.kind !== 'put') continue
      const value = new TextDecoder().decode(inner.put.value)
      const before = this.#values.get(value)
      if (before !== undefined && before !== result.version) this.#fail(`${value} was written twice (N6)`)
      this.#values.set(value, result.version)
    }
  }

  /** Whether it was applied now. */
  #once(id: string, outcome: Outcome): boolean {
    const known = this.#outcomes.get(id)
    if (outcome.status === 'overloaded' || outcome.status === 'session-expired') return false
    if (outcome.status === 'pending') this.counts.pending++
    if (known === undefined) {
      // A request that was given up and comes at last.
      if (outcome.status !== 'stale-request' && outcome.status !== 'aborted') this.#outcomes.set(id, outcome)
      return true
    }
    this.counts.repeated++
    // Whoever asks below its floor has the answer; what waited is answered later.
    if (outcome.status === 'stale-request' || known.status === 'pending') return false
    if (!isEqual(known, outcome)) this.#fail(`${id} came to ${show(known)}, and later to ${show(outcome)} (N6)`)
    return false
  }

  #digest(machine: Machine): void {
    const digest = machine.digest()
    const known = this.#digests.get(machine.index)
    if (known === undefined) this.#digests.set(machine.index, digest)
    else if (known !== digest) this.#fail(`two replicas differ at ${machine.index} (R12)`)
  }
}

function isEqual(a: Outcome, b: Outcome): boolean {
  return show(a) === show(b)
}

function show(value: unknown): string {
  return JSON.stringify(value, (_key, item: unknown) =>
    item !== null && typeof item === 'object' && !Array.isArray(item)
      ? Object.fromEntries(Object.entries(item).sort(([x], [y]) => (x < y ? -1 : 1)))
      : item,
  )
}
