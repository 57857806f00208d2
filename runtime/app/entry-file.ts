// What one file of an app says: its namespace, its includes, its settings and its entries, not yet checked against each other.

import { fieldValue, isNothing, type Located, type LocatedMap, plainOf, selectFields, textOf } from './located.ts'
import { type Path, type Place, type ProblemList, show } from './problems.ts'
import { headerSchema, settingsSchema } from './schema.ts'
import { addUnknownKey, validate } from './validate.ts'
import { substitute, type Variables } from './variables.ts'

const SETTING_SECTIONS: readonly string[] = Object.keys(settingsSchema.shape)
const HEADER_KEYS: readonly string[] = Object.keys(headerSchema.shape)

/** Characters that ids share with process ids, patterns or YAML itself. */
const NOT_IN_IDS = /[\s\p{C}:{}|@#*"'`]/u
const ID_LENGTH_MAX = 255

export interface EntryFile {
  readonly file: string
  readonly namespace: string | undefined
  /** Sections of settings, variables not replaced yet: a later source may take their place. */
  readonly settings: LocatedMap
  readonly includes: readonly { readonly pattern: string; readonly at: Place; readonly path: Path }[]
  readonly entries: readonly RawEntry[]
}

/** An entry as it was found. */
export interface RawEntry {
  readonly located: Located
  /** Where it stands in its file: `entries[3]`; empty for a file with a single entry. */
  readonly path: Path
  /** That of the file, or of the definition; undefined when it is missing or wrong, which is a problem already. */
  readonly namespace: string | undefined
  readonly file: string
  /** Keys that say which entry it is rather than what is in it. */
  readonly idKeys: readonly string[]
}

export function readEntryFile(
  located: LocatedMap,
  { file, isApp, variables }: { file: string; isApp: boolean; variables: Variables },
  problems: ProblemList,
): EntryFile {
  const isSingle = located.fields.has('kind') && !located.fields.has('entries')
  const fileKeys = [...HEADER_KEYS, ...(isSingle ? [] : ['entries']), ...(isApp ? SETTING_SECTIONS : [])]
  if (!isSingle) reportUnknownKeys(located, { fileKeys, isApp }, problems)
  const rawHeader = selectFields(located, (key) => HEADER_KEYS.includes(key))
  const header = substitute(rawHeader, [], variables, problems) as LocatedMap
  validate(headerSchema, header, [], problems)
  const rawEntries = isSingle ? [] : itemsOf(fieldValue(located, 'entries'), problems)
  const hasEntries = isSingle || rawEntries.length > 0
  const namespace = namespaceOf(header, hasEntries, problems)
  const entries: RawEntry[] = rawEntries.map((item, i) => ({
    located: item,
    path: ['entries', i],
    namespace,
    file,
    idKeys: ['name', 'kind'],
  }))
  if (isSingle) entries.push({ located, path: [], namespace, file, idKeys: ['name', 'kind', ...fileKeys] })
  const settings = selectFields(located, (key) => isApp && SETTING_SECTIONS.includes(key))
  return { file, namespace, settings, includes: includesOf(header), entries }
}

function reportUnknownKeys(
  located: LocatedMap,
  { fileKeys, isApp }: { fileKeys: readonly string[]; isApp: boolean },
  problems: ProblemList,
): void {
  for (const [key, { keyAt }] of located.fields) {
    if (fileKeys.includes(key)) continue
    if (!isApp && SETTING_SECTIONS.includes(key))
      problems.add(keyAt, [key], 'settings belong in the app file, not in a file that it includes')
    else addUnknownKey({ at: keyAt, path: [key], known: fileKeys }, problems)
  }
}

function itemsOf(entries: Located | undefined, problems: ProblemList): readonly Located[] {
  if (entries === undefined || isNothing(entries)) return []
  if (entries.kind === 'list') return entries.items
  problems.add(entries.at, ['entries'], `expected a list of entries ("- name: …"), found ${show(plainOf(entries))}`)
  return []
}

function namespaceOf(header: LocatedMap, isNeeded: boolean, problems: ProblemList): string | undefined {
  const located = fieldValue(header, 'namespace')
  const namespace = textOf(located)
  if (namespace === undefined || namespace === '') {
    if (isNeeded && isNothing(located))
      problems.add(
        header.at,
        ['namespace'],
        'required field is missing; every entry of the file becomes namespace:name',
      )
    return undefined
  }
  const why = idProblem(namespace)
  if (why === undefined) return namespace
  problems.add((located ?? header).at, ['namespace'], why)
  return undefined
}

function includesOf(header: LocatedMap): EntryFile['includes'] {
  const include = fieldValue(header, 'include')
  if (include?.kind !== 'list') return []
  return include.items.flatMap((item, i) => {
    const pattern = textOf(item)
    return pattern === undefined || pattern === '' ? [] : [{ pattern, at: item.at, path: ['include', i] }]
  })
}

/** Why a text can be neither namespace nor name. */
export function idProblem(part: string): string | undefined {
  if (part === '') return 'expected text, found ""'
  if (part.length > ID_LENGTH_MAX) return `at most ${ID_LENGTH_MAX} characters are allowed, found ${part.length}`
  if (part.includes(':')) return `${show(part)} holds a colon; namespace and name are given apart from each other`
  const wrong = NOT_IN_IDS.exec(part)?.[0]
  return wrong === undefined
    ? undefined
    : `${show(part)} holds ${show(wrong)}, which an id cannot; use letters, digits, ".", "_", "-"`
}
