// Module `payload`: a value together with the form it is in. lua-core.md §17. Transcoding changes the form and keeps the value, so `data()`
// of a transcoded payload gives what `data()` of the original gives.

import { Packr } from 'msgpackr'
import { fromUint8Array, toBytes, toText, toUint8Array } from '../runtime/base/bytes.ts'
import { messageOf } from '../runtime/base/errors.ts'
import { numberText } from '../runtime/base/number-text.ts'
import {
  ErrorValue,
  Float,
  floatValue,
  integerValue,
  TableValue,
  type Value,
  valueBytes,
} from '../runtime/base/value.ts'
import {
  type Call,
  type Engine,
  ErrorObject,
  HOST_OBJECT_BYTES,
  HostObject,
  type LuaTable,
  type LuaValue,
  type ObjectSaving,
  type Returns,
} from '../runtime/lua/engine.ts'
import type { LibraryModule } from '../runtime/services.ts'
import { objectArg, stringArg } from './support/args.ts'
import { fail } from './support/fail.ts'
import { decodeJson } from './support/json-decode.ts'
import { encodeJson } from './support/json-encode.ts'
import {
  eachEmptyPair,
  engineMaker,
  isEmptyObject,
  isTable,
  markEmptyObject,
  neutralMaker,
  neutralReader,
} from './support/json-tables.ts'
import { illFormedAt } from './support/json-utf8.ts'
import { lazily } from './support/lazy.ts'
import { damaged } from './support/saving.ts'

const yaml = lazily<typeof import('yaml')>('yaml')

const FORMATS = {
  JSON: 'json/plain',
  YAML: 'yaml/plain',
  STRING: 'text/plain',
  BYTES: 'application/octet-stream',
  MSGPACK: 'application/msgpack',
  LUA: 'lua/any',
  GOLANG: 'golang/any',
  ERROR: 'golang/error',
} as const

type Format = (typeof FORMATS)[keyof typeof FORMATS]

const isFormat = (name: string): name is Format => Object.values(FORMATS).includes(name as Format)

const LEVELS_MAX = 128
const VALUES_MAX = 1_000_000
const INT64_MAX = 2n ** 63n - 1n

/** A payload as a script holds it. */
export class PayloadObject extends HostObject {
  readonly format: Format
  /** The value itself in the formats LUA, GOLANG and ERROR, else its encoded bytes. */
  readonly content: Value
  /** Tables in the value may be known as decoded from `{}`. Never so for what a message brought. */
  readonly mayHoldEmptyObjects: boolean

  /** @param options.format by default what suits a value that is not encoded: ERROR for an error object, else LUA */
  constructor(content: Value, options: { format?: Format; mayHoldEmptyObjects?: boolean } = {}) {
    super()
    this.content = content
    this.format = options.format ?? (content instanceof ErrorValue ? FORMATS.ERROR : FORMATS.LUA)
    this.mayHoldEmptyObjects = options.mayHoldEmptyObjects ?? false
  }

  override heldBytes(): number {
    return HOST_OBJECT_BYTES + valueBytes(this.content)
  }
  override get className(): string {
    return 'Payload'
  }

  /** Inside a message a payload is its data (lua-core.md §25, open 7). */
  override leave(): Value {
    try {
      const value = decoded(this)
      return value instanceof ErrorValue ? new ErrorObject(value).leave() : value
    } catch {
      return undefined
    }
  }
}

const payloadSaving: ObjectSaving<PayloadObject> = {
  save: ({ content, format }) => ({ data: [format, content], values: [] }),
  restore([format, content]) {
    if (typeof format !== 'string' || !isFormat(format)) throw damaged('a payload')
    return new PayloadObject(content, { format })
  },
}

// ---- forms

/** @throws Error for bytes that are not in their format */
function decoded({ format, content }: PayloadObject): Value {
  if (typeof content !== 'string') return content
  switch (format) {
    case FORMATS.JSON:
      return decodeJson(neutralMaker, content) as Value
    case FORMATS.YAML:
      return fromTree(yaml().parse(toText(content), YAML_OPTIONS))
    case FORMATS.MSGPACK:
      return fromTree(packr.unpack(toUint8Array(content)))
    default:
      return content
  }
}

/** @throws Error when the value has no such form */
function encoded(value: Value, format: Format): Value {
  switch (format) {
    case FORMATS.JSON:
      return encodeJson(neutralReader, value)
    case FORMATS.YAML:
      return toBytes(yaml().stringify(new TreeMaker(YAML_TREE).make(value)))
    case FORMATS.MSGPACK:
      return fromUint8Array(packr.pack(new TreeMaker(MSGPACK_TREE).make(value)))
    case FORMATS.STRING:
    case FORMATS.BYTES:
      return asString(value)
    case FORMATS.ERROR:
      if (value instanceof ErrorValue) return value
      throw new Error('only an error object has this form')
    default:
      return value
  }
}

function asString(value: Value): string {
  if (typeof value === 'string') return value
  if (value instanceof ErrorValue) return value.message
  if (value instanceof Float) return numberText(value.value)
  if (typeof value === 'number') return numberText(value)
  if (typeof value === 'bigint') return String(value)
  throw new Error('only a string has this form')
}

// ---- trees: what the YAML and msgpack libraries read and write

interface TreeRules {
  /** YAML keys are always text. */
  readonly hasTextKeys: boolean
  /** Msgpack tells text from bytes; in YAML everything is text. */
  readonly hasBytes: boolean
  /** The msgpack library writes a large whole number as a float unless it is a bigint. */
  readonly integerMax: number
}

const YAML_TREE: TreeRules = { hasTextKeys: true, hasBytes: false, integerMax: Number.MAX_SAFE_INTEGER }
const MSGPACK_TREE: TreeRules = { hasTextKeys: false, hasBytes: true, integerMax: 2 ** 31 - 1 }

const YAML_OPTIONS = { intAsBigInt: true, mapAsMap: true, logLevel: 'error' } as const

const packr = new Packr({ useRecords: false, mapsAsObjects: false, int64AsType: 'bigint' })

class TreeMaker {
  readonly #rules: TreeRules
  #valueCount = 0

  constructor(rules: TreeRules) {
    this.#rules = rules
  }

  /** @throws Error when nested too deeply, or when a few tables refer to each other so often that the tree would not end */
  make(value: Value, level = 0): unknown {
    if (++this.#valueCount > VALUES_MAX) throw new Error(`the value has more than ${VALUES_MAX} parts`)
    if (!(value instanceof TableValue)) return this.#leaf(value)
    if (level > LEVELS_MAX) throw new Error(`table is nested deeper than ${LEVELS_MAX} levels or contains itself`)
    if (value.keys.length === 0 && (value.array.length > 0 || !isEmptyObject(value))) {
      return value.array.map((item) => this.make(item, level + 1))
    }
    const map = new Map<unknown, unknown>()
    neutralReader.each(value, (key, item) => {
      if (key instanceof TableValue || key instanceof ErrorValue) return
      const name = this.#leaf(key)
      map.set(this.#rules.hasTextKeys ? String(name) : name, this.make(item, level + 1))
    })
    return map
  }

  #leaf(value: Exclude<Value, TableValue>): unknown {
    const { hasBytes, integerMax } = this.#rules
    if (value === undefined) return null
    if (typeof value === 'string') return hasBytes && illFormedAt(value) >= 0 ? toUint8Array(value) : toText(value)
    if (typeof value === 'number' && Number.isInteger(value) && Math.abs(value) > integerMax) return BigInt(value)
    if (value instanceof Float) return value.value
    return value instanceof ErrorValue ? toText(value.message) : value
  }
}

function fromTree(tree: unknown): Value {
  if (tree === null || tree === undefined) return undefined
  if (typeof tree === 'string') return toBytes(tree)
  if (typeof tree === 'bigint') return tree <= INT64_MAX ? integerValue(tree) : floatValue(Number(tree))
  if (typeof tree === 'number' || typeof tree === 'boolean') return Object.is(tree, -0) ? new Float(-0) : tree
  if (tree instanceof Uint8Array) return fromUint8Array(tree)
  const table = new TableValue()
  if (tree instanceof Map) {
    for (const [key, item] of tree) setNotNil(table, fromTree(key), fromTree(item))
    if (tree.size === 0) markEmptyObject(table)
    return table
  }
  if (!Array.isArray(tree)) throw new Error('a kind of value that scripts do not have')
  for (const [i, item] of tree.entries()) setNotNil(table, i + 1, fromTree(item))
  return table
}

function setNotNil(table: TableValue, key: Value, value: Value): void {
  if (value === undefined) return
  if (typeof key === 'number' || typeof key === 'string') neutralMaker.set(table, key, value)
  else if (key !== undefined) {
    table.keys.push(key)
    table.values.push(value)
  }
}

// ---- what scripts call

/** A copy that belongs to nobody, in which tables decoded from `{}` are still known as such. */
function takeOut(engine: Engine, value: LuaValue): Value {
  // It stays in its process: even a missing kind is kept.
  if (value instanceof ErrorObject) return value.error
  const copy = engine.copyOut(value)
  if (copy instanceof TableValue && isTable(engine, value)) {
    eachEmptyPair(engine, value, copy, (table, empty) => {
      if (isEmptyObject(table)) markEmptyObject(empty)
    })
  }
  return copy
}

function putIn(engine: Engine, value: Value, mayHoldEmptyObjects: boolean): LuaValue {
  const copy = engine.copyIn(value)
  if (mayHoldEmptyObjects && value instanceof TableValue) {
    eachEmptyPair(engine, copy as LuaTable, value, (table, empty) => {
      if (isEmptyObject(empty)) markEmptyObject(table)
    })
  }
  return copy
}

const self = (call: Call, fn: string): PayloadObject => objectArg(call, 1, fn, PayloadObject, 'Payload')

function data(call: Call, fn: string): Returns {
  const payload = self(call, fn)
  const { engine } = call
  try {
    if (payload.format === FORMATS.JSON) return [decodeJson(engineMaker(engine), payload.content as string) as LuaValue]
    return [putIn(engine, decoded(payload), payload.mayHoldEmptyObjects)]
  } catch (thrown) {
    return fail('Internal', `cannot decode ${payload.format}: ${messageOf(thrown)}`)
  }
}

function transcode(call: Call): Returns {
  const payload = self(call, 'transcode')
  const format = stringArg(call, 2, 'transcode')
  if (!isFormat(format))
    return fail('Internal', `cannot transcode ${payload.format} to unknown format "${toText(format)}"`)
  try {
    return [new PayloadObject(encoded(decoded(payload), format), { format, mayHoldEmptyObjects: true }), undefined]
  } catch (thrown) {
    return fail('Internal', `cannot transcode ${payload.format} to ${format}: ${messageOf(thrown)}`)
  }
}

export const payloadModule: LibraryModule = {
  name: 'payload',
  description: 'values together with the form they are in',
  tags: ['encoding', 'deterministic'],
  isAlwaysPresent: true,
  build: (engine) => ({
    format: FORMATS,
    new: (call) => {
      const value = call.arg(1)
      return new PayloadObject(takeOut(engine, value), { mayHoldEmptyObjects: true })
    },
  }),
  classes: [
    {
      name: 'Payload',
      saving: payloadSaving,
      methods: {
        get_format: (call) => self(call, 'get_format').format,
        data: (call) => data(call, 'data'),
        unmarshal: (call) => data(call, 'unmarshal'),
        transcode,
      },
      metamethods: { tostring: (call) => `payload{format=${self(call, 'tostring').format}}` },
    },
  ],
}
