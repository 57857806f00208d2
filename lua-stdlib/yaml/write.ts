// A value to YAML text. lua-libraries.md §5.

import { toBytes, toText, toUint8Array } from '../../runtime/base/bytes.ts'
import { ErrorValue, Float, TableValue, type Value } from '../../runtime/base/value.ts'
import { isList } from '../support/convert.ts'
import { illFormedAt } from '../support/json-utf8.ts'

type Library = typeof import('yaml')

export interface YamlStyle {
  readonly indent: number
  /** Keys that come first, at every level, by rank. */
  readonly first: ReadonlyMap<string, number>
  /** Whether the other keys are ordered by their bytes alone. */
  readonly isBytewise: boolean
}

/** In UTF-8, as a byte string. */
export function writeYaml(library: Library, value: Value, style: YamlStyle): string {
  // Quotes what YAML 1.1 would read as something else, too: many readers still do.
  const text = library.stringify(new Writer(library, style).node(value), {
    indent: style.indent,
    lineWidth: 0,
    blockQuote: 'literal',
    compat: 'yaml-1.1',
    customTags: ['binary'],
    aliasDuplicateObjects: false,
  })
  return toBytes(text)
}

const INT64_LIMIT = 2 ** 63

class Writer {
  readonly #library: Library
  readonly #style: YamlStyle

  constructor(library: Library, style: YamlStyle) {
    this.#library = library
    this.#style = style
  }

  /** What the package writes: Maps keep the order of their keys. */
  node(value: Value): unknown {
    if (value === undefined) return null
    if (typeof value === 'string') return this.#text(value)
    if (typeof value === 'number') return this.#number(value)
    if (value instanceof Float) return this.#number(value.value)
    if (value instanceof ErrorValue) return this.#text(value.message)
    if (!(value instanceof TableValue)) return value
    if (isList(value)) return value.array.map((item) => this.node(item))
    const { first, isBytewise } = this.#style
    const compare = isBytewise ? bytewise : digitAware
    const rank = (key: string): number => first.get(key) ?? first.size
    const pairs = value.keys.map((key, i): [string, Value] => [key as string, value.values[i]])
    pairs.sort(([a], [b]) => rank(a) - rank(b) || compare(a, b))
    return new Map(pairs.map(([key, item]) => [this.#text(key), this.node(item)]))
  }

  #text(bytes: string): unknown {
    const text = textOrBytes(bytes)
    if (typeof text !== 'string') return text
    // The package tells a block's indent of two, whatever the indent is: spaces at the beginning would change. A byte order mark would be
    // one, if it came first.
    const isMisread = (text.includes('\n') && /^\n* /.test(text)) || text.startsWith('\ufeff')
    if (!isMisread) return text
    const scalar = new this.#library.Scalar(text)
    scalar.type = 'QUOTE_DOUBLE'
    return scalar
  }

  /** Whole floats lose their point, and only that: within 64 bits all digits, beyond them an exponent, or they would be read as integers. */
  #number(value: number): unknown {
    if (!Number.isInteger(value) || Number.isSafeInteger(value)) return value
    if (value >= -INT64_LIMIT && value < INT64_LIMIT) return BigInt(value)
    const scalar = new this.#library.Scalar(value)
    scalar.format = 'EXP'
    return scalar
  }
}

/** Bytes that are no UTF-8 are written as `!!binary`. */
function textOrBytes(bytes: string): string | Uint8Array {
  return illFormedAt(bytes) < 0 ? toText(bytes) : toUint8Array(bytes)
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
