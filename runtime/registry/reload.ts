// What edited files change of the entries of a running node. What scripts changed meanwhile stays, unless the files change the same entry.

import { isDeepStrictEqual } from 'node:util'

interface Keyed {
  readonly id: string
  readonly kind: string
}

export interface Edit<E> {
  /** The entries from now on. What is as it was is the same object as before. */
  readonly next: ReadonlyMap<string, E>
  readonly added: readonly string[]
  readonly changed: readonly string[]
  readonly removed: readonly string[]
}

/**
 * @param current in force   @param before, after what the files said and say
 * @param ignored fields that say where an entry stands, and nothing of what it is
 */
export function editOf<E extends Keyed>(
  current: ReadonlyMap<string, E>,
  before: readonly E[],
  after: readonly E[],
  ignored: readonly string[],
): Edit<E> {
  const old = new Map(before.map((entry) => [entry.id, entry]))
  const next = new Map(current)
  const edit = { next, added: [] as string[], changed: [] as string[], removed: [] as string[] }
  for (const entry of after) {
    const known = old.get(entry.id)
    old.delete(entry.id)
    if (known !== undefined && isDeepStrictEqual(contentOf(known, ignored), contentOf(entry, ignored))) continue
    if (current.has(entry.id)) edit.changed.push(entry.id)
    else edit.added.push(entry.id)
    next.set(entry.id, entry)
  }
  for (const id of old.keys()) {
    if (next.delete(id)) edit.removed.push(id)
  }
  return edit
}

function contentOf(entry: Keyed, ignored: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(Object.entries(entry).filter(([field]) => !ignored.includes(field)))
}

/** Ids of those that are, or import directly or not, one of these. */
export function builtFrom(
  entries: Iterable<Keyed & { readonly imports?: Readonly<Record<string, string>> }>,
  sources: ReadonlySet<string>,
): ReadonlySet<string> {
  const all = [...entries]
  const reached = new Set(sources)
  for (let size = -1; size !== reached.size; ) {
    size = reached.size
    for (const { id, imports = {} } of all)
      if (Object.values(imports).some((each) => reached.has(each))) reached.add(id)
  }
  return reached
}
