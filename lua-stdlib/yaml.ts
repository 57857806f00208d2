// Module `yaml`: YAML 1.2 and back. lua-libraries.md §5.

import type { Document } from 'yaml'
import { toBytes, toText } from '../runtime/base/bytes.ts'
import { messageOf } from '../runtime/base/errors.ts'
import { ErrorValue, Float, floatValue, TableValue, type Value } from '../runtime/base/value.ts'
import { offsetDeeperThan } from '../runtime/base/yaml-depth.ts'
import type { Call, Engine, LuaTable, Returns } from '../runtime/lua/engine.ts'
import type { LibraryModule } from '../runtime/services.ts'
import { isList, storedOfPlain, toStored } from './support/convert.ts'
import { fail } from './support/fail.ts'
import { lazily } from './support/lazy.ts'

const library = lazily<typeof import('yaml')>('yaml')

const DEPTH_MAX = 128
const PIECES_MAX = 1_000_000
const ALIASES_MAX = 1000

// ---- writing

interface Order {
  /** Rank of the keys that come first. */
  readonly first: ReadonlyMap<string, number>
  readonly compare: (a: string, b: string) => number
}

const natural = new Intl.Collator('en', { numeric: true }).compare
const bytewise = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)
/** Digits count as numbers, everything else by its bytes. */
function digitAware(a: string, b: string): number {
  const as = a.match(/\d+|\D+/g) ?? []
  const bs = b.match(/\d+|\D+/g) ?? []
  for (let i = 0; i < Math.min(as.length, bs.length); i++) {
    const [x, y] = [as[i] as string, bs[i] as string]
    const order = /^\d/.test(x) && /^\d/.test(y) ? natural(x, y) : bytewise(x, y)
    if (order !== 0) return order
  }
  return as.length - bs.length || bytewise(a, b)
}

/** What the library writes: Maps keep the order of their keys. */
function treeOf(value: Value, order: Order): unknown {
  if (value === undefined) return null
  if (typeof value === 'string') return toText(value)
  if (value instanceof Float) return value.value
  if (value instanceof ErrorValue) return toText(value.message)
  if (!(value instanceof TableValue)) return value
  if (isList(value)) return value.array.map((item) => treeOf(item, order))
  const pairs = value.keys.map((key, i): [string, Value] => [toText(key as string), value.values[i]])
  const rank = (key: string): number => order.first.get(key) ?? order.first.size
  pairs.sort(([a], [b]) => rank(a) - rank(b) || order.compare(a, b))
  return new Map(pairs.map(([key, item]) => [key, treeOf(item, order)]))
}

function orderOf(engine: Engine, options: LuaTable | undefined): Order {
  const first = new Map<string, number>()
  if (options === undefined) return { first, compare: digitAware }
  const fields = engine.get(options, 'field_order')
  if (engine.typeOf(fields) === 'table') {
    const list = fields as LuaTable
    for (let i = 1; i <= engine.length(list); i++) {
      const name = engine.get(list, i)
      if (typeof name === 'string' && !first.has(toText(name))) first.set(toText(name), first.size)
    }
  }
  return { first, compare: engine.get(options, 'sort_unordered') === true ? bytewise : digitAware }
}

function encode(call: Call): Returns {
  const { engine } = call
  if (call.type(1) !== 'table') return fail('Invalid', 'table expected')
  const options = call.type(2) === 'table' ? (call.arg(2) as LuaTable) : undefined
  try {
    const tree = treeOf(toStored(engine, call.arg(1)), orderOf(engine, options))
    // Quotes what YAML 1.1 would read as something else, too: many readers still do.
    const text = library().stringify(tree, {
      indent: options === undefined ? 4 : 2,
      lineWidth: 0,
      blockQuote: 'literal',
      compat: 'yaml-1.1',
      aliasDuplicateObjects: false,
    })
    return [toBytes(text), undefined]
  } catch (thrown) {
    return fail('Internal', messageOf(thrown))
  }
}

// ---- reading

/** Whole numbers with a leading zero are octal, as many writers mean them. */
const oldOctal = {
  identify: () => false,
  default: true,
  tag: 'tag:yaml.org,2002:int',
  test: /^[-+]?0[0-7]+$/,
  resolve: (text: string) => {
    const digits = text.replace(/^[-+]/, '')
    const value = BigInt(`0o${digits}`)
    return text.startsWith('-') ? -value : value
  },
} as const

/** The first document of a text. @throws Error when it is not well-formed, or not to be had within bounds */
function firstDocument(text: string): Document.Parsed | undefined {
  const { Composer, Lexer, Parser } = library()
  let count = 0
  for (const _ of new Lexer().lex(text)) if (++count > PIECES_MAX) throw new Error(`more than ${PIECES_MAX} pieces`)
  if (offsetDeeperThan(new Parser().parse(text), DEPTH_MAX) !== undefined) {
    throw new Error(`nested deeper than ${DEPTH_MAX} levels`)
  }
  const composer = new Composer({
    version: '1.2',
    schema: 'core',
    customTags: (tags) => [oldOctal, ...tags, 'timestamp', 'binary', 'merge'],
    merge: true,
    intAsBigInt: true,
    logLevel: 'error',
    prettyErrors: false,
  })
  for (const document of composer.compose(new Parser().parse(text))) {
    const [error] = document.errors
    if (error !== undefined) throw error
    return document as Document.Parsed
  }
  return undefined
}

function decode(call: Call): Returns {
  const given = call.arg(1)
  if (typeof given !== 'string') return fail('Invalid', 'string expected')
  if (given === '') return fail('Invalid', 'input cannot be empty')
  try {
    const document = firstDocument(toText(given))
    const tree: unknown = document?.toJS({ mapAsMap: true, maxAliasCount: ALIASES_MAX })
    return [call.engine.copyIn(storedOfPlain(tree, { string: toBytes, number: floatValue })), undefined]
  } catch (thrown) {
    return fail('Internal', messageOf(thrown))
  }
}

export const yamlModule: LibraryModule = {
  name: 'yaml',
  description: 'YAML and back',
  tags: ['encoding', 'deterministic'],
  build: () => ({ encode, decode }),
}
