// Who waits until this server has applied all that was committed when they asked. Those that come while a question to the leader
// is on its way share the next one; a question that fails is asked anew until their deadlines. cluster.md §5.7.

interface Waiting<T> {
  readonly token: T
  readonly deadlineMs: number
}

/** @typeParam T whoever waits */
export class Barriers<T> {
  readonly #countMax: number
  /** For the next question. */
  #waiting: Waiting<T>[] = []
  #asked: { readonly ref: number; readonly waiting: Waiting<T>[] } | undefined
  /** Answered, and not yet applied that far. */
  #ready: { readonly index: number; readonly waiting: Waiting<T>[] }[] = []
  #count = 0

  constructor(countMax: number) {
    this.#countMax = countMax
  }

  get count(): number {
    return this.#count
  }

  get needsQuestion(): boolean {
    return this.#asked === undefined && this.#waiting.length > 0
  }

  /** @returns false: too many wait already */
  add(token: T, deadlineMs: number): boolean {
    if (this.#count >= this.#countMax) return false
    this.#waiting.push({ token, deadlineMs })
    this.#count++
    return true
  }

  /** The question `ref` is put now, for all that wait. */
  asked(ref: number): void {
    this.#asked = { ref, waiting: this.#waiting }
    this.#waiting = []
  }

  /** @returns whether it was a question of theirs */
  answered(ref: number, index: number): boolean {
    if (this.#asked?.ref !== ref) return false
    this.#ready.push({ index, waiting: this.#asked.waiting })
    this.#asked = undefined
    return true
  }

  /** The question has no answer: whoever it was for waits for the next. @returns whether it was a question of theirs */
  failed(ref: number): boolean {
    if (this.#asked?.ref !== ref) return false
    this.#waiting = [...this.#asked.waiting, ...this.#waiting]
    this.#asked = undefined
    return true
  }

  /** @returns those whose wait is over: everything up to `index` is applied */
  applied(index: number): readonly T[] {
    if (this.#ready.length === 0) return NOBODY
    const done = this.#ready.filter((ready) => ready.index <= index).flatMap(({ waiting }) => waiting)
    if (done.length === 0) return NOBODY
    this.#ready = this.#ready.filter((ready) => ready.index > index)
    this.#count -= done.length
    return done.map(({ token }) => token)
  }

  /** @returns those whose deadline has passed */
  expired(nowMs: number): readonly T[] {
    const late: T[] = []
    const keep = (waiting: Waiting<T>[]): Waiting<T>[] => {
      if (waiting.every(({ deadlineMs }) => deadlineMs > nowMs)) return waiting
      for (const { token, deadlineMs } of waiting) if (deadlineMs <= nowMs) late.push(token)
      return waiting.filter(({ deadlineMs }) => deadlineMs > nowMs)
    }
    this.#waiting = keep(this.#waiting)
    if (this.#asked !== undefined) this.#asked = { ref: this.#asked.ref, waiting: keep(this.#asked.waiting) }
    this.#ready = this.#ready.map(({ index, waiting }) => ({ index, waiting: keep(waiting) }))
    this.#count -= late.length
    return late
  }

  /** The question is void, with whoever would have answered it. */
  restarted(): void {
    if (this.#asked !== undefined) this.failed(this.#asked.ref)
  }

  /** The log that the answers counted is no more: who waits to have it applied asks anew, and about the next one. */
  voided(): void {
    this.restarted()
    this.#waiting = [...this.#ready.flatMap(({ waiting }) => waiting), ...this.#waiting]
    this.#ready = []
  }

  /** @returns everybody; nobody waits any more */
  clear(): readonly T[] {
    const all = [...this.#waiting, ...(this.#asked?.waiting ?? []), ...this.#ready.flatMap(({ waiting }) => waiting)]
    this.#waiting = []
    this.#asked = undefined
    this.#ready = []
    this.#count = 0
    return all.map(({ token }) => token)
  }
}

const NOBODY: readonly never[] = []
