// What one namespace of the convergent store has on disk: snapshots, and logs of what changed since. cluster.md §8.8.
//
//   NS.G.snap   all of the namespace at one moment; written aside, synced, renamed. Two are kept.
//   NS.G.log    every change since that moment; written once a turn and not synced: a crash of the program loses nothing that a turn had
//               ended with, a crash of the machine loses what its disk had not got
//
// What is read back is merged, so it does no harm that a change is both in a snapshot and in a log. A start reads the latest snapshot that is
// whole, and all logs from its number on; the end of a log that was torn is cut off and the log goes on.

import { join } from 'node:path'
import { messageOf } from '../../runtime/base/errors.ts'
import { UnpackError } from '../../runtime/base/msgpack.ts'
import { failureReason } from '../storage/failure.ts'
import type { Files, OpenFile } from '../storage/files.ts'
import type { Held } from './core/digest.ts'
import type { Entry } from './core/entry.ts'
import type { Hlc } from './core/hlc.ts'
import type { SortedView } from './core/sorted-map.ts'
import { decodeRecords, decodeSnapshot, encodeRecord, encodeSnapshot } from './wire/crdt-files.ts'

interface DurableOptions {
  readonly files: Files
  /** It is there. */
  readonly directory: string
  readonly namespace: string
  readonly valueBytesMax: number
  /** Takes over what an earlier run had. */
  restore(entry: Entry): void
  /** All of the namespace as of now, and the latest stamp of the node. */
  view(): { entries: SortedView<Held>; latest: Hlc }
  /** Runs it when this turn of the event loop has ended. */
  defer(run: () => void): void
  log(level: 'warn' | 'error', event: string, fields: Record<string, string | number>): void
}

const SNAPSHOTS_KEPT = 2
/** Beyond this a snapshot is due, however young the last one is. */
const LOG_BYTES_MAX = 64 * 1024 * 1024
/** What may wait for the disk; what comes then is only in memory until the next snapshot. */
const WAITING_BYTES_MAX = 64 * 1024 * 1024
const PIECE_BYTES = 256 * 1024

interface Log {
  readonly file: OpenFile
  bytes: number
}

export class DurableNamespace {
  readonly #options: DurableOptions
  /** Of the log that is written. */
  #generation = 0
  /** Undefined: it could not be written, and the next snapshot begins another. */
  #log: Log | undefined
  #hasSnapshot = false
  /** Something changed since the latest snapshot. */
  #isDirty = false
  #waiting: Uint8Array[] = []
  #waitingBytes = 0
  /** The write at the end of this turn. */
  #deferred: Promise<void> | undefined
  #writing: Promise<void> = Promise.resolve()
  #saving: Promise<void> = Promise.resolve()
  #isClosed = false
  #failures = 0

  private constructor(options: DurableOptions) {
    this.#options = options
  }

  /** Reads back what there is. @throws MoonmeshError when the disk cannot be read or written */
  static async open(options: DurableOptions): Promise<DurableNamespace> {
    const namespace = new DurableNamespace(options)
    await namespace.#load()
    return namespace
  }

  /** Times that the disk refused something. */
  get failures(): number {
    return this.#failures
  }

  /** A change: it is written when this turn has ended. */
  append(entry: Entry): void {
    this.#isDirty = true
    if (this.#isClosed || this.#log === undefined) return
    const record = encodeRecord(entry)
    if (this.#waitingBytes + record.length > WAITING_BYTES_MAX) return
    this.#waiting.push(record)
    this.#waitingBytes += record.length
    this.#deferred ??= new Promise((resolve) => {
      this.#options.defer(() => {
        this.#deferred = undefined
        void this.#flush().then(resolve)
      })
    })
  }

  /** Resolves when what was appended so far is in the log, or the disk has refused it, which is logged. */
  written(): Promise<void> {
    return this.#deferred ?? this.#writing
  }

  /** Something changed that is in no log: the next snapshot has it. */
  changed(): void {
    this.#isDirty = true
  }

  /** Writes a snapshot, unless nothing has changed. Never fails: what the disk refuses is logged, and tried again with the next call. */
  save(): Promise<void> {
    this.#saving = this.#saving.then(() => this.#save())
    return this.#saving
  }

  /** Whatever waits is written, and a last snapshot. Idempotent. */
  async close(): Promise<void> {
    if (this.#isClosed) return
    await this.#flush()
    await this.save()
    this.#isClosed = true
    await this.#flush()
    await this.#log?.file.close().catch(() => {})
    this.#log = undefined
  }

  // ---- writing

  #flush(): Promise<void> {
    this.#writing = this.#writing.then(() => this.#write())
    return this.#writing
  }

  async #write(): Promise<void> {
    const log = this.#log
    if (log === undefined || this.#waiting.length === 0) return
    const bytes = Buffer.concat(this.#waiting)
    this.#waiting = []
    this.#waitingBytes = 0
    try {
      await log.file.write(bytes, log.bytes)
      log.bytes += bytes.length
    } catch (error) {
      this.#failed('cannot write to the log', error)
      // Behind a record that is torn nothing would be read.
      if (this.#log === log) this.#log = undefined
      await log.file.close().catch(() => {})
    }
    if (log.bytes > LOG_BYTES_MAX || this.#log === undefined) void this.save()
  }

  async #save(): Promise<void> {
    if (!this.#isDirty || this.#isClosed) return
    try {
      await this.#nextLog()
      // From here to the view no turn ends: what is not in the view is in the new log.
      this.#isDirty = false
      const { entries, latest } = this.#options.view()
      await this.#writeSnapshot(entries, latest)
      this.#hasSnapshot = true
      await this.#dropOld()
    } catch (error) {
      this.#isDirty = true
      this.#failed('cannot write the snapshot', error)
    }
  }

  /** A log whose number has no snapshot yet. One that an attempt before began will do. */
  async #nextLog(): Promise<void> {
    if (this.#log !== undefined && !this.#hasSnapshot) return
    const { files } = this.#options
    const file = await files.open(this.#path(this.#generation + 1, 'log'), 'create')
    const before = this.#log
    this.#generation++
    this.#log = { file, bytes: 0 }
    this.#hasSnapshot = false
    // What is being written goes to the old one.
    this.#writing = this.#writing.then(() => before?.file.close().catch(() => {}))
  }

  async #writeSnapshot(entries: SortedView<Held>, latest: Hlc): Promise<void> {
    const { files, directory, namespace } = this.#options
    const path = this.#path(this.#generation, 'snap')
    const aside = `${path}.new`
    const header = { namespace, hlc: latest, count: entries.size }
    const file = await files.open(aside, 'create')
    try {
      let position = 0
      for (const bytes of pieces(encodeSnapshot(header, entriesOf(entries)))) {
        await file.write(bytes, position)
        position += bytes.length
      }
      await file.sync()
    } finally {
      await file.close()
    }
    await files.rename(aside, path)
    await files.syncDirectory(directory)
  }

  /** All but the latest snapshots and the logs that go with them. */
  async #dropOld(): Promise<void> {
    const { files, directory } = this.#options
    const found = await this.#list()
    const kept = found.flatMap(({ kind, generation }) => (kind === 'snap' ? [generation] : [])).slice(-SNAPSHOTS_KEPT)
    const oldest = kept[0] ?? 0
    for (const { name, kind, generation } of found) {
      if (generation < oldest || kind === 'other') await files.remove(join(directory, name))
    }
  }

  // ---- reading

  async #load(): Promise<void> {
    const found = await this.#list()
    const snapshots = found.filter(({ kind }) => kind === 'snap').reverse()
    let from = 0
    for (const { generation } of snapshots) {
      if (!(await this.#loadSnapshot(generation))) continue
      from = generation
      break
    }
    const logs = found.filter(({ kind, generation }) => kind === 'log' && generation >= from)
    const latest = found.filter(({ kind }) => kind !== 'other').at(-1)?.generation ?? 0
    for (const { generation } of logs) await this.#loadLog(generation, generation === latest)
    if (this.#log === undefined) {
      this.#generation = latest + 1
      this.#log = { file: await this.#options.files.open(this.#path(this.#generation, 'log'), 'create'), bytes: 0 }
      this.#isDirty = logs.length > 0
      return
    }
    this.#generation = latest
    this.#hasSnapshot = from === latest && from > 0
    // A log that is never followed by a snapshot would be read at every start.
    this.#isDirty = logs.length > 1 || this.#log.bytes > 0
  }

  /** False: it is damaged. */
  async #loadSnapshot(generation: number): Promise<boolean> {
    const { restore, namespace, valueBytesMax, log } = this.#options
    const path = this.#path(generation, 'snap')
    try {
      const { header, entries } = decodeSnapshot(await this.#read(path), valueBytesMax)
      if (header.namespace !== namespace) throw new UnpackError('it is of another namespace')
      for (const entry of entries) if (entry.namespace === namespace) restore(entry)
      return true
    } catch (error) {
      if (!(error instanceof UnpackError)) throw error
      log('warn', 'crdt_snapshot_damaged', { path, reason: messageOf(error) })
      return false
    }
  }

  async #loadLog(generation: number, isLast: boolean): Promise<void> {
    const { files, restore, namespace, valueBytesMax, log } = this.#options
    const path = this.#path(generation, 'log')
    const bytes = await this.#read(path)
    const { entries, soundBytes } = decodeRecords(bytes, valueBytesMax)
    for (const entry of entries) if (entry.namespace === namespace) restore(entry)
    if (soundBytes < bytes.length) log('warn', 'crdt_log_cut', { path, bytes: bytes.length - soundBytes })
    if (!isLast) return
    const file = await files.open(path, 'update')
    if (soundBytes < bytes.length) await file.truncate(soundBytes)
    this.#log = { file, bytes: soundBytes }
  }

  async #read(path: string): Promise<Uint8Array> {
    const file = await this.#options.files.open(path, 'read')
    try {
      return await file.read(0, await file.size())
    } finally {
      await file.close()
    }
  }

  /** Files of this namespace, by number. */
  async #list(): Promise<{ name: string; kind: 'snap' | 'log' | 'other'; generation: number }[]> {
    const { files, directory, namespace } = this.#options
    const found = (await files.list(directory)).flatMap((name) => {
      const [, of, number, kind, rest] = /^(.+)\.(\d+)\.(snap|log)(\.new)?$/.exec(name) ?? []
      if (of !== namespace) return []
      const generation = Number(number)
      return [{ name, kind: rest === undefined ? (kind as 'snap' | 'log') : ('other' as const), generation }]
    })
    return found.sort((a, b) => a.generation - b.generation)
  }

  #path(generation: number, kind: 'snap' | 'log'): string {
    const { directory, namespace } = this.#options
    return join(directory, `${namespace}.${generation}.${kind}`)
  }

  #failed(what: string, error: unknown): void {
    this.#failures++
    const { namespace, log } = this.#options
    const reason = failureReason(error) ?? 'io'
    log('error', 'crdt_storage_failed', { namespace, what, reason, error: messageOf(error) })
  }
}

function* entriesOf(view: SortedView<Held>): Generator<Entry> {
  for (const [, { entry }] of view.range()) yield entry
}

/** Joins what is small, so that not every entry is a call of the system. */
function* pieces(parts: Iterable<Uint8Array>): Generator<Uint8Array> {
  let waiting: Uint8Array[] = []
  let bytes = 0
  for (const part of parts) {
    waiting.push(part)
    bytes += part.length
    if (bytes < PIECE_BYTES) continue
    yield Buffer.concat(waiting)
    waiting = []
    bytes = 0
  }
  if (bytes > 0) yield Buffer.concat(waiting)
}
