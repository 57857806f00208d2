// The simulated disk of one store: writes wait for a sync that all of them share, syncs are slow or fail, space runs out, and
// a crash keeps some beginning of what was not synced. The log database and the snapshot files sync apart from each other.

import type { HardState, PersistEffect } from '../../cluster/raft/core/effects.ts'
import type { Entry, LogPosition } from '../../cluster/raft/core/entry.ts'
import type { Run } from '../../cluster/raft/core/log.ts'
import type { SnapshotMeta } from '../../cluster/raft/core/messages.ts'
import type { StoredState } from '../../cluster/raft/core/recovery.ts'
import type { Chance, World } from './world.ts'

interface StoredSnapshot {
  readonly meta: SnapshotMeta
  readonly bytes: Uint8Array
}

/** What a disk holds. */
export class DiskImage {
  hardState: HardState | undefined
  base: LogPosition = { index: 0, term: 0 }
  /** Everything after the base. */
  readonly entries: Entry[] = []
  readonly snapshots: StoredSnapshot[] = []
  partial: { meta: SnapshotMeta; bytes: Uint8Array } | undefined

  get lastIndex(): number {
    return this.base.index + this.entries.length
  }

  get snapshot(): StoredSnapshot | undefined {
    return this.snapshots[this.snapshots.length - 1]
  }

  entry(index: number): Entry | undefined {
    return this.entries[index - this.base.index - 1]
  }

  /** Whether the entry `index` of `term` would survive: in the log, or in a snapshot that is whole. */
  holds(index: number, term: number | undefined): boolean {
    if (index <= (this.snapshot?.meta.index ?? 0) || index <= this.base.index) return true
    return term !== undefined && this.entry(index)?.term === term
  }

  persist(effect: PersistEffect): void {
    if (effect.hardState !== undefined) this.hardState = effect.hardState
    if (effect.reset !== undefined) {
      this.base = effect.reset
      this.entries.length = 0
    }
    if (effect.log === undefined) return
    this.entries.length = Math.max(0, effect.log.after - this.base.index)
    this.entries.push(...effect.log.entries)
  }

  compact(base: LogPosition): void {
    if (base.index <= this.base.index) return
    this.entries.splice(0, base.index - this.base.index)
    this.base = base
  }

  /** An image to go back to. */
  copy(): DiskImage {
    const copy = new DiskImage()
    copy.become(this)
    return copy
  }

  /** Holds what `other` holds, as after restoring a backup. */
  become(other: DiskImage): void {
    this.hardState = other.hardState
    this.base = other.base
    this.entries.splice(0, this.entries.length, ...other.entries)
    this.snapshots.splice(0, this.snapshots.length, ...other.snapshots)
    this.partial = other.partial
  }

  load(): StoredState {
    const runs: Run[] = []
    for (const { index, term } of this.entries)
      if (runs[runs.length - 1]?.term !== term) runs.push({ first: index, term })
    const { snapshot, partial } = this
    const after = Math.max(0, (snapshot?.meta.index ?? 0) - this.base.index)
    return {
      ...(this.hardState === undefined ? {} : { hardState: this.hardState }),
      ...(snapshot === undefined ? {} : { snapshot: snapshot.meta }),
      base: this.base,
      runs,
      lastIndex: this.lastIndex,
      entries: this.entries.slice(after),
      ...(partial === undefined ? {} : { partial: { snapshot: partial.meta, offset: partial.bytes.length } }),
    }
  }
}

interface Write {
  readonly act: (image: DiskImage) => void
  /** What a write leaves behind that a crash has torn; nothing unless said otherwise. */
  readonly torn?: (image: DiskImage) => void
  readonly done: () => void
}

interface DiskFaults {
  syncMinMs: number
  syncMaxMs: number
  isFull: boolean
  /** Share of syncs that fail. */
  failures: number
}

export const healthyDisk: DiskFaults = { syncMinMs: 0.1, syncMaxMs: 3, isFull: false, failures: 0 }

/** Writes that share a sync. */
class Lane {
  readonly #disk: SimDisk
  #waiting: Write[] = []
  #syncing: Write[] = []

  constructor(disk: SimDisk) {
    this.#disk = disk
  }

  submit(write: Write): void {
    this.#waiting.push(write)
    this.#sync()
  }

  /** The writes nobody was told about, oldest first. */
  drop(): Write[] {
    const lost = [...this.#syncing, ...this.#waiting]
    this.#syncing = []
    this.#waiting = []
    return lost
  }

  #sync(): void {
    const disk = this.#disk
    if (this.#syncing.length > 0 || this.#waiting.length === 0) return
    this.#syncing = this.#waiting
    this.#waiting = []
    const batch = this.#syncing
    disk.world.after(disk.chance.between(disk.faults.syncMinMs, disk.faults.syncMaxMs), () => {
      if (this.#syncing !== batch) return
      if (disk.faults.isFull || disk.chance.chance(disk.faults.failures)) return disk.failed()
      this.#syncing = []
      for (const write of batch) write.act(disk.image)
      for (const write of batch) write.done()
      this.#sync()
    })
  }
}

export class SimDisk {
  readonly world: World
  readonly chance: Chance
  readonly image = new DiskImage()
  faults: DiskFaults = { ...healthyDisk }
  onFailure: () => void = () => {}
  readonly log = new Lane(this)
  readonly files = new Lane(this)

  constructor(world: World) {
    this.world = world
    this.chance = world.chance.fork()
  }

  failed(): void {
    this.lose()
    this.onFailure()
  }

  /** Power is gone, or the disk was closed after an error: of what was not synced some beginning is there, the next torn. */
  lose(): void {
    for (const lane of [this.log, this.files]) {
      const lost = lane.drop()
      const kept = this.chance.int(lost.length + 1)
      for (const write of lost.slice(0, kept)) write.act(this.image)
      lost[kept]?.torn?.(this.image)
    }
  }
}
