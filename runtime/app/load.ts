// Loads an app: files, settings, entries; everything that is wrong with it in one go, or the app. operations.md §1.

import { readFile, stat } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { parseYaml, type YamlDocument } from './document.ts'
import { type Entry, EntryReader, type EntryRules, type RawEntry } from './entries.ts'
import { show } from './explain.ts'
import { FILES_MAX, filesMatching, hasWildcard, indexFilesBelow, isDirectory, isFile } from './include.ts'
import { compareProblems, didYouMean, type Problem, pathText } from './problems.ts'
import { SETTING_SECTIONS } from './schema.ts'
import { composeSettings, documentLayer, environmentLayers, isMap, type Settings, setLayers } from './settings.ts'
import { substituteVariables } from './variables.ts'

export type {
  DataEntry,
  Entry,
  FunctionEntry,
  HostEntry,
  LibraryEntry,
  ProcessEntry,
  ProcessHostEntry,
  ServiceEntry,
  TerminalHostEntry,
} from './entries.ts'
export { dependenciesOf } from './entries.ts'
export type { Problem } from './problems.ts'
export type { Lifecycle } from './schema.ts'
export type { Settings } from './settings.ts'

export interface LoadOptions extends EntryRules {
  /** The app file, or a folder. */
  path: string
  /** Further settings files, later ones over earlier ones. */
  configFiles?: readonly string[]
  env?: Readonly<Record<string, string | undefined>>
  /** `path=value` */
  set?: readonly string[]
}

export interface App {
  /** The app file, or the folder that was given. */
  file: string
  /** What relative settings are relative to. */
  dir: string
  settings: Settings
  /** Sorted by id. */
  entries: readonly Entry[]
}

/** `entries` of a failed load are those that are right by themselves. */
export type LoadResult =
  | { ok: true; app: App }
  | { ok: false; problems: readonly Problem[]; entries: readonly Pick<Entry, 'id' | 'kind'>[] }

const APP_FILE = 'app.yaml'
const FILE_BYTES_MAX = 16 * 1024 * 1024
const ENTRIES_MAX = 100_000
const APP_KEYS = ['version', 'namespace', 'include', 'entries', ...SETTING_SECTIONS] as const
const ENTRY_FILE_KEYS = ['version', 'namespace', 'include', 'entries'] as const
const NAMESPACE = /^[^\s:@|{}]+$/

/** Never throws for bad input. */
export async function loadApp(options: LoadOptions): Promise<LoadResult> {
  return new Loader(options).load()
}

/** Validates entries that an embedding program brings as objects, by the same rules. */
export async function loadEntries(
  definitions: readonly Readonly<Record<string, unknown>>[],
  options: Omit<LoadOptions, 'path'>,
): Promise<LoadResult> {
  return new Loader({ ...options, path: process.cwd() }).loadDefinitions(definitions)
}

class Loader {
  readonly #options: LoadOptions
  readonly #env: Readonly<Record<string, string | undefined>>
  readonly #problems: Problem[] = []
  readonly #reader: EntryReader
  readonly #read = new Set<string>()
  #entryCount = 0

  constructor(options: LoadOptions) {
    this.#options = options
    this.#env = options.env ?? {}
    this.#reader = new EntryReader(options, this.#problems)
  }

  async load(): Promise<LoadResult> {
    const path = resolve(this.#options.path)
    if (await isDirectory(path)) return this.#loadFolder(path)
    if (!(await isFile(path))) {
      this.#problem(
        path,
        `no such file; check the path, or create an app with \`runtime init ${basename(path).includes('.') ? 'DIR' : path}\``,
      )
      return this.#result(path, dirname(path), [])
    }
    const document = await this.#document(path)
    if (document !== undefined) await this.#appFile(document)
    return this.#result(path, dirname(path), document === undefined ? [] : [document])
  }

  async #loadFolder(dir: string): Promise<LoadResult> {
    const appFile = join(dir, APP_FILE)
    const files = await indexFilesBelow(dir)
    const document = (await isFile(appFile)) ? await this.#document(appFile) : undefined
    if (document !== undefined) await this.#appFile(document)
    else if (files.length === 0 && this.#problems.length === 0) {
      this.#problem(dir, `no ${APP_FILE} and no _index.yaml below it; create an app with \`runtime init DIR\``)
    }
    for (const file of files) await this.#entryFile(file)
    return this.#result(dir, dir, document === undefined ? [] : [document])
  }

  async loadDefinitions(definitions: readonly Readonly<Record<string, unknown>>[]): Promise<LoadResult> {
    const dir = process.cwd()
    for (const [i, definition] of definitions.entries()) {
      const { id, ...fields } = definition
      const [, namespace = '', name = ''] = typeof id === 'string' ? (/^([^:]+):(.+)$/.exec(id) ?? []) : []
      if (namespace === '' && typeof fields['namespace'] !== 'string') {
        this.#problem('entries', `expected an id "namespace:name", got ${show(id)}`, `entries[${i}].id`)
        continue
      }
      const { namespace: given, ...rest } = fields
      await this.#reader.add({
        value: name === '' ? rest : { ...rest, name },
        namespace: namespace === '' ? String(given) : namespace,
        file: join(dir, 'entries'),
        path: ['entries', i],
        place: () => ({ file: 'entries', line: 0, column: 0 }),
      })
    }
    return this.#result(dir, dir, [])
  }

  // ---- files

  /** The file's document with variables replaced; undefined, and problems, when it cannot be had. */
  async #document(file: string): Promise<YamlDocument | undefined> {
    this.#read.add(file)
    let text: string
    try {
      const { size } = await stat(file)
      if (size > FILE_BYTES_MAX)
        return this.#problem(file, `the file has ${size} bytes; at most ${FILE_BYTES_MAX} are read`)
      text = await readFile(file, 'utf8')
    } catch (error) {
      return this.#problem(file, `cannot be read: ${(error as NodeJS.ErrnoException).code ?? String(error)}`)
    }
    const parsed = parseYaml(file, text)
    if ('problems' in parsed) {
      this.#problems.push(...parsed.problems)
      return undefined
    }
    const { document } = parsed
    if (!isMap(document.data)) {
      return this.#problem(
        file,
        `expected a map with namespace and entries, got ${document.data === null ? 'an empty file' : show(document.data)}`,
      )
    }
    const data = substituteVariables(document.data, this.#env, (path, message) =>
      this.#problems.push({ file, ...document.place(path), path: pathText(path), message }),
    )
    return { ...document, data }
  }

  async #appFile(document: YamlDocument): Promise<void> {
    this.#checkKeys(document, APP_KEYS)
    await this.#contents(document)
  }

  async #entryFile(file: string): Promise<void> {
    if (this.#read.has(file)) return
    if (this.#read.size >= FILES_MAX) {
      if (this.#read.size === FILES_MAX) this.#problem(file, `more than ${FILES_MAX} files belong to the app`)
      this.#read.add(file)
      return
    }
    const document = await this.#document(file)
    if (document === undefined) return
    // A file with a name and a kind of its own is one entry.
    const data = document.data as Record<string, unknown>
    if (!('kind' in data)) this.#checkKeys(document, ENTRY_FILE_KEYS)
    await this.#contents(document)
  }

  #checkKeys(document: YamlDocument, known: readonly string[]): void {
    const { file, data } = document
    for (const key of Object.keys(data as object)) {
      if (known.includes(key)) continue
      const isSetting = (SETTING_SECTIONS as readonly string[]).includes(key)
      const message = isSetting
        ? `settings such as "${key}" belong in the app file, not in an included one`
        : `unknown key "${key}"${didYouMean(key, known)}`
      this.#problems.push({ file, ...document.placeOfKey([key]), path: key, message })
    }
  }

  async #contents(document: YamlDocument): Promise<void> {
    const { file } = document
    const data = document.data as Record<string, unknown>
    const at = (path: readonly PropertyKey[], message: string): void => {
      this.#problems.push({ file, ...document.place(path), path: pathText(path), message })
    }
    const { version, namespace, entries, include } = data
    if (version !== undefined && version !== '1.0') at(['version'], `expected "1.0" (in quotes), got ${show(version)}`)
    const isSingle = 'kind' in data
    const hasEntries = isSingle || entries !== undefined
    if (hasEntries && typeof namespace !== 'string') {
      at(
        ['namespace'],
        namespace === undefined
          ? 'required (a string); every entry is namespace:name'
          : `expected a string, got ${show(namespace)}`,
      )
    } else if (typeof namespace === 'string' && !NAMESPACE.test(namespace)) {
      at(['namespace'], `expected a name without spaces or any of : @ | { }, got ${show(namespace)}`)
    }
    const owner = typeof namespace === 'string' && namespace !== '' ? namespace : 'unnamed'
    if (isSingle) {
      const { version: _v, namespace: _n, ...value } = data
      await this.#add(this.#raw(document, value, owner, []))
    } else if (entries !== undefined && entries !== null) {
      if (!Array.isArray(entries)) at(['entries'], `expected a list, got ${show(entries)}`)
      else
        for (const [i, value] of entries.entries()) await this.#add(this.#raw(document, value, owner, ['entries', i]))
    }
    if (include !== undefined && include !== null) await this.#include(document, include, at)
  }

  async #include(
    document: YamlDocument,
    include: unknown,
    at: (path: readonly PropertyKey[], message: string) => void,
  ): Promise<void> {
    if (!Array.isArray(include)) return at(['include'], `expected a list of paths, got ${show(include)}`)
    for (const [i, pattern] of include.entries()) {
      if (typeof pattern !== 'string' || pattern === '') {
        at(['include', i], `expected a path, got ${show(pattern)}`)
        continue
      }
      const files = await filesMatching(pattern, dirname(document.file))
      if (files.length === 0 && !hasWildcard(pattern))
        at(['include', i], `no such file ${pattern} (relative to ${document.file})`)
      for (const file of files) await this.#entryFile(file)
    }
  }

  #raw(document: YamlDocument, value: unknown, namespace: string, path: readonly PropertyKey[]): RawEntry {
    const { file } = document
    return {
      value,
      namespace,
      file,
      path,
      place: (below, isKey = false) => {
        const whole = [...path, ...below]
        return { file, ...(isKey ? document.placeOfKey(whole) : document.place(whole)) }
      },
    }
  }

  async #add(raw: RawEntry): Promise<void> {
    if (++this.#entryCount <= ENTRIES_MAX) return this.#reader.add(raw)
    if (this.#entryCount === ENTRIES_MAX + 1) this.#problem(raw.file, `more than ${ENTRIES_MAX} entries`)
  }

  // ---- the result

  async #result(file: string, dir: string, documents: readonly YamlDocument[]): Promise<LoadResult> {
    const entries = this.#reader.finish()
    const settings = await this.#settings(documents, dir)
    if (this.#problems.length === 0) return { ok: true, app: { file, dir, settings, entries } }
    return { ok: false, problems: this.#problems.sort(compareProblems), entries }
  }

  async #settings(documents: readonly YamlDocument[], dir: string): Promise<Settings> {
    const layers = documents.map((document) => documentLayer(document, this.#sectionsOf(document)))
    for (const path of this.#options.configFiles ?? []) {
      const file = resolve(path)
      if (!(await isFile(file))) {
        this.#problem(file, 'no such file (--config)')
        continue
      }
      const document = await this.#document(file)
      if (document !== undefined) layers.push(documentLayer(document, document.data as Record<string, unknown>))
    }
    layers.push(...environmentLayers(this.#env), ...setLayers(this.#options.set ?? [], this.#problems))
    return composeSettings(layers, dir, this.#problems)
  }

  /** What an app file holds beside entries; its unknown keys are reported by itself. */
  #sectionsOf(document: YamlDocument): Record<string, unknown> {
    const data = document.data as Record<string, unknown>
    return Object.fromEntries(
      SETTING_SECTIONS.flatMap((section) =>
        data[section] === undefined || data[section] === null ? [] : [[section, data[section]]],
      ),
    )
  }

  #problem(file: string, message: string, path = ''): undefined {
    const isFilePlace = file.includes('/') || file.includes('\\')
    this.#problems.push({ file, line: isFilePlace ? 1 : 0, column: isFilePlace ? 1 : 0, path, message })
    return undefined
  }
}
