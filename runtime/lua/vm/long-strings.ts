// How many long strings a process can have, by length. JavaScript has no identity for strings: to tell two of a length apart is to compare
// them, which builds what is not built yet, and V8 hashes long ones by nothing but their length. So it is counted how many are made.

import type { Proto } from './proto.ts'

/** Shorter strings are told apart by what is in them. */
export const LONG_STRING_MIN = 16 * 1024
/** Lengths that are counted at once; of others any number may be there. */
const LENGTHS_MAX = 4096

export class LongStrings {
  readonly #made = new Map<number, number>()

  get isEmpty(): boolean {
    return this.#made.size === 0
  }

  /** One more of that length, if it is a long one. */
  add(length: number): void {
    if (length >= LONG_STRING_MIN) this.#add(length, 1)
  }

  #add(length: number, count: number): void {
    const before = this.#made.get(length)
    if (before !== undefined || this.#made.size < LENGTHS_MAX) this.#made.set(length, (before ?? 0) + count)
  }

  /** Takes over what another has counted, which begins anew. */
  take(other: LongStrings): void {
    for (const [length, count] of other.#made) this.#add(length, count)
    other.#made.clear()
  }

  /** How many different ones of that length there may be at most; of lengths that were not counted, any number. */
  countMax(length: number): number {
    return this.#made.get(length) ?? Number.POSITIVE_INFINITY
  }

  /** @param places in how many places strings of each length were found: others are gone */
  keep(places: ReadonlyMap<number, number>): void {
    for (const [length, count] of this.#made) {
      const found = places.get(length)
      if (found === undefined) this.#made.delete(length)
      else if (found < count) this.#made.set(length, found)
    }
  }
}

/** Lengths of the long constants of a chunk: whoever loads it has them. */
export function longConstants(chunk: Proto): readonly number[] {
  const found = new Set<string>()
  const open = [chunk]
  for (let proto = open.pop(); proto !== undefined; proto = open.pop()) {
    for (const constant of proto.constants)
      if (typeof constant === 'string' && constant.length >= LONG_STRING_MIN) found.add(constant)
    open.push(...proto.protos)
  }
  return [...found].map((text) => text.length)
}
