// Environment variables as entries: storages, and variables that name a place in one. lua-libraries.md §12.

import { chmod, readFile, realpath, rename, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import type { Entry, StorageEntry, VariableEntry } from '../app/load.ts'
import { toBytes, toText } from '../base/bytes.ts'
import { MoonmeshError } from '../base/errors.ts'
import { record, type Value } from '../base/value.ts'
import { makeDirectory } from '../make-directory.ts'
import type { NodeService } from '../node-services.ts'
import type { ResourceKeeper } from '../resources.ts'
import { isStorable, linesOf, withVariable } from './core/env-file.ts'

/** Names are text, values bytes. */
interface Storage {
  get(name: string): Promise<string | undefined>
  /** @throws MoonmeshError `PermissionDenied` when it cannot be written */
  set(name: string, value: string): Promise<void>
  all(): Promise<Readonly<Record<string, string>>>
}

export class EnvKeeper implements ResourceKeeper, NodeService {
  readonly kinds = [
    'env.storage.memory',
    'env.storage.os',
    'env.storage.static',
    'env.storage.file',
    'env.storage.router',
    'env.variable',
  ] as const
  readonly #osVariables: Readonly<Record<string, string | undefined>>
  #storages = new Map<string, { entry: StorageEntry; storage: Storage }>()
  #byId = new Map<string, VariableEntry>()
  #byName = new Map<string, VariableEntry>()

  constructor(osVariables: Readonly<Record<string, string | undefined>>) {
    this.#osVariables = osVariables
  }

  configure(entries: readonly Entry[]): void {
    const storages = new Map<string, { entry: StorageEntry; storage: Storage }>()
    const byId = new Map<string, VariableEntry>()
    const byName = new Map<string, VariableEntry>()
    for (const entry of entries) {
      if (entry.kind === 'env.variable') {
        byId.set(entry.id, entry)
        if (entry.variable === undefined) continue
        const other = byName.get(entry.variable)
        if (other !== undefined) {
          throw new MoonmeshError('Invalid', `${other.id} and ${entry.id} are both the variable ${entry.variable}`, {
            retryable: false,
          })
        }
        byName.set(entry.variable, entry)
      } else {
        const known = this.#storages.get(entry.id)
        // What a memory storage holds outlives changes of other entries.
        const storage = known?.entry === entry ? known.storage : this.#storageOf(entry as StorageEntry)
        storages.set(entry.id, { entry: entry as StorageEntry, storage })
      }
    }
    assertNoCircle(storages)
    this.#storages = storages
    this.#byId = byId
    this.#byName = byName
  }

  #storageOf(entry: StorageEntry): Storage {
    switch (entry.kind) {
      case 'env.storage.memory':
        return new MemoryStorage()
      case 'env.storage.os':
        return readOnly(this.#osVariables)
      case 'env.storage.static':
        return readOnly(entry.values)
      case 'env.storage.file':
        return new FileStorage({ ...entry, path: resolve(dirname(entry.file), entry.filePath) })
      case 'env.storage.router':
        return new RouterStorage(() => entry.storages.flatMap((id) => this.#storages.get(id)?.storage ?? []))
    }
  }

  readonly methods: NodeService['methods'] = {
    get: ([key], { entry }) => this.#get(toText(key as string), toText(entry)),
    set: async ([key, value], { entry }) => {
      await this.#set(toText(key as string), value as string, toText(entry))
      return undefined
    },
    all: async () => {
      const merged: Record<string, Value> = {}
      for (const { storage } of this.#storages.values()) {
        for (const [name, value] of Object.entries(await storage.all())) merged[toBytes(name)] = value
      }
      return record(merged)
    },
  }

  /** By public name, by id, by name within the caller's namespace. @throws MoonmeshError `NotFound` */
  #variable(key: string, callerEntry: string): VariableEntry {
    const inNamespace = `${callerEntry.slice(0, Math.max(0, callerEntry.indexOf(':')))}:${key}`
    const found =
      this.#byName.get(key) ?? this.#byId.get(key) ?? (key.includes(':') ? undefined : this.#byId.get(inNamespace))
    if (found === undefined) throw notFound(key)
    return found
  }

  /** An empty text counts as none. */
  async #get(key: string, callerEntry: string): Promise<string> {
    const variable = this.#variable(key, callerEntry)
    const stored = await this.#storages.get(variable.storage)?.storage.get(variable.variable ?? variable.id)
    const value = stored === undefined || stored === '' ? toBytes(variable.default ?? '') : stored
    if (value === '') throw notFound(key)
    return value
  }

  async #set(key: string, value: string, callerEntry: string): Promise<void> {
    const variable = this.#variable(key, callerEntry)
    if (variable.readonly) {
      throw new MoonmeshError('PermissionDenied', `environment variable is read-only: ${key}`, { retryable: false })
    }
    await this.#storages.get(variable.storage)?.storage.set(variable.variable ?? variable.id, value)
  }
}

function notFound(key: string): MoonmeshError {
  return new MoonmeshError('NotFound', `environment variable not found: ${key}`, { retryable: false })
}

class MemoryStorage implements Storage {
  readonly #values = new Map<string, string>()
  async get(name: string): Promise<string | undefined> {
    return this.#values.get(name)
  }
  async set(name: string, value: string): Promise<void> {
    this.#values.set(name, value)
  }
  async all(): Promise<Record<string, string>> {
    return Object.fromEntries(this.#values)
  }
}

function readOnly(values: Readonly<Record<string, string | undefined>>): Storage {
  const bytesOf = (name: string): string | undefined => {
    const value = Object.hasOwn(values, name) ? values[name] : undefined
    return value === undefined ? undefined : toBytes(value)
  }
  return {
    get: async (name) => bytesOf(name),
    set: async () => refuseWriting(),
    all: async () =>
      Object.fromEntries(
        Object.keys(values).flatMap((name) => {
          const value = bytesOf(name)
          return value === undefined ? [] : [[name, value]]
        }),
      ),
  }
}

function refuseWriting(): never {
  throw new MoonmeshError('PermissionDenied', 'storage is read-only', { retryable: false })
}

const PERMISSIONS = 0o7777
const NOT_STORABLE = 'a value in a file has no line end, no # and no space at its ends: it would be read as another'

interface FileOptions {
  readonly path: string
  readonly autoCreate: boolean
  readonly fileMode: number
  readonly dirMode: number
}

class FileStorage implements Storage {
  readonly #options: FileOptions
  /** One change after the other. */
  #writing: Promise<unknown> = Promise.resolve()

  constructor(options: FileOptions) {
    this.#options = options
  }

  /** Bytes, so that a change leaves every other line what it is; undefined when there is no file. */
  async #bytes(): Promise<string | undefined> {
    try {
      return await readFile(this.#options.path, 'latin1')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw new MoonmeshError('Internal', `cannot read ${this.#options.path}: ${(error as Error).message}`)
    }
  }

  async get(name: string): Promise<string | undefined> {
    return linesOf((await this.#bytes()) ?? '').get(toBytes(name))
  }

  async all(): Promise<Record<string, string>> {
    const lines = linesOf((await this.#bytes()) ?? '')
    return Object.fromEntries([...lines].map(([name, value]) => [toText(name), value]))
  }

  /** Of the file itself: a link to it stays one. */
  async #realPath(): Promise<string> {
    return realpath(this.#options.path).catch(() => this.#options.path)
  }

  set(name: string, value: string): Promise<void> {
    const done = this.#writing.then(() => this.#write(name, value))
    this.#writing = done.catch(() => {})
    return done
  }

  /** Written aside and renamed, so that nobody ever reads half a file. */
  async #write(name: string, value: string): Promise<void> {
    if (!isStorable(value)) throw new MoonmeshError('Invalid', NOT_STORABLE, { retryable: false })
    const { autoCreate, fileMode, dirMode } = this.#options
    const path = await this.#realPath()
    const bytes = await this.#bytes()
    if (bytes === undefined && !autoCreate) {
      throw new MoonmeshError('NotFound', `${path} does not exist; create it or set auto_create`, { retryable: false })
    }
    const changed = withVariable(bytes ?? '', toBytes(name), value)
    const aside = `${path}.new`
    try {
      if (bytes === undefined) await makeDirectory(dirname(path), dirMode)
      // Nobody else may read the secrets of a file that is there.
      const mode = bytes === undefined ? undefined : (await stat(path)).mode & PERMISSIONS
      await writeFile(aside, changed, { encoding: 'latin1', mode: mode ?? fileMode, flush: true })
      if (mode !== undefined) await chmod(aside, mode)
      await rename(aside, path)
    } catch (error) {
      await rm(aside, { force: true })
      throw new MoonmeshError('Internal', `cannot write ${path}: ${(error as Error).message}`)
    }
  }
}

/** Reads from the first storage that has a name, writes to the first of all. */
class RouterStorage implements Storage {
  readonly #storages: () => readonly Storage[]

  constructor(storages: () => readonly Storage[]) {
    this.#storages = storages
  }

  async get(name: string): Promise<string | undefined> {
    for (const storage of this.#storages()) {
      const value = await storage.get(name)
      if (value !== undefined) return value
    }
    return undefined
  }

  async set(name: string, value: string): Promise<void> {
    await this.#storages()[0]?.set(name, value)
  }

  async all(): Promise<Record<string, string>> {
    const merged: Record<string, string> = {}
    for (const storage of [...this.#storages()].reverse()) Object.assign(merged, await storage.all())
    return merged
  }
}

/** @throws MoonmeshError when a router leads back to itself */
function assertNoCircle(storages: ReadonlyMap<string, { entry: StorageEntry }>): void {
  const done = new Set<string>()
  const visit = (id: string, path: readonly string[]): void => {
    if (path.includes(id)) {
      const text = `storages lead back to themselves: ${[...path.slice(path.indexOf(id)), id].join(' -> ')}`
      throw new MoonmeshError('Invalid', text, { retryable: false })
    }
    const entry = storages.get(id)?.entry
    if (done.has(id) || entry?.kind !== 'env.storage.router') return
    for (const next of entry.storages) visit(next, [...path, id])
    done.add(id)
  }
  for (const id of storages.keys()) visit(id, [])
}
