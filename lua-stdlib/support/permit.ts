// The one place where a library asks whether its caller may do what it is about to do. lua-core.md §23, lua-libraries.md §0.5.

import { toText } from '../../runtime/base/bytes.ts'
import { record, type Value } from '../../runtime/base/value.ts'
import type { Call, LuaValue } from '../../runtime/lua/engine.ts'
import type { ScriptProcess } from '../../runtime/services.ts'
import { processOf, raise } from './args.ts'
import { fail } from './fail.ts'

/**
 * Whether the calling process's identity may do `action` on `resource` (byte strings).
 * @param facts further ones for conditions of policies; the caller's PID is always among them
 */
export function isAllowed(call: Call, action: string, resource: string, facts?: Facts): boolean {
  return mayDo(processOf(call), action, resource, facts)
}

/** The same, for what goes on after the call has returned. */
export function mayDo(process: ScriptProcess, action: string, resource: string, facts?: Facts): boolean {
  // Most processes act for nobody in particular: nothing is allocated for them.
  if (process.identity === undefined) return !process.policies.isStrict
  return process.allowed(action, resource, record({ pid: process.pid, ...facts }))
}

type Facts = Readonly<Record<string, Value>>

export const refusalText = (action: string, resource: string): string => `not allowed: ${action} on ${toText(resource)}`

/** `nil, err` of kind `PermissionDenied`, or undefined when the caller may. */
export function refusal(call: Call, action: string, resource: string, facts?: Facts): readonly LuaValue[] | undefined {
  if (isAllowed(call, action, resource, facts)) return undefined
  return fail('PermissionDenied', refusalText(action, resource), { retryable: false })
}

/** The same for functions that raise what they refuse. */
export function demand(call: Call, action: string, resource: string, facts?: Facts): void {
  if (!isAllowed(call, action, resource, facts)) raise(refusalText(action, resource))
}
