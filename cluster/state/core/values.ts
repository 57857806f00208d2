// Where the values of the versioned store live: apart from the keys, so that they may fill a disk. The state they belong to is volatile; what
// is durable is the log and its snapshots. cluster.md §5.1, §8.2.

export interface Values {
  /** The value is not changed afterwards. */
  set(address: string, value: Uint8Array): void
  /** @throws MoonmeshError `Internal` when it cannot be read from where it is */
  get(address: string): Uint8Array | undefined
  delete(address: string): void
  /** Nobody reads from it any more. Idempotent. */
  close(): void
}

export class MemoryValues implements Values {
  readonly #values = new Map<string, Uint8Array>()

  set(address: string, value: Uint8Array): void {
    this.#values.set(address, value)
  }

  get(address: string): Uint8Array | undefined {
    return this.#values.get(address)
  }

  delete(address: string): void {
    this.#values.delete(address)
  }

  close(): void {
    this.#values.clear()
  }
}
