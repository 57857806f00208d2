// What an entry runs, in one hash: its source and that of everything it imports. Two nodes with the same hash run the same code.

import { createHash } from 'node:crypto'
import { toBytes } from '../base/bytes.ts'
import type { CodeEntry } from '../lua/sandbox.ts'

/** Actors written in TypeScript have no source to compare: their name is all there is. */
const ACTOR = 'actor:'

/** Hashes of these entries, each made when it is first asked for. */
export class CodeHashes {
  readonly #entries: ReadonlyMap<string, CodeEntry>
  readonly #known = new Map<string, string>()

  constructor(entries: readonly CodeEntry[]) {
    this.#entries = new Map(entries.map((entry) => [entry.id, entry]))
  }

  /** Hexadecimal SHA-256; undefined when there is no such entry. */
  of(entryId: string): string | undefined {
    const known = this.#known.get(entryId)
    if (known !== undefined) return known
    const isActor = entryId.startsWith(ACTOR)
    if (!isActor && !this.#entries.has(entryId)) return undefined
    const hash = createHash('sha256')
    if (isActor) hash.update(entryId, 'latin1')
    else for (const entry of this.#closure(entryId)) hash.update(JSON.stringify(partsOf(entry)))
    const text = toBytes(hash.digest('hex'))
    this.#known.set(entryId, text)
    return text
  }

  /** The entry and what it imports, each once, in an order that is the same everywhere. */
  #closure(entryId: string): Set<CodeEntry> {
    const found = new Set<CodeEntry>()
    const waiting = [entryId]
    for (let id = waiting.pop(); id !== undefined; id = waiting.pop()) {
      const entry = this.#entries.get(id)
      if (entry === undefined || found.has(entry)) continue
      found.add(entry)
      waiting.push(...sorted(entry.imports).map(([, imported]) => imported))
    }
    return found
  }
}

const sorted = (imports: Readonly<Record<string, string>>): [string, string][] =>
  Object.entries(imports).sort(([a], [b]) => (a < b ? -1 : 1))

const partsOf = ({ id, kind, source, method, modules, imports }: CodeEntry): unknown[] => [
  id,
  kind,
  source,
  method,
  [...modules].sort(),
  sorted(imports),
]
