// Backups on a disk: written aside and given their name when they are whole, read without a node, and turned into the store of a new group.
// operations.md §2, cluster.md §5.1, §5.4.

import { createHash, randomBytes } from 'node:crypto'
import { basename, dirname, join } from 'node:path'
import { MoonmeshError } from '../../runtime/base/errors.ts'
import { UnpackError } from '../../runtime/base/msgpack.ts'
import { formationOf } from '../raft/core/bootstrap.ts'
import { configurationOf } from '../raft/core/membership.ts'
import { serverId } from '../raft/core/server.ts'
import { holdsState, replaceStore, Store } from '../raft/store.ts'
import { packConfiguration } from '../raft/wire/entry.ts'
import { SnapshotEncoder } from '../state/wire/snapshot.ts'
import { diskFiles, type Files } from '../storage/files.ts'
import { type BackupContents, type BackupHeader, ContentsCounter } from './core/contents.ts'
import { Reviver, revivedRevision } from './core/revive.ts'
import type { Backup } from './taking.ts'
import { BackupDamaged, type BackupPart, type BackupRecords, readBackup } from './wire/file.ts'

/** A file that was read to its end, and is what was written. */
export interface BackupSummary {
  readonly header: BackupHeader
  readonly contents: BackupContents
  readonly sizeBytes: number
}

interface RestoreOptions {
  /** Of the backup. */
  readonly file: string
  /** The store of the node: `<raft.data_dir>/_sys/raft`. What is there goes. */
  readonly storePath: string
  /** Of the node, the only voter of the new group. */
  readonly nodeName: string
  /** Wall clock, milliseconds. */
  readonly wallMs?: () => number
  readonly files?: Files
}

interface Restored extends BackupSummary {
  /** Of the new group, hex. */
  readonly formation: string
  /** All tokens and versions to come are above it. */
  readonly revision: number
}

const READ_BYTES = 1024 * 1024
const NONCE_BYTES = 8
const RESTORING = '.restoring-'
const TAKE_AGAIN = 'take another backup, or use an older one'

/**
 * Takes a backup to its end and writes it to `file`, which is there once it is whole and durable; until then it is `file` and `.tmp`.
 * What comes is checked on the way.
 * @throws MoonmeshError of the backup, or of the disk
 */
export async function saveBackup(backup: Backup, file: string, files: Files = diskFiles): Promise<BackupSummary> {
  const aside = `${file}.tmp`
  const written = await files.open(aside, 'create')
  try {
    let sizeBytes = 0
    async function* pieces(): AsyncGenerator<Uint8Array> {
      for (let piece = await backup.next(); piece !== undefined; piece = await backup.next()) {
        await written.write(piece, sizeBytes)
        sizeBytes += piece.length
        yield piece
      }
    }
    const summary = await summaryOf(pieces(), `what the node sent for ${file}`, 'try again')
    await written.sync()
    await written.close()
    await files.rename(aside, file)
    await files.syncDirectory(dirname(file))
    return summary
  } catch (error) {
    await written.close().catch(() => {})
    await files.remove(aside).catch(() => {})
    throw error
  } finally {
    backup.close()
  }
}

/**
 * Reads a backup to its end.
 * @throws MoonmeshError `Invalid` (details: `{ path, offset }`) when it is no backup, or damaged; whatever a disk refuses
 */
export async function inspectBackup(file: string, files: Files = diskFiles): Promise<BackupSummary> {
  return summaryOf(piecesOf(files, file), file, TAKE_AGAIN)
}

/**
 * What a backup says of itself, without a look at the rest.
 * @throws MoonmeshError as `inspectBackup`
 */
export async function backupHeader(file: string, files: Files = diskFiles): Promise<BackupHeader> {
  const parts = readBackup(piecesOf(files, file))
  try {
    const first = await nextOf(parts, file, TAKE_AGAIN)
    if (first?.kind !== 'header') throw damaged(file, 0, 'it has no beginning', TAKE_AGAIN)
    return first.header
  } finally {
    await parts.return(undefined)
  }
}

/**
 * Founds a group of one node from a backup: its store is made beside the one that is there, and takes its place once it is whole. The node
 * must not run.
 * @throws MoonmeshError as `inspectBackup`; nothing has changed then
 */
export async function restoreBackup(options: RestoreOptions): Promise<Restored> {
  const { file, storePath, nodeName, wallMs = Date.now, files = diskFiles } = options
  const header = await backupHeader(file, files)
  const revision = understood(file, 0, TAKE_AGAIN, () =>
    revivedRevision(header.revision, { takenAtMs: header.takenAtMs, nowMs: wallMs() }),
  )
  const above = dirname(storePath)
  const begun = `${basename(storePath)}${RESTORING}`
  // Of one that was cut off.
  for (const name of await files.list(above)) if (name.startsWith(begun)) await files.remove(join(above, name))
  const aside = join(above, `${begun}${randomBytes(NONCE_BYTES).toString('hex')}`)
  try {
    const store = await Store.open({ path: aside, retain: 1, files, wallMs })
    try {
      const founders = [{ name: nodeName, epoch: 0, store: store.storeId }]
      const nonce = randomBytes(NONCE_BYTES).toString('hex')
      const formation = formationOf({ nonce, clusterId: header.clusterId, founders }, (text) =>
        createHash('sha256').update(text, 'latin1').digest(),
      )
      const summary = await fill(store, { header, formation, revision, nodeName, file, files })
      await store.changeMeta((meta) => ({ ...meta, formation }))
      await store.close()
      // Making it has taken a while: a node that was started meanwhile keeps what it has.
      await holdsState(storePath, files)
      await replaceStore(aside, storePath, files)
      return { ...summary, formation, revision }
    } finally {
      await store.close()
    }
  } catch (error) {
    await files.remove(aside).catch(() => {})
    throw error
  }
}

/** Puts the state into a snapshot of the store, and has its log begin behind that. */
async function fill(
  store: Store,
  from: { header: BackupHeader; formation: string; revision: number; nodeName: string; file: string; files: Files },
): Promise<BackupSummary> {
  const { header, formation, revision, nodeName, file, files } = from
  const { term, clockMs, featureLevel } = header
  const index = header.index + 1
  const configuration = configurationOf([serverId(nodeName, store.storeId)])
  const writer = await store.snapshots.create({ index, term, clockMs, configuration })
  try {
    const packed = packConfiguration(configuration)
    const encoder = new SnapshotEncoder({ formation, index, term, clockMs, configuration: packed, featureLevel })
    const reviver = new Reviver(header, revision)
    const summary = await read(piecesOf(files, file), file, TAKE_AGAIN, async ({ section, records }) => {
      for (const record of records) {
        const kept = reviver.record(section, record)
        const piece = kept === undefined ? undefined : encoder.add(section, kept)
        if (piece !== undefined) await writer.write(piece)
      }
    })
    for (const piece of encoder.finish()) await writer.write(piece)
    await writer.finish()
    await store.log.persist({ hardState: { term }, reset: { index, term } })
    return summary
  } catch (error) {
    await writer.abort()
    throw error
  }
}

function summaryOf(pieces: AsyncIterable<Uint8Array>, file: string, remedy: string): Promise<BackupSummary> {
  return read(pieces, file, remedy, async () => {})
}

/** @param each is told the records when they were understood */
async function read(
  pieces: AsyncIterable<Uint8Array>,
  file: string,
  remedy: string,
  each: (records: BackupRecords) => Promise<void>,
): Promise<BackupSummary> {
  const counter = new ContentsCounter()
  let header: BackupHeader | undefined
  let offset = 0
  const parts = readBackup(pieces)
  for (;;) {
    const part = await nextOf(parts, file, remedy)
    if (part === undefined) break
    if (part.kind === 'header') header = part.header
    else if (part.kind === 'records') {
      const { section, records } = part
      understood(file, part.offset, remedy, () => {
        for (const record of records) counter.add(section, record)
      })
      await each(part)
    } else offset = part.sizeBytes
  }
  if (header === undefined) throw damaged(file, 0, 'it has no beginning', remedy)
  const isAsSaid = JSON.stringify(counter.counts) === JSON.stringify(header.counts)
  if (!isAsSaid) throw damaged(file, 0, 'it does not hold what its beginning says', remedy)
  return { header, contents: counter.contents, sizeBytes: offset }
}

async function nextOf(
  parts: AsyncGenerator<BackupPart>,
  file: string,
  remedy: string,
): Promise<BackupPart | undefined> {
  try {
    const part = await parts.next()
    return part.done === true ? undefined : part.value
  } catch (error) {
    if (error instanceof BackupDamaged) throw damaged(file, error.offset, error.message, remedy)
    throw error
  }
}

function understood<T>(file: string, offset: number, remedy: string, act: () => T): T {
  try {
    return act()
  } catch (error) {
    if (error instanceof UnpackError) throw damaged(file, offset, error.message, remedy)
    throw error
  }
}

function damaged(path: string, offset: number, why: string, remedy: string): MoonmeshError {
  const text = `${path}: at byte ${offset}: ${why}; ${remedy}`
  return new MoonmeshError('Invalid', text, { retryable: false, details: { path, offset } })
}

async function* piecesOf(files: Files, path: string): AsyncGenerator<Uint8Array> {
  const file = await files.open(path, 'read')
  try {
    for (let at = 0; ; ) {
      const bytes = await file.read(at, READ_BYTES)
      at += bytes.length
      if (bytes.length > 0) yield bytes
      if (bytes.length < READ_BYTES) return
    }
  } finally {
    await file.close()
  }
}
