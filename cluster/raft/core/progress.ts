// What a leader knows of one follower and how it feeds it: probe (one question at a time), replicate (a pipeline), snapshot.
// Shape after etcd-io/raft tracker/progress.go; cluster.md §5.3.

import { assert } from '../../../runtime/base/assert.ts'
import type { SnapshotMeta } from './messages.ts'

/** An append with entries that was sent and not answered. */
interface Inflight {
  readonly lastIndex: number
  readonly bytes: number
  readonly sentMs: number
}

/** A snapshot on its way. */
interface Transfer {
  readonly snapshot: SnapshotMeta
  /** Bytes that the follower has made durable. */
  acked: number
  /** Bytes that were sent. Invariant: >= acked. */
  sent: number
  /** Whether the follower has told us where to begin. */
  isAgreed: boolean
  /** The round of the newest question where to begin. */
  offerRound: number
  /** When `acked` last grew. */
  progressMs: number
  /** When something was last sent. */
  sentMs: number
}

interface ProgressLimits {
  readonly inflightMax: number
  readonly inflightBytesMax: number
}

export class Progress {
  readonly #limits: ProgressLimits
  mode: 'probe' | 'replicate' | 'snapshot' = 'probe'
  /** Everything up to here is on the follower's disk and equal to ours. Invariant: match < next. */
  match = 0
  /** The newest round that had been drawn when `match` last grew: later questions must find that much. */
  matchRound = 0
  /** Index of the next entry to send. */
  next: number
  /** The newest round that the follower has answered in this term; tells when it was last in contact. */
  ackedRound = 0
  /** The probe that has not been answered. */
  probe: { round: number; sentMs: number } | undefined
  transfer: Transfer | undefined
  /** The snapshot that was last begun and has not been installed: with it a transfer that broke off goes on. */
  begun: SnapshotMeta | undefined
  /** When it last had more than before. */
  #advancedMs = Number.NEGATIVE_INFINITY
  /** The highest commit index that was sent along. */
  sentCommit = 0
  /** Entries are being fetched from our own disk for it. */
  isReading = false
  /** The connection takes no more for now. */
  isBlocked = false
  /** It has lost what it had acknowledged: never counted again. */
  isRegressed = false
  /** Left the configuration with the entry at this index; kept a while so that it hears of it. */
  departsAt: number | undefined
  departsByMs: number | undefined
  /** Since when it has been close behind the commit index. */
  syncedSinceMs: number | undefined
  applied = 0
  syncMs = 0
  #inflight: Inflight[] = []
  #inflightBytes = 0

  constructor(next: number, limits: ProgressLimits) {
    this.next = next
    this.#limits = limits
  }

  get inflightCount(): number {
    return this.#inflight.length
  }

  get oldestSentMs(): number | undefined {
    return this.#inflight[0]?.sentMs
  }

  /** Whether nothing with entries may be sent at the moment. */
  get isPaused(): boolean {
    if (this.isBlocked || this.isReading || this.isRegressed) return true
    if (this.mode === 'probe') return this.probe !== undefined
    if (this.mode === 'snapshot') return true
    return this.#inflight.length >= this.#limits.inflightMax || this.#inflightBytes >= this.#limits.inflightBytesMax
  }

  /** @param next where to look for agreement; between match + 1 and what was tried last */
  becomeProbe(next = this.match + 1): void {
    this.mode = 'probe'
    this.next = Math.max(next, this.match + 1)
    this.probe = undefined
    this.transfer = undefined
    this.sentCommit = Math.min(this.sentCommit, this.match)
    this.#clear()
  }

  becomeReplicate(): void {
    this.mode = 'replicate'
    this.next = this.match + 1
    this.probe = undefined
    this.transfer = undefined
    this.begun = undefined
    this.#clear()
  }

  becomeSnapshot(snapshot: SnapshotMeta, nowMs: number): void {
    this.mode = 'snapshot'
    this.next = snapshot.index + 1
    this.probe = undefined
    this.#clear()
    // To begin is worth something once: who never gets further is not waited for.
    if (this.begun?.checksum !== snapshot.checksum) this.#advancedMs = nowMs
    this.begun = snapshot
    this.transfer = { snapshot, acked: 0, sent: 0, isAgreed: false, offerRound: 0, progressMs: nowMs, sentMs: nowMs }
  }

  /** Notes an append that goes out now. */
  sent(append: { lastIndex: number; bytes: number; count: number; round: number; nowMs: number }): void {
    switch (this.mode) {
      case 'probe':
        this.probe = { round: append.round, sentMs: append.nowMs }
        break
      case 'replicate':
        if (append.count === 0) break
        assert(append.lastIndex >= this.next, 'a pipeline only moves on')
        this.next = append.lastIndex + 1
        this.#inflight.push({ lastIndex: append.lastIndex, bytes: append.bytes, sentMs: append.nowMs })
        this.#inflightBytes += append.bytes
        break
      case 'snapshot':
        assert(append.count === 0, 'no entries while a snapshot is on its way')
    }
  }

  /** The snapshot on its way has got further. */
  advanced(nowMs: number): void {
    this.#advancedMs = nowMs
    if (this.transfer !== undefined) this.transfer.progressMs = nowMs
  }

  /** The entry after which it needs the log; undefined when that is not known, or it has not got further after `sinceMs`. */
  neededAfter(sinceMs: number): number | undefined {
    if (this.isRegressed || this.departsAt !== undefined || this.#advancedMs <= sinceMs) return undefined
    const index = Math.max(this.match, this.begun?.index ?? 0)
    return index === 0 ? undefined : index
  }

  /** Notes that everything up to `index` arrived. `lastRound`: the newest round drawn so far. True when that was news. */
  acknowledged(index: number, lastRound: number, nowMs: number): boolean {
    let through = 0
    while ((this.#inflight[through]?.lastIndex ?? Number.POSITIVE_INFINITY) <= index) {
      this.#inflightBytes -= (this.#inflight[through] as Inflight).bytes
      through++
    }
    if (through > 0) this.#inflight.splice(0, through)
    if (index <= this.match) return false
    this.match = index
    this.matchRound = lastRound
    this.#advancedMs = nowMs
    this.next = Math.max(this.next, index + 1)
    return true
  }

  #clear(): void {
    this.#inflight = []
    this.#inflightBytes = 0
  }
}
