// The invariants of names that the log and its readers show together: N3, N4 and N5 of cluster.md §13.

import type { Envelope } from '../../../cluster/state/core/commands.ts'
import type { StateEvent } from '../../../cluster/state/core/outcomes.ts'
import { InvariantError } from './invariant-error.ts'

interface Reserved {
  readonly revision: number
  readonly required: Set<number>
  readonly acked: Set<number>
}

export class StrongChecker {
  readonly #open = new Set<number>()
  readonly #reserved = new Map<string, Reserved>()
  /** Strong names at the tip of the log. */
  readonly #active = new Map<string, string>()
  /** By name and PID: revisions of the bindings. */
  readonly #revisions = new Map<string, number[]>()
  /** By node run and name: the least revision that explains what was seen last. */
  readonly #seen = new Map<string, number>()
  active = 0

  /** One entry, in the order of the log. @throws InvariantError */
  applied(envelopes: readonly Envelope[], events: readonly StateEvent[]): void {
    for (const { command } of envelopes) {
      const reserved = command.kind === 'strong-ack' ? this.#reserved.get(command.name) : undefined
      if (command.kind !== 'strong-ack' || reserved?.revision !== command.revision) continue
      for (const session of command.sessions) reserved.acked.add(session)
    }
    for (const event of events) this.#happened(event)
  }

  #happened(event: StateEvent): void {
    switch (event.kind) {
      case 'session-opened':
        this.#open.add(event.session)
        for (const { required } of this.#reserved.values()) required.add(event.session)
        return
      case 'session-ended':
        this.#open.delete(event.session)
        return
      case 'strong-opened':
        this.#reserved.set(event.name, { revision: event.revision, required: new Set(this.#open), acked: new Set() })
        return
      case 'strong-ended': {
        const reserved = this.#reserved.get(event.name)
        this.#reserved.delete(event.name)
        if (!event.active) return
        this.active++
        // The end of a session is told after what it brought about.
        const missing = [...(reserved?.required ?? [])].filter((session) => reserved?.acked.has(session) !== true)
        this.#unasked = missing.map((session) => [event.name, session])
        return
      }
      case 'binding': {
        const { name, pid, scope, revision } = event
        if (pid === undefined) {
          this.#active.delete(name)
          return
        }
        if (scope === 'strong') this.#active.set(name, pid)
        const key = `${name} ${pid}`
        this.#revisions.set(key, [...(this.#revisions.get(key) ?? []), revision])
        return
      }
      default:
        return
    }
  }

  #unasked: (readonly [name: string, session: number])[] = []

  /** After an entry: whoever did not agree to a name that it made active is gone. @throws InvariantError */
  settled(): void {
    for (const [name, session] of this.#unasked.splice(0)) {
      if (this.#open.has(session))
        throw new InvariantError(`${name} is strong, and session ${session} did not agree (N4)`)
    }
  }

  /** What a node that may be relied on resolves, in any scope. @throws InvariantError */
  resolves(node: string, lookup: (name: string) => string | undefined): void {
    for (const [name, owner] of this.#active) {
      const pid = lookup(name)
      if (pid !== undefined && pid !== owner) {
        throw new InvariantError(`${name} is strong for ${owner}, and ${node} resolves it to ${pid} (N3)`)
      }
    }
  }

  /** What one run of a node takes the log to say. @throws InvariantError */
  saw(run: string, name: string, pid: string): void {
    const key = `${run} ${name}`
    const before = this.#seen.get(key) ?? 0
    const revision = this.#revisions.get(`${name} ${pid}`)?.find((each) => each >= before)
    if (revision === undefined) {
      throw new InvariantError(`${run} resolves ${name} to ${pid}, as it was before revision ${before} (N5)`)
    }
    this.#seen.set(key, revision)
  }
}
