// What a scope says within one turn, gathered: changes that follow each other and go to the same nodes travel as one message. The order
// in which a node hears things stays as it was. cluster.md §9.2.

import type { Op, PgMessage } from './messages.ts'

interface Parcel {
  readonly nodes: readonly string[]
  readonly message: PgMessage
}

type Changes = { nodes: readonly string[]; run: number; seq: number; changes: (readonly Op[])[] }

/** Changes that wait at most; with the next one what waits is to be sent. */
const OPS_MAX = 4096

export class Outbox {
  readonly #ready: Parcel[] = []
  #open: Changes | undefined
  #ops = 0

  get isEmpty(): boolean {
    return this.#ready.length === 0 && this.#open === undefined
  }

  /** So much waits that it should not wait for the end of the turn. */
  get isFull(): boolean {
    return this.#ops >= OPS_MAX
  }

  add(nodes: readonly string[], message: PgMessage): void {
    if (message.kind !== 'delta') {
      this.#seal()
      this.#ready.push({ nodes, message })
      return
    }
    const { run, seq, changes } = message
    const open = this.#open
    const follows =
      open !== undefined && open.run === run && open.seq + open.changes.length === seq && isSame(open.nodes, nodes)
    if (follows) open.changes.push(...changes)
    else {
      this.#seal()
      this.#open = { nodes, run, seq, changes: [...changes] }
    }
    for (const ops of changes) this.#ops += ops.length
  }

  /** Everything that waits, in order. */
  take(): Parcel[] {
    this.#seal()
    this.#ops = 0
    return this.#ready.splice(0)
  }

  #seal(): void {
    if (this.#open === undefined) return
    const { nodes, ...rest } = this.#open
    this.#open = undefined
    this.#ready.push({ nodes, message: { kind: 'delta', ...rest } })
  }
}

function isSame(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((each, i) => each === b[i])
}
