// How much may be on its way without the peer having said that it arrived: twice what the path holds, and a floor. A larger window
// would only fill buffers that heartbeats then wait behind. cluster.md §4.5.

export const WINDOW_BYTES_MIN = 1024 * 1024
const WINDOW_BYTES_MAX = 64 * 1024 * 1024
const RTT_SAMPLES = 8
const RATE_SAMPLES = 8
const RATE_INTERVAL_MS_MIN = 10

export class Window {
  /** Bytes of frames sent and acknowledged on this connection, in the classes that share the window. */
  #sentBytes = 0
  #ackedBytes = 0
  #markBytes = 0
  #markMs: number
  readonly #rttsMs: number[] = []
  /** Bytes a millisecond, over the last intervals. */
  readonly #rates: number[] = []
  #bytes = WINDOW_BYTES_MIN

  constructor(nowMs: number) {
    this.#markMs = nowMs
  }

  get outstandingBytes(): number {
    return this.#sentBytes - this.#ackedBytes
  }

  get bytes(): number {
    return this.#bytes
  }

  get isOpen(): boolean {
    return this.outstandingBytes < this.#bytes
  }

  sent(bytes: number): void {
    this.#sentBytes += bytes
  }

  rtt(rttMs: number): void {
    this.#rttsMs.push(rttMs)
    if (this.#rttsMs.length > RTT_SAMPLES) this.#rttsMs.shift()
    this.#resize()
  }

  /** @returns false when the peer acknowledges what was never sent */
  acked(totalBytes: number, nowMs: number): boolean {
    if (totalBytes > this.#sentBytes) return false
    if (totalBytes <= this.#ackedBytes) return true
    this.#ackedBytes = totalBytes
    const intervalMs = nowMs - this.#markMs
    if (intervalMs >= Math.max(RATE_INTERVAL_MS_MIN, this.#rttsMs.at(-1) ?? 0)) {
      this.#rates.push((totalBytes - this.#markBytes) / intervalMs)
      if (this.#rates.length > RATE_SAMPLES) this.#rates.shift()
      this.#markMs = nowMs
      this.#markBytes = totalBytes
      this.#resize()
    }
    return true
  }

  #resize(): void {
    if (this.#rttsMs.length === 0 || this.#rates.length === 0) return
    const pathBytes = Math.max(...this.#rates) * Math.min(...this.#rttsMs)
    this.#bytes = Math.min(WINDOW_BYTES_MAX, Math.max(WINDOW_BYTES_MIN, 2 * pathBytes))
  }
}
