// SIGINT and SIGTERM: the first asks for a graceful end, any further one for an end at once. They stay caught until the program has ended:
// the default for one that comes late is to kill it, and the exit code that says how it ended would be lost.

import { EXIT_INTERRUPTED, EXIT_OK } from './exit.ts'

interface Stop {
  signal: 'SIGINT' | 'SIGTERM'
  exitCode: number
}

const EXIT_CODES = { SIGINT: EXIT_INTERRUPTED, SIGTERM: EXIT_OK }

export class Signals {
  /** Resolves at the first signal. */
  readonly first: Promise<Stop>
  /** Resolves at the second. */
  readonly second: Promise<Stop>
  readonly #close: () => void
  #late: (() => void) | undefined

  constructor(source: NodeJS.EventEmitter = process) {
    const resolvers: ((stop: Stop) => void)[] = []
    this.first = new Promise((resolve) => resolvers.push(resolve))
    this.second = new Promise((resolve) => resolvers.push(resolve))
    const listeners = (['SIGINT', 'SIGTERM'] as const).map((signal) => {
      const listener = (): void => {
        if (this.#late !== undefined) this.#late()
        else resolvers.shift()?.({ signal, exitCode: EXIT_CODES[signal] })
      }
      source.on(signal, listener)
      return () => source.off(signal, listener)
    })
    this.#close = () => {
      for (const remove of listeners) remove()
    }
  }

  /** All is done but what is still to be written: a signal from here on ends the program at once, with its exit code. */
  finish(exitCode: number, exit: (exitCode: number) => void = process.exit): void {
    this.#late = () => exit(exitCode)
  }

  /** For a part of a program that goes on. */
  close(): void {
    this.#close()
  }
}
