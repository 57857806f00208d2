// What a node offers the scripts it runs, as types: the library modules (lua-stdlib/) are written against these and the engine seam,
// and know neither the scheduler nor the network behind them.

import type { Env } from './base/env.ts'
import type { MoonmeshError } from './base/errors.ts'
import type { ChunkTypes } from './base/type-node.ts'
import type { ErrorValue, TableValue, Value } from './base/value.ts'
import type {
  Engine,
  HostClass,
  HostFunction,
  HostObject,
  LuaFunction,
  LuaTable,
  LuaThread,
  LuaValue,
  ModuleTable,
  Parts,
} from './lua/engine.ts'
import type { Identity, Policies } from './security/core/policies.ts'

/** How a process ended. */
export type Outcome = { ok: true; value: Value } | { ok: false; error: ErrorValue }

/** One message, as it lies in a mailbox. `from` is '' when the runtime sent it. */
export interface Envelope {
  readonly topic: string
  readonly from: string
  readonly values: readonly Value[]
  /** Its place in the mailbox's order of arrival. */
  arrival?: number
}

/** A lifecycle event, before it becomes the table that a script reads (lua-core.md §8). `atMs` is wall-clock milliseconds. */
export type LifecycleEvent =
  | { kind: 'exit' | 'link-down'; from: string; outcome: Outcome; atMs: number }
  | { kind: 'cancel'; from: string; reason: string; atMs: number }
  | OutdatedEvent

/** The process runs code of entries that have changed. Until it is read, further changes add to `sources`. */
export interface OutdatedEvent {
  kind: 'outdated'
  sources: readonly string[]
  atMs: number
  isRead: boolean
}

/** A coroutine that the scheduler runs: the process's first, or one of coroutine.spawn. */
export interface Fiber {
  /** Lets the suspended call return these values. A call is resumed once; later attempts are ignored. */
  resume(values: readonly LuaValue[]): void
  /** Lets the suspended call raise `value`. */
  raise(value: LuaValue): void
}

/** Why a fiber waits. Fibers that wait for nothing (`never`) do not keep a process from being a deadlock (lua-core.md §6.3). */
export type WaitKind = 'channel' | 'timer' | 'operation' | 'never'

/** What a suspended call waits for: what a process that is saved has to say of it. */
export interface Waiting {
  save(): NamedParts
}

/** Parts, and which function of a library module makes the thing of them again. */
export interface NamedParts extends Parts {
  readonly name: string
}

export interface Timer {
  /** True when it had not fired and was not cancelled. */
  cancel(): boolean
}

export interface CallOptions {
  /** Merged over what the caller's context holds. */
  context?: TableValue
  /** In place of the caller's. */
  identity?: Identity
  timeoutMs?: number
}

/** Source text that a script gives to be run in a sandbox of its own (lua-libraries.md §16). Texts are byte strings. */
export interface Evaluation {
  readonly source: string
  /** '': the chunk itself is run, and its return value is the result. */
  readonly method: string
  readonly args: readonly Value[]
  readonly modules: readonly string[]
  /** Alias to the id of a library, and modules that this library may use beside its own. */
  readonly imports: Readonly<Record<string, { readonly id: string; readonly modules: readonly string[] }>>
  readonly context: TableValue
  /** Plain tables under these names, as if they were modules. */
  readonly customModules: Readonly<Record<string, TableValue>>
}

/** How a typed chunk ended. The values are the engine's. */
export type InputEnd = { ok: true; values: readonly LuaValue[] } | { ok: false; raised: LuaValue; traceback: string }

/** A call under way. */
export interface RunningCall {
  /** The callee is told to stop; `done` is not called any more. */
  cancel(): void
}

export interface SpawnOptions {
  monitor?: boolean
  link?: boolean
  /** A local name, taken before the code runs; a taken name means "signal the holder instead". */
  name?: string
  /** Delivered before any other traffic. */
  messages?: readonly { topic: string; values: readonly Value[] }[]
  /** Merged over what the spawner's context holds. */
  context?: TableValue
  /** In place of the spawner's. */
  identity?: Identity
  /** What the process may hold, in bytes, where that is less than its entry and its host say. */
  memoryLimitBytes?: number
}

export interface ProcessOptions {
  trapLinks: boolean
  upgradable: boolean
}

/** The answer of an operation that may have to ask elsewhere. */
export type Answer<T> = { ok: true; value: T } | { ok: false; error: MoonmeshError | ErrorValue }

/**
 * The calling process, as a library module sees it. Everything handed out (timers, waiters) dies with the process. Operations with a
 * `done` may call it before they return.
 */
export interface ScriptProcess {
  readonly pid: string
  /** The entry whose code runs. */
  readonly entryId: string
  readonly engine: Engine
  readonly env: Env
  /** The chunk's top level runs: calls that may suspend are refused (lua-core.md §5.3). */
  readonly isLoading: boolean
  /** The process ended during the running call (it terminated itself, a link failed): return SUSPEND, no more Lua runs. */
  readonly isEnding: boolean
  readonly context: TableValue
  readonly attachments: TableValue | undefined
  readonly options: ProcessOptions
  /** Present on a terminal host. */
  readonly terminal: Terminal | undefined

  // ---- coroutines
  /** The running fiber. To wait: keep it, tell `willWait`, return SUSPEND. */
  readonly fiber: Fiber
  /** @param waiting absent: while the fiber waits the process cannot be saved */
  willWait(kind: WaitKind, waiting?: Waiting): void
  /** Like `willWait('operation')`, but no other coroutine of the process runs meanwhile: for calls that are not marked [Y]. */
  willBlock(): void
  startFiber(fn: LuaFunction): LuaThread
  /** Calls `release` when the process ends, or starts over with new code. Returns how to forget it. */
  onEnd(release: () => void): () => void
  /**
   * Delays on the monotonic clock; `then` runs on the host's turn, not earlier than due.
   * @param object what starts the timer again when it is restored with the process; absent: a fiber that waits does
   */
  after(delayMs: number, then: () => void, object?: HostObject): Timer
  /** Something outside belongs to the process, which no copy of it would have: as long as it does the process cannot be saved. */
  setHeld(what: string, isHeld: boolean): void

  // ---- messages
  /** A PID, or the PID that a name stands for. */
  resolve(destination: string): string | undefined
  /** Undefined when the receiver is not on this host: then `send`. */
  trySend(to: string, topic: string, values: readonly Value[]): Answer<undefined> | undefined
  send(to: string, topic: string, values: readonly Value[], done: (answer: Answer<undefined>) => void): void
  readonly subscriptions: Subscriptions
  /** Mail as data, for a process that is saved. */
  writeMail(mail: Envelope | LifecycleEvent): Value
  /** @throws MoonmeshError `Invalid` for data that is none */
  readMail(value: Value): Envelope | LifecycleEvent
  /** A reserved topic that nobody else uses in this process, for what a service of the node sends. Without a listener it is dropped. */
  newFeedTopic(): string

  // ---- other processes
  spawn(
    entryId: string,
    hostId: string,
    args: readonly Value[],
    options: SpawnOptions,
    done: (answer: Answer<string>) => void,
  ): void
  /** Spawns and waits for the end. */
  exec(
    entryId: string,
    hostId: string,
    args: readonly Value[],
    options: SpawnOptions,
    done: (answer: Answer<Value>) => void,
  ): void
  cancel(pid: string, reason: string, done: (answer: Answer<undefined>) => void): void
  terminate(pid: string, done: (answer: Answer<undefined>) => void): void
  monitor(pid: string, done: (answer: Answer<undefined>) => void): void
  unmonitor(pid: string): void
  link(pid: string, done: (answer: Answer<undefined>) => void): void
  unlink(pid: string): void
  setOptions(options: Partial<ProcessOptions>): void
  /** Replaces the running code; the process does not come back from the call that asks for it, so return SUSPEND. */
  upgrade(entryId: string | undefined, args: readonly Value[]): void

  // ---- functions
  /** Calls a function, or a process that names a default host. Whatever still runs when the caller ends is cancelled. */
  call(target: string, args: readonly Value[], options: CallOptions, done: (answer: Answer<Value>) => void): RunningCall

  /** Runs source text in a frame of its own; `done` gets its result. */
  evaluate(evaluation: Evaluation, done: (answer: Answer<Value>) => void): void
  /** What is wrong with a source text; undefined: it compiles. */
  compileProblem(source: string): string | undefined
  /** Modules that `modules:` can name, and what kind of thing each does. */
  readonly moduleTags: ReadonlyMap<string, readonly ModuleTag[]>

  // ---- what people type (a console alone)
  /** The globals of its chunk, which typed chunks share. */
  readonly globals: LuaTable
  /** What stands behind them, for all that run this code: libraries and modules. */
  readonly sharedGlobals: LuaTable
  /** @throws LuaSyntaxError */
  compileInput(source: string): LuaFunction
  /** Runs it beside the process's own code; how it ends is told instead of ending the process. */
  startInput(fn: LuaFunction, done: (end: InputEnd) => void): void

  // ---- permissions
  readonly identity: Identity | undefined
  /** Whether the process's own identity may do it; `meta` are further facts for conditions. */
  allowed(action: string, resource: string, meta?: TableValue): boolean
  readonly policies: Policies

  // ---- services of the node
  /** Asks a service of the node (runtime/node-services.ts). The process's end withdraws the question. */
  request(service: string, method: string, args: readonly Value[], done: (answer: Answer<Value>) => void): void
  /** The same without an answer. */
  note(service: string, method: string, args: readonly Value[]): void

  // ---- names
  readonly names: LocalNames

  /** One log record; `where` is `entry:line`. `text` is a byte string. */
  log(level: LogLevel, text: string, where: string, fields?: TableValue): void
}

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error'

/** Where messages go in one process (lua-core.md §7.2). A sink is offered raw envelopes and events; unread ones count for the bound. */
export interface Subscriptions {
  /** Binds a topic to a sink; claims what waits for the topic. False when another sink has it. */
  listen(topic: string, sink: Sink): boolean
  /** False when the sink has no topic. Later messages for its topic go to the inbox, or wait. */
  unlisten(sink: Sink): boolean
  sinkOf(topic: string): Sink | undefined
  /** The inbox claims everything unclaimed. Undefined before `openInbox`. */
  readonly inbox: Sink | undefined
  openInbox(sink: Sink): void
  readonly events: Sink | undefined
  openEvents(sink: Sink): void
  /** A sink tells that a reader took one message or event out of it. */
  taken(): void
  /** Every sink that was handed out. */
  sinks(): Iterable<Sink>
  /** A sink that was restored has one more message or event that nobody has read. */
  restored(): void
}

export interface Sink {
  /** False when it takes nothing any more: the message goes where it would go without this sink. */
  offer(item: Envelope | LifecycleEvent): boolean
  /** Takes back what nobody has read. */
  drain(): (Envelope | LifecycleEvent)[]
  /** For a process that is saved; absent: it cannot be, as the sink belongs to a service of the node. What lies in it is its channel's affair. */
  save?(): NamedParts
}

/** Names as this host knows them. Those of scope local are registered here; what other scopes hold comes first when a name is looked up. */
export interface LocalNames {
  /** Never asks. */
  lookup(name: string): string | undefined
  register(name: string, pid: string, done: (answer: Answer<undefined>) => void): void
  /** `value` is false when the name was not registered. */
  unregister(name: string, done: (answer: Answer<boolean>) => void): void
}

/** Standard streams of a terminal host's process. Byte strings. */
export interface Terminal {
  readonly args: readonly string[]
  /** Queues output. False: more than the bound waits; call `drained` and suspend. */
  write(stream: 'stdout' | 'stderr', bytes: string): boolean
  drained(done: () => void): void
  /** Up to `bytesMax` bytes, or one line without its end. The answer is undefined at the end of input. */
  read(bytesMax: number, done: (answer: Answer<string | undefined>) => void): void
  readLine(done: (answer: Answer<string | undefined>) => void): void
  /** Counted: raw mode ends when every `true` has met its `false`. Unavailable when the input is no terminal. */
  setRaw(enable: boolean, done: (answer: Answer<undefined>) => void): void
}

/** A library module: what `modules:` can name, or a global that is always there. */
export interface LibraryModule {
  readonly name: string
  /** In one line, for `system.modules()`. */
  readonly description: string
  /** What kind of thing it does (lua-libraries.md §0.6); `eval_runner` goes by them. */
  readonly tags: readonly ModuleTag[]
  /** Built once for each engine. */
  build(engine: Engine): ModuleTable
  /** Instead of the table: the object that `require` yields. */
  value?(): HostObject
  readonly classes?: readonly HostClass[]
  /** Functions that become globals beside the module, e.g. `subscribe`. */
  readonly globals?: Readonly<Record<string, HostFunction>>
  /** What calling the module's table does; the table itself is argument 1. */
  readonly call?: HostFunction
  /**
   * Makes the table of type values that a chunk expects (lua-core.md §3.3): the values under their keys, and `bind(key, ...)`, which takes
   * the values of the variables that a declaration refers to. At most one module has it.
   */
  readonly declaredTypes?: (engine: Engine, types: ChunkTypes) => LuaTable
  /** By name: lets the current fiber of a restored process wait again, with `willWait`. @throws MoonmeshError for parts of another form */
  readonly waits?: Readonly<Record<string, (process: ScriptProcess, parts: Parts) => void>>
  /** By name: binds the topic again. @throws MoonmeshError for parts of another form */
  readonly sinks?: Readonly<Record<string, (process: ScriptProcess, topic: string, parts: Parts) => void>>
  /** Present without a line in `modules:`. */
  readonly isAlwaysPresent?: boolean
}

export type ModuleTag =
  | 'deterministic'
  | 'encoding'
  | 'io'
  | 'network'
  | 'nondeterministic'
  | 'process'
  | 'security'
  | 'storage'
  | 'time'
  | 'workflow'

export type {
  Actor,
  Identity,
  Policies,
  PolicySet,
  Verdict,
} from './security/core/policies.ts'
