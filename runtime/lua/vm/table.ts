// Tables: a list part, fields under constant names by shape, and a hash for all other keys.
//
// Invariant: a string key stands in the fields, or, once the shape is `dictionary`, in the hash; never in both. So a shape that lacks a key
// says that the table lacks it. The last value of the list is not nil, and no key that continues the list stands in the hash, unless the
// whole list moved there.

import { Float } from '../../base/value.ts'
import type { Val } from './value.ts'

/** Shapes that a thread knows, and the fields of all of them together, some 50 bytes each; when there are more it forgets them all. */
const SHAPES_MAX = 20_000
const SHAPE_FIELDS_MAX = 400_000
/** Keys of data that a shape remembers having been asked for once. */
const ASKED_MAX = 16
/** Fields by shape; more make a dictionary. */
const FIELDS_MAX = 100
/** Kinds of tables that begin alike. */
const TRANSITIONS_MAX = 1024
/**
 * A list this long is looked at for being mostly empty, and given twice its room, and so each time it has doubled. What a long list costs is mostly
 * new pages of memory, and fewer are thrown away so. To V8 it has holes from then on: code that fills one should see that before it is compiled.
 */
const DOUBLED_MIN = 64
/** V8 makes a dictionary of an array whose length is set beyond 2^25. */
const DOUBLED_MAX = 2 ** 24

/** Counts changes that cached lookups through metatables rest on. */
export const epoch = { value: 0 }
/** Shapes made since all were forgotten, with those that others were made from. Others than these hold their shapes no longer than a table does. */
export const known = { shapes: 0, fields: 0, parents: [] as Shape[] }

/** Which fields a table has, and where. Shared by tables that were filled alike, unless `watched` or `isFrozen`. */
export class Shape {
  readonly keys: string[]
  readonly index: Map<string, number>
  readonly transitions: Map<string, Shape> | undefined
  /** Set for a table that others find things in: the keys that a cached lookup asked it for. */
  watched: Set<string> | undefined = undefined
  isDictionary = false
  #fields: string[] | undefined = undefined
  /** What data asked for once, oldest first. */
  #asked: Set<string> | undefined = undefined
  constructor(keys: string[], index: Map<string, number>, isShared: boolean) {
    this.keys = keys
    this.index = index
    this.transitions = isShared ? new Map() : undefined
  }

  /** The keys without the slot that is not used; of nobody who would change them. */
  get fields(): string[] {
    this.#fields ??= this.keys.slice(1)
    return this.#fields
  }

  /** The shape with one more key; undefined when the table should become a dictionary. */
  next(key: string, mayCreate: boolean): Shape | undefined {
    const { transitions } = this
    const found = transitions?.get(key)
    if (found !== undefined || !mayCreate || transitions === undefined) return found
    const { length } = this.keys
    if (length > FIELDS_MAX || transitions.size >= TRANSITIONS_MAX) return
    if (known.shapes >= SHAPES_MAX || known.fields + length > SHAPE_FIELDS_MAX) forgetShapes()
    known.shapes++
    known.fields += length
    if (transitions.size === 0) known.parents.push(this)
    const index = new Map(this.index)
    index.set(key, length)
    const made = new Shape([...this.keys, key], index, true)
    transitions.set(key, made)
    return made
  }

  /**
   * Whether a key that data brings, and no source names, may make a shape: when it comes a second time. Records come again; of a map whose keys are
   * ids no key does, and it is a dictionary from its first key on.
   */
  mayLearn(key: string): boolean {
    const { transitions } = this
    if (transitions === undefined || transitions.has(key) || this.index.has(key)) return false
    this.#asked ??= new Set()
    const asked = this.#asked
    if (asked.delete(key)) return true
    if (asked.size >= ASKED_MAX) asked.delete(asked.values().next().value as string)
    asked.add(key)
    return false
  }
}

/** Tables keep their shapes, and begin others from then on; those that no table has go. */
function forgetShapes(): void {
  for (const { transitions } of known.parents) transitions?.clear()
  known.parents = []
  known.shapes = 0
  known.fields = 0
}

/** Slot 0 is not used: an array that begins with `undefined` holds values of any kind from the start. */
const EMPTY_SHAPE = new Shape([''], new Map(), true)
const DICTIONARY = new Shape([''], new Map(), false)
DICTIONARY.isDictionary = true

const NO_VALUES: Val[] = [undefined]
/** So many have no room to spare. */
const FEW_SLOTS = 5

/** Keys that a list is made of at once lie below 2 to this power. */
const GATHERED_BITS = 26
const GATHERED_MAX = 2 ** GATHERED_BITS

const isListKey = (key: Val): key is number =>
  typeof key === 'number' && key > 0 && key <= GATHERED_MAX && Math.floor(key) === key

/** Of a whole number below 2^31. */
const bits = (value: number): number => 32 - Math.clz32(value)

/** A hash that has just got its 5th, 7th, 9th, 13th, 17th … key is looked at for a list. @param length of its keys, with the place that is not used */
function isGatheringDue(length: number): boolean {
  const keys = length - 2
  const third = keys % 3 === 0 ? keys / 3 : keys
  return keys >= 4 && (third & (third - 1)) === 0
}

/** Keys in order of arrival; a removed one stays, without a value, until the next growth. */
class Hash {
  readonly map = new Map<Val, number>()
  keys: Val[] = [undefined]
  values: Val[] = [undefined]
  live = 0

  /** Of a key without a value. */
  forget(key: number): void {
    const at = this.map.get(key)
    if (at === undefined) return
    this.map.delete(key)
    this.keys[at] = undefined
  }
}

/** What a table holds. Slot 0 of each list is not used. */
interface TableParts {
  readonly list: Val[]
  readonly isDictionary: boolean
  readonly names: readonly string[]
  readonly fields: readonly Val[]
  readonly keys: readonly Val[]
  readonly values: readonly Val[]
}

export class Table {
  shape: Shape = EMPTY_SHAPE
  slots: Val[] = NO_VALUES
  /** The value of key k at k; slot 0 is no value, see `#shorten`. */
  arr: Val[] = NO_VALUES
  hash: Hash | undefined = undefined
  meta: Table | undefined = undefined
  /** What a write is refused for; then the list stands in `cold`, so that no fast path finds it. */
  frozen: string | undefined = undefined
  cold: Val[] | undefined = undefined
  /** The count of memory that met it last. */
  seenIn = 0

  get(key: Val): Val {
    if (typeof key === 'string') return this.getStr(key)
    if (typeof key === 'number') return this.getNum(key)
    if (typeof key === 'object' && key instanceof Float) return this.getNum(key.value)
    const hash = this.hash
    if (hash === undefined) return undefined
    const at = hash.map.get(key)
    return at === undefined ? undefined : hash.values[at]
  }

  getStr(key: string): Val {
    const shape = this.shape
    if (shape.isDictionary) {
      const hash = this.hash
      if (hash === undefined) return undefined
      const at = hash.map.get(key)
      return at === undefined ? undefined : hash.values[at]
    }
    const slot = shape.index.get(key)
    return slot === undefined ? undefined : this.slots[slot]
  }

  getNum(key: number): Val {
    if (key > 0) {
      const arr = this.arr
      if (key < arr.length && Math.floor(key) === key) return arr[key]
      const cold = this.cold
      if (cold !== undefined && key < cold.length && Math.floor(key) === key) return cold[key]
    }
    const hash = this.hash
    if (hash === undefined) return undefined
    const at = hash.map.get(hashNumber(key))
    return at === undefined ? undefined : hash.values[at]
  }

  /** Raw. The key is neither nil nor NaN; see `badKey`. The table is not frozen. */
  set(key: Val, value: Val): void {
    if (typeof key === 'string') return this.setStr(key, value, false)
    if (typeof key === 'number') return this.setNum(key, value)
    if (typeof key === 'object' && key instanceof Float) return this.setNum(key.value, value)
    this.#setHash(key, value)
  }

  /** @param mayCreate whether the key is a name in a source, or otherwise one of few */
  setStr(key: string, value: Val, mayCreate: boolean): void {
    const shape = this.shape
    if (shape.isDictionary) {
      if (shape.watched?.has(key) === true) epoch.value++
      return this.#setHash(key, value)
    }
    const slot = shape.index.get(key)
    if (slot !== undefined) {
      if (shape.watched?.has(key) === true) epoch.value++
      this.slots[slot] = value
      return
    }
    if (value === undefined) return
    if (shape.watched !== undefined) {
      if (shape.watched.has(key)) epoch.value++
      if (shape.keys.length > FIELDS_MAX) return this.#becomeDictionary(key, value)
      shape.index.set(key, shape.keys.length)
      shape.keys.push(key)
      return this.addSlot(value)
    }
    const next = shape.next(key, mayCreate)
    if (next === undefined) return this.#becomeDictionary(key, value)
    this.addSlot(value)
    this.shape = next
  }

  /** As `setStr`, of a key that no source names. */
  setData(key: string, value: Val): void {
    this.setStr(key, value, value !== undefined && this.shape.mayLearn(key))
  }

  addSlot(value: Val): void {
    const { slots } = this
    // V8 gives an array that grows room for 16 more; most records have few fields, and each message is one or two of them.
    switch (slots.length) {
      case 1:
        this.slots = [undefined, value]
        break
      case 2:
        this.slots = [undefined, slots[1], value]
        break
      case 3:
        this.slots = [undefined, slots[1], slots[2], value]
        break
      case 4:
        this.slots = [undefined, slots[1], slots[2], slots[3], value]
        break
      default:
        slots.push(value)
    }
  }

  #becomeDictionary(key: string, value: Val): void {
    const { shape, slots } = this
    const { keys, watched } = shape
    this.slots = NO_VALUES
    if (watched === undefined) this.shape = DICTIONARY
    else {
      this.shape = new Shape([''], new Map(), false)
      this.shape.isDictionary = true
      this.shape.watched = watched
    }
    for (let i = 1; i < keys.length; i++) if (slots[i] !== undefined) this.#setHash(keys[i], slots[i])
    this.#setHash(key, value)
  }

  /** Makes the table one whose changes of `key` are noticed by cached lookups. */
  watch(key: string): void {
    const { shape } = this
    if (shape.watched !== undefined) {
      shape.watched.add(key)
      return
    }
    this.shape = new Shape([...shape.keys], new Map(shape.index), false)
    this.shape.isDictionary = shape.isDictionary
    this.shape.watched = new Set([key])
  }

  setNum(key: number, value: Val): void {
    const arr = this.arr
    const { length } = arr
    if (key > 0 && Math.floor(key) === key) {
      if (key < length) {
        arr[key] = value
        if (value === undefined && key === length - 1) this.#shorten(arr)
        return
      }
      if (key === length) {
        if (value !== undefined) this.append(value)
        else if (this.hash !== undefined) this.#setHash(key, value)
        return
      }
    }
    const before = this.hash?.keys.length
    this.#setHash(hashNumber(key), value)
    const { hash } = this
    if (hash !== undefined && hash.keys.length !== before && isGatheringDue(hash.keys.length)) this.#gather(hash)
  }

  /** Of keys 1 to n, a power of two, more than half have values: they become the list, however they came (a list that is filled from 2, or from its end). */
  #gather(hash: Hash): void {
    const { length } = this.arr
    // By the number of bits of the key below it: keys up to 2, to 4, to 8 …
    const counts = new Int32Array(GATHERED_BITS + 1)
    for (let i = 1; i < hash.keys.length; i++) {
      const key = hash.keys[i]
      if (isListKey(key) && hash.values[i] !== undefined) (counts[bits(key - 1)] as number)++
    }
    let end = 0
    let total = length - 1
    for (let b = 0; b <= GATHERED_BITS; b++) {
      total += counts[b] as number
      if (total * 2 > 2 ** b && (counts[b] as number) > 0) end = 2 ** b
    }
    if (end < length) return
    const arr = this.arr === NO_VALUES ? [undefined as Val] : this.arr
    for (let i = 1; i < hash.keys.length; i++) {
      const key = hash.keys[i]
      const value = hash.values[i]
      if (!isListKey(key) || key > end || value === undefined) continue
      while (arr.length <= key) arr.push(undefined)
      arr[key] = value
      hash.values[i] = undefined
      hash.live--
    }
    this.arr = arr
    if (hash.live === 0) this.hash = undefined
    else this.#migrate(arr, this.#compact(hash))
  }

  /** Keys that were in the list stay known to `position`: what is traversed may be emptied. Slot 0 says how far it went. */
  #shorten(arr: Val[]): void {
    if (((arr[0] as number | undefined) ?? 0) < arr.length) arr[0] = arr.length
    arr.pop()
    while (arr.length > 1 && arr[arr.length - 1] === undefined) arr.pop()
  }

  /** The value of the key that follows the list. */
  append(value: Val): void {
    let arr = this.arr
    const { length } = arr
    const { hash } = this
    if (hash !== undefined && hash.live > 0) {
      // A list that moved to the hash as a whole stays there, or a traversal would meet its keys twice.
      const at = hash.map.get(length)
      if (at !== undefined && hash.values[at] !== undefined) {
        hash.values[at] = value
        return
      }
    }
    if (arr === NO_VALUES) {
      this.arr = arr = [undefined, value]
    } else {
      if (length >= DOUBLED_MIN && (length & (length - 1)) === 0) {
        if (this.#isSparse()) {
          this.#setHash(length, value)
          return
        }
        if (length <= DOUBLED_MAX) {
          // V8 would add a half each time. It keeps the room when the length goes back.
          arr.length = length * 2
          arr.length = length
        }
      }
      arr.push(value)
    }
    if (hash !== undefined) {
      // A removed key of the hash: what is in the list is found there alone.
      hash.forget(length)
      if (hash.live > 0) this.#migrate(arr, hash)
    }
  }

  /** A list whose first half was taken away, as queues do, moves to the hash. */
  #isSparse(): boolean {
    const { arr } = this
    let live = 0
    for (let i = arr.length - 1; i > 0; i--) if (arr[i] !== undefined && ++live * 2 > arr.length) return false
    this.arr = NO_VALUES
    for (let i = 1; i < arr.length; i++) if (arr[i] !== undefined) this.#setHash(i, arr[i])
    return true
  }

  /** Keys that now continue the list. */
  #migrate(arr: Val[], hash: Hash): void {
    for (;;) {
      const at = hash.map.get(arr.length)
      if (at === undefined) return
      const value = hash.values[at]
      if (value === undefined) return
      hash.values[at] = undefined
      hash.live--
      hash.forget(arr.length)
      arr.push(value)
    }
  }

  #setHash(key: Val, value: Val): void {
    let { hash } = this
    if (hash === undefined) {
      if (value === undefined) return
      this.hash = hash = new Hash()
    }
    const at = hash.map.get(key)
    if (at !== undefined) {
      const before = hash.values[at]
      hash.values[at] = value
      if (before === undefined) {
        if (value !== undefined) hash.live++
      } else if (value === undefined) hash.live--
      return
    }
    if (value === undefined) return
    const { length } = hash.keys
    if (length > 16 && hash.live * 2 < length) hash = this.#compact(hash)
    hash.map.set(key, hash.keys.length)
    hash.keys.push(key)
    hash.values.push(value)
    hash.live++
  }

  #compact(old: Hash): Hash {
    const hash = new Hash()
    for (let i = 1; i < old.keys.length; i++) {
      const value = old.values[i]
      if (value === undefined) continue
      hash.map.set(old.keys[i], hash.keys.length)
      hash.keys.push(old.keys[i])
      hash.values.push(value)
    }
    hash.live = hash.keys.length - 1
    this.hash = hash
    return hash
  }

  // ---- everything in it, for a copy that goes on being traversed as it would

  /** In the order of traversal, with the keys whose values are gone: somebody may stand at one of them. */
  parts(): TableParts {
    const { shape, slots, hash } = this
    const isKnown = (_value: Val, i: number): boolean => i === 0 || hash?.keys[i] !== undefined
    return {
      list: this.cold ?? this.arr,
      isDictionary: shape.isDictionary,
      names: shape.keys,
      fields: slots,
      keys: hash?.keys.filter(isKnown) ?? NO_VALUES,
      values: hash?.values.filter(isKnown) ?? NO_VALUES,
    }
  }

  /**
   * Puts into an empty table what `parts` gave; each list begins with a value that does not count.
   * @param mayCreate as for `setStr`   @returns false when no table has such parts
   */
  refill(parts: TableParts, mayCreate: (key: string) => boolean): boolean {
    const { list, isDictionary, names, fields, keys, values } = parts
    if (list.length > 1) {
      if (list[list.length - 1] === undefined) return false
      this.arr = list
    } else this.arr = [undefined]
    // Somebody may stand at a key that the list has lost, however long it was.
    this.arr[0] = Number.POSITIVE_INFINITY
    if (isDictionary) {
      if (names.length > 1) return false
      this.shape = DICTIONARY
    }
    for (let i = 1; i < names.length; i++) if (!this.#adoptField(names[i] as string, fields[i], mayCreate)) return false
    for (let i = 1; i < keys.length; i++) {
      const key = keys[i]
      const isKey = typeof key === 'string' ? isDictionary : key !== undefined && !Number.isNaN(key)
      if (!isKey || (typeof key === 'object' && key instanceof Float)) return false
      if (!this.#adopt(key, values[i])) return false
    }
    return true
  }

  #adoptField(name: string, value: Val, mayCreate: (key: string) => boolean): boolean {
    const { shape } = this
    if (shape.isDictionary) return this.#adopt(name, value)
    if (shape.index.has(name)) return false
    const next = shape.next(name, mayCreate(name))
    if (next === undefined) {
      const { keys } = shape
      const { slots } = this
      this.slots = NO_VALUES
      this.shape = DICTIONARY
      for (let i = 1; i < keys.length; i++) this.#adopt(keys[i], slots[i])
      return this.#adopt(name, value)
    }
    this.addSlot(value)
    this.shape = next
    return true
  }

  /** A pair into the hash, with or without a value, unless the key is there. */
  #adopt(key: Val, value: Val): boolean {
    this.hash ??= new Hash()
    const { hash } = this
    if (hash.map.has(key)) return false
    hash.map.set(key, hash.keys.length)
    hash.keys.push(key)
    hash.values.push(value)
    if (value !== undefined) hash.live++
    return true
  }

  /** A border. */
  length(): number {
    const list = this.cold ?? this.arr
    const length = list.length - 1
    if (length > 0 || this.hash === undefined || this.hash.live === 0) return length
    return this.#hashBorder(this.hash)
  }

  /** The list is empty, but one may stand in the hash. */
  #hashBorder(hash: Hash): number {
    const has = (key: number): boolean => {
      const at = hash.map.get(key)
      return at !== undefined && hash.values[at] !== undefined
    }
    if (!has(1)) return 0
    let low = 1
    let high = 2
    while (has(high)) {
      low = high
      high *= 2
      if (high > Number.MAX_SAFE_INTEGER) return low
    }
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2)
      if (has(middle)) low = middle
      else high = middle
    }
    return low
  }

  /** The position behind that of the key in the order of traversal; -1 for a key that the table does not know. */
  position(key: Val): number {
    if (key === undefined) return 1
    const list = this.cold ?? this.arr
    const listLength = list.length
    const fieldCount = this.shape.keys.length
    // A float that is whole is no key; the reference does not take it for the integer here.
    if (typeof key === 'object' && key instanceof Float) return -1
    if (typeof key === 'number' && key > 0 && Math.floor(key) === key) {
      if (key < listLength) return key + 1
      if (this.hash?.map.has(hashNumber(key)) !== true)
        return key < ((list[0] as number | undefined) ?? 0) ? listLength : -1
    }
    if (typeof key === 'string' && !this.shape.isDictionary) {
      const slot = this.shape.index.get(key)
      return slot === undefined ? -1 : listLength + slot
    }
    const at = this.hash?.map.get(typeof key === 'number' ? hashNumber(key) : key)
    return at === undefined ? -1 : listLength + fieldCount - 1 + at
  }

  /** The first position at or behind `from` that holds a value; 0 at the end. Positions change when keys are added. */
  nextPosition(from: number): number {
    const list = this.cold ?? this.arr
    const listLength = list.length
    let at = from
    for (; at < listLength; at++) if (list[at] !== undefined) return at
    const { slots, hash } = this
    const fieldCount = this.shape.keys.length
    const fieldsEnd = listLength + fieldCount - 1
    for (; at < fieldsEnd; at++) if (slots[at - listLength + 1] !== undefined) return at
    if (hash === undefined) return 0
    const { values } = hash
    for (let i = at - fieldsEnd + 1; i < values.length; i++) if (values[i] !== undefined) return fieldsEnd + i - 1
    return 0
  }

  keyAt(position: number): Val {
    const listLength = (this.cold ?? this.arr).length
    if (position < listLength) return position
    const fieldsEnd = listLength + this.shape.keys.length - 1
    if (position < fieldsEnd) return this.shape.keys[position - listLength + 1]
    return (this.hash as Hash).keys[position - fieldsEnd + 1]
  }

  valueAt(position: number): Val {
    const list = this.cold ?? this.arr
    if (position < list.length) return list[position]
    const fieldsEnd = list.length + this.shape.keys.length - 1
    if (position < fieldsEnd) return this.slots[position - list.length + 1]
    return (this.hash as Hash).values[position - fieldsEnd + 1]
  }

  each(visit: (key: Val, value: Val) => void): void {
    for (let at = this.nextPosition(1); at !== 0; at = this.nextPosition(at + 1))
      visit(this.keyAt(at), this.valueAt(at))
  }

  /** @param name what error texts call it */
  freeze(name: string): void {
    if (this.frozen !== undefined) return
    this.frozen = name
    this.cold = this.arr
    this.arr = NO_VALUES
    // A shape of its own: cached writes of other tables never fit it.
    if (this.shape.watched === undefined) {
      const { keys, index, isDictionary } = this.shape
      this.shape = new Shape([...keys], new Map(index), false)
      this.shape.isDictionary = isDictionary
      this.shape.watched = new Set()
    }
  }

  /** Bytes that it holds itself, roughly: as V8 lays out objects and arrays, of which those that grew by one value have places to spare. */
  size(): number {
    const { hash, slots } = this
    const list = this.cold ?? this.arr
    let bytes = TABLE_BYTES
    if (list !== NO_VALUES) bytes += ARRAY_BYTES + list.length * 8
    if (slots !== NO_VALUES)
      bytes += ARRAY_BYTES + (slots.length <= FEW_SLOTS ? slots.length : Math.max(slots.length, 17)) * 8
    if (hash !== undefined) bytes += 200 + hash.keys.length * 64
    return bytes
  }
}

/** Of a table without anything in it. */
const TABLE_BYTES = 96
const ARRAY_BYTES = 48

/** A whole number as a key of the hash: those that plain numbers do not hold as integers are bigints. */
function hashNumber(key: number): Val {
  if (Number.isSafeInteger(key)) return key === 0 ? 0 : key
  return Number.isInteger(key) && key >= -(2 ** 63) && key < 2 ** 63 ? BigInt(key) : key
}
