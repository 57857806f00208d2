// Assertions: a failed one is a bug of ours, never bad input, and stops what is running.

class AssertionError extends Error {
  override readonly name = 'AssertionError'
}

/** Stops with an AssertionError unless `fact` holds. `text` states the fact, e.g. `'electionMs > 0'`. */
export function assert(fact: unknown, text: string): asserts fact {
  if (!fact) throw new AssertionError(`assertion failed: ${text}`)
}

/** Makes a switch exhaustive: a new variant is a compile error at the call. */
export function unreachable(value: never): never {
  throw new AssertionError(`unreachable: ${String((value as { kind?: unknown })?.kind ?? value)}`)
}
