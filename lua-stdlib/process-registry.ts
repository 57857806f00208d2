// `process.registry`: names of processes. lua-core.md §10. Local names are the hosts'; a service of the node has those of larger scopes.

import { canonicalPid, parsePid } from '../runtime/base/pid.ts'
import { errorFrom } from '../runtime/base/plain.ts'
import {
  type Call,
  ErrorObject,
  type LuaTable,
  type LuaValue,
  type ModuleTable,
  type Returns,
} from '../runtime/lua/engine.ts'
import type { ScriptProcess } from '../runtime/services.ts'
import { isNumber, optionalString, processOf, stringArg, toNumber } from './support/args.ts'
import { blocking } from './support/blocking.ts'
import { fail, failWith } from './support/fail.ts'
import { refusal } from './support/permit.ts'
import { wait, waitAlone } from './support/wait.ts'
import { WatchObject, watchClass } from './support/watch.ts'

const SCOPES = { LOCAL: 0, EVENTUAL: 1, CONSISTENT: 2, STRONG: 3 }
/** What a scope adds to the name of a permission, by its number. */
const PERMISSION_SUFFIX = ['', '.eventual', '.consistent', '.strong']

const SCOPES_MAX = SCOPES.STRONG

/** The scope, or the `nil, err` of what is none. */
function scopeArg(value: LuaValue): number | readonly LuaValue[] {
  if (value === undefined) return SCOPES.LOCAL
  const scope = isNumber(value) ? toNumber(value) : undefined
  if (scope !== undefined && Number.isInteger(scope) && scope >= SCOPES.LOCAL && scope <= SCOPES_MAX) return scope
  return fail('Invalid', 'scope must be one of process.registry.LOCAL, EVENTUAL, CONSISTENT, STRONG')
}

function register(call: Call): Returns {
  const name = stringArg(call, 1, 'register')
  const process = processOf(call)
  const given = call.arg(2) ?? process.pid
  if (typeof given !== 'string') return fail('Invalid', 'pid must be a string')
  const pid = canonicalPid(given)
  if (pid === undefined) return fail('Invalid', 'invalid pid')
  const scope = scopeArg(call.arg(3))
  if (typeof scope !== 'number') return scope
  const refused =
    refusal(call, `process.registry.register${PERMISSION_SUFFIX[scope]}`, name) ??
    (pid === process.pid ? undefined : refusal(call, 'process.registry.foreign', pid))
  if (refused !== undefined) return refused
  if (scope !== SCOPES.LOCAL) {
    blocking(call, 'process.registry.register')
    return wait(call, (done) =>
      process.request('names', 'register', [name, pid, scope], (answer) =>
        done(answer.ok ? [true] : failWith(answer.error)),
      ),
    )
  }
  return waitAlone(call, (done) =>
    process.names.register(name, pid, (answer) => done(answer.ok ? [true] : failWith(answer.error))),
  )
}

/**
 * What the host knows is the answer; the cluster is asked where the host knows nothing and the call may wait, or when the log's word is
 * wanted.
 */
function lookup(call: Call): Returns {
  const name = stringArg(call, 1, 'lookup')
  const process = processOf(call)
  const isLinearizable = isWanted(call, 'linearizable')
  const known = process.names.lookup(name)
  if (isLinearizable) blocking(call, 'process.registry.lookup')
  else if (known !== undefined) return known
  else if (parsePid(process.pid)?.node === undefined || process.isLoading || !call.canSuspend) return notRegistered()
  const waits = isLinearizable ? wait : waitAlone
  return waits(call, (done) =>
    process.request('names', 'find', [name, isLinearizable], (answer) => {
      if (!answer.ok) return done(failWith(answer.error))
      const found = answer.value ?? process.names.lookup(name)
      done(found === undefined ? notRegistered() : [found as string])
    }),
  )
}

const notRegistered = (): readonly LuaValue[] => fail('NotFound', 'name not registered')

/** A flag of the options table, argument 2. */
function isWanted(call: Call, flag: string): boolean {
  return call.type(2) === 'table' && call.engine.get(call.arg(2) as LuaTable, flag) === true
}

/** Names as they resolve here, in every scope that has them. */
function names(call: Call): Returns {
  const prefix = optionalString(call, 1, 'names') ?? ''
  return waitAlone(call, (done) =>
    processOf(call).request('names', 'names', [prefix], (answer) =>
      done(answer.ok ? [call.engine.copyIn(answer.value)] : failWith(answer.error)),
    ),
  )
}

function unregister(call: Call): Returns {
  const name = stringArg(call, 1, 'unregister')
  const scope = scopeArg(call.arg(2))
  if (typeof scope !== 'number') return false
  const refused = refusal(call, `process.registry.unregister${PERMISSION_SUFFIX[scope]}`, name)
  if (refused !== undefined) return refused
  if (scope !== SCOPES.LOCAL) {
    blocking(call, 'process.registry.unregister')
    return wait(call, (done) =>
      processOf(call).request('names', 'unregister', [name, scope], (answer) => {
        if (answer.ok) return done([answer.value === true])
        const error = errorFrom(answer.error)
        // Where there is no such registry nothing is registered; any other failure must not be taken for that.
        done(error.kind === 'Internal' ? [false] : [false, new ErrorObject(error)])
      }),
    )
  }
  return waitAlone(call, (done) =>
    processOf(call).names.unregister(name, (answer) => done([answer.ok && answer.value])),
  )
}

class NameWatch extends WatchObject {
  constructor(process: ScriptProcess) {
    super(process, 'names')
  }
  override get className(): string {
    return NAME_WATCH
  }
}

const NAME_WATCH = 'NameWatch'

/** What a name, or all names with a prefix, stand for: now, and whenever that changes. */
function watch(call: Call): Returns {
  const name = stringArg(call, 1, 'watch')
  const isPrefix = isWanted(call, 'prefix')
  const process = processOf(call)
  return waitAlone(call, (done) => {
    const watching = new NameWatch(process)
    process.request('names', 'watch', [name, isPrefix, watching.feed.topic], (answer) => {
      if (!answer.ok) watching.close()
      done(answer.ok ? [watching, undefined] : failWith(answer.error))
    })
  })
}

export const nameWatchClass = watchClass(NAME_WATCH, NameWatch)

export const registryModule: ModuleTable = { ...SCOPES, register, lookup, unregister, names, watch }
