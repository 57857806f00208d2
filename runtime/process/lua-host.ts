// A host whose processes are Lua: the engine, the code of the entries, the terminal if it has one.

import { MoonmeshError } from '../base/errors.ts'
import type { Engine } from '../lua/engine.ts'
import { type CodeEntry, Sandbox } from '../lua/sandbox.ts'
import type { Envelope, LibraryModule, LifecycleEvent, Outcome, Sink } from '../services.ts'
import { Host, type HostOptions } from './host.ts'
import { LuaProcess } from './lua-process.ts'
import type { FromHost, Port, SpawnRequest, ToHost } from './port.ts'
import type { Process } from './process.ts'
import type { SchedulerDriver } from './scheduler.ts'
import { TerminalPort } from './terminal.ts'

export interface LuaHostOptions extends HostOptions {
  /** A terminal host: one process at a time, with the standard streams. */
  hasTerminal: boolean
}

export class LuaHost extends Host {
  readonly engine: Engine
  readonly sandbox: Sandbox
  readonly terminal: TerminalPort | undefined
  readonly #entries = new Map<string, CodeEntry>()

  constructor(
    options: LuaHostOptions,
    port: Port<FromHost, ToHost>,
    driver: SchedulerDriver,
    engine: Engine,
    modules: readonly LibraryModule[],
  ) {
    super(options, port, driver)
    this.engine = engine
    this.sandbox = new Sandbox(engine, modules, (id) => this.#entries.get(id))
    this.terminal = options.hasTerminal ? new TerminalPort(port) : undefined
  }

  protected override create(pid: string, request: SpawnRequest): Process {
    if (this.terminal !== undefined && this.processCount > 0) {
      throw new MoonmeshError('Unavailable', `terminal host ${this.options.id} already runs a process`, {
        retryable: true,
      })
    }
    this.assertProcessEntry(request.entryId, request.allowsFunction)
    return new LuaProcess(this, pid, request)
  }

  /** @throws MoonmeshError `NotFound` when the entry is no process */
  assertProcessEntry(id: string, allowsFunction = false): void {
    const kind = this.#entries.get(id)?.kind
    if (kind === 'process.lua' || (allowsFunction && kind === 'function.lua')) return
    const why = kind === undefined ? 'no such entry' : `the entry is a ${kind}, not a process.lua`
    throw new MoonmeshError('NotFound', `factory not found: ${id} (${why})`, {
      retryable: false,
      details: { factory_id: id },
    })
  }

  protected override kill(process: Process, outcome: Outcome): void {
    if (!(process as LuaProcess).doom(outcome)) super.kill(process, outcome)
  }

  protected override get refusesTermination(): boolean {
    return this.terminal !== undefined
  }

  /** Whoever started the process on the terminal shows its failure there. */
  protected override get reportsFailures(): boolean {
    return this.terminal === undefined
  }

  override ended(process: Process, outcome: Outcome): void {
    super.ended(process, outcome)
    this.terminal?.reset()
  }

  /** What lies in the channels of a process that starts over waits in its mailbox again. */
  returnUnread(process: Process): void {
    const { mailbox } = process
    const sinks = [...mailbox.sinks()] as unknown as Sink[]
    const items = sinks.flatMap((sink) => sink.drain())
    const events = items.filter((item): item is LifecycleEvent => 'kind' in item)
    const messages = items.filter((item): item is Envelope => !('kind' in item))
    mailbox.reset({ messages, events })
  }

  protected override handleOther(message: ToHost): void {
    if (message.kind === 'code') {
      for (const entry of message.entries) this.#entries.set(entry.id, entry)
      this.sandbox.forget()
    } else if (message.kind === 'terminal-written') this.terminal?.written(message.byteCount)
    else if (message.kind === 'terminal-args') this.terminal?.setArgs(message.args)
    else if (message.kind === 'terminal-data') this.terminal?.arrived(message.ref, message.bytes, message.error)
  }
}
