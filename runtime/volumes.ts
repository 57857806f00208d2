// Which volumes there are: fs.directory entries. The node says where a volume lies; the hosts read and write it themselves.
// lua-libraries.md §18.

import { mkdirSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import type { DirectoryEntry, Entry } from './app/load.ts'
import { toBytes, toText } from './base/bytes.ts'
import { MoonmeshError, messageOf } from './base/errors.ts'
import { record, type Value } from './base/value.ts'
import type { NodeService } from './node-services.ts'
import type { ResourceKeeper } from './resources.ts'

interface Volume {
  readonly entry: DirectoryEntry
  /** Absolute. */
  readonly directory: string
}

export class Volumes implements ResourceKeeper<'fs.directory'>, NodeService {
  readonly kinds = ['fs.directory'] as const
  readonly methods = { volume: ([id]: readonly Value[]): Value => this.#settings(id) }
  /** What relative directories of `base: project` are relative to. */
  readonly #projectDir: string
  #volumes: ReadonlyMap<string, Volume> = new Map()

  constructor(projectDir: string) {
    this.#projectDir = projectDir
  }

  /** @throws MoonmeshError `NotFound` for a directory that is not there, `Invalid` for what is none, `Internal` when it cannot be made or looked at */
  configure(entries: readonly Entry[]): void {
    const volumes = new Map<string, Volume>()
    for (const entry of entries as readonly DirectoryEntry[]) {
      const known = this.#volumes.get(entry.id)
      volumes.set(entry.id, known?.entry === entry ? known : this.#volumeOf(entry))
    }
    this.#volumes = volumes
  }

  #volumeOf(entry: DirectoryEntry): Volume {
    const directory = resolve(this.#baseOf(entry), entry.directory)
    const isDirectory = lookAt(entry, directory)
    if (isDirectory === undefined) {
      const text = `${entry.id}: the directory ${directory} does not exist; create it, or set auto_init: true`
      throw new MoonmeshError('NotFound', text, { retryable: false })
    }
    if (!isDirectory) {
      throw new MoonmeshError('Invalid', `${entry.id}: ${directory} is not a directory`, { retryable: false })
    }
    return { entry, directory }
  }

  /** An entry that no file declares belongs to the project. */
  #baseOf({ base, file }: DirectoryEntry): string {
    return base === 'module' && file !== '' ? dirname(file) : this.#projectDir
  }

  #settings(id: Value): Value {
    const name = typeof id === 'string' ? toText(id) : ''
    const volume = this.#volumes.get(name)
    if (volume === undefined) throw new MoonmeshError('NotFound', `filesystem not found: ${name}`, { retryable: false })
    return record({ directory: toBytes(volume.directory), mode: volume.entry.mode })
  }
}

/** Whether there is a directory, which is made when the entry says so; undefined when there is nothing. */
function lookAt({ id, autoInit, mode }: DirectoryEntry, directory: string): boolean | undefined {
  try {
    const stats = statSync(directory, { throwIfNoEntry: false })
    if (stats !== undefined || !autoInit) return stats?.isDirectory()
    // Execute where there is read: what can be listed can be entered.
    mkdirSync(directory, { recursive: true, mode: mode | ((mode & 0o444) >> 2) })
    return true
  } catch (thrown) {
    throw new MoonmeshError('Internal', `${id}: cannot use the directory ${directory}: ${messageOf(thrown)}`, {
      cause: thrown,
    })
  }
}
