// A host whose processes are Lua: the engine, the code of the entries, the terminal if it has one.

import { fromUint8Array, toText } from '../base/bytes.ts'
import { MoonmeshError } from '../base/errors.ts'
import { Float, record, TableValue, type Value } from '../base/value.ts'
import type { Engine } from '../lua/engine.ts'
import { type CodeEntry, Sandbox } from '../lua/sandbox.ts'
import { type EvaluateExpression, policyConditions } from '../security/conditions.ts'
import { type PolicySet, PolicyTable } from '../security/core/policies.ts'
import type { Answer, Envelope, LibraryModule, LifecycleEvent, Outcome, Sink } from '../services.ts'
import { Calls, type Frame } from './calls.ts'
import { captured } from './core/lifecycle.ts'
import { Host, type HostOptions } from './host.ts'
import { type Instance, LuaProcess } from './lua-process.ts'
import type { CaptureQuestion, FromHost, Port, SpawnRequest, ToHost } from './port.ts'
import type { Process } from './process.ts'
import type { SchedulerDriver } from './scheduler.ts'
import { TerminalPort } from './terminal.ts'

export interface LuaHostOptions extends HostOptions {
  /** A terminal host: one process at a time, with the standard streams. */
  hasTerminal: boolean
  /** Calls of functions are counted and timed. */
  recordsFunctions: boolean
  /** Its processes run what operators type: nothing is refused to them, and only the node starts them. */
  isConsole: boolean
}

const NO_POLICIES: PolicySet = { isStrict: false, policies: [] }

export class LuaHost extends Host {
  readonly engine: Engine
  readonly sandbox: Sandbox
  readonly terminal: TerminalPort | undefined
  readonly calls: Calls
  readonly policies: PolicyTable
  readonly #entries = new Map<string, CodeEntry>()
  /** Calls of the node that wait for an instance or load one, by its number for them. */
  readonly #nodeCalls = new Map<number, () => void>()
  /** Runs of functions that were ended from outside. */
  readonly #wasForced = new Set<Process>()
  readonly #recordsFunctions: boolean
  readonly #isConsole: boolean

  constructor(
    options: LuaHostOptions,
    port: Port<FromHost, ToHost>,
    driver: SchedulerDriver,
    engine: Engine,
    modules: readonly LibraryModule[],
    evaluateExpression: EvaluateExpression,
  ) {
    super(options.hasTerminal ? { ...options, processCountMax: 1 } : options, port, driver)
    this.engine = engine
    engine.moreBudget = (owner, used) => (owner as LuaProcess).anotherSlice(used)
    this.sandbox = new Sandbox(engine, modules, (id) => this.#entries.get(id))
    this.calls = new Calls(this)
    this.policies = new PolicyTable(policyConditions(evaluateExpression))
    this.#recordsFunctions = options.recordsFunctions
    this.#isConsole = options.isConsole
    this.terminal = options.hasTerminal ? new TerminalPort(port) : undefined
  }

  protected override create(pid: string, request: SpawnRequest): Process {
    if (this.#isConsole && request.from !== '') {
      throw new MoonmeshError('PermissionDenied', `host ${toText(this.options.id)} runs consoles alone`, {
        retryable: false,
      })
    }
    this.assertProcessEntry(request.entryId)
    return new LuaProcess(this, pid, request)
  }

  protected override full(): MoonmeshError {
    if (this.terminal === undefined) return super.full()
    const text = `terminal host ${toText(this.options.id)} already runs a process, and runs one at a time`
    return new MoonmeshError('Unavailable', text, { retryable: true })
  }

  /** As a program without a handler for its signal does. */
  protected override get endsDeaf(): boolean {
    return this.terminal !== undefined
  }

  codeOf(entryId: string): CodeEntry | undefined {
    return this.#entries.get(entryId)
  }

  // ---- functions

  /** A function that the node itself calls. */
  protected override runsOtherwise(
    request: SpawnRequest,
    ref: number | undefined,
    done: (answer: Answer<string>) => void,
    ended: ((answer: Answer<Value>) => void) | undefined,
  ): boolean {
    const entry = this.#entries.get(request.entryId)
    if (!request.allowsFunction || entry?.kind !== 'function.lua') return false
    const over = (): void => {
      if (ref !== undefined) this.#nodeCalls.delete(ref)
    }
    const started = (answer: Answer<string>): void => {
      over()
      done(answer)
    }
    const cancel = this.calls.run(entry, request, undefined, started, (answer) => ended?.(answer))
    if (ref !== undefined) this.#nodeCalls.set(ref, cancel)
    return true
  }

  protected override abandoned(ref: number): void {
    const cancel = this.#nodeCalls.get(ref)
    this.#nodeCalls.delete(ref)
    cancel?.()
  }

  /**
   * Runs a function's method as a process.
   * @param finished gets the outcome, and the instance if it is fit for another call
   */
  runFrame(
    frame: Frame,
    request: SpawnRequest,
    started: (answer: Answer<string>) => void,
    finished: (answer: Answer<Value>, usable: Instance | undefined) => void,
  ): LuaProcess {
    const process = new LuaProcess(this, this.nextFunctionPid(frame.functionId), request, frame)
    const recorded = this.#recordsFunctions ? this.#recordRun(process) : undefined
    const ended = (outcome: Answer<Value>): void => {
      recorded?.(outcome.ok)
      finished(outcome, this.#wasForced.delete(process) ? undefined : process.instance)
    }
    this.launch(process, { ref: undefined, request: { ...request, messages: [] }, done: started, ended })
    return process
  }

  /** @returns to be told once how the run ended */
  #recordRun(process: LuaProcess): (isSuccess: boolean) => void {
    const startedMs = this.env.nowMs()
    const note = (method: string, name: string, value: number, labels: Record<string, string>): void =>
      process.note('metrics', method, [`moonmesh_function_${name}`, new Float(value), record(labels)])
    const function_id = process.entryId
    note('change', 'in_flight', 1, { function_id })
    return (isSuccess) => {
      const status = isSuccess ? 'success' : 'error'
      note('change', 'in_flight', -1, { function_id })
      note('count', 'calls_total', 1, { function_id, status })
      note('observe', 'duration_seconds', (this.env.nowMs() - startedMs) / 1000, { function_id })
    }
  }

  /** Ends a run from outside. Its instance may be in any state: nobody gets it any more. */
  endFrame(frame: LuaProcess, outcome: Outcome): void {
    this.kill(frame, outcome)
  }

  /** @throws MoonmeshError `NotFound` when the entry is no process */
  assertProcessEntry(id: string): void {
    const kind = this.#entries.get(id)?.kind
    if (kind === 'process.lua') return
    const why =
      kind === undefined ? 'there is no process.lua with this id' : `the entry is a ${kind}, not a process.lua`
    throw new MoonmeshError('NotFound', `factory not found: ${toText(id)} (${why})`, {
      retryable: false,
      details: { factory_id: toText(id) },
    })
  }

  protected override kill(process: Process, outcome: Outcome): void {
    if ((process as LuaProcess).frame !== undefined && !process.isEnded) this.#wasForced.add(process)
    if (!(process as LuaProcess).doom(outcome)) super.kill(process, outcome)
  }

  protected override get refusesTermination(): boolean {
    return this.terminal !== undefined
  }

  /** Whoever started the process on the terminal shows its failure there; a caller gets that of a function. */
  protected override reportsFailure(process: Process): boolean {
    return this.terminal === undefined && (process as LuaProcess).frame === undefined
  }

  override ended(process: Process, outcome: Outcome): void {
    super.ended(process, outcome)
    this.terminal?.reset()
  }

  // ---- saving

  protected override capture({ to, stop, ...options }: CaptureQuestion, done: (answer: Answer<Value>) => void): void {
    const process = this.process(to) as LuaProcess | undefined
    if (process === undefined) {
      const error = new MoonmeshError('NotFound', `process not found: ${toText(to)}`, { retryable: false })
      return done({ ok: false, error })
    }
    process.capture(options, (answer) => {
      if (!answer.ok) return done(answer)
      const { links, monitors, monitoredBy, names } = this.relationsOf(to)
      const { entryId, codes, unreadCount, heap } = answer.value
      // Before anybody has the document: there are never two of it.
      if (stop) this.ended(process, captured())
      const list = (items: readonly Value[]): TableValue => new TableValue([...items])
      const about = record({
        pid: to,
        host: this.options.id,
        entry: entryId,
        codes: list(codes.map(({ name, hash }) => record({ name, hash }))),
        unread: unreadCount,
        names: list(names),
        links: list(links),
        monitors: list(monitors),
        monitoredBy: list(monitoredBy),
      })
      done({ ok: true, value: list([about, fromUint8Array(heap)]) })
    })
  }

  /** What lies in the channels of a process that starts over waits in its mailbox again. */
  returnUnread(process: Process): void {
    const { mailbox } = process
    const sinks = [...mailbox.sinks()] as unknown as Sink[]
    const items = sinks.flatMap((sink) => sink.drain())
    // The code that starts now is the newest: to hear that the old one was not is of no use to it.
    const events = items.filter((item): item is LifecycleEvent => 'kind' in item && item.kind !== 'outdated')
    const messages = items.filter((item): item is Envelope => !('kind' in item))
    mailbox.reset({ messages, events })
  }

  /** Whatever starts from now on runs the new code; what runs keeps the old. */
  #newCode({ entries, removed }: Extract<ToHost, { kind: 'code' }>): void {
    for (const id of removed) this.#entries.delete(id)
    for (const entry of entries) this.#entries.set(entry.id, entry)
    const outdated = this.sandbox.forget(new Set([...entries.map(({ id }) => id), ...removed]))
    this.calls.forget((id) => outdated.has(id))
  }

  #outdated(sources: ReadonlySet<string>): void {
    for (const process of this.processes()) (process as LuaProcess).outdated(sources)
  }

  protected override handleOther(message: ToHost): void {
    if (message.kind === 'code') this.#newCode(message)
    else if (message.kind === 'outdated') this.#outdated(new Set(message.sources))
    else if (message.kind === 'policies') this.policies.replace(this.#isConsole ? NO_POLICIES : message.policies)
    else if (message.kind === 'terminal-written') this.terminal?.written(message.byteCount)
    else if (message.kind === 'terminal-args') this.terminal?.setArgs(message.args)
    else if (message.kind === 'terminal-data') this.terminal?.arrived(message.ref, message.bytes, message.error)
  }
}
