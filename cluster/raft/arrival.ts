// A snapshot on its way from a leader: chunks are written in order, and those that wait share a sync. What is durable survives a
// crash, and what the crash has torn is found by the checksums of the chunks.

import { join } from 'node:path'
import { assert } from '../../runtime/base/assert.ts'
import { MoonmeshError } from '../../runtime/base/errors.ts'
import { failureReason } from '../storage/failure.ts'
import type { Files, OpenFile } from '../storage/files.ts'
import { writeSealed } from '../storage/sealed-file.ts'
import type { SnapshotMeta } from './core/messages.ts'
import {
  arrivedChunks,
  CHUNK_RECORD_BYTES,
  CHUNKS,
  chunkRecord,
  DATA,
  META,
  metaContent,
  readMeta,
} from './snapshot-files.ts'

/** The mesh's credits keep far below; who sends more does not wait for answers. */
const WAITING_BYTES_MAX = 64 * 1024 * 1024

interface Waiting {
  readonly offset: number
  readonly data: Uint8Array
  readonly resolve: (isWanted: boolean) => void
  readonly reject: (error: unknown) => void
}

export class Arrival {
  readonly meta: SnapshotMeta
  readonly #directory: string
  readonly #data: OpenFile
  readonly #chunks: OpenFile
  #durableBytes: number
  #chunkCount: number
  #waiting: Waiting[] = []
  #waitingBytes = 0
  #running: Promise<void> | undefined
  #failure: unknown
  #isClosed = false

  private constructor(
    directory: string,
    meta: SnapshotMeta,
    opened: { data: OpenFile; chunks: OpenFile },
    arrived: { bytes: number; count: number },
  ) {
    this.#directory = directory
    this.meta = meta
    this.#data = opened.data
    this.#chunks = opened.chunks
    this.#durableBytes = arrived.bytes
    this.#chunkCount = arrived.count
  }

  /** Begins in `directory`, which is not there. */
  static async begin(files: Files, directory: string, meta: SnapshotMeta): Promise<Arrival> {
    await files.makeDirectory(directory)
    const data = await files.open(join(directory, DATA), 'create')
    const chunks = await files.open(join(directory, CHUNKS), 'create')
    // Makes the three names durable.
    await writeSealed(files, join(directory, META), metaContent(meta))
    return new Arrival(directory, meta, { data, chunks }, { bytes: 0, count: 0 })
  }

  /** Goes on where a run before has been cut off; undefined, and nothing is left, when too little is there. */
  static async resume(files: Files, directory: string): Promise<Arrival | undefined> {
    const meta = await readMeta(files, directory)
    const data = meta === undefined ? undefined : await openIfThere(files, join(directory, DATA))
    const chunks = data === undefined ? undefined : await openIfThere(files, join(directory, CHUNKS))
    if (meta === undefined || data === undefined || chunks === undefined) {
      await data?.close()
      await files.remove(directory)
      return undefined
    }
    const arrived = await arrivedChunks(data, chunks)
    await data.truncate(arrived.bytes)
    await chunks.truncate(arrived.count * CHUNK_RECORD_BYTES)
    return new Arrival(directory, meta, { data, chunks }, arrived)
  }

  get durableBytes(): number {
    return this.#durableBytes
  }

  isOf(meta: SnapshotMeta): boolean {
    const { index, term, sizeBytes, checksum } = this.meta
    return index === meta.index && term === meta.term && sizeBytes === meta.sizeBytes && checksum === meta.checksum
  }

  /** Resolves when everything up to the end of `data` is durable; with false when the arrival ended before. */
  write(offset: number, data: Uint8Array): Promise<boolean> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure)
    if (this.#isClosed) return Promise.resolve(false)
    if (this.#waitingBytes + data.length > WAITING_BYTES_MAX) {
      const message = `${this.#directory}: ${this.#waitingBytes} bytes of a snapshot already wait for the disk`
      return Promise.reject(new MoonmeshError('LimitExceeded', message, { retryable: true }))
    }
    this.#waitingBytes += data.length
    return new Promise((resolve, reject) => {
      this.#waiting.push({ offset, data, resolve, reject })
      this.#running ??= this.#run()
    })
  }

  /** Resolves when nothing waits. */
  async settle(): Promise<void> {
    await this.#running
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    await this.#running
    for (const { resolve } of this.#waiting.splice(0)) resolve(false)
    await this.#data.close()
    await this.#chunks.close()
  }

  async #run(): Promise<void> {
    await Promise.resolve()
    while (this.#waiting.length > 0 && this.#failure === undefined && !this.#isClosed) {
      const batch = this.#waiting.splice(0)
      try {
        await this.#write(batch)
      } catch (error) {
        // What the failed write left behind is unknown; the next run looks at it.
        this.#failure = error
        for (const { reject } of [...batch, ...this.#waiting.splice(0)]) reject(error)
        break
      }
      for (const { data, resolve } of batch) {
        this.#waitingBytes -= data.length
        resolve(true)
      }
    }
    this.#running = undefined
  }

  async #write(batch: readonly Waiting[]): Promise<void> {
    let end = this.#durableBytes
    const records: Uint8Array[] = []
    const pieces: Uint8Array[] = []
    for (const { offset, data } of batch) {
      assert(offset <= end, `bytes from ${offset} follow those up to ${end}`)
      assert(offset + data.length <= this.meta.sizeBytes, 'a snapshot is as long as it says')
      // A leader that does not know how much is there sends some of it again.
      const news = data.subarray(Math.min(data.length, end - offset))
      if (news.length === 0) continue
      pieces.push(news)
      records.push(chunkRecord(end, news))
      end += news.length
    }
    if (records.length === 0) return
    // In one piece: each call waits for a thread of the disk.
    await this.#data.write(pieces.length === 1 ? (pieces[0] as Uint8Array) : Buffer.concat(pieces), this.#durableBytes)
    await this.#chunks.write(Buffer.concat(records), this.#chunkCount * CHUNK_RECORD_BYTES)
    await Promise.all([this.#data.sync(), this.#chunks.sync()])
    this.#chunkCount += records.length
    this.#durableBytes = end
  }
}

async function openIfThere(files: Files, path: string): Promise<OpenFile | undefined> {
  try {
    return await files.open(path, 'update')
  } catch (error) {
    if (failureReason(error) === 'missing') return undefined
    throw error
  }
}
