// Calls of functions, and of processes that name a default host: pools of instances, retries, time limits, cancelling. lua-core.md §4.2, §15.
// A function runs in the caller's own worker, as a process of its own kind: it has a PID and a mailbox, and everything of it ends with the call.

import { toText } from '../base/bytes.ts'
import { MoonmeshError } from '../base/errors.ts'
import { errorFrom } from '../base/plain.ts'
import { ErrorValue, type Value } from '../base/value.ts'
import type { CodeEntry, Image } from '../lua/sandbox.ts'
import type { Answer, CallOptions, Evaluation, RunningCall, Timer } from '../services.ts'
import { type Claim, Pool } from './core/pool.ts'
import { retryDelayMs } from './core/retry.ts'
import type { LuaHost } from './lua-host.ts'
import type { Instance, LuaProcess } from './lua-process.ts'
import type { SpawnRequest } from './port.ts'

type Done<T> = (answer: Answer<T>) => void

/** An idle instance is kept this long. */
const IDLE_MS = 30_000
/** Calls within calls; more are a recursion that does not end. */
const DEPTH_MAX = 256

/** One run of a function. */
export interface Frame {
  readonly functionId: string
  /** The process that called; undefined for the node itself. */
  readonly caller: LuaProcess | undefined
  readonly depth: number
  /** What it runs on; undefined: it loads an instance of its own first. */
  readonly instance: Instance | undefined
  /** Source text that is no entry: its image, and the method to run ('' is the chunk itself). */
  readonly adHoc?: { readonly image: Image; readonly method: string }
}

interface FunctionPool {
  readonly entry: CodeEntry
  readonly pool: Pool<Instance>
  sweep: Timer | undefined
  callCount: number
}

export class Calls {
  readonly #host: LuaHost
  #pools = new Map<string, FunctionPool>()

  constructor(host: LuaHost) {
    this.#host = host
  }

  /** The code of functions changed: calls under way finish on what they began with. */
  forget(isChanged: (entryId: string) => boolean): void {
    for (const [id, { sweep }] of this.#pools) {
      if (!isChanged(id)) continue
      sweep?.cancel()
      this.#pools.delete(id)
    }
  }

  /** Calls by the rules of the callee: tries, time limit. `done` is called once, unless the call is cancelled first. */
  call(
    caller: LuaProcess,
    target: string,
    args: readonly Value[],
    options: CallOptions,
    done: Done<Value>,
  ): RunningCall {
    const call = new CallUnderWay(this.#host, { caller, target, args, options, done })
    call.start()
    return call
  }

  /**
   * Runs a function once.
   * @param started gets the PID of the run, or why there is none
   * @returns ends it: `done` is not called any more
   */
  run(
    entry: CodeEntry,
    request: SpawnRequest,
    caller: LuaProcess | undefined,
    started: Done<string>,
    done: Done<Value>,
  ): () => void {
    const depth = (caller?.frame?.depth ?? 0) + 1
    if (depth > DEPTH_MAX) {
      const text = `calls of functions nest deeper than ${DEPTH_MAX}: ${toText(entry.id)}`
      started({ ok: false, error: new MoonmeshError('LimitExceeded', text, { retryable: false }) })
      return () => {}
    }
    const known = this.#poolOf(entry)
    let frame: LuaProcess | undefined
    let isGranted = false
    let isOver = false
    const claim: Claim<Instance> = {
      granted: (instance) => {
        isGranted = true
        const finished = (answer: Answer<Value>, usable: Instance | undefined): void => {
          if (isOver) return
          isOver = true
          this.#giveBack(known, usable)
          done(answer)
        }
        frame = this.#host.runFrame(
          { functionId: entry.id, caller, depth, instance },
          request,
          (answer) => {
            if (!answer.ok) {
              isOver = true
              this.#giveBack(known, undefined)
            }
            started(answer)
          },
          finished,
        )
      },
    }
    known.pool.claim(claim, holdsInstanceOf(entry.id, caller))
    return () => {
      if (isOver) return
      known.pool.withdraw(claim, isGranted)
      if (frame === undefined) {
        isOver = true
        return
      }
      const canceled = new ErrorValue('Canceled', 'call canceled', false)
      this.#host.endFrame(frame, { ok: false, error: canceled })
    }
  }

  /** Runs source text that is no entry, once, in a frame that nobody else gets. */
  evaluate(caller: LuaProcess, evaluation: Evaluation, done: Done<Value>): void {
    const depth = (caller.frame?.depth ?? 0) + 1
    let image: Image
    try {
      if (depth > DEPTH_MAX) throw new MoonmeshError('LimitExceeded', `evaluations nest deeper than ${DEPTH_MAX}`)
      image = this.#host.sandbox.adHoc(evaluation)
    } catch (error) {
      return done({ ok: false, error: errorFrom(error) })
    }
    const adHoc = { image, method: evaluation.method }
    const { args, context } = evaluation
    const request = caller.requestFor(image.entry.id, this.#host.options.id, args, { context })
    let leave = (): void => {}
    const finished = (answer: Answer<Value>): void => {
      leave()
      done(answer)
    }
    const started = (answer: Answer<string>): void => {
      if (!answer.ok) finished(answer)
    }
    const frame = { functionId: image.entry.id, caller, depth, instance: undefined, adHoc }
    const process = this.#host.runFrame(frame, { ...request, context }, started, finished)
    const canceled = new ErrorValue('Canceled', 'evaluation canceled', false)
    leave = caller.onEnd(() => this.#host.endFrame(process, { ok: false, error: canceled }))
  }

  #poolOf(entry: CodeEntry): FunctionPool {
    const known = this.#pools.get(entry.id)
    if (known !== undefined && known.entry === entry) return known
    known?.sweep?.cancel()
    const made: FunctionPool = {
      entry,
      pool: new Pool(entry.pool ?? { type: 'lazy', workers: 0, maxSize: 16 }),
      sweep: undefined,
      callCount: 0,
    }
    this.#pools.set(entry.id, made)
    return made
  }

  #giveBack(known: FunctionPool, instance: Instance | undefined): void {
    const isCurrent = this.#pools.get(known.entry.id) === known
    known.pool.giveBack(isCurrent ? instance : undefined, this.#host.env.nowMs())
    if (isCurrent) this.#sweepLater(known)
  }

  /** A static pool keeps what it has; of the others nobody keeps idle instances for long. */
  #sweepLater(known: FunctionPool): void {
    if (known.sweep !== undefined || known.pool.idleCount === 0 || known.entry.pool?.type === 'static') return
    known.sweep = this.#host.after(IDLE_MS, () => {
      known.sweep = undefined
      known.pool.dropIdle(this.#host.env.nowMs(), IDLE_MS)
      this.#sweepLater(known)
    })
  }
}

/** Whether a call of the function is among those that led to this one. */
function holdsInstanceOf(functionId: string, caller: LuaProcess | undefined): boolean {
  for (let process = caller; process?.frame !== undefined; process = process.frame.caller) {
    if (process.frame.functionId === functionId) return true
  }
  return false
}

interface CallParts {
  readonly caller: LuaProcess
  readonly target: string
  readonly args: readonly Value[]
  readonly options: CallOptions
  readonly done: Done<Value>
}

/** One call with its tries. */
class CallUnderWay implements RunningCall {
  readonly #host: LuaHost
  readonly #parts: CallParts
  readonly #leave: () => void
  #attempt = 0
  #isOver = false
  #stop: (() => void) | undefined
  #limit: Timer | undefined
  #retry: Timer | undefined

  constructor(host: LuaHost, parts: CallParts) {
    this.#host = host
    this.#parts = parts
    this.#leave = parts.caller.onEnd(() => this.#abort())
  }

  start(): void {
    const { timeoutMs } = this.#parts.options
    if (timeoutMs !== undefined) this.#limit = this.#host.after(timeoutMs, () => this.#timedOut(timeoutMs))
    this.#try()
  }

  cancel(): void {
    if (!this.#isOver) this.#abort()
  }

  #timedOut(timeoutMs: number): void {
    const text = `call of ${toText(this.#parts.target)} took longer than ${timeoutMs} ms`
    this.#abort()
    this.#parts.done({ ok: false, error: new MoonmeshError('Timeout', text, { retryable: false }) })
  }

  /** Over, without an answer of the callee. */
  #abort(): void {
    this.#finish()
    this.#stop?.()
  }

  #finish(): void {
    this.#isOver = true
    this.#limit?.cancel()
    this.#retry?.cancel()
    this.#leave()
  }

  #try(): void {
    this.#attempt++
    const { caller, target, args, options } = this.#parts
    const entry = this.#host.codeOf(target)
    const host = entry?.defaultHost
    if (entry === undefined || (entry.kind !== 'function.lua' && host === undefined)) {
      return this.#settle({ ok: false, error: noHandler(target) }, undefined)
    }
    const request = caller.requestFor(target, host ?? this.#host.options.id, args, options)
    this.#stop = entry.kind === 'function.lua' ? this.#runFunction(entry, request) : this.#runProcess(entry, request)
  }

  #runFunction(entry: CodeEntry, request: SpawnRequest): () => void {
    const started = (answer: Answer<string>): void => {
      if (!answer.ok) this.#settle(answer, entry)
    }
    return this.#host.calls.run(entry, request, this.#parts.caller, started, (answer) => this.#settle(answer, entry))
  }

  /** A called process is asked to stop, and may take its time. */
  #runProcess(entry: CodeEntry, request: SpawnRequest): () => void {
    let pid: string | undefined
    let isStopped = false
    const cancel = (to: string): void => {
      this.#host.ask({ kind: 'cancel', to, from: this.#parts.caller.pid, reason: 'call canceled' }, () => {})
    }
    this.#host.spawn(
      { ...request, wantsEnd: true },
      (answer) => {
        if (!answer.ok) return this.#settle(answer, entry)
        pid = answer.value
        if (isStopped) cancel(pid)
      },
      (answer) => this.#settle(answer, entry),
    )
    return () => {
      isStopped = true
      if (pid !== undefined) cancel(pid)
    }
  }

  #settle(answer: Answer<Value>, entry: CodeEntry | undefined): void {
    if (this.#isOver) return
    const error = answer.ok ? undefined : errorFrom(answer.error)
    const delayMs = error && retryDelayMs(entry?.retry, this.#attempt, error, this.#host.env)
    if (delayMs !== undefined) {
      this.#stop = undefined
      this.#retry = this.#host.after(delayMs, () => this.#try())
      return
    }
    this.#finish()
    this.#parts.done(answer)
  }
}

function noHandler(target: string): MoonmeshError {
  const details = { target: toText(target) }
  return new MoonmeshError('NotFound', `no handler registered for target: ${toText(target)}`, {
    retryable: false,
    details,
  })
}
