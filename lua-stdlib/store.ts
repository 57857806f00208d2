// Module `store`: key-value stores. lua-libraries.md §2. What is behind a store answers at the node; here are the rules of the arguments.

import { toText } from '../runtime/base/bytes.ts'
import { MoonmeshError } from '../runtime/base/errors.ts'
import { Float, record, type TableValue, type Value } from '../runtime/base/value.ts'
import { type Call, HostObject, type LuaTable, type LuaValue, type Returns } from '../runtime/lua/engine.ts'
import type { LibraryModule } from '../runtime/services.ts'
import { isNumber, objectArg, optionalNumber, processOf, raise, stringArg } from './support/args.ts'
import { blocking } from './support/blocking.ts'
import { toStored } from './support/convert.ts'
import { errorObject, fail, failWith, TRUE_NIL } from './support/fail.ts'
import { isAllowed, refusal } from './support/permit.ts'
import { wait, waitAlone } from './support/wait.ts'

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

function get(call: Call): Returns {
  const { engine } = call
  return withKey(call, { fn: 'get', permission: 'store.key.get', denial: 'raise' }, (store, key) =>
    ask(call, 'get', [store.id, key], (value) =>
      value === undefined
        ? fail('NotFound', 'key not found')
        : [engine.copyIn((value as TableValue).get('value')), undefined],
    ),
  )
}

function entry(call: Call): Returns {
  const { engine } = call
  return withKey(call, { fn: 'entry', permission: 'store.key.get', denial: 'return' }, (store, key) =>
    ask(call, 'get', [store.id, key], (value) =>
      value === undefined ? fail('NotFound', 'key not found') : [engine.copyIn(value), undefined],
    ),
  )
}

function has(call: Call): Returns {
  const rules = { fn: 'has', permission: 'store.key.has', denial: 'raise', failure: falseAndError } as const
  return withKey(call, rules, (store, key) =>
    ask(
      call,
      'get',
      [store.id, key],
      (value) => [value !== undefined, undefined],
      (error) => [false, failWith(error)[1]],
    ),
  )
}

/** Text of an option, or what is wrong with it. */
function textOption(value: LuaValue, name: string): { text: string } | { problem: string } {
  if (value === undefined) return { text: '' }
  return typeof value === 'string' ? { text: value } : { problem: `${name} must be a string` }
}

function wholeNumber(value: LuaValue): number | undefined {
  const number = value instanceof Float ? value.value : value
  return typeof number === 'number' && Number.isInteger(number) && number >= 0 ? number : undefined
}

function list(call: Call): Returns {
  const { engine } = call
  const store = self(call, 'list')
  if (store.isReleased) return fail('Invalid', 'store is released')
  blocking(call, 'store:list')
  const options = optionsArg(call, 2)
  if (options === undefined) return fail('Invalid', 'options must be a table')
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
  return ask(call, 'list', [store.id, prefix.text, after.text, pageSize], (value) => [engine.copyIn(value), undefined])
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
function putOptions(call: Call): { options: Value } | { problem: string } {
  const { engine } = call
  const table = optionsArg(call, 4)
  if (table === undefined) return { problem: 'options must be a table' }
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
    const given = putOptions(call)
    if ('problem' in given) return fail('Invalid', given.problem)
    return ask(call, 'put', [store.id, key, stored.value, given.options], (value) => [engine.copyIn(value), undefined])
  })
}

function remove(call: Call): Returns {
  return withKey(call, { fn: 'delete', permission: 'store.key.delete', denial: 'raise' }, (store, key) =>
    ask(call, 'delete', [store.id, key], (value) => [value === true, undefined]),
  )
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
      methods: {
        get,
        entry,
        has,
        set,
        put,
        delete: remove,
        list,
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
  ],
}
