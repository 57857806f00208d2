// Key derivation (PBKDF2, RFC 8018 §5.2) beside the thread that runs scripts. The threads that do it also serve files and name look-ups, and
// a derivation cannot be stopped once it runs: few run at a time, and those of a process that has ended are not begun.

import { pbkdf2 } from 'node:crypto'
import { Queue } from '../../runtime/base/queue.ts'

const RUNNING_MAX = 2

export interface Derivation {
  readonly password: Uint8Array
  readonly salt: Uint8Array
  readonly iterations: number
  readonly lengthBytes: number
  readonly hash: 'sha256' | 'sha512'
  /** Nobody waits for it any more. */
  readonly isAbandoned: () => boolean
}

interface Waiting {
  readonly derivation: Derivation
  readonly resolve: (key: Buffer) => void
  readonly reject: (error: Error) => void
}

export class Derivations {
  readonly #waiting = new Queue<Waiting>()
  #runningCount = 0

  /** The key; pending for ever when it is abandoned before its turn. */
  derive(derivation: Derivation): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ derivation, resolve, reject })
      this.#runNext()
    })
  }

  #runNext(): void {
    while (this.#runningCount < RUNNING_MAX) {
      const next = this.#waiting.shift()
      if (next === undefined) return
      if (!next.derivation.isAbandoned()) this.#run(next)
    }
  }

  #run({ derivation, resolve, reject }: Waiting): void {
    const { password, salt, iterations, lengthBytes, hash } = derivation
    this.#runningCount++
    pbkdf2(password, salt, iterations, lengthBytes, hash, (error, key) => {
      this.#runningCount--
      if (error === null) resolve(key)
      else reject(error)
      this.#runNext()
    })
  }
}
