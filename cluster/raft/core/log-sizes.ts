// How much room the entries of a log take, kept while it grows, is cut and begins later.

import { assert } from '../../../runtime/base/assert.ts'

/** One number an entry: a log is bounded by the snapshots that take its place. */
export class LogSizes {
  /** Index of the first size. */
  #first: number
  #sizes: number[] = []
  #totalBytes = 0

  /** @param base the last index that is not kept */
  constructor(base: number) {
    this.#first = base + 1
  }

  get totalBytes(): number {
    return this.#totalBytes
  }

  append(index: number, bytes: number): void {
    assert(index === this.#first + this.#sizes.length, `the size of entry ${index} follows the one before`)
    this.#sizes.push(bytes)
    this.#totalBytes += bytes
  }

  /** The index behind which entries up to `through` are as many as have `bytesMax` at most. */
  indexWithin(bytesMax: number, through: number): number {
    let bytes = 0
    for (let index = through; index >= this.#first; index--) {
      bytes += this.#sizes[index - this.#first] ?? 0
      if (bytes > bytesMax) return index
    }
    return this.#first - 1
  }

  /** Entries after `index` are gone. */
  cutAfter(index: number): void {
    this.#forget(this.#sizes.splice(Math.max(0, index + 1 - this.#first)))
  }

  /** The log begins after `base`. */
  beginAfter(base: number): void {
    if (base < this.#first) return
    this.#forget(this.#sizes.splice(0, base + 1 - this.#first))
    this.#first = base + 1
  }

  #forget(sizes: readonly number[]): void {
    for (const bytes of sizes) this.#totalBytes -= bytes
  }
}
