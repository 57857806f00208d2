// The disk of a node: a small file system of its own where it is permitted, so that it can be full; and what a loss of power leaves of it.

import { spawnSync } from 'node:child_process'
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'

const SIZE_MIB = 160
/** What LevelDB writes for people to read, and what only says who holds it. */
const UNSYNCED = new Set(['LOG', 'LOG.old', 'LOCK'])

export class Disk {
  readonly dir: string
  readonly isOwn: boolean
  readonly #notes: string

  /** @param notes where the preloaded library notes what was synced */
  constructor(dir: string, notes: string) {
    this.dir = dir
    this.#notes = notes
    mkdirSync(dir, { recursive: true })
    this.isOwn = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${SIZE_MIB}m`, 'tmpfs', dir]).status === 0
  }

  /** Nothing can be written any more. */
  fill(): void {
    const path = join(this.dir, 'ballast')
    for (const piece of [1 << 20, 1 << 12, 1]) {
      try {
        for (;;) writeFileSync(path, Buffer.alloc(piece), { flag: 'a' })
      } catch {
        // It is full of pieces of this size.
      }
    }
  }

  free(): void {
    rmSync(join(this.dir, 'ballast'), { force: true })
  }

  wipe(): void {
    for (const name of readdirSync(this.dir)) rmSync(join(this.dir, name), { recursive: true, force: true })
  }

  /** Keeps what is there now; `restore` brings it back. The node must not be running, or is copied as it is. */
  save(to: string): void {
    rmSync(to, { recursive: true, force: true })
    cpSync(this.dir, to, { recursive: true, filter: (path) => !statSync(path).isSocket() })
  }

  restore(from: string): void {
    this.wipe()
    cpSync(from, this.dir, { recursive: true })
    // A disk that is older has lost nothing of what it held.
    const lines = this.files().map((path) => {
      const { ino, size } = statSync(path)
      return `${ino} ${size}\n`
    })
    if (existsSync(this.#notes)) appendFileSync(this.#notes, lines.join(''))
  }

  /** Takes away what was not synced. @returns the bytes that are gone, undefined when it cannot be known */
  losePower(): number | undefined {
    if (!existsSync(this.#notes)) return undefined
    const synced = new Map<number, number>()
    for (const line of readFileSync(this.#notes, 'utf8').split('\n')) {
      const [inode, size] = line.split(' ')
      if (inode !== undefined && size !== undefined) synced.set(Number(inode), Number(size))
    }
    let lost = 0
    for (const path of this.files()) {
      if (UNSYNCED.has(path.slice(path.lastIndexOf('/') + 1))) continue
      const { ino, size } = statSync(path)
      const kept = synced.get(ino) ?? 0
      if (kept >= size) continue
      truncateSync(path, kept)
      lost += size - kept
    }
    return lost
  }

  /** All regular files, by path. */
  files(under = this.dir): string[] {
    return readdirSync(under, { withFileTypes: true })
      .flatMap((entry) => {
        const path = join(under, entry.name)
        return entry.isDirectory() ? this.files(path) : entry.isFile() ? [path] : []
      })
      .sort()
  }

  close(): void {
    if (this.isOwn) spawnSync('umount', ['-l', this.dir])
  }
}
