// What the validator needs said otherwise, or in addition.

import type { Json } from '../json-tree.ts'
import { listOf, type Members, membersOf, object } from './schema.ts'

/** A member of every schema that is not empty: what checking it costs. */
export const CHARGE = '$charge'

/** In units of `Meter`. */
export interface Charge {
  readonly each: number
  readonly perMember: number
}

/** `schema` holds nothing but keywords of the draft, and its parts are adapted. */
export function adapted(schema: Record<string, Json>): Members {
  if (Object.keys(schema).length === 0) return schema
  withoutSpecialNames(schema)
  return Object.assign(schema, { [CHARGE]: chargeOf(schema) })
}

const SPECIAL = '__proto__'

/** The validator takes no notice of `__proto__`, except as a pattern. */
function withoutSpecialNames(schema: Record<string, Json>): void {
  const { properties, patternProperties, dependentRequired, dependentSchemas } = schema
  const own = taken(properties)
  if (own !== undefined) {
    const patterns = object(Object.entries(membersOf(patternProperties)))
    patterns[`^(?:${SPECIAL})$`] = own
    schema['patternProperties'] = patterns
  }
  const added: Json[] = []
  const required = taken(dependentRequired)
  if (required !== undefined) added.push(consequence({ required }))
  const dependent = taken(dependentSchemas)
  if (dependent !== undefined) added.push(consequence(dependent))
  if (added.length > 0) schema['allOf'] = [...listOf(schema['allOf']), ...added]
  const pattern = membersOf(schema['patternProperties'])[SPECIAL]
  if (pattern !== undefined) {
    const patterns = object(Object.entries(membersOf(schema['patternProperties'])).filter(([name]) => name !== SPECIAL))
    patterns[`(?:${SPECIAL})`] = pattern
    schema['patternProperties'] = patterns
  }
}

/** The special member. It is left where it is: nobody looks at it there. */
const taken = (members: Json | undefined): Json | undefined => membersOf(members)[SPECIAL]

const consequence = (thenSchema: Json): Json =>
  adapted(
    object<Json>([
      ['if', adapted(object<Json>([['required', [SPECIAL]]]))],
      ['then', thenSchema],
    ]),
  )

function chargeOf(schema: Members): Json {
  const { required, properties, patternProperties, dependentRequired } = schema
  const dependent = Object.values(membersOf(dependentRequired)).flat()
  const parts = [listOf(required), Object.keys(membersOf(properties)), dependent]
  const loops = ['additionalProperties', 'propertyNames', 'unevaluatedProperties'].filter((key) => key in schema)
  return {
    each: 1 + parts.reduce((sum, { length }) => sum + length, 0) / 8,
    perMember: (Object.keys(membersOf(patternProperties)).length + loops.length) / 4,
  }
}
