// The log of one server: positions of everything since the base, the newest entries themselves, and the configurations
// among them. Raft §5.3, §7; shape after etcd-io/raft log.go. Pure memory: what must reach the disk is the caller's matter.

import { assert } from '../../../runtime/base/assert.ts'
import { type Entry, entryBytes, type LogPosition } from './entry.ts'
import type { Configuration } from './membership.ts'

/** Entries of one term that follow each other. */
export interface Run {
  /** Index of the first of them. */
  readonly first: number
  readonly term: number
}

/** A configuration and the index of the entry that brought it; the first one may come from a snapshot. */
export interface PlacedConfiguration {
  readonly index: number
  readonly configuration: Configuration
}

/** Where a log begins. */
interface LogStart {
  /** The last entry before it. */
  readonly base: LogPosition
  /** Terms of the entries that are on disk only. */
  readonly runs: readonly Run[]
  /** The last entry that is on disk only, or the base; and the log clock there. */
  readonly onDisk: { readonly index: number; readonly clockMs: number }
}

/** What can be sent to a follower that has everything up to some index. */
type Slice = { kind: 'entries'; entries: Entry[] } | { kind: 'on-disk' } | { kind: 'compacted' }

export class Log {
  /** The last entry that is no longer kept; its term is known still. Zero: none. */
  #base: LogPosition
  /** Invariant: covers exactly (#base.index, lastIndex], terms strictly rising. */
  #runs: Run[] = []
  /** Invariant: holds (#cachedAfter, lastIndex], without gaps. */
  #entries: Entry[] = []
  #cachedAfter: number
  #cachedBytes = 0
  /** Log clock of the entry at #cachedAfter. */
  #cachedAfterClockMs: number
  #lastIndex: number
  /** Invariant: not empty, indexes strictly rising. */
  #configurations: PlacedConfiguration[]

  /** @param initial in force before the first of `entries` that holds a configuration */
  constructor({ base, runs, onDisk }: LogStart, initial: PlacedConfiguration, entries: readonly Entry[] = []) {
    assert(base.index <= onDisk.index, 'the log begins behind its base')
    this.#base = { index: base.index, term: base.term }
    this.#runs = [...runs]
    this.#cachedAfterClockMs = onDisk.clockMs
    this.#cachedAfter = onDisk.index
    this.#lastIndex = onDisk.index
    this.#configurations = [initial]
    for (const entry of entries) this.append(entry)
  }

  get base(): LogPosition {
    return this.#base
  }

  get lastIndex(): number {
    return this.#lastIndex
  }

  get lastTerm(): number {
    return this.#runs[this.#runs.length - 1]?.term ?? this.#base.term
  }

  get last(): LogPosition {
    return { index: this.lastIndex, term: this.lastTerm }
  }

  get lastClockMs(): number {
    return this.#entries[this.#entries.length - 1]?.clockMs ?? this.#cachedAfterClockMs
  }

  get cachedBytes(): number {
    return this.#cachedBytes
  }

  /** The newest configuration, committed or not, and where it stands. */
  get newest(): PlacedConfiguration {
    return this.#configurations[this.#configurations.length - 1] as PlacedConfiguration
  }

  /** The configuration in force at `index`. */
  configurationAt(index: number): PlacedConfiguration {
    for (let at = this.#configurations.length - 1; at > 0; at--) {
      const placed = this.#configurations[at] as PlacedConfiguration
      if (placed.index <= index) return placed
    }
    return this.#configurations[0] as PlacedConfiguration
  }

  /** Configurations of entries in (after, through]. */
  configurationsBetween(after: number, through: number): PlacedConfiguration[] {
    return this.#configurations.filter((placed) => placed.index > after && placed.index <= through)
  }

  /** The term at `index`; undefined before the base and after the end. */
  term(index: number): number | undefined {
    if (index === this.#base.index) return this.#base.term
    if (index < this.#base.index || index > this.#lastIndex) return undefined
    return this.#runAt(index).term
  }

  matches(position: LogPosition): boolean {
    return this.term(position.index) === position.term
  }

  /** The entry at `index`, when it is in memory. */
  entry(index: number): Entry | undefined {
    return index > this.#cachedAfter ? this.#entries[index - this.#cachedAfter - 1] : undefined
  }

  append(entry: Entry): void {
    assert(entry.index === this.#lastIndex + 1, `entry ${entry.index} follows ${this.#lastIndex}`)
    assert(entry.term >= this.lastTerm, `term ${entry.term} of entry ${entry.index} is not below ${this.lastTerm}`)
    if (entry.term !== this.#runs[this.#runs.length - 1]?.term)
      this.#runs.push({ first: entry.index, term: entry.term })
    this.#entries.push(entry)
    this.#cachedBytes += entryBytes(entry)
    this.#lastIndex = entry.index
    // The first configuration may come from a snapshot and be newer than some of the entries that are still kept.
    if (entry.kind === 'configuration' && entry.index > this.newest.index)
      this.#configurations.push({ index: entry.index, configuration: entry.configuration })
  }

  /** Forgets everything after `index`. A configuration among it is no longer in force. */
  truncateAfter(index: number): void {
    assert(index >= this.#cachedAfter, `entry ${index} may still be changed`)
    for (const entry of this.#entries.splice(index - this.#cachedAfter)) this.#cachedBytes -= entryBytes(entry)
    while ((this.#runs[this.#runs.length - 1]?.first ?? 0) > index) this.#runs.pop()
    while (this.#configurations.length > 1 && this.newest.index > index) this.#configurations.pop()
    this.#lastIndex = Math.min(this.#lastIndex, index)
  }

  /** Makes `index` the base: nothing up to it is kept. */
  compactTo(index: number): void {
    const term = this.term(index)
    assert(term !== undefined, `${index} is within the log`)
    this.#dropCached(index)
    let runs = 0
    while ((this.#runs[runs + 1]?.first ?? Number.POSITIVE_INFINITY) <= index + 1) runs++
    this.#runs.splice(0, runs)
    const first = this.#runs[0]
    if (first !== undefined) {
      if (index >= this.#lastIndex) this.#runs = []
      else this.#runs[0] = { first: Math.max(first.first, index + 1), term: first.term }
    }
    this.#base = { index, term }
    this.#configurations = [
      this.configurationAt(index),
      ...this.#configurations.filter((placed) => placed.index > index),
    ]
  }

  /** Starts over behind a snapshot. */
  reset(base: LogPosition & { clockMs: number }, configuration: Configuration): void {
    this.#base = { index: base.index, term: base.term }
    this.#cachedAfterClockMs = base.clockMs
    this.#runs = []
    this.#entries = []
    this.#cachedAfter = base.index
    this.#cachedBytes = 0
    this.#lastIndex = base.index
    this.#configurations = [{ index: base.index, configuration }]
  }

  /** Drops entries up to `index` from memory, oldest first, while more than `bytesMax` are held; the disk has them. */
  evict(index: number, bytesMax: number): void {
    // A quarter above the limit before anything happens: moving the rest of the array down is not free.
    if (this.#cachedBytes <= bytesMax * 1.25) return
    let bytes = this.#cachedBytes
    let through = this.#cachedAfter
    while (bytes > bytesMax && through < index) {
      bytes -= entryBytes(this.#entries[through - this.#cachedAfter] as Entry)
      through++
    }
    this.#dropCached(through)
  }

  /** Entries after `index`, at least one when there is one, no more than the limits allow. */
  after(index: number, limits: { entriesMax: number; bytesMax: number }): Slice {
    if (index < this.#base.index) return { kind: 'compacted' }
    if (index < this.#cachedAfter) return { kind: 'on-disk' }
    const entries: Entry[] = []
    let bytes = 0
    for (let at = index - this.#cachedAfter; at < this.#entries.length && entries.length < limits.entriesMax; at++) {
      const entry = this.#entries[at] as Entry
      bytes += entryBytes(entry)
      if (bytes > limits.bytesMax && entries.length > 0) break
      entries.push(entry)
    }
    return { kind: 'entries', entries }
  }

  /**
   * Where a leader whose entry `previous` is not here should go on: the end of the log, or the first entry of the term that
   * stands in the way. Raft §5.3, the last paragraphs: one refusal a term, not one an entry.
   */
  conflict(previous: LogPosition): { index: number; term?: number } {
    if (previous.index > this.#lastIndex) return { index: this.#lastIndex + 1 }
    const run = this.#runs.length > 0 && previous.index > this.#base.index ? this.#runAt(previous.index) : undefined
    return run === undefined ? { index: this.#base.index + 1 } : { index: run.first, term: run.term }
  }

  /** The last index of an entry of `term`, when there is one after the base. */
  lastIndexOf(term: number): number | undefined {
    for (let at = this.#runs.length - 1; at >= 0; at--) {
      const run = this.#runs[at] as Run
      if (run.term === term) return (this.#runs[at + 1]?.first ?? this.#lastIndex + 1) - 1
      if (run.term < term) return undefined
    }
    return undefined
  }

  #runAt(index: number): Run {
    let low = 0
    let high = this.#runs.length - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if ((this.#runs[middle] as Run).first <= index) low = middle
      else high = middle - 1
    }
    return this.#runs[low] as Run
  }

  #dropCached(through: number): void {
    if (through <= this.#cachedAfter) return
    for (const entry of this.#entries.splice(0, through - this.#cachedAfter)) {
      this.#cachedBytes -= entryBytes(entry)
      this.#cachedAfterClockMs = entry.clockMs
    }
    this.#cachedAfter = through
  }
}
