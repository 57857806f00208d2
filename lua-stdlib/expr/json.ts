// Values of expressions as JSON text and back. Here arrays and maps differ also when they are empty, and nil has its place in both.

import { toText } from '../../runtime/base/bytes.ts'
import type { Value } from '../../runtime/base/value.ts'
import { decodeJson, JsonSyntaxError } from '../support/json-decode.ts'
import { encodeJson, JsonEncodeError } from '../support/json-encode.ts'
import { markEmptyObject, type TableMaker, type TableReader } from '../support/json-tables.ts'
import { bytesOfScanned } from '../text/scan.ts'
import { ExprError } from './lexer.ts'
import { type ExprMap, type ExprValue, fromNeutral, isArray, isMap, textOf } from './values.ts'

type Table = readonly ExprValue[] | ExprMap
/** What the writer sees: nil as something that is there. */
type Written = ExprValue | null

const PARTS_MAX = 1_000_000

function newReader(): TableReader<Written, Table> {
  let partCount = 0
  const written = (value: ExprValue): Written => {
    // One array in many places is as many arrays in the text.
    if (++partCount > PARTS_MAX) throw new ExprError(`the value has more than ${PARTS_MAX} parts`)
    return writtenOf(value)
  }
  return {
    isTable: (value): value is Table => value !== null && (isArray(value) || isMap(value)),
    errorMessage: () => undefined,
    each: (table, visit) => {
      if (isArray(table)) for (const [i, item] of table.entries()) visit(i + 1, written(item))
      else for (const [key, item] of table) visit(bytesOfScanned(key), written(item))
      if (isMap(table) && table.size === 0) markEmptyObject(table)
    },
  }
}

function writtenOf(value: ExprValue): Written {
  if (typeof value === 'string') return bytesOfScanned(value)
  return value === undefined ? null : value
}

const maker: TableMaker = {
  null: null,
  newArray: () => [],
  newObject: () => new Map(),
  set: (table, key, value) => {
    const read = isMade(value) ? value : fromNeutral((value ?? undefined) as Value)
    if (Array.isArray(table)) table.push(read)
    else (table as Map<string, ExprValue>).set(textOf(key as string), read)
  },
}

const isMade = (value: unknown): value is Table => Array.isArray(value) || value instanceof Map

/** Text of expressions, not bytes. @throws ExprError */
export function jsonOf(value: ExprValue): string {
  try {
    return toText(encodeJson(newReader(), writtenOf(value)))
  } catch (thrown) {
    if (thrown instanceof JsonEncodeError) throw new ExprError(thrown.message)
    throw thrown
  }
}

/** @throws ExprError */
export function valueOfJson(text: string): ExprValue {
  try {
    const value = decodeJson(maker, bytesOfScanned(text))
    return isMade(value) ? value : fromNeutral((value ?? undefined) as Value)
  } catch (thrown) {
    if (thrown instanceof JsonSyntaxError) throw new ExprError(thrown.message)
    throw thrown
  }
}
