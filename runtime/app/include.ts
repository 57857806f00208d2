// Which files make an app: the app file and what it includes, or every `_index.yaml` below a folder. operations.md §1.

import type { Dirent } from 'node:fs'
import { readdir, realpath, stat } from 'node:fs/promises'
import { join, relative, resolve, sep } from 'node:path'

/** Files that one app may have. */
export const FILES_MAX = 10_000
const DEPTH_MAX = 32
const SKIPPED = new Set(['node_modules'])
const INDEX_FILE = '_index.yaml'

/** The files that a pattern names, sorted; `*` stays within a folder name, `**` crosses folders, `?` is one character. */
export async function filesMatching(pattern: string, baseDir: string): Promise<string[]> {
  if (!hasWildcard(pattern)) {
    const file = resolve(baseDir, pattern)
    return (await isFile(file)) ? [file] : []
  }
  const parts = pattern.split('/')
  const fixed = parts.slice(0, parts.findIndex(hasWildcard))
  const root = resolve(baseDir, fixed.join('/'))
  const matcher = globExpression(parts.slice(fixed.length).join('/'))
  const files = await filesBelow(root)
  return files.filter((file) => matcher.test(relative(root, file).split(sep).join('/'))).sort()
}

export function hasWildcard(pattern: string): boolean {
  return /[*?]/.test(pattern)
}

function globExpression(pattern: string): RegExp {
  const source = pattern.replace(/[.+^${}()|[\]\\]/g, '\\$&').replace(/\*\*\/|\*\*|\*|\?/g, (glob) => {
    if (glob === '**/') return '(?:[^/]+/)*'
    if (glob === '**') return '.*'
    return glob === '*' ? '[^/]*' : '[^/]'
  })
  return new RegExp(`^${source}$`)
}

/** Every index file below a folder, sorted. */
export async function indexFilesBelow(dir: string): Promise<string[]> {
  const files = await filesBelow(dir)
  return files.filter((file) => file.endsWith(sep + INDEX_FILE)).sort()
}

/** All files below a folder; dot folders and node_modules are passed over, a folder that is reached twice is read once. */
async function filesBelow(root: string): Promise<string[]> {
  const files: string[] = []
  const seen = new Set<string>()
  const visit = async (dir: string, depth: number): Promise<void> => {
    if (depth > DEPTH_MAX || files.length > FILES_MAX) return
    let entries: Dirent[]
    try {
      const real = await realpath(dir)
      if (seen.has(real)) return
      seen.add(real)
      entries = await readdir(dir, { withFileTypes: true })
    } catch {
      return
    }
    for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
      const path = join(dir, entry.name)
      const isLink = entry.isSymbolicLink()
      if (entry.isFile() || (isLink && (await isFile(path)))) files.push(path)
      else if ((entry.isDirectory() || isLink) && !entry.name.startsWith('.') && !SKIPPED.has(entry.name)) {
        await visit(path, depth + 1)
      }
    }
  }
  await visit(root, 0)
  return files
}

export async function isFile(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isFile()
  } catch {
    return false
  }
}

export async function isDirectory(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory()
  } catch {
    return false
  }
}
