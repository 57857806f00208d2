// Context values: what with_context of `process` and `funcs` takes, and what is passed on. lua-core.md §16.

import { ErrorValue, TableValue, type Value } from '../../runtime/base/value.ts'
import type { Call } from '../../runtime/lua/engine.ts'
import { raise, tableArg } from './args.ts'

/** The table of argument `index` as context values; those of `base` stay unless it names them too. Raises for keys that are no strings. */
export function contextArg(call: Call, index: number, fn: string, base: TableValue | undefined): TableValue {
  const given = plain(call.engine.copyOut(tableArg(call, index, fn)), new Map()) as TableValue
  if (given.array.length > 0 || given.keys.some((key) => typeof key !== 'string')) raise('context keys must be strings')
  const merged = new Map<Value, Value>(base?.keys.map((key, i) => [key, base.values[i]]))
  for (const [i, key] of given.keys.entries()) merged.set(key, given.values[i])
  return new TableValue([], [...merged.keys()], [...merged.values()])
}

/** Contexts hold strings, numbers, booleans and tables of these; anything else is dropped. */
function plain(value: Value, made: Map<TableValue, TableValue>): Value {
  if (value instanceof ErrorValue) return undefined
  if (!(value instanceof TableValue)) return value
  const known = made.get(value)
  if (known !== undefined) return known
  const table = new TableValue()
  made.set(value, table)
  let isDense = true
  for (const [i, item] of value.array.entries()) {
    const kept = plain(item, made)
    isDense &&= kept !== undefined
    if (isDense) table.array.push(kept)
    else add(table, i + 1, kept)
  }
  for (const [i, key] of value.keys.entries()) {
    if (key instanceof TableValue || key instanceof ErrorValue) continue
    add(table, key, plain(value.values[i], made))
  }
  return table
}

function add(table: TableValue, key: Value, value: Value): void {
  if (value === undefined) return
  table.keys.push(key)
  table.values.push(value)
}
