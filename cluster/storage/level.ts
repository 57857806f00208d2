// Storage in LevelDB, and the only importer of classic-level. A write is answered when a sync has covered it; writers that wait
// share one (group-commit.ts). One batch is under way at a time, so that a crash can only tear the last.

import { ClassicLevel } from 'classic-level'
import { explain } from './failure.ts'
import { diskFiles, type Files } from './files.ts'
import { GroupCommit } from './group-commit.ts'
import { inspectWal, type TornTail } from './level-wal.ts'
import { type KeyRange, type Operation, PAGE_BYTES, type Row, type Storage, type SyncReport } from './storage.ts'

interface LevelOptions {
  /** A directory of its own; made when it is not there. */
  readonly path: string
  /** For the look at the write-ahead files; LevelDB itself uses the disk. */
  readonly files?: Files
  /** Monotonic milliseconds. */
  readonly nowMs?: () => number
  readonly onSync?: (report: SyncReport) => void
}

const BATCH_BYTES_MAX = 8 * 1024 * 1024
/** What a follower is sent and a leader takes in is bounded well below; a disk this far behind has as good as failed. */
const WAITING_BYTES_MAX = 256 * 1024 * 1024
/** Rows written here live until the next compaction of the log: many never need to leave LevelDB's first table. */
const WRITE_BUFFER_BYTES = 16 * 1024 * 1024
const PAGE_ROWS = 1024

type Database = ClassicLevel<Uint8Array, Uint8Array>

export class LevelStorage implements Storage {
  /** What a crash had cut off, for the log of the node; it is gone now. */
  readonly torn: readonly TornTail[]
  readonly #database: Database
  readonly #path: string
  readonly #commits: GroupCommit
  #closing: Promise<void> | undefined

  private constructor(database: Database, torn: readonly TornTail[], options: LevelOptions) {
    const { path, nowMs = () => performance.now(), onSync = () => {} } = options
    this.#database = database
    this.#path = path
    this.torn = torn
    this.#commits = new GroupCommit({
      path,
      batchBytesMax: BATCH_BYTES_MAX,
      waitingBytesMax: WAITING_BYTES_MAX,
      commit: async (operations, sizeBytes) => {
        const startMs = nowMs()
        try {
          await database.batch(operations.map(batchOperation), { sync: true })
        } catch (error) {
          throw explain(error, path, 'cannot write')
        }
        onSync({ durationMs: nowMs() - startMs, operationCount: operations.length, sizeBytes })
      },
    })
  }

  /**
   * Opens the database, which no other process may have open.
   * @throws MoonmeshError of a reason of failure.ts: `locked`, `corrupt`, `permission`, `full` …
   */
  static async open(options: LevelOptions): Promise<LevelStorage> {
    const { path, files = diskFiles } = options
    await files.makeDirectory(path)
    const torn = await inspectWal(files, path)
    const database: Database = new ClassicLevel(path, {
      keyEncoding: 'view',
      valueEncoding: 'view',
      compression: false,
      writeBufferSize: WRITE_BUFFER_BYTES,
    })
    try {
      await database.open()
    } catch (error) {
      throw explain(error, path, 'cannot open the database')
    }
    return new LevelStorage(database, torn, options)
  }

  get failure(): Error | undefined {
    return this.#commits.failure
  }

  get waitingBytes(): number {
    return this.#commits.waitingBytes
  }

  async get(key: Uint8Array): Promise<Uint8Array | undefined> {
    try {
      return await this.#database.get(key)
    } catch (error) {
      throw explain(error, this.#path, 'cannot read')
    }
  }

  write(operations: readonly Operation[]): Promise<void> {
    return this.#commits.write(operations)
  }

  async *rows({ from, to }: KeyRange): AsyncGenerator<readonly Row[]> {
    const range = { gte: from, lt: to, fillCache: false, highWaterMarkBytes: PAGE_BYTES }
    yield* this.#pages<Row>(() => this.#database.iterator(range))
  }

  async *keys({ from, to }: KeyRange): AsyncGenerator<readonly Uint8Array[]> {
    const range = { gte: from, lt: to, fillCache: false, highWaterMarkBytes: PAGE_BYTES }
    yield* this.#pages<Uint8Array>(() => this.#database.keys(range))
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    await this.#commits.close()
    try {
      await this.#database.close()
    } catch (error) {
      throw explain(error, this.#path, 'cannot close the database')
    }
  }

  async *#pages<T>(open: () => PagedIterator<T>): AsyncGenerator<readonly T[]> {
    let iterator: PagedIterator<T> | undefined
    try {
      iterator = open()
      for (;;) {
        const page = await iterator.nextv(PAGE_ROWS)
        if (page.length === 0) return
        yield page
      }
    } catch (error) {
      throw explain(error, this.#path, 'cannot read')
    } finally {
      await iterator?.close()
    }
  }
}

interface PagedIterator<T> {
  nextv(size: number): Promise<T[]>
  close(): Promise<void>
}

function batchOperation(
  operation: Operation,
): { type: 'put'; key: Uint8Array; value: Uint8Array } | { type: 'del'; key: Uint8Array } {
  const { key } = operation
  return operation.kind === 'put' ? { type: 'put', key, value: operation.value } : { type: 'del', key }
}
