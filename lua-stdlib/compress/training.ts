// Dictionaries for zstd from samples of the data. What the samples have in common is found as in COVER: short pieces are counted, and
// of each stretch of the samples the segment with the most that is common, and not yet taken, goes in. RFC 8878 §5; Liao, Petri, Moffat
// and Wirth, "Effective construction of relative Lempel-Ziv dictionaries" (2016).

import { createHash } from 'node:crypto'
import { DICTIONARY_MAGIC } from './dictionary.ts'

const PIECE_BYTES = 8
const SEGMENT_BYTES = 64
/** What is looked at of the samples, for each byte of the dictionary and in all; more tells little more and would hold up the script. */
const SAMPLED_RATIO = 100
const SAMPLED_BYTES_MAX = 2 * 1024 * 1024
const COUNTS_LOG = 20
/** Ids below are kept for a registry of well-known dictionaries, as are those from 2^31. RFC 8878 §5. */
const ID_MIN = 32_768
const ID_END = 2 ** 31

/**
 * @param size upper bound of the result in bytes, with its tables
 * @param id 0: one that follows from the content
 * @param samples at least one of PIECE_BYTES or more
 */
export function trainDictionary(samples: readonly Buffer[], { size, id }: { size: number; id: number }): Buffer {
  const content = commonContent(
    joined(samples, Math.min(size * SAMPLED_RATIO, SAMPLED_BYTES_MAX)),
    size - HEADER_BYTES - TABLES.length,
  )
  const header = Buffer.alloc(HEADER_BYTES)
  header.writeUInt32LE(DICTIONARY_MAGIC, 0)
  header.writeUInt32LE(id === 0 ? idOf(content) : id, 4)
  return Buffer.concat([header, TABLES, content])
}

const HEADER_BYTES = 8

function idOf(content: Buffer): number {
  const digest = createHash('sha256').update(content).digest()
  return ID_MIN + (digest.readUInt32LE(0) % (ID_END - ID_MIN))
}

/** Samples evenly from all, when they are more than is looked at. */
function joined(samples: readonly Buffer[], bytesMax: number): Buffer {
  const total = samples.reduce((sum, sample) => sum + sample.length, 0)
  const share = Math.min(1, bytesMax / total)
  return Buffer.concat(
    samples.map((sample) => sample.subarray(0, Math.max(PIECE_BYTES, Math.floor(sample.length * share)))),
    Math.min(total, bytesMax),
  )
}

function hashAt(data: Buffer, at: number): number {
  const mixed = Math.imul(data.readUInt32LE(at), 0x9e3779b1) ^ Math.imul(data.readUInt32LE(at + 4), 0x85ebca77)
  return (mixed ^ (mixed >>> 15)) >>> (32 - COUNTS_LOG)
}

/** Segments of `data`, the most useful last, where references to them are shortest. */
function commonContent(data: Buffer, bytesMax: number): Buffer {
  const pieces = data.length - PIECE_BYTES + 1
  const counts = new Uint32Array(1 << COUNTS_LOG)
  const hashes = new Uint32Array(pieces)
  for (let i = 0; i < pieces; i++) {
    const hash = hashAt(data, i)
    hashes[i] = hash
    counts[hash] = (counts[hash] as number) + 1
  }
  const segments: Buffer[] = []
  let room = bytesMax
  // Taking turns, so that a small dictionary has something of every part of the samples.
  let stretches = cutUp(pieces, Math.max(1, Math.floor(bytesMax / SEGMENT_BYTES)))
  while (stretches.length > 0 && room >= PIECE_BYTES) {
    // Counts only fall: a stretch without anything common stays so.
    stretches = stretches.filter((stretch) => {
      const found = room >= PIECE_BYTES ? bestSegment(hashes, counts, stretch) : undefined
      if (found === undefined) return false
      const segment = data.subarray(found.begin, Math.min(found.end + PIECE_BYTES - 1, found.begin + room))
      for (let i = found.begin; i < found.end; i++) counts[hashes[i] as number] = 0
      segments.push(segment)
      room -= segment.length
      return true
    })
  }
  if (segments.length === 0) return data.subarray(-bytesMax)
  return Buffer.concat(segments.reverse())
}

/** At most `count` ranges of at least a segment each. */
function cutUp(pieces: number, count: number): Range[] {
  const length = Math.max(SEGMENT_BYTES, Math.ceil(pieces / count))
  const out: Range[] = []
  for (let begin = 0; begin < pieces; begin += length) out.push({ begin, end: Math.min(begin + length, pieces) })
  return out
}

interface Range {
  readonly begin: number
  readonly end: number
}

/** The segment whose distinct pieces occur most often; without the ends that occur once. Undefined when nothing is common. */
function bestSegment(hashes: Uint32Array, counts: Uint32Array, { begin, end }: Range): Range | undefined {
  const inWindow = new Map<number, number>()
  const width = SEGMENT_BYTES - PIECE_BYTES + 1
  const worth = (hash: number): number => Math.max(0, (counts[hash] as number) - 1)
  let score = 0
  let best = { begin, end: begin, score: 0 }
  for (let i = begin; i < end; i++) {
    const entering = hashes[i] as number
    const seen = inWindow.get(entering) ?? 0
    if (seen === 0) score += worth(entering)
    inWindow.set(entering, seen + 1)
    const first = Math.max(begin, i - width + 1)
    if (i - width >= begin) {
      const leaving = hashes[i - width] as number
      const left = (inWindow.get(leaving) as number) - 1
      if (left > 0) inWindow.set(leaving, left)
      else {
        inWindow.delete(leaving)
        score -= worth(leaving)
      }
    }
    if (score > best.score) best = { begin: first, end: i + 1, score }
  }
  if (best.score === 0) return undefined
  while (worth(hashes[best.begin] as number) === 0) best.begin++
  while (worth(hashes[best.end - 1] as number) === 0) best.end--
  return best
}

/** Bits from the lowest of each byte upwards. */
class BitWriter {
  readonly #bytes: number[] = []
  #count = 0

  put(value: number, count: number): void {
    for (let i = 0; i < count; i++, this.#count++) {
      const at = this.#count >> 3
      this.#bytes[at] = (this.#bytes[at] ?? 0) | (((value >> i) & 1) << (this.#count & 7))
    }
  }

  bytes(): Buffer {
    return Buffer.from(this.#bytes)
  }
}

/** A table of probabilities without zeros, in the form that `inspectDictionary` reads. RFC 8878 §4.1.1. */
function probabilityTable(log: number, probabilities: readonly number[]): Buffer {
  const bits = new BitWriter()
  bits.put(log - 5, 4)
  let left = (1 << log) + 1
  for (const probability of probabilities) {
    const width = 32 - Math.clz32(left)
    const spare = (1 << width) - 1 - left
    const value = probability + 1
    if (value < spare) bits.put(value, width - 1)
    else bits.put(value < 1 << (width - 1) ? value : value + spare, width)
    left -= Math.abs(probability)
  }
  return bits.bytes()
}

const times = (count: number, value: number): number[] => new Array<number>(count).fill(value)

// The tables are the format's own defaults, RFC 8878 §3.1.1.3.2.2, and an even one for literals of ASCII: what helps is the content.
const OFFSETS = [...times(6, 1), 2, 2, 2, ...times(15, 1), ...times(5, -1)]
const MATCH_LENGTHS = [1, 4, 3, ...times(6, 2), ...times(37, 1), ...times(7, -1)]
const LITERAL_LENGTHS = [4, 3, ...times(11, 2), 1, 1, 1, ...times(9, 2), 3, 2, ...times(5, 1), ...times(4, -1)]
/** 127 weights of 1, two a byte; the 128th follows from them. */
const LITERALS = Buffer.from([127 + 127, ...times(63, 0x11), 0x10])
const REPEATED_OFFSETS = Buffer.from(Uint32Array.of(1, 4, 8).buffer)

const TABLES = Buffer.concat([
  LITERALS,
  probabilityTable(5, OFFSETS),
  probabilityTable(6, MATCH_LENGTHS),
  probabilityTable(6, LITERAL_LENGTHS),
  REPEATED_OFFSETS,
])
