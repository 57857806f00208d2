// Reads the files of an app: regular ones of bounded size, in UTF-8. Nothing here throws for what is on the disk.

import { readdir, readFile, realpath, stat } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { messageOf } from '../base/errors.ts'
import { type LocatedMap, plainOf } from './located.ts'
import { didYouMean, type Path, type Place, type ProblemList, show, sortedText } from './problems.ts'
import { parseYaml } from './yaml.ts'

const YAML_BYTES_MAX = 16 * 1024 * 1024

export type FileKind = 'file' | 'folder' | 'other' | 'missing'

export async function kindOf(path: string): Promise<FileKind> {
  try {
    const found = await stat(path)
    if (found.isFile()) return 'file'
    return found.isDirectory() ? 'folder' : 'other'
  } catch {
    return 'missing'
  }
}

/** One name for one file, however it is reached. */
export async function identityOf(path: string): Promise<string> {
  try {
    return await realpath(path)
  } catch {
    return path
  }
}

/** The text of a file, or a sentence on why it cannot be had. */
export async function readText(path: string, bytesMax: number): Promise<{ text: string } | { why: string }> {
  try {
    const found = await stat(path)
    if (found.isDirectory()) return { why: `${path} is a folder, not a file` }
    // Reading a pipe or a device could wait forever.
    if (!found.isFile()) return { why: `${path} is no regular file` }
    if (found.size > bytesMax) return { why: `${path} has ${found.size} bytes; at most ${bytesMax} are read` }
    return { text: new TextDecoder('utf-8', { fatal: true }).decode(await readFile(path)) }
  } catch (error) {
    return { why: await whyUnreadable(path, error) }
  }
}

async function whyUnreadable(path: string, error: unknown): Promise<string> {
  switch ((error as NodeJS.ErrnoException).code) {
    case 'ENOENT':
    case 'ENOTDIR':
      return `no such file ${path}${await similarName(path)}`
    case 'EACCES':
    case 'EPERM':
      return `${path} cannot be read: permission denied`
    case 'ELOOP':
      return `${path} cannot be read: its symbolic links lead in a circle`
    case 'ERR_ENCODING_INVALID_ENCODED_DATA':
      return `${path} is not UTF-8 text`
    default:
      return `${path} cannot be read: ${messageOf(error)}`
  }
}

async function similarName(path: string): Promise<string> {
  try {
    return didYouMean(basename(path), sortedText(await readdir(dirname(path))))
  } catch {
    return ''
  }
}

/** Who asked for a file: the item of an `include:` list, a flag, or nobody but the file itself. */
export interface Asker {
  readonly at: Place
  readonly path: Path
}

/** The map that a YAML file holds; undefined, and a problem of the asker or of the file, when it cannot be had. */
export async function readYamlMap(file: string, asker: Asker, problems: ProblemList): Promise<LocatedMap | undefined> {
  const read = await readText(file, YAML_BYTES_MAX)
  if ('why' in read) {
    problems.add(asker.at, asker.path, read.why)
    return undefined
  }
  const located = parseYaml(read.text, file, problems)
  if (located === undefined || located.kind === 'map') return located
  problems.add(located.at, [], `expected a map ("key: value") at the top of the file, found ${show(plainOf(located))}`)
  return undefined
}
