// What a JSON Schema is made of (draft 2020-12): which keywords hold schemas, and which an assertion.

import type { Json } from '../json-tree.ts'

export type Members = { readonly [name: string]: Json }
export type Schema = boolean | Members

/** The schema is wrong, or asks for more than is to be had. `message` is text. */
export class SchemaError extends Error {
  override readonly name = 'SchemaError'
}

/** The value is a schema. */
export const ONE: ReadonlySet<string> = new Set([
  ...['additionalProperties', 'contains', 'else', 'if', 'items', 'not', 'propertyNames', 'then'],
  ...['unevaluatedItems', 'unevaluatedProperties'],
])
/** The value is a list of schemas. */
export const LIST: ReadonlySet<string> = new Set(['allOf', 'anyOf', 'oneOf', 'prefixItems'])
/** The value is an object whose members are schemas. */
export const MAP: ReadonlySet<string> = new Set(['dependentSchemas', 'patternProperties', 'properties'])
/** Like MAP, but nothing applies them unless something refers to them. */
export const STORE: ReadonlySet<string> = new Set(['$defs', 'definitions'])
/** The value is an object of another kind. */
const OTHER_OBJECT: ReadonlySet<string> = new Set(['$vocabulary', 'dependentRequired'])

/** What says something about data without another schema. */
export const ASSERTIONS: ReadonlySet<string> = new Set([
  ...['const', 'dependentRequired', 'enum', 'exclusiveMaximum', 'exclusiveMinimum', 'maxContains', 'maxItems'],
  ...['maxLength', 'maxProperties', 'maximum', 'minContains', 'minItems', 'minLength', 'minProperties', 'minimum'],
  ...['multipleOf', 'pattern', 'required', 'type', 'uniqueItems'],
])

export const isMembers = (value: Json | undefined): value is Members =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const NONE: Members = Object.create(null)

export const membersOf = (value: Json | undefined): Members => (isMembers(value) ? value : NONE)

export const listOf = (value: Json | undefined): readonly Json[] => (Array.isArray(value) ? value : [])

/** An object without a prototype, so that no name of a member is special. */
export function object<T>(members: Iterable<readonly [name: string, value: T]> = []): Record<string, T> {
  const result: Record<string, T> = Object.create(null)
  for (const [name, value] of members) result[name] = value
  return result
}

/**
 * A copy in which an object stands wherever the draft wants one and an empty array was written: an empty Lua table cannot say which
 * of the two it is.
 */
export function withObjects(value: Json): Json {
  if (isEmptyArray(value)) return object()
  if (!isMembers(value)) return value
  return object(Object.entries(value).map(([key, item]) => [key, keywordWithObjects(key, item)]))
}

function keywordWithObjects(key: string, value: Json): Json {
  if (ONE.has(key)) return withObjects(value)
  if (LIST.has(key)) return Array.isArray(value) ? value.map(withObjects) : value
  if (!MAP.has(key) && !STORE.has(key) && !OTHER_OBJECT.has(key)) return value
  if (isEmptyArray(value)) return object()
  if (!isMembers(value) || OTHER_OBJECT.has(key)) return value
  return object(Object.entries(value).map(([name, item]) => [name, withObjects(item)]))
}

const isEmptyArray = (value: Json): boolean => Array.isArray(value) && value.length === 0
