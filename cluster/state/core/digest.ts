// A number for a state, to compare nodes by. FNV-1a in two 32-bit lanes that start apart, which needs nothing but multiplication.

const PRIME = 0x01000193

export function digestOf(
  sections: readonly { readonly id: number; readonly records: readonly Uint8Array[] }[],
): string {
  let a = 0x811c9dc5
  let b = 0x3243f6a9
  const take = (byte: number): void => {
    a = Math.imul(a ^ byte, PRIME)
    b = Math.imul(b ^ byte ^ (b >>> 15), PRIME)
  }
  const takeCount = (count: number): void => {
    for (let shift = 24; shift >= 0; shift -= 8) take((count >>> shift) & 0xff)
  }
  for (const { id, records } of sections) {
    take(id)
    takeCount(records.length)
    for (const record of records) {
      takeCount(record.length)
      for (const byte of record) take(byte)
    }
  }
  return hex(a) + hex(b)
}

function hex(lane: number): string {
  return (lane >>> 0).toString(16).padStart(8, '0')
}
