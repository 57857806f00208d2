// The functions of the expression language. lua-libraries.md §15.

import { bytesOfScanned } from '../text/scan.ts'
import type { Argument, Evaluation, Predicate } from './evaluate.ts'
import { jsonOf, valueOfJson } from './json.ts'
import { ExprError } from './lexer.ts'
import {
  characters,
  type ExprMap,
  type ExprNumber,
  type ExprValue,
  equal,
  exactOf,
  float,
  integer,
  isArray,
  isIndex,
  isInteger,
  isMap,
  isNumber,
  lengthOf,
  numberOf,
  show,
  textOf,
  typeName,
} from './values.ts'

interface Builtin {
  readonly argsMin: number
  readonly argsMax: number
  /** Which argument is a predicate also without braces. */
  readonly predicateAt: number | undefined
  readonly run: (args: readonly Argument[], evaluation: Evaluation) => ExprValue
}

const NESTING_MAX = 100
/** How often sorting looks at an item, about. */
const SORT_LOOKS = 10

function wrong(value: ExprValue, wanted: string): never {
  throw new ExprError(`expected ${wanted}, found ${typeName(value)}`)
}

function value(args: readonly Argument[], index: number): ExprValue {
  const arg = args[index]
  if (arg === undefined) return undefined
  if ('predicate' in arg) throw new ExprError(`argument ${index + 1} is a predicate`)
  return arg.value
}

function text(args: readonly Argument[], index: number): string {
  const given = value(args, index)
  return typeof given === 'string' ? given : wrong(given, 'a string')
}

/** A table of Lua without anything in it is a map here, and may be meant as an array. */
const isEmptyMap = (given: ExprValue): boolean => isMap(given) && given.size === 0

function array(args: readonly Argument[], index = 0): readonly ExprValue[] {
  const given = value(args, index)
  if (isEmptyMap(given)) return []
  return isArray(given) ? given : wrong(given, 'an array')
}

/** A position or a count. */
function index(args: readonly Argument[], at: number, otherwise?: number): number {
  const given = value(args, at)
  if (given === undefined && otherwise !== undefined) return otherwise
  if (typeof given === 'bigint') throw new ExprError(`${given} is too large`)
  return isIndex(given) ? given : wrong(given, 'an int')
}

/** All 64 bits. */
function bitsOf(args: readonly Argument[], at: number): bigint {
  const given = value(args, at)
  return isInteger(given) ? BigInt(given) : wrong(given, 'an int')
}

function number(given: ExprValue): number {
  return isNumber(given) ? numberOf(given) : wrong(given, 'a number')
}

function predicate(args: readonly Argument[], index: number): Predicate {
  const arg = args[index]
  if (arg !== undefined && 'predicate' in arg) return arg.predicate
  throw new ExprError('a predicate such as {# > 1} is needed')
}

function test(args: readonly Argument[], index: number): (item: ExprValue, i: number) => boolean {
  const run = predicate(args, index)
  return (item, i) => {
    const result = run(item, new Map([['#index', i]]))
    return typeof result === 'boolean' ? result : wrong(result, 'a bool from the predicate')
  }
}

/** Numbers of an array, or of the arguments themselves. */
function numbers(args: readonly Argument[]): ExprNumber[] {
  const found: ExprNumber[] = []
  for (let i = 0; i < args.length; i++) {
    const given = value(args, i)
    if (isEmptyMap(given)) continue
    for (const item of isArray(given) ? given : [given]) found.push(isNumber(item) ? item : wrong(item, 'a number'))
  }
  return found
}

const total = (items: readonly ExprNumber[]): ExprNumber => {
  if (!items.every(isInteger)) return float(items.reduce<number>((before, item) => before + numberOf(item), 0))
  return integer(items.reduce<bigint>((before, item) => before + BigInt(item), 0n))
}

function order(a: ExprValue, b: ExprValue): number {
  if (isNumber(a) && isNumber(b)) {
    const [x, y] = [exactOf(a), exactOf(b)]
    return x < y ? -1 : x > y ? 1 : 0
  }
  if (typeof a === 'string' && typeof b === 'string') return a < b ? -1 : a > b ? 1 : 0
  throw new ExprError(`cannot order ${typeName(a)} and ${typeName(b)}`)
}

const direction = (args: readonly Argument[], index: number): 1 | -1 => {
  const given = value(args, index)
  if (given === undefined || given === 'asc') return 1
  return given === 'desc' ? -1 : wrong(given, '"asc" or "desc"')
}

function flatten(items: readonly ExprValue[], evaluation: Evaluation, depth = 0): ExprValue[] {
  if (depth > NESTING_MAX) throw new ExprError(`nested deeper than ${NESTING_MAX} levels`)
  evaluation.spend(items.length)
  return items.flatMap((item) => (isArray(item) ? flatten(item, evaluation, depth + 1) : [item]))
}

function uniq(items: readonly ExprValue[], { look }: Evaluation): ExprValue[] {
  const scalars = new Set<ExprValue>()
  const others: ExprValue[] = []
  return items.filter((item) => {
    const plain = isNumber(item) ? exactOf(item) : item
    if (typeof plain !== 'object') return !scalars.has(plain) && scalars.add(plain)
    look(others.length)
    return !others.some((other) => equal(other, item, look)) && others.push(item) > 0
  })
}

function map(args: readonly Argument[]): ExprMap {
  const given = value(args, 0)
  return isMap(given) ? given : wrong(given, 'a map')
}

const INT64_DIGITS_MAX = 19

function toInteger(given: ExprValue, { look }: Evaluation): ExprValue {
  if (isInteger(given)) return given
  const refuse = (): never => {
    throw new ExprError(`${show(given, look)} is no int`)
  }
  let whole: bigint
  if (typeof given === 'string') {
    const [, sign, digits] = /^([-+]?)0*(\d+)$/.exec(given) ?? []
    if (digits === undefined || digits.length > INT64_DIGITS_MAX) return refuse()
    whole = sign === '-' ? -BigInt(digits) : BigInt(digits)
  } else {
    const truncated = Math.trunc(number(given))
    if (!Number.isFinite(truncated)) return refuse()
    whole = BigInt(truncated)
  }
  return whole === BigInt.asIntN(64, whole) ? integer(whole) : refuse()
}

function toFloat(given: ExprValue, { look }: Evaluation): ExprValue {
  const parsed = typeof given === 'string' ? (given.trim() === '' ? Number.NaN : Number(given)) : number(given)
  if (Number.isNaN(parsed)) throw new ExprError(`${show(given, look)} is no float`)
  return float(parsed)
}

/** Keeps an integer an integer. */
function absolute(args: readonly Argument[]): ExprValue {
  const given = value(args, 0)
  if (!isInteger(given)) return float(Math.abs(number(given)))
  return given < 0 ? integer(-BigInt(given)) : given
}

const onFloat =
  (work: (given: number) => number) =>
  (args: readonly Argument[]): ExprValue =>
    float(work(number(value(args, 0))))

const bits =
  (work: (a: bigint, b: bigint) => bigint) =>
  (args: readonly Argument[]): ExprValue =>
    integer(work(bitsOf(args, 0), bitsOf(args, 1)))

function shift(args: readonly Argument[], work: (a: bigint, b: bigint) => bigint): ExprValue {
  const count = bitsOf(args, 1)
  if (count < 0n || count > 63n) throw new ExprError('a shift is by 0 to 63 bits')
  return integer(work(bitsOf(args, 0), count))
}

/** Cut off at both ends: space, or any of the given characters. */
function trim(args: readonly Argument[]): string {
  const given = text(args, 0)
  if (args.length < 2) return given.trim()
  const cut = new Set(characters(text(args, 1)))
  let from = 0
  while (from < given.length) {
    const first = String.fromCodePoint(given.codePointAt(from) as number)
    if (!cut.has(first)) break
    from += first.length
  }
  let to = given.length
  while (to > from) {
    const pair = given.slice(to - 2, to)
    const last = to - 2 >= from && lengthOf(pair) === 1 ? pair : pair.slice(-1)
    if (!cut.has(last)) break
    to -= last.length
  }
  return given.slice(from, to)
}

function split(args: readonly Argument[], evaluation: Evaluation, isAfter: boolean): ExprValue {
  const separator = text(args, 1)
  const countMax = index(args, 2, -1)
  const parts = separator === '' ? characters(text(args, 0)) : text(args, 0).split(separator)
  const kept =
    countMax > 0 && parts.length > countMax
      ? [...parts.slice(0, countMax - 1), parts.slice(countMax - 1).join(separator)]
      : parts
  evaluation.spend(kept.length)
  return isAfter ? kept.map((part, i) => (i < kept.length - 1 ? part + separator : part)) : kept
}

function replace(args: readonly Argument[], evaluation: Evaluation): string {
  const [given, from, to] = [text(args, 0), text(args, 1), text(args, 2)]
  // The empty text is before each character, and at the end.
  const parts = from === '' ? ['', ...characters(given), ''] : given.split(from)
  const countMax = index(args, 3, -1)
  evaluation.spendText(given.length + parts.length * to.length)
  if (countMax < 0 || parts.length - 1 <= countMax) return parts.join(to)
  return parts.slice(0, countMax + 1).join(to) + from + parts.slice(countMax + 1).join(from)
}

function repeat(args: readonly Argument[], evaluation: Evaluation): string {
  const count = index(args, 1)
  if (count < 0) throw new ExprError('a count cannot be negative')
  evaluation.spendText(text(args, 0).length * count)
  return text(args, 0).repeat(count)
}

function reduce(args: readonly Argument[]): ExprValue {
  const items = array(args)
  const run = predicate(args, 1)
  const hasStart = args.length > 2
  if (items.length === 0 && !hasStart) throw new ExprError('reduce of an empty array with no initial value')
  let accumulated = hasStart ? value(args, 2) : items[0]
  for (let i = hasStart ? 0 : 1; i < items.length; i++) {
    const names = new Map<string, ExprValue>([
      ['#acc', accumulated],
      ['#index', i],
    ])
    accumulated = run(items[i], names)
  }
  return accumulated
}

function groupBy(args: readonly Argument[], { look }: Evaluation): ExprMap {
  const run = predicate(args, 1)
  const groups = new Map<string, ExprValue[]>()
  for (const item of array(args)) {
    const key = show(run(item), look)
    const group = groups.get(key)
    if (group === undefined) groups.set(key, [item])
    else group.push(item)
  }
  return groups
}

function median(args: readonly Argument[]): ExprValue {
  const items = numbers(args)
    .map(numberOf)
    .sort((a, b) => a - b)
  if (items.length === 0) return float(0)
  const middle = items.length >> 1
  const upper = items[middle] as number
  return float(items.length % 2 === 1 ? upper : ((items[middle - 1] as number) + upper) / 2)
}

function extreme(args: readonly Argument[], isBetter: (a: number | bigint, b: number | bigint) => boolean): ExprValue {
  const items = numbers(args)
  if (items.length === 0) throw new ExprError('there are no numbers')
  return items.reduce((best, item) => (isBetter(exactOf(item), exactOf(best)) ? item : best))
}

const length = (given: ExprValue): number => {
  if (typeof given === 'string') return lengthOf(given)
  if (isArray(given)) return given.length
  return isMap(given) ? given.size : wrong(given, 'a string, array or map')
}

function fromPairs(args: readonly Argument[], { look }: Evaluation): ExprMap {
  return new Map(
    array(args).map((pair): [string, ExprValue] => {
      if (!isArray(pair) || pair.length !== 2) throw new ExprError('every item must be an array [key, value]')
      return [show(pair[0], look), pair[1]]
    }),
  )
}

function get(args: readonly Argument[], { look }: Evaluation): ExprValue {
  const container = value(args, 0)
  const key = value(args, 1)
  if (isMap(container)) return container.get(show(key, look))
  if (isArray(container) && isIndex(key)) return container[key < 0 ? container.length + key : key]
  return undefined
}

function fromBase64(given: string): string {
  if (given.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(given)) throw new ExprError('not base64')
  return textOf(Buffer.from(given, 'base64').toString('latin1'))
}

const ITEMS_PER_JSON_CHARACTER = 2

function fromJson(given: string, { look }: Evaluation): ExprValue {
  look(given.length * ITEMS_PER_JSON_CHARACTER)
  return valueOfJson(given)
}

/** Where a text is in another, in characters; -1: nowhere. */
const characterAt = (given: string, at: number): number => (at < 0 ? at : lengthOf(given.slice(0, at)))

type Run = Builtin['run']

const make = (argsMin: number, argsMax: number, run: Run, predicateAt?: number): Builtin => ({
  argsMin,
  argsMax,
  predicateAt,
  run,
})
const ANY = 100

/** Predicates are the second argument. */
const onItems = (run: Run, argsMax = 2): Builtin => make(2, argsMax, run, 1)

export const builtins: ReadonlyMap<string, Builtin> = new Map<string, Builtin>([
  ['all', onItems((args) => array(args).every(test(args, 1)))],
  ['any', onItems((args) => array(args).some(test(args, 1)))],
  ['none', onItems((args) => !array(args).some(test(args, 1)))],
  ['one', onItems((args) => array(args).filter(test(args, 1)).length === 1)],
  ['filter', onItems((args) => array(args).filter(test(args, 1)))],
  [
    'map',
    onItems((args, evaluation) => {
      evaluation.spend(array(args).length)
      const run = predicate(args, 1)
      return array(args).map((item, i) => run(item, new Map([['#index', i]])))
    }),
  ],
  ['find', onItems((args) => array(args).find(test(args, 1)))],
  ['findIndex', onItems((args) => array(args).findIndex(test(args, 1)))],
  ['findLast', onItems((args) => array(args).findLast(test(args, 1)))],
  ['findLastIndex', onItems((args) => array(args).findLastIndex(test(args, 1)))],
  [
    'count',
    make(
      1,
      2,
      (args) =>
        (args.length === 1 ? array(args).filter((item) => item === true) : array(args).filter(test(args, 1))).length,
      1,
    ),
  ],
  ['groupBy', onItems(groupBy)],
  [
    'sortBy',
    onItems((args, { look }) => {
      const run = predicate(args, 1)
      const sign = direction(args, 2)
      look(array(args).length * SORT_LOOKS)
      return array(args)
        .map((item) => ({ item, key: run(item) }))
        .sort((a, b) => sign * order(a.key, b.key))
        .map(({ item }) => item)
    }, 3),
  ],
  [
    'sum',
    make(
      1,
      2,
      (args) => {
        const run = args.length === 2 ? predicate(args, 1) : undefined
        const items = array(args).map((item) => (run === undefined ? item : run(item)))
        return total(items.map((item) => (isNumber(item) ? item : wrong(item, 'a number'))))
      },
      1,
    ),
  ],
  ['reduce', make(2, 3, reduce, 1)],

  ['len', make(1, 1, (args) => length(value(args, 0)))],
  ['trim', make(1, 2, trim)],
  [
    'trimPrefix',
    make(2, 2, (args) =>
      text(args, 0).startsWith(text(args, 1)) ? text(args, 0).slice(text(args, 1).length) : text(args, 0),
    ),
  ],
  [
    'trimSuffix',
    make(2, 2, (args) =>
      text(args, 0).endsWith(text(args, 1))
        ? text(args, 0).slice(0, text(args, 0).length - text(args, 1).length)
        : text(args, 0),
    ),
  ],
  ['upper', make(1, 1, (args) => text(args, 0).toUpperCase())],
  ['lower', make(1, 1, (args) => text(args, 0).toLowerCase())],
  ['split', make(2, 3, (args, evaluation) => split(args, evaluation, false))],
  ['splitAfter', make(2, 3, (args, evaluation) => split(args, evaluation, true))],
  ['replace', make(3, 4, replace)],
  ['repeat', make(2, 2, repeat)],
  ['indexOf', make(2, 2, (args) => characterAt(text(args, 0), text(args, 0).indexOf(text(args, 1))))],
  ['lastIndexOf', make(2, 2, (args) => characterAt(text(args, 0), text(args, 0).lastIndexOf(text(args, 1))))],
  ['hasPrefix', make(2, 2, (args) => text(args, 0).startsWith(text(args, 1)))],
  ['hasSuffix', make(2, 2, (args) => text(args, 0).endsWith(text(args, 1)))],

  ['max', make(1, ANY, (args) => extreme(args, (a, b) => a > b))],
  ['min', make(1, ANY, (args) => extreme(args, (a, b) => a < b))],
  [
    'mean',
    make(1, ANY, (args) =>
      float(numbers(args).length === 0 ? 0 : numberOf(total(numbers(args))) / numbers(args).length),
    ),
  ],
  ['median', make(1, ANY, median)],
  ['abs', make(1, 1, absolute)],
  ['ceil', make(1, 1, onFloat(Math.ceil))],
  ['floor', make(1, 1, onFloat(Math.floor))],
  // Halves away from zero.
  [
    'round',
    make(
      1,
      1,
      onFloat((given) => Math.sign(given) * Math.round(Math.abs(given))),
    ),
  ],
  ['int', make(1, 1, (args, evaluation) => toInteger(value(args, 0), evaluation))],
  ['float', make(1, 1, (args, evaluation) => toFloat(value(args, 0), evaluation))],
  ['string', make(1, 1, (args, { look }) => show(value(args, 0), look))],
  ['type', make(1, 1, (args) => typeName(value(args, 0)))],

  ['first', make(1, 1, (args) => array(args)[0])],
  ['last', make(1, 1, (args) => array(args).at(-1))],
  ['take', make(2, 2, (args) => array(args).slice(0, Math.max(0, index(args, 1))))],
  [
    'concat',
    make(1, ANY, (args, evaluation) => {
      const lists = args.map((_, i) => array(args, i))
      evaluation.spend(lists.reduce((sum, list) => sum + list.length, 0))
      return lists.flat()
    }),
  ],
  ['flatten', make(1, 1, (args, evaluation) => flatten(array(args), evaluation))],
  ['uniq', make(1, 1, (args, evaluation) => uniq(array(args), evaluation))],
  ['reverse', make(1, 1, (args) => [...array(args)].reverse())],
  [
    'sort',
    make(1, 2, (args, { look }) => {
      const sign = direction(args, 1)
      look(array(args).length * SORT_LOOKS)
      return [...array(args)].sort((a, b) => sign * order(a, b))
    }),
  ],
  [
    'join',
    make(1, 2, (args, evaluation) => {
      const parts = array(args).map((item) => (typeof item === 'string' ? item : wrong(item, 'a string')))
      const separator = args.length > 1 ? text(args, 1) : ''
      evaluation.spendText(parts.reduce((sum, part) => sum + part.length + separator.length, 0))
      return parts.join(separator)
    }),
  ],
  ['keys', make(1, 1, (args) => [...map(args).keys()])],
  ['values', make(1, 1, (args) => [...map(args).values()])],
  ['toPairs', make(1, 1, (args) => [...map(args)].map(([key, item]) => [key, item]))],
  ['fromPairs', make(1, 1, fromPairs)],
  ['get', make(2, 2, get)],

  ['toJSON', make(1, 1, (args) => jsonOf(value(args, 0)))],
  ['fromJSON', make(1, 1, (args, evaluation) => fromJson(text(args, 0), evaluation))],
  ['toBase64', make(1, 1, (args) => Buffer.from(bytesOfScanned(text(args, 0)), 'latin1').toString('base64'))],
  ['fromBase64', make(1, 1, (args) => fromBase64(text(args, 0)))],

  [
    'bitand',
    make(
      2,
      2,
      bits((a, b) => a & b),
    ),
  ],
  [
    'bitor',
    make(
      2,
      2,
      bits((a, b) => a | b),
    ),
  ],
  [
    'bitxor',
    make(
      2,
      2,
      bits((a, b) => a ^ b),
    ),
  ],
  [
    'bitnand',
    make(
      2,
      2,
      bits((a, b) => a & ~b),
    ),
  ],
  ['bitnot', make(1, 1, (args) => integer(~bitsOf(args, 0)))],
  ['bitshl', make(2, 2, (args) => shift(args, (a, b) => a << b))],
  ['bitshr', make(2, 2, (args) => shift(args, (a, b) => a >> b))],
  ['bitushr', make(2, 2, (args) => shift(args, (a, b) => BigInt.asUintN(64, a) >> b))],
])
