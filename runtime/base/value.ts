// The neutral value: what a message is made of once it has left a script. It belongs to no engine and no thread, is never
// changed after it was made, and may be shared between receivers. lua-core.md §7.4.

/**
 * - `undefined` is nil.
 * - A `number` that is a safe integer (and not -0) is a Lua integer; any other number is a Lua float.
 * - `Float` is a float with a whole value; a `bigint` is an integer outside the safe range. Neither occurs for a value that a plain
 *   number can say, so equal values have one form.
 * - A `string` is a byte string (see bytes.ts).
 */
export type Value = undefined | boolean | number | bigint | string | Float | TableValue | ErrorValue

/** A float whose value is whole: 3.0, -0.0. */
export class Float {
  readonly value: number
  constructor(value: number) {
    this.value = value
  }
}

/**
 * A table. `array` holds the values of keys 1..n; all other pairs stand in `keys` and `values` side by side, in traversal order.
 * Shared references and cycles are kept by identity.
 */
export class TableValue {
  readonly array: Value[]
  readonly keys: Value[]
  readonly values: Value[]
  #form: unknown = undefined
  constructor(array: Value[] = [], keys: Value[] = [], values: Value[] = []) {
    this.array = array
    this.keys = keys
    this.values = values
  }

  /** How the engine that made it knows tables with these keys: its own business, and not sent. */
  get form(): unknown {
    return this.#form
  }
  set form(form: unknown) {
    this.#form = form
  }

  /** The value under a string key, or nil. Linear: for small records that the runtime itself makes or reads. */
  get(key: string): Value {
    const at = this.keys.indexOf(key)
    return at < 0 ? undefined : this.values[at]
  }
}

/** An error object in transit. `message` is a byte string; `details` has string keys at the top. */
export class ErrorValue {
  readonly kind: string
  readonly message: string
  readonly retryable: boolean | undefined
  readonly details: TableValue | undefined
  /** Contexts added by errors.wrap, outermost first, then frames; a byte string of lines, may be empty. */
  readonly stack: string
  constructor(kind: string, message: string, retryable?: boolean, details?: TableValue, stack = '') {
    this.kind = kind
    this.message = message
    this.retryable = retryable
    this.details = details
    this.stack = stack
  }
}

/** The one form of a float: a plain number unless its value is a safe integer. */
export function floatValue(value: number): number | Float {
  return Number.isSafeInteger(value) || Object.is(value, -0) ? new Float(value) : value
}

/** The one form of a 64-bit integer. */
export function integerValue(value: bigint): number | bigint {
  return value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value
}

/** A string-keyed record; fields that are `undefined` are left out. */
export function record(fields: Record<string, Value>): TableValue {
  const keys: Value[] = []
  const values: Value[] = []
  for (const [key, value] of Object.entries(fields)) {
    if (value === undefined) continue
    keys.push(key)
    values.push(value)
  }
  return new TableValue([], keys, values)
}

export const list = (items: Value[]): TableValue => new TableValue(items)

/** Shorter texts take nothing of their own. */
const TEXT_MIN = 65

/** What a value takes, roughly, without the tables in a table. */
export function topBytes(value: Value): number {
  if (!(value instanceof TableValue)) return textBytes(value)
  const { array, keys, values } = value
  let bytes = 100 + 16 * (array.length + keys.length)
  for (let i = 0; i < array.length; i++) bytes += textBytes(array[i])
  for (let i = 0; i < values.length; i++) bytes += textBytes(values[i])
  return bytes
}

const textBytes = (value: Value): number => (typeof value === 'string' && value.length >= TEXT_MIN ? value.length : 0)

/** Of so many values; what is beyond them is left out. */
const VALUES_COUNTED_MAX = 10_000

/** What a value takes, roughly. */
export function valueBytes(value: Value): number {
  if (typeof value === 'string') return value.length
  return value instanceof TableValue || value instanceof ErrorValue ? treeBytes(value) : 0
}

function treeBytes(from: TableValue | ErrorValue): number {
  const seen = new Set<Value>()
  const open: Value[] = [from]
  let bytes = 0
  for (let left = VALUES_COUNTED_MAX; left > 0 && open.length > 0; left--) {
    const value = open.pop()
    bytes += 16
    if (typeof value === 'string') bytes += value.length
    else if (value instanceof ErrorValue) {
      bytes += 100 + value.message.length + value.stack.length
      if (value.details !== undefined) open.push(value.details)
    } else if (value instanceof TableValue && !seen.has(value)) {
      seen.add(value)
      bytes += 100
      const { array, keys, values } = value
      for (let i = 0; i < array.length && i < left; i++) open.push(array[i])
      for (let i = 0; i < keys.length && i < left; i++) open.push(keys[i], values[i])
    }
  }
  return bytes
}
