// What JSON needs to know of tables, for the tables of an engine and for neutral ones, so that one writer and one reader serve both.

import { ErrorValue, TableValue, type Value } from '../../runtime/base/value.ts'
import { type Engine, ErrorObject, type LuaTable, type LuaValue } from '../../runtime/lua/engine.ts'

/** Values `V` among which are the tables `T`, as the writer sees them. */
export interface TableReader<V, T extends V & object> {
  isTable(value: V): value is T
  /** The message of an error object, undefined for anything else. */
  errorMessage(value: V): string | undefined
  each(table: T, visit: (key: V, value: V) => void): void
}

/** What the reader builds. Strings are byte strings, numbers have the forms of base/value.ts. */
export interface TableMaker {
  /** What null becomes; undefined leaves its place empty. */
  readonly null: undefined | null
  newArray(): object
  newObject(): object
  /** The key is new to the table; numbers come in rising order. `value` is a scalar or a table made here. */
  set(table: object, key: number | string, value: unknown): void
}

export function engineReader(engine: Engine): TableReader<LuaValue, LuaTable> {
  return {
    isTable: (value): value is LuaTable => isTable(engine, value),
    errorMessage: (value) => (value instanceof ErrorObject ? value.error.message : undefined),
    each: (table, visit) => engine.each(table, visit),
  }
}

export function isTable(engine: Engine, value: LuaValue): value is LuaTable {
  return typeof value === 'object' && engine.typeOf(value) === 'table'
}

export function engineMaker(engine: Engine): TableMaker {
  return {
    null: undefined,
    newArray: () => engine.newTable(),
    newObject: () => engine.newTable(),
    set: (table, key, value) => engine.set(table as LuaTable, key, value as LuaValue),
  }
}

export const neutralReader: TableReader<Value, TableValue> = {
  isTable: (value) => value instanceof TableValue,
  errorMessage: (value) => (value instanceof ErrorValue ? value.message : undefined),
  each: (table, visit) => {
    for (const [i, value] of table.array.entries()) visit(i + 1, value)
    for (const [i, key] of table.keys.entries()) visit(key, table.values[i])
  },
}

export const neutralMaker: TableMaker = {
  null: undefined,
  newArray: () => new TableValue(),
  newObject: () => new TableValue(),
  set: (table, key, value) => {
    const { array, keys, values } = table as TableValue
    if (key === array.length + 1) {
      array.push(value as Value)
      return
    }
    keys.push(key)
    values.push(value as Value)
  },
}

// By identity of tables that each belong to one engine, so nothing meets here that did not meet before.
const decodedFromEmptyObject = new WeakSet<object>()

/** The table was decoded from `{}`: while it is empty it encodes as `{}` again, other empty tables as `[]`. */
export function markEmptyObject(table: object): void {
  decodedFromEmptyObject.add(table)
}

export function isEmptyObject(table: object): boolean {
  return decodedFromEmptyObject.has(table)
}

/** Visits the empty tables of an engine's table and their counterparts in its neutral copy, so that marks can be carried over. */
export function eachEmptyPair(
  engine: Engine,
  table: LuaTable,
  copy: TableValue,
  mark: (table: LuaTable, copy: TableValue) => void,
  seen = new Set<TableValue>(),
): void {
  if (seen.has(copy)) return
  seen.add(copy)
  if (copy.array.length === 0 && copy.keys.length === 0) return mark(table, copy)
  neutralReader.each(copy, (key, value) => {
    if (!(value instanceof TableValue) || key instanceof TableValue || key instanceof ErrorValue) return
    const child = engine.get(table, key)
    if (isTable(engine, child)) eachEmptyPair(engine, child, value, mark, seen)
  })
}
