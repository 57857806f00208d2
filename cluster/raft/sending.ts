// A snapshot on its way to one server: its chunks are read and handed over in the order in which they were asked for, each after the
// one before has found room. How many are on their way is the core's to say.

import type { SnapshotReader } from './snapshots.ts'

export class Sending {
  readonly checksum: string
  readonly startMs: number
  /** When a chunk was last asked for. */
  usedMs: number
  readonly #open: () => Promise<SnapshotReader | undefined>
  #reader: Promise<SnapshotReader | undefined> | undefined
  #tail: Promise<void> = Promise.resolve()
  #isClosed = false

  /** @param open undefined: the snapshot is not kept any more */
  constructor(checksum: string, nowMs: number, open: () => Promise<SnapshotReader | undefined>) {
    this.checksum = checksum
    this.startMs = nowMs
    this.usedMs = nowMs
    this.#open = open
  }

  /**
   * Hands `lengthBytes` from `offset` to `deliver`, or nothing when they are not there any more; not at all once it is closed.
   * Resolves when `deliver` has. @throws MoonmeshError of the disk
   */
  send(
    { offset, lengthBytes }: { readonly offset: number; readonly lengthBytes: number },
    deliver: (data: Uint8Array | undefined) => Promise<void> | void,
  ): Promise<void> {
    const before = this.#tail
    const sent = before.then(async () => {
      if (this.#isClosed) return
      this.#reader ??= this.#open()
      const reader = await this.#reader
      const data = this.#isClosed ? undefined : await reader?.read(offset, lengthBytes)
      if (!this.#isClosed) await deliver(data)
    })
    // After a chunk that could not be read the next one is tried all the same: the core decides what to do.
    this.#tail = sent.catch(() => {})
    return sent
  }

  /** What has not been handed over is not. Idempotent. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    // A chunk may be on its way from the disk.
    this.#tail = this.#tail.then(async () => (await this.#reader)?.close()).catch(() => {})
  }
}
