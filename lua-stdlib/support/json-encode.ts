// Values to JSON text, in UTF-8 bytes (lua-libraries.md §4.1).

import { Float } from '../../runtime/base/value.ts'
import { isEmptyObject, type TableReader } from './json-tables.ts'
import { sequenceLength } from './json-utf8.ts'
import { numberText } from './number-text.ts'

/** Table levels below the root. */
const DEPTH_MAX = 128
const INT64_LIMIT = 2 ** 63
// A few tables that refer to each other often enough can stand for text without end.
const LENGTH_MAX = 64 * 1024 * 1024
const TABLES_MAX = 1_000_000

/** Why a value has no JSON form. `message` is text. */
export class JsonEncodeError extends Error {
  override readonly name = 'JsonEncodeError'
}

/** @throws JsonEncodeError for mixed keys, gaps, cycles and nesting beyond the bound */
export function encodeJson<V, T extends V & object>(reader: TableReader<V, T>, value: V): string {
  return new Encoder(reader).encode(value)
}

class Encoder<V, T extends V & object> {
  readonly #reader: TableReader<V, T>
  /** The tables from the root to the one at work. */
  readonly #path = new Set<T>()
  #length = 0
  #tableCount = 0

  constructor(reader: TableReader<V, T>) {
    this.#reader = reader
  }

  encode(value: V): string {
    if (this.#reader.isTable(value)) return this.#table(value)
    const text = this.#scalar(value)
    this.#count(text.length + 1)
    return text
  }

  #scalar(value: V): string {
    const isRoot = this.#path.size === 0
    if (typeof value === 'string') return quote(value)
    if (typeof value === 'number') return encodeNumber(value, isRoot)
    if (typeof value === 'boolean' || typeof value === 'bigint') return String(value)
    if (value instanceof Float) return encodeNumber(value.value, isRoot)
    const message = this.#reader.errorMessage(value)
    return message === undefined ? 'null' : quote(message)
  }

  #count(length: number): void {
    this.#length += length
    if (this.#length > LENGTH_MAX) throw new JsonEncodeError(`the text would be longer than ${LENGTH_MAX} bytes`)
  }

  #table(table: T): string {
    if (this.#path.has(table)) throw new JsonEncodeError('recursively nested table: it contains itself')
    if (this.#path.size > DEPTH_MAX) {
      throw new JsonEncodeError(`maximum nesting depth of ${DEPTH_MAX} levels exceeded`)
    }
    if (++this.#tableCount > TABLES_MAX) throw new JsonEncodeError(`more than ${TABLES_MAX} tables in one value`)
    this.#path.add(table)
    const text = this.#content(table)
    this.#path.delete(table)
    return text
  }

  #content(table: T): string {
    const items: V[] = []
    const strays = new Map<number, V>()
    const members: (readonly [key: string, value: V])[] = []
    this.#reader.each(table, (key, value) => {
      if (value === undefined) return
      const index = positiveInteger(key)
      if (index === undefined) {
        const name = memberName(key)
        if (name !== undefined) members.push([name, value])
      } else if (index === items.length + 1) items.push(value)
      else strays.set(index, value)
    })
    // A table filled out of order is a sequence all the same.
    for (let next = strays.get(items.length + 1); next !== undefined; next = strays.get(items.length + 1)) {
      strays.delete(items.length + 1)
      items.push(next)
    }
    if (items.length + strays.size > 0 && members.length > 0) {
      throw new JsonEncodeError('mixed-key table: positive integers and other keys together have no JSON form')
    }
    if (strays.size > 0) throw new JsonEncodeError('sparse array: positive integer keys with gaps have no JSON form')
    if (members.length > 0) return this.#object(members)
    if (items.length === 0) return isEmptyObject(table) ? '{}' : '[]'
    return `[${items.map((item) => this.encode(item)).join(',')}]`
  }

  /** Members in bytewise order of their names; of two keys with the same text (`0` and `"0"`) one is written. */
  #object(members: (readonly [key: string, value: V])[]): string {
    members.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
    const parts: string[] = []
    for (const [i, [key, value]] of members.entries()) {
      if (i > 0 && members[i - 1]?.[0] === key) continue
      const name = quote(key)
      this.#count(name.length + 1)
      parts.push(`${name}:${this.encode(value)}`)
    }
    return `{${parts.join(',')}}`
  }
}

function positiveInteger(key: unknown): number | undefined {
  const number = key instanceof Float ? key.value : typeof key === 'bigint' ? Number(key) : key
  return typeof number === 'number' && Number.isInteger(number) && number > 0 ? number : undefined
}

/** Tables and functions have none. */
function memberName(key: unknown): string | undefined {
  if (typeof key === 'string') return key
  if (key instanceof Float || typeof key === 'number' || typeof key === 'bigint') return numberText(key)
  return typeof key === 'boolean' ? String(key) : undefined
}

function encodeNumber(value: number, isRoot: boolean): string {
  if (!Number.isFinite(value)) return 'null'
  if (Number.isInteger(value) && value >= -INT64_LIMIT && value < INT64_LIMIT) {
    // Digits of the value itself: beyond the safe range the shortest text pads with zeros.
    return Number.isSafeInteger(value) ? String(value) : BigInt(value).toString()
  }
  return isRoot ? String(value) : withoutExponent(String(value))
}

/** `1.5e-7` as `0.00000015`. */
function withoutExponent(text: string): string {
  const match = /^(-?)(\d)(?:\.(\d+))?e([+-]\d+)$/.exec(text)
  if (match === null) return text
  const [, sign, first, rest = '', exponent] = match
  const digits = `${first}${rest}`
  const point = 1 + Number(exponent)
  if (point <= 0) return `${sign}0.${'0'.repeat(-point)}${digits}`
  return digits.length <= point
    ? `${sign}${digits.padEnd(point, '0')}`
    : `${sign}${digits.slice(0, point)}.${digits.slice(point)}`
}

/** Bytes that stand in a JSON string as they are. */
const PLAIN = /^[ !#-%'-;=?-[\]-\x7f]*$/

const ESCAPES: Readonly<Record<string, string>> = {
  '"': '\\"',
  '\\': '\\\\',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\b': '\\b',
  '\f': '\\f',
  '<': '\\u003c',
  '>': '\\u003e',
  '&': '\\u0026',
}

/** Ill-formed bytes become U+FFFD one by one; line separators are escaped, because JavaScript reads them as line ends. */
function quote(bytes: string): string {
  if (PLAIN.test(bytes)) return `"${bytes}"`
  let out = '"'
  for (let at = 0; at < bytes.length; ) {
    const length = sequenceLength(bytes, at)
    const char = bytes.slice(at, at + (length || 1))
    at += length || 1
    if (length === 0) out += '\\ufffd'
    else if (length === 1) out += ESCAPES[char] ?? (char < ' ' ? controlEscape(char) : char)
    else if (char === '\xe2\x80\xa8') out += '\\u2028'
    else if (char === '\xe2\x80\xa9') out += '\\u2029'
    else out += char
  }
  return `${out}"`
}

const controlEscape = (char: string): string => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`
