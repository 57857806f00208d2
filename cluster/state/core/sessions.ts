// Sessions of nodes and the results of their requests. cluster.md §5.10, §5.11. A session is open from the entry that opened it to
// the entry that ended it; results make a repeated request harmless.

import { assert } from '../../../runtime/base/assert.ts'
import { type Packed, pack, UnpackError, unpack } from '../../../runtime/base/msgpack.ts'
import { isOutcomeMap } from './commands.ts'
import { Fields } from './fields.ts'
import { sortedKeys, sortedNumbers } from './order.ts'
import type { Outcome, RequestId } from './outcomes.ts'

export const RESULTS_MAX = 1024
const RESULT_BYTES_MAX = 4096
/** Open sessions, and fences of ended ones, each. */
export const NODES_MAX = 10_000

export interface Session {
  readonly session: number
  readonly node: string
  readonly epoch: number
  readonly role: string
}

interface Open extends Session {
  floor: number
  readonly results: Map<number, Outcome>
}

/** The latest known run of a node. */
interface Known {
  readonly epoch: number
  /** Undefined: ended. */
  readonly session: number | undefined
  /** When it ended, 0 while open. The oldest are forgotten first. */
  readonly endedRevision: number
}

/** How a request stands: `new` is to be applied. */
export type Standing = { readonly kind: 'new' } | { readonly kind: 'answered'; readonly outcome: Outcome }

export class Sessions {
  readonly #open = new Map<number, Open>()
  readonly #known = new Map<string, Known>()
  /** Node names of ended runs in order of their end. */
  readonly #ended = new Set<string>()

  get count(): number {
    return this.#open.size
  }

  get(session: number): Session | undefined {
    return this.#open.get(session)
  }

  /** Of the node's open session. */
  ofNode(node: string): Session | undefined {
    const session = this.#known.get(node)?.session
    return session === undefined ? undefined : this.#open.get(session)
  }

  /** The highest epoch seen of this node; 0 when it is unknown. */
  epochOf(node: string): number {
    return this.#known.get(node)?.epoch ?? 0
  }

  /** All open ones, ascending. */
  sessions(): Session[] {
    return sortedNumbers(this.#open.keys()).map((session) => this.#open.get(session) as Open)
  }

  open(opened: Session): void {
    assert(this.ofNode(opened.node) === undefined, 'a node has one session at a time')
    this.#open.set(opened.session, { ...opened, floor: 0, results: new Map() })
    this.#known.set(opened.node, { epoch: opened.epoch, session: opened.session, endedRevision: 0 })
    this.#ended.delete(opened.node)
  }

  end(session: number, revision: number): void {
    const ended = this.#open.get(session)
    assert(ended !== undefined, 'only an open session ends')
    this.#open.delete(session)
    this.#known.set(ended.node, { epoch: ended.epoch, session: undefined, endedRevision: revision })
    this.#ended.add(ended.node)
    for (const node of this.#ended) {
      if (this.#ended.size <= NODES_MAX) break
      this.#ended.delete(node)
      this.#known.delete(node)
    }
  }

  /** Raises the floor, drops what lies below it, and says whether the request is to be applied. */
  receive(request: RequestId, floor: number): Standing {
    const open = this.#open.get(request.session)
    if (open === undefined) return { kind: 'answered', outcome: { status: 'session-expired' } }
    if (request.seq < open.floor) return { kind: 'answered', outcome: { status: 'stale-request' } }
    const outcome = open.results.get(request.seq)
    if (floor > open.floor) {
      open.floor = floor
      for (const seq of open.results.keys()) if (seq < floor) open.results.delete(seq)
    }
    if (outcome !== undefined) return { kind: 'answered', outcome }
    if (open.results.size < RESULTS_MAX) return { kind: 'new' }
    return { kind: 'answered', outcome: { status: 'overloaded', what: 'requests of this node' } }
  }

  /** Keeps the result. An outcome that says that nothing happened is not kept: the request may be tried again. */
  remember(request: RequestId, outcome: Outcome): void {
    if (outcome.status === 'overloaded') return
    const open = this.#open.get(request.session)
    if (open === undefined || request.seq < open.floor) return
    open.results.set(request.seq, pack(outcome).length > RESULT_BYTES_MAX ? { status: 'large' } : outcome)
  }

  result(request: RequestId): Outcome | undefined {
    return this.#open.get(request.session)?.results.get(request.seq)
  }

  records(): Uint8Array[] {
    const nodes = sortedKeys(this.#known)
    return nodes.map((node) => {
      const { epoch, session, endedRevision } = this.#known.get(node) as Known
      const open = session === undefined ? undefined : (this.#open.get(session) as Open)
      if (open === undefined) return pack({ node, epoch, ended: endedRevision })
      const results = sortedNumbers(open.results.keys()).map((seq) => [seq, open.results.get(seq) as Outcome])
      return pack({ node, epoch, session, role: open.role, floor: open.floor, results })
    })
  }

  /** @throws UnpackError */
  restore(records: readonly Uint8Array[]): void {
    this.#open.clear()
    this.#known.clear()
    this.#ended.clear()
    const ended: { node: string; revision: number }[] = []
    for (const record of records) {
      const f = new Fields(unpack(record))
      const [node, epoch, session] = [f.text('node'), f.count('epoch'), f.countOr('session', undefined)]
      const endedRevision = session === undefined ? f.count('ended') : 0
      this.#known.set(node, { epoch, session, endedRevision })
      if (session === undefined) ended.push({ node, revision: endedRevision })
      else {
        const results = new Map(f.list('results').map(readResult))
        this.#open.set(session, { session, node, epoch, role: f.text('role'), floor: f.count('floor'), results })
      }
    }
    ended.sort((a, b) => a.revision - b.revision)
    for (const { node } of ended) this.#ended.add(node)
  }
}

function readResult(value: Packed): [number, Outcome] {
  if (!Array.isArray(value)) throw new UnpackError('a result is no pair')
  const [seq, outcome] = value as readonly Packed[]
  if (typeof seq !== 'number' || outcome === undefined || !isOutcomeMap(outcome)) {
    throw new UnpackError('a result is no pair of a number and an outcome')
  }
  return [seq, { ...(outcome as object) } as Outcome]
}
