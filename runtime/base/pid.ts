// Process ids. `{host|uniq}` on a standalone node, `{node@host|uniq}` in a cluster; uniq is `E.N`: the node's epoch and a counter, both
// base 36, so that no PID ever repeats, not even across restarts (cluster.md §0.1, lua-core.md §6.1).
//
// The counter carries, in its low digits, which slot of the node made it, so that a node finds the worker from the text alone.

/** How many slots (hosts' workers, restarts included, in use at once) a node can tell apart. */
export const SLOTS = 1024

export interface PidParts {
  /** Absent on a standalone node. */
  node: string | undefined
  host: string
  uniq: string
}

/** The parts of a PID's text, or undefined when it is not one. Needs the braces and one `|`; an extra leading `part|` is dropped. */
export function parsePid(text: string): PidParts | undefined {
  const length = text.length
  if (length < 5 || text.charCodeAt(0) !== 123 || text.charCodeAt(length - 1) !== 125) return undefined
  const bar = text.lastIndexOf('|')
  if (bar < 2 || bar === length - 2) return undefined
  const from = text.lastIndexOf('|', bar - 1) + 1 || 1
  const at = text.indexOf('@', from)
  const named = at >= 0 && at < bar
  const host = text.slice(named ? at + 1 : from, bar)
  if (host === '') return undefined
  return { node: named ? text.slice(from, at) : undefined, host, uniq: text.slice(bar + 1, -1) }
}

/** Whether the text has the shape of a PID; cheaper than parsing it. */
export function isPid(text: string): boolean {
  return text.charCodeAt(0) === 123 && parsePid(text) !== undefined
}

/** The slot that made this PID's counter; -1 when uniq is not of our form. */
export function slotOf(uniq: string): number {
  const dot = uniq.indexOf('.')
  if (dot < 1) return -1
  const counter = Number.parseInt(uniq.slice(dot + 1), 36)
  return Number.isNaN(counter) ? -1 : counter % SLOTS
}

/** The epoch of the run that made this PID; NaN when uniq is not of our form. */
export function epochOf(uniq: string): number {
  const dot = uniq.indexOf('.')
  return dot < 1 ? Number.NaN : Number.parseInt(uniq.slice(0, dot), 36)
}

/**
 * Makes the PIDs of one slot.
 * Invariant: no two makers of one node run share (slot, generation), and a generation makes fewer than 2^32 PIDs, so none repeats.
 */
export class PidMaker {
  readonly #head: string
  #next: number

  constructor(options: { node?: string | undefined; host: string; epoch: number; slot: number; generation: number }) {
    const { node, host, epoch, slot, generation } = options
    this.#head = `{${node === undefined ? '' : `${node}@`}${host}|${epoch.toString(36)}.`
    // Generations of a slot are 2^26 processes apart; the counter stays below 2^53 for 2^17 restarts of a worker.
    this.#next = generation * 2 ** 26 * SLOTS + slot
  }

  next(): string {
    const counter = this.#next
    this.#next += SLOTS
    return `${this.#head}${counter.toString(36)}}`
  }
}
