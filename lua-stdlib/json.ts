// Module `json`. lua-libraries.md §4.

import { createHash } from 'node:crypto'
import { MoonmeshError } from '../runtime/base/errors.ts'
import type { Call, LuaValue, ModuleTable, Returns } from '../runtime/lua/engine.ts'
import type { LibraryModule } from '../runtime/services.ts'
import { givenType } from './support/args.ts'
import { errorObject, fail } from './support/fail.ts'
import { decodeJson, JsonSyntaxError } from './support/json-decode.ts'
import { encodeJson, JsonEncodeError } from './support/json-encode.ts'
import { JsonSchema, SchemaError } from './support/json-schema.ts'
import { engineMaker, engineReader, isTable } from './support/json-tables.ts'
import { type Json, treeFromText, treeFromValue } from './support/json-tree.ts'

const SCHEMAS_MAX = 100

function encode(call: Call): Returns {
  try {
    return [encodeJson(engineReader(call.engine), call.arg(1)), undefined]
  } catch (thrown) {
    if (thrown instanceof JsonEncodeError) return fail('Internal', thrown.message)
    throw thrown
  }
}

function decode(call: Call): Returns {
  const text = call.arg(1)
  if (typeof text !== 'string') return fail('Invalid', `string expected, got ${givenType(call, 1)}`)
  if (text === '') return fail('Invalid', 'empty string: there is no value to decode')
  try {
    return [decodeJson(engineMaker(call.engine), text) as LuaValue, undefined]
  } catch (thrown) {
    if (thrown instanceof JsonSyntaxError) return fail('Internal', thrown.message)
    throw thrown
  }
}

/** Schemas that are ready to use, by the hash of their JSON text. The one that was not used for the longest time goes first. */
class Schemas {
  readonly #byHash = new Map<string, JsonSchema>()

  /** @throws JsonSyntaxError, SchemaError */
  get(text: string): JsonSchema {
    const hash = createHash('sha256').update(text, 'latin1').digest('base64')
    const schema = this.#byHash.get(hash) ?? new JsonSchema(treeFromText(text))
    this.#byHash.delete(hash)
    this.#byHash.set(hash, schema)
    for (const oldest of this.#byHash.keys()) {
      if (this.#byHash.size <= SCHEMAS_MAX) break
      this.#byHash.delete(oldest)
    }
    return schema
  }
}

const refuse = (message: string): Returns => [false, errorObject('Invalid', message, { retryable: false })]

/**
 * @param dataProblem why the second argument is no data at all
 * @param read the data as a tree; may throw what is wrong with it
 */
function check(call: Call, schemas: Schemas, dataProblem: string | undefined, read: () => Json): Returns {
  const given = call.arg(1)
  if (given === undefined) return refuse('schema is required')
  if (typeof given !== 'string' && !isTable(call.engine, given)) return refuse('schema must be a string or table')
  if (dataProblem !== undefined) return refuse(dataProblem)
  try {
    const schema = schemas.get(typeof given === 'string' ? given : encodeJson(engineReader(call.engine), given))
    const problem = schema.validate(read())
    return problem === undefined ? true : refuse(problem)
  } catch (thrown) {
    if (thrown instanceof JsonSyntaxError || thrown instanceof JsonEncodeError) return refuse(thrown.message)
    if (thrown instanceof MoonmeshError || thrown instanceof SchemaError) return refuse(thrown.message)
    throw thrown
  }
}

function validate(call: Call, schemas: Schemas): Returns {
  const data = call.arg(2)
  const problem = data === undefined ? 'data is required' : undefined
  return check(call, schemas, problem, () => treeFromValue(call.engine, data))
}

function validateString(call: Call, schemas: Schemas): Returns {
  const data = call.arg(2)
  if (typeof data === 'string') return check(call, schemas, undefined, () => treeFromText(data))
  const problem = `${data === undefined ? 'data is required: ' : ''}data must be a JSON string`
  return check(call, schemas, problem, () => null)
}

function build(): ModuleTable {
  const schemas = new Schemas()
  return {
    encode,
    decode,
    validate: (call) => validate(call, schemas),
    validate_string: (call) => validateString(call, schemas),
  }
}

export const jsonModule: LibraryModule = {
  name: 'json',
  description: 'JSON and back, and JSON Schema',
  tags: ['encoding', 'deterministic'],
  build,
}
