// The table library. Lists without metatables go the short way; others are read and written as a script would.

import {
  getIndex,
  integerArgument,
  isLess,
  lengthOf,
  type Natives,
  natives,
  positionArgument,
  setIndex,
  stringArgument,
  textOf,
  typeMismatch,
} from './library.ts'
import { type Machine, move } from './machine.ts'
import { wrap } from './number.ts'
import { Table } from './table.ts'
import { Closure, Native, typeName, type Val } from './value.ts'

const VALUES_MAX = 900_000
/** As many take a second. */
const MOVED_MAX = 10_000_000

/** A list of which nothing is known to anybody else. */
function plainList(table: Val): table is Table {
  return table instanceof Table && table.meta === undefined && table.frozen === undefined
}

/** Tables, and what behaves like one (checktab of the reference implementation). */
function listArgument(m: Machine, S: Val[], at: number, count: number): Val {
  const value = S[at + 1]
  if (count >= 1 && value instanceof Table) return value
  if (count >= 1 && m.metaOf(value)?.getStr('__index') !== undefined && m.metaOf(value)?.getStr('__len') !== undefined)
    return value
  throw typeMismatch(m, S, at, count, 1, 'table')
}

/** More values than these V8 shifts faster than a loop does. */
const SHIFTED_MAX = 24

function insert(m: Machine, S: Val[], at: number, count: number): number {
  const list = listArgument(m, S, at, count)
  const end = lengthOf(m, list) + 1
  if (count === 2) {
    setIndex(m, list, end, S[at + 2])
    return 0
  }
  if (count !== 3) throw m.error("wrong number of arguments to 'insert'")
  const position = positionArgument(m, S, at, count, 2)
  if (position < 1 || position > end) throw m.argumentError(2, 'position out of bounds')
  const value = S[at + 3]
  if (plainList(list) && value !== undefined && list.arr.length === end && end > 1 && position < end) {
    list.append(list.arr[end - 1])
    if (list.arr.length > end) {
      const { arr } = list
      if (end - position > SHIFTED_MAX) {
        arr.pop()
        arr.splice(position, 0, value)
      } else {
        move(arr, position, position + 1, end - 1 - position)
        arr[position] = value
      }
      m.allocate(8)
      m.budget -= (end - position) >> 4
      return 0
    }
  }
  for (let i = end; i > position; i--) setIndex(m, list, i, getIndex(m, list, i - 1))
  setIndex(m, list, position, value)
  return 0
}

function remove(m: Machine, S: Val[], at: number, count: number): number {
  const list = listArgument(m, S, at, count)
  const size = lengthOf(m, list)
  let position = positionArgument(m, S, at, count, 2, size)
  if (count > 1 && size + 1 !== position && (position < 1 || position > size + 1) && !(size === 0 && position === 0)) {
    throw m.argumentError(1, 'position out of bounds')
  }
  const value = getIndex(m, list, position)
  if (plainList(list) && position >= 1 && position < size && list.arr.length === size + 1) {
    const { arr } = list
    if (size - position > SHIFTED_MAX) {
      arr.splice(position, 1)
      arr.push(undefined)
    } else move(arr, position + 1, position, size - position)
    list.setNum(size, undefined)
    m.budget -= (size - position) >> 4
  } else {
    for (; position < size; position++) setIndex(m, list, position, getIndex(m, list, position + 1))
    // Outside of the list only that one field goes.
    if (position <= size || value !== undefined || getIndex(m, list, position) !== undefined)
      setIndex(m, list, position, undefined)
  }
  S[at] = value
  return 1
}

function concat(m: Machine, S: Val[], at: number, count: number): number {
  const list = listArgument(m, S, at, count)
  const length = lengthOf(m, list)
  const separator = count >= 2 && S[at + 2] !== undefined ? stringArgument(m, S, at, count, 2) : ''
  const from = placeArgument(m, S, at, count, 3, 1)
  const to = count >= 4 && S[at + 4] !== undefined ? placeArgument(m, S, at, count, 4) : length
  const parts: string[] = []
  let size = 0
  for (let i = from, left = distance(from, to); left >= 0; left--, i = following(i)) {
    const value = getIndex(m, list, i)
    const text = typeof value === 'string' ? value : textOf(value)
    if (text === undefined) {
      throw m.error(`invalid value (${typeName(value)}) at index ${i} in table for 'concat'`)
    }
    parts.push(text)
    size += text.length + separator.length
    if (size > 256 * 1024 * 1024) throw m.error('resulting string too large')
  }
  m.checkLength(size)
  m.budget -= parts.length >> 3
  S[at] = m.made(parts.join(separator))
  return 1
}

function unpack(m: Machine, S: Val[], at: number, count: number): number {
  const list = S[at + 1]
  const from = placeArgument(m, S, at, count, 2, 1)
  const to = count >= 3 && S[at + 3] !== undefined ? placeArgument(m, S, at, count, 3) : lengthOf(m, list)
  const size = distance(from, to) + 1
  if (size <= 0) return 0
  if (size > VALUES_MAX) throw m.error('too many results to unpack')
  m.room(S, at, size)
  if (list instanceof Table && list.meta === undefined && typeof from === 'number' && typeof to === 'number') {
    for (let i = 0; i < size; i++) S[at + i] = list.getNum(from + i)
    return size
  }
  const values: Val[] = []
  for (let i = from, left = size; left > 0; left--, i = following(i)) values.push(getIndex(m, list, i))
  for (let i = 0; i < size; i++) S[at + i] = values[i]
  return size
}

type Place = number | bigint

/** Any integer at all. */
function placeArgument(m: Machine, S: Val[], at: number, count: number, index: number, absent?: number): Place {
  if (absent !== undefined && (index > count || S[at + index] === undefined)) return absent
  return integerArgument(m, S, at, count, index)
}

const following = (place: Place, by = 1): Place =>
  typeof place === 'number' && Number.isSafeInteger(place + by) ? place + by : wrap(BigInt(place) + BigInt(by))

/** From one to the other; rounded where it does not matter. */
const distance = (from: Place, to: Place): number =>
  typeof from === 'number' && typeof to === 'number' ? to - from : Number(BigInt(to) - BigInt(from))

function moveElements(m: Machine, S: Val[], at: number, count: number): number {
  const from = placeArgument(m, S, at, count, 2)
  const end = placeArgument(m, S, at, count, 3)
  const to = placeArgument(m, S, at, count, 4)
  const source = listArgument(m, S, at, count)
  let target: Val = source
  if (count >= 5 && S[at + 5] !== undefined) {
    target = S[at + 5]
    if (!(target instanceof Table) && m.metaOf(target)?.getStr('__newindex') === undefined) {
      throw typeMismatch(m, S, at, count, 5, 'table')
    }
  }
  if (end >= from) {
    if (BigInt(end) - BigInt(from) >= 2n ** 63n - 1n) throw m.argumentError(3, 'too many elements to move')
    if (BigInt(to) > 2n ** 63n - 1n - (BigInt(end) - BigInt(from))) throw m.argumentError(4, 'destination wrap around')
    const size = distance(from, end) + 1
    const isForward = to > end || to <= from || target !== source
    const by = isForward ? 1 : -1
    let readAt = isForward ? from : end
    let writeAt = isForward ? to : wrap(BigInt(to) + BigInt(end) - BigInt(from))
    for (let moved = 0; moved < size; moved++) {
      if (moved === MOVED_MAX) throw m.argumentError(3, 'too many elements to move')
      setIndex(m, target, writeAt, getIndex(m, source, readAt))
      readAt = following(readAt, by)
      writeAt = following(writeAt, by)
    }
    m.budget -= Math.min(size, MOVED_MAX) >> 3
  }
  S[at] = target
  return 1
}

/** Whether one value belongs before another. */
type Before = (a: Val, b: Val) => boolean

function sort(m: Machine, S: Val[], at: number, count: number): number {
  const list = listArgument(m, S, at, count)
  const size = lengthOf(m, list)
  if (size < 2) return 0
  if (size >= 2 ** 31) throw m.argumentError(1, 'array too big')
  const compare = S[at + 2]
  if (count >= 2 && compare !== undefined && !(compare instanceof Closure) && !(compare instanceof Native)) {
    throw typeMismatch(m, S, at, count, 2, 'function')
  }
  const values: Val[] = []
  for (let i = 1; i <= size; i++) values.push(getIndex(m, list, i))
  m.allocate(size * 8)
  m.budget -= size
  const isSorted = compare === undefined && sortPlain(values)
  if (!isSorted) {
    const before: Before = compare === undefined ? (a, b) => isLess(m, a, b) : comparator(m, S, compare)
    quicksort(m, values, before)
  }
  // A comparator that takes nil may put it last, where a list has none.
  if (plainList(list) && list.arr.length === size + 1 && values[size - 1] !== undefined)
    for (let i = 0; i < size; i++) list.arr[i + 1] = values[i]
  else for (let i = 0; i < size; i++) setIndex(m, list, i + 1, values[i])
  return 0
}

/** Numbers alone, or strings alone. @returns whether they were */
function sortPlain(values: Val[]): boolean {
  if (values.every((value) => typeof value === 'number' && !Number.isNaN(value))) {
    ;(values as number[]).sort((a, b) => a - b)
    return true
  }
  if (!values.every((value) => typeof value === 'string')) return false
  ;(values as string[]).sort((a, b) => (a < b ? -1 : a > b ? 1 : 0))
  return true
}

function comparator(m: Machine, S: Val[], compare: Val): Before {
  const free = m.freeAt
  m.room(S, free, 4)
  return (a, b) => {
    S[free] = compare
    S[free + 1] = a
    S[free + 2] = b
    const results = m.callSync(free, 2)
    const value = results > 0 ? S[m.resultAt] : undefined
    return value !== undefined && value !== false
  }
}

/** Of Hoare, with the median of three, like the reference implementation: an order that is none is noticed at the same places. */
function quicksort(m: Machine, values: Val[], before: Before): void {
  const swap = (i: number, j: number): void => {
    const value = values[i]
    values[i] = values[j]
    values[j] = value
  }
  const sortRange = (from: number, to: number): void => {
    let low = from
    let high = to
    while (low < high) {
      if (before(values[high], values[low])) swap(low, high)
      if (high - low === 1) return
      const middle = (low + high) >>> 1
      if (before(values[middle], values[low])) swap(middle, low)
      else if (before(values[high], values[middle])) swap(middle, high)
      if (high - low === 2) return
      const pivot = values[middle]
      swap(middle, high - 1)
      let i = low
      let j = high - 1
      for (;;) {
        while (before(values[++i], pivot)) if (i >= high - 1) throw m.error('invalid order function for sorting')
        while (before(pivot, values[--j])) if (j < i) throw m.error('invalid order function for sorting')
        if (j < i) break
        swap(i, j)
      }
      swap(high - 1, i)
      // The shorter part by a call, so that these do not nest deeply.
      if (i - low < high - i) {
        sortRange(low, i - 1)
        low = i + 1
      } else {
        sortRange(i + 1, high)
        high = i - 1
      }
    }
  }
  sortRange(0, values.length - 1)
}

export function tableLibrary(): Natives {
  return natives('table.', {
    insert,
    remove,
    concat,
    unpack,
    move: moveElements,
    sort,
    pack(m, S, at, count) {
      const table = new Table()
      const values: Val[] = [undefined]
      for (let i = 1; i <= count; i++) values.push(S[at + i])
      while (values.length > 1 && values[values.length - 1] === undefined) values.pop()
      if (values.length > 1) table.arr = values
      m.allocate(120 + count * 8)
      table.setStr('n', count, true)
      S[at] = table
      return 1
    },
  })
}
