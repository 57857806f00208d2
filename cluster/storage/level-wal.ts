// A look at LevelDB's write-ahead files before LevelDB replays them. It drops whatever it cannot read, a batch torn by a crash
// and an acknowledged one that has rotted alike; this tells them apart. The format: google/leveldb doc/log_format.md.
//
// Every batch is one record and is synced before the next is written. So what is unreadable with another record behind it had
// been durable; and at the end, a record is torn only when some of it never came to the disk: the file stops within it, or a
// part that fills a sector to its end is all zero.

import { join } from 'node:path'
import { crc32c } from './crc32c.ts'
import { failure, failureReason } from './failure.ts'
import type { Files, OpenFile } from './files.ts'

const BLOCK_BYTES = 32768
/** Checksum 4, length 2, type 1. */
const HEADER_BYTES = 7
const TYPE_AT = 6
/** Sequence number 8, count 4. */
const BATCH_HEADER_BYTES = 12
const SEQUENCES_AHEAD_MAX = 2n ** 32n
const SECTOR_BYTES = 512
const FULL = 1
const FIRST = 2
const LAST = 4

/** A batch that a crash has cut off, and that nobody was told about. */
export interface TornTail {
  readonly file: string
  /** Where it begins. */
  readonly offset: number
  readonly lengthBytes: number
}

/**
 * What a crash has cut off in the database at `path`; LevelDB drops it when it opens.
 * @throws MoonmeshError of reason `corrupt` when something that was durable cannot be read
 */
export async function inspectWal(files: Files, path: string): Promise<TornTail[]> {
  const torn: TornTail[] = []
  for (const name of await files.list(path)) {
    if (!/^\d+\.log$/.test(name)) continue
    const tail = await inspectFile(files, join(path, name))
    if (tail !== undefined) torn.push(tail)
  }
  return torn
}

async function inspectFile(files: Files, file: string): Promise<TornTail | undefined> {
  let handle: OpenFile
  try {
    handle = await files.open(file, 'read')
  } catch (error) {
    // Removed since it was listed: its content is in tables.
    if (failureReason(error) === 'missing') return undefined
    throw error
  }
  try {
    const scan = new Scan()
    const sizeBytes = await handle.size()
    for (let at = 0; at < sizeBytes && !scan.isDamaged; at += BLOCK_BYTES) {
      scan.block(at, await handle.read(at, BLOCK_BYTES))
    }
    scan.end()
    const offset = scan.unreadableFrom
    if (offset === undefined) return undefined
    const isTorn = !scan.isDamaged && (scan.isCutOff || (await hasHole(handle, offset, sizeBytes)))
    if (isTorn) return { file, offset, lengthBytes: sizeBytes - offset }
    throw failure('corrupt', file, `the record at byte ${offset} was durable and does not match its checksum`)
  } finally {
    await handle.close()
  }
}

/** A part of a record: all of it, or what fits into its block. */
interface Part {
  readonly type: number
  readonly payload: Uint8Array
  readonly end: number
}

/** The records of one file, block by block. */
class Scan {
  /** Where the first record begins that cannot be read. */
  unreadableFrom: number | undefined
  /** A later record follows it. */
  isDamaged = false
  /** The file ends within it. */
  isCutOff = false
  /** Where the record begins of which not all parts have been seen. */
  #openFrom: number | undefined
  /** Of the last operation of the last record; every operation has one, and they rise. */
  #sequence: bigint | undefined

  block(start: number, bytes: Uint8Array): void {
    let at = 0
    while (bytes.length - at >= HEADER_BYTES && !this.isDamaged) {
      const part = partAt(bytes, at)
      if (part === undefined) return this.#unreadable(start, bytes, at)
      this.#part(part, start + at)
      at = part.end
    }
    // Less than a header: zeros that fill up a block, or a header that has been cut off.
    if (at < bytes.length && bytes.length < BLOCK_BYTES) {
      this.unreadableFrom ??= this.#openFrom ?? start + at
      this.isCutOff = true
    }
  }

  end(): void {
    if (this.isDamaged || this.#openFrom === undefined) return
    this.unreadableFrom ??= this.#openFrom
    this.isCutOff = true
  }

  #part({ type, payload }: Part, at: number): void {
    if (type === FULL || type === FIRST) {
      // Nothing is written behind a batch before that is durable.
      this.unreadableFrom ??= this.#openFrom
      this.isDamaged = this.unreadableFrom !== undefined
      this.#openFrom = type === FIRST ? at : undefined
      const batch = batchOf(payload)
      if (batch !== undefined) this.#sequence = batch.sequence + BigInt(batch.count)
    } else if (this.#openFrom === undefined) this.unreadableFrom ??= at
    else if (type === LAST) this.#openFrom = undefined
  }

  #unreadable(start: number, bytes: Uint8Array, at: number): void {
    this.unreadableFrom ??= this.#openFrom ?? start + at
    this.#openFrom = undefined
    const length = lengthAt(bytes, at)
    if (bytes.length < BLOCK_BYTES && length > 0 && at + HEADER_BYTES + length > bytes.length) {
      this.isCutOff = true
      // Or it is all there, and its length is what is wrong.
      this.isDamaged = isWhole(bytes, at, bytes.length)
    }
    // A wrong length hides what follows: look for a later record at every byte.
    for (let next = at + 1; bytes.length - next >= HEADER_BYTES && !this.isDamaged; next++) {
      const type = bytes[next + TYPE_AT]
      if (type !== FULL && type !== FIRST) continue
      const batch = batchOf(partAt(bytes, next)?.payload)
      if (batch === undefined) continue
      // What a user wrote may look like a record; it will hardly go on where the last one ended.
      const ahead = batch.sequence - (this.#sequence ?? batch.sequence)
      if (ahead < 0n || ahead > SEQUENCES_AHEAD_MAX) continue
      this.isDamaged = true
    }
  }
}

function lengthAt(bytes: Uint8Array, at: number): number {
  return (bytes[at + 4] as number) | ((bytes[at + 5] as number) << 8)
}

/** The part at `at`, when it is whole and matches its checksum. */
function partAt(bytes: Uint8Array, at: number): Part | undefined {
  const type = bytes[at + TYPE_AT] as number
  const end = at + HEADER_BYTES + lengthAt(bytes, at)
  if (type < FULL || type > LAST || end > bytes.length) return undefined
  if (!isWhole(bytes, at, end)) return undefined
  return { type, payload: bytes.subarray(at + HEADER_BYTES, end), end }
}

/** Whether the part that begins at `at` and ends at `end` matches its checksum. */
function isWhole(bytes: Uint8Array, at: number, end: number): boolean {
  const masked = new DataView(bytes.buffer, bytes.byteOffset + at, 4).getUint32(0, true)
  return unmask(masked) === crc32c(bytes.subarray(at + TYPE_AT, end))
}

/** The head of a batch, unless the block ended within it. */
function batchOf(payload: Uint8Array | undefined): { sequence: bigint; count: number } | undefined {
  if (payload === undefined || payload.length < BATCH_HEADER_BYTES) return undefined
  const view = new DataView(payload.buffer, payload.byteOffset, BATCH_HEADER_BYTES)
  return { sequence: view.getBigUint64(0, true), count: view.getUint32(8, true) }
}

/** Whether something from `offset` on was never written: zeros that reach the end of a sector. */
async function hasHole(handle: OpenFile, offset: number, sizeBytes: number): Promise<boolean> {
  for (let at = offset; at < sizeBytes; ) {
    const end = Math.min(sizeBytes, (Math.floor(at / BLOCK_BYTES) + 1) * BLOCK_BYTES)
    const bytes = await handle.read(at, end - at)
    for (let from = 0; from < bytes.length; ) {
      const sectorEnd = SECTOR_BYTES - ((at + from) % SECTOR_BYTES)
      const part = bytes.subarray(from, from + sectorEnd)
      if (part.every((byte) => byte === 0)) return true
      from += part.length
    }
    at = end
  }
  return false
}

/** Checksums are stored turned and shifted, since data may hold checksums itself. */
function unmask(masked: number): number {
  const turned = (masked - 0xa282ead8) >>> 0
  return ((turned >>> 17) | (turned << 15)) >>> 0
}
