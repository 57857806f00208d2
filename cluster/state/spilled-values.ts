// Values of the store that do not fit into memory: the latest stay there, older ones go to files of the run. Nothing here has to survive a
// crash, so nothing is synced, and the files have no name once they are open; what an operating system caches of them is its own to give up.
//
// Files are filled one after the other. One of which less than half is needed while all of them hold twice what is needed gives what is left
// of it to the newest, a little with each batch, and goes.

import { randomBytes } from 'node:crypto'
import { closeSync, mkdirSync, openSync, readSync, rmSync, unlinkSync, write, writeSync } from 'node:fs'
import { join } from 'node:path'
import { MoonmeshError, messageOf } from '../../runtime/base/errors.ts'
import { crc32c } from '../storage/crc32c.ts'
import type { Values } from './core/values.ts'

interface SpillOptions {
  /** For the files of this run alone; whatever is in it is removed. */
  readonly directory: string
  /** Of values in memory, before older ones go to the disk. */
  readonly memoryBytesMax?: number
  readonly fileBytesMax?: number
  /** Values stay in memory for now: there is no room, or the disk fails. */
  readonly failed: (error: MoonmeshError) => void
  /** Monotonic milliseconds. */
  readonly nowMs: () => number
}

const MEMORY_BYTES_MAX = 64 * 1024 * 1024
const FILE_BYTES_MAX = 64 * 1024 * 1024
/** To know where a smaller one is costs as much as it does. */
const SMALL_BYTES_MAX = 128
/** Written at once. */
const BATCH_BYTES = 1024 * 1024
/** On their way to the disk, beyond which the event loop waits for it. */
const MOVING_BYTES_MAX = 16 * 1024 * 1024
const RETRY_MS = 5000

interface Segment {
  readonly fd: number
  sizeBytes: number
  liveBytes: number
  readonly places: Set<Place>
  /** Writes under way. */
  writes: number
  /** Nothing more is added. */
  isFull: boolean
  isClosed: boolean
}

interface Place {
  readonly address: string
  readonly segment: Segment
  readonly offset: number
  readonly lengthBytes: number
  readonly checksum: number
}

interface Moving {
  readonly value: Uint8Array
}

export class SpilledValues implements Values {
  readonly #options: SpillOptions
  readonly #id = randomBytes(6).toString('hex')
  readonly #memoryBytesMax: number
  readonly #fileBytesMax: number
  readonly #small = new Map<string, Uint8Array>()
  /** In the order in which they came. */
  readonly #memory = new Map<string, Uint8Array>()
  #memoryBytes = 0
  readonly #moving = new Map<string, Moving>()
  #movingBytes = 0
  readonly #disk = new Map<string, Place>()
  readonly #segments = new Set<Segment>()
  #current: Segment | undefined
  #diskBytes = 0
  #liveBytes = 0
  #files = 0
  #notBeforeMs = Number.NEGATIVE_INFINITY
  #isClosed = false

  constructor(options: SpillOptions) {
    this.#options = options
    this.#memoryBytesMax = options.memoryBytesMax ?? MEMORY_BYTES_MAX
    this.#fileBytesMax = options.fileBytesMax ?? FILE_BYTES_MAX
  }

  /** What is in the files, needed or not. */
  get diskBytes(): number {
    return this.#diskBytes
  }

  get memoryBytes(): number {
    return this.#memoryBytes + this.#movingBytes
  }

  set(address: string, value: Uint8Array): void {
    this.delete(address)
    if (value.length <= SMALL_BYTES_MAX) {
      this.#small.set(address, value)
      return
    }
    this.#memory.set(address, value)
    this.#memoryBytes += value.length
    if (this.#memoryBytes > this.#memoryBytesMax) this.#relieve()
  }

  get(address: string): Uint8Array | undefined {
    const near = this.#small.get(address) ?? this.#memory.get(address) ?? this.#moving.get(address)?.value
    if (near !== undefined) return near
    const place = this.#disk.get(address)
    return place === undefined ? undefined : read(place)
  }

  delete(address: string): void {
    if (this.#small.delete(address)) return
    const value = this.#memory.get(address)
    if (value !== undefined) {
      this.#memory.delete(address)
      this.#memoryBytes -= value.length
    }
    // What is on its way arrives and is of no use then.
    this.#moving.delete(address)
    const place = this.#disk.get(address)
    if (place !== undefined) this.#forget(place)
  }

  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    for (const values of [this.#small, this.#memory, this.#moving, this.#disk]) values.clear()
    for (const segment of [...this.#segments]) this.#drop(segment)
  }

  /** Moves what is oldest to the disk until there is room again. */
  #relieve(): void {
    if (this.#options.nowMs() < this.#notBeforeMs) return
    try {
      while (this.#memoryBytes > this.#memoryBytesMax) {
        const batch: [string, Uint8Array][] = []
        let bytes = 0
        for (const [address, value] of this.#memory) {
          batch.push([address, value])
          bytes += value.length
          if (bytes >= BATCH_BYTES) break
        }
        for (const [address, value] of batch) {
          this.#memory.delete(address)
          this.#memoryBytes -= value.length
        }
        this.#write(batch, bytes)
        this.#compact()
      }
    } catch (error) {
      this.#postpone(error)
    }
  }

  #write(batch: readonly [string, Uint8Array][], lengthBytes: number): void {
    const entries = batch.map(([address, value]) => {
      const moving = { value }
      this.#moving.set(address, moving)
      return { address, moving }
    })
    this.#movingBytes += lengthBytes
    let segment: Segment
    try {
      segment = this.#segmentFor(lengthBytes)
    } catch (error) {
      this.#landed(entries, lengthBytes, undefined, 0)
      throw error
    }
    const offset = segment.sizeBytes
    segment.sizeBytes += lengthBytes
    this.#diskBytes += lengthBytes
    const bytes = Buffer.concat(
      batch.map(([, value]) => value),
      lengthBytes,
    )
    if (this.#movingBytes > MOVING_BYTES_MAX) {
      try {
        for (let at = 0; at < lengthBytes; ) at += writeSync(segment.fd, bytes, at, lengthBytes - at, offset + at)
      } catch (error) {
        this.#landed(entries, lengthBytes, undefined, 0)
        throw error
      }
      return this.#landed(entries, lengthBytes, segment, offset)
    }
    segment.writes++
    const go = (at: number): void => {
      write(segment.fd, bytes, at, lengthBytes - at, offset + at, (error, written) => {
        if (error === null && at + written < lengthBytes) return go(at + written)
        segment.writes--
        this.#landed(entries, lengthBytes, error === null && !this.#isClosed ? segment : undefined, offset)
        if (error !== null) this.#postpone(error)
        this.#settle(segment)
      })
    }
    go(0)
  }

  /** @param segment undefined: they are not on the disk, and stay in memory */
  #landed(
    entries: readonly { readonly address: string; readonly moving: Moving }[],
    lengthBytes: number,
    segment: Segment | undefined,
    offset: number,
  ): void {
    this.#movingBytes -= lengthBytes
    let at = offset
    for (const { address, moving } of entries) {
      const { value } = moving
      // It may have been deleted meanwhile, and be there again.
      if (this.#moving.get(address) === moving) {
        this.#moving.delete(address)
        if (segment === undefined) {
          this.#memory.set(address, value)
          this.#memoryBytes += value.length
        } else this.#place({ address, segment, offset: at, lengthBytes: value.length, checksum: crc32c(value) })
      }
      at += value.length
    }
  }

  #place(place: Place): void {
    const { address, segment, lengthBytes } = place
    this.#disk.set(address, place)
    segment.places.add(place)
    segment.liveBytes += lengthBytes
    this.#liveBytes += lengthBytes
  }

  #forget(place: Place): void {
    const { address, segment, lengthBytes } = place
    this.#disk.delete(address)
    segment.places.delete(place)
    segment.liveBytes -= lengthBytes
    this.#liveBytes -= lengthBytes
    this.#settle(segment)
  }

  /** A little of the emptiest file goes to the newest. */
  #compact(): void {
    if (this.#diskBytes < 2 * this.#liveBytes + 2 * this.#fileBytesMax) return
    let worst: Segment | undefined
    for (const segment of this.#segments) {
      if (!segment.isFull || segment.writes > 0) continue
      if (worst === undefined || segment.liveBytes < worst.liveBytes) worst = segment
    }
    if (worst === undefined || worst.liveBytes > worst.sizeBytes / 2) return
    const batch: [string, Uint8Array][] = []
    let bytes = 0
    for (const place of worst.places) {
      batch.push([place.address, read(place)])
      bytes += place.lengthBytes
      if (bytes >= BATCH_BYTES) break
    }
    for (const [address] of batch) this.#forget(this.#disk.get(address) as Place)
    if (bytes > 0) this.#write(batch, bytes)
  }

  #segmentFor(lengthBytes: number): Segment {
    const current = this.#current
    if (current !== undefined && current.sizeBytes + lengthBytes <= this.#fileBytesMax) return current
    const { directory } = this.#options
    if (this.#files === 0) mkdirSync(directory, { recursive: true, mode: 0o700 })
    const path = join(directory, `${this.#id}-${++this.#files}`)
    const fd = openSync(path, 'wx+', 0o600)
    unlinkSync(path)
    const fresh = {
      fd,
      sizeBytes: 0,
      liveBytes: 0,
      places: new Set<Place>(),
      writes: 0,
      isFull: false,
      isClosed: false,
    }
    this.#current = fresh
    this.#segments.add(fresh)
    if (current !== undefined) {
      current.isFull = true
      this.#settle(current)
    }
    return fresh
  }

  /** A file of which nothing is needed goes. */
  #settle(segment: Segment): void {
    if (segment.isFull && segment.places.size === 0) this.#drop(segment)
  }

  #drop(segment: Segment): void {
    segment.isFull = true
    if (this.#isClosed) segment.places.clear()
    // Another file could have its number while something is still written to it.
    if (segment.isClosed || segment.writes > 0) return
    segment.isClosed = true
    this.#segments.delete(segment)
    this.#diskBytes -= segment.sizeBytes
    if (this.#current === segment) this.#current = undefined
    closeSync(segment.fd)
  }

  #postpone(error: unknown): void {
    if (this.#isClosed) return
    this.#notBeforeMs = this.#options.nowMs() + RETRY_MS
    const { directory, failed } = this.#options
    const text = `${directory}: values of the store stay in memory: ${messageOf(error)}`
    failed(new MoonmeshError('Unavailable', text, { retryable: true, cause: error }))
  }
}

/** Removes what a run before has left, where files keep their names while they are open. */
export function clearSpill(directory: string): void {
  rmSync(directory, { recursive: true, force: true })
}

function read({ segment, offset, lengthBytes, checksum, address }: Place): Uint8Array {
  const bytes = Buffer.allocUnsafeSlow(lengthBytes)
  let filled = 0
  while (filled < lengthBytes) {
    const count = readSync(segment.fd, bytes, filled, lengthBytes - filled, offset + filled)
    if (count === 0) break
    filled += count
  }
  if (filled === lengthBytes && crc32c(bytes) === checksum) return bytes
  throw new MoonmeshError('Internal', `the value ${address} is not what was written: does the disk fail?`)
}
