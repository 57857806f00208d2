// JSON trees from JSON text and from the values of scripts.

import { toText } from '../../runtime/base/bytes.ts'
import { Float } from '../../runtime/base/value.ts'
import type { Engine, LuaValue } from '../../runtime/lua/engine.ts'
import { plainOfStored, toStored } from './convert.ts'
import { decodeJson } from './json-decode.ts'
import type { TableMaker } from './json-tables.ts'

/** Objects have no prototype, so that no name of a member is special. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json }

const treeMaker: TableMaker = {
  null: null,
  newArray: () => [],
  newObject: () => Object.create(null),
  set: (table, key, value) => {
    if (Array.isArray(table)) table.push(leaf(value))
    else (table as Record<string, Json>)[toText(String(key))] = leaf(value)
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
 * @throws MoonmeshError when nested deeper than 128 levels, which a table within itself is, or larger than a million parts
 */
export function treeFromValue(engine: Engine, value: LuaValue): Json {
  return plainOfStored(toStored(engine, value), { string: toText, integer: Number }) as Json
}
