// A storage whose disk fails or loses power at a chosen batch. Batches are atomic, as those of LevelDB are; of the batches that
// nobody was told about, the one under way may have reached the disk or not.

import { failure } from '../../cluster/storage/failure.ts'
import { GroupCommit } from '../../cluster/storage/group-commit.ts'
import { MemoryStorage } from '../../cluster/storage/memory.ts'
import type { KeyRange, Operation, Row, Storage } from '../../cluster/storage/storage.ts'

interface Fault {
  /** The batch that is not answered, from 0. */
  readonly batch: number
  /** Whether it reached the disk all the same. */
  readonly isWritten: boolean
}

export class CrashDisk {
  /** What would be found after a loss of power. */
  readonly content = new MemoryStorage()
  batchCount = 0

  /** A run on this disk. Without a fault it never fails. */
  open(fault?: Fault): Storage {
    return new CrashStorage(this, fault)
  }
}

class CrashStorage implements Storage {
  readonly #disk: CrashDisk
  readonly #commits: GroupCommit

  constructor(disk: CrashDisk, fault: Fault | undefined) {
    this.#disk = disk
    this.#commits = new GroupCommit({
      path: 'disk',
      batchBytesMax: 1_000_000,
      waitingBytesMax: Number.POSITIVE_INFINITY,
      commit: async (operations) => {
        const isHit = disk.batchCount++ === fault?.batch
        if (!isHit || fault.isWritten) await disk.content.write(operations)
        if (isHit) throw failure('io', 'disk', 'the power is gone')
      },
    })
  }

  get failure(): Error | undefined {
    return this.#commits.failure
  }

  get waitingBytes(): number {
    return this.#commits.waitingBytes
  }

  get(key: Uint8Array): Promise<Uint8Array | undefined> {
    return this.#disk.content.get(key)
  }

  write(operations: readonly Operation[]): Promise<void> {
    return this.#commits.write(operations)
  }

  rows(range: KeyRange): AsyncIterable<readonly Row[]> {
    return this.#disk.content.rows(range)
  }

  keys(range: KeyRange): AsyncIterable<readonly Uint8Array[]> {
    return this.#disk.content.keys(range)
  }

  close(): Promise<void> {
    return this.#commits.close()
  }
}
