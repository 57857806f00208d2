// Chance that follows from a seed: the same seed, the same plan. Mulberry32.

export class Chance {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** [0, 1). */
  fraction(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x100000000
  }

  /** A whole number in [0, bound). */
  int(bound: number): number {
    return Math.floor(this.fraction() * bound)
  }

  /** A whole number of [from, to]. */
  between(from: number, to: number): number {
    return from + this.int(to - from + 1)
  }

  chance(share: number): boolean {
    return this.fraction() < share
  }

  pick<T>(all: readonly T[]): T {
    return all[this.int(all.length)] as T
  }

  shuffled<T>(all: readonly T[]): T[] {
    const left = [...all]
    const order: T[] = []
    while (left.length > 0) order.push(...left.splice(this.int(left.length), 1))
    return order
  }

  /** One of the keys, as often as its weight says. */
  weighted<K extends string>(weights: Readonly<Partial<Record<K, number>>>): K {
    const entries = Object.entries(weights) as [K, number][]
    let left = this.fraction() * entries.reduce((sum, [, weight]) => sum + weight, 0)
    for (const [key, weight] of entries) {
      left -= weight
      if (left < 0) return key
    }
    return (entries.at(-1) as [K, number])[0]
  }
}
