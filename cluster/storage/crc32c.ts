// CRC-32C (Castagnoli, reflected polynomial 82F63B78; RFC 3720 appendix B.4), eight bytes a step ("slicing by 8").

const tables: readonly Uint32Array[] = makeTables()
const [t0, t1, t2, t3, t4, t5, t6, t7] = tables as [
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
]

/** @param before the checksum of what precedes `bytes`, to go on from there */
export function crc32c(bytes: Uint8Array, before = 0): number {
  let crc = ~before
  let at = 0
  for (const end = bytes.length - 7; at < end; at += 8) {
    const low =
      crc ^ (byte(bytes, at) | (byte(bytes, at + 1) << 8) | (byte(bytes, at + 2) << 16) | (byte(bytes, at + 3) << 24))
    crc =
      entry(t7, low) ^
      entry(t6, low >>> 8) ^
      entry(t5, low >>> 16) ^
      entry(t4, low >>> 24) ^
      entry(t3, byte(bytes, at + 4)) ^
      entry(t2, byte(bytes, at + 5)) ^
      entry(t1, byte(bytes, at + 6)) ^
      entry(t0, byte(bytes, at + 7))
  }
  for (; at < bytes.length; at++) crc = entry(t0, crc ^ byte(bytes, at)) ^ (crc >>> 8)
  return ~crc >>> 0
}

function byte(bytes: Uint8Array, at: number): number {
  return bytes[at] as number
}

function entry(table: Uint32Array, at: number): number {
  return table[at & 0xff] as number
}

function makeTables(): Uint32Array[] {
  const first = new Uint32Array(256)
  for (let i = 0; i < 256; i++) {
    let value = i
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1
    first[i] = value
  }
  const made = [first]
  for (let step = 1; step < 8; step++) {
    const last = made[step - 1] as Uint32Array
    made.push(last.map((value) => (first[value & 0xff] as number) ^ (value >>> 8)))
  }
  return made
}
