// The seam between Moonmesh and a Lua engine. Library modules and the process runtime know an engine only through this file: values,
// tables, functions, "suspend until", raise, budget. An engine (fengari*.ts) implements `Engine` and nothing here knows which.

import type { ChunkTypes } from '../base/type-node.ts'
import { ErrorValue, type Float, type Value, valueBytes } from '../base/value.ts'

declare const brand: unique symbol
/** A table of the engine, by identity. */
export type LuaTable = { readonly [brand]: 'table' }
/** A function of the engine, by identity. */
export type LuaFunction = { readonly [brand]: 'function' }
/** A coroutine of the engine, by identity. */
export type LuaThread = { readonly [brand]: 'thread' }
/** A compiled chunk; immutable, shared by every process that runs it. */
export type LuaCode = { readonly [brand]: 'code' }

/** A value of the engine that has no other form on our side. */
type LuaHandle = LuaTable | LuaFunction | LuaThread

/**
 * A script value on our side. Scalars have the forms of `Value` (base/value.ts): strings are byte strings, a number that is a safe
 * integer is a Lua integer. An integer that the engine cannot hold arrives in the script as a float, never wrapped.
 */
export type LuaValue =
  | undefined
  | boolean
  | number
  | bigint
  | string
  | Float
  | LuaTable
  | LuaFunction
  | LuaThread
  | HostObject

export type LuaType = 'nil' | 'boolean' | 'number' | 'string' | 'table' | 'function' | 'thread' | 'userdata'

/** Most are small, with a table or two behind them. */
export const HOST_OBJECT_BYTES = 200
const NO_VALUES: readonly LuaValue[] = []

/** An object of ours that scripts hold as userdata. One object is one userdata: `==` in a script is identity here. */
export abstract class HostObject {
  /** The engine's own wrapper; belongs to the engine alone. */
  box: unknown = undefined
  /** The name of the HostClass whose methods the script sees. */
  abstract get className(): string
  /** What the object becomes when it leaves its process (lua-core.md §7.4); nil unless a class says otherwise. */
  leave(): Value {
    return undefined
  }
  /** What `tostring` shows, a byte string, where the object itself is a value; undefined for a handle on something. */
  text(): string | undefined {
    return undefined
  }
  /** The engine's mark of what it has counted; belongs to the engine alone. */
  seenIn = 0
  /** What counts as asked for when the script gets it; known at once. */
  askedBytes(): number {
    return HOST_OBJECT_BYTES
  }
  /** What it takes, roughly, without the values of the script in it. */
  heldBytes(): number {
    return HOST_OBJECT_BYTES
  }
  /** Values of the script that it holds. */
  heldValues(): readonly LuaValue[] {
    return NO_VALUES
  }
}

/** An error object as a script holds it. */
export class ErrorObject extends HostObject {
  readonly error: ErrorValue
  constructor(error: ErrorValue) {
    super()
    this.error = error
  }
  override get className(): string {
    return 'Error'
  }
  override heldBytes(): number {
    return HOST_OBJECT_BYTES + valueBytes(this.error)
  }
  /** An error without a kind is `Internal` once it has left its process (lua-core.md §12.3). */
  override leave(): Value {
    const { kind, message, retryable, details, stack } = this.error
    return kind === '' ? new ErrorValue('Internal', message, retryable, details, stack) : this.error
  }
}

/** The methods and metamethods of a kind of HostObject. `self` is argument 1. */
export interface HostClass {
  readonly name: string
  readonly methods: Readonly<Record<string, HostFunction>>
  /** Keys without the underscores, e.g. `tostring`, `concat`, `len`, `eq`, `lt`, `call`. `index` replaces the lookup of methods. */
  readonly metamethods?: Readonly<Record<string, HostFunction>>
  /** How its objects are saved with their process; a text says why they cannot be: `an open file`. */
  readonly saving?: ObjectSaving | string
}

// ---- saving a process

/** What something is made of: data that belongs to nobody, and values of the script. */
export interface Parts {
  readonly data: readonly Value[]
  readonly values: readonly LuaValue[]
}

/** Why something cannot be saved. `isBusy`: not now, but perhaps a little later. */
export class CannotSave {
  readonly why: string
  readonly isBusy: boolean
  constructor(why: string, isBusy = false) {
    this.why = why
    this.isBusy = isBusy
  }
}

/** How objects of a class are written down with their process, and made again elsewhere. */
export interface ObjectSaving<T extends HostObject = HostObject> {
  save(object: T, owner: unknown): Parts | CannotSave
  /** Data from a document may be anything. The values follow with `fill`. @throws MoonmeshError `Invalid` */
  restore(data: readonly Value[], owner: unknown): T
  /** When all objects are there; what the process itself listens to is, too. @throws MoonmeshError `Invalid` */
  fill?(object: T, values: readonly LuaValue[], owner: unknown): void
}

/** The code of one entry, as a document names it: `hash` is that of its source. */
interface NamedCode {
  readonly name: string
  readonly hash: string
  readonly code: LuaCode
}

/** Names of shared tables of globals begin so. */
export const GLOBALS_PREFIX = 'globals '

/** What a document names instead of containing it. */
export interface SharedThings {
  /** Whatever functions of the process may be made from. */
  readonly codes: readonly NamedCode[]
  /** Of something that all processes of an engine share; undefined: it belongs to one. */
  nameOf(value: LuaValue): string | undefined
  /** Undefined: there is nothing of that name here. */
  find(name: string): LuaValue
}

export interface Restored extends Parts {
  /** Completes the objects; until then those of the host are without the script's values. @throws MoonmeshError `Invalid` */
  fill(): void
}

/** Writing down what a suspended process reaches. */
export interface EngineSaving {
  /**
   * @param root what the process is made of, and how error texts call each of its values
   * @throws MoonmeshError `Invalid`, with the path to what cannot be saved; `Unavailable` when that may change by itself; `LimitExceeded`
   */
  capture(
    root: Parts & { names: readonly string[] },
    shared: SharedThings,
    owner: unknown,
    bytesMax: number,
  ): Uint8Array
  /** @throws MoonmeshError `Invalid` for damaged bytes, `Conflict` when code or library differ here, `LimitExceeded` */
  restore(bytes: Uint8Array, shared: SharedThings, owner: unknown): Restored
}

/** What a module offers: functions, constants (plain values) and nested tables of these. The script sees it read-only. */
export interface ModuleTable {
  readonly [name: string]: HostFunction | boolean | number | string | Float | ModuleTable | HostObject | LuaHandle
}

/** A function of ours, called by a script. It may not be re-entered by what it calls, except through `Call.tostring`. */
export type HostFunction = (call: Call) => Returns

/** Returned by a HostFunction whose caller must wait; the results come later, through `Engine.run`. */
export const SUSPEND: unique symbol = Symbol('suspend')

/** Nothing: no values. An array: that many values. Anything else: one value. */
// biome-ignore lint/suspicious/noConfusingVoidType: a function without a return statement returns no values
export type Returns = void | LuaValue | readonly LuaValue[] | typeof SUSPEND

/** One call of a HostFunction. Valid only until the function returns. */
export interface Call {
  readonly engine: Engine
  /** What `Engine.run` was given: the process that runs. */
  readonly owner: unknown
  /** How many arguments there are, trailing nils included. */
  readonly count: number
  /** The 1-based argument, nil beyond the last. */
  arg(index: number): LuaValue
  /** All arguments from this index on. */
  args(from: number): LuaValue[]
  type(index: number): LuaType | 'none'
  /** The argument as `tostring` shows it, with metamethods; those may not suspend. */
  tostring(index: number): string
  /** `entry-id:line` of the calling Lua code, or an empty string. */
  where(): string
  /** Whether SUSPEND would work here; it does not inside metamethods, sort comparators and gsub callbacks on some engines. */
  readonly canSuspend: boolean
}

/** Thrown by a HostFunction: the script sees `value` raised. */
export class Raise {
  readonly value: LuaValue
  /** Prefix a string with the position of the caller, as `error(text)` does. */
  readonly withPosition: boolean
  constructor(value: LuaValue, withPosition = typeof value === 'string') {
    this.value = value
    this.withPosition = withPosition
  }
}

/** Source that does not compile. `line` is 1-based; `text` is the engine's message without the position. */
export class LuaSyntaxError extends Error {
  override readonly name = 'LuaSyntaxError'
  readonly chunkName: string
  readonly line: number
  readonly text: string
  constructor(chunkName: string, line: number, text: string) {
    super(`${chunkName}:${line}: ${text}`)
    this.chunkName = chunkName
    this.line = line
    this.text = text
  }
}

/**
 * How a turn of a thread ended.
 * - `done`: the function returned; `results` are its values.
 * - `error`: it raised; `results[0]` is the error value, `traceback` its Lua stack. The thread is dead.
 * - `suspended`: a HostFunction returned SUSPEND; the next `run` supplies what that call returns.
 * - `yielded`: coroutine.yield outside of any coroutine of the script's own: it gave up its turn.
 * - `preempted`: the instruction budget is used up; the next `run` goes on as if nothing had happened.
 */
export type RunStatus = 'done' | 'error' | 'suspended' | 'yielded' | 'preempted'

/** What `run` hands to a thread: the arguments of its function at the first turn, the results of the suspended call later. */
export type RunInput = { values: readonly LuaValue[] } | { raise: LuaValue }

/** What the values of a process take. */
export interface MemoryCount {
  /** An estimate. */
  readonly bytes: number
  /** How much work counting was. */
  readonly steps: number
  /** Everything was counted; else `bytes` is the least that it takes. */
  readonly isWhole: boolean
}

export interface Engine {
  readonly name: string
  /** Integers that do not fit this many bits arrive as floats. */
  readonly integerBits: 32 | 64

  /** Absent: processes of this engine cannot be saved. */
  readonly saving?: EngineSaving

  // ---- code
  /**
   * Compiles a chunk; annotations in it have no effect but the declared types that it uses as values.
   * @param chunkName, source byte strings   @throws LuaSyntaxError
   */
  compile(chunkName: string, source: string): LuaCode
  /** The declared types that the code expects under a global; undefined when it uses none. */
  typesOf(code: LuaCode): ChunkTypes | undefined
  /** The chunk as a function whose globals are `environment`. */
  load(code: LuaCode, environment: LuaTable): LuaFunction

  // ---- what scripts see
  /** Makes the class known; objects of it may be handed to scripts from then on. */
  defineClass(definition: HostClass): void
  /** A read-only table of a module. @param call what calling the table does; the table is argument 1 */
  moduleTable(name: string, module: ModuleTable, call?: HostFunction): LuaTable
  /** The engine's own standard library, in the restricted form: global functions, and libraries by name. */
  readonly standardLibrary: { readonly globals: ModuleTable; readonly libraries: Readonly<Record<string, ModuleTable>> }
  /** What `s:method()` finds on strings. */
  setStringMethods(library: LuaTable): void
  /** A function of ours as a value. */
  function(name: string, fn: HostFunction): LuaFunction
  /** A fresh, writable table of globals over a shared read-only `base`; `_G` is itself. */
  newEnvironment(base: LuaTable): LuaTable

  // ---- values
  typeOf(value: LuaValue): LuaType
  newTable(): LuaTable
  /** Raw access. */
  get(table: LuaTable, key: LuaValue): LuaValue
  set(table: LuaTable, key: LuaValue, value: LuaValue): void
  /** What `value[key]` finds without running code: through `__index` tables, or among the methods of a class. */
  lookup(value: LuaTable | HostObject, key: string): LuaValue
  /** A border of the table, as `#` without metamethods. */
  length(table: LuaTable): number
  each(table: LuaTable, visit: (key: LuaValue, value: LuaValue) => void): void
  /** Makes the table refuse further writes, also raw ones; reading it, its metamethods and `#` stay what they are. */
  freeze(table: LuaTable): void
  isFrozen(table: LuaTable): boolean
  /** A copy that belongs to nobody (lua-core.md §7.4), of tables of any shape and depth. */
  copyOut(value: LuaValue): Value
  copyIn(value: Value): LuaValue

  // ---- running
  /** @param isMain what coroutine.running tells about it: the first coroutine of a process */
  newThread(fn: LuaFunction, isMain?: boolean): LuaThread
  /**
   * What the process of the thread may hold, in bytes, where that is less than what the engine gives each. For the first thread of a process.
   * Absent: the engine cannot tell what a process holds.
   */
  limitMemory?(thread: LuaThread, bytes: number): void
  /**
   * Runs the thread for at most about `budget` VM instructions. After it `results` and `traceback` hold what the status says.
   * @param owner what `Call.owner` is for every HostFunction called meanwhile
   */
  run(thread: LuaThread, owner: unknown, budget: number, input: RunInput): RunStatus
  readonly results: readonly LuaValue[]
  readonly traceback: string
  /**
   * What the process of the thread holds. Not during a turn. Absent: the engine cannot tell.
   * @param stepsMax where counting ends, objects roughly
   */
  memoryOf?(thread: LuaThread, stepsMax: number): MemoryCount
  /** VM instructions that the last `run` used of its last budget, to the grain of the engine. */
  readonly usedBudget: number
  /**
   * Asked when a thread that could be preempted has used its budget: how much it has for going on at once, as if it had been preempted and
   * run again; 0 preempts it. An engine may preempt it without asking.
   */
  moreBudget?: ((owner: unknown, used: number) => number) | undefined
  /** Releases everything. The engine is not used afterwards. */
  close(): void
}
