// The operations on files that durable state needs, so that a test can put a disk behind them that fails, tears and forgets.
// Nothing is durable before it is synced: a file's bytes by the file, its name by the directory that holds it.

import { constants } from 'node:fs'
import { type FileHandle, mkdir, open, readdir, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { codeOf } from '../../runtime/base/errors.ts'
import { explain } from './failure.ts'

export interface Files {
  /** Makes `path` and the directories above it, durably; nothing happens when it is there. */
  makeDirectory(path: string): Promise<void>
  /** Names in `path`, sorted; none when there is no such directory. */
  list(path: string): Promise<string[]>
  /** `create` empties what is there. A missing file is a failure of reason `missing`, but for `create`. */
  open(path: string, mode: 'read' | 'update' | 'create'): Promise<OpenFile>
  /** Replaces a file of that name; a directory must not be there. */
  rename(from: string, to: string): Promise<void>
  /** A file, or a directory with all it holds; nothing happens when there is none. */
  remove(path: string): Promise<void>
  /** Makes the names in `path` durable. */
  syncDirectory(path: string): Promise<void>
}

/** All failures are explained (failure.ts). */
export interface OpenFile {
  /** Bytes from `position` on: `lengthBytes` of them, fewer only at the end of the file. */
  read(position: number, lengthBytes: number): Promise<Uint8Array>
  /** All of `data`, at `position`. */
  write(data: Uint8Array, position: number): Promise<void>
  truncate(sizeBytes: number): Promise<void>
  size(): Promise<number>
  sync(): Promise<void>
  close(): Promise<void>
}

const flags = {
  read: constants.O_RDONLY,
  update: constants.O_RDWR,
  create: constants.O_RDWR | constants.O_CREAT | constants.O_TRUNC,
}

/** The real ones. Files are for their owner alone. */
export const diskFiles: Files = {
  async makeDirectory(path) {
    const above = dirname(path)
    try {
      await mkdir(path, { mode: 0o700 })
    } catch (error) {
      if (codeOf(error) === 'EEXIST') return
      if (codeOf(error) !== 'ENOENT' || above === path) throw explain(error, path, 'cannot make the directory')
      await this.makeDirectory(above)
      return this.makeDirectory(path)
    }
    await this.syncDirectory(above)
  },

  async list(path) {
    try {
      return (await readdir(path)).sort()
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return []
      throw explain(error, path, 'cannot list the directory')
    }
  },

  async open(path, mode) {
    try {
      return new DiskFile(await open(path, flags[mode], 0o600), path)
    } catch (error) {
      throw explain(error, path, mode === 'create' ? 'cannot create the file' : 'cannot open the file')
    }
  },

  async rename(from, to) {
    try {
      await rename(from, to)
    } catch (error) {
      throw explain(error, from, `cannot rename it to ${to}`)
    }
  },

  async remove(path) {
    try {
      await rm(path, { recursive: true, force: true })
    } catch (error) {
      throw explain(error, path, 'cannot remove it')
    }
  },

  async syncDirectory(path) {
    // Windows has no handle of a directory to sync; its file system journals names by itself.
    if (process.platform === 'win32') return
    try {
      const handle = await open(path, constants.O_RDONLY)
      try {
        await handle.sync()
      } finally {
        await handle.close()
      }
    } catch (error) {
      throw explain(error, path, 'cannot sync the directory')
    }
  },
}

class DiskFile implements OpenFile {
  readonly #handle: FileHandle
  readonly #path: string

  constructor(handle: FileHandle, path: string) {
    this.#handle = handle
    this.#path = path
  }

  read(position: number, lengthBytes: number): Promise<Uint8Array> {
    return this.#explained('cannot read', async () => {
      const buffer = Buffer.allocUnsafeSlow(lengthBytes)
      let filled = 0
      while (filled < lengthBytes) {
        const { bytesRead } = await this.#handle.read(buffer, filled, lengthBytes - filled, position + filled)
        if (bytesRead === 0) break
        filled += bytesRead
      }
      return buffer.subarray(0, filled)
    })
  }

  write(data: Uint8Array, position: number): Promise<void> {
    return this.#explained('cannot write', async () => {
      let written = 0
      // A disk that runs full takes a part first and refuses the rest.
      while (written < data.length) {
        const { bytesWritten } = await this.#handle.write(data, written, data.length - written, position + written)
        written += bytesWritten
      }
    })
  }

  truncate(sizeBytes: number): Promise<void> {
    return this.#explained('cannot cut', () => this.#handle.truncate(sizeBytes))
  }

  size(): Promise<number> {
    return this.#explained('cannot look at', async () => (await this.#handle.stat()).size)
  }

  sync(): Promise<void> {
    return this.#explained('cannot sync', () => this.#handle.datasync())
  }

  async close(): Promise<void> {
    await this.#explained('cannot close', () => this.#handle.close())
  }

  async #explained<T>(doing: string, act: () => Promise<T>): Promise<T> {
    try {
      return await act()
    } catch (error) {
      throw explain(error, this.#path, doing)
    }
  }
}
