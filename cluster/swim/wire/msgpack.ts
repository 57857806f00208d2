// The gossip dialect of msgpack: the old specification, which has neither str8 nor bin and writes byte strings raw. The
// reader takes every form that a current or an old peer writes. cluster.md §3.2.

import { DecodeError, TruncatedError } from './decode-error.ts'

const DEPTH_MAX = 32
const ARRAY_BYTES_MAX = 65_536

/** Appends msgpack to a growing buffer. */
export class Writer {
  #buffer: Buffer
  #at = 0

  constructor(sizeHint = 256) {
    this.#buffer = Buffer.allocUnsafe(sizeHint)
  }

  get length(): number {
    return this.#at
  }

  u8(value: number): this {
    this.#room(1)
    this.#buffer[this.#at++] = value
    return this
  }

  u16(value: number): this {
    this.#room(2)
    this.#at = this.#buffer.writeUInt16BE(value, this.#at)
    return this
  }

  u32(value: number): this {
    this.#room(4)
    this.#at = this.#buffer.writeUInt32BE(value, this.#at)
    return this
  }

  /** A whole number from 0 to 2^53-1 in the shortest unsigned form. */
  uint(value: number): this {
    if (value < 0x80) return this.u8(value)
    if (value < 0x100) return this.u8(0xcc).u8(value)
    if (value < 0x10000) return this.u8(0xcd).u16(value)
    if (value < 0x100000000) return this.u8(0xce).u32(value)
    return this.u8(0xcf)
      .u32(Math.floor(value / 0x100000000))
      .u32(value >>> 0)
  }

  bool(value: boolean): this {
    return this.u8(value ? 0xc3 : 0xc2)
  }

  nil(): this {
    return this.u8(0xc0)
  }

  mapHeader(count: number): this {
    return count < 16 ? this.u8(0x80 | count) : this.u8(0xde).u16(count)
  }

  arrayHeader(count: number): this {
    return count < 16 ? this.u8(0x90 | count) : this.u8(0xdc).u16(count)
  }

  /** A byte string as old raw. */
  raw(bytes: string): this {
    this.#rawHeader(bytes.length)
    this.#room(bytes.length)
    this.#at += this.#buffer.write(bytes, this.#at, 'latin1')
    return this
  }

  rawBytes(bytes: Uint8Array): this {
    this.#rawHeader(bytes.length)
    return this.bytes(bytes)
  }

  /** Bytes as they are. */
  bytes(bytes: Uint8Array): this {
    this.#room(bytes.length)
    this.#buffer.set(bytes, this.#at)
    this.#at += bytes.length
    return this
  }

  /** What was written; the writer must not be used afterwards. */
  finish(): Buffer {
    return this.#buffer.subarray(0, this.#at)
  }

  #rawHeader(length: number): void {
    if (length < 32) this.u8(0xa0 | length)
    else if (length < 0x10000) this.u8(0xda).u16(length)
    else this.u8(0xdb).u32(length)
  }

  #room(count: number): void {
    if (this.#at + count <= this.#buffer.length) return
    const grown = Buffer.allocUnsafe(Math.max(this.#buffer.length * 2, this.#at + count))
    this.#buffer.copy(grown, 0, 0, this.#at)
    this.#buffer = grown
  }
}

/** Reads msgpack out of a buffer that may hold anything. Throws DecodeError and nothing else. */
export class Reader {
  readonly #buffer: Buffer
  #at: number

  constructor(buffer: Buffer, at = 0) {
    this.#buffer = buffer
    this.#at = at
  }

  get at(): number {
    return this.#at
  }

  get remaining(): number {
    return this.#buffer.length - this.#at
  }

  u8(): number {
    this.#need(1)
    return this.#buffer[this.#at++] as number
  }

  u16(): number {
    this.#need(2)
    const value = this.#buffer.readUInt16BE(this.#at)
    this.#at += 2
    return value
  }

  u32(): number {
    this.#need(4)
    const value = this.#buffer.readUInt32BE(this.#at)
    this.#at += 4
    return value
  }

  u32le(): number {
    this.#need(4)
    const value = this.#buffer.readUInt32LE(this.#at)
    this.#at += 4
    return value
  }

  /** `count` bytes, not copied. */
  bytes(count: number): Buffer {
    this.#need(count)
    const start = this.#at
    this.#at += count
    return this.#buffer.subarray(start, this.#at)
  }

  rest(): Buffer {
    return this.bytes(this.remaining)
  }

  /** A whole number from 0 to `max` in any integer form. */
  uint(max: number): number {
    const value = this.#integer()
    if (value < 0 || value > max) throw new DecodeError(`a number is outside 0..${max}`)
    return value
  }

  bool(): boolean {
    const tag = this.u8()
    if (tag === 0xc2 || tag === 0x00) return false
    if (tag === 0xc3 || tag === 0x01) return true
    throw new DecodeError('expected a boolean')
  }

  /** Entries of a map; a nil counts as an empty one. */
  mapHeader(max: number): number {
    const tag = this.u8()
    let count: number
    if (tag >= 0x80 && tag <= 0x8f) count = tag & 0x0f
    else if (tag === 0xde) count = this.u16()
    else if (tag === 0xdf) count = this.u32()
    else if (tag === 0xc0) count = 0
    else throw new DecodeError('expected a map')
    if (count > max) throw new DecodeError(`a map has more than ${max} entries`)
    return count
  }

  /** A byte string of at most `max` bytes in any form that peers write; undefined for nil. */
  raw(max: number): string | undefined {
    return this.rawBytes(max)?.toString('latin1')
  }

  /** As `raw`, as bytes that are not copied where the form allows. */
  rawBytes(max: number): Buffer | undefined {
    const tag = this.u8()
    if (tag === 0xc0) return undefined
    const length = this.#rawLength(tag)
    if (length !== undefined) {
      if (length > max) throw new DecodeError(`a byte string is longer than ${max} bytes`)
      return this.bytes(length)
    }
    const count = this.#arrayCount(tag)
    if (count === undefined) throw new DecodeError('expected a byte string')
    if (count > Math.min(max, ARRAY_BYTES_MAX)) throw new DecodeError(`a byte string is longer than ${max} bytes`)
    // Each element takes a byte at least: refuse before allocating for a count that cannot be true.
    this.#need(count)
    const out = Buffer.alloc(count)
    for (let i = 0; i < count; i++) out[i] = this.uint(255)
    return out
  }

  /** Calls `read` for every key of a map; a `read` that returns false did not know the key, and its value is skipped. */
  map(max: number, read: (key: string) => boolean): void {
    const count = this.mapHeader(max)
    for (let i = 0; i < count; i++) {
      const key = this.raw(64)
      if (key === undefined || !read(key)) this.skip()
    }
  }

  /** Passes over one value of any kind. */
  skip(): void {
    // Values still to be passed on each level that is open.
    const open = [1]
    while (open.length > 0) {
      const top = open.length - 1
      if (open[top] === 0) {
        open.pop()
        continue
      }
      open[top] = (open[top] as number) - 1
      const inner = this.#skipOne()
      if (inner === 0) continue
      if (open.length > DEPTH_MAX) throw new DecodeError(`nested deeper than ${DEPTH_MAX} levels`)
      open.push(inner)
    }
  }

  /** Passes over a scalar or a header; the number of values that belong to it. */
  #skipOne(): number {
    const tag = this.u8()
    if (tag <= 0x7f || tag >= 0xe0 || (tag >= 0xc0 && tag <= 0xc3 && tag !== 0xc1)) return 0
    if (tag <= 0x8f) return (tag & 0x0f) * 2
    const array = this.#arrayCount(tag)
    if (array !== undefined) return array
    const raw = this.#rawLength(tag)
    if (raw !== undefined) return this.#pass(raw)
    switch (tag) {
      case 0xde:
        return this.u16() * 2
      case 0xdf:
        return this.u32() * 2
      case 0xcc:
      case 0xd0:
        return this.#pass(1)
      case 0xcd:
      case 0xd1:
        return this.#pass(2)
      case 0xca:
      case 0xce:
      case 0xd2:
        return this.#pass(4)
      case 0xcb:
      case 0xcf:
      case 0xd3:
        return this.#pass(8)
      case 0xc7:
        return this.#pass(this.u8() + 1)
      case 0xc8:
        return this.#pass(this.u16() + 1)
      case 0xc9:
        return this.#pass(this.u32() + 1)
      case 0xd4:
      case 0xd5:
      case 0xd6:
      case 0xd7:
      case 0xd8:
        return this.#pass((1 << (tag - 0xd4)) + 1)
      default:
        throw new DecodeError('not msgpack')
    }
  }

  #pass(count: number): 0 {
    this.#need(count)
    this.#at += count
    return 0
  }

  #integer(): number {
    const tag = this.u8()
    if (tag <= 0x7f) return tag
    if (tag >= 0xe0) return tag - 0x100
    switch (tag) {
      case 0xcc:
        return this.u8()
      case 0xcd:
        return this.u16()
      case 0xce:
        return this.u32()
      case 0xcf:
        return this.u32() * 0x100000000 + this.u32()
      case 0xd0:
        return (this.u8() << 24) >> 24
      case 0xd1:
        return (this.u16() << 16) >> 16
      case 0xd2:
        return this.u32() | 0
      case 0xd3:
        return (this.u32() | 0) * 0x100000000 + this.u32()
      default:
        throw new DecodeError('expected a whole number')
    }
  }

  #rawLength(tag: number): number | undefined {
    if (tag >= 0xa0 && tag <= 0xbf) return tag & 0x1f
    switch (tag) {
      case 0xd9:
      case 0xc4:
        return this.u8()
      case 0xda:
      case 0xc5:
        return this.u16()
      case 0xdb:
      case 0xc6:
        return this.u32()
      default:
        return undefined
    }
  }

  #arrayCount(tag: number): number | undefined {
    if (tag >= 0x90 && tag <= 0x9f) return tag & 0x0f
    if (tag === 0xdc) return this.u16()
    if (tag === 0xdd) return this.u32()
    return undefined
  }

  #need(count: number): void {
    if (count > this.remaining) throw new TruncatedError(this.#at + count)
  }
}
