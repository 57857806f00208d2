// Entries: from what stands in a file to what the node runs, with every reference checked. lua-core.md §4, operations.md §1.

import { readFile, stat } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import type { z } from 'zod'
import { findingsOf, show } from './explain.ts'
import { didYouMean, type Problem, pathText } from './problems.ts'
import { type EntryKind, entryKinds, entrySchemas, isEntryKind, type Lifecycle, type ParsedEntry } from './schema.ts'
import { isMap, keysOfSchema, valueAt } from './settings.ts'

interface EntryBase {
  readonly id: string
  readonly namespace: string
  readonly name: string
  readonly meta: Readonly<Record<string, unknown>>
  /** Every field but name, kind and meta, as it was written; a source is its text. */
  readonly data: Readonly<Record<string, unknown>>
  /** The file that declares it. */
  readonly file: string
}

interface CodeFields {
  readonly source: string
  /** The file that the source was read from; undefined when it stands in the entry. */
  readonly sourceFile: string | undefined
  readonly modules: readonly string[]
  /** Alias to the full id of a Lua entry. */
  readonly imports: Readonly<Record<string, string>>
}

export type ProcessEntry = EntryBase & CodeFields & { readonly kind: 'process.lua'; readonly method: string }
export type FunctionEntry = EntryBase & CodeFields & { readonly kind: 'function.lua'; readonly method: string }
export type LibraryEntry = EntryBase & CodeFields & { readonly kind: 'library.lua' }
export type ProcessHostEntry = EntryBase & {
  readonly kind: 'process.host'
  readonly host: z.output<(typeof entrySchemas)['process.host']>['host']
  readonly lifecycle: Lifecycle
}
export type TerminalHostEntry = EntryBase & {
  readonly kind: 'terminal.host'
  readonly hidesLogs: boolean
  readonly lifecycle: Lifecycle
}
export type HostEntry = ProcessHostEntry | TerminalHostEntry
export type ServiceEntry = EntryBase & {
  readonly kind: 'process.service'
  readonly process: string
  readonly host: string
  readonly input: readonly unknown[]
  readonly lifecycle: Lifecycle
}
export type DataEntry = EntryBase & { readonly kind: 'registry.entry' }
export type Entry = ProcessEntry | FunctionEntry | LibraryEntry | HostEntry | ServiceEntry | DataEntry

export interface EntryRules {
  /** Names that `modules:` may hold. */
  moduleNames: ReadonlySet<string>
  /** Ids that exist without an entry, by the kind that they stand for: the actors of an embedding program, and their host. */
  builtIn?: ReadonlyMap<string, EntryKind>
  /** Compiles a chunk; tells what is wrong with it, or undefined. `chunkName` is the entry id. */
  compile(chunkName: string, source: string): { line: number; text: string } | undefined
}

/** An entry as it was found, with the way to its place. */
export interface RawEntry {
  readonly value: unknown
  readonly namespace: string
  readonly file: string
  /** Where it stands in its file: `['entries', 3]`. */
  readonly path: readonly PropertyKey[]
  place(path: readonly PropertyKey[], isKey?: boolean): { file: string; line: number; column: number }
}

const SOURCE_BYTES_MAX = 1024 * 1024
const FILE_SCHEME = 'file://'
const NAME = /^[^\s:@|{}]+$/

interface Draft {
  readonly entry: Entry
  readonly raw: RawEntry
}

export class EntryReader {
  readonly #rules: EntryRules
  readonly #problems: Problem[]
  readonly #drafts = new Map<string, Draft>()
  /** Ids of entries that are wrong by themselves: whoever refers to them is not to blame. */
  readonly #wrong = new Set<string>()

  constructor(rules: EntryRules, problems: Problem[]) {
    this.#rules = rules
    this.#problems = problems
  }

  /** Checks one entry by itself; references wait for `finish`. */
  async add(raw: RawEntry): Promise<void> {
    if (!isMap(raw.value)) return this.#report(raw, [], `expected a map with name and kind, got ${show(raw.value)}`)
    const { name, kind } = raw.value
    if (typeof name !== 'string' || !NAME.test(name)) {
      const got =
        name === undefined
          ? 'required (a string)'
          : `expected a name without spaces or any of : @ | { }, got ${show(name)}`
      this.#report(raw, ['name'], got)
    }
    if (typeof kind !== 'string' || !isEntryKind(kind)) {
      this.#wrong.add(`${raw.namespace}:${String(name)}`)
      return this.#report(raw, ['kind'], kindProblem(kind))
    }
    const parsed = entrySchemas[kind].safeParse(raw.value)
    if (!parsed.success) {
      this.#wrong.add(`${raw.namespace}:${String(name)}`)
      const known = (path: readonly PropertyKey[]): readonly string[] => keysOfSchema(entrySchemas[kind], path)
      for (const { path, isKey, message } of findingsOf(parsed.error.issues, known, (path) =>
        valueAt(raw.value, path),
      )) {
        // The name has been looked at already.
        if (path[0] !== 'name') this.#report(raw, path, message, isKey)
      }
      return
    }
    if (typeof name === 'string' && NAME.test(name)) await this.#draft(raw, { ...parsed.data, kind } as ParsedEntry)
  }

  async #draft(raw: RawEntry, parsed: ParsedEntry): Promise<void> {
    const id = `${raw.namespace}:${parsed.name}`
    const first = this.#drafts.get(id)
    if (first !== undefined) {
      const place = first.raw.place([])
      const where = place.line === 0 ? place.file : `${place.file}:${place.line}`
      return this.#report(raw, ['name'], `duplicate entry id "${id}" (first at ${where})`)
    }
    const { name: _name, kind: _kind, meta: _meta, ...data } = raw.value as Record<string, unknown>
    const base = { id, namespace: raw.namespace, name: parsed.name, meta: parsed.meta, data, file: raw.file }
    const entry = await this.#build(raw, parsed, base)
    if (entry === undefined) this.#wrong.add(id)
    else this.#drafts.set(id, { entry, raw })
  }

  async #build(raw: RawEntry, parsed: ParsedEntry, base: EntryBase): Promise<Entry | undefined> {
    const full = (reference: string): string => (reference.includes(':') ? reference : `${raw.namespace}:${reference}`)
    switch (parsed.kind) {
      case 'process.lua':
      case 'function.lua':
      case 'library.lua': {
        const code = await this.#code(raw, parsed)
        if (code === undefined) return undefined
        const data = { ...base.data, source: code.source }
        const imports = Object.fromEntries(Object.entries(parsed.imports).map(([alias, id]) => [alias, full(id)]))
        const fields = { ...base, ...code, data, modules: parsed.modules, imports }
        return parsed.kind === 'library.lua'
          ? { ...fields, kind: parsed.kind }
          : { ...fields, kind: parsed.kind, method: parsed.method }
      }
      case 'process.host':
        return { ...base, kind: parsed.kind, host: parsed.host, lifecycle: resolved(parsed.lifecycle, full) }
      case 'terminal.host':
        return { ...base, kind: parsed.kind, hidesLogs: parsed.hide_logs, lifecycle: resolved(parsed.lifecycle, full) }
      case 'process.service': {
        const { kind, process, host, input, lifecycle } = parsed
        return { ...base, kind, process: full(process), host: full(host), input, lifecycle: resolved(lifecycle, full) }
      }
      case 'registry.entry':
        return { ...base, kind: parsed.kind }
    }
  }

  // ---- sources

  async #code(
    raw: RawEntry,
    parsed: { source: string; name: string },
  ): Promise<Pick<CodeFields, 'source' | 'sourceFile'> | undefined> {
    const isFile = parsed.source.startsWith(FILE_SCHEME)
    const sourceFile = isFile ? resolve(dirname(raw.file), parsed.source.slice(FILE_SCHEME.length)) : undefined
    const source = sourceFile === undefined ? parsed.source : await this.#readSource(raw, sourceFile)
    if (source === undefined) return undefined
    const problem = this.#rules.compile(`${raw.namespace}:${parsed.name}`, source)
    if (problem === undefined) return { source, sourceFile }
    const message = `Lua syntax: ${problem.text}`
    if (sourceFile !== undefined) {
      this.#problems.push({ file: sourceFile, line: problem.line, column: 1, path: '', message })
    } else {
      this.#report(raw, ['source'], `${message} (line ${problem.line} of the source)`)
    }
    return undefined
  }

  async #readSource(raw: RawEntry, file: string): Promise<string | undefined> {
    const report = (why: string): undefined => {
      this.#report(raw, ['source'], why)
      return undefined
    }
    try {
      const { size } = await stat(file)
      if (size > SOURCE_BYTES_MAX) return report(`${file} has ${size} bytes; a source has at most ${SOURCE_BYTES_MAX}`)
      const bytes = await readFile(file)
      return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code === 'ENOENT')
        return report(`no such file ${file}; create it or correct the path (it is relative to ${raw.file})`)
      if (code === 'EISDIR') return report(`${file} is a directory, not a Lua file`)
      if (code === 'EACCES') return report(`${file} cannot be read: permission denied`)
      return report(
        code === 'ERR_ENCODING_INVALID_ENCODED_DATA'
          ? `${file} is not UTF-8 text`
          : `${file} cannot be read: ${String(error)}`,
      )
    }
  }

  // ---- references

  /** Checks what entries say of each other; the entries, sorted by id. */
  finish(): Entry[] {
    for (const draft of this.#drafts.values()) this.#checkReferences(draft)
    this.#checkCycles('import cycle', (entry) => ('imports' in entry ? Object.values(entry.imports) : []), 'imports')
    this.#checkCycles('services depend on each other in a cycle', dependenciesOf, 'lifecycle')
    return [...this.#drafts.values()].map(({ entry }) => entry).sort((a, b) => (a.id < b.id ? -1 : 1))
  }

  #checkReferences({ entry, raw }: Draft): void {
    if ('imports' in entry) {
      for (const [i, name] of entry.modules.entries()) {
        if (!this.#rules.moduleNames.has(name)) {
          const hint = didYouMean(name, this.#rules.moduleNames)
          this.#report(
            raw,
            ['modules', i],
            `unknown module "${name}"${hint || `; there are: ${[...this.#rules.moduleNames].sort().join(', ')}`}`,
          )
        }
      }
      for (const [alias, id] of Object.entries(entry.imports)) {
        this.#checkReference(raw, ['imports', alias], id, ['library.lua', 'process.lua', 'function.lua'])
      }
    }
    if (entry.kind === 'process.service') {
      this.#checkReference(raw, ['process'], entry.process, ['process.lua'])
      this.#checkReference(raw, ['host'], entry.host, ['process.host', 'terminal.host'])
    }
    if ('lifecycle' in entry) {
      const written = (raw.value as { lifecycle?: { requires?: string[]; depends_on?: string[] } }).lifecycle
      for (const key of ['requires', 'depends_on'] as const) {
        for (const [i, reference] of (written?.[key] ?? []).entries()) {
          const id = reference.includes(':') ? reference : `${raw.namespace}:${reference}`
          this.#checkReference(raw, ['lifecycle', key, i], id, entryKinds)
        }
      }
    }
  }

  #checkReference(raw: RawEntry, path: readonly PropertyKey[], id: string, kinds: readonly EntryKind[]): void {
    // Built-in actors and their host have no code of ours: services may name them, imports may not.
    const builtIn = path[0] === 'imports' ? undefined : this.#rules.builtIn
    const kind = this.#drafts.get(id)?.entry.kind ?? builtIn?.get(id)
    if (kind === undefined) {
      if (this.#wrong.has(id)) return
      const known = [...this.#drafts].map(([key, { entry }]) => [key, entry.kind] as const)
      const candidates = [...known, ...(builtIn ?? [])].flatMap(([key, each]) => (kinds.includes(each) ? [key] : []))
      this.#report(raw, path, `no entry "${id}"${didYouMean(id, candidates)}`)
    } else if (!kinds.includes(kind)) {
      this.#report(raw, path, `"${id}" is a ${kind}; expected ${kinds.join(' or ')}`)
    }
  }

  /** Each cycle is reported once, at the entry of it that comes first. */
  #checkCycles(what: string, next: (entry: Entry) => readonly string[], field: string): void {
    const done = new Set<string>()
    for (const start of this.#drafts.keys()) {
      const cycle = findCycle(
        start,
        (id) => {
          const draft = this.#drafts.get(id)
          return draft === undefined ? [] : next(draft.entry)
        },
        done,
      )
      const draft = cycle === undefined ? undefined : this.#drafts.get(cycle[0] as string)
      if (cycle !== undefined && draft !== undefined) this.#report(draft.raw, [field], `${what}: ${cycle.join(' -> ')}`)
    }
  }

  #report(raw: RawEntry, path: readonly PropertyKey[], message: string, isKey = false): void {
    this.#problems.push({ ...raw.place(path, isKey), path: pathText([...raw.path, ...path]), message })
  }
}

/** Entries that must run before this one, by its own fields. */
export function dependenciesOf(entry: Entry): readonly string[] {
  if (!('lifecycle' in entry)) return []
  const named = entry.kind === 'process.service' ? [entry.host, entry.process] : []
  return [...new Set([...named, ...entry.lifecycle.requires])]
}

function resolved(lifecycle: Lifecycle, full: (reference: string) => string): Lifecycle {
  return { ...lifecycle, requires: lifecycle.requires.map(full) }
}

/** A cycle reachable from `start`, its first id repeated at the end. Without recursion: a chain may be long. */
function findCycle(start: string, next: (id: string) => readonly string[], done: Set<string>): string[] | undefined {
  if (done.has(start)) return undefined
  const path: string[] = [start]
  const waiting: string[][] = [[...next(start)]]
  const onPath = new Set(path)
  while (path.length > 0) {
    const id = waiting.at(-1)?.shift()
    if (id === undefined) {
      const left = path.pop() as string
      waiting.pop()
      onPath.delete(left)
      done.add(left)
    } else if (onPath.has(id)) {
      for (const each of path) done.add(each)
      return [...path.slice(path.indexOf(id)), id]
    } else if (!done.has(id)) {
      path.push(id)
      onPath.add(id)
      waiting.push([...next(id)])
    }
  }
  return undefined
}

const UNSUPPORTED = new Set(['workflow.lua', 'module.lua'])

function kindProblem(kind: unknown): string {
  if (kind === undefined) return 'required (a string)'
  if (typeof kind !== 'string') return `expected a kind such as "process.lua", got ${show(kind)}`
  const why = UNSUPPORTED.has(kind) || kind.endsWith('.lua.bc') ? ' (not supported)' : ''
  const hint = didYouMean(kind, entryKinds) || `; there are: ${entryKinds.join(', ')}`
  return `unknown kind "${kind}"${why}${hint}`
}
