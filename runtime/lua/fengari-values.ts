// Between fengari's tagged values and ours. Strings that cross often are made once: a byte string keeps its TString in a bounded table, a
// TString keeps its byte string.

import { fromUint8Array, toUint8Array } from '../base/bytes.ts'
import { ErrorValue, Float, floatValue, TableValue, type Value } from '../base/value.ts'
import { ErrorObject, HostObject, type LuaValue } from './engine.ts'
import type { Internals, State, Table, TString, TValue, Udata } from './fengari-types.ts'

/** Type tags: the low four bits are the type, bits 4 and 5 its variant. */
export const NIL = 0
const BOOLEAN = 1
export const FLOAT = 3
export const STRING = 4
export const TABLE = 5
const LUA_CLOSURE = 6
export const USERDATA = 7
export const THREAD = 8
export const INTEGER = 3 | 16
export const LONG_STRING = 4 | 16
export const LIGHT_FUNCTION = 6 | 16
const HOST_CLOSURE = 6 | 32

const KEPT_LENGTH_MAX = 64
const KEPT_COUNT_MAX = 8192

export class FengariValues {
  readonly #f: Internals
  readonly #L: State
  readonly #metatables: ReadonlyMap<string, Table>
  readonly #kept = new Map<string, TString>()

  constructor(fengari: Internals, L: State, metatables: ReadonlyMap<string, Table>) {
    this.#f = fengari
    this.#L = L
    this.#metatables = metatables
  }

  /** Our form of a tagged value; handles stay what they are inside fengari. */
  read(tv: TValue): LuaValue {
    switch (tv.type) {
      case NIL:
        return undefined
      case BOOLEAN:
      case INTEGER:
        return tv.value as boolean | number
      case FLOAT:
        return floatValue(tv.value as number)
      case STRING:
      case LONG_STRING:
        return this.readString(tv.value as TString)
      case USERDATA: {
        const { data } = tv.value as Udata
        return data instanceof HostObject ? data : undefined
      }
      default:
        return tv.value as LuaValue
    }
  }

  readString(string: TString): string {
    if (string.bytes !== undefined) return string.bytes
    const bytes = fromUint8Array(string.realstring)
    if (bytes.length <= KEPT_LENGTH_MAX) string.bytes = bytes
    return bytes
  }

  /** A fresh tagged value. */
  make(value: LuaValue): TValue {
    const { TValue } = this.#f
    switch (typeof value) {
      case 'undefined':
        return new TValue(NIL, null)
      case 'boolean':
        return new TValue(BOOLEAN, value)
      case 'number':
        return (value | 0) === value && !Object.is(value, -0) ? new TValue(INTEGER, value) : new TValue(FLOAT, value)
      case 'bigint':
        return new TValue(FLOAT, Number(value))
      case 'string':
        return new TValue(LONG_STRING, this.makeString(value))
      case 'function':
        return new TValue(LIGHT_FUNCTION, value)
      default:
        return this.#makeObject(value as object)
    }
  }

  /** A float, also where the number is whole. */
  makeFloat(value: number): TValue {
    return new this.#f.TValue(FLOAT, value)
  }

  #makeObject(value: object): TValue {
    const { TValue, Table, LClosure, State } = this.#f
    if (value instanceof Float) return new TValue(FLOAT, value.value)
    if (value instanceof HostObject) return new TValue(USERDATA, this.#box(value))
    if (value instanceof Table) return new TValue(TABLE, value)
    if (value instanceof LClosure) return new TValue(LUA_CLOSURE, value)
    if (value instanceof State) return new TValue(THREAD, value)
    return new TValue(HOST_CLOSURE, value)
  }

  makeString(bytes: string): TString {
    const kept = this.#kept.get(bytes)
    if (kept !== undefined) return kept
    const string = new this.#f.TString(this.#L, toUint8Array(bytes))
    if (bytes.length <= KEPT_LENGTH_MAX) {
      string.bytes = bytes
      if (this.#kept.size >= KEPT_COUNT_MAX) this.#kept.clear()
      this.#kept.set(bytes, string)
    }
    return string
  }

  #box(object: HostObject): Udata {
    if (object.box !== undefined) return object.box as Udata
    const metatable = this.#metatables.get(object.className)
    if (metatable === undefined) throw new Error(`class ${object.className} is not defined on this engine`)
    const udata = new this.#f.Udata(this.#L, 0)
    udata.data = object
    udata.metatable = metatable
    object.box = udata
    return udata
  }

  /** A copy that belongs to nobody. Tables are filled one after the other, not one inside the other: no shape is too deep. */
  copyOut(tv: TValue): Value {
    if (tv.type !== TABLE) return this.#scalarOut(tv)
    const copies = new Map<Table, TableValue>()
    const root = tv.value as Table
    const copy = new TableValue()
    copies.set(root, copy)
    this.#fillOut(copy, root, copies)
    if (copies.size > 1) {
      // The map grows while it is walked.
      for (const [table, each] of copies) if (each !== copy) this.#fillOut(each, table, copies)
    }
    return copy
  }

  #scalarOut(tv: TValue): Value {
    switch (tv.type) {
      case USERDATA: {
        const { data } = tv.value as Udata
        return data instanceof HostObject ? data.leave() : undefined
      }
      case NIL:
      case BOOLEAN:
      case INTEGER:
      case FLOAT:
      case STRING:
      case LONG_STRING:
        return this.read(tv) as Value
      default:
        return undefined
    }
  }

  #partOut(tv: TValue, copies: Map<Table, TableValue>): Value {
    if (tv.type !== TABLE) return this.#scalarOut(tv)
    const table = tv.value as Table
    const known = copies.get(table)
    if (known !== undefined) return known
    const copy = new TableValue()
    copies.set(table, copy)
    return copy
  }

  #fillOut(copy: TableValue, table: Table, copies: Map<Table, TableValue>): void {
    const { array, keys, values } = copy
    let straysAmongKeys = false
    for (let entry = (table.shown ?? table).f; entry !== undefined; entry = entry.n) {
      const value = this.#partOut(entry.value, copies)
      if (value === undefined) continue
      if (entry.key.type === INTEGER) {
        if (entry.key.value === array.length + 1) {
          array.push(value)
          continue
        }
        straysAmongKeys = true
      }
      const key = this.#partOut(entry.key, copies)
      if (key === undefined) continue
      keys.push(key)
      values.push(value)
    }
    if (straysAmongKeys) gatherArray(copy)
  }

  copyIn(value: Value): TValue {
    if (!(value instanceof TableValue)) return this.#scalarIn(value)
    const tables = new Map<TableValue, Table>()
    const root = new this.#f.Table(this.#L)
    tables.set(value, root)
    this.#fillIn(root, value, tables)
    if (tables.size > 1) {
      for (const [source, table] of tables) if (table !== root) this.#fillIn(table, source, tables)
    }
    return new this.#f.TValue(TABLE, root)
  }

  #scalarIn(value: Exclude<Value, TableValue>): TValue {
    return this.make(value instanceof ErrorValue ? new ErrorObject(value) : value)
  }

  #partIn(value: Value, tables: Map<TableValue, Table>): TValue {
    if (!(value instanceof TableValue)) return this.#scalarIn(value)
    let table = tables.get(value)
    if (table === undefined) {
      table = new this.#f.Table(this.#L)
      tables.set(value, table)
    }
    return new this.#f.TValue(TABLE, table)
  }

  #fillIn(table: Table, source: TableValue, tables: Map<TableValue, Table>): void {
    const { luaH_setint, luaH_setfrom } = this.#f
    const { array, keys, values } = source
    for (let i = 0; i < array.length; i++) luaH_setint(table, i + 1, this.#partIn(array[i], tables))
    for (let i = 0; i < keys.length; i++) {
      luaH_setfrom(this.#L, table, this.#partIn(keys[i], tables), this.#partIn(values[i], tables))
    }
  }
}

/** Moves integer keys that continue the array out of `keys`: a table filled out of order is still a sequence. */
function gatherArray(table: TableValue): void {
  const at = new Map<Value, number>()
  for (const [i, key] of table.keys.entries()) if (typeof key === 'number') at.set(key, i)
  const moved = new Set<number>()
  for (let i = at.get(table.array.length + 1); i !== undefined; i = at.get(table.array.length + 1)) {
    table.array.push(table.values[i])
    moved.add(i)
  }
  if (moved.size === 0) return
  let kept = 0
  for (let i = 0; i < table.keys.length; i++) {
    if (moved.has(i)) continue
    table.keys[kept] = table.keys[i]
    table.values[kept++] = table.values[i]
  }
  table.keys.length = kept
  table.values.length = kept
}
