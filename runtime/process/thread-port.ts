// A port over a worker thread's message channel: messages of one turn travel as one batch.

import type { MessagePort, Transferable, Worker } from 'node:worker_threads'
import { decodeBatch, encodeBatch } from '../relay/wire/codec.ts'
import type { Port } from './port.ts'

interface Line {
  postMessage(value: unknown, transfer?: Transferable[]): void
  on(event: 'message', handler: (value: Uint8Array) => void): unknown
}

/** Messages in one batch at most: a flood is cut so that the other side's event loop breathes. */
const BATCH_COUNT_MAX = 5_000

export class ThreadPort<Out, In> implements Port<Out, In> {
  readonly #line: Line
  #waiting: Out[] = []
  #isScheduled = false
  #isClosed = false

  constructor(line: MessagePort | Worker) {
    this.#line = line as Line
  }

  post(message: Out): void {
    if (this.#isClosed) return
    this.#waiting.push(message)
    if (this.#isScheduled) return
    this.#isScheduled = true
    setImmediate(() => this.flush())
  }

  give(message: Out): void {
    this.post(message)
  }

  /** Hands over what waits; called by itself once a turn. */
  flush(): void {
    this.#isScheduled = false
    if (this.#isClosed) return
    const waiting = this.#waiting
    this.#waiting = []
    for (let at = 0; at < waiting.length; at += BATCH_COUNT_MAX) {
      const batch = encodeBatch(
        at === 0 && waiting.length <= BATCH_COUNT_MAX ? waiting : waiting.slice(at, at + BATCH_COUNT_MAX),
      )
      this.#line.postMessage(batch, [batch.buffer])
    }
  }

  onMessage(handler: (message: In) => void): void {
    this.#line.on('message', (bytes) => {
      for (const message of decodeBatch(bytes)) handler(message as In)
    })
  }

  close(): void {
    this.flush()
    this.#isClosed = true
  }
}
