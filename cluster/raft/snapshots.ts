// Snapshots on disk: written aside, synced, then given their name, so that what has a name is complete. cluster.md §5.1 D5, §5.12.
//
//   <index>-<term>[.<n>]/   a snapshot (a number follows when another one of that position is there already)
//   new-<n>/                one that is being written here
//   arriving/               one that a leader sends; what has arrived is kept over a restart
//   old-<n>/                one that is being removed
//
// The bytes are the state machine's; nothing here looks into them, and never more than a few chunks are in memory.

import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { assert } from '../../runtime/base/assert.ts'
import { MoonmeshError } from '../../runtime/base/errors.ts'
import type { Files, OpenFile } from '../storage/files.ts'
import { writeSealed } from '../storage/sealed-file.ts'
import { Arrival } from './arrival.ts'
import type { SnapshotMeta } from './core/messages.ts'
import type { PartialSnapshot } from './core/recovery.ts'
import { CHUNKS, DATA, isIntact, META, metaContent, readMeta, readVerified } from './snapshot-files.ts'

const NAME = /^(\d{1,16})-(\d{1,16})(?:\.(\d{1,4}))?$/
const ARRIVING = 'arriving'
/** A snapshot that was read this lately is being sent: it is kept for the rest of the way. */
const READING_MS = 60_000
/** What waits to be written into a snapshot here, gathered for fewer and larger writes. */
const BUFFER_BYTES = 1024 * 1024
/** Hashed at a time. */
const PIECE_BYTES = 256 * 1024
/** Of a snapshot that is sent, read at a time: a chunk by itself would cost a turn of the event loop, and of the disk's threads. */
const READ_AHEAD_BYTES = 1024 * 1024

interface SnapshotsOptions {
  readonly files: Files
  /** A directory of their own; made when it is not there. */
  readonly path: string
  /** How many are kept, at least 1. */
  readonly retain: number
  /** Monotonic milliseconds. */
  readonly nowMs?: () => number
}

/** What a snapshot says about itself before its bytes are known. */
export type SnapshotPosition = Pick<SnapshotMeta, 'index' | 'term' | 'clockMs' | 'configuration'>

interface Kept {
  readonly meta: SnapshotMeta
  readonly name: string
  readMs: number
}

export class Snapshots {
  readonly #files: Files
  readonly #path: string
  readonly #retain: number
  readonly #nowMs: () => number
  /** Invariant: newest first; every one is complete under its name. */
  #kept: Kept[] = []
  #arrival: Arrival | undefined
  /** Whatever touches `arriving/` or removes snapshots, in order. */
  #lane: Promise<unknown> = Promise.resolve()
  #names = 0
  #isClosed = false
  /** Snapshots whose bytes are not what they should be, found while opening. */
  readonly damaged: SnapshotMeta[] = []

  private constructor({ files, path, retain, nowMs = () => performance.now() }: SnapshotsOptions) {
    assert(retain >= 1, 'at least one snapshot is kept')
    this.#files = files
    this.#path = path
    this.#retain = retain
    this.#nowMs = nowMs
  }

  /** Removes what a crash has left behind, and finds the newest snapshot that is whole. The directory is nobody else's. */
  static async open(options: SnapshotsOptions): Promise<Snapshots> {
    const snapshots = new Snapshots(options)
    await snapshots.#open()
    return snapshots
  }

  /** Newest first. */
  get list(): readonly SnapshotMeta[] {
    return this.#kept.map(({ meta }) => meta)
  }

  get newest(): SnapshotMeta | undefined {
    return this.#kept[0]?.meta
  }

  /** What is arriving, and how much of it is durable. */
  get partial(): PartialSnapshot | undefined {
    const arrival = this.#arrival
    return arrival === undefined ? undefined : { snapshot: arrival.meta, offset: arrival.durableBytes }
  }

  /** Begins a snapshot of what is applied here. */
  async create(position: SnapshotPosition): Promise<SnapshotWriter> {
    this.#assertOpen()
    const directory = join(this.#path, `new-${++this.#names}`)
    await this.#files.makeDirectory(directory)
    const file = await this.#files.open(join(directory, DATA), 'create')
    return new SnapshotWriter(this.#files, directory, file, position, (meta) =>
      this.#inLane(() => this.#adopt(directory, meta)),
    )
  }

  /**
   * For sending a snapshot: it is kept until a minute after the last chunk was read. Whoever asks closes it.
   * @returns undefined when it is not kept any more
   */
  async reader(checksum: string): Promise<SnapshotReader | undefined> {
    this.#assertOpen()
    const kept = this.#kept.find(({ meta }) => meta.checksum === checksum)
    if (kept === undefined) return undefined
    kept.readMs = this.#nowMs()
    const file = await this.#files.open(join(this.#path, kept.name, DATA), 'read')
    return new SnapshotReader(file, kept.meta.sizeBytes, () => {
      kept.readMs = this.#nowMs()
    })
  }

  /**
   * The bytes of a snapshot, in order. They are checked on the way: who restores from them counts on nothing before the end.
   * @throws MoonmeshError of reason `corrupt` at the end, when they are not what was written; `NotFound` when it is not kept
   */
  async *read(checksum: string): AsyncGenerator<Uint8Array> {
    this.#assertOpen()
    const kept = this.#kept.find(({ meta }) => meta.checksum === checksum)
    if (kept === undefined) throw new MoonmeshError('NotFound', `no snapshot ${checksum} is kept in ${this.#path}`)
    for await (const bytes of readVerified(this.#files, join(this.#path, kept.name), kept.meta)) {
      kept.readMs = this.#nowMs()
      yield bytes
    }
  }

  /** A snapshot begins to arrive; what has come of the same one stays, what has come of another goes. */
  begin(meta: SnapshotMeta): Promise<void> {
    return this.#inLane(async () => {
      if (this.#arrival?.isOf(meta) === true) return
      await this.#dropArrival()
      this.#arrival = await Arrival.begin(this.#files, join(this.#path, ARRIVING), meta)
    })
  }

  /**
   * Takes in `data` at `offset`, in order; resolves when everything up to its end is durable. Chunks that wait share a sync.
   * @returns false: another snapshot is arriving by now
   */
  async writeChunk(meta: SnapshotMeta, offset: number, data: Uint8Array): Promise<boolean> {
    // What was asked for before has to be done, and more chunks may gather meanwhile.
    await this.#lane.catch(() => {})
    this.#assertOpen()
    const arrival = this.#arrival
    if (arrival === undefined || !arrival.isOf(meta)) return false
    return arrival.write(offset, data)
  }

  /**
   * All bytes are there: checks them, reading them from the disk again, and gives the snapshot its name, durably.
   * @returns false: they are not what they should be and have been dropped
   */
  finish(meta: SnapshotMeta): Promise<boolean> {
    return this.#inLane(async () => {
      const arrival = this.#arrival
      if (arrival === undefined || !arrival.isOf(meta)) return this.#kept.some((each) => isSame(each.meta, meta))
      const directory = join(this.#path, ARRIVING)
      await arrival.settle()
      if (!(await isIntact(this.#files, directory, meta))) {
        await this.#dropArrival()
        return false
      }
      this.#arrival = undefined
      await arrival.close()
      await this.#adopt(directory, meta)
      return true
    })
  }

  /** Lets go of all files, when what is under way is done. Idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true
    await this.#lane.catch(() => {})
    await this.#arrival?.close()
    this.#arrival = undefined
  }

  async #open(): Promise<void> {
    await this.#files.makeDirectory(this.#path)
    for (const name of await this.#files.list(this.#path)) {
      const directory = join(this.#path, name)
      const match = NAME.exec(name)
      const meta = match === null ? undefined : await readMeta(this.#files, directory)
      if (meta !== undefined && match !== null && meta.index === Number(match[1]) && meta.term === Number(match[2])) {
        this.#kept.push({ meta, name, readMs: Number.NEGATIVE_INFINITY })
      } else if (name === ARRIVING) this.#arrival = await Arrival.resume(this.#files, directory)
      else await this.#files.remove(directory)
    }
    this.#sort()
    await this.#dropDamaged()
    const { newest } = this
    // One that is behind what there is will not be asked for again.
    if (newest !== undefined && (this.#arrival?.meta.index ?? 0) <= newest.index) await this.#dropArrival()
    await this.#prune()
  }

  /** Only the newest has to be whole now; older ones are looked at when they are needed. */
  async #dropDamaged(): Promise<void> {
    for (;;) {
      const first = this.#kept[0]
      if (first === undefined || (await isIntact(this.#files, join(this.#path, first.name), first.meta))) return
      this.damaged.push(first.meta)
      // It stays on the disk, for whoever wants to know what happened; a newer one will make it go.
      this.#kept.shift()
    }
  }

  async #dropArrival(): Promise<void> {
    const arrival = this.#arrival
    this.#arrival = undefined
    await arrival?.close()
    await this.#files.remove(join(this.#path, ARRIVING))
  }

  /** Gives what is complete in `directory` its name. */
  async #adopt(directory: string, meta: SnapshotMeta): Promise<void> {
    if (this.#kept.some((each) => isSame(each.meta, meta))) return this.#files.remove(directory)
    const taken = await this.#files.list(this.#path)
    const plain = `${meta.index}-${meta.term}`
    let name = plain
    for (let number = 2; taken.includes(name); number++) name = `${plain}.${number}`
    await this.#files.rename(directory, join(this.#path, name))
    await this.#files.syncDirectory(this.#path)
    // Only now: up to here, what has arrived must be found again as what is arriving.
    await this.#files.remove(join(this.#path, name, CHUNKS))
    this.#kept.push({ meta, name, readMs: Number.NEGATIVE_INFINITY })
    this.#sort()
    await this.#prune()
  }

  /** Removes all but the newest, and what has been damaged long enough. */
  async #prune(): Promise<void> {
    const nowMs = this.#nowMs()
    const surplus = this.#kept.slice(this.#retain).filter(({ readMs }) => nowMs - readMs >= READING_MS)
    this.#kept = this.#kept.filter((each) => !surplus.includes(each))
    const names = surplus.map(({ name }) => name)
    if (this.#kept.length >= this.#retain) {
      const held = new Set(this.#kept.map(({ name }) => name))
      for (const name of await this.#files.list(this.#path)) {
        const isOld =
          (this.#kept[this.#retain - 1]?.meta.index ?? 0) > Number(NAME.exec(name)?.[1] ?? Number.POSITIVE_INFINITY)
        if (isOld && !held.has(name) && !names.includes(name)) names.push(name)
      }
    }
    for (const name of names) {
      // Under another name first: a crash on the way leaves nothing that looks whole and is not.
      const aside = join(this.#path, `old-${++this.#names}`)
      await this.#files.rename(join(this.#path, name), aside)
      await this.#files.remove(aside)
    }
  }

  #sort(): void {
    this.#kept.sort((a, b) => b.meta.index - a.meta.index || b.meta.term - a.meta.term || (a.name < b.name ? 1 : -1))
  }

  #inLane<T>(act: () => Promise<T>): Promise<T> {
    const done = this.#lane
      .catch(() => {})
      .then(() => {
        this.#assertOpen()
        return act()
      })
    this.#lane = done
    // Whoever asked is told; the lane goes on.
    done.catch(() => {})
    return done
  }

  #assertOpen(): void {
    if (this.#isClosed) throw new MoonmeshError('Canceled', `${this.#path}: it has been closed`)
  }
}

/** Reads a snapshot a chunk at a time, one call after the other; what follows a chunk is mostly asked for next. */
export class SnapshotReader {
  readonly #file: OpenFile
  readonly #sizeBytes: number
  readonly #used: () => void
  #block: { readonly offset: number; readonly bytes: Uint8Array } = { offset: 0, bytes: new Uint8Array(0) }
  #isClosed = false

  constructor(file: OpenFile, sizeBytes: number, used: () => void) {
    this.#file = file
    this.#sizeBytes = sizeBytes
    this.#used = used
  }

  /** `lengthBytes` from `offset`, fewer at the end. They stay as they are. */
  async read(offset: number, lengthBytes: number): Promise<Uint8Array> {
    this.#used()
    const end = Math.min(this.#sizeBytes, offset + lengthBytes)
    if (offset < this.#block.offset || end > this.#block.offset + this.#block.bytes.length) {
      const wantedBytes = Math.min(this.#sizeBytes - offset, Math.max(lengthBytes, READ_AHEAD_BYTES))
      this.#block = { offset, bytes: await this.#file.read(offset, Math.max(0, wantedBytes)) }
    }
    return this.#block.bytes.subarray(offset - this.#block.offset, Math.max(offset, end) - this.#block.offset)
  }

  /** Idempotent. */
  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    await this.#file.close()
  }
}

/** Takes in the bytes of one new snapshot; of no further use after the first failure, `finish` or `abort`. */
export class SnapshotWriter {
  readonly #files: Files
  readonly #directory: string
  readonly #file: OpenFile
  readonly #position: SnapshotPosition
  readonly #adopt: (meta: SnapshotMeta) => Promise<void>
  readonly #hash = createHash('sha256')
  #waiting: Uint8Array[] = []
  #waitingBytes = 0
  #sizeBytes = 0
  #isEnded = false

  constructor(
    files: Files,
    directory: string,
    file: OpenFile,
    position: SnapshotPosition,
    adopt: (meta: SnapshotMeta) => Promise<void>,
  ) {
    this.#files = files
    this.#directory = directory
    this.#file = file
    this.#position = position
    this.#adopt = adopt
  }

  get sizeBytes(): number {
    return this.#sizeBytes + this.#waitingBytes
  }

  /** Appends `bytes`, which must not change before the promise resolves. Await it: that is what bounds the memory. */
  async write(bytes: Uint8Array): Promise<void> {
    assert(!this.#isEnded, 'the snapshot is still being written')
    this.#waiting.push(Buffer.from(bytes))
    this.#waitingBytes += bytes.length
    if (this.#waitingBytes >= BUFFER_BYTES) await this.#flush()
  }

  /** Makes the snapshot durable under its name. */
  async finish(): Promise<SnapshotMeta> {
    assert(!this.#isEnded, 'the snapshot is still being written')
    try {
      await this.#flush()
      this.#isEnded = true
      await this.#file.sync()
    } catch (error) {
      await this.abort()
      throw error
    }
    await this.#file.close()
    const checksum = this.#hash.digest('hex')
    const { index, term, clockMs, configuration } = this.#position
    const meta: SnapshotMeta = { index, term, clockMs, configuration, sizeBytes: this.#sizeBytes, checksum }
    try {
      await writeSealed(this.#files, join(this.#directory, META), metaContent(meta))
      await this.#adopt(meta)
    } catch (error) {
      await this.#remove()
      throw error
    }
    return meta
  }

  /** Gives up. What cannot be removed now is removed at the next start. */
  async abort(): Promise<void> {
    this.#isEnded = true
    await this.#file.close().catch(() => {})
    await this.#remove()
  }

  async #remove(): Promise<void> {
    await this.#files.remove(this.#directory).catch(() => {})
  }

  async #flush(): Promise<void> {
    const bytes = Buffer.concat(this.#waiting)
    this.#waiting = []
    this.#waitingBytes = 0
    if (bytes.length === 0) return
    await this.#file.write(bytes, this.#sizeBytes)
    this.#sizeBytes += bytes.length
    for (let at = 0; at < bytes.length; at += PIECE_BYTES) this.#hash.update(bytes.subarray(at, at + PIECE_BYTES))
  }
}

function isSame(a: SnapshotMeta, b: SnapshotMeta): boolean {
  return a.index === b.index && a.term === b.term && a.checksum === b.checksum
}
