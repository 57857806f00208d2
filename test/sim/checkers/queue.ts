// K3 of cluster.md §13: locks are granted in the order in which the log met those who wait.

import type { Envelope } from '../../../cluster/state/core/commands.ts'
import type { Outcome, RequestId, StateEvent } from '../../../cluster/state/core/outcomes.ts'
import { InvariantError } from './invariant-error.ts'

interface Waiter {
  readonly id: string
  readonly session: number
  readonly index: number
}

const idOf = ({ session, seq }: RequestId): string => `${session}.${seq}`

export class QueueChecker {
  readonly #queues = new Map<string, Waiter[]>()
  readonly #locks = new Map<string, string>()
  #index = 0
  granted = 0

  /** One entry, in the order of the log. @throws InvariantError */
  applied(envelopes: readonly Envelope[], outcomes: readonly Outcome[], events: readonly StateEvent[]): void {
    this.#index++
    for (const [at, { session, seq, command }] of envelopes.entries()) {
      const id = idOf({ session, seq })
      if (command.kind !== 'lock-acquire' || outcomes[at]?.status !== 'pending' || this.#locks.has(id)) continue
      this.#locks.set(id, command.name)
      const queue = this.#queues.get(command.name) ?? []
      this.#queues.set(command.name, queue)
      queue.push({ id, session, index: this.#index })
    }
    // Waiters of a session go before what it held is granted, and its end is told last.
    for (const event of events)
      if (event.kind === 'session-ended') this.#forget(({ session }) => session === event.session)
    for (const [at, event] of events.entries()) {
      if (event.kind === 'answer') this.#answered(event.request, event.outcome)
      const next = events[at + 1]
      const isWaiter = next?.kind === 'answer' && next.outcome.status === 'granted'
      if (event.kind === 'lock-granted' && !isWaiter) this.#taken(event.name)
    }
  }

  #answered(request: RequestId, outcome: Outcome): void {
    const id = idOf(request)
    const name = this.#locks.get(id)
    const first = name === undefined ? undefined : this.#queues.get(name)?.[0]
    if (outcome.status === 'granted' && first !== undefined) {
      this.granted++
      const isThere = this.#queues.get(name ?? '')?.some((waiter) => waiter.id === id) === true
      if (isThere && first.id !== id) throw new InvariantError(`${name} is granted to ${id} before ${first.id} (K3)`)
    }
    this.#forget((waiter) => waiter.id === id)
  }

  /** Somebody got it without a wait. */
  #taken(name: string): void {
    const waiting = this.#queues.get(name)?.find(({ index }) => index < this.#index)
    if (waiting !== undefined) throw new InvariantError(`${name} was taken past ${waiting.id}, who waits (K3)`)
  }

  #forget(isGone: (waiter: Waiter) => boolean): void {
    for (const [name, queue] of this.#queues)
      this.#queues.set(
        name,
        queue.filter((waiter) => !isGone(waiter)),
      )
  }
}
