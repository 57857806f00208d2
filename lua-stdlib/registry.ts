// Module `registry`: the versioned set of all entries of this node's app. lua-core.md §19. The node holds it; a host keeps the entries of the
// last version that it saw, so that most reads ask the node for no more than a number.

import { toText } from '../runtime/base/bytes.ts'
import { list, record, TableValue, type Value } from '../runtime/base/value.ts'
import {
  type Call,
  type Engine,
  HostObject,
  type LuaTable,
  type LuaValue,
  type Returns,
} from '../runtime/lua/engine.ts'
import type { LibraryModule, ScriptProcess } from '../runtime/services.ts'
import { deltaOf } from './registry/delta.ts'
import { type EntryValue, filterOf, idOf, splitId } from './registry/find.ts'
import { numberArg, objectArg, processOf, stringArg, tableArg } from './support/args.ts'
import { blocking } from './support/blocking.ts'
import { errorObject, fail, failWith } from './support/fail.ts'
import { isAllowed, mayDo, refusal, refusalText } from './support/permit.ts'
import { wait, waitAlone } from './support/wait.ts'

/** The entries of one version. */
interface State {
  readonly version: number
  readonly entries: ReadonlyMap<string, EntryValue>
}

const EMPTY: State = { version: -1, entries: new Map() }
/** Places in scripts that were told once that their filter chooses everything. */
const WARNED_MAX = 1000

class SnapshotObject extends HostObject {
  readonly state: State
  constructor(state: State) {
    super()
    this.state = state
  }
  override get className(): string {
    return 'registry.Snapshot'
  }
}

class ChangesObject extends HostObject {
  readonly ops: TableValue[] = []
  override get className(): string {
    return 'registry.Changes'
  }
}

class VersionObject extends HostObject {
  readonly id: number
  constructor(id: number) {
    super()
    this.id = id
  }
  override get className(): string {
    return 'registry.Version'
  }
}

class HistoryObject extends HostObject {
  readonly ids: readonly number[]
  constructor(ids: readonly number[]) {
    super()
    this.ids = ids
  }
  override get className(): string {
    return 'registry.History'
  }
}

// ---- what the node answers

/** What one host remembers. */
class Memory {
  state = EMPTY
  readonly #warned = new Set<string>()

  update(answer: TableValue): State {
    const version = answer.get('version') as number
    const entries = answer.get('entries')
    if (entries instanceof TableValue) this.state = stateOf(version, entries)
    return this.state
  }

  /** Whether the place has not been warned yet; beyond a bound nothing more is said. */
  warns(where: string): boolean {
    if (this.#warned.has(where) || this.#warned.size >= WARNED_MAX) return false
    this.#warned.add(where)
    return true
  }
}

function stateOf(version: number, entries: TableValue): State {
  return { version, entries: new Map((entries.array as EntryValue[]).map((entry) => [idOf(entry), entry])) }
}

/** The caller, as far as it is known after the call itself has returned. */
interface Caller {
  readonly process: ScriptProcess
  /** Where in the script the call stands. */
  readonly where: string
}

const callerOf = (call: Call): Caller => ({ process: processOf(call), where: call.where() })

/** Goes on with the entries in force. */
function withCurrent(call: Call, memory: Memory, then: (state: State, caller: Caller) => readonly LuaValue[]): Returns {
  const caller = callerOf(call)
  return ask(call, 'current', [memory.state.version], (value) => then(memory.update(value as TableValue), caller))
}

/** Other coroutines stand still meanwhile: none of these calls is one that lets them run. */
function ask(call: Call, method: string, args: readonly Value[], then: (value: Value) => readonly LuaValue[]): Returns {
  const process = processOf(call)
  return waitAlone(call, (done) =>
    process.request('registry', method, args, (answer) =>
      done(answer.ok ? then(answer.value) : failWith(answer.error)),
    ),
  )
}

/** Goes on with the number in force and those of all versions. */
function withVersions(call: Call, then: (current: number, ids: readonly number[]) => readonly LuaValue[]): Returns {
  return ask(call, 'versions', [], (value) => {
    const { id, ids } = versionsOf(value as TableValue)
    return then(id, ids)
  })
}

function versionsOf(answer: TableValue): { id: number; ids: readonly number[] } {
  return { id: answer.get('current') as number, ids: (answer.get('ids') as TableValue).array as number[] }
}

// ---- reading

function entryOf(process: ScriptProcess, state: State, id: string): readonly LuaValue[] {
  const entry = state.entries.get(id)
  if (entry === undefined) return fail('NotFound', `entry not found: ${toText(id)}`)
  if (!mayDo(process, 'registry.get', id)) return fail('PermissionDenied', refusalText('registry.get', id))
  return [process.engine.copyIn(entry), undefined]
}

/** An array of those entries that the caller may see, by id. */
function listOf(process: ScriptProcess, entries: Iterable<EntryValue>): LuaTable {
  const visible = [...entries].filter((entry) => mayDo(process, 'registry.get', idOf(entry)))
  visible.sort((a, b) => (idOf(a) < idOf(b) ? -1 : 1))
  return process.engine.copyIn(list(visible)) as LuaTable
}

function found({ process, where }: Caller, memory: Memory, state: State, filter: TableValue): LuaTable {
  const { matches, ignored } = filterOf(filter)
  if (ignored.length > 0 && memory.warns(where)) {
    const keys = ignored.map((key) => `"${key}"`).join(', ')
    const text = `registry.find: ${keys} is no condition and is ignored; use ".kind", ".name", ".ns", ".id" or "meta.X"`
    process.log('warn', text, where)
  }
  return listOf(process, [...state.entries.values()].filter(matches))
}

/** The filter table; none at all means every entry. */
function filterArg(call: Call, index: number): TableValue {
  if (call.arg(index) === undefined) return new TableValue()
  return call.engine.copyOut(tableArg(call, index, 'find')) as TableValue
}

const snapshot = (call: Call, fn: string): State => objectArg(call, 1, fn, SnapshotObject, 'registry.Snapshot').state
const version = (call: Call, index: number, fn: string): VersionObject =>
  objectArg(call, index, fn, VersionObject, 'registry.Version')
const history = (call: Call, fn: string): readonly number[] =>
  objectArg(call, 1, fn, HistoryObject, 'registry.History').ids

function snapshotAt(call: Call, id: number): Returns {
  return ask(call, 'at', [Math.trunc(id)], (value) => {
    const answer = value as TableValue
    return [
      new SnapshotObject(stateOf(answer.get('version') as number, answer.get('entries') as TableValue)),
      undefined,
    ]
  })
}

/** The version that is so far from this one in the order of the numbers, as they are now: a version that was the last may be followed. */
function neighbour(call: Call, fn: string, step: 1 | -1): Returns {
  const { id } = version(call, 1, fn)
  return withVersions(call, (_current, ids) => {
    const at = ids.indexOf(id)
    const found = at < 0 ? undefined : ids[at + step]
    return [found === undefined ? undefined : new VersionObject(found)]
  })
}

function versionList(engine: Engine, ids: readonly number[]): LuaTable {
  const table = engine.newTable()
  for (const [i, id] of ids.entries()) engine.set(table, i + 1, new VersionObject(id))
  return table
}

// ---- changes

const changes = (call: Call, fn: string): ChangesObject => objectArg(call, 1, fn, ChangesObject, 'registry.Changes')

/** A well-formed entry, or what is wrong with it. */
function entryArg(call: Call): TableValue | string {
  const entry = call.type(2) === 'table' ? (call.engine.copyOut(call.arg(2)) as TableValue) : undefined
  if (entry === undefined) return 'entry must be a table'
  const id = entry.get('id')
  if (typeof id !== 'string' || !/^[^:]+:.+$/s.test(id)) return 'entry id must be a string such as "namespace:name"'
  if (typeof entry.get('kind') !== 'string') return 'entry kind must be a string'
  for (const field of ['meta', 'data']) {
    const value = entry.get(field)
    if (value !== undefined && !(value instanceof TableValue)) return `entry ${field} must be a table`
  }
  return entry
}

function addEntry(call: Call, fn: 'create' | 'update'): Returns {
  const set = changes(call, fn)
  const entry = entryArg(call)
  if (typeof entry === 'string') return fail('Invalid', entry)
  set.ops.push(record({ kind: `entry.${fn}`, entry }))
  return set
}

function deleteEntry(call: Call): Returns {
  const set = changes(call, 'delete')
  const id = deletedId(call)
  if (id === undefined) return fail('Invalid', 'delete takes "namespace:name" or { ns =, name = }')
  set.ops.push(record({ kind: 'entry.delete', entry: record({ id }) }))
  return set
}

function deletedId(call: Call): string | undefined {
  const given = call.arg(2)
  if (typeof given === 'string') return /^[^:]+:.+$/s.test(given) ? given : undefined
  if (call.type(2) !== 'table') return undefined
  const ns = call.engine.get(given as LuaTable, 'ns')
  const name = call.engine.get(given as LuaTable, 'name')
  const isWhole = typeof ns === 'string' && typeof name === 'string' && ns !== '' && name !== ''
  return isWhole ? `${ns}:${name}` : undefined
}

function apply(call: Call): Returns {
  const { ops } = changes(call, 'apply')
  blocking(call, 'changes:apply')
  if (ops.length === 0) return fail('Invalid', 'no changes to apply')
  const refused = refusal(call, 'registry.apply', '')
  if (refused !== undefined) return refused
  return wait(call, (done) =>
    processOf(call).request('registry', 'apply', [list(ops)], (answer) => {
      if (!answer.ok) return done(failWith(answer.error))
      done([new VersionObject(versionsOf(answer.value as TableValue).id), undefined])
    }),
  )
}

function applyVersion(call: Call): Returns {
  const { id } = version(call, 1, 'apply_version')
  blocking(call, 'registry.apply_version')
  if (!isAllowed(call, 'registry.apply_version', '')) {
    return [false, errorObject('PermissionDenied', 'not allowed: registry.apply_version', { retryable: false })]
  }
  return wait(call, (done) =>
    processOf(call).request('registry', 'apply_version', [id], (answer) =>
      done(answer.ok ? [true, undefined] : [false, failWith(answer.error)[1]]),
    ),
  )
}

/** The tables of an array argument. */
function entriesArg(call: Call, index: number): TableValue[] {
  const value = call.engine.copyOut(tableArg(call, index, 'build_delta')) as TableValue
  return value.array.filter((item): item is TableValue => item instanceof TableValue)
}

// ---- the module

export const registryEntriesModule: LibraryModule = {
  name: 'registry',
  description: 'the entries of the app, their versions, and changes to them',
  tags: ['process', 'nondeterministic'],
  build: () => {
    const memory = new Memory()
    return {
      parse_id: (call) => call.engine.copyIn(record(splitId(stringArg(call, 1, 'parse_id')))),
      get: (call) => {
        const id = stringArg(call, 1, 'get')
        return withCurrent(call, memory, (state, { process }) => entryOf(process, state, id))
      },
      find: (call) => {
        const filter = filterArg(call, 1)
        return withCurrent(call, memory, (state, caller) => [found(caller, memory, state, filter), undefined])
      },
      snapshot: (call) => withCurrent(call, memory, (state) => [new SnapshotObject(state), undefined]),
      snapshot_at: (call) => snapshotAt(call, numberArg(call, 1, 'snapshot_at')),
      current_version: (call) => withVersions(call, (id) => [new VersionObject(id), undefined]),
      versions: (call) => {
        const { engine } = call
        return withVersions(call, (_id, ids) => [versionList(engine, ids), undefined])
      },
      history: (call) => withVersions(call, (_id, ids) => [new HistoryObject(ids), undefined]),
      apply_version: applyVersion,
      build_delta: (call) => [call.engine.copyIn(deltaOf(entriesArg(call, 1), entriesArg(call, 2))), undefined],
    }
  },
  classes: [
    {
      name: 'registry.Snapshot',
      methods: {
        entries: (call) => [listOf(processOf(call), snapshot(call, 'entries').entries.values()), undefined],
        get: (call) => entryOf(processOf(call), snapshot(call, 'get'), stringArg(call, 2, 'get')),
        find: (call) => {
          const { entries } = snapshot(call, 'find')
          const { matches } = filterOf(filterArg(call, 2))
          return listOf(processOf(call), [...entries.values()].filter(matches))
        },
        namespace: (call) => {
          const { entries } = snapshot(call, 'namespace')
          const ns = stringArg(call, 2, 'namespace')
          return listOf(
            processOf(call),
            [...entries.values()].filter((entry) => splitId(idOf(entry)).ns === ns),
          )
        },
        version: (call) => new VersionObject(snapshot(call, 'version').version),
        changes: (call) => {
          snapshot(call, 'changes')
          return new ChangesObject()
        },
      },
      metamethods: { tostring: (call) => `registry.Snapshot{version=${snapshot(call, 'tostring').version}}` },
    },
    {
      name: 'registry.Changes',
      methods: {
        create: (call) => addEntry(call, 'create'),
        update: (call) => addEntry(call, 'update'),
        delete: deleteEntry,
        ops: (call) => call.engine.copyIn(list(changes(call, 'ops').ops)),
        apply,
      },
      metamethods: { tostring: (call) => `registry.Changes{ops=${changes(call, 'tostring').ops.length}}` },
    },
    {
      name: 'registry.Version',
      methods: {
        id: (call) => version(call, 1, 'id').id,
        string: (call) => `v${version(call, 1, 'string').id}`,
        previous: (call) => neighbour(call, 'previous', -1),
        next: (call) => neighbour(call, 'next', 1),
      },
      metamethods: { tostring: (call) => `registry.Version{v${version(call, 1, 'tostring').id}}` },
    },
    {
      name: 'registry.History',
      methods: {
        versions: (call) => [versionList(call.engine, history(call, 'versions')), undefined],
        get_version: (call) => {
          const ids = history(call, 'get_version')
          const id = numberArg(call, 2, 'get_version')
          if (id <= 0) return fail('Invalid', `invalid version ID: ${id}`)
          return ids.includes(id) ? [new VersionObject(id), undefined] : fail('NotFound', `version not found: ${id}`)
        },
        snapshot_at: (call) => {
          history(call, 'snapshot_at')
          return snapshotAt(call, version(call, 2, 'snapshot_at').id)
        },
      },
      metamethods: { tostring: (call) => `registry.History{versions=${history(call, 'tostring').length}}` },
    },
  ],
}
