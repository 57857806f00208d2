// Byte strings for a matcher that works on text, and places in that text as places in the bytes. Bytes that are no UTF-8 are single
// characters that nothing else is: lone surrogates, as in Python's surrogateescape (PEP 383).

import { toBytes, toUint8Array } from '../../runtime/base/bytes.ts'

// biome-ignore lint/suspicious/noControlCharactersInRegex: the range is ASCII, control characters included
const ASCII = /^[\x00-\x7f]*$/
const ESCAPE = 0xdc00

interface ScannedText {
  readonly text: string
  /** The offset in bytes of an offset in the text. */
  byteOf(offset: number): number
}

export function scanText(bytes: string): ScannedText {
  if (ASCII.test(bytes)) return { text: bytes, byteOf: (offset) => offset }
  const data = toUint8Array(bytes)
  const units: number[] = []
  /** Byte offset of each unit, and of the end. */
  const offsets: number[] = []
  for (let at = 0; at < data.length; ) {
    const { point, length } = pointAt(data, at)
    offsets.push(at)
    if (point > 0xffff) {
      units.push(0xd800 + ((point - 0x10000) >> 10), 0xdc00 + ((point - 0x10000) & 0x3ff))
      offsets.push(at)
    } else units.push(point)
    at += length
  }
  offsets.push(data.length)
  let text = ''
  for (let i = 0; i < units.length; i += 8192) text += String.fromCharCode(...units.slice(i, i + 8192))
  return { text, byteOf: (offset) => offsets[offset] as number }
}

/** The bytes that a text of `scanText` stands for, or a piece of one; what else is no character becomes U+FFFD. */
export function bytesOfScanned(text: string): string {
  if (ASCII.test(text)) return text
  return text
    .split(/(\p{Surrogate})/u)
    .map((part) => {
      const unit = part.charCodeAt(0)
      const isByte = part.length === 1 && unit >= ESCAPE + 0x80 && unit <= ESCAPE + 0xff
      return isByte ? String.fromCharCode(unit - ESCAPE) : toBytes(part)
    })
    .join('')
}

/** The code point that begins at `at`; an ill-formed byte stands for itself. */
function pointAt(data: Uint8Array, at: number): { point: number; length: number } {
  const first = data[at] as number
  if (first < 0x80) return { point: first, length: 1 }
  const length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2
  const escaped = { point: ESCAPE + first, length: 1 }
  if (first < 0xc2 || first > 0xf4 || at + length > data.length) return escaped
  let point = first & (0xff >> (length + 1))
  for (let i = 1; i < length; i++) {
    const next = data[at + i] as number
    if ((next & 0xc0) !== 0x80) return escaped
    point = (point << 6) | (next & 0x3f)
  }
  const least = length === 2 ? 0x80 : length === 3 ? 0x800 : 0x10000
  const isSurrogate = point >= 0xd800 && point <= 0xdfff
  return point < least || point > 0x10ffff || isSurrogate ? escaped : { point, length }
}
