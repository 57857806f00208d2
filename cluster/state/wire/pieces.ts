// Bytes that come in pieces, taken in other pieces; and the lengths between them.

import { createHash } from 'node:crypto'

/** What was not awaited takes no memory. What is taken is counted and hashed. */
export class Pieces {
  readonly #pieces: AsyncIterator<Uint8Array>
  readonly #endsEarly: (offset: number) => Error
  readonly #hash = createHash('sha256')
  #rest: Uint8Array = new Uint8Array(0)
  /** Of what comes next. */
  offset = 0

  /** @param endsEarly the error when more is wanted than comes; `offset` is where they end */
  constructor(pieces: AsyncIterable<Uint8Array>, endsEarly: (offset: number) => Error) {
    this.#pieces = pieces[Symbol.asyncIterator]()
    this.#endsEarly = endsEarly
  }

  async take(length: number): Promise<Uint8Array> {
    if (this.#rest.length < length) await this.#gather(length)
    const taken = this.#rest.subarray(0, length)
    this.#rest = this.#rest.subarray(length)
    this.#hash.update(taken)
    this.offset += length
    return taken
  }

  /** SHA-256 of what was taken so far. */
  checksum(): Uint8Array {
    return this.#hash.copy().digest()
  }

  async isAtEnd(): Promise<boolean> {
    return this.#rest.length === 0 && (await this.#pieces.next()).done === true
  }

  /** Lets go of where they come from. */
  async close(): Promise<void> {
    await this.#pieces.return?.()
  }

  async #gather(length: number): Promise<void> {
    const parts = [this.#rest]
    let bytes = this.#rest.length
    while (bytes < length) {
      const next = await this.#pieces.next()
      if (next.done === true) throw this.#endsEarly(this.offset + bytes)
      parts.push(next.value)
      bytes += next.value.length
    }
    this.#rest = Buffer.concat(parts, bytes)
  }
}

/** Big-endian, in four bytes. */
export function uint32(value: number): Uint8Array {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setUint32(0, value)
  return bytes
}

export function uint32At(bytes: Uint8Array, at: number): number {
  return new DataView(bytes.buffer, bytes.byteOffset + at, 4).getUint32(0)
}
