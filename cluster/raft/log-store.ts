// The log and the hard state of one store on its disk: appended and voted durably or not at all, and checked entry by entry when
// it is opened. cluster.md §5.1; what goes where is decided in core/, this only keeps it.
//
// Keys:  "h"  hard state  ·  "s"  where the log begins and ends  ·  "e" + index u64 BE  an entry  ·  "p"  written to see whether
// writing works. Every value ends with a CRC-32C over its key and itself, so that no value can stand in for another.
//
// "s" is written with every change of the log, in the same batch. So a log that has lost its end to a damaged disk does not look
// like a shorter one, and entries before its beginning are leftovers, which are removed little by little.

import { assert } from '../../runtime/base/assert.ts'
import { MoonmeshError, messageOf } from '../../runtime/base/errors.ts'
import { isPackedMap, type Packed, pack, UnpackError, unpack } from '../../runtime/base/msgpack.ts'
import { crc32c } from '../storage/crc32c.ts'
import type { KeyRange, Operation, Storage } from '../storage/storage.ts'
import type { HardState, PersistEffect } from './core/effects.ts'
import { type Entry, entryBytes, type LogPosition } from './core/entry.ts'
import type { Run } from './core/log.ts'
import { LogSizes } from './core/log-sizes.ts'
import type { StoredState } from './core/recovery.ts'
import { EntryBytes, packHardState, unpackEntry, unpackHardState } from './wire/entry.ts'

const FORMAT = 1
const HARD_STATE = Uint8Array.of(0x68)
const STATE = Uint8Array.of(0x73)
const PROBE = Uint8Array.of(0x70)
const ENTRY = 0x65
const CHECKSUM_BYTES = 4
/** Deletions a batch: long ones would keep entries waiting. */
const SWEEP_COUNT = 2048

/** What the log holds, without the snapshot that belongs to it. */
export type StoredLog = Pick<StoredState, 'hardState' | 'base' | 'runs' | 'lastIndex' | 'entries'>

interface LogStoreOptions {
  /** Names the store in errors. */
  readonly path: string
  /** Entries up to here are checked but not returned: a snapshot covers them. */
  readonly coveredIndex: number
}

interface ReadLimits {
  readonly entriesMax: number
  readonly bytesMax: number
}

export class LogStore {
  /** For whoever sends the entries elsewhere. */
  readonly entryBytes = new EntryBytes()
  readonly #storage: Storage
  readonly #path: string
  /** As it will be when everything asked for is written, as are the next three. */
  #hardState: HardState
  #base: LogPosition
  #lastIndex: number
  /** Invariant: entries from here to the base may be on the disk and count for nothing. */
  #sweptTo: number
  #sweeping: Promise<void> = Promise.resolve()
  readonly #sizes: LogSizes

  private constructor(storage: Storage, path: string, stored: StoredLog, sizes: LogSizes) {
    this.#storage = storage
    this.#path = path
    this.#hardState = stored.hardState ?? { term: 0 }
    this.#base = stored.base
    this.#lastIndex = stored.lastIndex
    this.#sweptTo = stored.base.index + 1
    this.#sizes = sizes
  }

  /**
   * Reads and checks everything. The storage stays the caller's to close.
   * @throws MoonmeshError `Internal` (details: `{ reason: 'corrupt', index }`) when the log is not what was written
   */
  static async open(storage: Storage, options: LogStoreOptions): Promise<{ log: LogStore; stored: StoredLog }> {
    const { path, coveredIndex } = options
    const { stored, sizes } = await new Reader(storage, path, coveredIndex).read()
    await removeLeftovers(storage, stored.base.index)
    return { log: new LogStore(storage, path, stored, sizes), stored }
  }

  /** The failure after which nothing more is written, if there was one. cluster.md §5.1 D6. */
  get failure(): Error | undefined {
    return this.#storage.failure
  }

  /** The last entry that is not kept. */
  get base(): LogPosition {
    return this.#base
  }

  get lastIndex(): number {
    return this.#lastIndex
  }

  /** Keys and values of the entries, before the database packs them. */
  get sizeBytes(): number {
    return this.#sizes.totalBytes
  }

  /** The index behind which entries up to `through` are as many as have `bytesMax` at most. */
  indexWithin(bytesMax: number, through: number): number {
    return this.#sizes.indexWithin(bytesMax, through)
  }

  /**
   * Makes one atomic change; resolves when it and all before it are durable. Calls count in their order and share syncs.
   * @throws MoonmeshError of a failed disk; the store is of no further use then
   */
  persist(effect: Pick<PersistEffect, 'hardState' | 'reset' | 'log'>): Promise<void> {
    const operations: Operation[] = []
    const { hardState, reset, log } = effect
    if (hardState !== undefined) operations.push(this.#saveHardState(hardState))
    if (reset !== undefined) this.#reset(reset, operations)
    if (log !== undefined) this.#replace(log.after, log.entries, operations)
    if (reset !== undefined || log !== undefined) operations.push(this.#stateOperation())
    const written = this.#storage.write(operations)
    if (reset !== undefined) this.#sweepAfter(written)
    return written
  }

  /** Forgets entries up to `base`; resolves when they are gone. What is in the way of it fails every later write too. */
  compact(base: LogPosition): Promise<void> {
    if (base.index <= this.#base.index) return this.#sweeping
    assert(base.index <= this.#lastIndex, `entry ${base.index} is in the log`)
    this.#base = { index: base.index, term: base.term }
    this.#sizes.beginAfter(base.index)
    this.#sweepAfter(this.#storage.write([this.#stateOperation()]))
    return this.#sweeping
  }

  /** Entries after `after`, in order, that are durable; none when they are no longer kept. At least one if there is one. */
  async read(after: number, { entriesMax, bytesMax }: ReadLimits): Promise<Entry[]> {
    const entries: Entry[] = []
    let bytes = 0
    if (after < this.#base.index) return entries
    for await (const page of this.#storage.rows(entryRange(after + 1, this.#lastIndex))) {
      for (const [key, value] of page) {
        const index = indexOf(key)
        // The log has been cut or compacted since the reading began.
        if (index !== after + 1 + entries.length) return entries
        const entry = decodeEntry(index, key, value, this.#path)
        bytes += entryBytes(entry)
        if (entries.length > 0 && bytes > bytesMax) return entries
        entries.push(entry)
        if (entries.length >= entriesMax || bytes >= bytesMax) return entries
      }
    }
    return entries
  }

  /** Writes something of no meaning, durably, to see that this works. cluster.md §5.1 D6. */
  probe(): Promise<void> {
    return this.#storage.write([{ kind: 'put', key: PROBE, value: seal(PROBE, pack(this.#lastIndex)) }])
  }

  /** Resolves when nothing is under way any more. */
  async close(): Promise<void> {
    await this.#sweeping.catch(() => {
      // Whoever asked has been told; what is left is removed at the next start.
    })
  }

  #saveHardState(hardState: HardState): Operation {
    const { term, vote } = this.#hardState
    assert(hardState.term >= term, `term ${hardState.term} is not below ${term}`)
    const isFree = hardState.term > term || vote === undefined || hardState.vote === vote
    assert(isFree, `the vote of term ${term} stands (Raft §5.2)`)
    this.#hardState = hardState
    return { kind: 'put', key: HARD_STATE, value: seal(HARD_STATE, pack(packHardState(hardState))) }
  }

  #reset(base: LogPosition, operations: Operation[]): void {
    assert(base.index >= this.#base.index, `the log begins at ${this.#base.index} and not before`)
    // What lies behind the new beginning would count as part of the log; what lies before it does not and can wait.
    this.#deleteBetween(base.index + 1, this.#lastIndex, operations)
    this.#base = { index: base.index, term: base.term }
    this.#lastIndex = base.index
    this.#sizes.cutAfter(base.index)
    this.#sizes.beginAfter(base.index)
  }

  #replace(after: number, entries: readonly Entry[], operations: Operation[]): void {
    assert(after >= this.#base.index && after <= this.#lastIndex, `entry ${after} is in the log or its base`)
    this.#sizes.cutAfter(after)
    for (const [at, entry] of entries.entries()) {
      assert(entry.index === after + 1 + at, `entry ${entry.index} follows ${after + at}`)
      const key = entryKey(entry.index)
      const value = seal(key, this.entryBytes.of(entry))
      operations.push({ kind: 'put', key, value })
      this.#sizes.append(entry.index, key.length + value.length)
    }
    const last = after + entries.length
    this.#deleteBetween(last + 1, this.#lastIndex, operations)
    this.#lastIndex = last
  }

  #deleteBetween(first: number, last: number, operations: Operation[]): void {
    for (let index = first; index <= last; index++) operations.push({ kind: 'delete', key: entryKey(index) })
  }

  #stateOperation(): Operation {
    const state = {
      format: FORMAT,
      first_index: this.#base.index + 1,
      base_term: this.#base.term,
      last_index: this.#lastIndex,
    }
    return { kind: 'put', key: STATE, value: seal(STATE, pack(state)) }
  }

  /** Removes what lies before the beginning once it is durable that the log begins there. */
  #sweepAfter(written: Promise<void>): void {
    const through = this.#base.index
    const before = this.#sweeping.catch(() => {})
    this.#sweeping = written.then(() => before).then(() => this.#sweep(through))
    // A failure is told to whoever waits for the write or for the sweeping; both may be nobody.
    this.#sweeping.catch(() => {})
  }

  async #sweep(through: number): Promise<void> {
    while (this.#sweptTo <= through) {
      const last = Math.min(through, this.#sweptTo + SWEEP_COUNT - 1)
      const operations: Operation[] = []
      this.#deleteBetween(this.#sweptTo, last, operations)
      await this.#storage.write(operations)
      this.#sweptTo = last + 1
    }
  }
}

/** What the operator reads when a log must not be used. cluster.md §5.1 D7. */
export function logDamaged(path: string, index: number, why: string, cause?: unknown): MoonmeshError {
  const message = `raft log corrupt at index ${index} (${why}) in ${path}; to rejoin as a new store: runtime cluster reset-store`
  const details = { reason: 'corrupt', path, index }
  return new MoonmeshError('Internal', message, { details, ...(cause === undefined ? {} : { cause }) })
}

/** One pass over everything that is stored. */
class Reader {
  readonly #storage: Storage
  readonly #path: string
  readonly #coveredIndex: number
  readonly #runs: Run[] = []
  readonly #entries: Entry[] = []
  #index = 0
  #term = 0
  #clockMs = 0

  constructor(storage: Storage, path: string, coveredIndex: number) {
    this.#storage = storage
    this.#path = path
    this.#coveredIndex = coveredIndex
  }

  async read(): Promise<{ stored: StoredLog; sizes: LogSizes }> {
    const hardState = await this.#hardState()
    const { base, lastIndex } = await this.#state()
    const sizes = new LogSizes(base.index)
    this.#index = base.index
    this.#term = base.term
    for await (const page of this.#storage.rows(entryRange(base.index + 1, Number.MAX_SAFE_INTEGER))) {
      for (const [key, value] of page) {
        this.#take(key, value, lastIndex)
        sizes.append(this.#index, key.length + value.length)
      }
    }
    if (this.#index < lastIndex)
      throw logDamaged(this.#path, this.#index + 1, `it is gone; the log reached ${lastIndex}`)
    const stored = { base, runs: this.#runs, lastIndex, entries: this.#entries }
    return { stored: hardState === undefined ? stored : { ...stored, hardState }, sizes }
  }

  #take(key: Uint8Array, value: Uint8Array, lastIndex: number): void {
    const expected = this.#index + 1
    const index = indexOf(key)
    if (index > lastIndex) throw logDamaged(this.#path, index, `the log ends at ${lastIndex}`)
    if (index !== expected) throw logDamaged(this.#path, expected, `it is gone; the next one is ${index}`)
    const entry = decodeEntry(index, key, value, this.#path)
    if (entry.term < this.#term) {
      throw logDamaged(this.#path, index, `its term is ${entry.term}, the term before is ${this.#term}`)
    }
    if (entry.clockMs < this.#clockMs)
      throw logDamaged(this.#path, index, 'its clock is behind that of the entry before')
    if (entry.term !== this.#runs[this.#runs.length - 1]?.term) this.#runs.push({ first: index, term: entry.term })
    if (index > this.#coveredIndex) this.#entries.push(entry)
    this.#index = index
    this.#term = entry.term
    this.#clockMs = entry.clockMs
  }

  async #hardState(): Promise<HardState | undefined> {
    const value = await this.#storage.get(HARD_STATE)
    if (value === undefined) return undefined
    try {
      return unpackHardState(unseal(HARD_STATE, value))
    } catch (error) {
      throw logDamaged(this.#path, 0, `term and vote: ${messageOf(error)}`, error)
    }
  }

  async #state(): Promise<{ base: LogPosition; lastIndex: number }> {
    const value = await this.#storage.get(STATE)
    // Without it there is no log yet; entries all the same are damage, which the end of the log at zero shows.
    if (value === undefined) return { base: { index: 0, term: 0 }, lastIndex: 0 }
    let state: Packed
    try {
      state = unseal(STATE, value)
    } catch (error) {
      throw logDamaged(this.#path, 0, `beginning and end of the log: ${messageOf(error)}`, error)
    }
    const format = numberIn(state, 'format')
    const first = numberIn(state, 'first_index')
    const term = numberIn(state, 'base_term')
    const lastIndex = numberIn(state, 'last_index')
    if (format !== undefined && format > FORMAT) throw tooNew(this.#path, format)
    if (first === undefined || first < 1 || term === undefined || lastIndex === undefined || lastIndex < first - 1) {
      throw logDamaged(this.#path, 0, 'beginning and end of the log: not what was written')
    }
    return { base: { index: first - 1, term }, lastIndex }
  }
}

function tooNew(path: string, format: number): MoonmeshError {
  const message = `${path} was written by a newer version (format ${format}, this one reads ${FORMAT}); start the newer version`
  return new MoonmeshError('Invalid', message, { details: { path, format } })
}

/** A crash may come between the moving of the beginning and the removal of what lies before it. */
async function removeLeftovers(storage: Storage, through: number): Promise<void> {
  for await (const page of storage.keys(entryRange(0, through))) {
    await storage.write(page.map((key) => ({ kind: 'delete', key })))
  }
}

function numberIn(state: Packed, key: string): number | undefined {
  const value = isPackedMap(state) ? state[key] : undefined
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : undefined
}

function decodeEntry(index: number, key: Uint8Array, value: Uint8Array, path: string): Entry {
  try {
    return unpackEntry(index, unseal(key, value))
  } catch (error) {
    throw logDamaged(path, index, messageOf(error), error)
  }
}

function seal(key: Uint8Array, content: Uint8Array): Uint8Array {
  const sealed = new Uint8Array(content.length + CHECKSUM_BYTES)
  sealed.set(content)
  new DataView(sealed.buffer).setUint32(content.length, crc32c(content, crc32c(key)))
  return sealed
}

/** @throws UnpackError */
function unseal(key: Uint8Array, sealed: Uint8Array): Packed {
  const length = sealed.length - CHECKSUM_BYTES
  if (length < 0) throw new UnpackError('it is cut off')
  const content = sealed.subarray(0, length)
  const checksum = new DataView(sealed.buffer, sealed.byteOffset + length).getUint32(0)
  if (checksum !== crc32c(content, crc32c(key))) throw new UnpackError('it does not match its checksum')
  return unpack(content)
}

function entryKey(index: number): Uint8Array {
  const key = new Uint8Array(9)
  const view = new DataView(key.buffer)
  key[0] = ENTRY
  view.setUint32(1, Math.floor(index / 0x100000000))
  view.setUint32(5, index % 0x100000000)
  return key
}

function indexOf(key: Uint8Array): number {
  const view = new DataView(key.buffer, key.byteOffset, key.byteLength)
  return view.getUint32(1) * 0x100000000 + view.getUint32(5)
}

/** Entries from `first` to `last`, both included. */
function entryRange(first: number, last: number): KeyRange {
  return { from: entryKey(first), to: entryKey(last === Number.MAX_SAFE_INTEGER ? last : last + 1) }
}
