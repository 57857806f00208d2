// Which files make an app: the app file and what it includes, or everything below a folder. operations.md §1, lua-core.md §4.1.

import { dirname, join, resolve } from 'node:path'
import { type EntryFile, readEntryFile } from './entry-file.ts'
import { type Asker, identityOf, kindOf, readYamlMap } from './files.ts'
import { findFiles, hasWildcard } from './glob.ts'
import { emptyMap, type LocatedMap } from './located.ts'
import { type ProblemList, wholeOf } from './problems.ts'
import type { Variables } from './variables.ts'

const APP_FILE = 'app.yaml'
const INDEX_FILES = '**/_index.yaml'
const FILES_MAX = 10_000
const ADVICE = 'check the path, or create an app with `runtime init`'

interface AppFiles {
  /** The app file, or the folder when it has none. Absolute. */
  readonly file: string
  /** The folder of the app file, or the folder that was given. Absolute. */
  readonly dir: string
  readonly files: readonly EntryFile[]
  /** Those of the app file, variables not replaced. */
  readonly settings: LocatedMap
  /** False when a file could not be read or understood: then nobody knows what it declares. */
  readonly isComplete: boolean
}

export async function readAppFiles(path: string, variables: Variables, problems: ProblemList): Promise<AppFiles> {
  const given = resolve(path)
  const kind = await kindOf(given)
  const isFolder = kind === 'folder'
  const appFile = isFolder ? join(given, APP_FILE) : given
  const dir = isFolder ? given : dirname(given)
  const reader = new Files(variables, problems)
  const whole: Asker = { at: wholeOf(given), path: [] }
  const hasAppFile = !isFolder || (await kindOf(appFile)) !== 'missing'
  if (kind === 'missing') {
    reader.refuse(whole, `no such file or folder; ${ADVICE}`)
  } else if (hasAppFile) {
    await reader.add(appFile, { at: wholeOf(appFile), path: [] }, true)
  }
  if (isFolder) {
    const foundCount = await reader.addMatches(INDEX_FILES, dir, whole)
    if (foundCount === 0 && !hasAppFile) {
      reader.refuse(whole, `no ${APP_FILE} and no _index.yaml in this folder or below it; ${ADVICE}`)
    }
  }
  await reader.followIncludes()
  const { files, isComplete } = reader
  const settings = files.find(({ file }) => file === appFile)?.settings ?? emptyMap(wholeOf(given))
  return { file: hasAppFile ? appFile : given, dir, files, settings, isComplete }
}

class Files {
  readonly files: EntryFile[] = []
  isComplete = true
  readonly #variables: Variables
  readonly #problems: ProblemList
  readonly #seen = new Set<string>()

  constructor(variables: Variables, problems: ProblemList) {
    this.#variables = variables
    this.#problems = problems
  }

  /** Includes of includes come behind everything that was there before them. */
  async followIncludes(): Promise<void> {
    // The list grows while it is walked; each file is in it once.
    for (const { file, includes } of this.files) {
      for (const { pattern, at, path } of includes) await this.#include(pattern, dirname(file), { at, path })
    }
  }

  async #include(pattern: string, dir: string, asker: Asker): Promise<void> {
    if (hasWildcard(pattern)) {
      await this.addMatches(pattern, dir, asker)
      return
    }
    const file = resolve(dir, pattern)
    if ((await kindOf(file)) !== 'folder') await this.add(file, asker)
    else this.refuse(asker, `${file} is a folder; to include what is below it, write ${join(pattern, INDEX_FILES)}`)
  }

  /** Returns how many files match. */
  async addMatches(pattern: string, dir: string, asker: Asker): Promise<number> {
    const { files, troubles } = await findFiles(pattern, dir)
    for (const trouble of troubles) this.refuse(asker, `${pattern} ${trouble}`)
    for (const file of files) await this.add(file, asker)
    return files.length
  }

  async add(file: string, asker: Asker, isApp = false): Promise<void> {
    const identity = await identityOf(file)
    if (this.#seen.has(identity)) return
    if (this.#seen.size >= FILES_MAX) return this.refuse(asker, `an app has at most ${FILES_MAX} files`)
    this.#seen.add(identity)
    const located = await readYamlMap(file, asker, this.#problems)
    if (located === undefined) this.isComplete = false
    else this.files.push(readEntryFile(located, { file, isApp, variables: this.#variables }, this.#problems))
  }

  refuse({ at, path }: Asker, message: string): void {
    this.isComplete = false
    this.#problems.add(at, path, message)
  }
}
