// Keeps services running: performs what the core decides, and feeds back what came of it. lua-core.md §22.

import { assert, unreachable } from '../base/assert.ts'
import type { Env } from '../base/env.ts'
import { MoonmeshError, messageOf } from '../base/errors.ts'
import { errorTo } from '../base/plain.ts'
import type { LogLevel, Outcome } from '../services.ts'
import {
  type Ending,
  type ServiceDefinition,
  type ServiceState,
  type ServiceStatus,
  SupervisorCore,
  type SupervisorEffect,
  type SupervisorInput,
} from './core/supervisor.ts'

export type { ServiceDefinition, ServiceState, ServiceStatus } from './core/supervisor.ts'

/** Who knows how to start and stop a service of some kind. */
export interface ServiceControl {
  /**
   * Resolves when running; `ended` resolves (never rejects) when it ends by itself. When the end of a host takes services with it,
   * let the host's `ended` resolve before theirs: then their failures are not counted as attempts.
   * @throws MoonmeshError when it cannot be started; `retryable: false` when trying again cannot help
   */
  start(id: string): Promise<{ ended: Promise<Outcome> }>
  /**
   * Graceful, then by force after `timeoutMs`. Once it has resolved, nothing of the service is left or will come to be. It may be
   * called while `start` is pending: what that resolves to no longer matters. It may be called again while it is pending, with a
   * `timeoutMs` of 0: then no more time is given. With nothing left to stop it resolves to `graceful`.
   */
  stop(id: string, options: { timeoutMs: number; reason: string }): Promise<'graceful' | 'forced'>
}

export interface Timers {
  /** Calls `fire` once, not before `delayMs` milliseconds have passed. Returns what cancels it. */
  setTimer(delayMs: number, fire: () => void): () => void
}

export interface StateChange {
  readonly id: string
  readonly from: ServiceState
  readonly to: ServiceState
  /** Why, when something failed. */
  readonly error?: MoonmeshError
}

/** Called between two steps; they may call the supervisor, and must not throw. */
export interface SupervisorHooks {
  onState?(change: StateChange): void
  log(level: LogLevel, text: string, fields: Record<string, unknown>): void
}

interface Deferred {
  readonly promise: Promise<void>
  resolve(): void
  reject(error: MoonmeshError): void
}

/** The longest delay that Node's timers take; a longer one would fire at once. */
const DELAY_MS_MAX = 2 ** 31 - 1

export class Supervisor {
  readonly #control: ServiceControl
  readonly #env: Timers
  readonly #hooks: SupervisorHooks
  readonly #core: SupervisorCore
  readonly #timers = new Map<number, () => void>()
  readonly #requests = new Map<number, Deferred>()
  /** Inputs that came while one was being worked off. */
  readonly #inputs: SupervisorInput[] = []
  #isStepping = false
  #requestCount = 0
  #starting: Deferred | undefined
  #stopping: Deferred | undefined
  #startError: MoonmeshError | undefined

  constructor(
    definitions: readonly ServiceDefinition[],
    control: ServiceControl,
    env: Env & Timers,
    hooks: SupervisorHooks,
  ) {
    this.#control = control
    this.#env = env
    this.#hooks = hooks
    this.#core = new SupervisorCore(definitions, env)
  }

  /**
   * Resolves when every service that starts with the node runs, or is optional and was skipped. Call it once.
   * @throws MoonmeshError the first failure of a required service (details: `{ service }`, cause: its error), `Invalid` for a cycle,
   *   `Canceled` when stopped meanwhile. By then everything is stopped.
   */
  start(): Promise<void> {
    if (this.#starting !== undefined || this.#stopping !== undefined) {
      return Promise.reject(new MoonmeshError('InvalidState', 'a supervisor starts once, before it is stopped'))
    }
    this.#starting = deferred()
    this.#feed({ kind: 'start' })
    return this.#starting.promise
  }

  /**
   * Stops everything, dependents first. Idempotent; never rejects.
   * @param options.force gives nobody time to end by itself, also when a graceful stop is under way
   */
  stop(options: { force?: boolean } = {}): Promise<void> {
    this.#stopping ??= deferred()
    this.#feed({ kind: 'stop', force: options.force ?? false })
    return this.#stopping.promise
  }

  /**
   * Starts one service and what it needs; resolves when it runs. Its earlier failures are forgotten.
   * @throws MoonmeshError why it, or something it needs, failed (it may still come up by its restart policy), `Canceled` when it is
   *   stopped meanwhile, `NotFound`, `InvalidState` before `start` and after `stop`
   */
  startService(id: string): Promise<void> {
    return this.#ask((request) => ({ kind: 'start-service', id, request }))
  }

  /**
   * Stops one service, after what needs it; resolves when they are gone. They stay down until someone starts them, also under new
   * definitions.
   * @throws MoonmeshError `NotFound`, or the error with which one of them could not be stopped
   */
  stopService(id: string): Promise<void> {
    return this.#ask((request) => ({ kind: 'stop-service', id, request }))
  }

  /**
   * Stops one service and what needs it, and starts them again; resolves when it runs.
   * @throws like `startService`
   */
  restart(id: string): Promise<void> {
    return this.#ask((request) => ({ kind: 'restart-service', id, request }))
  }

  /**
   * Replaces the definitions by a complete new list. What is gone is stopped, dependents first, and forgotten. What is defined otherwise, or
   * is named as changed, is stopped, and so is what depends on it; when all of that is down, the new definitions come into force, and it
   * starts again unless a person had stopped it or it was never to run. What is new starts if it is to start with the node, or is needed
   * by what is. The rest keeps running. One that gave up starts again if it changed or depends on what did; one that waits for a
   * service that a person keeps down goes on waiting, and nobody waits for it.
   *
   * Resolves when everything is where it should be. Calls take their turns; during `start`, they wait for it. A person may start and stop
   * services meanwhile: what they say holds, and what changes starts by its new definition.
   * @param changedIds services whose content changed although their definition did not; ids of no service are ignored
   * @param options.knownIds what a service may depend on although it is no service; without it, that may be anything
   * @throws MoonmeshError nothing has happened: `Invalid` for a cycle, an unknown dependency or an id defined twice, `InvalidState` before
   *   `start` and after `stop`, `RateLimited` when too many calls wait. `Canceled` when the node is stopped meanwhile. Otherwise the first
   *   failure of a required service, to start within its time or to stop (details: `{ service }`, cause: its error): the new
   *   definitions are in force, the rest goes on by them, and another call with the old ones, and the same `changedIds`, brings
   *   those back
   */
  reconfigure(
    definitions: readonly ServiceDefinition[],
    changedIds: ReadonlySet<string>,
    options: { readonly knownIds?: ReadonlySet<string> } = {},
  ): Promise<void> {
    const { knownIds } = options
    return this.#ask((request) => ({ kind: 'reconfigure', definitions, changedIds, knownIds, request }))
  }

  /** All services, in the order of the definitions. */
  services(): ServiceStatus[] {
    return this.#core.snapshot()
  }

  #ask(inputOf: (request: number) => SupervisorInput): Promise<void> {
    const request = ++this.#requestCount
    const answer = deferred()
    this.#requests.set(request, answer)
    this.#feed(inputOf(request))
    return answer.promise
  }

  /** One input at a time: all effects of one are performed before the next is looked at. */
  #feed(input: SupervisorInput): void {
    this.#inputs.push(input)
    if (this.#isStepping) return
    this.#isStepping = true
    try {
      for (let next = this.#inputs.shift(); next !== undefined; next = this.#inputs.shift()) {
        for (const effect of this.#core.step(next)) this.#perform(effect)
      }
    } finally {
      this.#isStepping = false
    }
  }

  #perform(effect: SupervisorEffect): void {
    switch (effect.kind) {
      case 'start':
        void this.#startInstance(effect.id, effect.attempt)
        break
      case 'stop':
        void this.#stopInstance(effect)
        break
      case 'set-timer':
        this.#setTimer(effect.timer, effect.delayMs, effect.due)
        break
      case 'cancel-timer':
        this.#timers.get(effect.timer)?.()
        this.#timers.delete(effect.timer)
        break
      case 'state-changed': {
        const { id, from, to, error } = effect
        this.#hooks.onState?.({ id, from, to, ...(error === undefined ? {} : { error }) })
        break
      }
      case 'log':
        this.#hooks.log(effect.level, effect.text, { service: effect.id })
        break
      case 'reply': {
        const answer = this.#requests.get(effect.request)
        assert(answer !== undefined, 'a request is answered once')
        this.#requests.delete(effect.request)
        if (effect.error === undefined) answer.resolve()
        else answer.reject(effect.error)
        break
      }
      case 'redefined': {
        const { gone, added, changed } = effect
        const text = `services redefined: ${added.length} new, ${changed.length} changed, ${gone.length} gone`
        this.#hooks.log('debug', text, { added, changed, gone })
        break
      }
      case 'ready':
        this.#starting?.resolve()
        break
      case 'start-failed':
        this.#startError = effect.error
        break
      case 'all-stopped':
        assert(this.#timers.size === 0, 'no timer outlives the services')
        if (this.#startError !== undefined) this.#starting?.reject(this.#startError)
        this.#stopping ??= deferred()
        this.#stopping.resolve()
        break
      default:
        unreachable(effect)
    }
  }

  async #startInstance(id: string, attempt: number): Promise<void> {
    let ended: Promise<Outcome>
    try {
      ended = (await this.#control.start(id)).ended
    } catch (thrown) {
      this.#feed({ kind: 'start-failed', id, attempt, error: failureOf(thrown) })
      return
    }
    this.#feed({ kind: 'started', id, attempt })
    const ending = await ended.then(endingOf, (thrown): Ending => ({ ok: false, error: failureOf(thrown) }))
    this.#feed({ kind: 'ended', id, attempt, ending })
  }

  async #stopInstance({ id, attempt, timeoutMs, reason }: Extract<SupervisorEffect, { kind: 'stop' }>): Promise<void> {
    let how: 'graceful' | 'forced'
    try {
      how = await this.#control.stop(id, { timeoutMs, reason })
    } catch (thrown) {
      this.#feed({ kind: 'stop-failed', id, attempt, error: failureOf(thrown) })
      return
    }
    this.#feed({ kind: 'stopped', id, attempt, how })
  }

  #setTimer(timer: number, delayMs: number, due: SupervisorInput): void {
    const cancel = this.#env.setTimer(Math.min(delayMs, DELAY_MS_MAX), () => {
      this.#timers.delete(timer)
      this.#feed(due)
    })
    this.#timers.set(timer, cancel)
  }
}

function endingOf(outcome: Outcome): Ending {
  return outcome.ok ? { ok: true } : { ok: false, error: errorTo(outcome.error) }
}

function failureOf(thrown: unknown): MoonmeshError {
  return thrown instanceof MoonmeshError ? thrown : new MoonmeshError('Internal', messageOf(thrown), { cause: thrown })
}

function deferred(): Deferred {
  let resolve: Deferred['resolve'] = () => {}
  let reject: Deferred['reject'] = () => {}
  const promise = new Promise<void>((onResolve, onReject) => {
    resolve = onResolve
    reject = onReject
  })
  return { promise, resolve, reject }
}
