// The entry registry of a node: the entries in force, their versions, and changes while the node runs. All or nothing: a change that cannot
// be carried out leaves everything as it was. lua-core.md §19.

import { type Entry, type LoadResult, referencesOf } from '../app/load.ts'
import { toBytes } from '../base/bytes.ts'
import { MoonmeshError, messageOf } from '../base/errors.ts'
import { fromPlain, type Plain, toPlain } from '../base/plain.ts'
import { list, record, type TableValue, type Value } from '../base/value.ts'
import type { NodeService } from '../node-services.ts'
import { changedIds, type EntryOp, type Version, Versions, withOps } from './core/versions.ts'
import type { EventBus } from './event-bus.ts'
import { type Edit, editOf } from './reload.ts'

type Entries = ReadonlyMap<string, Entry>

interface RegistryHooks {
  /** Reads entries that are given as data, with an id each, beside those that stay. Never rejects for what stands in them. */
  read(
    definitions: readonly Readonly<Record<string, unknown>>[],
    ids: readonly string[],
    beside: readonly Entry[],
  ): Promise<LoadResult>
  /** Carries out that `to` are the entries from now on. @throws MoonmeshError when it cannot; the registry then asks for the way back */
  carryOut(to: Entries, changed: ReadonlySet<string>): Promise<void>
  /** The way back failed, too. */
  stuck(error: unknown): void
}

/** Changes in one set; more would hold up everything else for too long. */
const OPS_MAX = 10_000

export class Registry implements NodeService {
  readonly #versions = new Versions<Entry>()
  readonly #hooks: RegistryHooks
  readonly #bus: EventBus
  /** One change after the other. */
  #working: Promise<unknown> = Promise.resolve()

  constructor(entries: readonly Entry[], bus: EventBus, hooks: RegistryHooks) {
    this.#hooks = hooks
    this.#bus = bus
    this.#versions.add(new Map(entries.map((entry) => [entry.id, entry])))
  }

  get entries(): Entries {
    return this.#versions.current.entries
  }

  get(id: string): Entry | undefined {
    return this.entries.get(id)
  }

  readonly methods: NodeService['methods'] = {
    /** The number of a version that the asker knows already: then its entries are left out. */
    current: ([known]) => stateOf(this.#versions.current, known),
    at: ([id]) => stateOf(this.#versions.at(id as number), undefined),
    versions: () => this.#versionNumbers(),
    apply: ([ops]) => this.#inTurn(() => this.#apply(ops as TableValue)),
    apply_version: ([id]) => this.#inTurn(() => this.#return(this.#versions.at(id as number))),
  }

  /**
   * Takes over what edited files say. @param before what they said before
   * @throws MoonmeshError `Conflict` (an entry that stays needs one that goes), `Invalid` (another kind under an old id), or what carrying it out
   *   met: then everything is as it was
   */
  reload(before: readonly Entry[], after: readonly Entry[]): Promise<Edit<Entry>> {
    return this.#inTurn(async () => {
      const edit = editOf(this.entries, before, after, ['file', 'line', 'sourceFile'])
      for (const id of edit.changed) {
        const [from, to] = [this.get(id)?.kind, edit.next.get(id)?.kind]
        if (from !== to)
          throw new MoonmeshError('Invalid', `${id} was a ${from} and is a ${to} now: start the node again`)
      }
      assertNotNeeded([...edit.next.values()], new Map(edit.removed.map((id) => [id, undefined])))
      if (edit.added.length + edit.changed.length + edit.removed.length === 0) return edit
      await this.#carryOut(edit.next)
      this.#versions.add(edit.next)
      return edit
    })
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#working.then(work)
    this.#working = result.catch(() => {})
    return result
  }

  #versionNumbers(): TableValue {
    const { current, kept } = this.#versions
    return record({ current: current.id, ids: list(kept.map(({ id }) => id)) })
  }

  async #apply(ops: TableValue): Promise<TableValue> {
    if (ops.array.length > OPS_MAX) {
      throw new MoonmeshError('LimitExceeded', `a set has at most ${OPS_MAX} changes, this one ${ops.array.length}`)
    }
    const given = ops.array.map(definitionOf)
    // First by id and kind alone, so that a change that does not fit is told as such and not by what its fields lack.
    withOps(this.entries, given.map(withoutFields))
    const touched = new Set(given.map(({ id }) => id))
    const beside = [...this.entries.values()].filter(({ id }) => !touched.has(id))
    const final = lastOf(given)
    const kinds = new Map(final.map(({ id, kind }) => [id, kind]))
    const unlike = [...touched].filter((id) => this.entries.has(id) && this.get(id)?.kind !== kinds.get(id))
    // Before anything is carried out: what is refused stops no service.
    assertNotNeeded(beside, new Map(unlike.map((id) => [id, kinds.get(id)])))
    const ids = final.map(({ id }) => id)
    const read = await this.#hooks.read(
      final.map(({ definition }) => definition),
      ids,
      beside,
    )
    if (!read.ok) throw invalid(read, ids)
    const fresh = new Map(read.app.entries.map((entry) => [entry.id, entry]))
    const next = new Map(this.entries)
    for (const id of touched) next.delete(id)
    for (const [id, entry] of fresh) next.set(id, entry)
    await this.#carryOut(next)
    this.#versions.add(next)
    return this.#versionNumbers()
  }

  async #return(version: Version<Entry>): Promise<boolean> {
    await this.#carryOut(version.entries)
    this.#versions.moveTo(version)
    return true
  }

  async #carryOut(to: Entries): Promise<void> {
    const from = this.entries
    const changed = changedIds(from, to)
    try {
      await this.#hooks.carryOut(to, changed)
    } catch (error) {
      await this.#hooks.carryOut(from, changed).catch((thrown: unknown) => this.#hooks.stuck(thrown))
      throw error
    }
    for (const id of changed) {
      const kind = !to.has(id) ? 'entry.delete' : from.has(id) ? 'entry.update' : 'entry.create'
      const entry = to.get(id) ?? from.get(id)
      this.#bus.publish({
        system: 'registry',
        kind,
        path: toBytes(id),
        data: record({ id: toBytes(id), kind: toBytes(entry?.kind ?? '') }),
      })
    }
  }
}

interface Given {
  readonly op: EntryOp<Entry>['kind']
  readonly id: string
  readonly kind: string
  readonly definition: Readonly<Record<string, unknown>>
}

const withoutFields = ({ op, id, kind }: Given): EntryOp<{ id: string; kind: string }> =>
  op === 'entry.delete' ? { kind: op, id } : { kind: op, entry: { id, kind } }

/** What each entry is in the end, when a set touches it more than once. */
function lastOf(given: readonly Given[]): Given[] {
  const byId = new Map(given.map((each) => [each.id, each]))
  return [...byId.values()].filter(({ op }) => op !== 'entry.delete')
}

/** Fields that are maps: an empty table of a script does not say which it is. */
const MAP_FIELDS: ReadonlySet<string> = new Set(['meta', 'imports', 'lifecycle', 'host', 'pool', 'values', 'policy'])

/** What stands beside `data`; in a file all of them are fields of one map. */
const ENTRY_FIELDS = ['name', 'kind', 'meta']

function wrong(text: string): MoonmeshError {
  return new MoonmeshError('Invalid', text, { retryable: false })
}

/** A change as the library sends it: `{ kind, entry = { id, kind, meta, data } }`. */
function definitionOf(op: Value): Given {
  const { kind, entry } = toPlain(op) as { kind: Given['op']; entry: Record<string, Plain> }
  const id = entry['id'] as string
  const { data } = entry
  if (Array.isArray(data) && data.length > 0) throw wrong(`entry ${id}: data is a table of named fields, not a list`)
  const fields: Record<string, unknown> = { ...(isMap(data) ? data : {}) }
  const taken = ENTRY_FIELDS.find((name) => fields[name] !== undefined)
  if (kind !== 'entry.delete' && taken !== undefined)
    throw wrong(`entry ${id}: data cannot have a field ${taken}, since that is one of the entry itself`)
  fields['kind'] = entry['kind']
  if (isMap(entry['meta'])) fields['meta'] = entry['meta']
  for (const name of MAP_FIELDS) {
    const value = fields[name]
    if (Array.isArray(value) && value.length === 0) fields[name] = {}
  }
  const { source } = fields
  const isFile = typeof source === 'string' && source.startsWith('file://') && entry['kind'] !== 'registry.entry'
  if (kind !== 'entry.delete' && isFile)
    throw wrong(
      `entry ${id}: source is the text of the chunk here; there is no file that ${source} could be relative to`,
    )
  return { op: kind, id, kind: String(entry['kind'] ?? ''), definition: fields }
}

const isMap = (value: Plain | undefined): value is { readonly [key: string]: Plain } =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** @param unlike ids that are not what they were, with the kind that they are to have; undefined: they go */
function assertNotNeeded(stay: readonly Entry[], unlike: ReadonlyMap<string, string | undefined>): void {
  if (unlike.size === 0) return
  for (const entry of stay) {
    const needed = referencesOf(entry).find((id) => unlike.has(id))
    if (needed === undefined) continue
    const kind = unlike.get(needed)
    const what = kind === undefined ? `delete ${needed}` : `make ${needed} a ${kind}`
    throw new MoonmeshError('Conflict', `cannot ${what}: ${entry.id} needs it; change or delete that, too`, {
      retryable: false,
      details: { id: needed, needed_by: entry.id },
    })
  }
}

/** Which entry of a set is meant says its id; scripts know no list of all. */
function invalid(read: LoadResult & { ok: false }, ids: readonly string[]): MoonmeshError {
  const problems = read.problems.map(({ path, message }) => {
    const place = path.replace(/^entries\[(\d+)\]\.?/, (_all, i: string) => `${ids[Number(i)]} `).trimEnd()
    return place === '' ? message : `${place}: ${message}`
  })
  return new MoonmeshError('Invalid', problems.join('; '), { retryable: false, details: { problems } })
}

/** A version as the library reads it. */
function stateOf({ id, entries }: Version<Entry>, known: Value): TableValue {
  return record({ version: id, entries: known === id ? undefined : list([...entries.values()].map(entryValue)) })
}

/** An entry as scripts see it. Made once: entries do not change. */
const values = new WeakMap<Entry, Value>()

function entryValue(entry: Entry): Value {
  const known = values.get(entry)
  if (known !== undefined) return known
  const { id, kind, meta, data } = entry
  const made = record({ id: toBytes(id), kind: toBytes(kind), meta: mapValue(meta), data: mapValue(data) })
  values.set(entry, made)
  return made
}

/** What YAML can say and a message cannot hold becomes text: it is better to see something than nothing. */
function mapValue(map: Readonly<Record<string, unknown>>): Value {
  try {
    return fromPlain(map)
  } catch (error) {
    return record({ error: toBytes(messageOf(error)) })
  }
}
