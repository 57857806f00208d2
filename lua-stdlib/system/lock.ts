// `system.lock`: locks of the cluster, held by processes. lua-libraries.md §3.2, cluster.md §7.

import { toText } from '../../runtime/base/bytes.ts'
import { record, TableValue, type Value } from '../../runtime/base/value.ts'
import type { Call, HostFunction, LuaTable, LuaValue, Returns } from '../../runtime/lua/engine.ts'
import type { ScriptProcess } from '../../runtime/services.ts'
import { processOf, stringArg } from '../support/args.ts'
import { fail, failWith } from '../support/fail.ts'
import { refusal } from '../support/permit.ts'
import { wait } from '../support/wait.ts'
import { durationOf } from '../time/objects.ts'

const NS_PER_MS = 1_000_000n

type Then = (answer: Value, process: ScriptProcess, name: string) => readonly LuaValue[]

/** A function of a lock's name, if the caller may have to do with the lock. */
function onLock(fn: string, method: string, then: Then, more?: (call: Call) => readonly Value[] | readonly LuaValue[]) {
  return (call: Call): Returns => {
    const name = stringArg(call, 1, fn)
    const refused = refusal(call, 'system.lock', name)
    if (refused !== undefined) return refused
    const args = more?.(call) ?? []
    if (args.length === 2 && args[0] === undefined) return args as readonly LuaValue[]
    return ask(call, method, [name, ...(args as readonly Value[])], (answer, process) => then(answer, process, name))
  }
}

/** Only the coroutine that asks waits: a lock may take long. */
function ask(call: Call, method: string, args: readonly Value[], then: Then): Returns {
  const process = processOf(call)
  return wait(call, (done) =>
    process.request('locks', method, args, (answer) =>
      done(answer.ok ? then(answer.value, process, '') : failWith(answer.error)),
    ),
  )
}

/** `wait` and `ttl` in milliseconds, or what to return instead. */
function times(call: Call): readonly [number, number] | readonly LuaValue[] {
  const options = call.arg(2)
  if (options === undefined) return [0, 0]
  if (call.type(2) !== 'table') return fail('Invalid', 'options must be a table with wait and ttl')
  const found: number[] = []
  for (const key of ['wait', 'ttl']) {
    const value = call.engine.get(options as LuaTable, key)
    const ns = value === undefined ? 0n : durationOf(value)
    if (ns === undefined || ns < 0n) return fail('Invalid', `${key} must be a duration, such as "5s"`)
    found.push(Number((ns + NS_PER_MS - 1n) / NS_PER_MS))
  }
  return found as [number, number]
}

const acquired: Then = (answer, process) => {
  const fields = answer as TableValue
  const name = toText(fields.get('name') as string)
  switch (fields.get('kind')) {
    case 'granted':
      process.setHeld(held(name), true)
      return [true, undefined, fields.get('token') as number]
    case 'timeout': {
      const text = `lock ${name}: the wait was over before it was free`
      return [false, fail('Timeout', text, { retryable: true })[1]]
    }
    default: {
      const details = record({ holder: fields.get('holder'), token: fields.get('token'), since: fields.get('since') })
      return [false, fail('AlreadyExists', `lock held: ${name}`, { retryable: false, details })[1]]
    }
  }
}

/** A copy of the process would not have the lock. */
const held = (name: string): string => `the lock '${name}'`

const released: Then = (answer, process, name) => {
  process.setHeld(held(toText(name)), false)
  return [answer as LuaValue, undefined]
}

const asIs: Then = (answer) => [answer as LuaValue, undefined]

export const lock: Record<string, HostFunction> = {
  acquire: onLock('acquire', 'acquire', acquired, times),
  release: onLock('release', 'release', released),
  renew: onLock('renew', 'renew', asIs),
  is_held: onLock('is_held', 'is_held', asIs),
  holder: onLock('holder', 'holder', asIs),
  info: (call) =>
    onLock('info', 'info', (answer) => [
      answer instanceof TableValue ? call.engine.copyIn(answer) : undefined,
      undefined,
    ])(call),
}
