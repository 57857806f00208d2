// Byte strings. A Lua string is bytes; on our side it is a JavaScript string whose char codes are those bytes (0..255),
// which V8 keeps one byte a character, hashes and concatenates cheaply. Text crosses into that form, and back, here only.

const encoder = new TextEncoder()
// A mark of byte order is text like any other: leaving it out would make two strings one.
const decoder = new TextDecoder('utf-8', { ignoreBOM: true })
const CHUNK = 8192

// biome-ignore lint/suspicious/noControlCharactersInRegex: the range is ASCII, control characters included
const ASCII = /^[\x00-\x7f]*$/

/** The UTF-8 bytes of `text`, as a byte string. */
export function toBytes(text: string): string {
  return ASCII.test(text) ? text : fromUint8Array(encoder.encode(text))
}

/** The text that a byte string holds in UTF-8; ill-formed sequences become U+FFFD. */
export function toText(bytes: string): string {
  return ASCII.test(bytes) ? bytes : decoder.decode(toUint8Array(bytes))
}

/** A byte string of the same bytes; `data` is copied. */
export function fromUint8Array(data: Uint8Array): string {
  if (data.length <= CHUNK) return String.fromCharCode.apply(null, data as unknown as number[])
  let out = ''
  for (let at = 0; at < data.length; at += CHUNK) {
    out += String.fromCharCode.apply(null, data.subarray(at, at + CHUNK) as unknown as number[])
  }
  return out
}

/** The bytes of a byte string, freshly allocated. */
export function toUint8Array(bytes: string): Uint8Array {
  const out = new Uint8Array(bytes.length)
  for (let i = 0; i < bytes.length; i++) out[i] = bytes.charCodeAt(i)
  return out
}

/** The same bytes in memory of their own: what `slice` cuts out of a Buffer is a view, and keeps all of the buffer alive. */
export function ownBytes(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes)
}

/** Of shorter texts V8 makes copies. */
const VIEW_MIN = 13
/** Parts of shorter texts may keep them. */
const LONG_MIN = 16 * 1024
const room = Buffer.alloc(4096)

/**
 * A part of a byte string. What V8 makes of `slice` is a view of the whole, which lives as long as the part: small parts of long texts are
 * copied here, or a few characters would keep a document.
 */
export function partOf(text: string, from: number, to: number): string {
  const part = text.slice(from, to)
  const { length } = part
  if (text.length < LONG_MIN || length < VIEW_MIN || length * 2 >= text.length) return part
  if (length > room.length) return Buffer.from(part, 'latin1').toString('latin1')
  room.write(part, 0, 'latin1')
  return room.toString('latin1', 0, length)
}
