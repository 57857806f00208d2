// Ends of this node's processes, told to the replicated state: what a process owned there is free afterwards. Several ends go together, and
// each is told until it is acknowledged or the session that owned everything is over. cluster.md §6.2.

import { MoonmeshError } from '../../runtime/base/errors.ts'
import type { Fabric } from '../fabric.ts'
import type { ClusterState } from './state.ts'

const BATCH_MS = 10
const BATCH_PIDS_MAX = 256
const RETRY_MS = 1000

export class Possessions {
  readonly #fabric: Pick<Fabric, 'after'>
  readonly #state: Pick<ClusterState, 'submit' | 'onSession'>
  /** Those that may own something: an answer that did not come counts as yes. */
  readonly #owners = new Set<string>()
  #ended: string[] = []
  #cancel: (() => void) | undefined
  readonly #unsubscribe: () => void

  constructor(fabric: Pick<Fabric, 'after'>, state: Pick<ClusterState, 'submit' | 'onSession'>) {
    this.#fabric = fabric
    this.#state = state
    this.#unsubscribe = state.onSession(({ kind }) => {
      if (kind !== 'ended') return
      this.#owners.clear()
      this.#ended = []
    })
  }

  /** The process is about to ask for something that ends with it. */
  mayOwn(pid: string): void {
    this.#owners.add(pid)
  }

  /** The process has ended. */
  exited(pid: string): void {
    if (!this.#owners.delete(pid)) return
    this.#ended.push(pid)
    this.#soon(BATCH_MS)
  }

  #soon(delayMs: number): void {
    this.#cancel ??= this.#fabric.after(delayMs, () => {
      this.#cancel = undefined
      this.#tell()
    })
  }

  #tell(): void {
    const pids = this.#ended.splice(0, BATCH_PIDS_MAX)
    if (pids.length === 0) return
    if (this.#ended.length > 0) this.#soon(0)
    this.#state
      .submit({ kind: 'proc-down', pids }, { deadlineMs: Number.POSITIVE_INFINITY })
      .catch((error: unknown) => {
        // Too much is under way. Any other failure means that the session is over, and its possessions with it.
        if (!(error instanceof MoonmeshError) || error.kind !== 'LimitExceeded') return
        this.#ended.push(...pids)
        this.#soon(RETRY_MS)
      })
  }

  close(): void {
    this.#cancel?.()
    this.#unsubscribe()
  }
}
