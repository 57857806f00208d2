// How long a suspect has to refute: long at first, shorter with every independent accuser. Lifeguard, section IV.B;
// cluster.md §3.6.

/** The bounds of suspicions in a cluster of some size. */
interface SuspicionTerms {
  /** Confirmations after which the shortest time holds. */
  readonly confirmationsWanted: number
  readonly minMs: number
  readonly maxMs: number
}

/** @param nodes known nodes in any state, this one included */
export function suspicionTerms(
  nodes: number,
  settings: { suspicionMult: number; suspicionMaxMult: number; probeIntervalMs: number },
): SuspicionTerms {
  const wanted = settings.suspicionMult - 2
  const scale = Math.trunc(Math.max(1, Math.log10(Math.max(1, nodes))) * 1000)
  const minMs = (settings.suspicionMult * scale * settings.probeIntervalMs) / 1000
  return {
    // Without enough others to confirm, waiting for confirmations would only delay the verdict.
    confirmationsWanted: wanted < 0 || nodes - 2 < wanted ? 0 : wanted,
    minMs,
    maxMs: settings.suspicionMaxMult * minMs,
  }
}

export class Suspicion {
  #startedAtMs: number
  /** Tells this suspicion from an earlier one of the same node. */
  readonly token: number
  readonly #terms: SuspicionTerms
  /** Who accused; the first of them confirms nothing. */
  readonly #accusers: Set<string>
  #deadlineMs: number

  constructor(accuser: string, terms: SuspicionTerms, token: number, nowMs: number) {
    this.#terms = terms
    this.#accusers = new Set([accuser])
    this.token = token
    this.#startedAtMs = nowMs
    this.#deadlineMs = nowMs + (terms.confirmationsWanted < 1 ? terms.minMs : terms.maxMs)
  }

  get deadlineMs(): number {
    return this.#deadlineMs
  }

  get confirmations(): number {
    return this.#accusers.size - 1
  }

  /** Counts another accuser; false when it is a known one or enough have spoken. Shortens the deadline. */
  confirm(accuser: string): boolean {
    const { confirmationsWanted: wanted, minMs, maxMs } = this.#terms
    if (this.confirmations >= wanted || this.#accusers.has(accuser)) return false
    this.#accusers.add(accuser)
    const share = Math.log(this.confirmations + 1) / Math.log(wanted + 1)
    const timeoutMs = Math.max(minMs, Math.floor(maxMs - share * (maxMs - minMs)))
    this.#deadlineMs = this.#startedAtMs + timeoutMs
    return true
  }

  /** Does not count some time that passed. */
  postpone(byMs: number): void {
    this.#startedAtMs += byMs
    this.#deadlineMs += byMs
  }
}
