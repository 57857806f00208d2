// So many a second, and a count of what was too much.

const SECOND_MS = 1000

export class RateLimit {
  readonly #countMax: number
  #second = 0
  #count = 0

  constructor(countMax: number) {
    this.#countMax = countMax
  }

  /** @returns whether this one is within the limit, and how many were not in the second that ended since the last call */
  take(nowMs: number): { isAllowed: boolean; droppedBefore: number } {
    const second = Math.floor(nowMs / SECOND_MS)
    let droppedBefore = 0
    if (second !== this.#second) {
      droppedBefore = Math.max(0, this.#count - this.#countMax)
      this.#second = second
      this.#count = 0
    }
    this.#count++
    return { isAllowed: this.#count <= this.#countMax, droppedBefore }
  }
}
