// A backup that is being taken of the local replica: the state of one moment, handed out piece by piece while the replica goes on. What is
// replaced meanwhile is kept for it, so it does not wait for ever for whoever takes it.

import { MoonmeshError } from '../../runtime/base/errors.ts'
import type { MachineView } from '../state/core/machine.ts'
import type { BackupHeader } from './core/contents.ts'
import { writeBackup } from './wire/file.ts'

interface TakingOptions {
  readonly header: BackupHeader
  readonly view: MachineView
  /** Calls once. @returns cancels it */
  readonly after: (delayMs: number, run: () => void) => () => void
  /** Monotonic milliseconds. */
  readonly nowMs: () => number
  /** Runs in the next turn of the event loop. */
  readonly defer: (run: () => void) => void
  /** Once. */
  readonly onEnd: () => void
}

/** How long nobody may ask for the next piece. */
export const TAKING_IDLE_MS = 30_000
/** How long it is written in one turn of the event loop. */
const SLICE_MS = 5

/** A backup on its way to whoever wants it. */
export interface Backup {
  /** The next bytes of the file; undefined after the last. @throws MoonmeshError: the rest will not come */
  next(): Promise<Uint8Array | undefined>
  /** Idempotent. */
  close(): void
}

export class Taking implements Backup {
  readonly #options: TakingOptions
  readonly #pieces: Generator<Uint8Array>
  #cancelIdle: () => void = () => {}
  #sliceMs = Number.NEGATIVE_INFINITY
  #state: 'going' | 'done' | 'closed' = 'going'

  constructor(options: TakingOptions) {
    this.#options = options
    const { header, view } = options
    this.#pieces = writeBackup(header, view.records())
    this.#awaitReader()
  }

  /** Read to its end, closed, or given up. */
  get isOver(): boolean {
    return this.#state !== 'going'
  }

  async next(): Promise<Uint8Array | undefined> {
    if (this.#state === 'done') return undefined
    // Others have a turn now and then, however fast this reader is.
    if (this.#options.nowMs() - this.#sliceMs >= SLICE_MS) {
      await new Promise<void>((resolve) => this.#options.defer(resolve))
      this.#sliceMs = this.#options.nowMs()
    }
    if (this.#state === 'closed') throw tooSlow()
    this.#awaitReader()
    const piece = this.#pieces.next()
    if (piece.done !== true) return piece.value
    this.#end('done')
    return undefined
  }

  close(): void {
    this.#end('closed')
  }

  #awaitReader(): void {
    this.#cancelIdle()
    this.#cancelIdle = this.#options.after(TAKING_IDLE_MS, () => this.#end('closed'))
  }

  #end(state: 'done' | 'closed'): void {
    if (this.#state !== 'going') return
    this.#state = state
    this.#cancelIdle()
    this.#options.view.close()
    this.#options.onEnd()
  }
}

function tooSlow(): MoonmeshError {
  const message = `the backup was given up: nobody took its next part for ${TAKING_IDLE_MS / 1000} s, or the node stops; take it again`
  return new MoonmeshError('Canceled', message, { retryable: true })
}
