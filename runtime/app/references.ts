// Whether what entries say of each other holds: every id once, every reference to an entry of a fitting kind, and no cycles.
// operations.md §1, lua-core.md §4.1, §5.2, §22.3.

import type { Declaration, Reference } from './entries.ts'
import { fieldValue } from './located.ts'
import { didYouMean, type ProblemList, shortPath, show } from './problems.ts'
import { type EntryKind, LUA_KINDS } from './schema.ts'

const STORAGE_KINDS: readonly EntryKind[] = [
  'env.storage.memory',
  'env.storage.os',
  'env.storage.static',
  'env.storage.file',
  'env.storage.router',
]

/** Kinds that a field may name; a field that is not here may name any. */
const FITTING: Readonly<Record<string, readonly EntryKind[]>> = {
  process: ['process.lua'],
  host: ['process.host', 'terminal.host'],
  storage: STORAGE_KINDS,
  storages: STORAGE_KINDS,
  driver: ['queue.driver.memory'],
  queue: ['queue.queue'],
  func: ['function.lua', 'process.lua'],
  imports: LUA_KINDS,
}

/** Ids of a cycle that its message lists. */
const CYCLE_SHOWN_MAX = 12

/** What else is known beside the entries under check. */
export interface Others {
  /** Entries of a program that already has some, by id. */
  readonly kinds: ReadonlyMap<string, EntryKind>
  /** Ids without an entry, by the kind they stand for. They have no code that could be imported. */
  readonly builtIn: ReadonlyMap<string, EntryKind>
  /** Declarations whose id could not be made out. */
  readonly homeless: readonly Declaration[]
  /** False when a file could not be read or understood: whatever is missing may stand there. */
  readonly isComplete: boolean
}

/** The declarations by id, each id once; a second one is a problem. */
export function indexById(
  declarations: readonly Declaration[],
  { kinds }: Others,
  dir: string,
  problems: ProblemList,
): Map<string, Declaration> {
  const byId = new Map<string, Declaration>()
  for (const declaration of declarations) {
    const { id, raw, located } = declaration
    if (id === undefined) continue
    const first = byId.get(id)
    if (first === undefined) byId.set(id, declaration)
    if (first === undefined && !kinds.has(id)) continue
    const at = fieldValue(located, 'name')?.at ?? located.at
    const where = first === undefined ? 'the app has it already' : `first declared ${placeText(first, dir)}`
    problems.add(at, [...raw.path, 'name'], `duplicate entry id ${show(id)}; ${where}`)
  }
  return byId
}

function placeText({ raw }: Declaration, dir: string): string {
  const { file, line, column } = raw.located.at
  return line === 0 ? `as entries[${raw.path[1]}]` : `at ${shortPath(file, dir)}:${line}:${column}`
}

export function checkReferences(byId: ReadonlyMap<string, Declaration>, others: Others, problems: ProblemList): void {
  const checker = new Checker(byId, others, problems)
  for (const { references } of [...byId.values(), ...others.homeless]) {
    for (const reference of references) checker.check(reference)
  }
  const linksOf = (fields: readonly string[]) => (id: string) =>
    (byId.get(id)?.references ?? []).filter(({ field }) => fields.includes(field))
  const ids = [...byId.keys()]
  reportCycles(ids, linksOf(['imports']), 'import cycle', problems)
  reportCycles(ids, linksOf(['process', 'host', 'lifecycle']), 'dependency cycle between services', problems)
}

class Checker {
  readonly #byId: ReadonlyMap<string, Declaration>
  readonly #others: Others
  readonly #problems: ProblemList
  readonly #namespaces: ReadonlySet<string | undefined>
  readonly #homelessNames: ReadonlySet<string | undefined>
  /** Ids that a field may name. */
  readonly #candidates = new Map<string, readonly string[]>()

  constructor(byId: ReadonlyMap<string, Declaration>, others: Others, problems: ProblemList) {
    this.#byId = byId
    this.#others = others
    this.#problems = problems
    this.#namespaces = new Set([...byId.values()].map(({ raw }) => raw.namespace))
    this.#homelessNames = new Set(others.homeless.map(({ name }) => name))
  }

  check({ field, to, at, path }: Reference): void {
    const separator = to.indexOf(':')
    if (separator === 0 || separator === to.length - 1) {
      const message = `${show(to)} is no entry id; write namespace:name, or the name alone within one namespace`
      return this.#problems.add(at, path, message)
    }
    const builtIn = field === 'imports' ? undefined : this.#others.builtIn.get(to)
    const isThere = this.#byId.has(to) || this.#others.kinds.has(to) || builtIn !== undefined
    const kind = this.#kindOf(to) ?? builtIn
    const fitting = FITTING[field]
    if (!isThere && !this.#mayBeDeclared(to.slice(0, separator), to.slice(separator + 1))) {
      this.#problems.add(at, path, () => `no entry ${show(to)}${didYouMean(to, this.#candidatesFor(field))}`)
    } else if (kind !== undefined && fitting !== undefined && !fitting.includes(kind)) {
      this.#problems.add(at, path, `${show(to)} is a ${kind}; ${field} needs ${anyOf(fitting)}`)
    }
  }

  /** Undefined when there is none, or when it is wrong, which is a problem of its own. */
  #kindOf(id: string): EntryKind | undefined {
    const declaration = this.#byId.get(id)
    return declaration === undefined ? this.#others.kinds.get(id) : declaration.kind
  }

  /** Whether an entry that is not there may be one that could not be read. Where its namespace was read no more is expected. */
  #mayBeDeclared(namespace: string, name: string): boolean {
    return this.#homelessNames.has(name) || (!this.#others.isComplete && !this.#namespaces.has(namespace))
  }

  #candidatesFor(field: string): readonly string[] {
    const cached = this.#candidates.get(field)
    if (cached !== undefined) return cached
    const fitting = FITTING[field]
    const { kinds, builtIn } = this.#others
    const known = [...this.#byId.keys(), ...kinds.keys(), ...(field === 'imports' ? [] : builtIn.keys())]
    const candidates = known.filter((id) => {
      const kind = this.#kindOf(id) ?? builtIn.get(id)
      return fitting === undefined || (kind !== undefined && fitting.includes(kind))
    })
    this.#candidates.set(field, candidates)
    return candidates
  }
}

function anyOf(kinds: readonly string[]): string {
  const named = kinds.map((kind) => `a ${kind}`)
  return named.length === 1 ? named.join() : `${named.slice(0, -1).join(', ')} or ${named.at(-1)}`
}

/** Each reference that closes a cycle is a problem. Without recursion: a chain may be as long as there are entries. */
function reportCycles(
  ids: readonly string[],
  linksOf: (id: string) => readonly Reference[],
  title: string,
  problems: ProblemList,
): void {
  const done = new Set<string>()
  for (const start of ids) {
    if (done.has(start)) continue
    // Ids from the start to here in order, each with the links that are not followed yet.
    const path = new Map<string, Reference[]>([[start, [...linksOf(start)].reverse()]])
    let here: string | undefined = start
    const trail = [start]
    while (here !== undefined) {
      const link: Reference | undefined = path.get(here)?.pop()
      if (link === undefined) {
        done.add(here)
        path.delete(here)
        trail.pop()
        here = trail.at(-1)
      } else if (path.has(link.to)) {
        problems.add(
          link.at,
          link.path,
          () => `${title}: ${cycleText([...trail.slice(trail.indexOf(link.to)), link.to])}`,
        )
      } else if (!done.has(link.to)) {
        path.set(link.to, [...linksOf(link.to)].reverse())
        trail.push(link.to)
        here = link.to
      }
    }
  }
}

function cycleText(ids: readonly string[]): string {
  if (ids.length <= CYCLE_SHOWN_MAX) return ids.join(' -> ')
  const shown = [...ids.slice(0, CYCLE_SHOWN_MAX - 1), `(${ids.length - CYCLE_SHOWN_MAX} more)`, ...ids.slice(-1)]
  return shown.join(' -> ')
}
