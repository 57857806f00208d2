// The fair order of a host: ready processes run one slice each, in turn. A slice ends when the process has nothing ready or its
// instruction budget is used up; it then goes to the end of the line. After skynet's dispatch queue.

import { Queue } from '../../base/queue.ts'

export interface Runnable {
  /** Whether it stands in the line; kept by the queue. */
  isQueued: boolean
}

export class RunQueue<P extends Runnable> {
  readonly #line = new Queue<P>()
  /** Processes that start: they go first, so that whoever waits for a spawn waits one slice, not a round. */
  readonly #starting = new Queue<P>()

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
    const process = this.#starting.shift() ?? this.#line.shift()
    if (process !== undefined) process.isQueued = false
    return process
  }
}
