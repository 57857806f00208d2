// SIGINT and SIGTERM: the first asks for a graceful end, any further one for an end at once.

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

  constructor(source: NodeJS.EventEmitter = process) {
    const resolvers: ((stop: Stop) => void)[] = []
    this.first = new Promise((resolve) => resolvers.push(resolve))
    this.second = new Promise((resolve) => resolvers.push(resolve))
    const listeners = (['SIGINT', 'SIGTERM'] as const).map((signal) => {
      const listener = (): void => resolvers.shift()?.({ signal, exitCode: EXIT_CODES[signal] })
      source.on(signal, listener)
      return () => source.off(signal, listener)
    })
    this.#close = () => {
      for (const remove of listeners) remove()
    }
  }

  close(): void {
    this.#close()
  }
}
