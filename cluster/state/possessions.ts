// Ends of this node's processes, told to the replicated state: what a process owned there is free afterwards. Several ends go together, and
// each is told until it is acknowledged or the session that owned everything is over. cluster.md §6.2. PIDs are text.

import { MoonmeshError } from '../../runtime/base/errors.ts'
import type { Fabric } from '../fabric.ts'
import type { ClusterState } from './state.ts'

const BATCH_MS = 10
const BATCH_PIDS_MAX = 256
const RETRY_MS = 1000

/** A process asks for something that ends with it. */
export interface Asking {
  /** Whether it has ended meanwhile. */
  readonly hasEnded: boolean
  /** The outcome is there, or nobody will learn it. Once. */
  answered(): void
}

export class Possessions {
  readonly #fabric: Pick<Fabric, 'after'>
  readonly #state: Pick<ClusterState, 'submit' | 'onSession'>
  /** Those that may own something: an answer that did not come counts as yes. */
  readonly #owners = new Set<string>()
  /** Requests whose outcome is open, by process, and those of these processes that have ended. */
  readonly #asking = new Map<string, number>()
  readonly #endedAsking = new Set<string>()
  /** Processes that ended, until the log says so. */
  readonly #ended = new Set<string>()
  /** Those of them that are to be told. */
  readonly #unsaid = new Set<string>()
  #cancel: (() => void) | undefined
  #isClosed = false
  readonly #unsubscribe: () => void

  constructor(fabric: Pick<Fabric, 'after'>, state: Pick<ClusterState, 'submit' | 'onSession'>) {
    this.#fabric = fabric
    this.#state = state
    this.#unsubscribe = state.onSession(({ kind }) => {
      if (kind !== 'ended' && kind !== 'fenced') return
      this.#owners.clear()
      for (const pid of this.#unsaid) this.#ended.delete(pid)
      this.#unsaid.clear()
    })
  }

  /** Before it is asked. What is given may be given in another session than the one of now, and after the end of the process. */
  asks(pid: string): Asking {
    this.#owners.add(pid)
    this.#asking.set(pid, (this.#asking.get(pid) ?? 0) + 1)
    const hasEnded = (): boolean => this.#endedAsking.has(pid)
    return {
      get hasEnded() {
        return hasEnded()
      },
      answered: () => this.#answered(pid),
    }
  }

  #answered(pid: string): void {
    const left = (this.#asking.get(pid) ?? 1) - 1
    if (left > 0) this.#asking.set(pid, left)
    else this.#asking.delete(pid)
    if (!this.#endedAsking.has(pid)) {
      this.#owners.add(pid)
      return
    }
    if (left === 0) this.#endedAsking.delete(pid)
    // What its end released may have been given after that.
    this.#isDown(pid)
  }

  /** The process has ended. */
  exited(pid: string): void {
    const isAsking = this.#asking.has(pid)
    if (!this.#owners.delete(pid) && !isAsking) return
    if (isAsking) this.#endedAsking.add(pid)
    this.#isDown(pid)
  }

  /** Somebody wants what one of them has left: no more wait for others to end. */
  tellNow(): void {
    if (!this.#isClosed) this.#tell()
  }

  /** How many have ended that the log may not know of. */
  get endedCount(): number {
    return this.#ended.size
  }

  /** Whether it ended, and the log may not know. */
  isEnded(pid: string): boolean {
    return this.#ended.has(pid)
  }

  #isDown(pid: string): void {
    this.#ended.add(pid)
    this.#unsaid.add(pid)
    this.#soon(BATCH_MS)
  }

  #soon(delayMs: number): void {
    if (this.#isClosed) return
    this.#cancel ??= this.#fabric.after(delayMs, () => {
      this.#cancel = undefined
      this.#tell()
    })
  }

  #tell(): void {
    const pids = [...this.#unsaid].slice(0, BATCH_PIDS_MAX)
    if (pids.length === 0) return
    for (const pid of pids) this.#unsaid.delete(pid)
    if (this.#unsaid.size > 0) this.#soon(0)
    const done = (): void => {
      for (const pid of pids) if (!this.#unsaid.has(pid)) this.#ended.delete(pid)
    }
    const command = { kind: 'proc-down', pids } as const
    this.#state.submit(command, { deadlineMs: Number.POSITIVE_INFINITY }).then(done, (error: unknown) => {
      // Too much is under way. Any other failure means that the session is over, and its possessions with it.
      if (this.#isClosed || !(error instanceof MoonmeshError) || error.kind !== 'LimitExceeded') return done()
      for (const pid of pids) this.#unsaid.add(pid)
      this.#soon(RETRY_MS)
    })
  }

  close(): void {
    this.#isClosed = true
    this.#cancel?.()
    this.#unsubscribe()
  }
}
