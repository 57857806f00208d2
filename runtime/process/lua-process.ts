// A process whose code is Lua: its coroutines, what they wait for, the loading of its chunks, its end. lua-core.md §5, §6, §11.4.

import { toText, toUint8Array } from '../base/bytes.ts'
import type { Env } from '../base/env.ts'
import { MoonmeshError } from '../base/errors.ts'
import { leastMemory } from '../base/memory-limit.ts'
import { numberText } from '../base/number-text.ts'
import { errorFrom, errorTo } from '../base/plain.ts'
import { Queue } from '../base/queue.ts'
import { ErrorValue, Float, TableValue, type Value } from '../base/value.ts'
import {
  type Engine,
  ErrorObject,
  HostObject,
  type LuaFunction,
  LuaSyntaxError,
  type LuaTable,
  type LuaThread,
  type LuaValue,
  type RunInput,
} from '../lua/engine.ts'
import type { Image, LibraryHolder } from '../lua/sandbox.ts'
import type {
  Answer,
  CallOptions,
  Evaluation,
  Fiber,
  InputEnd,
  LogLevel,
  Outcome,
  OutdatedEvent,
  Policies,
  ProcessOptions,
  RunningCall,
  ScriptProcess,
  Sink,
  SpawnOptions,
  Subscriptions,
  Terminal,
  Timer,
  Waiting,
  WaitKind,
} from '../services.ts'
import type { Frame } from './calls.ts'
import { deadlock, outcomeOfRaise, outcomeOfReturn } from './core/lifecycle.ts'
import { FEED_PREFIX } from './core/mailbox.ts'
import type { LuaHost } from './lua-host.ts'
import { type Mail, readMail, writeMail } from './mail-form.ts'
import type { ProcessInfo, SpawnRequest } from './port.ts'
import { type CountAllowance, Process } from './process.ts'
import { type FiberState, type ProcessState, partsOf, stateOf } from './process-state.ts'

const NO_INPUT: RunInput = { values: [] }
/** What a turn of a coroutine costs beside its instructions, so that empty turns cannot last for ever. */
const TURN_COST = 100
/** Instructions that the chunks of one process may take to load: some seconds. Whoever spawned it is waiting. */
const LOADING_BUDGET_MAX = 50_000_000

/** How many objects of one process are counted, roughly, when somebody asks what it holds. */
const COUNT_STEPS_MAX = 20_000

/** Turns of its coroutines that source text without an entry has. */
const AD_HOC_TURNS_MAX = 10_000

const isBusy = (kind: WaitKind): boolean => kind === 'timer' || kind === 'operation'

const failed = (text: string): Outcome => ({ ok: false, error: new ErrorValue('Internal', text, false) })

class LuaFiber implements Fiber {
  readonly process: LuaProcess
  readonly thread: LuaThread
  /** Which code of the process it runs; an upgrade leaves the fibers of the old one behind. */
  readonly life: number
  input: RunInput
  waitsFor: WaitKind | undefined = undefined
  /** Of one that waits: for what, if that can be said, and its place among those that wait. */
  waiting: Waiting | undefined = undefined
  waitNumber = 0
  /** Of one that waits and is not the main one: its index among those. */
  place = -1
  constructor(process: LuaProcess, thread: LuaThread, life: number, input: RunInput) {
    this.process = process
    this.thread = thread
    this.life = life
    this.input = input
  }
  resume(values: readonly LuaValue[]): void {
    this.process.wake(this, { values })
  }
  raise(value: LuaValue): void {
    this.process.wake(this, { raise: value })
  }
}

/** What the process is loading: libraries, then its own chunk. */
interface Loading {
  readonly image: Image
  readonly args: SpawnRequest['args']
  /** How many of the image's libraries are loaded. */
  loadedCount: number
  readonly isUpgrade: boolean
  /** The process's reductions when the loading began. */
  readonly reductionsBefore: number
}

/** A function's chunk, loaded: it serves one call after the other. */
export interface Instance {
  readonly image: Image
  readonly method: LuaFunction
  readonly libraries: Map<string, LuaValue> | undefined
}

interface OwnedTimer extends Timer {
  readonly object: HostObject | undefined
}

/** Somebody wants to save the process. */
interface Capture {
  readonly bytesMax: number
  done(answer: Answer<Captured>): void
  deadline: Timer | undefined
  isDone: boolean
}

/** What the host adds to. */
interface Captured {
  readonly entryId: string
  /** Whose code it runs, with the hashes of their sources. */
  readonly codes: readonly { name: string; hash: string }[]
  readonly unreadCount: number
  readonly heap: Uint8Array
}

/** Why a process is not saved at this moment. */
const busy = (why: string): MoonmeshError =>
  new MoonmeshError('Unavailable', `cannot save the process: ${why}`, { retryable: true })

export class LuaProcess extends Process implements ScriptProcess, LibraryHolder {
  /** Present when it is the run of a function. */
  readonly frame: Frame | undefined
  /** What a function's run leaves for the next one. */
  instance: Instance | undefined
  readonly #host: LuaHost
  #fibers: Queue<LuaFiber> | undefined
  /** The fiber that runs, was preempted, or holds the whole process while it waits. */
  #current: LuaFiber | undefined
  #isRunning = false
  #isBlocked = false
  #main: LuaFiber | undefined
  #life = 0
  /** Fibers that wait for something that may happen. */
  #waitingCount = 0
  /** Those of them that wait for something under way, not for a channel. */
  #busyCount = 0
  /** Of the slice that runs, when it followed another one at once. */
  #nextBudget: number | undefined
  /** Turns that source text without an entry has had. */
  #turnCount = 0
  #loading: Loading | undefined
  #libraries: Map<string, LuaValue> | undefined
  #timers: Set<OwnedTimer> | undefined
  /** Fibers that wait, the main one excepted, in any order. */
  #others: LuaFiber[] | undefined
  #waitCount = 0
  #held: Set<string> | undefined
  /** Those who want to save the process and could not yet. */
  #captures: Capture[] | undefined
  #ends: Set<() => void> | undefined
  /** What the process runs. */
  #image: Image | undefined
  #globals: LuaTable | undefined
  /** Fibers of typed chunks, and who hears of their ends. */
  #inputs: Map<LuaFiber, (end: InputEnd) => void> | undefined
  #feedCount = 0
  #unreadOutdated: OutdatedEvent | undefined
  #upgrade: { entryId: string; args: readonly Value[] } | undefined
  /** How it ends as soon as the running turn is over. */
  #doom: Outcome | undefined

  /** What it held when it was last asked, and its reductions then. */
  #counted: { readonly reductions: number; readonly bytes: number } | undefined

  /** As its spawner said. */
  readonly #memoryLimitBytes: number | undefined

  /** What it goes on from, instead of beginning with its method. */
  readonly #saved: Uint8Array | undefined

  constructor(host: LuaHost, pid: string, request: SpawnRequest, frame?: Frame) {
    super(host, pid, request, host.env.nowMs())
    this.#memoryLimitBytes = request.memoryLimitBytes
    this.#saved = request.saved === undefined ? undefined : toUint8Array(request.saved)
    this.#host = host
    this.frame = frame
  }

  get engine(): Engine {
    return this.#host.engine
  }
  get env(): Env {
    return this.#host.env
  }
  get isLoading(): boolean {
    return this.#loading !== undefined
  }
  get isEnding(): boolean {
    return this.isEnded || this.#doom !== undefined
  }
  get terminal(): Terminal | undefined {
    return this.#host.terminal
  }
  get subscriptions(): Subscriptions {
    return this.mailbox as unknown as Subscriptions
  }
  newFeedTopic(): string {
    return `${FEED_PREFIX}${++this.#feedCount}`
  }
  get names(): ScriptProcess['names'] {
    return this.#host.names
  }
  get state(): ProcessInfo['state'] {
    if (this.#loading !== undefined) return 'loading'
    if (this.#isRunning) return 'running'
    return this.isQueued ? 'ready' : 'waiting'
  }

  override get memory(): number | null {
    return this.#counted?.bytes ?? null
  }

  override countMemory(allowance: CountAllowance): void {
    const { engine, reductions } = this
    const thread = this.#main?.thread
    if (engine.memoryOf === undefined || thread === undefined || allowance.steps <= 0) return
    // One that has not run since holds what it held.
    if (this.#counted?.reductions === reductions) return
    const stepsMax = Math.min(allowance.steps, COUNT_STEPS_MAX)
    const { bytes, steps, isWhole } = engine.memoryOf(thread, stepsMax)
    allowance.steps -= steps
    // Cut short because others were counted before: the next time it is counted further.
    if (isWhole || stepsMax === COUNT_STEPS_MAX) this.#counted = { reductions, bytes }
  }

  // ---- loading

  start(args: SpawnRequest['args']): void {
    const instance = this.frame?.instance
    if (instance !== undefined) return this.#begin(instance, args, false)
    if (this.#saved !== undefined) return this.#goOnFrom(this.#saved)
    const adHoc = this.frame?.adHoc
    if (adHoc !== undefined) return this.#load(adHoc.image, args, false)
    this.#load(this.#imageOf(this.entryId), args, false)
  }

  /** @throws MoonmeshError when the code is missing or does not compile */
  #imageOf(entryId: string): Image {
    try {
      return this.#host.sandbox.image(entryId)
    } catch (error) {
      if (error instanceof LuaSyntaxError)
        throw new MoonmeshError('Internal', toText(error.message), { retryable: false })
      throw error
    }
  }

  #load(image: Image, args: SpawnRequest['args'], isUpgrade: boolean): void {
    this.#loading = { image, args, loadedCount: 0, isUpgrade, reductionsBefore: this.reductions }
    this.#libraries = image.libraries.length === 0 ? undefined : new Map()
    this.#runNext(this.#loading)
  }

  /** The next chunk that is still to be loaded. Of source text without a method the chunk itself is what runs. */
  #runNext(loading: Loading): void {
    const { image } = loading
    const library = image.libraries[loading.loadedCount]
    if (library !== undefined) return this.#runChunk(library)
    if (this.frame?.adHoc?.method !== '') return this.#runChunk(image)
    this.#loading = undefined
    this.#begin({ image, method: this.#chunkOf(image), libraries: this.#libraries }, loading.args, false)
  }

  #chunkOf(image: Image): LuaFunction {
    const { engine } = this
    const environment = this.#host.sandbox.environment(image)
    this.#globals = environment
    for (const [alias, id] of Object.entries(image.entry.imports)) {
      engine.set(environment, alias, this.#libraries?.get(id))
    }
    return engine.load(image.code, environment)
  }

  #runChunk(image: Image): void {
    const thread = this.#firstThread(this.#chunkOf(image), image)
    this.#main = new LuaFiber(this, thread, this.#life, NO_INPUT)
    // Before whatever coroutine.spawn has started: that waits until everything is loaded.
    this.#current = this.#main
    if (!this.#isRunning) this.#host.ready(this)
  }

  #firstThread(fn: LuaFunction, image: Image): LuaThread {
    const thread = this.engine.newThread(fn, true)
    this.#limitMemory(thread, image)
    return thread
  }

  #limitMemory(thread: LuaThread, { entry }: Image): void {
    const bytes = leastMemory(entry.memoryLimitBytes, this.#memoryLimitBytes)
    if (bytes !== undefined) this.engine.limitMemory?.(thread, bytes)
  }

  libraryValue(entryId: string): LuaValue {
    return this.#libraries?.get(entryId)
  }

  #chunkDone(loading: Loading, value: LuaValue): void {
    const { libraries } = loading.image
    const library = libraries[loading.loadedCount]
    if (library !== undefined) {
      this.#libraries?.set(library.entry.id, value)
      loading.loadedCount++
      this.#runNext(loading)
      return
    }
    const { id } = loading.image.entry
    const method = this.frame?.adHoc?.method ?? loading.image.entry.method
    const fn = this.#method(value, method)
    if (fn === undefined) {
      const message = `method "${method}" not found in module (entry ${id})`
      this.#loadFailed({ ok: false, error: new ErrorValue('NotFound', message, false) })
      return
    }
    this.#loading = undefined
    this.#begin({ image: loading.image, method: fn, libraries: this.#libraries }, loading.args, loading.isUpgrade)
  }

  /** The method's turn comes later: whoever spawned it hears first that it is there. */
  #begin(instance: Instance, args: SpawnRequest['args'], isUpgrade: boolean): void {
    const { engine } = this
    this.#libraries = instance.libraries
    this.#image = instance.image
    if (this.frame !== undefined) this.instance = instance
    this.#main = new LuaFiber(this, this.#firstThread(instance.method, instance.image), this.#life, {
      values: args.map((argument) => engine.copyIn(argument)),
    })
    this.#enqueue(this.#main)
    if (!isUpgrade) this.#host.loaded(this)
  }

  #method(value: LuaValue, method: string): LuaFunction | undefined {
    const { engine } = this
    const type = engine.typeOf(value)
    if (type === 'function') return value as LuaFunction
    if (type !== 'table') return undefined
    const fn = engine.get(value as LuaTable, method)
    return engine.typeOf(fn) === 'function' ? (fn as LuaFunction) : undefined
  }

  #loadsForEver(): void {
    const text = `the chunk of ${this.entryId} did not finish loading; move long work into the method`
    this.#loadFailed({ ok: false, error: new ErrorValue('Timeout', text, false) })
  }

  #loadFailed(outcome: Outcome & { ok: false }): void {
    const isUpgrade = this.#loading?.isUpgrade === true
    this.#loading = undefined
    const { kind, message, details, stack } = outcome.error
    // A chunk that cannot wait for anything fails the same way each time, unless it says otherwise.
    const retryable = outcome.error.retryable ?? false
    if (!isUpgrade) {
      return this.#host.loadFailed(this, { ok: false, error: new ErrorValue(kind, message, retryable, details, stack) })
    }
    this.#end({ ok: false, error: new ErrorValue(kind, `upgrade failed: ${message}`, retryable, details, stack) })
  }

  // ---- running

  slice(budget: number): void {
    const { engine } = this
    let left = budget
    while (left > 0 && !this.isEnded) {
      const fiber = this.#current ?? this.#fibers?.shift()
      if (fiber === undefined || this.#isBlocked) break
      this.#current = fiber
      const { input } = fiber
      fiber.input = NO_INPUT
      this.#isRunning = true
      const status = engine.run(fiber.thread, this, left, input)
      this.#isRunning = false
      const used = engine.usedBudget + TURN_COST
      this.reductions += used
      left = (this.#nextBudget ?? left) - used
      this.#nextBudget = undefined
      if (this.#doom !== undefined) return this.#end(this.#doom)
      if (this.frame?.adHoc !== undefined && ++this.#turnCount > AD_HOC_TURNS_MAX) {
        return this.#end(failed('exceeded maximum step limit'))
      }
      if (this.#loading !== undefined && (status === 'preempted' || status === 'yielded')) {
        // Nobody else has a turn while the code loads.
        if (this.reductions - this.#loading.reductionsBefore > LOADING_BUDGET_MAX) this.#loadsForEver()
        continue
      }
      if (status === 'preempted') break
      // A call may have been answered before it unwound: the fiber goes on.
      if (status === 'suspended' && fiber.waitsFor === undefined && this.#upgrade === undefined) continue
      if (!this.#isBlocked) this.#current = undefined
      if (status === 'done') this.#fiberDone(fiber, engine.results)
      else if (status === 'error') this.#fiberFailed(fiber, engine.results[0], engine.traceback)
      else if (status === 'yielded') this.#enqueue(fiber)
      else if (this.#upgrade !== undefined) this.#startOver(this.#upgrade)
    }
    if (!this.isEnded) this.#rest()
    if (this.#captures !== undefined) this.#retryCaptures()
  }

  /** The running fiber has used up its slice. @returns what it has for the next one if that would be its own anyway; 0: it is left */
  anotherSlice(used: number): number {
    const isAsked = this.isEnding || this.#loading !== undefined || this.#captures !== undefined
    if (isAsked || this.frame?.adHoc !== undefined) return 0
    const budget = this.#host.scheduler.anotherSlice()
    if (budget === 0) return 0
    this.reductions += used + TURN_COST
    this.#nextBudget = budget
    return budget
  }

  /** Nothing more in this slice: stand in line again, or wait. */
  #rest(): void {
    const isReady = !this.#isBlocked && (this.#current !== undefined || (this.#fibers?.count ?? 0) > 0)
    const isAdHoc = this.frame?.adHoc !== undefined
    if (isReady) this.#host.ready(this)
    else if (isAdHoc && this.#busyCount === 0 && (this.#timers?.size ?? 0) === 0)
      this.#end(failed('process became idle'))
    else if (this.#waitingCount === 0 && !this.mailbox.isWatched) this.#end(deadlock())
  }

  #fiberDone(fiber: LuaFiber, results: readonly LuaValue[]): void {
    if (fiber !== this.#main) return void this.#inputEnded(fiber, { ok: true, values: [...results] })
    if (this.#loading !== undefined) {
      this.#chunkDone(this.#loading, results[0])
      return
    }
    const { engine } = this
    const [first, second] = results
    const isFailure = typeof second === 'string' || second instanceof ErrorObject
    this.#end(
      outcomeOfReturn(isFailure ? undefined : engine.copyOut(first), isFailure ? engine.copyOut(second) : undefined),
    )
  }

  #fiberFailed(fiber: LuaFiber, raised: LuaValue, traceback: string): void {
    if (this.#inputEnded(fiber, { ok: false, raised, traceback })) return
    const value = raised instanceof ErrorObject ? raised.error : undefined
    const outcome = outcomeOfRaise(value, value === undefined ? this.#textOf(raised) : '', traceback) as Outcome & {
      ok: false
    }
    if (this.#loading !== undefined) this.#loadFailed(outcome)
    else this.#end(outcome)
  }

  #inputEnded(fiber: LuaFiber, end: InputEnd): boolean {
    const told = this.#inputs?.get(fiber)
    if (told === undefined) return false
    this.#inputs?.delete(fiber)
    told(end)
    return true
  }

  get globals(): LuaTable {
    return this.#globals as LuaTable
  }

  get sharedGlobals(): LuaTable {
    return (this.#image as Image).base
  }

  compileInput(source: string): LuaFunction {
    return this.engine.load(this.#host.sandbox.compileInput(source, this.globals), this.globals)
  }

  startInput(fn: LuaFunction, done: (end: InputEnd) => void): void {
    const fiber = new LuaFiber(this, this.engine.newThread(fn), this.#life, NO_INPUT)
    this.#inputs ??= new Map()
    this.#inputs.set(fiber, done)
    this.#enqueue(fiber)
  }

  #textOf(raised: LuaValue): string {
    if (typeof raised === 'string') return raised
    if (raised instanceof HostObject) return `(error object is a ${raised.className})`
    if (raised === undefined) return 'nil'
    if (typeof raised === 'boolean' || typeof raised === 'bigint') return String(raised)
    if (typeof raised === 'number') return numberText(raised)
    if (raised instanceof Float) return numberText(raised.value)
    return `(error object is a ${this.engine.typeOf(raised)} value)`
  }

  #end(outcome: Outcome): void {
    if (!this.isEnded) this.#host.ended(this, outcome)
  }

  /** Ends the process at once, or, while its code runs, when the running call returns. */
  doom(outcome: Outcome): boolean {
    if (!this.#isRunning) return false
    this.#doom ??= outcome
    return true
  }

  release(): void {
    this.isEnded = true
    this.#retryCaptures()
    this.#others = undefined
    this.#fibers = undefined
    this.#current = undefined
    this.#main = undefined
    this.#libraries = undefined
    this.#loading = undefined
    this.#cancelTimers()
    this.#image = undefined
    this.#globals = undefined
    this.#inputs = undefined
    this.#runEnds()
  }

  #runEnds(): void {
    const ends = this.#ends
    this.#ends = undefined
    for (const end of ends ?? []) end()
  }

  onEnd(release: () => void): () => void {
    this.#ends ??= new Set()
    this.#ends.add(release)
    return () => this.#ends?.delete(release)
  }

  #cancelTimers(): void {
    for (const timer of [...(this.#timers ?? [])]) timer.cancel()
    this.#timers = undefined
  }

  // ---- fibers

  get fiber(): Fiber {
    return this.#current as LuaFiber
  }

  willWait(kind: WaitKind, waiting?: Waiting): void {
    const fiber = this.#current as LuaFiber
    fiber.waitsFor = kind
    fiber.waiting = waiting
    fiber.waitNumber = this.#waitCount++
    if (fiber !== this.#main && kind !== 'never') {
      this.#others ??= []
      fiber.place = this.#others.length
      this.#others.push(fiber)
    }
    if (kind !== 'never') this.#waitingCount++
    if (isBusy(kind)) this.#busyCount++
  }

  willBlock(): void {
    this.willWait('operation')
    this.#isBlocked = true
  }

  startFiber(fn: LuaFunction): LuaThread {
    const thread = this.engine.newThread(fn)
    this.#enqueue(new LuaFiber(this, thread, this.#life, NO_INPUT))
    return thread
  }

  /** Once for each wait; a fiber that waits no more, or a process that is over, is left alone. */
  wake(fiber: LuaFiber, input: RunInput): void {
    if (this.isEnded || fiber.life !== this.#life || fiber.waitsFor === undefined) return
    if (fiber.waitsFor !== 'never') this.#waitingCount--
    if (isBusy(fiber.waitsFor)) this.#busyCount--
    fiber.waitsFor = undefined
    fiber.waiting = undefined
    if (fiber.place >= 0) this.#waitsNoMore(fiber)
    fiber.input = input
    if (fiber !== this.#current) return this.#enqueue(fiber)
    this.#isBlocked = false
    if (!this.#isRunning) this.#host.ready(this)
  }

  /** The last of those that wait takes its place. */
  #waitsNoMore(fiber: LuaFiber): void {
    const last = this.#others?.pop()
    if (last !== undefined && last !== fiber) {
      last.place = fiber.place
      ;(this.#others as LuaFiber[])[fiber.place] = last
    }
    fiber.place = -1
  }

  #enqueue(fiber: LuaFiber): void {
    this.#fibersOf().push(fiber)
    if (!this.#isRunning) this.#host.ready(this)
  }

  #fibersOf(): Queue<LuaFiber> {
    this.#fibers ??= new Queue()
    return this.#fibers
  }

  after(delayMs: number, then: () => void, object?: HostObject): Timer {
    const timer = this.#host.after(delayMs, () => {
      this.#timers?.delete(owned)
      then()
    })
    const owned: OwnedTimer = {
      object,
      cancel: () => {
        this.#timers?.delete(owned)
        return timer.cancel()
      },
    }
    this.#timers ??= new Set()
    this.#timers.add(owned)
    return owned
  }

  setOptions(options: Partial<ProcessOptions>): void {
    this.options = { ...this.options, ...options }
  }

  // ---- saving

  setHeld(what: string, isHeld: boolean): void {
    this.#held ??= new Set()
    if (isHeld) this.#held.add(what)
    else this.#held.delete(what)
  }

  writeMail(mail: Mail): Value {
    return writeMail(mail)
  }

  readMail(value: Value): Mail {
    return readMail(value)
  }

  /**
   * Writes the process down, between two of its slices, as soon as nothing is under way that only this one can hear the end of.
   * @param done gets what was written; an error when the time is over, or when what cannot be saved is there
   */
  capture(options: { timeoutMs: number; bytesMax: number }, done: (answer: Answer<Captured>) => void): void {
    const capture: Capture = { bytesMax: options.bytesMax, done, deadline: undefined, isDone: false }
    const problem = this.#tryCapture(capture)
    if (problem === undefined) return
    if (options.timeoutMs <= 0) return done({ ok: false, error: problem })
    let last = problem
    this.#captures ??= []
    this.#captures.push(capture)
    capture.deadline = this.#host.after(options.timeoutMs, () => {
      this.#captures = this.#captures?.filter((each) => each !== capture)
      last = this.#tryCapture(capture) ?? last
      if (!capture.isDone) done({ ok: false, error: last })
    })
  }

  /** After each slice. */
  #retryCaptures(): void {
    const captures = this.#captures
    if (captures === undefined) return
    this.#captures = undefined
    for (const capture of captures) {
      if (this.isEnded) this.#settle(capture, { ok: false, error: goneError(this.pid) })
      else if (this.#tryCapture(capture) !== undefined) {
        this.#captures ??= []
        this.#captures.push(capture)
      }
    }
  }

  /** @returns why it has to wait; undefined: it was answered, one way or the other */
  #tryCapture(capture: Capture): MoonmeshError | undefined {
    let captured: Captured
    try {
      captured = this.#written(capture.bytesMax)
    } catch (error) {
      const failure = error instanceof MoonmeshError ? error : errorTo(errorFrom(error))
      if (failure.kind === 'Unavailable' && failure.retryable === true) return failure
      this.#settle(capture, { ok: false, error: failure })
      return undefined
    }
    this.#settle(capture, { ok: true, value: captured })
    return undefined
  }

  #settle(capture: Capture, answer: Answer<Captured>): void {
    capture.isDone = true
    capture.deadline?.cancel()
    capture.done(answer)
  }

  /** @throws MoonmeshError; retryable when a little later may be better */
  #written(bytesMax: number): Captured {
    const { saving, name } = this.engine
    const image = this.#image
    const refuse = (why: string): MoonmeshError =>
      new MoonmeshError('Invalid', `cannot save the process: ${why}`, { retryable: false })
    if (saving === undefined) throw refuse(`the Lua engine '${name}' cannot; choose another one (lua.engine)`)
    if (this.frame !== undefined) throw refuse('it is the run of a function')
    if (this.terminal !== undefined) throw refuse('it runs on a terminal')
    if (this.#loading !== undefined || image === undefined) throw busy('its code is being loaded')
    if (this.#isRunning || this.#isBlocked || this.#upgrade !== undefined || this.#inputs !== undefined)
      throw busy('a call of it is under way')
    const [held] = this.#held ?? []
    if (held !== undefined) throw refuse(`it holds ${held}`)
    const shared = this.#host.sandbox.shared(image)
    const heap = saving.capture(partsOf(this.#stateNow()), shared, this, bytesMax)
    const codes = shared.codes.map(({ name: entry, hash }) => ({ name: entry, hash }))
    return { entryId: this.entryId, codes, unreadCount: this.mailbox.unreadCount, heap }
  }

  #stateNow(): ProcessState {
    const main = this.#main as LuaFiber
    const waiting = [...(this.#others ?? []), ...(main.waitsFor === undefined ? [] : [main])]
    waiting.sort((a, b) => a.waitNumber - b.waitNumber)
    const current = this.#current
    const fibers = [
      ...(current === undefined ? [] : [fiberState(current, 'current')]),
      ...[...(this.#fibers ?? [])].map((fiber) => fiberState(fiber, 'ready')),
      ...waiting.map((fiber) => fiberState(fiber, 'waiting')),
    ]
    const { messages, events, arrivals } = this.mailbox.waiting()
    const sinks = [...this.mailbox.bindings()].map(([topic, sink]) => {
      const parts = (sink as unknown as Sink).save?.()
      if (parts === undefined) {
        const text = 'cannot save the process: it is subscribed to what a service of the node sends'
        throw new MoonmeshError('Invalid', text, { retryable: false, details: { topic } })
      }
      return { topic, parts }
    })
    return {
      main: fibers.findIndex(({ thread }) => thread === main.thread),
      fibers,
      libraries: this.#libraries ?? new Map(),
      globals: this.#globals,
      sinks,
      messages,
      events,
      arrivals,
      timers: [...(this.#timers ?? [])].flatMap(({ object }) => (object === undefined ? [] : [object])),
      context: this.context,
      identity: this.identity,
      options: this.options,
      feedCount: this.#feedCount,
    }
  }

  /** Goes on where another process was saved. @throws MoonmeshError */
  #goOnFrom(heap: Uint8Array): void {
    const { engine } = this
    const { sandbox } = this.#host
    if (engine.saving === undefined) {
      const text = `the Lua engine '${engine.name}' cannot restore processes; choose another one (lua.engine)`
      throw new MoonmeshError('Invalid', text, { retryable: false })
    }
    const image = this.#imageOf(this.entryId)
    const restored = engine.saving.restore(heap, sandbox.shared(image), this)
    const state = stateOf(restored, (value) => engine.typeOf(value) === 'thread')
    this.#image = image
    this.#libraries = image.libraries.length === 0 ? undefined : new Map(state.libraries)
    this.#globals = state.globals
    this.#feedCount = state.feedCount
    this.options = state.options
    this.context = state.context
    this.identity = state.identity
    this.mailbox.restore(state)
    for (const { topic, parts } of state.sinks) sandbox.bindAgain(this, topic, parts)
    restored.fill()
    const fibers = state.fibers.map(({ thread, input }) => new LuaFiber(this, thread, this.#life, input))
    this.#main = fibers[state.main]
    // All its threads have one account.
    if (this.#main !== undefined) this.#limitMemory(this.#main.thread, image)
    for (const [i, { state: standing, wait }] of state.fibers.entries()) {
      const fiber = fibers[i] as LuaFiber
      if (standing === 'ready') this.#fibersOf().push(fiber)
      if (wait === undefined) continue
      this.#current = fiber
      sandbox.waitAgain(this, wait)
    }
    const running = state.fibers.findIndex(({ state: standing }) => standing === 'current')
    this.#current = fibers[running]
    this.#host.loaded(this)
  }

  // ---- upgrade

  /** Tells of new code, if the process wants to know and runs some of the old. What it has not read yet becomes one event. */
  outdated(changed: ReadonlySet<string>): void {
    const image = this.#image
    if (!this.options.upgradable || image === undefined) return
    const sources = [image.entry, ...image.libraries.map(({ entry }) => entry)].flatMap(({ id }) =>
      changed.has(id) ? [id] : [],
    )
    if (sources.length === 0) return
    const unread = this.#unreadOutdated
    if (unread !== undefined && !unread.isRead) {
      unread.sources = [...new Set([...unread.sources, ...sources])]
      return
    }
    this.#unreadOutdated = { kind: 'outdated', sources, atMs: this.env.wallMs(), isRead: false }
    this.mailbox.notify(this.#unreadOutdated)
  }

  upgrade(entryId: string | undefined, args: readonly Value[]): void {
    this.#upgrade = { entryId: entryId ?? this.entryId, args }
    this.willWait('operation')
  }

  #startOver(upgrade: { entryId: string; args: readonly Value[] }): void {
    this.#upgrade = undefined
    this.#life++
    this.#unreadOutdated = undefined
    this.#cancelTimers()
    this.#runEnds()
    this.#fibers = undefined
    this.#current = undefined
    this.#isBlocked = false
    this.#others = undefined
    this.#waitingCount = 0
    this.#busyCount = 0
    this.#host.returnUnread(this)
    this.entryId = upgrade.entryId
    try {
      this.#host.assertProcessEntry(upgrade.entryId)
      this.#load(this.#imageOf(upgrade.entryId), upgrade.args, true)
    } catch (error) {
      const { kind, message, retryable, details } = errorFrom(error)
      this.#end({ ok: false, error: new ErrorValue(kind, `upgrade failed: ${message}`, retryable, details) })
    }
  }

  // ---- what scripts ask for, answered by the host

  resolve(destination: string): string | undefined {
    return this.#host.resolve(destination)
  }
  trySend(to: string, topic: string, values: readonly Value[]): Answer<undefined> | undefined {
    return this.#host.trySend(this.pid, to, topic, values)
  }
  send(to: string, topic: string, values: readonly Value[], done: Done<undefined>): void {
    this.#host.ask({ kind: 'send', to, from: this.pid, topic, values }, done as Done<Value | undefined>)
  }
  spawn(entryId: string, host: string, args: readonly Value[], options: SpawnOptions, done: Done<string>): void {
    this.#host.spawn(this.requestFor(entryId, host, args, options), done)
  }
  exec(entryId: string, host: string, args: readonly Value[], options: SpawnOptions, done: Done<Value>): void {
    const request = { ...this.requestFor(entryId, host, args, options), wantsEnd: true }
    this.#host.spawn(
      request,
      (answer) => {
        if (!answer.ok) done(answer)
      },
      done,
    )
  }

  /** A spawn or call on behalf of this process: it passes on its context and its identity. */
  requestFor(entryId: string, host: string, args: readonly Value[], options: SpawnOptions): SpawnRequest {
    const request: SpawnRequest = {
      host,
      entryId,
      args,
      from: this.pid,
      monitor: options.monitor === true,
      link: options.link === true,
      name: options.name,
      messages: options.messages ?? [],
      context: options.context === undefined ? this.context : mergeTables(this.context, options.context),
      identity: options.identity ?? this.identity,
      wantsEnd: false,
      allowsFunction: false,
    }
    if (options.memoryLimitBytes !== undefined) request.memoryLimitBytes = options.memoryLimitBytes
    return request
  }
  cancel(to: string, reason: string, done: Done<undefined>): void {
    this.#host.ask({ kind: 'cancel', to, from: this.pid, reason }, done as Done<Value | undefined>)
  }
  terminate(to: string, done: Done<undefined>): void {
    this.#host.ask({ kind: 'terminate', to, from: this.pid }, done as Done<Value | undefined>)
  }
  monitor(to: string, done: Done<undefined>): void {
    this.#host.ask({ kind: 'monitor', to, from: this.pid }, done as Done<Value | undefined>)
  }
  unmonitor(to: string): void {
    this.#host.unmonitor(this.pid, to)
  }
  link(to: string, done: Done<undefined>): void {
    this.#host.ask({ kind: 'link', to, from: this.pid }, done as Done<Value | undefined>)
  }
  unlink(to: string): void {
    this.#host.unlink(this.pid, to)
  }

  call(target: string, args: readonly Value[], options: CallOptions, done: Done<Value>): RunningCall {
    return this.#host.calls.call(this, target, args, options, (answer) => this.#guarded(done, answer))
  }

  evaluate(evaluation: Evaluation, done: Done<Value>): void {
    this.#host.calls.evaluate(this, evaluation, (answer) => this.#guarded(done, answer))
  }

  compileProblem(source: string): string | undefined {
    try {
      this.#host.sandbox.compileAdHoc(source)
      return undefined
    } catch (error) {
      if (error instanceof LuaSyntaxError) return toText(error.message)
      throw error
    }
  }

  get moduleTags(): ScriptProcess['moduleTags'] {
    return this.#host.sandbox.tags
  }

  // ---- permissions

  get policies(): Policies {
    return this.#host.policies
  }

  allowed(action: string, resource: string, meta?: TableValue): boolean {
    const { identity, policies } = this
    if (identity?.actor === undefined || identity.scope === undefined) return !policies.isStrict
    const { actor, scope } = identity
    return policies.evaluate(scope, { actor, action, resource, meta }) === 'allow'
  }

  // ---- services of the node

  request(service: string, method: string, args: readonly Value[], done: Done<Value>): void {
    const { pid: from, entryId: entry } = this
    let leave = (): void => {}
    const giveUp = this.#host.askService({ service, method, args, from, entry }, this, (answer) => {
      leave()
      this.#guarded(done, answer)
    })
    leave = this.onEnd(giveUp)
  }

  /** A fault of a library is the end of the process that called it, not of its host (lua-core.md §24). */
  #guarded(done: Done<Value>, answer: Answer<Value>): void {
    try {
      done(answer)
    } catch (thrown) {
      this.#end({ ok: false, error: errorFrom(thrown) })
    }
  }

  note(service: string, method: string, args: readonly Value[]): void {
    this.#host.noteService({ service, method, args, from: this.pid, entry: this.entryId })
  }

  log(level: LogLevel, text: string, where: string, fields?: TableValue): void {
    this.#host.log(this, level, text, where, fields)
  }
}

type Done<T> = (answer: Answer<T>) => void

/** @throws MoonmeshError while it waits for something that cannot be said */
function fiberState({ thread, input, waitsFor, waiting }: LuaFiber, state: FiberState['state']): FiberState {
  if (waitsFor !== undefined && waiting === undefined) throw busy('a call of it is under way')
  return { thread, state, input, wait: waiting?.save() }
}

const goneError = (pid: string): MoonmeshError =>
  new MoonmeshError('NotFound', `process not found: ${toText(pid)} (it has ended)`, { retryable: false })

/** Shallow: the keys of `over` win. */
function mergeTables(under: TableValue, over: TableValue): TableValue {
  const merged = new Map<Value, Value>(under.keys.map((key, i) => [key, under.values[i]]))
  for (const [i, key] of over.keys.entries()) merged.set(key, over.values[i])
  return new TableValue([], [...merged.keys()], [...merged.values()])
}
