// The invariants of locks that the state machine's events show: K1 in log order, and K2. cluster.md §13.

import type { Machine } from '../../../cluster/state/core/machine.ts'
import type { StateEvent } from '../../../cluster/state/core/outcomes.ts'
import { InvariantError } from './invariant-error.ts'

export class LockChecker {
  readonly #held = new Map<string, number>()
  readonly #highest = new Map<string, number>()

  /** The events of one entry, and the machine after it. @throws InvariantError */
  applied(events: readonly StateEvent[], machine: Machine): void {
    for (const event of events) {
      if (event.kind === 'lock-granted') this.#granted(event.name, event.token)
      else if (event.kind === 'lock-released') this.#released(event.name, event.token)
    }
    for (const name of machine.locks.names()) {
      const lock = machine.locks.holder(name)
      if (lock?.token !== this.#held.get(name)) throw new InvariantError(`${name} is held without a grant (K1)`)
      if (lock === undefined || machine.sessions.get(lock.session) === undefined) {
        throw new InvariantError(`${name} is held by a session that is over (K4)`)
      }
    }
  }

  #granted(name: string, token: number): void {
    if (this.#held.has(name)) throw new InvariantError(`${name} is granted twice (K1)`)
    if (token <= (this.#highest.get(name) ?? 0)) throw new InvariantError(`the token of ${name} did not grow (K2)`)
    this.#held.set(name, token)
    this.#highest.set(name, token)
  }

  #released(name: string, token: number): void {
    if (this.#held.get(name) !== token) throw new InvariantError(`${name} is released by who did not hold it (K1)`)
    this.#held.delete(name)
  }
}
