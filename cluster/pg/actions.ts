// What processes of this node ask of a scope, one after the other. As long as a turn of the event loop has time for it an action happens at
// once; then the rest waits for the next turn, in order and up to a bound. cluster.md §9.2.

import type { Env } from '../../runtime/base/env.ts'
import { MoonmeshError, messageOf } from '../../runtime/base/errors.ts'
import { Queue } from '../../runtime/base/queue.ts'

interface ActionsOptions {
  readonly env: Pick<Env, 'nowMs'>
  /** Runs something in a later turn of the event loop. */
  readonly defer: (run: () => void) => void
  /** How many may wait; one more is refused. */
  readonly countMax: number
  /** So many waiting are worth a word. */
  readonly crowdedCount: number
  readonly onCrowded: (count: number) => void
}

/** What actions may take of one turn. */
const BUDGET_MS = 20

interface Waiting {
  readonly sinceMs: number
  readonly run: () => void
  readonly refuse: (error: Error) => void
}

export class Actions {
  readonly #options: ActionsOptions
  readonly #waiting = new Queue<Waiting>()
  #turnBeganMs: number | undefined
  #isCrowded = false
  #isClosed = false
  /** Refused because too many waited. */
  refused = 0

  constructor(options: ActionsOptions) {
    this.#options = options
  }

  get count(): number {
    return this.#waiting.count
  }

  /** For how long the first one waits; 0 when none does. */
  get waitingMs(): number {
    const first = this.#waiting.peek()
    return first === undefined ? 0 : this.#options.env.nowMs() - first.sinceMs
  }

  /** @throws MoonmeshError `Unavailable` when too many wait, or the scope has stopped; and what `run` throws */
  do<T>(run: () => T): T | Promise<T> {
    if (this.#isClosed) throw stopped()
    if (this.#waiting.count === 0 && this.#hasTime()) return run()
    if (this.#waiting.count >= this.#options.countMax) {
      this.refused++
      const text = `busy: event loop backpressure (${this.#waiting.count} operations wait; action_queue_max_size)`
      throw new MoonmeshError('Unavailable', text, { retryable: true })
    }
    return new Promise<T>((resolve, reject) => {
      const runThen = (): void => {
        try {
          resolve(run())
        } catch (error) {
          reject(error instanceof Error ? error : new Error(messageOf(error)))
        }
      }
      this.#wait(runThen, reject)
    })
  }

  /** What has to happen whatever waits: it is behind what came before, and never refused. */
  note(run: () => void): void {
    if (this.#isClosed) return
    if (this.#waiting.count === 0) run()
    else this.#wait(run, () => {})
  }

  /** Whoever waits hears that the scope has stopped. */
  close(): void {
    this.#isClosed = true
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) next.refuse(stopped())
  }

  #wait(run: () => void, refuse: (error: Error) => void): void {
    this.#waiting.push({ sinceMs: this.#options.env.nowMs(), run, refuse })
    const { crowdedCount, onCrowded } = this.#options
    if (this.#isCrowded || this.#waiting.count < crowdedCount) return
    this.#isCrowded = true
    onCrowded(this.#waiting.count)
  }

  /** Whether this turn has some left; the first question of a turn begins it. */
  #hasTime(): boolean {
    const nowMs = this.#options.env.nowMs()
    if (this.#turnBeganMs === undefined) {
      this.#turnBeganMs = nowMs
      this.#options.defer(() => this.#turnEnded())
    }
    return nowMs - this.#turnBeganMs < BUDGET_MS
  }

  #turnEnded(): void {
    this.#turnBeganMs = undefined
    while (this.#waiting.count > 0 && this.#hasTime()) this.#waiting.shift()?.run()
    if (this.#waiting.count < this.#options.crowdedCount) this.#isCrowded = false
  }
}

function stopped(): MoonmeshError {
  return new MoonmeshError('Unavailable', 'service stopped', { retryable: false })
}
