// The modern dialect of msgpack, strictly: what nodes say to each other above gossip. Integers stay within 2^53-1, keys of maps are
// strings and appear once, nothing follows the value, and no header makes the reader reserve more than the bytes that are there.

import { ownBytes } from './bytes.ts'

/** What a message may hold. Maps come out as plain objects without a prototype; an undefined member is left out on the way in. */
export type Packed =
  | null
  | boolean
  | number
  | string
  | Uint8Array
  | readonly Packed[]
  | { readonly [key: string]: Packed | undefined }

export type PackedMap = { readonly [key: string]: Packed | undefined }

/** The bytes are no msgpack of this dialect; the message says why and quotes nothing of them. */
export class UnpackError extends Error {
  override readonly name = 'UnpackError'
}

const DEPTH_MAX = 32
const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** @throws TypeError for what has no form here: a bug of the caller */
export function pack(value: Packed): Uint8Array {
  return new Packer().value(value).finish()
}

/** Reads exactly one value. Strings and bytes of the result are copies. @throws UnpackError */
export function unpack(bytes: Uint8Array): Packed {
  const reader = new Unpacker(bytes)
  const value = reader.value()
  if (!reader.isAtEnd) throw new UnpackError('bytes follow the value')
  return value
}

/** Reads one value at `at`; for messages whose tail is somebody else's. @throws UnpackError */
export function unpackAt(bytes: Uint8Array, at: number): { value: Packed; end: number } {
  const reader = new Unpacker(bytes, at)
  const value = reader.value()
  return { value, end: reader.at }
}

export function isPackedMap(value: Packed | undefined): value is PackedMap {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array)
}

/** Writes values one after the other; for messages of which some parts are there as bytes already. */
export class Packer {
  #bytes = new Uint8Array(128)
  #view = new DataView(this.#bytes.buffer)
  #at = 0

  u8(value: number): this {
    this.#room(1)
    this.#bytes[this.#at++] = value
    return this
  }

  u16(value: number): this {
    this.#room(2)
    this.#view.setUint16(this.#at, value)
    this.#at += 2
    return this
  }

  u32(value: number): this {
    this.#room(4)
    this.#view.setUint32(this.#at, value)
    this.#at += 4
    return this
  }

  f64(value: number): this {
    this.#room(8)
    this.#view.setFloat64(this.#at, value)
    this.#at += 8
    return this
  }

  /** Writes a string of at most 31 characters, header and all, if all of them are ASCII. */
  shortText(text: string): boolean {
    const { length } = text
    this.#room(1 + length)
    for (let i = 0; i < length; i++) {
      const unit = text.charCodeAt(i)
      if (unit >= 0x80) return false
      this.#bytes[this.#at + 1 + i] = unit
    }
    this.#bytes[this.#at] = 0xa0 | length
    this.#at += 1 + length
    return true
  }

  raw(bytes: Uint8Array): this {
    this.#room(bytes.length)
    this.#bytes.set(bytes, this.#at)
    this.#at += bytes.length
    return this
  }

  /** @throws TypeError for what has no form here */
  value(value: Packed): this {
    write(this, value, 0)
    return this
  }

  /** The beginning of a map of `count` keys with their values, which follow. */
  map(count: number): this {
    header(this, count, 0x80, 0xde)
    return this
  }

  /** The beginning of an array of `count` values, which follow. */
  array(count: number): this {
    header(this, count, 0x90, 0xdc)
    return this
  }

  finish(): Uint8Array {
    return this.#bytes.subarray(0, this.#at)
  }

  #room(count: number): void {
    if (this.#at + count <= this.#bytes.length) return
    const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.#at + count))
    grown.set(this.#bytes.subarray(0, this.#at))
    this.#bytes = grown
    this.#view = new DataView(grown.buffer)
  }
}

function write(out: Packer, value: Packed, depth: number): void {
  if (depth > DEPTH_MAX) throw new TypeError(`nested deeper than ${DEPTH_MAX}`)
  if (value === null) out.u8(0xc0)
  else if (typeof value === 'boolean') out.u8(value ? 0xc3 : 0xc2)
  else if (typeof value === 'number') writeNumber(out, value)
  else if (typeof value === 'string') writeString(out, value)
  else if (value instanceof Uint8Array) writeBytes(out, value)
  else if (Array.isArray(value)) {
    header(out, value.length, 0x90, 0xdc)
    for (const item of value as readonly Packed[]) write(out, item, depth + 1)
  } else {
    const entries = Object.entries(value as PackedMap).filter((entry) => entry[1] !== undefined)
    header(out, entries.length, 0x80, 0xde)
    for (const [key, item] of entries) {
      writeString(out, key)
      write(out, item as Packed, depth + 1)
    }
  }
}

function writeNumber(out: Packer, value: number): void {
  if (!Number.isInteger(value) || Object.is(value, -0)) {
    out.u8(0xcb).f64(value)
    return
  }
  if (!Number.isSafeInteger(value)) throw new TypeError(`no safe integer: ${value}`)
  if (value >= 0) {
    if (value < 0x80) out.u8(value)
    else if (value < 0x100) out.u8(0xcc).u8(value)
    else if (value < 0x10000) out.u8(0xcd).u16(value)
    else if (value < 0x100000000) out.u8(0xce).u32(value)
    else {
      out
        .u8(0xcf)
        .u32(Math.floor(value / 0x100000000))
        .u32(value % 0x100000000)
    }
  } else if (value >= -32) out.u8(value & 0xff)
  else if (value >= -0x80) out.u8(0xd0).u8(value & 0xff)
  else if (value >= -0x8000) out.u8(0xd1).u16(value & 0xffff)
  else if (value >= -0x80000000) out.u8(0xd2).u32(value >>> 0)
  else {
    const high = Math.floor(value / 0x100000000)
    out
      .u8(0xd3)
      .u32(high >>> 0)
      .u32(value - high * 0x100000000)
  }
}

/** Up to here a string is gone through by itself: names and keys are ASCII as a rule, and a call of the encoder costs more than they do. */
const SHORT_LENGTH_MAX = 31

function writeString(out: Packer, text: string): void {
  if (text.length <= SHORT_LENGTH_MAX && out.shortText(text)) return
  const bytes = encoder.encode(text)
  const { length } = bytes
  if (length < 32) out.u8(0xa0 | length)
  else if (length < 0x100) out.u8(0xd9).u8(length)
  else if (length < 0x10000) out.u8(0xda).u16(length)
  else out.u8(0xdb).u32(length)
  out.raw(bytes)
}

function writeBytes(out: Packer, bytes: Uint8Array): void {
  const { length } = bytes
  if (length < 0x100) out.u8(0xc4).u8(length)
  else if (length < 0x10000) out.u8(0xc5).u16(length)
  else out.u8(0xc6).u32(length)
  out.raw(bytes)
}

function header(out: Packer, count: number, fix: number, long: number): void {
  if (count < 16) out.u8(fix | count)
  else if (count < 0x10000) out.u8(long).u16(count)
  else out.u8(long + 1).u32(count)
}

/** Reads values one after the other; what is wrong is an UnpackError. */
export class Unpacker {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  at: number

  constructor(bytes: Uint8Array, at = 0) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.at = at
  }

  get isAtEnd(): boolean {
    return this.at === this.#bytes.length
  }

  /** The beginning of a map. @returns how many keys with their values follow */
  map(): number {
    const type = this.#u8()
    const count =
      type >= 0x80 && type < 0x90 ? type & 15 : type === 0xde ? this.#u16() : type === 0xdf ? this.#u32() : -1
    if (count < 0) throw new UnpackError('no map')
    if (count * 2 > this.#bytes.length - this.at) throw new UnpackError('ends too early')
    return count
  }

  /** The beginning of an array. @returns how many values follow */
  array(): number {
    const type = this.#u8()
    const count =
      type >= 0x90 && type < 0xa0 ? type & 15 : type === 0xdc ? this.#u16() : type === 0xdd ? this.#u32() : -1
    if (count < 0) throw new UnpackError('no array')
    if (count > this.#bytes.length - this.at) throw new UnpackError('ends too early')
    return count
  }

  value(depth = 0): Packed {
    if (depth > DEPTH_MAX) throw new UnpackError(`nested deeper than ${DEPTH_MAX}`)
    const type = this.#u8()
    if (type < 0x80) return type
    if (type >= 0xe0) return type - 0x100
    if (type < 0x90) return this.#map(type & 15, depth)
    if (type < 0xa0) return this.#array(type & 15, depth)
    if (type < 0xc0) return this.#text(type & 31)
    switch (type) {
      case 0xc0:
        return null
      case 0xc2:
        return false
      case 0xc3:
        return true
      case 0xc4:
        return ownBytes(this.#take(this.#u8()))
      case 0xc5:
        return ownBytes(this.#take(this.#u16()))
      case 0xc6:
        return ownBytes(this.#take(this.#u32()))
      case 0xca:
        return this.#view.getFloat32(this.#skip(4))
      case 0xcb:
        return this.#view.getFloat64(this.#skip(8))
      case 0xcc:
        return this.#u8()
      case 0xcd:
        return this.#u16()
      case 0xce:
        return this.#u32()
      case 0xcf:
        return this.#safe(this.#u32() * 0x100000000 + this.#u32())
      case 0xd0:
        return this.#view.getInt8(this.#skip(1))
      case 0xd1:
        return this.#view.getInt16(this.#skip(2))
      case 0xd2:
        return this.#view.getInt32(this.#skip(4))
      case 0xd3:
        return this.#safe(this.#view.getInt32(this.#skip(4)) * 0x100000000 + this.#u32())
      case 0xd9:
        return this.#text(this.#u8())
      case 0xda:
        return this.#text(this.#u16())
      case 0xdb:
        return this.#text(this.#u32())
      case 0xdc:
        return this.#array(this.#u16(), depth)
      case 0xdd:
        return this.#array(this.#u32(), depth)
      case 0xde:
        return this.#map(this.#u16(), depth)
      case 0xdf:
        return this.#map(this.#u32(), depth)
      default:
        throw new UnpackError(`type 0x${type.toString(16)} has no place here`)
    }
  }

  /** Passes over one value whose header is sound; what is in its strings is not looked at. */
  skip(depth = 0): void {
    if (depth > DEPTH_MAX) throw new UnpackError(`nested deeper than ${DEPTH_MAX}`)
    const type = this.#bytes[this.at]
    if (type === undefined) throw new UnpackError('ends too early')
    if ((type >= 0x80 && type < 0x90) || type === 0xde || type === 0xdf) {
      for (let left = 2 * this.map(); left > 0; left--) this.skip(depth + 1)
    } else if ((type >= 0x90 && type < 0xa0) || type === 0xdc || type === 0xdd) {
      for (let left = this.array(); left > 0; left--) this.skip(depth + 1)
    } else if (type >= 0xc4 && type <= 0xc6) {
      this.at++
      this.#skip(type === 0xc4 ? this.#u8() : type === 0xc5 ? this.#u16() : this.#u32())
    } else this.value(depth)
  }

  #array(count: number, depth: number): Packed[] {
    // Every item takes a byte at least: a count beyond what is left is a lie, seen before anything is reserved.
    if (count > this.#bytes.length - this.at) throw new UnpackError('ends too early')
    const out: Packed[] = []
    for (let i = 0; i < count; i++) out.push(this.value(depth + 1))
    return out
  }

  #map(count: number, depth: number): PackedMap {
    if (count * 2 > this.#bytes.length - this.at) throw new UnpackError('ends too early')
    const out: Record<string, Packed> = Object.create(null)
    for (let i = 0; i < count; i++) {
      const key = this.value(depth + 1)
      if (typeof key !== 'string') throw new UnpackError('a key is no string')
      if (key in out) throw new UnpackError('a key appears twice')
      out[key] = this.value(depth + 1)
    }
    return out
  }

  #text(length: number): string {
    const bytes = this.#take(length)
    if (length <= SHORT_LENGTH_MAX) {
      let text = ''
      for (let i = 0; i < length && (bytes[i] as number) < 0x80; i++) text += String.fromCharCode(bytes[i] as number)
      if (text.length === length) return text
    }
    try {
      return decoder.decode(bytes)
    } catch {
      throw new UnpackError('a string is not UTF-8')
    }
  }

  #safe(value: number): number {
    if (!Number.isSafeInteger(value)) throw new UnpackError('an integer is beyond 2^53-1')
    return value
  }

  #take(length: number): Uint8Array {
    const from = this.#skip(length)
    return this.#bytes.subarray(from, from + length)
  }

  #skip(count: number): number {
    const from = this.at
    if (count > this.#bytes.length - from) throw new UnpackError('ends too early')
    this.at = from + count
    return from
  }

  #u8(): number {
    return this.#bytes[this.#skip(1)] as number
  }

  #u16(): number {
    return this.#view.getUint16(this.#skip(2))
  }

  #u32(): number {
    return this.#view.getUint32(this.#skip(4))
  }
}
