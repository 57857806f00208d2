// A file as a stream: it keeps the position, since reads and writes say where they happen.

import type { FileHandle } from 'node:fs/promises'
import type { ByteStream, StreamStat, Whence } from '../stream/byte-stream.ts'
import { failure, ioFailure } from './failure.ts'

/** From here on a read looks first how much there is, so that nothing is allocated for bytes that are not there. */
const TRUSTED_BYTES = 64 * 1024

export type Access = 'read' | 'write' | 'append'

export class FileStream implements ByteStream {
  readonly read: ByteStream['read']
  readonly write: ByteStream['write']
  readonly #handle: FileHandle
  /** For messages: the path within the volume. */
  readonly #shown: string
  readonly #appends: boolean
  #position: number

  /** @param position where it begins: the size for what is appended to */
  constructor(handle: FileHandle, access: Access, shown: string, position: number) {
    this.#handle = handle
    this.#shown = shown
    this.#appends = access === 'append'
    this.#position = position
    if (access === 'read') this.read = (bytesMax) => this.readSome(bytesMax)
    else this.write = (bytes) => this.writeAll(bytes)
  }

  /** From 1 to `bytesMax` bytes; undefined at the end. */
  async readSome(bytesMax: number): Promise<string | undefined> {
    const wanted = bytesMax <= TRUSTED_BYTES ? bytesMax : Math.min(bytesMax, await this.#leftBytes())
    const buffer = Buffer.allocUnsafe(wanted)
    const { bytesRead } = await this.#try(() => this.#handle.read(buffer, 0, wanted, this.#position))
    this.#position += bytesRead
    return bytesRead === 0 ? undefined : buffer.toString('latin1', 0, bytesRead)
  }

  /** At least what is read without looking: sizes of some files are told as 0. */
  async #leftBytes(): Promise<number> {
    const { sizeBytes } = await this.stat()
    return Math.max(sizeBytes - this.#position, TRUSTED_BYTES)
  }

  /** How many bytes these are. */
  async writeAll(bytes: string): Promise<number> {
    const buffer = Buffer.from(bytes, 'latin1')
    for (let at = 0; at < buffer.length; ) {
      const { bytesWritten } = await this.#try(() =>
        this.#handle.write(buffer, at, buffer.length - at, this.#appends ? null : this.#position),
      )
      at += bytesWritten
      this.#position += bytesWritten
    }
    if (this.#appends) this.#position = (await this.stat()).sizeBytes
    return buffer.length
  }

  /** @throws MoonmeshError `Invalid` for a position that no file has */
  seek = async (whence: Whence, offset: number): Promise<number> => {
    const from = whence === 'set' ? 0 : whence === 'cur' ? this.#position : (await this.stat()).sizeBytes
    const position = from + offset
    if (position < 0) throw failure('Invalid', 'negative position')
    if (!Number.isSafeInteger(position)) throw failure('Invalid', 'position out of range')
    this.#position = position
    return position
  }

  flush = (): Promise<void> => this.#try(() => this.#handle.sync())

  async stat(): Promise<StreamStat & { sizeBytes: number }> {
    const { size } = await this.#try(() => this.#handle.stat())
    return { sizeBytes: size, position: this.#position }
  }

  close(): Promise<void> {
    return this.#try(() => this.#handle.close())
  }

  async #try<T>(run: () => Promise<T>): Promise<T> {
    try {
      return await run()
    } catch (thrown) {
      throw ioFailure(thrown, this.#shown)
    }
  }
}
