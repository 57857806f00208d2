// Short byte strings that come again and again, each made once: whoever reads one gets the same string object, whose hash is known and
// which compares by identity.

const SLOTS = 512
const LENGTH_MAX = 96

export class Interner {
  /** A newcomer takes the place of whatever was in its slot: nothing grows. */
  readonly #slots: string[] = new Array(SLOTS).fill('')

  /** The byte string that these bytes are. */
  read(bytes: Buffer, begin: number, end: number): string {
    const length = end - begin
    if (length === 0) return ''
    if (length > LENGTH_MAX) return bytes.toString('latin1', begin, end)
    // PIDs differ near their ends.
    let hash = length
    for (let i = Math.max(begin, end - 12); i < end; i++) hash = (Math.imul(hash, 31) + (bytes[i] as number)) | 0
    const slot = (hash ^ (hash >>> 9)) & (SLOTS - 1)
    const known = this.#slots[slot] as string
    if (known.length === length && isSame(known, bytes, begin)) return known
    const text = bytes.toString('latin1', begin, end)
    this.#slots[slot] = text
    return text
  }
}

function isSame(text: string, bytes: Buffer, begin: number): boolean {
  for (let i = text.length - 1; i >= 0; i--) if (text.charCodeAt(i) !== bytes[begin + i]) return false
  return true
}
