// LZW as Go's compress/lzw writes it: least significant bit first, 8-bit literals, codes of 9 to 12 bits. cluster.md,
// appendix B.

import { DecodeError } from './decode-error.ts'

const CLEAR = 256
const EOF_CODE = 257
const WIDTH_MIN = 9
const WIDTH_MAX = 12
const CODES = 4096
// The table is open addressing over (prefix code, next byte); 2^14 slots are well above the 3838 entries it can have.
const HASH_BITS_MIN = 6
const HASH_BITS_MAX = 14

/** Compresses a whole buffer. */
export function lzwEncode(input: Uint8Array): Buffer {
  const packer = new BitPacker(input.length)
  // Most inputs are packets of a few hundred bytes: a table of their size is cheaper to clear.
  const hashBits = Math.min(HASH_BITS_MAX, Math.max(HASH_BITS_MIN, 33 - Math.clz32(input.length)))
  const mask = (1 << hashBits) - 1
  const keys = new Int32Array(mask + 1)
  const codes = new Int16Array(mask + 1)
  let hi = EOF_CODE
  let overflow = 512
  /** Counts a code that was emitted; false when the table was full and is empty now. */
  const grow = (): boolean => {
    hi++
    if (hi === overflow) {
      packer.width++
      overflow *= 2
    }
    if (hi !== CODES - 1) return true
    packer.emit(CLEAR)
    packer.width = WIDTH_MIN
    hi = EOF_CODE
    overflow = 512
    keys.fill(0)
    return false
  }
  packer.emit(CLEAR)
  if (input.length > 0) {
    let current = input[0] as number
    for (let i = 1; i < input.length; i++) {
      const byte = input[i] as number
      const key = ((current << 8) | byte) + 1 // 0 is a free slot
      let slot = Math.imul(key, 0x9e3779b1) >>> (32 - hashBits)
      while (keys[slot] !== 0 && keys[slot] !== key) slot = (slot + 1) & mask
      if (keys[slot] === key) {
        current = codes[slot] as number
        continue
      }
      packer.emit(current)
      if (grow()) {
        keys[slot] = key
        codes[slot] = hi
      }
      current = byte
    }
    packer.emit(current)
    grow()
  }
  packer.emit(EOF_CODE)
  return packer.finish()
}

class BitPacker {
  width = WIDTH_MIN
  #out: Buffer
  #at = 0
  #bits = 0
  #bitCount = 0

  constructor(inputLength: number) {
    this.#out = Buffer.allocUnsafe(inputLength + (inputLength >> 1) + 16)
  }

  emit(code: number): void {
    this.#bits |= code << this.#bitCount
    this.#bitCount += this.width
    while (this.#bitCount >= 8) {
      this.#out[this.#at++] = this.#bits & 0xff
      this.#bits >>>= 8
      this.#bitCount -= 8
    }
  }

  finish(): Buffer {
    if (this.#bitCount > 0) this.#out[this.#at++] = this.#bits & 0xff
    return this.#out.subarray(0, this.#at)
  }
}

/**
 * Expands in slices, so that a large or hostile input never holds the event loop.
 * @throws DecodeError when the input is malformed, ends before its end mark, or expands beyond `bytesMax`
 */
export class LzwDecoder {
  readonly #input: Uint8Array
  readonly #bytesMax: number
  readonly #prefix = new Uint16Array(CODES)
  readonly #suffix = new Uint8Array(CODES)
  /** Bytes that a code stands for. */
  readonly #lengths = new Uint16Array(CODES).fill(1, 0, CLEAR)
  #out: Buffer
  #outAt = 0
  #inAt = 0
  #bits = 0
  #bitCount = 0
  #width = WIDTH_MIN
  #hi = EOF_CODE
  #overflow = 512
  #last = -1

  constructor(input: Uint8Array, bytesMax: number) {
    this.#input = input
    this.#bytesMax = bytesMax
    this.#out = Buffer.allocUnsafe(Math.min(bytesMax, Math.max(256, input.length * 3)))
  }

  /** Works until done, until about `budgetBytes` more bytes are out, or for as many codes, which need not bring any; true when done. */
  run(budgetBytes: number): boolean {
    const stopAt = this.#outAt + budgetBytes
    for (let codes = 0; codes < budgetBytes && this.#outAt < stopAt; codes++) {
      const code = this.#next()
      if (code === EOF_CODE) return true
      if (code === CLEAR) {
        this.#width = WIDTH_MIN
        this.#hi = EOF_CODE
        this.#overflow = 512
        this.#last = -1
        continue
      }
      this.#expand(code)
      this.#advance(code)
    }
    return false
  }

  /** The whole output; valid once `run` returned true. */
  output(): Buffer {
    return this.#out.subarray(0, this.#outAt)
  }

  #expand(code: number): void {
    const last = this.#last
    // A code that is being defined at this moment is the last one followed by its own first byte.
    const isNew = code === this.#hi && last >= 0
    if (code > this.#hi) throw new DecodeError('LZW code is not in the table')
    const source = isNew ? last : code
    const length = (this.#lengths[source] as number) + (isNew ? 1 : 0)
    this.#room(length)
    const out = this.#out
    const start = this.#outAt
    let at = start + length - 1
    if (isNew) at--
    let walk = source
    while (walk >= CLEAR) {
      out[at--] = this.#suffix[walk] as number
      walk = this.#prefix[walk] as number
    }
    out[start] = walk
    if (isNew) out[start + length - 1] = walk
    this.#outAt = start + length
    if (last >= 0) {
      this.#prefix[this.#hi] = last
      this.#suffix[this.#hi] = walk
      this.#lengths[this.#hi] = (this.#lengths[last] as number) + 1
    }
  }

  #advance(code: number): void {
    this.#last = code
    this.#hi++
    if (this.#hi < this.#overflow) return
    if (this.#width === WIDTH_MAX) {
      // Full: nothing is defined until the next CLEAR.
      this.#last = -1
      this.#hi--
    } else {
      this.#width++
      this.#overflow *= 2
    }
  }

  #next(): number {
    while (this.#bitCount < this.#width) {
      if (this.#inAt === this.#input.length) throw new DecodeError('LZW data ends before its end mark')
      this.#bits |= (this.#input[this.#inAt++] as number) << this.#bitCount
      this.#bitCount += 8
    }
    const code = this.#bits & ((1 << this.#width) - 1)
    this.#bits >>>= this.#width
    this.#bitCount -= this.#width
    return code
  }

  #room(count: number): void {
    const needed = this.#outAt + count
    if (needed > this.#bytesMax) throw new DecodeError(`expands to more than ${this.#bytesMax} bytes`)
    if (needed <= this.#out.length) return
    const grown = Buffer.allocUnsafe(Math.min(this.#bytesMax, Math.max(needed, this.#out.length * 2)))
    this.#out.copy(grown, 0, 0, this.#outAt)
    this.#out = grown
  }
}

/** Expands a whole buffer at once; for inputs and limits that are small. @throws DecodeError */
export function lzwDecode(input: Uint8Array, bytesMax: number): Buffer {
  const decoder = new LzwDecoder(input, bytesMax)
  while (!decoder.run(bytesMax + 1)) {
    // Only CLEAR codes bring nothing, and those run out with the input.
  }
  return decoder.output()
}
