// What a core may know of the world: time, chance and fresh ids. Production and the simulator each supply one.

export interface Env {
  /** Monotonic milliseconds, with fractions; the origin is arbitrary. */
  nowMs(): number
  /** Wall-clock milliseconds since 1970, for display and epochs only. */
  wallMs(): number
  /** A whole number in [0, bound). */
  randomInt(bound: number): number
}
