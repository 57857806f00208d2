// Log lines that a peer can cause: a few a minute of each kind and peer, with how many were left out.

interface Told {
  /** When the minute began. */
  atMs: number
  count: number
  suppressed: number
}

const INTERVAL_MS = 60_000
const KEYS_MAX = 1024

export class LogRate {
  /** Invariant: in the order of `atMs`. */
  readonly #told = new Map<string, Told>()

  /**
   * @param burst lines that the first minute may have; later ones have one
   * @returns how many like it were left out since the last one; undefined: leave this one out, too
   */
  take(key: string, nowMs: number, burst = 1): number | undefined {
    const told = this.#told.get(key)
    if (told !== undefined && nowMs - told.atMs < INTERVAL_MS) {
      if (++told.count <= burst) return 0
      told.suppressed++
      return undefined
    }
    this.#told.delete(key)
    if (this.#told.size >= KEYS_MAX) this.#forgetOldest(nowMs)
    // With every place taken by lines of the last minute, whoever makes up addresses is not worth a line each.
    if (this.#told.size >= KEYS_MAX) return undefined
    // A condition that lasts had its first lines.
    this.#told.set(key, { atMs: nowMs, count: told === undefined ? 1 : burst, suppressed: 0 })
    return told?.suppressed ?? 0
  }

  #forgetOldest(nowMs: number): void {
    // Insertion order is the order in time: a line that is told again is inserted anew.
    for (const [key, { atMs }] of this.#told) {
      if (nowMs - atMs < INTERVAL_MS) return
      this.#told.delete(key)
    }
  }
}
