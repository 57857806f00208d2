// JSON Schema, draft 2020-12. `format` and content keywords are annotations and assert nothing (lua-libraries.md §4.3, O-7). References
// stay within the schema; nothing is fetched.

import type { ErrorObject, ValidateFunction } from 'ajv/dist/2020.js'
import { messageOf } from '../../runtime/base/errors.ts'
import { canonical } from './json-schema/equality.ts'
import { Meter } from './json-schema/meter.ts'
import { piecesOf } from './json-schema/pieces.ts'
import { listOf, SchemaError, withObjects } from './json-schema/schema.ts'
import { newValidator } from './json-schema/validator.ts'
import type { Json } from './json-tree.ts'

export { SchemaError } from './json-schema/schema.ts'

const META = 'https://json-schema.org/draft/2020-12/schema'
const SHOWN_MAX = 200

export class JsonSchema {
  readonly #meter = new Meter()
  readonly #validate: ValidateFunction

  /** @throws SchemaError */
  constructor(schema: Json) {
    this.#validate = withinStack(() => {
      const pieces = piecesOf(withObjects(schema), checkSchema)
      return newValidator(this.#meter, { meta: false }).compilePieces(pieces)
    })
  }

  /** What is wrong with the data, in one sentence; undefined when it fits. @throws SchemaError when the check asks for too much */
  validate(data: Json): string | undefined {
    this.#meter.reset()
    const fits = withinStack(() => this.#validate(data))
    const problem = fits ? undefined : problemOf(this.#validate.errors ?? [])
    this.#validate.errors = null
    return problem
  }
}

/**
 * Depth is bounded in what is counted: levels of schema and data, references inside references. How much of the stack one of these takes
 * depends on the code that the validator generates from a schema, so a schema wide enough may ask for more than there is.
 */
function withinStack<T>(run: () => T): T {
  try {
    return run()
  } catch (thrown) {
    if (thrown instanceof SchemaError) throw thrown
    if (thrown instanceof RangeError) throw new SchemaError('schema or data is nested too deeply')
    throw new SchemaError(`invalid schema: ${messageOf(thrown)}`)
  }
}

// The schema of schemas is the same for everyone and never changes; preparing it takes some hundredths of a second.
let metaSchema: { readonly validate: ValidateFunction; readonly meter: Meter } | undefined

/** @throws SchemaError */
function checkSchema(schema: Json): void {
  if (metaSchema === undefined) {
    const meter = new Meter()
    metaSchema = { meter, validate: newValidator(meter, { meta: true }).getSchema(META) as ValidateFunction }
  }
  const { meter, validate } = metaSchema
  meter.reset()
  if (validate(schema)) return
  const texts = (validate.errors ?? [])
    .slice(0, 3)
    .map(({ instancePath, message }) => `${instancePath} ${message}`.trim())
  throw new SchemaError(`invalid schema: ${texts.join(', ')}`)
}

// ---- what is wrong with the data

/** The last error is the outermost; what led to it comes first. */
function problemOf(errors: readonly ErrorObject[]): string {
  const [first, last] = [errors[0], errors.at(-1)]
  if (first === undefined || last === undefined) return 'data does not fit the schema'
  const { keyword, params } = last
  if (keyword === 'if' || keyword === 'propertyNames') return textOf(first)
  if (keyword === 'anyOf' || (keyword === 'oneOf' && params['passingSchemas'] === null)) {
    return at(last, `none of ${keyword} fits (${textOf(first)})`)
  }
  return textOf(last)
}

const at = ({ instancePath }: ErrorObject, text: string): string =>
  instancePath === '' ? text : `${instancePath}: ${text}`

const textOf = (error: ErrorObject): string => at(error, whatIsWrong(error))

const COMPARISONS: Readonly<Record<string, string>> = {
  minimum: 'at least',
  exclusiveMinimum: 'more than',
  maximum: 'at most',
  exclusiveMaximum: 'less than',
  minLength: 'at least',
  maxLength: 'at most',
  minItems: 'at least',
  maxItems: 'at most',
  minProperties: 'at least',
  maxProperties: 'at most',
}

function whatIsWrong({ keyword, params, data, schema, message }: ErrorObject): string {
  const comparison = COMPARISONS[keyword]
  if (comparison !== undefined) {
    const { size, unit } = sizeOf(data as Json)
    return `expected ${comparison} ${params['limit']}${unit}, got ${size}`
  }
  switch (keyword) {
    case 'type':
      return `expected ${[schema].flat().join(' or ')}, got ${typeOf(data as Json)}`
    case 'enum':
      return `expected one of ${shown(schema)}, got ${shown(data)}`
    case 'const':
      return `expected ${shown(schema)}, got ${shown(data)}`
    case 'multipleOf':
      return `expected a multiple of ${schema}, got ${data}`
    case 'pattern':
      return `expected text with pattern ${JSON.stringify(schema)}`
    case 'uniqueItems':
      return 'expected items that differ'
    case 'contains':
      return containsText(params)
    case 'required':
      return `member ${JSON.stringify(params['missingProperty'])} is required`
    case 'dependentRequired':
      return `member ${JSON.stringify(params['missingProperty'])} is required beside ${JSON.stringify(params['property'])}`
    case 'additionalProperties':
      return `member ${JSON.stringify(params['additionalProperty'])} is not allowed`
    case 'unevaluatedProperties':
      return `member ${JSON.stringify(params['unevaluatedProperty'])} is not allowed`
    case 'items':
    case 'unevaluatedItems':
      return 'there are more items than allowed'
    case 'oneOf':
      return `${listOf(params['passingSchemas']).length} of oneOf fit instead of one`
    case 'not':
      return 'it fits what not excludes'
    case 'false schema':
      return 'nothing is allowed here'
    default:
      return message ?? `it does not fit ${keyword}`
  }
}

function containsText({ minContains, maxContains }: ErrorObject['params']): string {
  const most = maxContains === undefined ? '' : ` and at most ${maxContains}`
  return `expected at least ${minContains}${most} items that fit contains`
}

function typeOf(data: Json): string {
  if (data === null) return 'null'
  return Array.isArray(data) ? 'array' : typeof data
}

function sizeOf(data: Json): { size: number; unit: string } {
  if (typeof data === 'number') return { size: data, unit: '' }
  // Length counts characters, not UTF-16 units.
  if (typeof data === 'string') return { size: [...data].length, unit: ' characters' }
  if (Array.isArray(data)) return { size: data.length, unit: ' items' }
  return { size: Object.keys(data as object).length, unit: ' members' }
}

function shown(data: unknown): string {
  const text = canonical(data as Json)
  return text.length > SHOWN_MAX ? `${text.slice(0, SHOWN_MAX)}…` : text
}
