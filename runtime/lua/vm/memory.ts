// How much memory a process holds. JavaScript does not say, so what is asked for is added up, and when that is as much again as was held at
// the last look, everything that the process reaches is counted. The cost is that of a collection of garbage, and comes as often.

import { getHeapStatistics } from 'node:v8'
import { Float } from '../../base/value.ts'
import { HostObject } from '../engine.ts'
import { LONG_STRING_MIN, LongStrings } from './long-strings.ts'
import { Table } from './table.ts'
import { Box, Closure, Coroutine, Native, type Val } from './value.ts'

/** A process that has asked for less is not looked at. */
const FIRST_LOOK_BYTES = 64 * 1024 * 1024
/** Shorter strings are not told apart: each place that has one counts so much. */
const STRING_MIN = 64
const SHORT_STRING_BYTES = 40
/** A number that is no small integer is an object of its own. */
const NUMBER_BYTES = 16
const LARGE_NUMBER_BYTES = 32
/** The least that an object takes: counted when it is met, the rest when it is gone through. */
const OBJECT_BYTES = 24
/** What is asked for is counted at its least. */
const ASKED_FACTOR = 2
const VALUE_BYTES = 8
/** So much of a table, or of a string, is as much work to count as a small object. */
const TABLE_STEP_BYTES = 64
const STRING_STEP_BYTES = 256

/** Part of every limit that V8 tells, for what is young: nothing that lasts may count on it. */
const YOUNG_BYTES = 48 * 1024 * 1024

/** A quarter of what the thread has, so that no process alone can end it: garbage, lists that grow and counting need room as well. */
export const defaultLimit = (): number => {
  const { heap_size_limit: all } = getHeapStatistics()
  return Math.max(all - YOUNG_BYTES, all / 4) / 4
}

/** What one process has asked for, and which threads are its own. */
export class Account {
  /** Bytes. */
  limit: number
  /** It held more at the last look, and waited then. */
  isOver = false
  /** Most processes have one thread at a time. */
  #thread: Coroutine | undefined = undefined
  #others: Set<Coroutine> | undefined = undefined
  #sinceLook = 0
  #held = 0
  /** Undefined while it has none. */
  #longStrings: LongStrings | undefined = undefined

  constructor(limit: number) {
    this.limit = limit
  }

  add(thread: Coroutine): void {
    if (this.#thread === undefined) this.#thread = thread
    else {
      this.#others ??= new Set()
      this.#others.add(thread)
    }
  }

  remove(thread: Coroutine): void {
    if (this.#thread === thread) this.#thread = undefined
    else this.#others?.delete(thread)
  }

  get #threads(): Coroutine[] {
    const others = [...(this.#others ?? [])]
    return this.#thread === undefined ? others : [this.#thread, ...others]
  }

  /** Long strings that the process was given, or made. */
  addLong(strings: LongStrings): void {
    this.#longStrings ??= new LongStrings()
    this.#longStrings.take(strings)
  }

  /** @returns whether what the process holds is counted when it has asked for so many bytes more */
  isLookDue(bytes: number): boolean {
    const { limit } = this
    const room = Math.max(limit - this.#held, limit / 8)
    const asked = this.#sinceLook + bytes * ASKED_FACTOR
    return asked >= Math.min(Math.max(FIRST_LOOK_BYTES, this.#held), room, limit / 2)
  }

  /** @param bytes asked for in a turn that has ended   @returns whether the process holds more than it may */
  isOverdrawn(bytes: number): boolean {
    const isDue = this.isLookDue(bytes)
    this.#sinceLook += bytes * ASKED_FACTOR
    if (!isDue) return false
    const { limit } = this
    const held = heldBy(this.#threads, this.#longStrings, { bytesMax: limit })
    if (held.isWhole) this.#longStrings?.keep(held.longPlaces)
    this.#held = held.bytes
    this.#sinceLook = 0
    return this.#held >= limit
  }

  /** What the process holds now; when counting ended before that was known, at least what was counted, or the last look saw. */
  estimate(limits: Omit<CountLimits, 'bytesMax'>): Counted {
    const { bytes, steps, isWhole } = heldBy(this.#threads, this.#longStrings, { bytesMax: this.limit, ...limits })
    return { bytes: isWhole ? bytes : Math.max(bytes, this.#held), steps, isWhole }
  }
}

/** Where counting may end. */
interface CountLimits {
  readonly bytesMax: number
  /** How much work it may be: one for each object, and one for each few elements of a table. Default: any. */
  readonly stepsMax?: number
  /** Tables that belong to all processes of the engine are not counted. Default: none are known. */
  readonly isShared?: (table: Table) => boolean
}

interface Counted {
  readonly bytes: number
  readonly steps: number
  /** Nothing was left out. */
  readonly isWhole: boolean
}

/** A mark in the object itself: a `Set` of millions would need as much memory as what is counted. */
interface Marked {
  seenIn: number | undefined
}

let rounds = 0

interface Held extends Counted {
  /** In how many places long strings of each length are. */
  readonly longPlaces: ReadonlyMap<number, number>
}

/** The bytes of all that the threads reach, roughly. */
function heldBy(threads: Iterable<Coroutine>, long: LongStrings | undefined, limits: CountLimits): Held {
  const { bytesMax, stepsMax = Number.POSITIVE_INFINITY, isShared = () => false } = limits
  const round = ++rounds
  const strings = new Set<string>()
  const longPlaces = new Map<number, number>()
  const open: object[] = []
  let bytes = 0
  let steps = 0
  const visit = (value: Val): void => {
    if (bytes >= bytesMax) return
    if (typeof value === 'string') {
      if (value.length < STRING_MIN) {
        bytes += SHORT_STRING_BYTES
        return
      }
      if (value.length >= LONG_STRING_MIN) {
        const { length } = value
        const place = (longPlaces.get(length) ?? 0) + 1
        longPlaces.set(length, place)
        if (place <= (long?.countMax(length) ?? place)) bytes += length
        return
      }
      // To know whether a string was seen is to read it.
      steps += value.length / STRING_STEP_BYTES
      if (steps >= stepsMax || strings.has(value)) return
      strings.add(value)
      bytes += value.length
    } else if (typeof value === 'number') {
      if (!Number.isSafeInteger(value)) bytes += NUMBER_BYTES
    } else if (typeof value === 'bigint') bytes += LARGE_NUMBER_BYTES
    else if (value instanceof Float) bytes += LARGE_NUMBER_BYTES
    else if (typeof value === 'object') {
      const object = value as unknown as Marked
      // What has no mark is an object of ours, and not of the process.
      if (object.seenIn === undefined || object.seenIn === round) return
      object.seenIn = round
      // So that a list of more than there may be ends it before all of them are noted.
      bytes += OBJECT_BYTES
      open.push(object)
    }
  }
  for (const thread of threads) visit(thread)
  while (open.length > 0 && bytes < bytesMax && steps < stepsMax) {
    const object = open.pop()
    steps++
    if (object instanceof Table) {
      if (isShared(object)) continue
      const size = object.size()
      bytes += size - OBJECT_BYTES
      steps += size / TABLE_STEP_BYTES
      // A list of millions of elements is too long to be gone through here.
      if (steps >= stepsMax) break
      visit(object.meta)
      object.each((key, value) => {
        visit(key)
        visit(value)
      })
    } else if (object instanceof Closure) {
      bytes += 64 + object.up.length * VALUE_BYTES
      for (const box of object.up) visit(box as unknown as Val)
    } else if (object instanceof Box) {
      visit(object.v)
    } else if (object instanceof Coroutine) {
      bytes += 200 + object.S.length * VALUE_BYTES + object.frames.length * 100
      for (const value of object.S) visit(value)
      for (const { varargs } of object.frames) for (const value of varargs) visit(value)
      visit(object.resumer)
    } else if (object instanceof Native) visit(object.held)
    else if (object instanceof HostObject) {
      bytes += object.heldBytes() - OBJECT_BYTES
      for (const value of object.heldValues()) visit(value as Val)
    }
  }
  return { bytes, steps, isWhole: open.length === 0 && bytes < bytesMax && steps < stepsMax, longPlaces }
}
