// A storage that ends with the process, for nodes that keep nothing (`raft.data_dir: memory`) and for tests.

import { GroupCommit } from './group-commit.ts'
import { type KeyRange, type Operation, PAGE_BYTES, type Row, type Storage } from './storage.ts'

export class MemoryStorage implements Storage {
  /** By key, one character a byte: such strings compare as the bytes do. */
  readonly #values = new Map<string, Row>()
  /** Invariant: sorted, holds every key of #values once; others are deleted ones that nobody has swept out yet. */
  #sorted: string[] = []
  readonly #commits = new GroupCommit({
    path: 'memory',
    commit: async (operations) => this.#apply(operations),
    batchBytesMax: Number.POSITIVE_INFINITY,
    waitingBytesMax: Number.POSITIVE_INFINITY,
  })

  get failure(): Error | undefined {
    return this.#commits.failure
  }

  get waitingBytes(): number {
    return this.#commits.waitingBytes
  }

  async get(key: Uint8Array): Promise<Uint8Array | undefined> {
    return this.#values.get(textOf(key))?.[1]
  }

  write(operations: readonly Operation[]): Promise<void> {
    return this.#commits.write(operations)
  }

  async *rows({ from, to }: KeyRange): AsyncGenerator<readonly Row[]> {
    let first = textOf(from)
    const end = textOf(to)
    for (;;) {
      const { page, next } = this.#page(first, end)
      if (page.length > 0) yield page
      if (next === undefined) return
      first = next
    }
  }

  async *keys(range: KeyRange): AsyncGenerator<readonly Uint8Array[]> {
    for await (const page of this.rows(range)) yield page.map(([key]) => key)
  }

  async close(): Promise<void> {
    await this.#commits.close()
  }

  /** Rows from `first`; where to go on, unless the range ends there. */
  #page(first: string, end: string): { page: Row[]; next: string | undefined } {
    const page: Row[] = []
    let bytes = 0
    for (let at = this.#position(first); at < this.#sorted.length; at++) {
      const key = this.#sorted[at] as string
      if (key >= end) break
      const row = this.#values.get(key)
      if (row === undefined) continue
      if (bytes >= PAGE_BYTES) return { page, next: key }
      page.push(row)
      bytes += row[0].length + row[1].length
    }
    return { page, next: undefined }
  }

  #apply(operations: readonly Operation[]): void {
    for (const operation of operations) {
      const key = textOf(operation.key)
      if (operation.kind === 'delete') {
        this.#values.delete(key)
        continue
      }
      this.#values.set(key, [operation.key, operation.value])
      const at = this.#position(key)
      if (this.#sorted[at] !== key) this.#sorted.splice(at, 0, key)
    }
    if (this.#sorted.length > 2 * this.#values.size + 64)
      this.#sorted = this.#sorted.filter((key) => this.#values.has(key))
  }

  /** Where `key` is, or would be. */
  #position(key: string): number {
    let low = 0
    let high = this.#sorted.length
    // Logs grow at their end.
    if (high > 0 && key > (this.#sorted[high - 1] as string)) return high
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#sorted[middle] as string) < key) low = middle + 1
      else high = middle
    }
    return low
  }
}

function textOf(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('latin1')
}
