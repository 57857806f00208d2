// string.pack, string.unpack, string.packsize (manual §6.4.2).

import { partOf } from '../../base/bytes.ts'
import { integerArgument, numberArgument, positionArgument, stringArgument } from './library.ts'
import type { Machine } from './machine.ts'
import { float, toDouble, wrap } from './number.ts'
import type { Val } from './value.ts'

const SIZE_MAX = 16
const TOTAL_MAX = 2 ** 31 - 1
/** A size that takes no further digit. */
const FULL_SIZE_MIN = Math.floor((TOTAL_MAX - 9) / 10) + 1

const isDigit = (char: string | undefined): boolean => char !== undefined && char >= '0' && char <= '9'

type Kind = 'int' | 'uint' | 'float' | 'double' | 'fixed' | 'string' | 'zero' | 'pad' | 'align' | 'nothing'

interface Item {
  readonly kind: Kind
  readonly size: number
  /** Bytes that fill up before it. */
  readonly padding: number
}

/** The directives of a format, one after the other. */
class Reader {
  readonly #m: Machine
  readonly #text: string
  #at = 0
  isLittle = true
  #alignment = 1

  constructor(m: Machine, text: string) {
    this.#m = m
    this.#text = text
  }

  get rest(): string {
    return this.#text.slice(this.#at)
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#text.length
  }

  /** As many digits as a size may have; what follows them is no option. */
  #digits(absent: number): number {
    if (!isDigit(this.#text[this.#at])) return absent
    let size = 0
    do size = size * 10 + Number(this.#text[this.#at++])
    while (isDigit(this.#text[this.#at]) && size < FULL_SIZE_MIN)
    return size
  }

  #limited(absent: number): number {
    const size = this.#digits(absent)
    if (size < 1 || size > SIZE_MAX) throw this.#m.error(`integral size (${size}) out of limits [1,${SIZE_MAX}]`)
    return size
  }

  #option(): { kind: Kind; size: number } {
    const letter = this.#text[this.#at++] as string
    switch (letter) {
      case 'b':
        return { kind: 'int', size: 1 }
      case 'B':
        return { kind: 'uint', size: 1 }
      case 'h':
        return { kind: 'int', size: 2 }
      case 'H':
        return { kind: 'uint', size: 2 }
      case 'l':
      case 'j':
        return { kind: 'int', size: 8 }
      case 'L':
      case 'J':
      case 'T':
        return { kind: 'uint', size: 8 }
      case 'i':
        return { kind: 'int', size: this.#limited(4) }
      case 'I':
        return { kind: 'uint', size: this.#limited(4) }
      case 'f':
        return { kind: 'float', size: 4 }
      case 'd':
      case 'n':
        return { kind: 'double', size: 8 }
      case 's':
        return { kind: 'string', size: this.#limited(8) }
      case 'c': {
        const size = this.#digits(-1)
        if (size < 0) throw this.#m.error("missing size for format option 'c'")
        return { kind: 'fixed', size }
      }
      case 'z':
        return { kind: 'zero', size: 0 }
      case 'x':
        return { kind: 'pad', size: 1 }
      case 'X':
        return { kind: 'align', size: 0 }
      case ' ':
        break
      case '<':
      case '=':
        this.isLittle = true
        break
      case '>':
        this.isLittle = false
        break
      case '!':
        this.#alignment = this.#limited(8)
        break
      default:
        throw this.#m.error(`invalid format option '${letter}'`)
    }
    return { kind: 'nothing', size: 0 }
  }

  next(total: number): Item {
    const { kind, size } = this.#option()
    let align = size
    if (kind === 'align') {
      if (this.isAtEnd) throw this.#m.argumentError(1, "invalid next option for option 'X'")
      const next = this.#option()
      align = next.size
      if (next.kind === 'fixed' || align === 0) throw this.#m.argumentError(1, "invalid next option for option 'X'")
    }
    const isAligned =
      kind === 'int' ||
      kind === 'uint' ||
      kind === 'float' ||
      kind === 'double' ||
      kind === 'align' ||
      kind === 'string'
    if (!isAligned || align <= 1) return { kind, size, padding: 0 }
    if (align > this.#alignment) align = this.#alignment
    if ((align & (align - 1)) !== 0) throw this.#m.argumentError(1, 'format asks for alignment not power of 2')
    return { kind, size, padding: (align - (total & (align - 1))) & (align - 1) }
  }
}

function integerBytes(value: number | bigint, size: number, isLittle: boolean): string {
  let out = ''
  if (typeof value === 'number') {
    let rest = value
    for (let i = 0; i < size; i++) {
      const next = Math.floor(rest / 256)
      const byte = String.fromCharCode(rest - next * 256)
      out = isLittle ? out + byte : byte + out
      rest = next
    }
    return out
  }
  let rest = value
  for (let i = 0; i < size; i++) {
    const byte = String.fromCharCode(Number(rest & 255n))
    out = isLittle ? out + byte : byte + out
    rest >>= 8n
  }
  return out
}

function floatBytes(value: number, size: number, isLittle: boolean): string {
  const view = new DataView(new ArrayBuffer(size))
  if (size === 4) view.setFloat32(0, value, isLittle)
  else view.setFloat64(0, value, isLittle)
  let out = ''
  for (let i = 0; i < size; i++) out += String.fromCharCode(view.getUint8(i))
  return out
}

/** The first value that is missing counts as nil in error texts, as in the reference. */
export function pack(m: Machine, S: Val[], at: number, given: number): string {
  const reader = new Reader(m, stringArgument(m, S, at, given, 1))
  const count = given + 1
  S[at + count] = undefined
  let out = ''
  let index = 1
  while (!reader.isAtEnd) {
    const { kind, size, padding } = reader.next(out.length)
    m.checkLength(out.length + padding + size)
    out += '\0'.repeat(padding)
    switch (kind) {
      case 'int': {
        const value = integerArgument(m, S, at, count, ++index)
        const limit = 2 ** (size * 8 - 1)
        if (size < 8 && (value < -limit || value >= limit)) throw m.argumentError(index, 'integer overflow')
        out += integerBytes(value, size, reader.isLittle)
        break
      }
      case 'uint': {
        const value = integerArgument(m, S, at, count, ++index)
        if (size < 8 && (value < 0 || value >= 2 ** (size * 8))) throw m.argumentError(index, 'unsigned overflow')
        out += integerBytes(value < 0 ? BigInt.asUintN(64, BigInt(value)) : value, size, reader.isLittle)
        break
      }
      case 'float':
      case 'double':
        out += floatBytes(toDouble(numberArgument(m, S, at, count, ++index)), size, reader.isLittle)
        break
      case 'fixed': {
        const text = stringArgument(m, S, at, count, ++index)
        if (text.length > size) throw m.argumentError(index, 'string longer than given size')
        out += text + '\0'.repeat(size - text.length)
        break
      }
      case 'string': {
        const text = stringArgument(m, S, at, count, ++index)
        if (size < 4 && text.length >= 2 ** (size * 8)) {
          throw m.argumentError(index, 'string length does not fit in given size')
        }
        m.checkLength(out.length + text.length)
        out += integerBytes(text.length, size, reader.isLittle) + text
        break
      }
      case 'zero': {
        const text = stringArgument(m, S, at, count, ++index)
        if (text.includes('\0')) throw m.argumentError(index, 'string contains zeros')
        out += `${text}\0`
        break
      }
      case 'pad':
        out += '\0'
        break
      default:
    }
  }
  return out
}

export function packSize(m: Machine, S: Val[], at: number, count: number): number {
  const reader = new Reader(m, stringArgument(m, S, at, count, 1))
  let total = 0
  while (!reader.isAtEnd) {
    const { kind, size, padding } = reader.next(total)
    if (kind === 'string' || kind === 'zero') throw m.argumentError(1, 'variable-length format')
    total += size + padding
    if (total > TOTAL_MAX && /^\d/.test(reader.rest)) throw m.error(`invalid format option '${reader.rest[0]}'`)
    if (total > TOTAL_MAX) throw m.argumentError(1, 'format result too large')
  }
  return total
}

function readInteger(
  m: Machine,
  text: string,
  at: number,
  size: number,
  isLittle: boolean,
  isSigned: boolean,
): number | bigint {
  if (size <= 4) {
    let value = 0
    for (let i = 0; i < size; i++) {
      const byte = text.charCodeAt(isLittle ? at + size - 1 - i : at + i)
      value = value * 256 + byte
    }
    return isSigned && value >= 2 ** (size * 8 - 1) ? value - 2 ** (size * 8) : value
  }
  let value = 0n
  for (let i = 0; i < size; i++) {
    value = (value << 8n) | BigInt(text.charCodeAt(isLittle ? at + size - 1 - i : at + i))
  }
  if (size < 8) return wrap(isSigned ? BigInt.asIntN(size * 8, value) : value)
  const fill = value >> 64n
  const low = BigInt.asIntN(64, value)
  const ones = (1n << BigInt((size - 8) * 8)) - 1n
  if (fill !== 0n && !(isSigned && low < 0n && fill === ones)) {
    throw m.error(`${size}-byte integer does not fit into Lua Integer`)
  }
  return wrap(low)
}

/** Leaves the values from `S[at]` on. @returns how many */
export function unpack(m: Machine, S: Val[], at: number, count: number): number {
  const reader = new Reader(m, stringArgument(m, S, at, count, 1))
  const data = stringArgument(m, S, at, count, 2)
  let position = positionArgument(m, S, at, count, 3, 1)
  if (position < 0) position = position < -data.length ? 0 : data.length + position + 1
  position--
  if (position < 0 || position > data.length) throw m.argumentError(3, 'initial position out of string')
  const values: Val[] = []
  while (!reader.isAtEnd) {
    const { kind, size, padding } = reader.next(position)
    if (padding + size > data.length - position) throw m.argumentError(2, 'data string too short')
    position += padding
    switch (kind) {
      case 'int':
      case 'uint':
        values.push(readInteger(m, data, position, size, reader.isLittle, kind === 'int'))
        break
      case 'float':
      case 'double': {
        const view = new DataView(new ArrayBuffer(size))
        for (let i = 0; i < size; i++) view.setUint8(i, data.charCodeAt(position + i))
        values.push(float(size === 4 ? view.getFloat32(0, reader.isLittle) : view.getFloat64(0, reader.isLittle)))
        break
      }
      case 'fixed':
        values.push(m.made(partOf(data, position, position + size)))
        break
      case 'string': {
        const length = Number(readInteger(m, data, position, size, reader.isLittle, false))
        if (length < 0 || length > data.length - position - size) throw m.argumentError(2, 'data string too short')
        values.push(m.made(partOf(data, position + size, position + size + length)))
        position += length
        break
      }
      case 'zero': {
        // Where no zero follows, the text ends with the data.
        const zero = data.indexOf('\0', position)
        const end = zero < 0 ? data.length : zero
        values.push(m.made(partOf(data, position, end)))
        position = end + 1
        break
      }
      default:
    }
    position += size
  }
  m.room(S, at, values.length + 1)
  for (let i = 0; i < values.length; i++) S[at + i] = values[i]
  S[at + values.length] = position + 1
  return values.length + 1
}
