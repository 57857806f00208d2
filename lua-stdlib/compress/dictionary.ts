// The form of zstd dictionaries: a number, tables of codes that the first block may use, offsets to repeat, and content to refer to.
// RFC 8878 §5 (dictionaries), §4.1 (tables of finite state entropy), §4.2.1 (tables of Huffman codes).

export const DICTIONARY_MAGIC = 0xec30a437
const HEADER_BYTES = 8
/** What the tables of offset codes, match lengths and literal lengths may hold, in this order. */
const TABLES = [
  { symbolMax: 31, logMax: 8 },
  { symbolMax: 52, logMax: 9 },
  { symbolMax: 35, logMax: 9 },
] as const
const LOG_MIN = 5
const REPEATED_OFFSETS = 3

/** `message` says what is wrong with the dictionary. */
export class DictionaryError extends Error {
  override readonly name = 'DictionaryError'
}

interface DictionaryShape {
  readonly id: number
  /** Bytes behind the tables. */
  readonly contentSize: number
}

/** @throws DictionaryError */
export function inspectDictionary(data: Buffer): DictionaryShape {
  if (data.length < HEADER_BYTES || data.readUInt32LE(0) !== DICTIONARY_MAGIC)
    throw new DictionaryError('it does not begin as one')
  const id = data.readUInt32LE(4)
  if (id === 0) throw new DictionaryError('its id is 0')
  let at = HEADER_BYTES + huffmanSize(data, HEADER_BYTES)
  for (const { symbolMax, logMax } of TABLES) at += tableSize(data.subarray(at), symbolMax, logMax)
  const content = at + REPEATED_OFFSETS * 4
  const contentSize = data.length - content
  if (contentSize <= 0) throw new DictionaryError('it is cut off')
  for (let i = 0; i < REPEATED_OFFSETS; i++) {
    const offset = data.readUInt32LE(at + i * 4)
    if (offset === 0 || offset > contentSize) throw new DictionaryError('an offset leads out of it')
  }
  return { id, contentSize }
}

/** Bytes of a table of Huffman codes: its first byte is the size of compressed weights, or the number of weights of 4 bits. */
function huffmanSize(data: Buffer, at: number): number {
  const first = data[at]
  if (first === undefined || first === 0) throw new DictionaryError('its table of literals is cut off or empty')
  return 1 + (first < 128 ? first : Math.ceil((first - 127) / 2))
}

/** Bits from the lowest of each byte upwards. What lies behind the end reads as zero, as it does for every decoder. */
class BitReader {
  readonly #data: Buffer
  #at = 0

  constructor(data: Buffer) {
    this.#data = data
  }

  get bytesRead(): number {
    return Math.ceil(this.#at / 8)
  }

  peek(count: number): number {
    let value = 0
    for (let i = 0; i < count; i++) {
      const at = this.#at + i
      value |= (((this.#data[at >> 3] ?? 0) >> (at & 7)) & 1) << i
    }
    return value
  }

  skip(count: number): void {
    this.#at += count
  }

  take(count: number): number {
    const value = this.peek(count)
    this.skip(count)
    return value
  }
}

/** Bytes of a table of probabilities. Each takes as many bits as what is left of their sum can need. */
function tableSize(data: Buffer, symbolMax: number, logMax: number): number {
  const bits = new BitReader(data)
  const log = bits.take(4) + LOG_MIN
  if (log > logMax) throw new DictionaryError('a table of codes is too large')
  let left = (1 << log) + 1
  let symbol = 0
  while (left > 1 && symbol <= symbolMax) {
    const probability = readProbability(bits, left)
    left -= Math.abs(probability)
    symbol++
    // A zero is followed by how many more there are, in steps of up to three.
    if (probability !== 0) continue
    let more = bits.take(2)
    symbol += more
    while (more === 3 && symbol <= symbolMax) {
      more = bits.take(2)
      symbol += more
    }
  }
  if (left !== 1 || symbol > symbolMax + 1) throw new DictionaryError('a table of codes does not add up')
  if (bits.bytesRead > data.length) throw new DictionaryError('it is cut off')
  return bits.bytesRead
}

/** -1 stands for "less than 1", which takes a place of its own. */
function readProbability(bits: BitReader, left: number): number {
  const width = 32 - Math.clz32(left)
  // Values below `spare` take a bit less: so many codes of the full width would stand for nothing.
  const spare = (1 << width) - 1 - left
  const short = bits.peek(width - 1)
  if (short < spare) {
    bits.skip(width - 1)
    return short - 1
  }
  const full = bits.take(width)
  return (full >= 1 << (width - 1) ? full - spare : full) - 1
}
