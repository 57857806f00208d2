// Module `store`: key-value stores. lua-libraries.md §2. What is behind a store answers at the node; here are the rules of the arguments.

import { toText } from '../runtime/base/bytes.ts'
import { MoonmeshError } from '../runtime/base/errors.ts'
import { Float, record, TableValue, type Value } from '../runtime/base/value.ts'
import {
  type Call,
  HostObject,
  type LuaTable,
  type LuaValue,
  type ObjectSaving,
  type Returns,
} from '../runtime/lua/engine.ts'
import type { LibraryModule, ScriptProcess } from '../runtime/services.ts'
import { isNumber, objectArg, optionalNumber, processOf, raise, stringArg } from './support/args.ts'
import { blocking } from './support/blocking.ts'
import { toStored } from './support/convert.ts'
import { errorObject, fail, failWith, TRUE_NIL } from './support/fail.ts'
import { isAllowed, refusal } from './support/permit.ts'
import { damaged } from './support/saving.ts'
import { wait, waitAlone } from './support/wait.ts'
import { WatchObject, watchClass } from './support/watch.ts'

const PAGE_DEFAULT = 100
const PAGE_MAX = 1000
const VERSION_MAX = Number.MAX_SAFE_INTEGER

class StoreObject extends HostObject {
  readonly id: string
  isReleased = false
  constructor(id: string) {
    super()
    this.id = id
  }
  override get className(): string {
    return 'store.Store'
  }
}

/** Stores are found by their id wherever the process goes on. */
const storeSaving: ObjectSaving<StoreObject> = {
  save: ({ id, isReleased }) => ({ data: [id, isReleased], values: [] }),
  restore([id, isReleased]) {
    if (typeof id !== 'string') throw damaged('a store')
    const object = new StoreObject(id)
    object.isReleased = isReleased === true
    return object
  },
}

class StoreWatch extends WatchObject {
  constructor(process: ScriptProcess) {
    super(process, 'store')
  }
  override get className(): string {
    return 'store.Watch'
  }
}

function open(call: Call): Returns {
  const id = stringArg(call, 1, 'get')
  if (id === '') return fail('Invalid', 'resource id is required')
  if (!isAllowed(call, 'store.get', id)) raise(`not allowed to access store: ${toText(id)}`)
  return waitAlone(call, (done) =>
    processOf(call).request('store', 'open', [id], (answer) =>
      done(answer.ok ? [new StoreObject(id)] : failWith(answer.error)),
    ),
  )
}

const self = (call: Call, fn: string): StoreObject => objectArg(call, 1, fn, StoreObject, 'store.Store')

type Failure = (kind: 'Invalid' | 'PermissionDenied', text: string) => readonly LuaValue[]

const nilAndError: Failure = (kind, text) => fail(kind, text)
const falseAndError: Failure = (kind, text) => [false, errorObject(kind, text, { retryable: false })]

interface KeyRules {
  readonly fn: string
  readonly permission: string
  /** How a refusal shows. */
  readonly denial: 'raise' | 'return'
  readonly failure?: Failure
}

/** Released, key, permission, in this order; then the rest. */
function withKey(
  call: Call,
  { fn, permission, denial, failure = nilAndError }: KeyRules,
  then: (store: StoreObject, key: string) => Returns,
): Returns {
  const store = self(call, fn)
  if (store.isReleased) return failure('Invalid', 'store is released')
  const key = stringArg(call, 2, fn)
  if (key === '') return failure('Invalid', 'key is required')
  blocking(call, `store:${fn}`)
  if (!isAllowed(call, permission, store.id, { key })) {
    const text = `not allowed: ${permission} on ${toText(store.id)}`
    if (denial === 'raise') raise(text)
    return failure('PermissionDenied', text)
  }
  return then(store, key)
}

function ask(
  call: Call,
  method: string,
  args: readonly Value[],
  then: (value: Value) => readonly LuaValue[],
  otherwise: (error: Parameters<typeof failWith>[0]) => readonly LuaValue[] = failWith,
): Returns {
  const process = processOf(call)
  return wait(call, (done) =>
    process.request('store', method, args, (answer) => done(answer.ok ? then(answer.value) : otherwise(answer.error))),
  )
}

// ---- reading

/** Options of a read: whether its answer may be old. */
function isStale(call: Call, index: number): boolean | undefined {
  const options = optionsArg(call, index)
  return options === undefined ? undefined : options !== 'none' && call.engine.get(options, 'stale') === true
}

const OPTIONS = 'options must be a table'

function get(call: Call): Returns {
  const { engine } = call
  return withKey(call, { fn: 'get', permission: 'store.key.get', denial: 'raise' }, (store, key) => {
    const stale = isStale(call, 3)
    if (stale === undefined) return fail('Invalid', OPTIONS)
    return ask(call, 'get', [store.id, key, stale], (value) =>
      value === undefined
        ? fail('NotFound', 'key not found')
        : [engine.copyIn((value as TableValue).get('value')), undefined],
    )
  })
}

function entry(call: Call): Returns {
  const { engine } = call
  return withKey(call, { fn: 'entry', permission: 'store.key.get', denial: 'return' }, (store, key) => {
    const stale = isStale(call, 3)
    if (stale === undefined) return fail('Invalid', OPTIONS)
    return ask(call, 'get', [store.id, key, stale], (value) =>
      value === undefined ? fail('NotFound', 'key not found') : [engine.copyIn(value), undefined],
    )
  })
}

function has(call: Call): Returns {
  const rules = { fn: 'has', permission: 'store.key.has', denial: 'raise', failure: falseAndError } as const
  return withKey(call, rules, (store, key) => {
    const stale = isStale(call, 3)
    if (stale === undefined) return falseAndError('Invalid', OPTIONS)
    return ask(
      call,
      'get',
      [store.id, key, stale],
      (value) => [value !== undefined, undefined],
      (error) => [false, failWith(error)[1]],
    )
  })
}

/** Text of an option, or what is wrong with it. */
function textOption(value: LuaValue, name: string): { text: string } | { problem: string } {
  if (value === undefined) return { text: '' }
  return typeof value === 'string' ? { text: value } : { problem: `${name} must be a string` }
}

function wholeNumber(value: LuaValue): number | undefined {
  const number = value instanceof Float ? value.value : typeof value === 'bigint' ? Number(value) : value
  return typeof number === 'number' && Number.isInteger(number) && number >= 0 ? number : undefined
}

function list(call: Call): Returns {
  const { engine } = call
  const store = self(call, 'list')
  if (store.isReleased) return fail('Invalid', 'store is released')
  blocking(call, 'store:list')
  const options = optionsArg(call, 2)
  if (options === undefined) return fail('Invalid', OPTIONS)
  const option = (name: string): LuaValue => (options === 'none' ? undefined : engine.get(options, name))
  const prefix = textOption(option('prefix'), 'prefix')
  if ('problem' in prefix) return fail('Invalid', prefix.problem)
  const after = textOption(option('after'), 'after')
  if ('problem' in after) return fail('Invalid', after.problem)
  const limit = option('limit') === undefined ? 0 : wholeNumber(option('limit'))
  if (limit === undefined) return fail('Invalid', 'limit must be a non-negative integer')
  const refused = refusal(call, 'store.key.list', store.id, { prefix: prefix.text })
  if (refused !== undefined) return refused
  const pageSize = limit === 0 ? PAGE_DEFAULT : Math.min(limit, PAGE_MAX)
  const args = [store.id, prefix.text, after.text, pageSize, option('stale') === true]
  return ask(call, 'list', args, (value) => [engine.copyIn(value), undefined])
}

/** A table, 'none' for nil, undefined for anything else. */
function optionsArg(call: Call, index: number): LuaTable | 'none' | undefined {
  const type = call.type(index)
  if (type === 'nil' || type === 'none') return 'none'
  return type === 'table' ? (call.arg(index) as LuaTable) : undefined
}

function info(call: Call): Returns {
  const { engine } = call
  const store = self(call, 'info')
  if (store.isReleased) return fail('Invalid', 'store is released')
  blocking(call, 'store:info')
  const refused = refusal(call, 'store.info', store.id)
  return refused ?? ask(call, 'info', [store.id], (value) => [engine.copyIn(value), undefined])
}

// ---- writing

/** The value of argument 3 as it is stored, or why it cannot be. */
function valueArg(call: Call): { value: Value } | { failure: readonly LuaValue[] } {
  const given = call.arg(3)
  if (given === undefined) return { failure: fail('Invalid', 'value is required') }
  try {
    return { value: toStored(call.engine, given) }
  } catch (thrown) {
    if (thrown instanceof MoonmeshError) return { failure: failWith(thrown) }
    throw thrown
  }
}

function set(call: Call): Returns {
  return withKey(call, { fn: 'set', permission: 'store.key.set', denial: 'raise' }, (store, key) => {
    const stored = valueArg(call)
    if ('failure' in stored) return stored.failure
    const ttl = Math.max(0, optionalNumber(call, 4, 'set', 0)) || 0
    return ask(call, 'put', [store.id, key, stored.value, record({ ttl: new Float(ttl) })], () => TRUE_NIL)
  })
}

/** Options of `put` as the node reads them, or what is wrong with them. */
function putOptions(call: Call, index: number): { options: Value } | { problem: string } {
  const { engine } = call
  const table = optionsArg(call, index)
  if (table === undefined) return { problem: OPTIONS }
  if (table === 'none') return { options: undefined }
  const onlyIfAbsent = engine.get(table, 'only_if_absent')
  const ifVersion = engine.get(table, 'if_version')
  const ttl = engine.get(table, 'ttl')
  if (onlyIfAbsent !== undefined && typeof onlyIfAbsent !== 'boolean') {
    return { problem: 'only_if_absent must be a boolean' }
  }
  const version = ifVersion === undefined ? undefined : versionText(ifVersion)
  if (ifVersion !== undefined && version === undefined) return { problem: 'if_version must be a positive version' }
  if (onlyIfAbsent === true && version !== undefined) {
    return { problem: 'only_if_absent and if_version are mutually exclusive' }
  }
  const seconds = ttl === undefined ? 0 : secondsOf(ttl)
  if (seconds === undefined) return { problem: 'ttl must be a non-negative number' }
  const fence = fenceOption(engine.get(table, 'fence'), engine.get(table, 'lock'))
  if ('problem' in fence) return fence
  const fields = {
    only_if_absent: onlyIfAbsent === true,
    if_version: version,
    ttl: new Float(seconds),
    ...fence.fields,
  }
  return { options: record(fields) }
}

/** A write that counts only while the caller's grant of a lock is the current one: the token of the grant, and the lock's name. */
function fenceOption(token: LuaValue, lock: LuaValue): { fields: Record<string, Value> } | { problem: string } {
  if (token === undefined && lock === undefined) return { fields: {} }
  const number = token === undefined ? undefined : versionText(token)
  if (token !== undefined && number === undefined) return { problem: 'fence must be a positive integer' }
  if (number === undefined || typeof lock !== 'string' || lock === '') {
    return { problem: 'fence and lock go together: the token of a grant, and the name of its lock' }
  }
  return { fields: { fence: Number(number), lock } }
}

function secondsOf(ttl: LuaValue): number | undefined {
  const seconds = isNumber(ttl) ? Number(ttl instanceof Float ? ttl.value : ttl) : Number.NaN
  return seconds >= 0 && Number.isFinite(seconds) ? seconds : undefined
}

/** Digits without leading zeros; whole floats up to 2^53 count as integers. */
function versionText(given: LuaValue): string | undefined {
  if (typeof given === 'string') return /^0*[1-9]\d{0,18}$/.test(given) ? given.replace(/^0+/, '') : undefined
  if (typeof given === 'bigint') return given > 0n ? String(given) : undefined
  const number = given instanceof Float ? given.value : given
  const isVersion = typeof number === 'number' && Number.isInteger(number) && number >= 1 && number <= VERSION_MAX
  return isVersion ? String(number) : undefined
}

function put(call: Call): Returns {
  const { engine } = call
  return withKey(call, { fn: 'put', permission: 'store.key.set', denial: 'return' }, (store, key) => {
    const stored = valueArg(call)
    if ('failure' in stored) return stored.failure
    const given = putOptions(call, 4)
    if ('problem' in given) return fail('Invalid', given.problem)
    return ask(call, 'put', [store.id, key, stored.value, given.options], (value) => [engine.copyIn(value), undefined])
  })
}

function remove(call: Call): Returns {
  return withKey(call, { fn: 'delete', permission: 'store.key.delete', denial: 'raise' }, (store, key) => {
    const given = putOptions(call, 3)
    if ('problem' in given) return fail('Invalid', given.problem)
    return ask(call, 'delete', [store.id, key, given.options], (value) => [value === true, undefined])
  })
}

/** Rows of a list in a transaction, or what is wrong with it. */
function rowsOf<T>(
  call: Call,
  { table, name, read }: { table: LuaTable; name: string; read: (item: LuaValue) => T | { problem: string } },
): { rows: T[] } | { problem: string } {
  const { engine } = call
  const given = engine.get(table, name)
  if (given === undefined) return { rows: [] }
  if (engine.typeOf(given) !== 'table') return { problem: `${name} must be a list` }
  const rows: T[] = []
  for (
    let i = 1, item = engine.get(given as LuaTable, i);
    item !== undefined;
    item = engine.get(given as LuaTable, ++i)
  ) {
    const row = read(item)
    if (typeof row === 'object' && row !== null && 'problem' in row) return { problem: `${name}[${i}]: ${row.problem}` }
    rows.push(row as T)
    if (rows.length > ROWS_MAX) return { problem: `${name} has more than ${ROWS_MAX} items` }
  }
  return { rows }
}

/** More than any store takes in one transaction. */
const ROWS_MAX = 1024

function keyIn(call: Call, item: LuaValue): string | undefined {
  const key = call.engine.typeOf(item) === 'table' ? call.engine.get(item as LuaTable, 'key') : item
  return typeof key === 'string' && key !== '' ? key : undefined
}

const NO_KEY = { problem: 'key is required' }

function checkOf(call: Call, item: LuaValue): { key: string; version: string } | { problem: string } {
  const key = keyIn(call, item)
  if (key === undefined || call.engine.typeOf(item) !== 'table') return NO_KEY
  const given = call.engine.get(item as LuaTable, 'version')
  const isAbsent = given === undefined || given === 0 || given === '0'
  const version = isAbsent ? '0' : versionText(given)
  return version === undefined ? { problem: 'version must be a version, or 0 for none' } : { key, version }
}

function rowOf(call: Call, item: LuaValue): { key: string; value: Value; ttl: number } | { problem: string } {
  const key = keyIn(call, item)
  if (key === undefined || call.engine.typeOf(item) !== 'table') return NO_KEY
  const value = call.engine.get(item as LuaTable, 'value')
  if (value === undefined) return { problem: 'value is required' }
  const ttl = call.engine.get(item as LuaTable, 'ttl')
  const seconds = ttl === undefined ? 0 : secondsOf(ttl)
  if (seconds === undefined) return { problem: 'ttl must be a non-negative number' }
  return { key, value: toStored(call.engine, value), ttl: seconds }
}

const pairOf = (...items: Value[]): TableValue => new TableValue(items)

function txn(call: Call): Returns {
  const store = self(call, 'txn')
  if (store.isReleased) return fail('Invalid', 'store is released')
  blocking(call, 'store:txn')
  const table = optionsArg(call, 2)
  if (table === undefined || table === 'none') return fail('Invalid', 'a transaction is a table')
  let lists: readonly [ReturnType<typeof checksOf>, ReturnType<typeof putsOf>, ReturnType<typeof deletesOf>]
  try {
    lists = [checksOf(call, table), putsOf(call, table), deletesOf(call, table)]
  } catch (thrown) {
    if (thrown instanceof MoonmeshError) return failWith(thrown)
    throw thrown
  }
  const [checks, puts, deletes] = lists
  if ('problem' in checks) return fail('Invalid', checks.problem)
  if ('problem' in puts) return fail('Invalid', puts.problem)
  if ('problem' in deletes) return fail('Invalid', deletes.problem)
  const fence = fenceOption(call.engine.get(table, 'fence'), call.engine.get(table, 'lock'))
  if ('problem' in fence) return fail('Invalid', fence.problem)
  for (const [permission, rows] of [
    ['store.key.get', checks.rows.map(({ key }) => key)],
    ['store.key.set', puts.rows.map(({ key }) => key)],
    ['store.key.delete', deletes.rows],
  ] as const) {
    for (const key of rows) {
      const refused = refusal(call, permission, store.id, { key })
      if (refused !== undefined) return refused
    }
  }
  const args = [
    store.id,
    new TableValue(checks.rows.map(({ key, version }) => pairOf(key, version))),
    new TableValue(puts.rows.map(({ key, value, ttl }) => pairOf(key, value, new Float(ttl)))),
    new TableValue(deletes.rows),
    record(fence.fields),
  ]
  return ask(call, 'txn', args, (value) => [call.engine.copyIn(value), undefined])
}

const checksOf = (call: Call, table: LuaTable) =>
  rowsOf(call, { table, name: 'checks', read: (item) => checkOf(call, item) })
const putsOf = (call: Call, table: LuaTable) => rowsOf(call, { table, name: 'puts', read: (item) => rowOf(call, item) })
const deletesOf = (call: Call, table: LuaTable) =>
  rowsOf<string>(call, { table, name: 'deletes', read: (item) => keyIn(call, item) ?? NO_KEY })

// ---- watching

function watch(call: Call): Returns {
  const { engine } = call
  const store = self(call, 'watch')
  if (store.isReleased) return fail('Invalid', 'store is released')
  blocking(call, 'store:watch')
  const prefix = textOption(call.arg(2), 'prefix')
  if ('problem' in prefix) return fail('Invalid', prefix.problem)
  const options = optionsArg(call, 3)
  if (options === undefined) return fail('Invalid', OPTIONS)
  const given = options === 'none' ? undefined : engine.get(options, 'from')
  const from = given === undefined ? undefined : versionText(given)
  if (given !== undefined && from === undefined) return fail('Invalid', 'from must be a positive version')
  const refused = refusal(call, 'store.key.list', store.id, { prefix: prefix.text })
  if (refused !== undefined) return refused
  const process = processOf(call)
  return wait(call, (done) => {
    const watching = new StoreWatch(process)
    process.request('store', 'watch', [store.id, prefix.text, from, watching.feed.topic], (answer) => {
      if (!answer.ok) watching.close()
      done(answer.ok ? [watching, undefined] : failWith(answer.error))
    })
  })
}

export const storeModule: LibraryModule = {
  name: 'store',
  description: 'key-value stores',
  tags: ['storage', 'io', 'nondeterministic'],
  build: () => ({
    get: open,
    backend: { MEMORY: 'memory', SQL: 'sql', KV_RAFT: 'kv.raft', KV_CRDT: 'kv.crdt', UNKNOWN: 'unknown' },
    consistency: { LINEARIZABLE: 'linearizable', EVENTUAL: 'eventual', LOCAL: 'local', UNKNOWN: 'unknown' },
  }),
  classes: [
    {
      name: 'store.Store',
      saving: storeSaving,
      methods: {
        get,
        entry,
        has,
        set,
        put,
        delete: remove,
        list,
        txn,
        watch,
        info,
        release: (call) => {
          self(call, 'release').isReleased = true
          return true
        },
      },
      metamethods: {
        tostring: (call) => (self(call, 'tostring').isReleased ? 'store.Store{released}' : 'store.Store{}'),
      },
    },
    watchClass('store.Watch', StoreWatch),
  ],
}
