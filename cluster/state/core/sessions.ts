// Sessions of nodes and the results of their requests. cluster.md §5.10, §5.11. A session is open from the entry that opened it to
// the entry that ended it; results make a repeated request harmless.

import { assert } from '../../../runtime/base/assert.ts'
import { isPackedMap, type Packed, pack, UnpackError, unpack } from '../../../runtime/base/msgpack.ts'
import { Fields } from './fields.ts'
import { sortedNumbers } from './order.ts'
import type { Outcome, RequestId } from './outcomes.ts'
import { Table, type TableView } from './table.ts'

export const RESULTS_MAX = 1024
/** No honest node gives up so many while an older one is open. */
const CONCLUDED_MAX = 2 * RESULTS_MAX
const RESULT_BYTES_MAX = 4096
/** Open sessions, and fences of ended ones, each. */
export const NODES_MAX = 10_000

interface Session {
  readonly session: number
  readonly node: string
  readonly epoch: number
  readonly role: string
}

/** The latest known run of a node. */
interface Known extends Session {
  /** Zero: ended. */
  readonly session: number
  /** When it ended, 0 while open. The oldest are forgotten first. */
  readonly endedRevision: number
  /** Invariant: every result has a seq at or above it. */
  floor: number
  readonly results: Map<number, Outcome>
  /**
   * Requests that were told `pending`, and their answers since. They may take long, so the floor passes over them; each stays until the
   * node says that it knows the answer.
   */
  readonly late: Map<number, Outcome>
}

/** How a request stands: `new` is to be applied. */
type Standing = { readonly kind: 'new' } | { readonly kind: 'answered'; readonly outcome: Outcome }

export class Sessions {
  readonly #known = new Table<Known>((known) => ({
    ...known,
    results: new Map(known.results),
    late: new Map(known.late),
  }))
  readonly #nodes = new Map<number, string>()
  /** Node names of ended runs in order of their end. */
  readonly #ended = new Set<string>()

  get count(): number {
    return this.#nodes.size
  }

  get(session: number): Session | undefined {
    return this.#open(session)
  }

  /** Of the node's open session. */
  ofNode(node: string): Session | undefined {
    const known = this.#known.get(node)
    return known === undefined || known.session === 0 ? undefined : known
  }

  /** The highest epoch seen of this node; 0 when it is unknown. */
  epochOf(node: string): number {
    return this.#known.get(node)?.epoch ?? 0
  }

  /** All open ones, ascending. */
  sessions(): Session[] {
    return this.numbers().map((session) => this.#open(session) as Session)
  }

  /** Of all open ones, ascending. */
  numbers(): number[] {
    return sortedNumbers(this.#nodes.keys())
  }

  open(opened: Session): void {
    assert(this.ofNode(opened.node) === undefined, 'a node has one session at a time')
    this.#nodes.set(opened.session, opened.node)
    this.#known.set(opened.node, { ...opened, endedRevision: 0, floor: 0, results: new Map(), late: new Map() })
    this.#ended.delete(opened.node)
  }

  end(session: number, revision: number): void {
    const ended = this.#open(session)
    assert(ended !== undefined, 'only an open session ends')
    const { node, epoch, role } = ended
    this.#nodes.delete(session)
    const nothing = { floor: 0, results: new Map(), late: new Map() }
    this.#known.set(node, { node, epoch, role, session: 0, endedRevision: revision, ...nothing })
    this.#ended.add(node)
    for (const oldest of this.#ended) {
      if (this.#ended.size <= NODES_MAX) break
      this.#ended.delete(oldest)
      this.#known.delete(oldest)
    }
  }

  /**
   * Raises the floor, drops what lies below it and what the node is done with, and says whether the request is to be applied.
   * @param done requests that are over for the node: told `pending` once and ended, or given up. One that was given up and has not arrived is
   *   over as well: should it come later, it finds that it was answered
   */
  receive(request: RequestId, floor: number, done: readonly number[]): Standing {
    const node = this.#nodes.get(request.session)
    const known = node === undefined ? undefined : this.#known.get(node)
    if (node === undefined || known === undefined) return { kind: 'answered', outcome: { status: 'session-expired' } }
    const outcome = known.late.get(request.seq) ?? known.results.get(request.seq)
    if (outcome === undefined && request.seq < known.floor) {
      return { kind: 'answered', outcome: { status: 'stale-request' } }
    }
    if (floor > known.floor) raiseFloor(this.#known.own(node) as Known, floor)
    if (done.length > 0) conclude(this.#known.own(node) as Known, done)
    if (outcome !== undefined) return { kind: 'answered', outcome }
    const { results, late, floor: lowest } = this.#known.get(node) as Known
    // The first that is open is what all others wait for: its answer lets the floor rise.
    if (results.size + late.size < RESULTS_MAX || request.seq === lowest) return { kind: 'new' }
    return { kind: 'answered', outcome: { status: 'overloaded', what: 'requests of this node' } }
  }

  /** Keeps the result. An outcome that says that nothing happened is not kept: the request may be tried again. */
  remember(request: RequestId, outcome: Outcome): void {
    if (outcome.status === 'overloaded') return
    const node = this.#nodes.get(request.session)
    const known = node === undefined ? undefined : this.#known.get(node)
    if (node === undefined || known === undefined || request.seq < known.floor) return
    const own = this.#known.own(node) as Known
    if (outcome.status === 'pending') own.late.set(request.seq, outcome)
    else own.results.set(request.seq, kept(outcome))
  }

  /** The answer of a request that was told `pending`. */
  answer(request: RequestId, outcome: Outcome): void {
    const node = this.#nodes.get(request.session)
    const known = node === undefined ? undefined : this.#known.get(node)
    // Who is done with it does not want to know.
    if (node !== undefined && known?.late.has(request.seq) === true) {
      this.#known.own(node)?.late.set(request.seq, kept(outcome))
    }
  }

  result(request: RequestId): Outcome | undefined {
    const known = this.#open(request.session)
    return known?.late.get(request.seq) ?? known?.results.get(request.seq)
  }

  view(): TableView<Known> {
    return this.#known.view()
  }

  /** One record of a snapshot. @throws UnpackError */
  load(record: Uint8Array): void {
    const f = new Fields(unpack(record))
    const [node, epoch, session] = [f.text('node'), f.count('epoch'), f.countOr('session', 0)]
    const results = session === 0 ? new Map<number, Outcome>() : new Map(f.list('results').map(readResult))
    const late = session === 0 ? new Map<number, Outcome>() : new Map(f.list('late').map(readResult))
    const floor = session === 0 ? 0 : f.count('floor')
    const endedRevision = session === 0 ? f.count('ended') : 0
    this.#known.set(node, { node, epoch, session, endedRevision, role: f.text('role'), floor, results, late })
    if (session !== 0) this.#nodes.set(session, node)
  }

  /** After the last record. */
  loaded(): void {
    const ended = [...this.#known.rows()].filter(([, { session }]) => session === 0)
    ended.sort(([, a], [, b]) => a.endedRevision - b.endedRevision)
    for (const [node] of ended) this.#ended.add(node)
  }

  #open(session: number): Known | undefined {
    const node = this.#nodes.get(session)
    return node === undefined ? undefined : this.#known.get(node)
  }
}

/** @param node the key of the row */
export function sessionRecord(node: string, known: Known): Uint8Array {
  const { epoch, session, role, endedRevision, floor, results, late } = known
  if (session === 0) return pack({ node, epoch, role, ended: endedRevision })
  return pack({ node, epoch, session, role, floor, results: pairs(results), late: pairs(late) })
}

function pairs(outcomes: ReadonlyMap<number, Outcome>): Packed {
  return sortedNumbers(outcomes.keys()).map((seq) => [seq, outcomes.get(seq) as Packed])
}

function kept(outcome: Outcome): Outcome {
  return pack(outcome as Packed).length > RESULT_BYTES_MAX ? { status: 'large' } : outcome
}

function conclude({ floor, results, late }: Known, done: readonly number[]): void {
  for (const seq of done) {
    late.delete(seq)
    if (seq >= floor && !results.has(seq) && results.size < CONCLUDED_MAX) results.set(seq, { status: 'aborted' })
  }
}

function raiseFloor(known: Known, floor: number): void {
  const { results } = known
  if (floor - known.floor < results.size) {
    for (let seq = known.floor; seq < floor; seq++) results.delete(seq)
  } else {
    for (const seq of results.keys()) if (seq < floor) results.delete(seq)
  }
  known.floor = floor
}

function readResult(value: Packed): [number, Outcome] {
  if (!Array.isArray(value)) throw new UnpackError('a result is no pair')
  const [seq, outcome] = value as readonly Packed[]
  if (typeof seq !== 'number' || !isPackedMap(outcome) || typeof outcome['status'] !== 'string') {
    throw new UnpackError('a result is no pair of a number and an outcome')
  }
  return [seq, { ...(outcome as object) } as Outcome]
}
