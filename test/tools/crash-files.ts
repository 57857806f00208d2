// Files on a disk that fails at a chosen operation, or loses power there. What was synced stays; of what was not, some may be
// there: a beginning of the changes of a directory, and of a file its old bytes, its new ones, a part of these, or zeros.

import { basename, dirname } from 'node:path'
import { failure } from '../../cluster/storage/failure.ts'
import type { Files, OpenFile } from '../../cluster/storage/files.ts'

interface FileFault {
  /** The operation that it hits, from 0. */
  readonly operation: number
  /** `full`: this one is refused, and those after it work; `crash`: nothing works any more. */
  readonly kind: 'full' | 'crash'
}

type Names = Map<string, Node>

class File {
  bytes: Uint8Array = new Uint8Array(0)
  durable: Uint8Array = new Uint8Array(0)
}

class Directory {
  names: Names = new Map()
  durable: Names = new Map()
  pending: ((names: Names) => void)[] = []

  change(act: (names: Names) => void): void {
    act(this.names)
    this.pending.push(act)
  }

  sync(): void {
    for (const act of this.pending.splice(0)) act(this.durable)
  }
}

type Node = File | Directory

export class CrashDrive {
  #root = new Directory()
  #runs = 0
  readonly #chance: (bound: number) => number
  operationCount = 0

  /** @param chance a whole number below the bound */
  constructor(chance: (bound: number) => number) {
    this.#chance = chance
  }

  /** A run on this drive. */
  files(fault?: FileFault): Files {
    const run = ++this.#runs
    let operations = 0
    let isDead = false
    /** Whether this operation is to be cut short. */
    const enter = (path: string): void => {
      if (isDead || run !== this.#runs) throw failure('io', path, 'the power is gone')
      this.operationCount++
      if (operations++ !== fault?.operation) return
      isDead = fault.kind === 'crash'
      throw fault.kind === 'full' ? failure('full', path, 'cannot write') : failure('io', path, 'the power is gone')
    }
    return driveFiles(() => this.#root, enter, this.#chance)
  }

  /** What is there when the power comes back. */
  crash(): void {
    this.#runs++
    this.#settle(this.#root)
  }

  #settle(node: Node): void {
    if (node instanceof File) {
      node.bytes = this.#remains(node)
      node.durable = node.bytes
      return
    }
    for (const act of node.pending.slice(0, this.#chance(node.pending.length + 1))) act(node.durable)
    node.pending = []
    node.names = new Map(node.durable)
    for (const inner of node.names.values()) this.#settle(inner)
  }

  #remains({ bytes, durable }: File): Uint8Array {
    switch (this.#chance(4)) {
      case 0:
        return durable
      case 1:
        return bytes
      case 2: {
        // It has grown, and what it grew by has not been written.
        const grown = new Uint8Array(bytes.length)
        grown.set(durable.subarray(0, bytes.length))
        return bytes.length >= durable.length ? grown : durable
      }
      default: {
        if (bytes.length < durable.length) return durable
        const kept = durable.length + this.#chance(bytes.length - durable.length + 1)
        return bytes.slice(0, kept)
      }
    }
  }
}

function driveFiles(root: () => Directory, enter: (path: string) => void, chance: (bound: number) => number): Files {
  const find = (path: string): Node | undefined => {
    let node: Node | undefined = root()
    for (const name of path.split('/').filter((each) => each !== '')) {
      node = node instanceof Directory ? node.names.get(name) : undefined
    }
    return node
  }
  const directory = (path: string): Directory => {
    const node = find(path)
    if (!(node instanceof Directory)) throw failure('missing', path)
    return node
  }
  const files: Files = {
    async makeDirectory(path) {
      if (path === '/' || find(path) !== undefined) return
      await files.makeDirectory(dirname(path))
      enter(path)
      const made = new Directory()
      directory(dirname(path)).change((names) => names.set(basename(path), made))
      await files.syncDirectory(dirname(path))
    },
    async list(path) {
      enter(path)
      const node = find(path)
      return node instanceof Directory ? [...node.names.keys()].sort() : []
    },
    async open(path, mode) {
      enter(path)
      let node = find(path)
      if (mode === 'create') {
        const made = new File()
        node = made
        directory(dirname(path)).change((names) => names.set(basename(path), made))
      }
      if (!(node instanceof File)) throw failure('missing', path)
      return driveFile(node, path, enter, chance)
    },
    async rename(from, to) {
      enter(from)
      const node = find(from)
      if (node === undefined) throw failure('missing', from)
      if (find(to) instanceof Directory) throw failure('io', to, 'there is a directory')
      directory(dirname(from)).change((names) => {
        names.delete(basename(from))
        names.set(basename(to), node)
      })
    },
    async remove(path) {
      enter(path)
      if (find(path) === undefined) return
      // Piece by piece, in any order.
      const node = find(path)
      if (node instanceof Directory) {
        const names = [...node.names.keys()]
        for (const name of chance(2) === 0 ? names : names.reverse()) await files.remove(`${path}/${name}`)
      }
      directory(dirname(path)).change((names) => names.delete(basename(path)))
    },
    async syncDirectory(path) {
      enter(path)
      directory(path).sync()
    },
  }
  return files
}

function driveFile(
  file: File,
  path: string,
  enter: (path: string) => void,
  chance: (bound: number) => number,
): OpenFile {
  const put = (data: Uint8Array, position: number): void => {
    const grown = new Uint8Array(Math.max(file.bytes.length, position + data.length))
    grown.set(file.bytes)
    grown.set(data, position)
    file.bytes = grown
  }
  return {
    async read(position, lengthBytes) {
      enter(path)
      return file.bytes.slice(position, position + lengthBytes)
    },
    async write(data, position) {
      try {
        enter(path)
      } catch (error) {
        put(data.subarray(0, chance(data.length + 1)), position)
        throw error
      }
      put(data, position)
    },
    async truncate(sizeBytes) {
      enter(path)
      const cut = new Uint8Array(sizeBytes)
      cut.set(file.bytes.subarray(0, sizeBytes))
      file.bytes = cut
    },
    async size() {
      enter(path)
      return file.bytes.length
    },
    async sync() {
      enter(path)
      file.durable = file.bytes.slice()
    },
    async close() {},
  }
}
