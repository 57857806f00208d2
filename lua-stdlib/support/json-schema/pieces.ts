// A schema in pieces, without references to look up: no $id, no anchor and no $dynamicRef is left, and every $ref is the number of a piece.
// JSON Schema draft 2020-12, core, sections 8.2 and 9.
//
// Each piece becomes one function of the validator, so it is kept small: it has no level below its own but schemas that hold no others.
// Whatever is nested deeper, or of great number, is a piece of its own.
//
// What a $dynamicRef leads to depends on the resources that were passed on the way to it. So a schema is copied once for each set of
// dynamic anchors under which it can be reached; nearly always that is one.

import type { Json } from '../json-tree.ts'
import { adapted } from './adapted.ts'
import { Meter } from './meter.ts'
import { linearPattern } from './pattern.ts'
import {
  ASSERTIONS,
  isMembers,
  LIST,
  listOf,
  MAP,
  type Members,
  membersOf,
  ONE,
  object,
  type Schema,
  SchemaError,
  STORE,
  withObjects,
} from './schema.ts'

const BASE = 'schema:/'
/** How many schemas the pieces may have, together. */
const SCHEMAS_MAX = 5000
/** How many properties stand in one piece. */
const PROPERTIES_MAX = 64
/** How many schemas one keyword may list that cannot be told apart into several pieces. */
const LISTED_MAX = 500
/** How many schemas are searched for `contains`, one below the other. */
const CHAIN_MAX = 500

/** Dynamic anchors on the way, and the schema that the outermost resource with that anchor gives it. */
interface Scope {
  readonly id: string
  readonly anchors: ReadonlyMap<string, Members>
}

const OUTSIDE: Scope = { id: '', anchors: new Map() }

interface Resource {
  readonly root: Schema
  readonly anchors: Map<string, Members>
  readonly dynamicAnchors: Map<string, Members>
}

export interface Pieces {
  /** By number; the first is the schema itself. */
  readonly pieces: readonly Members[]
  /** Whether some schema asks for what no other has evaluated. */
  readonly asksForUnevaluated: boolean
}

/**
 * @param schema with objects in their places (`withObjects`)
 * @param check refuses what is no schema, by throwing
 * @throws SchemaError
 */
export function piecesOf(schema: Json, check: (schema: Json) => void): Pieces {
  return new Resolver(check).resolve(schema)
}

class Resolver {
  readonly #check: (schema: Json) => void
  readonly #meter = new Meter()
  readonly #resources = new Map<string, Resource>()
  /** The URI of the resource that a schema belongs to. */
  readonly #baseOf = new Map<Members, string>()
  /** Schemas that only a JSON pointer finds, by what stands there. */
  readonly #pointedAt = new Map<Members, Schema>()
  readonly #numbers = new Map<Members, number>()
  /** The number of the piece for a schema under a scope. */
  readonly #pieceOf = new Map<string, number>()
  readonly #pieces: Members[] = []
  readonly #waiting: { piece: number; schema: Members; scope: Scope }[] = []
  #schemaCount = 0
  #asksForUnevaluated = false

  constructor(check: (schema: Json) => void) {
    this.#check = check
  }

  resolve(schema: Json): Pieces {
    this.#check(schema)
    const root = schema as Schema
    this.#resources.set(BASE, { root, anchors: new Map(), dynamicAnchors: new Map() })
    this.#index(root, BASE)
    // What nothing applies may refer to nothing, too.
    for (const [owner, base] of this.#baseOf) {
      for (const key of ['$ref', '$dynamicRef']) {
        const reference = owner[key]
        if (typeof reference === 'string') this.#find(reference, base)
      }
    }
    this.#reference(root, OUTSIDE)
    for (let next = this.#waiting.pop(); next !== undefined; next = this.#waiting.pop()) {
      this.#pieces[next.piece] = this.#copy(next.schema, next.scope)
    }
    return { pieces: this.#pieces, asksForUnevaluated: this.#asksForUnevaluated }
  }

  // ---- what there is

  #index(schema: Schema, outerBase: string): void {
    if (!isMembers(schema) || this.#baseOf.has(schema)) return
    const base = this.#enter(schema, outerBase)
    this.#baseOf.set(schema, base)
    const resource = this.#resources.get(base) as Resource
    const { $anchor: anchor, $dynamicAnchor: dynamic } = schema
    if (typeof anchor === 'string') resource.anchors.set(anchor, schema)
    if (typeof dynamic === 'string') resource.dynamicAnchors.set(dynamic, schema)
    // Also those that the validator leaves out, because nothing depends on them.
    for (const name of Object.keys(membersOf(schema['patternProperties']))) linearPattern(name, this.#meter)
    if ('unevaluatedItems' in schema || 'unevaluatedProperties' in schema) this.#asksForUnevaluated = true
    for (const [key, value] of Object.entries(schema)) {
      if (ONE.has(key)) this.#index(value as Schema, base)
      if (LIST.has(key)) for (const item of listOf(value)) this.#index(item as Schema, base)
      if (MAP.has(key) || STORE.has(key)) {
        for (const item of Object.values(membersOf(value))) this.#index(item as Schema, base)
      }
    }
  }

  /** The URI of the resource that a schema begins or belongs to. */
  #enter(schema: Members, outerBase: string): string {
    const { $id: id } = schema
    if (typeof id !== 'string') return outerBase
    const base = withoutFragment(absolute(id, outerBase))
    this.#resources.set(base, { root: schema, anchors: new Map(), dynamicAnchors: new Map() })
    return base
  }

  /** The schema that a reference leads to, and whether it does so by a dynamic anchor. */
  #find(reference: string, base: string): { schema: Schema; isDynamic: boolean } {
    const uri = absolute(reference, base)
    const resource = this.#resources.get(withoutFragment(uri))
    const fragment = decoded(uri.includes('#') ? uri.slice(uri.indexOf('#') + 1) : '')
    const schema = resource === undefined ? undefined : this.#placeIn(resource, fragment, withoutFragment(uri))
    if (schema === undefined) {
      const shown = JSON.stringify(reference)
      const reason =
        resource === undefined ? `it is not part of this schema, and nothing is fetched` : 'there is no such place'
      throw new SchemaError(`invalid schema: cannot resolve reference ${shown}: ${reason}`)
    }
    const isDynamic = resource?.dynamicAnchors.get(fragment) === schema
    return { schema, isDynamic }
  }

  #placeIn(resource: Resource, fragment: string, base: string): Schema | undefined {
    if (fragment === '') return resource.root
    if (!fragment.startsWith('/')) return resource.anchors.get(fragment) ?? resource.dynamicAnchors.get(fragment)
    const place = pointed(resource.root, fragment)
    if (typeof place === 'boolean') return place
    if (place === undefined || (isMembers(place) && this.#baseOf.has(place))) return place
    // A pointer may lead to where no keyword does.
    const known = isMembers(place) ? this.#pointedAt.get(place) : undefined
    if (known !== undefined) return known
    const schema = withObjects(place) as Schema
    this.#check(schema)
    if (isMembers(place)) this.#pointedAt.set(place, schema)
    this.#index(schema, base)
    return schema
  }

  // ---- the copy

  /** A reference to the copy of a schema under a scope. */
  #reference(schema: Schema, outer: Scope): Members {
    const target = isMembers(schema) ? schema : object<Json>(schema ? [] : [['not', true]])
    const scope = this.#entering(target, outer)
    const key = `${this.#numberOf(target)} ${scope.id}`
    let piece = this.#pieceOf.get(key)
    if (piece === undefined) {
      piece = this.#pieces.push(target) - 1
      this.#pieceOf.set(key, piece)
      this.#waiting.push({ piece, schema: target, scope })
    }
    return object<Json>([['$ref', String(piece)]])
  }

  /** A reference to a piece that is made up. */
  #added(piece: Members): Members {
    return object<Json>([['$ref', String(this.#pieces.push(piece) - 1)]])
  }

  /** The outermost resource with an anchor stays the one that counts. */
  #entering(schema: Members, outer: Scope): Scope {
    const resource = this.#resources.get(this.#baseOf.get(schema) ?? BASE) as Resource
    const added = [...resource.dynamicAnchors].filter(([anchor]) => !outer.anchors.has(anchor))
    if (added.length === 0) return outer
    const anchors = new Map([...outer.anchors, ...added])
    const parts = [...anchors].map(([anchor, target]) => `${JSON.stringify(anchor)}=${this.#numberOf(target)}`)
    return { id: parts.sort().join(' '), anchors }
  }

  #numberOf(schema: Members): number {
    const number = this.#numbers.get(schema) ?? this.#numbers.size
    this.#numbers.set(schema, number)
    return number
  }

  #copy(schema: Members, outer: Scope): Members {
    if (++this.#schemaCount > SCHEMAS_MAX) throw new SchemaError(`schema has more than ${SCHEMAS_MAX} parts`)
    const scope = this.#entering(schema, outer)
    const part = (item: Json): Json => this.#part(item as Schema, scope)
    const result = object<Json>()
    for (const [key, value] of Object.entries(schema)) {
      if (ASSERTIONS.has(key)) result[key] = value
      else if (ONE.has(key)) result[key] = part(value)
      else if (LIST.has(key)) result[key] = within(key, listOf(value)).map(part)
      else if (MAP.has(key)) {
        const members = Object.entries(membersOf(value))
        result[key] = object(
          (key === 'properties' ? members : within(key, members)).map(([name, item]) => [name, part(item)]),
        )
      }
    }
    const added: Json[] = []
    for (const key of ['$ref', '$dynamicRef'] as const) {
      if (schema[key] !== undefined) added.push(this.#reference(this.#target(schema, key, scope), scope))
    }
    this.#spellOutContains(schema, scope, result)
    added.push(...this.#divided(result))
    if (this.#asksForUnevaluated) added.push(...withoutCondition(result))
    if (added.length > 0) result['allOf'] = [...listOf(result['allOf']), ...added]
    return adapted(result)
  }

  #part(schema: Schema, scope: Scope): Schema {
    if (!isMembers(schema)) return schema
    return Object.keys(schema).some((key) => HOLDS_OTHERS.has(key))
      ? this.#reference(schema, scope)
      : this.#copy(schema, scope)
  }

  /** Takes properties out that are too many for one piece; what is left says that they have been seen to. */
  #divided(result: Record<string, Json>): Members[] {
    const properties = Object.entries(membersOf(result['properties']))
    if (properties.length <= PROPERTIES_MAX) return []
    result['properties'] = object(properties.map(([name]) => [name, true]))
    const added: Members[] = []
    for (let i = 0; i < properties.length; i += PROPERTIES_MAX) {
      const some = object<Json>(properties.slice(i, i + PROPERTIES_MAX))
      added.push(this.#added(adapted(object<Json>([['properties', some]]))))
    }
    return added
  }

  #target(schema: Members, key: '$ref' | '$dynamicRef', scope: Scope): Schema {
    const reference = schema[key] as string
    const base = this.#baseOf.get(schema) ?? BASE
    const found = this.#find(reference, base)
    if (key === '$ref' || !found.isDynamic) return found.schema
    return scope.anchors.get(decoded(reference.slice(reference.indexOf('#') + 1))) ?? found.schema
  }

  // ---- contains and unevaluatedItems

  /**
   * An item that fits `contains` counts as evaluated, which the validator does not know: for it, what has to fit all other items is
   * either of the two.
   */
  #spellOutContains(schema: Members, scope: Scope, result: Record<string, Json>): void {
    const rest = result['unevaluatedItems']
    if (rest === undefined) return
    const contained = this.#containedIn(schema, scope, new Set())
    if (contained.length > 0) {
      result['unevaluatedItems'] = this.#added(adapted(object<Json>([['anyOf', [...contained, rest]]])))
    }
  }

  /** References to the `contains` of all that applies to the same array for certain. @throws SchemaError where it applies perhaps */
  #containedIn(schema: Schema, outer: Scope, seen: Set<Members>): Members[] {
    if (!isMembers(schema) || seen.has(schema)) return []
    seen.add(schema)
    if (seen.size > CHAIN_MAX) throw new SchemaError(`more than ${CHAIN_MAX} schemas apply beside unevaluatedItems`)
    const scope = this.#entering(schema, outer)
    const found = schema['contains'] === undefined ? [] : [this.#reference(schema['contains'] as Schema, scope)]
    for (const key of ['$ref', '$dynamicRef'] as const) {
      if (schema[key] !== undefined) found.push(...this.#containedIn(this.#target(schema, key, scope), scope, seen))
    }
    for (const item of listOf(schema['allOf'])) found.push(...this.#containedIn(item as Schema, scope, seen))
    const { anyOf, oneOf, if: condition, then: thenSchema, else: elseSchema } = schema
    for (const item of [...listOf(anyOf), ...listOf(oneOf), condition, thenSchema, elseSchema]) {
      if (this.#containedIn((item ?? true) as Schema, scope, seen).length === 0) continue
      const text =
        'unevaluatedItems beside a contains that applies under a condition (anyOf, oneOf, if) is not supported'
      throw new SchemaError(`invalid schema: ${text}`)
    }
    return found
  }
}

const HOLDS_OTHERS: ReadonlySet<string> = new Set(['$dynamicRef', '$ref', ...ONE, ...LIST, ...MAP])

function within<T>(key: string, items: readonly T[]): readonly T[] {
  if (items.length > LISTED_MAX) throw new SchemaError(`${key} holds more than ${LISTED_MAX} schemas`)
  return items
}

/**
 * Takes a condition out, and gives what means the same. The validator takes what a condition has looked at for evaluated even where the
 * condition does not hold.
 */
function withoutCondition(result: Record<string, Json>): Json[] {
  const { if: condition, then: thenSchema = true, else: elseSchema = true } = result
  for (const key of ['if', 'then', 'else']) delete result[key]
  if (condition === undefined) return []
  const holds = adapted(object<Json>([['allOf', [condition, thenSchema]]]))
  const fails = adapted(
    object<Json>([
      ['not', condition],
      ['allOf', [elseSchema]],
    ]),
  )
  return [adapted(object<Json>([['anyOf', [holds, fails]]]))]
}

function absolute(reference: string, base: string): string {
  try {
    return new URL(reference, base).href
  } catch {
    throw new SchemaError(`invalid schema: bad reference ${JSON.stringify(reference)}`)
  }
}

const withoutFragment = (uri: string): string => uri.replace(/#.*$/s, '')

function decoded(fragment: string): string {
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
    else if (isMembers(value)) value = value[name]
    else return undefined
  }
  return value
}
