// The fair order of a host: ready processes run one slice each, in turn. A slice ends when the process has nothing ready or its
// instruction budget is used up; it then goes to the end of the line. After skynet's dispatch queue.

import { Queue } from '../../base/queue.ts'

export interface Runnable {
  /** Whether it stands in the line; kept by the queue. */
  isQueued: boolean
}

export class RunQueue<P extends Runnable> {
  readonly #line = new Queue<P>()
  /** Processes that start: they go first, so that whoever waits for a spawn waits a slice or two, not a round. */
  readonly #starting = new Queue<P>()
  /** The others have every second turn: processes that go on spawning must not keep them waiting for ever. */
  #isLineNext = false

  get count(): number {
    return this.#line.count + this.#starting.count
  }

  /** Adds it unless it stands in the line already. */
  ready(process: P): void {
    if (process.isQueued) return
    process.isQueued = true
    this.#line.push(process)
  }

  starting(process: P): void {
    if (process.isQueued) return
    process.isQueued = true
    this.#starting.push(process)
  }

  next(): P | undefined {
    const process = this.#isLineNext
      ? (this.#line.shift() ?? this.#starting.shift())
      : (this.#starting.shift() ?? this.#line.shift())
    this.#isLineNext = !this.#isLineNext
    if (process !== undefined) process.isQueued = false
    return process
  }
}
