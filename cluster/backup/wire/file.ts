// A backup as a file. cluster.md §5.12, operations.md §2. It is read from its beginning to its end, and whatever has become of it is found:
//   "MMBACK1\n" · frames: u32 length of what follows but the checksum · u8 kind · payload · u32 CRC-32C of all of the frame before it
//   kind 1, the first: what was backed up and when, msgpack
//   kind 2: u8 section of the state · records of it, each u32 length and one msgpack value
//   kind 3, the last: msgpack {records, sha256 of everything before this frame}
// The checksum of a frame says where a file is damaged, that of the whole that no frame is missing.

import { createHash } from 'node:crypto'
import { type PackedMap, pack, UnpackError, unpack } from '../../../runtime/base/msgpack.ts'
import { Fields } from '../../state/core/fields.ts'
import type { StateCounts } from '../../state/core/machine.ts'
import { Pieces, uint32, uint32At } from '../../state/wire/pieces.ts'
import { crc32c } from '../../storage/crc32c.ts'
import type { BackupHeader } from '../core/contents.ts'

const BACKUP_FORMAT = 1

const MAGIC = new TextEncoder().encode(`MMBACK${BACKUP_FORMAT}\n`)
const KIND = { header: 1, records: 2, end: 3 } as const
const LENGTH_BYTES = 4
const CHECKSUM_BYTES = 4
const SHA256_BYTES = 32
/** A frame is closed once it has so many; one record alone may have more. */
const FRAME_BYTES = 64 * 1024
/** More than a record may have, with what is around it. */
const FRAME_BYTES_MAX = 33 * 1024 * 1024

export interface BackupRecords {
  readonly kind: 'records'
  /** Of its frame in the file. */
  readonly offset: number
  readonly section: number
  /** Views of one frame. */
  readonly records: readonly Uint8Array[]
}

/** What a file brings, in this order: the header once, records, the end once. */
export type BackupPart =
  | { readonly kind: 'header'; readonly header: BackupHeader }
  | BackupRecords
  | { readonly kind: 'end'; readonly records: number; readonly sizeBytes: number }

/** What is wrong with a file, and at which byte. */
export class BackupDamaged extends Error {
  override readonly name = 'BackupDamaged'
  readonly offset: number

  constructor(offset: number, why: string) {
    super(why)
    this.offset = offset
  }
}

/** The file in pieces of a frame each, as the records come. */
export function* writeBackup(
  header: BackupHeader,
  records: Iterable<{ readonly section: number; readonly record: Uint8Array }>,
): Generator<Uint8Array> {
  const hash = createHash('sha256')
  const hashed = (bytes: Uint8Array): Uint8Array => {
    hash.update(bytes)
    return bytes
  }
  yield hashed(MAGIC)
  yield hashed(frame(KIND.header, [packHeader(header)]))
  let count = 0
  let open = 0
  let parts: Uint8Array[] = []
  let bytes = 0
  const close = (): Uint8Array => {
    const closed = hashed(frame(KIND.records, parts))
    parts = []
    bytes = 0
    return closed
  }
  for (const { section, record } of records) {
    if (parts.length > 0 && (section !== open || bytes + record.length > FRAME_BYTES)) yield close()
    if (parts.length === 0) parts.push(Uint8Array.of(section))
    open = section
    parts.push(uint32(record.length), record)
    bytes += LENGTH_BYTES + record.length
    count++
  }
  if (parts.length > 0) yield close()
  yield frame(KIND.end, [pack({ records: count, sha256: hash.digest() })])
}

/**
 * Reads a file that comes in pieces, one frame in memory at a time. What was handed out counts for nothing before the end was.
 * @throws BackupDamaged, or what `pieces` throws
 */
export async function* readBackup(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<BackupPart> {
  const source = new Pieces(pieces, (offset) => new BackupDamaged(offset, 'it ends there, before its end was written'))
  try {
    yield* partsIn(source)
  } finally {
    // Whoever wants no more of it lets go of the file.
    await source.close()
  }
}

async function* partsIn(source: Pieces): AsyncGenerator<BackupPart> {
  await readMagic(source)
  let hasHeader = false
  let count = 0
  for (;;) {
    const at = source.offset
    const before = source.checksum()
    const { kind, payload } = await readFrame(source)
    const part = understood(at, () => partOf(kind, payload, at))
    if (hasHeader === (part.kind === 'header')) throw new BackupDamaged(at, 'its parts are out of order')
    hasHeader = true
    if (part.kind === 'records') count += part.records.length
    if (part.kind !== 'end') {
      yield part
      continue
    }
    if (part.records !== count || Buffer.compare(part.sha256, before) !== 0) {
      throw new BackupDamaged(at, 'parts of it are missing or of another file')
    }
    if (!(await source.isAtEnd())) throw new BackupDamaged(source.offset, 'something follows its end')
    yield { kind: 'end', records: count, sizeBytes: source.offset }
    return
  }
}

async function readMagic(source: Pieces): Promise<void> {
  const magic = Buffer.from(await source.take(MAGIC.length)).toString('latin1')
  const [, format] = /^MMBACK(\d)\n$/.exec(magic) ?? []
  if (format === undefined) throw new BackupDamaged(0, 'it is no backup of a cluster')
  if (Number(format) !== BACKUP_FORMAT) throw new BackupDamaged(0, newer(Number(format)))
}

function newer(format: number): string {
  return `it has format ${format} and this version reads ${BACKUP_FORMAT}; use the version that wrote it, or a later one`
}

type RawPart =
  | Exclude<BackupPart, { kind: 'end' }>
  | { readonly kind: 'end'; readonly records: number; readonly sha256: Uint8Array }

async function readFrame(source: Pieces): Promise<{ kind: number; payload: Uint8Array }> {
  const at = source.offset
  const head = await source.take(LENGTH_BYTES)
  const length = uint32At(head, 0)
  if (length === 0 || length > FRAME_BYTES_MAX) throw new BackupDamaged(at, 'what stands there is no part of a backup')
  const body = await source.take(length)
  const sum = await source.take(CHECKSUM_BYTES)
  if (uint32At(sum, 0) !== crc32c(body, crc32c(head))) throw new BackupDamaged(at, 'a checksum does not match')
  return { kind: body[0] as number, payload: body.subarray(1) }
}

/** @throws UnpackError */
function partOf(kind: number, payload: Uint8Array, offset: number): RawPart {
  if (kind === KIND.header) return { kind: 'header', header: unpackHeader(payload) }
  if (kind === KIND.end) {
    const fields = new Fields(unpack(payload))
    const sha256 = fields.bytes('sha256')
    if (sha256.length !== SHA256_BYTES) throw new UnpackError('a checksum of the wrong length')
    return { kind: 'end', records: fields.count('records'), sha256 }
  }
  if (kind !== KIND.records) throw new UnpackError(`a part of kind ${kind} is unknown`)
  const records: Uint8Array[] = []
  for (let at = 1; at < payload.length; ) {
    const length = at + LENGTH_BYTES <= payload.length ? uint32At(payload, at) : Number.POSITIVE_INFINITY
    at += LENGTH_BYTES
    if (at + length > payload.length) throw new UnpackError('a record is longer than its frame')
    records.push(payload.subarray(at, at + length))
    at += length
  }
  if (records.length === 0) throw new UnpackError('a frame without records')
  return { kind: 'records', offset, section: payload[0] as number, records }
}

function understood<T>(offset: number, read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (error instanceof UnpackError) throw new BackupDamaged(offset, error.message)
    throw error
  }
}

function packHeader(header: BackupHeader): Uint8Array {
  const { counts } = header
  return pack({
    format: BACKUP_FORMAT,
    cluster: header.clusterId,
    formation: Buffer.from(header.formation, 'hex'),
    index: header.index,
    term: header.term,
    clock: header.clockMs,
    rev: header.revision,
    level: header.featureLevel,
    settings: header.settings,
    voters: header.voters,
    standbys: header.standbys,
    taken_at: header.takenAtMs,
    node: header.node,
    version: header.version,
    counts: {
      sessions: counts.sessions,
      names: counts.names,
      reservations: counts.reservations,
      locks: counts.locks,
      keys: counts.keys,
      value_bytes: counts.valueBytes,
    },
  })
}

/** @throws UnpackError */
function unpackHeader(bytes: Uint8Array): BackupHeader {
  const fields = new Fields(unpack(bytes))
  if (fields.count('format') !== BACKUP_FORMAT) throw new UnpackError(newer(fields.count('format')))
  return {
    clusterId: fields.text('cluster'),
    formation: Buffer.from(fields.bytes('formation')).toString('hex'),
    index: fields.count('index'),
    term: fields.count('term'),
    clockMs: fields.count('clock'),
    revision: fields.count('rev'),
    featureLevel: fields.count('level'),
    settings: fields.map('settings'),
    voters: fields.texts('voters'),
    standbys: fields.texts('standbys'),
    takenAtMs: fields.count('taken_at'),
    node: fields.text('node'),
    version: fields.text('version'),
    counts: countsIn(fields.map('counts')),
  }
}

function countsIn(map: PackedMap): StateCounts {
  const fields = new Fields(map)
  return {
    sessions: fields.count('sessions'),
    names: fields.count('names'),
    reservations: fields.count('reservations'),
    locks: fields.count('locks'),
    keys: fields.count('keys'),
    valueBytes: fields.count('value_bytes'),
  }
}

function frame(kind: number, parts: readonly Uint8Array[]): Uint8Array {
  const length = parts.reduce((sum, { length }) => sum + length, 1)
  const bytes = Buffer.concat([uint32(length), Uint8Array.of(kind), ...parts, new Uint8Array(CHECKSUM_BYTES)])
  bytes.writeUInt32BE(crc32c(bytes.subarray(0, bytes.length - CHECKSUM_BYTES)), bytes.length - CHECKSUM_BYTES)
  return bytes
}
