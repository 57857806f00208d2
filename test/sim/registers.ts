// A small replicated state machine for the simulator: versioned registers, and the answers of requests so that one that comes
// twice happens once. cluster.md §5.11.

import type { Entry } from '../../cluster/raft/core/entry.ts'

export type RegisterOp =
  | { readonly kind: 'put'; readonly key: string; readonly value: number }
  | { readonly kind: 'cas'; readonly key: string; readonly version: number; readonly value: number }

export interface RegisterValue {
  readonly value: number
  /** How many writes made it what it is. */
  readonly version: number
}

/** Of a write: what the register became, or was when a `cas` found another version. */
export interface RegisterResult extends RegisterValue {
  readonly ok: boolean
}

export interface Command {
  readonly session: string
  readonly seq: number
  /** The smallest seq that was not answered: results before it are forgotten. */
  readonly floor: number
  readonly op: RegisterOp
}

export interface Outcome {
  readonly session: string
  readonly seq: number
  readonly result: RegisterResult | 'stale'
  /** Whether it happened now; otherwise the answer is remembered. */
  readonly isNew: boolean
}

interface Session {
  floor: number
  readonly results: Map<number, RegisterResult>
}

export const EMPTY: RegisterValue = { value: 0, version: 0 }

/** What an operation does to a register. */
export function applyOp(before: RegisterValue, op: RegisterOp): { after: RegisterValue; result: RegisterResult } {
  if (op.kind === 'cas' && before.version !== op.version) return { after: before, result: { ...before, ok: false } }
  const after = { value: op.value, version: before.version + 1 }
  return { after, result: { ...after, ok: true } }
}

export class Registers {
  #values = new Map<string, RegisterValue>()
  #sessions = new Map<string, Session>()
  #clockMs = 0
  /** Stands for everything that happened. */
  #digest = 0
  appliedIndex = 0

  get digest(): number {
    return this.#digest
  }

  get clockMs(): number {
    return this.#clockMs
  }

  get(key: string): RegisterValue {
    return this.#values.get(key) ?? EMPTY
  }

  apply(entry: Entry): Outcome[] {
    this.appliedIndex = entry.index
    this.#clockMs = Math.max(this.#clockMs, entry.clockMs)
    const outcomes: Outcome[] = []
    if (entry.kind === 'commands') {
      for (const command of decodeCommands(entry.data)) outcomes.push(this.#command(command))
    }
    this.#digest = fnv(`${this.#digest} ${entry.index} ${entry.clockMs} ${JSON.stringify(outcomes)}`)
    return outcomes
  }

  /** The whole state; equal states have equal texts. `forgetful`: without the answers of requests, which is a bug. */
  save(forgetful = false): string {
    const sorted = <T>(map: Map<string, T>): [string, T][] => [...map].sort(([a], [b]) => (a < b ? -1 : 1))
    const sessions = sorted(this.#sessions).map(([name, { floor, results }]) => [name, floor, [...results]])
    return JSON.stringify({
      index: this.appliedIndex,
      clockMs: this.#clockMs,
      digest: this.#digest,
      values: sorted(this.#values),
      sessions: forgetful ? [] : sessions,
    })
  }

  static restore(text: string): Registers {
    const saved = JSON.parse(text) as {
      index: number
      clockMs: number
      digest: number
      values: [string, RegisterValue][]
      sessions: [string, number, [number, RegisterResult][]][]
    }
    const machine = new Registers()
    machine.appliedIndex = saved.index
    machine.#clockMs = saved.clockMs
    machine.#digest = saved.digest
    machine.#values = new Map(saved.values)
    machine.#sessions = new Map(
      saved.sessions.map(([name, floor, results]) => [name, { floor, results: new Map(results) }]),
    )
    return machine
  }

  #command({ session: name, seq, floor, op }: Command): Outcome {
    let session = this.#sessions.get(name)
    if (session === undefined) {
      session = { floor: 0, results: new Map() }
      this.#sessions.set(name, session)
    }
    if (seq < session.floor) return { session: name, seq, result: 'stale', isNew: false }
    const known = session.results.get(seq)
    if (known !== undefined) return { session: name, seq, result: known, isNew: false }
    const { after, result } = applyOp(this.get(op.key), op)
    this.#values.set(op.key, after)
    session.results.set(seq, result)
    session.floor = Math.max(session.floor, floor)
    for (const old of session.results.keys()) if (old < session.floor) session.results.delete(old)
    return { session: name, seq, result, isNew: true }
  }
}

export function encodeCommands(commands: readonly Command[]): Uint8Array {
  return Buffer.from(JSON.stringify(commands))
}

function decodeCommands(data: Uint8Array): Command[] {
  return JSON.parse(Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString()) as Command[]
}

function fnv(text: string): number {
  let hash = 0x811c9dc5
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193)
  return hash >>> 0
}
