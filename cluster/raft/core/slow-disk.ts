// When a leader should leave since its disk is slow: every proposal waits for a majority, of which it could be the slowest part.
// cluster.md §5.6.

import type { ServerId } from './server.ts'

/** What another voter tells of itself. */
export interface VoterDisk {
  readonly server: ServerId
  /** Average time of a synced write; 0: it has told nothing yet. */
  readonly syncMs: number
  /** Since it answered last. */
  readonly silentMs: number
  /** It has all that the leader has, but for a little. */
  readonly isSynced: boolean
}

const SLOW_MS = 10_000
/** A disk is slow when another one is this many times faster: where all are slow, it is the load. */
const FACTOR = 10
/** Of `heartbeat_timeout`. */
const SHARE = 1 / 3

export const isSlowSync = (syncMs: number, heartbeatTimeoutMs: number): boolean => syncMs > heartbeatTimeoutMs * SHARE

export class SlowDisk {
  #sinceMs: number | undefined

  /** It may be about to leave: look again soon. */
  get isSuspected(): boolean {
    return this.#sinceMs !== undefined
  }

  /**
   * To be asked every second or so while it is suspected.
   * @param syncMs of the leader
   * @param voters the others
   * @returns who should lead instead: the fastest of those with the log
   */
  look(
    syncMs: number,
    voters: readonly VoterDisk[],
    { nowMs, heartbeatTimeoutMs }: { readonly nowMs: number; readonly heartbeatTimeoutMs: number },
  ): ServerId | undefined {
    const faster = voters.filter((voter) => {
      return voter.syncMs > 0 && voter.syncMs * FACTOR < syncMs && voter.silentMs < heartbeatTimeoutMs
    })
    if (!isSlowSync(syncMs, heartbeatTimeoutMs) || faster.length === 0) {
      this.#sinceMs = undefined
      return undefined
    }
    this.#sinceMs ??= nowMs
    if (nowMs < this.#sinceMs + SLOW_MS) return undefined
    return faster.filter(({ isSynced }) => isSynced).sort((a, b) => a.syncMs - b.syncMs)[0]?.server
  }

  /** Another leads. */
  forget(): void {
    this.#sinceMs = undefined
  }
}
