// Values as bytes, between nodes: msgpack, in which a byte string is bin, an integer int, a float float64, a list an array and any other
// table a map (its array part first, under 1..n). Two extensions: an error, and a table that was met before. cluster.md §10.1.

import { Interner } from '../../base/interner.ts'
import { ErrorValue, Float, floatValue, integerValue, TableValue, type Value } from '../../base/value.ts'

/** The bytes are no message; says why and quotes nothing of them. */
export class WireError extends Error {
  override readonly name = 'WireError'
}

/** Tables in tables: more than any script means, and less than what makes a reader run out of stack. */
export const DEPTH_MAX = 500
const EXT_ERROR = 1
const EXT_SEEN = 2
const EXT_REFERENCE = 3
const SHORT = 24
/** Up to here a loop writes faster than the platform. */
const SHORT_WRITE = 48
const FIRST_BYTES = 256
/** A buffer that one long message made larger than this is not kept for the next. */
const KEPT_BYTES_MAX = 1024 * 1024
const INT64_MIN = -(2n ** 63n)
const INT64_END = 2n ** 63n

/** PIDs and topics: the same few in message after message. */
const names = new Interner()

/** Messages on their way out, one behind the other. The buffer is used again for the next ones: `finish` copies. */
export class ValueWriter {
  #bytes = Buffer.allocUnsafe(FIRST_BYTES)
  #at = 0
  /** Where the message begins that is being written. */
  #begin = 0
  #seen: Map<TableValue, number> | undefined
  #firstTable: TableValue | undefined
  #tables = 0
  readonly #bytesMax: number

  /** @param bytesMax a longer message is refused while it is written, however much there is of it */
  constructor(bytesMax = Number.MAX_SAFE_INTEGER) {
    this.#bytesMax = bytesMax
  }

  /** Begins the first message. */
  start(): this {
    if (this.#bytes.length > KEPT_BYTES_MAX) this.#bytes = Buffer.allocUnsafe(FIRST_BYTES)
    this.#at = 0
    return this.next()
  }

  /** Begins a message behind those that are written. */
  next(): this {
    this.#begin = this.#at
    this.#seen = undefined
    this.#firstTable = undefined
    this.#tables = 0
    return this
  }

  /** Takes back what there is of the message that was begun last. */
  undo(): void {
    this.#at = this.#begin
  }

  /** Of all messages. */
  get length(): number {
    return this.#at
  }

  /** Of those before the one that was begun last. */
  get lengthBefore(): number {
    return this.#begin
  }

  /** What is written; the writer may be started again. */
  finish(): Buffer {
    const out = Buffer.allocUnsafe(this.#at)
    this.#bytes.copy(out, 0, 0, this.#at)
    return out
  }

  /** What is written before the message that was begun last, which stays and is the first one now. */
  finishBefore(): Buffer {
    const out = Buffer.allocUnsafe(this.#begin)
    this.#bytes.copy(out, 0, 0, this.#begin)
    this.#bytes.copyWithin(0, this.#begin, this.#at)
    this.#at -= this.#begin
    this.#begin = 0
    return out
  }

  /** The header of a message with so many fields. */
  fields(count: number): this {
    return this.#header(count, 0x90, 15, 0xdc)
  }

  /** A byte string, or nil. */
  text(value: string | undefined): this {
    if (value === undefined) this.#u8(0xc0)
    else this.#string(value)
    return this
  }

  number(value: number): this {
    if (Number.isSafeInteger(value)) this.#integer(value)
    else this.#float(value)
    return this
  }

  flag(value: boolean): this {
    this.#u8(value ? 0xc3 : 0xc2)
    return this
  }

  /** A number that stands for something: the reader says for what. */
  reference(number: number): this {
    if (number < 0x100) return this.#u8(0xd4).#u8(EXT_REFERENCE).#u8(number)
    if (number < 0x10000) return this.#u8(0xd5).#u8(EXT_REFERENCE).#u16(number)
    return this.#u8(0xd6).#u8(EXT_REFERENCE).#u32(number)
  }

  list<T>(items: readonly T[], write: (item: T) => void): this {
    this.fields(items.length)
    for (const item of items) write(item)
    return this
  }

  /** @throws WireError when it is too long, or nested too deep to be read again */
  value(value: Value, depth = 0): this {
    switch (typeof value) {
      case 'undefined':
        this.#u8(0xc0)
        break
      case 'boolean':
        this.#u8(value ? 0xc3 : 0xc2)
        break
      case 'number':
        if (Number.isSafeInteger(value) && !Object.is(value, -0)) this.#integer(value)
        else this.#float(value)
        break
      case 'bigint':
        this.#bigint(value)
        break
      case 'string':
        this.#string(value)
        break
      default:
        if (value instanceof TableValue) this.#table(value, depth)
        else if (value instanceof Float) this.#float(value.value)
        else this.#error(value, depth)
    }
    return this
  }

  #table(table: TableValue, depth: number): void {
    if (depth >= DEPTH_MAX) throw new WireError(`a value has more than ${DEPTH_MAX} tables within each other`)
    if (this.#isSeen(table)) return
    const { array, keys, values } = table
    if (keys.length === 0) {
      this.fields(array.length)
      for (const item of array) this.value(item, depth + 1)
      return
    }
    this.#header(array.length + keys.length, 0x80, 15, 0xde)
    for (const [i, item] of array.entries()) {
      this.#integer(i + 1)
      this.value(item, depth + 1)
    }
    for (const [i, key] of keys.entries()) {
      this.value(key, depth + 1)
      this.value(values[i], depth + 1)
    }
  }

  /** Most messages hold one table or none: only with the second one is there anything to remember. */
  #isSeen(table: TableValue): boolean {
    const number = this.#tables === 1 && table === this.#firstTable ? 0 : this.#seen?.get(table)
    if (number !== undefined) {
      this.#room(6)
      this.#u8(0xd6).#u8(EXT_SEEN).#u32(number)
      return true
    }
    if (this.#tables === 0) this.#firstTable = table
    else {
      this.#seen ??= new Map([[this.#firstTable as TableValue, 0]])
      this.#seen.set(table, this.#tables)
    }
    this.#tables++
    return false
  }

  #error({ kind, message, retryable, details, stack }: ErrorValue, depth: number): void {
    if (depth >= DEPTH_MAX) throw new WireError(`a value has more than ${DEPTH_MAX} tables within each other`)
    this.#u8(0xc9).#u32(0).#u8(EXT_ERROR)
    const begin = this.#at
    this.fields(5)
      .text(kind)
      .text(message)
      .value(retryable)
      .value(details, depth + 1)
      .text(stack)
    this.#bytes.writeUInt32BE(this.#at - begin, begin - 5)
  }

  #integer(value: number): void {
    this.#room(9)
    if (value >= 0) {
      if (value < 0x80) this.#u8(value)
      else if (value < 0x100) this.#u8(0xcc).#u8(value)
      else if (value < 0x10000) this.#u8(0xcd).#u16(value)
      else if (value < 0x100000000) this.#u8(0xce).#u32(value)
      else this.#u8(0xcf).#i64(BigInt(value))
    } else if (value >= -32) this.#u8(value & 0xff)
    else if (value >= -0x80) this.#u8(0xd0).#u8(value & 0xff)
    else if (value >= -0x8000) this.#u8(0xd1).#u16(value & 0xffff)
    else if (value >= -0x80000000) this.#u8(0xd2).#u32(value >>> 0)
    else this.#u8(0xd3).#i64(BigInt(value))
  }

  #bigint(value: bigint): void {
    if (value < INT64_MIN || value >= INT64_END) throw new WireError('an integer has more than 64 bits')
    this.#u8(0xd3).#i64(value)
  }

  #float(value: number): void {
    this.#room(9)
    this.#u8(0xcb)
    this.#at = this.#bytes.writeDoubleBE(value, this.#at)
  }

  #string(value: string): void {
    const { length } = value
    this.#room(length + 5)
    if (length < 0x100) this.#u8(0xc4).#u8(length)
    else if (length < 0x10000) this.#u8(0xc5).#u16(length)
    else this.#u8(0xc6).#u32(length)
    if (length > SHORT_WRITE) this.#at += this.#bytes.write(value, this.#at, 'latin1')
    else for (let i = 0; i < length; i++) this.#bytes[this.#at++] = value.charCodeAt(i)
  }

  #header(count: number, fixed: number, fixedMax: number, wide: number): this {
    if (count <= fixedMax) this.#u8(fixed | count)
    else if (count < 0x10000) this.#u8(wide).#u16(count)
    else this.#u8(wide + 1).#u32(count)
    return this
  }

  #u8(value: number): this {
    this.#room(1)
    this.#bytes[this.#at++] = value
    return this
  }

  #u16(value: number): this {
    this.#room(2)
    this.#at = this.#bytes.writeUInt16BE(value, this.#at)
    return this
  }

  #u32(value: number): this {
    this.#room(4)
    this.#at = this.#bytes.writeUInt32BE(value, this.#at)
    return this
  }

  #i64(value: bigint): this {
    this.#room(8)
    this.#at = this.#bytes.writeBigInt64BE(value, this.#at)
    return this
  }

  #room(count: number): void {
    const needed = this.#at + count
    if (needed - this.#begin > this.#bytesMax) throw new WireError(`a message has more than ${this.#bytesMax} bytes`)
    if (needed <= this.#bytes.length) return
    const grown = Buffer.allocUnsafe(Math.max(this.#bytes.length * 2, needed))
    this.#bytes.copy(grown, 0, 0, this.#at)
    this.#bytes = grown
  }
}

/** Messages on their way in, one behind the other. Every method throws WireError for what is not there. */
export class ValueReader {
  readonly #bytes: Buffer
  #at = 0
  #tables: TableValue[] = []

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  /** Whether everything was read. */
  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length
  }

  /** Another message begins, in which no table was met yet. */
  next(): this {
    if (this.#tables.length > 0) this.#tables = []
    return this
  }

  fields(): number {
    const tag = this.#u8()
    if ((tag & 0xf0) === 0x90) return tag & 0x0f
    if (tag === 0xdc) return this.#count(this.#u16())
    if (tag === 0xdd) return this.#count(this.#u32())
    throw new WireError('expected an array')
  }

  /** Whether nil is next; then it is read. */
  isNil(): boolean {
    if (this.#bytes[this.#at] !== 0xc0) return false
    this.#at++
    return true
  }

  text(): string {
    if (this.#bytes[this.#at] === 0xc4) {
      this.#at++
      const length = this.#u8()
      return names.read(this.#bytes, this.#skip(length), this.#at)
    }
    const value = this.value()
    if (typeof value !== 'string') throw new WireError('expected a string')
    return value
  }

  textOrNil(): string | undefined {
    const value = this.value()
    if (value !== undefined && typeof value !== 'string') throw new WireError('expected a string or nil')
    return value
  }

  number(): number {
    const value = this.value()
    if (value instanceof Float) return value.value
    if (typeof value !== 'number') throw new WireError('expected a number')
    return value
  }

  flag(): boolean {
    const value = this.value()
    if (typeof value !== 'boolean') throw new WireError('expected a boolean')
    return value
  }

  list<T>(read: () => T): T[] {
    const count = this.fields()
    const items: T[] = []
    for (let i = 0; i < count; i++) items.push(read())
    return items
  }

  value(depth = 0): Value {
    const tag = this.#u8()
    if (tag < 0x80) return tag
    if (tag >= 0xe0) return tag - 0x100
    if (tag < 0x90) return this.#map(tag & 0x0f, depth)
    if (tag < 0xa0) return this.#array(tag & 0x0f, depth)
    switch (tag) {
      case 0xc0:
        return undefined
      case 0xc2:
        return false
      case 0xc3:
        return true
      case 0xc4:
        return this.#string(this.#u8())
      case 0xc5:
        return this.#string(this.#u16())
      case 0xc6:
        return this.#string(this.#u32())
      case 0xc9:
        return this.#extension(this.#u32(), depth)
      case 0xcb:
        return floatValue(this.#take(8).readDoubleBE())
      case 0xcc:
        return this.#u8()
      case 0xcd:
        return this.#u16()
      case 0xce:
        return this.#u32()
      case 0xcf:
        return this.#unsigned()
      case 0xd0:
        return this.#take(1).readInt8()
      case 0xd1:
        return this.#take(2).readInt16BE()
      case 0xd2:
        return this.#take(4).readInt32BE()
      case 0xd3:
        return integerValue(this.#take(8).readBigInt64BE())
      case 0xd4:
        return this.#reference(this.#u8(), this.#u8())
      case 0xd5:
        return this.#reference(this.#u8(), this.#u16())
      case 0xd6: {
        const type = this.#u8()
        const number = this.#u32()
        return type === EXT_SEEN ? this.#seen(number) : this.#reference(type, number)
      }
      case 0xdc:
        return this.#array(this.#u16(), depth)
      case 0xdd:
        return this.#array(this.#u32(), depth)
      case 0xde:
        return this.#map(this.#u16(), depth)
      case 0xdf:
        return this.#map(this.#u32(), depth)
      default:
        throw new WireError('a value of an unknown form')
    }
  }

  #array(count: number, depth: number): TableValue {
    this.#count(count)
    const table = this.#begun(depth)
    for (let i = 0; i < count; i++) table.array.push(this.value(depth + 1))
    return table
  }

  #map(count: number, depth: number): TableValue {
    this.#count(count * 2)
    const table = this.#begun(depth)
    const { array, keys, values } = table
    for (let i = 0; i < count; i++) {
      const key = this.value(depth + 1)
      const value = this.value(depth + 1)
      if (keys.length === 0 && key === array.length + 1) array.push(value)
      else if (key === undefined || Number.isNaN(key)) throw new WireError('a key that no table can have')
      else {
        keys.push(key)
        values.push(value)
      }
    }
    return table
  }

  #begun(depth: number): TableValue {
    if (depth >= DEPTH_MAX) throw new WireError(`more than ${DEPTH_MAX} tables within each other`)
    const table = new TableValue()
    this.#tables.push(table)
    return table
  }

  #seen(number: number): TableValue {
    const table = this.#tables[number]
    if (table === undefined) throw new WireError('a table that was not met before')
    return table
  }

  #reference(type: number, number: number): Value {
    if (type !== EXT_REFERENCE) throw new WireError('an extension of an unknown type')
    return this.referred(number)
  }

  /** What a reference stands for. */
  protected referred(_number: number): Value {
    throw new WireError('a reference to nothing')
  }

  #extension(length: number, depth: number): ErrorValue {
    if (this.#u8() !== EXT_ERROR) throw new WireError('an extension of an unknown type')
    if (depth >= DEPTH_MAX) throw new WireError(`more than ${DEPTH_MAX} tables within each other`)
    const end = this.#at + length
    if (this.fields() !== 5) throw new WireError('an error with other parts')
    const kind = this.text()
    const message = this.text()
    const retryable = this.value(depth + 1)
    const details = this.value(depth + 1)
    const stack = this.text()
    if (this.#at !== end) throw new WireError('an error of another length')
    if (retryable !== undefined && typeof retryable !== 'boolean') throw new WireError('expected a boolean or nil')
    if (details !== undefined && !(details instanceof TableValue)) throw new WireError('expected a table or nil')
    return new ErrorValue(kind, message, retryable, details, stack)
  }

  #unsigned(): Value {
    const value = this.#take(8).readBigUInt64BE()
    if (value >= INT64_END) throw new WireError('an integer has more than 63 bits')
    return integerValue(value)
  }

  #string(length: number): string {
    const begin = this.#skip(length)
    if (length > SHORT) return this.#bytes.toString('latin1', begin, this.#at)
    let text = ''
    for (let i = begin; i < this.#at; i++) text += String.fromCharCode(this.#bytes[i] as number)
    return text
  }

  /** Nothing is reserved for what cannot be there: each item takes a byte. */
  #count(count: number): number {
    if (count > this.#bytes.length - this.#at) throw new WireError('ends too early')
    return count
  }

  #u8(): number {
    return this.#bytes[this.#skip(1)] as number
  }

  #u16(): number {
    return this.#bytes.readUInt16BE(this.#skip(2))
  }

  #u32(): number {
    return this.#bytes.readUInt32BE(this.#skip(4))
  }

  #take(count: number): Buffer {
    const begin = this.#skip(count)
    return this.#bytes.subarray(begin, begin + count)
  }

  #skip(count: number): number {
    const begin = this.#at
    if (count > this.#bytes.length - begin) throw new WireError('ends too early')
    this.#at = begin + count
    return begin
  }
}
