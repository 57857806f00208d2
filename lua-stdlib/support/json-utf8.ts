// UTF-8 in byte strings, judged byte by byte (Unicode, table 3-7).

/** The length of the well-formed sequence at `at`, or 0 when the bytes there are none. */
export function sequenceLength(bytes: string, at: number): 0 | 1 | 2 | 3 | 4 {
  const first = bytes.charCodeAt(at)
  if (first < 0x80) return 1
  if (first < 0xc2 || first > 0xf4) return 0
  // The first continuation byte excludes overlong forms, surrogates and what lies above U+10FFFF.
  const second = bytes.charCodeAt(at + 1)
  const from = first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80
  const to = first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf
  if (!(second >= from && second <= to)) return 0
  if (first < 0xe0) return 2
  if (!isContinuation(bytes.charCodeAt(at + 2))) return 0
  if (first < 0xf0) return 3
  return isContinuation(bytes.charCodeAt(at + 3)) ? 4 : 0
}

const isContinuation = (code: number): boolean => code >= 0x80 && code <= 0xbf

// biome-ignore lint/suspicious/noControlCharactersInRegex: the range is ASCII, control characters included
const ASCII = /^[\x00-\x7f]*$/

/** Where the first ill-formed byte is, or -1. */
export function illFormedAt(bytes: string): number {
  if (ASCII.test(bytes)) return -1
  for (let at = 0; at < bytes.length; ) {
    const length = sequenceLength(bytes, at)
    if (length === 0) return at
    at += length
  }
  return -1
}
