// How often a duration fell where, in the buckets that Prometheus reads: counted from the start, read when somebody asks.

/** Upper bounds of what takes from half a millisecond to half a minute. */
const SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]

/** What a histogram has counted, as plain data: per bound (not cumulative), in all, and the sum in seconds. */
export interface HistogramCounts {
  readonly perBound: readonly number[]
  readonly count: number
  readonly sum: number
}

export class Histogram {
  /** Upper bounds in seconds, ascending; what is longer than the last is in the count alone. */
  readonly bounds: readonly number[]
  readonly #counts: number[]
  #count = 0
  #sum = 0

  constructor(bounds: readonly number[] = SECONDS) {
    this.bounds = bounds
    this.#counts = bounds.map(() => 0)
  }

  get count(): number {
    return this.#count
  }

  /** Seconds. */
  get sum(): number {
    return this.#sum
  }

  /** What is no duration (negative, endless, not a number) counts as none. @param times how many took as long */
  observe(seconds: number, times = 1): void {
    const value = seconds > 0 && Number.isFinite(seconds) ? seconds : 0
    this.#count += times
    this.#sum += value * times
    const { bounds } = this
    for (let at = 0; at < bounds.length; at++) {
      if (value > (bounds[at] as number)) continue
      this.#counts[at] = (this.#counts[at] as number) + times
      return
    }
  }

  get counts(): HistogramCounts {
    return { perBound: [...this.#counts], count: this.#count, sum: this.#sum }
  }

  /** Takes over what another histogram with the same bounds counted from `before` to `now`; `before` undefined: all of it. */
  add(now: HistogramCounts, before: HistogramCounts | undefined): void {
    for (let at = 0; at < this.#counts.length; at++) {
      this.#counts[at] = (this.#counts[at] as number) + (now.perBound[at] ?? 0) - (before?.perBound[at] ?? 0)
    }
    this.#count += now.count - (before?.count ?? 0)
    this.#sum += now.sum - (before?.sum ?? 0)
  }

  /** How many were within each bound. */
  cumulative(): number[] {
    let total = 0
    return this.#counts.map((count) => {
      total += count
      return total
    })
  }
}
