// The store of one server: its identity, its log and its snapshots, opened together and checked against each other.
// cluster.md §5.1.
//
//   META   who this store is      LOCK   the process that has it open, in words
//   log/   LevelDB                snap/  snapshots
//
// LevelDB's lock is what keeps a second process out, since it ends with its holder; LOCK only says who that is.

import { randomBytes } from 'node:crypto'
import { basename, dirname, join } from 'node:path'
import { MoonmeshError } from '../../runtime/base/errors.ts'
import { failure, failureReason } from '../storage/failure.ts'
import { diskFiles, type Files } from '../storage/files.ts'
import { LevelStorage } from '../storage/level.ts'
import type { TornTail } from '../storage/level-wal.ts'
import { MemoryStorage } from '../storage/memory.ts'
import { MemoryFiles } from '../storage/memory-files.ts'
import { readSealed, writeSealed } from '../storage/sealed-file.ts'
import type { Storage, SyncReport } from '../storage/storage.ts'
import type { SnapshotMeta } from './core/messages.ts'
import { type RecoveredState, recover } from './core/recovery.ts'
import { LogStore, logDamaged, type StoredLog } from './log-store.ts'
import { Snapshots } from './snapshots.ts'

const FORMAT = 1
const WIPED = '.wiped-'

/** What a store knows of itself besides its log. cluster.md §0.1, §5.1, §5.4. */
export interface StoreMeta {
  /** 16 random bytes, hex. */
  readonly storeId: string
  /** Wall clock, for display. */
  readonly createdAtMs: number
  /** The group that this store is or was part of, hex. */
  readonly formation?: string
  /** What the group began with, when this store was there: its first two entries, msgpack in base64. Without them the group has begun elsewhere. */
  readonly initial?: string
  /** Formations that it will never be part of, hex. */
  readonly released: readonly string[]
  /** What earlier stores of this node have released. */
  readonly releasedBefore?: readonly string[]
  /** The group that it has promised to found: a plan (wire/boot.ts) in base64. */
  readonly promise?: string
  /** What the group has agreed on for all its servers, as this one applied it last: an entry of settings in base64. */
  readonly agreed?: string
  /** Index of the configuration by which this server was taken out of the group at its own wish. */
  readonly retired?: number
}

interface StoreOptions {
  /** `<raft.data_dir>/_sys/raft`, or nothing on any disk. */
  readonly path: string | 'memory'
  /** Snapshots to keep, at least 1. */
  readonly retain: number
  readonly onSync?: (report: SyncReport) => void
  readonly files?: Files
  /** Opens the database of the log. */
  readonly openStorage?: (path: string) => Promise<Storage & { readonly torn?: readonly TornTail[] }>
  /** Wall-clock milliseconds. */
  readonly wallMs?: () => number
  /** Monotonic milliseconds. */
  readonly nowMs?: () => number
}

export class Store {
  readonly log: LogStore
  readonly snapshots: Snapshots
  /** What the core starts with. The state machine is restored from `snapshots.read` of its snapshot first. */
  readonly recovered: RecoveredState
  /** Batches that a crash had cut off, and which nobody was told about. */
  readonly torn: readonly TornTail[]
  readonly #files: Files
  readonly #path: string
  readonly #storage: Storage
  #meta: StoreMeta
  #changing: Promise<unknown> = Promise.resolve()
  #closing: Promise<void> | undefined

  private constructor(
    files: Files,
    path: string,
    parts: { storage: Storage & { readonly torn?: readonly TornTail[] }; log: LogStore; snapshots: Snapshots },
    recovered: RecoveredState,
    meta: StoreMeta,
  ) {
    this.#files = files
    this.#path = path
    this.#storage = parts.storage
    this.log = parts.log
    this.snapshots = parts.snapshots
    this.recovered = recovered
    this.torn = parts.storage.torn ?? []
    this.#meta = meta
  }

  /**
   * Opens the store, or makes a new one where there is none; writing is known to work when this resolves.
   * @throws MoonmeshError `Conflict` when another process has it open, `Internal` (details: `{ reason: 'corrupt' }`) when it is
   *   damaged, and whatever else a disk refuses (storage/failure.ts)
   */
  static async open(options: StoreOptions): Promise<Store> {
    const { path, files, openStorage } = placeOf(options)
    await files.makeDirectory(path)
    await removeWiped(files, path)
    const storage = await openStorage(join(path, 'log')).catch((error) => withHolder(files, path, error))
    let snapshots: Snapshots | undefined
    try {
      const { retain, nowMs } = options
      const snap = { files, path: join(path, 'snap'), retain, ...(nowMs === undefined ? {} : { nowMs }) }
      snapshots = await Snapshots.open(snap)
      await writeSealed(files, join(path, 'LOCK'), { pid: process.pid })
      const covered = { path, coveredIndex: snapshots.newest?.index ?? 0 }
      const { log, stored } = await LogStore.open(storage, covered)
      const isNew = isEmpty(stored) && snapshots.list.length === 0 && snapshots.damaged.length === 0
      const meta = await readOrMakeMeta(files, path, isNew, options.wallMs ?? Date.now)
      const recovered = recoveredState(path, stored, snapshots)
      // With the term: a base of a term that the store has not seen would look like damage.
      const { hardState, base } = recovered.state
      if (recovered.isLogReplaced) await log.persist({ hardState, reset: base })
      // Says what a disk that is full or read-only would say, before anything depends on it.
      await log.probe()
      return new Store(files, path, { storage, log, snapshots }, recovered.state, meta)
    } catch (error) {
      await snapshots?.close()
      await storage.close().catch(() => {})
      throw error
    }
  }

  get meta(): StoreMeta {
    return this.#meta
  }

  get storeId(): string {
    return this.#meta.storeId
  }

  /** Snapshots found damaged; an older one is used. */
  get damaged(): readonly SnapshotMeta[] {
    return this.snapshots.damaged
  }

  /** The failure after which this store promises nothing any more: close it, open it anew. cluster.md §5.1 D6. */
  get failure(): Error | undefined {
    return this.#storage.failure
  }

  /** Replaces META, durably; changes count in their order. */
  changeMeta(change: (meta: StoreMeta) => StoreMeta): Promise<StoreMeta> {
    const done = this.#changing
      .catch(() => {})
      .then(async () => {
        if (this.#closing !== undefined) throw failure('closed', this.#path)
        const meta = { ...change(this.#meta), storeId: this.#meta.storeId }
        await writeSealed(this.#files, join(this.#path, 'META'), contentOf(meta))
        this.#meta = meta
        return meta
      })
    this.#changing = done
    done.catch(() => {})
    return done
  }

  /** Lets what is under way finish and gives everything back. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    await this.#changing.catch(() => {})
    await this.snapshots.close()
    await this.log.close()
    // While the lock is still ours: afterwards it may be another process's.
    await this.#files.remove(join(this.#path, 'LOCK')).catch(() => {})
    await this.#storage.close()
  }
}

/**
 * Does away with a store that is closed, for good: the next one in its place has another id. cluster.md §5.3, `reset-store`.
 * From the first moment it is either whole or gone.
 */
export async function wipeStore(path: string, files: Files = diskFiles): Promise<void> {
  const above = dirname(path)
  const aside = asideOf(path)
  try {
    await files.rename(path, aside)
  } catch (error) {
    if (failureReason(error) === 'missing') return
    throw error
  }
  await files.syncDirectory(above)
  await files.remove(aside)
}

/**
 * Whether the store at `path`, which nobody has open, was ever part of a group or promised to found one. One that cannot be read was.
 * @throws MoonmeshError `Conflict` when it is open after all
 */
export async function holdsState(path: string, files: Files = diskFiles): Promise<boolean> {
  // Opening makes one where there is none.
  if (!(await files.list(dirname(path))).includes(basename(path))) return false
  let store: Store
  try {
    // Not to lose anything by looking: no snapshot goes.
    store = await Store.open({ path, retain: Number.MAX_SAFE_INTEGER, files })
  } catch (error) {
    if (failureReason(error) === 'locked') throw error
    return true
  }
  const { meta, recovered, log, snapshots } = store
  await store.close()
  const { formation, promise } = meta
  return (
    formation !== undefined ||
    promise !== undefined ||
    recovered.hardState.term > 0 ||
    log.lastIndex > 0 ||
    snapshots.list.length > 0
  )
}

/** Puts a store that is closed in the place of another, which is gone from then on. Between the two there is none for a moment. */
export async function replaceStore(from: string, path: string, files: Files = diskFiles): Promise<void> {
  const above = dirname(path)
  const aside = asideOf(path)
  const hadOne = await files.rename(path, aside).then(
    () => true,
    (error) => {
      if (failureReason(error) === 'missing') return false
      throw error
    },
  )
  await files.rename(from, path)
  await files.syncDirectory(above)
  if (hadOne) await files.remove(aside)
}

function placeOf(options: StoreOptions): {
  path: string
  files: Files
  openStorage: NonNullable<StoreOptions['openStorage']>
} {
  const { path, onSync, nowMs } = options
  if (path === 'memory') {
    const { files = new MemoryFiles(), openStorage = async () => new MemoryStorage() } = options
    return { path: '/memory', files, openStorage }
  }
  const { files = diskFiles } = options
  const extras = { ...(onSync === undefined ? {} : { onSync }), ...(nowMs === undefined ? {} : { nowMs }) }
  const { openStorage = (at) => LevelStorage.open({ path: at, files, ...extras }) } = options
  return { path, files, openStorage }
}

/** What is left of it there the next start removes. */
function asideOf(path: string): string {
  return `${path}${WIPED}${randomBytes(6).toString('hex')}`
}

async function removeWiped(files: Files, path: string): Promise<void> {
  const above = dirname(path)
  for (const name of await files.list(above)) {
    if (name.startsWith(`${basename(path)}${WIPED}`)) await files.remove(join(above, name))
  }
}

/** Names the process that has the store open. */
async function withHolder(files: Files, path: string, error: unknown): Promise<never> {
  if (failureReason(error) !== 'locked') throw error
  const lock = await readSealed(files, join(path, 'LOCK')).catch(() => undefined)
  const pid = (lock as { pid?: unknown } | undefined)?.pid
  const who = typeof pid === 'number' ? `pid ${pid}` : 'another process'
  const message = `data dir is in use by ${who}: ${path}`
  throw new MoonmeshError('Conflict', message, { details: { reason: 'locked', path, pid }, cause: error })
}

function isEmpty({ hardState, base, lastIndex }: StoredLog): boolean {
  return hardState === undefined && base.index === 0 && lastIndex === 0
}

async function readOrMakeMeta(files: Files, path: string, isNew: boolean, wallMs: () => number): Promise<StoreMeta> {
  const file = join(path, 'META')
  const content = await readSealed(files, file)
  if (content !== undefined) return parseMeta(content, file)
  // Under a new name it could vote again in terms in which it has voted. cluster.md §13 R7, R11.
  if (!isNew) {
    throw failure(
      'corrupt',
      file,
      'it is gone, and the log beside it is not; to rejoin as a new store: runtime cluster reset-store',
    )
  }
  const meta = { storeId: randomBytes(16).toString('hex'), createdAtMs: wallMs(), released: [] }
  await writeSealed(files, file, contentOf(meta))
  return meta
}

function contentOf({ storeId, createdAtMs, formation, initial, promise, ...meta }: StoreMeta): object {
  const { released, releasedBefore, agreed, retired } = meta
  const identity = { format: FORMAT, store_id: storeId, created_at: createdAtMs }
  return { ...identity, formation, initial, promise, released, released_before: releasedBefore, agreed, retired }
}

function parseMeta(content: unknown, file: string): StoreMeta {
  const fields = (typeof content === 'object' && content !== null ? content : {}) as Record<string, unknown>
  const { format, store_id: storeId, created_at: createdAtMs, formation, initial, released } = fields
  const { promise, released_before: releasedBefore, agreed, retired } = fields
  if (typeof format === 'number' && format > FORMAT) {
    const message = `${file} was written by a newer version (format ${format}, this one reads ${FORMAT}); start the newer version`
    throw new MoonmeshError('Invalid', message, { details: { path: file, format } })
  }
  const isText = (value: unknown): value is string => typeof value === 'string'
  const isValid =
    isText(storeId) &&
    /^[0-9a-f]{32}$/.test(storeId) &&
    typeof createdAtMs === 'number' &&
    (formation === undefined || isText(formation)) &&
    (initial === undefined || isText(initial)) &&
    (promise === undefined || isText(promise)) &&
    (agreed === undefined || isText(agreed)) &&
    (retired === undefined || typeof retired === 'number') &&
    (releasedBefore === undefined || (Array.isArray(releasedBefore) && releasedBefore.every(isText))) &&
    Array.isArray(released) &&
    released.every(isText)
  if (!isValid) throw failure('corrupt', file, 'it does not describe a store')
  const group = {
    ...(formation === undefined ? {} : { formation }),
    ...(initial === undefined ? {} : { initial }),
    ...(promise === undefined ? {} : { promise }),
    ...(agreed === undefined ? {} : { agreed }),
    ...(retired === undefined ? {} : { retired }),
    ...(releasedBefore === undefined ? {} : { releasedBefore }),
  }
  return { storeId, createdAtMs, released, ...group }
}

function recoveredState(
  path: string,
  stored: StoredLog,
  snapshots: Snapshots,
): { state: RecoveredState; isLogReplaced: boolean } {
  const { newest, partial } = snapshots
  const recovery = recover({
    ...stored,
    ...(newest === undefined ? {} : { snapshot: newest }),
    ...(partial === undefined ? {} : { partial }),
  })
  if (!recovery.ok) throw logDamaged(path, recovery.index, recovery.why)
  return recovery
}
