// Local names: which PID a name stands for, and which names a PID holds. The node has the authority; every host has a copy, so that looking
// up never waits. lua-core.md §10.

import { toBytes, toText } from '../../base/bytes.ts'

const BYTES_MAX = 255
const NO_NAMES: readonly string[] = []

/** Why a byte string cannot be a name (cluster.md §6.1), as text; undefined when it can. */
export function nameProblem(name: string): string | undefined {
  if (name === '' || name.length > BYTES_MAX) return `name must have 1 to ${BYTES_MAX} bytes`
  // A brace begins a PID, an @ what the runtime keeps for itself.
  if (name[0] === '{' || name[0] === '@') return `name cannot begin with ${name[0]}`
  const text = toText(name)
  if (toBytes(text) !== name) return 'name must be UTF-8'
  return /\p{Cc}/u.test(text) ? 'name cannot hold control characters' : undefined
}

export class Names {
  readonly #pids = new Map<string, string>()
  readonly #names = new Map<string, Set<string>>()

  lookup(name: string): string | undefined {
    return this.#pids.get(name)
  }

  namesOf(pid: string): string[] {
    return [...(this.#names.get(pid) ?? [])]
  }

  get count(): number {
    return this.#pids.size
  }

  entries(): IterableIterator<[string, string]> {
    return this.#pids.entries()
  }

  /** The first registration wins: false when another PID holds the name. */
  register(name: string, pid: string): boolean {
    const holder = this.#pids.get(name)
    if (holder !== undefined) return holder === pid
    this.bind(name, pid)
    return true
  }

  /** Sets the name as the authority says. */
  bind(name: string, pid: string): void {
    this.release(name)
    this.#pids.set(name, pid)
    const held = this.#names.get(pid)
    if (held === undefined) this.#names.set(pid, new Set([name]))
    else held.add(name)
  }

  /** False when nobody holds it. */
  release(name: string): boolean {
    const holder = this.#pids.get(name)
    if (holder === undefined) return false
    this.#pids.delete(name)
    const held = this.#names.get(holder)
    held?.delete(name)
    if (held?.size === 0) this.#names.delete(holder)
    return true
  }

  /** The names that the PID held. */
  releaseAll(pid: string): readonly string[] {
    if (!this.#names.has(pid)) return NO_NAMES
    const held = this.namesOf(pid)
    for (const name of held) this.#pids.delete(name)
    this.#names.delete(pid)
    return held
  }

  pids(): IterableIterator<string> {
    return this.#names.keys()
  }
}
