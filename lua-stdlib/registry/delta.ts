// The operations that turn one list of entries into another. lua-core.md §19.3.

import { ErrorValue, Float, list, record, TableValue, type Value } from '../../runtime/base/value.ts'

/** Deletions first, so that what takes the place of something finds it free; then in the order of `to`. */
export function deltaOf(from: readonly TableValue[], to: readonly TableValue[]): TableValue {
  const before = new Map(from.map((entry) => [entry.get('id'), entry]))
  const after = new Set(to.map((entry) => entry.get('id')))
  const ops: Value[] = from
    .filter((entry) => !after.has(entry.get('id')))
    .map((entry) => record({ kind: 'entry.delete', entry }))
  for (const entry of to) {
    const known = before.get(entry.get('id'))
    if (known === undefined) ops.push(record({ kind: 'entry.create', entry }))
    else if (!sameValue(known, entry)) ops.push(record({ kind: 'entry.update', entry }))
  }
  return list(ops)
}

/** By content; entries are trees, bounded in depth by what the registry takes. */
export function sameValue(a: Value, b: Value): boolean {
  if (a === b) return true
  if (a instanceof Float) return b instanceof Float && Object.is(a.value, b.value)
  if (a instanceof ErrorValue) return b instanceof ErrorValue && a.kind === b.kind && a.message === b.message
  if (!(a instanceof TableValue && b instanceof TableValue)) return false
  if (a.array.length !== b.array.length || a.keys.length !== b.keys.length) return false
  if (!a.array.every((item, i) => sameValue(item, b.array[i]))) return false
  const values = new Map(b.keys.map((key, i) => [key, b.values[i]]))
  return a.keys.every((key, i) => values.has(key) && sameValue(a.values[i], values.get(key)))
}
