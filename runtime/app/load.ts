// Loads an app: its files, settings and entries. Everything that is wrong comes out in one go; nothing here throws for bad input.
// operations.md §1.

import { assert } from '../base/assert.ts'
import { DEFAULT_LUA, type LuaSettings } from '../lua/engines.ts'
import type { ClusterReader } from './cluster-section.ts'
import { type Declaration, declare, type Entry, readEntry } from './entries.ts'
import { idProblem, type RawEntry } from './entry-file.ts'
import { readAppFiles } from './include.ts'
import {
  DEPTH_MAX,
  emptyMap,
  fieldValue,
  type LocatedMap,
  locatedFrom,
  plainOf,
  scalar,
  textOf,
  withField,
} from './located.ts'
import { compareText, didYouMean, type Problem, ProblemList, show, sortedText, wholeOf } from './problems.ts'
import { checkReferences, indexById, type Others } from './references.ts'
import { type EntryKind, isLuaKind } from './schema.ts'
import { composeSettings, type Settings } from './settings.ts'
import { type Compile, inlineSource } from './sources.ts'
import type { Variables } from './variables.ts'

export type { ClusterReader } from './cluster-section.ts'
export type {
  ConsumerEntry,
  CrdtStoreEntry,
  DirectoryEntry,
  Entry,
  FunctionEntry,
  GroupScopeEntry,
  HostEntry,
  LibraryEntry,
  MemoryStoreEntry,
  PolicyEntry,
  ProcessEntry,
  QueueEntry,
  RaftStoreEntry,
  ServiceEntry,
  StorageEntry,
  VariableEntry,
} from './entries.ts'
export { dependenciesOf, referencesOf } from './entries.ts'
export type { Problem } from './problems.ts'
export type { EntryKind, Security } from './schema.ts'

export interface EntryRules {
  /** Names that `modules:` may hold. */
  readonly moduleNames: ReadonlySet<string>
  readonly compile: Compile
  /** Ids that services may name without an entry: the actors of an embedding program, and their host. By the kind they stand for. */
  readonly builtIn?: ReadonlyMap<string, EntryKind>
}

interface SettingsOptions {
  /** Files of settings over the app's, later ones over earlier ones. */
  readonly configFiles?: readonly string[]
  /** Variables for settings and for `${env:NAME}`; none by default. */
  readonly env?: Readonly<Record<string, string | undefined>>
  /** `path=value` */
  readonly set?: readonly string[]
  /** Reads the `cluster` section; without one it is passed over, and there is no cluster. */
  readonly cluster?: ClusterReader
}

export interface LoadOptions extends EntryRules, SettingsOptions {
  /** The app file, or a folder. */
  readonly path: string
}

export interface LoadEntriesOptions extends EntryRules, SettingsOptions {
  /** Entries that are there already: the new ones may refer to them, and must not have their ids. */
  readonly beside?: readonly Entry[]
  /** What runs the code, when other settings than these say it. */
  readonly lua?: LuaSettings
  /** The id of each definition, when it stands beside its fields; then `id` and `namespace` among those are fields like others. */
  readonly ids?: readonly string[]
}

export interface App {
  /** Absolute: the app file; the folder, when it has none. For entries of a program: the working directory. */
  readonly file: string
  /** Absolute: the folder of the app. */
  readonly dir: string
  readonly settings: Settings
  /** Sorted by id. */
  readonly entries: readonly Entry[]
}

export type LoadResult =
  | { readonly ok: true; readonly app: App }
  /** `problems` by file, line and column, at least one; `entries`: those of known id and kind, sorted by id. */
  | {
      readonly ok: false
      readonly problems: readonly Problem[]
      readonly entries: readonly Pick<Entry, 'id' | 'kind'>[]
    }

const ENTRIES_MAX = 100_000

/** Loads and validates the app at a path; starts and writes nothing. Never rejects for what stands in the files. */
export async function loadApp(options: LoadOptions): Promise<LoadResult> {
  const problems = new ProblemList()
  const { env = {} } = options
  const { file, dir, settings: given, files, isComplete } = await readAppFiles(options.path, env, problems)
  const settings = await composeSettings({ ...settingsSources(options), app: given, dir }, problems)
  const raw = files.flatMap((each) => each.entries)
  const read = await readEntries(raw, { ...options, env, dir, isComplete, beside: [], lua: settings?.lua }, problems)
  return resultOf({ file, dir, settings, ...read }, problems)
}

/**
 * Validates entries that an embedding program gives as objects, by the rules of files: `{ id, kind, … }`, or `namespace` and `name` in
 * place of `id`. Their problems have no file; their paths begin with `entries[N]`.
 */
export async function loadEntries(
  definitions: readonly Readonly<Record<string, unknown>>[],
  options: LoadEntriesOptions,
): Promise<LoadResult> {
  const problems = new ProblemList()
  const { env = {}, beside = [], lua, ids } = options
  const dir = process.cwd()
  const settings = await composeSettings({ ...settingsSources(options), app: emptyMap(NOWHERE), dir }, problems)
  const raw = definitions.flatMap((definition, i) => rawDefinition(definition, i, problems, ids?.[i]) ?? [])
  const read = await readEntries(
    raw,
    { ...options, env, dir, isComplete: true, beside, lua: lua ?? settings?.lua },
    problems,
  )
  return resultOf({ file: dir, dir, settings, ...read }, problems)
}

const NOWHERE = wholeOf('')

function settingsSources({ configFiles = [], env = {}, set = [], cluster }: SettingsOptions) {
  return { configFiles, env, set, cluster }
}

// ---- entries

interface EntryContext extends EntryRules {
  readonly env: Variables
  readonly dir: string
  readonly isComplete: boolean
  readonly beside: readonly Entry[]
  /** Undefined when there are problems with the settings. */
  readonly lua: LuaSettings | undefined
}

interface ReadEntries {
  readonly entries: readonly Entry[]
  /** What has an id and a kind, right or wrong in the rest. */
  readonly known: readonly Pick<Entry, 'id' | 'kind'>[]
}

async function readEntries(
  all: readonly RawEntry[],
  context: EntryContext,
  problems: ProblemList,
): Promise<ReadEntries> {
  const { env, dir, isComplete, beside } = context
  const first = all[ENTRIES_MAX]
  if (first !== undefined) problems.add(first.located.at, first.path, `an app has at most ${ENTRIES_MAX} entries`)
  const declarations = all.slice(0, ENTRIES_MAX).flatMap((raw) => declare(raw, env, problems) ?? [])
  const others: Others = {
    kinds: new Map(beside.map(({ id, kind }) => [id, kind])),
    builtIn: context.builtIn ?? new Map(),
    homeless: declarations.filter(({ id }) => id === undefined),
    isComplete,
  }
  const byId = indexById(declarations, others, dir, problems)
  checkReferences(byId, others, problems)
  const entries: Entry[] = []
  for (const declaration of declarations) {
    const entry = await readWhole(declaration, context, problems)
    if (entry !== undefined && byId.get(entry.id) === declaration) entries.push(entry)
  }
  const known = [...byId.values()].flatMap(({ id, kind }) =>
    id === undefined || kind === undefined ? [] : [{ id, kind }],
  )
  return { entries: entries.sort(byEntryId), known: known.sort(byEntryId) }
}

const byEntryId = (a: { id: string }, b: { id: string }): number => compareText(a.id, b.id)

async function readWhole(
  declaration: Declaration,
  { compile, lua = DEFAULT_LUA, moduleNames }: EntryContext,
  problems: ProblemList,
): Promise<Entry | undefined> {
  checkModules(declaration, moduleNames, problems)
  const sourced = await inlineSource(declaration, (chunkName, source) => compile(chunkName, source, lua), problems)
  // Without its source, too, an entry is read, so that its other problems are told.
  const entry = readEntry(declaration, sourced?.located ?? declaration.located, sourced?.sourceFile, problems)
  return sourced === undefined ? undefined : entry
}

function checkModules({ located, kind, raw }: Declaration, names: ReadonlySet<string>, problems: ProblemList): void {
  const modules = fieldValue(located, 'modules')
  if (!isLuaKind(kind) || modules?.kind !== 'list') return
  for (const [i, item] of modules.items.entries()) {
    const name = textOf(item)
    if (name === undefined || name === '' || names.has(name)) continue
    const known = sortedText(names)
    problems.add(item.at, [...raw.path, 'modules', i], () => {
      return `unknown module ${show(name)}${didYouMean(name, known) || `; there are ${known.join(', ')}`}`
    })
  }
}

/** An entry of a program, its id taken apart; undefined, and a problem, when it is no data. */
function rawDefinition(
  definition: unknown,
  i: number,
  problems: ProblemList,
  id: string | undefined,
): RawEntry | undefined {
  const path = ['entries', i]
  const located = locatedFrom(definition, NOWHERE)
  if (located === undefined) {
    problems.add(
      NOWHERE,
      path,
      `refers to itself, is nested deeper than ${DEPTH_MAX} levels, or holds a million values`,
    )
    return undefined
  }
  const ownKeys = located.kind === 'map' && hasOwnNamespace(located) ? OWN_KEYS : ID_KEYS
  const raw = { path, file: '', idKeys: id === undefined ? ownKeys : NAMED_KEYS }
  if (located.kind !== 'map') return { ...raw, located, namespace: undefined }
  const { key, namespace, name, why } = id === undefined ? idOf(located) : partsOf(id)
  if (why !== undefined) problems.add(NOWHERE, [...path, key], why)
  const named = name === undefined ? located : withField(located, 'name', scalar(name, NOWHERE))
  return { ...raw, located: named, namespace: why === undefined ? namespace : undefined }
}

const NAMED_KEYS = ['name', 'kind']
const OWN_KEYS = ['id', ...NAMED_KEYS]
const ID_KEYS = ['namespace', ...OWN_KEYS]

/** A replicated store has a field of that name; beside an id it can be nothing else. */
function hasOwnNamespace(located: LocatedMap): boolean {
  return located.fields.has('id') && textOf(fieldValue(located, 'kind'))?.startsWith('store.kv.') === true
}

interface Identity {
  key: string
  namespace?: string | undefined
  name?: string
  why?: string | undefined
}

/** Namespace and name of a definition, and what is wrong with the key that should tell them. */
function idOf(located: LocatedMap): Identity {
  const given = fieldValue(located, 'id')
  const namespace = textOf(fieldValue(located, 'namespace'))
  const isNamed = (located.fields.has('namespace') && !hasOwnNamespace(located)) || located.fields.has('name')
  if (given === undefined && !isNamed) {
    return { key: 'id', name: UNNAMED, why: 'required field is missing; give id: "namespace:name"' }
  }
  if (given === undefined) {
    const why = namespace === undefined ? 'required field is missing (text)' : idProblem(namespace)
    return { key: 'namespace', namespace, why }
  }
  const parts = partsOf(textOf(given) ?? '')
  if (parts === UNREADABLE) return { ...parts, why: `expected "namespace:name", found ${show(plainOf(given))}` }
  return isNamed ? { ...parts, why: 'give id, or namespace and name, but not both' } : parts
}

function partsOf(id: string): Identity {
  const [, namespace, name] = /^([^:]+):(.+)$/s.exec(id) ?? []
  if (namespace === undefined || name === undefined) return UNREADABLE
  return { key: 'id', namespace, name, why: idProblem(namespace) }
}

/** Stands in for a name whose absence is told already. */
const UNNAMED = 'unnamed'
const UNREADABLE: Identity = { key: 'id', name: UNNAMED, why: 'expected "namespace:name"' }

// ---- the result

function resultOf(
  { file, dir, settings, entries, known }: Pick<App, 'file' | 'dir'> & ReadEntries & { settings: Settings | undefined },
  problems: ProblemList,
): LoadResult {
  if (!problems.isEmpty) return { ok: false, problems: problems.sorted(), entries: known }
  assert(settings !== undefined, 'settings without problems exist')
  return { ok: true, app: { file, dir, settings, entries } }
}
