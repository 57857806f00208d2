// YAML text to a value. lua-libraries.md §5. The package parses and composes; what nodes mean together (aliases, merge keys, keys as text) is
// told here, so that all of it is linear and counted.

import type { Alias, Document, Node, ScalarTag, YAMLMap } from 'yaml'
import { fromUint8Array, toBytes } from '../../runtime/base/bytes.ts'
import { floatValue, TableValue, type Value } from '../../runtime/base/value.ts'
import { offsetDeeperThan } from '../../runtime/base/yaml-depth.ts'
import { storedOfPlain } from '../support/convert.ts'
import { numberText } from '../support/number-text.ts'

type Library = typeof import('yaml')

const DEPTH_MAX = 128
/** Signs, spaces, line ends and words of a text. */
const PIECES_MAX = 1_000_000
const PARTS_MAX = 1_000_000

/** Whole numbers with a leading zero are octal, as many writers mean them. */
const oldOctal: ScalarTag = {
  identify: () => false,
  default: true,
  tag: 'tag:yaml.org,2002:int',
  test: /^[-+]?0[0-7]+$/,
  resolve: (text) => {
    const value = BigInt(`0o${text.replace(/^[-+]/, '')}`)
    return text.startsWith('-') ? -value : value
  },
}

/** A whole number may say that it is a float. */
const statedFloat: ScalarTag = {
  identify: () => false,
  tag: 'tag:yaml.org,2002:float',
  resolve: (text, onError) => {
    const [, sign, special] = /^([-+]?)(\.inf|\.nan)$/i.exec(text) ?? []
    if (special !== undefined) {
      if (/n$/i.test(special)) return Number.NaN
      return sign === '-' ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY
    }
    if (text === '' || Number.isNaN(Number(text))) onError('this is no float')
    return Number(text)
  },
}

const binary: ScalarTag = {
  identify: () => false,
  tag: 'tag:yaml.org,2002:binary',
  resolve: (text, onError) => {
    const digits = text.replace(/\s/g, '')
    if (digits.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(digits)) onError('!!binary takes base64')
    return new Uint8Array(Buffer.from(digits, 'base64'))
  },
}

const DATE = /(\d{4})-(\d{1,2})-(\d{1,2})/
const CLOCK = /(\d{1,2}):(\d{2}):(\d{2})(?:\.\d+)?/
const OFFSET = /Z|([-+])(\d{1,2})(?::?(\d{2}))?/
const TIMESTAMP = new RegExp(`^${DATE.source}(?:(?:[tT]|[ \\t]+)${CLOCK.source}(?:[ \\t]*(?:${OFFSET.source}))?)?$`)

const timestamp: ScalarTag = {
  identify: () => false,
  default: true,
  tag: 'tag:yaml.org,2002:timestamp',
  test: TIMESTAMP,
  resolve: (text) => timeOf(text) ?? text,
}

/** Undefined when there is no such day or hour: then it is a text that looks like one. */
function timeOf(text: string): Date | undefined {
  const match = TIMESTAMP.exec(text)
  if (match === null) return undefined
  const [, year, month, day, hour, minute, second, sign, offsetHours, offsetMinutes] = match
  const clock = [hour, minute, second].map((part) => Number(part ?? 0)) as [number, number, number]
  const time = new Date(0)
  time.setUTCFullYear(Number(year), Number(month) - 1, Number(day))
  const isDay = time.getUTCMonth() === Number(month) - 1 && time.getUTCDate() === Number(day)
  if (!isDay || clock[0] > 23 || clock[1] > 59 || clock[2] > 59) return undefined
  const offsetMs = (Number(offsetHours ?? 0) * 60 + Number(offsetMinutes ?? 0)) * 60_000
  return new Date(time.setUTCHours(...clock) - (sign === '-' ? -offsetMs : offsetMs))
}

/**
 * The first document of a text; undefined when there is none, or nothing in it.
 * @param partsMax of the value: each alias counts as what it stands for
 * @throws Error when it is not well-formed, or not to be had within bounds
 */
export function readYaml(library: Library, text: string, partsMax = PARTS_MAX): Value {
  const document = firstDocument(library, text)
  return document?.contents ? new Reader(library, partsMax).read(document.contents) : undefined
}

function firstDocument({ Composer, Lexer, Parser }: Library, text: string): Document.Parsed | undefined {
  const parser = new Parser()
  const tokens: ReturnType<typeof parser.next> extends Generator<infer T> ? T[] : never = []
  let pieceCount = 0
  for (const piece of new Lexer().lex(text)) {
    if (++pieceCount > PIECES_MAX) throw new Error(`more than ${PIECES_MAX} pieces`)
    for (const token of parser.next(piece)) tokens.push(token)
    if (tokens.at(-1)?.type === 'document') break
  }
  if (tokens.at(-1)?.type !== 'document') for (const token of parser.end()) tokens.push(token)
  if (offsetDeeperThan(tokens, DEPTH_MAX) !== undefined) throw new Error(`nested deeper than ${DEPTH_MAX} levels`)
  const composer = new Composer({
    version: '1.2',
    schema: 'core',
    customTags: (tags) => [oldOctal, ...tags, statedFloat, timestamp, binary],
    // The reader tells doubles itself: the package compares each key with each.
    uniqueKeys: false,
    intAsBigInt: true,
    logLevel: 'error',
    prettyErrors: false,
  })
  for (const document of composer.compose(tokens)) {
    const [error] = document.errors
    if (error !== undefined) throw error
    return document as Document.Parsed
  }
  return undefined
}

class Reader {
  readonly #library: Library
  readonly #partsMax: number
  readonly #anchors = new Map<string, Node>()
  /** What each alias stood for where it was met first: anchors may be given anew further on. */
  readonly #targets = new Map<Alias, Node>()
  /** Nodes whose anchors are set: a node that an alias leads to again sets none. */
  readonly #known = new Set<Node>()
  #partCount = 0

  constructor(library: Library, partsMax: number) {
    this.#library = library
    this.#partsMax = partsMax
  }

  read(node: unknown, depth = 0): Value {
    this.#count()
    const { isMap, isScalar, isSeq } = this.#library
    const target = this.#target(node)
    if (isScalar(target)) return scalarValue(target.value)
    if (depth > DEPTH_MAX) throw new Error(`value is nested deeper than ${DEPTH_MAX} levels or contains itself`)
    if (isMap(target)) return tableOf(this.#pairs(target, depth))
    const table = new TableValue()
    if (!isSeq(target)) return undefined
    for (const [i, item] of target.items.entries()) {
      const value = this.read(item, depth + 1)
      if (value === undefined) continue
      if (table.array.length === i) table.array.push(value)
      else {
        table.keys.push(i + 1)
        table.values.push(value)
      }
    }
    return table
  }

  /** Members in their order; those that are null too, which hide what is merged. */
  #pairs(map: YAMLMap, depth: number): Map<string, Value> {
    const own = new Map<string, Value>()
    const merged = new Map<string, Value>()
    for (const { key, value } of map.items) {
      if (this.#isMergeKey(key)) {
        for (const [name, item] of this.#mergedPairs(value, depth)) if (!merged.has(name)) merged.set(name, item)
        continue
      }
      const name = this.#name(key)
      if (own.has(name)) throw new Error(`Map keys must be unique: there are two of ${JSON.stringify(name)}`)
      own.set(name, this.read(value, depth + 1))
    }
    for (const [name, item] of merged) if (!own.has(name)) own.set(name, item)
    return own
  }

  #mergedPairs(value: unknown, depth: number): [string, Value][] {
    const { isMap, isSeq } = this.#library
    const source = this.#target(value)
    const maps = isSeq(source) ? source.items.map((item) => this.#target(item)) : [source]
    return maps.flatMap((map) => {
      if (!isMap(map)) throw new Error('Merge sources must be maps or map aliases')
      if (depth > DEPTH_MAX) throw new Error(`value is nested deeper than ${DEPTH_MAX} levels or contains itself`)
      const pairs = [...this.#pairs(map, depth + 1)]
      this.#count(pairs.length)
      return pairs
    })
  }

  #isMergeKey(key: unknown): boolean {
    return this.#library.isScalar(key) && key.type === 'PLAIN' && key.value === '<<' && key.tag === undefined
  }

  /** A key as text; dates as they are written. */
  #name(node: unknown): string {
    const key = this.#target(node)
    if (key === null || key === undefined) return 'null'
    if (!this.#library.isScalar(key)) throw new Error('a key is a list or a map')
    const { value, source } = key
    if (typeof value === 'string') return toBytes(value)
    if (typeof value === 'number' || typeof value === 'bigint') return numberText(value)
    if (value instanceof Date) return toBytes(source ?? value.toISOString())
    return value instanceof Uint8Array ? fromUint8Array(value) : String(value)
  }

  /** The node itself, or what the alias stands for. */
  #target(node: unknown): unknown {
    const { isAlias, isNode } = this.#library
    if (!isAlias(node)) {
      const anchor = isNode(node) && 'anchor' in node ? node.anchor : undefined
      if (anchor !== undefined && !this.#known.has(node as Node)) {
        this.#known.add(node as Node)
        this.#anchors.set(anchor, node as Node)
      }
      return node
    }
    const target = this.#targets.get(node) ?? this.#anchors.get(node.source)
    if (target === undefined) {
      throw new Error(`Unresolved alias (the anchor must be set before the alias): ${node.source}`)
    }
    this.#targets.set(node, target)
    return target
  }

  #count(parts = 1): void {
    this.#partCount += parts
    if (this.#partCount > this.#partsMax) {
      throw new Error(`value has more than ${this.#partsMax} parts, aliases followed`)
    }
  }
}

function scalarValue(plain: unknown): Value {
  if (typeof plain === 'string') return toBytes(plain)
  return typeof plain === 'number' ? floatValue(plain) : storedOfPlain(plain)
}

function tableOf(pairs: ReadonlyMap<string, Value>): TableValue {
  const table = new TableValue()
  for (const [name, value] of pairs) {
    if (value === undefined) continue
    table.keys.push(name)
    table.values.push(value)
  }
  return table
}
