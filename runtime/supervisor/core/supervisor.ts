// The life of all services of a node: who starts, who stops, who starts again, in which order. lua-core.md §22; shutdown order and
// late exits after erlang/otp supervisor.erl.
//
// An input changes what is wanted or tells what happened; `#reconcile` then starts and stops whatever may move. Each service has at
// most one instance: from `starting` until the world has said that it ended, was stopped, or never came to be. An instance is known
// by its attempt number; what the world tells of an earlier attempt is ignored.
//
// New definitions take three stages: what changed, and what depends on it, leaves under the old definitions; when nothing of that is left,
// the new ones come into force; then everything that is to run is launched like at the start of all. lua-core.md §19.3.

import { assert, unreachable } from '../../base/assert.ts'
import type { Env } from '../../base/env.ts'
import { type ErrorKind, MoonmeshError } from '../../base/errors.ts'
import { type RestartOptions, RestartPolicy } from './restart.ts'
import { Sequence } from './sequence.ts'

export type ServiceState = 'unknown' | 'starting' | 'running' | 'stopping' | 'stopped' | 'failed' | 'exited'

/** How a host or service is started, stopped and started again. lua-core.md §4.3. */
export interface Lifecycle {
  /** Starts with the node. */
  readonly autoStart: boolean
  /** Limit for reaching `running`. */
  readonly startTimeoutMs: number
  /** Limit for a graceful stop. */
  readonly stopTimeoutMs: number
  /** After running this long, the count of attempts returns to zero. */
  readonly stableThresholdMs: number
  /** `required`: failing to start fails the start of all. `optional`: the failed branch is skipped. */
  readonly startup: 'required' | 'optional'
  readonly restart: RestartOptions
}

export interface ServiceDefinition {
  readonly id: string
  /** The entry's kind, for display. */
  readonly kind: string
  readonly lifecycle: Lifecycle
  /** Ids that must run first. An id that is no service itself counts as running. */
  readonly dependencies: readonly string[]
}

export interface ServiceStatus {
  readonly id: string
  readonly kind: string
  readonly state: ServiceState
  /** Starts in a row without a stable run. */
  readonly attempts: number
  /** Wall-clock milliseconds since 1970 at which it entered its state. */
  readonly sinceMs: number
  /** Why it last failed; gone once it runs again. */
  readonly error?: MoonmeshError
  /** Milliseconds until it is started again; present while it waits for that. */
  readonly nextRestartMs?: number
  /** It starts as soon as these run; present while it waits for them. */
  readonly waitsFor?: readonly string[]
}

/** How an instance ended by itself. */
export type Ending = { ok: true } | { ok: false; error: MoonmeshError }

/** What the services are from now on. */
export interface Redefinition {
  readonly definitions: readonly ServiceDefinition[]
  /** Services whose content changed although their definition did not; others are ignored. */
  readonly changedIds: ReadonlySet<string>
  /** What a service may depend on although it is no service. Absent: anything. */
  readonly knownIds?: ReadonlySet<string> | undefined
}

type TimerPurpose = 'start-timeout' | 'restart' | 'launch'

export type SupervisorInput =
  | { kind: 'start' }
  /** `force`: nobody is given time to end by itself. */
  | { kind: 'stop'; force: boolean }
  /** Asks for one service; answered by the effect `reply` with the same request number. */
  | { kind: 'start-service' | 'stop-service' | 'restart-service'; id: string; request: number }
  /** A complete new list of definitions; answered like the requests for one service. */
  | ({ kind: 'reconfigure'; request: number } & Redefinition)
  | { kind: 'started'; id: string; attempt: number }
  | { kind: 'start-failed'; id: string; attempt: number; error: MoonmeshError }
  | { kind: 'ended'; id: string; attempt: number; ending: Ending }
  | { kind: 'stopped'; id: string; attempt: number; how: 'graceful' | 'forced' }
  | { kind: 'stop-failed'; id: string; attempt: number; error: MoonmeshError }
  | { kind: 'timer'; id: string; purpose: TimerPurpose; timer: number }

export type SupervisorEffect =
  | { kind: 'start'; id: string; attempt: number }
  /** May repeat with a shorter timeout while the first is under way. */
  | { kind: 'stop'; id: string; attempt: number; timeoutMs: number; reason: string }
  | { kind: 'set-timer'; timer: number; delayMs: number; due: SupervisorInput }
  | { kind: 'cancel-timer'; timer: number }
  | { kind: 'state-changed'; id: string; from: ServiceState; to: ServiceState; error?: MoonmeshError }
  | { kind: 'log'; level: 'info' | 'warn' | 'error'; id: string; text: string }
  | { kind: 'reply'; request: number; error?: MoonmeshError }
  /** New definitions are in force: what comes before keeps to the old ones, what follows to these. */
  | {
      kind: 'redefined'
      request: number
      gone: readonly string[]
      added: readonly string[]
      /** Defined otherwise, or named as changed. */
      changed: readonly string[]
    }
  /** Every service that is to start with the node runs or is skipped. */
  | { kind: 'ready' }
  /** The start of all failed, by the fault of service `id`. What runs is stopped; `all-stopped` follows. */
  | { kind: 'start-failed'; id?: string; error: MoonmeshError }
  /** Nothing is left: no instance, no timer, no open request. */
  | { kind: 'all-stopped' }

/**
 * Where a service is in the start of all, or in the launch that follows new definitions: `waiting` for its dependencies to have run, `open` while its time to reach `running`
 * passes, then `done` or `skipped`. `none`: it takes no part.
 */
type Launch = 'none' | 'waiting' | 'open' | 'done' | 'skipped'

interface Service {
  readonly id: string
  readonly definition: ServiceDefinition
  readonly policy: RestartPolicy
  state: ServiceState
  sinceMs: number
  error: MoonmeshError | undefined
  /** The number of the latest start; rises forever. */
  attempt: number
  /** It is to run: now, or as soon as its delay is over and its dependencies run. */
  isWanted: boolean
  /**
   * It stays down until a person starts it: a person stopped it, or nobody knows whether its last instance is gone.
   * Invariant: never wanted.
   */
  isHeld: boolean
  /** The present instance has to go, once nothing needs it any more. Invariant: only with an instance. */
  isStopRequested: boolean
  /** The instance is stopped because it took too long to start. Invariant: only while `stopping`. */
  isAbandoned: boolean
  /** The instance was given no time to end by itself, on request. */
  isForced: boolean
  /** With which error the instance ended while it was being stopped. */
  lastWords: MoonmeshError | undefined
  /** Invariant: the start timeout while `starting`, a restart while `failed`, otherwise none. */
  timer: { readonly number: number; readonly dueMs: number } | undefined
  launch: Launch
  /** Invariant: only while the launch is `open`. */
  launchTimer: number | undefined
}

/** Somebody waits for a service to run (again), or for services to be gone. */
type Request =
  | { readonly kind: 'running'; readonly id: string; readonly needs: ReadonlySet<string> }
  | { readonly kind: 'gone'; readonly left: Set<string> }

/** New definitions on their way. */
interface Change extends Redefinition {
  readonly request: number
  readonly sequence: Sequence
  /** `leaving` under the old definitions, `launching` under the new ones. */
  stage: 'queued' | 'leaving' | 'launching'
  /** What is gone, defined otherwise, or named as changed. */
  changed: ReadonlySet<string>
  /** That, and what depends on it: no instance of these outlives the old definitions. */
  leaving: ReadonlySet<string>
  /** The first of a required service. */
  failure: MoonmeshError | undefined
}

type Phase = 'idle' | 'starting' | 'running' | 'stopping' | 'stopped'

/** Changes that wait for their turn; a caller that does not wait for its own gets no further. */
const CHANGES_MAX = 100

const STOP_REASON = 'service stopping'

const NEXT_STATES: Readonly<Record<ServiceState, readonly ServiceState[]>> = {
  unknown: ['starting'],
  starting: ['running', 'stopping', 'failed', 'exited'],
  running: ['stopping', 'failed', 'exited'],
  stopping: ['stopped', 'failed'],
  stopped: ['starting'],
  failed: ['starting', 'stopped'],
  exited: ['starting'],
}

export class SupervisorCore {
  readonly #env: Env
  #sequence: Sequence
  #services = new Map<string, Service>()
  readonly #requests = new Map<number, Request>()
  /** In their order; the first one is under way while the phase is `running`. */
  #changes: Change[] = []
  /** No service that is gone had a later attempt: late results of one are never taken for those of its successor. */
  #lastAttempt = 0
  #phase: Phase = 'idle'
  #isForced = false
  #timerCount = 0
  #effects: SupervisorEffect[] = []

  constructor(definitions: readonly ServiceDefinition[], env: Env) {
    this.#env = env
    this.#sequence = sequenceOf(definitions)
    for (const definition of definitions) this.#services.set(definition.id, this.#fresh(definition))
  }

  #fresh(definition: ServiceDefinition): Service {
    const { restart, stableThresholdMs } = definition.lifecycle
    return {
      id: definition.id,
      definition,
      policy: new RestartPolicy({ ...restart, stableThresholdMs }, this.#env),
      state: 'unknown',
      sinceMs: this.#env.wallMs(),
      error: undefined,
      attempt: this.#lastAttempt,
      isWanted: false,
      isHeld: false,
      isStopRequested: false,
      isAbandoned: false,
      isForced: false,
      lastWords: undefined,
      timer: undefined,
      launch: 'none',
      launchTimer: undefined,
    }
  }

  step(input: SupervisorInput): SupervisorEffect[] {
    this.#effects = []
    this.#take(input)
    this.#reconcile()
    return this.#effects
  }

  /** One status a service, in the order of the definitions. */
  snapshot(): ServiceStatus[] {
    const nowMs = this.#env.nowMs()
    return [...this.#services.values()].map((service) => {
      const { id, definition, policy, state, sinceMs, error, timer } = service
      const waitsFor = this.#isPending(service) && timer === undefined ? this.#missingFor(service) : []
      return {
        id,
        kind: definition.kind,
        state,
        attempts: policy.attempts(nowMs),
        sinceMs,
        ...(error === undefined ? {} : { error }),
        ...(state === 'failed' && timer !== undefined ? { nextRestartMs: Math.max(0, timer.dueMs - nowMs) } : {}),
        ...(waitsFor.length === 0 ? {} : { waitsFor }),
      }
    })
  }

  #take(input: SupervisorInput): void {
    switch (input.kind) {
      case 'start':
        return this.#start()
      case 'stop':
        return this.#stop(input.force)
      case 'start-service':
      case 'restart-service':
      case 'stop-service':
        return this.#request(input.kind, input.id, input.request)
      case 'started':
      case 'start-failed':
      case 'ended':
      case 'stopped':
      case 'stop-failed': {
        const service = this.#services.get(input.id)
        // A late result: that service or instance is gone, or another instance has taken its place.
        if (service === undefined || input.attempt !== service.attempt || !hasInstance(service)) return
        return this.#report(service, input)
      }
      case 'timer':
        return this.#services.has(input.id)
          ? this.#timedOut(this.#service(input.id), input.purpose, input.timer)
          : undefined
      case 'reconfigure':
        return this.#reconfigure(input, input.request)
      default:
        return unreachable(input)
    }
  }

  // ---- what people ask for

  #start(): void {
    assert(this.#phase === 'idle', 'services are started once')
    const { cycle } = this.#sequence
    if (cycle !== undefined) {
      const id = cycle[0] as string
      this.#phase = 'stopping'
      this.#effects.push({ kind: 'start-failed', id, error: failure('Invalid', describeCycle(cycle)) })
      return
    }
    this.#phase = 'starting'
    const roots = [...this.#services.values()].filter((service) => service.definition.lifecycle.autoStart)
    for (const id of this.#sequence.reachableFrom(roots.map((service) => service.id))) {
      const service = this.#service(id)
      service.isWanted = true
      service.launch = 'waiting'
    }
    this.#openLaunches()
  }

  #stop(force: boolean): void {
    if (this.#phase === 'starting') {
      this.#effects.push({
        kind: 'start-failed',
        error: failure('Canceled', 'stopped before all services were running'),
      })
    }
    this.#stopAll()
    if (!force || this.#isForced) return
    this.#isForced = true
    for (const service of this.#services.values()) if (service.state === 'stopping') this.#halt(service)
  }

  #stopAll(): void {
    this.#phase = 'stopping'
    const error = failure('Canceled', 'the node is being stopped; the change of its services was cut short')
    for (const { request } of this.#changes) this.#reply(request, error)
    this.#changes = []
    this.#takeDown([...this.#services.keys()])
  }

  #request(kind: 'start-service' | 'stop-service' | 'restart-service', id: string, request: number): void {
    const service = this.#services.get(id)
    if (service === undefined) return this.#reply(request, failure('NotFound', `there is no service ${id}`))
    if (kind === 'stop-service') {
      const ids = [...this.#sequence.dependentsOf(id), id]
      this.#takeDown(ids)
      const left = ids.filter((each) => hasInstance(this.#service(each)))
      if (left.length === 0) this.#reply(request)
      else this.#requests.set(request, { kind: 'gone', left: new Set(left) })
      return
    }
    if (this.#phase !== 'starting' && this.#phase !== 'running') {
      return this.#reply(request, failure('InvalidState', `service ${id} cannot start: the node is ${this.#phase}`))
    }
    if (kind === 'restart-service') this.#bounce(service)
    const needs = this.#sequence.reachableFrom([id])
    for (const each of needs) this.#want(this.#service(each))
    if (isUp(service)) this.#reply(request)
    else this.#requests.set(request, { kind: 'running', id, needs: new Set(needs) })
  }

  /** It is to run, and a person says so: earlier failures are forgotten and no delay is kept. */
  #want(service: Service): void {
    service.isWanted = true
    service.isHeld = false
    if (hasInstance(service)) return
    this.#cancelTimer(service)
    service.policy.reset()
  }

  /** The instance goes and a new one comes; so for all that needs it. Without an instance nothing has to go. */
  #bounce(service: Service): void {
    if (!hasInstance(service)) return
    for (const id of [service.id, ...this.#sequence.dependentsOf(service.id)]) {
      const each = this.#service(id)
      if (!hasInstance(each)) continue
      each.isStopRequested = true
      each.policy.reset()
    }
  }

  /** These are not to run any more. Whoever waits for one of them to run is told so. */
  #takeDown(ids: readonly string[]): void {
    for (const id of ids) {
      const service = this.#service(id)
      const isRestartPending = service.state === 'failed' && service.isWanted
      service.isWanted = false
      service.isHeld = true
      this.#closeLaunch(service, 'skipped')
      if (hasInstance(service)) service.isStopRequested = true
      else this.#cancelTimer(service)
      if (isRestartPending) this.#enter(service, 'stopped', service.error)
      this.#refuse(id, failure('Canceled', `service ${id} is being stopped`))
    }
  }

  // ---- what the world tells of the present instance

  #report(service: Service, input: Extract<SupervisorInput, { attempt: number }>): void {
    const { state } = service
    switch (input.kind) {
      case 'started':
        if (state === 'starting') this.#started(service)
        return
      case 'start-failed':
        // While it is being stopped, the start fails because of that: the answer to the stop says what is left.
        if (state === 'starting') this.#lost(service, { ok: false, error: input.error })
        return
      case 'ended':
        if (state !== 'stopping') this.#lost(service, input.ending)
        else if (!input.ending.ok) service.lastWords = input.ending.error
        return
      case 'stopped':
        if (state === 'stopping') this.#stopped(service, input.how)
        return
      case 'stop-failed':
        if (state === 'stopping') this.#stopFailed(service, input.error)
        return
      default:
        return unreachable(input)
    }
  }

  #started(service: Service): void {
    this.#cancelTimer(service)
    service.policy.running(this.#env.nowMs())
    this.#enter(service, 'running')
    this.#closeLaunch(service, 'done')
    this.#openLaunches()
    if (!isUp(service)) return
    for (const [number, request] of this.#requests) {
      if (request.kind === 'running' && request.id === service.id) this.#reply(number)
    }
  }

  /** The instance ended by itself or never came to be. */
  #lost(service: Service, ending: Ending): void {
    const isExpected = service.isStopRequested
    const hasRun = service.state === 'running'
    const isFinal = ending.ok || ending.error.retryable === false
    this.#cancelTimer(service)
    service.isStopRequested = false
    service.isAbandoned = false
    this.#enter(service, isFinal ? 'exited' : 'failed', ending.ok ? undefined : ending.error)
    if (!isExpected) this.#decide(service, ending, hasRun)
    // It ended before its turn to be stopped: what comes next was decided by whoever asked for the stop.
    else if (hasRun && !ending.ok)
      this.#log('warn', service.id, `failed before it was stopped: ${ending.error.message}`)
    this.#gone(service)
  }

  /** Whether, when and why it is started again. */
  #decide(service: Service, ending: Ending, hasRun: boolean): void {
    const { id, policy } = service
    const nowMs = this.#env.nowMs()
    if (ending.ok) {
      this.#log('info', id, 'returned; it is not restarted')
      return this.#giveUp(service, failure('Unavailable', `service ${id} has returned and does not run any more`))
    }
    const { error } = ending
    const what = `${hasRun ? service.state : 'could not be started'}: ${error.message}`
    if (error.retryable === false) {
      const hint = hasRun ? ' (nor is any error that is returned as plain text)' : ''
      this.#log('warn', id, `${what}; it is not restarted, because the error is not retryable${hint}`)
      return this.#giveUp(service, error)
    }
    const missing = this.#missingFor(service)
    if (missing.length > 0) {
      // Most likely it went down with what it needs; a start that could not go well is not held against it.
      policy.excused(nowMs)
      this.#log('warn', id, `${what}; it restarts when ${this.#describe(missing)} again`)
      return this.#refuse(id, error)
    }
    const delayMs = policy.failed(nowMs)
    if (delayMs === undefined) {
      const rule = `restart.max_attempts is ${policy.maxAttempts}, and no run was stable`
      this.#log('error', id, `${what}; it is not restarted, because ${rule}`)
      return this.#giveUp(service, error)
    }
    const number = this.#setTimer(service, 'restart', delayMs)
    service.timer = { number, dueMs: nowMs + delayMs }
    const attempt = `attempt ${policy.attempts(nowMs) + 1}${policy.maxAttempts === 0 ? '' : ` of ${policy.maxAttempts}`}`
    this.#log('warn', id, `${what}; it restarts in ${Math.round(delayMs)} ms (${attempt})`)
    this.#refuse(id, error)
  }

  #stopped(service: Service, how: 'graceful' | 'forced'): void {
    const { id, lastWords } = service
    if (service.isAbandoned) {
      assert(service.error !== undefined, 'an abandoned start has an error')
      return this.#lost(service, { ok: false, error: service.error })
    }
    if (how === 'forced' && !service.isForced) {
      const text = `did not end within ${service.definition.lifecycle.stopTimeoutMs} ms of CANCEL and was terminated`
      this.#log('warn', id, text)
      this.#enter(service, 'failed', failure('Timeout', 'stop timeout'))
    } else {
      // That it ended with an error is news only if nobody made it.
      const error = how === 'graceful' ? lastWords : undefined
      if (error !== undefined) this.#log('warn', id, `ended with an error while stopping: ${error.message}`)
      this.#enter(service, 'stopped', error)
    }
    service.isStopRequested = false
    this.#gone(service)
  }

  #stopFailed(service: Service, error: MoonmeshError): void {
    // Nobody knows whether that instance still runs, so there is no second one unless a person asks for it.
    service.isStopRequested = false
    service.isAbandoned = false
    this.#enter(service, 'failed', error)
    this.#log('error', service.id, `could not be stopped: ${error.message}; it is not restarted`)
    this.#giveUp(service, error)
    service.isHeld = true
    const change = this.#changes[0]
    if (
      change?.stage === 'leaving' &&
      change.leaving.has(service.id) &&
      service.definition.lifecycle.startup === 'required'
    )
      change.failure ??= blame(service.id, 'could not be stopped', error)
    this.#gone(service, error)
  }

  /** It does not run again by itself. */
  #giveUp(service: Service, error: MoonmeshError): void {
    const { id } = service
    service.isWanted = false
    this.#refuse(id, error)
    this.#launchFailed(service, error)
    for (const dependent of this.#sequence.dependentsOf(id)) {
      const each = this.#service(dependent)
      if (hasInstance(each) || !this.#sequence.dependenciesOf(dependent).includes(id)) continue
      this.#launchFailed(each, failure('Unavailable', `it needs ${id}, which is ${service.state}: ${error.message}`))
    }
  }

  #timedOut(service: Service, purpose: TimerPurpose, number: number): void {
    const { id } = service
    const { startTimeoutMs, startup } = service.definition.lifecycle
    if (purpose === 'launch') {
      if (service.launchTimer !== number) return
      service.launchTimer = undefined
      const missing = this.#missingFor(service)
      const error =
        service.error ??
        (missing.length > 0
          ? failure('Unavailable', `it waited ${startTimeoutMs} ms until ${this.#describe(missing)}`)
          : overdue(startTimeoutMs))
      // Why an earlier start failed says nothing about whether this one may be tried again.
      if (service.state === 'starting' && startup === 'required') this.#abandon(service, overdue(startTimeoutMs))
      this.#launchFailed(service, error)
      return
    }
    if (service.timer?.number !== number) return
    service.timer = undefined
    if (purpose === 'start-timeout') return this.#abandon(service, overdue(startTimeoutMs))
    const missing = this.#missingFor(service)
    if (missing.length > 0) this.#log('info', id, `restarts when ${this.#describe(missing)} again`)
  }

  /** The start takes too long: what there is of it is stopped, then it has failed. */
  #abandon(service: Service, error: MoonmeshError): void {
    this.#halt(service, error)
    service.isAbandoned = true
  }

  // ---- the start of all

  /** Time to reach `running` counts from when all dependencies have run. */
  #openLaunches(): void {
    for (const id of this.#sequence.order) {
      const service = this.#service(id)
      if (service.launch !== 'waiting') continue
      // Where a dependency is skipped, so is what needs it.
      if (this.#sequence.dependenciesOf(id).some((each) => isLaunching(this.#service(each)))) continue
      service.launch = 'open'
      service.launchTimer = this.#setTimer(service, 'launch', service.definition.lifecycle.startTimeoutMs)
    }
  }

  #closeLaunch(service: Service, launch: 'done' | 'skipped'): void {
    service.launch = launch
    if (service.launchTimer !== undefined) this.#effects.push({ kind: 'cancel-timer', timer: service.launchTimer })
    service.launchTimer = undefined
  }

  #launchFailed(service: Service, cause: MoonmeshError): void {
    if (!isLaunching(service)) return
    const { id } = service
    const consequence = this.#sequence.failureOf(id)
    if (consequence.kind === 'abort') {
      const error = blame(id, 'did not start', cause)
      const change = this.#changes[0]
      if (this.#phase === 'running' && change !== undefined) {
        this.#log('error', id, `did not start: ${cause.message}; it is required, so the change of services has failed`)
        change.failure ??= error
        return this.#endLaunches()
      }
      this.#log('error', id, `did not start: ${cause.message}; it is required, so everything stops`)
      this.#effects.push({ kind: 'start-failed', id, error })
      return this.#stopAll()
    }
    const skipped = consequence.ids.filter((each) => each !== id && isLaunching(this.#service(each)))
    for (const each of [...skipped, id]) this.#closeLaunch(this.#service(each), 'skipped')
    const branch = skipped.length === 0 ? '' : `; skipped with it: ${skipped.join(', ')}`
    this.#log('warn', id, `did not start: ${cause.message}; it is optional, so the rest goes on${branch}`)
  }

  #endLaunches(): void {
    for (const service of this.#services.values()) if (isLaunching(service)) this.#closeLaunch(service, 'skipped')
  }

  // ---- new definitions

  #reconfigure({ definitions, changedIds, knownIds }: Redefinition, request: number): void {
    if (this.#phase !== 'starting' && this.#phase !== 'running') {
      const text = `services can be redefined only while the node runs; it is ${this.#phase}`
      return this.#reply(request, new MoonmeshError('InvalidState', text, { retryable: false }))
    }
    if (this.#changes.length >= CHANGES_MAX) {
      const text = `${CHANGES_MAX} changes of services are waiting; try again when one of them is through`
      return this.#reply(request, new MoonmeshError('RateLimited', text, { retryable: true }))
    }
    const fault = faultIn(definitions, knownIds)
    if (fault !== undefined) return this.#reply(request, new MoonmeshError('Invalid', fault, { retryable: false }))
    this.#changes.push({
      request,
      definitions: [...definitions],
      changedIds: new Set(changedIds),
      sequence: sequenceOf(definitions),
      stage: 'queued',
      changed: new Set(),
      leaving: new Set(),
      failure: undefined,
    })
  }

  /** The next stage of the change under way, if it is reached. Returns whether it was. */
  #advanceChange(): boolean {
    const change = this.#changes[0]
    if (this.#phase !== 'running' || change === undefined) return false
    switch (change.stage) {
      case 'queued':
        this.#leave(change)
        return true
      case 'leaving':
        if ([...change.leaving].some((id) => hasInstance(this.#service(id)))) return false
        this.#redefine(change)
        return true
      case 'launching':
        if (change.failure === undefined && [...this.#services.values()].some(isLaunching)) return false
        this.#endLaunches()
        this.#changes.shift()
        this.#reply(change.request, change.failure)
        return true
      default:
        return unreachable(change.stage)
    }
  }

  #leave(change: Change): void {
    const next = new Map(change.definitions.map((definition) => [definition.id, definition]))
    const changed = [...this.#services.values()].filter(({ id, definition }) => {
      const replacement = next.get(id)
      return replacement === undefined || change.changedIds.has(id) || !isSame(definition, replacement)
    })
    change.changed = new Set(changed.map(({ id }) => id))
    change.leaving = new Set(this.#sequence.withDependents([...change.changed]))
    change.stage = 'leaving'
    for (const id of change.leaving) {
      const service = this.#service(id)
      if (hasInstance(service)) service.isStopRequested = true
    }
  }

  #redefine(change: Change): void {
    const before = this.#services
    const next = new Set(change.definitions.map(({ id }) => id))
    const gone = [...before.values()].filter(({ id }) => !next.has(id))
    const added = [...next].filter((id) => !before.has(id))
    for (const service of gone) {
      this.#cancelTimer(service)
      this.#lastAttempt = Math.max(this.#lastAttempt, service.attempt)
    }
    this.#sequence = change.sequence
    this.#services = new Map()
    for (const definition of change.definitions) {
      const known = before.get(definition.id)
      const service =
        known === undefined
          ? this.#fresh(definition)
          : change.changed.has(definition.id)
            ? this.#renewed(known, definition)
            : known
      this.#services.set(definition.id, service)
    }
    change.stage = 'launching'
    const changed = [...change.changed].filter((id) => next.has(id))
    const goneIds = gone.map(({ id }) => id)
    this.#effects.push({ kind: 'redefined', request: change.request, gone: goneIds, added, changed })
    this.#renewRequests()
    this.#launch(this.#rootsOf(change, new Set(added)))
  }

  /** Another definition with nothing counted against it; what is seen of the service from outside stays. */
  #renewed(known: Service, definition: ServiceDefinition): Service {
    this.#cancelTimer(known)
    const { state, sinceMs, error, attempt, isWanted, isHeld } = known
    return { ...this.#fresh(definition), state, sinceMs, error, attempt, isWanted, isHeld }
  }

  /** Whoever waits for a service to run waits for what it needs now. */
  #renewRequests(): void {
    for (const [number, request] of this.#requests) {
      if (request.kind !== 'running') continue
      const { id } = request
      if (!this.#services.has(id)) {
        this.#reply(number, failure('NotFound', `there is no service ${id} any more`))
        continue
      }
      const needs = this.#sequence.reachableFrom([id])
      for (const each of needs) this.#want(this.#service(each))
      this.#requests.set(number, { kind: 'running', id, needs: new Set(needs) })
    }
  }

  /** What is to run now that was not up, or was, and had to leave. */
  #rootsOf({ changed, leaving }: Change, added: ReadonlySet<string>): string[] {
    const services = [...this.#services.values()]
    const automatic = services.filter(({ definition }) => definition.lifecycle.autoStart)
    const isDue = new Set(this.#sequence.reachableFrom(automatic.map(({ id }) => id)))
    const needsAdded = new Set(this.#sequence.withDependents([...added]))
    return services
      .filter((service) => {
        const { id, isWanted, isHeld, error } = service
        if (added.has(id)) return isDue.has(id)
        if (isHeld) return false
        // Why it gave up may be what was changed, or what is taken back now.
        const hasGivenUp = !isWanted && !hasInstance(service) && error !== undefined
        if (!leaving.has(id)) return hasGivenUp && needsAdded.has(id)
        return isWanted || hasGivenUp || (changed.has(id) && isDue.has(id))
      })
      .map(({ id }) => id)
  }

  /** These and what they need start. What a person keeps down stays so, and what needs it waits. */
  #launch(roots: readonly string[]): void {
    const blocked = new Set<string>()
    for (const id of this.#sequence.reachableFrom(roots)) {
      const service = this.#service(id)
      if (isUp(service)) continue
      const keeping = this.#sequence.dependenciesOf(id).filter((each) => blocked.has(each))
      if (service.isHeld || keeping.length > 0) blocked.add(id)
      if (service.isHeld) continue
      this.#want(service)
      if (keeping.length > 0) this.#log('warn', id, `starts when ${this.#describe(keeping)}`)
      else service.launch = 'waiting'
    }
    this.#openLaunches()
  }

  // ---- movement

  #reconcile(): void {
    if (this.#phase === 'idle' || this.#phase === 'stopped') return
    this.#move()
    const services = [...this.#services.values()]
    if (this.#phase === 'starting' && !services.some(isLaunching)) {
      this.#phase = 'running'
      this.#effects.push({ kind: 'ready' })
    }
    while (this.#advanceChange()) this.#move()
    if (this.#phase === 'stopping' && !services.some(hasInstance)) {
      assert(
        services.every((service) => service.timer === undefined && service.launchTimer === undefined),
        'no timer outlives the services',
      )
      assert(this.#requests.size === 0 && this.#changes.length === 0, 'no request outlives the services')
      this.#phase = 'stopped'
      this.#effects.push({ kind: 'all-stopped' })
    }
  }

  #move(): void {
    const services = this.#sequence.order.map((id) => this.#service(id))
    if (this.#phase !== 'stopping') for (const service of services) if (this.#canStart(service)) this.#begin(service)
    for (const service of services.reverse()) if (this.#canStop(service)) this.#halt(service)
  }

  #canStart(service: Service): boolean {
    const change = this.#changes[0]
    // Its next instance comes by the new definitions.
    if (change?.stage === 'leaving' && change.leaving.has(service.id)) return false
    return this.#isPending(service) && service.timer === undefined && this.#missingFor(service).length === 0
  }

  #canStop(service: Service): boolean {
    if (!service.isStopRequested || service.state === 'stopping') return false
    return this.#sequence.canStop(service.id, (id) => hasInstance(this.#service(id)))
  }

  #begin(service: Service): void {
    service.attempt++
    service.lastWords = undefined
    service.policy.starting()
    this.#enter(service, 'starting', service.error)
    const { startTimeoutMs } = service.definition.lifecycle
    const number = this.#setTimer(service, 'start-timeout', startTimeoutMs)
    service.timer = { number, dueMs: this.#env.nowMs() + startTimeoutMs }
    this.#effects.push({ kind: 'start', id: service.id, attempt: service.attempt })
  }

  /** Stops the instance; of one that is already being stopped, cuts its time short. */
  #halt(service: Service, error?: MoonmeshError): void {
    this.#cancelTimer(service)
    if (service.state !== 'stopping') this.#enter(service, 'stopping', error)
    service.isForced = this.#isForced
    const timeoutMs = service.isForced ? 0 : service.definition.lifecycle.stopTimeoutMs
    this.#effects.push({ kind: 'stop', id: service.id, attempt: service.attempt, timeoutMs, reason: STOP_REASON })
  }

  #enter(service: Service, to: ServiceState, error?: MoonmeshError): void {
    const { id, state: from } = service
    assert(NEXT_STATES[from].includes(to), `service ${id} may go from ${from} to ${to}`)
    service.state = to
    service.sinceMs = this.#env.wallMs()
    service.error = error
    // A new start remembers why the last one failed, but that is not why it starts.
    const reason = error === undefined || to === 'starting' ? {} : { error }
    this.#effects.push({ kind: 'state-changed', id, from, to, ...reason })
  }

  // ---- requests

  #reply(request: number, error?: MoonmeshError): void {
    this.#requests.delete(request)
    this.#effects.push({ kind: 'reply', request, ...(error === undefined ? {} : { error }) })
  }

  /** Tells whoever waits for `id`, or for something that needs it, that it does not run. */
  #refuse(id: string, error: MoonmeshError): void {
    for (const [number, request] of this.#requests) {
      if (request.kind !== 'running' || !request.needs.has(id)) continue
      const wrapped =
        request.id === id
          ? error
          : new MoonmeshError(error.kind, `service ${request.id} needs ${id}: ${error.message}`, { cause: error })
      this.#reply(number, wrapped)
    }
  }

  /** With an error: nobody knows whether it is. */
  #gone({ id }: Service, error?: MoonmeshError): void {
    for (const [number, request] of this.#requests) {
      if (request.kind !== 'gone' || !request.left.delete(id)) continue
      if (error !== undefined || request.left.size === 0) this.#reply(number, error)
    }
  }

  // ---- helpers

  #service(id: string): Service {
    const service = this.#services.get(id)
    assert(service !== undefined, `service ${id} is defined`)
    return service
  }

  /** Wanted, but without an instance. */
  #isPending(service: Service): boolean {
    return service.isWanted && !hasInstance(service)
  }

  #missingFor(service: Service): readonly string[] {
    return this.#sequence.missingFor(service.id, (id) => isUp(this.#service(id)))
  }

  /** `a (failed) and b (starting) run` */
  #describe(ids: readonly string[]): string {
    const names = ids.map((id) => {
      const { state, isStopRequested } = this.#service(id)
      return `${id} (${isStopRequested ? 'stopping' : state})`
    })
    return `${names.join(' and ')} ${ids.length === 1 ? 'runs' : 'run'}`
  }

  #setTimer({ id }: Service, purpose: TimerPurpose, delayMs: number): number {
    const timer = ++this.#timerCount
    this.#effects.push({ kind: 'set-timer', timer, delayMs, due: { kind: 'timer', id, purpose, timer } })
    return timer
  }

  #cancelTimer(service: Service): void {
    if (service.timer === undefined) return
    this.#effects.push({ kind: 'cancel-timer', timer: service.timer.number })
    service.timer = undefined
  }

  #log(level: 'info' | 'warn' | 'error', id: string, text: string): void {
    this.#effects.push({ kind: 'log', level, id, text: `service ${id} ${text}` })
  }
}

function sequenceOf(definitions: readonly ServiceDefinition[]): Sequence {
  return new Sequence(
    definitions.map(({ id, dependencies, lifecycle }) => ({ id, dependencies, startup: lifecycle.startup })),
  )
}

/** Whether a service may go on under the new definition without noticing. */
function isSame(a: ServiceDefinition, b: ServiceDefinition): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}

/** Why these cannot be the definitions of a node. */
function faultIn(
  definitions: readonly ServiceDefinition[],
  knownIds: ReadonlySet<string> | undefined,
): string | undefined {
  const ids = new Set<string>()
  for (const { id } of definitions) {
    if (ids.has(id)) return `service ${id} is defined twice; leave one of them out`
    ids.add(id)
  }
  for (const { id, dependencies } of definitions) {
    const unknown = dependencies.find((each) => knownIds !== undefined && !ids.has(each) && !knownIds.has(each))
    if (unknown !== undefined)
      return `service ${id} needs ${unknown}, which is not defined; define it or remove the dependency`
  }
  const { cycle } = sequenceOf(definitions)
  return cycle === undefined ? undefined : describeCycle(cycle)
}

function describeCycle(cycle: readonly string[]): string {
  return `services need each other: ${cycle.join(' -> ')}; remove one of these dependencies`
}

/** The failure of service `id` as whoever waits for all of them is told. */
function blame(id: string, what: string, cause: MoonmeshError): MoonmeshError {
  return new MoonmeshError(cause.kind, `service ${id} ${what}: ${cause.message}`, {
    ...(cause.retryable === undefined ? {} : { retryable: cause.retryable }),
    details: { service: id },
    cause,
  })
}

/** Something of it may exist in the world. */
function hasInstance({ state }: Service): boolean {
  return state === 'starting' || state === 'running' || state === 'stopping'
}

/** Runs, and is going to. */
function isUp(service: Service): boolean {
  return service.state === 'running' && !service.isStopRequested
}

function isLaunching({ launch }: Service): boolean {
  return launch === 'waiting' || launch === 'open'
}

function failure(kind: ErrorKind, message: string): MoonmeshError {
  return new MoonmeshError(kind, message)
}

function overdue(startTimeoutMs: number): MoonmeshError {
  return failure('Timeout', `it did not reach running within ${startTimeoutMs} ms`)
}
