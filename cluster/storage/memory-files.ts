// Files that end with the process, for nodes that keep nothing.

import { dirname, sep } from 'node:path'
import { failure } from './failure.ts'
import type { Files, OpenFile } from './files.ts'

/** A growing array of bytes. */
class Content {
  #bytes = new Uint8Array(0)
  sizeBytes = 0

  read(position: number, lengthBytes: number): Uint8Array {
    return this.#bytes.slice(position, Math.min(this.sizeBytes, position + lengthBytes))
  }

  write(data: Uint8Array, position: number): void {
    this.resize(Math.max(this.sizeBytes, position + data.length))
    this.#bytes.set(data, position)
  }

  resize(sizeBytes: number): void {
    if (sizeBytes < this.sizeBytes) this.#bytes.fill(0, sizeBytes, this.sizeBytes)
    if (sizeBytes > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(sizeBytes, 2 * this.#bytes.length))
      grown.set(this.#bytes)
      this.#bytes = grown
    }
    this.sizeBytes = sizeBytes
  }
}

export class MemoryFiles implements Files {
  readonly #contents = new Map<string, Content>()
  readonly #directories = new Set<string>()

  async makeDirectory(path: string): Promise<void> {
    for (let at = path; !this.#directories.has(at); at = dirname(at)) this.#directories.add(at)
  }

  async list(path: string): Promise<string[]> {
    const paths = [...this.#contents.keys(), ...this.#directories]
    return paths
      .flatMap((each) => (each !== path && dirname(each) === path ? [each.slice(path.length + 1)] : []))
      .sort()
  }

  async open(path: string, mode: 'read' | 'update' | 'create'): Promise<OpenFile> {
    if (mode === 'create') {
      if (!this.#directories.has(dirname(path))) throw failure('missing', path, 'there is no such directory')
      // Who has the old one open keeps it.
      this.#contents.set(path, new Content())
    }
    const content = this.#contents.get(path)
    if (content === undefined) throw failure('missing', path)
    return new MemoryFile(content)
  }

  async rename(from: string, to: string): Promise<void> {
    const content = this.#contents.get(from)
    if (content === undefined && !this.#directories.has(from)) throw failure('missing', from)
    for (const path of this.#within(from)) {
      const moved = to + path.slice(from.length)
      const inner = this.#contents.get(path)
      this.#contents.delete(path)
      if (this.#directories.delete(path)) this.#directories.add(moved)
      if (inner !== undefined) this.#contents.set(moved, inner)
    }
  }

  async remove(path: string): Promise<void> {
    for (const each of this.#within(path)) {
      this.#contents.delete(each)
      this.#directories.delete(each)
    }
  }

  async syncDirectory(): Promise<void> {}

  #within(path: string): string[] {
    const paths = [...this.#contents.keys(), ...this.#directories]
    return paths.filter((each) => each === path || each.startsWith(path + sep))
  }
}

class MemoryFile implements OpenFile {
  readonly #content: Content

  constructor(content: Content) {
    this.#content = content
  }

  async read(position: number, lengthBytes: number): Promise<Uint8Array> {
    return this.#content.read(position, lengthBytes)
  }

  async write(data: Uint8Array, position: number): Promise<void> {
    this.#content.write(data, position)
  }

  async truncate(sizeBytes: number): Promise<void> {
    this.#content.resize(sizeBytes)
  }

  async size(): Promise<number> {
    return this.#content.sizeBytes
  }

  async sync(): Promise<void> {}

  async close(): Promise<void> {}
}
