// Finds the files that a glob names. Nothing here throws for what is on the disk, and every search ends.

import type { Dirent } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { messageOf } from '../base/errors.ts'
import { type FileKind, identityOf, kindOf } from './files.ts'
import { sortedText } from './problems.ts'

/** Folders that one pattern may look into. */
const FOLDERS_MAX = 50_000
const SKIPPED = new Set(['node_modules'])

export const hasWildcard = (pattern: string): boolean => /[*?]/.test(pattern)

interface Found {
  /** Sorted. */
  readonly files: readonly string[]
  /** Folders that could not be read, and the bound on their number. */
  readonly troubles: readonly string[]
}

/**
 * Files that a pattern with wildcards names: `*` and `?` stay within one name, `**` crosses folders. A wildcard matches no name that
 * begins with a dot and no node_modules; a folder that links lead to a second time is not looked into again.
 */
export async function findFiles(pattern: string, dir: string): Promise<Found> {
  const parts = pattern.split('/').filter((part, i) => part !== '.' && (part !== '' || i === 0))
  const root = parts[0] === '' ? '/' : dir
  const search = new Search(parts[0] === '' ? parts.slice(1) : parts)
  return search.run(resolve(root))
}

interface Step {
  readonly dir: string
  /** Index of the part to match next. */
  readonly part: number
}

class Search {
  readonly #parts: readonly string[]
  readonly #files = new Set<string>()
  readonly #troubles: string[] = []
  readonly #steps: Step[] = []
  /** Steps taken, by real path: neither links nor several `**` lead to one twice. */
  readonly #taken = new Set<string>()

  constructor(parts: readonly string[]) {
    // A `**` at the end means every file below.
    this.#parts = parts.at(-1) === '**' ? [...parts, '*'] : parts
  }

  async run(dir: string): Promise<Found> {
    this.#steps.push({ dir, part: 0 })
    for (let step = this.#steps.pop(); step !== undefined; step = this.#steps.pop()) {
      if (this.#taken.size > FOLDERS_MAX) {
        this.#troubles.push(`looks into more than ${FOLDERS_MAX} folders; begin it with the folder that is meant`)
        break
      }
      await this.#take(step)
    }
    return { files: sortedText(this.#files), troubles: this.#troubles }
  }

  async #take({ dir, part }: Step): Promise<void> {
    const pattern = this.#parts[part]
    if (pattern === undefined) return
    const isLast = part === this.#parts.length - 1
    if (!hasWildcard(pattern)) {
      const path = join(dir, pattern)
      if (!isLast) this.#steps.push({ dir: path, part: part + 1 })
      else if ((await kindOf(path)) === 'file') this.#files.add(path)
      return
    }
    const key = `${part} ${await identityOf(dir)}`
    if (this.#taken.has(key)) return
    this.#taken.add(key)
    if (pattern === '**') this.#steps.push({ dir, part: part + 1 })
    for (const entry of await this.#entriesOf(dir)) {
      if (isSkipped(entry.name, pattern)) continue
      const path = join(dir, entry.name)
      const kind = await kindOfEntry(entry, path)
      if (pattern === '**') {
        if (kind === 'folder') this.#steps.push({ dir: path, part })
      } else if (matches(entry.name, pattern)) {
        if (isLast && kind === 'file') this.#files.add(path)
        if (!isLast && kind === 'folder') this.#steps.push({ dir: path, part: part + 1 })
      }
    }
  }

  async #entriesOf(dir: string): Promise<Dirent[]> {
    try {
      return await readdir(dir, { withFileTypes: true })
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code !== 'ENOENT' && code !== 'ENOTDIR') this.#troubles.push(`cannot look into ${dir}: ${messageOf(error)}`)
      return []
    }
  }
}

async function kindOfEntry(entry: Dirent, path: string): Promise<FileKind> {
  if (entry.isSymbolicLink()) return kindOf(path)
  if (entry.isFile()) return 'file'
  return entry.isDirectory() ? 'folder' : 'other'
}

function isSkipped(name: string, pattern: string): boolean {
  return SKIPPED.has(name) || (name.startsWith('.') && !pattern.startsWith('.'))
}

/** Whether a name matches `*` (any characters) and `?` (one). Greedy with one way back, so that no pattern takes exponential time. */
export function matches(name: string, pattern: string): boolean {
  let at = 0
  let part = 0
  let starPart = -1
  let starAt = 0
  while (at < name.length) {
    if (pattern[part] === '*') {
      starPart = part++
      starAt = at
    } else if (pattern[part] === '?' || pattern[part] === name[at]) {
      at++
      part++
    } else if (starPart >= 0) {
      part = starPart + 1
      at = ++starAt
    } else {
      return false
    }
  }
  while (pattern[part] === '*') part++
  return part === pattern.length
}
