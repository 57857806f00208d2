// Equality of JSON: members in any order, numbers by value.

import type { Json } from '../json-tree.ts'
import { isMembers } from './schema.ts'

/** One text for equal values. */
export function canonical(data: Json): string {
  if (Array.isArray(data)) return `[${data.map(canonical).join(',')}]`
  if (!isMembers(data)) return JSON.stringify(data === 0 ? 0 : data)
  const names = Object.keys(data).sort()
  return `{${names.map((name) => `${JSON.stringify(name)}:${canonical(data[name] as Json)}`).join(',')}}`
}

/** Ends at the first difference. `spend` hears of each list and object that is looked into. */
export function equal(a: Json, b: Json, spend: (partCount: number) => void): boolean {
  if (Array.isArray(a)) {
    if (!Array.isArray(b) || a.length !== b.length) return false
    spend(a.length)
    return a.every((item, i) => equal(item, b[i] as Json, spend))
  }
  if (!isMembers(a) || !isMembers(b)) return a === b
  const names = Object.keys(a)
  spend(names.length)
  if (names.length !== Object.keys(b).length) return false
  return names.every((name) => name in b && equal(a[name] as Json, b[name] as Json, spend))
}
