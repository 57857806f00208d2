// Runs one host entry: its workers, or the host itself inline; what happens when a worker dies.

import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import { toBytes } from './base/bytes.ts'
import { MoonmeshError, messageOf } from './base/errors.ts'
import { ErrorValue } from './base/value.ts'
import type { LuaSettings } from './lua/engines.ts'
import type { CodeEntry } from './lua/sandbox.ts'
import { isSource, WORKER } from './places.ts'
import type { LuaHost, LuaHostOptions } from './process/lua-host.ts'
import { type FromHost, inlinePorts, type Port, type ToHost } from './process/port.ts'
import { ThreadPort } from './process/thread-port.ts'
import type { WorkerData } from './process/worker.ts'
import type { HostLine, Relay } from './relay/relay.ts'
import type { Outcome, PolicySet } from './services.ts'

export interface HostDefinition {
  id: string
  /** 0 = inline; otherwise an upper bound on worker threads. */
  workerCountMax: number
  processCountMax: number
  mailboxCountMax: number
  /** Heap of one worker; undefined: the engine's own limit. */
  memoryBytesMax: number | undefined
  hasTerminal: boolean
  /** Default: no. */
  isConsole?: boolean
}

export interface RunnerContext {
  relay: Relay
  node: string | undefined
  epoch: number
  code(): readonly CodeEntry[]
  policies(): PolicySet
  readonly lua: LuaSettings
  /** Calls of functions are counted and timed. */
  recordsFunctions: boolean
  log(level: 'info' | 'warn' | 'error', fields: Record<string, unknown>, text: string): void
}

interface Running {
  line: HostLine
  worker: Worker | undefined
  host: LuaHost | undefined
  whenReady: () => void
  readonly whenStopped: (() => void)[]
}

const MEBIBYTE = 1024 * 1024

/** How many threads `workers` means on this machine: one core stays with the node. */
function threadCount(workers: number, cores = availableParallelism()): number {
  return workers === 0 ? 0 : Math.max(1, Math.min(workers, cores - 1))
}

export class HostRunner {
  readonly definition: HostDefinition
  readonly #context: RunnerContext
  readonly #running = new Set<Running>()
  #isStopping = false
  #ended: ((outcome: Outcome) => void) | undefined

  constructor(definition: HostDefinition, context: RunnerContext) {
    this.definition = definition
    this.#context = context
    context.relay.declareHost(toBytes(definition.id))
  }

  /** Whether the line is one of this host's. */
  owns(line: HostLine): boolean {
    return line.hostId === toBytes(this.definition.id)
  }

  /** Resolves when every worker is ready. `ended` resolves when the last of them has died by itself. */
  async start(): Promise<{ ended: Promise<Outcome> }> {
    this.#isStopping = false
    const ended = new Promise<Outcome>((resolve) => {
      this.#ended = resolve
    })
    const threads = threadCount(this.definition.workerCountMax)
    if (threads === 0) await this.#startInline()
    else await Promise.all(Array.from({ length: threads }, () => this.#startWorker(threads)))
    return { ended }
  }

  #options(threads: number): LuaHostOptions {
    const { id, processCountMax, mailboxCountMax, hasTerminal, isConsole = false } = this.definition
    const { node, epoch, relay, recordsFunctions } = this.#context
    return {
      id: toBytes(id),
      node,
      epoch,
      ...relay.takeSlot(),
      processCountMax: Math.ceil(processCountMax / Math.max(1, threads)),
      mailboxCountMax,
      sharesHost: threads > 1,
      hasTerminal,
      recordsFunctions,
      isConsole,
    }
  }

  async #startInline(): Promise<void> {
    // Not before: a node whose hosts all have threads starts faster without it.
    const { openHost } = await import('./process/open-host.ts')
    const open = await openHost(this.#context.lua)
    if (this.#isStopping) throw new MoonmeshError('Unavailable', `host ${this.definition.id} is shutting down`)
    const [nodePort, hostPort] = inlinePorts<ToHost, FromHost>((run) => setImmediate(run))
    const options = this.#options(0)
    const host = open({ options, port: hostPort })
    const { relay } = this.#context
    host.sendAway = (...message) => relay.sendAway(...message)
    this.#open({ id: options.id, slot: options.slot, port: nodePort, worker: undefined, host, whenReady: () => {} })
  }

  #startWorker(threads: number): Promise<void> {
    if (isSource) {
      throw new MoonmeshError(
        'Unavailable',
        'worker threads need the built package; run from dist/ or use host.workers: 0',
      )
    }
    const options: WorkerData = { ...this.#options(threads), lua: this.#context.lua }
    const { memoryBytesMax } = this.definition
    const worker = new Worker(WORKER, {
      name: this.definition.id,
      workerData: options,
      ...(memoryBytesMax === undefined
        ? {}
        : { resourceLimits: { maxOldGenerationSizeMb: Math.max(16, memoryBytesMax / MEBIBYTE) } }),
    })
    const port = new ThreadPort<ToHost, FromHost>(worker)
    return new Promise((resolve, reject) => {
      const running = this.#open({
        id: options.id,
        slot: options.slot,
        port,
        worker,
        host: undefined,
        whenReady: resolve,
      })
      let reason = 'worker thread ended'
      worker.on('error', (error) => {
        reason = reasonOf(error)
      })
      worker.on('exit', () => {
        reject(new MoonmeshError('Unavailable', `host ${this.definition.id} could not start: ${reason}`))
        this.#lost(running, reason)
      })
    })
  }

  #open(parts: {
    id: string
    slot: number
    port: Port<ToHost, FromHost>
    worker: Worker | undefined
    host: LuaHost | undefined
    whenReady: () => void
  }): Running {
    const { id, slot, port, worker, host, whenReady } = parts
    const running: Running = { line: { hostId: id, slot, port }, worker, host, whenReady, whenStopped: [] }
    this.#running.add(running)
    this.#context.relay.open(running.line)
    port.post({ kind: 'code', entries: this.#context.code(), removed: [] })
    port.post({ kind: 'policies', policies: this.#context.policies() })
    return running
  }

  ready(line: HostLine): void {
    for (const running of this.#running) if (running.line === line) running.whenReady()
  }

  stopped(line: HostLine): void {
    for (const running of this.#running)
      if (running.line === line) for (const done of running.whenStopped.splice(0)) done()
  }

  /** A worker is gone. Its processes have ended, and the host with the last worker. */
  #lost(running: Running, reason: string): void {
    if (!this.#running.delete(running)) return
    running.line.port.close()
    const text = this.#isStopping ? 'host is shutting down' : `host worker crashed: ${reason}`
    this.#context.relay.lost(
      running.line,
      new ErrorValue('Unavailable', toBytes(`${text} (${this.definition.id})`), true),
    )
    for (const done of running.whenStopped.splice(0)) done()
    if (this.#isStopping) return
    this.#context.log('error', { host: this.definition.id, reason }, `host worker crashed: ${reason}`)
    if (this.#running.size > 0) this.#replace()
    else this.#ended?.({ ok: false, error: new ErrorValue('Unavailable', toBytes(text), true) })
  }

  /** The others go on; a worker that cannot be replaced leaves the host smaller until the next crash or restart. */
  #replace(): void {
    this.#startWorker(threadCount(this.definition.workerCountMax)).catch((error: unknown) => {
      this.#context.log('error', { host: this.definition.id }, `host worker not replaced: ${messageOf(error)}`)
    })
  }

  /** CANCEL to every process, force after the timeout. */
  async stop(options: { timeoutMs: number; reason: string }): Promise<'graceful' | 'forced'> {
    this.#isStopping = true
    const startMs = performance.now()
    await Promise.all([...this.#running].map((running) => this.#stopOne(running, options)))
    return performance.now() - startMs < options.timeoutMs ? 'graceful' : 'forced'
  }

  async #stopOne(running: Running, options: { timeoutMs: number; reason: string }): Promise<void> {
    const stopped = new Promise<void>((resolve) => {
      running.whenStopped.push(resolve)
    })
    running.line.port.post({ kind: 'stop', ...options })
    // A worker that runs no turns any more does not answer; it is ended all the same.
    const grace = new Promise<void>((resolve) => setTimeout(resolve, options.timeoutMs + STOP_GRACE_MS).unref())
    await Promise.race([stopped, grace])
    await running.worker?.terminate()
    this.#lost(running, 'stopped')
    running.host?.close()
  }
}

const STOP_GRACE_MS = 1000

function reasonOf(error: unknown): string {
  const { code } = error as { code?: string }
  if (code === 'ERR_WORKER_OUT_OF_MEMORY') return 'out of memory (host.memory_limit)'
  return messageOf(error)
}
