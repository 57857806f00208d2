// Work whose calls overlap: one run at a time, and whoever asks during a run gets one that begins after that. What counts is the state of
// the world when the last run begins, and not which of several readings of it ends last.

export class LatestWins<T> {
  readonly #work: () => Promise<T>
  #running: Promise<T> | undefined
  /** Begins when the running one is over; all who ask meanwhile share it. */
  #next: Promise<T> | undefined

  constructor(work: () => Promise<T>) {
    this.#work = work
  }

  /** @returns what a run comes to that has begun since the call */
  run(): Promise<T> {
    if (this.#running === undefined) return this.#begin()
    this.#next ??= this.#running.then(
      () => this.#begin(),
      () => this.#begin(),
    )
    return this.#next
  }

  #begin(): Promise<T> {
    this.#next = undefined
    const running = this.#work()
    this.#running = running
    const over = (): void => {
      if (this.#running === running && this.#next === undefined) this.#running = undefined
    }
    running.then(over, over)
    return running
  }
}
