// Writers that wait for one disk share its syncs: while one batch is on its way, everything that comes in is gathered into the
// next. Order is kept, and nothing is answered before its batch is durable. cluster.md §5.1 D2.

import { MoonmeshError } from '../../runtime/base/errors.ts'
import { failure } from './failure.ts'
import type { Operation } from './storage.ts'

interface GroupCommitOptions {
  /** Names the storage in errors. */
  readonly path: string
  /** Makes a batch durable; what it throws ends everything. */
  readonly commit: (operations: readonly Operation[], sizeBytes: number) => Promise<void>
  /** A batch is closed when it has grown to this; one write may be larger. */
  readonly batchBytesMax: number
  /** More than this is not taken in; a disk so far behind counts as failed. */
  readonly waitingBytesMax: number
}

interface Waiting {
  readonly operations: readonly Operation[]
  readonly sizeBytes: number
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

export class GroupCommit {
  readonly #options: GroupCommitOptions
  #waiting: Waiting[] = []
  #waitingBytes = 0
  #failure: Error | undefined
  #isClosed = false
  #running: Promise<void> | undefined

  constructor(options: GroupCommitOptions) {
    this.#options = options
  }

  get failure(): Error | undefined {
    return this.#failure
  }

  get waitingBytes(): number {
    return this.#waitingBytes
  }

  write(operations: readonly Operation[]): Promise<void> {
    const { path, waitingBytesMax } = this.#options
    if (this.#failure !== undefined) return Promise.reject(this.#failure)
    if (this.#isClosed) return Promise.reject(failure('closed', path))
    let sizeBytes = 0
    for (const operation of operations)
      sizeBytes += operation.key.length + (operation.kind === 'put' ? operation.value.length : 0)
    if (this.#waitingBytes > 0 && this.#waitingBytes + sizeBytes > waitingBytesMax) {
      const message = `${path}: ${this.#waitingBytes} bytes already wait for the disk, which is too slow for what it is given`
      // For good: a later write that found room again would stand on one that is missing. What waits is still written.
      this.#failure = new MoonmeshError('LimitExceeded', message, { retryable: true })
      return Promise.reject(this.#failure)
    }
    this.#waitingBytes += sizeBytes
    return new Promise((resolve, reject) => {
      this.#waiting.push({ operations, sizeBytes, resolve, reject })
      this.#running ??= this.#run()
    })
  }

  /** Takes nothing more in and resolves when all that was is answered. */
  async close(): Promise<void> {
    this.#isClosed = true
    await this.#running
  }

  async #run(): Promise<void> {
    // What else is written in this turn of the loop comes along.
    await Promise.resolve()
    while (this.#waiting.length > 0) {
      const batch = this.#take()
      const operations =
        batch.length === 1 ? (batch[0] as Waiting).operations : batch.flatMap((each) => each.operations)
      const sizeBytes = batch.reduce((sum, each) => sum + each.sizeBytes, 0)
      try {
        await this.#options.commit(operations, sizeBytes)
      } catch (error) {
        this.#fail(error as Error, batch)
        break
      }
      this.#waitingBytes -= sizeBytes
      for (const { resolve } of batch) resolve()
    }
    this.#running = undefined
  }

  #take(): Waiting[] {
    let count = 0
    let bytes = 0
    for (const { sizeBytes } of this.#waiting) {
      if (count > 0 && bytes + sizeBytes > this.#options.batchBytesMax) break
      bytes += sizeBytes
      count++
    }
    return this.#waiting.splice(0, count)
  }

  #fail(error: Error, batch: readonly Waiting[]): void {
    this.#failure = error
    const lost = [...batch, ...this.#waiting.splice(0)]
    this.#waitingBytes = 0
    for (const { reject } of lost) reject(error)
  }
}
