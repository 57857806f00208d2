// JSON Schema, draft 2020-12: the vocabularies core, applicator, unevaluated and validation. `format` and content keywords are annotations
// and assert nothing (lua-libraries.md §4.3, O-7). References stay within the schema; nothing is fetched.

/** Objects are Maps, so that no name of a member is special. */
export type Json = null | boolean | number | string | readonly Json[] | ReadonlyMap<string, Json>

type Schema = boolean | ReadonlyMap<string, Json>

/** The schema itself is wrong. `message` is text. */
export class SchemaError extends Error {
  override readonly name = 'SchemaError'
}

const BASE = 'schema:/'
const EVERYTHING: Schema = true
/** How deep schemas may apply to each other: references that go round in a circle without looking at the data end here. */
const DEPTH_MAX = 1000

const SUBSCHEMA = new Set([
  ...['additionalProperties', 'contains', 'else', 'if', 'items', 'not', 'propertyNames', 'then'],
  ...['unevaluatedItems', 'unevaluatedProperties'],
])
const SUBSCHEMA_LIST = new Set(['allOf', 'anyOf', 'oneOf', 'prefixItems'])
const SUBSCHEMA_MAP = new Set(['$defs', 'definitions', 'dependentSchemas', 'patternProperties', 'properties'])
const NUMBERS = new Set(['exclusiveMaximum', 'exclusiveMinimum', 'maximum', 'minimum', 'multipleOf'])
const COUNTS = new Set([
  ...['maxContains', 'maxItems', 'maxLength', 'maxProperties'],
  ...['minContains', 'minItems', 'minLength', 'minProperties'],
])
const STRINGS = new Set(['$anchor', '$dynamicAnchor', '$dynamicRef', '$id', '$ref', 'pattern'])
const TYPES = new Set(['array', 'boolean', 'integer', 'null', 'number', 'object', 'string'])

/** Which members and items of a value some schema has looked at, for `unevaluatedProperties` and `unevaluatedItems`. */
class Evaluated {
  readonly names = new Set<string>()
  readonly indexes = new Set<number>()

  add(other: Evaluated): void {
    for (const name of other.names) this.names.add(name)
    for (const index of other.indexes) this.indexes.add(index)
  }
}

/** Where a check stands: the place in the data, and the schema resources that led here, outermost first. */
interface Place {
  readonly path: string
  readonly scope: readonly string[]
  readonly depth: number
}

/** What is wrong with the data, or undefined. */
type Problem = string | undefined

export class JsonSchema {
  readonly #root: Schema
  /** By absolute URI: resources without a fragment, anchors with one. */
  readonly #byUri = new Map<string, Schema>()
  /** URIs among those that come from $dynamicAnchor. */
  readonly #dynamic = new Set<string>()
  /** The URI of the resource that a schema belongs to. */
  readonly #baseOf = new Map<Schema, string>()
  readonly #patterns = new Map<string, RegExp>()

  /** @throws SchemaError */
  constructor(schema: Json) {
    this.#root = asSchema(schema, 'the schema')
    this.#byUri.set(BASE, this.#root)
    this.#index(this.#root, BASE)
    for (const [owner, base] of this.#baseOf) {
      if (typeof owner === 'boolean') continue
      for (const key of ['$ref', '$dynamicRef']) {
        const reference = owner.get(key)
        if (typeof reference === 'string') this.#resolve(reference, base)
      }
    }
  }

  /** What is wrong with the data, in one sentence; undefined when it fits. @throws SchemaError for endless references */
  validate(data: Json): Problem {
    const base = this.#baseOf.get(this.#root) ?? BASE
    return this.#check(this.#root, data, { path: '', scope: [base], depth: 0 }, new Evaluated())
  }

  // ---- reading the schema

  #index(schema: Schema, outerBase: string): void {
    if (typeof schema === 'boolean' || this.#baseOf.has(schema)) return
    for (const [key, value] of schema) checkKeyword(key, value)
    const id = schema.get('$id')
    const base = typeof id === 'string' ? withoutFragment(resolveUri(id, outerBase)) : outerBase
    if (typeof id === 'string') this.#byUri.set(base, schema)
    this.#baseOf.set(schema, base)
    this.#indexAnchors(schema, base)
    const pattern = schema.get('pattern')
    if (typeof pattern === 'string') this.#compile(pattern)
    for (const [key, value] of schema) {
      if (SUBSCHEMA.has(key)) this.#index(asSchema(value, key), base)
      if (SUBSCHEMA_LIST.has(key)) for (const item of value as readonly Json[]) this.#index(asSchema(item, key), base)
      if (!SUBSCHEMA_MAP.has(key)) continue
      for (const [name, item] of asMap(value)) {
        if (key === 'patternProperties') this.#compile(name)
        this.#index(asSchema(item, `${key}/${name}`), base)
      }
    }
  }

  #indexAnchors(schema: ReadonlyMap<string, Json>, base: string): void {
    for (const key of ['$anchor', '$dynamicAnchor']) {
      const anchor = schema.get(key)
      if (typeof anchor !== 'string') continue
      this.#byUri.set(`${base}#${anchor}`, schema)
      if (key === '$dynamicAnchor') this.#dynamic.add(`${base}#${anchor}`)
    }
  }

  #compile(pattern: string): void {
    try {
      this.#patterns.set(pattern, new RegExp(pattern, 'u'))
    } catch {
      throw new SchemaError(`invalid schema: bad pattern ${JSON.stringify(pattern)}`)
    }
  }

  #resolve(reference: string, base: string): Schema {
    const uri = resolveUri(reference, base)
    const known = this.#byUri.get(uri) ?? this.#byUri.get(uri.replace(/#$/, ''))
    if (known !== undefined) return known
    const resource = this.#byUri.get(withoutFragment(uri))
    const fragment = decodeFragment(uri.slice(uri.indexOf('#') + 1))
    const target = resource !== undefined && fragment.startsWith('/') ? pointed(resource, fragment) : undefined
    if (target === undefined)
      throw new SchemaError(`invalid schema: cannot resolve reference ${JSON.stringify(reference)}`)
    const schema = asSchema(target, reference)
    // A pointer may lead to where no keyword does.
    this.#index(schema, withoutFragment(uri))
    this.#byUri.set(uri, schema)
    return schema
  }

  // ---- checking data

  #check(schema: Schema, data: Json, place: Place, evaluated: Evaluated): Problem {
    if (schema === true) return undefined
    if (schema === false) return at(place, 'nothing is allowed here')
    if (place.depth > DEPTH_MAX) throw new SchemaError('invalid schema: it refers to itself without end')
    const base = this.#baseOf.get(schema) ?? BASE
    const scope = place.scope.at(-1) === base ? place.scope : [...place.scope, base]
    const inner = { ...place, scope, depth: place.depth + 1 }
    return (
      checkScalars(schema, data, inner, this.#patterns) ??
      this.#references(schema, data, inner, evaluated) ??
      this.#combinations(schema, data, inner, evaluated) ??
      (Array.isArray(data) ? this.#items(schema, data, inner, evaluated) : undefined) ??
      (data instanceof Map ? this.#members(schema, data, inner, evaluated) : undefined)
    )
  }

  /** Another schema for the same value: what it has evaluated counts if it agrees. */
  #apply(schema: Schema, data: Json, place: Place, evaluated: Evaluated): Problem {
    const own = new Evaluated()
    const problem = this.#check(schema, data, place, own)
    if (problem === undefined) evaluated.add(own)
    return problem
  }

  #references(schema: ReadonlyMap<string, Json>, data: Json, place: Place, evaluated: Evaluated): Problem {
    const base = place.scope.at(-1) as string
    const reference = schema.get('$ref')
    if (typeof reference === 'string') {
      const problem = this.#apply(this.#resolve(reference, base), data, place, evaluated)
      if (problem !== undefined) return problem
    }
    const dynamic = schema.get('$dynamicRef')
    if (typeof dynamic !== 'string') return undefined
    return this.#apply(this.#resolveDynamic(dynamic, place.scope), data, place, evaluated)
  }

  /** The outermost resource on the way here that has the same dynamic anchor wins (core, 8.2.3.2). */
  #resolveDynamic(reference: string, scope: readonly string[]): Schema {
    const uri = resolveUri(reference, scope.at(-1) as string)
    const anchor = uri.slice(uri.indexOf('#'))
    if (this.#dynamic.has(uri)) {
      const outer = scope.find((base) => this.#dynamic.has(base + anchor))
      if (outer !== undefined) return this.#byUri.get(outer + anchor) as Schema
    }
    return this.#resolve(reference, scope.at(-1) as string)
  }

  #combinations(schema: ReadonlyMap<string, Json>, data: Json, place: Place, evaluated: Evaluated): Problem {
    for (const item of subschemas(schema, 'allOf')) {
      const problem = this.#apply(item, data, place, evaluated)
      if (problem !== undefined) return problem
    }
    const anyOf = subschemas(schema, 'anyOf')
    if (anyOf.length > 0) {
      // All are asked, even after one agrees: each says what it has evaluated.
      const problems = anyOf.map((item) => this.#apply(item, data, place, evaluated))
      if (!problems.includes(undefined)) return at(place, `none of anyOf fits (${problems[0]})`)
    }
    const oneOf = subschemas(schema, 'oneOf')
    if (oneOf.length > 0) {
      const problems = oneOf.map((item) => this.#apply(item, data, place, evaluated))
      const count = problems.filter((problem) => problem === undefined).length
      if (count === 0) return at(place, `none of oneOf fits (${problems[0]})`)
      if (count > 1) return at(place, `${count} of oneOf fit instead of one`)
    }
    const not = subschema(schema, 'not')
    if (not !== undefined && this.#check(not, data, place, new Evaluated()) === undefined) {
      return at(place, 'it fits what not excludes')
    }
    const condition = subschema(schema, 'if')
    if (condition === undefined) return undefined
    const holds = this.#apply(condition, data, place, evaluated) === undefined
    const consequence = subschema(schema, holds ? 'then' : 'else')
    return consequence === undefined ? undefined : this.#apply(consequence, data, place, evaluated)
  }

  #items(schema: ReadonlyMap<string, Json>, data: readonly Json[], place: Place, evaluated: Evaluated): Problem {
    const prefix = subschemas(schema, 'prefixItems')
    const rest = subschema(schema, 'items')
    for (const [i, item] of data.entries()) {
      const own = prefix[i] ?? rest
      if (own === undefined) continue
      evaluated.indexes.add(i)
      const problem = this.#check(own, item, below(place, i), new Evaluated())
      if (problem !== undefined) return problem
    }
    const contains = subschema(schema, 'contains')
    if (contains !== undefined) {
      const problem = this.#contains(schema, contains, data, place, evaluated)
      if (problem !== undefined) return problem
    }
    const unevaluated = subschema(schema, 'unevaluatedItems')
    if (unevaluated === undefined) return undefined
    for (const [i, item] of data.entries()) {
      if (evaluated.indexes.has(i)) continue
      evaluated.indexes.add(i)
      const problem = this.#check(unevaluated, item, below(place, i), new Evaluated())
      if (problem !== undefined) return problem
    }
    return undefined
  }

  #contains(
    schema: ReadonlyMap<string, Json>,
    contains: Schema,
    data: readonly Json[],
    place: Place,
    evaluated: Evaluated,
  ): Problem {
    let count = 0
    for (const [i, item] of data.entries()) {
      if (this.#check(contains, item, below(place, i), new Evaluated()) !== undefined) continue
      evaluated.indexes.add(i)
      count++
    }
    const min = (schema.get('minContains') as number | undefined) ?? 1
    const max = schema.get('maxContains') as number | undefined
    if (count < min) return at(place, `expected at least ${min} items that fit contains, got ${count}`)
    return max !== undefined && count > max
      ? at(place, `expected at most ${max} items that fit contains, got ${count}`)
      : undefined
  }

  #members(
    schema: ReadonlyMap<string, Json>,
    data: ReadonlyMap<string, Json>,
    place: Place,
    evaluated: Evaluated,
  ): Problem {
    const properties = asMap(schema.get('properties'))
    const patterns = [...asMap(schema.get('patternProperties'))]
    const additional = subschema(schema, 'additionalProperties')
    const names = subschema(schema, 'propertyNames')
    for (const [name, value] of data) {
      const own = patterns.filter(([pattern]) => this.#patterns.get(pattern)?.test(name)).map(([, item]) => item)
      const named = properties.get(name)
      if (named !== undefined) own.unshift(named)
      if (own.length === 0 && additional !== undefined) own.push(additional as Json)
      if (own.length > 0) evaluated.names.add(name)
      for (const item of own) {
        const member = below(place, name)
        const problem =
          item === false && named === undefined
            ? at(place, `member ${JSON.stringify(name)} is not allowed`)
            : this.#check(asSchema(item, name), value, member, new Evaluated())
        if (problem !== undefined) return problem
      }
      const problem = names === undefined ? undefined : this.#check(names, name, below(place, name), new Evaluated())
      if (problem !== undefined) return problem
    }
    for (const [name, item] of asMap(schema.get('dependentSchemas'))) {
      const problem = data.has(name) ? this.#apply(asSchema(item, name), data, place, evaluated) : undefined
      if (problem !== undefined) return problem
    }
    return this.#unevaluatedMembers(schema, data, place, evaluated)
  }

  #unevaluatedMembers(
    schema: ReadonlyMap<string, Json>,
    data: ReadonlyMap<string, Json>,
    place: Place,
    evaluated: Evaluated,
  ): Problem {
    const unevaluated = subschema(schema, 'unevaluatedProperties')
    if (unevaluated === undefined) return undefined
    for (const [name, value] of data) {
      if (evaluated.names.has(name)) continue
      evaluated.names.add(name)
      if (unevaluated === false) return at(place, `member ${JSON.stringify(name)} is not allowed`)
      const problem = this.#check(unevaluated, value, below(place, name), new Evaluated())
      if (problem !== undefined) return problem
    }
    return undefined
  }
}

// ---- the schema

/** An empty array counts as an empty schema: an empty Lua table cannot say which of the two it is. */
function asSchema(value: Json, where: string): Schema {
  if (typeof value === 'boolean' || value instanceof Map) return value as Schema
  if (Array.isArray(value) && value.length === 0) return EVERYTHING
  throw new SchemaError(`invalid schema: ${where} must be an object or a boolean`)
}

/** An empty array counts as an empty object. */
function asMap(value: Json | undefined): ReadonlyMap<string, Json> {
  return value instanceof Map ? value : new Map()
}

function subschema(schema: ReadonlyMap<string, Json>, key: string): Schema | undefined {
  const value = schema.get(key)
  return value === undefined ? undefined : asSchema(value, key)
}

function subschemas(schema: ReadonlyMap<string, Json>, key: string): Schema[] {
  const value = schema.get(key)
  return Array.isArray(value) ? value.map((item) => asSchema(item, key)) : []
}

const isText = (value: Json): value is string => typeof value === 'string'

/** @throws SchemaError for a keyword with a value of the wrong kind */
function checkKeyword(key: string, value: Json): void {
  const demand = (holds: boolean, what: string): void => {
    if (!holds) throw new SchemaError(`invalid schema: ${key} must be ${what}`)
  }
  const isMap = value instanceof Map || (Array.isArray(value) && value.length === 0)
  if (NUMBERS.has(key)) {
    demand(typeof value === 'number', 'a number')
    if (key === 'multipleOf') demand((value as number) > 0, 'greater than 0')
  } else if (COUNTS.has(key)) {
    demand(typeof value === 'number' && Number.isInteger(value) && value >= 0, 'a non-negative integer')
  } else if (STRINGS.has(key)) demand(isText(value), 'a string')
  else if (SUBSCHEMA_LIST.has(key)) demand(Array.isArray(value), 'an array of schemas')
  else if (SUBSCHEMA_MAP.has(key)) demand(isMap, 'an object of schemas')
  else if (key === 'type') {
    const types = Array.isArray(value) ? value : [value]
    demand(
      types.every((type) => isText(type) && TYPES.has(type)),
      `one or several of ${[...TYPES].join(', ')}`,
    )
  } else if (key === 'required') demand(Array.isArray(value) && value.every(isText), 'an array of strings')
  else if (key === 'enum') demand(Array.isArray(value), 'an array')
  else if (key === 'uniqueItems') demand(typeof value === 'boolean', 'a boolean')
  else if (key === 'dependentRequired') {
    demand(isMap && [...asMap(value).values()].every(Array.isArray), 'an object of arrays')
  }
}

function resolveUri(reference: string, base: string): string {
  try {
    return new URL(reference, base).href
  } catch {
    throw new SchemaError(`invalid schema: bad reference ${JSON.stringify(reference)}`)
  }
}

const withoutFragment = (uri: string): string => uri.replace(/#.*$/s, '')

function decodeFragment(fragment: string): string {
  try {
    return decodeURIComponent(fragment)
  } catch {
    return fragment
  }
}

/** RFC 6901. */
function pointed(root: Json, pointer: string): Json | undefined {
  let value: Json | undefined = root
  for (const part of pointer.split('/').slice(1)) {
    const name = part.replaceAll('~1', '/').replaceAll('~0', '~')
    if (Array.isArray(value)) value = value[Number(name)]
    else if (value instanceof Map) value = value.get(name)
    else return undefined
  }
  return value
}

// ---- the data

const at = (place: Place, text: string): string => (place.path === '' ? text : `${place.path}: ${text}`)

const below = (place: Place, step: string | number): Place => ({ ...place, path: `${place.path}/${step}` })

function typeOf(data: Json): string {
  if (data === null) return 'null'
  if (Array.isArray(data)) return 'array'
  return data instanceof Map ? 'object' : typeof data
}

const fitsType = (data: Json, type: Json): boolean =>
  type === 'integer' ? typeof data === 'number' && Number.isInteger(data) : typeOf(data) === type

/** One text for equal values: members sorted, numbers by value. */
function canonical(data: Json): string {
  if (Array.isArray(data)) return `[${data.map(canonical).join(',')}]`
  if (!(data instanceof Map)) return JSON.stringify(data === 0 ? 0 : data)
  const names = [...data.keys()].sort()
  return `{${names.map((name) => `${JSON.stringify(name)}:${canonical(data.get(name) as Json)}`).join(',')}}`
}

/** The keywords that need no other schema. */
function checkScalars(
  schema: ReadonlyMap<string, Json>,
  data: Json,
  place: Place,
  patterns: ReadonlyMap<string, RegExp>,
): Problem {
  const type = schema.get('type')
  if (type !== undefined) {
    const types = Array.isArray(type) ? type : [type]
    if (!types.some((one) => fitsType(data, one))) {
      return at(place, `expected ${types.join(' or ')}, got ${typeOf(data)}`)
    }
  }
  const choices = schema.get('enum')
  if (Array.isArray(choices) && !choices.some((choice) => canonical(choice) === canonical(data))) {
    return at(place, `expected one of ${canonical(choices)}, got ${canonical(data)}`)
  }
  const constant = schema.get('const')
  if (constant !== undefined && canonical(constant) !== canonical(data)) {
    return at(place, `expected ${canonical(constant)}, got ${canonical(data)}`)
  }
  if (typeof data === 'number') return checkNumber(schema, data, place)
  if (typeof data === 'string') return checkString(schema, data, place, patterns)
  if (Array.isArray(data)) return checkArray(schema, data, place)
  return data instanceof Map ? checkObject(schema, data, place) : undefined
}

/** The problem of the first limit that does not hold. */
function checkLimits(
  schema: ReadonlyMap<string, Json>,
  place: Place,
  size: number,
  unit: string,
  limits: readonly (readonly [key: string, words: string, holds: (limit: number) => boolean])[],
): Problem {
  for (const [key, words, holds] of limits) {
    const limit = schema.get(key)
    if (typeof limit === 'number' && !holds(limit)) {
      return at(place, `expected ${words} ${limit}${unit}, got ${size}`)
    }
  }
  return undefined
}

function checkNumber(schema: ReadonlyMap<string, Json>, data: number, place: Place): Problem {
  return checkLimits(schema, place, data, '', [
    ['minimum', 'at least', (limit) => data >= limit],
    ['exclusiveMinimum', 'more than', (limit) => data > limit],
    ['maximum', 'at most', (limit) => data <= limit],
    ['exclusiveMaximum', 'less than', (limit) => data < limit],
    ['multipleOf', 'a multiple of', (limit) => isMultiple(data, limit)],
  ])
}

/** Within what floats can tell: 0.3 counts as a multiple of 0.1. */
function isMultiple(value: number, divisor: number): boolean {
  const quotient = value / divisor
  return Math.abs(quotient - Math.round(quotient)) <= Math.abs(quotient) * 2 * Number.EPSILON
}

function checkString(
  schema: ReadonlyMap<string, Json>,
  data: string,
  place: Place,
  patterns: ReadonlyMap<string, RegExp>,
): Problem {
  // Length counts characters, not UTF-16 units.
  const length = schema.has('minLength') || schema.has('maxLength') ? [...data].length : 0
  const pattern = schema.get('pattern')
  const problem = checkLimits(schema, place, length, ' characters', [
    ['minLength', 'at least', (limit) => length >= limit],
    ['maxLength', 'at most', (limit) => length <= limit],
  ])
  if (problem !== undefined || typeof pattern !== 'string' || patterns.get(pattern)?.test(data)) return problem
  return at(place, `expected text with pattern ${JSON.stringify(pattern)}`)
}

function checkArray(schema: ReadonlyMap<string, Json>, data: readonly Json[], place: Place): Problem {
  const { length } = data
  const problem = checkLimits(schema, place, length, ' items', [
    ['minItems', 'at least', (limit) => length >= limit],
    ['maxItems', 'at most', (limit) => length <= limit],
  ])
  if (problem !== undefined || schema.get('uniqueItems') !== true) return problem
  return new Set(data.map(canonical)).size < length ? at(place, 'expected items that differ') : undefined
}

function checkObject(schema: ReadonlyMap<string, Json>, data: ReadonlyMap<string, Json>, place: Place): Problem {
  const missing = (names: Json | undefined): Json | undefined =>
    Array.isArray(names) ? names.find((name) => !data.has(String(name))) : undefined
  const absent = missing(schema.get('required'))
  if (absent !== undefined) return at(place, `member ${JSON.stringify(absent)} is required`)
  for (const [name, others] of asMap(schema.get('dependentRequired'))) {
    const other = data.has(name) ? missing(others) : undefined
    if (other !== undefined) return at(place, `member ${JSON.stringify(other)} is required beside "${name}"`)
  }
  return checkLimits(schema, place, data.size, ' members', [
    ['minProperties', 'at least', (limit) => data.size >= limit],
    ['maxProperties', 'at most', (limit) => data.size <= limit],
  ])
}
