// Waits for what must become true, without guessing how long it takes.

const POLL_MS = 10

/**
 * Calls `attempt` until it neither throws nor returns false, and returns what it returned.
 * @throws the last failure after `timeoutMs`
 */
export async function eventually<T>(
  attempt: () => T | Promise<T>,
  { timeoutMs = 10_000, what = 'it' }: { timeoutMs?: number; what?: string } = {},
): Promise<T> {
  const deadlineMs = performance.now() + timeoutMs
  for (;;) {
    let failure: unknown
    try {
      const result = await attempt()
      if (result !== false) return result
      failure = new Error(`${what} did not become true within ${timeoutMs} ms`)
    } catch (error) {
      failure = error
    }
    if (performance.now() > deadlineMs) throw failure
    await new Promise((next) => setTimeout(next, POLL_MS))
  }
}
