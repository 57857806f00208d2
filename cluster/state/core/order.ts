// The one order of everything that leaves the state machine: bytewise, as UTF-8 sorts. cluster.md §0.3, §5.12.

/** Negative, zero or positive. JavaScript's own order differs from that of the bytes where surrogates are involved. */
export function compareText(a: string, b: string): number {
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i)
    const y = b.charCodeAt(i)
    if (x !== y) return rank(x) - rank(y)
  }
  return a.length - b.length
}

/** Surrogates stand for code points above every other unit. */
function rank(unit: number): number {
  if (unit < 0xd800) return unit
  return unit < 0xe000 ? unit + 0x2000 : unit - 0x800
}

export function sortedNumbers(numbers: Iterable<number>): number[] {
  return [...numbers].sort((a, b) => a - b)
}
