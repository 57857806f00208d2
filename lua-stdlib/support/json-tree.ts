// JSON trees (json-schema.ts) from JSON text and from the values of scripts.

import { toText } from '../../runtime/base/bytes.ts'
import { Float } from '../../runtime/base/value.ts'
import { type Engine, ErrorObject, type LuaTable, type LuaValue } from '../../runtime/lua/engine.ts'
import { decodeJson } from './json-decode.ts'
import type { Json } from './json-schema.ts'
import { isTable, type TableMaker } from './json-tables.ts'

const DEPTH_MAX = 128
const VALUES_MAX = 1_000_000

/** A value that is no JSON. `message` is text. */
export class JsonTreeError extends Error {
  override readonly name = 'JsonTreeError'
}

const treeMaker: TableMaker = {
  null: null,
  newArray: () => [],
  newObject: () => new Map(),
  set: (table, key, value) => {
    if (Array.isArray(table)) table.push(leaf(value))
    else (table as Map<string, Json>).set(toText(String(key)), leaf(value))
  },
}

/** Scalars of base/value.ts as JSON has them: one kind of number, text instead of bytes. */
function leaf(value: unknown): Json {
  if (value === undefined) return null
  if (value instanceof Float) return value.value
  if (typeof value === 'bigint') return Number(value)
  return typeof value === 'string' ? toText(value) : (value as Json)
}

/** @throws JsonSyntaxError */
export function treeFromText(bytes: string): Json {
  return leaf(decodeJson(treeMaker, bytes))
}

/**
 * A script's value by the rules of lua-libraries.md §0.4: a table with a first element is its list, any other an object.
 * @throws JsonTreeError when nested deeper than 128 levels, which a table within itself is, or larger than a million parts
 */
export function treeFromValue(engine: Engine, value: LuaValue): Json {
  return new TreeReader(engine).read(value, 0)
}

class TreeReader {
  readonly #engine: Engine
  #valueCount = 0

  constructor(engine: Engine) {
    this.#engine = engine
  }

  read(value: LuaValue, depth: number): Json {
    const engine = this.#engine
    if (++this.#valueCount > VALUES_MAX) throw new JsonTreeError(`data has more than ${VALUES_MAX} parts`)
    if (depth > DEPTH_MAX) throw new JsonTreeError(`data is nested deeper than ${DEPTH_MAX} levels or contains itself`)
    if (value instanceof ErrorObject) return toText(value.error.message)
    if (!isTable(engine, value)) return this.#scalar(value)
    if (engine.get(value, 1) !== undefined) return this.#list(value, depth)
    const members = new Map<string, Json>()
    engine.each(value, (key, item) => {
      if (item !== undefined) members.set(String(this.#scalar(key)), this.read(item, depth + 1))
    })
    return members
  }

  #list(table: LuaTable, depth: number): Json {
    const items: Json[] = []
    for (let i = 1, item = this.#engine.get(table, i); item !== undefined; item = this.#engine.get(table, ++i)) {
      items.push(this.read(item, depth + 1))
    }
    return items
  }

  /** Functions and their like are shown by their type. */
  #scalar(value: LuaValue): Json {
    const isScalar = value instanceof Float || typeof value !== 'object'
    return isScalar && typeof value !== 'function' ? leaf(value) : this.#engine.typeOf(value)
  }
}
