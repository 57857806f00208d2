// Entries: what the loader makes of them, from what stands in a file to what a node runs. lua-core.md §4.

import type { z } from 'zod'
import { idProblem, type RawEntry } from './entry-file.ts'
import {
  fieldValue,
  type Located,
  type LocatedMap,
  mapFields,
  mapItems,
  plainFields,
  plainOf,
  selectFields,
  textOf,
} from './located.ts'
import { didYouMean, type Path, type Place, type ProblemList, show } from './problems.ts'
import {
  ENTRY_KINDS,
  type EntryKind,
  entrySchemas,
  type HostLimits,
  isEntryKind,
  isLuaKind,
  type Lifecycle,
  type Pool,
} from './schema.ts'
import { validate } from './validate.ts'
import { substitute, type Variables } from './variables.ts'

interface EntryBase {
  /** `namespace:name` */
  readonly id: string
  readonly namespace: string
  readonly name: string
  readonly meta: Readonly<Record<string, unknown>>
  /** Every field but name, kind and meta, as scripts see it: plain data, the source as text, references as full ids. */
  readonly data: Readonly<Record<string, unknown>>
  /** The file that declares it, absolute; '' for an entry of an embedding program. */
  readonly file: string
  /** Where it begins in that file, 1-based; 0 without a file. */
  readonly line: number
}

interface CodeEntry extends EntryBase {
  /** The chunk. */
  readonly source: string
  /** The file that the chunk was read from, absolute; undefined when it stands in the entry. */
  readonly sourceFile: string | undefined
  readonly modules: readonly string[]
  /** Alias to the full id of a Lua entry. */
  readonly imports: Readonly<Record<string, string>>
}

export interface ProcessEntry extends CodeEntry {
  readonly kind: 'process.lua'
  readonly method: string
  readonly memoryLimitBytes?: number | undefined
}

export interface FunctionEntry extends CodeEntry {
  readonly kind: 'function.lua'
  readonly method: string
  readonly memoryLimitBytes?: number | undefined
  readonly pool: Pool
}

export interface LibraryEntry extends CodeEntry {
  readonly kind: 'library.lua'
}

interface ProcessHostEntry extends EntryBase {
  readonly kind: 'process.host'
  readonly host: HostLimits
  readonly lifecycle: Lifecycle
}

interface TerminalHostEntry extends EntryBase {
  readonly kind: 'terminal.host'
  readonly hidesLogs: boolean
  readonly lifecycle: Lifecycle
}

export interface ServiceEntry extends EntryBase {
  readonly kind: 'process.service'
  /** Full ids. */
  readonly process: string
  readonly host: string
  /** One argument of the process each. */
  readonly input: readonly unknown[]
  readonly lifecycle: Lifecycle
}

/** An entry that a keeper of the node brings to life (runtime/resources.ts): its fields are those of its kind's schema. */
type ResourceEntry<K extends EntryKind> = EntryBase & { readonly kind: K } & Omit<
    z.output<(typeof entrySchemas)[K]>,
    'meta'
  >

type MemoryStorageEntry = ResourceEntry<'env.storage.memory'>
type OsStorageEntry = ResourceEntry<'env.storage.os'>
type StaticStorageEntry = ResourceEntry<'env.storage.static'>
type FileStorageEntry = ResourceEntry<'env.storage.file'>
type RouterStorageEntry = ResourceEntry<'env.storage.router'>
export type StorageEntry =
  | MemoryStorageEntry
  | OsStorageEntry
  | StaticStorageEntry
  | FileStorageEntry
  | RouterStorageEntry
export type VariableEntry = ResourceEntry<'env.variable'>
export type MemoryStoreEntry = ResourceEntry<'store.memory'>
export type CrdtStoreEntry = ResourceEntry<'store.kv.crdt'>
/** A scope of process groups. */
export type GroupScopeEntry = ResourceEntry<'pg.scope'>
export type RaftStoreEntry = ResourceEntry<'store.kv.raft'>
type QueueDriverEntry = ResourceEntry<'queue.driver.memory'>
export type QueueEntry = ResourceEntry<'queue.queue'>
export type ConsumerEntry = ResourceEntry<'queue.consumer'>
export type PolicyEntry = ResourceEntry<'security.policy'> | ResourceEntry<'security.policy.expr'>
/** A volume of the module `fs`. */
export type DirectoryEntry = ResourceEntry<'fs.directory'>

interface DataEntry extends EntryBase {
  readonly kind: 'registry.entry'
}

export type HostEntry = ProcessHostEntry | TerminalHostEntry
export type Entry =
  | ProcessEntry
  | FunctionEntry
  | LibraryEntry
  | HostEntry
  | ServiceEntry
  | StorageEntry
  | VariableEntry
  | MemoryStoreEntry
  | CrdtStoreEntry
  | RaftStoreEntry
  | GroupScopeEntry
  | QueueDriverEntry
  | QueueEntry
  | ConsumerEntry
  | PolicyEntry
  | DirectoryEntry
  | DataEntry

/** Ids that must run before this entry: what its own fields name and what its lifecycle requires. Each once. */
export function dependenciesOf(entry: Entry): readonly string[] {
  if (!('lifecycle' in entry)) return []
  const named =
    entry.kind === 'process.service'
      ? [entry.host, entry.process]
      : entry.kind === 'queue.consumer'
        ? [entry.queue, entry.func]
        : []
  return [...new Set([...named, ...entry.lifecycle.requires])]
}

/** An entry whose variables are replaced and whose references are full ids, as far as they could be made out. */
export interface Declaration {
  readonly raw: RawEntry
  readonly name: string | undefined
  /** Undefined when namespace or name are missing or wrong. */
  readonly id: string | undefined
  /** Undefined when it is missing or unknown. */
  readonly kind: EntryKind | undefined
  readonly located: LocatedMap
  readonly references: readonly Reference[]
}

/** One entry names another. */
export interface Reference {
  /** The first key of the path: `process`, `host`, `imports`, `lifecycle`. */
  readonly field: string
  readonly to: string
  readonly at: Place
  readonly path: Path
}

/** Undefined, and a problem, when it is no map at all. */
export function declare(raw: RawEntry, variables: Variables, problems: ProblemList): Declaration | undefined {
  if (raw.located.kind !== 'map') {
    const found = show(plainOf(raw.located))
    problems.add(raw.located.at, raw.path, `expected an entry (a map with name and kind), found ${found}`)
    return undefined
  }
  const substituted = substituteFields(raw.located, raw.path, variables, problems)
  const name = nameOf(substituted, raw.path, problems)
  const kind = entryKindOf(substituted, raw.path, problems)
  const id = raw.namespace === undefined || name === undefined ? undefined : `${raw.namespace}:${name}`
  const references: Reference[] = []
  const located = kind === undefined ? substituted : qualify(substituted, raw, kind, references)
  return { raw, name, id, kind, located, references }
}

/** Replaces the variables of every field, but not in Lua text. */
function substituteFields(located: LocatedMap, path: Path, variables: Variables, problems: ProblemList): LocatedMap {
  const kind = textOf(fieldValue(located, 'kind'))
  return mapFields(located, (value, key) => {
    const isLuaText = key === 'source' && kind !== 'registry.entry' && !isFileSource(textOf(value))
    return isLuaText ? value : substitute(value, [...path, key], variables, problems)
  })
}

const FILE_SCHEME = 'file://'

export function isFileSource(source: string | undefined): source is string {
  return source?.startsWith(FILE_SCHEME) ?? false
}

/** The path behind `file://`. */
export const filePathOf = (source: string): string => source.slice(FILE_SCHEME.length)

function nameOf(located: LocatedMap, path: Path, problems: ProblemList): string | undefined {
  const field = fieldValue(located, 'name')
  const name = textOf(field)
  const why = name === undefined ? missing('a name within the namespace', field) : idProblem(name)
  if (why === undefined) return name
  problems.add((field ?? located).at, [...path, 'name'], why)
  return undefined
}

function missing(expected: string, field: Located | undefined): string {
  const found = field === undefined ? null : plainOf(field)
  return found === null ? `required field is missing (${expected})` : `expected ${expected}, found ${show(found)}`
}

function entryKindOf(located: LocatedMap, path: Path, problems: ProblemList): EntryKind | undefined {
  const field = fieldValue(located, 'kind')
  const kind = textOf(field)
  if (isEntryKind(kind)) return kind
  const why = kind === undefined ? missing('a kind such as "process.lua"', field) : unknownKind(kind)
  problems.add((field ?? located).at, [...path, 'kind'], why)
  return undefined
}

function unknownKind(kind: string): string {
  const unknown = `unknown kind ${show(kind)}`
  if (kind === 'workflow.lua' || kind === 'module.lua') {
    return `${unknown}: it is not supported; there are process.lua, function.lua and library.lua`
  }
  if (kind.endsWith('.lua.bc')) {
    return `${unknown}: precompiled code is not supported; give the Lua source as ${show(kind.slice(0, -'.bc'.length))}`
  }
  return unknown + (didYouMean(kind, ENTRY_KINDS) || `; there are ${ENTRY_KINDS.join(', ')}`)
}

// ---- references

/** Where entries of a kind name others; `*` stands for every item or key. */
const REFERENCES: Partial<Record<EntryKind, readonly (readonly string[])[]>> = (() => {
  const lifecycle = [
    ['lifecycle', 'requires', '*'],
    ['lifecycle', 'depends_on', '*'],
  ]
  const imports = [['imports', '*']]
  return {
    'process.lua': imports,
    'function.lua': imports,
    'library.lua': imports,
    'process.host': lifecycle,
    'terminal.host': lifecycle,
    'process.service': [['process'], ['host'], ...lifecycle],
    'env.storage.router': [['storages', '*']],
    'env.variable': [['storage']],
    'store.memory': lifecycle,
    'store.kv.crdt': lifecycle,
    'store.kv.raft': lifecycle,
    'pg.scope': lifecycle,
    'queue.driver.memory': lifecycle,
    'queue.queue': [['driver']],
    'queue.consumer': [['queue'], ['func'], ...lifecycle],
  }
})()

/** Ids of the entries that this one's fields name. Each once. */
export function referencesOf({ kind, data }: Entry): readonly string[] {
  const found = new Set<string>()
  const visit = (value: unknown, [step, ...rest]: readonly string[]): void => {
    if (step === undefined) {
      if (typeof value === 'string') found.add(value)
    } else if (typeof value === 'object' && value !== null) {
      for (const [key, inner] of Object.entries(value)) if (step === '*' || step === key) visit(inner, rest)
    }
  }
  for (const steps of REFERENCES[kind] ?? []) visit(data, steps)
  return [...found]
}

/** Completes the references of an entry with its namespace, and lists them. */
function qualify(located: LocatedMap, raw: RawEntry, kind: EntryKind, references: Reference[]): LocatedMap {
  const visit = (at: Located, [step, ...rest]: readonly string[], path: Path): Located => {
    if (step === undefined) return qualified(at, path)
    if (at.kind === 'list' && step === '*') return mapItems(at, (item, i) => visit(item, rest, [...path, i]))
    if (at.kind !== 'map') return at
    return mapFields(at, (value, key) => (step === '*' || step === key ? visit(value, rest, [...path, key]) : value))
  }
  const qualified = (at: Located, path: Path): Located => {
    const written = textOf(at)
    if (written === undefined || written === '') return at
    const isFull = written.includes(':')
    if (!isFull && raw.namespace === undefined) return at
    const to = isFull ? written : `${raw.namespace}:${written}`
    references.push({ field: String(path[raw.path.length]), to, at: at.at, path })
    return { kind: 'scalar', at: at.at, value: to }
  }
  return (REFERENCES[kind] ?? []).reduce((map, steps) => visit(map, steps, raw.path) as LocatedMap, located)
}

// ---- reading

/** An entry's own fields by its kind's schema. Its source must be text by now. Undefined when there are problems. */
export function readEntry(
  declaration: Declaration,
  located: LocatedMap,
  sourceFile: string | undefined,
  problems: ProblemList,
): Entry | undefined {
  const { raw, id, kind, name } = declaration
  if (kind === undefined) return undefined
  const own = selectFields(located, (key) => !raw.idKeys.includes(key))
  const fields = validate(entrySchemas[kind], own, raw.path, problems, raw.idKeys)
  if (fields === undefined || id === undefined) return undefined
  const base = {
    id,
    namespace: raw.namespace,
    name,
    kind,
    data: plainFields(selectFields(own, (key) => key !== 'meta')),
    file: raw.file,
    line: raw.located.at.line,
  }
  // The schema of the kind has made sure of the fields.
  return { ...base, ...fields, ...(isLuaKind(kind) ? { sourceFile } : {}) } as Entry
}
