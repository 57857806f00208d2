// Process ids. `{host|uniq}` on a standalone node, `{node@host|uniq}` in a cluster; uniq is `E.N`: the node's epoch and a counter, both
// base 36, so that no PID ever repeats, not even across restarts (cluster.md §0.1, lua-core.md §6.1).
//
// The last two digits of the counter say which slot of the node made it, so that a node finds the worker from the text alone.

/** How many slots (hosts' workers, restarts included, in use at once) a node can tell apart. */
export const SLOTS = 1024
const SLOT_DIGITS = 2
/** How many PIDs one generation of a slot can make. */
const GENERATION = 2 ** 32

interface PidParts {
  /** Absent on a standalone node. */
  readonly node: string | undefined
  readonly host: string
  readonly uniq: string
  /** The epoch of the run that made it; NaN when uniq is not of our form. */
  readonly epoch: number
  /** The slot that made it; -1 when uniq is not of our form. */
  readonly slot: number
}

/** The parts of a PID's text, or undefined when it is not one. Needs the braces and one `|`; an extra leading `part|` is dropped. */
export function parsePid(text: string): PidParts | undefined {
  if (text === lastText) return lastParts
  let parts = recent.get(text) ?? former.get(text)
  if (parts === undefined) {
    parts = partsOf(text)
    if (parts === undefined) return undefined
    if (recent.size >= REMEMBERED) {
      former = recent
      recent = new Map()
    }
    recent.set(text, parts)
  }
  lastText = text
  lastParts = parts
  return parts
}

/** On its way a message has its PIDs parsed again and again, and who talks once talks more: recent ones are remembered. */
const REMEMBERED = 1024
let recent = new Map<string, PidParts>()
let former = new Map<string, PidParts>()
let lastText = ''
let lastParts: PidParts | undefined

function partsOf(text: string): PidParts | undefined {
  const length = text.length
  if (length < 5 || text.charCodeAt(0) !== 123 || text.charCodeAt(length - 1) !== 125) return undefined
  const bar = text.lastIndexOf('|')
  if (bar < 2 || bar === length - 2) return undefined
  const from = text.lastIndexOf('|', bar - 1) + 1 || 1
  const at = text.indexOf('@', from)
  const named = at >= 0 && at < bar
  const host = text.slice(named ? at + 1 : from, bar)
  if (host === '') return undefined
  const uniq = text.slice(bar + 1, -1)
  return { node: named ? text.slice(from, at) : undefined, host, uniq, epoch: epochOf(uniq), slot: slotOf(uniq) }
}

/** The one form of a PID, without an extra leading `part|`; undefined when the text is none. */
export function canonicalPid(text: string): string | undefined {
  if (parsePid(text) === undefined) return undefined
  const extra = text.lastIndexOf('|', text.lastIndexOf('|') - 1)
  return extra < 0 ? text : `{${text.slice(extra + 1)}`
}

/** Between a function's id and the number of the run, in the host part of the run's PID. */
const FUNCTION_MARK = '#lua.'

/** Whether the host part of a PID names a function: then only its slot tells where it runs. */
export const isFunctionHost = (host: string): boolean => host.includes(FUNCTION_MARK)

/** The slot that made this PID's counter; -1 when uniq is not of our form. */
export function slotOf(uniq: string): number {
  const dot = uniq.indexOf('.')
  if (dot < 1 || uniq.length - dot <= SLOT_DIGITS) return -1
  const slot = Number.parseInt(uniq.slice(-SLOT_DIGITS), 36)
  return Number.isNaN(slot) ? -1 : slot
}

/** The epoch of the run that made this PID; NaN when uniq is not of our form. */
export function epochOf(uniq: string): number {
  const dot = uniq.indexOf('.')
  return dot < 1 ? Number.NaN : Number.parseInt(uniq.slice(0, dot), 36)
}

/**
 * Makes the PIDs of one slot.
 * Invariant: no two makers of one node run share (host, slot, generation), a generation makes fewer than 2^32 PIDs, and there are fewer than
 * 2^21 generations, so none repeats.
 */
export class PidMaker {
  readonly #node: string
  readonly #epoch: string
  readonly #head: string
  readonly #tail: string
  readonly #first: number
  #next: number

  constructor(options: { node?: string | undefined; host: string; epoch: number; slot: number; generation: number }) {
    const { node, host, epoch, slot, generation } = options
    this.#node = node === undefined ? '' : `${node}@`
    this.#epoch = epoch.toString(36)
    this.#head = `{${this.#node}${host}|${this.#epoch}.`
    this.#tail = `${slot.toString(36).padStart(SLOT_DIGITS, '0')}}`
    this.#first = generation * GENERATION
    this.#next = this.#first
  }

  next(): string {
    // Joined, the text is one string; as a template it would stay three, and there is one for each process.
    return [this.#head, (this.#next++).toString(36), this.#tail].join('')
  }

  /** The PID of a function's run: its host part names the function (lua-core.md §6.1). */
  nextForFunction(functionId: string): string {
    const n = this.#next - this.#first + 1
    return `{${this.#node}${functionId}${FUNCTION_MARK}${n}|${this.#epoch}.${this.#uniq()}`
  }

  #uniq(): string {
    return `${(this.#next++).toString(36)}${this.#tail}`
  }
}
