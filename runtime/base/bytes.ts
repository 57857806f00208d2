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
