// What can be done with the files of a volume. Everything goes through the sandbox; failures are MoonmeshErrors that name paths within the
// volume. lua-libraries.md §18.

import { constants, promises as fs, type Stats } from 'node:fs'
import type { FileHandle } from 'node:fs/promises'
import { toText } from '../../runtime/base/bytes.ts'
import type { ErrorKind } from '../../runtime/base/errors.ts'
import { failure, ioFailure, leadsOut } from './failure.ts'
import { type Access, FileStream } from './file-stream.ts'
import { pathText, type VolumePath } from './path.ts'
import { diskPath, type Sandbox } from './sandbox.ts'

/** What `readfile` returns at most: no string is longer. */
export const READ_BYTES_MAX = 256 * 1024 * 1024
/** Entries of one directory. */
const ENTRIES_MAX = 1_000_000
const CHUNK_BYTES = 256 * 1024

const OWNER_READ = 0o400
const OWNER_WRITE = 0o200
const FILE_MODE = 0o666
const PERMISSIONS = 0o777

// Opening must not wait for the other end of a pipe, nor follow a link.
const OPEN_SAFELY = (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0)
const { O_APPEND, O_CREAT, O_EXCL, O_RDONLY, O_TRUNC, O_WRONLY } = constants

export type OpenMode = 'r' | 'w' | 'wx' | 'a'

const FLAGS: Readonly<Record<OpenMode, number>> = {
  r: O_RDONLY,
  w: O_WRONLY | O_CREAT | O_TRUNC,
  wx: O_WRONLY | O_CREAT | O_EXCL,
  a: O_WRONLY | O_CREAT | O_APPEND,
}
const ACCESS: Readonly<Record<OpenMode, Access>> = { r: 'read', w: 'write', wx: 'write', a: 'append' }

type FileType = 'file' | 'directory'

export interface FileInfo {
  readonly name: string
  readonly sizeBytes: number
  /** Permission bits. */
  readonly mode: number
  /** Unix seconds. */
  readonly modifiedS: number
  readonly type: FileType
}

export interface DirectoryEntry {
  readonly name: string
  readonly type: FileType
}

const typeOf = (stats: { isDirectory(): boolean }): FileType => (stats.isDirectory() ? 'directory' : 'file')

function infoOf(stats: Stats, name: string): FileInfo {
  return {
    name,
    sizeBytes: stats.size,
    mode: stats.mode & PERMISSIONS,
    modifiedS: Math.floor(stats.mtimeMs / 1000),
    type: typeOf(stats),
  }
}

const nameOf = (path: VolumePath): string => path.at(-1) ?? '/'

/** Execute where there is read: what can be listed can be entered. */
const directoryMode = (mode: number): number => mode | ((mode & 0o444) >> 2)

export interface OpenFile {
  readonly stream: FileStream
  info(): Promise<FileInfo>
}

export class Volume {
  readonly #sandbox: Sandbox
  readonly #mode: number

  /** @param mode permission bits that masks what is created; without the owner's bits reading or writing is refused */
  constructor(sandbox: Sandbox, mode: number) {
    this.#sandbox = sandbox
    this.#mode = mode
  }

  open(path: VolumePath, mode: OpenMode): Promise<OpenFile> {
    return this.#opened(path, mode, async (handle, stats) => {
      const position = mode === 'a' ? stats.size : 0
      const shown = pathText(path)
      return {
        stream: new FileStream(handle, ACCESS[mode], shown, position),
        info: () => this.#told(path, async () => infoOf(await handle.stat(), nameOf(path))),
      }
    })
  }

  /** The whole file, a byte string. */
  async read(path: VolumePath): Promise<string> {
    const { stream } = await this.open(path, 'r')
    try {
      const pieces: string[] = []
      let size = 0
      for (
        let piece = await stream.readSome(CHUNK_BYTES);
        piece !== undefined;
        piece = await stream.readSome(CHUNK_BYTES)
      ) {
        size += piece.length
        if (size > READ_BYTES_MAX) {
          throw failure(
            'LimitExceeded',
            `more than ${READ_BYTES_MAX} bytes: ${pathText(path)}; open it and read piece by piece`,
          )
        }
        pieces.push(piece)
      }
      return pieces.join('')
    } finally {
      await stream.close()
    }
  }

  /** @param next the pieces to write, one after the other; undefined at the end */
  async write(path: VolumePath, mode: Exclude<OpenMode, 'r'>, next: () => Promise<string | undefined>): Promise<void> {
    const { stream } = await this.open(path, mode)
    try {
      for (let piece = await next(); piece !== undefined; piece = await next()) await stream.writeAll(piece)
    } finally {
      await stream.close()
    }
  }

  stat(path: VolumePath): Promise<FileInfo> {
    return this.#told(path, async () => infoOf(await this.#stats(path), nameOf(path)))
  }

  /** False also for what cannot be looked at. */
  async exists(path: VolumePath): Promise<boolean> {
    try {
      await this.#stats(path)
      return true
    } catch {
      return false
    }
  }

  /** @throws MoonmeshError `NotFound`, `Invalid` for what is no directory */
  async assertDirectory(path: VolumePath): Promise<void> {
    if ((await this.stat(path)).type !== 'directory') throw failure('Invalid', `not a directory: ${pathText(path)}`)
  }

  makeDirectory(path: VolumePath): Promise<void> {
    return this.#told(
      path,
      async () => {
        this.#assertAllowed(OWNER_WRITE, path)
        if (path.length === 0) throw failure('AlreadyExists', 'already exists: /')
        await this.#sandbox.at(path, { followsLast: false }, (onDisk) =>
          fs.mkdir(diskPath(onDisk), directoryMode(this.#mode)),
        )
      },
      { ENOENT: 'Internal' },
    )
  }

  /** A file, a link (not what it leads to) or an empty directory. */
  remove(path: VolumePath): Promise<void> {
    return this.#told(
      path,
      async () => {
        this.#assertAllowed(OWNER_WRITE, path)
        if (path.length === 0) throw failure('Invalid', 'the root of a volume cannot be removed')
        await this.#sandbox.at(path, { followsLast: false }, async (onDisk) => {
          const stats = await fs.lstat(diskPath(onDisk))
          await (stats.isDirectory() ? fs.rmdir(diskPath(onDisk)) : fs.unlink(diskPath(onDisk)))
        })
      },
      { ENOENT: 'Internal' },
    )
  }

  /** Sorted by name, bytewise. A link is no directory here. */
  list(path: VolumePath): Promise<DirectoryEntry[]> {
    return this.#told(path, async () => {
      this.#assertAllowed(OWNER_READ, path)
      const entries = await this.#sandbox.at(path, { followsLast: true }, (onDisk) =>
        this.#sandbox.inside(onDisk, (directory) => readEntries(directory, path)),
      )
      return entries.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
    })
  }

  #stats(path: VolumePath): Promise<Stats> {
    return this.#sandbox.at(path, { followsLast: true }, async (onDisk) => {
      const stats = await fs.lstat(diskPath(onDisk))
      // It was none when it was looked up.
      if (stats.isSymbolicLink()) throw leadsOut(pathText(path))
      return stats
    })
  }

  /** Hands on an open regular file; it is closed again when `use` fails. */
  #opened<T>(path: VolumePath, mode: OpenMode, use: (handle: FileHandle, stats: Stats) => Promise<T>): Promise<T> {
    return this.#told(path, async () => {
      this.#assertAllowed(mode === 'r' ? OWNER_READ : OWNER_WRITE, path)
      let opened: FileHandle | undefined
      try {
        const handle = await this.#sandbox.at(path, { followsLast: mode !== 'wx' }, async (onDisk) => {
          opened = await fs.open(diskPath(onDisk), FLAGS[mode] | OPEN_SAFELY, FILE_MODE & this.#mode)
          return opened
        })
        const stats = await handle.stat()
        if (!stats.isFile()) {
          throw failure(
            'Invalid',
            `${stats.isDirectory() ? 'is a directory' : 'not a regular file'}: ${pathText(path)}`,
          )
        }
        return await use(handle, stats)
      } catch (thrown) {
        await opened?.close()
        throw thrown
      }
    })
  }

  #assertAllowed(bit: number, path: VolumePath): void {
    if ((this.#mode & bit) !== 0) return
    const what = bit === OWNER_READ ? 'read' : 'written'
    throw failure(
      'PermissionDenied',
      `permission denied: the volume's mode does not let it be ${what}: ${pathText(path)}`,
    )
  }

  async #told<T>(path: VolumePath, run: () => Promise<T>, kinds: Readonly<Record<string, ErrorKind>> = {}): Promise<T> {
    try {
      return await run()
    } catch (thrown) {
      throw ioFailure(thrown, pathText(path), kinds)
    }
  }
}

/** The directory's path is text: a number of /proc, or what a system without /proc takes. */
async function readEntries(directory: string, path: VolumePath): Promise<DirectoryEntry[]> {
  const entries: DirectoryEntry[] = []
  for await (const entry of await fs.opendir(toText(directory), {
    encoding: 'latin1',
    bufferSize: 256,
  })) {
    if (entries.length >= ENTRIES_MAX)
      throw failure('LimitExceeded', `more than ${ENTRIES_MAX} entries: ${pathText(path)}`)
    entries.push({ name: entry.name, type: typeOf(entry) })
  }
  return entries
}
