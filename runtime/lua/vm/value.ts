// What the machine computes with. A value has the form that it has at the seam (engine.ts), so nothing is converted there:
//
// - a `number` that is a safe integer is a Lua integer; any other number is a Lua float
// - a `Float` is a float whose value is a safe integer, or -0; a `bigint` an integer outside the safe range
// - a string is a byte string
//
// Each value has one form: a plain -0, a Float of 2.5, a bigint of 3 do not occur.

import type { Float } from '../../base/value.ts'
import { HostObject } from '../engine.ts'
import type { Machine } from './machine.ts'
import type { Account } from './memory.ts'
import type { Proto } from './proto.ts'
import { Table } from './table.ts'

export type Val =
  | undefined
  | boolean
  | number
  | bigint
  | string
  | Float
  | Table
  | Closure
  | Native
  | Coroutine
  | HostObject

/** A variable that a closure holds too. */
export class Box {
  v: Val
  /** The count of memory that met it last. */
  seenIn = 0
  constructor(v: Val) {
    this.v = v
  }
}

/** A Lua function. */
export class Closure {
  readonly proto: Proto
  readonly up: Box[]
  /** The count of memory that met it last. */
  seenIn = 0
  constructor(proto: Proto, up: Box[]) {
    this.proto = proto
    this.up = up
  }
}

/**
 * A function of ours: called with the function itself at `S[at]` and `count` arguments behind it. It leaves its results from `S[at]` on and
 * returns how many; or one of the answers below zero. Slots up to the fourth argument are nil where no argument was given.
 */
export type NativeCode = (machine: Machine, S: Val[], at: number, count: number) => number

/** The machine goes on with what is now on top of its frames; results come later. */
export const CALLING = -1
/** The thread waits for `Engine.run`. */
export const SUSPENDING = -2

/** What a native function is to coroutines: nothing special. */
export const PLAIN = 0
/** It is `coroutine.resume`. */
export const RESUMES = 1
/** It is what `coroutine.wrap` gives. */
export const WRAPS = 2
/** It is `coroutine.yield`. */
export const YIELDS = 3

export class Native {
  readonly name: string
  /** With the library it belongs to. */
  readonly qualifiedName: string
  readonly code: NativeCode
  /** What lives as long as the function. */
  held: Val = undefined
  role = PLAIN
  /** The count of memory that met it last. */
  seenIn = 0
  constructor(qualifiedName: string, code: NativeCode) {
    this.qualifiedName = qualifiedName
    this.name = qualifiedName.slice(qualifiedName.lastIndexOf('.') + 1)
    this.code = code
  }
}

/** What a frame is: a Lua function's. Documents of saved processes tell the kinds by these numbers; 2 and 3 are not used. */
export const LUA = 0
/** Somebody in JavaScript waits for the results; it cannot be suspended. */
export const BARRIER = 1
export const PCALL = 4
export const XPCALL = 5
/** The handler of an xpcall that has failed. */
export const HANDLER = 6
/** A native that goes on with what its callee returns. */
export const NATIVE = 7

/** One call. Frames are used again by later calls of the same depth. */
export class Frame {
  kind = LUA
  fn: Closure | undefined = undefined
  /** The instruction that is executed next. */
  pc = 0
  /** Where its registers begin; of other kinds: where its results go. */
  base = 0
  varargs: Val[] = NO_ARGS
  /** Rounds of loops since it began, or came back from JavaScript. Of HANDLER: how often it was called. */
  heat = 0
  /** Of XPCALL: the handler. Of NATIVE: what the continuation is given. */
  extra: Val = undefined
  /** Of NATIVE: what goes on. */
  goOn: Continuation | undefined = undefined
}

/** What a native function does with the results of what it called; `extra` is the frame's. */
export type Continuation = (machine: Machine, S: Val[], at: number, count: number, extra: Val) => number

/** For V8 a list of the kind that registers are. */
export const NO_ARGS: Val[] = [undefined].slice(1)
/** Registers of a coroutine at least, and the most that are given to a new one. */
const SLOTS_MIN = 4
const SLOTS_AT_ONCE = 64
/** A copy of a part of it takes no more room than it has values; an array that grows takes half as much again, and 16. */
const NO_SLOTS: Val[] = []
for (let i = 0; i < SLOTS_AT_ONCE; i++) NO_SLOTS.push(undefined)
/** Below the first call of every coroutine. */
const BOTTOM = new Frame()

type CoroutineStatus = 'suspended' | 'running' | 'normal' | 'dead'

export class Coroutine {
  readonly S: Val[]
  readonly frames: Frame[]
  /** Index of the current frame; 0 is none. */
  depth = 0
  /** One behind the last of several values. */
  top = 0
  status: CoroutineStatus = 'suspended'
  /** Who resumed it. */
  resumer: Coroutine | undefined = undefined
  /** Errors in it are errors of whoever resumed it, results come without `true`. */
  isWrapped = false
  /** How many coroutines wait for it, directly or not. */
  nesting = 0
  /** Calls of pcall and xpcall among its frames. */
  protections = 0
  /** Barriers among its frames. */
  barriers = 0
  /** The count of memory that met it last. */
  seenIn = 0
  /** Set for threads that the scheduler runs. */
  isRoot = false
  isMain = false
  /** @param slots registers that it will need at first */
  constructor(slots = SLOTS_MIN) {
    this.S = NO_SLOTS.slice(0, Math.max(SLOTS_MIN, slots))
    this.frames = [BOTTOM, new Frame()]
  }
}

/** A thread of the scheduler. */
export class Root extends Coroutine {
  /** The coroutine that goes on when the thread runs again: it, or one that it resumed. */
  active: Coroutine = this
  isStarted = false
  waitsFor: 'suspended' | 'yielded' | 'preempted' = 'suspended'
  /** Where what it asks for is counted, together with the other threads of its process; from its first turn on. */
  account: Account | undefined = undefined
}

/** Thrown for an error that a script may catch. */
export class LuaError {
  readonly value: Val
  /** Not to be caught by the script. */
  readonly isFinal: boolean
  constructor(value: Val, isFinal = false) {
    this.value = value
    this.isFinal = isFinal
  }
}

export function typeName(
  value: Val,
): 'nil' | 'boolean' | 'number' | 'string' | 'table' | 'function' | 'thread' | 'userdata' {
  switch (typeof value) {
    case 'undefined':
      return 'nil'
    case 'boolean':
    case 'number':
    case 'string':
      return typeof value as 'boolean' | 'number' | 'string'
    case 'bigint':
      return 'number'
    default:
      if (value instanceof Table) return 'table'
      if (value instanceof Closure || value instanceof Native) return 'function'
      if (value instanceof Coroutine) return 'thread'
      return value instanceof HostObject ? 'userdata' : 'number'
  }
}
