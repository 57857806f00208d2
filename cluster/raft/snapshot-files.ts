// What lies in the directory of one snapshot: DATA, the bytes of the state machine, and META, which says what they are. CHUNKS
// stands beside them while they arrive: sixteen bytes a chunk (offset 8, length 4, CRC-32C 4, big-endian), so that a crash
// leaves a beginning that can be trusted.

import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { crc32c } from '../storage/crc32c.ts'
import { failure, failureReason } from '../storage/failure.ts'
import type { Files, OpenFile } from '../storage/files.ts'
import { readSealed } from '../storage/sealed-file.ts'
import type { SnapshotMeta } from './core/messages.ts'
import { compareServers } from './core/server.ts'

export const DATA = 'DATA'
export const META = 'META'
export const CHUNKS = 'CHUNKS'
const FORMAT = 1
export const CHUNK_RECORD_BYTES = 16
/** Read at a time: each call waits for a thread of the disk. */
const READ_BYTES = 1024 * 1024
/** Hashed and handed out at a time; well below a millisecond. */
const PIECE_BYTES = 128 * 1024

/** As META holds it. */
export function metaContent(meta: SnapshotMeta): object {
  const { index, term, clockMs, configuration, sizeBytes, checksum } = meta
  return { format: FORMAT, index, term, clock: clockMs, configuration, size: sizeBytes, sha256: checksum }
}

/** The META of the snapshot in `directory`; undefined when there is none that is valid. */
export async function readMeta(files: Files, directory: string): Promise<SnapshotMeta | undefined> {
  try {
    return parseMeta(await readSealed(files, join(directory, META)), directory)
  } catch (error) {
    if (failureReason(error) === 'corrupt') return undefined
    throw error
  }
}

/** The bytes of DATA, in order; the caller learns at the end, by a failure, when they are not what META says. */
export async function* readVerified(files: Files, directory: string, meta: SnapshotMeta): AsyncGenerator<Uint8Array> {
  const path = join(directory, DATA)
  const hash = createHash('sha256')
  const file = await files.open(path, 'read')
  let next = file.read(0, READ_BYTES)
  try {
    let at = 0
    while (at <= meta.sizeBytes) {
      const bytes = await next
      if (bytes.length === 0) break
      at += bytes.length
      // The disk works while these are looked at.
      next = file.read(at, READ_BYTES)
      next.catch(() => {
        // Whoever waits for it is told, if anybody does.
      })
      for (let from = 0; from < bytes.length; from += PIECE_BYTES) {
        const piece = bytes.subarray(from, from + PIECE_BYTES)
        hash.update(piece)
        yield piece
      }
    }
    if (at !== meta.sizeBytes) throw failure('corrupt', path, `it should have ${meta.sizeBytes} bytes`)
    if (hash.digest('hex') !== meta.checksum) throw failure('corrupt', path, 'it does not match its checksum')
  } finally {
    await next.catch(() => {})
    await file.close()
  }
}

/** Whether DATA is what META says. */
export async function isIntact(files: Files, directory: string, meta: SnapshotMeta): Promise<boolean> {
  try {
    for await (const _bytes of readVerified(files, directory, meta));
    return true
  } catch (error) {
    const reason = failureReason(error)
    if (reason === 'corrupt' || reason === 'missing') return false
    throw error
  }
}

export function chunkRecord(offset: number, data: Uint8Array): Uint8Array {
  const record = new Uint8Array(CHUNK_RECORD_BYTES)
  const view = new DataView(record.buffer)
  view.setUint32(0, Math.floor(offset / 0x100000000))
  view.setUint32(4, offset % 0x100000000)
  view.setUint32(8, data.length)
  view.setUint32(12, crc32c(data))
  return record
}

/** How much of what was arriving is there: the chunks up to the first one that is not what was written. */
export async function arrivedChunks(data: OpenFile, chunks: OpenFile): Promise<{ bytes: number; count: number }> {
  const dataBytes = await data.size()
  const records = Math.floor((await chunks.size()) / CHUNK_RECORD_BYTES)
  let bytes = 0
  for (let count = 0; count < records; count++) {
    const record = await chunks.read(count * CHUNK_RECORD_BYTES, CHUNK_RECORD_BYTES)
    if (record.length < CHUNK_RECORD_BYTES) return { bytes, count }
    const view = new DataView(record.buffer, record.byteOffset, record.byteLength)
    const offset = view.getUint32(0) * 0x100000000 + view.getUint32(4)
    const length = view.getUint32(8)
    if (offset !== bytes || length === 0 || offset + length > dataBytes) return { bytes, count }
    if (!(await isChunk(data, offset, length, view.getUint32(12)))) return { bytes, count }
    bytes += length
  }
  return { bytes, count: records }
}

async function isChunk(data: OpenFile, offset: number, length: number, checksum: number): Promise<boolean> {
  let crc = 0
  for (let at = 0; at < length; ) {
    const bytes = await data.read(offset + at, Math.min(READ_BYTES, length - at))
    if (bytes.length === 0) return false
    crc = crc32c(bytes, crc)
    at += bytes.length
  }
  return crc === checksum
}

function parseMeta(content: unknown, directory: string): SnapshotMeta | undefined {
  if (content === undefined) return undefined
  const wrong = (): Error => failure('corrupt', join(directory, META), 'it is no description of a snapshot')
  if (typeof content !== 'object' || content === null) throw wrong()
  const { format, index, term, clock, configuration, size, sha256 } = content as Record<string, unknown>
  if (format !== FORMAT) throw wrong()
  if (!isCount(index) || !isCount(term) || !isCount(clock) || !isCount(size) || typeof sha256 !== 'string')
    throw wrong()
  const { voters, standbys } = (configuration ?? {}) as Record<string, unknown>
  if (!isServerList(voters) || !isServerList(standbys)) throw wrong()
  return { index, term, clockMs: clock, configuration: { voters, standbys }, sizeBytes: size, checksum: sha256 }
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

function isServerList(value: unknown): value is string[] {
  if (!Array.isArray(value) || !value.every((each) => typeof each === 'string')) return false
  const servers: readonly string[] = value
  return servers.every((each, at) => at === 0 || compareServers(servers[at - 1] as string, each) < 0)
}
