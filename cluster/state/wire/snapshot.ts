// The replicated state as a file. cluster.md §5.12. Equal states at one index give equal bytes.
//   "MMSNAP1\n" · header: u32 length, msgpack {format, formation, index, term, clock, configuration, feature_level}
//   each section: u8 id · its records, each u32 length and one msgpack value · u32 0 · at the end: u8 0 · SHA-256 of all before

import { createHash } from 'node:crypto'
import { type Packed, pack, UnpackError, unpack } from '../../../runtime/base/msgpack.ts'
import { Fields } from '../core/fields.ts'
import { Pieces, uint32, uint32At } from './pieces.ts'

const MAGIC = new TextEncoder().encode('MMSNAP1\n')
const FORMAT = 1
const HEADER_BYTES_MAX = 64 * 1024
/** More than an entry may hold. */
const RECORD_BYTES_MAX = 32 * 1024 * 1024
const CHECKSUM_BYTES = 32
/** Small records are gathered into pieces of this size. */
const PIECE_BYTES = 64 * 1024

interface SnapshotHeader {
  /** Hex. */
  readonly formation: string
  readonly index: number
  readonly term: number
  readonly clockMs: number
  readonly configuration: Packed
  readonly featureLevel: number
}

export interface SnapshotRecord {
  readonly section: number
  readonly record: Uint8Array
}

/** The file as records are put into it: bytes come out in pieces, none before there is enough for one. */
export class SnapshotEncoder {
  readonly #hash = createHash('sha256')
  #gathered: Uint8Array[] = []
  #bytes = 0
  #open = 0

  constructor(header: SnapshotHeader) {
    this.#put(MAGIC)
    const { formation, index, term, clockMs: clock, configuration, featureLevel } = header
    const head = pack({
      format: FORMAT,
      formation: Buffer.from(formation, 'hex'),
      index,
      term,
      clock,
      configuration,
      feature_level: featureLevel,
    })
    this.#put(uint32(head.length))
    this.#put(head)
  }

  /** Sections ascend. @returns what is to be written, if there is enough of it; nobody may change `record` before */
  add(section: number, record: Uint8Array): Uint8Array | undefined {
    if (section !== this.#open) {
      if (this.#open !== 0) this.#put(uint32(0))
      this.#put(Uint8Array.of(section))
      this.#open = section
    }
    this.#put(uint32(record.length))
    this.#put(record)
    return this.#bytes >= PIECE_BYTES ? this.#piece() : undefined
  }

  /** What is left, and the checksum. */
  finish(): Uint8Array[] {
    if (this.#open !== 0) this.#put(uint32(0))
    this.#put(Uint8Array.of(0))
    return [this.#piece(), this.#hash.digest()]
  }

  #put(part: Uint8Array): void {
    this.#gathered.push(part)
    this.#bytes += part.length
  }

  #piece(): Uint8Array {
    const whole = Buffer.concat(this.#gathered)
    this.#gathered = []
    this.#bytes = 0
    this.#hash.update(whole)
    return whole
  }
}

/** @returns the file, piece by piece, as the records come */
export function* writeSnapshot(header: SnapshotHeader, records: Iterable<SnapshotRecord>): Generator<Uint8Array> {
  const encoder = new SnapshotEncoder(header)
  for (const { section, record } of records) {
    const piece = encoder.add(section, record)
    if (piece !== undefined) yield piece
  }
  yield* encoder.finish()
}

/**
 * Hands the records to `add`, in their order; they count for nothing before it resolves.
 * @throws UnpackError when it is not what `writeSnapshot` wrote, or whatever `add` throws
 */
export async function readSnapshot(
  pieces: AsyncIterable<Uint8Array>,
  add: (section: number, record: Uint8Array) => void,
): Promise<SnapshotHeader> {
  const source = new Pieces(pieces, () => new UnpackError('ends too early'))
  if (Buffer.compare(await source.take(MAGIC.length), MAGIC) !== 0) throw new UnpackError('no snapshot of this format')
  const header = headerOf(await source.take(await lengthIn(source, HEADER_BYTES_MAX)))
  for (;;) {
    const section = (await source.take(1))[0] as number
    if (section === 0) break
    for (;;) {
      const length = await lengthIn(source, RECORD_BYTES_MAX)
      if (length === 0) break
      add(section, await source.take(length))
    }
  }
  const expected = source.checksum()
  if (Buffer.compare(await source.take(CHECKSUM_BYTES), expected) !== 0) throw new UnpackError('wrong checksum')
  if (!(await source.isAtEnd())) throw new UnpackError('bytes follow the snapshot')
  return header
}

function headerOf(bytes: Uint8Array): SnapshotHeader {
  const packed = unpack(bytes)
  const fields = new Fields(packed)
  if (fields.count('format') !== FORMAT) throw new UnpackError(`a snapshot of format ${fields.count('format')}`)
  const { formation, configuration = null } = packed as { readonly [key: string]: Packed | undefined }
  if (!(formation instanceof Uint8Array)) throw new UnpackError('"formation" is missing or of the wrong type')
  return {
    formation: Buffer.from(formation).toString('hex'),
    index: fields.count('index'),
    term: fields.count('term'),
    clockMs: fields.count('clock'),
    configuration,
    featureLevel: fields.count('feature_level'),
  }
}

async function lengthIn(source: Pieces, max: number): Promise<number> {
  const length = uint32At(await source.take(4), 0)
  if (length > max) throw new UnpackError('a length beyond its limit')
  return length
}
