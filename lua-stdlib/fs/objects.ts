// Volumes, files and listings as scripts hold them. lua-libraries.md §18.

import { HostObject } from '../../runtime/lua/engine.ts'
import type { ScriptProcess } from '../../runtime/services.ts'
import { HeldStream } from '../stream/byte-stream.ts'
import { StreamHolder } from '../stream.ts'
import { failure } from './failure.ts'
import { ROOT, type VolumePath } from './path.ts'
import type { DirectoryEntry, OpenFile, Volume } from './volume.ts'

/** A handle on a volume, with a working directory of its own. */
export class VolumeObject extends HostObject {
  readonly id: string
  readonly volume: Volume
  directory: VolumePath = ROOT
  constructor(id: string, volume: Volume) {
    super()
    this.id = id
    this.volume = volume
  }
  override get className(): string {
    return VOLUME
  }
}

/** An open file. It belongs to the process that opened it, and closes when that ends. */
export class FileObject extends StreamHolder {
  override readonly held: HeldStream
  readonly file: OpenFile
  constructor(process: ScriptProcess, file: OpenFile, released: () => void) {
    super()
    this.file = file
    this.held = new HeldStream(process, file.stream, { released, closedError: FILE_IS_CLOSED })
  }
  override get className(): string {
    return FILE
  }
}

/** What a `for` over a directory goes through. */
export class ListingObject extends HostObject {
  readonly #entries: readonly DirectoryEntry[]
  #at = 0
  constructor(entries: readonly DirectoryEntry[]) {
    super()
    this.#entries = entries
  }
  override get className(): string {
    return LISTING
  }
  next(): DirectoryEntry | undefined {
    return this.#entries[this.#at++]
  }
}

export const VOLUME = 'fs.Volume'
export const FILE = 'fs.File'
export const LISTING = 'fs.Listing'
export const SCANNER = 'fs.Scanner'

export const FILE_IS_CLOSED = failure('Invalid', 'file is closed')
